import cv2
import numpy as np

from roadcast.evaluation.video_io import encode, encode_animation, encode_jpeg, enlarge, stack, strip


def colours(count: int, height: int = 20, width: int = 34) -> list[np.ndarray]:
    return [np.full((height, width, 3), (40 * i, 200 - 30 * i, 90), dtype=np.uint8) for i in range(count)]


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_png_is_exact_and_jpeg_is_close():
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode(noise, ".png")), noise)
    assert np.abs(decode(encode_jpeg(colours(2)[1])).astype(int) - colours(2)[1]).max() <= 4


def test_animation_is_read_back_frame_by_frame(tmp_path):
    from PIL import Image, ImageSequence

    frames = colours(5)
    path = tmp_path / "animation.webp"
    path.write_bytes(encode_animation(frames, fps=20.0))
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"], image.size) == (5, 0, (34, 20))
        for frame, read in zip(frames, ImageSequence.Iterator(image)):
            read.load()
            assert read.info["duration"] == 50
            assert np.abs(np.asarray(read.convert("RGB")).astype(int) - frame).max() <= 6


def test_strips_and_stacks_keep_every_pixel():
    frames = colours(3)
    row = strip(frames, gap=2)
    assert row.shape == (20, 3 * 34 + 4, 3)
    np.testing.assert_array_equal(row[:, 36:70], frames[1])
    assert stack([row, row], gap=3).shape == (43, 106, 3)
    assert enlarge(frames[0], 100).shape == (60, 102, 3)
    assert enlarge(frames[0], 30) is frames[0]
