"""Faces to be painted in a picture, prepared for all views of one small cell of poses, so that a frame is cheap."""

from dataclasses import dataclass

import numpy as np

from roadcast.data.toyroad.camera import NEAR, POSITION, Camera, View, place
from roadcast.data.toyroad.paint import members, things_in_view
from roadcast.data.toyroad.solids import Solids
from roadcast.data.toyroad.weather import Weather

_GRID, _TURN = 6.0, 0.25
_SLACK = 4.3
_CARD_FROM, _OUTLINE_FROM = 25.0, 42.0
_FADE_FROM, _FADE_OVER = 25.0, 25.0
_SMALLEST = 0.4
_KEPT = 32
_LAMP = np.array([255.0, 206.0, 128.0])


@dataclass(frozen=True)
class Sketch:
    """O things of F faces, all float32, in world directions from an origin on the ground.

    corners_4FK       x, y, z (m) and 1 of the corners
    planes_F4         outward normal n and -n . p of the planes
    contrast_F3       colours without fog and headlights, less the colour of the haze
    albedo_F3         colours in white light
    owner_F           which thing a face belongs to
    things_O4         x, y (m), radius (m) of the things, and their radius squared
    """

    origin_2: np.ndarray
    corners_4FK: np.ndarray
    planes_F4: np.ndarray
    contrast_F3: np.ndarray
    albedo_F3: np.ndarray
    owner_F: np.ndarray
    things_O4: np.ndarray


def joined(a: Sketch, b: Sketch) -> Sketch:
    """Both in one; their origin is the same."""
    return Sketch(
        a.origin_2,
        np.concatenate((a.corners_4FK, b.corners_4FK), axis=1),
        np.concatenate((a.planes_F4, b.planes_F4)),
        np.concatenate((a.contrast_F3, b.contrast_F3)),
        np.concatenate((a.albedo_F3, b.albedo_F3)),
        np.concatenate((a.owner_F, b.owner_F + len(a.things_O4))),
        np.concatenate((a.things_O4, b.things_O4)),
    )


def contrasts(weather: Weather, up_F: np.ndarray, albedo_F3: np.ndarray, glow_F: np.ndarray) -> tuple:
    """Colours [F, 3] in the shade less that of the haze, and what full sun adds; `up_F` is the z of the normals."""
    own_F1 = (glow_F * weather.lamps)[:, None]
    lamp_F3 = np.where(albedo_F3.sum(axis=1, keepdims=True) < 260, _LAMP, albedo_F3)
    shade_F3 = albedo_F3 * np.multiply.outer(0.86 + 0.14 * up_F, weather.ambient) * (1 - own_F1) + lamp_F3 * own_F1
    sun_F3 = albedo_F3 * weather.diffuse * (1 - own_F1)
    return (shade_F3 - weather.haze).astype(np.float32), sun_F3.astype(np.float32)


class Sketchbook:
    """Sketches of the standing things by cells of poses: a picture is a function of its view, not of those before.

    Things afar are cards where they have any, paint fades into what it is on with distance, and what is far less than
    a pixel wide is left out. What may be visible from anywhere in the cell is kept.
    """

    def __init__(self, weather: Weather):
        self._weather = weather
        self._sketches: dict[tuple, tuple[Solids, Sketch]] = {}

    def at(self, view: View, standing: Solids) -> Sketch:
        """The sketch that serves `view`."""
        x, y, _ = view.position.tolist()
        key = (view.camera.name, round(x / _GRID), round(y / _GRID), round(view.yaw / _TURN))
        found = self._sketches.get(key)
        if found is None or found[0] is not standing:
            while len(self._sketches) >= _KEPT:
                del self._sketches[next(iter(self._sketches))]
            found = self._sketches[key] = (standing, self._draw(view.camera, key, standing))
        return found[1]

    def _draw(self, camera: Camera, key: tuple, standing: Solids) -> Sketch:
        view = _middle(camera, key[1] * _GRID, key[2] * _GRID, key[3] * _TURN)
        numbers_O, place_O2 = things_in_view(view, standing, _SLACK, _TURN / 2, _SMALLEST)
        far_O = (place_O2[:, 0] > _CARD_FROM) & (standing.cards_O[numbers_O] > 0)
        near, far = np.flatnonzero(~far_O), np.flatnonzero(far_O)
        faces = _faces(view, standing, numbers_O[near], place_O2[near, 0])
        cards = _cards(view, standing, numbers_O[far], place_O2[far, 0], len(near))
        shown_O = numbers_O[np.concatenate((near, far))]
        circles_O3 = np.column_stack((standing.centre_O2[shown_O], standing.radius_O[shown_O]))
        together = (np.concatenate(pair) for pair in zip(faces, cards))
        return _sketch(self._weather, view.position[:2], *together, circles_O3)


