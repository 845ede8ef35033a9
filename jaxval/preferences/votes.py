"""From votes on statements (agree, pass, disagree) to counts of wins, by products of matrices."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.preferences.ballots import check_counts
from jaxval.types import UNSEEN, BadArgument

__all__ = ["vote_wins"]

BLOCK = 4096  # voters in one product


def vote_wins(
    votes: Int[ArrayLike, "voters statements"] | list[Any],
    *,
    weights: Float[ArrayLike, "voters"] | list[float] | None = None,
    equal: str = "half",
    each: str = "pair",
) -> Float[Array, "statements statements"]:
    """How many voters prefer statement i to j, where a voter prefers agreed to passed and passed to disagreed.

    Only the statements that a voter saw are compared. With x = 1, 0 or -1 for a vote, s = 1 for a statement that was
    seen, and x = s = 0 for one that was not, let g = s - x² / 2. For two statements that the voter saw,
    sign(x_i - x_j) = x_i g_j - g_i x_j. So the margins of all pairs are K = XᵀG - GᵀX, the numbers of voters who saw
    both are N = SᵀS, and wins = (N + K) / 2, where two equal votes are half a win each way. No pair is ever listed.
    Matrices of many voters are read in blocks of 4,096 voters. The wins of parts of a file add up.

    Args:
        votes: (voters, statements) integers: 1 agrees, 0 passes, -1 disagrees; `types.UNSEEN` (-2) if the voter never
            saw the statement.
        weights: (voters,) how much each voter counts; None means 1 each.
        equal: "half": two equal votes are half a win each way. "ignored": two equal votes count for neither statement;
            about half of all pairs of real votes are equal.
        each: "pair": every pair of a voter counts as the voter's weight. "voter": all pairs of a voter together count
            as the weight, so that a voter with many votes has no more say than others.

    Returns:
        (statements, statements) counts, diagonal 0.

    Raises:
        ValueError: if a vote is another number, weights are negative or of another length, or an option is unknown.

    Example:
        The first voter agrees with statement 0 and passes on 1. The second disagrees with both and saw all three.

        >>> votes = [[1, 0, UNSEEN], [-1, -1, 1]]
        >>> vote_wins(votes).tolist()
        [[0.0, 1.5, 0.0], [0.5, 0.0, 0.0], [1.0, 1.0, 0.0]]
        >>> vote_wins(votes, equal="ignored", each="voter").tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """
    _checks.check_choice("equal", equal, ("half", "ignored"))
    _checks.check_choice("each", each, ("pair", "voter"))
    array = _check_votes(votes)
    if weights is None:
        weights = np.ones(array.shape[0])
    weights = check_counts("weights", weights, array.shape[0])
    voters, statements = array.shape
    total = jnp.zeros((statements, statements))
    for start in range(0, voters, BLOCK):
        part, counted = array[start : start + BLOCK], weights[start : start + BLOCK]
        if start and len(part) < BLOCK:  # all blocks have one shape, so that one program is compiled
            missing = BLOCK - len(part)
            part = jnp.pad(part, ((0, missing), (0, 0)), constant_values=UNSEEN)
            counted = jnp.pad(counted, (0, missing))
        total = total + _block_wins(part, counted, equal == "ignored", each == "voter")
    return total


@partial(jax.jit, static_argnums=(2, 3))
def _block_wins(votes: Array, weights: Array, ignored: bool, by_voter: bool) -> Array:
    seen = jnp.where(votes == UNSEEN, 0, 1).astype(weights.dtype)
    vote = seen * votes.astype(weights.dtype)
    decided = vote**2
    passed = seen - decided
    if by_voter:
        pairs = _pairs_within(jnp.sum(seen, axis=1))
        if ignored:
            for same in ((decided + vote) / 2, (decided - vote) / 2, passed):  # agreed, disagreed, passed
                pairs = pairs - _pairs_within(jnp.sum(same, axis=1))
        weights = jnp.where(pairs > 0, weights / jnp.where(pairs > 0, pairs, 1), 0)

    def product(left: Array, right: Array) -> Array:
        return jnp.matmul((left * weights[:, None]).T, right, precision="highest")

    margins = product(vote, seen - decided / 2)
    compared = product(seen, seen)
    if ignored:  # two votes are equal if both pass, or if both decide the same way
        compared = compared - product(passed, passed) - (product(vote, vote) + product(decided, decided)) / 2
    return (compared + margins - margins.T) * (1 - jnp.eye(votes.shape[1], dtype=weights.dtype)) / 2


def _pairs_within(number: Array) -> Array:
    return number * (number - 1) / 2


def _check_votes(votes: Any) -> np.ndarray | Array:
    """Check votes: (voters, statements) of 1, 0, -1 and UNSEEN. NumPy's arrays stay on the host."""
    expected = "(voters, statements) integers: 1 agrees, 0 passes, -1 disagrees, -2 unseen"
    array = _checks.real_array("votes", votes, expected)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iu":
        raise BadArgument("votes", expected=expected, got=f"{array.dtype} of shape {array.shape}")
    if _checks.concrete(array):
        values = np.asarray(array)
        if values.min() < UNSEEN or values.max() > 1:
            row, column = np.argwhere((values < UNSEEN) | (values > 1))[0]
            raise BadArgument(
                "votes", expected=expected, got=f"{values[row, column]} of voter {row} on statement {column}"
            )
    return array
