"""Divergences that keep a policy near its reference, each as the derivative f'(u) of a ratio u = π(y|x) / π0(y|x).

If the policy is regularised by β times the f-divergence of π from π0, in place of the Kullback-Leibler divergence, the
implicit reward of a response is β f'(u) up to a constant in y. Hence f' takes the place of the log-ratio in every loss
(Wang et al., "Beyond Reverse KL", 2024). The functions of this module take log u and return f'(u).

A divergence determines f up to a multiple of u - 1, and so f' up to a constant. This module sets f'(1) = 0, so that a
policy at its reference has the derivative 0. Losses of a difference of derivatives do not depend on the constant.
Losses of single responses, and losses that divide by lengths, do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.alignment._pairs import PerPair, check_log_probs, check_one_shape, check_within
from jaxval.types import BadArgument

__all__ = [
    "Divergence",
    "alpha_divergence",
    "derivatives",
    "divergences",
    "find_divergence",
    "forward_kl",
    "jensen_shannon",
    "reverse_kl",
]

Divergence = str | Callable[[Any], Any]
"""A name in `divergences`, or a function from log u to f'(u)."""


def reverse_kl(log_ratio: PerPair) -> Float[Array, "..."]:
    """The derivative of KL(π || π0), f(u) = u log u: log u itself, which is the derivative of DPO.

    Args:
        log_ratio: log u = log π(y|x) - log π0(y|x), of any shape.

    Returns:
        log u, of the same shape.

    Example:
        >>> float(reverse_kl(0.5))
        0.5
    """
    return _checks.numbers("log_ratio", log_ratio)


def forward_kl(log_ratio: PerPair) -> Float[Array, "..."]:
    """The derivative of KL(π0 || π), f(u) = -log u + u - 1: f'(u) = 1 - 1/u.

    Args:
        log_ratio: log u, of any shape.

    Returns:
        1 - exp(-log u). If 1/u is above exp(80) in float32, or exp(690) in float64, the derivative continues as a
        straight line, so that values and gradients stay finite.

    Example:
        >>> float(forward_kl(jnp.log(0.5)))
        -1.0
    """
    return -_bounded_expm1(-_checks.numbers("log_ratio", log_ratio))


def jensen_shannon(log_ratio: PerPair) -> Float[Array, "..."]:
    """The derivative of the Jensen-Shannon divergence: f'(u) = log(2u / (1 + u)).

    Args:
        log_ratio: log u, of any shape.

    Returns:
        log 2 + log σ(log u).

    Example:
        >>> round(float(jensen_shannon(jnp.log(2.0))), 4)  # log 4/3
        0.2877
    """
    return np.log(2) + jax.nn.log_sigmoid(_checks.numbers("log_ratio", log_ratio))


def alpha_divergence(log_ratio: PerPair, *, alpha: float | Float[Any, ""]) -> Float[Array, "..."]:
    """The α-divergence: f'(u) = (u^{α-1} - 1) / (α - 1), which is log u at α = 1 and 1 - 1/u at α = 0.

    Pass it to a loss as `divergence=functools.partial(alpha_divergence, alpha=0.5)`.

    Args:
        log_ratio: log u, of any shape.
        alpha: α, a finite number; 1 gives the reverse and 0 the forward Kullback-Leibler divergence.

    Returns:
        The derivative, of the same shape. If u^{α-1} is above exp(80) in float32, or exp(690) in float64, the
        derivative continues as a straight line.

    Raises:
        ValueError: if α is not finite.

    Example:
        >>> round(float(alpha_divergence(1.0, alpha=2.0)), 4)  # e - 1
        1.7183
    """
    log_ratio = _checks.numbers("log_ratio", log_ratio)
    power = check_within("alpha", alpha, np.isfinite, "a finite number") - 1
    check_one_shape(log_ratio=log_ratio, alpha=power)
    grown = _bounded_expm1(power * log_ratio) / jnp.where(power == 0, 1, power)
    return jnp.where(power == 0, log_ratio, grown)


divergences: Mapping[str, Callable[[Any], Any]] = {
    "reverse_kl": reverse_kl,
    "forward_kl": forward_kl,
    "jensen_shannon": jensen_shannon,
}
"""The divergences without a parameter, by name."""


def derivatives(
    chosen: PerPair, rejected: PerPair, reference_chosen: PerPair, reference_rejected: PerPair, divergence: Divergence
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The derivatives f'(u) of both responses of a pair, u = π / π0; with "reverse_kl" these are log-ratios.

    Args:
        chosen: log π(y+|x), a scalar or an array of any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        divergence: a name in `divergences`, or a function from log u to f'(u).

    Returns:
        (derivative of the chosen response, derivative of the rejected response).

    Raises:
        ValueError: if a log-probability is not finite, shapes differ, or the divergence is unknown.

    Example:
        >>> [float(slope) for slope in derivatives(-1.0, -2.0, -1.5, -1.5, "reverse_kl")]
        [0.5, -0.5]
    """
    plus, minus, plus_0, minus_0 = check_log_probs(
        chosen=chosen, rejected=rejected, reference_chosen=reference_chosen, reference_rejected=reference_rejected
    )
    slope = find_divergence(divergence)
    return slope(plus - plus_0), slope(minus - minus_0)


def find_divergence(divergence: Divergence) -> Callable[[Any], Any]:
    """The function from log u to f'(u) that has the name, or that is given.

    Raises:
        ValueError: if no divergence has the name.

    Example:
        >>> find_divergence("reverse_kl").__name__ == reverse_kl.__name__
        True
    """
    if callable(divergence):
        return divergence
    if isinstance(divergence, str) and divergence == "alpha_divergence":
        raise BadArgument(
            "divergence",
            expected="a function, for it has a parameter",
            got="'alpha_divergence'",
            advice="pass functools.partial(alpha_divergence, alpha=0.5)",
        )
    return divergences[_checks.check_choice("divergence", divergence, divergences)]


def _bounded_expm1(exponent: Array) -> Array:
    """exp(x) - 1, continued by its tangent from a point beyond which sums of a few exponentials would overflow."""
    top = jnp.asarray(690.0 if exponent.dtype == jnp.float64 else 80.0, dtype=exponent.dtype)
    return jnp.expm1(jnp.minimum(exponent, top)) + jnp.exp(top) * jnp.maximum(exponent - top, 0)
