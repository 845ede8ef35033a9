"""The numbers of `jaxval aggregate`: one pool of votes, or each context, as plain data for JSON, tables and pages."""

import math
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

__all__ = ["Reading", "by_context", "describe", "in_steps", "keep_alternatives", "votes_each"]

RESAMPLES = 500
BLOCKS = 50  # of voters, where a resample of single voters would take seconds
STEP = 32  # alternatives
FEW = 10  # votes, below which an alternative is marked, and a pair says little


class Reading(NamedTuple):
    """How votes are read.

    Attributes:
        unranked: of ballots, see `preferences.ballot_wins`.
        equal: equal votes of a voter on two statements, see `preferences.vote_wins`.
        each: what of a voter counts as one, see `preferences.vote_wins`.
    """

    unranked: str = "below"
    equal: str = "half"
    each: str = "pair"


class Counted(NamedTuple):
    """What a pool of votes says, counted.

    Attributes:
        wins: (alternatives, alternatives) of all votes.
        votes: (alternatives,) votes on each alternative.
        compared: (alternatives, alternatives) how many votes compared each pair.
        groups: the index of each group that has votes, and by it (alternatives, alternatives) its wins.
        sizes: by the same index, the voters of the group, or its votes if voters are not named.
        clusters: the number of clusters of voters; 0 if P is no estimate, or voters are not named.
        redrawn: from times, (clusters,), to the wins of all and, stacked, of the groups.
        effective: (alternatives, alternatives) independent comparisons for each pair; None means all of them.
    """

    wins: jax.Array
    votes: np.ndarray
    compared: np.ndarray
    groups: dict[int, jax.Array]
    sizes: dict[int, float]
    clusters: int = 0
    redrawn: Callable[[jax.Array], jax.Array] | None = None
    effective: jax.Array | None = None


def votes_each(votes: "Votes") -> np.ndarray:
    """(alternatives,) how many ballots rank, comparisons contain or voters saw each alternative."""
    if isinstance(votes, Election):
        return (np.asarray(votes.ballots.positions) >= 0).T @ np.asarray(votes.ballots.weights, dtype=float)
    if isinstance(votes, VoteMatrix):
        return (votes.votes != UNSEEN).sum(axis=0).astype(float)
    weight = np.asarray(votes.comparisons.weight, dtype=float)
    sides = (np.asarray(votes.comparisons.winner), np.asarray(votes.comparisons.loser))
    return sum(np.bincount(side, weights=weight, minlength=len(votes.names)) for side in sides)


def keep_alternatives(votes: "Votes", kept: np.ndarray, *, rows: np.ndarray | None = None) -> "Votes":
    """The votes on some alternatives, `kept` being a mask of them, and of some comparisons, if `rows` are given."""
    names = tuple(np.array(votes.names, dtype=object)[kept])
    if not names:
        raise BadArgument("least_votes", expected="a number that leaves an alternative", got="one that leaves none")
    if isinstance(votes, VoteMatrix):
        return votes._replace(votes=votes.votes[:, kept], names=names)
    if isinstance(votes, Election):
        positions = np.asarray(votes.ballots.positions)[:, kept]
        rows = (positions >= 0).any(axis=1)
        ballots = Ballots(positions[rows], np.asarray(votes.ballots.weights)[rows])
        return votes._replace(ballots=ballots, names=names, **_of_rows(votes, rows))
    context, winner, loser, weight = (np.asarray(field) for field in votes.comparisons)
    rows = (np.ones(len(winner), dtype=bool) if rows is None else rows) & kept[winner] & kept[loser]
    index = np.cumsum(kept) - 1
    comparisons = Comparisons(context[rows], index[winner[rows]], index[loser[rows]], weight[rows])
    return votes._replace(comparisons=comparisons, names=names, **_of_rows(votes, rows))


def _of_rows(votes: Any, rows: np.ndarray) -> dict[str, np.ndarray]:
    fields = {name: getattr(votes, name, None) for name in ("voter", "group", "winner_first")}
    return {name: np.asarray(values)[rows] for name, values in fields.items() if values is not None}


def by_context(votes: "Votes") -> dict[str, "Votes"]:
    """The votes of each context on the alternatives that were compared there, by the context's name."""
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


