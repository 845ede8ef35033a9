"""Where weighting by dispersion helps in the bandit and where not: cells of the map, and sentences made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from experiments.inequalities import half_width, inequality
from experiments.mallows import bandit

__all__ = ["LEVEL", "cells", "claims", "map_unit", "sentences", "tuned_frontier"]

LEVEL = 0.95
GAIN = {"reward": "true reward", "votes": "votes won"}


def map_unit(
    model: str, policy: str, count: int, *, pairs: Sequence[int], spreads: Sequence[float], seeds: int, redraws: int
) -> list[dict[str, Any]]:
    """All numbers of votes and all spreads for one number of prompts; every method has the ridge that is best for it.

    Returns:
        For each cell `earned` (measures, dispersions, seeds), means over the data sets of a problem in shares of the
        best gain; and `z` (measures, seeds), how many standard errors over its data sets MallowsPO-θ with the true φ
        is above DPO on each problem.
    """
    found = []
    for votes in pairs:
        for spread in spreads:
            earned = np.asarray(
                bandit.cell(
                    list(bandit.MODELS).index(model), float(spread), votes,
                    policy=policy, count=count, seeds=seeds, redraws=redraws,
                )
            )  # fmt: skip
            if not np.isfinite(earned).all():
                raise RuntimeError(
                    f"a fit did not converge: {model}, {policy}, {count} prompts, {votes} votes, {spread}"
                )
            best = earned.mean(axis=(0, 1)).argmax(axis=1)  # (dispersions, measures): the ridge
            tuned = np.take_along_axis(earned, best[None, None, :, None, :], axis=3)[:, :, :, 0]
            gap = tuned[:, :, 1] - tuned[:, :, 0]
            error = gap.std(axis=1, ddof=1) / np.sqrt(redraws) if redraws > 1 else np.full_like(gap[:, 0], np.nan)
            z = np.where(error > 0, gap.mean(axis=1) / np.where(error > 0, error, 1), 0)
            found.append(
                {
                    "pairs": votes,
                    "spread": spread,
                    "earned": tuned.mean(axis=1).transpose(2, 1, 0).round(6).tolist(),
                    "z": z.T.round(3).tolist(),
                }
            )
    return found


def cells(runs: dict[str, Any], *, told: str = "true φ", against: str = "DPO") -> list[dict[str, Any]]:
    """The gap between two kinds of dispersions in every cell, in points of the best gain, with intervals over seeds."""
    found = []
    one, other = (bandit.TOLD.index(name) for name in (told, against))
    for label, unit in runs.items():
        if not label.startswith("map, "):
            continue
        _, model, policy, count = label.split(", ")
        for entry in unit:
            for m, measure in enumerate(bandit.MEASURES):
                earned = 100 * np.array(entry["earned"][m])
                gaps, z = earned[one] - earned[other], np.array(entry["z"][m])
                gap, reach = float(gaps.mean()), float(half_width(gaps, level=LEVEL))
                undecided = not np.isfinite(reach) or abs(gap) <= max(reach, 1e-9)
                verdict = "open" if undecided else "helps" if gap > 0 else "costs"
                found.append(
                    {
                        "model": model, "policy": policy, "measure": measure, "prompts": int(count),
                        "pairs": entry["pairs"], "spread": entry["spread"], "gap": gap,
                        "reach": reach if np.isfinite(reach) else None, "verdict": verdict,
                        "problems for": int((z > 2).sum()), "problems against": int((z < -2).sum()),
                        "least z": float(z.min()), "problems": len(z),
                    }
                )  # fmt: skip
    return found


def sentences(runs: dict[str, Any]) -> list[str]:
    """Under which conditions weighting helps and under which it does not, in words that the measurements choose."""
    every = cells(runs)
    rows, equal = ([row for row in every if (row["spread"] > 1) is apart] for apart in (True, False))
    found = []
    if equal:
        largest = max(abs(row["gap"]) for row in equal)
        found.append(
            f"If all prompts have the same φ, weighting is DPO with another β: a gap of up to {largest:.1f} points "
            "between the two is what the grid of ridges leaves."
        )
    for policy in dict.fromkeys(row["policy"] for row in rows):
        for measure in bandit.MEASURES:
            for model in dict.fromkeys(row["model"] for row in rows):
                mine = [r for r in rows if (r["policy"], r["measure"], r["model"]) == (policy, measure, model)]
                found.append(_where(f"{policy}, {GAIN[measure]}, {model}", mine))
    for policy in dict.fromkeys(row["policy"] for row in rows):
        for measure in bandit.MEASURES:
            mine = [r for r in rows if (r["policy"], r["measure"]) == (policy, measure)]
            by = {axis: _along(mine, axis) for axis in ("prompts", "pairs", "spread")}
            text = "; ".join(f"with {axis} {trend}" for axis, trend in by.items())
            found.append(f"{policy}, {GAIN[measure]}, all models: the mean gain over DPO goes {text}.")
    found += _kinds(runs)
    return found + _small(rows)


def _small(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What single problems with the fewest prompts say, with standard errors over data sets of the same prompts."""
    found = []
    fewest = min(row["prompts"] for row in rows)
    for policy, measure in dict.fromkeys((row["policy"], row["measure"]) for row in rows):
        mine = [r for r in rows if (r["policy"], r["measure"], r["prompts"]) == (policy, measure, fewest)]
        if not mine:
            continue
        worst = min(mine, key=lambda row: row["least z"])
        won, lost, total = (sum(row[name] for row in mine) for name in ("problems for", "problems against", "problems"))
        found.append(
            f"{policy}, {GAIN[measure]}: on {fewest} prompts the outcome depends on which: weighting is better by "
            f"over two standard errors (over data sets of the same prompts) on {won} of {total} problems, and DPO on "
            f"{lost}, by up to {-worst['least z']:.0f} standard errors ({worst['model']}, {worst['pairs']} votes each, "
            f"spread {worst['spread']:g})."
        )
    return found


