"""Kim et al., Appendix J: profiles that P does not tell apart, and voters in space."""

import itertools
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.optimize import linprog

from jaxval.theorems.ppa._profiles import Case, over
from jaxval.theorems.ppa.constructions import determined
from jaxval.theorems.records import AtMost, Inconclusive, Setting


@over(3, 4, 5, 6).claim(
    "ppa/section-J-profile",
    "Appendix J",
    false="For M ≥ 3 P does not determine the Borda scores.",
    neighbour={"asked": "B"},
    proof="the map σ → P has less than full rank, computed for M = 3 to 6; [38, Proposition 2]",
)
def section_j_profile(c: Case, asked: str = "σ") -> Any:
    """It is impossible to recover the full profile σ from P^σ: for M ≥ 3 other profiles have the same P."""
    return AtMost(0.0 * c.share + determined(len(c.rewards), asked), 0.0)


class Points(NamedTuple):
    """Feature vectors of four alternatives.

    Attributes:
        points: (4, 3) normal numbers.
    """

    points: Float[Array, "4 3"]


def generate_points(key: Key[Array, ""]) -> Points:
    """Feature vectors at random."""
    return Points(jax.random.normal(key, (4, 3)))


space = Setting(generate_points, "M = 3, 4; normal feature vectors in M - 1 dimensions", compiled=False, most=2)


def without_voters(points: Any) -> float:
    """The number of rankings that are no voter's: |v - x_i|² < |v - x_j|² is linear in v."""
    missing, dimensions = 0, points.shape[1]
    for order in itertools.permutations(range(len(points))):
        a, b = points[list(order[:-1])], points[list(order[1:])]
        above = np.hstack([2 * (b - a), np.ones((len(a), 1))])
        free = [(None, None)] * dimensions + [(None, 1)]
        right = (b**2).sum(axis=1) - (a**2).sum(axis=1)
        found = linprog(np.append(np.zeros(dimensions), -1), A_ub=above, b_ub=right, bounds=free)
        if not found.success:
            raise Inconclusive(found.message)
        missing += -found.fun <= 1e-9
    return float(missing)


@space.claim(
    "ppa/section-J-regions",
    "Appendix J",
    false="In M - 2 dimensions, the bisectors make a region for each of the M! rankings.",
    neighbour={"fewer": 1},
)
def section_j_regions(c: Points, fewer: int = 0) -> Any:
    """In a space of enough dimensions, M - 1, the M(M-1)/2 bisectors make M! regions, one for each ranking."""
    return {f"M = {size}": (without_voters(c.points[:size, : size - 1 - fewer]), 0.0) for size in (3, 4)}