def _count(votes: "Votes", reading: Reading) -> Counted:
    """Count the votes of all and of each group."""
    group = None if votes.group is None else np.asarray(votes.group)
    present = [] if group is None else [int(g) for g in np.unique(group) if g >= 0]
    rows = {g: group == g for g in present}
    every = np.ones(_rows(votes), dtype=bool)
    voter = None if isinstance(votes, VoteMatrix) or votes.voter is None else np.asarray(votes.voter)
    wins = _wins(votes, every, reading)
    parts = {g: _wins(votes, chosen, reading) for g, chosen in rows.items()}
    sizes = {g: _voters(votes, chosen, voter) for g, chosen in rows.items()}
    compared = np.asarray(wins + wins.T)
    clusters, redrawn, effective = 0, None, None
    if isinstance(votes, VoteMatrix):
        clusters, redrawn = _redrawn_blocks(votes, rows, reading)
        if reading.each == "voter" or reading.equal == "ignored":
            compared = np.asarray(_compared(votes, reading))
        if reading.each == "voter":
            effective = _effective(votes, reading)
    elif isinstance(votes, NamedComparisons) and voter is not None and len(np.unique(voter)) > 1:
        _, cluster = np.unique(voter, return_inverse=True)
        clusters, redrawn = int(cluster.max()) + 1, _redrawn_comparisons(votes, cluster, rows)
        effective = social_choice.effective_counts(votes.comparisons, cluster, alternatives=len(votes.names))
    return Counted(wins, votes_each(votes), compared, parts, sizes, clusters, redrawn, effective)


def _rows(votes: "Votes") -> int:
    if isinstance(votes, VoteMatrix):
        return len(votes.votes)
    return len(votes.ballots.weights if isinstance(votes, Election) else votes.comparisons.weight)


def _wins(votes: "Votes", rows: np.ndarray, reading: Reading, times: Any = 1.0) -> jax.Array:
    """The wins of some rows; `times` is how often each of these rows is counted."""
    if isinstance(votes, VoteMatrix):
        chosen = votes.votes[rows]
        return preferences.vote_wins(chosen, weights=times * _say(chosen, reading), equal=reading.equal)
    if isinstance(votes, Election):
        ballots = Ballots(np.asarray(votes.ballots.positions)[rows], np.asarray(votes.ballots.weights)[rows])
        return preferences.ballot_wins(ballots, unranked=reading.unranked)
    chosen = Comparisons(*(np.asarray(field)[rows] for field in votes.comparisons))
    return preferences.count_wins(chosen._replace(weight=chosen.weight * times), alternatives=len(votes.names))


def _say(votes: np.ndarray, reading: Reading) -> np.ndarray:
    """(voters,) how much a pair of each voter counts."""
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
) -> tuple[int, Callable[[jax.Array], jax.Array]]:
    """Voters at random in blocks of one group each; the wins of a resample are sums over its blocks."""
    voters, size = votes.votes.shape
    number = min(voters, max(20, min(200, int(4e7 / size**2))))
    rng = np.random.default_rng(0)
    kinds = [*rows.values(), ~np.any([np.zeros(voters, dtype=bool), *rows.values()], axis=0)]
    blocks, kind = [], []
    for k, chosen in enumerate(kinds):
        members = rng.permutation(np.flatnonzero(chosen))
        if len(members):
            for block in np.array_split(members, min(len(members), max(2, round(number * len(members) / voters)))):
                blocks.append(np.asarray(_wins(votes, block, reading), dtype=np.float32))
                kind.append(k)
    stacked, kind = jnp.asarray(np.stack(blocks)), np.array(kind)

    def redrawn(times: jax.Array) -> jax.Array:
        masks = [np.ones(len(kind)), *(kind == k for k in range(len(rows)))]
        weights = jnp.stack([times * mask for mask in masks]).astype(stacked.dtype)
        return jnp.einsum("gb,bij->gij", weights, stacked).astype(times.dtype)

    return len(kind), redrawn


