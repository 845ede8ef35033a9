"""Signatures of sources: their values under one reward or two, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxval import _checks
from jaxval.plots._drawing import (
    BLUE,
    GREY,
    HUES,
    LARGE,
    LIGHT,
    LONGEST_NAME,
    MARKERS,
    NORMAL,
    SMALL,
    Column,
    check_ends,
    check_title,
    new_figure,
    short,
)
from jaxval.types import BadArgument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_signature"]

DASHED = (0, (4, 3))


def plot_signature(
    names: Sequence[str],
    values: Column,
    rewards: Sequence[str],
    *,
    intervals: tuple[Column, Column] | None = None,
    bars: str = "interval",
    title: str | None = None,
) -> Figure:
    """Figure 2 of Tamine et al.: each source is a named point, with one axis per reward.

    Bars are intervals. On the dashed diagonal a source is worth the same under both rewards. The grey lines are values
    of zero. A key below the axes says so. Every source has its name beside its point, and a marker of its own.

    Args:
        names: one name per source.
        values: (sources, rewards) or, for one reward, (sources,).
        rewards: the names of one or two rewards. Of more rewards, choose two columns.
        intervals: low and high ends, shaped as `values`; NaN is not drawn.
        bars: a description of the intervals for the key, such as "95 % interval over prompts".
        title: the title of the figure.

    Returns:
        A figure 3.4 inches wide, the column of a paper; for one reward, its height grows with the sources.

    Raises:
        ValueError: if shapes do not fit, a value is not finite, or there are more than two rewards.
        ModuleNotFoundError: without matplotlib.

    Example:
        >>> figure = plot_signature(["web", "books"], [[0.1, -0.1], [0.3, 0.2]], ["helpful", "harmless"])
        >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
        ('value: helpful', 'value: harmless')

    Source: Tamine et al., section 4, Figure 2.
    """
    _checks.check_names("names", names, "one name for each source")
    _checks.check_names("rewards", rewards, "one name for each reward")
    points = _checks.host_numbers("values", values)
    points = points[:, None] if points.ndim == 1 else points
    if points.shape != (len(names), len(rewards)) or len(rewards) not in (1, 2) or not len(names):
        raise BadArgument(
            "values",
            expected=f"(sources, rewards) for {len(names)} sources and one or two rewards",
            got=f"shape {points.shape} and {len(rewards)} rewards",
        )
    if not np.isfinite(points).all():
        raise BadArgument("values", expected="finite numbers", got=points[~np.isfinite(points)][0])
    check_title(title)
    low, high = check_ends((points, points) if intervals is None else intervals, points.shape)
    low, high = np.where(np.isfinite(low), low, points), np.where(np.isfinite(high), high, points)
    order = np.argsort(-points[:, 0], kind="stable")
    names, points, low, high = [names[i] for i in order], points[order], low[order], high[order]
    plane = len(rewards) == 2
    figure = new_figure(3.4, 3.55 if plane else 0.95 + 0.21 * len(names))
    axes = figure.subplots()
    if plane:
        _signature_plane(axes, names, points, low, high)
        axes.set_ylabel(f"value: {short(rewards[1], 40)}", fontsize=NORMAL, parse_math=False)
    else:
        _signature_line(axes, names, points[:, 0], low[:, 0], high[:, 0])
    axes.set_xlabel(f"value: {short(rewards[0], 40)}", fontsize=NORMAL, parse_math=False)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03)
    axes.tick_params(labelsize=NORMAL, width=0.6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set_fontsize(NORMAL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)
    if title:
        axes.set_title(short(title, 52), fontsize=LARGE, parse_math=False)
    _key(figure, bars if (high > low).any() else None, plane)
    return figure


def _key(figure: Figure, bars: str | None, plane: bool) -> None:
    """Below the axes: what the bars are, and the diagonal."""
    from matplotlib.lines import Line2D

    lines = []
    if bars is not None:
        lines.append(Line2D([], [], color=BLUE, linewidth=1.0, marker="o", markersize=4, label=f"value, {bars}"))
    if plane:
        lines.append(Line2D([], [], color=GREY, linewidth=0.8, linestyle=DASHED, label="same value under both"))
    if lines:
        figure.legend(
            handles=lines,
            loc="outside lower center",
            ncols=len(lines),
            fontsize=SMALL,
            frameon=False,
            handlelength=1.8,
            handletextpad=0.5,
            columnspacing=1.0,
            borderpad=0.2,
            borderaxespad=0.1,
        )


def _signature_line(axes: Axes, names: list[str], points: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    rows = np.arange(len(names))
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=1)
    axes.hlines(rows, low, high, color=BLUE, linewidth=1.0, zorder=2)
    axes.plot(points, rows, "o", color=BLUE, markersize=4, zorder=3)
    axes.set_yticks(rows, [short(name, LONGEST_NAME) for name in names], fontsize=NORMAL, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _signature_plane(axes: Axes, names: list[str], points: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Points with bars both ways; labels go where they cover the fewest points, bars and other labels."""
    bottom, top = min(low.min(), 0.0), max(high.max(), 0.0)
    margin = 0.12 * ((top - bottom) or 1.0)
    limits = bottom - margin, top + margin
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal")
    axes.axhline(0, color=LIGHT, linewidth=0.6, zorder=1)
    axes.axvline(0, color=LIGHT, linewidth=0.6, zorder=1)
    axes.plot(limits, limits, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    for i, (x, y) in enumerate(points):
        hue = HUES[i % len(HUES)]
        axes.hlines(y, low[i, 0], high[i, 0], color=hue, linewidth=0.9, zorder=2)
        axes.vlines(x, low[i, 1], high[i, 1], color=hue, linewidth=0.9, zorder=2)
        axes.plot(x, y, MARKERS[i % len(MARKERS)], color=hue, markersize=4.5, zorder=3)
    extent = limits[1] - limits[0]
    together: list[list[int]] = []  # what lies at one place has one label
    for i, point in enumerate(points):
        same = [group for group in together if np.abs(points[group[0]] - point).max() < 0.012 * extent]
        same[0].append(i) if same else together.append([i])
    labels = ["\n".join(short(names[i], 22) for i in group) for group in together]
    at = points[[group[0] for group in together]]
    obstacles = _ink(points, low, high, limits)
    for label, point, (x, y, aligned) in zip(labels, at, _label_places(labels, at, obstacles, limits), strict=True):
        if abs(y - point[1]) > 0.06 * extent:
            axes.plot([point[0], x], [point[1], y], color=LIGHT, linewidth=0.5, zorder=1)
        axes.text(x, y, label, fontsize=NORMAL, ha=aligned, va="center", linespacing=1.0, parse_math=False, zorder=4)


def _ink(points: np.ndarray, low: np.ndarray, high: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """(dots, 2) what labels should not cover: many dots at each point, fewer along bars, fewest along lines."""
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
    """Positions of the labels, chosen one after another: each is the one around its point that covers the least."""
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
