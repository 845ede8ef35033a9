"""The tasks of `benchmarks.values_exact` by jaxval."""

import resource
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


def shapley(inputs: dict[str, np.ndarray], *, value: str = "shapley", calls: int = 1) -> Run:
    """As a user calls it, on an array that is there, with the check at the door."""
    table = jnp.asarray(inputs["table"], dtype=float)
    call = getattr(values, value)
    return lambda: {"values": [np.asarray(call(table)) for _ in range(calls)][-1]}


def total(inputs: dict[str, np.ndarray], *, calls: int = 1) -> Run:
    """The least that any value must do: read the table once."""
    table, add = jnp.asarray(inputs["table"], dtype=float), jax.jit(jnp.sum)
    return lambda: {"total": [np.asarray(add(table)) for _ in range(calls)][-1]}


def memory(inputs: dict[str, np.ndarray], *, players: int) -> Run:
    """By how much the process grows, table included, counted in tables."""
    add = jax.jit(lambda: jnp.sin(jnp.arange(2**players, dtype=float)))

    def run() -> dict[str, np.ndarray]:
        np.asarray(values.shapley(jnp.arange(4.0)))  # what is loaded once
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        table = jax.block_until_ready(add())
        with_table = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = np.asarray(values.shapley(table))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = table.nbytes / 1024
        return {"tables": np.array([(with_table - before) / size, (grown - before) / size]), "values": found}

    return run


TASKS = {"shapley": shapley, "total": total, "memory": memory}
