"""Definition 5.2 and Theorem 5.1 of Zheng et al.: the utility of nearest neighbours, the four cases, the base case.

Each statement is held against the subset form (9), all coalitions written out, on all instances of up to five
neighbours and on random ones of six. Two utilities are told apart: (12), divided by K' = min(K, |S|), of which the
theorem speaks, and the same sum divided by K, for which its proof reckons (`-by-k`).
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads import binomials, neighbour_proof, neighbour_text, neighbour_values
from jaxval.theorems.ads._neighbour_games import (
    CURRENT,
    EARLIER,
    NEARER,
    SETS,
    SIZES,
    Division,
    Group,
    N,
    Neighbours,
    all_neighbours,
    base_of_fraction,
    base_printed,
    cases,
    differences,
    generate,
    group_of,
    group_values,
    places,
    spread,
    table,
)

__all__ = ["CLAIMS"]


def seen(instance: Neighbours) -> Group:
    """The group that is looked at."""
    return group_of(instance.right, instance.role == EARLIER, instance.role == CURRENT)


def values(instance: Neighbours, divide: Division) -> Array:
    """ADS by (9) of the group's instances."""
    v = table(instance.right, instance.neighbours, divide)
    return group_values(v, instance.role == EARLIER, instance.role == CURRENT)


# Definition 5.2


def fraction(instance: Neighbours, *, of: str) -> Array:
    """How far (12), its first K' neighbours taken one by one, is from the share of right labels, and from [0, 1]."""
    K = instance.neighbours
    size = jnp.minimum(K, SIZES)
    total = jnp.zeros(len(SETS))
    for i in range(N):  # the (i+1)-th nearest of every set
        total = total + jnp.where(i < size, jnp.sum(SETS & (i == NEARER) & (instance.right[None, :] > 0), axis=1), 0)
    share = table(instance.right, K, "size")
    if of == "every set":
        value = total / size
    elif of == "no neighbours 0":
        value = jnp.where(size > 0, total / jnp.maximum(size, 1), 0)
    else:
        value = total / K
    return jnp.maximum(largest(value - share), largest(jnp.clip(value, 0, 1) - value))


def most_needed(instance: Neighbours, *, of: str, less: int = 0) -> Array:
    """By how much K' = min(K, m(S)) exceeds the largest i for which the index of a neighbour is defined."""
    allowed = jnp.sum(instance.role == CURRENT) if of == "group" else SIZES
    return jnp.max(jnp.minimum(instance.neighbours, SIZES) - jnp.maximum(allowed - less, 0)).astype(float)


# Theorem 5.1


def case_gap(
    number: int | None, divide: Division, *, spreads: float = 0.0, twist: Callable[[Group, Array], Array] | None = None
) -> Callable[[Neighbours], Array]:
    """How far φ_i - φ_{i+1} is from what the case says, over all i it applies to; all four cases where None.

    `spreads` adds so much of R (a_i - a_{i+1}); `twist` replaces what the case says.
    """

    def gap(instance: Neighbours) -> Array:
        g, K = seen(instance), instance.neighbours
        which, printed = cases(g, K)
        rows = slice(None) if number is None else slice(number - 1, number)
        said = jnp.sum(jnp.where(which[rows], printed[rows], 0), axis=0) if twist is None else twist(g, K)
        said = said + spreads * spread(g, K) * (g.a[:-1] - g.a[1:])
        found = differences(g, values(instance, divide))
        return largest(jnp.where(jnp.any(which[rows], axis=0), found - said, 0))

    return gap


def change(g: Group) -> Array:
    return g.a[:-1] - g.a[1:]


def wide_case_one(instance: Neighbours) -> Array:
    """|φ_i - φ_{i+1}| where K ≤ c_{t,i} + 1."""
    g = seen(instance)
    found = differences(g, values(instance, "size"))
    return largest(jnp.where(g.c[:-1] + 1 >= instance.neighbours, found, 0))


def at_next_rank(g: Group, K: Array) -> Array:
    """Case 2 with min{K - c, i + 1} / (i + 1)."""
    i = np.arange(1, N)
    return change(g) / K * jnp.minimum(K - g.c[:-1], i + 1) / (i + 1)


def without_displaced(g: Group, K: Array) -> Array:
    """Case 3 without its double sum."""
    i = np.arange(1, N)
    return change(g) / K * jnp.minimum(K - g.c[1:], i) / i


def without_double_sums(g: Group, K: Array) -> Array:
    """The first terms of cases 2 and 3 alone."""
    return jnp.where(g.c[1:] < K, without_displaced(g, K), 0)


def one_displaced_less(g: Group, K: Array) -> Array:
    """Case 4 with K - 1 for K in the bound of u, and over K still."""
    _, printed = cases(g, K - 1)
    return printed[3] * (K - 1) / K


