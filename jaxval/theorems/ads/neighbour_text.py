"""What the text of Zheng et al. says of KNN-ADS beside its theorem: ties, the classifier's accuracy, cost."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._neighbour_games import (
    CURRENT,
    EARLIER,
    LATER,
    NEARER,
    SETS,
    SIZES,
    N,
    Neighbours,
    all_neighbours,
    below,
    generate,
    group_of,
    group_values,
    inverse,
    neighbours_from,
    places,
    table,
)
from jaxval.theorems.ads.neighbour_values import by_definition, for_neighbours

__all__ = ["CLAIMS"]


# Ties


class Ties(NamedTuple):
    """Six instances on a few circles around the test point, and two ways to break ties.

    Attributes:
        distance: (6,) from 0 to 3.
        right: (6,) labels, 1 right.
        role: (6,) as in `Neighbours`.
        rules: (2, 6) two permutations: among instances at one distance the smaller number is nearer.
        neighbours: K.
    """

    distance: Int[Array, "instances"]
    right: Float[Array, "instances"]
    role: Int[Array, "instances"]
    rules: Int[Array, "2 instances"]
    neighbours: Int[Array, ""]


def generate_ties(key: Key[Array, ""]) -> Ties:
    """Distances of four values, so that most instances tie with others."""
    draws = jax.random.uniform(key, (5 * N + 5,))
    base = neighbours_from(draws)
    keys = draws[2 * N + 5 : 4 * N + 5].reshape(2, N)
    rules = jnp.sum(keys[:, :, None] > keys[:, None, :], axis=2)
    return Ties(below(draws[4 * N + 5 :], 4), base.right, base.role, rules, base.neighbours)


def tied_order(ties: Ties, rule: int, distance: Array) -> Array:
    """The instances by (distance, rule)."""
    key = distance * N + ties.rules[rule]
    return inverse(jnp.sum(key[:, None] < key[None, :], axis=0))


def tied_values(ties: Ties, rule: int, role: Array, right: Array, distance: Array) -> Array:
    """ADS by (9) of the instances of the group, ties broken by one of the rules."""
    order = tied_order(ties, rule, distance)
    v = table(right[order], ties.neighbours, "size")
    return group_values(v, (role == EARLIER)[order], (role == CURRENT)[order])[inverse(order)]


def rule_matters(ties: Ties, *, where: str) -> Array:
    """How far apart the values under the two rules are."""
    role, right, distance = ties.role, ties.right, ties.distance
    if where == "one label":
        right = right[distance]
    if where == "one group":
        role = role[distance]
    if where == "no distances":
        distance = 0 * distance
    return largest(tied_values(ties, 0, role, right, distance) - tied_values(ties, 1, role, right, distance))


def tied_recursion(ties: Ties, *, count: str) -> Array:
    """The recursion for division by K (its base case corrected) where c counts as said, against ADS by (9)."""
    order = tied_order(ties, 0, ties.distance)
    role, right, distance = ties.role[order], ties.right[order], ties.distance[order]
    K = ties.neighbours
    g = group_of(right, role == EARLIER, role == CURRENT)
    nearer = {
        "strictly nearer": distance[None, :] < distance[g.place][:, None],
        "before it": jnp.arange(N)[None, :] < g.place[:, None],
        "not farther": distance[None, :] <= distance[g.place][:, None],
    }[count]
    g = g._replace(c=jnp.sum(nearer & (role == EARLIER)[None, :], axis=1))
    wanted = group_values(table(right, K, "neighbours"), role == EARLIER, role == CURRENT)
    return largest(for_neighbours(g, K) - wanted)


# The classifier's accuracy


def accuracy(instance: Neighbours, *, neighbours: int) -> Array:
    """ADS of the vote's accuracy, one wrong class, ties half right, against ADS of (12), for K up to `neighbours`."""
    K = instance.neighbours
    among = jnp.asarray(SETS) & (NEARER < K)
    votes = jnp.sum(among * (2 * instance.right - 1)[None, :], axis=1)
    vote = jnp.where(SIZES > 0, (jnp.sign(votes) + 1) / 2, 0)
    soft = table(instance.right, K, "size")
    gap = largest(by_definition(vote, instance.role) - by_definition(soft, instance.role))
    return jnp.where(neighbours >= K, gap, 0)


