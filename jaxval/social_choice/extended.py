"""The box {w ∈ Δ : w_i ≤ u_i}: the shares of first choices that P allows if groups may report any preferences.

This is the extended set of Kim et al., Appendix I: each group k reports some skew-symmetric P_k with P_k(k ≻ ·) = 1,
which need not come from rankings. The box contains W(P), the set of `feasible`, and has closed forms.

These functions run on the host. They take arrays of known numbers and return NumPy arrays in float64, so they cannot
be called inside `jit`, `vmap` or `grad`.
"""

from __future__ import annotations

from math import factorial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxval import _checks, _objects
from jaxval.types import BadArgument, Matrix, Vector

__all__ = ["FeasibleShares", "GroupMatrices", "extended_membership", "extended_shares"]

SMALLEST_WEIGHT = 1e-12  # a smaller weight is rounding and no voter


class FeasibleShares(NamedTuple):
    """The range of each alternative's share of first choices. No single profile need attain all of these ends.

    Attributes:
        smallest: (alternatives,) smallest share.
        largest: (alternatives,) largest share.
    """

    smallest: Float[np.ndarray, "alternatives"]
    largest: Float[np.ndarray, "alternatives"]


class GroupMatrices(NamedTuple):
    """A point of the extended set: Σ_k shares_k matrices_k = P, where group k prefers k to every other alternative.

    Attributes:
        shares: (alternatives,) shares of the groups.
        matrices: (alternatives, alternatives, alternatives); `matrices[k]` is the preference function of group k.
    """

    shares: Float[np.ndarray, "alternatives"]
    matrices: Float[np.ndarray, "groups alternatives alternatives"]


def extended_shares(matrix: Matrix) -> FeasibleShares:
    """The range of each share if every group may report any skew-symmetric P_k with P_k(k ≻ ·) = 1.

    The set is then the box {w ∈ Δ : w_i ≤ u_i}, whose coordinates run from max(0, 1 - Σ_{j≠i} u_j) to u_i. It is empty
    if Σu < 1. The number of alternatives is not limited; with one alternative, u = 1.

    Source: Kim et al., Theorem 4.4 and Appendix I.

    Args:
        matrix: (alternatives, alternatives) preference function.

    Returns:
        `FeasibleShares(smallest, largest)`.

    Raises:
        ValueError: if the matrix is not a preference function, is traced, or has Σu < 1.

    Example:
        >>> shares = extended_shares([[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]])
        >>> shares.smallest.tolist(), shares.largest.tolist()
        ([0.5, 0.25, 0.25], [0.5, 0.25, 0.25])
    """
    values, limit = host_matrix(matrix)
    return box_range(box_bounds(values, limit))


def extended_membership(matrix: Matrix, shares: Vector) -> tuple[float, GroupMatrices]:
    """Whether w is in the extended set: the distance to the set, and preference functions P_k at the nearest point v.

    gap = Σ_i max(w_i - u_i, 0) is the distance in total variation: the excess over u moves to alternatives below u,
    which have room for it, as Σu ≥ 1. If the gap is zero, v = w. Σ_k v_k P_k = P holds for P_k(k ≻ ·) = 1 and, for
    i, j ≠ k,

        P_k(i ≻ j) = (P(i ≻ j) - v_i) / (1 - v_i - v_j),    (32)

    which is set to 1/2 if v_i + v_j = 1: no other group has voters, and P(i ≻ j) = v_i whatever P_k is. If v_k = 0, P_k
    has no weight and (32) is used all the same.

    Source: Kim et al., Appendix I, equations (31) and (32). There, "for all y" means y ≠ y_k.

    Args:
        matrix: (alternatives, alternatives) preference function.
        shares: (alternatives,) shares w of the groups, which sum to one.

    Returns:
        (gap, `GroupMatrices(shares, matrices)`), where the shares are v.

    Raises:
        ValueError: if the matrix is not a preference function, is traced, or has Σu < 1; or if the shares are negative
            or do not sum to one.

    Example:
        >>> matrix = [[0.5, 0.5, 0.5], [0.5, 0.5, 0.75], [0.5, 0.25, 0.5]]
        >>> gap, groups = extended_membership(matrix, [0.25, 0.5, 0.25])
        >>> round(gap, 4), groups.matrices[0].round(4).tolist()
        (0.0, [[0.5, 1.0, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.5]])
        >>> round(extended_membership(matrix, [1, 0, 0])[0], 4)
        0.5
    """
    values, limit = host_matrix(matrix)
    target = host_shares(shares, len(values))
    nearest = _nearest_in_box(box_bounds(values, limit), target)
    return total_variation(target, nearest), GroupMatrices(nearest, _group_matrices(values, nearest))


