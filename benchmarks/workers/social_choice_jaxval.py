"""The tasks of `benchmarks.social_choice` by jaxval; whether in float32 or float64, `JAX_ENABLE_X64` says."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxval
from benchmarks.workers.social_choice_numpy import random_matrix
from jaxval import axioms, preferences, social_choice
from jaxval.types import Comparisons

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]

BATCH = 250  # lotteries: every game waits for the slowest of its batch, and a small batch stays in the cache


def maximal_lottery(inputs: dict[str, np.ndarray]) -> Run:
    solve = jax.jit(partial(jax.lax.map, social_choice.maximal_lottery, batch_size=BATCH))
    return lambda: {"lotteries": np.asarray(solve(inputs["matrices"]))}


def path_systems(inputs: dict[str, np.ndarray]) -> Run:
    """The linear systems of `maximal_lottery` alone: one factorisation and two solutions for each step of a batch."""
    diagnostics = jax.jit(partial(jax.lax.map, social_choice.maximal_lottery_solve, batch_size=BATCH))
    steps = diagnostics(inputs["matrices"])[1].steps
    most = jnp.max(jnp.pad(steps, (0, -len(steps) % BATCH)).reshape(-1, BATCH), axis=1)
    each = jnp.repeat(most, BATCH)[: len(steps)]  # a game waits for the slowest of its batch

    def solve_all(given: tuple[jax.Array, jax.Array]) -> jax.Array:
        matrix, steps = given
        system = jnp.eye(len(matrix)) + matrix - matrix.T

        def step(_: Any, x: jax.Array) -> jax.Array:
            factors = jax.scipy.linalg.lu_factor(system + 1e-9 * x[:, None])  # a new system in every step
            return jax.scipy.linalg.lu_solve(factors, 1 + jax.scipy.linalg.lu_solve(factors, x))

        return jax.lax.fori_loop(0, steps, step, jnp.ones(len(matrix)))

    run = jax.jit(partial(jax.lax.map, solve_all, batch_size=BATCH))
    matrices = jnp.asarray(inputs["matrices"])
    return lambda: {"solutions": np.asarray(run((matrices, each)))}


def share_bounds(inputs: dict[str, np.ndarray], *, alternatives: int) -> Run:
    matrix = random_matrix(int(inputs["seed"]), alternatives)
    return lambda: {"u": np.asarray(social_choice.share_bounds(matrix))}


def preference_matrix(inputs: dict[str, np.ndarray], *, core: bool = False) -> Run:
    """As a user calls it, with a NumPy array and the check at the door; or compiled, on an array that is there."""
    if not core:
        return lambda: {"matrix": np.asarray(preferences.preference_matrix(inputs["orders"]))}
    compiled, orders = jax.jit(preferences.preference_matrix), jnp.asarray(inputs["orders"])
    return lambda: {"matrix": np.asarray(compiled(orders))}


def bradley_terry(inputs: dict[str, np.ndarray], *, alternatives: int) -> Run:
    """From comparisons: counted, then solved."""
    winner, loser = inputs["winner"], inputs["loser"]
    comparisons = Comparisons(np.zeros_like(winner), winner, loser, np.ones(len(winner)))

    def run() -> dict[str, np.ndarray]:
        wins = preferences.count_wins(comparisons, alternatives=alternatives)
        return {"rewards": np.asarray(preferences.bradley_terry(wins))}

    return run


def mallows(inputs: dict[str, np.ndarray], *, num: int, dispersion: float) -> Run:
    keys = iter(range(1 << 30))

    def run() -> dict[str, np.ndarray]:
        key = jax.random.key(next(keys))
        return {"orders": np.asarray(preferences.sample_mallows(key, inputs["center"], dispersion=dispersion, num=num))}

    return run


def instant_runoff(orders: jax.Array, weights: jax.Array) -> jax.Array:
    """All with the fewest first choices among those left go, until those left are level; they share the lottery."""
    alternatives = jnp.arange(orders.shape[1])

    def eliminate(_: Any, left: jax.Array) -> jax.Array:
        first = jnp.take_along_axis(orders, jnp.argmax(left[orders], axis=1)[:, None], axis=1)
        votes = jnp.sum(jnp.where(first == alternatives[None, :], weights[:, None], 0), axis=0)
        fewest = jnp.min(jnp.where(left, votes, jnp.inf))
        stays = left & (votes > fewest + 1e-6)
        return jnp.where(jnp.any(stays), stays, left)

    left = jax.lax.fori_loop(0, len(alternatives), eliminate, jnp.ones(len(alternatives), dtype=bool))
    return left / jnp.sum(left)


RULES: dict[str, Callable[..., jax.Array]] = {
    "proportional": partial(social_choice.proportional, beta=1.0),
    "minimax": social_choice.minimax,
    "instant_runoff": instant_runoff,
}


def monotonicity(inputs: dict[str, np.ndarray], *, rule: str, moving: str) -> Run:
    def violated(orders: jax.Array) -> jax.Array:
        gap, _ = axioms.monotonicity(RULES[rule], orders, moving=moving)
        return axioms.violated(gap)

    check = jax.jit(partial(jax.lax.map, violated, batch_size=1000))  # matrices of all at once would leave the cache
    return lambda: {"violated": np.asarray(check(inputs["profiles"]))}


def movielens(inputs: dict[str, np.ndarray], *, arguments: list[str]) -> Run:
    """The whole experiment in a fresh process."""

    def run() -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "experiments.movielens", "--out", folder, *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
            )
        if done.returncode == 2:
            raise FileNotFoundError(done.stderr.strip())
        if done.returncode:
            raise RuntimeError(f"the experiment ended with {done.returncode}: {done.stderr.strip()[-400:]}")
        return {}

    return run


def coverage(inputs: dict[str, np.ndarray], *, compared: int, samples: int, level: float, way: str) -> Run:
    """How often intervals for u and F* hold the truth, by alternative, over many draws of all comparisons from P."""
    matrix, wins = jnp.asarray(inputs["matrix"], dtype=float), inputs[f"wins_{compared}"].astype(float)
    truth = np.asarray(_statistics(matrix))

    def run() -> dict[str, np.ndarray]:
        if way == "bootstrap_intervals":
            low, high = _library_intervals(wins, samples, level)
        else:
            low, high = _percentile_intervals(wins, samples, level, added={"half counts": 0.5, "plain": 0.0}[way])
        slack = 1e-6  # an end may round to either side of the truth
        return {
            "covers": np.mean((low <= truth + slack) & (truth - slack <= high), axis=0),
            "width": np.mean(high - low, axis=0),
        }

    return run


@jax.jit
def _statistics(matrix: jax.Array) -> jax.Array:
    return jnp.stack([social_choice.share_bounds(matrix), social_choice.proportional(matrix)])


def _library_intervals(wins: np.ndarray, samples: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    def intervals(one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        found = social_choice.bootstrap_intervals(*one, _statistics, samples=samples, level=level)
        return found.low, found.high

    keys = jax.random.split(jax.random.key(0), len(wins))
    low, high = jax.jit(partial(jax.lax.map, intervals))((keys, jnp.asarray(wins)))
    return np.asarray(low), np.asarray(high)


def _percentile_intervals(
    wins: np.ndarray, samples: int, level: float, *, added: float
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles alone; each pair is resampled with the share that was seen, so many wins added each way."""
    rng = np.random.default_rng(0)
    i, j = np.triu_indices(wins.shape[-1], k=1)
    batch = jax.jit(jax.vmap(_statistics))
    ends = []
    for counts in wins:
        compared = counts[i, j] + counts[j, i]
        chance = (counts[i, j] + added) / (compared + 2 * added)
        share = rng.binomial(compared.astype(int), chance, size=(samples, len(i))) / compared
        matrices = np.full((samples, *counts.shape), 0.5)
        matrices[:, i, j], matrices[:, j, i] = share, 1 - share
        tails = [(1 - level) / 2, (1 + level) / 2]
        ends.append(np.quantile(np.asarray(batch(matrices)), tails, axis=0, method="nearest"))
    return tuple(np.stack(ends, axis=1))


TASKS = {
    "maximal_lottery": maximal_lottery,
    "path_systems": path_systems,
    "share_bounds": share_bounds,
    "preference_matrix": preference_matrix,
    "bradley_terry": bradley_terry,
    "mallows": mallows,
    "monotonicity": monotonicity,
    "movielens": movielens,
    "coverage": coverage,
}
