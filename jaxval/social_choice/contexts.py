"""Rules in every context and pooled, and what the order in which two alternatives are shown does to votes."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxval.preferences import count_wins, empirical_matrix
from jaxval.preferences.ballots import check_wins
from jaxval.types import BadArgument, Comparisons, Lottery, Rule

__all__ = ["ContextLotteries", "OrderEffect", "lotteries_by_context", "order_effect"]


class ContextLotteries(NamedTuple):
    """The lotteries of one rule in every context.

    Attributes:
        lotteries: (contexts, alternatives) probabilities; 0 for alternatives without votes in that context.
        seen: (contexts, alternatives) which alternatives have votes in the context.
        votes: (contexts,) the number of comparisons in the context.
        few: (contexts,) whether a context has fewer comparisons than `votes_per_pair` asks for; False without votes.
        pooled: (alternatives,) the lottery of the sum of all counts.
    """

    lotteries: Float[Array, "contexts alternatives"]
    seen: Bool[np.ndarray, "contexts alternatives"]
    votes: Float[np.ndarray, "contexts"]
    few: Bool[np.ndarray, "contexts"]
    pooled: Lottery


def lotteries_by_context(
    rule: Rule,
    wins: Float[ArrayLike, "contexts alternatives alternatives"] | list[Any],
    *,
    votes_per_pair: float | int = 1,
) -> ContextLotteries:
    """A rule applied in every context to the alternatives that have votes in it, and to all votes together.

    The pooled lottery answers one question if all contexts have the same alternatives, as prompts put to the same
    models have. If contexts have different alternatives, pairs across contexts are never compared and count as ties.

    Args:
        rule: a function of P to a lottery.
        wins: (contexts, alternatives, alternatives) counts, as `count_wins(comparisons, contexts=...)` gives them.
        votes_per_pair: a context has few votes if it has fewer than this number for each pair of its alternatives.

    Returns:
        `ContextLotteries`. A context without votes has a lottery of zeros.

    Raises:
        ValueError: if counts are negative or of another shape.

    Example:
        >>> from jaxval.social_choice import proportional
        >>> wins = [[[0, 3, 0], [1, 0, 0], [0, 0, 0]], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]]
        >>> found = lotteries_by_context(proportional, wins, votes_per_pair=2)
        >>> found.lotteries.tolist(), found.few.tolist()
        ([[0.75, 0.25, 0.0], [1.0, 0.0, 0.0]], [False, True])
    """
    array = check_wins(wins, contexts=True)
    if array.ndim != 3:
        raise BadArgument("wins", expected="counts (contexts, alternatives, alternatives)", got=f"shape {array.shape}")
    counts = np.asarray(array)
    compared = counts + counts.transpose(0, 2, 1)
    seen = compared.sum(axis=2) > 0
    lotteries = np.zeros(seen.shape, dtype=counts.dtype)
    for context, rows in enumerate(seen):
        if rows.any():
            inside = np.flatnonzero(rows)
            lotteries[context, inside] = np.asarray(rule(empirical_matrix(counts[context][np.ix_(inside, inside)])))
    votes = counts.sum(axis=(1, 2))
    number = seen.sum(axis=1)
    few = votes < votes_per_pair * number * (number - 1) / 2
    return ContextLotteries(jnp.asarray(lotteries), seen, votes, few, rule(empirical_matrix(counts.sum(axis=0))))


class OrderEffect(NamedTuple):
    """How much it helps an alternative to be shown first, and P without this effect.

    Attributes:
        first_wins: the share of comparisons that the alternative shown first won; a tie counts as half a win.
        swapped: how many pairs were shown both ways round.
        bias: over the swapped pairs, how much more often an alternative wins if it is shown first than if it is shown
            second, (P(i ≻ j | i first) - P(i ≻ j | i second)) / 2, on average; NaN if no pair was swapped.
        matrix: (alternatives, alternatives) P, where the two orders of a pair have equal weight.
        balanced: (alternatives, alternatives) wins with that P and the same number of comparisons of each pair.
    """

    first_wins: Float[Array, ""]
    swapped: Float[Array, ""]
    bias: Float[Array, ""]
    matrix: Float[Array, "alternatives alternatives"]
    balanced: Float[Array, "alternatives alternatives"]


def order_effect(
    comparisons: Comparisons, winner_first: Bool[ArrayLike, "comparisons"] | list[bool], *, alternatives: int
) -> OrderEffect:
    """The effect of the order in which two alternatives are shown, from pairs that were shown both ways round.

    If every vote were cast for the alternative shown first, P(i ≻ j) would be the share of comparisons in which i was
    shown first. An effect that adds the same to the share of whichever alternative is first cancels in the mean of the
    shares in both orders. A pair that was shown in one order only keeps its share.

    Args:
        comparisons: `Comparisons`, all fields (comparisons,).
        winner_first: (comparisons,) whether the winner of each comparison was shown first, or on the left.
        alternatives: M.

    Returns:
        `OrderEffect`.

    Raises:
        ValueError: if lengths differ or an index is out of range.

    Example:
        The alternative shown first always wins: three times 0 was first, and once 1 was.

        >>> votes = Comparisons([0] * 4, [0, 0, 0, 1], [1, 1, 1, 0], [1.0] * 4)
        >>> effect = order_effect(votes, [True] * 4, alternatives=2)
        >>> float(effect.first_wins), float(effect.bias), float(effect.matrix[0, 1])
        (1.0, 0.5, 0.5)
    """
    first = jnp.asarray(winner_first)
    weight = jnp.asarray(comparisons.weight, dtype=float)
    if first.shape != weight.shape:
        raise BadArgument("winner_first", expected=f"one for each of {len(weight)} comparisons", got=f"{first.shape}")

    def counted(chosen: Array) -> Array:
        return count_wins(comparisons._replace(weight=jnp.where(chosen, weight, 0)), alternatives=alternatives)

    won_first, won_second = counted(first), counted(~first)  # [i, j]: i won, and was shown first, or second
    shown, other = won_first + won_second.T, won_second + won_first.T  # comparisons with i first, and with j first
    share_first, share_second = (
        jnp.where(n > 0, won / jnp.where(n > 0, n, 1), 0) for won, n in ((won_first, shown), (won_second, other))
    )
    both = (shown > 0) & (other > 0)
    matrix = jnp.where(both, (share_first + share_second) / 2, empirical_matrix(won_first + won_second))
    total, swapped = jnp.sum(shown), jnp.sum(both) / 2
    bias = jnp.sum(jnp.where(both, share_first - share_second, 0)) / 2 / (2 * jnp.where(swapped > 0, swapped, 1))
    return OrderEffect(
        first_wins=jnp.sum(won_first) / total,
        swapped=swapped,
        bias=jnp.where(swapped > 0, bias, jnp.nan),
        matrix=matrix,
        balanced=matrix * (shown + other),
    )
