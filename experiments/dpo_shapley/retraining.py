"""Retraining every coalition of providers, whatever trains one stage, and how arithmetic compares with it."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from experiments.dpo_shapley.measures import compare, pearson, shapley, spearman, stopwatch
from experiments.dpo_shapley.providers import MASKS, OBJECTIVES, N, Pairs, joined, members_of, utility
from jaxval.types import Comparisons, Params

Tables = dict[str, np.ndarray]


def train_coalitions(
    fit: Callable[[Params, Comparisons, str], Params], start: Params, sources: list[Comparisons], times: dict
) -> tuple[dict[tuple[int, ...], Params], dict[tuple[int, ...], Params]]:
    """Parameters of all coalitions: sequential, in the providers' order, and union.

    A coalition's sequential training goes on from that of its members but the last: 2^n - 1 stages instead of
    n 2^(n-1).
    """
    sequential: dict[tuple[int, ...], Params] = {(): start}
    union: dict[tuple[int, ...], Params] = {(): start}
    for size in range(1, N + 1):
        for members in itertools.combinations(range(N), size):
            names = "".join(map(str, members))
            name = f"{'separate' if size == 1 else 'sequential'}-{names}"
            with unless_known(times, name):
                sequential[members] = fit(sequential[members[:-1]], sources[members[-1]], name)
            if size == 1:
                union[members] = sequential[members]
                continue
            with unless_known(times, f"union-{names}"):
                union[members] = fit(start, joined(sources, members), f"union-{names}")
    return sequential, union


def unless_known(times: dict[str, list[float]], name: str) -> AbstractContextManager[None]:
    """A stopwatch; none where the time of a training that was finished before is known."""
    return nullcontext() if name in times else stopwatch(times, name)


def table_of(gains: dict[tuple[int, ...], np.ndarray], pairs: Pairs) -> np.ndarray:
    """(2^n, objectives) utilities from the gains of each coalition."""
    return np.stack([utility(gains[members_of(mask)], pairs) for mask in MASKS])


def judged(tables: Tables, times: dict[str, list[float]]) -> dict[str, Any]:
    """Utilities, values, and how each arithmetic's compare with both ways of retraining, under both objectives."""
    phi = {name: shapley(table) for name, table in tables.items()}
    against: dict[str, Any] = {}
    for way in [name for name in tables if name not in ("sequential", "union")] + ["sequential"]:
        for truth in ("sequential", "union"):
            if way != truth:
                against[f"{way} against {truth}"] = [
                    {
                        **compare(phi[way][:, k], phi[truth][:, k]),
                        "pearson of the coalitions' utilities": pearson(tables[way][1:, k], tables[truth][1:, k]),
                        "spearman of the coalitions' utilities": spearman(tables[way][1:, k], tables[truth][1:, k]),
                    }
                    for k in range(len(OBJECTIVES))
                ]
    return {
        "utilities": {name: table.tolist() for name, table in tables.items()},
        "values": {name: value.tolist() for name, value in phi.items()},
        "against": against,
        "seconds": _by_way(times, 0),
        "processor seconds": _by_way(times, 1),
    }


def _by_way(times: dict[str, list[float]], which: int) -> dict[str, float]:
    """Seconds of all trainings of a way together: names are "way-members"."""
    totals: dict[str, float] = {}
    for name, seconds in times.items():
        way = name.split("-")[0]
        totals[way] = totals.get(way, 0.0) + seconds[which]
    return totals
