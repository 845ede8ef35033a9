"""How well the values of sources predict what retraining on coalitions says."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from jaxval.coalitions import all_coalitions
from jaxval.types import BadArgument
from jaxval.values import DatamodellingScore, datamodelling_score

__all__ = ["Fidelity"]

RANDOM = 100  # draws of random scores


class Fidelity(NamedTuple):
    """How well values, and cheaper scores, rank coalitions as retraining on the union of their pairs does.

    Attributes:
        coalitions: (coalitions, sources) the coalitions that were retrained.
        utilities: (coalitions, rewards) their utilities, the means over seeds.
        scores: the linear datamodelling score by what is judged: "values"; "alone", the utility of each source's own
            policy; "pairs", the number of its pairs; "random", the mean of normal numbers, with the range of 95 % of
            their scores in place of an interval. Each has one score for each reward. A score is None if no size has
            different sums and different utilities, as happens for "pairs" if all sources have equally many.
        seconds: the time spent on retraining.
    """

    coalitions: np.ndarray
    utilities: np.ndarray
    scores: dict[str, tuple[DatamodellingScore | None, ...]]
    seconds: float


def check_fidelity(number: int, players: int) -> None:
    """Raise, before anything is trained, if there are too few coalitions of a size to rank."""
    if players < 3:
        raise BadArgument(
            "fidelity", expected="at least 3 sources, whose coalitions are ranked", got=f"{players} sources"
        )
    if number < 3:
        raise BadArgument("fidelity", expected="at least 3 coalitions, which are ranked", got=number)


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


def judge(
    masks: np.ndarray,
    utilities: np.ndarray,
    values: np.ndarray,
    pairs: np.ndarray,
    alone: np.ndarray | None,
    seconds: float,
) -> Fidelity:
    """The scores of values and of cheap baselines on the retrained coalitions."""
    judged = {
        "values": values,
        "alone": alone,
        "pairs": np.broadcast_to(pairs[:, None], values.shape),
    }
    scores = {
        name: tuple(_score(each[:, k], masks, utilities[:, k]) for k in range(values.shape[1]))
        for name, each in judged.items()
        if each is not None
    }
    scores["random"] = tuple(_random_score(masks, utilities[:, k]) for k in range(values.shape[1]))
    return Fidelity(masks, utilities, scores, seconds)


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
