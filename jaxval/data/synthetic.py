"""Data that need no file: a textbook's election, populations drawn at random, preference sources of known quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval.data._arrays import floats, indices
from jaxval.data.records import Election, SyntheticPreferences
from jaxval.preferences import sample_impartial_culture, sample_mallows, sample_mixture
from jaxval.types import BadArgument, Ballots, Comparisons, Number, Profile

__all__ = ["synthetic_mallows_mixture", "synthetic_preferences", "textbook_election"]

Quality = float | Sequence[float] | str

SOURCES: dict[str, Quality] = {
    "experts": 1.0,
    "crowd": 0.6,
    "copy of crowd": "crowd",
    "noise": 0.0,
    "adversary": -0.8,
}
"""Sources as they are met: good ones, a copy, one that tosses coins, one that judges the wrong way round."""


def textbook_election() -> Election:
    """Malkevitch's election of 55 voters, in which plurality, runoff, elimination, Borda and Condorcet all differ.

    Five candidates, six rankings:

        18: A D E C B    12: B E D C A    10: C B E D A    9: D C E B A    4: E B D C A    2: E C D B A

    A has the most first choices (18 of 55), though everybody else puts A last. B wins the runoff between the two
    candidates with the most first choices. C wins by elimination. D wins by Borda's count (136 points to E's 134), so D
    has the best Bradley-Terry reward. E beats everyone in pairs, so the maximal lottery is E alone. The proportional
    lottery follows the share bounds u = (18, 16, 12, 27, 28)/55 and leaves no group of voters with nothing.

    Returns:
        `Election` of six ballots; the initials of the names are the letters above.

    Example:
        >>> election = textbook_election()
        >>> election.names, election.ballots.weights.tolist()
        (('Ada', 'Ben', 'Cleo', 'Dan', 'Eve'), [18.0, 12.0, 10.0, 9.0, 4.0, 2.0])

    Source: Malkevitch (1990), "Mathematical theory of elections", Annals of the New York Academy of Sciences 607,
    89-97; the names are ours.
    """
    positions = indices(
        [
            [0, 4, 3, 1, 2],  # A D E C B
            [4, 0, 3, 2, 1],  # B E D C A
            [4, 1, 0, 3, 2],  # C B E D A
            [4, 3, 1, 0, 2],  # D C E B A
            [4, 1, 3, 2, 0],  # E B D C A
            [4, 3, 1, 2, 0],  # E C D B A
        ]
    )
    ballots = Ballots(positions, floats([18, 12, 10, 9, 4, 2]))
    return Election(ballots, ("Ada", "Ben", "Cleo", "Dan", "Eve"), "Malkevitch's five rules, five winners")


def synthetic_mallows_mixture(
    key: Key[Array, ""], *, alternatives: int, voters: int, groups: int, dispersion: Number
) -> tuple[Profile, tuple[str, ...]]:
    """A population of groups. Each group is a Mallows model around its own center.

    The centers are uniform over rankings, a voter belongs to each group with probability 1/groups, and the groups share
    the dispersion φ: a voter of group g has the ranking r with probability ∝ φ^d(r, center_g), d the Kendall tau
    distance.

    Args:
        key: a random key.
        alternatives: M.
        voters: how many rankings.
        groups: how many centers.
        dispersion: φ in [0, 1]: 0 repeats the centers, 1 is uniform over rankings.

    Returns:
        `Profile` of (voters, alternatives) rankings with weights 1/voters, and names "alternative 1" to
        "alternative M".

    Raises:
        ValueError: if a size is below 1 or the dispersion lies outside [0, 1].

    Example:
        >>> profile, names = synthetic_mallows_mixture(
        ...     jax.random.key(0), alternatives=3, voters=4, groups=2, dispersion=0.5
        ... )
        >>> profile.orders.shape, profile.weights.tolist(), names[0]
        ((4, 3), [0.25, 0.25, 0.25, 0.25], 'alternative 1')

    Source: Mallows (1957), "Non-null ranking models"; Murphy and Martin (2003), "Mixtures of distance-based models for
    ranking data".
    """
    alternatives = _checks.check_size("alternatives", alternatives)
    _checks.check_memory(
        "voters", _checks.check_size("groups", groups), _checks.check_size("voters", voters), alternatives
    )
    place, draw = jax.random.split(_checks.check_key(key))
    centers = sample_impartial_culture(place, alternatives=alternatives, num=groups)
    samplers = [partial(sample_mallows, center=center, dispersion=dispersion) for center in centers]
    orders = sample_mixture(draw, samplers, [1 / groups] * groups, num=voters)
    names = tuple(f"alternative {i}" for i in range(1, alternatives + 1))
    return Profile(orders, floats([1 / voters] * voters)), names


def synthetic_preferences(
    key: Key[Array, ""],
    *,
    contexts: int,
    responses: int,
    sources: Mapping[str, Quality] | None = None,
    objectives: Sequence[str] = ("helpful", "harmless"),
    scale: float = 2.0,
    repeats: int = 4,
    ties: float = 1.0,
) -> SyntheticPreferences:
    """Preferences of several sources of known quality, over shared candidate responses.

    The true rewards r_k(x, y) are independent standard normals, one for each of K objectives. A source of qualities
    q_k compares every pair of candidates of every context `repeats` times, and each time

        P(y preferred to z in x) = σ(scale / K Σ_k q_k (r_k(x, y) - r_k(x, z))),

    Bradley-Terry with its rewards scaled by the quality: 1 judges by the true reward, 0 tosses a coin, -1 judges by its
    opposite. A quality of one number holds for all objectives. A source that names one before it is a duplicate: it
    has exactly the other's comparisons.

    Besides, every pair is tied `ties` times, half a win each way. So wins lead from every candidate to every other, and
    a fit to any source has a finite optimum. With `ties=0` a source may be unanimous on a pair, and fitting then needs
    a ridge.

    The same key with other qualities draws the same rewards and the same chances. A source of qualities -q therefore
    reverses every choice of a source of qualities q, except where scale and qualities leave no difference at all.

    Args:
        key: a random key.
        contexts: how many prompts.
        responses: how many candidates each has, at least 2.
        sources: by each source's name its quality, a number or one for each objective, or the name of the source that
            it duplicates. None means `experts` (1), `crowd` (0.6), `copy of crowd`, `noise` (0), `adversary` (-0.8).
        objectives: the names of the rewards.
        scale: how sharply a source of quality 1 judges, above 0.
        repeats: how often a source compares each pair.
        ties: how often each pair is tied in addition, at least 0.

    Returns:
        `SyntheticPreferences`.

    Raises:
        ValueError: if a size, a quality or a name is wrong, or a duplicate names no earlier source.

    Example:
        >>> drawn = synthetic_preferences(jax.random.key(0), contexts=3, responses=4)
        >>> drawn.sources
        ('experts', 'crowd', 'copy of crowd', 'noise', 'adversary')
        >>> drawn.kinds
        ('useful', 'useful', 'duplicate', 'noise', 'adversary')
        >>> drawn.rewards.shape, drawn.comparisons[0].weight.shape, drawn.groups.tolist()
        ((3, 4, 2), (36,), [0, 0, 1, 0, 0])

    Source: Bradley and Terry (1952), "Rank analysis of incomplete block designs"; the groups are those of asymmetric
    data Shapley, copies after their originals.
    """
    shape = _checks.check_size("contexts", contexts), _checks.check_size("responses", responses)
    if responses < 2:
        raise BadArgument("responses", expected="at least 2 candidates, for pairs are compared", got=responses)
    _checks.check_size("repeats", repeats)
    _checks.check_number("scale", scale, low=1e-6, high=1e6, expected="a number from 1e-6 to 1e6")
    _checks.check_number("ties", ties, low=0, high=1e6, expected="a number from 0 to 1e6")
    names = _check_names("objectives", objectives)
    _checks.check_memory("contexts", repeats, contexts, responses * (responses - 1) // 2, len(names))
    qualities, originals = _qualities(SOURCES if sources is None else sources, len(names))
    taste, chance = jax.random.split(_checks.check_key(key))
    rewards = jax.random.normal(taste, (*shape, len(names)))
    better, worse = np.triu_indices(responses, 1)
    gaps = np.asarray(rewards)[:, better] - np.asarray(rewards)[:, worse]  # (contexts, pairs, objectives)
    drawn: list[Comparisons] = []
    for number, (quality, original) in enumerate(zip(qualities, originals, strict=True)):
        uniform = jax.random.uniform(jax.random.fold_in(chance, number), (repeats, *gaps.shape[:2]))
        margin = float(scale) * gaps @ quality / len(names)
        drawn.append(drawn[original] if original != number else _judged(np.asarray(uniform), margin, float(ties)))
    groups, kinds = [0] * len(originals), []
    for number, (quality, original) in enumerate(zip(qualities, originals, strict=True)):
        groups[number] = groups[original] + 1 if original != number else 0
        kinds.append("duplicate" if original != number else _kind(quality))
    return SyntheticPreferences(
        contexts=indices(np.arange(contexts)),
        responses=indices(np.broadcast_to(np.arange(responses), shape)),
        comparisons=tuple(drawn),
        sources=tuple(SOURCES if sources is None else sources),
        rewards=rewards,
        objectives=names,
        qualities=floats(qualities),
        kinds=tuple(kinds),
        groups=indices(groups),
        title=f"{len(originals)} synthetic sources",
    )


def _judged(uniform: np.ndarray, margin: np.ndarray, ties: float) -> Comparisons:
    """Wins of both sides of every pair, (contexts, pairs): the favoured side wins if uniform < σ(|margin|)."""
    wins = np.sum(uniform < 1 / (1 + np.exp(-np.abs(margin))), axis=0)
    first = np.where(margin >= 0, wins, len(uniform) - wins)
    contexts, pairs = margin.shape
    responses = round((1 + np.sqrt(1 + 8 * pairs)) / 2)
    left, right = (np.tile(side, contexts) for side in np.triu_indices(responses, 1))
    context = np.repeat(np.arange(contexts), pairs)
    weight = np.concatenate([first.ravel(), (len(uniform) - first).ravel()]) + ties / 2
    winner, loser = np.concatenate([left, right]), np.concatenate([right, left])
    return Comparisons(indices(np.tile(context, 2)), indices(winner), indices(loser), floats(weight))


def _check_names(argument: str, names: Any) -> tuple[str, ...]:
    names = tuple(_checks.check_names(argument, [names] if isinstance(names, str) else names, "different names"))
    if not names or not all(isinstance(name, str) and name.strip() for name in names) or len(set(names)) < len(names):
        raise BadArgument(argument, expected="different names, at least one", got=f"{names!r}")
    return names


def _qualities(sources: Any, objectives: int) -> tuple[np.ndarray, list[int]]:
    """Every source's quality in each objective, and the source that it duplicates. An original duplicates itself."""
    if not isinstance(sources, Mapping):
        raise BadArgument("sources", expected="a mapping of names to qualities", got=type(sources).__name__)
    names = _check_names("sources", list(sources))
    qualities: list[np.ndarray] = []
    originals = []
    for number, (name, quality) in enumerate(sources.items()):
        if isinstance(quality, str):
            if quality not in names[:number]:
                raise BadArgument(
                    f"sources[{name!r}]",
                    expected=(
                        "a quality, or the name of a source before it, one of "
                        f"{', '.join(map(repr, names[:number])) or 'none, for it is the first'}"
                    ),
                    got=f"{quality!r}",
                )
            originals.append(names.index(quality))
            qualities.append(qualities[originals[-1]])
        else:
            expected = f"a quality, one for each of {objectives} objectives, or the name of a source before it"
            array = np.asarray(
                _checks.floating(f"sources[{name!r}]", quality, ndim=np.ndim(quality), expected=expected)
            )
            if array.shape not in ((), (objectives,)):
                raise BadArgument(f"sources[{name!r}]", expected=expected, got=f"shape {array.shape}")
            originals.append(number)
            qualities.append(np.broadcast_to(array, (objectives,)))
    return np.stack(qualities), originals


def _kind(quality: np.ndarray) -> str:
    return "noise" if not quality.any() else "useful" if quality.sum() > 0 else "adversary"
