"""What Newton's method asks of a loss: a smooth convex function of the margin, which is tried at a few numbers."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.types import BadArgument, Comparisons, Number

__all__ = ["check_loss", "check_options", "margin_loss", "steepness", "suits_newton"]


def margin_loss(loss: Callable[..., Array], beta: Array) -> tuple[Callable[..., Array], ...]:
    """ℓ(m) of one pair and its first two derivatives, with the options of its context."""
    zero = jnp.zeros_like(beta)

    def of_margin(margin: Array, options: dict[str, Array]) -> Array:
        return loss(margin, zero, zero, zero, beta=beta, **options)

    return of_margin, jax.grad(of_margin), jax.grad(jax.grad(of_margin))


def steepness(curvature: Callable[..., Array], options: dict[str, Array], beta: Array) -> Array:
    """The largest |ℓ'''| / ℓ'' on margins around 0, the scale on which the loss bends; β for DPO."""
    margins = jnp.linspace(-8.0, 8.0, 65) / beta
    bend, turn = jax.vmap(jax.value_and_grad(curvature), in_axes=(0, None))(margins, options)
    return jnp.max(jnp.where(bend > 1e-6 * jnp.max(bend), jnp.abs(turn) / jnp.where(bend > 0, bend, 1), 0))


def check_options(per_context: Mapping[str, Any], contexts: int) -> dict[str, Array]:
    """One finite number for each context."""
    options = {}
    for name, value in per_context.items():
        options[name] = _checks.floating(f"per_context[{name!r}]", value, ndim=1, expected="(contexts,) numbers")
        if options[name].shape != (contexts,):
            raise BadArgument(f"per_context[{name!r}]", expected=f"shape {(contexts,)}", got=options[name].shape)
    return options


class UnsuitedLossError(ValueError):
    """A loss that Newton's method cannot minimise."""


def suits_newton(loss: Callable[..., Array], *, beta: Number) -> bool:
    """Whether `fit` takes a loss: a smooth convex function of the difference of a pair's log-ratios.

    Args:
        loss: of one pair.
        beta: β > 0.

    Returns:
        False for a loss that only `train` can minimise.

    Raises:
        ValueError: if the loss is no function, or lacks an option.

    Example:
        >>> from jaxval import alignment
        >>> suits_newton(alignment.dpo, beta=0.1), suits_newton(alignment.hinge, beta=0.1)
        (True, False)
    """
    try:
        check_loss(loss, jnp.asarray(beta, dtype=float), {}, None)
    except UnsuitedLossError:
        return False
    return True


def check_loss(
    loss: Callable[..., Array], beta: Array, options: dict[str, Array], comparisons: Comparisons | None
) -> None:
    """Refuse a loss that is not smooth, convex, and a function of the difference of log-ratios, in any context."""
    if not callable(loss):
        raise BadArgument("loss", expected="a function of one pair, such as alignment.dpo", got=type(loss).__name__)
    if not _checks.concrete(beta, *options.values()):
        return
    with jax.ensure_compile_time_eval():
        probe: Any = _Probe(*(np.asarray(part) for part in _probe(loss, beta, options)))  # type: ignore[arg-type]

    def where(wrong: np.ndarray) -> str:
        return f" in context {int(wrong.argmax())}" if options else ""

    scale = np.maximum(1, np.abs(probe.values).max(axis=1))
    levelled = np.abs(probe.shifted - probe.values[:, None]).max(axis=(1, 2)) > 1e-4 * scale
    if levelled.any():
        raise UnsuitedLossError(
            "loss: expected a function of the difference of the pair's log-ratios alone; got one that also depends on "
            f"their level{where(levelled)}; call training.train"
        )
    constant = (probe.slopes == 0).all(axis=1)
    if _with_pairs(comparisons, constant).any():
        raise UnsuitedLossError(
            f"loss: expected one that depends on the margin; got a constant one{where(constant)}, from which nothing "
            "can be learnt. MallowsPO's losses are constant at dispersion 1, the dispersion of a uniform reference: "
            "leave the pairs of such contexts out, or pass a dispersion below 1"
        )
    smallest = _checks.tolerance(probe.values.dtype) * scale + 10 * STEP * np.abs(probe.slopes).max(axis=1)
    jumps = np.abs(probe.jump) > smallest
    if jumps.any():
        raise UnsuitedLossError(
            "loss: expected a smooth convex function of the margin; got one that jumps at margin 0, by "
            f"{abs(probe.jump[jumps.argmax()]):.2g}{where(jumps)}, as MallowsPO's link φ does. Train it by "
            "minibatches, training.train, or fit its continuous limit, alignment.mallows_phi_limit"
        )
    if not (probe.curvatures > 0).all(axis=1)[~constant].all():
        raise UnsuitedLossError(
            "loss: expected a smooth convex function of the margin; got one that is not; use training.train"
        )


def _with_pairs(comparisons: Comparisons | None, contexts: np.ndarray) -> np.ndarray:
    """Those of the contexts, a mask, that have comparisons; if comparisons are unknown, all of them or none."""
    if len(contexts) == 1 or comparisons is None:
        return contexts
    if not _checks.concrete(*comparisons):
        return contexts & contexts.all()
    seen = np.zeros_like(contexts)
    seen[np.asarray(comparisons.context)[np.asarray(comparisons.weight) > 0]] = True
    return contexts & seen


class _Probe(NamedTuple):
    """A loss at a few margins, in units of 1 / β.

    Attributes:
        values: ℓ(m).
        shifted: the same with both log-probabilities, or both of the reference, moved by one number.
        slopes: ℓ'(m) / β.
        curvatures: ℓ''(m).
        jump: ℓ(0-) - ℓ(0+).
    """

    values: Float[Array, "contexts margins"]
    shifted: Float[Array, "contexts 2 margins"]
    slopes: Float[Array, "contexts margins"]
    curvatures: Float[Array, "contexts margins"]
    jump: Float[Array, "contexts"]


STEP = 1e-6  # between the two sides of margin 0


@functools.partial(jax.jit, static_argnames="loss")
def _probe(loss: Callable[..., Array], beta: Array, options: dict[str, Array]) -> _Probe:
    """With the options of each context; one row if there are none."""
    margins = jnp.array([-1.5, -0.5, 0.0, 0.75, 1.25]) / beta
    zero, shift = jnp.zeros(()), 0.7 / beta
    of_margin, slope, curvature = margin_loss(loss, beta)

    def in_context(options: dict[str, Array]) -> _Probe:
        def over(function: Callable[[Array], Array]) -> Array:
            return jax.vmap(function)(margins)

        return _Probe(
            over(lambda m: of_margin(m, options)),
            jnp.stack(
                [
                    over(lambda m: loss(m + shift, shift, zero, zero, beta=beta, **options)),
                    over(lambda m: loss(m, zero, shift, shift, beta=beta, **options)),
                ]
            ),
            over(lambda m: slope(m, options)) / beta,
            over(lambda m: curvature(m, options)),
            of_margin(-STEP / beta, options) - of_margin(STEP / beta, options),
        )

    if not options:
        return jax.tree.map(lambda leaf: leaf[None], in_context(options))
    return jax.vmap(in_context)(options)