def base_gap(number: int | None, divide: Division, said: Callable[[Group, Array], Array]) -> Callable:
    """How far the farthest's value is from what the base case says; one of its three cases, or all where None."""

    def gap(instance: Neighbours) -> Array:
        g, K = seen(instance), instance.neighbours
        c = g.c[g.m - 1]
        which = {1: c >= K, 2: (c < K) & (g.p == c), 3: (c < K) & (g.p > c), None: jnp.asarray(True)}[number]
        return jnp.where(which, largest(values(instance, divide)[g.place[g.m - 1]] - said(g, K)), 0)

    return gap


def base_in_group(g: Group, K: Array) -> Array:
    """The base case with min(K - c, m) for K - c."""
    return base_printed(g, K, g.m)


def base_one_member_less(g: Group, K: Array) -> Array:
    """The base case with min(K - c, m - 1) for K - c."""
    return base_printed(g, K, g.m - 1)


def wide_base_one(instance: Neighbours) -> Array:
    """|φ(q_max)| where K ≤ c_max + 1."""
    g = seen(instance)
    found = values(instance, "size")[g.place[g.m - 1]]
    return jnp.where(g.c[g.m - 1] + 1 >= instance.neighbours, jnp.abs(found), 0)


def absent_neighbours(instance: Neighbours, *, bound: str) -> Array:
    """By how much K - s passes m(P_t) in base case (iii), s = 0, ...: then there is no such neighbour."""
    g, K = seen(instance), instance.neighbours
    c = g.c[g.m - 1]
    used = (g.p > c) & (c < K)
    s = {"every s": 0 * K, "s from K - p": jnp.maximum(K - g.p, 0), "s from K - p - 1": jnp.maximum(K - g.p - 1, 0)}
    return jnp.where(used & (s[bound] < K - c), K - s[bound] - g.p, 0).astype(float)


WITH_R = "R = 1/(m-1) Σ_{s=0}^{min(m-2, K-p-2)} [1/(p+s+1) - 1/K] with p = m(P_t), m = m(C_t)"
CASE = {
    1: "If K ≤ c_i: φ_i - φ_{i+1} = 0.",
    2: "If K > c_{i+1} = c_i = c: φ_i - φ_{i+1} = (a_i - a_{i+1})/K · min{K - c, i}/i.",
    3: (
        "If K > c_{i+1} > c_i: φ_i - φ_{i+1} = (a_i - a_{i+1})/K · min{K - c_{i+1}, i}/i"
        " + 1/(m-1) Σ_{s=K-c_{i+1}}^{m-2} Σ_{u=K-c_{i+1}}^{min{K-c_i-1, s}} C(s,u) C(m-2-s,i-1-u)/C(m-2,i-1)"
        " (a_i - b_{K-u})/K."
    ),
    4: (
        "If c_i < K ≤ c_{i+1}: φ_i - φ_{i+1}"
        " = 1/(m-1) Σ_{s=0}^{m-2} Σ_{u=0}^{min{K-c_i-1, s}} C(s,u) C(m-2-s,i-1-u)/C(m-2,i-1) (a_i - b_{K-u})/K."
    ),
}  # fmt: skip
BASE = {
    1: "If K ≤ c_max: φ(q_max) = 0.",
    2: "If K > c_max = m(P_t): φ(q_max) = (K - c_max)/(K m) a_m.",
    3: "If K > c_max, m(P_t) > c_max: φ(q_max) = (K - c_max)/(K m) a_m - 1/(K m) Σ_{s=0}^{K-c_max-1} b_{K-s}.",
}


def for_k(words: str) -> str:
    return f"For the utility divided by K, not by K'. {words}"


def theorem_claim(number: int, twist: Callable[[Group, Array], Array], twisted: str, example: str, why: str) -> Claim:
    """A case for (12), with what that adds."""
    return Claim(
        f"ads/theorem-5.1-case-{number}",
        f"Theorem 5.1, item {number}, for (12)",
        Statement(CASE[number], case_gap(number, "size"), twisted, case_gap(number, "size", twist=twist)),
        generate,
        verdict="holds as corrected",
        why=why,
        corrected=Statement(
            f"So it is with R (a_i - a_{{i+1}}) added, {WITH_R}; R = 0 once K - 1 instances came before.",
            case_gap(number, "size", spreads=1.0),
            "With 0.95 R (a_i - a_{i+1}) added.",
            case_gap(number, "size", spreads=0.95),
        ),
        counterexample=lambda: places(example, neighbours=2 if number == 2 else 3),
        exhaustive=all_neighbours,
    )


