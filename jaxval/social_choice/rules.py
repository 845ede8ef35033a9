"""Rules from a preference function, or a profile, to a lottery.

Every rule is symmetric under renaming of the alternatives, in ties too: a tie is shared evenly and counts as one within
the tolerance, 1e-9 in float64 and 1e-5 in float32. A rule takes one `matrix`, the (alternatives, alternatives)
preference function P, and returns an (alternatives,) lottery; batch with `jax.vmap`. It raises `ValueError` if P is not
square or P + Pᵀ ≠ 1.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.preferences import borda_scores, first_choice_shares
from jaxval.types import Lottery, Matrix, Number, Orders, Vector, Weights

__all__ = [
    "certificate",
    "maximal_borda",
    "minimax",
    "proportional",
    "proportional_borda",
    "random_dictatorship",
    "share_bounds",
    "win_rate",
]


def share_bounds(matrix: Matrix) -> Float[Array, "alternatives"]:
    """The largest share of voters whose first choice i can be, u_i = min_{j≠i} P(i ≻ j).

    Source: Kim et al., Definition 4.3 and Theorem 4.4. With one alternative u = 1.

    Returns:
        (alternatives,) bounds in [0, 1].

    Example:
        >>> share_bounds([[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]).tolist()
        [0.5, 0.25, 0.25]
    """
    matrix = _checks.check_matrix(matrix)
    return jnp.min(jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 1, matrix), axis=1)


def proportional(matrix: Matrix, *, beta: Number = 0.0) -> Lottery:
    """The population-proportional policy F^β, π_i ∝ u_i exp(β u_i).

    β = 0 is F*, proportional to the bounds u; β = inf is `minimax`. Where u is zero throughout it is uniform.

    Source: Kim et al., Definition 4.5 and equation (9).

    Args:
        beta: how sharply the policy concentrates on large u; in [0, inf].

    Raises:
        ValueError: also if beta is negative or NaN.

    Example:
        >>> matrix = [[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]
        >>> proportional(matrix).tolist(), proportional(matrix, beta=jnp.inf).tolist()
        ([0.5, 0.25, 0.25], [1.0, 0.0, 0.0])
    """
    bounds = share_bounds(matrix)
    beta = _checks.check_number("beta", beta, low=0, high=float("inf"), expected="a number in [0, inf]")
    finite = jnp.where(jnp.isinf(beta), 0, beta)
    scores = bounds * jnp.exp(finite * (bounds - jnp.max(bounds)))
    total = jnp.sum(scores)
    lottery = jnp.where(total > 0, scores / jnp.where(total > 0, total, 1), 1 / len(bounds))
    return jnp.where(jnp.isinf(beta), _shared_among_largest(bounds), lottery)


def certificate(matrix: Matrix) -> Float[Array, ""]:
    """What F* guarantees each group: π_i / w_i ≥ 1 / Σ_j u_j, whatever the profile behind P.

    Source: Kim et al., Lemma 4.7 and Theorem 4.10. Σu < 1 proves that P comes from no profile of complete rankings (the
    shares of first choices sum to one and lie below u): then there is no certificate.

    Returns:
        1 / Σu in (0, 1], or NaN where Σu < 1.

    Example:
        >>> float(certificate([[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]))
        1.0
    """
    total = jnp.sum(share_bounds(matrix))
    proven = total >= 1 - _checks.tolerance(total.dtype)
    return jnp.where(proven, jnp.minimum(1 / jnp.where(proven, total, 1), 1), jnp.nan)


def minimax(matrix: Matrix) -> Lottery:
    """The minimax (Simpson-Kramer) rule: the largest u_i wins, ties shared. F^β as β → ∞.

    Source: Kim et al., section 4.3; Simpson (1969), Kramer (1977).

    Returns:
        (alternatives,) lottery, uniform over the alternatives of the largest u_i.

    Example:
        >>> minimax([[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]).tolist()
        [1.0, 0.0, 0.0]
    """
    return _shared_among_largest(share_bounds(matrix))


def maximal_borda(matrix: Matrix) -> Lottery:
    """RLHF without regularisation: the largest Borda score wins, ties shared.

    The ranking by Bradley-Terry rewards fitted to P is the ranking by Borda scores.

    Source: Kim et al., section 2.2 and Proposition C.1.

    Returns:
        (alternatives,) lottery, uniform over the alternatives with the most points.

    Example:
        A cycle gives every alternative as many points as the others.

        >>> lottery = maximal_borda([[0.5, 0.75, 0.25], [0.25, 0.5, 0.75], [0.75, 0.25, 0.5]])
        >>> [round(float(probability), 2) for probability in lottery]
        [0.33, 0.33, 0.33]
    """
    return _shared_among_largest(borda_scores(matrix))


def proportional_borda(matrix: Matrix) -> Lottery:
    """Each alternative with probability proportional to its Borda score; one alternative has it all.

    Source: Barberà (1979), "Majority and positional voting in a probabilistic framework".

    Example:
        >>> proportional_borda([[0.5, 0.75], [0.25, 0.5]]).tolist()
        [0.75, 0.25]
    """
    scores = borda_scores(matrix)
    pairs = len(scores) * (len(scores) - 1) / 2
    return scores / pairs if pairs else jnp.ones_like(scores)


def random_dictatorship(orders: Orders, weights: Weights | None = None) -> Lottery:
    """A voter drawn at random decides: the lottery is the shares of first choices, π = w.

    Source: Kim et al., Definition 3.4; it is no function of P (Appendix F).

    Args:
        orders: (rankings, alternatives) rankings, best first.
        weights: (rankings,) shares that sum to one; equal shares where None.

    Raises:
        ValueError: if a row is no permutation, or the weights are negative or do not sum to one.

    Example:
        >>> random_dictatorship([[0, 1], [1, 0]], [0.75, 0.25]).tolist()
        [0.75, 0.25]
    """
    return first_choice_shares(orders, weights)


def win_rate(matrix: Matrix, lottery: Vector) -> Float[Array, ""]:
    """How often a draw from the lottery is preferred to a uniform one, Σ_ij π_i P(i ≻ j) / M.

    Source: Kim et al., section 5.1. A draw against itself counts one half.

    Args:
        lottery: (alternatives,) probabilities.

    Returns:
        A number in [0, 1]; the uniform lottery has 1/2.

    Raises:
        ValueError: also if the lottery has another length.

    Example:
        >>> float(win_rate([[0.5, 0.75], [0.25, 0.5]], [1.0, 0.0]))
        0.625
    """
    matrix = _checks.check_matrix(matrix)
    lottery = _checks.check_lottery(lottery, matrix.shape[0])
    return lottery @ jnp.mean(matrix, axis=1)


def _shared_among_largest(scores: Array) -> Array:
    winners = scores >= jnp.max(scores) - _checks.tolerance(scores.dtype)
    return winners / jnp.sum(winners)
