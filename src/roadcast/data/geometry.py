"""Poses and rigid motions: x y z in m and a unit quaternion w x y z, which turns the body's axes to the world's.

A pose p = (t, q) takes a point of the body to the world: x_world = R(q) x_body + t. Products are written left to right as
matrices are: (a b) takes a point by b first. Formulas as in Sola 2017, "Quaternion kinematics for the error-state Kalman
filter", equations 12 (product), 97 (vector turned) and 115 (matrix).
"""

import numpy as np


def matrix_of(pose: np.ndarray) -> np.ndarray:
    """The 4x4 matrices float64 [..., 4, 4] of poses [..., 7]."""
    pose = np.asarray(pose, np.float64)
    w, x, y, z = np.moveaxis(pose[..., 3:] / np.linalg.norm(pose[..., 3:], axis=-1, keepdims=True), -1, 0)
    out = np.zeros((*pose.shape[:-1], 4, 4))
    out[..., 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1)
    out[..., 1, :3] = np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1)
    out[..., 2, :3] = np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1)
    out[..., :3, 3] = pose[..., :3]
    out[..., 3, 3] = 1
    return out


def pose_of(matrix: np.ndarray) -> np.ndarray:
    """The poses float64 [..., 7] of rigid 4x4 matrices [..., 4, 4]; w >= 0 (Shepperd 1978, the largest component first)."""
    m = np.asarray(matrix, np.float64)
    r = m[..., :3, :3]
    d = np.einsum("...ii->...i", r)
    trace = d.sum(-1, keepdims=True)
    squares = np.concatenate([1 + trace, 1 + 2 * d - trace], -1)  # 4 times the squares of w x y z
    best = squares.argmax(-1)
    wx, wy, wz = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    xy, xz, yz = r[..., 0, 1] + r[..., 1, 0], r[..., 0, 2] + r[..., 2, 0], r[..., 1, 2] + r[..., 2, 1]
    s0, s1, s2, s3 = np.moveaxis(squares, -1, 0)
    rows = np.stack(
        [np.stack(row, -1) for row in ((s0, wx, wy, wz), (wx, s1, xy, xz), (wy, xy, s2, yz), (wz, xz, yz, s3))], -2
    )
    q = np.take_along_axis(rows, best[..., None, None], -2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.concatenate([m[..., :3, 3], np.where(q[..., :1] < 0, -q, q)], -1)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The inverses of rigid 4x4 matrices [..., 4, 4]: R^T, and -R^T t."""
    out = np.zeros_like(np.asarray(matrix, np.float64))
    turned = np.swapaxes(matrix[..., :3, :3], -1, -2)
    out[..., :3, :3] = turned
    out[..., :3, 3] = -np.einsum("...ij,...j->...i", turned, matrix[..., :3, 3])
    out[..., 3, 3] = 1
    return out


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points [..., 3] taken by one rigid 4x4 matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def relative(pose: np.ndarray) -> np.ndarray:
    """Each pose [F, 7] in the frame of the one before it, float64 [F, 7]; the first is no motion. NaN next to an unknown pose."""
    matrices = matrix_of(pose)
    steps = np.concatenate([np.eye(4)[None], inverse(matrices[:-1]) @ matrices[1:]])
    steps[0] = np.where(np.isfinite(matrices[0]), steps[0], np.nan)
    return pose_of(steps)


def from_first(pose: np.ndarray) -> np.ndarray:
    """Each pose of rows [..., F, 7] in the frame of the row's first, T_0^-1 T_f, float64; NaN where it or the first is unknown."""
    known = np.isfinite(pose).all(-1) & np.isfinite(pose[..., :1, :]).all(-1)
    matrices = matrix_of(np.where(known[..., None], pose, [0, 0, 0, 1, 0, 0, 0]))
    return np.where(known[..., None], pose_of(inverse(matrices[..., :1, :, :]) @ matrices), np.nan)


def yaw_of(pose: np.ndarray) -> np.ndarray:
    """The heading of poses [..., 7] in rad, from the world's x towards its y."""
    w, x, y, z = np.moveaxis(np.asarray(pose, np.float64)[..., 3:], -1, 0)
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Points [N, 3] of a camera's frame (x right, y down, z forward, z > 0) as pixels float64 [N, 2], u right and v down."""
    uvw = points @ np.asarray(intrinsics, np.float64).T
    return uvw[:, :2] / uvw[:, 2:]
