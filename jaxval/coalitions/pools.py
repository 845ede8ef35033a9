"""Utilities of all coalitions from one pool of sampled responses, by self-normalised importance sampling.

Responses y_1, ..., y_m to a prompt x are drawn from a proposal q, usually the mixture Σ_k a_k π_k of the reference π_0
and the policies of the sources. Every policy scores every response. With s_k = log π_k(y|x),

    log w_S(y) = s_0 + Σ_{ℓ∈S} (s_ℓ - s_0) - log q,    u_S(x) = Σ_j w_S(y_j) r(x, y_j) / Σ_j w_S(y_j),

and u(S) is the mean of u_S(x) over the prompts. The error of u_S(x) falls like m^{-1/2}, and its bias like 1/m.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Num

from jaxval import _checks
from jaxval.types import BadArgument, Utility

__all__ = ["pool_proposal", "pool_sizes", "pool_utility"]

PoolLogProbs = Float[ArrayLike, "policies prompts samples"] | list[Any]
PoolRewards = Num[ArrayLike, "prompts samples *objectives"] | list[Any]
PoolProposal = Float[ArrayLike, "prompts samples"] | list[Any] | None
Labels = Int[ArrayLike, "prompts samples"] | list[Any]

BLOCK_DRAWS = 2**14  # draws whose weights are computed at a time, for each coalition of a batch
ROUNDING = 1e-6  # the log-probability of a response that is certain may exceed 0 by this much
NEVER, TINY = -1e30, 1e-10  # in place of a step of -inf, of which 0 times is 0; the least weight of a source
HIGHEST = jax.lax.Precision.HIGHEST


def pool_utility(
    log_probs: PoolLogProbs, rewards: PoolRewards, *, proposal: PoolProposal = None, by_context: bool = False
) -> Utility:
    """The utility of coalitions from one pool of samples, u(S) = E_x E_{y~π_S} r(x, y).

    π_S ∝ π_0 Π_{ℓ∈S} π_ℓ / π_0 is the policy of `combine` over all responses, not over a catalogue. All coalitions
    share the draws. The result goes wherever a utility goes: to tables, and to sampled, regressed and asymmetric
    values. For real weights λ in place of a mask it is smooth, with the gradient
    ∂u/∂λ_ℓ = E_x Cov_{π_λ}(r, s_ℓ - s_0). Memory holds the weights of about 16,000 draws for each coalition of a batch.

    If few draws carry nearly all weight, the number says little: `pool_diagnostics` computes effective sample sizes,
    and refuses a pool whose log-probabilities cannot be those of its draws.

    Source: Tamine et al., equation (6); Veach and Guibas (1995) for the mixture, the balance heuristic.

    Args:
        log_probs: (sources + 1, prompts, samples) log π_k(y|x) of whole responses, the reference first; -inf for a
            response that a policy never gives.
        rewards: (prompts, samples) or (prompts, samples, objectives).
        proposal: (prompts, samples) log q(y|x), for which a constant may be left out in each prompt; inf marks a slot
            without a draw, for prompts with fewer samples. None means the mixture of all policies in equal shares;
            `pool_proposal` computes that of other shares.
        by_context: whether every prompt is an objective of its own, u_x(S).

    Returns:
        A function of a mask (sources,), or of weights, to a scalar or (objectives,); with `by_context` to
        (prompts * objectives,), those of one prompt together.

    Raises:
        ValueError: if shapes do not fit, a log-probability is NaN or above 0, a prompt has no draw, a draw could not
            come from the proposal, or the reward of a draw is not finite.

    Example:
        >>> from jaxval import coalitions
        >>> log_probs = jnp.log(jnp.array([[[0.5, 0.5]], [[0.75, 0.25]], [[0.5, 0.5]]]))
        >>> utility = pool_utility(log_probs, [[1.0, 0.0]], proposal=jnp.log(jnp.array([[0.5, 0.5]])))
        >>> [round(float(u), 4) for u in coalitions.tabulate(utility, 2)]
        [0.5, 0.75, 0.5, 0.75]
    """
    pool = weigh_pool(log_probs, rewards, proposal)
    scalar, sources, prompts = np.ndim(rewards) == 2, len(pool.steps), len(pool.base)
    blocks = split_prompts(pool)

    def utility(coalition: Array) -> Array:
        members = jnp.asarray(coalition).astype(blocks.base.dtype)
        if members.shape != (sources,):
            got = f"shape {members.shape}"
            raise BadArgument("coalition", expected=f"one entry for each of {sources} sources", got=got)
        each = jax.lax.map(lambda block: _block_utilities(members, block), blocks)  # (blocks, together, objectives)
        each = each.reshape(-1, each.shape[-1])[:prompts]
        found = each.reshape(-1) if by_context else jnp.sum(each, axis=0) / prompts
        if _checks.concrete(found) and bool(jnp.any(jnp.isnan(found))):
            expected = "members that leave a draw of every prompt possible, none with a negative weight impossible"
            raise BadArgument("coalition", expected=expected, got=np.asarray(members).tolist())
        return found[0] if scalar and not by_context else found

    return utility


def pool_sizes(log_probs: PoolLogProbs, *, proposal: PoolProposal = None) -> Utility:
    """The effective sample sizes of coalitions, ESS_S(x) = (Σ_j w_j)² / Σ_j w_j², for masks or real weights.

    They are smooth in the weights, and `sources.best_weights` keeps them above a floor. `pool_diagnostics` computes
    those of many coalitions at once.

    Source: Kong (1992).

    Args:
        log_probs: (sources + 1, prompts, samples) as in `pool_utility`.
        proposal: (prompts, samples) as in `pool_utility`.

    Returns:
        A function of a mask (sources,), or of weights, to (prompts,) sizes, from 1 to the number of draws.

    Raises:
        ValueError: as `pool_utility` does.

    Example:
        >>> log_probs = np.log([[[0.5, 0.5]], [[0.75, 0.25]]])
        >>> [round(float(size), 4) for size in pool_sizes(log_probs, proposal=np.log([[0.5, 0.5]]))(jnp.ones(1))]
        [1.6]
    """
    pool = weigh_pool(log_probs, np.zeros(_checks.real_array("log_probs", log_probs).shape[1:]), proposal)
    blocks, prompts = split_prompts(pool), len(pool.base)

    def sizes(coalition: Array) -> Array:
        members = jnp.asarray(coalition).astype(blocks.base.dtype)

        def of_block(block: WeighedPool) -> Array:
            weights = _block_weights(members, block)
            return jnp.sum(weights, axis=1) ** 2 / jnp.sum(weights**2, axis=1)

        return jax.lax.map(of_block, blocks).reshape(-1)[:prompts]

    return sizes


def pool_proposal(log_probs: PoolLogProbs, drawn_from: Labels) -> Float[Array, "prompts samples"]:
    """The log-probability of each draw under the mixture that the pool was drawn from, log q = log Σ_k a_k π_k.

    The share a_k of a prompt is the share of its draws that came from π_k.

    Args:
        log_probs: (policies, prompts, samples) log π_k(y|x) of everything that draws came from: the reference, the
            sources, and further proposals after them.
        drawn_from: (prompts, samples) the index of the policy that each draw came from; -1 marks a slot without a draw.

    Returns:
        (prompts, samples) log q, inf in a slot without a draw, as `pool_utility` takes it.

    Raises:
        ValueError: if shapes do not fit, a log-probability is NaN or above 0, or an index is out of range.

    Example:
        >>> log_probs = jnp.log(jnp.array([[[0.5, 0.5, 0.25]], [[0.75, 0.75, 0.125]]]))
        >>> [round(float(q), 4) for q in jnp.exp(pool_proposal(log_probs, [[0, 0, 1]]))[0]]
        [0.5833, 0.5833, 0.2083]
    """
    scores = check_log_probs(log_probs)
    labels = check_labels(drawn_from, scores)
    shares = label_shares(labels, len(scores))
    return jnp.asarray(mixture(scores, shares, labels >= 0), dtype=float)


class WeighedPool(NamedTuple):
    """A pool in the form in which weights are computed: log w_λ = base + Σ_ℓ λ_ℓ steps_ℓ.

    Attributes:
        base: (prompts, samples) s_0 - log q; -inf without a draw, or if the reference never gives the response.
        steps: (sources, prompts, samples) s_ℓ - s_0; 0 if the base is -inf, `NEVER` if only s_ℓ is.
        rewards: (prompts, samples, objectives) less their mean over the draws of the prompt; 0 without a draw.
        centre: (prompts, objectives) those means.
    """

    base: Any
    steps: Any
    rewards: Any
    centre: Any


def weigh_pool(log_probs: Any, rewards: Any, proposal: Any) -> WeighedPool:
    """The pool as steps and rewards. Differences are taken in float64 if all values are known."""
    known = _checks.concrete(log_probs, rewards, proposal)
    numpy: Any = np if known else jnp
    scores = check_log_probs(log_probs, numpy)
    if len(scores) < 2:
        raise BadArgument("log_probs", expected="the reference and at least one source", got=f"{len(scores)} policies")
    log_q = mixture(scores) if proposal is None else check_proposal(proposal, scores, numpy)
    drawn = log_q < numpy.inf
    if known and not drawn.any(axis=1).all():
        got = f"none to prompt {int(drawn.any(axis=1).argmin())}"
        raise BadArgument("proposal", expected="at least one drawn response to every prompt", got=got)
    reward = _check_rewards(rewards, drawn, numpy)
    possible = drawn & (scores[0] > -numpy.inf)
    first = numpy.where(possible, scores[0], 0)
    base = numpy.where(possible, first - numpy.where(drawn, log_q, 0), -numpy.inf)
    steps = numpy.where(possible[None], numpy.maximum(scores[1:] - first[None], NEVER), 0)
    means = reward.sum(axis=1) / numpy.maximum(drawn.sum(axis=1), 1)[:, None]
    centred = numpy.where(drawn[:, :, None], reward - means[:, None], 0)
    return WeighedPool(*(part.astype(jnp.zeros(0).dtype) for part in (base, steps, centred, means)))


def split_prompts(pool: WeighedPool) -> WeighedPool:
    """The pool in blocks of about `BLOCK_DRAWS` draws, on a first axis; the last is filled up with empty prompts."""
    prompts, samples = pool.base.shape
    blocks = -(-prompts * samples // BLOCK_DRAWS)
    together = -(-prompts // blocks)
    blocks = -(-prompts // together)

    def split(part: Any, axis: int = 0) -> Array:
        padding = [(0, blocks * together - prompts if k == axis else 0) for k in range(part.ndim)]
        shape = (*part.shape[:axis], blocks, together, *part.shape[axis + 1 :])
        numpy = np if _checks.concrete(part) else jnp
        return _checks.known_array(numpy.moveaxis(numpy.pad(part, padding).reshape(shape), axis, 0))

    return WeighedPool(split(pool.base), split(pool.steps, 1), split(pool.rewards), split(pool.centre))


def log_weights(members: Array, pool: WeighedPool) -> Array:
    """The logs of the weights w, (*rows, prompts, samples), of masks (*rows, sources), by one product."""
    moved = jnp.tensordot(members, pool.steps, 1, precision=HIGHEST)
    # A draw that a member never gives has moved by about NEVER. A negative weight of such a source has no policy.
    moved = jnp.where(moved < NEVER * TINY, -jnp.inf, jnp.where(moved > -NEVER * TINY, jnp.nan, moved))
    return pool.base.reshape((1,) * (members.ndim - 1) + pool.base.shape) + moved


def _block_weights(members: Array, block: WeighedPool) -> Array:
    """w_j / max w of every prompt of a block, (prompts, samples)."""
    log_w = log_weights(members, block)
    # The largest weight of a prompt becomes 1 before exp, so that nothing overflows; the shift cancels in every ratio.
    return jnp.exp(log_w - jax.lax.stop_gradient(jnp.max(log_w, axis=1, keepdims=True)))


def _block_utilities(members: Array, block: WeighedPool) -> Array:
    """Σ_j w r / Σ_j w of every prompt of a block, (prompts, objectives)."""
    weights = _block_weights(members, block)
    shares = weights / jnp.sum(weights, axis=1, keepdims=True)
    return jnp.einsum("xj,xjr->xr", shares, block.rewards, precision=HIGHEST) + block.centre


def check_log_probs(log_probs: Any, numpy: Any = np) -> Any:
    """(policies, prompts, samples) log-probabilities, with NumPy in float64."""
    expected = "(policies, prompts, samples) log-probabilities"
    try:
        scores = numpy.asarray(_checks.real_array("log_probs", log_probs, expected), dtype=float)
    except (TypeError, ValueError):
        raise BadArgument("log_probs", expected=expected, got=f"{type(log_probs).__name__} that is no array") from None
    if scores.ndim != 3 or 0 in scores.shape:
        raise BadArgument("log_probs", expected=expected, got=f"shape {scores.shape}")
    if numpy is np and not (right := scores <= ROUNDING).all():
        place = tuple(int(k) for k in np.argwhere(~right)[0])
        raise BadArgument(
            "log_probs",
            expected="log-probabilities of whole responses, at most 0",
            got=f"{scores[place]:g} at {list(place)}",
            advice="pass the sum over the tokens of a response, not a loss or a mean",
        )
    return scores


def check_proposal(proposal: Any, scores: Any, numpy: Any = np) -> Any:
    """(prompts, samples) log q: above -inf; inf without a draw."""
    shape, log_q = scores.shape[1:], numpy.asarray(_checks.real_array("proposal", proposal), dtype=float)
    if log_q.shape != shape:
        raise BadArgument("proposal", expected=f"(prompts, samples) = {shape}, as log_probs has", got=log_q.shape)
    if numpy is np and not (right := log_q > -np.inf).all():
        place = tuple(int(k) for k in np.argwhere(~right)[0])
        got = f"{log_q[place]} at {list(place)}"
        raise BadArgument("proposal", expected="the log-probability with which each draw was drawn", got=got)
    return log_q


def check_labels(drawn_from: Any, scores: np.ndarray) -> np.ndarray:
    """(prompts, samples) indices of policies, -1 without a draw."""
    labels = np.asarray(_checks.real_array("drawn_from", drawn_from, "(prompts, samples) whole numbers"))
    if labels.shape != scores.shape[1:] or labels.dtype.kind not in "iu":
        expected = f"(prompts, samples) = {scores.shape[1:]} whole numbers"
        raise BadArgument("drawn_from", expected=expected, got=f"{labels.dtype} of shape {labels.shape}")
    if labels.min() < -1 or labels.max() >= len(scores):
        got = f"{labels.min()} to {labels.max()}"
        raise BadArgument("drawn_from", expected=f"indices of {len(scores)} policies, or -1", got=got)
    return labels


def label_shares(labels: np.ndarray, policies: int) -> np.ndarray:
    """(policies, prompts) the share of each prompt's draws that came from each policy."""
    counts = np.stack([(labels == k).sum(axis=1) for k in range(policies)])
    return counts / np.maximum(counts.sum(axis=0), 1)


