"""One forward pass of every loss over many pairs, against vectorised NumPy and against one log-sigmoid.

    python -m benchmarks.alignment [--case CASE ...] [--quick] [--environment NAME=PATH ...] [--out FOLDER]

Cases: a race with NumPy, all losses together; and how many passes of a log-sigmoid over as many numbers, the least that
a loss must do, each loss costs. Every side runs compiled and on arrays that are there; compile time is told apart.
"""

import argparse
import sys
from functools import partial

import numpy as np

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, Pair, Side
from benchmarks.peers import NUMPY

PEERS = (NUMPY,)

JAXVAL = "alignment_jaxval"
LOSSES = (
    "dpo",
    "robust_dpo",
    "hinge",
    "ipo",
    "length_normalised_dpo",
    "exo",
    "discopop",
    "nca",
    "bco",
    "sppo",
    "apo_zero",
    "apo_down",
    "mallows_theta",
    "mallows_phi",
    "mallows_phi_limit",
)
CALLS = 5  # in one run


def race(bench: Bench, options: argparse.Namespace) -> None:
    """The sum over pairs of every loss, one after the other."""
    sizes = [1000] if options.quick else [10**5, 10**6]
    for pairs in sizes:
        bench.race(
            "all losses, forward",
            {"pairs": pairs, "losses": len(LOSSES)},
            log_probs(pairs, options.seed),
            [
                Side("jaxval, float32", OURS, JAXVAL, "losses", {"names": LOSSES}),
                Side("jaxval, float64", OURS, JAXVAL, "losses", {"names": LOSSES}, x64=True),
                Side("vectorised NumPy, float64", NUMPY, "alignment_numpy", "losses", {"names": LOSSES}),
            ],
            pairs=[
                Pair("jaxval, float32", "vectorised NumPy, float64"),
                Pair("jaxval, float64", "vectorised NumPy, float64"),
            ],
            compare=same_sums,
        )


def passes(bench: Bench, options: argparse.Namespace) -> None:
    """How many log-sigmoids a loss costs."""
    pairs = 1000 if options.quick else 10**6
    yardstick = "one log-sigmoid"
    sides = [Side(yardstick, OURS, JAXVAL, "log_sigmoid", {"calls": CALLS}, CALLS)]
    sides += [Side(name, OURS, JAXVAL, "losses", {"names": [name], "calls": CALLS}, CALLS) for name in LOSSES]
    bench.race(
        "passes of a log-sigmoid, float32",
        {"pairs": pairs},
        log_probs(pairs, options.seed),
        sides,
        pairs=[Pair(name, yardstick) for name in LOSSES],
    )


def log_probs(pairs: int, seed: int) -> Answers:
    """Log-probabilities of responses of a few hundred tokens, and a policy near its reference."""
    rng = np.random.default_rng(seed)
    reference = -rng.uniform(50, 500, size=(2, pairs))
    lengths = rng.integers(20, 400, size=(2, pairs)).astype(float)
    policy = reference + rng.normal(scale=10, size=(2, pairs))
    return {
        "log_probs": np.concatenate([policy, reference]),
        "lengths": lengths,
        "dispersion": rng.uniform(0.2, 0.98, size=pairs),
    }


def same_sums(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    """Means over pairs; log-probabilities in the hundreds leave float32 three or four digits after the point."""
    gap = np.abs(ours["means"] - theirs["means"]) / (1 + np.abs(theirs["means"]))
    return Agreement(gap.max(), 1e-4, "of a mean loss, relative")


CASES: Cases = {"race": race, "passes": passes}

main = partial(run_benchmark, "alignment", __doc__, CASES, PEERS)

if __name__ == "__main__":
    sys.exit(main())
