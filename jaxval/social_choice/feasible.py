"""Feasible shares: the shares of voters with each alternative as first choice that are compatible with P.

Many profiles have the same P, so P determines the shares w of first choices only up to a set,

    W(P) = {w^σ : σ a profile with P^σ = P}  ⊆  {w ∈ Δ : w_i ≤ u_i},  u_i = min_{j≠i} P(i ≻ j).

W(P) is called the feasible set, and the larger set is called the box. The feasible set is exact: it comes from linear
programs (HiGHS) over all M! rankings, M <= 7. The rules use the box. The box is exactly the set that P allows if groups
may report any skew-symmetric P_k (the extended set). `box_distance` measures how much larger the box is.

These functions run on the host. They take arrays of known numbers and return NumPy arrays in float64, so they cannot
be called inside `jit`, `vmap` or `grad`. If no entry of P differs from the matrix of some profile by more than the
tolerance (1e-9, or 1e-5 in float32), P is replaced by the nearest such matrix: rounding alone does not empty W(P).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from math import factorial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxval import _checks
from jaxval.social_choice.extended import (
    SMALLEST_WEIGHT,
    FeasibleShares,
    box_bounds,
    box_range,
    box_vertices,
    host_matrix,
    host_shares,
    refuse_tracers,
    total_variation,
)
from jaxval.types import BadArgument, Matrix, Profile, Vector

__all__ = [
    "BoxDistance",
    "FeasibleDiagnostics",
    "SupportPoint",
    "box_distance",
    "feasible_membership",
    "feasible_shares",
    "feasible_shares_solve",
    "support_function",
]

MOST_ALTERNATIVES = 7
HIGHS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}  # the tightest that HiGHS accepts


class FeasibleDiagnostics(NamedTuple):
    """Whether P is the preference function of some profile.

    Attributes:
        empty: whether W(P) is empty: no profile's matrix lies within the tolerance of P.
        error: the smallest value, over all profiles σ, of the largest entry of |P - P^σ|; NaN if not converged.
        nearest: a profile that attains the error; None if not converged.
        converged: whether every linear program was solved.
    """

    empty: bool
    error: float
    nearest: Profile | None
    converged: bool


class SupportPoint(NamedTuple):
    """The largest value of Σ_i d_i w_i over w ∈ W(P), and shares and a profile that attain it.

    Attributes:
        value: max_{w ∈ W(P)} Σ_i d_i w_i.
        shares: (alternatives,) a maximiser.
        profile: a profile with this P and these shares.
    """

    value: float
    shares: Float[np.ndarray, "alternatives"]
    profile: Profile


class BoxDistance(NamedTuple):
    """How much larger the box is than W(P).

    Attributes:
        distance: the largest total-variation distance from a point of the box to W(P), in [0, 1].
        shares: (alternatives,) a point of the box at that distance from W(P).
        nearest: (alternatives,) a point of W(P) nearest to `shares`.
        above: (alternatives,) u_i minus the largest feasible share.
        below: (alternatives,) the smallest feasible share minus the smallest in the box.
    """

    distance: float
    shares: Float[np.ndarray, "alternatives"]
    nearest: Float[np.ndarray, "alternatives"]
    above: Float[np.ndarray, "alternatives"]
    below: Float[np.ndarray, "alternatives"]


def feasible_shares(matrix: Matrix) -> FeasibleShares:
    """The smallest and the largest share of first choices that each alternative has in some profile with this P.

    These are the extremes of w_i = Σ_r x_r 1{i first in r} over the weights x ≥ 0 of the M! rankings r with Σ_r x_r = 1
    and Σ_r x_r 1{i above j in r} = P(i ≻ j). With up to four alternatives, the largest share is the bound
    u_i = min_{j≠i} P(i ≻ j); with five, it can be 0 although u_i = 1/2.

    It takes about 0.01 s with 3 alternatives, 0.02 s with 4, 0.04 s with 5, 0.1 s with 6 and 0.6 s with 7 (CPU).

    Source: Kim et al., Definition 4.1.

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.

    Returns:
        `FeasibleShares(smallest, largest)`.

    Raises:
        ValueError: if the matrix is not a preference function, has more than 7 alternatives, is a tracer, or comes from
            no profile.
        RuntimeError: if the solver HiGHS fails.

    Example:
        Kim et al., Appendix F: (1/3, 1/3, 1/3) and (2/3, 0, 1/3) are the shares of two profiles with this P.

        >>> shares = feasible_shares([[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]])
        >>> shares.smallest.round(4).tolist(), shares.largest.round(4).tolist()
        ([0.3333, 0.0, 0.0], [0.6667, 0.3333, 0.3333])
    """
    return _ends(_extreme_points(_feasible_matrix(matrix)))


def feasible_shares_solve(matrix: Matrix) -> tuple[FeasibleShares, FeasibleDiagnostics]:
    """`feasible_shares` with diagnostics, which say whether P comes from a profile and give the nearest profile.

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.

    Returns:
        (`FeasibleShares`, `FeasibleDiagnostics`); the shares are NaN if P comes from no profile or HiGHS fails.

    Raises:
        ValueError: if the matrix is not a preference function, has more than 7 alternatives, or is a tracer.

    Example:
        A strict cycle comes from no profile: a ranking can agree with at most two of its three majorities.

        >>> shares, diagnostics = feasible_shares_solve([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
        >>> diagnostics.empty, round(diagnostics.error, 4), shares.largest.tolist()
        (True, 0.3333, [nan, nan, nan])
    """
    values, limit = host_matrix(matrix, most=MOST_ALTERNATIVES)
    unknown = FeasibleShares(np.full(len(values), np.nan), np.full(len(values), np.nan))
    try:
        voters, error = _nearest_voters(values)
    except RuntimeError:
        return unknown, FeasibleDiagnostics(empty=False, error=float("nan"), nearest=None, converged=False)
    nearest = _profile(voters, len(values))
    if error > limit:
        return unknown, FeasibleDiagnostics(empty=True, error=error, nearest=nearest, converged=True)
    try:
        shares = _ends(_extreme_points(_matrix_of(voters, len(values))))
    except RuntimeError:
        return unknown, FeasibleDiagnostics(empty=False, error=error, nearest=nearest, converged=False)
    return shares, FeasibleDiagnostics(empty=False, error=error, nearest=nearest, converged=True)


def feasible_membership(matrix: Matrix, shares: Vector) -> tuple[float, Profile]:
    """How far shares w are from W(P), the shares of profiles with this P; the witness is a profile that attains this.

    gap = min_{v ∈ W(P)} 1/2 Σ_i |w_i - v_i|, in total variation. The witness has the preference function P. If the gap
    is zero within the tolerance, the witness has the shares w. It is one of many such profiles, a basic solution with
    at most M(M-1)/2 + M rankings.

    Source: Kim et al., Definition 4.1 and Proposition 4.2. If the profile is split by first choice and each part is
    normalised, the parts give the P_k with P_k(k ≻ ·) = 1 and Σ_k w_k P_k = P.

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.
        shares: (alternatives,) shares w of first choices, which sum to one.

    Returns:
        (gap, `Profile`); the weights of the profile are all positive.

    Raises:
        ValueError: if the matrix is not a preference function, has more than 7 alternatives, is a tracer, or comes from
            no profile; or if the shares are negative or do not sum to one.
        RuntimeError: if the solver HiGHS fails.

    Example:
        >>> matrix = [[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]]
        >>> gap, profile = feasible_membership(matrix, [2 / 3, 0, 1 / 3])
        >>> round(gap, 4), round(float(profile.weights[profile.orders[:, 0] == 0].sum()), 4)
        (0.0, 0.6667)
        >>> round(feasible_membership(matrix, [1, 0, 0])[0], 4)
        0.3333
    """
    values = _feasible_matrix(matrix)
    target = host_shares(shares, len(values))
    voters = _nearest_feasible(values, target)
    return total_variation(target, _first_choices(voters, len(values))), _profile(voters, len(values))


def support_function(matrix: Matrix, direction: Vector) -> SupportPoint:
    """The largest value of Σ_i d_i w_i over the feasible shares w of first choices, and a profile that attains it.

    Shares are feasible, w ∈ W(P), if a profile with this P has them.

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.
        direction: (alternatives,) finite numbers d.

    Returns:
        `SupportPoint(value, shares, profile)`.

    Raises:
        ValueError: if the matrix is not a preference function, has more than 7 alternatives, is a tracer, or comes from
            no profile; or if there is not one number d_i for each alternative.
        RuntimeError: if the solver HiGHS fails.

    Example:
        >>> matrix = [[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]]
        >>> point = support_function(matrix, [2, 0, 1])
        >>> round(point.value, 4), point.shares.round(4).tolist()
        (1.6667, [0.6667, 0.0, 0.3333])
    """
    values = _feasible_matrix(matrix)
    alternatives = len(values)
    refuse_tracers("direction", direction)
    shape = _checks.floating("direction", direction, ndim=1, expected=f"({alternatives},) numbers").shape
    if shape != (alternatives,):
        raise BadArgument(
            "direction", expected=f"one number for each of {alternatives} alternatives", got=f"shape {shape}"
        )
    towards = np.asarray(direction, dtype=np.float64)
    voters = _farthest_feasible(values, towards)
    shares = _first_choices(voters, alternatives)
    return SupportPoint(float(towards @ shares), shares, _profile(voters, alternatives))


def box_distance(matrix: Matrix) -> BoxDistance:
    """How far the box {w ∈ Δ : w_i ≤ u_i} is from W(P), for all shares jointly and for each alternative alone.

    Here u_i = min_{j≠i} P(i ≻ j), and W(P) is the set of shares of first choices of the profiles with this P. The joint
    distance is the Hausdorff distance max_{w in box} min_{v ∈ W(P)} 1/2 Σ_i |w_i - v_i|. With up to three
    alternatives it is zero, because every skew-symmetric P_k with P_k(k ≻ ·) = 1 then comes from a profile.

    It takes about 0.02 s with 3 alternatives, 0.04 s with 4, 0.2 s with 5, 0.8 s with 6 and 5 s with 7 (CPU).

    Source: Kim et al., Theorem 4.4 (the box contains W(P)) and Appendix I (why they differ).

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.

    Returns:
        `BoxDistance(distance, shares, nearest, above, below)`.

    Raises:
        ValueError: if the matrix is not a preference function, has more than 7 alternatives, is a tracer, or comes from
            no profile.
        RuntimeError: if the solver HiGHS fails.

    Example:
        For two voters, 1 0 3 2 4 and 2 0 4 1 3 (best first), u_0 = 1/2, but no voter can have 0 as first choice.

        >>> from jaxval.preferences import preference_matrix
        >>> gap = box_distance(preference_matrix([[1, 0, 3, 2, 4], [2, 0, 4, 1, 3]]))
        >>> round(gap.distance, 4), gap.above.round(4).tolist()
        (0.5, [0.5, 0.0, 0.0, 0.0, 0.0])
    """
    values = _feasible_matrix(matrix)
    bounds = box_bounds(values, limit=SMALLEST_WEIGHT)
    box, feasible = box_range(bounds), _ends(_extreme_points(values))
    # The distance to a convex set is convex, so its maximum over the box is attained at a vertex.
    vertices = box_vertices(bounds)
    nearest = np.array([_first_choices(_nearest_feasible(values, vertex), len(values)) for vertex in vertices])
    distances = [total_variation(*pair) for pair in zip(vertices, nearest, strict=True)]
    worst = int(np.argmax(distances))
    return BoxDistance(
        distance=distances[worst],
        shares=vertices[worst],
        nearest=nearest[worst],
        above=box.largest - feasible.largest,
        below=feasible.smallest - box.smallest,
    )


class _Rankings(NamedTuple):
    orders: np.ndarray  # (M!, M), best first
    above: np.ndarray  # (M(M-1)/2, M!), whether i is above j, for i < j
    first: np.ndarray  # (M, M!), whether i is the first choice


@lru_cache(maxsize=MOST_ALTERNATIVES)
def _rankings(alternatives: int) -> _Rankings:
    orders = np.array(list(permutations(range(alternatives))))
    positions = np.argsort(orders, axis=1)
    i, j = np.triu_indices(alternatives, 1)
    above = (positions[:, i] < positions[:, j]).T.astype(np.float64)
    first = (orders[:, 0] == np.arange(alternatives)[:, None]).astype(np.float64)
    for array in (orders, above, first):
        array.flags.writeable = False
    return _Rankings(orders, above, first)


def _feasible_matrix(matrix: Matrix) -> np.ndarray:
    """The matrix of the profile nearest to P; an error if it differs from P by more than the tolerance."""
    values, limit = host_matrix(matrix, most=MOST_ALTERNATIVES)
    voters, error = _nearest_voters(values)
    if error > limit:
        raise BadArgument(
            "matrix",
            expected="the preference function of some profile of complete strict rankings",
            got=(
                f"one that differs from every such function by {error:.3g} or more in some entry, so no "
                "shares are feasible"
            ),
            advice=(
                "feasible_shares_solve(matrix) returns the nearest profile, extended_shares(matrix) needs no profile"
            ),
        )
    return _matrix_of(voters, len(values))


def _solve(cost: np.ndarray, **constraints: Any) -> np.ndarray:
    """The x ≥ 0 with the least cost·x under the constraints, by HiGHS, first with and then without presolve."""
    from scipy.optimize import linprog  # it takes as long to load as JAX, so only these functions load it

    for presolve in (True, False):
        result = linprog(cost, method="highs", options={**HIGHS, "presolve": presolve}, **constraints)
        if result.status == 0 and np.isfinite(result.x).all():
            return result.x
    raise RuntimeError(f"HiGHS did not solve a linear program over {len(cost)} rankings: {result.message}")


def _voters(solution: np.ndarray, alternatives: int) -> np.ndarray:
    """The shares of all M! rankings, which are the first M! entries of a solution."""
    weights = solution[: factorial(alternatives)]
    weights = np.where(weights > SMALLEST_WEIGHT, weights, 0)
    return weights / weights.sum()


def _nearest_voters(values: np.ndarray) -> tuple[np.ndarray, float]:
    """The minimiser and the minimum of max_ij |P(i ≻ j) - Σ_r x_r 1{i above j in r}| over shares x of rankings."""
    alternatives = len(values)
    above = _rankings(alternatives).above
    pairs, slack = _pairs(values), np.ones((len(above), 1))
    solution = _solve(
        np.append(np.zeros(above.shape[1]), 1),
        A_ub=np.block([[above, -slack], [-above, -slack]]),
        b_ub=np.append(pairs, -pairs),
        A_eq=np.append(np.ones(above.shape[1]), 0)[None],
        b_eq=[1],
    )
    voters = _voters(solution, alternatives)
    return voters, float(np.abs(_matrix_of(voters, alternatives) - values).max())


def _farthest_feasible(values: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """argmax_x Σ_i d_i w_i(x) over the profiles x with this P."""
    above, first = _rankings(len(values))[1:]
    solution = _solve(
        -direction @ first,
        A_eq=np.vstack([above, np.ones(above.shape[1])]),
        b_eq=np.append(_pairs(values), 1),
    )
    return _voters(solution, len(values))


def _nearest_feasible(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """argmin_x Σ_i max(w_i - w_i(x), 0), the total-variation distance, over the profiles x with this P."""
    above, first = _rankings(len(values))[1:]
    rankings, alternatives = above.shape[1], len(values)
    solution = _solve(
        np.append(np.zeros(rankings), np.ones(alternatives)),
        A_ub=np.hstack([-first, -np.eye(alternatives)]),
        b_ub=-target,
        A_eq=np.hstack([np.vstack([above, np.ones(rankings)]), np.zeros((len(above) + 1, alternatives))]),
        b_eq=np.append(_pairs(values), 1),
    )
    return _voters(solution, alternatives)


def _extreme_points(values: np.ndarray) -> np.ndarray:
    """(2M, M) points of W(P): first those with the largest share of 0, ..., M-1, then those with the smallest."""
    directions = np.vstack([np.eye(len(values)), -np.eye(len(values))])
    return np.array([_first_choices(_farthest_feasible(values, direction), len(values)) for direction in directions])


def _ends(points: np.ndarray) -> FeasibleShares:
    alternatives = points.shape[1]
    return FeasibleShares(smallest=np.diag(points[alternatives:]).copy(), largest=np.diag(points).copy())


def _pairs(values: np.ndarray) -> np.ndarray:
    return values[np.triu_indices(len(values), 1)]


def _matrix_of(voters: np.ndarray, alternatives: int) -> np.ndarray:
    values = np.full((alternatives, alternatives), 0.5)
    i, j = np.triu_indices(alternatives, 1)
    values[i, j] = np.clip(_rankings(alternatives).above @ voters, 0, 1)
    values[j, i] = 1 - values[i, j]
    return values


def _first_choices(voters: np.ndarray, alternatives: int) -> np.ndarray:
    return _rankings(alternatives).first @ voters


def _profile(voters: np.ndarray, alternatives: int) -> Profile:
    held = voters > 0
    return Profile(_rankings(alternatives).orders[held], voters[held])
