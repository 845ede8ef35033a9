"""Win rate and PPA level by β for both categories, beside the exact optimum and the paper's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.group_styles.texts import BETAS, NAMES, PAPER
from experiments.inequalities import half_width
from jaxval.plots._drawing import BLACK, BLUE, GREEN, GREY, NORMAL, ORANGE, SMALL, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LEVEL", "draw"]

LEVEL = 0.95
STYLES = {"model": (BLUE, "s", "P̂ by a model"), "counts": (VERMILLION, "^", "P̂ by counts"), "DPO": (GREEN, "D", "DPO")}


def draw(measured: dict[str, Any], summary: dict[str, Any]) -> Figure:
    """A column for each category, win rate above and PPA level below."""
    figure = new_figure(6.0, 4.2)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    axes = figure.subplots(2, len(measured), sharex=True, sharey="row", squeeze=False)
    for column, (category, of) in enumerate(measured.items()):
        for row, measure in enumerate(("win rate", "PPA level")):
            _panel(axes[row, column], of, summary[category]["exact"], measure, [one[row] for one in PAPER[category]])
        axes[0, column].set_title(f"({'ab'[column]}) {category}", fontsize=NORMAL, loc="left")
        axes[1, column].set_xlabel("β of Fᵝ, and DPO", fontsize=NORMAL)
    axes[0, 0].set_ylabel("win rate", fontsize=NORMAL)
    axes[1, 0].set_ylabel("PPA level", fontsize=NORMAL)
    axes[1, 0].set_ylim(-0.03, 1.05)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=SMALL, frameon=False)
    return figure


def _panel(axes: Axes, of: dict[str, Any], exact: dict[str, Any], measure: str, paper: list[float]) -> None:
    """One measure of one category."""
    last = len(NAMES) - 1
    numbers = [exact[name][measure] for name in NAMES]
    axes.plot(range(last), numbers[:-1], "_-", color=BLACK, ms=11, lw=0.9, mew=1.4, label="exact optimum")
    axes.plot([last], numbers[-1:], "_", color=BLACK, ms=11, mew=1.4)
    for shift, (kind, (colour, marker, label)) in enumerate(STYLES.items()):
        betas = {} if kind == "DPO" else {k: f"{kind}, β = {beta:g}" for k, beta in enumerate(BETAS)}
        of_kind = {last: kind} if kind == "DPO" else {k: name for k, name in betas.items() if name in of}
        names, at = list(of_kind.values()), np.array(list(of_kind)) + (0 if kind == "DPO" else 0.16 * shift - 0.08)
        found = [of[name][measure] for name in names]
        reach = np.nan_to_num([float(half_width(one, level=LEVEL)) for one in found])
        line = "" if kind == "DPO" else "-"
        axes.errorbar(
            at, [one.mean() for one in found], reach, fmt=marker + line, color=colour, ms=3, lw=0.9, label=label
        )
    axes.plot(range(len(NAMES)), paper, "*", color=ORANGE, ms=8, mec=BLACK, mew=0.4, label="paper", zorder=5)
    axes.axvline(last - 0.5, color=GREY, lw=0.4, ls=":")
    if measure == "win rate":
        axes.axhline(0.8, color=GREY, lw=0.6, ls="--")
        axes.text(0.7, 0.803, "largest possible", fontsize=SMALL, color=GREY, va="bottom")
    axes.set_xticks(range(len(NAMES)), ["0", "10⁻⁴", "10⁻²", "1", "DPO"])
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
