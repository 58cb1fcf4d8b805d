"""What is plainly wrong with a picture that a world shows: for the gate, and frame by frame while it is driven."""

from typing import Literal

import numpy as np

Fault = Literal["error", "nan", "blank", "frozen"]
"""error: no frame came. nan: its numbers are none. blank: black, or of one colour. frozen: the last frame, to the bit, under way."""

BLANK = 8
"""Grey levels between the darkest and the brightest value of a picture that shows nothing; toyroad's nights span over 60."""
EVERY = 4


def picture_fault(frame_HWC: np.ndarray, before_HWC: np.ndarray, action: dict[str, float]) -> Fault | None:
    """What is wrong with a frame that came after `before_HWC` under `action`, None where nothing is.

    A picture may stand still where nobody drives on: without throttle, or on the brake. Costs some 20 microseconds at 512x256.
    """
    seen = frame_HWC[::EVERY, ::EVERY]
    if int(seen.max()) - int(seen.min()) <= BLANK:
        return "blank"
    driven = action.get("throttle", 1.0) > 0 and action.get("brake", 0.0) <= 0
    if driven and np.array_equal(frame_HWC, before_HWC):
        return "frozen"
    return None