def mixture(scores: Any, shares: np.ndarray | None = None, drawn: np.ndarray | None = None) -> Any:
    """(prompts, samples) log Σ_k a_k π_k; None means equal shares, and a draw in every slot."""
    numpy: Any = np if isinstance(scores, np.ndarray) else jnp
    peak = scores.max(axis=0)
    peak = numpy.where(peak > -numpy.inf, peak, 0)
    total = numpy.zeros_like(peak)
    for k, score in enumerate(scores):
        share = 1 / len(scores) if shares is None else shares[k][:, None]
        total = total + share * numpy.exp(score - peak)
    empty = numpy.zeros_like(peak, dtype=bool) if drawn is None else ~drawn
    if numpy is np and not (possible := (total > 0) | empty).all():
        place = [int(k) for k in np.argwhere(~possible)[0]]
        expected = "every draw to be possible under what it was drawn from"
        raise BadArgument("log_probs", expected=expected, got=f"probability 0 for the draw at {place}")
    return numpy.where(empty, numpy.inf, numpy.log(numpy.where(total > 0, total, 1)) + peak)


def _check_rewards(rewards: Any, drawn: Any, numpy: Any) -> Any:
    """(prompts, samples, objectives) rewards, finite for every draw, and 0 without a draw."""
    array = numpy.asarray(_checks.real_array("rewards", rewards), dtype=float)
    if array.shape[:2] != drawn.shape or array.ndim not in (2, 3) or array.size == 0:
        shape = ", ".join(map(str, drawn.shape))
        expected = f"({shape}) or ({shape}, objectives), as log_probs has"
        raise BadArgument("rewards", expected=expected, got=f"shape {array.shape}")
    array = array.reshape(*drawn.shape, -1)
    if numpy is np and len(wrong := np.argwhere(~np.isfinite(array) & drawn[:, :, None])):
        raise BadArgument("rewards", expected="finite numbers", got=f"{array[tuple(wrong[0])]} at {wrong[0].tolist()}")
    return numpy.where(drawn[:, :, None], array, 0)
