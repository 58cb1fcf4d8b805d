"""Temporal consistency: does the next frame look like this one, moved?"""

import cv2
import numpy as np

from roadcast.perception.flow import pixels, sampled, seen_in_both

CELLS = (4, 8)  # down, across


def warp_error(before_HWC: np.ndarray, after_HWC: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> float:
    """Mean absolute difference in grey levels (0 to 255) between a frame and the one before, moved along the flow.

    E = sum_p M(p) |after(p) - before(p + backward(p))| / sum_p M(p), over pixels p seen in both frames, after
    Lai et al., "Learning Blind Video Temporal Consistency" (2018), sec. 4.2, with the mean absolute in place of the
    squared difference and the flow taken between the frames under test, since a generated video has no source video.
    M is `perception.flow.seen_in_both`.
    Flicker, popping and boiling textures raise it. A frozen or blank video scores 0, which is why it is always
    read beside the amount of motion.

    Args:
        before_HWC, after_HWC: uint8 RGB.
        forward, backward: flow [H, W, 2] in pixels from `before` to `after`, and from `after` to `before`.
    Returns: grey levels; 0 when no pixel is valid.
    """
    moved = sampled(before_HWC, pixels(*backward.shape[:2]) + backward)
    valid = seen_in_both(forward, backward).astype(np.uint8)
    return float(np.mean(cv2.mean(cv2.absdiff(after_HWC, moved), valid)[:3]))


def flicker(video_FHWC: np.ndarray) -> np.ndarray:
    """`mean over cells |b[f] - 2 b[f-1] + b[f-2]|`, b the mean brightness of each of CELLS of a frame, in grey levels [F - 2].

    What brightens evenly, as a car coming nearer does, has no second difference; lights that pulse from frame to frame do. Cells
    are so large that motion hardly shows in them.
    """
    height, width = CELLS
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in video_FHWC]
    cells = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in grey])
    return np.abs(np.diff(cells, n=2, axis=0)).mean(axis=(1, 2))
