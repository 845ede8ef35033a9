"""A figure for each part, 7 inches wide, drawn from the part's results; the colours are those of Okabe and Ito."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.dpo_shapley.measures import RETRAINED, SHORT, spent
from experiments.dpo_shapley.providers import PROVIDERS
from experiments.figures import SMALL, label, panels
from jaxval.plots._drawing import BLACK, BLUE, GREEN, GREY, NORMAL, ORANGE, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SKY, PURPLE = "#56B4E9", "#CC79A7"
WAYS = {
    "response": (BLUE, "o"),
    "token": (SKY, "s"),
    "parameter": (GREEN, "D"),
    "sequential": (BLACK, "^"),
    "union": (VERMILLION, "v"),
}
KINDS = {
    "tabular, gradient descent": (BLUE, "-"),
    "log-linear, Adam": (SKY, "--"),
    "tabular, Adam, no ties": (GREEN, "-."),
    "tabular, Adam": (GREEN, "-"),
    "tabular, Adam, weight decay": (ORANGE, "-"),
    "tabular, Adam, state carried on": (PURPLE, "-"),
    "adapters of full rank, Adam": (VERMILLION, "-"),
    "adapters of rank 1, Adam": (BLACK, "-"),
}
METHODS = {"permutations": (BLUE, "o"), "least squares": (ORANGE, "s"), "adjusted regression": (VERMILLION, "D")}
FLOOR = 1e-16


def exact(found: dict[str, Any]) -> Figure:
    """Values from n trainings against values from retraining: a panel for each β."""
    betas = sorted({entry["beta"] for entry in found.values()})
    figure, each = panels(len(betas), 2.75)
    for axes, beta in zip(each, betas, strict=True):
        entries = [entry["points"] for entry in found.values() if entry["beta"] == beta]
        points = {way: np.concatenate([entry[way] for entry in entries]) for way in entries[0]}
        ours = points["arithmetic"]
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.7, zorder=1)
        axes.axhline(0, color=GREY, linewidth=0.4, zorder=0)
        style = {"s": 9, "linewidth": 0, "alpha": 0.8}
        axes.scatter(ours, points["union"], color=VERMILLION, marker="v", label="retrained, union", **style)
        axes.scatter(ours, points["sequential"], color=BLUE, marker="o", label="retrained, sequential", **style)
        label(axes, f"β = {beta:g}", x="φ̂ from n trainings (reward)")
    label(each[0], y="φ from 2ⁿ trainings (reward)")
    _legend(figure, each[0], columns=2)
    return figure


def stopped_short(found: dict[str, Any]) -> Figure:
    """Commutativity and error over the steps: for kinds of training at one β, then for each β by gradient descent."""
    figure, each = panels(3, 3.6)

    def draw(axes: Axes, kind: str, measure: str, row: int, **style: Any) -> None:
        values = np.maximum(found[kind][measure]["mean"][row], FLOOR)
        axes.loglog(found[kind]["steps"], values, linewidth=1.3, **style)

    betas = next(iter(found.values()))["betas"]
    row = betas.index(0.1) if 0.1 in betas else 0
    for kind, (colour, style) in KINDS.items():
        if kind in found:
            for axes, measure in zip(each, ("range of the reward over orders", SHORT), strict=False):
                draw(axes, kind, measure, row, color=colour, linestyle=style, label=kind)
    for kind, style in (("tabular, gradient descent", "-"), ("tabular, gradient descent, rate not scaled", "--")):
        for row_of_beta, colour in zip(range(len(betas)), (BLACK, VERMILLION, ORANGE, BLUE), strict=False):
            if kind in found:
                name = f"β = {betas[row_of_beta]:g}" if style == "-" else None
                draw(each[2], kind, "error against convergence", row_of_beta, color=colour, linestyle=style, label=name)
    label(each[0], f"range of the reward over orders,\nshare of its range, β = {betas[row]:g}")
    label(each[1], f"error of φ̂ against retraining\nwith T steps as well, β = {betas[row]:g}")
    label(each[2], "error of φ̂ against convergence,\nrate ∝ 1/β² (solid), fixed (dashed)")
    each[2].legend(fontsize=NORMAL - 0.5, frameon=False, loc="lower left")
    for axes in each:
        axes.set_ylim(FLOOR / 2, 3)
        axes.tick_params(which="both", labelsize=SMALL)
        label(axes, x="steps T for each source")
    _legend(figure, each[0], columns=3)
    return figure


def real_pairs(found: dict[str, Any]) -> Figure:
    """Values of the four providers, mean and range over seeds, and the seconds of each arithmetic and retraining."""
    figure, (*each, last) = panels(len(found) + 1, 3.1)
    for axes, (kind, entry) in zip(each, found.items(), strict=True):
        ways = [way for way in WAYS if way in entry["values"]]
        for place, way in enumerate(ways):
            rows = np.arange(len(PROVIDERS)) + (place - (len(ways) - 1) / 2) * 0.15
            means, low, high = ([value[name] for value in entry["values"][way][0]] for name in ("mean", "low", "high"))
            reach = np.abs(np.subtract([low, high], means))
            name = f"retrained, {way}" if way in RETRAINED else f"arithmetic, {way}s"
            colour, marker = WAYS[way]
            axes.errorbar(
                means,
                rows,
                xerr=reach,
                color=colour,
                marker=marker,
                markersize=3.5,
                linestyle="none",
                elinewidth=0.8,
                label=name,
            )
        axes.axvline(0, color=GREY, linewidth=0.5, zorder=0)
        axes.set_yticks(range(len(PROVIDERS)), PROVIDERS if axes is each[0] else [""] * len(PROVIDERS))
        axes.set_ylim(len(PROVIDERS) - 0.5, -0.5)
        seeds = f"{entry['seeds']} seed" + "s" * (entry["seeds"] > 1)
        label(axes, f"{kind}, {seeds}", x="Shapley value (score, of 10)")
    bars = spent(found[kind])
    once = found[kind]["seconds"]["separate"]["mean"]
    last.barh(list(bars), list(bars.values()), color=[WAYS[way][0] for way in bars], height=0.6)
    last.barh(list(bars), once, color="none", edgecolor="white", hatch="////", height=0.6, linewidth=0)
    for place, value in enumerate(bars.values()):
        last.text(value, place, f" {value:.0f}", va="center", fontsize=NORMAL)
    last.invert_yaxis()
    last.set_xlim(0, 1.25 * max(bars.values()))
    label(last, kind, x="seconds, all coalitions\n(hatched: four single trainings)")
    _legend(figure, each[-1], columns=3)
    return figure


def growth(found: dict[str, Any]) -> Figure:
    """Error over the evaluations for one number of sources; evaluations and seconds for 1 % over the sources."""
    figure, each = panels(3, 2.8)
    sizes = sorted(map(int, found))
    for method, (colour, marker) in METHODS.items():
        style = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1.2, "label": method}
        rows = found[str(sizes[-1])][method]
        each[0].loglog([row["evaluations"] for row in rows], [100 * row["error"] for row in rows], **style)
        for axes, measure in zip(each[1:], ("evaluations", "seconds"), strict=True):
            points = {n: found[str(n)][f"{measure} for 1 %"][method] for n in sizes}
            known = {n: value for n, value in points.items() if value is not None}
            axes.loglog(list(known), list(known.values()), **style)
            label(axes, f"{measure} for an error of 1 %", x="sources n")
            axes.set_xticks(sizes, list(map(str, sizes)))
    each[0].axhline(1, color=GREY, linewidth=0.7, linestyle=":")
    each[0].set_ylim(bottom=0.05)
    label(each[0], f"largest error, % of the total, n = {sizes[-1]}", x="evaluations")
    powers = [n for n in sizes if n <= 16]
    each[1].plot(powers, [2.0**n for n in powers], color=BLACK, linewidth=1, linestyle="--")
    each[1].text(powers[-1], 2.0 ** powers[-1], " 2ⁿ", fontsize=NORMAL, va="center")
    for axes in each:
        axes.minorticks_off()
    _legend(figure, each[0], columns=3)
    return figure


FIGURES = {"a": exact, "b": stopped_short, "c": real_pairs, "d": growth}


def _legend(figure: Figure, axes: Axes, *, columns: int) -> None:
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=NORMAL, frameon=False)
