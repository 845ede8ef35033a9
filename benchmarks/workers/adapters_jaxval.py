"""The tasks of `benchmarks.adapters` by jaxval."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import jaxval
from jaxval import policies

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]
TARGETS = ("query", "key", "value", "output", "gate", "up", "down")


def base(inputs: dict[str, np.ndarray], *, path: str) -> Run:
    """The logits of the checkpoint."""
    model, params, _ = policies.read_llama(path)
    return lambda: {"logits": np.asarray(model.logits(params, inputs["tokens"]))}


def adapters(inputs: dict[str, np.ndarray], *, path: str, folder: str) -> Run:
    """Random adapters of rank 4 and α = 6 on the upper half of the layers, written as PEFT reads them."""
    model, params, _ = policies.read_llama(path)
    layers = params["layers"]["query"]["kernel"].shape[0]
    upper = list(range(layers // 2, layers))
    start = policies.init_adapters(jax.random.key(0), params, rank=4, targets=TARGETS)
    keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(start))))

    def moved(leaf: Any) -> Any:
        return (leaf + 0.02 * jax.random.normal(next(keys), leaf.shape))[layers // 2 :]

    policies.write_adapter(folder, jax.tree.map(moved, start), alpha=6.0, base=path, layers=upper)
    read = policies.read_adapter(folder, params)
    adapted = policies.low_rank(model, params, rank=4, alpha=read.alpha, targets=TARGETS)
    return lambda: {"logits": np.asarray(adapted.logits(read.params, inputs["tokens"]))}


TASKS = {"base": base, "adapters": adapters}
