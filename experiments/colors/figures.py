"""Win rate and PPA level by β at every stage, with the paper's, and how far each stage moves the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.colors.world import METHODS, PAPER
from experiments.inequalities import half_width
from jaxval.plots._drawing import BLACK, BLUE, GREEN, GREY, LIGHT, NORMAL, ORANGE, SMALL, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LEVEL", "draw"]

LEVEL = 0.95
STYLES = {
    "rule": (BLACK, "o", "-", "rule on P"),
    "estimated": (BLUE, "s", "-", "rule on P̂"),
    "coefficient": (GREEN, "D", "-", "with KL coefficient"),
    "transformer": (VERMILLION, "^", "-", "transformer"),
    "printed": (LIGHT, "v", ":", "losses as printed"),
}
NAMES = ["0", "10⁻⁴", "10⁻²", "1", "10", "100", "DPO"]


def draw(stages: dict[str, Any]) -> Figure:
    """Three panels: win rate, PPA level, and the total variation that each stage adds, by β and for DPO."""
    figure = new_figure(7.0, 2.9)
    figure.set_layout_engine("constrained", w_pad=0.06)
    wins, levels, moves = figure.subplots(1, 3)
    for axes, measure, column, title in (
        (wins, "win rate", 0, "(a) win rate against uniform"),
        (levels, "PPA level", 1, "(b) PPA level"),
    ):
        _curves(axes, stages, measure)
        at = [k for k, method in enumerate(METHODS) if method in PAPER]
        reported = [PAPER[METHODS[k]][column] for k in at]
        axes.plot(at, reported, "*", color=ORANGE, ms=8, mec=BLACK, mew=0.4, label="paper", zorder=5)
        axes.set_title(title, fontsize=NORMAL, loc="left")
    wins.set_ylim(0.45, 0.95)
    levels.set_ylim(-0.03, 1)
    both = len(stages["transformer"]["DPO"]["win rate"])  # draws that all steps have
    bottom = np.zeros(len(METHODS))
    for stage, label in (
        ("estimated", "estimation"),
        ("coefficient", "KL coefficient"),
        ("transformer", "transformer"),
    ):
        heights = np.array([stages[stage][method].get("moved", np.zeros(1))[:both].mean() for method in METHODS])
        moves.bar(range(len(METHODS)), heights, bottom=bottom, color=STYLES[stage][0], width=0.7, label=label)
        bottom += heights
    moves.set_title("(c) total variation of each step", fontsize=NORMAL, loc="left")
    moves.legend(fontsize=SMALL, frameon=False, loc="upper left")
    moves.set_ylim(0, 1.35 * bottom.max())
    for axes in (wins, levels, moves):
        axes.set_xticks(range(len(METHODS)), NAMES)
        axes.set_xlabel("β of Fᵝ, and DPO", fontsize=NORMAL)
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = wins.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=SMALL, frameon=False)
    return figure


def _curves(axes: Axes, stages: dict[str, Any], measure: str) -> None:
    """The means of all stages with their intervals; DPO stands apart from the β."""
    for shift, (stage, (colour, marker, line, label)) in enumerate(STYLES.items()):
        methods = [method for method in METHODS if method in stages[stage]]
        at = np.array([METHODS.index(method) for method in methods]) + 0.08 * (shift - 2)
        numbers = [stages[stage][method][measure] for method in methods]
        mean = np.array([one.mean() for one in numbers])
        reach = np.nan_to_num([float(half_width(one, level=LEVEL)) for one in numbers])
        axes.errorbar(at, mean, reach, fmt=marker, color=colour, ms=3, elinewidth=0.7, label=label)
        betas = [k for k, method in enumerate(methods) if method != "DPO"]
        axes.plot(at[betas], mean[betas], line, color=colour, lw=0.9)
    axes.axvline(len(METHODS) - 1.5, color=GREY, lw=0.4, ls=":")
