"""Lotteries of several rules, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxval import _checks
from jaxval.plots._drawing import (
    BAND,
    BLUE,
    GREY,
    LARGE,
    LIGHT,
    LONGEST_NAME,
    NORMAL,
    SMALL,
    Column,
    check_title,
    new_figure,
    short,
)
from jaxval.types import BadArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_lotteries"]


def plot_lotteries(
    names: Sequence[str],
    lotteries: Mapping[str, Column],
    *,
    bounds: Column | None = None,
    intervals: Mapping[str, tuple[Column, Column]] | None = None,
    title: str | None = None,
) -> Figure:
    """Probabilities as bars, with alternatives in rows and rules in columns.

    Each column has its own scale, and the figure says so.

    Rows are sorted by the first column, largest first. A probability below 0.0005 is written "<.001"; an exact zero is
    left blank. Names longer than 36 characters lose their middle.

    Args:
        names: one name per alternative.
        lotteries: for each rule's name its (alternatives,) probabilities; the columns, in this order.
        bounds: (alternatives,) share bounds u, an additional first column "u".
        intervals: for a column's name, "u" among them, the (alternatives,) low and high ends.
        title: the title of the figure.

    Returns:
        A figure 7 inches wide at most; its height grows with the alternatives.

    Raises:
        ValueError: if there is nothing to draw, a column has another length or is not finite, or an interval belongs
            to no column.
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> figure = plot_lotteries(["tea", "coffee"], {"F^0": [0.4, 0.6], "RLHF": [0.0, 1.0]}, bounds=[0.4, 0.6])
        >>> [axes.get_title() for axes in figure.axes]
        ['u', 'F^0', 'RLHF']
    """
    _checks.check_names("names", names, "one name for each alternative")
    if not isinstance(lotteries, Mapping):
        raise BadArgument("lotteries", expected="lotteries by the name of a rule", got=f"{lotteries!r:.80}")
    columns = {**({} if bounds is None else {"u": bounds}), **lotteries}
    if not names or not columns:
        raise BadArgument(
            "lotteries", expected="at least one rule and one name", got=f"{len(columns)} rules and {len(names)} names"
        )
    check_title(title)
    ends = dict(_checks.check_named("intervals", intervals))
    if unknown := ends.keys() - columns.keys():
        raise BadArgument("intervals", expected=f"names among {', '.join(columns)}", got=", ".join(sorted(unknown)))
    values = {rule: _column(rule, column, len(names)) for rule, column in columns.items()}
    order = np.argsort(-next(iter(values.values())), kind="stable")
    labels = [short(names[i], LONGEST_NAME) for i in order]
    heads = [textwrap.fill(short(rule, 60), 13) for rule in values]
    row = float(np.interp(len(names), [10, 40], [0.21, 0.145]))  # inches, as all of these
    above = 0.13 * max(head.count("\n") + 1 for head in heads) + (0.25 if title else 0.05)
    width = min(7.0, max(3.3, 0.3 + 0.06 * max(map(len, labels)) + 0.95 * len(values)))
    height = row * len(names) + above + 0.25
    figure = new_figure(width, height)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.04, wspace=0.02)
    grid = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for axes, rule, head in zip(grid, values, heads, strict=True):
        low, high = (_column(rule, end, len(names))[order] for end in ends[rule]) if rule in ends else (None, None)
        _bars(axes, values[rule][order], low, high, colour=LIGHT if bounds is not None and axes is grid[0] else BLUE)
        axes.set_title(head, fontsize=NORMAL if len(values) <= 6 else SMALL, pad=3, parse_math=False)
    grid[0].set_yticks(range(len(names)), labels, fontsize=NORMAL, parse_math=False)
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    if len(values) > 1:
        figure.supxlabel("every column has its own scale", fontsize=SMALL, color=GREY)
    if title:
        figure.suptitle(short(title, int(width / 0.075)), fontsize=LARGE, parse_math=False)
    return figure


def _column(rule: str, column: Column, alternatives: int) -> np.ndarray:
    values = _checks.host_numbers("lotteries", column, f"{alternatives} finite numbers for {rule!r}")
    if values.shape != (alternatives,) or not np.isfinite(values).all():
        raise BadArgument(
            "lotteries", expected=f"{alternatives} finite numbers for {rule!r}", got=f"shape {values.shape}: {values}"
        )
    return values


def _bars(axes: Axes, values: np.ndarray, low: np.ndarray | None, high: np.ndarray | None, *, colour: str) -> None:
    """One column: a bar and its number in every row, every other row shaded."""
    rows = np.arange(len(values))
    for i in rows[1::2]:
        axes.axhspan(i - 0.5, i + 0.5, color=BAND, linewidth=0, zorder=0)
    axes.barh(rows, values, height=0.62, color=colour, zorder=2)
    reach = values
    if low is not None and high is not None:
        axes.hlines(rows, low, high, color="black", linewidth=0.7, zorder=3)
        reach = np.maximum(values, high)
    longest = reach.max() or 1.0
    for i in rows[values > 0]:
        text = "<.001" if values[i] < 0.0005 else f"{values[i]:.3f}".lstrip("0") if values[i] < 0.9995 else "1"
        axes.text(reach[i] + 0.04 * longest, i, text, va="center_baseline", fontsize=SMALL, zorder=4)
    axes.set_xlim(0, 1.75 * longest)
    axes.set_xticks([])
    axes.tick_params(left=False, labelsize=NORMAL)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_linewidth(0.6)
