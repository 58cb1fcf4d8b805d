"""How the car moved, from its pictures alone: for recordings that have no pose."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from roadcast.data.reel.store import Reel, Video
from roadcast.data.signals.egomotion import dead_reckoning
from roadcast.data.sources.base import Signal
from roadcast.errors import UserError

GUESSED_VIEW = 90.0
"""Degrees from the left to the right edge of a picture whose camera is not known."""
FORWARD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Turns the axes of a level camera that looks forward (x right, y down, z forward) to the ego's (x forward, y left, z up)."""

CORNERS, QUALITY, APART = 400, 0.01, 1 / 50
WINDOW, LEVELS = 15, 3
BACK = 0.3
"""Pixels by which a corner may miss itself when it is tracked there and back."""
LEAST = 20
"""Corners needed for a motion."""
EPIPOLAR = 0.5
"""Pixels from its epipolar line within which a corner counts as of the standing world."""
SHARE = 0.4
"""Of the corners must be so, or the motion is not believed."""
STILL, STILL_SHARE = 0.15, 0.7
"""A picture stands still if this share of its corners moves by fewer pixels."""
PARALLAX = 0.25
"""Pixels by which the median corner must move beyond what the turn alone moves it, for the direction of travel to be known."""
SIDESLIP = np.radians(5.0)
"""A car travels along its own x, give or take this much."""
STEPS = 8
PAUSE = 0.3
"""Seconds of one and the same picture beyond which the car, and not the camera, has stopped."""


