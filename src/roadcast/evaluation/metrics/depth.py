"""Depth: how far from the truth it is, and whether the depth of consecutive frames tells of one scene."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from roadcast.data.geometry import inverse, matrix_of, moved, project
from roadcast.perception.flow import dense_flow, inside, pixels, sampled, seen_in_both

SCALES = np.geomspace(0.25, 4.0, 33)
"""Of depth, among which `depth_scale` looks."""
BEHIND = 1.05
"""A point this many times as far as another of the same pixel is hidden by it."""


@dataclass(frozen=True)
class DepthErrors:
    """Against true depth: of each picture over the pixels where it is known, then the mean over pictures.

    abs_rel  mean |d - d*| / d*
    delta    share of pixels with max(d / d*, d* / d) < 1.25
    silog    (mean e^2 - (mean e)^2)^1/2 of e = log d - log d*, which no scale changes: the root of twice Eigen et al. 2014, eq. 1
    """

    abs_rel: float
    delta: float
    silog: float


def depth_errors(depth: np.ndarray, true: np.ndarray, farthest: float = 80.0, scaled: bool = False) -> DepthErrors:
    """The errors of depth [..., H, W] in m against the truth of the same shape, NaN, inf or 0 where unknown.

    farthest  pixels whose true depth in m is above it are left out (80: the custom of Eigen et al. 2014 and KITTI)
    scaled    each picture is first multiplied by median(d*) / median(d) (Zhou et al. 2017, section 4.1)
    Raises: ValueError when the shapes differ or no pixel is known.
    """
    if depth.shape != true.shape:
        raise ValueError(f"depth is {depth.shape} and the truth {true.shape}; they must have one shape")
    rows = []
    for d, t in zip(depth.reshape(-1, *depth.shape[-2:]), true.reshape(-1, *true.shape[-2:]), strict=True):
        valid = np.isfinite(t) & (t > 0) & (t <= farthest)
        if valid.any():
            d, t = d[valid].astype(np.float64), t[valid].astype(np.float64)
            ratio = d / t * (np.median(t) / np.median(d) if scaled else 1.0)
            rows.append((np.abs(ratio - 1).mean(), (np.maximum(ratio, 1 / ratio) < 1.25).mean(), np.log(ratio).std()))
    if not rows:
        raise ValueError(f"no pixel has a true depth within {farthest} m")
    return DepthErrors(*np.mean(rows, axis=0).tolist())


def depth_consistency(
    depth_FHW: np.ndarray, pose_F7: np.ndarray, intrinsics: np.ndarray, to_ego: np.ndarray, scale: float = 1.0
) -> np.ndarray:
    """How far the depth of each frame is from that of the one before it, moved along the ego's motion: [F - 1], 0 for one rigid scene.

        X' = T_{f -> f+1} s d_f(p) K^-1 p,   p' = K X',   E_f = mean_p |log X'_z - log s d_{f+1}(p')|

    over pixels p whose p' lies in the picture and is not hidden by another of the frame's own points (a z-buffer of the X'). After the
    geometry consistency of Bian et al. 2019, eq. 2 and 3, with the logarithm of the two depths' ratio for their difference over their
    sum: near 0 it is twice that. Other cars are no part of one rigid scene, so real video with true depth does not reach 0 either.

    Args:
        depth_FHW: along the optical axis; pixels that are not finite are left out.
        pose_F7: x y z (m) and quaternion w x y z of the ego (x forward, y left, z up) in any fixed frame; NaN where unknown.
        intrinsics, to_ego: [3, 3] for the frames' pixels, [4, 4] from camera (x right, y down, z forward) to ego, m.
        scale: s, metres of depth's unit; of real video it is `depth_scale`, and what is compared with that has the same.
    Returns: mean |log ratio|, dimensionless; NaN where a pose is unknown or no pixel is left.
    """
    poses = matrix_of(pose_F7)
    steps = inverse(to_ego) @ inverse(poses[1:]) @ poses[:-1] @ to_ego
    return np.array(
        [
            _moved_error(before, after, step, np.asarray(intrinsics))
            for (before, after), step in zip(pairwise(scale * depth_FHW), steps)
        ]
    )


def depth_scale(depth_FHW: np.ndarray, pose_F7: np.ndarray, intrinsics: np.ndarray, to_ego: np.ndarray) -> float:
    """The scale that makes `depth_consistency` of a real clip least, of SCALES; 1 for one that does not move or has no pose.

    A network knows depth up to a factor, and motion is in m. One factor a clip, from real video: were it free for imagined video too, a
    frozen one would choose an endless depth, before which all motion is nothing.
    """
    travelled = np.linalg.norm(np.diff(pose_F7[:, :3], axis=0), axis=1)
    if not np.nansum(travelled) > 0.1:
        return 1.0
    errors = [np.nanmean(depth_consistency(depth_FHW, pose_F7, intrinsics, to_ego, s)) for s in SCALES]
    return float(SCALES[np.argmin(errors)])


def depth_flicker(depth_FHW: np.ndarray, video_FHWC: np.ndarray) -> np.ndarray:
    """How depth changes along the optical flow where no pose is known: [F - 1], dimensionless.

        e_f(p) = log d_{f+1}(p) - log d_f(p + w_b),   F_f = mean_p |e_f(p) - m|

    over pixels seen in both frames (their two flows agree: Sundaram et al. 2010), w_b the flow from frame f + 1 to f and m the median of
    all e of the clip. It is no consistency with a motion: real video does not score 0, as what is ahead comes nearer. Read it beside real
    video through the same network.

    Args:
        depth_FHW: depth of any scale.
        video_FHWC: the uint8 RGB frames that it is of.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video_FHWC]
    log_depth = np.log(depth_FHW).astype(np.float32)
    changes = []
    for f, (before, after) in enumerate(pairwise(grey)):
        forward, backward = dense_flow(before, after), dense_flow(after, before)
        there = sampled(log_depth[f], pixels(*after.shape) + backward)
        changes.append((log_depth[f + 1] - there)[seen_in_both(forward, backward)])
    middle = np.median(np.concatenate(changes))
    return np.array([np.abs(change - middle).mean() if len(change) else np.nan for change in changes])


def _moved_error(before_HW: np.ndarray, after_HW: np.ndarray, step: np.ndarray, intrinsics: np.ndarray) -> float:
    """E_f of one pair of frames, `step` [4, 4] taking points of the first camera to the second."""
    height, width = before_HW.shape
    rays_HW3 = (
        np.concatenate([pixels(height, width), np.ones((height, width, 1))], axis=-1) @ np.linalg.inv(intrinsics).T
    )
    known_HW = np.isfinite(before_HW)
    points_HW3 = moved(np.where(known_HW, before_HW, 0)[..., None] * rays_HW3, step)
    z_HW = points_HW3[..., 2]
    ahead = known_HW & (z_HW > 0)
    at_HW2 = np.full((height, width, 2), -1.0, np.float32)
    at_HW2[ahead] = project(points_HW3[ahead], intrinsics)
    seen = ahead & inside(at_HW2)
    u, v = np.rint(at_HW2[seen]).astype(int).T
    nearest_HW = np.full((height, width), np.inf)
    np.minimum.at(nearest_HW, (v, u), z_HW[seen])
    seen[seen] = z_HW[seen] <= BEHIND * nearest_HW[v, u]
    there_HW = sampled(after_HW.astype(np.float32), at_HW2)
    seen &= np.isfinite(there_HW)
    return float(np.abs(np.log(z_HW[seen] / there_HW[seen])).mean()) if seen.any() else np.nan
