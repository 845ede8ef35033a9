"""Votes of any kind counted: all of them, those of each group, and those of resampled voters."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import preferences, social_choice
from jaxval.data import Election, NamedComparisons, VoteMatrix
from jaxval.types import UNSEEN, BadArgument, Ballots, Comparisons

if TYPE_CHECKING:
    from jaxval.data.records import Votes

__all__ = ["Counted", "Reading", "by_context", "count_votes", "keep_alternatives", "votes_each"]


class Reading(NamedTuple):
    """How votes are read.

    Attributes:
        unranked: how the unranked alternatives of ballots count, see `preferences.ballot_wins`.
        unseen: how P of pairs that were never compared is set, see `preferences.complete_matrix`.
        equal: how equal votes of a voter on two statements count, see `preferences.vote_wins`.
        each: whether a pair or a voter counts as one, see `preferences.vote_wins`.
    """

    unranked: str = "below"
    unseen: str = "tie"
    equal: str = "half"
    each: str = "pair"


class Counted(NamedTuple):
    """What a pool of votes says, counted.

    Attributes:
        wins: (alternatives, alternatives) the wins in all votes.
        votes: (alternatives,) the number of votes on each alternative.
        compared: (alternatives, alternatives) how many votes compared each pair.
        groups: (alternatives, alternatives) the wins in each group that has votes, by the index of the group.
        sizes: the number of voters of each group by its index, or of votes if voters are not named.
        clusters: the number of clusters of voters; 0 if P is no estimate, or voters are not named.
        group_clusters: the number of these clusters with votes in each group, in the order of `groups`.
        redrawn: a function from times, (clusters,), to the wins in all votes and in each group, stacked.
        effective: (alternatives, alternatives) the number of independent comparisons of each pair; None means that all
            comparisons are independent.
    """

    wins: jax.Array
    votes: np.ndarray
    compared: np.ndarray
    groups: dict[int, jax.Array]
    sizes: dict[int, float]
    clusters: int = 0
    group_clusters: tuple[int, ...] = ()
    redrawn: Callable[[jax.Array], jax.Array] | None = None
    effective: jax.Array | None = None


def votes_each(votes: "Votes") -> np.ndarray:
    """(alternatives,) how many ballots rank each alternative, or comparisons contain it, or voters saw it."""
    if isinstance(votes, Election):
        return (np.asarray(votes.ballots.positions) >= 0).T @ np.asarray(votes.ballots.weights, dtype=float)
    if isinstance(votes, VoteMatrix):
        return (votes.votes != UNSEEN).sum(axis=0).astype(float)
    weight = np.asarray(votes.comparisons.weight, dtype=float)
    sides = np.concatenate([np.asarray(votes.comparisons.winner), np.asarray(votes.comparisons.loser)])
    return np.bincount(sides, weights=np.tile(weight, 2), minlength=len(votes.names))


def keep_alternatives(votes: "Votes", kept: np.ndarray, *, rows: np.ndarray | None = None) -> "Votes":
    """The votes on some alternatives, `kept` being a mask of them, and of some comparisons, if `rows` are given."""
    names = tuple(np.array(votes.names, dtype=object)[kept])
    if not names:
        raise BadArgument("least_votes", expected="a number that leaves an alternative", got="one that leaves none")
    if isinstance(votes, VoteMatrix):
        return votes._replace(votes=votes.votes[:, kept], names=names)
    if isinstance(votes, Election):
        positions = np.asarray(votes.ballots.positions)[:, kept]
        ranking = np.asarray((positions >= 0).any(axis=1))
        ballots = Ballots(positions[ranking], np.asarray(votes.ballots.weights)[ranking])
        return votes._replace(ballots=ballots, names=names, **_of_rows(votes, ranking))
    context, winner, loser, weight = (np.asarray(field) for field in votes.comparisons)
    inside = kept[winner] & kept[loser]
    rows = inside if rows is None else rows & inside
    index = np.cumsum(kept) - 1
    comparisons = Comparisons(context[rows], index[winner[rows]], index[loser[rows]], weight[rows])
    return votes._replace(comparisons=comparisons, names=names, **_of_rows(votes, rows))


def _of_rows(votes: Any, rows: np.ndarray) -> dict[str, Any]:
    fields = {name: getattr(votes, name, None) for name in ("voter", "group", "winner_first")}
    return {name: np.asarray(values)[rows] for name, values in fields.items() if values is not None}


def by_context(votes: "Votes") -> dict[str, "Votes"]:
    """The votes of each context, on the alternatives that were compared in it, by the context's name."""
    if not isinstance(votes, NamedComparisons) or len(votes.contexts) < 2:
        raise BadArgument("by", expected="comparisons in several contexts", got="votes without contexts")
    context, winner, loser, _ = (np.asarray(field) for field in votes.comparisons)
    parts: dict[str, Votes] = {}
    for number, name in enumerate(votes.contexts):
        rows = context == number
        kept = np.zeros(len(votes.names), dtype=bool)
        kept[winner[rows]] = kept[loser[rows]] = True
        if rows.any():
            parts[name] = keep_alternatives(votes, kept, rows=rows)._replace(title=name)
    return parts


