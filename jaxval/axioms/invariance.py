"""What a rule must not depend on: the names of voters, the names of alternatives, and anything beyond P.

`jaxval.axioms` describes the arguments that every axiom takes; functions list only their further ones.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval.axioms._profiles import checked_profile, compiled, each, finish, permutation_table
from jaxval.axioms.rules import as_profile_rule
from jaxval.types import BadArgument, Orders, Rule, Weights

__all__ = ["AnonymityWitness", "NeutralityWitness", "PairwiseWitness", "anonymity", "neutrality", "pairwise_only"]

ADDED, REORDERED, SPLIT, MERGED = 0, 1, 2, 3
CROSSED, EXCHANGED, MIXED = 0, 1, 2


class AnonymityWitness(NamedTuple):
    """Another way to write the same distribution of rankings, for which the rule returns another lottery.

    Attributes:
        change: the kind of rewriting. 0: only a ballot of weight 0 is added. 1: the ballots are in another order.
            2: one ballot is split in two. 3: equal ballots are merged.
        alternative: the alternative whose probabilities differ most.
        lottery: (alternatives,) the lottery of the profile as given.
        changed_lottery: (alternatives,) the lottery of the changed profile.
        orders: (rankings + 1, alternatives) the changed profile; rows of weight 0 belong to no voter.
        weights: (rankings + 1,) the shares of the changed profile.
    """

    change: Int[Array, ""]
    alternative: Int[Array, ""]
    lottery: Float[Array, "alternatives"]
    changed_lottery: Float[Array, "alternatives"]
    orders: Int[Array, "more_rankings alternatives"]
    weights: Float[Array, "more_rankings"]

    def words(self) -> dict[str, str]:
        """What the number in a field means: a dictionary from the name of the field to words."""
        changes = (
            "a ballot of weight 0 added",
            "ballots in another order",
            "a ballot split in two",
            "equal ballots merged",
        )
        return {"change": changes[int(self.change)]}


class NeutralityWitness(NamedTuple):
    """A renaming of the alternatives that the lottery does not follow.

    Attributes:
        names: (alternatives,) the renaming τ: alternative i is called names[i].
        alternative: i, the alternative whose probabilities differ most.
        lottery: (alternatives,) π, the lottery of the profile as given.
        renamed_lottery: (alternatives,) π', the lottery of the renamed profile; π'[names[i]] should be π[i].
        orders: (rankings, alternatives) the renamed profile.
    """

    names: Int[Array, "alternatives"]
    alternative: Int[Array, ""]
    lottery: Float[Array, "alternatives"]
    renamed_lottery: Float[Array, "alternatives"]
    orders: Int[Array, "rankings alternatives"]


class PairwiseWitness(NamedTuple):
    """Two profiles with the same P, for which the rule returns different lotteries.

    Attributes:
        change: how the profiles were made, as `pairwise_only` describes. 0: crossed, two ballots exchange the lower
            parts of their rankings. 1: exchanged, a share of a ballot and of its reverse moves to another ranking and
            its reverse. 2: mixed, the given profile is mixed with a ranking and its reverse, which differ between
            the two profiles.
        alternative: the alternative whose probabilities differ most.
        orders: (rankings + 2, alternatives) the first profile; rows of weight 0 belong to no voter.
        weights: (rankings + 2,) the shares of the first profile.
        lottery: (alternatives,) the lottery of the first profile.
        changed_orders: (rankings + 2, alternatives) the second profile.
        changed_weights: (rankings + 2,) the shares of the second profile.
        changed_lottery: (alternatives,) the lottery of the second profile.
    """

    change: Int[Array, ""]
    alternative: Int[Array, ""]
    orders: Int[Array, "more_rankings alternatives"]
    weights: Float[Array, "more_rankings"]
    lottery: Float[Array, "alternatives"]
    changed_orders: Int[Array, "more_rankings alternatives"]
    changed_weights: Float[Array, "more_rankings"]
    changed_lottery: Float[Array, "alternatives"]

    def words(self) -> dict[str, str]:
        """What the number in a field means: a dictionary from the name of the field to words."""
        changes = (
            "the lower parts of two ballots exchanged",
            "a ballot and its reverse moved to another ranking and its reverse",
            "mixed with another ranking and its reverse",
        )
        return {"change": changes[int(self.change)]}


def anonymity(rule: Rule, orders: Orders, weights: Weights | None = None) -> tuple[Float[Array, ""], AnonymityWitness]:
    """How much the lottery depends on how σ is written down, max |Φ(σ') - Φ(σ)| over rewritings σ' of σ.

    There are four kinds of rewriting:

    - a ballot of weight 0 added;
    - the ballots in another order: all orders of up to 4 ballots; for more ballots, the exchanges of neighbours, the
      rotations by one, the reversal and 32 orders from a fixed seed;
    - each ballot split in two, one third and two thirds of its weight;
    - equal ballots merged.

    All rewritings have one row more than σ, so that one compiled function evaluates them all.

    A rule of P satisfies the axiom by construction.

    Source: Kim et al., section 2.1, where a rule is a function of the distribution σ.

    Returns:
        (gap, `AnonymityWitness`); the axiom is violated if gap > 0.

    Example:
        >>> first_voter = lambda orders, weights: jnp.eye(2)[orders[0, 0]]
        >>> gap, witness = anonymity(first_voter, [[0, 1], [1, 0]])
        >>> float(gap), witness.orders[:2].tolist()
        (1.0, [[1, 0], [0, 1]])
    """
    gap, witness = compiled(_anonymity, rule)(*checked_profile(orders, weights))
    return finish(gap), witness


def neutrality(
    rule: Rule, orders: Orders, weights: Weights | None = None
) -> tuple[Float[Array, ""], NeutralityWitness]:
    """How much the lottery depends on the names of the alternatives, max_τ max_i |Φ(τσ)(τ(i)) - Φ(σ)(i)|.

    If M <= 4, τ runs over all M! renamings. If M > 4, it runs over the exchanges of neighbours, the rotations by one,
    the reversal and 32 renamings from a fixed seed.

    Source: Fishburn (1973), *The Theory of Social Choice*; probabilities follow their alternatives.

    Returns:
        (gap, `NeutralityWitness`); the axiom is violated if gap > 0.

    Example:
        >>> ties_by_index = lambda matrix: jnp.eye(2)[jnp.argmax(jnp.sum(matrix, axis=1))]
        >>> gap, witness = neutrality(ties_by_index, [[0, 1], [1, 0]])
        >>> float(gap), witness.names.tolist()
        (1.0, [1, 0])
    """
    gap, witness = compiled(_neutrality, rule)(*checked_profile(orders, weights))
    return finish(gap), witness


def pairwise_only(
    rule: Rule, orders: Orders, weights: Weights | None = None, *, mixture: float | int = 0.5
) -> tuple[Float[Array, ""], PairwiseWitness]:
    """How much the lottery differs between profiles with the same P (Fishburn's C2), max |Φ(σ') - Φ(σ'')|.

    Profiles with the same P are made from the given profile σ in three ways:

    - crossed: if the first p alternatives of two ballots are the same set, the ballots exchange the rest of their
      rankings. Only a share of each ballot changes, which is the smaller of their two shares;
    - exchanged: if two ballots are each other's reverse, the smaller of their two shares moves from one to a ranking s,
      and from the other to the reverse of s;
    - mixed: σ' = (1 - m) σ + m {r, r reversed}/2, and σ'' is the same with s in place of r, where r is the identity
      and m is the `mixture`.

    If M <= 4, s runs over all rankings. If M > 4, it runs over generators of the permutations and 32 rankings from a
    fixed seed. These changes do not reach every profile with the same P, so that a gap of 0 on one profile is no proof.
    Over all profiles together they detect most rules that depend on more than P. A rule of P satisfies the axiom by
    construction.

    Source: Kim et al., section 3.3 (footnote 1) and Appendix F; Fishburn (1977).

    Args:
        mixture: m in [0, 1); 0 leaves out the mixed profiles.

    Returns:
        (gap, `PairwiseWitness`); the axiom is violated if gap > 0. The gap is -inf if no change applies to the profile.

    Raises:
        ValueError: as every axiom does, and if the mixture lies outside [0, 1).

    Example:
        Kim et al., Appendix F: two profiles with the same P have the shares of first choices (1/3, 1/3, 1/3) and
        (2/3, 0, 1/3).

        >>> from jaxval import social_choice
        >>> orders = [[0, 1, 2], [1, 0, 2], [2, 0, 1]]
        >>> gap, witness = pairwise_only(social_choice.random_dictatorship, orders, mixture=0)
        >>> round(float(gap), 4), [round(float(p), 4) for p in witness.changed_lottery]
        (0.3333, [0.6667, 0.0, 0.3333])
    """
    if not isinstance(mixture, int | float | np.number) or not 0 <= mixture < 1:
        raise BadArgument("mixture", expected="a number in [0, 1)", got=f"{mixture!r}")
    gap, witness = compiled(_pairwise_only, rule, mixture=mixture)(*checked_profile(orders, weights))
    return finish(gap), witness


def _anonymity(rule: Rule, orders: Array, weights: Array) -> tuple[Array, AnonymityWitness]:
    num, alternatives = orders.shape
    permutations = permutation_table(num)
    change = np.repeat([ADDED, REORDERED, SPLIT, MERGED], [1, len(permutations) - 1, num, 1])
    row = np.concatenate([np.arange(len(permutations)), np.arange(num), [0]])
    equal = jnp.all(orders[:, None] == orders[None, :], axis=2)
    merged = jnp.where(jnp.argmax(equal, axis=0) == jnp.arange(num), equal @ weights, 0)

    def rewritten(change: Array, row: Array) -> tuple[Array, Array]:
        permutation = jnp.asarray(permutations)[jnp.where(change == REORDERED, row, 0)]
        part = jnp.where(change == SPLIT, weights[row] / 3, 0)
        first = jnp.where(change == MERGED, merged, weights[permutation])
        last = orders[jnp.where(change == SPLIT, row, 0)]
        return (
            jnp.concatenate([orders[permutation], last[None]]),
            jnp.concatenate([jnp.where(jnp.arange(num) == row, first - part, first), part[None]]),
        )

    profile_rule = as_profile_rule(rule)
    lottery = profile_rule(orders, weights)
    change, row, lottery = jax.lax.optimization_barrier((jnp.asarray(change), jnp.asarray(row), lottery))
    changed = each(lambda c, r: profile_rule(*rewritten(c, r)), change, row, numbers=num * alternatives**2)
    gap, worst, alternative = _furthest(jnp.abs(changed - lottery[None]))
    return gap, AnonymityWitness(
        change[worst], alternative, lottery, changed[worst], *rewritten(change[worst], row[worst])
    )


def _neutrality(rule: Rule, orders: Array, weights: Array) -> tuple[Array, NeutralityWitness]:
    num, alternatives = orders.shape
    table = jnp.asarray(permutation_table(alternatives))
    profile_rule = as_profile_rule(rule)
    lotteries = each(lambda names: profile_rule(names[orders], weights), table, numbers=num * alternatives**2)
    followed = jnp.take_along_axis(lotteries, table, axis=1)  # followed[t, i] = Φ(τσ)(τ(i)); τ = identity comes first
    gap, worst, alternative = _furthest(jnp.abs(followed - lotteries[:1]))
    names = table[worst]
    return gap, NeutralityWitness(names, alternative, lotteries[0], lotteries[worst], names[orders])


def _pairwise_only(rule: Rule, orders: Array, weights: Array, *, mixture: float | int) -> tuple[Array, PairwiseWitness]:
    num, alternatives = orders.shape
    table = jnp.asarray(permutation_table(alternatives))
    nobody = jnp.zeros_like(weights, shape=(2,))
    pair = jnp.stack([table[0], table[0, ::-1]])
    bases = [  # the profiles that all others are compared with: σ itself, and σ mixed with {identity, reverse}
        (jnp.concatenate([orders, pair]), jnp.concatenate([weights, nobody])),
        (jnp.concatenate([orders, pair]), jnp.concatenate([(1 - mixture) * weights, nobody + mixture / 2])),
    ]
    change, first, second, which = map(jnp.asarray, _exchanges(num, alternatives, len(table), mixture > 0))
    rank = jnp.argsort(orders, axis=1)

    def exchanged(change: Array, first: Array, second: Array, which: Array) -> tuple[Array, Array, Array]:
        one, other = orders[first], orders[second]
        crossing = change == CROSSED  # then `which` is p, the number of first alternatives that stay
        stays = jnp.arange(alternatives) < which
        s = table[jnp.where(crossing, 0, which)]
        new = jnp.stack(
            [
                jnp.where(crossing, jnp.where(stays, one, other), s),
                jnp.where(crossing, jnp.where(stays, other, one), s[::-1]),
            ]
        )
        same_first_set = jnp.all((rank[first] < which) == (rank[second] < which))
        applies = jnp.where(crossing, same_first_set, jnp.all(one == other[::-1]))
        applies = (applies & (first != second)) | (change == MIXED)
        moved = jnp.minimum(weights[first], weights[second])
        loses = (jnp.arange(num) == first) | (jnp.arange(num) == second)
        shares = jnp.where(change == MIXED, (1 - mixture) * weights, weights - jnp.where(loses, moved, 0))
        gained = jnp.where(change == MIXED, mixture / 2, moved)
        return jnp.concatenate([orders, new]), jnp.concatenate([shares, nobody + gained]), applies & (gained > 0)

    def profile(index: Array) -> tuple[Array, Array, Array]:
        """The profile of an index: 0 and 1 are the two bases, and the changed profiles follow."""
        new_orders, new_shares, applies = exchanged(
            *(field[jnp.maximum(index - 2, 0)] for field in (change, first, second, which))
        )
        base = jnp.minimum(index, 1)
        base_orders, base_shares = (jnp.stack(field)[base] for field in zip(*bases, strict=True))
        return (
            jnp.where(index < 2, base_orders, new_orders),
            jnp.where(index < 2, base_shares, new_shares),
            applies & (index >= 2),
        )

    profile_rule = as_profile_rule(rule)

    def lottery_of(index: Array) -> tuple[Array, Array]:
        new_orders, new_shares, applies = profile(index)
        return profile_rule(new_orders, new_shares), applies

    lotteries, applies = each(lottery_of, jnp.arange(2 + len(change)), numbers=(num + 2) * alternatives**2)
    compared = jnp.concatenate([jnp.zeros(2, change.dtype), jnp.where(change == MIXED, 1, 0)])
    differences = jnp.abs(lotteries - lotteries[compared])
    gap, worst, alternative = _furthest(jnp.where(applies[:, None], differences, -jnp.inf))
    base = compared[worst]
    both_orders, both_shares, _ = jax.vmap(profile)(jnp.stack([base, worst]))
    return gap, PairwiseWitness(
        change[jnp.maximum(worst - 2, 0)],
        alternative,
        both_orders[0],
        both_shares[0],
        lotteries[base],
        both_orders[1],
        both_shares[1],
        lotteries[worst],
    )


def _exchanges(num: int, alternatives: int, table: int, mixed: bool) -> np.ndarray:
    """(4, exchanges): the kind of change, its two ballots, and either p or an index of the table of rankings."""
    first, second = np.triu_indices(num, k=1)
    stays, entries = np.arange(1, alternatives), np.arange(table)
    # A ballot crossed with itself never applies. It keeps the list from being empty.
    columns = [np.array([[CROSSED], [0], [0], [0]])]
    if mixed:
        columns.append(np.stack([np.full(table, MIXED), 0 * entries, 0 * entries, entries]))
    for kind, choices in ((EXCHANGED, entries), (CROSSED, stays)):
        columns.append(
            np.stack(
                [
                    np.full(len(first) * len(choices), kind),
                    np.repeat(first, len(choices)),
                    np.repeat(second, len(choices)),
                    np.tile(choices, len(first)),
                ]
            )
        )
    return np.concatenate(columns, axis=1).astype(np.int32)


def _furthest(differences: Array) -> tuple[Array, Array, Array]:
    """The largest entry, its row and its column."""
    row, column = jnp.unravel_index(jnp.argmax(differences), differences.shape)
    return differences[row, column], row, column
