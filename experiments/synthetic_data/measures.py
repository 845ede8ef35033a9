"""The values of each method, the accuracy while synthetic rows are removed or added, and the areas between curves."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.inequalities import half_width, inequality
from experiments.synthetic_data.tasks import SETS, Task, path_utility, utility
from jaxval import values

__all__ = ["LEVEL", "METHODS", "PANELS", "SHARES", "areas", "claims", "curves", "estimate", "relative", "summary"]

METHODS = ("MC-ADS", "KNN-ADS", "MC-DS", "KNN-DS", "LOO", "random")
SHARES = np.linspace(0, 0.3, 11)  # of the synthetic rows
DRAWS = 20  # random orders
LEVEL = 0.95
PER_ASK = {True: 8, False: 32}  # permutations at a time, of a logistic regression or of nearest neighbours
TESTS = ("test", "fresh")
FIRST = ("lowest", "highest")
PANELS = {
    "a": ("removing", "lowest", 1),
    "b": ("removing", "highest", -1),
    "c": ("adding", "lowest", -1),
    "d": ("adding", "highest", 1),
}
"""What is moved, which values go first, and whether a higher curve is better (1) or a lower one (-1)."""


def estimate(
    task: Task,
    method: str,
    key: Any,
    *,
    permutations: int,
    save: Path | None = None,
    advance: Callable[[int], None] | bool = False,
) -> np.ndarray:
    """The values of the training rows under a method; with ADS, originals come before synthetic rows.

    Args:
        task: the rows.
        method: one of `METHODS` but "random".
        key: a random key.
        permutations: how many permutations the sampled methods draw.
        save: a file from which sampled values resume.
        advance: called with the number of asks that are done.

    Returns:
        (train,) values.
    """
    groups = task.synthetic.astype(int) if method.endswith("-ADS") else None
    if method.startswith("MC"):
        found = values.sample_shapley_along_paths(
            key,
            path_utility(task),
            len(task.synthetic),
            permutations=permutations,
            groups=groups,
            per_ask=PER_ASK[task.linear],
            save=save,
            progress=advance,
        )
        return np.asarray(found.values)
    if method.startswith("KNN"):
        return np.asarray(values.knn_shapley(*task.train, *task.test, neighbours=task.neighbours, groups=groups))
    score = utility(task)
    left_out = values.evaluate_leave_one_out(
        lambda coalition: score(coalition)[0], len(task.synthetic), batch_size=_at_once(task)
    )
    return np.asarray(left_out.values)


def curves(task: Task, method: str, key: Any, found: np.ndarray) -> dict[str, Any]:
    """The accuracies on the test rows and on fresh ones, (points, 2), while synthetic rows are removed or added.

    Args:
        task: the rows.
        method: "random" gives the means of random orders in place of both orders of value.
        key: a random key.
        found: (train,) values.

    Returns:
        For "removing" and "adding" the curves "lowest" and "highest": which values went first.
    """
    counts = np.round(SHARES * task.synthetic.sum()).astype(int)
    score, shown = utility(task), {}
    for verb in ("removing", "adding"):
        one = values.removal_curves(
            key,
            score,
            found,
            counts=counts,
            among=task.synthetic,
            adding=verb == "adding",
            draws=DRAWS if method == "random" else 1,
            batch_size=_at_once(task),
        )
        random = one.random.mean(axis=0)
        pair = (random, random) if method == "random" else (one.lowest, one.highest)
        shown[verb] = {first: np.asarray(curve).tolist() for first, curve in zip(FIRST, pair, strict=True)}
    return shown


def _at_once(task: Task) -> int:
    """Coalitions evaluated at a time."""
    return 8 if task.linear else 16


def seeded(name: str, seed: int) -> Any:
    """The random key of a seed, the same for all methods."""
    return jax.random.key(zlib.crc32(f"{name} {seed}".encode()))


def relative(run: dict[str, Any], panel: str, test: str) -> np.ndarray:
    """A curve (points,) divided by the accuracy before anything was removed or added."""
    verb, first, _ = PANELS[panel]
    curve = np.asarray(run[verb][first])[:, TESTS.index(test)]
    return curve / curve[0]


def areas(runs: dict[str, Any], name: str, method: str, seeds: Iterable[int], test: str = "test") -> np.ndarray:
    """(seeds, panels) the area between a method's curve and that of random orders, divided by the width 0.3.

    It is the mean difference of relative accuracies. Above 0 the values order the rows better than chance.
    """

    def area(seed: int, panel: str) -> float:
        mine, random = (relative(runs[f"{name}, {seed}, {m}"], panel, test) for m in (method, "random"))
        return PANELS[panel][2] * float(np.trapezoid(mine - random, SHARES)) / SHARES[-1]

    return np.array([[area(seed, panel) for panel in PANELS] for seed in seeds])


def summary(runs: dict[str, Any], names: Iterable[str], seeds: range) -> dict[str, list[dict[str, Any]]]:
    """For each set and method the mean area of each panel, and half the width of its interval (None for one seed)."""
    return {
        name: [
            {
                "method": method,
                **{
                    panel: {"area": float(column.mean()), "reach": _or_none(float(half_width(column, level=LEVEL)))}
                    for panel, column in _columns(runs, name, method, seeds).items()
                },
            }
            for method in METHODS[:-1]
        ]
        for name in names
    }


def _or_none(number: float) -> float | None:
    return number if np.isfinite(number) else None


def claims(runs: dict[str, Any], names: Iterable[str], seeds: range) -> list[dict[str, Any]]:
    """The paper's claims as inequalities between areas, on each panel and on the mean of the four ("mean").

    "fresh" is the mean of the four areas on fresh test rows, of which the paper says nothing.
    """
    rows, names = [], list(names)
    for name in names:
        found = {method: _columns(runs, name, method, seeds) for method in METHODS[:-1]}
        found["random"] = {panel: np.zeros_like(column) for panel, column in found["LOO"].items()}
        pairs = [("MC-ADS", other) for other in ("MC-DS", "LOO", "random")]
        if not SETS[name].linear:  # the paper claims nothing of KNN values for its logistic regression
            pairs += [("KNN-ADS", "KNN-DS"), ("KNN-ADS", "random")]
        if name == "omniglot-3nn":
            pairs.append(("MC-ADS", "KNN-ADS"))
        for one, other in pairs:
            for panel, column in found[one].items():
                text = f"{name}: {one} above {other}"
                rows.append({"panel": panel, **inequality(text, column, found[other][panel], level=LEVEL)})
    for name in ("adult", "mnist"):
        if {name, "omniglot"} <= set(names):
            both = [_columns(runs, each, "MC-ADS", seeds)["mean"] for each in (name, "omniglot")]
            rows.append({"panel": "mean", **inequality(f"MC-ADS: {name} above omniglot", *both, level=LEVEL)})
    return rows


def _columns(runs: dict[str, Any], name: str, method: str, seeds: range) -> dict[str, np.ndarray]:
    """The areas (seeds,) of each panel, the mean of the four, and the mean of the four on fresh rows."""
    found = areas(runs, name, method, seeds)
    fresh = areas(runs, name, method, seeds, "fresh").mean(axis=1)
    return {**dict(zip(PANELS, found.T, strict=True)), "mean": found.mean(axis=1), "fresh": fresh}
