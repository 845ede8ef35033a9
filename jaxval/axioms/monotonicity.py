"""Monotonicity: an alternative that is lifted in some ballots, with all else unchanged, never loses probability.

`jaxval.axioms` describes the arguments that every axiom takes; functions list only their further ones.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.axioms._profiles import checked_profile, compiled, each, finish
from jaxval.axioms.rules import as_profile_rule, call, is_matrix_rule
from jaxval.preferences import positions, preference_matrix
from jaxval.types import BadArgument, Orders, Rule, Weights

__all__ = ["MonotonicityWitness", "monotonicity"]


class MonotonicityWitness(NamedTuple):
    """The lift that costs the lifted alternative most.

    Attributes:
        alternative: y, the alternative that is lifted.
        row: the ballot in which y is lifted; with `moving="bloc"`, y is lifted in all equal ballots too.
        rank: the new rank of y in that ballot, 0 for the top.
        lottery: (alternatives,) the lottery before the lift.
        lifted_lottery: (alternatives,) the lottery after the lift.
        orders: (rankings, alternatives) the profile after the lift; (2 rankings, alternatives) if only a share moves.
        weights: the shares of the rows of `orders`.
    """

    alternative: Int[Array, ""]
    row: Int[Array, ""]
    rank: Int[Array, ""]
    lottery: Float[Array, "alternatives"]
    lifted_lottery: Float[Array, "alternatives"]
    orders: Int[Array, "lifted_rankings alternatives"]
    weights: Float[Array, "lifted_rankings"]


def monotonicity(
    rule: Rule, orders: Orders, weights: Weights | None = None, *, moving: str = "ballot", share: float | int = 1.0
) -> tuple[Float[Array, ""], MonotonicityWitness]:
    """How much probability an alternative loses when it is lifted, max Φ(σ)(y) - Φ(σ')(y) over all lifts σ → σ'.

    A lift moves one alternative to a better rank in one ballot, and all others keep their order. Every alternative of
    every ballot is lifted to every better rank.

    Source: Kim et al., Definition D.1.

    Args:
        orders: as in every axiom; a row is one ballot, and rows of weight 0 are not lifted.
        moving: "ballot" lifts in one row alone; "bloc" lifts in all rows with the same ranking together.
        share: the share of each such row that is lifted, in (0, 1].

    Returns:
        (gap, `MonotonicityWitness`); the axiom is violated if gap > 0. The gap is -inf if nothing can be lifted,
        as with one alternative.

    Example:
        >>> from jaxval import social_choice
        >>> gap, _ = monotonicity(social_choice.proportional, [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
        >>> bool(gap <= 0)
        True
        >>> fewest_first_choices = lambda orders, weights: jnp.eye(2)[orders[0, -1]]
        >>> gap, witness = monotonicity(fewest_first_choices, [[0, 1]])
        >>> float(gap), int(witness.alternative), witness.orders.tolist()
        (1.0, 1, [[1, 0]])
    """
    orders, weights = checked_profile(orders, weights)
    _checks.check_choice("moving", moving, ("ballot", "bloc"))
    if not isinstance(share, int | float | np.number) or not 0 < share <= 1:
        raise BadArgument("share", expected="a number in (0, 1]", got=f"{share!r}")
    gap, witness = compiled(_monotonicity, rule, moving=moving, share=share)(orders, weights)
    return finish(gap), witness


def _monotonicity(
    rule: Rule, orders: Array, weights: Array, *, moving: str, share: float | int
) -> tuple[Array, MonotonicityWitness]:
    num, alternatives = orders.shape
    table = lift_table(alternatives)
    # Candidate 0 lifts nothing, so that the same batch gives the lottery of the unchanged profile.
    row = np.concatenate([[0], np.repeat(np.arange(num), len(table.old) - 1)])
    lift = np.concatenate([[0], np.tile(np.arange(1, len(table.old)), num)])
    old, new, tables = map(jnp.asarray, table)

    def members(row: Array) -> Array:
        return jnp.all(orders == orders[row][None], axis=1) if moving == "bloc" else jnp.arange(num) == row

    def bloc_weight(row: Array) -> Array:
        return jnp.sum(jnp.where(members(row), weights, 0))

    def lifted_profile(row: Array, lift: Array) -> tuple[Array, Array]:
        lifted = jnp.where(members(row)[:, None], orders[:, tables[lift]], orders)
        if share == 1:
            return lifted, weights
        moved = jnp.where(members(row), share * weights, 0)
        return jnp.concatenate([orders, lifted]), jnp.concatenate([weights - moved, moved])

    if is_matrix_rule(rule):
        matrix, rank = preference_matrix(orders, weights), positions(orders)
        moving_together = weights if moving == "ballot" else each(bloc_weight, np.arange(num), numbers=orders.size)

        def lottery_after(row: Array, lift: Array) -> Array:
            # A lift of y past the alternatives B changes P by the ballot's weight times (e_y 1_Bᵀ - 1_B e_yᵀ). P is
            # updated by this term, which is cheaper than to count all ballots again.
            risen = jnp.where(rank[row] == old[lift], share * moving_together[row], 0)
            passed = (rank[row] >= new[lift]) & (rank[row] < old[lift])
            gained = risen[:, None] * passed[None, :]
            return call(rule, matrix + gained - gained.T, alternatives=alternatives)

        numbers = alternatives**2
    else:

        def lottery_after(row: Array, lift: Array) -> Array:
            return as_profile_rule(rule)(*lifted_profile(row, lift))

        numbers = num * alternatives**2

    lotteries = each(lottery_after, row, lift, numbers=numbers)
    alternative = orders[row, old[lift]]
    losses = lotteries[0, alternative] - lotteries[jnp.arange(len(row)), alternative]
    losses = jnp.where((old > new)[lift] & (weights[row] > 0), losses, -jnp.inf)
    worst = jnp.argmax(losses)
    witness = MonotonicityWitness(
        alternative[worst],
        jnp.asarray(row)[worst],
        new[lift][worst],
        lotteries[0],
        lotteries[worst],
        *lifted_profile(jnp.asarray(row)[worst], jnp.asarray(lift)[worst]),
    )
    return losses[worst], witness


class LiftTable(NamedTuple):
    """Every lift, small ones first; entry 0 lifts nothing. `orders[:, tables[lift]]` applies a lift to every row."""

    old: np.ndarray
    new: np.ndarray
    tables: np.ndarray


@lru_cache(maxsize=32)
def lift_table(alternatives: int) -> LiftTable:
    """The M (M - 1) / 2 lifts from each rank to each better rank, after the lift that changes nothing."""
    pairs = [(0, 0)] + [(old, old - by) for by in range(1, alternatives) for old in range(by, alternatives)]
    tables = []
    for old, new in pairs:
        positions = list(range(alternatives))
        positions.insert(new, positions.pop(old))
        tables.append(positions)
    old_ranks, new_ranks = np.array(pairs, dtype=np.int32).T
    return LiftTable(old_ranks, new_ranks, np.array(tables, dtype=np.int32))
