"""Feasible shares: what P alone tells about the shares of voters whose first choice is each alternative.

Many profiles have the same P, so P fixes the shares w of first choices only up to a set,

    W(P) = {w^σ : σ a profile with P^σ = P}  ⊆  {w ∈ Δ : w_i ≤ u_i},  u_i = min_{j≠i} P(i ≻ j),

here the feasible set and the box. The feasible set is exact, from linear programs (HiGHS) over all M! rankings, M <= 7.
The box is what the rules use; it is exactly what P allows where groups may report any skew-symmetric P_k (the extended
set). `box_distance` says what the difference amounts to.

These functions run on the host: concrete arrays in, NumPy arrays in float64 out; not for `jit`, `vmap` or `grad`. P that
differs from the matrix of a profile by no more than the tolerance (1e-9, or 1e-5 in float32) in any entry stands for the
nearest such matrix: rounding alone does not empty W(P).
"""

from functools import lru_cache
from itertools import permutations
from math import factorial
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy.optimize import linprog

from jaxval import _checks
from jaxval.types import Matrix, Profile

__all__ = [
    "BoxDistance",
    "FeasibleDiagnostics",
    "FeasibleShares",
    "GroupMatrices",
    "SupportPoint",
    "box_distance",
    "extended_membership",
    "extended_shares",
    "feasible_membership",
    "feasible_shares",
    "feasible_shares_solve",
    "support_function",
]

MOST_ALTERNATIVES = 7
SMALLEST_WEIGHT = 1e-12  # what is below is HiGHS's rounding, no voter
HIGHS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}  # the tightest it takes


class FeasibleShares(NamedTuple):
    """The range of each alternative's share of first choices; the two ends need not be reached together.

    Attributes:
        smallest: (alternatives,) smallest share.
        largest: (alternatives,) largest share.
    """

    smallest: Float[np.ndarray, "alternatives"]
    largest: Float[np.ndarray, "alternatives"]


class FeasibleDiagnostics(NamedTuple):
    """Whether P comes from a profile at all.

    Attributes:
        empty: whether W(P) is empty: no profile's matrix lies within the tolerance of P.
        error: smallest over all profiles σ of the largest entry of |P - P^σ|; NaN where not converged.
        nearest: a profile that attains it; None where not converged.
        converged: whether every linear program was solved.
    """

    empty: bool
    error: float
    nearest: Profile | None
    converged: bool


class SupportPoint(NamedTuple):
    """The largest value of a direction over W(P), and where it is attained.

    Attributes:
        value: max_{w ∈ W(P)} Σ_i direction_i w_i.
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
        shares: (alternatives,) a point of the box that far away.
        nearest: (alternatives,) the point of W(P) nearest to it.
        above: (alternatives,) u_i minus the largest feasible share.
        below: (alternatives,) the smallest feasible share minus the smallest in the box.
    """

    distance: float
    shares: Float[np.ndarray, "alternatives"]
    nearest: Float[np.ndarray, "alternatives"]
    above: Float[np.ndarray, "alternatives"]
    below: Float[np.ndarray, "alternatives"]


class GroupMatrices(NamedTuple):
    """A point of the extended set: Σ_k shares_k matrices_k = P, where group k puts k above everything.

    Attributes:
        shares: (alternatives,) shares of the groups.
        matrices: (alternatives, alternatives, alternatives); `matrices[k]` is the preference function of group k.
    """

    shares: Float[np.ndarray, "alternatives"]
    matrices: Float[np.ndarray, "groups alternatives alternatives"]


def feasible_shares(matrix: Matrix) -> FeasibleShares:
    """The smallest and the largest share of first choices that each alternative has in some profile with this P.

    The extremes of every coordinate of W(P): over x ≥ 0 on the M! rankings r with Σ_r x_r = 1 and
    Σ_r x_r 1{i above j in r} = P(i ≻ j), the extremes of w_i = Σ_r x_r 1{i first in r}. Up to three alternatives
    the largest is u_i, and so it is with four; with five it can be 0 where u_i = 1/2.

    Takes 0.01 s with 3 alternatives, 0.02 s with 4, 0.04 s with 5, 0.1 s with 6 and 0.6 s with 7.

    Source: Kim et al., Definition 4.1.

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.

    Returns:
        `FeasibleShares(smallest, largest)`.

    Raises:
        ValueError: where the matrix is no preference function, is larger, is traced, or comes from no profile.
        RuntimeError: where HiGHS fails.

    Example:
        Appendix F: (1/3, 1/3, 1/3) and (2/3, 0, 1/3) are the shares of two profiles with the same P.

        >>> shares = feasible_shares([[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]])
        >>> [round(float(w), 4) for w in shares.smallest], [round(float(w), 4) for w in shares.largest]
        ([0.3333, 0.0, 0.0], [0.6667, 0.3333, 0.3333])
    """
    pairs, _ = _profile_pairs(matrix)
    return _ranges(pairs, len(matrix))


