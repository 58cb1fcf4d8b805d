"""Draws a view of a world: sky, lit ground with road and shadows, then the solids from far to near, then rain."""

import math

import cv2
import numpy as np

from roadcast.data.toyroad.backdrop import Backdrop
from roadcast.data.toyroad.camera import NEAR, View, clip_near
from roadcast.data.toyroad.paint import SHIFT, Seen, to_fixed, visible_faces
from roadcast.data.toyroad.road import EDGE, STEP, Course
from roadcast.data.toyroad.scenery import Standing, shadow
from roadcast.data.toyroad.solids import Solids
from roadcast.data.toyroad.weather import FAR, Weather

ASPHALT, GRAVEL, MARK = (104, 106, 112), (150, 140, 118), (240, 240, 236)
_OFFSETS = np.array([EDGE + 1.1, EDGE, 3.5, 3.28, -3.28, -3.5, -EDGE, -EDGE - 1.1])
_STRIPS = ((0, 7, GRAVEL), (1, 6, ASPHALT), (2, 3, MARK), (4, 5, MARK))
_DASH, _PERIOD = 2, 6


def render(
    view: View, backdrop: Backdrop, course: Course, s: float, standing: Standing, cars: Solids, frame: int
) -> np.ndarray:
    """The picture [H, W, 3], RGB uint8, of a view near arc length `s` (m); `frame` moves the rain."""
    camera, weather = view.camera, backdrop.weather
    constant = backdrop.camera(camera)
    image = np.empty((camera.height, camera.width, 3), dtype=np.uint8)
    constant.draw_sky(image, view.yaw)
    ground = image[constant.horizon :]
    ground[:] = constant.flat
    _road(image, view, course, s)
    gain = constant.ground_gain(view)
    _shadows(gain, constant.horizon, view, weather, standing, cars)
    gain = cv2.cvtColor(gain, cv2.COLOR_GRAY2RGB)
    cv2.multiply(ground, gain, dst=ground, scale=1 / 128)
    cv2.multiply(ground, constant.light, dst=ground, scale=1 / 128)
    cv2.add(ground, constant.haze, dst=ground)
    seen = visible_faces(view, [standing.solids, cars])
    for polygon, colour in zip(seen.polygons, _colours(view, weather, seen).tolist()):
        cv2.fillConvexPoly(image, polygon, colour, cv2.LINE_AA, SHIFT)
    if weather.name == "rain":
        _rain(image, frame)
    return image


def _colours(view: View, weather: Weather, seen: Seen) -> np.ndarray:
    to_F3 = seen.middle_F3 - view.position
    forward, left = to_F3[:, :2] @ view.rotation[:2, 2], -(to_F3[:, :2] @ view.rotation[:2, 0])
    turn = view.camera.yaw
    c, s = math.cos(turn), math.sin(turn)
    light = weather.ambient * (0.86 + 0.14 * seen.normals_F3[:, 2:])
    light = light + weather.diffuse * np.clip(seen.normals_F3 @ weather.sun, 0, None)[:, None]
    if weather.lamps > 0:
        light = light + 0.8 * weather.headlight(c * forward - s * left, s * forward + c * left)
    shine = (seen.glow_F * weather.lamps)[:, None]
    lamp = np.where(seen.albedo_F3.sum(axis=1, keepdims=True) < 260, np.array([255.0, 206.0, 128.0]), seen.albedo_F3)
    lit = seen.albedo_F3 * light * (1 - shine) + lamp * shine
    fade = weather.fade(np.hypot(forward, left))[:, None]
    return np.rint(np.clip(lit * (1 - fade) + weather.haze * fade, 0, 255))


