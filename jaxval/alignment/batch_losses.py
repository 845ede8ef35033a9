"""Alignment by optimal transport: losses of a whole batch, which no pair has on its own.

They compare distributions: the k-th smallest number on one side is matched with the k-th smallest on the other, and the
loss of each quantile is DPO's link of β δ_(k). Such losses are not in `losses` and are not to be mapped over pairs.

Both functions take log π(y+|x), log π(y-|x), log π0(y+|x) and log π0(y-|x) of all pairs, (pairs,) each, then β > 0 and
the label smoothing of `dpo`; they return (pairs,) losses, and raise a ValueError if an argument is no vector of finite
numbers, lengths differ, or an option is out of range.

Source: Melnyk et al., "Distributional Preference Alignment" (2024).
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxval.alignment._pairs import PerPair, check_beta, check_log_probs
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
    """The policy's differences of a pair are to dominate the reference's.

        δ_(k) = [log π(y+|x) - log π(y-|x)]_(k) - [log π0(y+|x) - log π0(y-|x)]_(k)

    Example:
        >>> [round(float(loss), 3) for loss in aot([-1.0, -2.0], [-1.0, -1.0], [-2.0, -1.0], [-1.0, -1.0], beta=1.0)]
        [0.693, 0.693]
    """
    plus, minus, plus_0, minus_0 = _vectors(chosen, rejected, reference_chosen, reference_rejected)
    gap = jnp.sort(plus - minus) - jnp.sort(plus_0 - minus_0)
    return dpo.record.link(check_beta(beta) * gap, label_smoothing=label_smoothing)


def aot_unpaired(
    chosen: PerPair,
    rejected: PerPair,
    reference_chosen: PerPair,
    reference_rejected: PerPair,
    *,
    beta: PerPair,
    label_smoothing: PerPair = 0.0,
) -> Float[Array, "pairs"]:
    """The chosen responses' log-ratios are to dominate the rejected ones'.

        δ_(k) = [log π(y+|x) - log π0(y+|x)]_(k) - [log π(y-|x) - log π0(y-|x)]_(k)

    Example:
        >>> losses = aot_unpaired([-1.0, -2.0], [-1.0, -1.0], [-2.0, -1.0], [-1.0, -1.0], beta=1.0)
        >>> [round(float(loss), 3) for loss in losses]
        [1.313, 0.313]
    """
    plus, minus, plus_0, minus_0 = _vectors(chosen, rejected, reference_chosen, reference_rejected)
    gap = jnp.sort(plus - plus_0) - jnp.sort(minus - minus_0)
    return dpo.record.link(check_beta(beta) * gap, label_smoothing=label_smoothing)


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
