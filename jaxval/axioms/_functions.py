"""What rules and values have in common: they take one argument or two, and JAX must be able to trace them."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval.types import BadArgument

__all__ = ["numbers_of", "takes_one"]

NOT_JAX = (
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
)


def takes_one(function: Callable[..., Any], *, name: str, one: str, two: tuple[str, str], option: str) -> bool:
    """Whether a function has one positional parameter, `one`, rather than the two of `two`; an error if neither.

    Parameters that are keyword-only do not count, nor those that `functools.partial` has set. `name` is the argument
    that an error names, and `option` an example of an option to fix.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise BadArgument(
            name,
            expected=f"a function of a {one}, or of {' and '.join(two)}",
            got=f"{type(function).__name__}, whose parameters are not known",
            advice=f"wrap it, such as {name}=lambda {one}: ...",
        ) from error
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) == 1:
        return True
    # A second parameter with a default of its own, such as `beta=0.0`, is an option and neither weights nor groups.
    if len(positional) == 2 and positional[1].default in (inspect.Parameter.empty, None):
        return False
    raise BadArgument(
        name,
        expected=f"one positional parameter (a {one}) or two ({', '.join(two)})",
        got=f"({', '.join(str(p) for p in parameters)})",
        advice=f"fix options first, such as functools.partial({name}, {option})",
    )


def numbers_of(function: Callable[..., Any], *arguments: Any, name: str) -> Array:
    """What a function returns, as an array of floats, with an error of ours where JAX cannot trace the function."""
    try:
        return jnp.asarray(function(*arguments), dtype=float)
    except NOT_JAX as error:
        raise BadArgument(
            name,
            expected="a function of JAX arrays that works under jit and vmap",
            got="one that needs values",
            advice="write it with jax.numpy, or wrap it in jax.pure_callback(..., vmap_method='sequential')",
        ) from error


def refused(name: str, expected: str, error: Exception, advice: str) -> BadArgument:
    """The error of a function that could not be called, or gave what it should not: what it said, and advice."""
    if isinstance(error, BadArgument) and error.name == name:
        return error.with_advice(advice)
    # An error about an argument of the function itself is no help to who passed the function: it becomes what was got.
    said = str(error) if isinstance(error, BadArgument) else f"{type(error).__name__}: {error}"
    return BadArgument(name, expected=expected, got=f"a function that fails with ({said})", advice=advice)
