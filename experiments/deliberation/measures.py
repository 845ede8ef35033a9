"""What each rule gives each group, how sure, and where the group-informed consensus of Polis disagrees with F*."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from experiments.deliberation.polls import Poll, consensus
from jaxval import social_choice
from jaxval.preferences import empirical_matrix, smith_set
from jaxval.types import UNSEEN

__all__ = ["BETAS", "Size", "measure"]

BETAS = (0.0, *(10.0 ** (i / 4) for i in range(-4, 13)))
RULES = {
    "F*": social_choice.proportional,
    "maximal lottery": social_choice.maximal_lottery,
    "Borda": social_choice.maximal_borda,
}
CONSENSUS = "consensus"
TOP, GAPS = 5, 6
FEW = 10  # votes on a pair
REASONS = ("few votes on one pair", "sizes of groups", "one rival")


class Size(NamedTuple):
    """The number of resamples for the intervals."""

    samples: int


def measure(poll: Poll, size: Size, seed: int) -> dict[str, Any]:
    """All numbers of one poll, in JSON's types."""
    ones = [jnp.ones(n) for n in poll.clusters]
    wins = poll.wins(*ones)
    total = jnp.sum(wins, axis=0)
    matrix, matrices = empirical_matrix(total), jnp.stack([empirical_matrix(one) for one in wins[:-1]])
    shares = poll.members(*ones) / jnp.sum(poll.members(*ones))
    lotteries = {name: rule(matrix) for name, rule in RULES.items()}
    if poll.votes is not None:
        lotteries[CONSENSUS] = shared_by_best(consensus(*poll.votes, len(poll.groups)))
    outcomes = {
        name: social_choice.group_outcomes(matrices, lottery, shares=shares) for name, lottery in lotteries.items()
    }
    key = jax.random.key(seed)
    same = win_rates(poll, jnp.stack(list(lotteries.values())), *ones)
    held = held_out(poll, key, size, seed)
    compared_pairs = np.asarray(total + total.T)[np.triu_indices(len(matrix), 1)]
    bounds = social_choice.share_bound_intervals(total, effective=poll.effective)
    entry: dict[str, Any] = {
        "groups": list(poll.groups),
        "kind": poll.kind,
        "shares": shares.tolist(),
        "voters": poll.clusters[0],
        "alternatives": len(poll.names),
        "left_out": poll.left_out,
        "pairs": {"of": len(compared_pairs), "compared": int((compared_pairs > 0).sum())},
        "votes_per_compared_pair": float(np.median(compared_pairs[compared_pairs > 0])),
        "certificate": number(social_choice.certificate(matrix)),
        "rules": {},
    }
    for i, (name, lottery) in enumerate(lotteries.items()):
        best = np.argsort(-np.asarray(lottery), kind="stable")[:TOP]
        entry["rules"][name] = {
            "top": [alternative(poll, int(j), lottery, bounds) for j in best if lottery[j] > 0],
            "same_votes": {"win_rates": [number(rate) for rate in same[i, :-1]], "win_rate": number(same[i, -1])},
            "win_rates": interval(held, (i, slice(None, -1))),
            "win_rate": interval(held, (i, -1)),
            "favoured": outcomes[name].favoured.tolist(),
            "level": float(outcomes[name].level),
            "guaranteed": number(social_choice.guaranteed_level(matrix, lottery)),
            "worst_off": poll.groups[int(outcomes[name].worst_off)],
        }
    of_any = outcomes["F*"]
    entry["favourites"] = [[poll.names[i] for i in np.flatnonzero(row)[:TOP]] for row in np.asarray(of_any.favourites)]
    entry["certificates"] = [number(one) for one in of_any.certificates]
    curve = social_choice.group_curve(matrix, matrices, list(BETAS), shares=shares)
    entry["curve"] = {
        "betas": list(BETAS),
        "level": curve.level.tolist(),
        "favoured": curve.favoured.T.tolist(),
        "win_rates": curve.win_rates.T.tolist(),
    }
    entry["majorities"] = majorities(poll, total, ones)
    if poll.order is not None:
        entry["order"] = order(poll, key, size)
    if poll.votes is not None:
        entry["consensus"] = against_consensus(poll, matrix, matrices, total)
    return entry