def describe(
    votes: "Votes",
    rules: dict[str, Callable[[jax.Array], jax.Array]],
    *,
    beta: float,
    reading: Reading,
    texts: dict[str, str],
) -> dict[str, Any]:
    """The result for one pool of votes, as plain numbers."""
    counted = _count(votes, reading)
    matrix = preferences.empirical_matrix(counted.wins)  # the place of a model of pairs that were never compared
    groups = {g: preferences.empirical_matrix(wins) for g, wins in counted.groups.items()}

    # Each rule is a compiled program of its own: both maximal lotteries then share one, which takes the longest.
    lotteries = {rule: of_matrix(matrix) for rule, of_matrix in rules.items() if rule != "dictatorship"}
    result = {
        "bounds": social_choice.share_bounds(matrix),
        "certificate": social_choice.certificate(matrix),
        "winner": preferences.condorcet_winner(matrix),
        "top": preferences.smith_set(matrix),
    }
    for rule, lottery in lotteries.items():
        if np.isnan(lottery).any():
            raise RuntimeError(f"{rule}: did not converge on these preferences")
    if isinstance(votes, Election) and "dictatorship" in rules:
        lotteries["dictatorship"] = preferences.ballot_first_choices(votes.ballots)
    lotteries = {rule: lotteries[rule] for rule in rules if rule in lotteries}  # in the order of `rules`
    columns = {"votes": counted.votes, "share_bound": result["bounds"], **lotteries}
    intervals = _intervals(votes, counted, lotteries, rules.get("proportional"))
    for name in ("share_bound", "proportional"):
        if name in intervals:
            columns[f"{name}_interval"] = jnp.stack(intervals[name], axis=1)

    winner, top = int(result["winner"]), np.flatnonzero(result["top"])
    size = len(votes.names)
    refuted = bool(np.isnan(result["certificate"]))
    # Ties and unranked alternatives then count as averages of complete rankings, so that P comes from a profile.
    from_rankings = isinstance(votes, Election) and reading.unranked == "below"
    plain = {name: np.asarray(column).tolist() for name, column in columns.items()}
    alternatives = [
        {"name": name, **({"text": texts[name]} if texts.get(name) else {})}
        | {key: column[i] for key, column in plain.items()}
        for i, name in enumerate(votes.names)
    ]
    return {
        "title": votes.title,
        **_read(votes, reading, counted),
        "beta": beta if beta < math.inf else "inf",
        "few": FEW,
        "alternatives": alternatives,
        "win_rates": {
            rule: float(social_choice.win_rate_over_uniform(matrix, lottery)) for rule, lottery in lotteries.items()
        },
        "winners": {rule: _winner(np.asarray(lottery), counted, votes.names) for rule, lottery in lotteries.items()},
        "sum_of_share_bounds": float(result["bounds"].sum()),
        "certificate": None if refuted else float(result["certificate"]),
        "certificate_holds": "no" if refuted else "yes" if from_rankings else "if P is that of complete rankings",
        "pairs": {"compared": int((np.triu(counted.compared, 1) > 0).sum()), "of": size * (size - 1) // 2},
        "condorcet_winner": votes.names[winner] if winner >= 0 else None,
        "top_cycle": [votes.names[i] for i in top] if winner < 0 else [],
        **_groups(votes, counted, groups, matrix, lotteries, intervals),
    }


def in_steps(rule: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """A maximal lottery that is compiled once for all numbers of alternatives up to the next multiple of 32.

    The matrix is filled up with alternatives that lose to all others, which no maximal lottery chooses.

    Example:
        >>> lottery = in_steps(social_choice.maximal_lottery)(jnp.array([[0.5, 0.75], [0.25, 0.5]]))
        >>> lottery.tolist()
        [1.0, 0.0]
    """

    def filled(matrix: jax.Array) -> jax.Array:
        size = len(matrix)
        whole = np.full((size + -size % STEP,) * 2, 0.5, dtype=matrix.dtype)
        whole[:size, size:], whole[size:, :size] = 1, 0
        whole[:size, :size] = matrix
        lottery = rule(jnp.asarray(whole))[:size]
        return lottery / lottery.sum()

    return filled


def _read(votes: "Votes", reading: Reading, counted: Counted) -> dict[str, Any]:
    """How much was read, and how."""
    if isinstance(votes, Election):
        return {"ballots": float(np.sum(votes.ballots.weights)), "unranked": reading.unranked}
    if isinstance(votes, VoteMatrix):
        number = int((votes.votes != UNSEEN).sum())
        voters = int((votes.votes != UNSEEN).any(axis=1).sum())
        return {"votes": number, "voters": voters, "equal": reading.equal, "each": reading.each}
    read: dict[str, Any] = {"comparisons": float(np.sum(votes.comparisons.weight))}
    read["contexts"] = len(np.unique(np.asarray(votes.comparisons.context)))
    if votes.voter is not None:
        read["voters"] = len(np.unique(np.asarray(votes.voter)))
    if votes.winner_first is not None:
        effect = social_choice.order_effect(votes.comparisons, votes.winner_first, alternatives=len(votes.names))
        read["shown_first"] = {"wins": float(effect.first_wins), "bias": _number(effect.bias)}
    return read


def _winner(lottery: np.ndarray, counted: Counted, names: tuple[str, ...]) -> dict[str, Any]:
    """The alternative with most probability, the first of several, and how much its votes say."""
    most = np.flatnonzero(lottery >= lottery.max() - 1e-9)
    best = int(most[np.argmax(counted.votes[most])])
    others = np.arange(len(names)) != best
    pairs = counted.compared[best][others]
    return {
        "name": names[best],
        "probability": float(lottery[best]),
        "equal": len(most),
        "supported": int((lottery > 0).sum()),
        "votes": float(counted.votes[best]),
        "pairs": {"compared": int((pairs > 0).sum()), "few": int((pairs < FEW).sum()), "of": len(pairs)},
    }


def _intervals(
    votes: "Votes", counted: Counted, lotteries: dict[str, jax.Array], proportional: Callable[..., Any] | None
) -> dict[str, Any]:
    """(low, high) of u, of F^β and, as (rules, groups), of win rates; none where P is no estimate."""
    if isinstance(votes, Election):
        return {}
    bounds = social_choice.share_bound_intervals(counted.wins, effective=counted.effective)
    result: dict[str, Any] = {"share_bound": bounds[1:]}
    if counted.clusters < 2 or counted.redrawn is None:
        if proportional is not None and len(votes.names) <= 300:
            redrawn = social_choice.bootstrap_intervals(
                jax.random.key(0), counted.wins, proportional, samples=RESAMPLES
            )
            result["proportional"] = redrawn[1:]
        return result
    stacked, size = jnp.stack(list(lotteries.values())), len(votes.names)

    def statistic(times: jax.Array) -> jax.Array:
        wins = counted.redrawn(times)
        seen = wins + wins.swapaxes(1, 2)
        matrices = (1 + (wins - wins.swapaxes(1, 2)) / jnp.where(seen > 0, seen, 1)) / 2
        rates = stacked @ jnp.mean(matrices, axis=2).T  # of every lottery, in all votes and in each group
        lottery = jnp.zeros(0) if proportional is None else proportional(matrices[0])
        return jnp.concatenate([lottery, rates.ravel()])

    batch = max(1, min(50, int(2e6 / (size**2 * (len(counted.groups) + 1)))))
    ends = social_choice.cluster_intervals(
        jax.random.key(0), statistic, counted.clusters, samples=RESAMPLES, batch_size=batch
    )
    rates = slice(len(ends.low) - stacked.shape[0] * (len(counted.groups) + 1), None)
    if proportional is not None:
        result["proportional"] = ends.low[: rates.start], ends.high[: rates.start]
    shape = stacked.shape[0], len(counted.groups) + 1
    result["win_rates"] = tuple(np.asarray(end[rates]).reshape(shape) for end in ends[1:])
    return result


def _groups(
    votes: "Votes",
    counted: Counted,
    groups: dict[int, jax.Array],
    matrix: jax.Array,
    lotteries: dict[str, jax.Array],
    intervals: dict[str, Any],
) -> dict[str, Any]:
    """What each rule gives each group, and the levels of proportionality."""
    levels = {
        rule: {"guaranteed": _number(social_choice.guaranteed_level(matrix, lottery))}
        for rule, lottery in lotteries.items()
    }
    result: dict[str, Any] = {"levels": levels}
    if "win_rates" in intervals:
        low, high = (end[:, 0] for end in intervals["win_rates"])
        result["win_rate_intervals"] = {rule: [float(low[r]), float(high[r])] for r, rule in enumerate(lotteries)}
    if not groups:
        return result
    matrices, total = jnp.stack(list(groups.values())), sum(counted.sizes.values())
    shares = np.array([counted.sizes[g] / total for g in groups])
    rows: list[dict[str, Any]] = [
        {
            "name": votes.groups[g],
            "voters" if votes.voters else "votes": counted.sizes[g],
            "share": float(shares[k]),
            "pairs_compared": int((np.triu(np.asarray(counted.groups[g] + counted.groups[g].T), 1) > 0).sum()),
            "rules": {},
        }
        for k, g in enumerate(groups)
    ]
    for r, (rule, lottery) in enumerate(lotteries.items()):
        outcomes = social_choice.group_outcomes(matrices, lottery, shares=shares)
        favourites = np.asarray(outcomes.favourites)
        for k, row in enumerate(rows):
            row["favourites"] = [votes.names[i] for i in np.flatnonzero(favourites[k])]
            row["certificate"] = _number(outcomes.certificates[k])
            row["rules"][rule] = {"favoured": float(outcomes.favoured[k]), "win_rate": float(outcomes.win_rates[k])}
            if "win_rates" in intervals:
                ends = [float(end[r, k + 1]) for end in intervals["win_rates"]]
                row["rules"][rule]["win_rate_interval"] = ends
        levels[rule]["by_groups"] = float(outcomes.level)
        levels[rule]["binding"] = votes.names[int(outcomes.binding)]
        levels[rule]["worst_off"] = rows[int(outcomes.worst_off)]["name"]
    return {**result, "groups": rows}


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
