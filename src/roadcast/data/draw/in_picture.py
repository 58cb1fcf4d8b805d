"""Points and boxes drawn into a camera's picture."""

import cv2
import numpy as np

from roadcast.data.draw.boxes import Boxes
from roadcast.data.draw.canvas import width_of, write
from roadcast.data.draw.lens import Lens

NEAREST, FARTHEST = 2.0, 70.0
"""Depths in m between which colours run, on a logarithmic scale, from red to blue."""


def draw_points(image: np.ndarray, points: np.ndarray, lens: Lens, radius: int) -> int:
    """Points [N, 3] of the camera's frame as discs coloured by depth, the nearest on top; how many fall into the picture."""
    uv, seen = lens.pixels(points)
    height, width = image.shape[:2]
    u, v = np.rint(uv).astype(int).T
    seen &= (u >= 0) & (u < width) & (v >= 0) & (v < height)
    order = np.argsort(-points[seen, 2])
    u, v, colours = u[seen][order], v[seen][order], depth_colours(points[seen, 2][order])
    reach = range(-radius, radius + 1)
    for dv, du in [(dv, du) for dv in reach for du in reach if dv * dv + du * du <= radius * radius]:
        image[np.clip(v + dv, 0, height - 1), np.clip(u + du, 0, width - 1)] = colours
    return len(u)


def draw_boxes(image: np.ndarray, boxes: Boxes, lens: Lens) -> int:
    """Boxes in the camera's frame as edges, with their classes; how many have an edge in the picture."""
    edges = boxes.edges()
    uv, seen = lens.pixels(edges.reshape(-1, 3))
    uv, seen = np.rint(uv).astype(np.int64).reshape(*edges.shape[:3], 2), seen.reshape(edges.shape[:3])
    drawn = 0
    for box_uv, box_seen, colour, name in zip(uv, seen, boxes.colours, boxes.names, strict=True):
        visible = box_seen.any() and _meets(box_uv[box_seen], image.shape[1], image.shape[0])
        if not visible:
            continue
        drawn += 1
        for line_uv, line_seen in zip(box_uv, box_seen, strict=True):
            for a, b, good in zip(line_uv, line_uv[1:], line_seen[1:] & line_seen[:-1]):
                if good:
                    cv2.line(image, a.tolist(), b.tolist(), colour, 1, cv2.LINE_AA)
        if box_seen.all():
            left, top = box_uv.reshape(-1, 2).min(0)
            write(image, name, max(2, min(left, image.shape[1] - width_of(name, 0.38))), max(12, top - 4), colour, 0.38)
    return drawn


def depth_colours(depth: np.ndarray) -> np.ndarray:
    """RGB uint8 [N, 3] of depths in m."""
    share = np.log(np.clip(depth, NEAREST, FARTHEST) / NEAREST) / np.log(FARTHEST / NEAREST)
    return colour_scale(1 - share)


def colour_scale(share: np.ndarray) -> np.ndarray:
    """RGB uint8 [N, 3] of numbers in [0, 1], from blue to red (Mikhailov 2019, Turbo)."""
    levels = np.clip(np.rint(230 * share + 20), 0, 255).astype(np.uint8)
    return cv2.applyColorMap(levels[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]


def _meets(uv: np.ndarray, width: int, height: int) -> bool:
    low, high = uv.min(0), uv.max(0)
    return bool(low[0] < width and high[0] >= 0 and low[1] < height and high[1] >= 0)
