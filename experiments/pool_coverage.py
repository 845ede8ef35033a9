"""Pools of samples against an exact answer: convergence, coverage of intervals, effective sizes, and wrong pools.

    python -m experiments.pool_coverage [--part PART ...] [--pools N] [--out FOLDER] [--json]

A model of 4 tokens and 5 positions has 364 responses, so the policy of every coalition of 3 sources is known exactly.

convergence   the error of utilities against the number of draws, whose slope should be -1/2
coverage      how often 95 % intervals hold the exact utilities and values, at large, middle and small effective sizes
effective     effective sample sizes against their limits
wrong         how often pools that are right, or wrong in one way, are refused, by the size of the pool

Written to `--out`: `results.json`. Parts that are finished are kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.commands import documented_parser, guarded, positive
from experiments.results import open_results, save_results
from jaxval import coalitions, values
from jaxval.coalitions.pool_errors import pool_estimates
from jaxval.coalitions.pools import weigh_pool

__all__ = [
    "Model",
    "Pool",
    "draw_model",
    "draw_pool",
    "exact_utilities",
    "limit_sizes",
    "main",
    "response_log_probs",
    "responses",
]

TOKENS, POSITIONS, END = 4, 5, 3
SOURCES = 3
MASKS = np.array(list(itertools.product([False, True], repeat=SOURCES)))[:, ::-1]  # bit i of a row's index is source i
NORMAL = 1.959964
KINDS = ("right", "temperature", "scored shorter", "drawn shorter", "shuffled", "exchanged")
SIZES = ((4, 24), (16, 32), (64, 64), (128, 128))  # prompts, draws of each
REGIMES = {  # spread of the steps in a token's logits, and draws of each prompt
    "every size above 100": (0.4, 1024),
    "from the floor to 100": (0.8, 128),
    "around the floor": (1.0, 48),
    "below the floor": (1.5, 24),
}


class Model(NamedTuple):
    """Policies whose responses can be listed.

    Attributes:
        logits: (policies, prompts, last token, next token).
        scores: (policies, prompts, responses) log π(y|x).
    """

    logits: np.ndarray
    scores: np.ndarray

    def of(self, prompts: np.ndarray) -> Model:
        """The model with some of the prompts."""
        return Model(self.logits[:, prompts], self.scores[:, prompts])


class Pool(NamedTuple):
    """A drawn pool.

    Attributes:
        log_probs: (policies, prompts, samples).
        responses: (prompts, samples) the index of each drawn response.
        labels: (prompts, samples) the policy that it was drawn from.
    """

    log_probs: np.ndarray
    responses: np.ndarray
    labels: np.ndarray


def responses(positions: int = POSITIONS) -> list[tuple[int, ...]]:
    """All responses: they end with the end token, or without it at the last position."""
    ended = [(*words, END) for k in range(positions) for words in itertools.product(range(END), repeat=k)]
    return ended + list(itertools.product(range(END), repeat=positions))


def draw_model(rng: np.random.Generator, prompts: int, *, step: float) -> Model:
    """Random policies; the logits of sources are the reference's plus a step of that spread."""
    logits = rng.normal(size=(SOURCES + 1, prompts, TOKENS, TOKENS))
    logits[1:] = logits[0] + step * logits[1:]
    return Model(logits, response_log_probs(logits, responses()))


def response_log_probs(logits: np.ndarray, which: Any, *, temperature: float = 1.0) -> np.ndarray:
    """(policies, prompts, responses) sums of the tokens' log-probabilities."""
    scaled = logits / temperature
    log_probs = scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))
    total = np.zeros((*logits.shape[:-2], len(which)))
    for k, response in enumerate(which):
        for last, token in itertools.pairwise((END, *response)):  # a response begins as after an end
            total[..., k] += log_probs[..., last, token]
    return total


