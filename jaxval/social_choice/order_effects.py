"""What the order in which two alternatives are shown does to votes."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxval import _checks
from jaxval.preferences import count_wins, empirical_matrix
from jaxval.types import BadArgument, Comparisons

__all__ = ["OrderEffect", "order_effect"]


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
    _checks.check_record("comparisons", comparisons, Comparisons)
    first = jnp.asarray(_checks.real_array("winner_first", winner_first, "(comparisons,) truth values"), dtype=bool)
    weight = _checks.numbers("comparisons.weight", comparisons.weight)
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