def _road(image: np.ndarray, view: View, course: Course, s: float) -> None:
    here = round(s / STEP)
    reach = math.ceil(FAR / STEP)
    fine = np.arange(here - 16, here + 29)
    back = np.arange((here - reach) // 4, (here - 16) // 4) * 4
    far = np.arange((here + 28) // 4 + 1, (here + reach) // 4) * 4
    index = np.concatenate((back, fine, far))
    centre_N2, normal_N2 = course.samples(index)
    points_LN3 = np.zeros((len(_OFFSETS), len(index), 3))
    points_LN3[..., :2] = centre_N2 + _OFFSETS[:, None, None] * normal_N2
    points_LN3 = _strips_to_near(view.to_camera(points_LN3))
    if points_LN3 is None:
        return
    fixed_LN2 = to_fixed(view.to_pixels(points_LN3))
    for a, b, colour in _STRIPS:
        cv2.fillPoly(image, [np.concatenate((fixed_LN2[a], fixed_LN2[b, ::-1]))], colour, cv2.LINE_AA, SHIFT)
    first = -(-(here - 60) // _PERIOD) * _PERIOD
    starts = np.arange(first, here + 60, _PERIOD)
    ends = (starts[:, None] + np.arange(_DASH + 1)).reshape(-1)
    centre_N2, normal_N2 = course.samples(ends)
    sides = np.zeros((len(ends), 2, 3))
    sides[..., :2] = centre_N2[:, None] + np.array([0.11, -0.11])[:, None] * normal_N2[:, None]
    sides = view.to_camera(sides).reshape(len(starts), _DASH + 1, 2, 3)
    quads = np.stack((sides[:, :-1, 0], sides[:, :-1, 1], sides[:, 1:, 1], sides[:, 1:, 0]), axis=2).reshape(-1, 4, 3)
    fixed = to_fixed(view.to_pixels(quads[quads[..., 2].min(axis=1) > NEAR]))
    u = fixed[..., 0]
    fixed = fixed[(u.max(axis=1) > 0) & (u.min(axis=1) < image.shape[1] << SHIFT)]
    if len(fixed):
        cv2.fillPoly(image, list(fixed), MARK, cv2.LINE_AA, SHIFT)


def _strips_to_near(points_LN3: np.ndarray) -> np.ndarray | None:
    """Lines [L, N, 3] in camera coordinates cut at NEAR: a point behind moves along its line onto the near plane."""
    z = points_LN3[..., 2]
    ahead = z > NEAR
    used = np.flatnonzero(ahead.any(axis=0))
    if not len(used):
        return None
    keep = slice(max(0, used[0] - 1), used[-1] + 2)
    points, z, ahead = points_LN3[:, keep].copy(), z[:, keep], ahead[:, keep]
    if ahead.all():
        return points
    for j in (-1, 1):
        beside = np.roll(points_LN3[:, keep], -j, axis=1)
        cut = ~ahead & (np.roll(ahead, -j, axis=1))
        cut[:, -1 if j == 1 else 0] = False
        f = (NEAR - z[cut]) / (beside[cut, 2] - z[cut])
        points[cut] = points_LN3[:, keep][cut] + f[:, None] * (beside[cut] - points_LN3[:, keep][cut])
    points[~ahead, 2] = NEAR
    return points


def _shadows(gain: np.ndarray, horizon: int, view: View, weather: Weather, standing: Standing, cars: Solids) -> None:
    """Darkens the ground gain where solids keep the sun from it, and under cars whatever the weather."""
    forward, right = view.rotation[:2, 2], view.rotation[:2, 0]
    hulls = []
    for group in (standing.solids, cars):
        to_O2 = group.centre_O2 - view.position[:2]
        ahead, side = to_O2 @ forward, np.abs(to_O2 @ right)
        reach = group.radius_O + group.top_O * np.hypot(*weather.throw)
        near = (ahead > -reach) & (ahead < 60.0 + reach) & (side < 0.84 * ahead + 1.3 * reach)
        if group is cars:
            hulls += [shadow(cars.corners_FK3[cars.owner_F == o], weather.throw) for o in np.flatnonzero(near)]
        elif weather.throw.any():
            index = np.flatnonzero(near)
            counts = standing.shadow_counts_O[index].tolist()
            hulls += [hull[:n] for hull, n in zip(standing.shadows_OK2[index], counts)]
    if not hulls:
        return
    ends = np.cumsum([len(hull) for hull in hulls]).tolist()
    flat_N2 = np.concatenate(hulls)
    points_N3 = view.to_camera(np.concatenate((flat_N2, np.zeros((len(flat_N2), 1))), axis=1))
    safe_N3 = points_N3.copy()
    safe_N3[:, 2] = np.maximum(safe_N3[:, 2], NEAR)
    fixed_N2 = to_fixed(view.to_pixels(safe_N3) - (0.0, horizon))
    behind_N = points_N3[:, 2] < NEAR
    mask = np.full(gain.shape, 255, dtype=np.uint8)
    dark = round(255 * (1 - max(weather.shade, 0.3)))
    for first, end in zip([0, *ends], ends):
        polygon = fixed_N2[first:end]
        if behind_N[first:end].any():
            clipped = clip_near(points_N3[first:end])
            if not len(clipped):
                continue
            polygon = to_fixed(view.to_pixels(clipped) - (0.0, horizon))
        cv2.fillConvexPoly(mask, polygon, dark, cv2.LINE_AA, SHIFT)
    cv2.multiply(gain, mask, dst=gain, scale=1 / 255)


def _rain(image: np.ndarray, frame: int) -> None:
    rng = np.random.default_rng([9, frame])
    height, width = image.shape[:2]
    streaks = np.zeros_like(image)
    n = 45
    start = rng.uniform((0, -0.1), (1, 1), (n, 2)) * (width, height)
    length = rng.uniform(0.03, 0.09, (n, 1)) * height
    ends = start + length * (start - (0.5 * width, -1.2 * height)) / height
    lines = np.rint(np.stack((start, ends), axis=1) * (1 << SHIFT)).astype(np.int32)
    cv2.polylines(streaks, list(lines), False, (34, 36, 40), 1, cv2.LINE_AA, SHIFT)
    cv2.add(image, streaks, dst=image)
