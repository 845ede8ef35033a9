"""Values that respect an order of groups, from a table: asymmetric Shapley and weighted random-order values.

Groups come one after the other, D_1 before D_2 and so on; the order within a group is random. U_t is the union of the
first t groups.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from jaxval import _checks
from jaxval.types import BadArgument, Groups, Table
from jaxval.values._neighbours import check_groups
from jaxval.values._tables import check_table, players_of
from jaxval.values.semivalues import shapley

__all__ = ["asymmetric_shapley", "weighted_shapley"]

SMALL = 2**16  # numbers

Values = Float[Array, "players *objectives"]


def asymmetric_shapley(table: Table, groups: Groups) -> Values:
    """Asymmetric Data Shapley: the mean marginal over the permutations whose groups are in order.

    φ(z) = 1/|D_t| Σ_{S⊆D_t∖{z}} C(|D_t|-1, |S|)^{-1} [v(U_{t-1}∪S∪{z}) - v(U_{t-1}∪S)] for z in group D_t, where
    U_{t-1} is the union of the earlier groups. This is the Shapley value within the group, given all earlier groups.
    With one group it is `shapley`; with groups of one player it is the marginals in the order of the groups.

    Source: Zheng et al., Theorem 4.1 and Proposition 4.1, equation (9).

    Args:
        table: (2^n, *objectives) utilities of all coalitions, bit i of the index being player i.
        groups: (n,) the group of each player, 0 first; known numbers, no tracer.

    Returns:
        (n, *objectives) values; those of a group sum to v(U_t) - v(U_{t-1}).

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, a utility is not finite, there is not one
            group for each player, or a group number is left out.

    Example:
        >>> asymmetric_shapley([0.0, 1.0, 2.0, 4.0], [0, 1]).tolist()
        [1.0, 3.0]
        >>> asymmetric_shapley([0.0, 1.0, 2.0, 4.0], [0, 0]).tolist()
        [1.5, 2.5]
    """
    table = check_table(table)
    groups = check_groups(groups, players_of(table))
    shape = (players_of(table), *table.shape[1:])
    if _checks.concrete(table) and table.size <= SMALL:  # NumPy has nothing to compile for each size of a group
        known, gains = np.asarray(table), np.empty(shape, table.dtype)
        for members, rows in _rows(groups):
            gains[members] = shapley(known[rows])
        return jnp.asarray(gains)
    return _group_by_group(table, _rows(groups))


@jax.jit
def _group_by_group(table: Array, groups_rows: list[tuple[Array, Array]]) -> Array:
    """φ(z) for each group in the game v(U_{t-1}∪S) of its subsets S; groups of equal sizes share a program."""
    values = jnp.zeros((players_of(table), *table.shape[1:]), table.dtype)
    for members, rows in groups_rows:
        values = values.at[members].set(shapley(table[rows]))
    return values


def weighted_shapley(table: Table, groups: Groups, weights: Num[ArrayLike, "players"] | list[float]) -> Values:
    """The weighted random-order value: the mean marginal over permutations drawn by weight, with groups in order.

    φ(z) = Σ_π p_π [v(π^{<z}∪{z}) - v(π^{<z})],  p_π = Π_j λ_{o_j} / Σ_{z∈Max({z_{o_1}, ..., z_{o_j}})} λ_z,

    where Max is the set of members of the latest group present. The permutation is drawn from its end: one of the
    players left in the group is drawn in proportion to the weights. A player with a large weight therefore tends to
    come late. If q(R) is the probability that exactly R is left of a group at some step,

    q(D_t) = 1,  q(R) = Σ_{j∉R} q(R∪{j}) λ_j / λ(R∪{j}),  φ(z) = Σ_{R∋z} q(R) λ_z / λ(R) [v(U_{t-1}∪R) -
    v(U_{t-1}∪R∖{z})],

    which takes one addition for each coalition of a group and each of its members, without cancellation. Equal weights
    within each group give `asymmetric_shapley`.

    Source: Zheng et al., equations (13) and (14), after Nowak and Radzik (1995).

    Args:
        table: (2^n, *objectives) utilities of all coalitions.
        groups: (n,) the group of each player, 0 first; known numbers, no tracer.
        weights: (n,) λ, all above 0. Only the ratios of the weights within a group matter, not their size.

    Returns:
        (n, *objectives) values.

    Raises:
        ValueError: if the table's length is not a power of two of at least 2, a utility is not finite, there is not one
            group for each player, a group number is left out, or a weight is not above 0, because (14) would then
            divide 0 by 0.

    Example:
        >>> weighted_shapley([0.0, 1.0, 2.0, 4.0], [0, 0], [1.0, 3.0]).tolist()
        [1.25, 2.75]
    """
    table = check_table(table)
    players = players_of(table)
    groups = check_groups(groups, players)
    weights = _check_weights(weights, players)
    values = jnp.zeros((players, *table.shape[1:]), table.dtype)
    for members, rows in _rows(groups):
        ordered, ratios = _light_first(members, weights)
        of_group = _weighted(table, int(rows[0]), ordered, jnp.asarray(ratios, dtype=table.dtype))
        values = values.at[ordered].set(of_group)
    return values


def _check_weights(weights: Any, players: int) -> np.ndarray | Array:
    """Check that there is one weight above 0 for each player. The weights keep the precision they are given in."""
    # Weights such as 1e300 and 1e-300 do not fit into float32, but their ratios can matter.
    weights = _checks.known_floats("weights", weights, ndim=1, expected=f"({players},) weights above 0")
    if weights.shape != (players,):
        raise BadArgument("weights", expected=f"one for each of {players} players", got=f"shape {weights.shape}")
    if _checks.concrete(weights) and weights.min() <= 0:
        raise BadArgument(
            "weights",
            expected="numbers above 0",
            got=f"{float(weights.min()):g} for player {int(weights.argmin())}",
            advice="to put a player before the others of its group, give it an earlier group of its own",
        )
    return weights


def _rows(groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each group its members, and the rows of U_{t-1}∪S for all subsets S of it in the order of a table."""
    groups_rows = []
    before = 0
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        rows = np.array([before])
        for member in members:
            rows = np.concatenate([rows, rows + 2**member])
        groups_rows.append((members, rows))
        before = rows[-1]
    return groups_rows


