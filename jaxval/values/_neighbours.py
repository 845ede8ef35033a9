"""The common parts of nearest-neighbour values: checks of arguments, distances, and neighbours in order."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks
from jaxval._objects import check_groups
from jaxval.types import BadArgument

__all__ = [
    "NORMALISE",
    "Features",
    "by_group",
    "check_groups",
    "check_instances",
    "distances",
    "nearest_first",
    "sum_over_blocks",
]

NORMALISE = ("neighbours", "size")
# As a share of the largest feature: distances of at least this are right to 2^-20 without the low parts of features.
RESOLVED = 1 / 16


class Features(NamedTuple):
    """Features x = high + low in JAX's default precision, so that float64 features keep their digits in float32.

    Attributes:
        high: (instances, features) x, rounded.
        low: (instances, features) x - high, rounded; None if x = high.
    """

    high: Array
    low: Array | None


def check_instances(train_x: Any, train_y: Any, test_x: Any, test_y: Any) -> tuple[Features, Array, Features, Array]:
    """Check training instances, test points and their labels; features become floating point, labels integers."""
    train, test = _features("train_x", train_x), _features("test_x", test_x)
    instances, features = train.high.shape
    if features != test.high.shape[1]:
        raise BadArgument(
            "test_x", expected=f"(tests, {features}) features, as many as train_x has", got=f"shape {test.high.shape}"
        )
    if train.low is None and test.low is not None:
        train = Features(train.high, jnp.zeros_like(train.high))
    if test.low is None and train.low is not None:
        test = Features(test.high, jnp.zeros_like(test.high))
    return train, _labels("train_y", train_y, instances), test, _labels("test_y", test_y, len(test.high))


def distances(points: Features, instances: Features) -> Array:
    """Squared Euclidean distances, (points, instances); equal instances are at equal distances, to the bit."""
    rounded = _distances(Features(points.high, None), Features(instances.high, None))
    if points.low is None:
        return rounded
    # Rounding moves a feature by at most 2^-24 of the largest one. With the low parts, distances take more than half as
    # long again. Known distances leave the low parts out unless some instance is so near that they matter.
    if _checks.concrete(rounded):
        largest = max(float(_largest(points.high)), float(_largest(instances.high)))
        if float(np.min(np.asarray(rounded))) >= (RESOLVED * largest) ** 2:
            return rounded
    return _distances(points, instances)


@jax.jit
def _largest(features: Array) -> Array:
    return jnp.max(jnp.abs(features))


@jax.jit
def _distances(points: Features, instances: Features) -> Array:
    # A sum of squared differences, because the rounding of a matrix product would break the ties of equal instances;
    # feature by feature, because XLA adds up short rows without vector instructions.
    points, instances = jax.tree.map(jnp.transpose, (points, instances))

    def add_feature(feature: Array, total: Array) -> Array:
        difference = points.high[feature][:, None] - instances.high[feature][None, :]
        if points.low is not None and instances.low is not None:
            difference += points.low[feature][:, None] - instances.low[feature][None, :]
        return total + difference**2

    nothing = jnp.zeros((points.high.shape[1], instances.high.shape[1]), points.high.dtype)
    return jax.lax.fori_loop(0, len(points.high), add_feature, nothing)


def nearest_first(distance: Array) -> np.ndarray | Array:
    """The instances of each row in the order of (distance, index)."""
    # XLA's sort is some 20 times slower than NumPy's on a CPU, so known distances are sorted by NumPy on a CPU.
    if not _sorts_on_host(distance):
        return jnp.argsort(distance, axis=-1, stable=True)
    values = np.asarray(distance)
    if not np.isfinite(values).all():
        raise BadArgument(
            "train_x, test_x",
            expected=f"distances that fit into {values.dtype}",
            got="larger ones",
            advice="scale the features down",
        )
    if values.dtype == np.float32:
        # The bits of non-negative floats are in the order of the floats. (distance, index) is therefore packed into 64
        # bits and sorted once.
        packed = (values + 0.0).view(np.uint32).astype(np.uint64) << np.uint64(32)
        packed |= np.arange(values.shape[-1], dtype=np.uint64)
        packed.sort(axis=-1)
        return packed.astype(np.uint32).astype(np.int32)
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=-1)
    order[tied] = np.argsort(values[tied], axis=-1, kind="stable")
    return order.astype(np.int32)


def by_group(order: np.ndarray | Array, groups: np.ndarray) -> np.ndarray | Array:
    """The same neighbours group by group, as columns of `order`: group 0, nearest first, then group 1, ..."""
    if groups.max() == 0:
        return np.broadcast_to(np.arange(order.shape[-1], dtype=np.int32), order.shape)
    if isinstance(order, jax.Array):
        return jnp.argsort(jnp.asarray(groups)[order], axis=-1, stable=True)
    small = groups.astype(np.int16) if groups.max() < 1 << 15 else groups  # NumPy sorts 16 bits by radix
    return np.argsort(small[order], axis=-1, kind="stable").astype(np.int32)


def sum_over_blocks(block_sum: Callable[..., Array], test_x: Features, test_y: Array, *, at_once: int) -> Array:
    """Σ block_sum(x, y, counted) over blocks of at most `at_once` test points.

    All blocks have one shape; the last block is filled up with points that do not count.
    """
    tests = len(test_y)
    blocks = -(-tests // max(1, at_once))
    index = np.arange(blocks * -(-tests // blocks)).reshape(blocks, -1)
    counted = _checks.known_array(index < tests)
    index = np.minimum(index, tests - 1)

    def rows(index: np.ndarray) -> Features:
        return jax.tree.map(lambda part: part[index], test_x)

    if _checks.concrete(test_x.high, test_y):
        parts = (block_sum(rows(row), test_y[row], some) for row, some in zip(index, counted, strict=True))
        return reduce(operator.add, parts)
    one = jax.eval_shape(block_sum, rows(index[0]), test_y[index[0]], counted[0])
    total, _ = jax.lax.scan(
        lambda total, block: (total + block_sum(*block), None),
        jnp.zeros(one.shape, one.dtype),
        (rows(index), test_y[index], counted),
    )
    return total


def _sorts_on_host(distance: Array) -> bool:
    """Whether NumPy sorts the distances: they are known numbers in the host's memory."""
    return _checks.concrete(distance) and jax.default_backend() == "cpu"


def _features(name: str, value: Any) -> Features:
    expected = "(instances, features), reshaped so where they are images"
    high = _checks.floating(name, value, ndim=2, expected=expected)
    if 0 in high.shape:
        raise BadArgument(name, expected="at least one instance of at least one feature", got=f"shape {high.shape}")
    if isinstance(value, jax.Array) or np.can_cast(np.asarray(value).dtype, high.dtype):
        return Features(high, None)
    known = np.asarray(value, dtype=np.float64)
    lost = known - known.astype(high.dtype)
    return Features(high, _checks.known_array(lost, float) if lost.any() else None)


def _labels(name: str, value: Any, instances: int) -> Array:
    expected = f"({instances},) integer labels"
    if getattr(value, "dtype", None) == np.dtype(bool):
        value = value.astype(np.int32)
    try:
        array = _checks.integers(name, value, ndim=1, expected=expected)
    except BadArgument as error:
        advice = "for other labels call numpy.unique(labels, return_inverse=True)[1]"
        raise error.with_advice(advice) from None
    if array.shape != (instances,):
        raise BadArgument(name, expected=f"{expected}, one for each instance", got=f"shape {array.shape}")
    return array
