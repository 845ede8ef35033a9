"""The base case of Theorem 5.1, Appendix B.6 of Zheng et al., and the proof's displays for the utility divided by K."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.theorems.ads._neighbour_games import (
    SIZES,
    SUBSET_WEIGHTS,
    Divisor,
    Group,
    N,
    Neighbours,
    ads,
    group_of,
    knn,
    nearest,
    nearest_first,
    printed_base,
    size_base,
)
from jaxval.theorems.ads.neighbour_proof import Coalitions, coalitions, displaced, regimes, said_in_c
from jaxval.theorems.records import AtMost

__all__: list[str] = []


def printed_farthest(x: Coalitions) -> Array:
    """Δ_max(S) as printed: 0, or a_m/K, or (a_m - b_{K-m(S)})/K."""
    a, c = x.g.farthest
    displaced = jnp.where(x.g.p > c, x.g.b[jnp.clip(x.K - SIZES, 0, N + 1)], 0)
    return jnp.where(x.K - c <= SIZES, 0, (a - displaced) / x.K)


@nearest.claim(
    "ads/base-case-regimes",
    "Appendix B.6, Δ_max before (20)",
    root="ads/neighbours-displaced",
    quote="By inspecting the K nearest neighbors of x_test inside P_t ∪ S before and after adding q_max, we obtain "
    "three regimes: Δ_max(S) = 0 if m(S) ≥ K - c_max; 1[y_{q_max} = y_test]/K if m(S) < K - c_max and m(P_t) = c_max; "
    "(1[y_{q_max} = y_test] - 1[y_{I_{K-m(S)}^d(x_test; P_t)} = y_test])/K if m(S) < K - c_max and m(P_t) > c_max.",
    why="One instance with a right label alone, K = 2: it adds 1 to (12), and the second line says 1/2.",
    corrected="Under (12), if P_t ∪ S has fewer than K instances then Δ_max(S) = [a_m - v(P_t ∪ S)]/(m(P_t ∪ S) + 1), "
    "with v(∅) = 0; otherwise Δ_max(S) is as printed.",
    correction={"joins": True},
    counterexample=lambda: nearest_first("C", neighbours=2),
)
def base_case_regimes(c: Neighbours, joins: bool = False) -> tuple[Array, Array]:
    """What the farthest of the group, q_max, adds to P_t ∪ S under (12) is 0, or one label for another over K.

    With c_max earlier instances nearer than q_max, Δ_max(S) = 0 if m(S) ≥ K - c_max; otherwise it is a_m/K if
    m(P_t) = c_max, and (a_m - b_{K-m(S)})/K if m(P_t) > c_max. Here a_m is 1 if q_max has the right label, b_j the same
    for the j-th nearest of P_t.
    """
    x = coalitions(c, "K'")
    said = printed_farthest(x)
    if joins:
        said = jnp.where(x.size < x.K, (x.g.farthest[0] - x.v) / (x.size + 1), said)
    actual, alone = x.farthest
    return jnp.where(alone, actual, 0), jnp.where(alone, said, 0)


@nearest.claim(
    "ads/base-case-sizes",
    "Appendix B.6, base cases (ii) and (iii), from (20)",
    fails="root error",
    quote="Write s := m(S). Then (20) can be rewritten as φ^σ(q_max; v_knn, Ins(D)) = 1/m(C_t) Σ_{s=0}^{K-c_max-1} "
    "Σ_{S ⊆ C_t∖{q_max}, m(S)=s} C(m(C_t)-1, s)^{-1} 1[y_{q_max} = y_test]/K. ... therefore Σ_{S ⊆ C_t∖{q_max}, "
    "m(S)=s} C(m(C_t)-1, s)^{-1} = 1.",
    why="Beside q_max the group has m - 1 instances, so that only the sizes s = 0, ..., m - 1 occur. The base case "
    "counts K - c_max sizes, also if these are more than m, and then makes the farthest value too large: one instance "
    "with a right label alone, K = 2, has Δ_max(∅) = 1/2 by the proof's regimes, and the base case gives it "
    "(2-0)/(2·1) = 1. All values of the group are computed from this one.",
    corrected="With min{K - c_max, m} in place of K - c_max, the base case is the average (20) of Δ_max(S) as printed.",
    correction={"within": True},
    counterexample=lambda: nearest_first("C", neighbours=2),
)
def base_case_sizes(c: Neighbours, within: bool = False) -> tuple[Array, Array]:
    """Averaging Δ_max(S) as printed by (20) gives the base case as printed.

    That is, 1/m Σ_{S ⊆ C_t - q_max} C(m-1, m(S))^{-1} Δ_max(S) is 0 if K ≤ c_max, (K - c_max)/(K m) a_m if
    K > c_max = m(P_t), and (K - c_max)/(K m) a_m - 1/(K m) Σ_{s=0}^{K-c_max-1} b_{K-s} if K > c_max and m(P_t) > c_max.
    """
    x = coalitions(c, "K'")
    weight = jnp.asarray(SUBSET_WEIGHTS)[x.g.m, SIZES]
    return weight @ jnp.where(x.farthest[1], printed_farthest(x), 0), printed_base(x.g, x.K, within)


@nearest.claim(
    "ads/base-case",
    "Appendix B.6, base case",
    root="ads/neighbours-displaced",
    quote="Collecting the three cases, the base case value of q_max is φ^σ(q_max; v_knn, Ins(D)) = 0 if K ≤ c_max; "
    "(K-c_max)/(K m(C_t)) 1[y_{q_max} = y_test] if K > c_max, m(P_t) = c_max; (K-c_max)/(K m(C_t)) 1[y_{q_max} = "
    "y_test] - 1/(K m(C_t)) Σ_{s=0}^{K-c_max-1} 1[y_{I_{K-s}^d(x_test; P_t)} = y_test] if K > c_max, m(P_t) > c_max.",
    why="It divides by K where (12) divides by fewer, and it counts K - c_max sizes of coalitions where a group of m "
    "has m sizes. (ii), K = 3, a wrong label before a right one: the right one is worth 3/4 under (12), and 1/3 for "
    "the utility divided by K; printed 1/2. (iii), K = 2, a right label before a wrong one of an earlier group: 1/2 "
    "for either utility, printed 1.",
    corrected="φ(q_max) = 1/m Σ_{s=0}^{m-1} x_s under (12), with p = m(P_t) and m = m(C_t). If p + s < K, x_s = [a_m - "
    "(h + s ā)/(p+s)]/(p+s+1), with h right labels in P_t and a share ā of right labels among the others of the group, "
    "and (h + s ā)/(p+s) = 0 if p + s = 0. If p + s ≥ K > c_max + s, x_s = (a_m - b_{K-s})/K. Otherwise x_s = 0.",
    correction={"base": size_base},
    counterexample=lambda: nearest_first("cC", neighbours=3),
)
def base_case(c: Neighbours, base: Callable[[Group, Array], Array] = printed_base) -> dict[str, tuple]:
    """Under (12) the value of the farthest of the group, with c_max earlier instances nearer than it, is as printed.

    It is (i) 0 if K ≤ c_max; (ii) (K - c_max)/(K m) a_m if K > c_max = m(P_t); and (iii)
    (K - c_max)/(K m) a_m - 1/(K m) Σ_{s=0}^{K-c_max-1} b_{K-s} if K > c_max and m(P_t) > c_max. Here a_m is 1 if the
    farthest has the right label, and b_j the same for the j-th nearest of P_t.
    """
    g, K = group_of(c.right, c.role), c.neighbours
    actual, said = (g.member @ ads(knn(c.right, K), c.role))[g.m - 1], base(g, K)
    last = g.farthest[1]
    applies = {"(i)": last >= K, "(ii)": (last < K) & (g.p == last), "(iii)": (last < K) & (g.p > last)}
    return {name: (jnp.where(which, actual, 0), jnp.where(which, said, 0)) for name, which in applies.items()}


@nearest.claim(
    "ads/base-case-neighbours",
    "Appendix B.6, base case (iii), the range of s",
    fails="convention",
    quote="1/(K m(C_t)) Σ_{s=0}^{K-c_max-1} 1[y_{I_{K-s}^d(x_test; P_t)} = y_test], K > c_max, m(P_t) > c_max",
    why="With fewer than K earlier instances there is no K-th. K = 2, one instance of the group before the only "
    "earlier one: s = 0 asks for the second of one. The other claims take such a neighbour as one with a wrong label, "
    "which is right for the utility divided by K.",
    corrected="The earlier groups have a (K - s)-th nearest instance for s = max{K - m(P_t), 0}, ..., K - c_max - 1.",
    correction={"existing": True},
    counterexample=lambda: nearest_first("Cp", neighbours=2),
)
def base_case_neighbours(c: Neighbours, existing: bool = False) -> AtMost:
    """If m(P_t) > c_max, the earlier groups have a (K - s)-th nearest instance for s = 0, ..., K - c_max - 1."""
    g, K, s = group_of(c.right, c.role), c.neighbours, np.arange(N + 1)
    last = g.farthest[1]
    used = (g.p > last) & (s < K - last) & (s >= (K - g.p if existing else 0))
    return AtMost(jnp.where(used, K - s, 0), g.p)


@nearest.claim(
    "ads/regimes-by-k",
    "Appendix B.6, Δ⁺, (15) to (17) and Δ_max, for the utility divided by K",
    false="For (12), the display of Δ⁺, equations (15) to (17) and the three lines of Δ_max hold as printed.",
    neighbour={"divisor": "K'"},
)
def regimes_by_k(c: Neighbours, divisor: Divisor = "K") -> dict[str, tuple]:
    """For the utility that divides by K for every S, the displays of the proof hold as printed.

    These are Δ⁺_{i,P_t}(S), equations (15) to (17) and the three lines of Δ_max(S). A neighbour that is not there
    counts as one with a wrong label.
    """
    x = coalitions(c, divisor)
    A, B, _ = regimes(x)
    said = jnp.where(A, 0, jnp.where(B, x.g.change[None] / x.K, said_in_c(x)))
    last, alone = x.farthest
    return {
        "Δ⁺": (jnp.where(x.others, x.gain, 0), jnp.where(x.others, displaced(x), 0)),
        "(15) to (17)": (jnp.where(x.pairs, x.exchange, 0), jnp.where(x.pairs, said, 0)),
        "Δ_max": (jnp.where(alone, last, 0), jnp.where(alone, printed_farthest(x), 0)),
    }
