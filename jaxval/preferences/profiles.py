"""Profiles of complete strict rankings and what follows from them (Kim et al., section 2.1)."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxval import _checks, _objects
from jaxval.types import Matrix, Orders, Weights

__all__ = [
    "borda_scores",
    "condorcet_winner",
    "first_choice_shares",
    "pmc_ranking",
    "positions",
    "preference_matrix",
    "smith_set",
]


def positions(orders: Orders) -> Int[Array, "rankings alternatives"]:
    """The position of each alternative in each ranking, 0 for the first choice.

    Equations count ranks from one: r(y) is the position of y plus one.

    Args:
        orders: (rankings, alternatives) rankings, best first.

    Returns:
        (rankings, alternatives) integers; row k is the inverse permutation of `orders[k]`.

    Raises:
        ValueError: if a row is not a permutation.

    Example:
        >>> positions([[2, 0, 1]]).tolist()
        [[1, 2, 0]]
    """
    return _positions(_objects.check_orders(orders))


def preference_matrix(orders: Orders, weights: Weights | None = None) -> Float[Array, "alternatives alternatives"]:
    """The preference function of a profile, P(i ≻ j) = Σ_r σ_r 1{r(i) < r(j)}.

    Source: Kim et al., equation (1).

    Args:
        orders: (rankings, alternatives) rankings, best first.
        weights: (rankings,) shares that sum to one; None means equal shares.

    Returns:
        (alternatives, alternatives) array with P + Pᵀ = 1 exactly and 1/2 on the diagonal.

    Raises:
        ValueError: if a row is not a permutation, or the weights are negative or do not sum to one.

    Example:
        >>> preference_matrix([[0, 1, 2], [1, 2, 0], [2, 0, 1]], [0.5, 0.25, 0.25]).tolist()
        [[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]
    """
    orders = _objects.check_orders(orders)
    if weights is None:
        wins = _count_rankings(orders) / orders.shape[0]
    else:
        wins = count_positions(_positions(orders), _objects.check_weights(weights, orders.shape[0]))
    wins = np.asarray(wins) if _checks.concrete(wins) else wins  # NumPy has nothing to compile
    return jnp.asarray((1 + wins - wins.T) / 2)


def first_choice_shares(orders: Orders, weights: Weights | None = None) -> Float[Array, "alternatives"]:
    """The share of voters who put each alternative first, w_k = Σ_r σ_r 1{r(k) = 1}.

    Source: Kim et al., section 3.2.

    Args:
        orders: (rankings, alternatives) rankings, best first.
        weights: (rankings,) shares that sum to one; None means equal shares.

    Returns:
        (alternatives,) shares that sum to one.

    Raises:
        ValueError: as `preference_matrix`.

    Example:
        >>> first_choice_shares([[0, 1], [1, 0]], [0.75, 0.25]).tolist()
        [0.75, 0.25]
    """
    orders = _objects.check_orders(orders)
    weights = _objects.check_weights(weights, orders.shape[0])
    return _weigh_first(orders, weights)


def borda_scores(matrix: Matrix) -> Float[Array, "alternatives"]:
    """The Borda score of each alternative, B(i) = Σ_{j≠i} P(i ≻ j) = Σ_r σ_r (M - r(i)).

    Source: Kim et al., section 2.2 and Appendix C.

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        (alternatives,) scores in [0, M - 1]; their sum is M (M - 1) / 2.

    Raises:
        ValueError: if the matrix is not square or P + Pᵀ ≠ 1.

    Example:
        >>> borda_scores([[0.5, 0.75], [0.25, 0.5]]).tolist()
        [0.75, 0.25]
    """
    return _borda_scores(_objects.check_matrix(matrix))


def condorcet_winner(matrix: Matrix) -> Int[Array, ""]:
    """The alternative that a majority prefers to every other, P(i ≻ j) > 1/2 for all j ≠ i.

    Source: Kim et al., section 2.2. A single alternative is the Condorcet winner.

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        The winner's index, or -1 if there is none. A share within the tolerance of 1/2 is a tie.

    Raises:
        ValueError: if the matrix is not square or P + Pᵀ ≠ 1.

    Example:
        >>> int(condorcet_winner([[0.5, 0.6], [0.4, 0.5]])), int(condorcet_winner([[0.5, 0.5], [0.5, 0.5]]))
        (0, -1)
    """
    return _condorcet_winner(_objects.check_matrix(matrix))


def pmc_ranking(matrix: Matrix) -> Int[Array, "alternatives"]:
    """The ranking that agrees with every majority, if there is one: r(i) < r(j) iff P(i ≻ j) > 1/2.

    Source: Kim et al., Definition R.1.

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        (alternatives,) the ranking, best first; all -1 if there is a tie or a cycle, so that no such ranking exists.

    Raises:
        ValueError: if the matrix is not square or P + Pᵀ ≠ 1.

    Example:
        >>> pmc_ranking([[0.5, 0.6, 0.3], [0.4, 0.5, 0.4], [0.7, 0.6, 0.5]]).tolist()
        [2, 0, 1]
    """
    return _pmc_ranking(_objects.check_matrix(matrix))


def smith_set(matrix: Matrix) -> Bool[Array, "alternatives"]:
    """The smallest set whose every member beats every alternative outside it by a majority.

    If the set has one member, that is the Condorcet winner. Every member reaches every other alternative by a chain of
    majorities and ties.

    Source: Smith (1973), Schwartz (1986).

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        (alternatives,) a mask.

    Raises:
        ValueError: if the matrix is not square or P + Pᵀ ≠ 1.

    Example:
        >>> smith_set([[0.5, 0.6, 0.3], [0.4, 0.5, 0.4], [0.7, 0.6, 0.5]]).tolist()
        [False, False, True]
    """
    return _smith_set(_objects.check_matrix(matrix))


def reachable(edges: Bool[Array, "alternatives alternatives"]) -> Bool[Array, "alternatives alternatives"]:
    """Whether a chain of edges leads from i to j, by repeated squaring; every alternative reaches itself."""
    reach = edges | jnp.eye(len(edges), dtype=bool)
    for _ in range(max(len(edges) - 1, 1).bit_length()):
        reach = (reach.astype(jnp.float32) @ reach.astype(jnp.float32)) > 0
    return reach


def _majorities(matrix: Array) -> Array:
    return matrix > 0.5 + _checks.tolerance(matrix.dtype)


@jax.jit
def _borda_scores(matrix: Array) -> Array:
    return jnp.sum(matrix - jnp.diag(jnp.diag(matrix)), axis=1)


@jax.jit
def _condorcet_winner(matrix: Array) -> Array:
    beats = _majorities(matrix)
    wins_all = jnp.sum(beats, axis=1) == beats.shape[0] - 1
    return jnp.where(jnp.any(wins_all), jnp.argmax(wins_all), -1)


@jax.jit
def _pmc_ranking(matrix: Array) -> Array:
    beats = _majorities(matrix)
    ranking = jnp.argsort(-jnp.sum(beats, axis=1), stable=True)
    agrees = jnp.all(beats[ranking][:, ranking] == jnp.triu(jnp.ones_like(beats), k=1))
    return jnp.where(agrees, ranking, -1)


@jax.jit
def _smith_set(matrix: Array) -> Array:
    return jnp.all(reachable(~_majorities(matrix).T), axis=1)


@jax.jit
def _weigh_first(orders: Array, weights: Array) -> Array:
    first = orders[:, :1] == jnp.arange(orders.shape[1])[None, :]
    return jnp.sum(jnp.where(first, weights[:, None], 0), axis=0)


@jax.jit
def _positions(orders: Array) -> Array:
    place = jnp.arange(orders.shape[1])
    there = orders[:, :, None] == place[None, None, :]
    return jnp.max(jnp.where(there, place[None, :, None], -1), axis=1)


@jax.jit
def _count_rankings(orders: Array) -> Array:
    """How many rankings put i before j, in small integers, which vectorise well: far faster than `count_positions`."""
    rankings, alternatives = orders.shape
    small = np.int8 if alternatives < 127 else np.int32
    places = np.arange(alternatives, dtype=small)
    # A comparison with each place and a sum take half the time of a scatter.
    ballots = orders.astype(small).T
    place = jax.lax.map(lambda i: jnp.sum(jnp.where(ballots == i, places[:, None], 0), axis=0, dtype=small), places)
    # A sum of up to 127 comparisons fits into 8 bits, so that as many are added as are compared at a time. The columns
    # that fill up the last block put all alternatives level, which counts for none.
    block = min(rankings, 127)
    place = jnp.pad(place, ((0, 0), (0, -rankings % block)))
    blocks = place.reshape(alternatives, block, -1)

    def row(mine: Array) -> Array:
        return jnp.sum(jnp.sum(mine[None] < blocks, axis=1, dtype=np.int8), axis=1)

    return jax.lax.map(row, blocks)


@partial(jax.jit, static_argnames="ignored")
def count_positions(place: Array, weights: Array, *, ignored: bool = False) -> Array:
    """Σ_k weights[k] (1{place[k, i] < place[k, j]} + 1{place[k, i] = place[k, j]} / 2), diagonal 0.

    A negative place means unranked: the alternative is below all others or, if `ignored`, not counted. Integer weights
    are summed exactly. Other weights are summed over blocks of 1,024, which keeps about seven digits in float32.
    """
    rankings, alternatives = place.shape
    block = min(rankings, 1024)
    pad = -rankings % block
    small = np.int8 if alternatives < 127 else np.int32
    place = jnp.where(place < 0, alternatives, place)
    place = jnp.pad(place.T, ((0, 0), (0, pad))).astype(small).reshape(alternatives, -1, block)
    weights = jnp.pad(weights, (0, pad)).reshape(-1, block)

    def row(mine: Array) -> Array:
        mine = mine[None]
        halves = jnp.where(mine < place, 2, jnp.where(mine == place, 1, 0)).astype(small)
        if ignored:
            halves = jnp.where((mine < alternatives) & (place < alternatives), halves, 0)
        return jnp.sum(jnp.sum(halves * weights[None], axis=-1), axis=-1)

    return jax.lax.map(row, place) * (1 - jnp.eye(alternatives)) / 2