# Cost


class Growth(NamedTuple):
    """A constant of O(n log n), and a group for it.

    Attributes:
        constant: from 1/2 to 8.
        neighbours: K.
        role: (40,) 0 in an earlier group, 1 in the group.
        right: (40,) labels.
    """

    constant: Float[Array | np.ndarray, ""]
    neighbours: Int[Array | np.ndarray, ""]
    role: Int[Array | np.ndarray, "places"]
    right: Float[Array | np.ndarray, "places"]


def generate_growth(key: Key[Array, ""]) -> Growth:
    """K from 1 to 40; the group has any share of forty instances; behind the first, a run of earlier ones."""
    draws = jax.random.uniform(key, (84,))
    role = (draws[:40] < draws[80]).astype(int)
    place = np.arange(40)
    role = jnp.where(place == 0, CURRENT, jnp.where(place < 1 + below(draws[81], 6), EARLIER, role))
    right = (draws[40:80] < 0.5).astype(float)
    return Growth(jnp.exp2(4 * draws[82] - 1), below(draws[83], 40) + 1, role, right)


def alternating(m: int) -> Growth:
    """An earlier instance, one of the group, and so on, m of each; K = m."""
    return Growth(np.array(1.0), np.array(m), np.tile([EARLIER, CURRENT], m), np.tile([0.0, 1.0, 1.0, 0.0], m)[: 2 * m])


def terms(growth: Growth) -> int:
    """How many terms the double sums of Theorem 5.1 have for one group at one test point."""
    c = np.cumsum(growth.role == EARLIER)[growth.role == CURRENT]
    K, m, found = int(growth.neighbours), len(c), 0
    s = np.arange(max(m - 1, 0))
    for here, after in itertools.pairwise(c.tolist()):
        if here < min(K, after):
            low = max(K - after, 0)
            found += int(np.maximum(np.minimum(K - here - 1, s[low:]) - low + 1, 0).sum())
    return found


def cumulated(growth: Growth) -> tuple[np.ndarray, np.ndarray, int]:
    """The double sums as printed, the same by differences of B_j = b_1 + ... + b_j, and how many terms those have.

    Σ_u 1/i [a_i - b_{K-u}] / K over u from max(K - c_{i+1}, 0) to min(K - c_i, i) - 1 is one difference, by (19).
    """
    group, earlier = growth.role == CURRENT, growth.role == EARLIER
    c, a, b = np.cumsum(earlier)[group], growth.right[group], growth.right[earlier]
    B = np.append(0, np.cumsum(b))
    K, m = int(growth.neighbours), len(c)
    slow, fast, used = np.zeros(max(m - 1, 0)), np.zeros(max(m - 1, 0)), 0
    for i, (here, after) in enumerate(itertools.pairwise(c.tolist()), start=1):
        if not here < min(K, after):
            continue
        low, high = max(K - after, 0), min(K - here, i)
        for s in range(low, m - 1):
            for u in range(low, min(K - here - 1, s, i - 1) + 1):
                weight = math.comb(s, u) * math.comb(m - 2 - s, i - 1 - u) / math.comb(m - 2, i - 1)
                slow[i - 1] += weight * (a[i - 1] - b[K - u - 1]) / K / (m - 1)
        if low < high:
            fast[i - 1] = ((high - low) * a[i - 1] - (B[K - low] - B[K - high])) / (K * i)
        used += 3
    return slow, fast, used + len(B)


def grows(growth: Growth, *, sums: str) -> float:
    """By how much the terms of an alternating group pass `constant` n log2 n, for an n chosen for the constant."""
    constant, m = float(growth.constant), 8
    if sums != "cumulated":
        while terms(alternating(m)) <= constant * 2 * m * math.log2(2 * m):
            m *= 2
        n = 2 * m
        return terms(alternating(m)) - constant * n * math.log2(n)
    slow, fast, used = cumulated(growth)
    return max(float(np.abs(slow - fast).max(initial=0.0)), used - 4.0 * len(growth.role))


