"""Alignment by optimal transport: losses of a whole batch, which are not defined for a single pair.

The losses compare two distributions over the batch. The k-th smallest number of one is matched with the k-th smallest
of the other, and the loss of each quantile is DPO's link of β δ_(k). These losses are not in `losses`, and must not be
mapped over pairs.

Both functions take log π(y+|x), log π(y-|x), log π0(y+|x) and log π0(y-|x) of all pairs, (pairs,) each, then β > 0 and
the label smoothing of `dpo`. They return (pairs,) losses. They raise a ValueError if an argument is not a vector of
finite numbers, lengths differ, or an option is out of range.

Source: Melnyk et al., "Distributional Preference Alignment" (2024).
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxval.alignment._pairs import PerPair, check_beta, check_log_probs, check_one_shape, check_smoothing
from jaxval.alignment.margin_losses import dpo
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
    """AOT for pairs: the policy's differences of log-probabilities should dominate those of the reference.

        δ_(k) = [log π(y+|x) - log π(y-|x)]_(k) - [log π0(y+|x) - log π0(y-|x)]_(k)

    Example:
        >>> [round(float(loss), 3) for loss in aot([-1.0, -2.0], [-1.0, -1.0], [-2.0, -1.0], [-1.0, -1.0], beta=1.0)]
        [0.693, 0.693]
    """
    plus, minus, plus_0, minus_0 = _vectors(chosen, rejected, reference_chosen, reference_rejected)
    gap = jnp.sort(plus - minus) - jnp.sort(plus_0 - minus_0)
    return _dpo_link(gap, beta, label_smoothing)


def aot_unpaired(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    label_smoothing: PerPair = 0.0,
) -> Float[Array, "pairs"]:
    """AOT without pairs: the log-ratios of the chosen responses should dominate those of the rejected responses.

        δ_(k) = [log π(y+|x) - log π0(y+|x)]_(k) - [log π(y-|x) - log π0(y-|x)]_(k)

    Example:
        >>> losses = aot_unpaired([-1.0, -2.0], [-1.0, -1.0], [-2.0, -1.0], [-1.0, -1.0], beta=1.0)
        >>> [round(float(loss), 3) for loss in losses]
        [1.313, 0.313]
    """
    plus, minus, plus_0, minus_0 = _vectors(chosen, rejected, reference_chosen, reference_rejected)
    gap = jnp.sort(plus - plus_0) - jnp.sort(minus - minus_0)
    return _dpo_link(gap, beta, label_smoothing)


def _dpo_link(gap: Array, beta: PerPair, label_smoothing: PerPair) -> Array:
    beta, label_smoothing = check_beta(beta), check_smoothing(label_smoothing)
    check_one_shape(chosen=gap, beta=beta, label_smoothing=label_smoothing)
    return dpo.record.link(beta * gap, label_smoothing=label_smoothing)


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
