"""Values as bars."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from jaxval import _checks
from jaxval.plots._drawing import BLACK, BLUE, GREY, LARGE, LONGEST_NAME, NORMAL, check_title, new_figure, short
from jaxval.types import BadArgument, Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_values"]


def plot_values(
    estimate: Estimate, *, top: int | None = None, level: float | None = None, title: str | None = None
) -> Figure:
    """Values as bars, the largest on top, with error bars.

    The error bars are the estimate's 95 % intervals. With a level, or if the estimate has no intervals, they come from
    the standard errors by the central limit theorem. Each objective has a panel, and all panels have the order of the
    first. Bars to the left of zero are negative values. An interval without width, or an unknown one, has no error bar.

    Args:
        estimate: values with standard errors; its names label the rows, or numbers if it has no names.
        top: how many players are shown at either end; a row between them says how many are left out. None shows all.
        level: the level of error bars from the standard errors, in (0, 1); None means the 95 % intervals.
        title: the title of the figure.

    Returns:
        A figure whose height grows with the players.

    Raises:
        ValueError: if a value is not finite, `top` is below 1, or the level lies outside (0, 1).
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> from jaxval.types import Estimate
        >>> estimate = Estimate(np.array([0.25, 0.5]), np.array([0.01, 0.02]), 4).with_names(["news", "books"])
        >>> [label.get_text() for label in plot_values(estimate).axes[0].get_yticklabels()]
        ['books', 'news']
    """
    check_title(title)
    if level is not None:
        _checks.check_share("level", level, "a probability in (0, 1)")
    if not isinstance(estimate, Estimate):
        raise BadArgument("estimate", expected="a types.Estimate", got=f"{estimate!r:.80}")
    values = _checks.host_numbers("estimate.values", estimate.values).reshape(len(estimate), -1)
    if not np.isfinite(values).all():
        raise BadArgument("estimate", expected="finite values", got=values[~np.isfinite(values)][0])
    reach = _reach(estimate, values, level)
    order = np.argsort(-values[:, 0], kind="stable")
    names = [short(name, LONGEST_NAME) for name in estimate.names or map(str, range(len(estimate)))]
    names = [names[i] for i in order]
    rows = np.arange(len(order))
    if top is not None and 2 * _checks.check_size("top", top) < len(order) - 1:
        names = [*names[:top], f"… {len(order) - 2 * top} more …", *names[-top:]]
        order = np.concatenate([order[:top], order[-top:]])
        rows = np.concatenate([np.arange(top), np.arange(top) + top + 1])
    row = float(np.interp(len(names), [10, 40], [0.21, 0.145]))
    panels = values.shape[1]
    figure = new_figure(min(7.0, 1.4 + 2.1 * panels), row * len(names) + (0.85 if title else 0.6))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.04, wspace=0.02)
    grid = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for objective, axes in enumerate(grid):
        axes.barh(rows, values[order, objective], height=0.62, color=BLUE, zorder=2)
        wide = reach[:, order, objective].max(axis=0) > 0
        known = order[wide]
        axes.errorbar(
            values[known, objective],
            rows[wide],
            xerr=reach[:, known, objective],
            fmt="none",
            ecolor=BLACK,
            elinewidth=0.9,
            capsize=2,
            zorder=3,
        )
        axes.axvline(0, color=GREY, linewidth=0.6, zorder=1)
        quantity = f"value {objective}" if np.ndim(estimate.values) > 1 else "value"
        bars = f" ({100 * (level or 0.95):g} % intervals)" if wide.any() else ""
        axes.set_xlabel(quantity + bars, fontsize=NORMAL)
        axes.tick_params(labelsize=NORMAL, width=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].set_yticks(np.arange(len(names)), names, fontsize=NORMAL, parse_math=False)
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    if title:
        figure.suptitle(short(title, 60), fontsize=LARGE, parse_math=False)
    return figure


def _reach(estimate: Estimate, values: np.ndarray, level: float | None) -> np.ndarray:
    """(2, players, objectives) how far the error bars reach down and up; 0 if that is unknown."""
    if level is None and estimate.intervals is not None:
        low, high = np.asarray(estimate.intervals, dtype=float).reshape(2, *values.shape)
        return np.maximum(np.nan_to_num(np.stack([values - low, high - values])), 0)
    wide = NormalDist().inv_cdf((1 + (level or 0.95)) / 2)
    return np.repeat(wide * np.nan_to_num(np.asarray(estimate.standard_errors, float).reshape(1, *values.shape)), 2, 0)
