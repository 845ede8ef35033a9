"""The tasks of `benchmarks.values_regressed` by jaxval."""

from collections.abc import Callable

import jax
import numpy as np

import jaxval
from jaxval import values

PACKAGES = ("jax", "jaxlib", "numpy", "scipy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"


def estimates(inputs: dict[str, np.ndarray], *, evaluations: int, method: str) -> Callable[[], dict[str, np.ndarray]]:
    """One estimate for each game; a game's number is its seed."""
    tables = inputs["tables"]
    players = int(np.log2(tables.shape[1]))
    bits = 1 << np.arange(players)
    estimator = values.regression_estimator(players, evaluations=evaluations, method=method)

    def one(seed: int) -> values.Estimator:
        state = estimator.init(jax.random.key(seed))
        coalitions = estimator.ask(state)
        return estimator.estimate(estimator.tell(state, coalitions, tables[seed][np.asarray(coalitions) @ bits]))

    def run() -> dict[str, np.ndarray]:
        found = [one(seed) for seed in range(len(tables))]
        return {
            "values": np.array([estimate.values for estimate in found]),
            "standard_errors": np.array([estimate.standard_errors for estimate in found]),
        }

    return run


TASKS = {"estimates": estimates}
