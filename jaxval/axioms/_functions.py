"""What rules and values have in common: they take one argument or two, and JAX must be able to trace them."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["gap_of", "numbers_of", "refused", "takes_one"]

NOT_JAX = (
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
)


def takes_one(function: Callable[..., Any], *, name: str, one: str, two: tuple[str, str], option: str) -> bool:
    """Whether a function has one positional parameter, `one`, rather than the two of `two`.

    Neither keyword-only parameters nor those that `functools.partial` has set are counted. A function with any other
    number of positional parameters is an error. The error names the argument `name`, and its advice shows `option` as
    an example of an option to fix.
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
    # A second parameter whose default is a value, such as `beta=0.0`, is an option: weights and groups default to None.
    if len(positional) == 2 and positional[1].default in (inspect.Parameter.empty, None):
        return False
    raise BadArgument(
        name,
        expected=f"one positional parameter (a {one}) or two ({', '.join(two)})",
        got=f"({', '.join(str(p) for p in parameters)})",
        advice=f"fix options first, such as functools.partial({name}, {option})",
    )


def numbers_of(function: Callable[..., Any], *arguments: Any, name: str) -> Array:
    """The function's result as an array of floats; raises `BadArgument` if JAX cannot trace the function."""
    try:
        return jnp.asarray(function(*arguments), dtype=float)
    except NOT_JAX as error:
        raise BadArgument(
            name,
            expected="a function of JAX arrays that works under jit and vmap",
            got="a function that needs the values of its arguments",
            advice="write it with jax.numpy, or wrap it in jax.pure_callback(..., vmap_method='sequential')",
        ) from error


def gap_of(result: Any) -> Array:
    """The gap of what an axiom returns, (gap, witness)."""
    if not isinstance(result, tuple) or len(result) != 2 or jnp.ndim(_checks.numbers("axiom", result[0])) != 0:
        raise BadArgument("axiom", expected="a function to (gap, witness)", got=f"one to {result!r:.80}")
    return _checks.numbers("axiom", result[0])


def refused(name: str, expected: str, error: Exception, advice: str) -> BadArgument:
    """The error for a function that raised `error`, either when it was called or when its result was checked."""
    if isinstance(error, BadArgument) and error.name == name:
        return error.with_advice(advice)
    # `error` may name an argument of the function itself. The caller passed the function and not that argument, so the
    # new error names the function, and quotes the message of `error`.
    said = str(error) if isinstance(error, BadArgument) else f"{type(error).__name__}: {error}"
    return BadArgument(name, expected=expected, got=f"a function that fails with ({said})", advice=advice)
