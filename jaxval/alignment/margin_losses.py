"""DPO and its siblings: losses of the margin, how much more the policy has raised the chosen than the rejected.

    margin = β [score(y+) - score(y-)],    score = log π(y|x) - log π0(y|x), or f' of the ratio for another divergence.

Losses are for one pair, and means and weights are the caller's: `jnp.mean(weights * dpo(...))`, weights and β being one
for all pairs or one for each. All arguments are scalars, or arrays of one shape for many pairs at once. Values are
checked outside `jit`, `vmap` and `grad`; inside, a log-probability of -inf counts as any number would and may give
infinity or NaN, so that rows which are padding are to be replaced before the loss, not after.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxval.alignment._pairs import PerPair, check_beta, check_lengths, check_smoothing, check_within
from jaxval.alignment.divergences import Divergence, scores

__all__ = ["discopop", "dpo", "exo", "hinge", "ipo", "length_normalised_dpo", "robust_dpo"]


def dpo(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    label_smoothing: PerPair = 0.0,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """Direct preference optimisation for one pair, -(1-ε) log σ(m) - ε log σ(-m) with m = β[score(y+) - score(y-)].

    ε > 0 is conservative DPO: the share of labels that are thought to be flipped.

    Source: Rafailov et al. (2023), equation (7); conservative DPO: Mitchell (2023); divergences: Wang et al. (2024).

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.
        label_smoothing: ε in [0, 1/2).
        divergence: "reverse_kl", "forward_kl", "jensen_shannon", or a function from log u to f'(u) such as
            `functools.partial(alpha_divergence, alpha=0.5)`.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or an option is out of range or unknown.

    Example:
        >>> round(float(dpo(-1.0, -2.0, -1.5, -1.5, beta=1.0)), 4)  # log(1 + 1/e)
        0.3133
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    margin = check_beta(beta) * (plus - minus)
    flipped = check_smoothing(label_smoothing)
    return -(1 - flipped) * jax.nn.log_sigmoid(margin) - flipped * jax.nn.log_sigmoid(-margin)


