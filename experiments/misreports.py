"""Three families of misreports of a group of voters, and the gain of each.

Group k is all voters whose first choice is y_k. The group has the share w_k and the preference function P_k, so that
P = Σ_k w_k P_k. The group knows the comparisons of all voters, P̂, and replaces its own part of them:

    P̂' = P̂ + w_k (P'_k - P_k),    clipped to [0, 1].

The comparisons drawn stay the same, so that a gain comes from the misreport and not from the noise of a second sample.
There are three families, and all contain the truth:

- `common`: the whole group reports one ranking with y_k first. The rivals follow in one of two orders. In the first,
  they go from strongest to weakest by the bounds u of P̂ - w_k P_k, the preferences of all other voters, and any one
  rival may move to the bottom or to the second rank. In the second, they go from weakest to strongest by the Borda
  scores of P̂ - w_k P_k, and one rival may move to the second rank.
- `bury`: all members report their true ranking with one rival, the same for all members, moved to the bottom.
- `free`: the reports of `common`, and those with any other alternative first, y_k second, and the rest in one of the
  two orders.

For maximal Borda, no common ranking does better than y_k first and the rivals from weakest to strongest: by exchange,
the strongest rival should get the fewest points. For the other rules nothing is proven, and a gain is a lower bound on
the gain by any report. With four alternatives, `common` reaches the best of all rankings with y_k first (tested). With
twenty movies, `free` reached 92 to 100 % of the gain of hill climbing over all rankings, for every rule and population
tried.

Source: Kim et al., Definition 3.2 and section 5.1, which does not name its family.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxval.preferences import preference_matrix

__all__ = ["FAMILIES", "another_first", "bury", "common", "gains", "group_matrices"]

FAMILIES = ("common", "bury", "free")


def group_matrices(orders: Int[Array, "rankings alternatives"]) -> Float[Array, "groups alternatives alternatives"]:
    """P_k of every group, so that Σ_k w_k P_k = P; for a group without members, P.

    Args:
        orders: (rankings, alternatives) rankings of equal weight, best first.

    Returns:
        (groups, alternatives, alternatives) preference functions, with one group for every alternative.
    """
    members = (orders[None, :, 0] == jnp.arange(orders.shape[1])[:, None]).astype(float)
    members = jnp.where(jnp.any(members, axis=1, keepdims=True), members, 1)
    weights = members / jnp.sum(members, axis=1, keepdims=True)
    return jax.lax.map(lambda weights: preference_matrix(orders, weights), weights)


def common(k: Int[Array, ""], others: Float[Array, "M M"]) -> Float[Array, "reports M M"]:
    """The reports of the family `common` as preference functions: 3M, some of them equal.

    Args:
        k: the group.
        others: (alternatives, alternatives) P̂ - w_k P_k, the part of all other voters.

    Returns:
        (3M, M, M) preference functions of one ranking each.
    """
    strongest_first, weakest_first = _orders(others)
    moved = jnp.arange(len(others))

    def report(places: Array, rival: Array, to: int) -> Array:
        return _ranking(places.at[rival].set(to).at[k].set(_FIRST))

    bottom = jax.vmap(lambda rival: report(strongest_first, rival, _LAST))(moved)
    second = jax.vmap(lambda rival: report(strongest_first, rival, _SECOND))(moved)
    reverse = jax.vmap(lambda rival: report(weakest_first, rival, _SECOND))(moved)
    return jnp.concatenate([bottom, second, reverse])


def another_first(k: Int[Array, ""], others: Float[Array, "M M"]) -> Float[Array, "reports M M"]:
    """The reports that `free` adds to `common`: any alternative first, y_k second, the rest in either order.

    Args:
        k: the group.
        others: as for `common`.

    Returns:
        (2M, M, M) preference functions of one ranking each.
    """

    def report(places: Array, leader: Array) -> Array:
        return _ranking(places.at[k].set(_SECOND).at[leader].set(_FIRST))

    leaders = jnp.arange(len(others))
    return jnp.concatenate([jax.vmap(lambda leader, p=p: report(p, leader))(leaders) for p in _orders(others)])


def bury(k: Int[Array, ""], own: Float[Array, "M M"]) -> Float[Array, "reports M M"]:
    """The reports of the family `bury`: P_k with one rival below all others; entry k is P_k itself.

    Args:
        k: the group.
        own: (alternatives, alternatives) P_k, the true preference function of the group.

    Returns:
        (M, M, M) preference functions.
    """
    diagonal = jnp.eye(len(own), dtype=bool)

    def report(rival: Array) -> Array:
        buried = jnp.where(diagonal, 0.5, own.at[rival, :].set(0).at[:, rival].set(1))
        return jnp.where(rival == k, own, buried)

    return jax.vmap(report)(jnp.arange(len(own)))


def gains(
    policies: Callable[[Array], Float[Array, "matrices policies M"]],
    estimate: Float[Array, "M M"],
    shares: Float[Array, "M"],
    groups: Float[Array, "M M M"],
) -> tuple[Float[Array, "policies M"], Float[Array, "families groups policies"]]:
    """The gain of each group, max over the reports of a family of Φ(P̂')(y_k) - Φ(P̂)(y_k).

    A group without members gains 0. The rules are applied to all reports of all groups in one batch.

    Args:
        policies: a function that applies several rules to many matrices, (matrices, M, M) to their lotteries.
        estimate: (alternatives, alternatives) P̂.
        shares: (alternatives,) w.
        groups: (groups, alternatives, alternatives) P_k, as `group_matrices` returns them.

    Returns:
        The lotteries of P̂ itself, and the gains, families in the order of `FAMILIES`.
    """
    alternatives = len(estimate)

    def reports(k: Array, share: Array, own: Array) -> Array:
        others = estimate - share * own
        told = jnp.concatenate([own[None], common(k, others), another_first(k, others), bury(k, own)])
        return jnp.clip(others[None] + share * told, 0, 1)

    told = jax.vmap(reports)(jnp.arange(alternatives), shares, groups)
    lotteries = policies(told.reshape(-1, alternatives, alternatives))
    lotteries = lotteries.reshape(*told.shape[:2], *lotteries.shape[1:])  # groups, reports, policies, alternatives
    chances = jnp.diagonal(lotteries, axis1=0, axis2=3)  # reports, policies, groups
    gained = jnp.moveaxis(chances - chances[:1], -1, 0)  # groups, reports, policies
    common_, first, buried = jnp.split(gained[:, 1:], [3 * alternatives, 5 * alternatives], axis=1)
    best = [jnp.maximum(jnp.max(family, axis=1), 0) for family in (common_, buried, first)]
    return lotteries[0, 0], jnp.stack([best[0], best[1], jnp.maximum(best[0], best[2])])


_FIRST, _SECOND, _LAST = -2_000_000, -1_000_000, 1_000_000


def _orders(others: Array) -> tuple[Array, Array]:
    """The ranks of the rivals by strength among other voters: by share bounds, strongest first; by Borda, weakest."""
    alone = jnp.eye(len(others), dtype=bool)
    bounds = jnp.min(jnp.where(alone, jnp.inf, others), axis=1)
    scores = jnp.sum(jnp.where(alone, 0, others), axis=1)
    return _places(-bounds), _places(scores)


def _places(keys: Array) -> Array:
    return jnp.argsort(jnp.argsort(keys, stable=True), stable=True)


def _ranking(places: Array) -> Array:
    """The preference function of one ranking, which is given by distinct ranks."""
    return jnp.where(jnp.eye(len(places), dtype=bool), 0.5, (places[:, None] < places[None]).astype(float))
