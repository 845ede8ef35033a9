"""The curves of Figures 2 and 7, and the areas between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.inequalities import half_width
from experiments.synthetic_data.measures import LEVEL, METHODS, PANELS, SHARES, relative
from experiments.synthetic_data.tasks import SETS
from jaxval.plots._drawing import BLACK, BLUE, GREEN, GREY, NORMAL, ORANGE, SMALL, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_areas", "plot_curves"]

STYLES = {
    "MC-ADS": (VERMILLION, "-", "o"),
    "KNN-ADS": (ORANGE, "--", "s"),
    "MC-DS": (BLUE, "-", "^"),
    "KNN-DS": (GREEN, "--", "v"),
    "LOO": (GREY, "-.", "D"),
    "random": (BLACK, ":", ""),
}
TITLES = {"a": "(a) remove lowest", "b": "(b) remove highest", "c": "(c) add lowest", "d": "(d) add highest"}


def plot_curves(runs: dict[str, Any], names: Iterable[str], seeds: range) -> Figure:
    """Relative accuracy of each method, a row for each set; bands are intervals over seeds."""
    names = list(names)
    figure = new_figure(7.2, 1.75 * len(names) + 0.6)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03)
    grid = figure.subplots(len(names), len(PANELS), sharex=True, squeeze=False)
    for k, (name, row) in enumerate(zip(names, grid, strict=True)):
        for panel, axes in zip(PANELS, row, strict=True):
            for method in METHODS[::-1]:  # those of interest on top
                curves = np.array([relative(runs[f"{name}, {seed}, {method}"], panel, "test") for seed in seeds])
                colour, style, _ = STYLES[method]
                mean, reach = curves.mean(axis=0), half_width(curves, level=LEVEL)
                axes.plot(100 * SHARES, mean, color=colour, linestyle=style, linewidth=1.2, label=method)
                if len(curves) > 2:  # an interval of two seeds is wider than the panel
                    axes.fill_between(100 * SHARES, mean - reach, mean + reach, color=colour, alpha=0.12, linewidth=0)
            axes.axhline(1, color=GREY, linewidth=0.4)
            axes.tick_params(labelsize=SMALL, width=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            if k == 0:
                axes.set_title(TITLES[panel], fontsize=NORMAL)
            if k == len(names) - 1:
                axes.set_xlabel("synthetic rows, %", fontsize=NORMAL)
        row[0].set_ylabel(f"{SETS[name].title}\nrelative accuracy", fontsize=NORMAL)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], loc="outside lower center", ncols=len(METHODS), fontsize=NORMAL, frameon=False
    )
    return figure


def plot_areas(areas: dict[str, list[dict[str, Any]]]) -> Figure:
    """The mean area of the four panels by method, on the test rows of the utility and on fresh ones."""
    figure = new_figure(7.2, 2.4)
    figure.set_layout_engine("constrained", w_pad=0.03)
    panels = figure.subplots(1, len(areas), sharey=True, squeeze=False)[0]
    for axes, (name, rows) in zip(panels, areas.items(), strict=True):
        y = np.arange(len(rows))[::-1]
        for panel, shift, filled in (("mean", 0.13, True), ("fresh", -0.13, False)):
            for row, at in zip(rows, y, strict=True):
                cell, (colour, _, marker) = row[panel], STYLES[row["method"]]
                axes.errorbar(
                    100 * cell["area"], at + shift, xerr=100 * (cell["reach"] or 0), color=colour, marker=marker,
                    markersize=4.5, capsize=2, linewidth=0.9, markerfacecolor=colour if filled else "white",
                )  # fmt: skip
        axes.axvline(0, color=GREY, linewidth=0.6)
        axes.set_yticks(y, [row["method"] for row in rows])
        axes.set_title(SETS[name].title, fontsize=NORMAL)
        axes.tick_params(labelsize=NORMAL, width=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(
        "mean area of the four panels against random orders, hundredths of relative accuracy\n"
        "(filled: the test rows of the utility; hollow: fresh test rows)",
        fontsize=NORMAL,
    )
    return figure
