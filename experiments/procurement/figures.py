"""AvgErr by round and what each method bought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.inequalities import half_width
from experiments.procurement.market import NOISY
from jaxval.plots._drawing import BLACK, BLUE, GREY, LIGHT, NORMAL, SMALL, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LEVEL", "draw"]

LEVEL = 0.90  # of intervals, as in the paper
STYLES = {  # the last one lies on top
    "random": (GREY, ":", 1.3),
    "cleanest": (BLACK, "-", 0.6),
    "leave-one-out": (VERMILLION, "--", 2.2),
    "ADS": (BLUE, "-", 1.1),
}
SHADES = (BLUE, LIGHT, VERMILLION)  # from the cleanest to the noisiest
PART = 5  # rounds that a bar of purchases stands for, if there are more


def draw(runs: list[dict[str, Any]]) -> Figure:
    """Both errors by round with 90 % bands over runs, and the shares of the datasets that two methods bought."""
    figure = new_figure(7.0, 4.6)
    figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06)
    (left, right), below = figure.subplots(2, 2, gridspec_kw={"height_ratios": [3, 2]})
    for column, (axes, title) in enumerate(
        ((left, "(a) AvgErr as in the paper"), (right, "(b) from the identified part of the part-worths"))
    ):
        for method, (colour, style, width) in STYLES.items():
            curves = np.array([run["methods"][method]["errors"] for run in runs])[..., column]
            mean, reach = curves.mean(axis=0), np.nan_to_num(half_width(curves, level=LEVEL))
            at = np.arange(len(mean))
            axes.plot(at, mean, color=colour, linestyle=style, linewidth=width, label=method)
            if method != "cleanest":
                axes.fill_between(at, np.maximum(mean - reach, 0), mean + reach, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(title, fontsize=NORMAL, loc="left")
        axes.set_xlabel("rounds bought", fontsize=NORMAL)
        axes.set_ylim(bottom=0)
    least = float(np.mean([run["least AvgErr"] for run in runs]))
    left.axhline(least, color=LIGHT, linewidth=0.8)
    left.text(0, least, "perfect ratings", fontsize=SMALL, color=GREY, va="bottom")
    left.set_ylabel("mean error of a part-worth", fontsize=NORMAL)
    left.legend(fontsize=SMALL, frameon=False, ncols=2, loc="upper right")
    top = max(axes.get_ylim()[1] for axes in (left, right))
    for axes in (left, right):
        axes.set_ylim(0, 1.25 * top)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes, method, letter in zip(below, ("leave-one-out", "ADS"), "cd", strict=True):
        _purchases(axes, np.array([run["methods"][method]["bought"] for run in runs]))
        axes.set_title(f"({letter}) bought by {method}", fontsize=NORMAL, loc="left")
    below[0].set_ylabel("share of purchases", fontsize=NORMAL)
    handles, labels = below[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    for axes in figure.axes:
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _purchases(axes: Axes, bought: np.ndarray) -> None:
    """Stacked bars of the shares of the datasets bought, for every few rounds over all runs."""
    rounds = bought.shape[1]
    part = PART if rounds > PART else 1
    starts = np.arange(0, rounds, part)
    bottom = np.zeros(len(starts))
    names = [f"{start + 1}–{min(start + part, rounds)}" if part > 1 else f"{start + 1}" for start in starts]
    for seller, (share, colour) in enumerate(zip(NOISY, SHADES, strict=True)):
        heights = np.array([(bought[:, start : start + part] == seller).mean() for start in starts])
        axes.bar(names, heights, bottom=bottom, color=colour, width=0.75, label=f"{share:.0%} noisy")
        bottom += heights
    axes.set_xlabel("rounds", fontsize=NORMAL)
    axes.set_ylim(0, 1)
