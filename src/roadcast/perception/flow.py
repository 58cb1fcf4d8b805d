"""Optical flow: which way every pixel moves from one frame to the next, and which of them both frames show."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor


def dense_flow(before_HW: np.ndarray, after_HW: np.ndarray) -> np.ndarray:
    """Motion of every pixel from one grey image to the next, [H, W, 2] as (right, down) in pixels.

    Dense inverse search, preset medium (Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse
    Search", 2016), as in OpenCV. It is an estimate: plain surfaces get the motion of their surroundings.
    """
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before_HW, after_HW, None)


def seen_in_both(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Which pixels of the second of two frames the first shows too, bool [H, W].

    Not those that come from outside the picture, nor those whose two flows disagree (Sundaram et al. 2010):
    |w_b + w_f|^2 > 0.01 (|w_b|^2 + |w_f|^2) + 0.5, w_f read at p + w_b.

    forward, backward  flow [H, W, 2] in pixels from the first to the second, and from the second to the first
    """
    at = pixels(*backward.shape[:2]) + backward
    there = sampled(forward, at)
    return inside(at) & (_square(backward + there) <= 0.01 * (_square(backward) + _square(there)) + 0.5)


def pixels(height: int, width: int) -> np.ndarray:
    """Every pixel's u and v, float32 [H, W, 2]; (0, 0) is the centre of the top left one."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def inside(at_HW2: np.ndarray) -> np.ndarray:
    """Which of the places, one a pixel of a picture, lie in that picture."""
    height, width = at_HW2.shape[:2]
    return (at_HW2 >= 0).all(-1) & (at_HW2[..., 0] <= width - 1) & (at_HW2[..., 1] <= height - 1)


def sampled(image: np.ndarray, at_HW2: np.ndarray) -> np.ndarray:
    """The picture between its pixels, bilinear."""
    return cv2.remap(image, at_HW2[..., 0], at_HW2[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@torch.library.custom_op("roadcast::backward_flow", mutates_args=())
def backward_flow(frames_BFHWC: Tensor) -> tuple[Tensor, Tensor]:
    """The flow from each frame of uint8 RGB clips, but the first, back to the one before it, and where it can be trusted.

    returns  flow [B, F - 1, H, W, 2] as (right, down) in pixels, and `seen_in_both`, bool [B, F - 1, H, W]

    Found on the CPU, a clip a thread. An operator of torch, for memory and arithmetic are counted on tensors without numbers.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        flows, seen = zip(*pool.map(_of_clip, frames_BFHWC.cpu().numpy()), strict=True)
    return tuple(torch.from_numpy(np.stack(x)).to(frames_BFHWC.device) for x in (flows, seen))  # pyright: ignore


@backward_flow.register_fake
def _(frames_BFHWC: Tensor) -> tuple[Tensor, Tensor]:
    batch, frames, height, width, _ = frames_BFHWC.shape
    seen = frames_BFHWC.new_empty(batch, frames - 1, height, width, dtype=torch.bool)
    return seen.new_empty(*seen.shape, 2, dtype=torch.float32), seen


def _of_clip(frames_FHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_FHWC]
    backward = np.stack([dense_flow(after, before) for before, after in pairwise(grey)])
    forward = np.stack([dense_flow(before, after) for before, after in pairwise(grey)])
    return backward, np.stack([seen_in_both(f, b) for f, b in zip(forward, backward, strict=True)])


def _square(flow_HW2: np.ndarray) -> np.ndarray:
    return flow_HW2[..., 0] ** 2 + flow_HW2[..., 1] ** 2