@dataclass(frozen=True)
class Odometry:
    """The motion of each picture from the one before it, as `odometry` finds it; row 0 is unknown. It has no scale.

    t_ns        int64 [F], when the pictures were taken
    yaw_rate    float32 [F], rad/s, positive to the left: the mean since the picture before; NaN where unknown
    direction   float32 [F, 3], where the camera went, a unit vector along the ego's axes at the picture before; NaN where
                unknown, or where it went nowhere
    inliers     float32 [F], share of the tracked corners that move as the standing world does: 0 where there were too few
    focal       pixels
    guessed     whether `focal` is GUESSED_VIEW's as the camera is not calibrated: yaw rates are wrong by a factor, then
    """

    t_ns: np.ndarray
    yaw_rate: np.ndarray
    direction: np.ndarray
    inliers: np.ndarray
    focal: float
    guessed: bool

    def signal(self) -> Signal:
        """The yaw rate where it is known, at the middles between pictures."""
        t_ns = np.concatenate([self.t_ns[:1], self.t_ns[1:] - np.diff(self.t_ns) // 2])
        return Signal.of(t_ns, self.yaw_rate)

    def path(self, speed: Signal) -> Signal:
        """The ego pose by `dead_reckoning` with a known speed (m/s), from the world's origin on; beyond a second or so it drifts.

        At the times of `speed` from the first known yaw rate to the last; what is unknown in between is interpolated.
        """
        return dead_reckoning(speed, self.signal())


def odometry(reel: Reel, video: Video, camera: int = 0) -> Odometry:
    """`odometry_of` the pictures of one recording of a reel, with its calibration as far as it has one."""
    rows = range(video.first, video.first + video.frames)
    t_ns = np.array(reel.index["t_ns"][camera :: len(reel.cameras)][rows.start : rows.stop])
    known = (video.calibration or {}).get(reel.cameras[camera], {})
    images = (reel.read(frame, camera) for frame in rows)
    return odometry_of(t_ns, images, known.get("intrinsics"), known.get("distortion"), known.get("to_ego"))


def odometry_of(
    t_ns: np.ndarray,
    images: Iterable[np.ndarray],
    intrinsics: np.ndarray | None = None,
    distortion: np.ndarray | None = None,
    to_ego: np.ndarray | None = None,
) -> Odometry:
    """Yaw rate and direction of travel of pictures, RGB uint8 [H, W, 3] or grey [H, W] and of one size, at times t_ns [F].

    Corners (Shi and Tomasi 1994, "Good features to track") are tracked from picture to picture and back (Lucas and Kanade
    1981, by a pyramid); five of them at a time give an essential matrix E = [t]x R (Nister 2004, "An efficient solution to the
    five-point relative pose problem"), and the one that most agree with is refined on those by their Sampson distance
    (Hartley and Zisserman 2004, equation 11.9), with travel along the ego's x as a prior, as a turn and a step to the side are
    nearly one in pictures. The smaller of the two turns of E counts. Nothing is random from call to call.

    A picture that repeats the one before shares in the motion to the next new one; after PAUSE seconds it stands still. Where
    the picture stands still the yaw rate is 0 and the direction NaN; both are NaN where too few corners are found or agree,
    as in blur.
    intrinsics   3x3 rows in the pictures' pixels; by default a view of GUESSED_VIEW degrees
    distortion   k1 k2 p1 p2 k3, as OpenCV's; by default none
    to_ego       4x4 rows, from the camera's frame to the ego's; by default the camera is level and looks forward
    Raises `UserError` if intrinsics are not those of a camera.
    """
    t_ns = np.asarray(t_ns, np.int64)
    yaw_rate, direction = np.full(len(t_ns), np.nan, np.float32), np.full((len(t_ns), 3), np.nan, np.float32)
    inliers = np.zeros(len(t_ns), np.float32)
    turned = FORWARD if to_ego is None else np.asarray(to_ego, np.float64)[:3, :3]
    lens, last, first_repeat, before = None, 0, 1, None
    for n, image in enumerate(images):
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if before is None:
            lens, before = _lens(grey, intrinsics, distortion), grey
            continue
        assert lens is not None
        repeats = np.array_equal(grey, before) or t_ns[n] <= t_ns[last]
        if repeats and n < len(t_ns) - 1:
            continue
        span = slice(first_repeat, n + 1)
        if repeats:
            yaw_rate[span], inliers[span] = 0, 1
        else:
            seconds = (t_ns[n] - t_ns[last]) * 1e-9
            if (t_ns[n - 1] - t_ns[last]) * 1e-9 > PAUSE:
                yaw_rate[first_repeat:n], inliers[first_repeat:n] = 0, 1
                span, seconds = slice(n, n + 1), (t_ns[n] - t_ns[n - 1]) * 1e-9
            motion = _motion(before, grey, lens, turned)
            yaw_rate[span], direction[span], inliers[span] = motion.yaw / seconds, motion.direction, motion.inliers
        last, first_repeat, before = n, n + 1, grey
    focal = lens.focal if lens else float("nan")
    return Odometry(t_ns, yaw_rate, direction, inliers, focal, intrinsics is None)


@dataclass(frozen=True)
class _Lens:
    intrinsics: np.ndarray
    distortion: np.ndarray | None

    @property
    def focal(self) -> float:
        return float(self.intrinsics[0, 0])

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels [N, 2] as points x y of the plane z = 1, float64 [N, 2]."""
        points = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
        return cv2.undistortPoints(points, self.intrinsics, self.distortion).reshape(-1, 2)


@dataclass(frozen=True)
class _Motion:
    yaw: float
    direction: np.ndarray
    inliers: float


def _lens(image: np.ndarray, intrinsics: np.ndarray | None, distortion: np.ndarray | None) -> _Lens:
    height, width = image.shape[:2]
    if intrinsics is None:
        focal = width / 2 / np.tan(np.radians(GUESSED_VIEW) / 2)
        return _Lens(np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]), None)
    matrix = np.asarray(intrinsics, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise UserError(f"intrinsics = {matrix.tolist()}: are no camera's; give 3 rows of 3, in pixels, or none")
    return _Lens(matrix, None if distortion is None else np.asarray(distortion, np.float64))


def _motion(before: np.ndarray, after: np.ndarray, lens: _Lens, turned: np.ndarray) -> _Motion:
    """The motion between two grey pictures of a camera whose axes `turned` [3, 3] turns to the ego's."""
    nowhere = np.full(3, np.nan)
    a, b = _tracked(before, after)
    if len(a) < LEAST:
        return _Motion(np.nan, nowhere, 0.0)
    moved = np.linalg.norm(b - a, axis=1)
    if np.quantile(moved, STILL_SHARE) < STILL:
        return _Motion(0.0, nowhere, float(np.mean(moved < STILL)))
    x, y = lens.rays(a), lens.rays(b)
    essential, mask = cv2.findEssentialMat(x, y, np.eye(3), cv2.RANSAC, 0.999, EPIPOLAR / lens.focal)
    if essential is None or essential.shape != (3, 3):
        return _Motion(np.nan, nowhere, 0.0)
    kept = mask.ravel() > 0
    share = float(kept.mean())
    if share < SHARE or kept.sum() < LEAST:
        return _Motion(np.nan, nowhere, share)
    x, y = (np.concatenate([points[kept], np.ones((kept.sum(), 1))], 1) for points in (x, y))
    one, other, t = cv2.decomposeEssentialMat(essential)
    rotation = one if np.trace(one) >= np.trace(other) else other
    rotation, t = _refined(rotation, t.ravel(), x, y, turned.T[:, 0], 1 / lens.focal)
    unturned = x @ rotation.T
    unturned = unturned / unturned[:, 2:]
    parallax = np.median(np.linalg.norm(y - unturned, axis=1)) * lens.focal
    vector = cv2.Rodrigues(turned @ rotation.T @ turned.T)[0].ravel()
    if parallax < PARALLAX:
        return _Motion(float(vector[2]), nowhere, share)
    along = np.einsum("ni,ni->n", np.cross(unturned, y), np.cross(t[None], y))
    t = t if np.sum(along < 0) > len(y) / 2 else -t
    return _Motion(float(vector[2]), turned @ rotation.T @ -t, share)


def _tracked(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of one picture and where they are in the next, float32 [N, 2] each."""
    corners = cv2.goodFeaturesToTrack(before, CORNERS, QUALITY, max(3.0, before.shape[1] * APART))
    if corners is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    corners = corners.reshape(-1, 1, 2)
    options = {"winSize": (WINDOW, WINDOW), "maxLevel": LEVELS}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, **options)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **options)
    a, b = corners[:, 0], there[:, 0]
    height, width = after.shape
    kept = (found.ravel() > 0) & (again.ravel() > 0) & (np.linalg.norm(back[:, 0] - a, axis=1) < BACK)
    kept &= (b >= 0).all(1) & (b[:, 0] <= width - 1) & (b[:, 1] <= height - 1)
    return a[kept], b[kept]


def _refined(
    rotation: np.ndarray, t: np.ndarray, x: np.ndarray, y: np.ndarray, forward: np.ndarray, pixel: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and unit t of y ~ rotation x + t with the least Sampson distance (Cauchy's weights, Levenberg's steps).

    forward   the ego's x in the camera's frame, along which t is thought to lie up to SIDESLIP
    pixel     the size of a pixel at z = 1
    """
    damping, change = 1e-3, 1e-6
    residuals = _residuals(rotation, t, x, y, forward, pixel)
    for _ in range(STEPS):
        weights = np.sqrt(1 / (1 + residuals**2))
        weights[-3:] = 1
        basis = np.linalg.svd(t[None])[2][1:]
        columns = []
        for k in range(5):
            step = np.zeros(5)
            step[k] = change
            columns.append((_residuals(*_stepped(rotation, t, basis, step), x, y, forward, pixel) - residuals) / change)
        jacobian = np.stack(columns, 1) * weights[:, None]
        normal = jacobian.T @ jacobian
        step = -np.linalg.solve(
            normal + damping * np.diag(np.diag(normal)) + 1e-9 * np.eye(5), jacobian.T @ (weights * residuals)
        )
        new_rotation, new_t = _stepped(rotation, t, basis, step)
        new = _residuals(new_rotation, new_t, x, y, forward, pixel)
        if _cost(new) < _cost(residuals):
            rotation, t, residuals, damping = new_rotation, new_t, new, damping / 10
            if np.abs(step[:3]).max() < 1e-7:
                break
        else:
            damping *= 10
    return rotation, t


def _cost(residuals: np.ndarray) -> float:
    return float(np.log1p(residuals[:-3] ** 2).sum() + np.square(residuals[-3:]).sum())


def _stepped(rotation: np.ndarray, t: np.ndarray, basis: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    moved = t + step[3:] @ basis
    return cv2.Rodrigues(step[:3])[0] @ rotation, moved / np.linalg.norm(moved)


def _residuals(
    rotation: np.ndarray, t: np.ndarray, x: np.ndarray, y: np.ndarray, forward: np.ndarray, pixel: float
) -> np.ndarray:
    """Sampson distances [N] in units of 0.2 pixels, and how far t lies across `forward` [3] in units of SIDESLIP / sqrt(N).

    All corners err alike where a turn looks like travel to the side, so a direction that is off must cost as much as all do.
    """
    essential = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]]) @ rotation
    lines, other = x @ essential.T, y @ essential
    distance = np.einsum("ni,ni->n", y, lines)
    size = np.sqrt((lines[:, :2] ** 2).sum(1) + (other[:, :2] ** 2).sum(1))
    travelled = rotation.T @ t
    across = np.cross(travelled, forward)
    return np.concatenate([distance / np.maximum(size, 1e-12) / (0.2 * pixel), across * (np.sqrt(len(x)) / SIDESLIP)])
