"""RGB pictures to JPEG, in threads of their own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np

from roadcast.data.sources.base import Images

Prepare = Callable[[np.ndarray], np.ndarray]


class Encoder:
    """Codes the pictures of one time step, one a camera, RGB uint8 [height, width, 3], at a JPEG quality of 1 to 100."""

    def __init__(self, height: int, width: int, cameras: int, quality: int, workers: int):
        self.shape, self.cameras, self.quality = (height, width, 3), cameras, quality
        self.workers = max(1, workers)
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="encode")

    def __enter__(self) -> "Encoder":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def submit(self, images: Images, prepare: Prepare | None = None) -> "Future[list[bytes]]":
        """The JPEG bytes of every camera's picture, to be; `prepare` brings a picture to the size, in the thread."""
        many = images if isinstance(images, tuple) else (images,)
        assert len(many) == self.cameras, f"{len(many)} images for {self.cameras} cameras"
        return self._threads.submit(
            lambda: [self._code(image if prepare is None else prepare(image)) for image in many]
        )

    def _code(self, image: np.ndarray) -> bytes:
        assert image.shape == self.shape and image.dtype == np.uint8, f"image {image.shape} {image.dtype}, {self.shape}"
        options = (cv2.IMWRITE_JPEG_QUALITY, self.quality)
        done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
        assert done
        return data.tobytes()
