"""Rules from a preference function, or a profile, to a lottery.

Every rule is symmetric under renaming of the alternatives, and tied alternatives get equal probabilities. Numbers tie
if they differ by no more than the tolerance, 1e-9 in float64 and 1e-5 in float32. A rule takes one `matrix`, the
(alternatives, alternatives) preference function P, and returns an (alternatives,) lottery. Use `jax.vmap` for a batch
of matrices. A rule raises `ValueError` if P is not square or P + Pᵀ ≠ 1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxval import _checks, _objects
from jaxval.preferences import borda_scores, first_choice_shares
from jaxval.preferences.ballots import check_wins
from jaxval.types import Lottery, Matrix, Number, Orders, Vector, Weights, Wins

__all__ = [
    "certificate",
    "maximal_borda",
    "minimax",
    "proportional",
    "proportional_borda",
    "random_dictatorship",
    "share_bounds",
    "votes_won",
    "win_rate_over_uniform",
]


def share_bounds(matrix: Matrix) -> Float[Array, "alternatives"]:
    """Upper bounds on the share of voters whose first choice is i, u_i = min_{j≠i} P(i ≻ j).

    With one alternative, u = 1.

    Source: Kim et al., Definition 4.3 and Theorem 4.4.

    Returns:
        (alternatives,) bounds in [0, 1].

    Example:
        >>> share_bounds([[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]).tolist()
        [0.5, 0.25, 0.25]
    """
    return _share_bounds(_objects.check_matrix(matrix))


def proportional(matrix: Matrix, *, beta: Number = 0.0) -> Lottery:
    """The population-proportional policy F^β, π_i ∝ u_i exp(β u_i).

    β = 0 gives F*, which is proportional to the bounds u, and β = inf gives `minimax`. If u is zero throughout, the
    policy is uniform.

    Source: Kim et al., Definition 4.5 and equation (9).

    Args:
        beta: how sharply the policy concentrates on large u; in [0, inf].

    Raises:
        ValueError: if `beta` is negative or NaN, or the matrix is not a preference function.

    Example:
        >>> matrix = [[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]
        >>> proportional(matrix).tolist(), proportional(matrix, beta=jnp.inf).tolist()
        ([0.5, 0.25, 0.25], [1.0, 0.0, 0.0])
    """
    bounds = share_bounds(matrix)
    beta = _checks.check_number("beta", beta, low=0, high=float("inf"), expected="a number in [0, inf]")
    return _proportional(bounds, beta)


@jax.jit
def _proportional(bounds: Array, beta: Array) -> Array:
    finite = jnp.where(jnp.isinf(beta), 0, beta)
    # The shift by the largest bound keeps the exponential from overflowing, and cancels in the ratio.
    scores = bounds * jnp.exp(finite * (bounds - jnp.max(bounds)))
    total = jnp.sum(scores)
    lottery = jnp.where(total > 0, scores / jnp.where(total > 0, total, 1), 1 / len(bounds))
    return jnp.where(jnp.isinf(beta), _shared_among_largest(bounds), lottery)


def certificate(matrix: Matrix) -> Float[Array, ""]:
    """The guarantee of F* to each group: π_i / w_i ≥ 1 / Σ_j u_j, whatever profile P comes from.

    Σu < 1 proves that P comes from no profile of complete rankings, because the shares of first choices sum to one and
    are at most u. The guarantee then does not exist.

    Source: Kim et al., Lemma 4.7 and Theorem 4.10.

    Returns:
        1 / Σu in (0, 1], or NaN if Σu < 1.

    Example:
        >>> float(certificate([[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]))
        1.0
    """
    total = jnp.sum(share_bounds(matrix))
    proven = total >= 1 - _checks.tolerance(total.dtype)
    return jnp.where(proven, jnp.minimum(1 / jnp.where(proven, total, 1), 1), jnp.nan)


def minimax(matrix: Matrix) -> Lottery:
    """The minimax (Simpson-Kramer) rule: the alternative with the largest u_i wins. It is the limit of F^β as β → ∞.

    Source: Kim et al., section 4.3; Simpson (1969), Kramer (1977).

    Returns:
        (alternatives,) lottery, uniform over the alternatives with the largest u_i.

    Example:
        >>> minimax([[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]).tolist()
        [1.0, 0.0, 0.0]
    """
    return _shared_among_largest(share_bounds(matrix))


def maximal_borda(matrix: Matrix) -> Lottery:
    """RLHF without regularisation: the alternative with the largest Borda score wins.

    Bradley-Terry rewards fitted to P rank the alternatives as the Borda scores do.

    Source: Kim et al., section 2.2 and Proposition C.1.

    Returns:
        (alternatives,) lottery, uniform over the alternatives with the largest score.

    Example:
        In a symmetric cycle all alternatives have the same score.

        >>> lottery = maximal_borda([[0.5, 0.75, 0.25], [0.25, 0.5, 0.75], [0.75, 0.25, 0.5]])
        >>> [round(float(probability), 2) for probability in lottery]
        [0.33, 0.33, 0.33]
    """
    return _shared_among_largest(borda_scores(matrix))


def proportional_borda(matrix: Matrix) -> Lottery:
    """Each alternative gets a probability proportional to its Borda score; a single alternative gets 1.

    Source: Barberà (1979), "Majority and positional voting in a probabilistic framework".

    Example:
        >>> proportional_borda([[0.5, 0.75], [0.25, 0.5]]).tolist()
        [0.75, 0.25]
    """
    scores = borda_scores(matrix)
    pairs = len(scores) * (len(scores) - 1) / 2
    return scores / pairs if pairs else jnp.ones_like(scores)


def random_dictatorship(orders: Orders, weights: Weights | None = None) -> Lottery:
    """The first choice of a voter drawn at random: the lottery consists of the shares of first choices, π = w.

    Random dictatorship is not a function of P (Kim et al., Appendix F).

    Source: Kim et al., Definition 3.4.

    Args:
        orders: (rankings, alternatives) rankings, best first.
        weights: (rankings,) shares that sum to one; None means equal shares.

    Raises:
        ValueError: if a row is not a permutation, or the weights are negative or do not sum to one.

    Example:
        >>> random_dictatorship([[0, 1], [1, 0]], [0.75, 0.25]).tolist()
        [0.75, 0.25]
    """
    return first_choice_shares(orders, weights)


def win_rate_over_uniform(matrix: Matrix, lottery: Vector) -> Float[Array, ""]:
    """How often a draw from the lottery is preferred to a uniform draw, Σ_ij π_i P(i ≻ j) / M.

    An alternative against itself counts one half.

    Source: Kim et al., section 5.1.

    Args:
        lottery: (alternatives,) probabilities.

    Returns:
        A number in [0, 1], which is 1/2 for the uniform lottery.

    Raises:
        ValueError: if the matrix is not a preference function, or the lottery has another length.

    Example:
        >>> float(win_rate_over_uniform([[0.5, 0.75], [0.25, 0.5]], [1.0, 0.0]))
        0.625
    """
    matrix = _objects.check_matrix(matrix)
    lottery = _objects.check_lottery(lottery, matrix.shape[0])
    return lottery @ jnp.mean(matrix, axis=1)


def votes_won(wins: Wins, lottery: Vector) -> Float[Array, ""]:
    """The share of votes that an alternative drawn from a lottery wins, Σ_i π_i Σ_j wins_ij / Σ_i π_i Σ_j n_ij.

    n_ij = wins_ij + wins_ji counts the comparisons of a pair. In `win_rate_over_uniform`, a pair that was never
    compared counts as a tie, and a pair with one vote as a certain victory. Here every vote has the same weight,
    whichever opponent i was compared with. The result is a ratio of two sums over voters, so that intervals by
    `cluster_intervals` hold even if pairs have one vote each. If the lottery was made of the same votes, the share is
    too high, the more so the fewer votes there are. Use the votes of other voters then.

    Args:
        wins: (alternatives, alternatives) counts.
        lottery: (alternatives,) probabilities.

    Returns:
        A number in [0, 1], or NaN if nobody voted on an alternative with positive probability.

    Raises:
        ValueError: if counts are negative or not square, or the lottery has another length.

    Example:
        >>> float(votes_won([[0.0, 3.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [1.0, 0.0, 0.0]))
        0.75
    """
    wins = check_wins(wins)
    lottery = _objects.check_lottery(lottery, wins.shape[0])
    won, voted = lottery @ jnp.sum(wins, axis=1), lottery @ jnp.sum(wins + wins.T, axis=1)
    return jnp.where(voted > 0, won / jnp.where(voted > 0, voted, 1), jnp.nan)


@jax.jit
def _share_bounds(matrix: Array) -> Array:
    return jnp.min(jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 1, matrix), axis=1)


@jax.jit
def _shared_among_largest(scores: Array) -> Array:
    winners = scores >= jnp.max(scores) - _checks.tolerance(scores.dtype)
    return winners / jnp.sum(winners)
