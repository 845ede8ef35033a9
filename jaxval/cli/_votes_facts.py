"""The numbers of `jaxval aggregate`: one pool of votes as plain data for JSON, tables and pages."""

import math
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import preferences, social_choice
from jaxval.cli._votes_counts import Counted, Reading, count_votes
from jaxval.data import Election, VoteMatrix
from jaxval.types import UNSEEN

if TYPE_CHECKING:
    from jaxval.data.records import Votes

__all__ = ["describe", "in_steps", "steps"]

RESAMPLES = 500
LARGEST_PAIRWISE = 300  # with more alternatives, single pairs are not redrawn and cycles not searched
STEP = 32  # alternatives
FEW = 10  # an alternative with fewer votes is marked, and a pair with fewer is counted as few


def describe(
    votes: "Votes",
    rules: dict[str, Callable[..., Any]],
    *,
    beta: float,
    reading: Reading,
    texts: dict[str, str],
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """The result for one pool of votes, as plain numbers; `advance` is told of each of `steps` that is done."""
    counted = count_votes(votes, reading)
    matrix, strengths = preferences.complete_matrix(jax.random.key(0), counted.wins, unseen=reading.unseen)
    estimate = partial(preferences.smoothed_matrix, strengths=strengths) if strengths else None
    groups = {g: preferences.empirical_matrix(wins) for g, wins in counted.groups.items()}
    advance(1)

    # Each rule is a compiled program of its own: both maximal lotteries then share one, which takes the longest.
    lotteries = {}
    for rule, of_matrix in rules.items():
        if rule != "dictatorship":
            lotteries[rule] = of_matrix(matrix)
        advance(1)
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
    intervals = _intervals(votes, counted, lotteries, rules.get("proportional"), estimate)
    advance(1)
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
        **({"model": reading.unseen, "strengths": _plain(strengths)} if strengths else {}),
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
        **_certain_cycle(votes, counted, winner),
        **_groups(votes, counted, groups, matrix, lotteries, intervals),
    }


def steps(rules: Collection[str]) -> int:
    """The number of steps of `describe`: the counts with the model of P, the rules, and the intervals."""
    return len(rules) + 2


def _plain(strengths: preferences.Strengths) -> dict[str, float | str]:
    """Strengths as JSON takes them."""
    return {name: float(value) if value < math.inf else "inf" for name, value in strengths._asdict().items()}


def in_steps(rule: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """The rule of maximal lotteries, compiled once for all numbers of alternatives up to the next multiple of 32.

    The matrix is filled up with alternatives that lose to all alternatives of the matrix. A maximal lottery gives these
    probability 0.

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


def _certain_cycle(votes: "Votes", counted: Counted, winner: int) -> dict[str, list[str]]:
    """A cycle of majorities that are certain at 95 %, where P is an estimate without a Condorcet winner."""
    if isinstance(votes, Election) or winner >= 0 or len(votes.names) > LARGEST_PAIRWISE:
        return {}
    cycle, _ = social_choice.majority_cycle(counted.wins, effective=counted.effective)
    return {"certain_cycle": [votes.names[i] for i in cycle]}


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
    votes: "Votes",
    counted: Counted,
    lotteries: dict[str, jax.Array],
    proportional: Callable[..., Any] | None,
    estimate: Callable[[jax.Array], jax.Array] | None,
) -> dict[str, Any]:
    """(low, high) of u, of F^β and, as (rules, groups), of win rates; none if P is no estimate.

    With `estimate`, a model of P, the model is fitted to each resample.
    """
    if isinstance(votes, Election):
        return {}
    result: dict[str, Any] = {}
    if estimate is None:
        bounds = social_choice.share_bound_intervals(counted.wins, effective=counted.effective)
        result["share_bound"] = bounds[1:]
    wins_of, size = counted.redrawn, len(votes.names)
    if counted.clusters < 2 or wins_of is None:
        redrawn = partial(
            social_choice.bootstrap_intervals, jax.random.key(0), counted.wins, estimate=estimate, samples=RESAMPLES
        )
        if estimate is not None and size <= LARGEST_PAIRWISE:
            result["share_bound"] = redrawn(social_choice.share_bounds)[1:]
        if proportional is not None and size <= LARGEST_PAIRWISE:
            result["proportional"] = redrawn(proportional)[1:]
        return result
    stacked = jnp.stack(list(lotteries.values()))

    def statistic(times: jax.Array) -> jax.Array:
        wins = wins_of(times)
        seen = wins + wins.swapaxes(1, 2)
        matrices = (1 + (wins - wins.swapaxes(1, 2)) / jnp.where(seen > 0, seen, 1)) / 2
        if estimate is not None:
            matrices = matrices.at[0].set(estimate(wins[0]))
        rates = stacked @ jnp.mean(matrices, axis=2).T  # of every lottery, in all votes and in each group
        bounds = jnp.zeros(0) if estimate is None else social_choice.share_bounds(matrices[0])
        lottery = jnp.zeros(0) if proportional is None else proportional(matrices[0])
        return jnp.concatenate([bounds, lottery, rates.ravel()])

    batch = max(1, min(50, int(2e6 / (size**2 * (len(counted.groups) + 1)))))
    whole = size * ((estimate is not None) + (proportional is not None))
    of_rates = np.tile([counted.clusters, *counted.group_clusters], len(stacked))
    ends = social_choice.cluster_intervals(
        jax.random.key(0),
        statistic,
        counted.clusters,
        contributing=np.concatenate([np.full(whole, counted.clusters), of_rates]),
        samples=RESAMPLES,
        batch_size=batch,
    )
    rates = slice(len(ends.low) - stacked.shape[0] * (len(counted.groups) + 1), None)
    if estimate is not None:
        result["share_bound"] = ends.low[:size], ends.high[:size]
    if proportional is not None:
        last = slice(rates.start - size, rates.start)
        result["proportional"] = ends.low[last], ends.high[last]
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
    levels: dict[str, dict[str, Any]] = {
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
                row["rules"][rule]["win_rate_interval"] = None if np.isnan(ends).any() else ends  # None: one voter
        levels[rule]["by_groups"] = float(outcomes.level)
        levels[rule]["binding"] = votes.names[int(outcomes.binding)]
        levels[rule]["worst_off"] = rows[int(outcomes.worst_off)]["name"]
    return {**result, "groups": rows}


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
