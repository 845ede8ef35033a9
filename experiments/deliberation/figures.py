"""Figures: what rules give each group, and the group-informed consensus beside u."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxval.plots._drawing import LONGEST_NAME, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_consensus", "plot_groups"]

COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe and Ito's
MARKS = ("o", "s", "^")
GREY, BLACK = "#999999", "#000000"
SMALL, NORMAL = 6.5, 7.5


def plot_groups(runs: dict[str, Any]) -> Figure:
    """Win rates within each group; a panel for each poll, all on one scale.

    Filled marks are of the half of the voters who had no say in the lottery, with intervals; hollow ones of the same
    votes that the lottery was made of.
    """
    from matplotlib.figure import Figure

    columns = 2
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(7.0, 0.35 + 1.45 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, (name, poll) in zip(grid.ravel(), runs.items(), strict=False):
        _rates(axes, name, poll)
    for axes in grid.ravel()[len(runs) :]:
        axes.set_visible(False)
    figure.supxlabel(
        "win rate within the group: of voters who had no say, with 95 % intervals; hollow, of those who had",
        fontsize=NORMAL,
    )
    return figure


def _rates(axes: Axes, name: str, poll: dict[str, Any]) -> None:
    rules, groups = list(poll["rules"]), poll["groups"]
    many = len(groups) > 3
    for row, rule in enumerate(rules):
        entry = poll["rules"][rule]
        if many:
            rates = [rate for rate in entry["win_rates"]["estimate"] if rate is not None]  # a prompt may have no votes
            axes.plot(rates, np.full(len(rates), row), "|", color=GREY, markersize=7, label=None if row else "a prompt")
        for i in () if many else range(len(groups)):
            ends = {end: entry["win_rates"][end][i] for end in ("estimate", "low", "high")}
            group = short(groups[i].partition("/")[0].removeprefix("opinion "), LONGEST_NAME)
            label = f"{group}, {poll['shares'][i]:.0%}" if row == 0 else None
            if ends["estimate"] is not None:
                _same(axes, entry["same_votes"]["win_rates"][i], row + 0.2 * (i - (len(groups) - 1) / 2), i)
                _dot(axes, ends, row + 0.2 * (i - (len(groups) - 1) / 2), COLOURS[i], MARKS[i], label)
        if many:
            _dot(axes, entry["win_rate"], row, BLACK, "D", None if row else "all voters")
    axes.axvline(0.5, color=GREY, linewidth=0.7, linestyle=":")
    axes.set_yticks(range(len(rules)), rules, fontsize=NORMAL)
    axes.set_ylim(len(rules) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.tick_params(left=False)
    axes.set_title(f"{name}: {poll['alternatives']} options", fontsize=NORMAL, loc="left", pad=13, x=-0.3)
    above = {"loc": "lower left", "bbox_to_anchor": (-0.3, 0.97), "ncols": 3}
    legend = axes.legend(fontsize=SMALL, frameon=False, handletextpad=0.1, columnspacing=0.8, borderaxespad=0, **above)
    legend.set_in_layout(False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)


def _same(axes: Axes, rate: float | None, row: float, group: int) -> None:
    if rate is not None:
        style = {"color": COLOURS[group], "markersize": 3.6, "markerfacecolor": "white", "zorder": 1}
        axes.plot(rate, row, MARKS[group], clip_on=False, **style)


def _dot(axes: Axes, ends: dict[str, float], row: float, colour: str, mark: str, label: str | None) -> None:
    axes.plot([ends["low"], ends["high"]], [row, row], color=colour, linewidth=1.1)
    axes.plot(ends["estimate"], row, mark, color=colour, markersize=3.6, label=label, clip_on=False)


def plot_consensus(runs: dict[str, Any]) -> Figure:
    """Above, each statement's consensus and u; below, the level of proportionality by groups over β."""
    from matplotlib.figure import Figure

    polls = {name: poll for name, poll in runs.items() if "consensus" in poll}
    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    grid = figure.subplots(2, len(polls), squeeze=False, sharey="row")
    for axes, (name, poll) in zip(grid[0], polls.items(), strict=True):
        points = _statements(axes, name, poll)
    grid[0][0].set_ylabel("share bound u (F* gives π ∝ u)", fontsize=NORMAL)
    bar = figure.colorbar(points, ax=list(grid[0]), shrink=0.9, pad=0.01)
    bar.set_label("agreement of group 0 less group 1", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    for axes, poll in zip(grid[1], polls.values(), strict=True):
        _curve(axes, poll)
    grid[1][0].set_ylabel("probability of a favourite, level α", fontsize=NORMAL)
    return figure


def _statements(axes: Axes, name: str, poll: dict[str, Any]) -> Any:
    found = poll["consensus"]
    difference = np.array(found["agreed"][0]) - np.array(found["agreed"][1])
    points = axes.scatter(
        found["scores"],
        found["bounds"],
        c=difference,
        cmap="PuOr",
        vmin=-0.8,
        vmax=0.8,
        s=11,
        edgecolors="#444444",
        linewidths=0.3,
    )
    for rule, key in (("consensus", "scores"), ("F*", "bounds")):
        i = int(np.argmax(found[key]))
        place = found["scores"][i], found["bounds"][i]
        axes.plot(*place, "o", markersize=7, markerfacecolor="none", color=BLACK)
        word = "both" if found["same_winner"] else rule
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
        ends = {"ha": "right", "va": "center", "fontsize": SMALL, "bbox": box}
        axes.annotate(f"best by {word}", place, (-7, 0), textcoords="offset points", **ends)
        if found["same_winner"]:
            break
    correlation = found["rank_correlation"]["consensus, u"]
    axes.set_title(f"{name}\nrank correlation {correlation:.2f}", fontsize=NORMAL, loc="left")
    axes.set_xlabel("group-informed consensus", fontsize=NORMAL)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    return points


def _curve(axes: Axes, poll: dict[str, Any]) -> None:
    curve = poll["curve"]
    betas = np.array(curve["betas"])
    first = betas[1] / 2  # where β = 0 is drawn
    places = np.where(betas > 0, betas, first)
    for i, (group, share) in enumerate(zip(poll["groups"], poll["shares"], strict=True)):
        axes.plot(
            places,
            curve["favoured"][i],
            color=COLOURS[i],
            linewidth=1.2,
            label=f"{group.removeprefix('opinion ')}'s favourite",
        )
        axes.axhline(share, color=COLOURS[i], linewidth=0.8, linestyle=":")
    axes.plot(places, curve["level"], color=BLACK, linewidth=1.4, label="level α")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1e-4, 2)
    ticks = [first, 1, 10, 100, 1000]
    axes.set_xticks(ticks, ["0", "1", "10", "100", "1000"], fontsize=SMALL)
    axes.minorticks_off()
    axes.tick_params(labelsize=SMALL)
    axes.set_xlabel("β (dotted: the groups' shares)", fontsize=NORMAL)
    axes.legend(fontsize=SMALL, frameon=False, loc="best")
    axes.spines[["top", "right"]].set_visible(False)
