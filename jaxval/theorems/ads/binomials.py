"""Identities between binomial coefficients in Appendix B.6 of Zheng et al., (19) among them.

An instance is a group without two neighbours next to each other, which has A = i - 1 nearer and M = m - i - 1 farther
members, so that A + M = m - 2. A claim is about all s, u, r and k at once. All binomial coefficients and their products
are whole numbers below 2^53, which float64 holds exactly.
"""

import math
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems.records import Setting

MOST, LISTED = 9, 5
SMALL = np.arange(2 * MOST + 2)  # every s, u, r and k
CHOOSE = np.array([[math.comb(n, k) for k in SMALL] for n in SMALL], dtype=float)
INVERSE = 1 / np.where(CHOOSE > 0, CHOOSE, np.inf)
SETS = np.arange(2 ** (2 * LISTED))


class Members(NamedTuple):
    """How many members of a group are nearer than two neighbours, and how many are farther."""

    A: Int[Array, ""]
    M: Int[Array, ""]


def members(key: Key[Array, ""]) -> Members:
    """Numbers that are among the finite cases, which are all checked."""
    return Members(*jax.random.randint(key, (2,), 0, MOST + 1))


binomials = Setting(
    members,
    "A, M ≤ 9 with all s, u, r and k",
    exhaustive=lambda: Members(*np.array(list(product(range(MOST + 1), repeat=2))).T),
    every="all A, M ≤ 9",
    most=1,
)


def choose(n: Array | np.ndarray, k: Array | np.ndarray, table: np.ndarray = CHOOSE) -> Float[Array, "..."]:
    """C(n, k), or its inverse in the table of inverses; 0 unless 0 ≤ k ≤ n."""
    return jnp.where((k >= 0) & (k <= n), jnp.asarray(table)[n, k], 0.0)


def integrals() -> np.ndarray:
    """(N, k) ∫_0^1 x^k (1-x)^{N-k} dx by a Gauss rule that is exact for these degrees; it diverges if k > N."""
    x, weights = np.polynomial.legendre.leggauss(MOST + 2)
    x, weights = (1 + x) / 2, weights / 2
    return np.array([[weights @ (x**k * (1 - x) ** (n - k)) if k <= n else np.inf for k in SMALL] for n in SMALL])


@binomials.claim(
    "ads/equation-19",
    "Equation (19)",
    false="For A, M ≥ 0, 0 ≤ s ≤ A: 1/(A+M+1) Σ_{r=0}^{M} C(A,s) C(M,r) C(A+M,s+r)^{-1} = 1/(M+1).",
    neighbour={"farther": True},
    proof="the Beta integrals add up to C(A,s) ∫ x^s (1-x)^{A-s} dx = 1/(A+1)",
)
def equation_19(c: Members, farther: bool = False) -> tuple[Array, Array]:
    """For A, M ≥ 0 and 0 ≤ s ≤ A: 1/(A+M+1) Σ_{r=0}^{M} C(A,s) C(M,r) C(A+M,s+r)^{-1} = 1/(A+1)."""
    s, r = SMALL[:, None], SMALL[None, :]
    total = jnp.sum(choose(c.A, s) * choose(c.M, r) * choose(c.A + c.M, s + r, INVERSE), axis=1)
    return total / (c.A + c.M + 1), jnp.where(SMALL <= c.A, 1 / ((c.M if farther else c.A) + 1), 0.0)


@binomials.claim(
    "ads/beta-integral",
    "Appendix B.6, proof of (19)",
    fails="convention",
    quote="For any integers N,k≥0, C(N,k)^{-1} = k!(N-k)!/N! = (N+1) ∫_0^1 x^k (1-x)^{N-k} dx.",
    why="If N = 0 and k = 1, the left side is 1/0 and the integral diverges. The proof has k = s + r ≤ N.",
    counterexample=lambda: Members(jnp.asarray(0), jnp.asarray(0)),
    corrected="For 0 ≤ k ≤ N: C(N,k)^{-1} = k!(N-k)!/N! = (N+1) ∫_0^1 x^k (1-x)^{N-k} dx.",
    correction={"most": 0},
    false="For 0 ≤ k ≤ N: C(N,k)^{-1} = N ∫_0^1 x^k (1-x)^{N-k} dx.",
    neighbour={"most": 0, "added": 0},
    proof="of the corrected version: k integrations by parts",
)
def beta_integral(c: Members, most: int = 1, added: int = 1) -> tuple[Array, Array]:
    """For any integers N, k ≥ 0: C(N,k)^{-1} = k!(N-k)!/N! = (N+1) ∫_0^1 x^k (1-x)^{N-k} dx."""
    n = c.A + c.M
    stated = n + most >= SMALL
    count, integral = choose(n, SMALL), jnp.asarray(integrals())[n]
    return jnp.where(stated, 1 / count, 0.0), jnp.where(stated, (n + added) * integral, 0.0)


