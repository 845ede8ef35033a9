"""From ballots and comparisons to counts of wins, and from counts to a preference function."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.preferences.profiles import count_positions, positions
from jaxval.types import BadArgument, Ballots, Comparisons, Orders, Weights, Wins

__all__ = ["ballot_first_choices", "ballot_wins", "ballots_from_orders", "count_wins", "empirical_matrix"]


def ballots_from_orders(orders: Orders, counts: Weights | None = None) -> Ballots:
    """Complete strict rankings as ballots. `counts` is the number of voters of each ranking; None means one voter each.

    Example:
        >>> ballots_from_orders([[2, 0, 1]]).positions.tolist()
        [[1, 2, 0]]
    """
    place = positions(orders)
    return Ballots(place, jnp.ones(place.shape[0]) if counts is None else jnp.asarray(counts, dtype=float))


def ballot_wins(ballots: Ballots, *, unranked: str = "below") -> Float[Array, "alternatives alternatives"]:
    """How many voters put i above j; a tie is half a win each way.

    Args:
        ballots: `Ballots` of (ballots, alternatives) positions, 0 best, equal numbers tied, -1 unranked.
        unranked: "below": unranked alternatives tie with one another below the ranked ones. "ignored": a pair with an
            unranked alternative is not compared by that ballot; P may then come from no profile.

    Returns:
        (alternatives, alternatives) counts, diagonal 0.

    Raises:
        ValueError: if positions are below -1, weights are negative or of another length, or `unranked` is neither.

    Example:
        >>> ballots = Ballots(positions=[[0, 1, -1]], weights=[2.0])
        >>> ballot_wins(ballots).tolist()
        [[0.0, 2.0, 2.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
        >>> ballot_wins(ballots, unranked="ignored").tolist()
        [[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    _checks.check_choice("unranked", unranked, ("below", "ignored"))
    place, weights = _check_ballots(ballots)
    return count_positions(place, weights, ignored=unranked == "ignored")


def ballot_first_choices(ballots: Ballots) -> Float[Array, "alternatives"]:
    """The share of voters who put each alternative first; tied first choices share the weight of a ballot equally.

    Args:
        ballots: `Ballots` of (ballots, alternatives) positions. A ballot that ranks no alternative is a tie of all.

    Returns:
        (alternatives,) shares that sum to one.

    Raises:
        ValueError: as `ballot_wins`.

    Example:
        >>> ballot_first_choices(Ballots(positions=[[0, 1, -1], [0, 0, 1]], weights=[1.0, 1.0])).tolist()
        [0.75, 0.25, 0.0]
    """
    place, weights = _check_ballots(ballots)
    return _first_choices(place, weights)


@jax.jit
def _first_choices(place: Array, weights: Array) -> Array:
    """The shares of the first places; those who tie for it divide it."""
    place = jnp.where(place < 0, jnp.iinfo(place.dtype).max, place)
    first = place == jnp.min(place, axis=1, keepdims=True)
    shares = weights / jnp.sum(weights)
    return jnp.sum(first / jnp.sum(first, axis=1, keepdims=True) * shares[:, None], axis=0)


def count_wins(
    comparisons: Comparisons, *, alternatives: int, contexts: int | None = None
) -> Float[Array, "*contexts alternatives alternatives"]:
    """How often i was preferred to j: wins[i, j] = Σ weight 1{winner = i, loser = j}.

    Args:
        comparisons: `Comparisons`, all fields (comparisons,).
        alternatives: M; indices lie in 0..M-1.
        contexts: the number of contexts, each of which is counted separately; None sums over contexts.

    Returns:
        (alternatives, alternatives) counts, or (contexts, alternatives, alternatives). A tie is two rows of weight 1/2
        and adds 1/2 each way.

    Raises:
        ValueError: if lengths differ, an index is out of range, a row compares an alternative with itself, or a
            weight is negative.

    Example:
        >>> comparisons = Comparisons(context=[0, 0], winner=[0, 0], loser=[1, 1], weight=[1.0, 1.0])
        >>> count_wins(comparisons, alternatives=2).tolist()
        [[0.0, 2.0], [0.0, 0.0]]
    """
    _checks.check_record("comparisons", comparisons, Comparisons)
    alternatives = _checks.check_size("alternatives", alternatives)
    winner = _checks.integers("comparisons.winner", comparisons.winner, ndim=1, expected="(comparisons,) integers")
    loser = _checks.integers("comparisons.loser", comparisons.loser, ndim=1, expected="(comparisons,) integers")
    weight = check_counts("comparisons.weight", comparisons.weight, winner.shape[0])
    if loser.shape != winner.shape:
        raise BadArgument("comparisons.loser", expected=f"the length of winner, {winner.shape}", got=loser.shape)
    if _checks.concrete(winner, loser) and winner.size:
        for name, index in (("winner", winner), ("loser", loser)):
            low, high = np.asarray(index).min(), np.asarray(index).max()
            if low < 0 or high >= alternatives:
                raise BadArgument(
                    f"comparisons.{name}",
                    expected=f"indices in 0..{alternatives - 1}",
                    got=f"{low} to {high}",
                    advice=f"pass a larger number than alternatives={alternatives} if there are more",
                )
        same = np.asarray(winner) == np.asarray(loser)
        if same.any():
            row = int(same.argmax())
            raise BadArgument(
                "comparisons", expected="two different alternatives", got=f"{int(winner[row])} twice in row {row}"
            )
    groups = () if contexts is None else (_checks.check_size("contexts", contexts),)
    _checks.check_memory("alternatives", *groups, alternatives, alternatives)
    if contexts is not None:
        context = _check_contexts(comparisons.context, winner, contexts)
        return _add_up((context, winner, loser), weight, (contexts, alternatives, alternatives))
    return _add_up((winner, loser), weight, (alternatives, alternatives))


@functools.partial(jax.jit, static_argnums=2)
def _add_up(cells: tuple[Array, ...], weight: Array, shape: tuple[int, ...]) -> Array:
    """The sum of the weights in each cell."""
    return jnp.zeros(shape).at[cells].add(weight)


def _check_contexts(context: Any, winner: Array, contexts: int) -> Array:
    """The context of each comparison, in 0..contexts-1."""
    array = _checks.integers("comparisons.context", context, ndim=1, expected="(comparisons,) integers")
    if array.shape != winner.shape:
        raise BadArgument("comparisons.context", expected=f"the length of winner, {winner.shape}", got=array.shape)
    if _checks.concrete(array) and array.size:
        low, high = np.asarray(array).min(), np.asarray(array).max()
        if low < 0 or high >= contexts:
            raise BadArgument("comparisons.context", expected=f"indices in 0..{contexts - 1}", got=f"{low} to {high}")
    return array


def empirical_matrix(wins: Wins) -> Float[Array, "alternatives alternatives"]:
    """The preference function of counted wins, P̂(i ≻ j) = wins[i, j] / (wins[i, j] + wins[j, i]).

    P̂(i ≻ j) = 1/2 for a pair that was never compared.

    Source: Kim et al., equation (60).

    Args:
        wins: (alternatives, alternatives) counts; the diagonal is ignored.

    Returns:
        (alternatives, alternatives) array with P + Pᵀ = 1 and 1/2 on the diagonal.

    Raises:
        ValueError: if a count is negative or the array is not square.

    Example:
        >>> empirical_matrix([[0.0, 3.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).tolist()
        [[0.5, 0.75, 0.5], [0.25, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """
    return _shares(check_wins(wins))


@jax.jit
def _shares(wins: Array) -> Array:
    """The share of its comparisons that each alternative won, 1/2 without any."""
    seen = wins + wins.T
    margin = (wins - wins.T) / jnp.where(seen > 0, seen, 1)
    return (1 + margin) / 2


def check_wins(wins: Any, *, contexts: bool = False, name: str = "wins") -> Array:
    """Check counts of wins: a square array of non-negative numbers, or, if `contexts`, one array for each context."""
    expected = "counts of wins (alternatives, alternatives)"
    given = _checks.real_array(name, wins, expected)
    array = _checks.floating(name, given, ndim=3 if contexts and given.ndim == 3 else 2, expected=expected)
    if array.shape[-1] != array.shape[-2] or 0 in array.shape:
        raise BadArgument(name, expected=expected, got=f"shape {array.shape}")
    if _checks.concrete(array) and np.asarray(array).min() < 0:
        raise BadArgument(name, expected="non-negative counts", got=f"{np.asarray(array).min():g}")
    return array


def check_counts(name: str, value: Any, rows: int) -> Array:
    """Check counts: (rows,) non-negative numbers."""
    array = _checks.floating(name, value, ndim=1, expected=f"({rows},) counts")
    if array.shape != (rows,):
        raise BadArgument(name, expected=f"one count for each of {rows} rows", got=f"shape {array.shape}")
    if _checks.concrete(array) and rows and np.asarray(array).min() < 0:
        raise BadArgument(name, expected="non-negative counts", got=f"{np.asarray(array).min():g}")
    return array


def _check_ballots(ballots: Ballots) -> tuple[Array, Array]:
    _checks.check_record("ballots", ballots, Ballots)
    place = _checks.integers(
        "ballots.positions", ballots.positions, ndim=2, expected="(ballots, alternatives) integers"
    )
    if 0 in place.shape:
        got = f"shape {place.shape}"
        raise BadArgument("ballots.positions", expected="at least one ballot of at least one alternative", got=got)
    weights = check_counts("ballots.weights", ballots.weights, place.shape[0])
    if _checks.concrete(weights) and not np.asarray(weights).any():
        raise BadArgument("ballots.weights", expected="a weight above 0", got="0 for every ballot")
    if _checks.concrete(place) and place.size and np.asarray(place).min() < -1:
        least = np.asarray(place).min()
        raise BadArgument("ballots.positions", expected="0 (best) and up, or -1 (unranked)", got=least)
    return place, weights
