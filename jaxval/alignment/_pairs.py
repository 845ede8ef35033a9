"""The checks of arguments that all losses of preference pairs share.

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
    "check_one_shape",
    "check_smoothing",
    "check_within",
]


PerPair = Num[ArrayLike, "..."] | float | int | list[Any]
"""One number for all pairs, or an array of any shape with one number for each pair."""


def check_log_probs(**arguments: Any) -> tuple[Array, ...]:
    """The arguments as arrays, checked to be finite and of one shape; a scalar fits every shape."""
    arrays = {name: check_finite(name, value) for name, value in arguments.items()}
    check_one_shape(**arrays)
    return tuple(arrays.values())


def check_one_shape(**arguments: Any) -> None:
    """Check that all arguments but scalars have one shape, or broadcasting would pair numbers of different pairs."""
    shapes = {name: jnp.shape(value) for name, value in arguments.items() if isinstance(value, np.ndarray | jax.Array)}
    lists = {name: value for name, value in arguments.items() if isinstance(value, list)}
    shapes |= {name: _checks.real_array(name, value).shape for name, value in lists.items()}
    first = next(filter(None, shapes.values()), ())
    for name, shape in shapes.items():
        if shape and shape != first:
            raise BadArgument(name, expected=f"a scalar or the shape of the other arguments, {first}", got=shape)


def check_finite(name: str, value: Any) -> Array:
    """The argument as an array of any shape, checked to be finite."""
    return check_within(
        name,
        value,
        np.isfinite,
        "finite log-probabilities, one for each pair; leave out pairs with a response of probability 0",
    )


def check_beta(beta: Any) -> Array:
    """β as an array, checked to be positive and finite: one number for all pairs, or one for each."""
    return check_within("beta", beta, lambda values: (values > 0) & np.isfinite(values), "a positive finite number")


def check_smoothing(label_smoothing: Any, *, positive: bool = False) -> Array:
    """The share of flipped labels, checked to be in [0, 1/2), or in (0, 1/2) if `positive`."""
    if positive:
        return check_within(
            "label_smoothing", label_smoothing, lambda values: (values > 0) & (values < 0.5), "a number in (0, 1/2)"
        )
    return check_within(
        "label_smoothing", label_smoothing, lambda values: (values >= 0) & (values < 0.5), "a number in [0, 1/2)"
    )


def check_lengths(name: str, value: Any) -> Array:
    """The number of tokens of a response, checked to be at least one."""
    return check_within(
        name, value, lambda values: (values >= 1) & np.isfinite(values), "lengths of at least one token"
    )


def check_within(name: str, value: Any, holds: Callable[[np.ndarray], Any], expected: str) -> Array:
    """The argument as an array of any shape; raises if `holds` is false for a number and the numbers are concrete."""
    given = _checks.real_array(name, value, expected)
    if not _checks.concrete(given):
        return jnp.asarray(given, dtype=float)
    values = np.asarray(given)
    # The check is made in JAX's precision: a number that overflows float32 counts as infinite.
    with np.errstate(over="ignore"):
        values = values.astype(jax.dtypes.canonicalize_dtype(float))
    valid = np.asarray(holds(values))
    if not valid.all():
        raise BadArgument(name, expected=expected, got=f"{values[~valid].flat[0]:g}")
    return jnp.asarray(value, dtype=float)
