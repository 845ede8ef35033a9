"""The tasks of `benchmarks.training` by jaxval."""

import resource
from collections.abc import Callable

import jax
import numpy as np

import jaxval
from jaxval import coalitions, policies, training
from jaxval.types import Comparisons

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]


def fit(inputs: dict[str, np.ndarray], *, beta: float) -> Run:
    wins = inputs["wins"]
    sources, contexts, responses, _ = wins.shape
    policy = policies.tabular(contexts, responses)
    ids = np.stack(np.meshgrid(*map(np.arange, wins.shape[1:]), indexing="ij"), axis=-1).reshape(-1, 3)
    ids = ids[ids[:, 1] != ids[:, 2]]
    stacked = Comparisons(
        *(np.broadcast_to(column, (sources, len(ids))) for column in ids.T), wins[:, ids[:, 0], ids[:, 1], ids[:, 2]]
    )
    reference = policy.init(jax.random.key(0))
    everywhere = np.arange(contexts), np.tile(np.arange(responses), (contexts, 1))

    @jax.jit
    @jax.vmap
    def train(source: Comparisons) -> jax.Array:
        return policy.log_probs(training.newton_optimum(policy, reference, source, beta=beta)[0], *everywhere)

    return lambda: {"log_probs": np.asarray(train(stacked))}


def combine(inputs: dict[str, np.ndarray]) -> Run:
    players = len(inputs["sources"])
    utility = coalitions.reward_utility(inputs["reference"], inputs["sources"], inputs["rewards"])
    return lambda: {"utilities": np.asarray(coalitions.tabulate(utility, players))}


def memory(inputs: dict[str, np.ndarray]) -> Run:
    def run() -> dict[str, np.ndarray]:
        combine(inputs)()
        return {"gigabytes": np.array(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)}

    return run


TASKS = {"fit": fit, "combine": combine, "memory": memory}