@binomials.claim(
    "ads/neighbouring-binomials",
    "Appendix B.6, proof of Lemma B.1",
    false="1/C(M,s) + 1/C(M,s+1) = 1/C(M-1,s) for 0 ≤ s < M.",
    neighbour={"added": 0},
    proof="s!(M-s)!/M! + (s+1)!(M-s-1)!/M! = s!(M-s-1)! (M+1)/M!",
)
def neighbouring_binomials(c: Members, added: int = 1) -> tuple[Array, Array]:
    """1/C(M,s) + 1/C(M,s+1) = (M+1)/M · 1/C(M-1,s) for 0 ≤ s < M."""
    m, s = c.A + c.M + 1, SMALL
    left = jnp.where(s < m, choose(m, s, INVERSE) + choose(m, s + 1, INVERSE), 0.0)
    return left, (m + added) / m * choose(m - 1, s, INVERSE)


@binomials.claim(
    "ads/exchanged-binomials",
    "Appendix B.6, cases 3 and 4",
    fails="slip",
    quote="C(i-1,u) C(m(C_t)-i-1,s-u) C(m(C_t)-2,k)^{-1} = C(s,u) C(m(C_t)-2-s,i-1-u) / C(m(C_t)-2,i-1)",
    why="In case 3 the index k is left over from an earlier display, where it is m(S); the sum below runs over s. With "
    "i = 1, m = 4, s = u = 0 and k = 1 the left side is 1/2 and the right side 1. Case 4 prints s, and the final "
    "formula is right.",
    counterexample=lambda: Members(jnp.asarray(0), jnp.asarray(2)),
    corrected="C(i-1,u) C(m-i-1,s-u) C(m-2,s)^{-1} = C(s,u) C(m-2-s,i-1-u) / C(m-2,i-1) for 0 ≤ u ≤ s ≤ m - 2.",
    correction={"size": lambda s, k: s},
    proof="of the corrected version: both sides are the chance that u of s members, drawn from m - 2, are among i - 1",
)
def exchanged_binomials(c: Members, size: Callable = lambda s, k: k) -> tuple[Array, Array]:
    """C(i-1,u) C(m-i-1,s-u) C(m-2,k)^{-1} = C(s,u) C(m-2-s,i-1-u) / C(m-2,i-1), under sums over s and u."""
    n = c.A + c.M
    s, u, k = SMALL[:, None, None], SMALL[None, :, None], SMALL[None, None, :]
    inside = (u <= s) & (s <= n) & (k <= n)
    left = choose(c.A, u) * choose(c.M, s - u) * choose(n, size(s, k), INVERSE)
    right = choose(s, u) * choose(n - s, c.A - u) * choose(n, c.A, INVERSE)
    return jnp.where(inside, left, 0.0), jnp.where(inside, right, 0.0)


@binomials.claim(
    "ads/counts-of-coalitions",
    "Appendix B.6, cases 2 to 4",
    false="Σ_{s=0}^{min{K-c-1,i-1}} 1 = min{K-c,i+1}.",
    neighbour={"added": 1},
    proof="u members are chosen among the nearer ones and s - u among the farther ones",
)
def counts_of_coalitions(c: Members, added: int = 0) -> dict[str, tuple]:
    """C(i-1,u) C(m-i-1,s-u) sets S ⊆ C-{q_i,q_{i+1}} have s members, u of them nearer, by listing.

    There are at most five nearer and five farther ones. And Σ_{s=0}^{min{K-c-1,i-1}} 1 = min{K-c,i}.
    """
    A, M = jnp.minimum(c.A, LISTED), jnp.minimum(c.M, LISTED)
    nearer = jax.lax.population_count(jnp.asarray(SETS) & (1 << A) - 1)
    listed = jnp.zeros((len(SMALL), len(SMALL))).at[np.bitwise_count(SETS), nearer].add(SETS < 1 << A + M)
    places = 1 + SMALL  # K - c
    ones = jnp.sum(SMALL[None, :] <= jnp.minimum(places - 1, c.A)[:, None], axis=1)
    return {
        "sets": (listed, choose(A, SMALL[None, :]) * choose(M, SMALL[:, None] - SMALL[None, :])),
        "sum": (ones, jnp.minimum(places, c.A + 1 + added)),
    }
