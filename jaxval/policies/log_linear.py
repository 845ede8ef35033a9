"""Policies that are linear in features of (prompt, response), and generalise to prompts without training pairs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key

from jaxval import _checks
from jaxval.policies.candidates import check_ids, normalise, take_candidates
from jaxval.types import BadArgument, LinearLogits, Policy

__all__ = ["log_linear"]


def log_linear(
    features: Float[ArrayLike, "contexts responses features"] | list[Any],
    *,
    base: Float[ArrayLike, "contexts responses"] | list[Any] | None = None,
) -> Policy:
    """One weight for each feature: log π(y|x) = b(x, y) + θ·f(x, y) - log Z(x), normalised over the prompt's responses.

    Differences of log-probabilities are linear in θ, so that DPO is a logistic regression, and the identities of
    coalition alignment hold as they do for a table.

    Source: Tamine et al., equations (4) to (6), with rewards linear in f.

    Args:
        features: (contexts, responses, features) numbers f(x, y); `text_features` makes them of text.
        base: (contexts, responses) log-probabilities b at θ = 0, up to a constant in each context; None means uniform.
            -inf marks a response that a context does not have.

    Returns:
        A `Policy` with parameters (features,), zero at the start.

    Raises:
        ValueError: if a feature is not finite, a shape is wrong, or a context has no response. `log_probs` raises it
            if an id is out of range.

    Example:
        >>> policy = log_linear([[[0.0], [1.0]]])
        >>> [round(float(p), 4) for p in jnp.exp(policy.log_probs(jnp.array([1.0]), [0], [[0, 1]]))[0]]
        [0.2689, 0.7311]
    """
    features = _checks.floating("features", features, ndim=3, expected="(contexts, responses, features) numbers")
    if 0 in features.shape:
        raise BadArgument(
            "features", expected="at least one context, one response and one feature", got=f"shape {features.shape}"
        )
    shape = features.shape[:2]
    base = jnp.zeros(shape) if base is None else jnp.asarray(base, dtype=float)
    if base.shape != shape:
        raise BadArgument(
            "base", expected=f"shape {shape}, that of the first two axes of features", got=f"shape {base.shape}"
        )
    if _checks.concrete(base):
        values = np.asarray(base)
        if np.isnan(values).any() or (values == np.inf).any():
            raise BadArgument("base", expected="log-probabilities, finite or -inf", got="NaN or infinity")
        if (values == -np.inf).all(axis=1).any():
            raise BadArgument(
                "base",
                expected="a response in every context",
                got=f"none in context {int((values == -np.inf).all(1).argmax())}",
            )
    base = normalise(base)

    def init(key: Key[Array, ""] | None = None) -> Float[Array, "features"]:
        del key  # the base policy
        return jnp.zeros(features.shape[2])

    def log_probs(params: Any, contexts: Any, responses: Any) -> Float[Array, "rows candidates"]:
        if jnp.shape(params) != features.shape[2:]:
            raise BadArgument(
                "params",
                expected=f"shape {features.shape[2:]}, one weight for each feature",
                got=f"shape {jnp.shape(params)}",
            )
        contexts, responses = check_ids(contexts, responses, limits=shape)
        return _log_probs(base, features, jnp.asarray(params), contexts, responses)

    return Policy(init, log_probs, LinearLogits(base, features))


@jax.jit
def _log_probs(base: Array, features: Array, params: Array, contexts: Array, responses: Array) -> Array:
    scores = base[contexts] + features[contexts] @ params
    return take_candidates(jax.nn.log_softmax(scores, axis=1), responses)
