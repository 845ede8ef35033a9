"""Training and model arithmetic of coalitions, against NumPy and a loop of SciPy's optimiser.

    python -m benchmarks.training [--case CASE ...] [--quick] [--environment NAME=PATH ...] [--out FOLDER]

Cases: tabular DPO of 64 sources in one vmapped call, in float64; the expected rewards of all 65,536 coalitions of 16
sources; and, no race, the memory of the latter. Two cores for every side; sides run in turn; compile time is told
apart; answers are compared in the same run.
"""

import argparse
import sys
from functools import partial

import numpy as np
from rich.console import Console

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, FailedRunError, Pair, Profile, Side
from benchmarks.peers import NUMPY

PEERS = (NUMPY,)
JAXVAL, PLAIN = "training_jaxval", "training_numpy"


LIMIT_OF_NEWTON = (
    "A step takes slope and curvature of every pair, and LAPACK solves the small systems one after the other. All "
    "sources take the steps of the slowest, while SciPy's L-BFGS has both cores for its products."
)
LIMIT_OF_COMBINE = (
    "Every coalition has an exponential for each response; the rest of the time goes to the largest score, the sum and "
    "the division of each context, and the product with the rewards. Tried without gain: the division after the sums "
    "of a context, both sums in one reduction, sums as products with ones, contexts as the last axis, no largest score."
)


def fit(bench: Bench, options: argparse.Namespace) -> None:
    """Sources of strongly connected comparisons; each is fitted to its optimum."""
    sources, contexts, responses = (4, 2, 3) if options.quick else (64, 16, 8)
    bench.race(
        "tabular DPO, one policy for each source",
        {"sources": sources, "contexts": contexts, "responses": responses},
        {"wins": random_wins(np.random.default_rng(options.seed), sources, contexts, responses)},
        [
            Side("jaxval, Newton", OURS, JAXVAL, "fit", {"beta": 0.1}, sources, x64=True),
            Side("SciPy, L-BFGS", NUMPY, PLAIN, "fit", {"beta": 0.1, "method": "L-BFGS-B"}, sources),
            Side("SciPy, trust region Newton", NUMPY, PLAIN, "fit", {"beta": 0.1, "method": "trust-exact"}, sources),
            Side("the linear systems", OURS, JAXVAL, "systems", {"beta": 0.1}, sources, x64=True),
        ],
        profiles=[Profile("jaxval, Newton", ["the linear systems"], LIMIT_OF_NEWTON)],
        pairs=[
            Pair("jaxval, Newton", "SciPy, L-BFGS", None if options.quick else 20),
            Pair("jaxval, Newton", "SciPy, trust region Newton"),
        ],
        compare=same_policies,
    )


def random_wins(rng: np.random.Generator, sources: int, contexts: int, responses: int) -> np.ndarray:
    """Counts of wins, at least one each way round a cycle through all responses."""
    wins = rng.poisson(2.0, size=(sources, contexts, responses, responses)).astype(float)
    cycle = np.roll(np.eye(responses), 1, axis=1)
    wins = np.maximum(wins, cycle)
    return wins * (1 - np.eye(responses))


def combine(bench: Bench, options: argparse.Namespace) -> None:
    """Model arithmetic at the level of responses, and the reward of what it makes."""
    sources, contexts, responses = (4, 8, 4) if options.quick else (16, 128, 32)
    inputs = policies_and_rewards(options.seed, sources, contexts, responses)
    bench.race(
        "expected rewards of all coalitions",
        {"coalitions": 2**sources, "contexts": contexts, "responses": responses},
        inputs,
        [
            Side("jaxval, float32", OURS, JAXVAL, "combine", {}, 2**sources),
            Side("NumPy, float32", NUMPY, PLAIN, "combine", {}, 2**sources),
            Side("the product alone", OURS, JAXVAL, "scores", {}, 2**sources),
            Side("product and exponentials", OURS, JAXVAL, "scores", {"exponentials": True}, 2**sources),
        ],
        profiles=[Profile("jaxval, float32", ["the product alone", "product and exponentials"], LIMIT_OF_COMBINE)],
        pairs=[Pair("jaxval, float32", "NumPy, float32", None if options.quick else 6)],
        compare=same_utilities,
        seconds={} if options.quick else {"jaxval, float32": 10},
    )


def memory(bench: Bench, options: argparse.Namespace) -> None:
    """Peak memory of a fresh process that tabulates them."""
    sources, contexts, responses = (4, 8, 4) if options.quick else (16, 128, 32)
    bench.tell("memory of model arithmetic")
    side = Side("jaxval", OURS, JAXVAL, "memory")
    try:
        answers = bench.once(side, policies_and_rewards(options.seed, sources, contexts, responses))
    except FailedRunError as error:
        bench.add({"case": "memory", "sizes": {"sources": sources}, "missing": str(error)})
        return
    bench.add({"case": "memory", "sizes": {"coalitions": 2**sources}, "gigabytes": float(answers["gigabytes"])})


def policies_and_rewards(seed: int, sources: int, contexts: int, responses: int) -> Answers:
    rng = np.random.default_rng(seed)
    scores = {
        "reference": rng.normal(size=(contexts, responses)),
        "sources": rng.normal(size=(sources, contexts, responses)),
    }
    return {name: value.astype(np.float32) for name, value in scores.items()} | {
        "rewards": rng.normal(size=(contexts, responses)).astype(np.float32)
    }


def show_memory(records: list[dict], console: Console) -> None:
    for record in records:
        if "gigabytes" in record:
            console.print(f"memory, {record['sizes']}: {record['gigabytes']:.2f} GB; wanted at most 1.5", markup=False)


def same_policies(_: Answers, ours: Answers, theirs: Answers) -> Agreement:
    return Agreement(np.abs(ours["log_probs"] - theirs["log_probs"]).max(), 1e-3, "in log π")


def same_utilities(_: Answers, ours: Answers, theirs: Answers) -> Agreement:
    return Agreement(np.abs(ours["utilities"] - theirs["utilities"]).max(), 1e-4, "in expected reward")


CASES: Cases = {"memory": memory, "fit": fit, "combine": combine}

main = partial(run_benchmark, "training", __doc__, CASES, PEERS, also_show=show_memory)

if __name__ == "__main__":
    sys.exit(main())