def _light_first(members: np.ndarray, weights: np.ndarray | Array) -> tuple[np.ndarray | Array, np.ndarray | Array]:
    """The members of a group in ascending order of their weights, and the ratios λ_j / max(λ_k, λ_j) at [k, j].

    No ratio exceeds 1, so that no ratio overflows.
    """
    known = _checks.concrete(weights)
    numpy: Any = np if known else jnp
    weights = weights[members]
    order = numpy.argsort(weights)
    weights = weights[order]
    heavier = numpy.maximum(weights[:, None], weights[None, :])
    # The scale of the weights cancels, so its gradient is zero. A gradient through `maximum` would be wrong for tied
    # weights.
    scale = heavier if known else jax.lax.stop_gradient(heavier)
    return numpy.asarray(members)[order], weights[None, :] / scale


@jax.jit
def _weighted(table: Array, before: int | Array, members: np.ndarray | Array, ratios: Array) -> Array:
    """φ of the members of one group, where `before` is the row of U_{t-1}; q(R) is computed from the largest R down."""
    # Weights are divided by the largest weight in the coalition, because sums of the weights themselves may overflow or
    # underflow. Members are in ascending order of weight, so the highest bit of an index marks the largest weight.
    n = len(members)
    rows = jnp.asarray(before)[None]
    for member in range(n):
        rows = jnp.concatenate([rows, rows + (1 << members[member])])
    table = table[rows]
    sizes = np.bitwise_count(np.arange(2**n, dtype=np.uint32))
    bits = (1 << np.arange(n, dtype=np.int32))[None, :]
    share = jnp.zeros(2**n, table.dtype).at[-1].set(1 / jnp.sum(ratios[-1]))  # q(R) max(λ in R) / λ(R)
    for size in range(n - 1, 0, -1):
        left = np.flatnonzero(sizes == size).astype(np.int32)
        relative = ratios[_highest_bit(left)]  # λ_j / max(λ in R∪{j})
        inside = jnp.asarray(left[:, None] & bits != 0)
        total = jnp.sum(jnp.where(inside, relative, 0), axis=1)
        later = jnp.sum(jnp.where(inside, 0, share[left[:, None] | bits] * relative), axis=1)
        share = share.at[left].set(later / total)
    share = share.reshape(-1, *(1,) * (table.ndim - 1))
    values = []
    for player in range(n):
        halves = table.reshape(-1, 2, 2**player, *table.shape[1:])
        chances = share.reshape(-1, 2, 2**player, *share.shape[1:])[:, 1]
        marginals = jnp.sum(chances * (halves[:, 1] - halves[:, 0]), axis=1)
        # The member of largest weight is the highest of the later members in the coalition, or else this player.
        heaviest = _highest_bit(2 * np.arange(len(marginals)) + 1) + player
        relative = ratios[heaviest, player].reshape(-1, *(1,) * (table.ndim - 1))
        values.append(jnp.sum(relative * marginals, axis=0))
    return jnp.stack(values)


def _highest_bit(index: np.ndarray) -> np.ndarray:
    """The position of the highest bit that is set in each number above 0."""
    return np.frexp(index.astype(np.float64))[1] - 1
