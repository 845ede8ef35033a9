"""The figures of the experiment: the sources' values by each arithmetic, and what speaks for and against the pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.figures import SMALL, label, panels
from jaxval.coalitions import all_coalitions, coalition_sizes
from jaxval.plots._drawing import BLACK, BLUE, GREEN, GREY, LIGHT, ORANGE, VERMILLION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PURPLE = "#CC79A7"
STYLES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (ORANGE, "D"), (PURPLE, "v"), (BLACK, "P"))
NORMAL_95 = 1.96
FLOOR = 10


def draw(runs: dict[str, Any], names: Sequence[str], rewards: Sequence[str]) -> dict[str, Figure]:
    """All figures, by their names."""
    return {"values": values(runs, names, rewards), "pool": pool(runs, names, rewards)}


def values(runs: dict[str, Any], names: Sequence[str], rewards: Sequence[str]) -> Figure:
    """Figure 2 of the paper: each source under two rewards, from the pool and by the other arithmetics."""
    others = runs["arithmetics"]
    prompts = f"{others['prompts']} prompts" if others["prompts"] > 1 else "1 prompt"
    every = len(runs["dispersion"]["index"])
    entries = {f"responses, {every} prompts": (runs["pool"], np.array(runs["pool"]["intervals"], float))}
    for kind in ("token", "parameter"):
        points, errors = (np.array(others[kind][name], float) for name in ("values", "standard errors"))
        entries[f"{kind}s, {prompts}"] = (
            others[kind],
            np.stack([points - NORMAL_95 * errors, points + NORMAL_95 * errors]),
        )
    figure, each = panels(len(entries), 3.0)
    for axes, (title, (entry, ends)) in zip(each, entries.items(), strict=True):
        points = np.array(entry["values"], float)
        axes.axhline(0, color=LIGHT, linewidth=0.6, zorder=0)
        axes.axvline(0, color=LIGHT, linewidth=0.6, zorder=0)
        for i, (name, (hue, marker)) in enumerate(zip(names, STYLES, strict=False)):
            axes.hlines(points[i, 1], *ends[:, i, 0], color=hue, linewidth=0.9)
            axes.vlines(points[i, 0], *ends[:, i, 1], color=hue, linewidth=0.9)
            axes.plot(*points[i], marker, color=hue, markersize=4.5, label=name, linestyle="none")
        label(axes, title, x=f"value: {rewards[0]} (sd)")
    label(each[0], y=f"value: {rewards[1]} (sd), bars: 95 %")
    handles, texts = each[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=len(names), fontsize=SMALL, frameon=False)
    return figure


def pool(runs: dict[str, Any], names: Sequence[str], rewards: Sequence[str]) -> Figure:
    """Effective sizes of all coalitions by their members, and pooled utilities against sampled ones."""
    figure, (left, right) = panels(2, 2.9)
    sizes = np.array(runs["pool"]["sizes"], float)
    members = np.asarray(coalition_sizes(len(names)))
    assert len(sizes) == len(all_coalitions(len(names)))
    spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(sizes))
    left.axhline(FLOOR, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    left.annotate("floor", (len(names) + 0.3, FLOOR), fontsize=SMALL, color=GREY, va="bottom", ha="right")
    left.plot(members + spread, sizes, "o", color=BLUE, markersize=3, alpha=0.7)
    left.set_xticks(range(len(names) + 1))
    per_prompt = runs["pool"]["draws"] / max(1, len(runs["dispersion"]["index"]))
    left.set_ylim(0, 1.05 * per_prompt)
    label(left, f"effective sizes of {per_prompt:.0f} draws", x="members of the coalition", y="median over prompts")
    found, by = runs["sampled coalitions"], runs["arithmetics"]
    rows = [row["index"] for row in found["coalitions"]]
    ends: list[float] = []
    for column, (reward, (hue, marker)) in enumerate(zip(rewards, STYLES, strict=False)):
        sampled = np.array([row["utility"][column] for row in found["coalitions"]])
        error = NORMAL_95 * np.array([row["error"][column] or 0 for row in found["coalitions"]])
        pooled = np.array(by["token"]["utilities"], float)[rows, column]
        right.errorbar(sampled, pooled, xerr=error, fmt=marker, color=hue, markersize=4, linewidth=0.9, label=reward)
        ends += [*(sampled - error), *(sampled + error), *pooled]
    right.axline((0, 0), slope=1, color=GREY, linewidth=0.7, zorder=0)
    margin = 0.05 * (max(ends) - min(ends))
    right.set_xlim(min(ends) - margin, max(ends) + margin)
    right.set_ylim(min(ends) - margin, max(ends) + margin)
    title = "eight coalitions, token by token (bars: 95 %)"
    label(right, title, x="utility of sampled responses (sd)", y="utility from the pool (sd)")
    right.legend(fontsize=SMALL, frameon=False)
    return figure
