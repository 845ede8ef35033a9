"""Tokens a second of a small transformer: in training by DPO, and in sampling with the cache and without.

    python -m benchmarks.transformer [--case CASE ...] [--quick] [--out FOLDER]

Cases: a step of training against a forward pass over the same tokens; sampling with the cache against reading the
whole sequence anew at every token, beside a forward pass. About a million parameters, tokens are bytes. All sides
are ours; two cores for each; sides run in turn; compile time is told apart; samples are compared in the same run.
"""

import argparse
import sys
from functools import partial

import numpy as np

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, Pair, Side

JAXVAL = "transformer_jaxval"
SHAPE = {"vocabulary": 259, "length": 256, "width": 128, "layers": 5, "heads": 4, "key_value_heads": 2, "hidden": 344}
QUICK = {"vocabulary": 259, "length": 16, "width": 16, "layers": 2, "heads": 2}


def training(bench: Bench, options: argparse.Namespace) -> None:
    """Pairs whose prompts and responses fill half of the context each."""
    shape, rows = (QUICK, 2) if options.quick else (SHAPE, 16)
    half = shape["length"] // 2
    inputs = random_bytes(options.seed, rows, prompt=half, response=half)
    tokens = 2 * rows * shape["length"]
    bench.race(
        "training",
        {"pairs": rows, "length": shape["length"], "width": shape["width"], "layers": shape["layers"]},
        inputs,
        [
            Side("a step of DPO", OURS, JAXVAL, "train", {"shape": shape}, tokens),
            Side("a step, in batches", OURS, JAXVAL, "train", {"shape": shape, "batch_size": rows // 2}, tokens),
            Side("a forward pass", OURS, JAXVAL, "forward", {"shape": shape}, tokens),
        ],
        pairs=[Pair("a step of DPO", "a forward pass"), Pair("a step of DPO", "a step, in batches")],
        compare=same_steps,
    )


def sampling(bench: Bench, options: argparse.Namespace) -> None:
    """Prompts of a quarter of the context, continued to three quarters."""
    shape, rows = (QUICK, 2) if options.quick else (SHAPE, 16)
    quarter = shape["length"] // 4
    inputs = random_bytes(options.seed, rows, prompt=quarter, response=2 * quarter)
    drawn = rows * 2 * quarter
    task = {"shape": shape, "num_tokens": 2 * quarter}
    bench.race(
        "sampling",
        {"rows": rows, "prompt": quarter, "tokens": 2 * quarter, "width": shape["width"], "layers": shape["layers"]},
        inputs,
        [
            Side("with the cache", OURS, JAXVAL, "sample", {**task, "cache": True}, drawn),
            Side("without", OURS, JAXVAL, "sample", {**task, "cache": False}, drawn),
            Side("a forward pass", OURS, JAXVAL, "forward", {"shape": shape}, 2 * rows * 3 * quarter),
        ],
        pairs=[Pair("with the cache", "without")],
        compare=same_samples,
    )


def random_bytes(seed: int, rows: int, *, prompt: int, response: int) -> Answers:
    """A prompt and two responses a row."""
    rng = np.random.default_rng(seed)
    return {
        "prompts": rng.integers(0, 256, size=(rows, prompt)),
        "responses": rng.integers(0, 256, size=(rows, 2, response)),
    }


def same_samples(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    """Every token is the same."""
    return Agreement(float((ours["tokens"] != theirs["tokens"]).sum()), 0.0, "tokens that differ")


def same_steps(inputs: Answers, ours: Answers, theirs: Answers) -> Agreement:
    """The loss, from the log-probabilities of the forward pass; or the gradient, of the other step."""
    if "log_probs" in theirs:
        margin = 0.1 * (theirs["log_probs"][:, 0] - theirs["log_probs"][:, 1])
        return Agreement(abs(float(np.logaddexp(0, -margin).mean() - ours["loss"])), 1e-4, "in the loss")
    gap = np.abs(ours["slope"] - theirs["slope"]).max() / np.abs(theirs["slope"]).max()
    return Agreement(float(gap), 1e-3, "of the largest slope")


CASES: Cases = {"training": training, "sampling": sampling}

main = partial(run_benchmark, "transformer", __doc__, CASES, ())

if __name__ == "__main__":
    sys.exit(main())
