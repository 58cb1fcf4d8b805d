"""Single pictures: whole, or not at all."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from roadcast.data.intake.limits import Limits, limited
from roadcast.data.intake.pictures import decode_picture, read_picture, whole_jpeg


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    rng = np.random.default_rng(0)
    return coded(".jpg", cv2.resize(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8), (160, 120)))


def coded(suffix, image, *options):
    return cv2.imencode(suffix, image, options)[1].tobytes()


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_whole_jpegs_are_read(make, options):
    data = coded(".jpg", make.picture(7, 48, 64), *options)
    assert whole_jpeg(data) == (48, 64) == whole_jpeg(data + b"trailer")
    assert decode_picture(data)[5, 5, 2] > 150


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_jpeg_cut_short_is_no_picture(jpeg, keep, capfd):
    cut = jpeg[: int(len(jpeg) * keep)]
    assert decode_picture(cut) is None and whole_jpeg(cut) is None
    assert decode_picture(cut + b"\xff\xd9") is None, "an end mark after too little does not make it whole"
    assert capfd.readouterr().err == ""


def test_zeros_in_a_jpeg_are_seen(jpeg, capfd):
    hole = bytearray(jpeg)
    hole[len(jpeg) // 2 : len(jpeg) // 2 + 512] = bytes(512)
    assert decode_picture(bytes(hole)) is None
    assert capfd.readouterr().err == ""


def test_every_flipped_bit_of_a_png_s_pixels_is_seen(make):
    data = coded(".png", make.picture(7))
    begin = data.index(b"IDAT") + 4
    for at in range(begin, len(data) - 20, 7):
        flipped = bytearray(data)
        flipped[at] ^= 4
        assert decode_picture(bytes(flipped)) is None


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xff\xff\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"text"]
)
def test_no_picture_at_all(data):
    assert decode_picture(data) is None


def test_a_file_that_is_not_there_is_no_picture(tmp_path):
    assert read_picture(tmp_path / "gone.jpg") is None


def test_bombs_are_told_by_their_header_and_not_decoded(jpeg, monkeypatch):
    """A picture of 20000 x 20000 in a few bytes, and one that says it is."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(10**6)))]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    at = jpeg.index(b"\xff\xc0") + 5
    grown = jpeg[:at] + struct.pack(">HH", 20000, 20000) + jpeg[at + 4 :]
    assert whole_jpeg(grown) == (20000, 20000) and decode_picture(jpeg) is not None
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    assert decode_picture(png) is None and decode_picture(grown) is None
    with limited(Limits(pixels=160 * 120 - 1)):
        assert decode_picture(jpeg) is None
