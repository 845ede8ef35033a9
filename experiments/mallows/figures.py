"""Figures of the experiment: the maps, the frontiers, the quartiles, the transformer's curves, and the annotators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.inequalities import half_width
from experiments.mallows import bandit, maps
from experiments.mallows.families import FAMILIES, LOSSES
from jaxval.plots._drawing import BLACK, BLUE, GREEN, GREY, NORMAL, ORANGE, SMALL, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_all", "plot_annotators", "plot_families", "plot_frontiers", "plot_map", "plot_quartiles"]

STYLES = {
    "DPO": (BLACK, "-", "o"),
    "IPO": (GREY, "--", "v"),
    "θ, true φ": (BLUE, "-", "s"),
    "θ, index": ("#56B4E9", "--", "D"),
    "φ, true φ": (VERMILLION, "-", "^"),
    "φ, index": (ORANGE, "--", "P"),
}
SLUGS = {"Mallows-θ": "mallows-theta", "Mallows-φ": "mallows-phi", "Bradley-Terry": "bradley-terry"}
MEASURES = {"reward": "true reward", "votes": "votes won"}


def draw_all(folder: Path, runs: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Draw a figure for everything that was measured, and return the names of the files."""
    drawn: dict[str, Figure] = {}
    rows = maps.cells(runs)
    for model in dict.fromkeys(row["model"] for row in rows):
        drawn[f"map-{SLUGS[model]}.png"] = plot_map([row for row in rows if row["model"] == model])
    fitted = {label: maps.tuned_frontier(run) for label, run in runs.items() if label.startswith("frontier, ")}
    if fitted:
        drawn |= {"frontiers.png": plot_frontiers(fitted), "quartiles.png": plot_quartiles(fitted)}
    seeds = [run for label, run in runs.items() if label.startswith("families, ")]
    if seeds:
        drawn["families.png"] = plot_families(seeds)
    if "campus" in runs:
        drawn["annotators.png"] = plot_annotators(found["PandaLM"], runs["campus"])
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=200)
    return list(drawn)


def plot_map(rows: list[dict[str, Any]]) -> Figure:
    """The gain of MallowsPO-θ with the true φ over DPO, over votes, spread and prompts, for both measures and policies.

    A number is bold if its interval over seeds excludes 0, and in brackets if not.
    """
    from matplotlib.colors import SymLogNorm

    prompts, pairs = (sorted({row[axis] for row in rows}) for axis in ("prompts", "pairs"))
    spreads = sorted({row["spread"] for row in rows if row["spread"] > 1})
    kinds = [(policy, measure) for policy in bandit.POLICIES for measure in bandit.MEASURES]
    kinds = [kind for kind in kinds if any((row["policy"], row["measure"]) == kind for row in rows)]
    most = max(10.0, max(abs(row["gap"]) for row in rows))
    norm = SymLogNorm(3, vmin=-most, vmax=most)
    figure = new_figure(7.2, 0.6 + 1.35 * len(kinds))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03)
    grid = figure.subplots(len(kinds), len(prompts), squeeze=False, sharex=True, sharey=True)
    known = {tuple(row[axis] for axis in ("policy", "measure", "prompts", "pairs", "spread")): row for row in rows}
    for (policy, measure), line in zip(kinds, grid, strict=True):
        for count, axes in zip(prompts, line, strict=True):
            table = [[known[policy, measure, count, p, s] for p in pairs] for s in spreads]
            gaps = np.array([[row["gap"] for row in part] for part in table])
            image = axes.imshow(gaps, cmap="PuOr", norm=norm, origin="lower", aspect="auto")
            for y, part in enumerate(table):
                for x, row in enumerate(part):
                    _number(axes, x, y, row, dark=abs(norm(row["gap"]) - 0.5) > 0.28)
            axes.set_xticks(range(len(pairs)), [f"{p:g}" for p in pairs])
            axes.set_yticks(range(len(spreads)), [f"{s:g}" for s in spreads])
            axes.tick_params(labelsize=SMALL, width=0.5, length=2)
            if axes in grid[0]:
                axes.set_title(f"{count} prompts", fontsize=NORMAL)
        line[0].set_ylabel(f"{policy}\n{MEASURES[measure]}\nspread", fontsize=NORMAL)
    figure.supxlabel("votes on each prompt", fontsize=NORMAL)
    bar = figure.colorbar(image, ax=grid, shrink=0.6, aspect=30, ticks=[-most, -10, -3, -1, 0, 1, 3, 10, most])
    bar.ax.set_yticklabels([f"{t:+.0f}" if t else "0" for t in (-most, -10, -3, -1, 0, 1, 3, 10, most)])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label("θ with true φ less DPO, points of the best gain\n(bold: interval excludes 0)", fontsize=NORMAL)
    figure.suptitle(
        f"votes from {rows[0]['model']}, KL {bandit.KL:g} nats, {rows[0]['problems']} seeds", fontsize=NORMAL
    )
    return figure


