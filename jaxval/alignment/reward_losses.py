"""Losses that look at each response's implicit reward on its own, not at the margin of the pair alone.

The implicit reward of a response is r(x, y) = β score(y), score = log π(y|x) - log π0(y|x), or f' of the ratio for
another divergence. As in `margin_losses`, a loss is for one pair, means and weights are the caller's.
"""

import jax
from jaxtyping import Array, Float

from jaxval.alignment._pairs import PerPair, check_beta, check_finite, check_log_probs, check_within
from jaxval.alignment.divergences import Divergence, scores

__all__ = ["apo_down", "apo_zero", "bco", "implicit_reward", "nca", "sppo"]


def implicit_reward(log_prob: PerPair, reference: PerPair, *, beta: PerPair) -> Float[Array, "..."]:
    """The reward that a policy stands for, up to a constant in y: r(x, y) = β [log π(y|x) - log π0(y|x)].

    It inverts `kl_policy`. What trainers report are its means over pairs: of the chosen, of the rejected, of their
    difference (the margin), and of whether the chosen's is larger (the accuracy).

    Source: Rafailov et al. (2023), equation (5).

    Args:
        log_prob: log π(y|x), a scalar or any shape.
        reference: log π0(y|x).
        beta: β > 0, one for all or one a pair.

    Returns:
        The reward, of the same shape.

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or β is not positive.

    Example:
        >>> float(implicit_reward(-1.0, -2.0, beta=0.5))
        0.5
    """
    ours, base = check_log_probs(log_prob=log_prob, reference=reference)
    return check_beta(beta) * (ours - base)


def nca(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """Noise contrastive alignment for one pair, -log σ(r+) - ½ log σ(-r+) - ½ log σ(-r-).

    Source: Chen et al., "Noise Contrastive Alignment" (2024), for two responses.

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.
        divergence: as in `dpo`; the constant of the score matters here.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or an option is out of range or unknown.

    Example:
        >>> round(float(nca(-1.0, -1.0, -1.0, -1.0, beta=1.0)), 4)  # 2 log 2
        1.3863
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    temperature = check_beta(beta)
    plus, minus = temperature * plus, temperature * minus
    return -jax.nn.log_sigmoid(plus) - 0.5 * jax.nn.log_sigmoid(-plus) - 0.5 * jax.nn.log_sigmoid(-minus)


def bco(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    shift: PerPair = 0.0,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """Binary classifier optimisation for one pair, -log σ(r+ - δ) - log σ(-(r- - δ)).

    Source: Jung et al., "Binary Classifier Optimization" (2024).

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.
        shift: δ, in the paper the running mean of (mean r+ + mean r-) / 2 over batches, which the caller keeps; no
            gradient goes through it.
        divergence: as in `dpo`; the constant of the score matters here.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a log-probability or δ is not finite, shapes differ, or an option is out of range or unknown.

    Example:
        >>> round(float(bco(-1.0, -1.0, -1.0, -1.0, beta=1.0)), 4)  # 2 log 2
        1.3863
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    temperature, delta = check_beta(beta), jax.lax.stop_gradient(check_finite("shift", shift))
    return -jax.nn.log_sigmoid(temperature * plus - delta) - jax.nn.log_sigmoid(delta - temperature * minus)


def sppo(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    probability: PerPair = 1.0,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """Self-play preference optimisation for one pair, (score(y+) - (p - ½)/β)² + (score(y-) + (p - ½)/β)².

    Source: Wu et al., "SPPO" (2024), equation (4.7), with 1/η for β.

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.
        probability: p in [0, 1], that y+ is preferred to y-; 1 is the hard form.
        divergence: as in `dpo`; the constant of the score matters here.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or an option is out of range or unknown.

    Example:
        >>> float(sppo(-1.0, -1.0, -1.0, -1.0, beta=0.5))
        2.0
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    share = check_within("probability", probability, lambda p: (p >= 0) & (p <= 1), "a number in [0, 1]")
    target = (share - 0.5) / check_beta(beta)
    return (plus - target) ** 2 + (minus + target) ** 2


def apo_zero(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
) -> Float[Array, "..."]:
    """Anchored preference optimisation for one pair, σ(-r+) + σ(r-): raise the chosen and lower the rejected.

    For data whose chosen responses are better than the policy's own.

    Source: D'Oosterlinck et al., "APO" (2024), equation (7).

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.

    Returns:
        The loss, of the same shape, in (0, 2).

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or β is not positive.

    Example:
        >>> float(apo_zero(-1.0, -1.0, -1.0, -1.0, beta=1.0))
        1.0
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, "reverse_kl")
    temperature = check_beta(beta)
    return jax.nn.sigmoid(-temperature * plus) + jax.nn.sigmoid(temperature * minus)


def apo_down(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
) -> Float[Array, "..."]:
    """Anchored preference optimisation for one pair, σ(r+) + σ(r- - r+): lower both, the rejected more.

    For data whose chosen responses are worse than the policy's own.

    Source: D'Oosterlinck et al., "APO" (2024), equation (8).

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.

    Returns:
        The loss, of the same shape, in (0, 2).

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or β is not positive.

    Example:
        >>> float(apo_down(-1.0, -1.0, -1.0, -1.0, beta=1.0))
        1.0
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, "reverse_kl")
    temperature = check_beta(beta)
    return jax.nn.sigmoid(temperature * plus) + jax.nn.sigmoid(-temperature * (plus - minus))
