"""Policies whose parameters are logits, one for each prompt and response."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxval import _checks
from jaxval.policies.candidates import check_ids, take_candidates
from jaxval.types import BadArgument, LinearLogits, Policy

__all__ = ["tabular"]


def tabular(contexts: int, responses: int) -> Policy:
    """A policy with one logit for every prompt and response: log π(·|x) = log softmax θ[x]; θ = 0 is uniform.

    Source: Tamine et al., section 3, whose identities are exact for such a policy.

    Args:
        contexts: the number of prompts.
        responses: the number of candidate responses of each prompt, at least 2.

    Returns:
        A `Policy` with parameters (contexts, responses), zero at the start.

    Raises:
        ValueError: if `contexts` is below 1 or `responses` below 2. `log_probs` raises it if an id is out of range.

    Example:
        >>> policy = tabular(1, 2)
        >>> params = policy.init(jax.random.key(0))
        >>> [round(float(p), 4) for p in policy.log_probs(params, [0], [[0, 1]])[0]]
        [-0.6931, -0.6931]
    """
    shape = _checks.check_size("contexts", contexts), _checks.check_size("responses", responses)
    if responses == 1:
        raise BadArgument(
            "responses", expected="at least 2 candidates, because a preference pair compares two", got="1"
        )

    _checks.check_memory("contexts", *shape)

    def init(key: Key[Array, ""] | None = None) -> Float[Array, "contexts responses"]:
        del key  # the uniform policy
        return _checks.known_array(np.zeros(shape))

    def log_probs(params: Any, contexts: Any, responses: Any) -> Float[Array, "rows candidates"]:
        params = _checks.real_array("params", params, f"shape {shape}, one logit for each response")
        if jnp.shape(params) != shape:
            raise BadArgument(
                "params", expected=f"shape {shape}, one logit for each response", got=f"shape {jnp.shape(params)}"
            )
        contexts, responses = check_ids(contexts, responses, limits=shape)
        return _log_probs(jnp.asarray(params), contexts, responses)

    return Policy(init, log_probs, LinearLogits(_checks.known_array(np.zeros(shape))))


@jax.jit
def _log_probs(params: Array, contexts: Array, responses: Array) -> Array:
    return take_candidates(jax.nn.log_softmax(params[contexts], axis=1), responses)