def shared_by_best(scores: jax.Array) -> jax.Array:
    best = scores >= jnp.max(scores) - 1e-9
    return best / jnp.sum(best)


def win_rates(poll: Poll, lotteries: jax.Array, *times: jax.Array) -> jax.Array:
    """(rules, groups + 1) win rates of lotteries that are held fixed; the last is of all voters.

    Of votes on statements, the win rate over a uniform draw, since nearly all pairs were compared. Of comparisons, of
    which most pairs have none, the share of the votes won. NaN for a group without votes in a resample.
    """
    wins = poll.wins(*times)
    every = jnp.concatenate([wins[:-1], jnp.sum(wins, axis=0, keepdims=True)])
    if poll.votes is None:
        of_group = jax.vmap(social_choice.votes_won, (0, None))
        return jax.vmap(of_group, (None, 0))(every, lotteries)
    borda = jnp.mean(jax.vmap(empirical_matrix)(every), axis=2)
    voted = jnp.sum(every, axis=(1, 2)) > 0
    return jnp.where(voted[None], lotteries @ borda.T, jnp.nan)


def held_out(poll: Poll, key: jax.Array, size: Size, seed: int) -> social_choice.Intervals:
    """(rules, groups + 1) win rates on a random half of the voters, of lotteries made of the votes of the others.

    A rule that picks what a few votes happen to favour wins those votes, and not those of others.
    """
    ones = [jnp.ones(n) for n in poll.clusters[1:]]
    chosen = np.random.default_rng(seed).permutation(poll.clusters[0]) < poll.clusters[0] / 2
    makers, judges = jnp.asarray(chosen, dtype=float), jnp.asarray(~chosen, dtype=float)
    matrix = empirical_matrix(jnp.sum(poll.wins(makers, *ones), axis=0))
    lotteries = [rule(matrix) for rule in RULES.values()]
    if poll.votes is not None:
        lotteries.append(shared_by_best(consensus(*poll.votes, len(poll.groups), makers)))
    stacked = jnp.stack(lotteries)

    def rates(times: jax.Array, *others: jax.Array) -> jax.Array:
        return win_rates(poll, stacked, times * judges, *others)

    clusters = poll.clusters if len(poll.clusters) > 1 else poll.clusters[0]
    batch = 1 if len(poll.names) > 200 else 25
    judging = jnp.append(poll.members(judges, *ones), jnp.sum(judges))[None]
    return social_choice.cluster_intervals(
        key, rates, clusters, contributing=judging, samples=size.samples, batch_size=batch
    )


def majorities(poll: Poll, total: jax.Array, ones: list[jax.Array]) -> dict[str, Any]:
    """Cycles in the estimate, and what is certain; both orders of a pair on the screen have equal weight."""
    balanced = total if poll.order is None else poll.order(*ones).balanced
    cycle, certain = social_choice.majority_cycle(balanced, effective=poll.effective)
    pairs = len(poll.names) * (len(poll.names) - 1) // 2
    return {
        "top_cycle": int(jnp.sum(smith_set(empirical_matrix(balanced)))),
        "certain": int(jnp.sum(certain)),
        "pairs": pairs,
        "cycle": [poll.names[i] for i in cycle],
    }


def order(poll: Poll, key: jax.Array, size: Size) -> dict[str, Any]:
    """The share that the left side wins, and the bias of pairs shown both ways round, with intervals over voters."""
    effect = poll.order
    assert effect is not None

    def statistic(times: jax.Array) -> jax.Array:
        one = effect(times, *(jnp.ones(n) for n in poll.clusters[1:]))
        return jnp.stack([one.first_wins, one.bias])

    ends = social_choice.cluster_intervals(key, statistic, poll.clusters[0], samples=size.samples, batch_size=25)
    swapped = int(effect(*(jnp.ones(n) for n in poll.clusters)).swapped)
    return {"first_wins": interval(ends, 0), "bias": interval(ends, 1), "swapped": swapped}


