"""A figure for each part, 7 inches wide, drawn from the part's results; the colours are those of Okabe and Ito."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.dpo_shapley.providers import PROVIDERS
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
    figure, panels = _panels(len(betas), 2.75)
    for axes, beta in zip(panels, betas, strict=True):
        entries = [entry for entry in found.values() if entry["beta"] == beta]
        points = {way: np.concatenate([entry["points"][way] for entry in entries]) for way in entries[0]["points"]}
        ends = [min(points["arithmetic"].min(), 0), points["arithmetic"].max()]
        axes.plot(ends, ends, color=GREY, linewidth=0.7, zorder=1)
        for way, colour, marker in (("union", VERMILLION, "v"), ("sequential", BLUE, "o")):
            axes.scatter(
                points["arithmetic"], points[way], s=9, color=colour, marker=marker, linewidth=0, alpha=0.8,
                label=f"retrained, {way}",
            )  # fmt: skip
        axes.set_title(f"β = {beta:g}", fontsize=NORMAL, loc="left")
        axes.set_xlabel("φ̂ from n trainings (reward)", fontsize=NORMAL)
        axes.axhline(0, color=GREY, linewidth=0.4, zorder=0)
    panels[0].set_ylabel("φ from 2ⁿ trainings (reward)", fontsize=NORMAL)
    _legend(figure, panels[0], columns=2)
    return figure


def stopped_short(found: dict[str, Any]) -> Figure:
    """Commutativity and error over the steps: for kinds of training at one β, then for each β by gradient descent."""
    figure, panels = _panels(3, 3.6)
    some = next(iter(found.values()))
    row = some["betas"].index(0.1) if 0.1 in some["betas"] else 0
    at = f"β = {some['betas'][row]:g}"
    titles = {
        "range of the reward over orders": f"range of the reward over orders,\nshare of its range, {at}",
        "error against equally short retraining": f"error of φ̂ against retraining\nwith T steps as well, {at}",
    }
    for axes, (measure, title) in zip(panels, titles.items(), strict=False):
        for kind, (colour, style) in KINDS.items():
            if kind in found:
                values = np.maximum(found[kind][measure]["mean"][row], FLOOR)
                axes.plot(found[kind]["steps"], values, color=colour, linestyle=style, linewidth=1.3, label=kind)
        axes.set_title(title, fontsize=NORMAL, loc="left")
        axes.set_ylim(FLOOR / 2, 3)
    for kind, style in (("tabular, gradient descent", "-"), ("tabular, gradient descent, rate not scaled", "--")):
        if kind in found:
            for beta, values, colour in zip(
                found[kind]["betas"],
                found[kind]["error against convergence"]["mean"],
                (BLACK, VERMILLION, ORANGE, BLUE),
                strict=False,
            ):
                label = f"β = {beta:g}" if style == "-" else None
                panels[2].plot(
                    found[kind]["steps"],
                    np.maximum(values, FLOOR),
                    color=colour,
                    linestyle=style,
                    linewidth=1.3,
                    label=label,
                )
    panels[2].set_title(
        "error of φ̂ against convergence,\nrate ∝ 1/β² (solid), fixed (dashed)",
        fontsize=NORMAL,
        loc="left",
    )
    panels[2].set_ylim(FLOOR / 2, 3)
    panels[2].legend(fontsize=NORMAL - 0.5, frameon=False, loc="lower left")
    for axes in panels:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("steps T for each source", fontsize=NORMAL)
    _legend(figure, panels[0], columns=3)
    return figure


def real_pairs(found: dict[str, Any]) -> Figure:
    """Values of the four providers, mean and range over seeds, and the seconds of each arithmetic and retraining."""
    kinds = [kind for kind in ("log-linear", "transformer") if kind in found]
    figure, panels = _panels(len(kinds) + 1, 3.1)
    for axes, kind in zip(panels, kinds, strict=False):
        entries = {way: found[kind]["values"][way][0] for way in WAYS if way in found[kind]["values"]}
        for place, (way, values) in enumerate(entries.items()):
            colour, marker = WAYS[way]
            rows = np.arange(len(PROVIDERS)) + (place - (len(entries) - 1) / 2) * 0.15
            means, low, high = (np.array([value[name] for value in values]) for name in ("mean", "low", "high"))
            axes.errorbar(
                means, rows, xerr=[means - low, high - means], color=colour, marker=marker, markersize=3.5,
                linestyle="none", elinewidth=0.8, label=_way(way),
            )  # fmt: skip
        axes.axvline(0, color=GREY, linewidth=0.5, zorder=0)
        axes.set_yticks(range(len(PROVIDERS)), PROVIDERS if axes is panels[0] else [""] * len(PROVIDERS))
        axes.set_ylim(len(PROVIDERS) - 0.5, -0.5)
        axes.set_xlabel("Shapley value (score, of 10)", fontsize=NORMAL)
        axes.set_title(
            f"{kind}, {found[kind]['seeds']} seed" + ("s" if found[kind]["seeds"] > 1 else ""),
            fontsize=NORMAL,
            loc="left",
        )
    seconds = found[kinds[-1]]["seconds"]
    once = seconds["separate"]["mean"]
    retrained = ("sequential", "union")
    bars = {way: seconds[way]["mean"] + once * (way not in retrained) for way in WAYS if way in seconds}
    for place, (way, value) in enumerate(bars.items()):
        panels[-1].barh(place, value, color=WAYS[way][0], height=0.6)
        panels[-1].text(value, place, f" {value:.0f}", va="center", fontsize=NORMAL)
    panels[-1].barh(range(len(bars)), once, color="none", edgecolor="white", hatch="////", height=0.6, linewidth=0)
    panels[-1].set_yticks(range(len(bars)), list(bars))
    panels[-1].invert_yaxis()
    panels[-1].set_xlim(0, 1.25 * max(bars.values()))
    panels[-1].set_xlabel("seconds, all coalitions\n(hatched: four single trainings)", fontsize=NORMAL)
    panels[-1].set_title(kinds[-1], fontsize=NORMAL, loc="left")
    _legend(figure, panels[len(kinds) - 1], columns=3)
    return figure


def growth(found: dict[str, Any]) -> Figure:
    """Error over the evaluations for one number of sources; evaluations and seconds for 1 % over the sources."""
    figure, panels = _panels(3, 2.8)
    sizes = sorted(map(int, found))
    shown = found[str(sizes[-1])]
    for method, (colour, marker) in METHODS.items():
        style = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1.2, "label": method}
        rows = shown[method]
        panels[0].plot([row["evaluations"] for row in rows], [100 * row["error"] for row in rows], **style)
        for axes, measure in ((panels[1], "evaluations"), (panels[2], "seconds")):
            points = [(n, found[str(n)][f"{measure} for 1 %"][method]) for n in sizes]
            known = [(n, value) for n, value in points if value is not None]
            axes.plot([n for n, _ in known], [value for _, value in known], **style)
    panels[0].axhline(1, color=GREY, linewidth=0.7, linestyle=":")
    panels[0].set_xlabel("evaluations", fontsize=NORMAL)
    panels[0].set_title(f"largest error, % of the total, n = {sizes[-1]}", fontsize=NORMAL, loc="left")
    powers = [n for n in sizes if n <= 16]
    panels[1].plot(powers, [2.0**n for n in powers], color=BLACK, linewidth=1, linestyle="--")
    panels[1].text(powers[-1], 2.0 ** powers[-1], " 2ⁿ", fontsize=NORMAL, va="center")
    panels[1].set_title("evaluations for an error of 1 %", fontsize=NORMAL, loc="left")
    panels[2].set_title("seconds for an error of 1 %", fontsize=NORMAL, loc="left")
    for axes in panels:
        axes.set_xscale("log")
        axes.set_yscale("log")
    panels[0].set_ylim(bottom=0.05)
    panels[0].minorticks_off()
    for axes in panels[1:]:
        axes.set_xlabel("sources n", fontsize=NORMAL)
        axes.set_xticks(sizes, list(map(str, sizes)))
        axes.minorticks_off()
    _legend(figure, panels[0], columns=3)
    return figure


FIGURES = {"a": exact, "b": stopped_short, "c": real_pairs, "d": growth}


def _way(way: str) -> str:
    return f"retrained, {way}" if way in ("sequential", "union") else f"arithmetic, {way}s"


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, height))
    figure.set_layout_engine("constrained", w_pad=0.04, h_pad=0.04, wspace=0.04)
    panels = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in panels:
        axes.tick_params(labelsize=NORMAL, width=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _legend(figure: Figure, axes: Axes, *, columns: int) -> None:
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=NORMAL, frameon=False)
