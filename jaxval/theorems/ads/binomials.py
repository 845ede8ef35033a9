"""Identities between binomial coefficients in Appendix B.6 of Zheng et al., (19) among them, in whole numbers."""

import math
from fractions import Fraction
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from jaxval.theorems._old import Claim, Statement
from jaxval.theorems.ads._neighbour_games import below

__all__ = ["CLAIMS"]


class Binomials(NamedTuple):
    """A = i - 1 and M = m - i - 1, so that A + M = m - 2.

    Attributes:
        A: nearer members.
        M: farther ones.
        s: in 0..A+M.
        u: in 0..s.
        r: in 0..A.
        k: in 0..A+M+2.
    """

    A: Int[Array, ""]
    M: Int[Array, ""]
    s: Int[Array, ""]
    u: Int[Array, ""]
    r: Int[Array, ""]
    k: Int[Array, ""]


def generate_binomials(key: Key[Array, ""]) -> Binomials:
    """A, M up to 12, either of them 0 in a tenth of cases."""
    draws = jax.random.uniform(key, (8,))
    A, M = jnp.where(draws[:2] < 0.1, 0, below(draws[2:4], 13))
    s = below(draws[4], A + M + 1)
    return Binomials(A, M, s, below(draws[5], s + 1), below(draws[6], A + 1), below(draws[7], A + M + 3))


def all_binomials() -> Binomials:
    """A, M up to 4, all s, u; r and k run along with them."""
    rows = [
        (A, M, s, u, u % (A + 1), (s + A * u) % (A + M + 3))
        for A, M in product(range(5), repeat=2)
        for s in range(A + M + 1)
        for u in range(s + 1)
    ]
    return Binomials(*(jnp.array(column) for column in zip(*rows, strict=True)))


def whole(case: Binomials) -> tuple[int, ...]:
    return tuple(int(number) for number in case)


def inverse(n: int, k: int) -> Fraction | float:
    """C(n, k)^{-1}, infinite where C(n, k) = 0."""
    count = math.comb(n, k) if 0 <= k <= n else 0
    return Fraction(1, count) if count else math.inf


def hypergeometric_average(case: Binomials, *, swapped: bool) -> float:
    """(19): 1/(A+M+1) Σ_r C(A,s) C(M,r) C(A+M,s+r)^{-1} = 1/(A+1)."""
    A, M, _, _, s, _ = whole(case)
    total = sum(Fraction(math.comb(A, s) * math.comb(M, r), math.comb(A + M, s + r)) for r in range(M + 1))
    return abs(float(total / (A + M + 1) - Fraction(1, (M if swapped else A) + 1)))


def beta_integral(case: Binomials, *, over: str) -> float:
    """C(N,k)^{-1} = k!(N-k)!/N! = (N+1) ∫ x^k (1-x)^{N-k} dx, term by term, and the integral after (19)."""
    A, M, s, _, _, k = whole(case)
    n = A + M
    k = {"any k": k, "k up to N": s, "N for N+1": s}[over]
    if k > n:
        return math.inf
    integral = sum(Fraction((-1) ** j * math.comb(n - k, j), k + j + 1) for j in range(n - k + 1))
    return abs(float(inverse(n, k) - (n + (over != "N for N+1")) * integral))


def neighbouring_inverses(case: Binomials, *, shift: int) -> float:
    """1/C(m,s) + 1/C(m,s+1) = (m+1)/m · 1/C(m-1,s), with m = A + M + 1."""
    A, M, s, _, _, _ = whole(case)
    m = A + M + 1
    both = inverse(m, s) + inverse(m, s + 1)
    return abs(float(both - Fraction(m + 1, m + shift) * inverse(m - 1, s)))


def exchanged(case: Binomials, *, k: str) -> float:
    """C(A,u) C(M,s-u) C(A+M,k)^{-1} = C(s,u) C(A+M-s,A-u) / C(A+M,A)."""
    A, M, s, u, _, other = whole(case)
    size = {"free": min(other, A + M), "s": s, "u": u}[k]

    def count(n: int, j: int) -> int:
        return math.comb(n, j) if 0 <= j <= n else 0

    left = Fraction(count(A, u) * count(M, s - u), count(A + M, size))
    return abs(float(left - Fraction(count(s, u) * count(A + M - s, A - u), count(A + M, A))))


def counts(case: Binomials, *, shift: int) -> float:
    """How many S have s members, u of them among the A nearer: by listing; and Σ_{s=0}^{min{x-1,A}} 1 = min{x,A+1}."""
    A, M, s, u, r, k = whole(case)
    A, M = min(A, 5), min(M, 5)
    codes = np.arange(2 ** (A + M))
    nearer = sum((codes >> j & 1 for j in range(A)), np.zeros_like(codes))
    farther = sum((codes >> j & 1 for j in range(A, A + M)), np.zeros_like(codes))
    listed = int(np.sum((nearer == u) & (farther == s - u)))
    said = math.comb(A, u) * math.comb(M, s - u) if s >= u else 0
    ones = sum(1 for _ in range(min(k, r) + 1)) - min(k + 1, r + 1 + shift)
    return float(abs(listed - said) + abs(ones))


def layers(case: Binomials, *, sizes: str) -> float:
    """Σ over S ⊆ C - q_max with m(S) = s of C(m-1, s)^{-1}, by listing, against 1; m - 1 = A."""
    A, _, _, _, r, k = whole(case)
    A = min(A, 7)
    s = {"all": k, "of the group": min(r, A), "one more": min(r, A) + 1}[sizes]
    listed = sum(1 for code in range(2**A) if code.bit_count() == s)
    return abs(float(listed * inverse(A, s)) - 1) if listed else 1.0


