"""How well the values of sources predict what retraining on coalitions says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxval import _checks
from jaxval.coalitions import all_coalitions, expected_reward
from jaxval.sources.intervals import over_contexts
from jaxval.types import BadArgument, Comparisons
from jaxval.values import DatamodellingScore, datamodelling_score

__all__ = ["Drops", "Fidelity"]

RANDOM = 100  # draws of random scores
OURS = ("values", "alone", "agreement", "pairs", "random")


class Drops(NamedTuple):
    """What is lost if training leaves out the sources of the best scores.

    Attributes:
        left_out: (points,) k, the number of sources that are left out.
        drop: (points, rewards) u(N) - u(N without the best k), by retraining on the union of the pairs that remain.
            With several seeds, each leaves out the best k by its own scores, and the drop is the mean.
        intervals: (2, points, rewards) the ends of 95 % intervals over prompts; NaN if there is only one prompt.
        promised: (points, rewards) the sum of the values of the best k, which is the drop if utilities add up; None for
            scores that are no values.
        promised_intervals: (2, points, rewards) its 95 % intervals over prompts; None if `promised` is.
    """

    left_out: np.ndarray
    drop: np.ndarray
    intervals: np.ndarray
    promised: np.ndarray | None = None
    promised_intervals: np.ndarray | None = None


class Fidelity(NamedTuple):
    """How well values, cheaper scores and scores of other tools rank coalitions as retraining on their pairs does.

    Attributes:
        coalitions: (coalitions, sources) the coalitions that were retrained and are ranked.
        utilities: (coalitions, rewards) their utilities, the means over seeds.
        scores: the linear datamodelling score by what is judged: "values"; "alone", the utility of each source's own
            policy; "agreement", the share of pairs of candidates that the steps of a source and of all sources together
            order alike; "pairs", the number of its pairs; the names of other scores that were given; "random", the mean
            of normal numbers, with the range of 95 % of their scores in place of an interval. Each has one score for
            each reward. A score is None if no size has different sums and different utilities, as happens for "pairs"
            if all sources have equally many.
        drops: by the same names, what is lost without the best sources. All numbers of sources are left out if all
            coalitions were retrained, and else one source and half of them. "random" is the mean over the coalitions of
            as many sources, where these were retrained.
        seconds: the time spent on retraining.
    """

    coalitions: np.ndarray
    utilities: np.ndarray
    scores: dict[str, tuple[DatamodellingScore | None, ...]]
    drops: dict[str, Drops]
    seconds: float


class Judged(NamedTuple):
    """The scores and values of one seed, and the retrained utilities by which they are judged."""

    ranked: np.ndarray  # (coalitions, sources) the coalitions that are ranked, the same in every seed
    coalitions: np.ndarray  # (retrained, sources) these, the full one, and those without the best sources
    utilities: np.ndarray  # (retrained, prompts, rewards) less the level
    level: np.ndarray  # (rewards,)
    scores: dict[str, np.ndarray]  # by name, (sources, rewards)
    values: np.ndarray  # (prompts, sources, rewards)


def check_fidelity(number: int, names: Sequence[str], scores: Mapping[str, Any] | None) -> None:
    """Raise, before anything is trained, if there are too few coalitions to rank, or scores do not fit the sources."""
    players = len(names)
    if players < 3:
        raise BadArgument(
            "fidelity", expected="at least 3 sources, whose coalitions are ranked", got=f"{players} sources"
        )
    if number < 3:
        raise BadArgument("fidelity", expected="at least 3 coalitions, which are ranked", got=number)
    for name, each in (scores or {}).items():
        if name in OURS:
            raise BadArgument("fidelity_scores", expected=f"other names than {', '.join(OURS)}", got=repr(name))
        known = np.asarray(_checks.floating(f"fidelity_scores[{name!r}]", each, ndim=1, expected=f"({players},)"))
        if known.shape != (players,) or not np.isfinite(known).all():
            expected = f"a finite number for each of {players} sources"
            raise BadArgument(f"fidelity_scores[{name!r}]", expected=expected, got=known.tolist())


def fidelity_coalitions(number: int, players: int) -> np.ndarray:
    """The coalitions on which values are judged, (coalitions, players): the same for all seeds.

    They are all coalitions but the empty and the full one if these are at most `number`, and otherwise `number` random
    coalitions of half of the players.
    """
    if 2**players - 2 <= number:
        return np.asarray(all_coalitions(players))[1:-1]
    size = players // 2
    rng = np.random.default_rng(0)
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < min(number, math.comb(players, size)):
        drawn.add(tuple(sorted(rng.choice(players, size, replace=False).tolist())))
    masks = np.zeros((len(drawn), players), bool)
    for mask, members in zip(masks, sorted(drawn), strict=True):
        mask[list(members)] = True
    return masks


def without_best(scores: np.ndarray, retrained: int) -> np.ndarray:
    """(points, players) the coalitions without the players of the best k scores; of equal ones the first goes first.

    k is each number from 1 to n - 1 if all coalitions are retrained anyway, and else 1 and n - ⌊n/2⌋, after which as
    many players are left as in the coalitions that are ranked.
    """
    players = len(scores)
    counts = np.arange(1, players) if retrained == 2**players - 2 else np.array([1, players - players // 2])
    rank = np.argsort(np.argsort(-scores, kind="stable"), kind="stable")
    return rank[None, :] >= counts[:, None]


def cheap_scores(setting: Any, sources: Sequence[Comparisons]) -> dict[str, np.ndarray]:
    """By name, (sources, rewards): scores that need no coalition.

    Args:
        setting: a `Setting` with `each`.
        sources: the comparisons that each source trains on.
    """
    rewards = setting.rewards.shape[2]
    alone = [np.asarray(expected_reward(one, setting.rewards)).reshape(-1) for one in setting.each]
    pairs = [float(np.sum(source.weight)) for source in sources]
    agreement = _agreement(setting.own, setting.each)
    return {"alone": np.stack(alone)} | {
        name: np.repeat(np.asarray(each)[:, None], rewards, axis=1)
        for name, each in (("agreement", agreement), ("pairs", pairs))
    }


def _agreement(own: np.ndarray, each: np.ndarray) -> np.ndarray:
    """(sources,) the share of pairs of candidates that log π_ℓ/π_0 orders as Σ_j log π_j/π_0 does; a tie is half."""
    possible = np.isfinite(own) & np.isfinite(each).all(axis=0)
    steps = np.where(possible, each - np.where(possible, own, 0), 0)
    total = steps.sum(axis=0)
    first, second = np.triu_indices(own.shape[1], 1)
    both = possible[:, first] & possible[:, second]
    signs = [np.sign(part[..., first] - part[..., second]) for part in (steps, total)]
    return ((1 + signs[0] * signs[1]) / 2 * both).sum(axis=(1, 2)) / max(both.sum(), 1)


def judge(seeds: Sequence[Judged], ids: np.ndarray, seconds: float) -> Fidelity:
    """The scores and the drops of everything that is judged, means over seeds.

    Args:
        seeds: what each seed gives.
        ids: (prompts of all seeds,) the ids of the prompts, which intervals redraw.
        seconds: of the retrainings.
    """
    ranked = seeds[0].ranked
    utilities = np.mean([seed.utilities[_rows(seed, ranked)].mean(axis=1) + seed.level for seed in seeds], axis=0)
    rewards = range(utilities.shape[1])
    scores, drops = {}, {}
    for name in seeds[0].scores:
        mean = np.mean([seed.scores[name] for seed in seeds], axis=0)
        scores[name] = tuple(_score(mean[:, k], ranked, utilities[:, k]) for k in rewards)
        drops[name] = _drops(seeds, name, ids)
    scores["random"] = tuple(_random_score(ranked, utilities[:, k]) for k in rewards)
    drops["random"] = _random_drops(seeds, ids)
    return Fidelity(ranked, utilities, scores, drops, seconds)


def _rows(seed: Judged, masks: np.ndarray) -> np.ndarray:
    """The rows of the retrained coalitions that are these masks."""
    where = {mask.tobytes(): row for row, mask in enumerate(seed.coalitions)}
    return np.array([where[mask.tobytes()] for mask in np.ascontiguousarray(masks)])


def _lost(seed: Judged) -> np.ndarray:
    """(retrained, prompts, rewards) u(N) - u(S) of every prompt."""
    full = int(seed.coalitions.sum(axis=1).argmax())
    return seed.utilities[full] - seed.utilities


def _drops(seeds: Sequence[Judged], name: str, ids: np.ndarray) -> Drops:
    lost, promised = [], []
    for seed in seeds:
        masks = [without_best(each, len(seed.ranked)) for each in seed.scores[name].T]
        apart = [_lost(seed)[_rows(seed, left), :, k] for k, left in enumerate(masks)]  # (points, prompts) a reward
        lost.append(np.moveaxis(np.stack(apart, axis=-1), 1, 0))
        sums = [(~left).astype(float) @ seed.values[:, :, k].T for k, left in enumerate(masks)]
        promised.append(np.moveaxis(np.stack(sums, axis=-1), 1, 0))
    counts = (~masks[0]).sum(axis=1)
    drop, intervals = _mean(lost, ids)
    return Drops(counts, drop, intervals, *(_mean(promised, ids) if name == "values" else ()))


def _random_drops(seeds: Sequence[Judged], ids: np.ndarray) -> Drops:
    """The mean drop over the ranked coalitions of a size."""
    ranked = seeds[0].ranked
    sizes = ranked.sum(axis=1)
    counts = np.unique(ranked.shape[1] - sizes)
    lost = []
    for seed in seeds:
        each = _lost(seed)[_rows(seed, ranked)]
        means = [each[ranked.shape[1] - sizes == count].mean(axis=0) for count in counts]
        lost.append(np.stack(means, axis=1))
    return Drops(counts, *_mean(lost, ids))


def _mean(parts: Sequence[np.ndarray], ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the prompts of all seeds, and its interval."""
    together = np.concatenate(parts)
    return together.mean(axis=0), over_contexts(together, ids)


def _random_score(masks: np.ndarray, utilities: np.ndarray) -> DatamodellingScore | None:
    """The mean score of normal numbers, with the ends of the range that holds 95 % of their scores."""
    drawn = np.random.default_rng(0).normal(size=(RANDOM, masks.shape[1]))
    scores = [each.score for numbers in drawn if (each := _score(numbers, masks, utilities)) is not None]
    if not scores:
        return None
    return DatamodellingScore(float(np.mean(scores)), np.quantile(scores, [0.025, 0.975]), {})


def _score(scores: np.ndarray, masks: np.ndarray, utilities: np.ndarray) -> DatamodellingScore | None:
    try:
        return datamodelling_score(scores, masks, utilities)
    except BadArgument as error:
        if error.name == "values":  # equal sums or equal utilities of every size: nothing can be ranked
            return None
        raise BadArgument("fidelity", expected=error.expected, got=error.got) from None
