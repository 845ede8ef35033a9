"""The tasks of `benchmarks.values_sampling` by jaxval."""

from collections.abc import Callable

import jax
import numpy as np

import jaxval
from jaxval import values
from jaxval.coalitions import games

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]


def pairwise(inputs: dict[str, np.ndarray], *, permutations: int, antithetic: bool = True, whole: bool = False) -> Run:
    """Asked, told and estimated; or `sample_shapley` compiled whole, the count of distinct coalitions with it."""
    game = games.pairwise(inputs["weights"], inputs["interactions"])
    options = {"permutations": permutations, "antithetic": antithetic}
    keys = iter(range(1 << 30))
    if whole:
        sample = jax.jit(lambda key: values.sample_shapley(key, game.utility, game.players, **options))
        return lambda: answers(sample(jax.random.key(next(keys))))
    estimator = values.permutation_estimator(game.players, per_ask=20, **options)

    def step(_, state):
        coalitions = estimator.ask(state)
        return estimator.tell(state, coalitions, jax.vmap(game.utility)(coalitions))

    draw = jax.jit(lambda key: jax.lax.fori_loop(0, estimator.asks, step, estimator.init(key)))
    return lambda: answers(estimator.estimate(draw(jax.random.key(next(keys)))))


def utilities(inputs: dict[str, np.ndarray], *, permutations: int) -> Run:
    """The utilities of as many coalitions as `pairwise` asks for, and nothing else."""
    game = games.pairwise(inputs["weights"], inputs["interactions"])
    estimator = values.permutation_estimator(game.players, per_ask=20, permutations=permutations)
    coalitions = estimator.ask(estimator.init(jax.random.key(0)))
    many = jax.jit(jax.vmap(game.utility))

    def run() -> dict[str, np.ndarray]:
        for _ in range(estimator.asks):
            found = many(coalitions)
        jax.block_until_ready(found)
        return {}

    return run


def sampler(inputs: dict[str, np.ndarray], *, permutations: int) -> Run:
    """All that `pairwise` does but for the utilities: orders, masks, marginals, statistics, codes of coalitions."""
    players = len(inputs["weights"])
    estimator = values.permutation_estimator(players, per_ask=20, permutations=permutations)

    def step(_, state):
        coalitions = estimator.ask(state)
        return estimator.tell(state, coalitions, coalitions[:, 0].astype(float))

    draw = jax.jit(lambda key: jax.lax.fori_loop(0, estimator.asks, step, estimator.init(key)))

    def run() -> dict[str, np.ndarray]:
        jax.block_until_ready(draw(jax.random.key(0)).drawn)
        return {}

    return run


def answers(estimate) -> dict[str, np.ndarray]:
    return {
        "values": np.asarray(estimate.values),
        "standard_errors": np.asarray(estimate.standard_errors),
        "evaluations": np.asarray(estimate.evaluations),
    }


TASKS = {"pairwise": pairwise, "utilities": utilities, "sampler": sampler}