def theorem_claim_by_k(number: int, twist: Callable[[Group, Array], Array], twisted: str) -> Claim:
    """The same for division by K, for which it holds."""
    return Claim(
        f"ads/theorem-5.1-case-{number}-by-k",
        f"Theorem 5.1, item {number}, read for the proof's utility",
        Statement(
            for_k(CASE[number]),
            case_gap(number, "neighbours"),
            twisted,
            case_gap(number, "neighbours", twist=twist),
        ),
        generate,
        exhaustive=all_neighbours,
    )


def base_claim(number: int, example: str, K: int, wrong: str) -> Claim:
    """A case of the base case for (12)."""
    return Claim(
        f"ads/base-case-{number}",
        f"Appendix B.6, base case ({'i' * number}), for (12)",
        Statement(
            BASE[number],
            base_gap(number, "size", base_printed),
            "With min(K - c_max, m) for K - c_max.",
            base_gap(number, "size", base_in_group),
        ),
        generate,
        verdict="holds as corrected",
        why=f"It counts K - c_max sizes of coalitions, of which there are m, and divides by K. K = {K}, {wrong}",
        corrected=Statement(
            "φ(q_max) = 1/m Σ_{s=0}^{m-1} x_s, x_s = (a_m - b_{K-s})/K where p + s ≥ K > c_max + s, and "
            "x_s = [a_m - (h + s ā)/(p+s)]/(p+s+1) where p + s < K: h right labels in P_t, a share ā of right "
            "ones among the others of the group.",
            base_gap(number, "size", base_of_fraction),
            "For the utility divided by K.",
            base_gap(number, "neighbours", base_of_fraction),
        ),
        counterexample=lambda: places(example, neighbours=K),
        exhaustive=all_neighbours,
    )


def base_claim_by_k(number: int, example: str, wrong: str) -> Claim:
    """The same for division by K."""
    return Claim(
        f"ads/base-case-{number}-by-k",
        f"Appendix B.6, base case ({'i' * number}), read for the proof's utility",
        Statement(
            for_k(BASE[number]),
            base_gap(number, "neighbours", base_printed),
            "With min(K - c_max, m - 1) for K - c_max.",
            base_gap(number, "neighbours", base_one_member_less),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "It counts coalitions of K - c_max sizes beside q_max, but a group of m has only the sizes 0, ..., m-1. "
            + wrong
        ),
        corrected=Statement(
            "So it is with min(K - c_max, m) for K - c_max.",
            base_gap(number, "neighbours", base_in_group),
            "With min(K - c_max, m - 1).",
            base_gap(number, "neighbours", base_one_member_less),
        ),
        counterexample=lambda: places(example, neighbours=2),
        exhaustive=all_neighbours,
    )


DEFINITION = (
    Claim(
        "ads/definition-5.2",
        "Definition 5.2, equation (12)",
        Statement(
            "For any S ⊆ D: v(S) = 1/K' Σ_{i=1}^{K'} 1[y_i = y], K' = min{K, m(S)}, is the fraction of right labels "
            "among the K' nearest, between 0 and 1.",
            lambda c: fraction(c, of="every set"),
            "For any S: v(S) = 1/K Σ_{i=1}^{K'} 1[y_i = y] is that fraction.",
            lambda c: fraction(c, of="over K"),
        ),
        generate,
        verdict="holds as corrected",
        why="At S = ∅ it is 0/0: K' = 0. The values of the first group need v(∅).",
        corrected=Statement(
            "So it is with v(∅) = 0.",
            lambda c: fraction(c, of="no neighbours 0"),
            "So it is with v(∅) = 0 and K for K'.",
            lambda c: fraction(c, of="over K"),
        ),
        counterexample=lambda: places("C", neighbours=1),
        covers=("ads/equation-12",),
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/neighbour-index",
        "Definition 5.2: for i = 1, ..., m(C_t), let I^i(x; Ins(S)) be ...",
        Statement(
            "Neighbours i = 1, ..., m(C_t) of a set S are all that (12) asks for: K' = min{K, m(S)} ≤ m(C_t).",
            lambda c: most_needed(c, of="group"),
            "i = 1, ..., m(C_t) - 1 are.",
            lambda c: most_needed(c, of="group", less=1),
        ),
        generate,
        verdict="holds as corrected",
        why="With one instance in an earlier group, one in the group and K = 2, (12) needs two neighbours; m(C_t) = 1.",
        corrected=Statement(
            "i = 1, ..., m(S) are.",
            lambda c: most_needed(c, of="set"),
            "i = 1, ..., m(S) - 1 are.",
            lambda c: most_needed(c, of="set", less=1),
        ),
        counterexample=lambda: places("PC", neighbours=2),
        exhaustive=all_neighbours,
    ),
)

