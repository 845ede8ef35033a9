"""Model arithmetic over candidate responses, and the expected rewards of the policies it makes."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Num

from jaxval import _checks
from jaxval.policies.candidates import normalise
from jaxval.types import BadArgument, Utility

__all__ = ["combine", "expected_reward", "reward_utility"]

LogProbs = Float[ArrayLike, "*contexts candidates"] | list[Any]
Rewards = Num[ArrayLike, "contexts candidates *objectives"] | list[Any]
ContextWeights = Float[ArrayLike, "contexts"] | list[Any] | None
SourceLogProbs = Float[ArrayLike, "sources *contexts candidates"] | list[Any]


def combine(
    reference: LogProbs,
    sources: SourceLogProbs,
    coalition: Bool[ArrayLike, "sources"] | Num[ArrayLike, "sources"] | list[Any],
) -> Float[Array, "*contexts candidates"]:
    """The policy of a coalition from one policy for each source: π_S ∝ exp(Σ_{ℓ∈S} s_ℓ + (1 - |S|) s_0).

    In other words, log π_S = s_0 + Σ_ℓ c_ℓ (s_ℓ - s_0), normalised over the candidates; c is the mask or any weights.
    The empty coalition gives the reference. A candidate that the reference never gives (-inf) stays impossible; one
    that a member never gives has probability 0 for the coalition. If the members exclude each other's candidates, so
    that none is left in a row, the coalition has no policy: the row is NaN under `jit`, and an error outside it.

    Source: Tamine et al., the display after equation (6); exact for policies at their optimum.

    Args:
        reference: (..., candidates) s_0, log-probabilities up to a constant in each row.
        sources: (sources, ..., candidates) s_ℓ, log-probabilities up to a constant in each row.
        coalition: (sources,) a mask, or a weight for each source.

    Returns:
        (..., candidates) log-probabilities, each row's probabilities summing to one.

    Raises:
        ValueError: if shapes do not fit, a log-probability is NaN, or the coalition leaves no candidate in a row.

    Example:
        >>> sources = jnp.log(jnp.array([[0.75, 0.25], [0.5, 0.5]]))
        >>> policy = combine(jnp.log(jnp.array([0.5, 0.5])), sources, [True, True])
        >>> [round(float(p), 4) for p in jnp.exp(policy)]
        [0.75, 0.25]
    """
    reference, steps, excluded = _steps(reference, sources)
    return _log_softmax(_scores(reference, steps, excluded, coalition))


def expected_reward(
    log_probs: LogProbs, rewards: Rewards, *, weights: ContextWeights = None, by_context: bool = False
) -> Float[Array, "..."]:
    """The value of a policy over candidates, v(π) = E_x Σ_y π(y|x) r(x, y), under one reward or several at once.

    The policy is conditioned on the candidates. A response that it never gives adds 0, whatever its reward.

    Source: Tamine et al., equation (1).

    Args:
        log_probs: (contexts, candidates) log-probabilities.
        rewards: (contexts, candidates) numbers r, or (contexts, candidates, objectives).
        weights: (contexts,) the distribution of contexts; None means the mean.
        by_context: whether each context is an objective instead of being averaged; `weights` must then be None.

    Returns:
        A number, or (objectives,). With `by_context`, (contexts,) or (contexts · objectives,), where the objectives of
        one context stand side by side.

    Raises:
        ValueError: if shapes do not fit, a row has no candidate, or a reward of a candidate is not finite.

    Example:
        >>> round(float(expected_reward(jnp.log(jnp.array([[0.75, 0.25]])), [[1.0, 0.0]])), 4)
        0.75
    """
    chances, weighted = _reward_parts(log_probs, rewards, weights, by_context=by_context)
    return _expectation(chances, weighted, by_context=by_context)


def reward_utility(
    reference: LogProbs,
    sources: SourceLogProbs,
    rewards: Rewards,
    *,
    weights: ContextWeights = None,
    by_context: bool = False,
) -> Utility:
    """The utility of a coalition: the expected reward of the policy that `combine` gives, u(S) = v(π_S).

    The result can be passed wherever a utility is expected; `coalitions.tabulate` evaluates all 2^n coalitions from n
    trainings. A coalition whose members exclude each other's responses has no policy and no utility, as in `combine`.

    With `by_context`, every context is an objective of its own, u_x(S) = Σ_y π_S(y|x) r(x, y). Values are linear in the
    utility, so that one table gives the values of every context, and their mean is the value.

    Source: Tamine et al., equations (2) and (7).

    Args:
        reference: (contexts, candidates) log-probabilities of the reference.
        sources: (sources, contexts, candidates) log-probabilities of the policy of each source.
        rewards: (contexts, candidates) or (contexts, candidates, objectives).
        weights: (contexts,) the distribution of contexts; None means the mean.
        by_context: whether contexts are objectives, as in `expected_reward`.

    Returns:
        A function of a mask (sources,), or of weights, to what `expected_reward` gives.

    Raises:
        ValueError: if shapes do not fit, a log-probability is NaN, or a reward of a candidate is not finite.

    Example:
        >>> from jaxval import coalitions
        >>> policies = jnp.log(jnp.array([[[0.75, 0.25]], [[0.5, 0.5]]]))
        >>> utility = reward_utility(jnp.log(jnp.array([[0.5, 0.5]])), policies, [[1.0, 0.0]])
        >>> [round(float(u), 4) for u in coalitions.tabulate(utility, 2)]
        [0.5, 0.75, 0.5, 0.75]
    """
    reference, steps, excluded = _steps(reference, sources)
    _, weighted = _reward_parts(reference, rewards, weights, by_context=by_context)

    def utility(coalition: Array) -> Array:
        chances = _softmax(_scores(reference, steps, excluded, coalition))
        return _expectation(chances, weighted, by_context=by_context)

    return utility


def _steps(reference: Any, sources: Any) -> tuple[Array, Array, Array | None]:
    """The normalised s_0, each source's step s_ℓ - s_0, and which candidates it excludes, with a step of 0.

    None stands for no exclusions: to look for them in each of many coalitions takes as long as all the rest.
    """
    reference, sources = _checks.numbers("reference", reference), _checks.numbers("sources", sources)
    if reference.ndim == 0 or sources.shape[1:] != reference.shape or 0 in sources.shape:
        raise BadArgument(
            "sources",
            expected=(
                f"shape (sources, {', '.join(map(str, reference.shape))}), as the reference has, and at least "
                "one source"
            ),
            got=sources.shape,
        )
    for name, value in (("reference", reference), ("sources", sources)):
        if _checks.concrete(value) and not (np.asarray(value) < np.inf).all():
            raise BadArgument(name, expected="log-probabilities, finite or -inf", got="NaN or infinity")
    reference, steps, excluded = _normalised_steps(reference, sources)
    return reference, steps, None if _checks.concrete(excluded) and not np.asarray(excluded).any() else excluded


@jax.jit
def _normalised_steps(reference: Array, sources: Array) -> tuple[Array, Array, Array]:
    there = jnp.broadcast_to(jnp.isfinite(reference)[None], sources.shape)
    base = jnp.broadcast_to(jnp.where(jnp.isfinite(reference), reference, 0)[None], sources.shape)
    excluded = there & (sources == -jnp.inf)
    return normalise(reference), jnp.where(there & ~excluded, sources - base, 0), excluded


def _scores(reference: Array, steps: Array, excluded: Array | None, coalition: Any) -> Array:
    """s_0 + Σ c_ℓ (s_ℓ - s_0), or -inf if a member excludes the candidate; known scores leave one in every row."""
    members = _checks.check_members("coalition", coalition, f"one entry for each of {len(steps)} sources")
    if members.shape != (len(steps),):
        raise BadArgument(
            "coalition", expected=f"one entry for each of {len(steps)} sources", got=f"shape {members.shape}"
        )
    scores = _add_steps(reference, steps, excluded, members)
    if _checks.concrete(scores) and (none := (np.asarray(scores) == -np.inf).all(axis=-1)).any():
        raise BadArgument(
            "coalition",
            expected="members that leave a candidate in every row",
            got=(
                f"{np.flatnonzero(members).tolist()}, who leave none in row {np.argwhere(none)[0].tolist()}, as the "
                "reference or a member gives each candidate probability 0"
            ),
        )
    return scores


@jax.jit
def _add_steps(reference: Array, steps: Array, excluded: Array | None, members: Array) -> Array:
    scores = reference + jnp.tensordot(members, steps, 1)
    if excluded is None:
        return scores
    barred = jnp.any(excluded & (members > 0).reshape(-1, *(1,) * (steps.ndim - 1)), axis=0)
    return jnp.where(barred, -jnp.inf, scores)


# Both are NaN in a row without a candidate.
_softmax, _log_softmax = jax.jit(jax.nn.softmax), jax.jit(jax.nn.log_softmax)


@functools.partial(jax.jit, static_argnames="by_context")
def _expectation(chances: Array, weighted: Array, *, by_context: bool) -> Array:
    """Σ_y π(y|x) r(x, y), summed over contexts or one after another."""
    if by_context:
        return jnp.einsum("xy,xy...->x...", chances, weighted).ravel()
    return jnp.tensordot(chances, weighted, 2)


def _reward_parts(log_probs: Any, rewards: Any, weights: Any, *, by_context: bool) -> tuple[Array, Array]:
    """π(y|x), and each reward times the share of its context, or 0 if the policy never gives the response."""
    if _checks.check_flag("by_context", by_context) and weights is not None:
        raise BadArgument(
            "weights", expected="none with by_context=True, because contexts are then not averaged", got="weights"
        )
    log_probs, rewards = _checks.numbers("log_probs", log_probs), _checks.numbers("rewards", rewards)
    if log_probs.ndim != 2 or rewards.shape[:2] != log_probs.shape or rewards.ndim > 3:
        raise BadArgument(
            "rewards",
            expected=(
                "shape (contexts, candidates) or (contexts, candidates, objectives), and log-probabilities of shape "
                "(contexts, candidates)"
            ),
            got=f"rewards of shape {rewards.shape} and log-probabilities of shape {log_probs.shape}",
        )
    contexts = len(log_probs)
    share = 1.0 if by_context else 1 / contexts
    shares = _checks.numbers("weights", np.full(contexts, share) if weights is None else weights)
    if shares.shape != (contexts,):
        raise BadArgument("weights", expected=f"one for each of {contexts} contexts", got=f"shape {shares.shape}")
    if weights is not None and _checks.concrete(shares) and abs(np.asarray(shares).sum() - 1) > 1e-5:
        raise BadArgument("weights", expected="shares that sum to one", got=f"a sum of {np.asarray(shares).sum():g}")
    if _checks.concrete(log_probs) and not (np.asarray(log_probs) < np.inf).all():
        raise BadArgument("log_probs", expected="log-probabilities, finite or -inf", got="NaN or infinity")
    if _checks.concrete(log_probs) and (none := (np.asarray(log_probs) == -np.inf).all(axis=1)).any():
        got = f"probability 0 for all candidates in row {none.argmax()}"
        raise BadArgument("log_probs", expected="a candidate of positive probability in each row", got=got)
    if _checks.concrete(rewards, log_probs):
        given = (np.asarray(log_probs) > -np.inf).reshape(*log_probs.shape, *(1,) * (rewards.ndim - 2))
        wrong = np.argwhere(~np.isfinite(np.asarray(rewards)) & given)
        if len(wrong):
            raise BadArgument(
                "rewards", expected="finite numbers", got=f"{rewards[tuple(wrong[0])]} at {wrong[0].tolist()}"
            )
    return _weighted_rewards(log_probs, rewards, shares)


@jax.jit
def _weighted_rewards(log_probs: Array, rewards: Array, shares: Array) -> tuple[Array, Array]:
    given = (log_probs > -jnp.inf).reshape(*log_probs.shape, *(1,) * (rewards.ndim - 2))
    chances = jnp.exp(normalise(log_probs))
    return chances, jnp.where(given, rewards, 0) * shares.reshape(-1, *(1,) * (rewards.ndim - 1))
