"""Losses of both implicit rewards, which depend on the reward of each response and not on the margin alone.

The implicit reward of a response is r(x, y) = β ρ(y) with ρ(y) = log π(y|x) - log π0(y|x). For another divergence
ρ is f' of the ratio π/π0, and the constant in f' changes these losses. Each function below is a link
ℓ(r+, r-). `reward_loss` turns a link into the loss of one pair of log-probabilities. `registry` documents the arguments
that all losses take.
"""

from __future__ import annotations

import jax
from jaxtyping import Array, Float

from jaxval.alignment._pairs import PerPair, check_beta, check_finite, check_log_probs, check_one_shape, check_within
from jaxval.alignment.registry import reward_loss

__all__ = ["apo_down", "apo_zero", "bco", "implicit_reward", "nca", "sppo"]


def implicit_reward(log_prob: PerPair, reference: PerPair, *, beta: PerPair) -> Float[Array, "..."]:
    """The reward of which a policy is the optimum, up to a constant in y: r(x, y) = β [log π(y|x) - log π0(y|x)].

    The function inverts `kl_policy`. Trainers report means over pairs: of the rewards of the chosen and of the rejected
    responses, of their difference (the margin), and of whether the chosen response has the larger reward (the
    accuracy).

    Source: Rafailov et al. (2023), equation (5).

    Args:
        log_prob: log π(y|x), a scalar or an array of any shape.
        reference: log π0(y|x), of the same shape.
        beta: β > 0, one number for all pairs or one for each.

    Returns:
        The reward, of the same shape.

    Raises:
        ValueError: if a log-probability is not finite, shapes differ, or β is not positive.

    Example:
        >>> float(implicit_reward(-1.0, -2.0, beta=0.5))
        0.5
    """
    ours, base = check_log_probs(log_prob=log_prob, reference=reference)
    beta = check_beta(beta)
    check_one_shape(log_prob=ours - base, beta=beta)
    return beta * (ours - base)


@reward_loss(source='Chen et al., "Noise Contrastive Alignment" (2024), for two responses')
def nca(plus: Array, minus: Array) -> Array:
    """Noise contrastive alignment, ℓ(r+, r-) = -log σ(r+) - ½ log σ(-r+) - ½ log σ(-r-).

    Example:
        >>> round(float(nca(-1.0, -1.0, -1.0, -1.0, beta=1.0)), 4)  # 2 log 2
        1.3863
    """
    return -jax.nn.log_sigmoid(plus) - 0.5 * jax.nn.log_sigmoid(-plus) - 0.5 * jax.nn.log_sigmoid(-minus)


@reward_loss(source='Jung et al., "Binary Classifier Optimization" (2024)')
def bco(plus: Array, minus: Array, *, shift: PerPair = 0.0) -> Array:
    """Binary classifier optimisation, ℓ(r+, r-) = -log σ(r+ - δ) - log σ(-(r- - δ)).

    In the paper, the shift δ is the running mean of (mean r+ + mean r-) / 2 over batches. The caller computes this
    running mean. No gradient goes through the shift.

    Example:
        >>> round(float(bco(-1.0, -1.0, -1.0, -1.0, beta=1.0)), 4)  # 2 log 2
        1.3863
    """
    delta = jax.lax.stop_gradient(check_finite("shift", shift))
    return -jax.nn.log_sigmoid(plus - delta) - jax.nn.log_sigmoid(delta - minus)


@reward_loss(source='Wu et al., "SPPO" (2024), equation (4.7), with 1/η for β')
def sppo(plus: Array, minus: Array, *, beta: Array | float, probability: PerPair = 1.0) -> Array:
    """Self-play preference optimisation, ℓ(r+, r-) = ((r+ - (p - ½)) / β)² + ((r- + (p - ½)) / β)².

    p in [0, 1] is the probability that y+ is preferred to y-; p = 1 is the hard form.

    Example:
        >>> float(sppo(-1.0, -1.0, -1.0, -1.0, beta=0.5))
        2.0
    """
    target = check_within("probability", probability, lambda p: (p >= 0) & (p <= 1), "a number in [0, 1]") - 0.5
    return ((plus - target) / beta) ** 2 + ((minus + target) / beta) ** 2


@reward_loss(source='D\'Oosterlinck et al., "APO" (2024), equation (7)')
def apo_zero(plus: Array, minus: Array) -> Array:
    """Anchored preference optimisation, ℓ(r+, r-) = σ(-r+) + σ(r-): raise the chosen and lower the rejected.

    This loss is for data whose chosen responses are better than those of the policy.

    Example:
        >>> float(apo_zero(-1.0, -1.0, -1.0, -1.0, beta=1.0))
        1.0
    """
    return jax.nn.sigmoid(-plus) + jax.nn.sigmoid(minus)


@reward_loss(source='D\'Oosterlinck et al., "APO" (2024), equation (8)')
def apo_down(plus: Array, minus: Array) -> Array:
    """Anchored preference optimisation, ℓ(r+, r-) = σ(r+) + σ(r- - r+): lower both, the rejected more.

    This loss is for data whose chosen responses are worse than those of the policy.

    Example:
        >>> float(apo_down(-1.0, -1.0, -1.0, -1.0, beta=1.0))
        1.0
    """
    return jax.nn.sigmoid(plus) + jax.nn.sigmoid(minus - plus)


__test__ = {name: globals()[name].__doc__ for name in __all__}  # doctest does not look into decorated functions