def _number(axes: Axes, x: int, y: int, row: dict[str, Any], *, dark: bool) -> None:
    text = f"{row['gap']:+.1f}"
    known = row["verdict"] != "open"
    axes.text(
        x, y, text if known else f"({text})", ha="center", va="center", fontsize=SMALL,
        fontweight="bold" if known else "normal", color="white" if dark else "black",
    )  # fmt: skip


def _panels(fitted: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The models and policies for which there are frontiers."""
    parts = [label.split(", ")[1:3] for label in fitted]
    return list(dict.fromkeys(model for model, _ in parts)), list(dict.fromkeys(policy for _, policy in parts))


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=NORMAL, frameon=False)


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=SMALL, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def plot_frontiers(fitted: dict[str, Any]) -> Figure:
    """True reward against KL, less that of DPO at the same KL, with intervals over seeds; a panel for each model."""
    models, names = _panels(fitted)
    figure = new_figure(7.2, 2.0 * len(names) + 0.6)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03)
    grid = figure.subplots(len(names), len(models), squeeze=False, sharex=True, sharey="row")
    for policy, line in zip(names, grid, strict=True):
        for model, axes in zip(models, line, strict=True):
            plain = fitted[f"frontier, {model}, {policy}, DPO"]["shares"][:, :, 0]
            for k, (method, (colour, style, marker)) in enumerate(STYLES.items()):
                gap = 100 * (fitted[f"frontier, {model}, {policy}, {method}"]["shares"][:, :, 0] - plain)
                x = np.array(bandit.DIVERGENCES) * (1 + 0.03 * (k - 2.5))
                reach = np.nan_to_num(half_width(gap, level=maps.LEVEL))
                label = f"MallowsPO-{method}" if "," in method else method
                axes.errorbar(
                    x, gap.mean(axis=0), yerr=reach, color=colour, linestyle=style, marker=marker, markersize=3,
                    linewidth=1.1, elinewidth=0.7, capsize=1.5, label=label,
                )  # fmt: skip
            axes.set_xscale("log")
            axes.set_xticks(bandit.DIVERGENCES, [f"{d:g}" for d in bandit.DIVERGENCES])
            axes.minorticks_off()
            axes.text(
                0.03,
                0.03,
                f"DPO earns {100 * plain.mean():.0f} % of the best",
                transform=axes.transAxes,
                fontsize=SMALL,
            )
            _tidy(axes)
            if axes in grid[0]:
                axes.set_title(f"votes from {model}", fontsize=NORMAL)
        line[0].set_ylabel(f"{policy}\nreward less that of DPO,\npoints of the best gain", fontsize=NORMAL)
    for axes in grid[-1]:
        axes.set_xlabel("mean KL from the reference, nats", fontsize=NORMAL)
    _legend(figure, grid[0, 0], 3)
    return figure


def plot_quartiles(fitted: dict[str, Any]) -> Figure:
    """Accuracy, and entropy at equal mean KL, by quartile of φ, a column for each policy; votes of the first model."""
    models, names = _panels(fitted)
    figure = new_figure(7.2, 4.2)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.03)
    grid = figure.subplots(2, len(names), squeeze=False, sharex=True, sharey="row")
    k = bandit.DIVERGENCES.index(bandit.KL)
    for column, policy in enumerate(names):
        for j, (method, (colour, style, marker)) in enumerate(STYLES.items()):
            run = fitted[f"frontier, {models[0]}, {policy}, {method}"]
            for axes, numbers in ((grid[0, column], 100 * run["accuracy"]), (grid[1, column], run["entropy"][:, k])):
                reach = np.nan_to_num(half_width(numbers, level=maps.LEVEL))
                axes.errorbar(
                    np.arange(4) + 0.05 * (j - 2.5), numbers.mean(axis=0), yerr=reach, color=colour, linestyle=style,
                    marker=marker, markersize=3, linewidth=1.0, elinewidth=0.7, capsize=1.5,
                    label=f"MallowsPO-{method}" if "," in method else method,
                )  # fmt: skip
                _tidy(axes)
        grid[0, column].set_title(f"{policy}, votes from {models[0]}", fontsize=NORMAL)
        grid[1, column].set_xticks(range(4), ["most\nconsensual", "second", "third", "most\ndivided"])
    grid[0, 0].set_ylabel("pairs in the central order, %", fontsize=NORMAL)
    grid[1, 0].set_ylabel(f"entropy at KL {bandit.KL:g}, nats", fontsize=NORMAL)
    for axes in grid[1]:
        axes.set_xlabel("quartile of the prompts' dispersion", fontsize=NORMAL)
    _legend(figure, grid[0, 0], 3)
    return figure


def plot_families(seeds: list[dict[str, Any]]) -> Figure:
    """The index against the true φ, and held-out reward, entropy, length and KL in training, a row for each family."""
    titles = {
        "reward": "reward, ranks", "entropy": "entropy, nats", "length": "length, bytes", "divergence": "KL, nats",
    }  # fmt: skip
    figure = new_figure(7.2, 3.7)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03)
    grid = figure.subplots(2, 5, width_ratios=[1.25, 1, 1, 1, 1], squeeze=False)
    for f, (family, line) in enumerate(zip(FAMILIES, grid, strict=True)):
        for run in seeds:
            mine = np.array(run["family"]) == f
            x, y = np.exp(-np.array(run["sharpness"]))[mine], np.array(run["index"])[mine]
            line[0].scatter(x, y, s=4, color=BLUE if f == 0 else ORANGE, alpha=0.35, linewidths=0)
        line[0].set_ylabel(f"{family} prompts\nindex Ĥ", fontsize=NORMAL)
        for (name, title), axes in zip(titles.items(), line[1:], strict=True):
            for method in LOSSES:
                colour, style, _ = STYLES[method]
                curves = np.array([np.array(run["curves"][method][name])[:, f] for run in seeds])
                mean, reach = curves.mean(axis=0), np.nan_to_num(half_width(curves, level=maps.LEVEL))
                step = seeds[0]["curves"][method]["step"]
                label = f"MallowsPO-{method}" if "," in method else method
                axes.plot(step, mean, color=colour, linestyle=style, linewidth=1.2, label=label)
                axes.fill_between(step, mean - reach, mean + reach, color=colour, alpha=0.1, linewidth=0)
            if f == 0:
                axes.set_title(title, fontsize=NORMAL)
        for axes in line:
            _tidy(axes)
    grid[0, 0].set_title("index against true φ", fontsize=NORMAL)
    grid[1, 0].set_xlabel("true φ", fontsize=NORMAL)
    for axes in grid[1, 1:]:
        axes.set_xlabel("step", fontsize=NORMAL)
    low, high = (pick(axes.get_ylim()[k] for axes in grid[:, 0]) for k, pick in enumerate((min, max)))
    for axes in grid[:, 0]:
        axes.set_ylim(low, high)
    _legend(figure, grid[0, 1], len(LOSSES))
    return figure


def plot_annotators(agreements: dict[str, Any], campus: dict[str, Any]) -> Figure:
    """Disagreement of annotators against the index, a panel for each reference of PandaLM and one for the campus."""
    figure = new_figure(7.2, 2.4)
    figure.set_layout_engine("constrained", w_pad=0.05)
    panels = figure.subplots(1, len(agreements) + 1, squeeze=False)[0]
    for (name, found), axes in zip(agreements.items(), panels, strict=False):
        x, y = (np.array(found["prompts"][part]) for part in ("index", "disagreement"))
        axes.scatter(x, 100 * y, s=9, color=BLUE, alpha=0.4, linewidths=0)
        parts = np.array_split(np.argsort(x), min(5, len(x)))
        reach = [1.96 * y[rows].std() / np.sqrt(len(rows)) for rows in parts]
        axes.errorbar(
            [x[rows].mean() for rows in parts], [100 * y[rows].mean() for rows in parts], yerr=100 * np.array(reach),
            color=VERMILLION, marker="s", markersize=3.5, linewidth=1.1, capsize=2,
        )  # fmt: skip
        axes.set_ylim(-3, None)
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(_titled(f"PandaLM, {name.split('.')[0]}", found["index"]), fontsize=NORMAL)
        axes.set_xlabel("index Ĥ of the prompt", fontsize=NORMAL)
    panels[0].set_ylabel("pairs of annotators\nthat disagree, %", fontsize=NORMAL)
    x, y = np.array(campus["bins"]).T
    panels[-1].errorbar(
        x,
        100 * y,
        yerr=100 * np.array(campus["bin reach"]),
        color=GREEN,
        marker="o",
        markersize=3.5,
        linewidth=1.1,
        capsize=2,
    )
    panels[-1].set_title(_titled("campus protests, pairs", campus["pairs"]), fontsize=NORMAL)
    panels[-1].set_xlabel("entropy of the reference / log 2", fontsize=NORMAL)
    panels[-1].set_ylabel("votes against its favourite, %", fontsize=NORMAL)
    for axes in panels:
        _tidy(axes)
    return figure


def _titled(name: str, row: dict[str, Any]) -> str:
    """The name, and below it the correlation with its interval."""
    if row["correlation"] is None:
        return name
    return f"{name}\nρ = {row['correlation']:+.2f}  ({row['low']:+.2f} to {row['high']:+.2f})"
