"""Values that respect an order of groups: asymmetric Shapley, and its general form with weights, from a table.

Groups come one after the other, D_1 before D_2 and so on; the order within a group is random. U_t is the union of the
first t groups.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from jaxval import _checks
from jaxval.types import Groups, Table
from jaxval.values._neighbours import check_groups
from jaxval.values._tables import check_table, players_of
from jaxval.values.semivalues import shapley

__all__ = ["asymmetric_shapley", "weighted_shapley"]

Values = Float[Array, "players *objectives"]


def asymmetric_shapley(table: Table, groups: Groups) -> Values:
    """Asymmetric Data Shapley: the mean marginal over the permutations whose groups are in order.

    φ(z) = 1/|D_t| Σ_{S⊆D_t∖{z}} C(|D_t|-1, |S|)^{-1} [v(U_{t-1}∪S∪{z}) - v(U_{t-1}∪S)] for z in D_t, the Shapley value
    of the group on top of those before it. One group gives `shapley`; groups of one give the marginals in their order.

    Source: Zheng et al., Theorem 4.1 and Proposition 4.1, equation (9).

    Args:
        table: (2^n, *objectives) utilities of all coalitions, bit i of the index being player i.
        groups: (n,) the group of each player, 0 first; known numbers, no tracer.

    Returns:
        (n, *objectives) values; those of a group sum to v(U_t) - v(U_{t-1}).

    Raises:
        ValueError: where the table is wrong, there is not one group for each player, or a group between is empty.

    Example:
        >>> asymmetric_shapley([0.0, 1.0, 2.0, 4.0], [0, 1]).tolist()
        [1.0, 3.0]
        >>> asymmetric_shapley([0.0, 1.0, 2.0, 4.0], [0, 0]).tolist()
        [1.5, 2.5]
    """
    table = check_table(table)
    groups = check_groups(groups, players_of(table))
    values = jnp.zeros((players_of(table), *table.shape[1:]), table.dtype)
    for members, rows in _rows(groups):
        values = values.at[members].set(shapley(table[rows]))
    return values


def weighted_shapley(table: Table, groups: Groups, weights: Num[ArrayLike, "players"] | list[float]) -> Values:
    """The weighted random-order value: the mean marginal over permutations drawn with weights, groups in order.

    φ(z) = Σ_π p_π [v(π^{<z}∪{z}) - v(π^{<z})],  p_π = Π_j λ_{o_j} / Σ_{z∈Max({z_{o_1}, ..., z_{o_j}})} λ_z,

    Max being the members of the latest group present: from the back, each group loses one of those left in proportion
    to the weights, so that a heavy player tends to come late. With q(R) the probability that just R is left of a group,

    q(D_t) = 1,  q(R) = Σ_{j∉R} q(R∪{j}) λ_j / λ(R∪{j}),  φ(z) = Σ_{R∋z} q(R) λ_z / λ(R) [v(U_{t-1}∪R) -
    v(U_{t-1}∪R∖{z})],

    one addition for each coalition of a group and each of its members, and no cancellation. Equal weights within groups
    give `asymmetric_shapley`.

    Source: Zheng et al., equations (13) and (14), after Nowak and Radzik (1995).

    Args:
        table: (2^n, *objectives) utilities of all coalitions.
        groups: (n,) the group of each player, 0 first; known numbers, no tracer.
        weights: (n,) λ, all above 0; only their ratios within a group matter.

    Returns:
        (n, *objectives) values.

    Raises:
        ValueError: where the table or the groups are wrong, or a weight is not above 0, for (14) then divides 0 by 0.

    Example:
        >>> weighted_shapley([0.0, 1.0, 2.0, 4.0], [0, 0], [1.0, 3.0]).tolist()
        [1.25, 2.75]
    """
    table = check_table(table)
    players = players_of(table)
    groups = check_groups(groups, players)
    weights = _checks.floating("weights", weights, ndim=1, expected=f"({players},) weights above 0")
    if weights.shape != (players,):
        raise ValueError(f"weights: expected one for each of {players} players; got shape {weights.shape}")
    if _checks.concrete(weights) and float(weights.min()) <= 0:
        raise ValueError(
            f"weights: expected numbers above 0; got {float(weights.min()):g} for player {int(weights.argmin())}; "
            "a player that is to come before the others of its group belongs into a group of its own"
        )
    values = jnp.zeros((players, *table.shape[1:]), table.dtype)
    for members, rows in _rows(groups):
        values = values.at[members].set(_weighted(table[rows], weights[members].astype(table.dtype)))
    return values


def _rows(groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each group its members, and the rows of U_{t-1}∪S for all S of them in the order of their indices."""
    found = []
    before = 0
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        rows = np.array([before])
        for member in members:
            rows = np.concatenate([rows, rows + 2**member])
        found.append((members, rows))
        before = rows[-1]
    return found


@jax.jit
def _weighted(table: Array, weights: Array) -> Array:
    """φ of one group, coalition size by coalition size from the full one down."""
    n = players_of(table)
    sizes = np.bitwise_count(np.arange(2**n, dtype=np.uint32))
    bits = (1 << np.arange(n, dtype=np.int32))[None, :]
    share = jnp.zeros(2**n, table.dtype).at[-1].set(1 / jnp.sum(weights))  # q(R) / λ(R)
    for size in range(n - 1, 0, -1):
        left = jnp.asarray(np.flatnonzero(sizes == size), dtype=jnp.int32)[:, None]
        inside = left & bits != 0
        total = jnp.sum(jnp.where(inside, weights[None, :], 0), axis=1)
        later = jnp.sum(jnp.where(inside, 0, share[left | bits] * weights[None, :]), axis=1)
        share = share.at[left[:, 0]].set(later / total)
    share = share.reshape(-1, *(1,) * (table.ndim - 1))
    halves = [
        (share * table).reshape(-1, 2, 2**player, *table.shape[1:])[:, 1]
        - share.reshape(-1, 2, 2**player, *share.shape[1:])[:, 1]
        * table.reshape(-1, 2, 2**player, *table.shape[1:])[:, 0]
        for player in range(n)
    ]
    return jnp.stack([weights[player] * half.sum(axis=(0, 1)) for player, half in enumerate(halves)])
