"""What the machine can do, by JAX: the sides of `benchmarks.machine`. No answers, for there is nothing to compare."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import jaxval

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]


def product(inputs: dict[str, np.ndarray], *, size: int) -> Run:
    left, right = jax.random.normal(jax.random.key(0), (2, size, size), dtype=float)
    multiply = jax.jit(lambda left, right: jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST))
    return lambda: answered(multiply(left, right))


def copy(inputs: dict[str, np.ndarray], *, megabytes: float) -> Run:
    array = jnp.ones(int(megabytes * 1e6) // 4, dtype=jnp.float32)
    negative = jax.jit(lambda array: -array)
    return lambda: answered(negative(array))


def answered(array: jax.Array) -> dict[str, np.ndarray]:
    """Nothing, once the array is there."""
    jax.block_until_ready(array)
    return {}


TASKS = {"product": product, "copy": copy}