def _where(name: str, rows: Sequence[dict[str, Any]]) -> str:
    parts = []
    for verdict, verb in (("helps", "helps in"), ("costs", "costs in")):
        mine = [row for row in rows if row["verdict"] == verdict]
        text = f"{verb} {len(mine)} of {len(rows)} cells"
        if mine:
            largest = max(mine, key=lambda row: abs(row["gap"]))
            text += f" ({_ranges(mine)}; at most {largest['gap']:+.1f} points)"
        parts.append(text)
    undecided = sum(row["verdict"] == "open" for row in rows)
    return f"{name}: weighting by the true φ {' and '.join(parts)}; {undecided} are open."


def _ranges(rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    texts = []
    for axis, unit in (("prompts", "prompts"), ("pairs", "votes each"), ("spread", "spread")):
        low, high = min(r[axis] for r in rows), max(r[axis] for r in rows)
        ends = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        texts.append(f"spread {ends}" if axis == "spread" else f"{ends} {unit}")
    return ", ".join(texts)


def _along(rows: Sequence[dict[str, Any]], axis: str) -> str:
    """The mean gaps along one axis, such as `4, 16, 64: -0.1, +0.2, +0.5`."""
    levels = sorted({row[axis] for row in rows})
    means = [np.mean([row["gap"] for row in rows if row[axis] == level]) for level in levels]
    return f"{', '.join(f'{level:g}' for level in levels)}: {', '.join(f'{mean:+.1f}' for mean in means)} points"


def _kinds(runs: dict[str, Any]) -> list[str]:
    """What the index and shuffled dispersions gain, next to the true ones."""
    found = []
    by_told = [[row for row in cells(runs, told=told) if row["spread"] > 1] for told in bandit.TOLD[1:]]
    for policy, measure in dict.fromkeys((row["policy"], row["measure"]) for row in by_told[0]):
        true, index, shuffled = (
            np.mean([row["gap"] for row in rows if (row["policy"], row["measure"]) == (policy, measure)])
            for rows in by_told
        )
        found.append(
            f"{policy}, {GAIN[measure]}: the mean gain over DPO of all cells is {true:+.1f} points with the true φ, "
            f"{index:+.1f} with the index, whose weights are off by a random factor of about e^{bandit.NOISE:g}, "
            f"and {shuffled:+.1f} with the true φ of other prompts."
        )
    return found


def claims(runs: dict[str, Any]) -> list[dict[str, Any]]:
    """The claim of the paper in the bandit, that weighting beats DPO at equal data, as inequalities over seeds."""
    found = []
    k = bandit.DIVERGENCES.index(bandit.KL)
    labels = [label for label in runs if label.startswith("frontier, ") and label.endswith(", DPO")]
    for plain in labels:
        _, model, policy, _ = plain.split(", ")
        for m, measure in enumerate(bandit.MEASURES):
            for name in ("θ, true φ", "θ, index", "φ, true φ", "φ, index"):
                ours, theirs = (
                    100 * tuned_frontier(runs[label], measure)["shares"][:, k, m]
                    for label in (f"frontier, {model}, {policy}, {name}", plain)
                )
                text = f"{model}, {policy}: {name} earns more {GAIN[measure]} than DPO"
                found.append(inequality(text, ours.tolist(), theirs.tolist(), level=LEVEL))
    return found


def tuned_frontier(run: dict[str, Any], measure: str = "reward") -> dict[str, np.ndarray]:
    """The numbers of a frontier with the ridge that gives the method its largest mean gain of this kind at `KL`."""
    arrays = {name: np.array(part) for name, part in run.items()}
    at_kl = arrays["shares"][:, :, bandit.DIVERGENCES.index(bandit.KL), bandit.MEASURES.index(measure)]
    ridge = int(at_kl.mean(axis=0).argmax())
    return {name: part[:, ridge] for name, part in arrays.items()} | {"ridge": np.array(bandit.RIDGES[ridge])}
