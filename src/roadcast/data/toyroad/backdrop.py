"""What of a picture does not depend on where the ego is: sky panorama, ground texture, light on the ground."""

import math
from functools import cached_property

import cv2
import numpy as np

from roadcast.data.toyroad.camera import POSITION, Camera, View
from roadcast.data.toyroad.weather import Weather

TEXEL = 0.4
"""Metres a texel of the ground texture, which repeats every TILE texels."""
TILE = 512
_COLUMNS = 4096
_TOP = 0.75
_ROWS = 128


class Panorama:
    """Sky and hills on the horizon, at infinity, as a cylinder: column -azimuth, row tangent of the elevation."""

    def __init__(self, seed: int, weather: Weather, ground: np.ndarray):
        rng = np.random.default_rng([seed, 7])
        azimuth = (-np.arange(_COLUMNS) * 2 * math.pi / _COLUMNS).astype(np.float32)
        rise = (_TOP * (1 - np.arange(_ROWS) / (_ROWS - 1))).astype(np.float32)[:, None]
        mix = np.clip(rise / 0.5, 0, 1)[..., None] ** 0.6
        image = weather.haze * (1 - mix) + weather.zenith * mix
        image = np.repeat(image.astype(np.float32), _COLUMNS, axis=1)
        image += self._glow(weather, azimuth, rise)
        cover = self._clouds(rng, weather.cover)
        cover *= np.clip(rise / 0.12, 0, 1)
        image += (weather.cloud - image) * cover[..., None]
        if weather.name == "night":
            star = rng.random((_ROWS, _COLUMNS)) > 0.9985
            image += (star * rng.uniform(60, 170, star.shape) * np.clip(rise / 0.2, 0, 1) * (1 - cover))[..., None]
        light = weather.ambient + weather.diffuse * 0.6
        for share, height, waves, tint in ((0.62, 0.085, 5, (74, 96, 122)), (0.36, 0.05, 9, None)):
            hill = self._ridge(rng, azimuth, height, waves)
            colour = np.array(tint, dtype=np.float64) if tint else 0.72 * ground
            share = min(1.0, share * (330 / weather.visibility) ** 0.5)
            colour = colour * light * (1 - share) + weather.haze * share
            edge = np.clip((hill[None] - rise) / (_TOP / _ROWS) + 0.5, 0, 1)[..., None]
            foot = np.clip(rise / np.maximum(hill[None], 1e-6), 0, 1)[..., None]
            image += (weather.haze * (1 - foot) ** 2 + colour * (1 - (1 - foot) ** 2) - image) * edge
        self._image = np.clip(image, 0, 255).astype(np.uint8)
        self._image = np.ascontiguousarray(np.concatenate((self._image, self._image[:, : _COLUMNS // 2]), axis=1))

    def window(self, yaw_left: float, columns: int) -> np.ndarray:
        """The part of the panorama that begins at azimuth `yaw_left` (rad) and runs `columns` to the right."""
        first = round(-yaw_left * _COLUMNS / (2 * math.pi)) % _COLUMNS
        return self._image[:, first : first + columns]

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
        for octave, weight in ((16, 1.0), (40, 0.6), (96, 0.32), (220, 0.16)):
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


class Backdrop:
    """Panorama and ground texture of one world, and per camera the constant images that light and fade the ground."""

    def __init__(self, seed: int, weather: Weather, ground: np.ndarray):
        self.weather = weather
        self.ground = ground
        self._seed = seed
        self._cameras: dict[Camera, CameraBackdrop] = {}

    @cached_property
    def panorama(self) -> Panorama:
        """The sky, made when first drawn."""
        return Panorama(self._seed, self.weather, self.ground)

    @cached_property
    def texture(self) -> np.ndarray:
        """Ground texture [TILE, TILE] uint8, a gain with 1 at 128, that repeats without a seam."""
        rng = np.random.default_rng([self._seed, 8])
        frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]) * TILE
        total = np.zeros((TILE, TILE))
        for centre, gain in ((10, 8), (40, 11), (120, 9)):
            band = np.exp(-np.square(np.log(np.maximum(frequency, 0.5) / centre) / 0.5))
            noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((TILE, TILE))) * band, s=(TILE, TILE))
            total += noise / noise.std() * gain
        return np.clip(128 + total, 40, 216).astype(np.uint8)

    def camera(self, camera: Camera) -> "CameraBackdrop":
        """The constant images of one camera, made when first asked for."""
        if camera not in self._cameras:
            self._cameras[camera] = CameraBackdrop(self, camera)
        return self._cameras[camera]


