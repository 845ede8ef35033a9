"""The requirements of Newton's method on a loss: a smooth convex link of the margin, which the loss's record gives."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks
from jaxval.alignment.registry import record_of
from jaxval.types import BadArgument, Comparisons

__all__ = ["check_loss", "check_options", "link_of", "one_of_equals", "steepness", "suits_newton"]

EMPTY = inspect.Parameter.empty  # the default of an option that must be given


def one_of_equals(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The same object for equal `functools.partial`s, each of which `jax.jit` would take for another loss.

    An option that cannot be hashed, such as an array, leaves the partial as it is.
    """
    if isinstance(loss, functools.partial):
        with contextlib.suppress(TypeError):
            return _partial(loss.func, loss.args, tuple(sorted(loss.keywords.items())))
    return loss


@functools.lru_cache(maxsize=64)
def _partial(function: Callable[..., Array], args: tuple[Any, ...], keywords: tuple[Any, ...]) -> Callable[..., Array]:
    return functools.partial(function, *args, **dict(keywords))


def link_of(loss: Callable[..., Array], beta: Array) -> tuple[Callable[..., Array], ...]:
    """ℓ(β d) and its first two derivatives, as functions of a pair's difference d of log-ratios and its options."""
    record = record_of(loss)

    def value(difference: Array, options: dict[str, Array]) -> Array:
        return record.at(beta * difference, beta=beta, **options)

    return value, jax.grad(value), jax.grad(jax.grad(value))


def steepness(curvature: Callable[..., Array], options: dict[str, Array], beta: Array) -> Array:
    """The largest |ℓ'''| / ℓ'' on margins around 0, which bounds how fast the curvature changes; it is β for DPO."""
    margins = jnp.linspace(-8.0, 8.0, 65) / beta
    bend, turn = jax.vmap(jax.value_and_grad(curvature), in_axes=(0, None))(margins, options)
    # Far from 0 the curvature may round to 0, and the ratio would be rounding error. Such margins are left out.
    return jnp.max(jnp.where(bend > 1e-6 * jnp.max(bend), jnp.abs(turn) / jnp.where(bend > 0, bend, 1), 0))


def check_options(
    loss: Callable[..., Array], context_options: Mapping[str, Any] | None, contexts: int
) -> dict[str, Array]:
    """The options of the loss that differ between contexts, checked to be one finite number for each context."""
    record, options = record_of(loss), {}
    for name, value in _checks.check_named("context_options", context_options).items():
        if record.of_margin:
            _checks.check_choice("context_options", name, record.options)
        options[name] = _checks.floating(f"context_options[{name!r}]", value, ndim=1, expected="(contexts,) numbers")
        if options[name].shape != (contexts,):
            raise BadArgument(f"context_options[{name!r}]", expected=f"shape {(contexts,)}", got=options[name].shape)
    if missing := sorted(name for name, default in record.options.items() if default is EMPTY and name not in options):
        raise BadArgument("context_options", expected=f"{missing[0]}, which this loss takes", got=sorted(options))
    return options


def suits_newton(loss: Callable[..., Array]) -> bool:
    """Whether `newton_optimum` can minimise a loss: the loss must be a smooth convex function of the pair's margin.

    Args:
        loss: a loss of one pair.

    Returns:
        False for a loss that only `train_minibatches` can minimise.

    Raises:
        ValueError: if the loss is not a function.

    Example:
        >>> from jaxval import alignment
        >>> suits_newton(alignment.dpo), suits_newton(alignment.hinge)
        (True, False)
    """
    return not record_of(loss).obstacle


def check_loss(loss: Callable[..., Array], beta: Array, options: dict[str, Array], comparisons: Comparisons) -> None:
    """Raise if the loss is not a smooth convex function of the margin, or is constant with these options."""
    record = record_of(loss)
    suited = True  # inside `jit` the numbers are traced, and the link is not checked
    if record.of_margin and _checks.concrete(beta, *options.values()):
        with jax.ensure_compile_time_eval():
            slopes, curvatures = (np.asarray(part) for part in _derivatives(loss, beta, options))
        flat = (slopes == 0).all(axis=1)
        suited = bool((flat | (curvatures > 0).all(axis=1)).all())
        constant = _with_pairs(comparisons, flat)
        if constant.any():
            where = f" in context {int(constant.argmax())}" if options else ""
            raise BadArgument(
                "loss",
                expected="one that depends on the margin",
                got=f"a constant one{where}, from which nothing can be learnt",
                advice="MallowsPO's losses are constant at dispersion 1, the dispersion of a uniform reference: leave "
                "the pairs of such contexts out, or pass a dispersion below 1",
            )
    obstacle = record.obstacle or ("" if suited else "is not convex")
    if obstacle:
        raise BadArgument(
            "loss",
            expected="a smooth convex function of the margin, such as alignment.dpo",
            got=f"{getattr(getattr(loss, 'func', loss), '__name__', repr(loss))}, which {obstacle}",
            advice="call training.train_minibatches",
        )


def _with_pairs(comparisons: Comparisons, contexts: np.ndarray) -> np.ndarray:
    """Which contexts are both in the mask `contexts` and have comparisons.

    If the comparisons are traced, it is unknown which contexts have any. The mask is then returned unchanged if it
    holds for every context, and all False otherwise.
    """
    if len(contexts) == 1:
        return contexts
    if not _checks.concrete(*comparisons):
        return contexts & contexts.all()
    seen = np.zeros_like(contexts)
    seen[np.asarray(comparisons.context)[np.asarray(comparisons.weight) > 0]] = True
    return contexts & seen


@functools.partial(jax.jit, static_argnames="loss")
def _derivatives(loss: Callable[..., Array], beta: Array, options: dict[str, Array]) -> tuple[Array, Array]:
    """ℓ' and ℓ'' at a few margins, each (contexts, margins), or (1, margins) if no option differs between contexts."""
    margins = jnp.array([-1.5, -0.5, 0.0, 0.75, 1.25]) / beta
    _, slope, curvature = link_of(loss, beta)

    def in_context(options: dict[str, Array]) -> tuple[Array, Array]:
        return jax.vmap(lambda m: slope(m, options))(margins), jax.vmap(lambda m: curvature(m, options))(margins)

    if not options:
        slopes, curvatures = in_context(options)
        return slopes[None], curvatures[None]
    return jax.vmap(in_context)(options)