def count_votes(votes: "Votes", reading: Reading) -> Counted:
    """Count the votes of all and of each group."""
    group = None if votes.group is None else np.asarray(votes.group)
    present = [] if group is None else [int(g) for g in np.unique(group) if g >= 0]
    rows = {g: np.asarray(group == g) for g in present}
    every = np.ones(_rows(votes), dtype=bool)
    voter = None if isinstance(votes, VoteMatrix) or votes.voter is None else np.asarray(votes.voter)
    wins = _wins(votes, every, reading)
    parts = {g: _wins(votes, chosen, reading) for g, chosen in rows.items()}
    sizes = {g: _voters(votes, chosen, voter) for g, chosen in rows.items()}
    compared = np.asarray(wins + wins.T)
    clusters, redrawn, effective = 0, None, None
    in_groups: tuple[int, ...] = ()
    if isinstance(votes, VoteMatrix):
        clusters, in_groups, redrawn = _redrawn_blocks(votes, rows, reading)
        if reading.each == "voter" or reading.equal == "ignored":
            compared = np.asarray(_compared(votes, reading))
        if reading.each == "voter":
            effective = _effective(votes, reading)
    elif isinstance(votes, NamedComparisons) and voter is not None and len(np.unique(voter)) > 1:
        _, cluster = np.unique(voter, return_inverse=True)
        clusters, redrawn = int(cluster.max()) + 1, _redrawn_comparisons(votes, cluster, rows)
        in_groups = tuple(len(np.unique(cluster[chosen])) for chosen in rows.values())
        effective = social_choice.effective_counts(votes.comparisons, cluster, alternatives=len(votes.names))
    return Counted(wins, votes_each(votes), compared, parts, sizes, clusters, in_groups, redrawn, effective)


def _rows(votes: "Votes") -> int:
    if isinstance(votes, VoteMatrix):
        return len(votes.votes)
    return np.shape(votes.ballots.weights if isinstance(votes, Election) else votes.comparisons.weight)[0]


def _wins(votes: "Votes", rows: np.ndarray, reading: Reading) -> jax.Array:
    """The wins of some rows."""
    if isinstance(votes, VoteMatrix):
        chosen = votes.votes[rows]
        return preferences.vote_wins(chosen, weights=_say(chosen, reading), equal=reading.equal)
    if isinstance(votes, Election):
        ballots = Ballots(np.asarray(votes.ballots.positions)[rows], np.asarray(votes.ballots.weights)[rows])
        return preferences.ballot_wins(ballots, unranked=reading.unranked)
    context, winner, loser, weight = (np.asarray(field)[rows] for field in votes.comparisons)
    return preferences.count_wins(Comparisons(context, winner, loser, weight), alternatives=len(votes.names))


