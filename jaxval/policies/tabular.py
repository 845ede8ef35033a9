"""Policies whose parameters are the log-probabilities themselves, one for each prompt and response."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxval import _checks
from jaxval.policies.candidates import check_ids, take_candidates
from jaxval.types import BadArgument, LinearLogits, Policy

__all__ = ["tabular"]


def tabular(contexts: int, responses: int) -> Policy:
    """A free number for every prompt and response: log π(·|x) = log softmax θ[x]; θ = 0 is uniform.

    Source: Tamine et al., section 3: every identity is exact for such a policy.

    Args:
        contexts: how many prompts.
        responses: how many candidate responses each has, at least 2.

    Returns:
        A `Policy` with parameters (contexts, responses), zero at the start.

    Raises:
        ValueError: if a number is below 1, or there is one response only; by `log_probs`, if an id is out of
            range.

    Example:
        >>> policy = tabular(1, 2)
        >>> params = policy.init(jax.random.key(0))
        >>> [round(float(p), 4) for p in policy.log_probs(params, [0], [[0, 1]])[0]]
        [-0.6931, -0.6931]
    """
    shape = _checks.check_size("contexts", contexts), _checks.check_size("responses", responses)
    if responses == 1:
        raise BadArgument(
            "responses", expected="at least 2 candidates, for nothing can be preferred to nothing", got="1"
        )

    def init(key: Key[Array, ""] | None = None) -> Float[Array, "contexts responses"]:
        del key  # the uniform policy
        return jnp.zeros(shape)

    def log_probs(params: Any, contexts: Any, responses: Any) -> Float[Array, "rows candidates"]:
        if jnp.shape(params) != shape:
            raise BadArgument("params", expected=f"shape {shape}", got=jnp.shape(params))
        contexts, responses = check_ids(contexts, responses, limits=shape)
        return take_candidates(jax.nn.log_softmax(jnp.asarray(params)[contexts], axis=1), responses)

    return Policy(init, log_probs, LinearLogits(jnp.zeros(shape)))
