"""From the log-probabilities of tokens to one number for each response, which losses take.

A mask is 1 on the response's tokens, and 0 on the prompt's tokens and on padding.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["confidence_weight", "desensitised_log_prob", "negative_log_likelihood", "response_log_prob"]

Tokens = Float[ArrayLike, "tokens"] | list
Mask = Any


def response_log_prob(token_log_probs: Tokens, mask: Mask) -> Float[Array, ""]:
    """Log π(y|x) = Σ_t m_t log π(y_t | x, y_<t).

    Args:
        token_log_probs: (tokens,) log-probabilities; numbers at which the mask is 0 are ignored.
        mask: (tokens,) 1 on the response's tokens.

    Returns:
        The log-probability of the response.

    Raises:
        ValueError: if lengths differ or the response is empty.

    Example:
        >>> float(response_log_prob([-1.0, -0.5, -9.0], [1, 1, 0]))
        -1.5
    """
    log_probs, inside = check_tokens(token_log_probs, mask)
    return jnp.sum(jnp.where(inside, log_probs, 0))


def negative_log_likelihood(token_log_probs: Tokens, mask: Mask) -> Float[Array, ""]:
    """The loss of supervised training on one response, -Σ_t m_t log π(y_t | x, y_<t).

    Divided by the number of tokens, it is the mean over the tokens of a response. The sum over a batch, divided by the
    number of tokens of the batch, is the mean over tokens that TRL adds to a preference loss.

    Args:
        token_log_probs: (tokens,) log-probabilities; numbers at which the mask is 0 are ignored.
        mask: (tokens,) 1 on the response's tokens.

    Returns:
        The loss.

    Raises:
        ValueError: if lengths differ or the response is empty.

    Example:
        >>> float(negative_log_likelihood([-1.0, -0.5, -9.0], [1, 1, 0]))
        1.5
    """
    return -response_log_prob(token_log_probs, mask)


def desensitised_log_prob(
    token_log_probs: Tokens, mask: Mask, shared: Any, *, alpha: float | Float[Any, ""]
) -> Float[Array, ""]:
    """A log-probability in which tokens beyond the length of the shorter response of the pair have weight α.

        Σ_{k < shared} log π(y_k | ...) + α Σ_{k >= shared} log π(y_k | ...),   k counting the response's tokens.

    In place of log π(y|x), for the policy and for the reference, it turns DPO into length-desensitised DPO.

    Source: Liu et al., "LD-DPO" (2024).

    Args:
        token_log_probs: (tokens,) log-probabilities; numbers at which the mask is 0 are ignored.
        mask: (tokens,) 1 on the response's tokens.
        shared: the number of tokens of the shorter response of the pair.
        alpha: α in [0, 1]; 1 is `response_log_prob`.

    Returns:
        The log-probability whose tail has weight α.

    Raises:
        ValueError: if lengths differ, the response is empty, or α is outside [0, 1].

    Example:
        >>> float(desensitised_log_prob([-1.0, -0.5, -2.0], [1, 1, 1], 2, alpha=0.5))
        -2.5
    """
    log_probs, inside = check_tokens(token_log_probs, mask)
    tail = _checks.check_number("alpha", alpha, low=0, high=1, expected="a number in [0, 1]")
    shared = _checks.check_number("shared", shared, low=0, high=np.inf, expected="a number of tokens")
    weight = jnp.where(jnp.cumsum(inside) <= shared, 1, tail)
    return jnp.sum(weight * jnp.where(inside, log_probs, 0))


def confidence_weight(token_log_probs: Tokens, mask: Mask, log_sum_squares: Tokens | None = None) -> Float[Array, ""]:
    """The weight of a response by its likelihood, w = exp mean_t [log π(y_t | ...) - log Σ_v π(v | ...)²].

    Weighted preference optimisation multiplies the loss of a pair by the weights of its two responses:
    `confidence_weight(chosen, ...) * confidence_weight(rejected, ...) * dpo(...)`. No gradient goes through a weight.

    Source: Zhou et al., "WPO" (2024), equation (2), with the weights aligned as TRL does.

    Args:
        token_log_probs: (tokens,) log-probabilities of the policy; numbers at which the mask is 0 are ignored.
        mask: (tokens,) 1 on the response's tokens.
        log_sum_squares: (tokens,) log Σ_v π(v | ...)² over the vocabulary; None leaves this term out.

    Returns:
        The weight, at least 0.

    Raises:
        ValueError: if lengths differ or the response is empty.

    Example:
        >>> round(float(confidence_weight([-1.0, -0.5], [1, 1])), 4)  # exp(-3/4)
        0.4724
    """
    log_probs, inside = check_tokens(token_log_probs, mask)
    if log_sum_squares is not None:
        log_probs = log_probs - check_tokens(log_sum_squares, mask, name="log_sum_squares")[0]
    mean = jnp.sum(jnp.where(inside, log_probs, 0)) / jnp.sum(inside)
    return jax.lax.stop_gradient(jnp.exp(mean))


def check_tokens(values: Tokens, mask: Mask, *, name: str = "token_log_probs") -> tuple[Array, Array]:
    """Check one number for each token, finite on the response; return the numbers and the response's boolean mask."""
    array, inside = _checks.numbers(name, values), _checks.numbers("mask", mask, "1 or 0 for each token") != 0
    if array.ndim != 1 or inside.shape != array.shape:
        raise BadArgument(
            name,
            expected="one number for each token of one response, and a mask of that length",
            got=f"shapes {array.shape} and {inside.shape}",
            advice="map over responses with jax.vmap",
        )
    if _checks.concrete(inside) and not np.asarray(inside).any():
        raise BadArgument("mask", expected="a response of at least one token", got="an empty one")
    if _checks.concrete(array, inside) and not np.isfinite(np.asarray(array)[np.asarray(inside)]).all():
        raise BadArgument(name, expected="finite numbers where the mask is 1", got="NaN or infinity")
    return array, inside
