"""Copies of one picture in recordings that should know nothing of each other: found by a perceptual hash, confirmed by pixels."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from roadcast.data.reel.store import Reel

BITS = 64
NEAR = 8
"""Bits of 64 in which the hashes of two pictures may differ that are looked at more closely."""
MARGIN = 1
"""Bits by which one more of them may be further than the nearest, to be compared by its code as well."""
UNSURE = 3
MOST_ALIKE, MOST_OF_ONE = 64, 16
CHUNK = 8192

FAR = 0.15
"""Distance of the codes beyond which two pictures are not compared by pixels."""
COMPARED = 32
SAME = 0.08
STILL = 0.3
BLANK = 2.0
LOOK_BACK = 5

_ORDER = sorted(((i, j) for i in range(12) for j in range(12) if i + j), key=lambda ij: (sum(ij), ij))[:BITS]
_ROWS, _COLUMNS = np.array(_ORDER).T
_ONES = np.array([n.bit_count() for n in range(1 << 16)], np.uint8)


@dataclass(frozen=True)
class Copies:
    """Pictures of a reel that look alike though their recordings are apart.

    asked     frames whose like was looked for
    frames    int64 [N], those for which one was found
    likes     int64 [N], the one found, of another side
    copies    bool [N], whether both show one and the same moment; else the views are only similar
    """

    asked: int
    frames: np.ndarray
    likes: np.ndarray
    copies: np.ndarray

    def links(self, reel: Reel) -> Counter[tuple[str, str]]:
        """How many copies each pair of videos has, by their names."""
        video = reel.index["video"][:: len(reel.cameras)]
        pairs = zip(video[self.frames[self.copies]], video[self.likes[self.copies]])
        return Counter((reel.videos[a].name, reel.videos[b].name) for a, b in pairs)


def picture_code(image: np.ndarray) -> np.ndarray:
    """The 64 lowest frequencies of a picture [H, W] or [H, W, 3], float16, of unit length together and without the mean.

    So neither size nor brightness nor contrast matters. Hashed by whether each is above its median over the data: with the
    signs of a cosine transform (Zauner 2010, pHash) alone, all pictures of one camera would be much alike.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    code = cv2.dct(small)[_ROWS, _COLUMNS]
    return (code / max(float(np.linalg.norm(code)), 1e-6)).astype(np.float16)


def reel_codes(reel: Reel, camera: int = 0, workers: int = 2) -> np.ndarray:
    """`picture_code` of every frame of a camera, float16 [frames, 64], from pictures decoded at half size or a quarter."""
    short = min(reel.height, reel.width)
    scale = 4 if short >= 256 else 2 if short >= 128 else 1
    mode = {4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 1: cv2.IMREAD_GRAYSCALE}[scale]
    out = np.zeros((reel.frames, BITS), np.float16)

    def run(first: int) -> None:
        for frame in range(first, min(first + 256, reel.frames)):
            image = cv2.imdecode(np.frombuffer(reel.jpeg(frame, camera), np.uint8), mode)
            if image is not None:
                out[frame] = picture_code(image)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, range(0, reel.frames, 256)))
    return out