def comparisons(n: int) -> float:
    """log2 n!: no sort of n distances needs fewer comparisons at worst."""
    return math.lgamma(n + 1) / math.log(2)


def ranked_anew(growth: Growth, *, factor: float) -> float:
    """By how much n groups of one pass constant · n log2 n, each ranking all before it, for an n that shows it."""
    constant, n = factor * float(growth.constant), 8
    while sum(map(comparisons, range(1, n + 1))) <= constant * n * math.log2(n):
        n *= 2
    return sum(map(comparisons, range(1, n + 1))) - constant * n * math.log2(n)


def ranked_once(growth: Growth, *, factor: float) -> float:
    """Whether c_{t,i} of one ranking is that of ranking the group with those before it; log2 n! ≤ factor n log2 n."""
    n = len(growth.role)
    distance = np.random.default_rng(int(growth.neighbours)).permutation(n)
    order = np.argsort(distance)
    once = np.cumsum(growth.role[order] == EARLIER)[growth.role[order] == CURRENT]
    group = np.sort(distance[growth.role == CURRENT])
    anew = (distance[growth.role == EARLIER][None, :] < group[:, None]).sum(axis=1)
    return max(float(np.abs(once - anew).max()), comparisons(n) - factor * n * math.log2(n))


def bounded(growth: Growth, *, factor: float) -> float:
    """By how much the terms pass `factor` K (m - 1)."""
    m = int(np.sum(growth.role == CURRENT))
    return terms(growth) - factor * int(growth.neighbours) * max(m - 1, 0)


def one_tie() -> Ties:
    """A right label of an earlier group and a wrong one of the group at distance 0, K = 1; the rest is later."""
    return Ties(
        jnp.array([0, 0, 1, 1, 2, 3]),
        jnp.array([1.0, 0, 0, 0, 0, 0]),
        jnp.array([EARLIER, CURRENT, LATER, LATER, LATER, LATER]),
        jnp.array([[0, 1, 2, 3, 4, 5], [1, 0, 2, 3, 4, 5]]),
        jnp.array(1),
    )


# The claims