# The claims


CLAIMS = (
    Claim(
        "ads/equation-19",
        "Equation (19), in fractions",
        Statement(
            "For A, M ≥ 0, 0 ≤ s ≤ A: 1/(A+M+1) Σ_{r=0}^{M} C(A,s) C(M,r) C(A+M,s+r)^{-1} = 1/(A+1).",
            lambda c: hypergeometric_average(c, swapped=False),
            "It is 1/(M+1).",
            lambda c: hypergeometric_average(c, swapped=True),
        ),
        generate_binomials,
        tolerance=0.0,
        most=2_000,
        exhaustive=all_binomials,
        compiled=False,
    ),
    Claim(
        "ads/beta-integral",
        "Appendix B.6, proof of (19)",
        Statement(
            "For any integers N, k ≥ 0: C(N,k)^{-1} = k!(N-k)!/N! = (N+1) ∫_0^1 x^k (1-x)^{N-k} dx.",
            lambda c: beta_integral(c, over="any k"),
            "With N for N+1.",
            lambda c: beta_integral(c, over="N for N+1"),
        ),
        generate_binomials,
        verdict="holds as corrected",
        why="k ≤ N is left out: at N = 0, k = 1 it is 1/0 and the integral diverges. The proof has k = s + r ≤ N.",
        corrected=Statement(
            "For 0 ≤ k ≤ N.",
            lambda c: beta_integral(c, over="k up to N"),
            "With N for N+1.",
            lambda c: beta_integral(c, over="N for N+1"),
        ),
        counterexample=lambda: Binomials(*jnp.array([0, 0, 0, 0, 0, 1])),
        tolerance=0.0,
        most=2_000,
        exhaustive=all_binomials,
        compiled=False,
    ),
    Claim(
        "ads/neighbouring-binomials",
        "Appendix B.6, proof of Lemma B.1",
        Statement(
            "1/C(M,s) + 1/C(M,s+1) = (M+1)/M · 1/C(M-1,s), 0 ≤ s < M.",
            lambda c: neighbouring_inverses(c, shift=0),
            "It is 1/C(M-1,s).",
            lambda c: neighbouring_inverses(c, shift=1),
        ),
        generate_binomials,
        tolerance=0.0,
        most=2_000,
        exhaustive=all_binomials,
        compiled=False,
    ),
    Claim(
        "ads/exchanged-binomials",
        "Appendix B.6, cases 3 and 4",
        Statement(
            "C(i-1,u) C(m-i-1,s-u) C(m-2,k)^{-1} = C(s,u) C(m-2-s,i-1-u)/C(m-2,i-1), under sums over s and u.",
            lambda c: exchanged(c, k="free"),
            "With k = u.",
            lambda c: exchanged(c, k="u"),
        ),
        generate_binomials,
        verdict="holds as corrected",
        why=(
            "k is left over from the display before, where it is m(S); below it is s that is summed. i = 1, m = 4, "
            "s = u = 0 and k = 1: 1/2 on the left, 1 on the right."
        ),
        corrected=Statement(
            "With k = s: so it stands under case 4.",
            lambda c: exchanged(c, k="s"),
            "With k = u.",
            lambda c: exchanged(c, k="u"),
        ),
        counterexample=lambda: Binomials(*jnp.array([0, 2, 0, 0, 0, 1])),
        tolerance=0.0,
        most=2_000,
        exhaustive=all_binomials,
        compiled=False,
    ),
    Claim(
        "ads/counts-of-coalitions",
        "Appendix B.6, cases 2 to 4",
        Statement(
            "C(i-1,u) C(m-i-1,s-u) sets S ⊆ C-{q_i,q_{i+1}} have s members, u of them nearer; and "
            "Σ_{s=0}^{min{K-c-1,i-1}} 1 = min{K-c,i}.",
            lambda c: counts(c, shift=0),
            "The sum is min{K-c,i+1}.",
            lambda c: counts(c, shift=1),
        ),
        generate_binomials,
        tolerance=0.0,
        most=1_000,
        exhaustive=all_binomials,
        compiled=False,
    ),
    Claim(
        "ads/layers-of-coalitions",
        "Appendix B.6, base case (ii)",
        Statement(
            "For each s = 0, ..., K - c_max - 1: Σ over S ⊆ C - q_max with m(S) = s of C(m-1,s)^{-1} is 1.",
            lambda c: layers(c, sizes="all"),
            "So it is for s = 0, ..., m.",
            lambda c: layers(c, sizes="one more"),
        ),
        generate_binomials,
        verdict="holds as corrected",
        why=(
            "From s = m on there is no such S, and the sum is 0: with m = 1, K = 2, c_max = 0 the second of two layers "
            "is empty. Here the base case goes wrong for groups smaller than K - c_max."
        ),
        corrected=Statement(
            "For each s = 0, ..., m - 1.",
            lambda c: layers(c, sizes="of the group"),
            "For each s = 0, ..., m.",
            lambda c: layers(c, sizes="one more"),
        ),
        counterexample=lambda: Binomials(*jnp.array([0, 0, 0, 0, 0, 1])),
        tolerance=0.0,
        most=1_000,
        exhaustive=all_binomials,
        compiled=False,
    ),
)
