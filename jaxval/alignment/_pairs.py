"""What every loss of a pair checks at its door.

A pair is four log-probabilities of whole responses: the policy's of the chosen and of the rejected one, and the
reference's of both. They are scalars, or arrays of one shape for many pairs at once.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Num

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = [
    "PerPair",
    "check_beta",
    "check_finite",
    "check_lengths",
    "check_log_probs",
    "check_smoothing",
    "check_within",
]


PerPair = Num[ArrayLike, "..."] | float | int | list[Any]
"""One number, or one for each pair in an array of any shape."""


def check_log_probs(**arguments: Any) -> tuple[Array, ...]:
    """Finite numbers, all of one shape; scalars go with every shape."""
    arrays = tuple(check_finite(name, value) for name, value in arguments.items())
    first = next((array.shape for array in arrays if array.ndim), ())
    for name, array in zip(arguments, arrays, strict=True):
        if array.ndim and array.shape != first:
            raise BadArgument(name, expected=f"the shape of the other arguments, {first}", got=array.shape)
    return arrays


def check_finite(name: str, value: Any) -> Array:
    """Finite floating-point numbers of any shape."""
    return check_within(
        name, value, np.isfinite, "finite log-probabilities, one a pair; leave pairs with an impossible response out"
    )


def check_beta(beta: Any) -> Array:
    """β, positive and finite: one for all pairs, or one for each."""
    return check_within("beta", beta, lambda values: (values > 0) & np.isfinite(values), "a positive finite number")


def check_smoothing(label_smoothing: Any, *, positive: bool = False) -> Array:
    """A share of flipped labels in [0, 1/2), or in (0, 1/2)."""
    if positive:
        return check_within(
            "label_smoothing", label_smoothing, lambda values: (values > 0) & (values < 0.5), "a number in (0, 1/2)"
        )
    return check_within(
        "label_smoothing", label_smoothing, lambda values: (values >= 0) & (values < 0.5), "a number in [0, 1/2)"
    )


def check_lengths(name: str, value: Any) -> Array:
    """How many tokens a response has: at least one."""
    return check_within(
        name, value, lambda values: (values >= 1) & np.isfinite(values), "lengths of at least one token"
    )


def check_within(name: str, value: Any, holds: Callable[[np.ndarray], Any], expected: str) -> Array:
    """Numbers of any shape for which `holds`, where they are known; checked in the precision that is computed in."""
    if not _checks.concrete(value):
        return jnp.asarray(value, dtype=float)
    try:
        values = np.asarray(value)
    except ValueError:
        values = np.empty(0, dtype=object)
    if values.dtype.kind not in "biufV":  # V: the short floating-point types
        raise BadArgument(name, expected=expected, got=f"{type(value).__name__} that is no number")
    with np.errstate(over="ignore"):  # what overflows float32 is infinite there
        values = values.astype(jax.dtypes.canonicalize_dtype(float))
    fine = np.asarray(holds(values))
    if not fine.all():
        raise BadArgument(name, expected=expected, got=f"{values[~fine].flat[0]:g}")
    return jnp.asarray(value, dtype=float)
