"""Weather and light: what the sun, the sky, the air and the lamps do to colours. All colours are RGB in [0, 255]."""

import math
from dataclasses import dataclass

import numpy as np

from roadcast.errors import UserError

FAR = 165.0
"""Metres at which everything has faded into the haze; nothing beyond is drawn."""
WEATHERS = ("clear", "overcast", "fog", "rain", "dusk", "night")


@dataclass(frozen=True)
class Weather:
    """One weather, fixed for a world.

    ambient, diffuse   RGB gain of light from everywhere and from the sun (times the cosine to the normal)
    sun                unit vector to the sun;  shade: how dark ground shadows are, 0 for none
    visibility         m, distance over which contrast falls by e (Koschmieder's law)
    lamps              0 to 1: how much windows, lamps and the ego's headlights shine
    """

    name: str
    zenith: np.ndarray
    haze: np.ndarray
    cloud: np.ndarray
    cover: float
    sun: np.ndarray
    sun_colour: np.ndarray
    ambient: np.ndarray
    diffuse: np.ndarray
    visibility: float
    shade: float
    lamps: float

    def fade(self, distance):
        """Share of the haze colour at `distance` m: 1 - exp(-d / visibility), and 1 from FAR on so nothing pops in."""
        edge = np.minimum(np.maximum(distance - 90.0, 0.0) / (FAR - 90.0), 1.0)
        return 1.0 - np.exp(-distance / self.visibility) * (1.0 - edge * edge * (3.0 - 2.0 * edge))

    @property
    def throw(self) -> np.ndarray:
        """Shift [2] on the ground, in metres a metre of height, of the shadow of a point; 0 without direct sun."""
        return -self.sun[:2] / max(self.sun[2], 0.2) if self.shade >= 0.2 else np.zeros(2)

    def headlight(self, forward, left):
        """RGB gain [..., 3] from the ego's headlights at points `forward` and `left` of the ego (m)."""
        ahead = np.maximum(forward - 1.0, 0.0)
        beam = np.exp(-np.square(left / (1.4 + 0.24 * ahead))) * np.minimum(ahead / 3.0, 1.0)
        return (self.lamps * 0.95 * beam / (1.0 + np.square(ahead / 22.0)))[..., None] * np.array([1.0, 0.95, 0.8])


_LOOK = {
    # name: zenith, haze, cloud, cover, sun colour, ambient, diffuse, visibility, shade, lamps, sun height (rad)
    "clear": ((58, 124, 205), (196, 216, 230), (250, 250, 250), 0.42, (255, 250, 225), 0.6, 0.55, 330, 0.45, 0.0, 0.65),
    "overcast": ((138, 148, 160), (192, 198, 202), (214, 218, 221), 0.75, None, 0.84, 0.10, 230, 0.10, 0.0, 0.9),
    "fog": ((176, 182, 186), (196, 200, 202), (190, 195, 198), 0.3, None, 0.86, 0.06, 42, 0.06, 0.25, 0.9),
    "rain": ((88, 98, 112), (142, 150, 158), (122, 130, 140), 0.8, None, 0.66, 0.08, 120, 0.08, 0.35, 0.9),
    "dusk": ((52, 56, 112), (236, 160, 112), (206, 118, 116), 0.5, (255, 214, 150), 0.42, 0.42, 260, 0.30, 0.65, 0.16),
    "night": ((8, 11, 26), (22, 26, 42), (16, 20, 36), 0.4, None, 0.15, 0.04, 240, 0.0, 1.0, 0.8),
}


def make_weather(name: str | None, seed: int) -> Weather:
    """The weather `name`, or one drawn from the seed when it is None; the sun's azimuth always comes from the seed."""
    rng = np.random.default_rng([seed, 2])
    drawn = rng.choice(WEATHERS, p=[0.42, 0.16, 0.10, 0.12, 0.10, 0.10])
    if name is None:
        name = str(drawn)
    if name not in _LOOK:
        raise UserError(f"toyroad has no weather {name!r}: use {', '.join(WEATHERS)}, or None for one by the seed")
    zenith, haze, cloud, cover, sun, ambient, diffuse, visibility, shade, lamps, height = _LOOK[name]
    azimuth = rng.uniform(-1.2, 1.2) if name == "dusk" else rng.uniform(-math.pi, math.pi)
    warm = np.array([1.0, 0.80, 0.66]) if name == "dusk" else np.array([1.0, 0.98, 0.92])
    cool = np.array([0.82, 0.88, 1.12]) if name in ("night", "dusk") else np.array([0.97, 1.0, 1.04])
    return Weather(
        name=name,
        zenith=np.array(zenith, dtype=np.float64),
        haze=np.array(haze, dtype=np.float64),
        cloud=np.array(cloud, dtype=np.float64),
        cover=cover * rng.uniform(0.7, 1.2),
        sun=np.array([math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height)]),
        sun_colour=np.zeros(3) if sun is None else np.array(sun, dtype=np.float64),
        ambient=ambient * cool,
        diffuse=diffuse * warm,
        visibility=visibility * rng.uniform(0.8, 1.25),
        shade=shade,
        lamps=lamps,
    )
