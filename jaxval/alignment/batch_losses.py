"""Alignment by optimal transport: the losses that are of a whole batch and of no pair on its own.

They compare distributions, by matching the k-th smallest number on one side with the k-th smallest on the other. So
they are neither in `losses` nor to be mapped over pairs; what comes out is one loss a quantile.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxval.alignment._pairs import PerPair, check_beta, check_log_probs, check_smoothing
from jaxval.types import BadArgument

__all__ = ["aot", "aot_unpaired"]


def aot(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    label_smoothing: PerPair = 0.0,
) -> Float[Array, "pairs"]:
    """Alignment by optimal transport of a batch, DPO's loss of the sorted margins' differences.

        δ_(k) = [log π(y+|x) - log π(y-|x)]_(k) - [log π0(y+|x) - log π0(y-|x)]_(k)

    where (k) is the k-th smallest in the batch: the policy's margins are to dominate the reference's.

    Source: Melnyk et al., "Distributional Preference Alignment" (2024).

    Args:
        chosen: (pairs,) log π(y+|x).
        rejected: (pairs,) log π(y-|x).
        reference_chosen: (pairs,) log π0(y+|x).
        reference_rejected: (pairs,) log π0(y-|x).
        beta: β > 0.
        label_smoothing: ε in [0, 1/2), as in `dpo`.

    Returns:
        (pairs,) losses, one a quantile.

    Raises:
        ValueError: where an argument is no vector of finite numbers, lengths differ, or an option is out of range.

    Example:
        >>> [round(float(loss), 3) for loss in aot([-1.0, -2.0], [-1.0, -1.0], [-2.0, -1.0], [-1.0, -1.0], beta=1.0)]
        [0.693, 0.693]
    """
    plus, minus, plus_0, minus_0 = _vectors(chosen, rejected, reference_chosen, reference_rejected)
    return _logistic(jnp.sort(plus - minus) - jnp.sort(plus_0 - minus_0), beta, label_smoothing)


def aot_unpaired(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    label_smoothing: PerPair = 0.0,
) -> Float[Array, "pairs"]:
    """The same without pairs: the chosen responses' log-ratios are to dominate the rejected ones'.

        δ_(k) = [log π(y+|x) - log π0(y+|x)]_(k) - [log π(y-|x) - log π0(y-|x)]_(k)

    Source: Melnyk et al., "Distributional Preference Alignment" (2024).

    Args:
        chosen: (pairs,) log π(y+|x).
        rejected: (pairs,) log π(y-|x).
        reference_chosen: (pairs,) log π0(y+|x).
        reference_rejected: (pairs,) log π0(y-|x).
        beta: β > 0.
        label_smoothing: ε in [0, 1/2), as in `dpo`.

    Returns:
        (pairs,) losses, one a quantile.

    Raises:
        ValueError: where an argument is no vector of finite numbers, lengths differ, or an option is out of range.

    Example:
        >>> losses = aot_unpaired([-1.0, -2.0], [-1.0, -1.0], [-2.0, -1.0], [-1.0, -1.0], beta=1.0)
        >>> [round(float(loss), 3) for loss in losses]
        [1.313, 0.313]
    """
    plus, minus, plus_0, minus_0 = _vectors(chosen, rejected, reference_chosen, reference_rejected)
    return _logistic(jnp.sort(plus - plus_0) - jnp.sort(minus - minus_0), beta, label_smoothing)


def _vectors(
    chosen: PerPair, rejected: PerPair, reference_chosen: PerPair, reference_rejected: PerPair
) -> tuple[Array, ...]:
    arrays = check_log_probs(
        chosen=chosen, rejected=rejected, reference_chosen=reference_chosen, reference_rejected=reference_rejected
    )
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1:
        raise BadArgument(
            "chosen",
            expected="a batch (pairs,) in every argument",
            got=f"shapes {[array.shape for array in arrays]}",
            advice="this loss is of a whole batch: call it without vmap",
        )
    return arrays


def _logistic(gap: Array, beta: PerPair, label_smoothing: PerPair) -> Array:
    margin, flipped = check_beta(beta) * gap, check_smoothing(label_smoothing)
    return -(1 - flipped) * jax.nn.log_sigmoid(margin) - flipped * jax.nn.log_sigmoid(-margin)
