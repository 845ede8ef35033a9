"""How far conclusions from values depend on choices: of the semivalue, the order of groups, the reward, or β."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.sources.repetition import SEMIVALUES
from jaxval.types import BadArgument, Groups, Table
from jaxval.values import asymmetric_shapley

__all__ = ["Conclusions", "Variation", "compare_variations", "table_variations"]

TIED = 1e-3  # smaller differences, relative to the larger of the values' range and size, count as ties


class Variation(NamedTuple):
    """The values that another choice gives.

    Attributes:
        kind: what was varied, such as "semivalue", "order", "reward" or "beta".
        name: the choice, such as "banzhaf".
        values: (sources,) the values under one reward.
    """

    kind: str
    name: str
    values: np.ndarray


class Conclusions(NamedTuple):
    """Which conclusions hold under all variations.

    Two values count as equal if they differ by at most .1 % of the larger of two numbers: the range of the values, and
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
    utilities = _checks.check_table(table)
    if utilities.ndim != 1:
        expected, got = "utilities (2^n,) under one reward", f"shape {utilities.shape}"
        raise BadArgument("table", expected=expected, got=got, advice="pick a column")

    def varied(kind: str, name: str, value: Callable[[Array], Any]) -> Variation:
        return Variation(kind, name, np.asarray(value(utilities), np.float64))

    found = [varied("semivalue", name, value) for name, value in SEMIVALUES.items()]
    if groups is not None:
        order = _checks.check_groups(groups, _checks.players_of(utilities))
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
    for variation in variations:
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


def _tie(values: np.ndarray) -> float:
    return TIED * float(max(np.ptp(values), np.abs(values).max()))


def _signs(values: np.ndarray) -> np.ndarray:
    """1, -1, or 0 for a value that is 0 within ties."""
    return np.where(np.abs(values) > _tie(values), np.sign(values), 0).astype(int)
