"""What lies behind the solids in a picture: the sky and hills at infinity, and the lit ground."""

import math
from functools import cached_property

import cv2
import numpy as np

from roadcast.data.toyroad.birdseye import LEVELS, BirdsEye
from roadcast.data.toyroad.camera import POSITION, Camera, View
from roadcast.data.toyroad.weather import FAR, Weather

_COLUMNS = 2048
_TOP = 0.4
_ROWS = 64


class Panorama:
    """Sky and hills on the horizon, at infinity, as a cylinder: column -azimuth, row tangent of the elevation."""

    def __init__(self, seed: int, weather: Weather, ground: np.ndarray):
        rng = np.random.default_rng([seed, 7])
        azimuth = (-np.arange(_COLUMNS) * 2 * math.pi / _COLUMNS).astype(np.float32)
        rise = (_TOP * (1 - np.arange(_ROWS) / (_ROWS - 1))).astype(np.float32)[:, None]
        mix = np.clip(rise / 0.5, 0, 1)[..., None] ** 0.6
        image = weather.haze * (1 - mix) + weather.zenith * mix
        image = np.repeat(image.astype(np.float32), _COLUMNS, axis=1)
        if weather.sun_colour.any():
            image += self._glow(weather, azimuth, rise)
        cover = self._clouds(rng, weather.cover)
        cover *= np.clip(rise / 0.12, 0, 1)
        _blend(image, weather.cloud, cover)
        if weather.name == "night":
            row, column = np.nonzero(rng.random(cover.shape, dtype=np.float32) > 0.9985)
            bright = rng.uniform(60, 170, len(row)) * np.minimum(rise[row, 0] / 0.2, 1) * (1 - cover[row, column])
            image[row, column] += bright[:, None].astype(np.float32)
        light = weather.ambient + weather.diffuse * 0.6
        for share, height, waves, tint in ((0.62, 0.085, 5, (74, 96, 122)), (0.36, 0.05, 9, None)):
            hill = self._ridge(rng, azimuth, height, waves)
            colour = np.array(tint, dtype=np.float64) if tint else 0.72 * ground
            share = min(1.0, share * (330 / weather.visibility) ** 0.5)
            colour = colour * light * (1 - share) + weather.haze * share
            low = rise[:, 0] < hill.max() + _TOP / _ROWS
            edge = np.clip((hill[None] - rise[low]) / (_TOP / _ROWS) + 0.5, 0, 1)
            foot = 1 - np.clip(rise[low] / np.maximum(hill[None], 1e-6), 0, 1)
            foot *= foot
            part = image[low.argmax() :]
            _blend(part, colour, edge)
            _blend(part, weather.haze, edge * foot)
        wide = np.full((_ROWS, _COLUMNS + _COLUMNS // 2, 4), 255, dtype=np.uint8)
        wide[:, :_COLUMNS, :3] = np.clip(image, 0, 255, out=image)
        wide[:, _COLUMNS:] = wide[:, : _COLUMNS // 2]
        self._colours = wide.view(np.uint32).reshape(-1)

    def fill(self, image_HW4: np.ndarray, places_HW: np.ndarray, yaw_left: float) -> None:
        """Fills an RGBA image from the pixels `places_HW`, when column 0 lies at azimuth `yaw_left` (rad)."""
        first = round(-yaw_left * _COLUMNS / (2 * math.pi)) % _COLUMNS
        out = image_HW4.view(np.uint32)[..., 0]
        np.take(self._colours[first:], places_HW, out=out, mode="clip")

    @staticmethod
    def places(column: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Numbers of the pixels at whole columns and rows, for `fill`."""
        return np.rint(row).astype(np.intp) * (_COLUMNS + _COLUMNS // 2) + np.rint(column).astype(np.intp)

    @staticmethod
    def _glow(weather: Weather, azimuth: np.ndarray, rise: np.ndarray) -> np.ndarray:
        scale = 1 / np.sqrt(1 + rise * rise)
        cosine = scale * (np.cos(azimuth)[None] * weather.sun[0] + np.sin(azimuth)[None] * weather.sun[1])
        cosine = np.clip(cosine + scale * rise * weather.sun[2], -1, 1)
        angle = np.arccos(cosine)
        shine = np.clip((0.055 - angle) / 0.012, 0, 1) + 0.42 * np.exp(-angle / 0.16)
        return shine.astype(np.float32)[..., None] * (0.9 * weather.sun_colour).astype(np.float32)

    @staticmethod
    def _clouds(rng: np.random.Generator, cover: float) -> np.ndarray:
        field = np.zeros((_ROWS, _COLUMNS), dtype=np.float32)
        for octave, weight in ((16, 1.0), (32, 0.6), (64, 0.32), (128, 0.22)):
            grid = rng.standard_normal((max(4, octave // 4), octave)).astype(np.float32)
            grid = np.concatenate((grid[:, -2:], grid, grid[:, :2]), axis=1)
            step = _COLUMNS // octave
            wide = cv2.resize(grid, ((octave + 4) * step, _ROWS), interpolation=cv2.INTER_CUBIC)
            wide = wide[:, 2 * step : (octave + 2) * step]
            field += weight * cv2.resize(wide, (_COLUMNS, _ROWS))
        field /= field.std()
        return np.clip((field - 1.6 + 2.4 * cover) / 0.9, 0, 1) * 0.85

    @staticmethod
    def _ridge(rng: np.random.Generator, azimuth: np.ndarray, height: float, waves: int) -> np.ndarray:
        ridge = np.zeros_like(azimuth)
        for k in range(1, 7):
            ridge += np.sin(round(waves * k**1.35) * azimuth + rng.uniform(0, 2 * math.pi)) * rng.uniform(0.5, 1.0) / k
        return height * (0.55 + 0.30 * ridge)


def _blend(image: np.ndarray, colour: np.ndarray, share: np.ndarray) -> None:
    """Mixes a share [H, W] of a colour into an image [H, W, 3], float32."""
    for channel, value in enumerate(colour.tolist()):
        image[..., channel] += (value - image[..., channel]) * share


class Backdrop:
    """Sky and ground of one world, and per camera the constant images that light and fade the ground."""

    def __init__(self, seed: int, weather: Weather, ground: np.ndarray, birdseye: BirdsEye):
        self.weather = weather
        self._birdseye = birdseye
        self._ground = ground
        self._seed = seed
        self._cameras: dict[Camera, CameraBackdrop] = {}

    @cached_property
    def panorama(self) -> Panorama:
        """The sky, made when first drawn."""
        return Panorama(self._seed, self.weather, self._ground)

    def draw(self, image: np.ndarray, view: View, s: float) -> None:
        """Fills a picture [H, W, 3] with sky and ground; `s` (m) is an arc length of the course nearby."""
        if view.camera not in self._cameras:
            self._cameras[view.camera] = CameraBackdrop(view.camera, self.weather)
        self._cameras[view.camera].draw(image, view, s, self.panorama, self._birdseye)


class CameraBackdrop:
    """What one camera needs to draw a backdrop.

    Ground pixels become  seen * light + haze, with fixed images of the rows below the sky: light and haze are those of
    flat ground seen by a level camera.
    """

    def __init__(self, camera: Camera, weather: Weather):
        self._horizon = sky = camera.rows_of_sky()
        u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        self._left = math.atan2(camera.cx + 1, camera.focal)
        angle = np.arctan2(camera.cx - u[:sky], camera.focal)
        rise = (camera.cy - v[:sky]) / camera.focal * np.cos(angle)
        column = (self._left - angle) * _COLUMNS / (2 * math.pi)
        self._places = Panorama.places(column, np.clip((1 - rise / _TOP) * (_ROWS - 1), 0, _ROWS - 1))
        self._scratch = np.empty((camera.height, camera.width, 4), dtype=np.uint8)
        metres = camera.ground_depth()[sky:]
        self._bands = []
        for number, level in enumerate(LEVELS):
            rows = np.flatnonzero((metres > level.near) & (metres <= level.far))
            if len(rows):
                middle = 0.5 * (metres[rows[-1]] + min(metres[rows[0]], FAR))
                self._bands.append((number, sky + int(rows[0]), sky + int(rows[-1]) + 1, float(middle)))
        depth = np.broadcast_to(metres[:, None], u[sky:].shape)
        side = (camera.cx - u[sky:]) / camera.focal * depth
        c, s = math.cos(camera.yaw), math.sin(camera.yaw)
        lamp = weather.headlight(POSITION[0] + c * depth - s * side, s * depth + c * side)
        light = weather.ambient + weather.diffuse * weather.sun[2] + lamp
        fade = weather.fade(np.hypot(depth, side))[..., None]
        self._light, self._haze = _bytes(128 * light * (1 - fade)), _bytes(weather.haze * fade)

    def draw(self, image: np.ndarray, view: View, s: float, panorama: Panorama, birdseye: BirdsEye) -> None:
        """Fills a picture [H, W, 3] with sky and ground as `view` sees them."""
        panorama.fill(self._scratch[: self._horizon], self._places, view.yaw + self._left)
        for number, top, bottom, middle in self._bands:
            self._look(view, s, birdseye, number, top, bottom, middle)
        cv2.cvtColor(self._scratch, cv2.COLOR_RGBA2RGB, dst=image)
        ground = image[self._horizon :]
        cv2.multiply(ground, self._light, dst=ground, scale=1 / 128)
        cv2.add(ground, self._haze, dst=ground)

    def _look(self, view: View, s: float, birdseye: BirdsEye, level: int, top: int, bottom: int, middle: float) -> None:
        """Fills the rows from `top` to `bottom` from a map of the ground.

        A pixel (u, v) sees the ground at  p + h (focal F + (u - cx) R) / (v - cy): a homography to map pixels.
        """
        camera = view.camera
        (rx, fx), (ry, fy) = view.rotation[:2, ::2].tolist()
        x, y, h = view.position.tolist()
        ground, x0, y0 = birdseye.map_at(level, x + middle * fx, y + middle * fy, s)
        x, y, lift, texel = x - x0, y - y0, top - camera.cy, LEVELS[level].texel
        scale, across = h / texel, camera.cx
        matrix = np.array(
            [
                [scale * rx, x / texel, x / texel * lift + scale * (camera.focal * fx - across * rx)],
                [scale * ry, y / texel, y / texel * lift + scale * (camera.focal * fy - across * ry)],
                [0.0, 1.0, lift],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpPerspective(ground, matrix, (camera.width, bottom - top), dst=self._scratch[top:bottom], flags=flags)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