def _say(votes: np.ndarray, reading: Reading) -> np.ndarray:
    """(voters,) the weight of each voter's pairs."""
    if reading.each == "pair":
        return np.ones(len(votes))
    agreed, passed, disagreed = ((votes == vote).sum(axis=1) for vote in (1, 0, -1))
    pairs = agreed * passed + (agreed + passed) * disagreed
    if reading.equal == "half":
        pairs = pairs + sum(number * (number - 1) // 2 for number in (agreed, passed, disagreed))
    return np.where(pairs > 0, 1 / np.maximum(pairs, 1), 0.0)


def _compared(votes: VoteMatrix, reading: Reading) -> jax.Array:
    wins = preferences.vote_wins(votes.votes, equal=reading.equal)
    return wins + wins.T


def _effective(votes: VoteMatrix, reading: Reading) -> jax.Array:
    """(Σ c_v)² / Σ c_v² over the voters of each pair, whose votes count as c_v."""
    say = _say(votes.votes, reading)
    first, second = (preferences.vote_wins(votes.votes, weights=say**k, equal=reading.equal) for k in (1, 2))
    total, squares = first + first.T, second + second.T
    return jnp.where(squares > 0, total**2 / jnp.where(squares > 0, squares, 1), 0)


def _voters(votes: "Votes", rows: np.ndarray, voter: np.ndarray | None) -> float:
    """How many voters cast these rows; if voters are not named, how many ballots or comparisons they are."""
    if isinstance(votes, VoteMatrix):
        return float((votes.votes[rows] != UNSEEN).any(axis=1).sum())
    if isinstance(votes, Election):
        return float(np.asarray(votes.ballots.weights)[rows].sum())
    return float(np.asarray(votes.comparisons.weight)[rows].sum() if voter is None else len(np.unique(voter[rows])))


def _redrawn_comparisons(
    votes: NamedComparisons, cluster: np.ndarray, rows: dict[int, np.ndarray]
) -> Callable[[jax.Array], jax.Array]:
    _, winner, loser, weight = (jnp.asarray(field) for field in votes.comparisons)
    size, place = len(votes.names), np.zeros(len(cluster), dtype=np.int32)
    for number, chosen in enumerate(rows.values(), 1):
        place[chosen] = number

    def redrawn(times: jax.Array) -> jax.Array:
        counted = jnp.zeros((len(rows) + 1, size, size)).at[place, winner, loser].add(weight * times[cluster])
        return counted.at[0].set(counted.sum(axis=0))

    return redrawn


def _redrawn_blocks(
    votes: VoteMatrix, rows: dict[int, np.ndarray], reading: Reading
) -> tuple[int, tuple[int, ...], Callable[[jax.Array], jax.Array]]:
    """Voters in random blocks, each within one group; the wins of a resample are sums over the blocks that it draws."""
    voters, size = votes.votes.shape
    number = min(voters, max(20, min(200, int(4e7 / size**2))))
    rng = np.random.default_rng(0)
    kinds = [*rows.values(), ~np.any([np.zeros(voters, dtype=bool), *rows.values()], axis=0)]
    blocks, kinds_of_blocks = [], []
    for k, chosen in enumerate(kinds):
        members = rng.permutation(np.flatnonzero(chosen))
        if len(members):
            for block in np.array_split(members, min(len(members), max(2, round(number * len(members) / voters)))):
                blocks.append(np.asarray(_wins(votes, block, reading), dtype=np.float32))
                kinds_of_blocks.append(k)
    stacked, kind = jnp.asarray(np.stack(blocks)), np.array(kinds_of_blocks)

    def redrawn(times: jax.Array) -> jax.Array:
        masks = np.stack([np.ones(len(kind)), *((kind == k).astype(float) for k in range(len(rows)))])
        weights = (times[None] * masks).astype(stacked.dtype)
        return jnp.einsum("gb,bij->gij", weights, stacked).astype(times.dtype)

    return len(kind), tuple(int((kind == k).sum()) for k in range(len(rows))), redrawn