def against_consensus(poll: Poll, matrix: jax.Array, matrices: jax.Array, total: jax.Array) -> dict[str, Any]:
    """How the ranks of statements by the group-informed consensus differ from those by u, and why; F* ∝ u.

    u_i = min_j P(i ≻ j) is attained at one rival j. The first of three reasons that applies is given for each of the
    largest differences: few voted on the pair of statement and rival; at least half of the difference vanishes if every
    group has the same weight; or else the rival itself.
    """
    assert poll.votes is not None
    votes, group = poll.votes
    scores = np.asarray(consensus(votes, group, len(poll.groups)))
    bounds = np.asarray(social_choice.share_bounds(matrix))
    level = np.asarray(social_choice.share_bounds(jnp.mean(matrices, axis=0)))
    pooled = np.asarray(consensus(votes, np.zeros(len(group), int), 1))
    agreed = [
        ((votes[group == g] == 1).sum(axis=0) + 1) / ((votes[group == g] != UNSEEN).sum(axis=0) + 2)
        for g in range(len(poll.groups))
    ]
    of_rank = [np.argsort(np.argsort(-one, kind="stable"), kind="stable") + 1 for one in (scores, bounds, level)]
    gap = np.abs(of_rank[0] - of_rank[1])
    rows = []
    seen = np.asarray(total + total.T)
    shown = np.where(np.eye(len(matrix), dtype=bool), 2, np.asarray(matrix))
    for i in np.argsort(-gap, kind="stable")[:GAPS]:
        rival = int(np.argmin(shown[i]))
        sizes = abs(of_rank[0][i] - of_rank[2][i]) <= gap[i] / 2
        reason = REASONS[0] if seen[i, rival] < FEW else REASONS[1] if sizes else REASONS[2]
        rows.append(
            {
                "statement": poll.names[i],
                "rank_by_consensus": int(of_rank[0][i]),
                "rank_by_bound": int(of_rank[1][i]),
                "rank_by_bound_if_groups_weigh_the_same": int(of_rank[2][i]),
                "agreed": [float(part[i]) for part in agreed],
                "bound": float(bounds[i]),
                "rival": poll.names[rival],
                "votes_on_that_pair": float(seen[i, rival]),
                "reason": reason,
            }
        )
    return {
        "scores": scores.tolist(),
        "bounds": bounds.tolist(),
        "agreed": [part.tolist() for part in agreed],
        "same_winner": bool(np.argmax(scores) == np.argmax(bounds)),
        "winners": {"consensus": poll.names[int(np.argmax(scores))], "F*": poll.names[int(np.argmax(bounds))]},
        "rank_correlation": {
            "consensus, u": correlation(scores, bounds),
            "consensus, u if groups weigh the same": correlation(scores, level),
            "consensus of one group, u": correlation(pooled, bounds),
            "consensus, Borda": correlation(scores, np.asarray(jnp.mean(matrix, axis=1))),
        },
        "largest_gaps": rows,
        "reasons": {word: sum(row["reason"] == word for row in rows) for word in REASONS},
    }


def correlation(left: np.ndarray, right: np.ndarray) -> float:
    return float(spearmanr(left, right).statistic)


def alternative(poll: Poll, index: int, lottery: jax.Array, bounds: social_choice.Intervals) -> dict[str, Any]:
    return {
        "name": poll.names[index],
        "probability": float(lottery[index]),
        "share_bound": interval(bounds, index),
    }


def interval(intervals: social_choice.Intervals, at: Any) -> dict[str, Any]:
    """The estimate and the ends; None where a group has no votes."""
    ends = [np.asarray(field)[at] for field in intervals]
    return {
        name: np.where(np.isnan(end), None, end).tolist()
        for name, end in zip(("estimate", "low", "high"), ends, strict=True)
    }


def number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
