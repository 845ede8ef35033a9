"""Kim et al., Appendix J: profiles that P does not tell apart, and voters in space."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.optimize import linprog

from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ppa._elections import (
    ALTERNATIVES,
    RANKINGS,
    matrix,
    shares,
)

__all__ = ["CLAIMS"]

_PLACES = np.argsort(RANKINGS, axis=1)
_PAIRS = np.array(list(itertools.combinations(range(ALTERNATIVES), 2)))
_COUNTING = np.vstack([(_PLACES[:, i] < _PLACES[:, j]).astype(float) for i, j in _PAIRS] + [np.ones(len(RANKINGS))])
_KERNEL = np.linalg.svd(_COUNTING)[2][np.linalg.matrix_rank(_COUNTING) :]


class Voters(NamedTuple):
    """Voters and alternatives in space.

    Attributes:
        profile: (24,) shares of all rankings.
        direction: (17,) which other profile with the same P.
        points: (4, 3) feature vectors of the alternatives.
    """

    profile: Float[Array, "24"]
    direction: Float[Array, "17"]
    points: Float[Array, "4 3"]


def generate_voters(key: Key[Array, ""]) -> Voters:
    """Every ranking has some share; features normal."""
    keys = jax.random.split(key, 3)
    profile = 0.01 + jax.random.uniform(keys[0], (len(RANKINGS),))
    profile = profile / jnp.sum(profile)
    return Voters(profile, jax.random.normal(keys[1], (len(_KERNEL),)), jax.random.normal(keys[2], (ALTERNATIVES, 3)))


def other_profile(c: Voters, *, shares_too: bool = False) -> Array:
    """‖P(σ) - P(σ̃)‖ (and ‖w - w̃‖) of another profile σ̃, which exists: at least 1e-6 away."""
    step = c.direction @ jnp.asarray(_KERNEL)
    length = jnp.min(jnp.where(step < 0, c.profile / jnp.where(step < 0, -step, 1), jnp.inf))
    other = c.profile + length * step
    orders = jnp.asarray(RANKINGS)
    gap = largest(matrix(orders, c.profile) - matrix(orders, other))
    gap = jnp.maximum(gap, jnp.maximum(1e-6 - jnp.max(jnp.abs(other - c.profile)), -jnp.min(other)))
    return jnp.maximum(gap, largest(shares(orders, c.profile) - shares(orders, other))) if shares_too else gap


def rankings_without_voters(c: Voters, dimensions: int) -> float:
    """How many of the 24 rankings are no voter's place: |v - x_i|² < |v - x_j|² is linear in v."""
    x = np.asarray(c.points)[:, :dimensions]
    missing = 0
    for order in RANKINGS:
        a, b = x[order[:-1]], x[order[1:]]
        above = np.hstack([2 * (b - a), np.ones((len(a), 1))])
        right = (b**2).sum(axis=1) - (a**2).sum(axis=1)
        cost = np.append(np.zeros(dimensions), -1)
        free = [(None, None)] * dimensions + [(None, 1)]
        missing += -linprog(cost, A_ub=above, b_ub=right, bounds=free).fun <= 1e-9
    return float(missing)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "ppa/section-J-profile",
        "Appendix J",
        Statement(
            "P does not tell the profile: where all rankings have voters, another profile has the same P.",
            other_profile,
            "It has the same w, too.",
            lambda c: other_profile(c, shares_too=True),
        ),
        generate_voters,
    ),
    Claim(
        "ppa/section-J-regions",
        "Appendix J",
        Statement(
            "In a space of enough dimensions, M - 1 = 3, the M(M-1)/2 bisectors make M! regions, one for each ranking.",
            lambda c: rankings_without_voters(c, 3),
            "In the plane, too.",
            lambda c: rankings_without_voters(c, 2),
        ),
        generate_voters,
        most=8,
        compiled=False,
    ),
)