def feasible_shares_solve(matrix: Matrix) -> tuple[FeasibleShares, FeasibleDiagnostics]:
    """`feasible_shares` with its diagnostics: whether W(P) is empty, and how far P is from any profile's matrix.

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.

    Returns:
        (`FeasibleShares`, `FeasibleDiagnostics`); the shares are NaN where W(P) is empty or HiGHS fails.

    Raises:
        ValueError: where the matrix is no preference function, is larger, or is traced.

    Example:
        A strict cycle comes from no profile: of its three majorities a ranking can agree with two.

        >>> shares, diagnostics = feasible_shares_solve([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
        >>> diagnostics.empty, round(diagnostics.error, 4), shares.largest.tolist()
        (True, 0.3333, [nan, nan, nan])
    """
    values, limit = _host_matrix(matrix, most=MOST_ALTERNATIVES)
    alternatives = len(values)
    unknown = FeasibleShares(np.full(alternatives, np.nan), np.full(alternatives, np.nan))
    try:
        voters, error = _nearest_voters(values)
    except RuntimeError:
        return unknown, FeasibleDiagnostics(empty=False, error=float("nan"), nearest=None, converged=False)
    diagnostics = FeasibleDiagnostics(error > limit, error, _profile(voters, alternatives), converged=True)
    if diagnostics.empty:
        return unknown, diagnostics
    try:
        return _ranges(_rankings(alternatives)[1] @ voters, alternatives), diagnostics
    except RuntimeError:
        return unknown, diagnostics._replace(converged=False)


def feasible_membership(matrix: Matrix, shares: Float[ArrayLike, "alternatives"]) -> tuple[float, Profile]:
    """Whether w ∈ W(P): the gap is the distance from w to W(P), the witness a profile with this P that attains it.

    gap = min_{v ∈ W(P)} 1/2 Σ_i |w_i - v_i|, the share of voters whose first choice would have to change. Where it is
    zero within the tolerance, the witness has the shares w. It is one of many: a basic solution, so at most
    M(M-1)/2 + M rankings.

    Takes as long as three of the 2M programs of `feasible_shares`.

    Source: Kim et al., Definition 4.1 and Proposition 4.2: normalised within the groups of equal first choice, the
    profile gives the P_k with P_k(k ≻ ·) = 1 and Σ_k w_k P_k = P.

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.
        shares: (alternatives,) shares w of first choices, which sum to one.

    Returns:
        (gap, `Profile`), the profile's weights all positive.

    Raises:
        ValueError: where the matrix is no preference function, is larger, is traced, or comes from no profile; where
            the shares are negative or do not sum to one.
        RuntimeError: where HiGHS fails.

    Example:
        >>> matrix = [[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]]
        >>> gap, profile = feasible_membership(matrix, [2 / 3, 0, 1 / 3])
        >>> round(gap, 4), round(float(profile.weights[profile.orders[:, 0] == 0].sum()), 4)
        (0.0, 0.6667)
        >>> gap, _ = feasible_membership(matrix, [1, 0, 0])
        >>> round(gap, 4)
        0.3333
    """
    pairs, alternatives = _profile_pairs(matrix), len(matrix)
    target = _host_shares(shares, alternatives)
    gap, voters = _nearest_in_feasible(pairs[0], target)
    return gap, _profile(voters, alternatives)


def support_function(matrix: Matrix, direction: Float[ArrayLike, "alternatives"]) -> SupportPoint:
    """The largest value of a direction over W(P), max_{w ∈ W(P)} Σ_i d_i w_i, with a maximiser and its profile.

    Args:
        matrix: (alternatives, alternatives) preference function of at most 7 alternatives.
        direction: (alternatives,) any finite numbers d.

    Returns:
        `SupportPoint(value, shares, profile)`.

    Raises:
        ValueError: where the matrix is no preference function, is larger, is traced, or comes from no profile; where
            the direction has another length.
        RuntimeError: where HiGHS fails.

    Example:
        >>> matrix = [[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]]
        >>> point = support_function(matrix, [1, 0, 1])
        >>> round(point.value, 4), [round(float(abs(w)), 4) for w in point.shares]
        (1.0, [0.6667, 0.0, 0.3333])
    """
    raise NotImplementedError
