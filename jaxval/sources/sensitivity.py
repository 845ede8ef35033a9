"""How far conclusions depend on choices: of the semivalue, the order of groups, the reward, β, copies of a source."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxval import _checks, _objects
from jaxval.coalitions import all_coalitions, reward_utility
from jaxval.sources.arithmetic import Evaluated
from jaxval.sources.repetition import SEMIVALUES
from jaxval.sources.valuation import SourceValues
from jaxval.types import BadArgument, Groups, Table
from jaxval.values import asymmetric_shapley, owen

__all__ = [
    "Conclusions",
    "Variation",
    "compare_variations",
    "duplicate_values",
    "step_variations",
    "table_variations",
]

TOGETHER = 16  # rows of weights that are evaluated at a time
TIED = 1e-3  # smaller differences, relative to the larger of the values' range and size, count as ties


class Variation(NamedTuple):
    """The values that another choice gives.

    Attributes:
        kind: what was varied: "semivalue", "order", "reward", "beta" or "copy".
        name: the choice, such as "banzhaf".
        values: (sources,) the values under one reward.
    """

    kind: str
    name: str
    values: np.ndarray


class Conclusions(NamedTuple):
    """Which conclusions hold under all variations.

    Two values count as equal if they differ by at most 0.1 % of the larger of two numbers: the range of the values, and
    the largest absolute value. A value of at most that size counts as 0.

    Attributes:
        sign: (sources,) 1 or -1, the sign of the value if no variation has the other sign; 0 if one has, or if the
            value is 0.
        reversed: for each pair (i, j) of sources that are neighbours in the order of the values, with i above j: the
            variations in which j is above i. Equal values reverse nothing.
    """

    sign: np.ndarray
    reversed: dict[tuple[int, int], tuple[Variation, ...]]


def table_variations(table: Table, *, groups: Groups | None = None) -> tuple[Variation, ...]:
    """The values of other semivalues and other orders of groups, from the same utilities.

    Args:
        table: (2^n,) utilities under one reward, such as `SourceValues.utilities[:, k]`.
        groups: (n,) the group of each source; None means one group, whose order cannot be varied.

    Returns:
        A variation for each semivalue: shapley, banzhaf, leave-one-out and beta-shapley (α = 4, β = 1). If groups are
        given, also one for each order of the groups: as given, and reversed.

    Raises:
        ValueError: if the table is not of one reward, or groups do not match the sources.

    Example:
        >>> for variation in table_variations([0.0, 1.0, 2.0, 4.0]):
        ...     print(variation.kind, variation.name, variation.values.round(4).tolist())
        semivalue shapley [1.5, 2.5]
        semivalue banzhaf [1.5, 2.5]
        semivalue leave-one-out [2.0, 3.0]
        semivalue beta-shapley [1.2, 2.2]
    """
    utilities = _objects.check_table(table)
    if utilities.ndim != 1:
        expected, got = "utilities (2^n,) under one reward", f"shape {utilities.shape}"
        raise BadArgument("table", expected=expected, got=got, advice="pick a column")

    def varied(kind: str, name: str, value: Callable[[Array], Any]) -> Variation:
        return Variation(kind, name, np.asarray(value(utilities), np.float64))

    found = [varied("semivalue", name, value) for name, value in SEMIVALUES.items()]
    if groups is not None:
        order = _objects.check_groups(groups, _objects.players_of(utilities))
        found.append(varied("order", "as given", lambda table: asymmetric_shapley(table, order)))
        found.append(varied("order", "reversed", lambda table: asymmetric_shapley(table, order.max() - order)))
    return tuple(found)


def compare_variations(values: Float[ArrayLike, "sources"] | list[Any], variations: Sequence[Variation]) -> Conclusions:
    """Which signs of values, and which orders of neighbouring sources, hold under all variations.

    Args:
        values: (sources,) the values from which conclusions are drawn.
        variations: the values that other choices give.

    Returns:
        `Conclusions`.

    Raises:
        ValueError: if a variation has another number of sources, or a number is not finite.

    Example:
        >>> other = Variation("semivalue", "leave-one-out", np.array([0.1, 0.4, -0.3]))
        >>> found = compare_variations([0.5, 0.3, -0.2], [other])
        >>> found.sign.tolist(), [(pair, len(where)) for pair, where in found.reversed.items()]
        ([1, 1, -1], [((0, 1), 1), ((1, 2), 0)])
    """
    base = np.asarray(_checks.floating("values", values, ndim=1, expected="(sources,) values"), np.float64)
    for number, variation in enumerate(_checks.check_list("variations", variations, "several Variation")):
        _checks.check_record(f"variations[{number}]", variation, Variation)
        _checks.real_array(f"variations[{number}].values", variation.values)
        if np.shape(variation.values) != base.shape or not np.isfinite(variation.values).all():
            expected = f"finite values of {len(base)} sources in every variation"
            raise BadArgument("variations", expected=expected, got=f"{variation.name}: {variation.values}")
    signs = np.stack([_signs(each) for each in (base, *(variation.values for variation in variations))])
    order = np.argsort(-base, kind="stable")
    swapped = {}
    for i, j in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
        clear = base[i] - base[j] > _tie(base)
        against = (v for v in variations if clear and v.values[j] - v.values[i] > _tie(v.values))
        swapped[i, j] = tuple(against)
    return Conclusions(np.where((signs != -signs[0]).all(axis=0), signs[0], 0), swapped)


def _check_valued(valued: Any, reward: Any) -> None:
    """Check values of sources, and the number of one of their rewards."""
    if not isinstance(valued, SourceValues):
        raise BadArgument("valued", expected="what value_sources returns", got=f"{valued!r:.80}")
    if isinstance(reward, bool) or not isinstance(reward, int | np.integer) or not 0 <= reward < len(valued.rewards):
        raise BadArgument(
            "reward", expected=f"the number of a reward, below {len(valued.rewards)}", got=f"{reward!r:.80}"
        )


def _tie(values: np.ndarray) -> float:
    return TIED * float(max(np.ptp(values), np.abs(values).max()))


def _signs(values: np.ndarray) -> np.ndarray:
    """1, -1, or 0 for a value that is 0 within ties."""
    return np.where(np.abs(values) > _tie(values), np.sign(values), 0).astype(int)


def step_variations(
    valued: SourceValues, reward: int, *, semivalue: str | Callable[[Any], Array] = "shapley"
) -> tuple[Variation, ...]:
    """The values if every source had moved twice as far from the reference, or half as far, as β halved or doubled.

    A loss of the margins β log π/π_0, as DPO's, determines the rewards β log π_ℓ/π_0 and not the steps log π_ℓ/π_0:
    with β' in place of β, the same rewards are reached by steps that are β/β' times as large. For tabular and
    log-linear policies, which Newton's method trains with a penalty on rewards, this is what a training with β' gives.
    For a policy that AdamW trains for some epochs it is an approximation. No policy is trained or run again.

    Args:
        valued: from `value_sources` or `value_adapters`, with the arithmetic of responses and utilities of all
            coalitions. Values of sources in unions are Owen's.
        reward: the index of the reward.
        semivalue: the value that is varied, by name or as a function of a table.

    Returns:
        Variations of the kind "beta", named "half" and "double"; none if the values are of another arithmetic, or from
        a sample of coalitions.

    Source: Rafailov et al. (2023), equation (5): the reward that a policy stands for.

    Example:
        >>> import jax
        >>> from jaxval import data, sources
        >>> drawn = data.synthetic_preferences(jax.random.key(0), contexts=9, responses=3, sources={"a": 1.0, "b": 0.0})
        >>> valued, retrained = (sources.value_sources(drawn, policy="tabular", beta=beta) for beta in (1.0, 2.0))
        >>> double = sources.step_variations(valued, 0)[1]
        >>> double.name, bool(abs(double.values - retrained.values[:, 0]).max() < 1e-4)
        ('double', True)
    """
    _check_valued(valued, reward)
    if valued.utilities is None or not valued.evaluated:
        return ()
    value = _value(semivalue, [level.unions for level in valued.totals])
    masks = np.asarray(all_coalitions(len(valued.names)), float)
    return tuple(
        Variation("beta", name, np.asarray(value(_utilities(valued.evaluated, scale * masks, reward)), np.float64))
        for name, scale in (("half", 2.0), ("double", 0.5))
    )


def duplicate_values(
    valued: SourceValues, reward: int, *, semivalue: str | Callable[[Any], Array] = "shapley"
) -> Float[np.ndarray, "copied sources"] | None:
    """The values if one of the sources handed its pairs in twice, as duplicate sources.

    It says how much a source would gain by that. It does not find duplicate sources among those that were handed in,
    nor remove them: to remove duplicate sources, leave all but one of them out of the pairs and value the rest.

    Row i has the values in the game of n + 1 sources in which source i has a copy, whose policy is the same, so that
    both together count with the weight 2. The copy has the value of its original: together they get twice the entry
    (i, i), which is to be compared with the value that source i has alone.

    Args:
        valued: as in `step_variations`.
        reward: the index of the reward.
        semivalue: the value, by name or as a function of a table. In unions, the copy is in the union of its original.

    Returns:
        (sources, sources) values; None if the values are of another arithmetic, or from a sample of coalitions.

    Source: Ohrimenko et al. (2019) and Han et al. (2022), replication in data markets.

    Example:
        >>> import jax
        >>> from jaxval import data, sources
        >>> drawn = data.synthetic_preferences(
        ...     jax.random.key(0), contexts=9, responses=3, sources={"a": 1.0, "again": "a", "b": 0.0})
        >>> three = sources.value_sources(drawn, policy="tabular", beta=1.0)
        >>> kept = drawn._replace(comparisons=drawn.comparisons[::2], sources=("a", "b"))
        >>> two = sources.value_sources(kept, policy="tabular", beta=1.0)
        >>> copied = sources.duplicate_values(two, 0)
        >>> bool(abs(copied[0] - three.values[[0, 2], 0]).max() < 1e-4)
        True
    """
    _check_valued(valued, reward)
    if valued.utilities is None or not valued.evaluated:
        return None
    players = len(valued.names)
    masks = np.asarray(all_coalitions(players))
    larger = np.asarray(all_coalitions(players + 1))
    found = []
    for copied in range(players):
        weights = larger[:, :players].astype(float)
        weights[:, copied] += larger[:, players]
        twice = masks[masks[:, copied]].astype(float)
        twice[:, copied] = 2.0
        table = np.empty(len(larger))
        once = weights[:, copied] < 2
        table[once] = valued.utilities[(weights[once] > 0) @ (1 << np.arange(players)), reward]
        table[~once] = _utilities(valued.evaluated, twice, reward)  # both are in the order of the other sources' bits
        unions = [np.append(level.unions, level.unions[copied]) for level in valued.totals]
        found.append(np.asarray(_value(semivalue, unions)(table), np.float64)[:players])
    return np.stack(found)


def _value(semivalue: Any, unions: Sequence[np.ndarray]) -> Callable[[Any], Array]:
    """The function of a table that gives the values."""
    if unions:
        return functools.partial(owen, unions=[level.tolist() for level in unions])
    if callable(semivalue):
        return semivalue
    return SEMIVALUES[_checks.check_choice("semivalue", semivalue, SEMIVALUES)]


def _utilities(seeds: Sequence[Evaluated], weights: np.ndarray, reward: int) -> np.ndarray:
    """(rows,) the utilities of rows of weights under one reward, the mean over seeds."""
    parts = []
    for one in seeds:
        means = _mean_rewards(one.reference, one.sources, one.rewards[..., reward], weights)
        parts.append(np.asarray(means, np.float64) + one.level[:, reward].mean(dtype=np.float64))
    return np.mean(parts, axis=0)


@jax.jit  # at the top of the module, so that it is compiled once for all seeds
def _mean_rewards(reference: Array, sources: Array, rewards: Array, weights: Array) -> Array:
    return jax.lax.map(reward_utility(reference, sources, rewards), weights, batch_size=TOGETHER)
