"""The tasks of `benchmarks.values_neighbours` by jaxval; whether in float32 or float64, `JAX_ENABLE_X64` says."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jaxval
from jaxval import values

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]


def exact(inputs: dict[str, np.ndarray], *, neighbours: int, groups: bool = False) -> Run:
    """As a user calls it: NumPy arrays in, checks at the door, distances and sort included."""
    data = [inputs[name] for name in ("train_x", "train_y", "test_x", "test_y")]
    group_of = inputs["groups"] if groups else None
    return lambda: {"values": np.asarray(values.knn_shapley(*data, neighbours=neighbours, groups=group_of))}


def sort(inputs: dict[str, np.ndarray]) -> Run:
    """As many sorts as `exact` needs, of 64 bits by NumPy, a block of test points at a time; nothing else."""
    shape = 50, len(inputs["train_y"])
    bits = np.random.default_rng(0).integers(2**63, size=shape, dtype=np.uint64)
    blocks = -(-len(inputs["test_y"]) // len(bits))

    def run() -> dict[str, np.ndarray]:
        for _ in range(blocks):
            bits.copy().sort(axis=-1)
        return {}

    return run


def sampled(inputs: dict[str, np.ndarray], *, neighbours: int, permutations: int, per_ask: int) -> Run:
    """MC-ADS of the accuracy, compiled once; the neighbours are sorted once, when the utility is made."""
    data = [inputs[name] for name in ("train_x", "train_y", "test_x", "test_y")]
    players, groups = len(inputs["train_y"]), inputs["groups"]
    along = values.knn_path_utility(*data, neighbours=neighbours, measure="accuracy")
    options = {"permutations": permutations, "groups": groups, "per_ask": per_ask}
    sample = jax.jit(lambda key: values.sample_shapley_along_paths(key, along, players, **options))
    accuracy = np.asarray(jax.jit(along)(jnp.arange(players))[-1])

    def run() -> dict[str, np.ndarray]:
        estimate = sample(jax.random.key(0))
        return {
            "values": np.asarray(estimate.values),
            "standard_errors": np.asarray(estimate.standard_errors),
            "accuracy": accuracy,
        }

    return run


TASKS = {"exact": exact, "sort": sort, "sampled": sampled}