def _sketch(
    weather: Weather,
    origin_2: np.ndarray,
    corners_FK3: np.ndarray,
    planes_F4: np.ndarray,
    albedo_F3: np.ndarray,
    glow_F: np.ndarray,
    owner_F: np.ndarray,
    circles_O3: np.ndarray,
) -> Sketch:
    """A sketch of faces as `Solids` has them, of things with circles x, y, radius (m), all in world coordinates."""
    corners_4FK = np.ones((4, *corners_FK3.shape[:2]), dtype=np.float32)
    corners_4FK[0] = corners_FK3[..., 0] - origin_2[0]
    corners_4FK[1] = corners_FK3[..., 1] - origin_2[1]
    corners_4FK[2] = corners_FK3[..., 2]
    moved_F4 = planes_F4.astype(np.float32)
    moved_F4[:, 3] = planes_F4[:, 3] + planes_F4[:, :2] @ origin_2
    things_O4 = np.empty((len(circles_O3), 4), dtype=np.float32)
    things_O4[:, :2] = circles_O3[:, :2] - origin_2
    things_O4[:, 2] = circles_O3[:, 2]
    things_O4[:, 3] = np.square(circles_O3[:, 2])
    shade_F3, sun_F3 = contrasts(weather, planes_F4[:, 2], albedo_F3, glow_F)
    sun_F3 *= np.maximum(planes_F4[:, :3] @ weather.sun, 0.0)[:, None].astype(np.float32)
    return Sketch(origin_2, corners_4FK, moved_F4, shade_F3 + sun_F3, albedo_F3.astype(np.float32), owner_F, things_O4)


def _faces(view: View, group: Solids, numbers_O: np.ndarray, ahead_O: np.ndarray) -> tuple:
    index, thing = members(group.faces_O, numbers_O)
    detail, ahead = group.detail_F[index], ahead_O[thing]
    height = group.normals_F3[index] @ view.position - group.offsets_F[index]
    keep = np.flatnonzero((height > -_SLACK) & (~detail | (ahead < _FADE_FROM + _FADE_OVER)))
    index, thing, detail = index[keep], thing[keep], detail[keep]
    corners_FK3 = group.corners_FK3[index]
    x_FK, y_FK, z_FK = ((corners_FK3 - view.position) @ view.rotation).transpose(2, 0, 1)
    scale_FK = view.camera.focal / np.maximum(z_FK - _SLACK, NEAR)
    wide_F, high_F = np.ptp(x_FK * scale_FK, axis=1), np.ptp(y_FK * scale_FK, axis=1)
    keep = np.flatnonzero(np.where(detail, np.minimum(wide_F, high_F) > 1.0, np.maximum(wide_F, high_F) > 0.8))
    index, thing = index[keep], thing[keep]
    share_F1 = np.clip((ahead_O[thing, None] - _FADE_FROM) / _FADE_OVER, 0.0, 1.0)
    albedo_F3 = group.albedo_F3[index]
    albedo_F3 += (group.under_F3[index] - albedo_F3) * share_F1
    planes_F4 = np.column_stack((group.normals_F3[index], -group.offsets_F[index]))
    return corners_FK3[keep], planes_F4, albedo_F3, group.glow_F[index], thing


def _cards(view: View, group: Solids, numbers_O: np.ndarray, ahead_O: np.ndarray, first: int) -> tuple:
    """Cards stand across the view from the middle of the cell, face every view, and are lit like what is round."""
    index, thing = members(group.cards_O, numbers_O)
    keep = (group.card_far_C[index] > 0) == (ahead_O[thing] > _OUTLINE_FROM)
    index, thing = index[keep], thing[keep]
    cards_CK2 = group.cards_CK2[index]
    corners_CK3 = cards_CK2[..., :1] * view.rotation[:, 0]
    corners_CK3[..., 2] = cards_CK2[..., 1]
    corners_CK3[..., :2] += group.centre_O2[numbers_O[thing], None]
    planes_C4 = np.empty((len(index), 4))
    planes_C4[:, :3] = -view.rotation[:, 2]
    planes_C4[:, 2] = 0.4
    planes_C4[:, 3] = 1e6
    return corners_CK3, planes_C4, group.card_albedo_C3[index], np.zeros(len(index)), first + thing


def _middle(camera: Camera, x: float, y: float, yaw: float) -> View:
    """A view from the camera position x, y (m) at the camera's own yaw (rad)."""
    ego = place(camera, 0.0, 0.0, yaw - camera.yaw)
    return View(camera, np.array([x, y, POSITION[2]]), ego.rotation, yaw)
