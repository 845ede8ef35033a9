"""Values of nearest neighbours against pyDVL and vectorised NumPy.

    python -m benchmarks.values_neighbours [--case CASE ...] [--quick] [--environment NAME=PATH ...] [--out FOLDER]

Cases: KNN-Shapley of 10,000 instances and 500 test points; KNN-ADS of two groups; sampled ADS of the accuracy; and, no
race, what every side makes of fewer instances than neighbours. One core a side where --cores does not say otherwise.
"""

import argparse
import itertools
import math
import sys
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, FailedRunError, Pair, Profile, sides_of
from benchmarks.peers import NUMPY, PYDVL

PEERS = (NUMPY, PYDVL)
K = 5

side = sides_of("values_neighbours")


def shapley(bench: Bench, options: argparse.Namespace) -> None:
    """KNN-Shapley, distances and sort included; one test point is a piece of work."""
    instances, tests = (300, 20) if options.quick else (10_000, 500)
    inputs = gaussian(np.random.default_rng(options.seed), instances, tests)
    sides = [
        side("jaxval", OURS, "exact", items=tests, neighbours=K),
        side("jaxval, float64", OURS, "exact", items=tests, x64=True, neighbours=K),
        side("the sort alone, by NumPy", OURS, "sort", items=max(tests, 50)),
        side("NumPy", NUMPY, "exact", items=tests, neighbours=K),
        side("NumPy, float32", NUMPY, "exact", items=tests, neighbours=K, dtype="float32"),
        side("pyDVL", PYDVL, "exact", items=tests, neighbours=K),
    ]
    target = None if options.quick else 40
    pairs = [
        Pair("jaxval", "pyDVL", at_least=target),
        Pair("jaxval, float64", "pyDVL"),
        Pair("jaxval", "NumPy"),
        Pair("jaxval", "NumPy, float32"),
        Pair("jaxval, float64", "NumPy"),
    ]
    sizes = {"instances": instances, "test points": tests, "features": 32, "K": K}
    profile = Profile(
        "jaxval",
        ["the sort alone, by NumPy"],
        "The value of an instance depends on the rank of all others, so that every test point sorts every instance. "
        "NumPy sorts distance and index as one number of 64 bits; XLA's sort takes many times as long.",
    )
    bench.race("KNN-Shapley", sizes, inputs, sides, pairs=pairs, compare=largest_difference, profiles=[profile])


def ads(bench: Bench, options: argparse.Namespace) -> None:
    """KNN-ADS of originals and as many later instances."""
    instances, tests = (100, 20) if options.quick else (1_000, 500)
    inputs = gaussian(np.random.default_rng(options.seed), instances, tests)
    sides = [
        side("jaxval", OURS, "exact", neighbours=K, groups=True),
        side("jaxval, float64", OURS, "exact", x64=True, neighbours=K, groups=True),
    ]
    sizes = {"instances": instances, "groups": 2, "test points": tests, "features": 32, "K": K}
    rates = {} if options.quick else {"jaxval": 1.0}
    pairs = [Pair("jaxval", "jaxval, float64")]
    bench.race("KNN-ADS", sizes, inputs, sides, pairs=pairs, compare=largest_difference, rates=rates)


def sampled(bench: Bench, options: argparse.Namespace) -> None:
    """MC-ADS of the accuracy of K nearest neighbours; a permutation is a piece of work."""
    players, tests, permutations = (50, 20, 60) if options.quick else (1_000, 500, 3_000)
    inputs = gaussian(np.random.default_rng(options.seed), players, tests)
    work = {"neighbours": K, "permutations": permutations, "per_ask": 32}
    sides = [side("jaxval", OURS, "sampled", items=permutations, **work)]
    sizes = {"players": players, "groups": 2, "test points": tests, "K": K, "permutations": permutations}
    rates = {} if options.quick else {"jaxval": permutations / 120}
    bench.race("MC-ADS", sizes, inputs, sides, rates=rates, repeats=1)


def few(bench: Bench, options: argparse.Namespace) -> None:
    """Fewer instances than neighbours: how far every side is from the definition, by enumeration."""
    sides = [
        side("jaxval", OURS, "exact", neighbours=K),
        side("NumPy", NUMPY, "exact", neighbours=K),
        side("pyDVL", PYDVL, "exact", neighbours=K),
    ]
    for instances in (2, 3, 4):
        rng = np.random.default_rng(options.seed)
        inputs = gaussian(rng, instances, 20, classes=2)
        expected = by_definition(inputs)
        gaps: dict[str, float | str] = {}
        for one in sides:
            try:
                gaps[one.name] = float(np.abs(bench.once(one, inputs)["values"] - expected).max())
            except FailedRunError as error:
                gaps[one.name] = str(error)
        sizes = {"instances": instances, "test points": 20, "K": K}
        bench.add({"case": "fewer than K", "sizes": sizes, "gaps": gaps})


def gaussian(rng: np.random.Generator, instances: int, tests: int, *, classes: int = 10) -> Answers:
    """Features in 32 dimensions around a centre for each class; every second instance is of the later group."""
    centres = rng.normal(size=(classes, 32)) / 2
    train_y, test_y = rng.integers(0, classes, instances), rng.integers(0, classes, tests)
    return {
        "train_x": centres[train_y] + rng.normal(size=(instances, 32)),
        "train_y": train_y,
        "test_x": centres[test_y] + rng.normal(size=(tests, 32)),
        "test_y": test_y,
        "groups": np.arange(instances) % 2,
    }


def by_definition(inputs: Answers) -> np.ndarray:
    """Shapley values of the fraction of right labels among K by enumeration of coalitions."""
    n, tests = len(inputs["train_y"]), len(inputs["test_y"])
    values = np.zeros(n)
    for point, label in zip(inputs["test_x"], inputs["test_y"], strict=True):
        order = np.argsort(((inputs["train_x"] - point) ** 2).sum(axis=1))

        def v(members: set[int], order: np.ndarray = order, label: int = label) -> float:
            nearest = [i for i in order if i in members][:K]
            return sum(inputs["train_y"][i] == label for i in nearest) / K

        for z in range(n):
            others = set(range(n)) - {z}
            for size in range(n):
                for chosen in map(set, itertools.combinations(others, size)):
                    values[z] += (v(chosen | {z}) - v(chosen)) / (n * math.comb(n - 1, size) * tests)
    return values


def largest_difference(_: Answers, ours: Answers, theirs: Answers) -> Agreement:
    return Agreement(float(np.abs(ours["values"] - theirs["values"]).max()), 1e-5, "in a value")


def show_few(records: list[dict[str, Any]], console: Console) -> None:
    """The largest errors where there are fewer instances than neighbours."""
    found = [record for record in records if record["case"] == "fewer than K"]
    if not found:
        return
    table = Table(title="fewer instances than neighbours: largest error of a value", title_justify="left")
    table.add_column("instances", justify="right")
    for name in found[0]["gaps"]:
        table.add_column(name, justify="right")
    for record in found:
        gaps = [gap if isinstance(gap, str) else f"{gap:.2g}" for gap in record["gaps"].values()]
        table.add_row(str(record["sizes"]["instances"]), *gaps)
    console.print(table)


CASES: Cases = {
    "shapley": shapley,
    "ads": ads,
    "sampled": sampled,
    "few": few,
}

main = partial(run_benchmark, "values_neighbours", __doc__, CASES, PEERS, also_show=show_few, cores=1)

if __name__ == "__main__":
    sys.exit(main())
