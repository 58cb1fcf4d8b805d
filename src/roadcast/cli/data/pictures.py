"""Pictures to files, for the commands that draw."""

from pathlib import Path
from typing import TYPE_CHECKING

from roadcast.errors import UserError

if TYPE_CHECKING:
    import numpy as np

JPEG_QUALITY = 92


def check_ending(path: Path, endings: tuple[str, ...]) -> None:
    """A `UserError` if the file's name does not say one of the kinds that can be written."""
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: is written as {' or '.join(endings)}; give a name that ends so")


def write_picture(path: Path, image_HWC: "np.ndarray") -> None:
    """Write an RGB uint8 picture as the .png or .jpg that the file's name says, whole or not at all."""
    import cv2

    from roadcast.files import write_file

    options = [] if path.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR), options)
    assert done
    write_file(path, lambda beside: beside.write_bytes(data.tobytes()))
