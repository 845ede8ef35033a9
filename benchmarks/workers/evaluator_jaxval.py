"""The tasks of `benchmarks.evaluator` by jaxval."""

import itertools
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxval
from jaxval import coalitions, parallel

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]


def size(mask: np.ndarray) -> float:
    """As good as nothing to do: what is measured is the way there and back."""
    return float(mask.sum())


def sleeper(mask: np.ndarray, *, seconds: float) -> float:
    time.sleep(seconds)
    return float(mask.sum())


def plain(inputs: dict[str, np.ndarray]) -> Run:
    """What the calls cost in a loop, with no evaluator."""
    masks = inputs["masks"]
    return lambda: {"utilities": np.array([size(mask) for mask in masks])}


def hosted(
    inputs: dict[str, np.ndarray], *, stored: bool = False, workers: int = 0, library: bool = False, seconds: float = 0
) -> Run:
    """A host function: nothing is known at the start of each run; workers stay from one run to the next."""
    function = partial(sleeper, seconds=seconds) if seconds else size
    return evaluated(inputs, function, stored, executor=pool(workers, library) if workers else None, traced=False)


def traced(inputs: dict[str, np.ndarray], *, stored: bool = False) -> Run:
    """A utility written in JAX, in chunks."""
    return evaluated(inputs, lambda mask: jnp.sum(mask, dtype=float), stored)


def evaluated(inputs: dict[str, np.ndarray], utility: Callable, stored: bool, **options) -> Run:
    masks = inputs["masks"]
    players = masks.shape[1]
    if not stored:
        return lambda: {
            "utilities": np.asarray(coalitions.evaluator(utility, players, **options).many(masks)),
        }
    folder, numbers = tempfile.TemporaryDirectory(), itertools.count()  # kept by the function below

    def run() -> dict[str, np.ndarray]:
        store = Path(folder.name, f"{next(numbers)}.sqlite")
        return {"utilities": np.asarray(coalitions.evaluator(utility, players, store=store, **options).many(masks))}

    return run


@cache
def pool(workers: int, library: bool):
    if library:
        return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    return parallel.ProcessPool(workers)


TASKS = {"plain": plain, "hosted": hosted, "traced": traced}
