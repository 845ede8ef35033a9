"""Shapley values from sampled permutations: utility calls a second, against pyDVL and shap.

    python -m benchmarks.values_sampling [--quick] [--environment NAME=PATH ...] [--out FOLDER]

The game of 100 players has single and pairwise terms, so that the work is the sampler's as much as the utility's. Every
side counts the utilities that it computes, n - 1 to n + 1 for a permutation. One core for every side; sides run in
turn; compile time is told apart; every answer is compared with the known values.
"""

import argparse
import sys
from functools import partial

import numpy as np

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, Pair, Profile, Side
from benchmarks.machine import products
from benchmarks.peers import PYDVL, SHAP

PEERS = (PYDVL, SHAP)

JAXVAL = "values_sampling_jaxval"


def pairwise(bench: Bench, options: argparse.Namespace) -> None:
    """A random pairwise game; items are utility calls."""
    players = 10 if options.quick else 100
    rng = np.random.default_rng(options.seed)
    weights = rng.normal(size=players)
    upper = np.triu(rng.normal(size=(players, players)) / players, 1)
    many, some, few = (40, 20, 20) if options.quick else (5000, 500, 100)
    between = players - 1
    targets = (None, None, None) if options.quick else (40, 3, 0.75)
    product = products(operations=2 * players**2)
    sides = [
        product,
        Side("the utilities alone", OURS, JAXVAL, "utilities", {"permutations": many}, many * between),
        Side("all but the utilities", OURS, JAXVAL, "sampler", {"permutations": many}, many * between),
        Side("jaxval", OURS, JAXVAL, "pairwise", {"permutations": many}, many * between),
        Side("jaxval, plain", OURS, JAXVAL, "pairwise", {"permutations": many, "antithetic": False}, many * between),
        Side("jaxval, compiled whole", OURS, JAXVAL, "pairwise", {"permutations": many, "whole": True}, many * between),
        Side("jaxval, float64", OURS, JAXVAL, "pairwise", {"permutations": many}, many * between, x64=True),
        Side("pyDVL", PYDVL, "values_sampling_pydvl", "pairwise", {"permutations": few}, few * players),
        Side("shap", SHAP, "values_sampling_shap", "pairwise", {"permutations": some}, some * players + some // 2),
    ]
    bench.race(
        "permutations of a pairwise game",
        {"players": players},
        {"weights": weights, "interactions": upper + upper.T},
        sides,
        pairs=[
            Pair("jaxval", "pyDVL", targets[0]),
            Pair("jaxval", "shap", targets[1]),
            Pair("jaxval", product.name, targets[2]),
            Pair("jaxval, plain", "pyDVL"),
            Pair("jaxval, compiled whole", "shap"),
            Pair("jaxval, float64", "shap"),
        ],
        compare=near_the_known_values,
        profiles=[
            Profile(
                "jaxval",
                [product.name, "the utilities alone", "all but the utilities"],
                "A utility is one row of a product of matrices, and the sampler works on the same masks: it draws and "
                "writes them, counts distinct ones by codes, and takes marginals and statistics. Codes by products of "
                "whole numbers or of their halves in floating point took as long as the sums that are there.",
            )
        ],
    )


def near_the_known_values(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    """The largest distance from the known values, in standard errors, of either side; where there is none, in 1e-4."""
    known = inputs["weights"] + inputs["interactions"].sum(axis=1) / 2
    gaps = [np.abs(side["values"] - known) / np.maximum(side["standard_errors"], 1e-4) for side in (ours, theirs)]
    return Agreement(max(gap.max() for gap in gaps), 6, "standard errors")


CASES: Cases = {"pairwise": pairwise}

main = partial(run_benchmark, "values_sampling", __doc__, CASES, PEERS, cores=1)

if __name__ == "__main__":
    sys.exit(main())
