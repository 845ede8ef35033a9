"""The figure of federated rounds: accuracies after selection, and how soon noisy contributors are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.federated.rounds import ACTIVE, ROUNDS, SELECTED
from experiments.inequalities import half_width
from jaxval.plots._drawing import BLACK, BLUE, GREY, NORMAL, SMALL, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LEVEL", "draw"]

LEVEL = 0.95
STYLES = {"ADS": (BLUE, "o", "-"), "leave-one-out": (VERMILLION, "s", "--"), "random": (GREY, "^", ":")}


def draw(runs: list[dict[str, Any]]) -> Figure:
    """The accuracies after selection, and the detection curves, with 95 % intervals over seeds."""
    figure = new_figure(7.0, 2.7)
    figure.set_layout_engine("constrained", w_pad=0.06)
    panels = figure.subplots(1, 3)
    steps = np.arange(1, ROUNDS + 1)
    for axes, k, letter in zip(panels, SELECTED, "ab", strict=False):
        every = np.array([run["accuracy"]["all six"] for run in runs]).mean(axis=0)
        axes.plot(steps, every, color=BLACK, linewidth=0.7, label="all six")
        for name in STYLES:
            _band(axes, steps, np.array([run["accuracy"][f"{name}, top {k}"] for run in runs]), name)
        axes.set_title(f"({letter}) top {k} of each round", fontsize=NORMAL, loc="left")
        axes.set_xlabel("round", fontsize=NORMAL)
        axes.set_xticks(steps)
    low = min(axes.get_ylim()[0] for axes in panels[:2])
    high = max(axes.get_ylim()[1] for axes in panels[:2])
    for axes in panels[:2]:
        axes.set_ylim(low, high)
    panels[0].set_ylabel("accuracy on test images", fontsize=NORMAL)
    for name in STYLES:
        _band(panels[2], np.arange(ACTIVE + 1), np.array([run["detection"][name]["found"] for run in runs]), name)
    panels[2].set_title("(c) noisy contributors found", fontsize=NORMAL, loc="left")
    panels[2].set_xlabel("contributors of a round inspected,\nlowest values first", fontsize=NORMAL)
    panels[2].set_ylabel("share of its noisy ones found", fontsize=NORMAL)
    for axes in panels:
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=NORMAL, frameon=False)
    return figure


def _band(axes: Axes, at: np.ndarray, curves: np.ndarray, name: str) -> None:
    colour, marker, style = STYLES[name]
    mean, reach = curves.mean(axis=0), np.nan_to_num(half_width(curves, level=LEVEL))
    low, high = np.clip([mean - reach, mean + reach], 0, 1)
    axes.plot(at, mean, color=colour, marker=marker, markersize=3.5, linestyle=style, linewidth=1.3, label=name)
    axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
