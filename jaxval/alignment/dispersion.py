"""The dispersion of preferences at a prompt, estimated from the entropy of the reference policy.

An index Ĥ(x) in (0, 1] gives a weight w(x) = -c log Ĥ(x), which takes the place of -2 log φ(x) in MallowsPO. The
dispersion is therefore φ(x) = Ĥ(x)^{c/2}. If the reference has low entropy, consensus is expected, and the pair counts
for more. No gradient goes through an index.

Source: Chen et al., "MallowsPO" (ICLR 2025), and the authors' code, which uses c = 0.29 and does not clamp the index.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.alignment._pairs import PerPair, check_one_shape, check_within
from jaxval.alignment.tokens import check_tokens
from jaxval.types import BadArgument

__all__ = ["dispersion_from_index", "dispersion_weight", "entropy_index", "response_entropy_index"]

FLOOR = 1e-6


def entropy_index(
    chosen_entropies: Float[ArrayLike, "tokens"] | list,
    chosen_mask: Any,
    rejected_entropies: Float[ArrayLike, "tokens"] | list,
    rejected_mask: Any,
    *,
    vocabulary: int,
    floor: float = FLOOR,
) -> Float[Array, ""]:
    """The dispersion index of a prompt from next-token entropies of the reference along both responses of a pair.

        Ĥ(x) = 1/2 Σ_{y in (y+, y-)} ( Σ_t m_t H_t ) / ( (Σ_t m_t) log V ),   clamped to [ε, 1].

    Args:
        chosen_entropies: (tokens,) entropies H_t, in nats, of the next-token distribution at each token of y+.
        chosen_mask: (tokens,) 1 on the tokens of y+, else 0.
        rejected_entropies: (tokens,) the same for y-, whose length may differ.
        rejected_mask: (tokens,) 1 on the tokens of y-, else 0.
        vocabulary: V, at least 2.
        floor: ε in (0, 1].

    Returns:
        Ĥ(x) in [ε, 1].

    Raises:
        ValueError: if lengths differ, a response is empty, an entropy is negative or not finite, or V or ε is out of
            range.

    Example:
        >>> import numpy as np
        >>> round(float(entropy_index([np.log(4), 0.0], [1, 1], [np.log(2)], [1], vocabulary=4)), 4)
        0.5
    """
    if _checks.check_size("vocabulary", vocabulary) < 2:
        raise BadArgument("vocabulary", expected="at least 2 tokens", got=vocabulary)
    means = []
    for name, entropies, mask in (
        ("chosen_entropies", chosen_entropies, chosen_mask),
        ("rejected_entropies", rejected_entropies, rejected_mask),
    ):
        array, inside = check_tokens(entropies, mask, name=name)
        if _checks.concrete(array, inside) and np.asarray(array)[np.asarray(inside)].min() < -1e-6:
            raise BadArgument(name, expected="entropies, which are not negative", got=f"{np.asarray(array).min():g}")
        means.append(jnp.sum(jnp.where(inside, array, 0)) / jnp.sum(inside))
    return _clamp((means[0] + means[1]) / (2 * np.log(vocabulary)), floor)


def response_entropy_index(
    reference: Float[ArrayLike, "*batch responses"] | list, *, floor: float = FLOOR
) -> Float[Array, "*batch"]:
    """The dispersion index of a tabular policy: the entropy of the reference divided by the largest possible entropy.

        Ĥ(x) = -Σ_y π0(y|x) log π0(y|x) / log R,   clamped to [ε, 1], R the number of responses above -inf.

    With a single response, preferences cannot be dispersed, and Ĥ = ε.

    Args:
        reference: (..., responses) log π0, which the function normalises; -inf means a missing response.
        floor: ε in (0, 1].

    Returns:
        (...,) Ĥ(x) in [ε, 1].

    Raises:
        ValueError: if a log-probability is NaN or inf, a row is -inf throughout, or ε is out of range.

    Example:
        >>> import numpy as np
        >>> float(response_entropy_index(np.log([0.5, 0.5])))
        1.0
    """
    base = _checks.numbers("reference", reference)
    if base.ndim == 0 or base.shape[-1] == 0:
        raise BadArgument("reference", expected="log-probabilities (..., responses)", got=f"shape {base.shape}")
    if _checks.concrete(base):
        values = np.asarray(base)
        if np.isnan(values).any() or (values == np.inf).any() or (values == -np.inf).all(axis=-1).any():
            raise BadArgument(
                "reference",
                expected="log-probabilities, finite or -inf, at least one of them finite in every row",
                got="NaN, inf, or a row of -inf",
            )
    log_probs = jax.nn.log_softmax(base, axis=-1)
    possible = base > -jnp.inf
    entropy = -jnp.sum(jnp.where(possible, jnp.exp(log_probs) * jnp.where(possible, log_probs, 0), 0), axis=-1)
    count = jnp.sum(possible, axis=-1)
    return _clamp(jnp.where(count > 1, entropy / jnp.log(jnp.maximum(count, 2)), 0), floor)


def dispersion_weight(index: PerPair, *, scale: PerPair = 0.29) -> Float[Array, "..."]:
    """The weight of a prompt, w(x) = -c log Ĥ(x), which takes the place of -2 log φ(x).

    Args:
        index: Ĥ(x) in (0, 1], a scalar or an array of any shape.
        scale: c > 0; the authors' code uses 0.29.

    Returns:
        w ≥ 0, of the same shape.

    Raises:
        ValueError: if the index is outside (0, 1] or the scale is not positive.

    Example:
        >>> round(float(dispersion_weight(0.5, scale=2.0)), 4)
        1.3863
    """
    index, scale = _check_index(index), _check_scale(scale)
    check_one_shape(index=index, scale=scale)
    return -scale * jnp.log(index)


def dispersion_from_index(index: PerPair, *, scale: PerPair = 0.29) -> Float[Array, "..."]:
    """The dispersion of an index: -2 log φ(x) = -c log Ĥ(x), so φ(x) = Ĥ(x)^{c/2}.

    With c = 2 the dispersion equals the index.

    Args:
        index: Ĥ(x) in (0, 1], a scalar or an array of any shape.
        scale: c > 0; the authors' code uses 0.29.

    Returns:
        φ in (0, 1], of the same shape: the option `dispersion` of `mallows_theta` and `mallows_phi`.

    Raises:
        ValueError: if the index is outside (0, 1] or the scale is not positive.

    Example:
        >>> round(float(dispersion_from_index(0.25, scale=1.0)), 4)
        0.5
    """
    return jnp.exp(-dispersion_weight(index, scale=scale) / 2)


def _clamp(index: Array, floor: float) -> Array:
    least = check_within("floor", floor, lambda values: (values > 0) & (values <= 1), "a number in (0, 1]")
    if least.ndim:
        raise BadArgument("floor", expected="one number in (0, 1]", got=f"shape {least.shape}")
    return jax.lax.stop_gradient(jnp.clip(index, least, 1))


def _check_index(index: PerPair) -> Array:
    return check_within("index", index, lambda values: (values > 0) & (values <= 1), "an index in (0, 1]")


def _check_scale(scale: PerPair) -> Array:
    return check_within("scale", scale, lambda c: (c > 0) & np.isfinite(c), "a positive finite number")