class CameraBackdrop:
    """What one camera needs of a backdrop.

    Ground pixels become  (drawn * (texture * keep + plain) * light + haze), all fixed images of the rows below the sky:
    the texture fades to its mean with distance, and light and haze are those of flat ground seen by a level camera.
    """

    def __init__(self, backdrop: Backdrop, camera: Camera):
        self._backdrop = backdrop
        self._camera = camera
        weather = backdrop.weather
        self.horizon = sky = camera.rows_of_sky()
        u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        self._left = math.atan2(camera.cx + 1, camera.focal)
        angle = np.arctan2(camera.cx - u[:sky], camera.focal)
        rise = (camera.cy - v[:sky]) / camera.focal * np.cos(angle)
        column = (self._left - angle) * _COLUMNS / (2 * math.pi)
        row = np.clip((1 - rise / _TOP) * (_ROWS - 1), 0, _ROWS - 1)
        self._columns = int(column.max()) + 3
        self._sky_map, _ = cv2.convertMaps(
            np.rint(column).astype(np.float32), np.rint(row).astype(np.float32), cv2.CV_16SC2, nninterpolation=True
        )
        depth = np.broadcast_to(camera.ground_depth()[sky:, None], u[sky:].shape)
        side = (camera.cx - u[sky:]) / camera.focal * depth
        footprint = depth * depth / (camera.focal * POSITION[2])
        keep = np.clip(1.25 - footprint / 3.0, 0.0, 1.0)
        self.keep, self.plain = _bytes(255 * keep), _bytes(128 * (1 - keep))
        c, s = math.cos(camera.yaw), math.sin(camera.yaw)
        lamp = weather.headlight(POSITION[0] + c * depth - s * side, s * depth + c * side)
        light = weather.ambient + weather.diffuse * weather.sun[2] + lamp
        fade = weather.fade(np.hypot(depth, side))[..., None]
        self.flat = np.broadcast_to(_bytes(backdrop.ground), (*depth.shape, 3)).copy()
        self.light, self.haze = _bytes(128 * light * (1 - fade)), _bytes(weather.haze * fade)

    def draw_sky(self, image: np.ndarray, yaw: float) -> None:
        """Fills the rows of `image` on and above the horizon, for a camera at `yaw` (rad)."""
        window = self._backdrop.panorama.window(yaw + self._left, self._columns)
        cv2.remap(window, self._sky_map, None, cv2.INTER_NEAREST, dst=image[: self.horizon])

    def ground_gain(self, view: View) -> np.ndarray:
        """The ground texture under `view`, faded with distance: a gain [rows, W] with 1 at 128, below the sky.

        A pixel (u, v) sees the ground at  p + h (focal F + (u - cx) R) / (v - cy): a homography to texels.
        """
        camera = self._camera
        period = TILE * TEXEL
        p = np.mod(view.position[:2], period)
        forward, right = view.rotation[:2, 2], view.rotation[:2, 0]
        matrix = np.zeros((3, 3))
        matrix[:2, 0] = POSITION[2] * right
        matrix[:2, 1] = p
        lift = self.horizon - camera.cy
        matrix[:2, 2] = p * lift + POSITION[2] * (camera.focal * forward - camera.cx * right)
        matrix[:2] /= TEXEL
        matrix[2] = 0.0, 1.0, lift
        size = (camera.width, camera.height - self.horizon)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        gain = cv2.warpPerspective(self._backdrop.texture, matrix, size, flags=flags, borderMode=cv2.BORDER_WRAP)
        cv2.multiply(gain, self.keep, dst=gain, scale=1 / 255)
        return cv2.add(gain, self.plain, dst=gain)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