THEOREM = (
    Claim(
        "ads/theorem-5.1-case-1",
        "Theorem 5.1, item 1, for (12)",
        Statement(
            CASE[1],
            lambda c: jnp.maximum(case_gap(1, "size")(c), case_gap(1, "neighbours")(c)),
            "If K ≤ c_i + 1: φ_i - φ_{i+1} = 0.",
            wide_case_one,
        ),
        generate,
        exhaustive=all_neighbours,
    ),
    theorem_claim(
        2,
        at_next_rank,
        "min{K - c, i + 1}/(i + 1) for min{K - c, i}/i.",
        "Cc",
        "While fewer than K instances are present, (12) divides by fewer than K. K = 2, one group, a right label "
        "before a wrong one: the values are 3/4 and -1/4, their difference is 1, printed 1/2.",
    ),
    theorem_claim_by_k(2, at_next_rank, "min{K - c, i + 1}/(i + 1) for min{K - c, i}/i."),
    theorem_claim(
        3,
        without_displaced,
        "It is the first term alone.",
        "Cpc",
        "While fewer than K instances are present, (12) divides by fewer than K. K = 3, a right label, a wrong one of "
        "an earlier group, a wrong one: the values are 5/12 and -1/12, their difference is 1/2, printed 1/3.",
    ),
    theorem_claim_by_k(3, without_displaced, "It is the first term alone."),
    Claim(
        "ads/theorem-5.1-case-4",
        "Theorem 5.1, item 4, for (12)",
        Statement(
            CASE[4],
            lambda c: jnp.maximum(case_gap(4, "size")(c), case_gap(4, "neighbours")(c)),
            "With u up to min{K - c_i - 2, s}, and b_{K-1-u}.",
            case_gap(4, "size", twist=one_displaced_less),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/theorem-5.1",
        "Theorem 5.1, items 1 to 4, for (12)",
        Statement(
            " ".join(CASE.values()),
            case_gap(None, "size"),
            "Without the double sums of items 3 and 4.",
            case_gap(None, "size", twist=without_double_sums),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "The proof replaces a K-th neighbour, which a coalition of fewer than K instances does not have, and "
            "divides by K where (12) divides by their number. K = 2, a right label before a wrong one: 3/4 + 1/4, "
            "printed 1/2."
        ),
        corrected=Statement(
            f"So it is with R (a_i - a_{{i+1}}) added in cases 2 and 3, {WITH_R}; and as printed for division by K.",
            lambda c: jnp.maximum(case_gap(None, "size", spreads=1.0)(c), case_gap(None, "neighbours")(c)),
            "With 0.95 R (a_i - a_{i+1}) added.",
            case_gap(None, "size", spreads=0.95),
        ),
        counterexample=lambda: places("Cc", neighbours=2),
        exhaustive=all_neighbours,
    ),
)

BASE_CASE = (
    Claim(
        "ads/base-case-1",
        "Appendix B.6, base case (i)",
        Statement(
            BASE[1],
            lambda c: jnp.maximum(base_gap(1, "size", base_printed)(c), base_gap(1, "neighbours", base_printed)(c)),
            "If K ≤ c_max + 1: φ(q_max) = 0.",
            wide_base_one,
        ),
        generate,
        exhaustive=all_neighbours,
    ),
    base_claim(
        2, "cC", 3, "a wrong label before a right one: (12) gives the right one 3/4, division by K 1/3; printed 1/2."
    ),
    base_claim_by_k(2, "C", "One right instance, K = 2: it is worth v = 1/2, printed (2-0)/(2·1) = 1."),
    base_claim(3, "Cp", 2, "a right label before a wrong one of an earlier group: it adds 1/2 to either, printed 1."),
    base_claim_by_k(3, "Cpp", "K = 2, a right label before two wrong ones of an earlier group: 1/2, printed 1."),
    Claim(
        "ads/base-case-neighbours",
        "Appendix B.6, base case (iii): y of I^{K-s}(x; P_t), s = 0, ..., K - c_max - 1",
        Statement(
            "The earlier groups have all neighbours K - s that are summed over: K - s ≤ m(P_t).",
            lambda c: absent_neighbours(c, bound="every s"),
            "They have one more than that.",
            lambda c: absent_neighbours(c, bound="every s") + 1,
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "A group with fewer than K instances before it displaces nobody at first: with one earlier instance behind "
            "it and K = 2, the sum asks for the second of one. The other claims take such a label as wrong, which is "
            "right for division by K."
        ),
        corrected=Statement(
            "They have those from s = K - m(P_t) on.",
            lambda c: absent_neighbours(c, bound="s from K - p"),
            "They have those from s = K - m(P_t) - 1 on.",
            lambda c: absent_neighbours(c, bound="s from K - p - 1"),
        ),
        counterexample=lambda: places("Cp", neighbours=2),
        exhaustive=all_neighbours,
    ),
)

CLAIMS = (
    *DEFINITION,
    *THEOREM,
    *BASE_CASE,
    *neighbour_proof.CLAIMS,
    *binomials.CLAIMS,
    *neighbour_values.CLAIMS,
    *neighbour_text.CLAIMS,
)
