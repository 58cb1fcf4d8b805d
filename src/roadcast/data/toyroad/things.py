"""The things that stand and drive beside the road: houses, blocks, trees, bushes, rocks, posts, lamps, signs, cars."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from roadcast.data.toyroad.solids import Builder, Solids, box, rings, within

GLASS = (62, 74, 88)
CAR_RADIUS = 2.5
VARIANTS = 6
"""How many models there are of every kind of thing."""
_WALLS = ((226, 214, 190), (206, 180, 146), (188, 110, 86), (214, 206, 202), (170, 184, 190), (232, 196, 128))
_WHEEL = ((0.15, 0), (0.85, 0), (1, 0.5), (0.8, 1), (0.2, 1), (0, 0.5))
_ROOFS = ((150, 66, 50), (110, 62, 52), (84, 84, 92), (126, 88, 60))
_TOWERS = ((170, 176, 184), (196, 190, 180), (140, 150, 164), (184, 160, 140), (120, 128, 138))
_LEAVES = ((70, 120, 48), (88, 134, 52), (58, 104, 52), (110, 140, 60))
_AUTUMN = ((198, 120, 40), (182, 86, 42), (206, 158, 60), (120, 120, 56))
_CARS = ((196, 40, 36), (36, 78, 160), (228, 228, 228), (44, 46, 50), (226, 170, 36), (112, 122, 132), (34, 112, 84))


@lru_cache(maxsize=512)
def model(kind: Callable[[np.random.Generator, str], Solids], theme: str, variant: int) -> Solids:
    """One of the VARIANTS models of a kind (`house`, ...) in a theme, in its own frame; the same in every world."""
    return kind(np.random.default_rng([12, variant, *kind.__name__.encode()]), theme)


def house(rng: np.random.Generator, _: str) -> Solids:
    """A gabled house with windows and a door."""
    a, b = rng.uniform(3.6, 5.2), rng.uniform(3.2, 4.4)
    eave, ridge = rng.uniform(2.8, 5.2), rng.uniform(1.6, 2.8)
    wall, roof = _pick(rng, _WALLS, 10), _pick(rng, _ROOFS, 8)
    build = Builder(float(np.hypot(a, b)))
    low = [(-a, -b, 0), (a, -b, 0), (a, b, 0), (-a, b, 0)]
    high = [(x, y, eave) for x, y, _ in low]
    tops = [(-a, 0, eave + ridge), (a, 0, eave + ridge)]
    sides = [[low[0], low[1], high[1], high[0]], [low[2], low[3], high[3], high[2]]]
    gables = [[low[1], low[2], high[2], tops[1], high[1]], [low[3], low[0], high[0], tops[0], high[3]]]
    slopes = [[high[0], high[1], tops[1], tops[0]], [high[2], high[3], tops[0], tops[1]]]
    build.part([*sides, *gables, *slopes, low], [wall] * 4 + [roof] * 2 + [wall])
    floors = 2 if eave > 4.2 else 1
    fronts = [(sides[0], (0, -1, 0)), (sides[1], (0, 1, 0))]
    fronts += [([p[0], p[1], p[2], p[-1]], (side, 0, 0)) for p, side in zip(gables, (1, -1))]
    for front, outward in fronts:
        for floor in range(floors):
            up = (floor / floors + 0.34 / floors, floor / floors + 0.78 / floors)
            for left in (0.14, 0.62):
                build.paint(within(front, (left, left + 0.22), up), GLASS, outward, _lit(rng))
        build.paint(within(front, (0.43, 0.55), (0.0, 0.72 / floors)), (92, 58, 40), outward)
    return build.build()


def block(rng: np.random.Generator, _: str) -> Solids:
    """An office or apartment block with ribbon windows."""
    a, b, top = rng.uniform(4.5, 6.5), rng.uniform(4.5, 6.5), rng.uniform(8, 22)
    wall = _pick(rng, _TOWERS, 14)
    build = Builder(float(np.hypot(a, b)))
    faces = box(-a, a, -b, b, 0, top)
    build.part(faces, [wall] * 6)
    floors = max(2, round(top / 3.4))
    split = rng.random() < 0.5
    for face, outward in zip(faces, ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))):
        for floor in range(floors):
            up = ((floor + 0.36) / floors, (floor + 0.80) / floors)
            for across in ((0.08, 0.46), (0.54, 0.92)) if split else ((0.06, 0.94),):
                build.paint(within(face, across, up), GLASS, outward, _lit(rng))
    return build.build()


def tree(rng: np.random.Generator, theme: str) -> Solids:
    """A broad-leaved tree."""
    radius, foot, top = rng.uniform(1.3, 2.3), rng.uniform(1.9, 2.5), rng.uniform(4.6, 7.5)
    leaf = _pick(rng, _AUTUMN if theme == "autumn" else _LEAVES, 12)
    build = Builder(radius)
    middle = foot + (top - foot) * rng.uniform(0.35, 0.55)
    faces = rings([(foot, 0.55 * radius), (middle, radius), (top, 0.4 * radius)])
    build.part(faces, [_tint(leaf, 0.55), leaf] + [_tint(leaf, 0.82)] * 6 + [leaf] * 6)
    build.part(box(-0.17, 0.17, -0.17, 0.17, 0, foot), [(96, 72, 52)] * 6)
    build.card([(0, 0.17), (foot, 0.17)], (96, 72, 52))
    build.card([(foot, 0.55 * radius), (middle, 0.95 * radius), (top, 0.4 * radius)], _tint(leaf, 0.92))
    build.card([(0, 0.17), (middle, 0.95 * radius), (top, 0.4 * radius)], _tint(leaf, 0.9), very_far=True)
    return build.build()


def pine(rng: np.random.Generator, theme: str) -> Solids:
    """A conifer of two storeys."""
    radius, top = rng.uniform(1.2, 1.9), rng.uniform(5.0, 9.0)
    leaf = _pick(rng, ((42, 84, 58), (50, 92, 52), (36, 76, 60)), 8)
    tip = (222, 228, 232) if theme == "snow" else _tint(leaf, 1.1)
    build = Builder(radius)
    waist = 2.0 + 0.45 * (top - 2.0)
    build.part(rings([(waist, 0.78 * radius), (top, 0.06)], 5), [_tint(leaf, 0.6), tip] + [tip] * 5)
    build.part(rings([(2.0, radius), (waist, 0.42 * radius)], 5), [_tint(leaf, 0.5), leaf] + [leaf] * 5)
    build.part(box(-0.15, 0.15, -0.15, 0.15, 0, 2.0), [(84, 62, 48)] * 6)
    build.card([(0, 0.15), (2.0, 0.15)], (84, 62, 48))
    build.card([(2.0, 0.95 * radius), (waist, 0.42 * radius)], leaf)
    build.card([(waist, 0.74 * radius), (top, 0.06)], tip)
    build.card([(0, 0.15), (2.0, 0.95 * radius), (top, 0.06)], leaf, very_far=True)
    return build.build()


def bush(rng: np.random.Generator, theme: str) -> Solids:
    """A bush, or a boulder where nothing green grows."""
    radius, top = rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.2)
    leaf = _pick(rng, {"autumn": _AUTUMN, "dry": ((150, 136, 112), (130, 118, 100))}.get(theme, _LEAVES), 12)
    build = Builder(radius)
    faces = rings([(0, 0.8 * radius), (0.45 * top, radius), (top, 0.5 * radius)], 5)
    build.part(faces, [leaf] * 2 + [_tint(leaf, 0.85)] * 5 + [leaf] * 5)
    build.card([(0, 0.8 * radius), (0.45 * top, 0.95 * radius), (top, 0.5 * radius)], _tint(leaf, 0.93))
    build.card([(0, 0.85 * radius), (top, 0.6 * radius)], _tint(leaf, 0.93), very_far=True)
    return build.build()


def post(rng: np.random.Generator, _: str) -> Solids:
    """A white delineator with a black band."""
    build = Builder(0.15)
    faces = box(-0.1, 0.1, -0.1, 0.1, 0, 1.0)
    build.part(faces, [(232, 232, 228)] * 6)
    for face, outward in zip(faces, ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))):
        build.paint(within(face, (0, 1), (0.62, 0.86)), (30, 30, 32), outward)
    build.card([(0, 0.12), (1.0, 0.12)], (196, 196, 192))
    build.card([(0, 0.12), (1.0, 0.12)], (196, 196, 192), very_far=True)
    return build.build()


def lamp(rng: np.random.Generator, _: str) -> Solids:
    """A street lamp; its arm reaches along +y."""
    build = Builder(0.9)
    head = box(-0.16, 0.16, 0.1, 0.88, 5.8, 6.0)
    build.part(head, [(70, 74, 78)] * 6)
    build.paint(head[5], (236, 232, 214), (0, 0, -1), 1.0)
    build.part(box(-0.09, 0.09, -0.09, 0.09, 0, 6.0), [(104, 108, 112)] * 6)
    return build.build()


def sign(rng: np.random.Generator, _: str) -> Solids:
    """A traffic sign that faces -x."""
    build = Builder(0.6)
    board = box(-0.04, 0.04, -0.48, 0.48, 1.9, 2.8)
    face = _pick(rng, ((36, 84, 168), (236, 236, 232), (244, 196, 40), (40, 128, 76)), 0)
    build.part(board, [(120, 124, 128)] * 6)
    build.paint(within(board[1], (0.04, 0.96), (0.04, 0.96)), face, (-1, 0, 0))
    mark = (238, 238, 238) if sum(face) < 500 else (190, 36, 36)
    build.paint(within(board[1], (0.2, 0.8), (0.4, 0.6)), mark, (-1, 0, 0))
    build.part(box(-0.05, 0.05, -0.05, 0.05, 0, 1.9), [(120, 124, 128)] * 6)
    return build.build()


def car(rng: np.random.Generator, _: str) -> Solids:
    """A saloon or a van that faces +x; its bounding circle has CAR_RADIUS whatever its size: sorting relies on it."""
    van = rng.random() < 0.3
    a, b = (2.25, 0.95) if van else (rng.uniform(1.95, 2.2), 0.88)
    belt, top = (0.95, 1.95) if van else (0.82, 1.42)
    paint = _pick(rng, _CARS, 8)
    build = Builder(CAR_RADIUS)
    body = box(-a, a, -b, b, 0.0, belt)
    cabin = box(-0.96 * a, (0.55 if van else 0.42) * a, -b + 0.06, b - 0.06, belt, top, 0.10 if van else 0.26)
    build.part(body, [paint] * 6)
    for face, outward in zip(body, ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))):
        build.paint(within(face, (0, 1), (0, 0.22)), (26, 26, 28), outward)
    for face, outward in ((body[2], (0, 1, 0)), (body[3], (0, -1, 0))):
        for left in (0.11, 0.71):
            wheel = [(left + p * 0.18, 0.62 * q) for p, q in _WHEEL]
            build.paint(np.concatenate([within(face, (p, p), (q, q))[:1] for p, q in wheel]), (20, 20, 22), outward)
    for left in (0.04, 0.76):
        build.paint(within(body[1], (left, left + 0.2), (0.52, 0.78)), (228, 30, 28), (-1, 0, 0), 1.0)
        build.paint(within(body[0], (left, left + 0.2), (0.50, 0.76)), (255, 250, 226), (1, 0, 0), 1.0)
    build.paint(within(body[1], (0.36, 0.64), (0.36, 0.56)), (236, 232, 220), (-1, 0, 0))
    build.part(cabin, [paint] * 6)
    for face, outward in zip(cabin, ((1, 0, 0.3), (-1, 0, 0.3), (0, 1, 0.3), (0, -1, 0.3))):
        build.paint(within(face, (0.08, 0.92), (0.10, 0.86)), (38, 46, 56), outward)
    return build.build()


def _pick(rng: np.random.Generator, colours: tuple, spread: float) -> tuple:
    colour = np.array(colours[rng.integers(len(colours))]) + rng.uniform(-spread, spread)
    colour = colour + rng.uniform(-1, 1, 3) * spread / 2
    return tuple(np.clip(colour, 0, 255))


def _tint(colour: tuple, gain: float) -> tuple:
    return tuple(gain * c for c in colour)


def _lit(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.5, 1.0)) if rng.random() < 0.45 else 0.0
