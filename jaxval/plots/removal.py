"""Utilities while players are removed, and harmful players found by low values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxval import _checks
from jaxval.plots._drawing import BLUE, GREY, LARGE, NORMAL, VERMILLION, check_title, new_figure, short
from jaxval.types import BadArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jaxval.values import RemovalCurves

__all__ = ["plot_removal"]


def plot_removal(
    curves: RemovalCurves | Mapping[str, RemovalCurves],
    *,
    players: int | None = None,
    measure: str = "utility",
    level: float = 0.9,
    title: str | None = None,
) -> Figure:
    """Utilities while players are removed or added: the lowest values first, the highest first, and at random.

    The band holds the middle share `level` of the random orders at each point, and a line shows their mean. Several
    methods have a panel each, on one scale.

    Args:
        curves: the result of `values.removal_curves` for one objective, or such results by the method's name.
        players: the number of players, so that the axis shows shares; None shows counts.
        measure: what the utility is, such as "accuracy".
        level: the share of the random orders within the band, in (0, 1).
        title: the title of the figure.

    Returns:
        A figure, 7 inches wide for two or more panels; three panels a row.

    Raises:
        ValueError: if there is nothing to draw, the curves are of several objectives, or the level is not in (0, 1).
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> from jaxval.values import RemovalCurves
        >>> counts = np.arange(3)
        >>> curves = RemovalCurves(counts, 1 - 0.1 * counts, 1 - 0.2 * counts, np.ones((2, 3)))
        >>> figure = plot_removal(curves, measure="accuracy")
        >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
        ('players removed', 'accuracy')
    """
    named = dict(curves) if isinstance(curves, Mapping) else {"": curves}
    for one in named.values():
        if not all(hasattr(one, field) for field in ("counts", "lowest", "highest", "random", "adding")):
            raise BadArgument("curves", expected="values.RemovalCurves, or several by name", got=f"{one!r:.80}")
        count = _checks.host_numbers("curves.counts", one.counts).shape
        for field in ("lowest", "highest", "random"):
            numbers = _checks.host_numbers(f"curves.{field}", getattr(one, field))
            if numbers.shape[-1:] != count and numbers.ndim == 1 + (field == "random"):
                raise BadArgument(f"curves.{field}", expected=f"numbers for {count} counts", got=numbers.shape)
            if not np.isfinite(numbers).all():
                raise BadArgument(f"curves.{field}", expected="finite numbers", got=numbers[~np.isfinite(numbers)][0])
    _checks.check_text("measure", measure)
    check_title(title)
    if players is not None:
        _checks.check_size("players", players)
    if not named or any(np.ndim(one.lowest) != 1 for one in named.values()):
        raise BadArgument("curves", expected="removal curves of one objective", got="none, or several objectives")
    _checks.check_share("level", level, "a share in (0, 1)")
    columns = min(3, len(named))
    rows = -(-len(named) // columns)
    width = 3.4 if columns == 1 else 7.0
    figure = new_figure(width, 2.3 * rows + 0.3 + (0.25 if title else 0))
    figure.set_layout_engine("constrained", w_pad=0.04, h_pad=0.04)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (name, one) in zip(grid, named.items(), strict=False):
        _panel(axes, one, players, level)
        axes.set_title(short(name, 40), fontsize=NORMAL, parse_math=False)
    for axes in grid[len(named) :]:
        axes.set_visible(False)
    verb = "added" if next(iter(named.values())).adding else "removed"
    for number, axes in enumerate(grid[: len(named)]):
        if number + columns >= len(named):
            axes.set_xlabel(f"players {verb}" if players is None else f"share of players {verb}", fontsize=NORMAL)
            axes.tick_params(labelbottom=True)
        if number % columns == 0:
            axes.set_ylabel(short(measure, 40), fontsize=NORMAL, parse_math=False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2 if columns == 1 else 4, fontsize=NORMAL, frameon=False
    )
    if title:
        figure.suptitle(short(title, 60), fontsize=LARGE, parse_math=False)
    return figure


def _panel(axes: Axes, curves: RemovalCurves, players: int | None, level: float) -> None:
    x = np.asarray(curves.counts) / (1 if players is None else players)
    drawn = np.asarray(curves.random, dtype=float)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    axes.fill_between(x, low, high, color=GREY, alpha=0.2, linewidth=0, label=f"middle {100 * level:g} % at random")
    axes.plot(x, drawn.mean(axis=0), color=GREY, linestyle=":", linewidth=1.3, label="at random, mean")
    axes.plot(x, curves.lowest, color=BLUE, linewidth=1.5, label="lowest values first")
    axes.plot(x, curves.highest, color=VERMILLION, linestyle="--", linewidth=1.5, label="highest values first")
    axes.tick_params(labelsize=NORMAL, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
