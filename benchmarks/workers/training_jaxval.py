"""The tasks of `benchmarks.training` by jaxval."""

import resource
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxval
from jaxval import coalitions, policies, training
from jaxval.types import Comparisons, Policy

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]


def fit(inputs: dict[str, np.ndarray], *, beta: float) -> Run:
    policy, reference, stacked = _problem(inputs["wins"])
    _, contexts, responses, _ = inputs["wins"].shape
    everywhere = np.arange(contexts), np.tile(np.arange(responses), (contexts, 1))

    @jax.jit
    @jax.vmap
    def train(source: Comparisons) -> jax.Array:
        return policy.log_probs(training.newton_optimum(policy, reference, source, beta=beta)[0], *everywhere)

    return lambda: {"log_probs": np.asarray(train(stacked))}


def systems(inputs: dict[str, np.ndarray], *, beta: float) -> Run:
    """The linear systems of `fit` alone, one of each context and source in every step."""
    policy, reference, stacked = _problem(inputs["wins"])
    train = jax.jit(jax.vmap(lambda source: training.newton_optimum(policy, reference, source, beta=beta)[1].steps))
    steps = int(train(stacked).max())  # all wait for the slowest
    counts = jnp.asarray(inputs["wins"])
    matrices = counts + counts.swapaxes(-1, -2) + 2 * jnp.sum(counts) * jnp.eye(counts.shape[-1])

    @jax.jit
    def solve_all(matrices: jax.Array) -> jax.Array:
        def step(_: Any, x: jax.Array) -> jax.Array:
            return jnp.linalg.solve(matrices + 1e-9 * x, 1 + x)  # a new system in every step

        return jax.lax.fori_loop(0, steps, step, jnp.ones((*matrices.shape[:-1], 1)))

    return lambda: {"solutions": np.asarray(solve_all(matrices))}


def _problem(wins: np.ndarray) -> tuple[Policy, jax.Array, Comparisons]:
    """The policy, its reference, and the comparisons of all sources."""
    sources, contexts, responses, _ = wins.shape
    policy = policies.tabular(contexts, responses)
    ids = np.stack(np.meshgrid(*map(np.arange, wins.shape[1:]), indexing="ij"), axis=-1).reshape(-1, 3)
    ids = ids[ids[:, 1] != ids[:, 2]]
    stacked = Comparisons(
        *(np.broadcast_to(column, (sources, len(ids))) for column in ids.T), wins[:, ids[:, 0], ids[:, 1], ids[:, 2]]
    )
    return policy, policy.init(jax.random.key(0)), stacked


def combine(inputs: dict[str, np.ndarray]) -> Run:
    players = len(inputs["sources"])
    utility = coalitions.reward_utility(inputs["reference"], inputs["sources"], inputs["rewards"])
    return lambda: {"utilities": np.asarray(coalitions.tabulate(utility, players))}


def scores(inputs: dict[str, np.ndarray], *, exponentials: bool = False) -> Run:
    """Of `combine`, the product of masks and steps alone, or its exponentials too; their sum stands for the rest."""
    reference, steps = jnp.asarray(inputs["reference"]), jnp.asarray(inputs["sources"] - inputs["reference"])

    def utility(coalition: jax.Array) -> jax.Array:
        total = reference + jnp.tensordot(coalition.astype(steps.dtype), steps, 1)
        return jnp.sum(jnp.exp(total) if exponentials else total)

    return lambda: {"utilities": np.asarray(coalitions.tabulate(utility, len(steps)))}


def memory(inputs: dict[str, np.ndarray]) -> Run:
    def run() -> dict[str, np.ndarray]:
        combine(inputs)()
        return {"gigabytes": np.array(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)}

    return run


TASKS = {"fit": fit, "systems": systems, "combine": combine, "scores": scores, "memory": memory}