def robust_dpo(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    label_smoothing: PerPair = 0.0,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """Robust DPO for one pair, [-(1-ε) log σ(m) + ε log σ(-m)] / (1 - 2ε).

    Unbiased where a share ε of the labels is flipped.

    Source: Chowdhury et al., "Provably Robust DPO" (2024).

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.
        label_smoothing: ε in [0, 1/2).
        divergence: as in `dpo`.

    Returns:
        The loss, of the same shape; it has no lower bound where ε > 0.

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or an option is out of range or unknown.

    Example:
        >>> round(float(robust_dpo(-1.0, -2.0, -1.5, -1.5, beta=1.0, label_smoothing=0.25)), 4)
        -0.1867
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    margin = check_beta(beta) * (plus - minus)
    flipped = check_smoothing(label_smoothing)
    clean = -(1 - flipped) * jax.nn.log_sigmoid(margin) + flipped * jax.nn.log_sigmoid(-margin)
    return clean / (1 - 2 * flipped)


def hinge(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """The hinge loss for one pair, max(0, 1 - m); its derivative at m = 1 is 0.

    Source: Zhao et al., "SLiC-HF" (2023); Liu et al., "RSO" (2024).

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair: the reciprocal of the margin wanted.
        divergence: as in `dpo`.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or an option is out of range or unknown.

    Example:
        >>> float(hinge(-1.0, -2.0, -1.5, -1.5, beta=0.5))
        0.5
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    margin = check_beta(beta) * (plus - minus)
    return jax.nn.relu(1 - margin)


def ipo(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    chosen_length: PerPair = 1,
    rejected_length: PerPair = 1,
    *,
    beta: PerPair,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """Identity preference optimisation for one pair, (score(y+)/|y+| - score(y-)/|y-| - 1/(2β))².

    With lengths of 1 it is the paper's loss. With lengths in tokens it is TRL's, which makes β comparable between long
    and short responses.

    Source: Azar et al. (2024), equation (17), with τ for β.

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        chosen_length: |y+| in tokens, or 1.
        rejected_length: |y-| in tokens, or 1.
        beta: β > 0, one for all or one a pair.
        divergence: as in `dpo`.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a log-probability is not finite, a response is empty, shapes differ, or an option is out of
            range or unknown.

    Example:
        >>> float(ipo(-1.0, -2.0, -1.5, -1.5, beta=0.25))
        1.0
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    gap = plus / check_lengths("chosen_length", chosen_length) - minus / check_lengths(
        "rejected_length", rejected_length
    )
    return (gap - 1 / (2 * check_beta(beta))) ** 2


def length_normalised_dpo(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    chosen_length: PerPair,
    rejected_length: PerPair,
    *,
    beta: PerPair,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """DPO with scores per token for one pair, -log σ(β[score(y+)/|y+| - score(y-)/|y-|]).

    Source: Lambert et al., "Tülu 3" (2024); Meng et al., "SimPO" (2024) without a reference.

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        chosen_length: |y+| in tokens.
        rejected_length: |y-| in tokens.
        beta: β > 0, one for all or one a pair.
        divergence: as in `dpo`.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a log-probability is not finite, a response is empty, shapes differ, or an option is out of
            range or unknown.

    Example:
        >>> round(float(length_normalised_dpo(-1.0, -2.0, -1.5, -1.5, 2, 1, beta=4.0)), 4)  # log(1 + e^-3)
        0.0486
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    gap = plus / check_lengths("chosen_length", chosen_length) - minus / check_lengths(
        "rejected_length", rejected_length
    )
    return -jax.nn.log_sigmoid(check_beta(beta) * gap)


def exo(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    label_smoothing: PerPair = 1e-3,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """Efficient exact optimisation for one pair, KL(q || p) with q = (σ(m), σ(-m)) and p = (1-ε, ε).

    Source: Ji et al., "EXO" (2024), equation (16).

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.
        label_smoothing: ε in (0, 1/2); the divergence is infinite at 0.
        divergence: as in `dpo`.

    Returns:
        The loss, of the same shape, at least 0.

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or an option is out of range or unknown.

    Example:
        >>> round(float(exo(-1.0, -1.0, -1.0, -1.0, beta=1.0, label_smoothing=0.1)), 4)
        0.5108
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    margin = check_beta(beta) * (plus - minus)
    flipped = check_smoothing(label_smoothing, positive=True)
    right = jax.nn.sigmoid(margin) * (jax.nn.log_sigmoid(margin) - jnp.log1p(-flipped))
    wrong = jax.nn.sigmoid(-margin) * (jax.nn.log_sigmoid(-margin) - jnp.log(flipped))
    return right + wrong


def discopop(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    temperature: PerPair = 0.05,
    divergence: Divergence = "reverse_kl",
) -> Float[Array, "..."]:
    """DiscoPOP's log-ratio modulated loss for one pair, -σ(-m/τ) log σ(m) + σ(m/τ) e^{-m}.

    Source: Lu et al., "DiscoPOP" (2024), equation (5).

    Args:
        chosen: log π(y+|x), a scalar or any shape.
        rejected: log π(y-|x).
        reference_chosen: log π0(y+|x).
        reference_rejected: log π0(y-|x).
        beta: β > 0, one for all or one a pair.
        temperature: τ > 0. Above 1 the loss grows exponentially as m → -∞ and overflows in the end.
        divergence: as in `dpo`.

    Returns:
        The loss, of the same shape.

    Raises:
        ValueError: where a log-probability is not finite, shapes differ, or an option is out of range or unknown.

    Example:
        >>> round(float(discopop(-1.0, -1.0, -1.0, -1.0, beta=1.0)), 4)  # half of 1 + log 2
        0.8466
    """
    plus, minus = scores(chosen, rejected, reference_chosen, reference_rejected, divergence)
    margin = check_beta(beta) * (plus - minus)
    sharp = margin / check_within("temperature", temperature, lambda tau: tau > 0, "a positive number")
    logistic = -jax.nn.sigmoid(-sharp) * jax.nn.log_sigmoid(margin)
    exponential = jnp.exp(jax.nn.log_sigmoid(sharp) - margin)  # one exponent: σ(m/τ) · e^{-m} would be 0 · ∞
    return logistic + exponential
