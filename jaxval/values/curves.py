"""How good values are: utilities while players are removed in order of value, and how soon harmful ones are found."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key, Num

from jaxval import _checks
from jaxval.coalitions.evaluation import evaluate_coalitions
from jaxval.types import BadArgument, Estimate, Utility

__all__ = ["DetectionCurve", "RemovalCurves", "detection_curve", "removal_curves"]


class RemovalCurves(NamedTuple):
    """Utilities while players are removed, or added, in three orders.

    Attributes:
        counts: (points,) how many players were removed or added.
        lowest: (points, *objectives) the utility if the players of the lowest values go first.
        highest: (points, *objectives) the utility if the players of the highest values go first.
        random: (draws, points, *objectives) the utilities of random orders.
        adding: whether players were added instead of removed.
    """

    counts: Int[Array, "points"]
    lowest: Float[Array, "points *objectives"]
    highest: Float[Array, "points *objectives"]
    random: Float[Array, "draws points *objectives"]
    adding: bool = False


class DetectionCurve(NamedTuple):
    """The share of harmful players found while players are inspected, the lowest value first.

    Attributes:
        inspected: (players + 1,) the share of players inspected.
        recall: (players + 1,) the share of the harmful players that are among the inspected ones.
        auc: the probability that a harmful player has a lower value than one that is not harmful; a tie counts 1/2.
    """

    inspected: Float[Array, "points"]
    recall: Float[Array, "points"]
    auc: Float[Array, ""]


def removal_curves(
    key: Key[Array, ""],
    utility: Utility,
    values: Estimate | Num[ArrayLike, "players"] | list[Any],
    *,
    counts: Int[ArrayLike, "points"] | list[int] | None = None,
    among: Bool[ArrayLike, "players"] | list[bool] | None = None,
    adding: bool = False,
    draws: int = 10,
    batch_size: int = 1024,
) -> RemovalCurves:
    """The utility while players are removed: the lowest values first, the highest first, and at random.

    If values are good, the utility rises or holds while players of low value go, and falls fast while players of high
    value go. Players of equal value go in the order of their numbers.

    Source: Ghorbani and Zou (2019), section 3; Zheng et al., section 6.1 for adding.

    Args:
        key: a random key for the random orders.
        utility: a JAX function from a mask (players,) to a scalar or a vector of objectives, or an `evaluator`.
        values: (players,) values, or an `Estimate` of one objective.
        counts: how many players are removed at each point, in increasing order. None means 0 to half of the players in
            `among`, in steps of a twentieth of these players.
        among: (players,) which players are removed; the others stay. None means all players.
        adding: whether the players start outside and are added in these orders.
        draws: the number of random orders.
        batch_size: about how many coalitions are evaluated at a time.

    Returns:
        `RemovalCurves`; `plots.plot_removal` draws them.

    Raises:
        ValueError: if there is not one finite value for each player, the counts do not increase or exceed the players,
            or the utility returns anything but finite numbers.

    Example:
        >>> gifts = jnp.array([1.0, 2.0, 3.0, 4.0])
        >>> curves = removal_curves(jax.random.key(0), lambda coalition: coalition @ gifts, gifts, counts=[0, 1, 2])
        >>> curves.lowest.tolist(), curves.highest.tolist(), curves.random.shape
        ([10.0, 9.0, 7.0], [10.0, 6.0, 3.0], (10, 3))
    """
    _checks.check_key(key)
    known = _one_objective(values)
    players = len(known)
    movable = np.ones(players, bool) if among is None else np.asarray(among)
    if movable.dtype != bool or movable.shape != (players,) or not movable.any():
        raise BadArgument(
            "among", expected=f"a mask ({players},) of players to remove", got=f"{movable.dtype} {movable.shape}"
        )
    index = np.flatnonzero(movable)
    points = _check_counts(counts, len(index))
    draws, adding = _checks.check_size("draws", draws), _checks.check_flag("adding", adding)
    _checks.check_memory("draws", draws, players)
    lowest = index[np.argsort(known[index], kind="stable")]
    highest = index[np.argsort(-known[index], kind="stable")]
    shuffled = jax.vmap(lambda k: jax.random.permutation(k, jnp.asarray(index)))(jax.random.split(key, draws))
    orders = np.stack([lowest, highest, *np.asarray(shuffled)])
    rank = np.full((len(orders), players), players)
    np.put_along_axis(rank, orders, np.arange(len(index))[None, :], axis=1)
    moved = rank[:, None, :] < points[None, :, None]
    coalitions = moved | ~movable[None, None, :] if adding else ~moved
    utilities = evaluate_coalitions(utility, coalitions.reshape(-1, players), batch_size=batch_size)
    curves = utilities.reshape(*coalitions.shape[:2], *utilities.shape[1:])
    return RemovalCurves(jnp.asarray(points), curves[0], curves[1], curves[2:], adding)


def detection_curve(
    values: Estimate | Num[ArrayLike, "players"] | list[Any], harmful: Bool[ArrayLike, "players"] | list[bool]
) -> DetectionCurve:
    """How soon harmful players, such as rows with wrong labels, are found if the lowest values are inspected first.

    auc = P(φ_harmful < φ_other) + P(φ_harmful = φ_other) / 2, over pairs of a harmful and another player. On the curve,
    players of equal value are found at an even pace.

    Source: Ghorbani and Zou (2019), section 4; the area is the Mann-Whitney statistic.

    Args:
        values: (players,) values, or an `Estimate` of one objective.
        harmful: (players,) which players are harmful.

    Returns:
        A `DetectionCurve`.

    Raises:
        ValueError: if there is not one finite value and one mark for each player, or all or none are harmful.

    Example:
        >>> curve = detection_curve([0.1, -0.2, 0.3, 0.4], [False, True, False, True])
        >>> curve.recall.tolist(), float(curve.auc)
        ([0.0, 0.5, 0.5, 0.5, 1.0], 0.5)
    """
    known = _one_objective(values)
    marked = np.asarray(_checks.real_array("harmful", harmful, f"booleans ({len(known)},)"))
    if marked.dtype != bool or marked.shape != known.shape:
        raise BadArgument("harmful", expected=f"booleans ({len(known)},)", got=f"{marked.dtype} of {marked.shape}")
    if marked.all() or not marked.any():
        raise BadArgument("harmful", expected="some harmful players and some others", got=f"{marked.sum()} harmful")
    levels, level_of, sizes = np.unique(known, return_inverse=True, return_counts=True)
    bad = np.bincount(level_of, weights=marked, minlength=len(levels))
    ends, found = np.cumsum(sizes), np.cumsum(bad)
    inspected = np.arange(len(known) + 1)
    curve = np.interp(inspected, np.append(0, ends), np.append(0, found)) / marked.sum()
    # Each harmful player of a level beats the others of higher levels, and half of those of its own.
    others = sizes - bad
    above = others.sum() - np.cumsum(others)
    auc = float((bad * (above + others / 2)).sum() / (bad.sum() * others.sum()))
    return DetectionCurve(jnp.asarray(inspected / len(known)), jnp.asarray(curve), jnp.asarray(auc))


def _one_objective(values: Any) -> np.ndarray:
    """The values of one objective as NumPy numbers."""
    array = values.values if isinstance(values, Estimate) else values
    known = np.asarray(_checks.floating("values", array, ndim=1, expected="(players,) values of one objective"))
    if len(known) == 0:
        raise BadArgument("values", expected="at least one player", got="none")
    return known


def _check_counts(counts: Any, most: int) -> np.ndarray:
    if counts is None:
        return np.unique(np.arange(11) * most // 20)
    points = np.asarray(_checks.integers("counts", counts, ndim=1, expected="increasing numbers of players"))
    if not len(points) or points[0] < 0 or (np.diff(points) <= 0).any() or points[-1] > most:
        raise BadArgument("counts", expected=f"increasing numbers from 0 to {most}", got=points.tolist())
    return points
