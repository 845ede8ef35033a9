"""Preference functions of sparse comparisons: P of pairs that were seldom or never compared.

A model gives every pair a chance, and the counts of a pair are shrunk towards it:

    logit P(i ≻ j) = r_i - r_j + Σ_k (a_ik b_jk - b_ik a_jk)
    P̂(i ≻ j) = (wins[i, j] + s P(i ≻ j)) / (wins[i, j] + wins[j, i] + s)

r are the rewards of Bradley-Terry. The sum is a skew-symmetric matrix of rank at most 2K, in which cycles are possible.
The parameters minimise -Σ wins[i, j] log P(i ≻ j) + ρ/2 |r|² + λ/2 (|a|² + |b|²). The last term is λ/2 times the sum of
the singular values of the cyclic part, so a large λ leaves few of them, and λ = ∞ leaves Bradley-Terry.
`choose_strengths` chooses ρ, λ and s by the log-likelihood of comparisons that were held out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key

from jaxval import _checks
from jaxval.preferences.ballots import check_wins, empirical_matrix
from jaxval.preferences.newton import damped_descent
from jaxval.preferences.rewards import ContextWins, bradley_terry_solve
from jaxval.types import BadArgument, Wins

__all__ = [
    "MODELS",
    "Strengths",
    "choose_strengths",
    "complete_matrix",
    "held_out_log_likelihood",
    "smoothed_matrix",
]

MODELS = ("tie", "bradley-terry", "low-rank")
RANK = 2
MAX_STEPS = 200
RIDGES = np.append(2.0 ** np.arange(-5, 9), np.inf)
CYCLES = np.append(2.0 ** np.arange(-1, 7), np.inf)
COUNTS = np.append(2.0 ** np.arange(-1, 10), np.inf)


class Strengths(NamedTuple):
    """How strongly a model of P is regularised, and how strongly counts are shrunk towards it.

    Attributes:
        ridge: ρ, the penalty on the rewards. With inf, all rewards are 0, and P is 1/2 unless there is a cyclic part.
        cycles: λ, the penalty on the cyclic part. With inf, there is no cyclic part.
        counts: s: the model counts as much as s comparisons of every pair. With 0, P̂ of a compared pair is the share of
            wins, and the model decides only pairs that were never compared. With inf, P̂ is the model.
    """

    ridge: Float[ArrayLike, ""]
    cycles: Float[ArrayLike, ""] = np.inf
    counts: Float[ArrayLike, ""] = 0.0


def smoothed_matrix(wins: Wins, strengths: Strengths, *, rank: int = RANK) -> Float[Array, "alternatives alternatives"]:
    """The preference function of counts that are shrunk towards a model of them, (wins + s P) / (n + s).

    P is the model of `jaxval.preferences.sparse`, with logits r_i - r_j + Σ_k (a_ik b_jk - b_ik a_jk), and n the number
    of comparisons of the pair. The function may be called under `jit` and `vmap`, over counts and strengths.

    Source: Bradley and Terry (1952); the cyclic part is the blade-chest model of Chen and Joachims (2016), with the
    penalty of Srebro, Rennie and Jaakkola (2004).

    Args:
        wins: (alternatives, alternatives) counts; the diagonal is ignored.
        strengths: ρ, λ and s, each in [0, inf], the first two above 0.
        rank: K, how many pairs of factors the cyclic part has.

    Returns:
        (alternatives, alternatives) array with P + Pᵀ = 1 and 1/2 on the diagonal. Inside `jit`, it is NaN throughout
        if the fit did not converge.

    Raises:
        ValueError: if counts are negative or not square, or a strength is out of range.
        RuntimeError: if the fit did not converge (outside `jit`).

    Example:
        A beat b three times, and b beat c three times. A and c never met.

        >>> wins = [[0.0, 3.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]
        >>> round(float(smoothed_matrix(wins, Strengths(ridge=1.0))[0, 2]), 2)
        0.85
    """
    wins, rank = check_wins(wins), _checks.check_size("rank", rank)
    _checks.check_memory("rank", 2, len(wins), rank)
    _checks.check_record("strengths", strengths, Strengths)
    ridge, cycles, counts = (
        _checks.check_number(f"strengths.{name}", value, low=low, high=np.inf, expected=expected)
        for (name, value), low, expected in zip(
            zip(Strengths._fields, strengths, strict=True),
            (1e-30, 1e-30, 0.0),
            ("a number above 0, or inf", "a number above 0, or inf", "a number of at least 0, or inf"),
            strict=True,
        )
    )
    cyclic = not _checks.concrete(cycles) or bool(np.isfinite(cycles))
    matrix = _smoothed(wins, ridge, cycles, counts, rank=rank if cyclic else 0)
    if _checks.concrete(matrix) and np.isnan(np.asarray(matrix)).any():
        raise RuntimeError(
            f"smoothed_matrix did not converge in {MAX_STEPS} steps; pass larger strengths, or compute in float64: "
            "jax.config.update('jax_enable_x64', True)"
        )
    return matrix


def complete_matrix(
    key: Key[Array, ""], wins: Wins, *, unseen: str = "bradley-terry", rank: int = RANK
) -> tuple[Float[Array, "alternatives alternatives"], Strengths | None]:
    """The preference function of counts, which are shrunk towards a model if some pair was never compared.

    If every pair was compared, or `unseen` is "tie", this is `empirical_matrix`. Otherwise it is `smoothed_matrix` with
    the strengths of `choose_strengths`: the model decides pairs that were never compared, and the counts of all other
    pairs are shrunk towards it too.

    Args:
        key: a random key, which decides what is held out.
        wins: (alternatives, alternatives) counts.
        unseen: "tie": 1/2 for a pair that was never compared; "bradley-terry" or "low-rank": the model.
        rank: K of the low-rank model.

    Returns:
        (P̂, the strengths); the strengths are None if P̂ is that of the counts alone.

    Raises:
        ValueError: if counts are negative or not square, there are too few comparisons to hold some out, or `unseen`
            is another word.

    Example:
        Four alternatives, from best to worst; the first and the last never met.

        >>> wins = 8 * jnp.triu(jnp.ones((4, 4)), 1) + 2 * jnp.tril(jnp.ones((4, 4)), -1)
        >>> wins = wins.at[0, 3].set(0).at[3, 0].set(0)
        >>> matrix, strengths = complete_matrix(jax.random.key(0), wins)
        >>> bool(matrix[0, 3] > 0.8), strengths.cycles
        (True, inf)
    """
    _checks.check_choice("unseen", unseen, MODELS)
    wins = check_wins(wins)
    seen = np.asarray(wins + wins.T) + np.eye(len(wins)) > 0
    if unseen == "tie" or seen.all():
        return empirical_matrix(wins), None
    strengths = choose_strengths(key, wins, model=unseen, rank=rank)
    return smoothed_matrix(wins, strengths, rank=rank), strengths


def choose_strengths(
    key: Key[Array, ""], wins: Wins | ContextWins, *, model: str, folds: int = 5, rank: int = RANK
) -> Strengths:
    """The strengths under which comparisons that were held out are most likely.

    ρ and λ decide P of pairs that were never compared, so whole pairs are held out to choose these two: first ρ, with
    λ = ∞, and then λ. The strength s decides how far the counts of a pair are believed, so a share of every pair's
    comparisons is held out to choose s. Each strength is the best of a fixed grid.

    Args:
        key: a random key, which decides what is held out.
        wins: (alternatives, alternatives) counts; or (contexts, alternatives, alternatives), where each context has its
            own model, and all contexts share the strengths. A fraction of a count, as of a tie, is held out whole.
        model: "tie" shrinks towards 1/2; "bradley-terry" and "low-rank" shrink towards the model.
        folds: the number of parts, each of which is held out once; at most one for each pair that was compared.
        rank: K of the low-rank model.

    Returns:
        `Strengths`.

    Raises:
        ValueError: if counts are negative or not square, fewer than two pairs were compared, or the model is another
            word.

    Example:
        >>> wins = [[0.0, 9.0, 0.0], [1.0, 0.0, 9.0], [0.0, 1.0, 0.0]]
        >>> choose_strengths(jax.random.key(0), wins, model="tie", folds=2).cycles
        inf
    """
    _checks.check_choice("model", model, MODELS)
    wins, rank = check_wins(wins, contexts=True), _checks.check_size("rank", rank)
    _checks.check_memory("rank", 2, wins.shape[-1], rank)
    wins = wins.reshape(-1, *wins.shape[-2:])
    one, two = jax.random.split(_checks.check_key(key))
    pairs, rows = (hold_out(k, wins, by=by, folds=folds) for k, by in ((one, "pairs"), (two, "comparisons")))
    best = Strengths(np.inf, np.inf, np.inf)

    def chosen(held: Array, name: str, grid: np.ndarray) -> Strengths:
        rank_of = rank if np.isfinite(best.cycles) or name == "cycles" else 0
        scores = _scores(wins, held, best._replace(**{name: jnp.asarray(grid)}), name=name, rank=rank_of)
        return best._replace(**{name: float(grid[int(np.argmax(scores))])})

    if model != "tie":
        best = chosen(pairs, "ridge", RIDGES)
    if model == "low-rank":
        best = chosen(pairs, "cycles", CYCLES)
    return chosen(rows, "counts", COUNTS)


def held_out_log_likelihood(
    key: Key[Array, ""],
    wins: Wins,
    estimate: Callable[[Array], Array],
    *,
    by: str = "pairs",
    folds: int = 5,
) -> Float[Array, "alternatives alternatives"]:
    """Σ wins[i, j] log P̂(i ≻ j), where P̂ is estimated without the comparisons that it is judged by.

    Args:
        key: a random key, which decides what is held out.
        wins: (alternatives, alternatives) counts.
        estimate: a function from counts to P̂ that JAX can trace, such as `empirical_matrix`.
        by: "pairs": a pair is held out with all its comparisons, to judge P̂ of pairs that were never compared;
            "comparisons": a share of every pair's comparisons is held out.
        folds: the number of parts, each of which is held out once; at most one for each pair that was compared.

    Returns:
        (alternatives, alternatives) sums, one for each ordered pair. The total of the sums divided by the total of
        `wins` is the mean log-likelihood of a comparison, in nats.

    Raises:
        ValueError: if counts are negative or not square, fewer than two pairs were compared, or `by` is another word.

    Example:
        >>> wins = jnp.array([[0.0, 3.0], [3.0, 0.0]])
        >>> total = held_out_log_likelihood(jax.random.key(0), wins, empirical_matrix, by="comparisons", folds=2)
        >>> total.shape
        (2, 2)
    """
    wins = check_wins(wins)
    _checks.check_function("estimate", estimate, "a function from counts to P")
    held = hold_out(_checks.check_key(key), wins, by=by, folds=folds)

    def of_rest(part: Array) -> Array:
        matrix = _checks.numbers("what estimate returns", estimate(wins - part))
        if matrix.shape != wins.shape:
            raise BadArgument("what estimate returns", expected=f"P of shape {wins.shape}", got=f"shape {matrix.shape}")
        return matrix

    matrices = jax.lax.map(of_rest, held)
    return jnp.sum(_log_likelihood(held, matrices), axis=0)


def hold_out(key: Key[Array, ""], wins: ArrayLike, *, by: str, folds: int) -> Float[Array, "folds *contexts M M"]:
    """The counts in `folds` parts, whole pairs or single comparisons in each."""
    _checks.check_choice("by", by, ("pairs", "comparisons"))
    counts = np.asarray(wins, dtype=float)
    counts = counts * (1 - np.eye(counts.shape[-1]))
    pairs = np.triu(counts + np.swapaxes(counts, -1, -2)) > 0
    some = int(pairs.sum()) if by == "pairs" else int(np.ceil(counts.sum()))
    folds = min(_checks.check_size("folds", folds), some)
    if folds < 2:
        raise BadArgument(
            "wins",
            expected=f"at least two {by} and two folds, so that some can be held out",
            got=f"{some} {by}",
            advice="count pairs that were never compared as ties",
        )
    _checks.check_memory("folds", folds, *counts.shape)
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    if by == "pairs":
        fold = np.zeros(counts.shape, dtype=int)
        fold[pairs] = random.permutation(np.arange(pairs.sum()) % folds)
        fold += np.swapaxes(fold, -1, -2)
        parts = np.where(fold[None] == np.arange(folds).reshape(-1, *(1,) * counts.ndim), counts[None], 0)
    else:
        whole = np.floor(counts).astype(np.int64)
        parts = np.moveaxis(random.multinomial(whole, np.full(folds, 1 / folds)), -1, 0).astype(float)
        fold = random.integers(folds, size=(1, *counts.shape))
        rest = (counts - whole)[None]
        np.put_along_axis(parts, fold, np.take_along_axis(parts, fold, 0) + rest, 0)
    return jnp.asarray(parts, dtype=float)


def _log_likelihood(wins: Array, matrix: Array) -> Array:
    return jnp.where(wins > 0, wins * jnp.log(jnp.where(wins > 0, matrix, 1)), 0)


@functools.partial(jax.jit, static_argnames=("name", "rank"))
def _scores(wins: Array, held: Array, strengths: Strengths, *, name: str, rank: int) -> Array:
    """The log-likelihood of what was held out, for each value of the strength that has the name."""

    def of_context(pair: tuple[Array, Array]) -> Array:
        wins, part = pair
        if name == "counts":  # one fit serves all
            model = _model(wins - part, strengths.ridge, strengths.cycles, rank=rank)
            matrices = jax.vmap(lambda counts: _shrunk(wins - part, model, counts))(strengths.counts)
        else:
            fits = {"ridge": strengths.ridge, "cycles": strengths.cycles}
            matrices = jax.lax.map(
                lambda value: _model(wins - part, **{**fits, name: value}, rank=rank), getattr(strengths, name)
            )
        scores = jnp.sum(_log_likelihood(part[None], matrices), axis=(1, 2))
        return jnp.where(jnp.isnan(scores), -jnp.inf, scores)  # a fit that did not converge is not chosen

    def of_fold(
        part: Array,
    ) -> Array:  # a loop: batches of linear algebra inside loops can block XLA's threads for ever
        return jnp.sum(jax.lax.map(of_context, (wins, part)), axis=0)

    return jnp.sum(jax.lax.map(of_fold, held), axis=0)


@functools.partial(jax.jit, static_argnames="rank")
def _smoothed(wins: Array, ridge: Array, cycles: Array, counts: Array, *, rank: int) -> Array:
    return _shrunk(wins, _model(wins, ridge, cycles, rank=rank), counts)


def _shrunk(wins: Array, model: Array, counts: Array) -> Array:
    """(wins + s P) / (n + s), with the model's P alone if s is infinite or the pair was never compared."""
    seen = wins + wins.T
    alone = jnp.isinf(counts) | (seen + counts == 0) | jnp.eye(len(wins), dtype=bool)
    weight = jnp.where(alone, 0, counts)
    shares = (wins + weight * model) / jnp.where(alone, 1, seen + weight)
    return jnp.where(alone, model, shares)


def _model(wins: Array, ridge: Any, cycles: Any, *, rank: int) -> Array:
    """P of the model, (M, M): Bradley-Terry if rank is 0."""
    ridge, cycles = jnp.asarray(ridge, wins.dtype), jnp.asarray(cycles, wins.dtype)
    finite = jnp.where(jnp.isinf(ridge), 1, ridge)
    rewards, diagnostics = bradley_terry_solve(wins, ridge=finite)
    rewards = jnp.where(jnp.isinf(ridge), 0, rewards)
    if rank == 0:
        return jax.nn.sigmoid(rewards[:, None] - rewards[None, :])
    logits, converged = _low_rank(wins, jnp.minimum(ridge, 1e12), cycles, rewards, rank)
    return jnp.where(converged & diagnostics.converged, jax.nn.sigmoid(logits), jnp.nan)


def _low_rank(wins: Array, ridge: Array, cycles: Array, rewards: Array, rank: int) -> tuple[Array, Array]:
    """The logits of the low-rank model, and whether the descent converged; it begins at Bradley-Terry's rewards.

    Row i of the parameters is θ_i = (r_i, a_i, b_i). With φ_i = (1, b_i, -a_i), the slopes of the logit ℓ_ij are φ_j in
    θ_i and -φ_i in θ_j, and its only curvature is ±1 between a_ik and b_jk.
    """
    alternatives, played = len(wins), wins + wins.T
    cycles = jnp.minimum(cycles, 1e12)
    penalty = jnp.concatenate([ridge[None], jnp.full(2 * rank, cycles)])
    turn = jnp.zeros((1 + 2 * rank,) * 2)
    turn = turn.at[1 : 1 + rank, 1 + rank :].set(jnp.eye(rank)).at[1 + rank :, 1 : 1 + rank].set(-jnp.eye(rank))

    def logits(rows: Array) -> Array:
        r, a, b = rows[:, 0], rows[:, 1 : 1 + rank], rows[:, 1 + rank :]
        return r[:, None] - r[None, :] + a @ b.T - b @ a.T

    def value(rows: Array) -> Array:
        return jnp.sum(wins * jax.nn.softplus(-logits(rows))) + jnp.sum(penalty[None] * rows**2) / 2

    def derivatives(rows: Array) -> tuple[Array, Array, Array]:
        chance = jax.nn.sigmoid(logits(rows))
        excess = wins * chance.T - wins.T * chance  # wins - played * chance, without the difference of near equals
        slopes = jnp.concatenate([jnp.ones((alternatives, 1)), rows[:, 1 + rank :], -rows[:, 1 : 1 + rank]], axis=1)
        gradient = penalty[None] * rows - excess @ slopes
        weight = played * chance * chance.T
        same = jnp.einsum("ij,jp,jq->ipq", weight, slopes, slopes) + jnp.diag(penalty)[None]
        hessian = -jnp.einsum("ij,jp,iq->ipjq", weight, slopes, slopes) - jnp.einsum("ij,pq->ipjq", excess, turn)
        each = jnp.arange(alternatives)
        hessian = hessian.at[each, :, each, :].add(same)
        return gradient, hessian, jnp.diagonal(same, axis1=1, axis2=2)

    # Without a cyclic part the gradient in a and b is zero. The descent begins where its leading terms are best.
    rows = jnp.concatenate([rewards[:, None], jnp.zeros((alternatives, 2 * rank))], axis=1)
    chance = jax.nn.sigmoid(logits(rows))
    left, sizes, right = jnp.linalg.svd(wins * chance.T - wins.T * chance)
    u, v, gain = left[:, : 2 * rank : 2], right[: 2 * rank : 2].T, sizes[: 2 * rank : 2] - cycles
    turns = u[:, None, :] * v[None, :, :] - v[:, None, :] * u[None, :, :]
    bend = jnp.einsum("ij,ijk->k", played * chance * chance.T, turns**2) / 2
    scale = jnp.sqrt(jnp.maximum(gain, 0) / jnp.where(bend > 0, bend, 1))[None]
    rows = jnp.concatenate([rewards[:, None], scale * u, scale * v], axis=1)
    rows, converged = damped_descent(value, derivatives, logits, rows, max_steps=MAX_STEPS)
    return logits(rows), converged
