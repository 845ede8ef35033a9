"""Figures from results: lotteries of several rules, the trade-off of win rate and proportionality, values, signatures.

Every function returns a matplotlib `Figure`, which nothing shows by itself: `figure.savefig("name.png", dpi=200)`.
Matplotlib is the extra `plots`. Colours are Okabe and Ito's, which colour-blind readers tell apart; names are
drawn as they are, never as formulas.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jaxval.types import Estimate

__all__ = ["plot_lotteries", "plot_signature", "plot_tradeoff", "plot_values"]

Column = ArrayLike | Sequence[Any]

VERMILLION, BLUE, GREEN, ORANGE, BLACK = "#D55E00", "#0072B2", "#009E73", "#E69F00", "#000000"
GREY, LIGHT, BAND = "#555555", "#A6A6A6", "#F2F2F2"
LONGEST_NAME = 36  # characters
SMALL, NORMAL, LARGE = 6.5, 7.5, 8.5  # points


def plot_lotteries(
    names: Sequence[str],
    lotteries: Mapping[str, Column],
    *,
    bounds: Column | None = None,
    intervals: Mapping[str, tuple[Column, Column]] | None = None,
    title: str | None = None,
) -> Figure:
    """Alternatives in rows, rules in columns, probabilities as bars; each column has its own scale.

    Rows are sorted by the first column, largest first. A probability below 0.0005 is written "<.001", an exact zero is
    left blank. Names longer than 36 characters lose their middle.

    Args:
        names: one name per alternative.
        lotteries: for each rule's name its (alternatives,) probabilities; the columns, in this order.
        bounds: (alternatives,) share bounds u, an additional first column "u".
        intervals: for a column's name, "u" among them, the (alternatives,) low and high ends.
        title: of the figure.

    Returns:
        A figure 7 inches wide at most; its height grows with the alternatives.

    Raises:
        ValueError: where there is nothing to draw, a column has another length or is not finite, or an interval belongs
            to no column.
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> figure = plot_lotteries(["tea", "coffee"], {"F^0": [0.4, 0.6], "RLHF": [0.0, 1.0]}, bounds=[0.4, 0.6])
        >>> [axes.get_title() for axes in figure.axes]
        ['u', 'F^0', 'RLHF']
    """
    columns = {**({} if bounds is None else {"u": bounds}), **lotteries}
    if not names or not columns:
        raise ValueError(f"lotteries: expected at least one rule and one name; got {len(columns)} and {len(names)}")
    ends = dict(intervals or {})
    if unknown := ends.keys() - columns.keys():
        raise ValueError(f"intervals: expected names among {', '.join(columns)}; got {', '.join(sorted(unknown))}")
    values = {rule: _column(rule, column, len(names)) for rule, column in columns.items()}
    order = np.argsort(-next(iter(values.values())), kind="stable")
    labels = [_short(names[i], LONGEST_NAME) for i in order]
    heads = [textwrap.fill(rule, 13) for rule in values]
    row = float(np.interp(len(names), [10, 40], [0.21, 0.145]))  # inches, as all of these
    above = 0.13 * max(head.count("\n") + 1 for head in heads) + (0.25 if title else 0.05)
    width = min(7.0, max(3.3, 0.3 + 0.06 * max(map(len, labels)) + 0.95 * len(values)))
    height = row * len(names) + above + 0.1
    figure = _figure(width, height)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.04, wspace=0.02)
    grid = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for axes, rule, head in zip(grid, values, heads, strict=True):
        low, high = (_column(rule, end, len(names))[order] for end in ends[rule]) if rule in ends else (None, None)
        _bars(axes, values[rule][order], low, high, colour=LIGHT if bounds is not None and axes is grid[0] else BLUE)
        axes.set_title(head, fontsize=NORMAL if len(values) <= 6 else SMALL, pad=3, parse_math=False)
    grid[0].set_yticks(range(len(names)), labels, fontsize=NORMAL, parse_math=False)
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    if title:
        figure.suptitle(_short(title, int(width / 0.075)), fontsize=LARGE, parse_math=False)
    return figure


def plot_tradeoff(results: Mapping[str, Any], *, title: str | None = None) -> Figure:
    """Figure 2 of Kim et al.: win rate and PPA level against β, and the gain by manipulation against β.

    Lines are means; bands are one standard deviation to each side, bars where the scale is
    logarithmic, on whose lowest line zeros lie too.

    Args:
        results: of one population: `betas`, and for each of `proportional`, `RLHF` and `NLHF` the measures `win_rate`,
            `ppa_level` and `gain` (the last by family of misreports), each a mapping of `mean` and `std` (None for
            unknown) to one number per β, or to one number for the two baselines.
        title: of the figure.

    Returns:
        A figure of two panels, 7 inches wide.

    Raises:
        ValueError: where a measure is missing.
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
    try:
        betas = np.asarray(results["betas"], dtype=float)
        rules = {name: results[name] for name in ("proportional", "RLHF", "NLHF")}
        families = list(rules["proportional"]["gain"])
        figure = _figure(7.0, 2.9 + (0.2 if title else 0))
        figure.set_layout_engine("constrained", w_pad=0.06, wspace=0.06)
        left, right = figure.subplots(1, 2)
        _rates(left, betas, rules)
        _gains(right, betas, rules, families)
    except KeyError as error:
        raise ValueError(f"results: expected the measures of one population; got none named {error}") from None
    if title:
        figure.suptitle(_short(title, 100), fontsize=LARGE, parse_math=False)
    return figure


