"""How well values predict what retraining says: the linear datamodelling score."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float
from scipy import stats

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["DatamodellingScore", "datamodelling_score"]

RESAMPLES = 1000
LEVEL = 0.95
LEAST = 3  # coalitions of a size whose ranks can be compared


class DatamodellingScore(NamedTuple):
    """How well sums of values rank the utilities of coalitions.

    Attributes:
        score: the mean over sizes of Spearman's rank correlation, from -1 to 1.
        interval: (2,) the ends of the 95 % bootstrap interval of the score, for which the coalitions of each size are
            redrawn.
        by_size: the rank correlation for each size of coalitions. It is NaN if all sums or all utilities of a size are
            equal; such a size does not count in the score.
    """

    score: float
    interval: np.ndarray
    by_size: dict[int, float]


def datamodelling_score(
    values: Float[ArrayLike, "players"] | list[Any],
    coalitions: Bool[ArrayLike, "coalitions players"] | list[Any],
    utilities: Float[ArrayLike, "coalitions"] | list[Any],
) -> DatamodellingScore:
    """The linear datamodelling score: do sums of values rank coalitions as their retrained utilities do?

    score = mean over sizes s of Spearman(Σ_{i∈S} φ_i, u(S)) over the given coalitions S of size s.

    Coalitions of different sizes are not compared, because the size alone correlates with both numbers. The function
    judges any scores of players, whatever method or tool they come from. With many players, draw coalitions of one
    size, usually half of the players. With few players, take all coalitions but the empty one and the full one.

    Source: Park et al. (2023), equation (8).

    Args:
        values: (n,) the values of the players.
        coalitions: (coalitions, n) masks; each size needs at least 3 of them.
        utilities: (coalitions,) u(S), for example from retraining.

    Returns:
        `DatamodellingScore`.

    Raises:
        ValueError: if shapes do not fit, a number is not finite, a size has fewer than 3 coalitions, or every size has
            equal sums or equal utilities, so that nothing can be ranked.

    Example:
        >>> coalitions = [[True, False, False], [False, True, False], [False, False, True]]
        >>> datamodelling_score([0.1, 0.2, 0.3], coalitions, [1.0, 3.0, 2.0]).score
        0.5
    """
    known = np.asarray(_checks.floating("values", values, ndim=1, expected="(players,) values"), np.float64)
    worth = np.asarray(_checks.floating("utilities", utilities, ndim=1, expected="(coalitions,) utilities"), np.float64)
    masks = np.asarray(_checks.real_array("coalitions", coalitions, "boolean masks"))
    shape = (len(worth), len(known))
    if masks.dtype != bool or masks.shape != shape:
        got = f"{masks.dtype} of shape {masks.shape}"
        raise BadArgument("coalitions", expected=f"boolean masks of shape {shape}, (coalitions, players)", got=got)
    sizes = masks.sum(axis=1)
    groups = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
    for rows in groups:
        if len(rows) < LEAST:
            expected = f"at least {LEAST} coalitions of each size, whose ranks are compared"
            raise BadArgument("coalitions", expected=expected, got=f"{len(rows)} of size {sizes[rows[0]]}")
    sums = masks @ known
    by_size = {int(sizes[rows[0]]): float(_spearman(sums[rows], worth[rows])) for rows in groups}
    if np.isnan(list(by_size.values())).all():
        expected = "coalitions of one size with different sums of values and different utilities"
        raise BadArgument("values", expected=expected, got="equal ones throughout")
    rng = np.random.default_rng(0)
    redrawn = np.empty((len(groups), RESAMPLES))
    for of_size, rows in zip(redrawn, groups, strict=True):
        drawn = rng.choice(rows, (RESAMPLES, len(rows)))
        of_size[:] = _spearman(sums[drawn], worth[drawn])
    redrawn = redrawn[:, ~np.isnan(redrawn).all(axis=0)]  # a resample of one coalition alone has no ranks
    ends = np.quantile(np.nanmean(redrawn, axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return DatamodellingScore(float(np.nanmean(list(by_size.values()))), ends, by_size)


def _spearman(sums: np.ndarray, utilities: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis; NaN if one side is constant."""
    # Equal sums of values differ by rounding, and are to count as tied.
    scales = [max(np.abs(side).max(), 1e-300) for side in (sums, utilities)]
    one, other = (
        stats.rankdata(np.round(side / scale, 6), axis=-1) - (side.shape[-1] + 1) / 2
        for side, scale in zip((sums, utilities), scales, strict=True)
    )
    size = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
    return np.where(size > 0, (one * other).sum(axis=-1) / np.where(size > 0, size, 1), np.nan)