def alike(codes: np.ndarray, sides: np.ndarray, asked: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `codes` [N, 64] and, for each, the most alike row of another side: int64 [M], [M]; those within NEAR bits only.

    sides    int [N]: rows of one side are not compared
    asked    rows whose like is looked for; all by default
    Each half of the 64 bits is a sorted table of 32-bit keys. A row asks it for its own key and for those in which the bits
    that are nearest to their thresholds are turned, as these are the ones that a copy may have otherwise (Lv 2007, multi-probe
    hashing): N log N in all. Of what is found, the nearest by the codes themselves counts.
    """
    rows = np.arange(len(codes)) if asked is None else np.flatnonzero(asked) if asked.dtype == bool else asked
    if not len(rows) or len(np.unique(sides)) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    thresholds = np.median(codes[:: max(1, len(codes) // 20_000)].astype(np.float32), 0)
    keys = _keys(codes, thresholds)
    tables = [_table(keys[:, half], sides) for half in (0, 1)]
    found, likes = [], []
    for first in range(0, len(rows), CHUNK):
        own = rows[first : first + CHUNK]
        margins = np.abs(codes[own].astype(np.float32) - thresholds)
        pairs = [_ask(keys[own, half], margins[:, half * 32 : half * 32 + 32], *tables[half]) for half in (0, 1)]
        asker, answer = (np.concatenate(part) for part in zip(*pairs))
        bits = _distance(keys[own[asker]], keys[answer])
        bits[sides[own[asker]] == sides[answer]] = BITS
        nearest = np.full(len(own), NEAR)
        np.minimum.at(nearest, asker, bits)
        kept = bits <= np.minimum(nearest[asker] + MARGIN, NEAR)
        asking, answer = own[asker[kept]], answer[kept]
        far = _far(codes[asking], codes[answer])
        order = np.lexsort((answer, far, asking))
        best = order[np.flatnonzero(np.diff(asking[order], prepend=-1))]
        found.append(asking[best])
        likes.append(answer[best])
    return np.concatenate(found), np.concatenate(likes)


def is_copy(image: np.ndarray, other: np.ndarray, neighbours: Sequence[np.ndarray]) -> bool:
    """Whether two grey pictures uint8 [H, W] show one and the same moment, coded, sized or brightened otherwise.

    With r the rest that a * other + b leaves of `image` at 32 pixels width, that is if r <= 0.08 of the picture's contrast
    and r is less than 0.3 of what the pictures before and after it in its own recording (`neighbours`) leave: a car that
    stands sees as much of one moment in the next, and that is no copy. A picture without contrast is a copy of none.
    """
    a = _compared(image)
    contrast = float(a.std())
    if contrast < BLANK:
        return False
    rest = _rest(a, _compared(other))
    return rest <= SAME * contrast and all(rest < STILL * _rest(a, _compared(n)) for n in neighbours)


def find_copies(
    reel: Reel,
    sides: Sequence[int],
    asked: Sequence[int] | None = None,
    codes: np.ndarray | None = None,
    camera: int = 0,
) -> Copies:
    """Frames of a reel that have their like in a video of another side.

    sides    one number a video; videos of one side, such as the pieces of one drive, are not compared
    asked    numbers of the videos whose frames are looked for; all by default
    codes    `reel_codes`, if they are known already
    """
    video = np.asarray(reel.index["video"][:: len(reel.cameras)])
    codes = reel_codes(reel, camera) if codes is None else codes
    wanted = np.ones(reel.frames, bool) if asked is None else np.isin(video, np.asarray(asked, np.int64))
    frames, likes = alike(codes, np.asarray(sides)[video], wanted)
    look = _looker(reel, camera)
    copies = _far(codes[frames], codes[likes]) <= FAR**2
    for n in np.flatnonzero(copies):
        own = reel.videos[video[frames[n]]]
        beside = _neighbours(look, int(frames[n]), own.first, own.frames)
        copies[n] = is_copy(look(int(frames[n])), look(int(likes[n])), beside)
    return Copies(int(wanted.sum()), frames, likes, copies)


def leaks(reel: Reel, codes: np.ndarray | None = None) -> Copies:
    """`find_copies` of the pictures of val and test among those of train."""
    splits = [video.split for video in reel.videos]
    judging = [n for n, split in enumerate(splits) if split != "train"]
    return find_copies(reel, [split == "train" for split in splits], judging, codes)


def leak_warning(reel: Reel, found: Copies) -> str | None:
    """A line on copies across splits, as `leaks` finds them, naming the recordings; None where there are none."""
    count = int(found.copies.sum())
    if not count:
        return None
    worst = ", ".join(f"{a} and {b} ({n})" for (a, b), n in found.links(reel).most_common(3))
    return (
        f"{count} of {found.asked} pictures of val and test ({100 * count / found.asked:.1f} %) are copies of pictures of train, "
        f"most in {worst}; put recordings that share pictures into one split, or leave one of them out"
    )


def _keys(codes: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The hashes, as two halves uint32 [N, 2]."""
    return np.concatenate(
        [np.packbits(part > thresholds.astype(np.float16), axis=1).view(">u4") for part in np.array_split(codes, 64)]
    ).astype(np.uint32)


def _table(keys: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys and their rows; of one key a side keeps a few."""
    order = np.lexsort((sides, keys))
    key, side = keys[order], sides[order]
    starts = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]) | (side[1:] != side[:-1])])
    lengths = np.diff(np.r_[starts, len(key)])
    rank = np.arange(len(key)) - np.repeat(starts, lengths)
    step = np.repeat(np.maximum(1, -(-lengths // MOST_OF_ONE)), lengths)
    kept = rank % step == 0
    return key[kept], order[kept]


def _ask(keys: np.ndarray, margins: np.ndarray, table: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of askers and rows of the table that share a key with them, up to bits of small margin."""
    unsure = np.argsort(margins, 1)[:, :UNSURE].astype(np.uint32)
    bit = np.uint32(1) << (np.uint32(31) - unsure)
    turned = np.zeros((len(keys), 1), np.uint32)
    for n in range(UNSURE):
        turned = np.concatenate([turned, turned ^ bit[:, n : n + 1]], 1)
    probes = (keys[:, None] ^ turned).ravel()
    order = np.argsort(probes)
    at = np.searchsorted(table, probes[order])
    there = table[np.minimum(at, len(table) - 1)] == probes[order]
    hit, low = order[there], at[there]
    many = np.searchsorted(table, probes[hit], "right") - low
    taken = np.minimum(many, MOST_ALIKE)
    asker = np.repeat(hit // turned.shape[1], taken)
    nth = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    return asker, rows[np.repeat(low, taken) + nth * np.repeat(many, taken) // np.repeat(taken, taken)]


def _far(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The squared distances of codes [N, 64]."""
    return np.square(a.astype(np.float32) - b).sum(1)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _ONES[(a ^ b).view(np.uint16)].sum(1)


def _compared(grey: np.ndarray) -> np.ndarray:
    height = max(1, round(grey.shape[0] * COMPARED / grey.shape[1]))
    return cv2.resize(grey, (COMPARED, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _rest(a: np.ndarray, b: np.ndarray) -> float:
    """The deviation of a - (gain * b + offset), least squares: std(a) sqrt(1 - corr(a, b)^2)."""
    a, b = a - a.mean(), b - b.mean()
    gain = float((a * b).sum()) / max(float((b * b).sum()), 1e-9)
    return float((a - gain * b).std())


def _looker(reel: Reel, camera: int) -> Callable[[int], np.ndarray]:
    def look(frame: int) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(reel.jpeg(frame, camera), np.uint8), cv2.IMREAD_GRAYSCALE)
        return np.zeros((reel.height, reel.width), np.uint8) if image is None else image

    return look


def _neighbours(look: Callable[[int], np.ndarray], frame: int, first: int, frames: int) -> list[np.ndarray]:
    """The pictures next to `frame` in its video that do not repeat it, one before and one after."""
    here, found = look(frame), []
    for way in (-1, 1):
        for n in range(1, LOOK_BACK + 1):
            if not first <= frame + way * n < first + frames:
                break
            if not np.array_equal(beside := look(frame + way * n), here):
                found.append(beside)
                break
    return found
