"""Shape names and records: what flows between the rooms.

Everything here is a plain pytree (`NamedTuple`) or a name for a shape, so that it passes through `jit`, `vmap`
and `tree_map` unchanged. Functions accept NumPy and JAX arrays and nested lists alike and return JAX arrays.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

__all__ = [
    "Ballots",
    "Comparisons",
    "Lottery",
    "Matrix",
    "Number",
    "Orders",
    "Profile",
    "Rule",
    "Utility",
    "Vector",
    "Weights",
    "Wins",
]

Orders = Int[ArrayLike, "rankings alternatives"] | list[Any]
"""Rankings, best first: `orders[k, 0]` is the first choice of ranking k."""

Weights = Float[ArrayLike, "rankings"] | list[Any]
"""Shares of the population, one per ranking; they sum to one."""

Matrix = Float[ArrayLike, "alternatives alternatives"] | list[Any]
"""A preference function P: `P[i, j]` is the share preferring i to j; P + Pᵀ = 1, diagonal 1/2."""

Wins = Float[ArrayLike, "alternatives alternatives"] | list[Any]
"""Counts: `wins[i, j]` is how often i was preferred to j."""

Vector = Float[ArrayLike, "alternatives"] | list[Any]
"""One number for each alternative: rewards, scores, the probabilities of a lottery that comes in."""

Number = Float[ArrayLike, ""] | float | int
"""A scalar."""

Lottery = Float[Array, "alternatives"]
"""Probabilities of the alternatives; they sum to one."""

Rule = Callable[..., Lottery]
"""A rule: from P (one positional argument) or from a profile (`orders, weights`) to a lottery."""

Utility = Callable[[Bool[Array, "players"]], Float[Array, "*objectives"]]
"""A utility: from the mask of one coalition to a scalar, or to a vector of objectives."""


class Profile(NamedTuple):
    """Complete strict rankings and the share of the population that holds each (Kim et al., section 2.1).

    Attributes:
        orders: (rankings, alternatives) integers, best first.
        weights: (rankings,) shares that sum to one.
    """

    orders: Int[ArrayLike, "rankings alternatives"]
    weights: Float[ArrayLike, "rankings"]


class Ballots(NamedTuple):
    """Ballots as cast: ties and unranked alternatives allowed.

    Attributes:
        positions: (ballots, alternatives) integers: 0 is best, equal numbers are tied, -1 is unranked.
        weights: (ballots,) how many voters cast each ballot; any positive scale.
    """

    positions: Int[ArrayLike, "ballots alternatives"]
    weights: Float[ArrayLike, "ballots"]


class Comparisons(NamedTuple):
    """Pairwise comparisons, one row each; a tie is two rows of half weight, one each way.

    Attributes:
        context: (comparisons,) index of the prompt or question; all 0 where there is one.
        winner: (comparisons,) index of the preferred alternative.
        loser: (comparisons,) index of the other.
        weight: (comparisons,) how many times the comparison was made; 0.5 for each row of a tie.
    """

    context: Int[ArrayLike, "comparisons"]
    winner: Int[ArrayLike, "comparisons"]
    loser: Int[ArrayLike, "comparisons"]
    weight: Float[ArrayLike, "comparisons"]