def refuse_tracers(name: str, value: Any) -> None:
    if not _checks.concrete(value):
        raise BadArgument(
            name,
            expected="an array with values",
            got=("a tracer: feasible shares are computed on the host by linear programs, outside jit, vmap and grad"),
            advice="call the function outside, or wrap it with jax.pure_callback",
        )


def host_matrix(matrix: Matrix, *, most: int | None = None) -> tuple[np.ndarray, float]:
    """P in float64, made exactly skew-symmetric, and the tolerance of its precision."""
    refuse_tracers("matrix", matrix)
    limit = _checks.tolerance(_objects.check_matrix(matrix).dtype)
    values = np.asarray(matrix, dtype=np.float64)
    if most is not None and len(values) > most:
        raise BadArgument(
            "matrix",
            expected=f"at most {most} alternatives, as all M! rankings are enumerated",
            got=f"M = {len(values)} ({factorial(len(values))} rankings)",
            advice="share_bounds(matrix) bounds the shares for any M",
        )
    return np.clip((values + 1 - values.T) / 2, 0, 1), limit


def host_shares(shares: Any, alternatives: int) -> np.ndarray:
    refuse_tracers("shares", shares)
    _objects.check_lottery(shares, alternatives, name="shares")
    values = np.clip(np.asarray(shares, dtype=np.float64), 0, 1)
    return values / values.sum()


def total_variation(shares: np.ndarray, others: np.ndarray) -> float:
    """Total variation, 1/2 Σ_i |w_i - v_i|."""
    return float(np.abs(shares - others).sum() / 2)


def box_bounds(values: np.ndarray, limit: float) -> np.ndarray:
    """u_i = min_{j≠i} P(i ≻ j). Σu < 1 is an error, unless rounding explains it; u is then scaled to Σu = 1."""
    bounds = np.where(np.eye(len(values), dtype=bool), 1, values).min(axis=1)
    total = bounds.sum()
    if total < 1 - limit:
        raise BadArgument(
            "matrix",
            expected="share bounds u with Σu of at least 1, as shares below them sum to one",
            got=(f"Σu = {total:.6g}: P comes from no groups of voters, whatever they report of the other alternatives"),
        )
    return bounds / min(total, 1)


def box_range(bounds: np.ndarray) -> FeasibleShares:
    smallest = np.clip(1 - (bounds.sum() - bounds), 0, bounds)
    return FeasibleShares(smallest=smallest, largest=bounds)


def box_vertices(bounds: np.ndarray) -> np.ndarray:
    """(vertices, M) points with Σw = 1 whose shares are 0 or u_i, except for one share w_free in [0, u_free]."""
    alternatives = len(bounds)
    full = np.arange(2**alternatives)[:, None] >> np.arange(alternatives) & 1
    vertices = []
    for free in range(alternatives):
        corners = full[full[:, free] == 0] * bounds
        rest = 1 - corners.sum(axis=1)
        inside = (rest >= -SMALLEST_WEIGHT) & (rest <= bounds[free] + SMALLEST_WEIGHT)
        corners[:, free] = np.clip(rest, 0, bounds[free])
        vertices.append(corners[inside])
    candidates = np.concatenate(vertices)
    return candidates[np.unique(candidates.round(12), axis=0, return_index=True)[1]]


def _nearest_in_box(bounds: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The nearest point of the box: the excess over u is divided in proportion to the room below u.

    There is enough room, as Σu ≥ 1.
    """
    room = np.clip(bounds - target, 0, None)
    excess = np.clip(target - bounds, 0, None).sum()
    filled = excess / room.sum() if room.sum() > 0 else 0  # without any room, the excess is rounding
    return np.minimum(target, bounds) + room * filled


def _group_matrices(values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The P_k of every group by (32), with P_k(k ≻ ·) = 1 and the diagonal 1/2."""
    alternatives = len(values)
    others = 1 - shares[:, None] - shares[None, :]
    voting = others > SMALLEST_WEIGHT
    reported = np.where(voting, np.clip((values - shares[:, None]) / np.where(voting, others, 1), 0, 1), 0.5)
    reported = np.triu(reported, 1) + np.tril(1 - reported.T, -1)  # exactly skew-symmetric, also near 0/0
    groups = np.tile(reported, (alternatives, 1, 1))
    k = np.arange(alternatives)
    groups[k, k, :] = 1
    groups[k, :, k] = 0
    groups[:, k, k] = 0.5
    return groups
