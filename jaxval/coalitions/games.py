"""Games whose values are known: a utility, its number of players, and their Shapley values in closed form.

The utility of a `Game` is a plain function of one mask and goes wherever a utility goes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Num

from jaxval import _checks
from jaxval.types import BadArgument, Utility

__all__ = ["Game", "additive", "airport", "glove", "pairwise", "saturating", "unanimity", "voting"]


def __dir__() -> list[str]:
    return list(__all__)


Numbers = Num[ArrayLike, "players"] | list[Any]


class Game(NamedTuple):
    """A utility, its number of players and its Shapley values.

    Attributes:
        utility: from a mask (players,) to a number, or to a vector of objectives.
        players: the number of players.
        shapley: (players, *objectives) Shapley values.
    """

    utility: Utility
    players: int
    shapley: Float[Array, "players *objectives"]


def additive(weights: Num[ArrayLike, "players *objectives"] | list[Any]) -> Game:
    """Players who do not need each other: v(S) = Σ_{i∈S} w_i. Every semivalue of player i is w_i.

    Args:
        weights: (players, *objectives) the numbers w.

    Returns:
        The game.

    Raises:
        ValueError: if there is no player, or a weight is not finite.

    Example:
        >>> game = additive([1.0, 2.0])
        >>> float(game.utility(jnp.array([True, True]))), game.shapley.tolist()
        (3.0, [1.0, 2.0])
    """
    ndim = max(_checks.real_array("weights", weights).ndim, 1)
    weights = _numbers("weights", weights, ndim=ndim, expected="(players, *objectives) numbers")
    return _game(lambda coalition: coalition @ weights, len(weights), weights)


def unanimity(
    carriers: Bool[ArrayLike, "*carriers players"] | list[Any],
    coefficients: Num[ArrayLike, "_"] | list[Any] | None = None,
) -> Game:
    """A carrier counts if all its members are in S: v(S) = Σ_j c_j [T_j ⊆ S], φ_i = Σ_{j: i∈T_j} c_j / |T_j|.

    Every game with v(∅) = 0 is such a sum.

    Source: Shapley (1953), section 3.

    Args:
        carriers: (players,) mask of one carrier T, or (carriers, players) masks, none of them empty.
        coefficients: (carriers,) c_j; None means ones.

    Returns:
        The game.

    Raises:
        ValueError: if a carrier is empty or not a mask, or the numbers of carriers and coefficients differ.

    Example:
        >>> unanimity([True, False, True]).shapley.tolist()
        [0.5, 0.0, 0.5]
    """
    masks = np.atleast_2d(np.asarray(_checks.real_array("carriers", carriers, "(carriers, players) masks")))
    if masks.dtype != bool or masks.ndim != 2 or not masks.size:
        raise BadArgument("carriers", expected="(carriers, players) masks", got=f"{masks.dtype} of shape {masks.shape}")
    if not masks.any(axis=1).all():
        raise BadArgument(
            "carriers", expected="at least one member in each carrier", got=f"none in row {int(masks.any(1).argmin())}"
        )
    coefficients = _numbers(
        "coefficients",
        np.ones(len(masks)) if coefficients is None else coefficients,
        ndim=1,
        expected="one number for each carrier",
    )
    if len(coefficients) != len(masks):
        raise BadArgument(
            "coefficients", expected=f"one number for each of {len(masks)} carriers", got=len(coefficients)
        )
    shares = jnp.asarray(masks / masks.sum(axis=1, keepdims=True), dtype=float)
    outside = jnp.asarray(~masks)
    return _game(
        lambda coalition: coefficients @ jnp.all(coalition[None, :] | outside, axis=1),
        masks.shape[1],
        coefficients @ shares,
    )


def airport(costs: Numbers) -> Game:
    """A runway as long as the longest member needs: v(S) = max_{i∈S} c_i, v(∅) = 0.

    Each stretch is shared by those who need it: with c sorted, φ_(i) = Σ_{k≤i} (c_(k) - c_(k-1)) / (n - k + 1).

    Source: Littlechild and Owen (1973).

    Args:
        costs: (players,) costs, none negative.

    Returns:
        The game.

    Raises:
        ValueError: if there is no player, or a cost is negative or not finite.

    Example:
        >>> airport([1.0, 3.0]).shapley.tolist()
        [0.5, 2.5]
    """
    costs = _numbers("costs", costs, ndim=1, expected="(players,) costs of at least 0", low=0.0)
    n = len(costs)
    order = np.argsort(costs, kind="stable")
    stretches = np.diff(np.asarray(costs, dtype=float)[order], prepend=0.0) / np.arange(n, 0, -1)
    shapley = np.empty(n)
    shapley[order] = np.cumsum(stretches)
    return _game(lambda coalition: jnp.max(jnp.where(coalition, costs, 0)), n, jnp.asarray(shapley, dtype=float))


def glove(right: Bool[ArrayLike, "players"] | list[Any]) -> Game:
    """Each player has one glove, and a pair is worth 1: v(S) = min(|S ∩ left|, |S ∩ right|).

    A left glove adds 1 if the coalition has more right gloves than left gloves. With l left and r right gloves and
    n = l + r, φ_left = Σ_{a<b} C(l-1, a) C(r, b) (a+b)! (n-a-b-1)! / n!.

    Source: Shapley and Shubik (1969).

    Args:
        right: (players,) mask of the players with a right glove.

    Returns:
        The game.

    Raises:
        ValueError: if there is no player, or `right` is not a mask.

    Example:
        >>> [f"{value:.4f}" for value in glove([False, False, True]).shapley]
        ['0.1667', '0.1667', '0.6667']
    """
    mask = np.asarray(_checks.real_array("right", right, "a (players,) mask"))
    if mask.dtype != bool or mask.ndim != 1 or not mask.size:
        raise BadArgument("right", expected="a (players,) mask", got=f"{mask.dtype} of shape {mask.shape}")

    def share(own: int, other: int) -> float:
        total = sum(
            math.comb(own - 1, a) * math.comb(other, b) / (math.comb(own + other - 1, a + b) * (own + other))
            for a in range(own)
            for b in range(a + 1, other + 1)
        )
        return float(total)

    rights, lefts = int(mask.sum()), int((~mask).sum())
    shapley = np.where(mask, share(rights, lefts) if rights else 0, share(lefts, rights) if lefts else 0)
    hands = jnp.asarray(mask)
    return _game(
        lambda coalition: jnp.minimum(jnp.sum(coalition & hands), jnp.sum(coalition & ~hands)).astype(float),
        len(mask),
        jnp.asarray(shapley, dtype=float),
    )


def voting(votes: Numbers, *, quota: int) -> Game:
    """A weighted vote: v(S) = [Σ_{i∈S} w_i ≥ q], with whole numbers of votes w and a quota q.

    The Shapley values are the Shapley-Shubik index. With N_i(s, w) coalitions of s other players who have w votes,
    φ_i = Σ_s s! (n-s-1)! / n! Σ_{q - w_i ≤ w < q} N_i(s, w).

    Source: Shapley and Shubik (1954); the counting is Mann and Shapley (1962).

    Args:
        votes: (players,) whole numbers of at least 0.
        quota: q, the votes needed, at least 1 and at most all votes.

    Returns:
        The game.

    Raises:
        ValueError: if a number of votes is negative or not whole, or the quota cannot be reached or is below 1.

    Example:
        >>> [f"{value:.4f}" for value in voting([2, 1, 1], quota=3).shapley]
        ['0.6667', '0.1667', '0.1667']
    """
    votes = _checks.integers("votes", votes, ndim=1, expected="(players,) whole numbers of votes")
    weights = [int(vote) for vote in votes]
    n, total = len(weights), sum(weights)
    if not weights or min(weights) < 0:
        raise BadArgument("votes", expected="at least one player and no negative votes", got=weights)
    if _checks.check_size("quota", quota) > total:
        raise BadArgument("quota", expected=f"at most {total} votes, the sum of all votes", got=quota)
    _checks.check_memory("votes", n, total, itemsize=8)
    shapley = []
    for i, own in enumerate(weights):
        counts = np.zeros((n, total + 1), dtype=object)
        counts[0, 0] = 1
        for vote in weights[:i] + weights[i + 1 :]:
            counts[1:, vote:] = counts[1:, vote:] + counts[:-1, : total + 1 - vote]
        pivotal = counts[:, max(quota - own, 0) : quota].sum(axis=1)
        shapley.append(sum(int(pivotal[s]) / (n * math.comb(n - 1, s)) for s in range(n)))
    votes = jnp.asarray(votes)
    return _game(
        lambda coalition: (jnp.sum(jnp.where(coalition, votes, 0)) >= quota).astype(float),
        n,
        jnp.asarray(shapley, dtype=float),
    )


def saturating(weights: Numbers) -> Game:
    """A learning curve: v(S) = 1 - exp(-2 Σ_{i∈S} w_i / Σ_j |w_j|). Players with a negative weight lower the utility.

    With a_i = exp(-2 w_i / Σ_j |w_j|), v(S) = 1 - Π_{i∈S} a_i and φ_i = (1 - a_i) ∫_0^1 Π_{j≠i} (1 - t + t a_j) dt. The
    integrand is a polynomial in t, so Gauss-Legendre quadrature is exact.

    Source: the integral is Owen's (1972) multilinear extension.

    Args:
        weights: (players,) numbers, not all zero.

    Returns:
        The game.

    Raises:
        ValueError: if there is no player, a weight is not finite, or all are zero.

    Example:
        >>> [f"{value:.4f}" for value in saturating([1.0, 1.0]).shapley]
        ['0.4323', '0.4323']
    """
    weights = _numbers("weights", weights, ndim=1, expected="(players,) numbers")
    scale = np.abs(np.asarray(weights, dtype=float)).sum()
    if scale == 0:
        raise BadArgument("weights", expected="at least one weight that is not zero", got="only zeros")
    n = len(weights)
    factors = np.exp(-2 * np.asarray(weights, dtype=float) / scale)
    points, shares = np.polynomial.legendre.leggauss(n // 2 + 1)
    points, shares = (points + 1) / 2, shares / 2
    terms = 1 - points[:, None] + points[:, None] * factors[None, :]
    shapley = (1 - factors) * (shares @ (terms.prod(axis=1, keepdims=True) / terms))
    return _game(
        lambda coalition: 1 - jnp.exp(-2 * (coalition @ weights) / scale), n, jnp.asarray(shapley, dtype=float)
    )


def pairwise(weights: Numbers, interactions: Num[ArrayLike, "players players"] | list[Any]) -> Game:
    """Weights of players and of pairs: v(S) = Σ_{i∈S} w_i + Σ_{i<j∈S} Q_ij, φ_i = w_i + 1/2 Σ_j Q_ij.

    Q_ij is the interaction of players i and j. The Banzhaf values equal the Shapley values.

    Args:
        weights: (players,) numbers w.
        interactions: (players, players) symmetric Q with a zero diagonal.

    Returns:
        The game.

    Raises:
        ValueError: if Q is not symmetric, its diagonal is not zero, or its size does not fit the weights.

    Example:
        >>> pairwise([1.0, 0.0], [[0.0, -1.0], [-1.0, 0.0]]).shapley.tolist()
        [0.5, -0.5]
    """
    weights = _numbers("weights", weights, ndim=1, expected="(players,) numbers")
    matrix = _numbers("interactions", interactions, ndim=2, expected="(players, players) numbers")
    n = len(weights)
    if matrix.shape != (n, n):
        raise BadArgument("interactions", expected=f"shape {(n, n)}, one row for each player", got=matrix.shape)
    if np.any(matrix != matrix.T) or np.any(np.diag(matrix) != 0):
        raise BadArgument(
            "interactions",
            expected="a symmetric array with a zero diagonal",
            got="one that is not symmetric or has a nonzero diagonal",
            advice="pass (Q + Q.T) / 2 with a diagonal of 0",
        )

    def utility(coalition: Array) -> Array:
        members = coalition.astype(weights.dtype)
        return members @ weights + members @ matrix @ members / 2

    return _game(utility, n, weights + jnp.sum(matrix, axis=1) / 2)


def _game(utility: Utility, players: int, shapley: Array) -> Game:
    """A game whose utility refuses masks of another number of players."""

    def of_players(coalition: Any) -> Array:
        if jnp.shape(coalition)[-1:] != (players,):
            shape = jnp.shape(coalition)
            raise BadArgument("coalition", expected=f"a mask of the game's {players} players", got=f"shape {shape}")
        return utility(coalition)

    return Game(of_players, players, shapley)


def _numbers(name: str, value: Any, *, ndim: int, expected: str, low: float = -math.inf) -> Array:
    array = _checks.floating(name, value, ndim=ndim, expected=expected)
    if not _checks.concrete(array):
        raise BadArgument(
            name, expected="numbers with known values", got="a tracer", advice="make the game outside jit"
        )
    if array.size == 0 or np.asarray(array).min() < low:
        raise BadArgument(name, expected=f"{expected}, and at least one player", got=np.asarray(array).tolist())
    return array
