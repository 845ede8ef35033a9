"""The trade-off of win rate and proportionality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxval import _checks
from jaxval.plots._drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LARGE,
    NORMAL,
    ORANGE,
    VERMILLION,
    check_title,
    new_figure,
    short,
)
from jaxval.types import BadArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_tradeoff"]


def plot_tradeoff(results: Mapping[str, Any], *, title: str | None = None) -> Figure:
    """Figure 2 of Kim et al.: win rate and PPA level against β, and the gain by manipulation against β.

    Lines are means. In the left panel, bands are one standard deviation to each side. In the right panel, whose scale
    is logarithmic, bars take the place of bands, and gains of 0 are drawn at the bottom.

    Args:
        results: the results of one population. `results["betas"]` holds the values of β. Each of `proportional`,
            `RLHF` and `NLHF` maps `win_rate` and `ppa_level` to a measure, and `gain` to one measure for each family of
            misreports. A measure maps `mean` and `std` to one number for each β, or to a single number for `RLHF` and
            `NLHF`, which do not depend on β. A `std` of None is unknown.
        title: the title of the figure.

    Returns:
        A figure of two panels, 7 inches wide.

    Raises:
        ValueError: if a measure is missing.
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> one = {"mean": 0.7, "std": None}
        >>> baseline = {"win_rate": one, "ppa_level": one, "gain": {"bury": one}}
        >>> two = {"mean": [0.6, 0.7], "std": [0.1, 0.1]}
        >>> proportional = {"win_rate": two, "ppa_level": two, "gain": {"bury": two}}
        >>> results = {"betas": [0.0, 10.0], "proportional": proportional, "RLHF": baseline, "NLHF": baseline}
        >>> [axes.get_ylabel() for axes in plot_tradeoff(results).axes]
        ['win rate against uniform', 'mean gain by manipulation', 'PPA level α']

    Source: Kim et al., section 5.1, Figure 2.
    """
    if not isinstance(results, Mapping):
        raise BadArgument("results", expected="the measures of one population, by name", got=f"{results!r:.80}")
    try:
        betas = _checks.host_numbers("results['betas']", results["betas"], "(betas,) numbers")
        check_title(title)
        if betas.ndim != 1 or not len(betas) or not np.isfinite(betas).all():
            raise BadArgument("results['betas']", expected="(betas,) finite numbers", got=f"{betas!r:.80}")
        rules = {name: results[name] for name in ("proportional", "RLHF", "NLHF")}
        families = list(rules["proportional"]["gain"])
        figure = new_figure(7.0, 2.9 + (0.2 if title else 0))
        figure.set_layout_engine("constrained", w_pad=0.06, wspace=0.06)
        left, right = figure.subplots(1, 2)
        _rates(left, betas, rules)
        _gains(right, betas, rules, families)
    except KeyError as error:
        raise BadArgument("results", expected="the measures of one population", got=f"none named {error}") from None
    if title:
        figure.suptitle(short(title, 100), fontsize=LARGE, parse_math=False)
    return figure


def _rates(axes: Axes, betas: np.ndarray, rules: Mapping[str, Any]) -> None:
    """Left panel: win rates on the left axis, PPA levels on the right one."""
    levels = axes.twinx()
    _line(axes, betas, rules["proportional"]["win_rate"], colour=BLUE)
    _line(levels, betas, rules["proportional"]["ppa_level"], colour=VERMILLION)
    for name, style in (("RLHF", "--"), ("NLHF", ":")):
        axes.axhline(float(rules[name]["win_rate"]["mean"]), color=BLUE, linestyle=style, linewidth=1)
        levels.axhline(float(rules[name]["ppa_level"]["mean"]), color=VERMILLION, linestyle=style, linewidth=1)
    _beta_axis(axes, betas)
    for axis, lowest in ((axes, 0.5), (levels, 0.0)):
        low, high = min(lowest, axis.dataLim.y0), max(axis.dataLim.y1, lowest + 0.05)
        axis.set_ylim(low - 0.03 * (high - low), high + 0.05 * (high - low))
    for axis, side, label, colour in (
        (axes, "left", "win rate against uniform", BLUE),
        (levels, "right", "PPA level α", VERMILLION),
    ):
        axis.set_ylabel(label, color=colour, fontsize=NORMAL)
        axis.tick_params(axis="y", colors=colour, labelsize=NORMAL, width=0.6)
        axis.spines["top"].set_visible(False)
        axis.spines[side].set_color(colour)
    _key(axes, {"$F^β$": "-", "RLHF": "--", "NLHF": ":"}, dict.fromkeys(("$F^β$", "RLHF", "NLHF"), GREY))


def _gains(axes: Axes, betas: np.ndarray, rules: Mapping[str, Any], families: Sequence[str]) -> None:
    """Right panel: gains on a logarithmic scale, a colour for each policy and a line style for each family."""
    styles = dict(zip(families, ("-", "--", ":", "-.") * len(families), strict=False))
    gains = np.concatenate([np.ravel(rules[name]["gain"][family]["mean"]) for name in rules for family in families])
    positive = gains[gains > 1e-6]
    floor = 10 ** np.floor(np.log10(positive.min(initial=1e-3)))
    for family, style in styles.items():
        _line(axes, betas, rules["proportional"]["gain"][family], colour=GREEN, style=style, floor=floor, bars=True)
        for name, colour in (("RLHF", BLACK), ("NLHF", ORANGE)):
            gain = float(rules[name]["gain"][family]["mean"])
            axes.axhline(max(gain, floor), color=colour, linestyle=style, linewidth=1.2)
    axes.set_yscale("log")
    axes.set_ylim(floor / 1.1, 2 * positive.max(initial=floor))
    decades = range(round(np.log10(floor)), int(np.floor(np.log10(2 * positive.max(initial=floor)))) + 1)
    ticks = [f"$10^{{{i}}}$" for i in decades]
    ticks[0] = ticks[0].replace("$", r"$\leq ", 1) if gains.min() < floor else ticks[0]
    axes.set_yticks([10.0**i for i in decades], ticks)
    _beta_axis(axes, betas)
    axes.set_ylabel("mean gain by manipulation", fontsize=NORMAL)
    axes.tick_params(axis="y", labelsize=NORMAL, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    colours = {"$F^β$": GREEN, "RLHF": BLACK, "NLHF": ORANGE}
    _key(axes, {**dict.fromkeys(colours, "-"), **styles}, {**colours, **dict.fromkeys(styles, GREY)})


def _line(
    axes: Axes,
    betas: np.ndarray,
    measure: Mapping[str, Any],
    *,
    colour: str,
    style: str = "-",
    floor: float = -np.inf,
    bars: bool = False,
) -> None:
    """A mean, and one standard deviation to each side: a band, or bars at the powers of ten."""
    mean = np.asarray(measure["mean"], dtype=float)
    deviation = np.nan_to_num(np.asarray(measure["std"], dtype=float))
    low, high = np.maximum(mean - deviation, floor), np.maximum(mean + deviation, floor)
    axes.plot(betas, np.maximum(mean, floor), color=colour, linestyle=style, linewidth=1.4, zorder=3)
    if not bars:
        axes.fill_between(betas, low, high, color=colour, alpha=0.18, linewidth=0)
    else:
        exponents = np.log10(betas, out=np.full_like(betas, 0.5), where=betas > 0)
        powers = np.isclose(exponents, np.round(exponents))
        axes.vlines(betas[powers], low[powers], high[powers], color=colour, linewidth=0.8)


def _beta_axis(axes: Axes, betas: np.ndarray) -> None:
    """A logarithmic axis of β with 0 at its left end."""
    smallest = float(betas[betas > 0].min()) if (betas > 0).any() else 1.0
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    decades = range(int(np.ceil(np.log10(smallest))) + 1, int(np.floor(np.log10(max(betas.max(), smallest)))) + 1)
    axes.set_xticks([0, *(10.0**i for i in decades)], ["0", *(f"$10^{{{i}}}$" for i in decades)])
    axes.set_xlim(0, betas.max() or 1)
    axes.set_xlabel("β", fontsize=NORMAL)
    axes.tick_params(axis="x", labelsize=NORMAL, width=0.6)
    axes.minorticks_off()


def _key(axes: Axes, styles: Mapping[str, Any], colours: Mapping[str, str], *, columns: int = 3) -> None:
    """A legend above the panel, row by row."""
    from matplotlib.lines import Line2D

    labels = list(styles)
    by_column = [labels[i] for j in range(columns) for i in range(j, len(labels), columns)]
    lines = [Line2D([], [], color=colours[label], linestyle=styles[label], linewidth=1.4) for label in by_column]
    axes.legend(
        lines,
        by_column,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
        fontsize=NORMAL,
        frameon=False,
        handlelength=2.2,
        columnspacing=1.2,
        labelspacing=0.2,
        borderaxespad=0.2,
    )
