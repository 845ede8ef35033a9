"""The colours and sizes that figures share, and names that fit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from jaxval import _checks
from jaxval._errors import printable
from jaxval.types import BadArgument

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Column = ArrayLike | Sequence[Any]

VERMILLION, BLUE, GREEN, ORANGE, BLACK = "#D55E00", "#0072B2", "#009E73", "#E69F00", "#000000"
GREY, LIGHT, BAND = "#555555", "#A6A6A6", "#F2F2F2"
HUES = (BLUE, VERMILLION, GREEN, ORANGE, "#CC79A7", BLACK, "#56B4E9")
MARKERS = "osD^vPX<>"
LONGEST_NAME = 36  # characters
SMALL, NORMAL, LARGE = 6.5, 7.5, 8.5  # points


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches, without pyplot, so that only a notebook shows it, as the last line of a cell."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("figures need matplotlib: pip install 'jaxval[plots]'", name=error.name) from error

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            content = io.BytesIO()
            self.savefig(content, format="png", dpi=150)
            return content.getvalue()

    return Shown(figsize=(width, height))


def check_title(title: str | None) -> None:
    """Check the title of a figure."""
    if title is not None:
        _checks.check_text("title", title)


def check_ends(ends: Any, shape: tuple[int, ...], name: str = "intervals") -> np.ndarray:
    """The low and the high ends of intervals, (2, *shape); NaN is an end that is not drawn."""
    expected = f"(low, high) ends of shape {shape}"
    both = [_checks.host_numbers(name, end, expected) for end in _checks.check_list(name, ends, expected)]
    if len(both) != 2 or any(end.size != np.prod(shape) for end in both):
        raise BadArgument(name, expected=expected, got=f"shapes {[end.shape for end in both]}")
    return np.stack([end.reshape(shape) for end in both])


def short(text: str, longest: int) -> str:
    """The text in at most `longest` characters. A long text loses its middle: its ends tell years or versions apart."""
    text = printable(str(text))
    kept = longest - 1
    return text if len(text) <= longest else text[: kept - kept // 3] + "…" + text[-(kept // 3) :]