def plot_values(estimate: Estimate, *, level: float = 0.95, title: str | None = None) -> Figure:
    """Values as bars, the largest on top, with error bars of the central limit theorem at a level.

    A vector of objectives has a panel each, in the order of the first; bars to the left of zero are values below it.
    Where a standard error is 0 or unknown there is no error bar.

    Args:
        estimate: values with standard errors; its names label the rows, numbers where it has none.
        level: of the error bars, in (0, 1).
        title: of the figure.

    Returns:
        A figure whose height grows with the players.

    Raises:
        ValueError: where a value is not finite, or the level lies outside (0, 1).
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> from jaxval.types import Estimate
        >>> estimate = Estimate(np.array([0.25, 0.5]), np.array([0.01, 0.02]), 4).with_names(["news", "books"])
        >>> [label.get_text() for label in plot_values(estimate).axes[0].get_yticklabels()]
        ['books', 'news']
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability in (0, 1); got {level!r}")
    values = np.asarray(estimate.values, dtype=float).reshape(len(estimate), -1)
    if not np.isfinite(values).all():
        raise ValueError(f"estimate: expected finite values; got {values[~np.isfinite(values)][0]}")
    wide = NormalDist().inv_cdf((1 + level) / 2)
    reach = wide * np.nan_to_num(np.asarray(estimate.standard_errors, dtype=float).reshape(values.shape))
    order = np.argsort(-values[:, 0], kind="stable")
    names = estimate.names or tuple(map(str, range(len(estimate))))
    row = float(np.interp(len(names), [10, 40], [0.21, 0.145]))
    panels = values.shape[1]
    figure = _figure(min(7.0, 1.4 + 2.1 * panels), row * len(names) + (0.85 if title else 0.6))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.04, wspace=0.02)
    grid = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    rows = np.arange(len(names))
    for objective, axes in enumerate(grid):
        axes.barh(rows, values[order, objective], height=0.62, color=BLUE, zorder=2)
        known = order[reach[order, objective] > 0]
        axes.errorbar(
            values[known, objective], rows[reach[order, objective] > 0], xerr=reach[known, objective],
            fmt="none", ecolor=BLACK, elinewidth=0.9, capsize=2, zorder=3,
        )  # fmt: skip
        axes.axvline(0, color=GREY, linewidth=0.6, zorder=1)
        axes.set_xlabel(f"value {objective}" if np.ndim(estimate.values) > 1 else "value", fontsize=NORMAL)
        axes.tick_params(labelsize=NORMAL, width=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    labels = [_short(names[i], LONGEST_NAME) for i in order]
    grid[0].set_yticks(rows, labels, fontsize=NORMAL, parse_math=False)
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    if title:
        figure.suptitle(_short(title, 60), fontsize=LARGE, parse_math=False)
    return figure


def plot_signature(
    names: Sequence[str],
    values: Column,
    rewards: Sequence[str],
    *,
    intervals: tuple[Column, Column] | None = None,
    title: str | None = None,
) -> Figure:
    """Figure 2 of Tamine et al.: each source a named point, an axis for each of two rewards; or a line for one.

    Bars are intervals; on the dashed diagonal both rewards agree; the grey lines are values of zero. Sources are told
    apart by their names, which stand beside their points, and by marker.

    Args:
        names: of the sources.
        values: (sources, rewards) or, for one reward, (sources,).
        rewards: their names, one or two; choose two columns of more.
        intervals: low and high ends, shaped as `values`; not drawn where NaN.
        title: of the figure.

    Returns:
        A figure 3.4 inches wide, the column of a paper; for one reward, its height grows with the sources.

    Raises:
        ValueError: where shapes do not fit, a value is not finite, or there are more than two rewards.
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> figure = plot_signature(["web", "books"], [[0.1, -0.1], [0.3, 0.2]], ["helpful", "harmless"])
        >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
        ('value: helpful', 'value: harmless')

    Source: Tamine et al., section 4, Figure 2.
    """
    points = np.asarray(values, dtype=float)
    points = points[:, None] if points.ndim == 1 else points
    if points.shape != (len(names), len(rewards)) or len(rewards) not in (1, 2) or not len(names):
        raise ValueError(
            f"values: expected (sources, rewards) for {len(names)} sources and one or two rewards; got shape "
            f"{points.shape} and {len(rewards)} rewards"
        )
    if not np.isfinite(points).all():
        raise ValueError(f"values: expected finite numbers; got {points[~np.isfinite(points)][0]}")
    low, high = (np.asarray(end, dtype=float).reshape(points.shape) for end in intervals or (points, points))
    low, high = np.where(np.isfinite(low), low, points), np.where(np.isfinite(high), high, points)
    order = np.argsort(-points[:, 0], kind="stable")
    if len(rewards) == 1:
        figure = _figure(3.4, 0.75 + 0.21 * len(names))
        axes = figure.subplots()
        _signature_line(axes, [names[i] for i in order], points[order, 0], low[order, 0], high[order, 0])
        axes.set_xlabel(f"value: {rewards[0]}", fontsize=NORMAL, parse_math=False)
    else:
        figure = _figure(3.4, 3.3)
        axes = figure.subplots()
        _signature_plane(axes, [names[i] for i in order], points[order], low[order], high[order])
        axes.set_xlabel(f"value: {rewards[0]}", fontsize=NORMAL, parse_math=False)
        axes.set_ylabel(f"value: {rewards[1]}", fontsize=NORMAL, parse_math=False)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03)
    axes.tick_params(labelsize=NORMAL, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)
    if title:
        axes.set_title(_short(title, 52), fontsize=LARGE, parse_math=False)
    return figure


MARKERS = "osD^vPX<>"
HUES = (BLUE, VERMILLION, GREEN, ORANGE, "#CC79A7", BLACK, "#56B4E9")


def _signature_line(axes: Axes, names: list[str], points: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    rows = np.arange(len(names))
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=1)
    axes.hlines(rows, low, high, color=BLUE, linewidth=1.0, zorder=2)
    axes.plot(points, rows, "o", color=BLUE, markersize=4, zorder=3)
    axes.set_yticks(rows, [_short(name, LONGEST_NAME) for name in names], fontsize=NORMAL, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _signature_plane(axes: Axes, names: list[str], points: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Points with bars both ways; labels go where they meet the least of the points, bars and labels there are."""
    bottom, top = min(low.min(), 0.0), max(high.max(), 0.0)
    margin = 0.12 * ((top - bottom) or 1.0)
    limits = bottom - margin, top + margin
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal")
    axes.axhline(0, color=LIGHT, linewidth=0.6, zorder=1)
    axes.axvline(0, color=LIGHT, linewidth=0.6, zorder=1)
    axes.plot(limits, limits, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for i, (x, y) in enumerate(points):
        hue = HUES[i % len(HUES)]
        axes.hlines(y, low[i, 0], high[i, 0], color=hue, linewidth=0.9, zorder=2)
        axes.vlines(x, low[i, 1], high[i, 1], color=hue, linewidth=0.9, zorder=2)
        axes.plot(x, y, MARKERS[i % len(MARKERS)], color=hue, markersize=4.5, zorder=3)
    spread = limits[1] - limits[0]
    together: list[list[int]] = []  # what lies at one place has one label
    for i, point in enumerate(points):
        same = [group for group in together if np.abs(points[group[0]] - point).max() < 0.012 * spread]
        same[0].append(i) if same else together.append([i])
    labels = ["\n".join(_short(names[i], 22) for i in group) for group in together]
    at = points[[group[0] for group in together]]
    obstacles = _ink(points, low, high, limits)
    for label, point, (x, y, aligned) in zip(labels, at, _label_places(labels, at, obstacles, limits), strict=True):
        if abs(y - point[1]) > 0.06 * spread:
            axes.plot([point[0], x], [point[1], y], color=LIGHT, linewidth=0.5, zorder=1)
        axes.text(x, y, label, fontsize=NORMAL, ha=aligned, va="center", linespacing=1.0, parse_math=False, zorder=4)


def _ink(points: np.ndarray, low: np.ndarray, high: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """(dots, 2) along everything that is drawn but labels: points count most, the lines behind least."""
    steps = np.linspace(0, 1, 12)[:, None]
    dots = [np.repeat(points, 6, axis=0)]
    for i, axis in np.ndindex(points.shape):
        ends = np.repeat(points[i][None], 2, axis=0)
        ends[:, axis] = low[i, axis], high[i, axis]
        dots.append(ends[0] + steps * (ends[1] - ends[0]))
    along = np.linspace(*limits, 40)
    dots += [np.stack(line, axis=1) for line in ((along, along), (along, 0 * along), (0 * along, along))]
    return np.concatenate(dots)


def _label_places(
    labels: list[str], points: np.ndarray, ink: np.ndarray, limits: tuple[float, float]
) -> list[tuple[float, float, str]]:
    """Greedy: of the places around its point, each label takes the one that covers the least."""
    inch = (limits[1] - limits[0]) / 2.7  # axes are about that wide
    boxes: list[np.ndarray] = []
    places = []
    for label, point in zip(labels, points, strict=True):
        lines = label.split("\n")
        wide, tall = 0.061 * max(map(len, lines)) * inch, 0.125 * len(lines) * inch
        best: tuple[float, tuple[float, float, str], np.ndarray] | None = None
        for dy in (0.0, 0.1, -0.1, 0.18, -0.18, 0.3, -0.3, 0.45, -0.45):
            for dx, side in ((0.09, "left"), (-0.09, "right")):
                x, y = point + np.array([dx, dy]) * inch
                left = x if side == "left" else x - wide
                box = np.array([[left, y - tall / 2], [left + wide, y + tall / 2]])
                covered = ((ink > box[0]) & (ink < box[1])).all(axis=1).sum()
                met = sum(bool(((other[0] < box[1]) & (box[0] < other[1])).all()) for other in boxes)
                beyond = (box[0] < limits[0]).sum() + (box[1] > limits[1]).sum()
                cost = covered + 40.0 * met + 60.0 * beyond + 12 * abs(dy)
                if best is None or cost < best[0]:
                    best = cost, (x, y, side), box
        assert best is not None
        places.append(best[1])
        boxes.append(best[2])
    return places


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("figures need matplotlib: pip install 'jaxval[plots]'", name=error.name) from error
    return Figure(figsize=(width, height))


def _column(rule: str, column: Column, alternatives: int) -> np.ndarray:
    values = np.asarray(column, dtype=float)
    if values.shape != (alternatives,) or not np.isfinite(values).all():
        raise ValueError(
            f"lotteries: expected {alternatives} finite numbers for {rule!r}; got shape {values.shape}: {values}"
        )
    return values


def _short(text: str, longest: int) -> str:
    """One line of a text, its middle left out where it is too long: ends tell versions and years apart."""
    text = " ".join(str(text).split())
    kept = longest - 1
    return text if len(text) <= longest else text[: kept - kept // 3] + "…" + text[-(kept // 3) :]


def _bars(axes: Axes, values: np.ndarray, low: np.ndarray | None, high: np.ndarray | None, *, colour: str) -> None:
    """One column: a bar and its number in every row, every other row shaded."""
    rows = np.arange(len(values))
    for i in rows[1::2]:
        axes.axhspan(i - 0.5, i + 0.5, color=BAND, linewidth=0, zorder=0)
    axes.barh(rows, values, height=0.62, color=colour, zorder=2)
    reach = values
    if low is not None and high is not None:
        axes.hlines(rows, low, high, color="black", linewidth=0.7, zorder=3)
        reach = np.maximum(values, high)
    longest = reach.max() or 1.0
    for i in rows[values > 0]:
        text = "<.001" if values[i] < 0.0005 else f"{values[i]:.3f}".lstrip("0") if values[i] < 0.9995 else "1"
        axes.text(reach[i] + 0.04 * longest, i, text, va="center_baseline", fontsize=SMALL, zorder=4)
    axes.set_xlim(0, 1.75 * longest)
    axes.set_xticks([])
    axes.tick_params(left=False, labelsize=NORMAL)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_linewidth(0.6)


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
    axes: Axes, betas: np.ndarray, measure: Mapping[str, Any], *, colour: str, style: str = "-", floor: float = -np.inf,
    bars: bool = False,
) -> None:  # fmt: skip
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
        lines, by_column, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, fontsize=NORMAL, frameon=False,
        handlelength=2.2, columnspacing=1.2, labelspacing=0.2, borderaxespad=0.2,
    )  # fmt: skip