CLAIMS = (
    Claim(
        "ads/ties-values",
        "section 5.2, before Theorem 5.1: the rule that breaks ties does not affect the results, read of values",
        Statement(
            "The values are the same whichever fixed rule breaks ties.",
            lambda c: rule_matters(c, where="anywhere"),
            "They are so whatever the distances are.",
            lambda c: rule_matters(c, where="no distances"),
        ),
        generate_ties,
        verdict="holds as corrected",
        why=(
            "K = 1, a right label of an earlier group and a wrong one of the group at one distance: the wrong one is "
            "worth 0 if it comes second, -1 if first."
        ),
        corrected=Statement(
            "They are the same where instances at one distance have one label, in whichever groups.",
            lambda c: rule_matters(c, where="one label"),
            "They are the same where instances at one distance are in one group.",
            lambda c: rule_matters(c, where="one group"),
        ),
        counterexample=one_tie,
    ),
    Claim(
        "ads/ties-counted-strictly",
        "section 5.2, before Theorem 5.1: c_{t,i} excludes ties, read of the theorem, for the utility divided by K",
        Statement(
            "With c_{t,i} = how many of P_t are strictly nearer, the recursion (its base case corrected) is exact "
            "whichever fixed rule breaks ties.",
            lambda c: tied_recursion(c, count="strictly nearer"),
            "With c_{t,i} = how many are not farther.",
            lambda c: tied_recursion(c, count="not farther"),
        ),
        generate_ties,
        verdict="holds as corrected",
        why=(
            "A strict inequality puts instances of the group before those of earlier groups at its distance; the rule "
            "may not. K = 1, a right label of an earlier group, then by the rule a wrong one at the same distance: 0, "
            "and the recursion says -1."
        ),
        corrected=Statement(
            "With c_{t,i} = how many of P_t come before it by distance and rule.",
            lambda c: tied_recursion(c, count="before it"),
            "With c_{t,i} = how many are not farther.",
            lambda c: tied_recursion(c, count="not farther"),
        ),
        counterexample=one_tie,
    ),
    Claim(
        "ads/knn-accuracy",
        "section 1: exact when the downstream predictor is a KNN classifier; Appendix C.1: utility is accuracy",
        Statement(
            "The ADS of (12) is the ADS of the accuracy of the neighbours' vote (two classes, a tied vote half right).",
            lambda c: accuracy(c, neighbours=N + 1),
            "So it is for K = 3.",
            lambda c: accuracy(c, neighbours=3),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "(12) is the share of right votes, not whether they are a majority. K = 3, labels right, right, wrong in "
            "one group: together 2/3 by (12), 1 by the vote."
        ),
        corrected=Statement(
            "So it is for K = 1 and 2.",
            lambda c: accuracy(c, neighbours=2),
            "So it is for K up to 3.",
            lambda c: accuracy(c, neighbours=3),
        ),
        counterexample=lambda: places("CCc", neighbours=3),
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/knn-complexity",
        "section 5.2: O(m(C_t)) for group t once instances are ranked, K being fixed",
        Statement(
            "The double sums of items 3 and 4 have at most K (m - 1) terms together.",
            lambda c: bounded(c, factor=1.0),
            "They have at most 0.95 K (m - 1).",
            lambda c: bounded(c, factor=0.95),
        ),
        generate_growth,
        most=1_000,
        compiled=False,
    ),
    Claim(
        "ads/knn-complexity-of-k",
        "section 5.2: O(m(C_t)) for group t, O(n log n) overall, for any K",
        Statement(
            "There is a constant with at most constant · n log2 n terms in the double sums of n instances.",
            lambda c: grows(c, sums="printed"),
            "Half the constant is enough.",
            lambda c: grows(c._replace(constant=c.constant / 2), sums="printed"),
        ),
        generate_growth,
        verdict="holds as corrected",
        why=(
            "Where instances of an earlier group and of the group alternate, m of each and K = m, each step's sum has "
            "as many terms as its rank, m(m-1)/2 together: m = 2 has 1, m = 20 has 190, more than 40 log2 40 / 2."
        ),
        corrected=Statement(
            "By (19) each double sum is [(hi - lo) a_i - (B_{K-lo} - B_{K-hi})]/(K i) with lo = max(K - c_{i+1}, 0), "
            "hi = min(K - c_i, i), B_j = b_1 + ... + b_j: at most 4 n terms together.",
            lambda c: grows(c, sums="cumulated"),
            "The double sums as printed have at most 4 n terms.",
            lambda c: terms(c) - 4.0 * len(c.role),
        ),
        counterexample=lambda: alternating(20),
        most=60,
        compiled=False,
    ),
    Claim(
        "ads/knn-complexity-of-ranking",
        "Algorithm 2, line 6; section 5.2: a single global ranking, O(n log n)",
        Statement(
            "Ranking P_t ∪ C_t for each t takes at most constant · n log2 n comparisons for some constant.",
            lambda c: ranked_anew(c, factor=1.0),
            "Half the constant is enough.",
            lambda c: ranked_anew(c, factor=0.5),
        ),
        generate_growth,
        verdict="holds as corrected",
        why=(
            "The line stands in the loop over t. Where each of n instances is a group, n rankings take log2 1! + ... + "
            "log2 n! comparisons: for n = 8 it is 52 against 8 log2 8 = 24, for n = 16 it is 300 against 64."
        ),
        corrected=Statement(
            "One ranking of all n, from which each group reads its c_{t,i}: log2 n! ≤ n log2 n comparisons.",
            lambda c: ranked_once(c, factor=1.0),
            "Half as many.",
            lambda c: ranked_once(c, factor=0.5),
        ),
        counterexample=lambda: alternating(20),
        most=300,
        compiled=False,
    ),
)