def draw_pool(
    rng: np.random.Generator, model: Model, samples: int, *, kind: str = "right", stratified: bool = True
) -> Pool:
    """A pool drawn from the mixture of the policies in equal shares, right or wrong in one way.

    Args:
        rng: a generator.
        model: the policies.
        samples: the number of draws of each prompt.
        kind: one of `KINDS`. "scored shorter" and "drawn shorter" cut policy 1 after 3 tokens.
        stratified: whether each policy gives the same number of draws; otherwise labels are random.
    """
    logits, scores = model
    policies, prompts = logits.shape[:2]
    every = responses()
    source = response_log_probs(logits, every, temperature=0.7) if kind == "temperature" else scores
    labels = np.tile(np.arange(samples) * policies // samples, (prompts, 1))
    if not stratified:
        labels = rng.integers(policies, size=(prompts, samples))
    heights = np.cumsum(np.exp(source), axis=2)
    heights = heights[labels, np.arange(prompts)[:, None]]
    drawn = (rng.random((prompts, samples, 1)) * heights[..., -1:] > heights).sum(axis=2)
    log_probs = np.take_along_axis(scores, np.broadcast_to(drawn[None], (policies, *drawn.shape)), axis=2)
    if kind == "scored shorter":
        shorter = response_log_probs(logits[1], [response[:3] for response in every])
        log_probs[1] = np.take_along_axis(shorter, drawn, axis=1)
    if kind == "drawn shorter":  # a response that is cut has the log-probabilities of its beginning, for all policies
        shorter = response_log_probs(logits, [response[:3] for response in every])
        cut = np.take_along_axis(shorter, np.broadcast_to(drawn[None], log_probs.shape), axis=2)
        log_probs = np.where(labels == 1, cut, log_probs)
    if kind == "shuffled":
        log_probs[1] = rng.permuted(log_probs[1].ravel()).reshape(log_probs[1].shape)
    if kind == "exchanged":
        log_probs[[1, 2]] = log_probs[[2, 1]]
    return Pool(log_probs, drawn, labels)


def exact_policies(scores: np.ndarray, masks: np.ndarray = MASKS) -> np.ndarray:
    """(coalitions, prompts, responses) π_S ∝ π_0 Π (π_ℓ / π_0), from (policies, prompts, responses) log π."""
    total = scores[0] + np.einsum("sl,lxy->sxy", masks.astype(float), scores[1:] - scores[0])
    chances = np.exp(total - total.max(axis=2, keepdims=True))
    return chances / chances.sum(axis=2, keepdims=True)


def exact_utilities(scores: np.ndarray, rewards: np.ndarray, masks: np.ndarray = MASKS) -> np.ndarray:
    """(coalitions, prompts) u_S(x)."""
    return (exact_policies(scores, masks) * rewards).sum(axis=2)


def limit_sizes(scores: np.ndarray, masks: np.ndarray = MASKS) -> np.ndarray:
    """(coalitions, prompts) what the effective size of a draw tends to: (E_q w)² / E_q w² = 1 / Σ_y π_S² / q."""
    return 1 / (exact_policies(scores, masks) ** 2 / np.exp(scores).mean(axis=0)).sum(axis=2)


def convergence(pools: int) -> dict[str, Any]:
    """The root mean square error of utilities by the number of draws, and its slope in logarithms."""
    rng = np.random.default_rng(0)
    model = draw_model(rng, 8, step=0.6)
    rewards = rng.normal(size=model.scores.shape[1:])
    exact = exact_utilities(model.scores, rewards).mean(axis=1)
    draws = [64, 256, 1024, 4096]
    errors = []
    for samples in draws:
        squares = []
        for _ in range(max(pools // 20, 5)):
            pool = draw_pool(rng, model, samples, stratified=False)
            reward = np.take_along_axis(rewards, pool.responses, axis=1)
            found = coalitions.tabulate(coalitions.pool_utility(pool.log_probs, reward), SOURCES)
            squares.append((np.asarray(found) - exact) ** 2)
        errors.append(np.sqrt(np.mean(squares, axis=0)))
    slopes = np.polyfit(np.log(draws), np.log(errors), 1)[0]
    return {"draws": draws, "root mean squares": np.mean(errors, axis=1).tolist(), "slopes": slopes.tolist()}


def _coverage(pools: int, step: float, samples: int, *, prompts: int = 8, population: int = 512) -> dict[str, Any]:
    """How often intervals within prompts hold the truth for 8 prompts, and intervals over prompts that of 512."""
    rng = np.random.default_rng(1)
    model = draw_model(rng, population, step=step)
    rewards = rng.normal(size=model.scores.shape[1:])
    weights = np.asarray(jax.jacrev(values.shapley)(jnp.zeros(2**SOURCES)))
    exact = exact_utilities(model.scores, rewards)
    fixed = np.arange(prompts)
    held: dict[str, list[np.ndarray]] = {name: [] for name in ("utilities", "values", "values over prompts")}
    smallest, medians = [], []
    for _ in range(pools):
        for name, chosen in (("fixed", fixed), ("random", rng.integers(population, size=2 * prompts))):
            pool = draw_pool(rng, model.of(chosen), samples, stratified=False)
            reward = np.take_along_axis(rewards[chosen], pool.responses, axis=1)
            found = pool_estimates(weigh_pool(pool.log_probs, reward, None), MASKS, weights)
            phi = found.values.mean(axis=0)[:, 0]
            if name == "fixed":
                truth = exact[:, fixed].mean(axis=1)
                held["utilities"].append(_inside(found.utilities[:, 0], truth, NORMAL * found.utility_errors[1, :, 0]))
                held["values"].append(_inside(phi, weights @ truth, NORMAL * found.within_errors[:, 0]))
                medians.append(found.median_sizes)
                if len(smallest) < 100:
                    sizes = coalitions.pool_diagnostics(pool.log_probs, MASKS, refuse=False).effective_sizes
                    smallest.append(np.asarray(sizes).min())
            else:
                error = found.values[:, :, 0].std(axis=0, ddof=1) / np.sqrt(len(chosen))
                truth = weights @ exact.mean(axis=1)
                held["values over prompts"].append(_inside(phi, truth, 2.1314 * error))  # Student's t, 15 degrees
    found_sizes = np.median(medians, axis=0)
    result: dict[str, Any] = {
        "step": step,
        "draws": samples,
        "median sizes of coalitions": [float(found_sizes.min()), float(found_sizes.max())],
        "smallest size in 100 pools": float(np.min(smallest)),
    }
    for name, parts in held.items():
        shares = np.mean(parts, axis=0)
        result[name] = {"least": shares.min(), "mean": shares.mean(), "most": shares.max()}
    return result


def _inside(found: np.ndarray, truth: np.ndarray, reach: np.ndarray) -> np.ndarray:
    return np.abs(found - truth) <= reach


def effective(pools: int) -> dict[str, Any]:
    """The effective size of a draw in a large pool against its limit."""
    rng = np.random.default_rng(2)
    model = draw_model(rng, 4, step=0.8)
    limits = limit_sizes(model.scores)
    pool = draw_pool(rng, model, 100_000, stratified=False)
    found = np.asarray(coalitions.pool_diagnostics(pool.log_probs, MASKS).effective_sizes) / 100_000
    return {
        "least and largest limit of a draw": [float(limits.min()), float(limits.max())],
        "largest relative difference at 100,000 draws": float(np.abs(found / limits - 1).max()),
    }


def wrong(pools: int, *, prompts: int, samples: int) -> list[dict[str, Any]]:
    """How often pools of one size are refused; models are drawn anew."""
    rows = []
    for step, kind in itertools.product((0.5, 1.0), KINDS):
        rng = np.random.default_rng(3)
        count = max(pools // 4, 10) if kind == "right" else max(pools // 40, 10)
        if prompts * samples > 10_000:
            count = max(count // 5, 5)
        refused = np.zeros(2)
        for _ in range(count):
            pool = draw_pool(rng, draw_model(rng, prompts, step=step), samples, kind=kind)
            for with_labels in (0, 1):
                labels = pool.labels if with_labels else None
                refused[with_labels] += bool(
                    coalitions.pool_diagnostics(pool.log_probs, MASKS[:1], drawn_from=labels, refuse=False).faults
                )
        rows.append(
            {"kind": kind, "step": step, "prompts": prompts, "draws": samples, "pools": count}
            | {"refused without labels": refused[0] / count, "refused with labels": refused[1] / count}
        )
    return rows


PARTS: dict[str, Callable[[int], Any]] = {
    "convergence": convergence,
    **{
        f"coverage, {name}": partial(_coverage, step=step, samples=samples) for name, (step, samples) in REGIMES.items()
    },
    "effective": effective,
    **{f"wrong, {prompts} x {samples}": partial(wrong, prompts=prompts, samples=samples) for prompts, samples in SIZES},
}


KINDS_OF_PARTS = tuple(dict.fromkeys(name.split(",")[0] for name in PARTS))


def main(arguments: list[str] | None = None) -> int:
    """Run the experiment and return the exit status: 0, 2 for input that is wrong, 130 if interrupted."""
    parser = documented_parser("experiments.pool_coverage", __doc__)
    add = parser.add_argument
    add("--part", action="append", choices=KINDS_OF_PARTS, help="may be repeated (default: all)")
    add("--pools", type=positive, default=2000, metavar="N", help="for each coverage (default: %(default)s)")
    add("--out", type=Path, default=Path("results/pool_coverage"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    options = parser.parse_args(arguments)
    return guarded(run, options, kept="parts that were finished are kept", without_data="it needs none")


def run(options: argparse.Namespace, notes: Console) -> None:
    """Run the parts that are missing, and print all."""
    results, note = open_results(options.out, "pool_coverage", {"pools": options.pools})
    if note:
        notes.print(note)
    names = [name for name in PARTS if name.split(",")[0] in (options.part or KINDS_OF_PARTS)]
    for name in names:
        if name not in results["runs"]:
            results["runs"][name] = json.loads(json.dumps(PARTS[name](options.pools), default=float))
            save_results(options.out, results)
    shown = {name: results["runs"][name] for name in names}
    if options.json:
        print(json.dumps(shown, indent=1, ensure_ascii=False))
        return
    console = Console(highlight=False, soft_wrap=True)
    for name, part in shown.items():
        console.print(name)
        for row in part if isinstance(part, list) else part.items():
            console.print("  " + (_row(row) if isinstance(row, dict) else f"{row[0]}: {_text(row[1])}"))


def _row(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in row.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return _row(value)
    if isinstance(value, list):
        return " to ".join(map(_text, value)) if len(value) == 2 else ", ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
