"""LiDAR-like and radar-like returns by casting rays at the same solids that the cameras see."""

import math

import numpy as np

from roadcast.data.toyroad.solids import Solids

LIDAR = (0.5, 0.0, 1.75)
"""The LiDAR on the roof, ego frame, m."""
LIDAR_RANGE = 80.0
LIDAR_RINGS = np.radians(np.linspace(-22.0, 4.0, 14))
LIDAR_BEAMS = 360
RADAR = (2.1, 0.0, 0.6)
"""The radar in the front bumper, ego frame, m."""
RADAR_RANGE = 120.0
RADAR_HALF_ANGLE = math.radians(60)


def cast(
    solids: Solids, origin_3: np.ndarray, azimuth_A: np.ndarray, tangent_E: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First hits of rays (cos a, sin a, t): horizontal ranges [A, E] (m; inf: none) and owners [A, E] (-1: none).

    A ray is inside a convex part between the last plane it enters through and the first it leaves through.
    """
    shape = (len(azimuth_A), len(tangent_E))
    ranges, owners = np.full(shape, np.inf), np.full(shape, -1)
    to_O2 = solids.centre_O2 - origin_3[:2]
    distance_O = np.hypot(to_O2[:, 0], to_O2[:, 1])
    share_O = np.clip(solids.radius_O / np.maximum(distance_O, 1e-9), 0, 1)
    half_O = np.where(share_O < 1, np.arcsin(share_O), math.pi)
    off_AO = np.arctan2(to_O2[:, 1], to_O2[:, 0])[None] - azimuth_A[:, None]
    hit_AO = np.abs((off_AO + math.pi) % (2 * math.pi) - math.pi) <= half_O
    beam, part = np.nonzero(hit_AO[:, solids.owner_P])
    direction_A3 = np.stack((np.cos(azimuth_A), np.sin(azimuth_A), np.zeros(len(azimuth_A))), axis=1)
    planes_JK4 = solids.planes_PK4[part]
    flat_JK = np.einsum("jkc,jc->jk", planes_JK4[..., :3], direction_A3[beam])
    gap_JK = planes_JK4[..., 3] - planes_JK4[..., :3] @ origin_3
    slope_JEK = flat_JK[:, None] + tangent_E[:, None] * planes_JK4[:, None, :, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        t_JEK = gap_JK[:, None] / slope_JEK
    enter_JE = np.where(slope_JEK < -1e-12, t_JEK, -np.inf).max(axis=2)
    leave_JE = np.where(slope_JEK > 1e-12, t_JEK, np.inf).min(axis=2)
    misses_JE = ((np.abs(slope_JEK) <= 1e-12) & (gap_JK[:, None] < 0)).any(axis=2)
    found_JE = np.where(~misses_JE & (enter_JE > 0) & (enter_JE <= leave_JE), enter_JE, np.inf)
    order = np.argsort(-found_JE, axis=0, kind="stable")
    for e in range(shape[1]):
        rows = order[:, e]
        ranges[beam[rows], e] = found_JE[rows, e]
        owners[beam[rows], e] = np.where(np.isfinite(found_JE[rows, e]), solids.owner_P[part[rows]], -1)
    return ranges, owners


def lidar(solids: Solids, pose: tuple[float, float, float]) -> np.ndarray:
    """Points [P, 3] float32 in the ego frame, of all beams that met something within LIDAR_RANGE."""
    origin, yaw = _mounted(LIDAR, pose), pose[2]
    azimuth_A = np.arange(LIDAR_BEAMS) * 2 * math.pi / LIDAR_BEAMS
    tangent_E = np.tan(LIDAR_RINGS)
    ranges_AE, _ = cast(solids, origin, azimuth_A + yaw, tangent_E)
    ground_E = np.where(tangent_E < 0, LIDAR[2] / np.maximum(-tangent_E, 1e-9), np.inf)
    ranges_AE = np.minimum(ranges_AE, ground_E)
    beam, ring = np.nonzero(ranges_AE * np.hypot(1.0, tangent_E) < LIDAR_RANGE)
    r = ranges_AE[beam, ring]
    points = np.stack((r * np.cos(azimuth_A[beam]), r * np.sin(azimuth_A[beam]), r * tangent_E[ring]), axis=1)
    return (points + LIDAR).astype(np.float32)


def radar(
    solids: Solids, velocity_O2: np.ndarray, pose: tuple[float, float, float], speed: tuple[float, float, float]
) -> np.ndarray:
    """Returns [R, 3] float32 of things in plain sight: range (m), azimuth (rad, positive left), radial speed (m/s).

    The range is that of the surface on the ray to the thing's centre. The radial speed is (v_thing - v_radar) . e,
    negative when closing. `speed` is the ego's velocity x, y in its own frame (m/s) and its yaw rate (rad/s).
    """
    origin, yaw = _mounted(RADAR, pose), pose[2]
    to_O2 = solids.centre_O2 - origin[:2]
    azimuth_O = np.arctan2(to_O2[:, 1], to_O2[:, 0])
    seen_O = np.abs((azimuth_O - yaw + math.pi) % (2 * math.pi) - math.pi) < RADAR_HALF_ANGLE
    candidates = np.flatnonzero(seen_O & (np.hypot(to_O2[:, 0], to_O2[:, 1]) < RADAR_RANGE))
    ranges, owners = cast(solids, origin, azimuth_O[candidates], np.zeros(1))
    first = owners[:, 0] == candidates
    candidates, ranges = candidates[first], ranges[first, 0]
    vx, vy, rate = speed
    vx, vy = vx - rate * RADAR[1], vy + rate * RADAR[0]
    c, s = math.cos(yaw), math.sin(yaw)
    own = np.array([c * vx - s * vy, s * vx + c * vy])
    towards = np.stack((np.cos(azimuth_O[candidates]), np.sin(azimuth_O[candidates])), axis=1)
    radial = ((velocity_O2[candidates] - own) * towards).sum(axis=1)
    bearing = (azimuth_O[candidates] - yaw + math.pi) % (2 * math.pi) - math.pi
    return np.stack((ranges, bearing, radial), axis=1).astype(np.float32)


def _mounted(mount: tuple[float, float, float], pose: tuple[float, float, float]) -> np.ndarray:
    x, y, yaw = pose
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([x + c * mount[0] - s * mount[1], y + s * mount[0] + c * mount[1], mount[2]])
