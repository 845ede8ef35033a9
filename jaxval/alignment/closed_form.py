"""Closed forms: the KL-regularised optimum of a reward, and the Bradley-Terry loss to which rewards are fitted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.alignment._pairs import PerPair, check_log_probs
from jaxval.types import BadArgument, Number

__all__ = ["bradley_terry", "kl_policy"]

LogProbs = Float[ArrayLike, "*batch responses"] | list


def kl_policy(reference: LogProbs, rewards: LogProbs, *, beta: Number) -> Float[Array, "*batch responses"]:
    """The optimum of a reward near a reference policy, log π(y|x) = log π0(y|x) + r(x, y)/β - log Z(x).

    This policy maximises E_π r(x, y) - β KL(π(.|x) || π0(.|x)). β = ∞ gives the reference, normalised. β = 0 gives the
    limit, in which only the best responses that the reference can give have positive probability, in proportion to the
    reference. Rewards that differ by at most the tolerance (1e-9 in float64, 1e-5 in float32) count as equally good. A
    response at -inf in the reference stays at -inf, and its reward is ignored.

    Source: Tamine et al., equation (5).

    Args:
        reference: (..., responses) log π0, normalised or not.
        rewards: (..., responses) r.
        beta: β in [0, ∞].

    Returns:
        (..., responses) log-probabilities.

    Raises:
        ValueError: if shapes differ, a reward is not finite, a reference is NaN, +inf or -inf throughout, or β is
            negative.

    Example:
        >>> import numpy as np
        >>> reference = np.log([0.5, 0.25, 0.25])
        >>> [round(float(p), 3) for p in np.exp(kl_policy(reference, [0.0, np.log(2), np.log(2)], beta=1.0))]
        [0.333, 0.333, 0.333]
        >>> [round(float(p), 3) for p in np.exp(kl_policy(reference, [1.0, 1.0, 0.0], beta=0.0))]
        [0.667, 0.333, 0.0]
    """
    base, rewards = _check_tilt(reference, rewards)
    beta = _checks.check_number("beta", beta, low=0, high=jnp.inf, expected="a number in [0, inf]")
    possible = base > -jnp.inf
    rewards = jnp.where(possible, rewards, 0)
    best = jnp.max(jnp.where(possible, rewards, -jnp.inf), axis=-1, keepdims=True)
    # The best reward is subtracted, so that the gain is at most 0 and a small β overflows to -inf and not to +inf.
    gain = rewards - jax.lax.stop_gradient(best)
    greedy = jnp.where(gain >= -_checks.tolerance(base.dtype), 0, -jnp.inf)
    tilt = jnp.where(beta == 0, greedy, gain / jnp.where(beta == 0, 1, beta))
    return jax.nn.log_softmax(base + tilt, axis=-1)


def bradley_terry(chosen_reward: PerPair, rejected_reward: PerPair) -> Float[Array, "..."]:
    """The Bradley-Terry loss of one pair, -log σ(r(x, y+) - r(x, y-)); DPO is this loss of the implicit rewards.

    Source: Tamine et al., equation (4).

    Args:
        chosen_reward: r(x, y+), a scalar or an array of any shape.
        rejected_reward: r(x, y-).

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: if a reward is not finite or shapes differ.

    Example:
        >>> round(float(bradley_terry(1.0, 1.0)), 4)
        0.6931
    """
    chosen, rejected = check_log_probs(chosen_reward=chosen_reward, rejected_reward=rejected_reward)
    return -jax.nn.log_sigmoid(chosen - rejected)


def _check_tilt(reference: LogProbs, rewards: LogProbs) -> tuple[Array, Array]:
    base, gains = (
        _checks.numbers(name, value, "an array of numbers, (..., responses)")
        for name, value in (("reference", reference), ("rewards", rewards))
    )
    if base.ndim == 0 or base.shape[-1] == 0:
        raise BadArgument("reference", expected="log-probabilities (..., responses)", got=f"shape {base.shape}")
    if gains.shape != base.shape:
        raise BadArgument("rewards", expected=f"the shape of reference, {base.shape}", got=f"shape {gains.shape}")
    if _checks.concrete(base):
        values = np.asarray(base)
        if np.isnan(values).any() or (values == np.inf).any():
            raise BadArgument("reference", expected="log-probabilities, finite or -inf", got="NaN or +inf")
        if (values == -np.inf).all(axis=-1).any():
            raise BadArgument(
                "reference",
                expected="at least one response above -inf in every row",
                got="a row without such a response",
            )
        if _checks.concrete(gains) and not np.isfinite(np.asarray(gains)[values > -np.inf]).all():
            raise BadArgument(
                "rewards", expected="finite numbers where the reference is above -inf", got="NaN or infinity"
            )
    return base, gains
