"""What rules give to groups of voters: win rates on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxval import _checks
from jaxval.plots._drawing import (
    GREY,
    HUES,
    LARGE,
    MARKERS,
    NORMAL,
    SMALL,
    Column,
    check_ends,
    check_title,
    new_figure,
    short,
)
from jaxval.types import BadArgument

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_groups"]

MOST = 8  # groups that one row can hold


def plot_groups(
    groups: Sequence[str],
    rates: Mapping[str, Column],
    *,
    intervals: Mapping[str, tuple[Column, Column]] | None = None,
    title: str | None = None,
) -> Figure:
    """The win rate of each rule in each group: a row for each rule, and a colour and a marker for each group.

    All rows share one scale. The grey line is 1/2, an even match with any alternative.

    Args:
        groups: one name per group, at most eight.
        rates: the (groups,) win rates by the rule's name; the first rule is the top row.
        intervals: the low and the high ends, (groups,) each, by the rule's name.
        title: the title of the figure.

    Returns:
        A figure 5 inches wide; its height grows with the rules and groups.

    Raises:
        ValueError: if there is nothing to draw, a column has another length, or there are more than eight groups.
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> figure = plot_groups(["town", "village"], {"F^0": [0.55, 0.52], "Borda": [0.6, 0.45]})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['F^0', 'Borda']
    """
    _checks.check_names("groups", groups, "one name for each group")
    if not isinstance(rates, Mapping):
        raise BadArgument("rates", expected="win rates by the name of a rule", got=f"{rates!r:.80}")
    if not rates or not 1 <= len(groups) <= MOST:
        raise BadArgument("groups", expected=f"one to {MOST} groups and a rule", got=f"{len(groups)}, {len(rates)}")
    columns = {rule: _checks.host_numbers("rates", column) for rule, column in rates.items()}
    for rule, column in columns.items():
        if column.shape != (len(groups),) or np.isinf(column).any():
            raise BadArgument("rates", expected=f"{len(groups)} numbers for {rule!r}", got=f"shape {column.shape}")
    check_title(title)
    if intervals is not None and not isinstance(intervals, Mapping):
        raise BadArgument("intervals", expected="(low, high) ends by the name of a rule", got=f"{intervals!r:.80}")
    step = 0.7 / len(groups)
    figure = new_figure(5.0, 0.75 + len(rates) * (0.14 * len(groups) + 0.1))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    axes.axvline(0.5, color=GREY, linewidth=0.7, zorder=1)
    for k, group in enumerate(groups):
        rows = np.arange(len(columns)) + (k - (len(groups) - 1) / 2) * step
        values = np.array([column[k] for column in columns.values()])
        hue = HUES[k % len(HUES)]
        axes.plot(values, rows, MARKERS[k % len(MARKERS)], color=hue, markersize=4, label=short(group, 24), zorder=3)
        for row, rule in zip(rows, columns, strict=True):
            if intervals and rule in intervals:
                low, high = check_ends(intervals[rule], (len(groups),))[:, k]
                axes.hlines(row, low, high, color=hue, linewidth=1.1, zorder=2)
    axes.set_yticks(range(len(columns)), [short(rule, 30) for rule in columns], fontsize=NORMAL, parse_math=False)
    axes.set_ylim(len(columns) - 0.5, -0.5)
    bars = ", with 95 % intervals over voters" if intervals else ""
    axes.set_xlabel(f"win rate within the group{bars}", fontsize=NORMAL)
    axes.tick_params(labelsize=NORMAL, width=0.6)
    axes.tick_params(axis="y", left=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    legend = figure.legend(
        loc="outside upper center", ncols=min(len(groups), 4), fontsize=SMALL, frameon=False, handletextpad=0.3
    )
    for label in legend.get_texts():
        label.set_parse_math(False)
    if title:
        figure.suptitle(short(title, 60), fontsize=LARGE, parse_math=False)
    return figure
