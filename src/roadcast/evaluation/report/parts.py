"""What the sections of a report are made of: tables, cells with intervals, pictures inside the page."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from roadcast.evaluation.metrics.statistics import Estimate
from roadcast.evaluation.video_io import encode_jpeg

ABSENT = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose rows begin with their names."""
    heads = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{value}</td>" for value in values) + "</tr>"
        for name, *values in rows
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def cell(estimate: Estimate | None, digits: int = 2) -> str:
    """A mean with its interval."""
    if estimate is None:
        return ABSENT
    return f"{estimate.mean:.{digits}f}<small>[{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]</small>"


def p_cell(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return ""
    return "&lt; 0.0001" if value < 1e-4 else f"{value:.2g}"


def strips(blocks: Iterable[Sequence[tuple[str, np.ndarray, str]]], labels: Sequence[str]) -> str:
    """Strips of frames under labels for their columns: blocks of rows, each a name, a picture, and what it is to who cannot see it."""
    head = "".join(f"<span>{label}</span>" for label in labels)
    shown = []
    for rows in blocks:
        pictures = "".join(f'<span class="row">{name}</span>{image(picture, alt)}' for name, picture, alt in rows)
        shown.append(f'<div class="strip"><span></span><div class="cols">{head}</div>{pictures}</div>')
    return f'<div class="scroll">{"".join(shown)}</div>'


def image(image_HWC: np.ndarray, alt: str) -> str:
    """A picture inside the page."""
    return embed(encode_jpeg(image_HWC), "jpeg", alt)


def embed(data: bytes, kind: str, alt: str) -> str:
    """The bytes of an image file inside the page."""
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode("ascii")}">'
