"""Algorithm 2 of Zheng et al.: the values at one test point, ties, accuracy and cost; sources and contributors."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxval.theorems.ads._neighbour_games import (
    CURRENT,
    GROUPS,
    NEARER,
    RANKS,
    SETS,
    SIZES,
    Divisor,
    Group,
    I,
    N,
    Neighbours,
    ads,
    below,
    double_sum_terms,
    extra,
    group_of,
    items,
    knn,
    nearest,
    nearest_first,
    printed_base,
    size_base,
)
from jaxval.theorems.records import AtMost, Setting
from jaxval.values import knn_shapley, owner_totals

__all__: list[str] = []

TESTS, CONTRIBUTORS = 2, 3
LATER_STEPS = np.triu(np.ones((N, N)))  # LATER_STEPS @ x is Σ_{j ≥ i} x_j; XLA takes longer to compile a cumulative sum


# One test point


def printed_values(g: Group, K: Array, for_size: bool = False) -> Float[Array, "instances"]:
    """Algorithm 2, lines 7 to 10: from the farthest to the nearest, by Theorem 5.1 and the base case.

    With `for_size`, the steps and the base case are those of (12).
    """
    applies, said = items(g, K)
    steps = jnp.sum(jnp.where(applies, said, 0), axis=0)
    base = printed_base(g, K)
    if for_size:
        steps, base = steps + jnp.where(g.exists, extra(g, K) * g.change, 0), size_base(g, K)
    return (base + LATER_STEPS[:, :-1] @ steps) @ g.member


def one_equation(g: Group, K: Array) -> Float[Array, "instances"]:
    """Σ_{j ≥ i} [lo (a_j - a_{j+1}) + (hi - lo) a_j - (B_{K-lo} - B_{K-hi})]/(K j), as `knn_by_k` says."""
    low = jnp.where(g.exists, jnp.clip(K - g.c[1:], 0, I), 0)
    lo, hi = jnp.append(low, 0), jnp.clip(K - g.c, 0, RANKS)
    B = jnp.cumsum(g.b)
    steps = lo * (g.a - jnp.append(g.a[1:], 0)) + (hi - lo) * g.a - (B[K - lo] - B[K - hi])
    return jnp.asarray(LATER_STEPS) @ jnp.where(g.m >= RANKS, steps / (K * RANKS), 0) @ g.member


def of_groups(rule: Callable[[Group, Array], Array], right: Array, role: Array, K: Array) -> Float[Array, "instances"]:
    """The values of all instances, nearest first, group by group."""
    return jnp.sum(jax.vmap(lambda group: rule(group_of(right, role, group), K))(jnp.arange(GROUPS)), axis=0)


@nearest.claim(
    "ads/knn-ads-by-k",
    "Theorem 5.1 and Appendix B.6 in one equation of ours, for the utility divided by K",
    false="Under (12), φ_i - φ_{i+1} = [lo (a_i - a_{i+1}) + (hi - lo) a_i - (B_{K-lo} - B_{K-hi})]/(K i) with lo = "
    "clip(K - c_{i+1}, 0, i), hi = clip(K - c_i, 0, i), B_j = b_1 + ... + b_j, φ_{m+1} = 0, c_{m+1} = ∞.",
    neighbour={"divisor": "K'"},
)
def knn_by_k(c: Neighbours, divisor: Divisor = "K") -> tuple[Array, Array]:
    """φ_i - φ_{i+1} = [lo (a_i - a_{i+1}) + (hi - lo) a_i - (B_{K-lo} - B_{K-hi})]/(K i) for the utility divided by K.

    Here lo = clip(K - c_{i+1}, 0, i), hi = clip(K - c_i, 0, i), B_j = b_1 + ... + b_j, φ_{m+1} = 0, c_{m+1} = ∞ and
    i = 1, ..., m. The equation is all four items of Theorem 5.1 with O(1) terms a step for any K, because it needs no
    double sum, and the base case with min{K - c_max, m} in place of K - c_max.
    """
    return of_groups(one_equation, c.right, c.role, c.neighbours), ads(knn(c.right, c.neighbours, divisor), c.role)


@nearest.claim(
    "ads/ties-counted-strictly",
    "section 5.2, before Theorem 5.1",
    fails="convention",
    quote="We use a strict inequality to exclude ties; any remaining ties are broken by a fixed deterministic rule, "
    "which does not affect the results that follow.",
    why="A strict inequality puts an instance of the group before those of earlier groups at its distance, but the "
    "rule by which (12) ranks them may put it behind. K = 1, a right label of an earlier group and a wrong one of the "
    "group at one distance: if the rule takes the earlier one first, the other is worth 0, and with c_{t,1} = 0 the "
    "base case gives -1.",
    corrected="The values are exact, for the utility divided by K and with min{K - c_max, m} in the base case, if "
    "c_{t,i} is the number of earlier instances that come before the i-th of the group by distance and rule.",
    correction={"strict": False},
    counterexample=lambda: nearest_first("Pc", neighbours=1, tied=True),
)
def ties_counted_strictly(c: Neighbours, strict: bool = True) -> tuple[Array, Array]:
    """With c_{t,i} counted strictly, the values are exact whichever rule orders instances at one distance.

    There c_{t,i} is the number of earlier instances that are strictly nearer than the i-th of the group. The values are
    those of Theorem 5.1 for the utility divided by K, with min{K - c_max, m} in place of K - c_max in the base case.
    """
    g, current = group_of(c.right, c.role), c.role == CURRENT
    if strict:
        closer = (c.distance[None] < c.distance[:, None]) & (c.role < CURRENT)[None]
        g = g._replace(c=g.member @ jnp.sum(closer, axis=1))
    actual = ads(knn(c.right, c.neighbours, "K"), c.role)
    return jnp.where(current, actual, 0), one_equation(g, c.neighbours)


@nearest.claim(
    "ads/knn-accuracy",
    "section 1, and section 5.2 after Definition 5.2",
    fails="reading",
    quote="a K-nearest-neighbor surrogate (KNN-ADS) that is exact when the downstream predictor is a KNN classifier "
    "... When reporting an aggregate utility, for example average accuracy over D_test, we average Eq. (12)",
    why="(12) is the share of right votes, and a classifier is right if a majority is. K = 3, labels right, right, "
    "wrong in one group: together 2/3 by (12), and 1 by the vote. KNN-ADS is about the soft score (12), as KNN Shapley "
    "is.",
    corrected="For K = 1 and K = 2, with two classes and a tied vote half right, the ADS under (12) is the ADS of the "
    "accuracy of the neighbours' vote.",
    correction={"most": 2},
    counterexample=lambda: nearest_first("CCc", neighbours=3),
)
def knn_accuracy(c: Neighbours, most: int = N + 1) -> tuple[Array, Array]:
    """The ADS under (12) is that of the accuracy of the neighbours' vote, for two classes and tied votes half right."""
    votes = (SETS & (c.neighbours > NEARER)) @ (2 * c.right - 1)
    accuracy = jnp.where(SIZES > 0, (jnp.sign(votes) + 1) / 2, 0)
    counts = c.neighbours <= most
    return jnp.where(counts, ads(knn(c.right, c.neighbours), c.role), 0), jnp.where(counts, ads(accuracy, c.role), 0)


@nearest.claim(
    "ads/knn-complexity",
    "section 5.2, the cost of group t",
    false="The double sums of items 3 and 4 have at most K (m(C_t) - 2) terms together.",
    neighbour={"fewer": 1},
    proof="u takes c_{i+1} - c_i values at most, which sum to K at most over all i, and s takes m - 1 at most",
)
def knn_complexity(c: Neighbours, fewer: int = 0) -> AtMost:
    """The double sums of items 3 and 4 have at most K (m(C_t) - 1) terms together, so O(m(C_t)) for a fixed K."""
    g, K = group_of(c.right, c.role), c.neighbours
    terms = double_sum_terms(g, K) & g.exists[:, None, None]
    return AtMost(jnp.sum(terms), K * (g.m - 1 - fewer))


# Several test points, sources and contributors


class Data(NamedTuple):
    """Six instances of at most six sources, and two test points.

    Attributes:
        train_x: (6, 2) features, half of the time on a small grid, where many tie.
        train_y: (6,) labels 0, 1, 2.
        test_x: (2, 2) features.
        test_y: (2,) labels 0 to 3.
        source: (6,) the source of each instance.
        group: (6,) the group 0, 1, 2 of each source.
        contributor: (6,) the contributor 0, 1, 2 of each source.
        neighbours: K.
    """

    train_x: Float[Array, "instances 2"]
    train_y: Int[Array, "instances"]
    test_x: Float[Array, "tests 2"]
    test_y: Int[Array, "tests"]
    source: Int[Array, "instances"]
    group: Int[Array, "sources"]
    contributor: Int[Array, "sources"]
    neighbours: Int[Array, ""]


def generate_data(key: Key[Array, ""]) -> Data:
    """Sources of one instance or of several, in one to three groups."""
    *draws, test, last = jax.random.uniform(key, (8, N))
    grid = last[0] < 0.5
    x, test_x = jnp.stack(draws[:2], axis=1), test[: 2 * TESTS].reshape(TESTS, 2)
    return Data(
        jnp.where(grid, jnp.floor(3 * x), x),
        below(draws[2], 3),
        jnp.where(grid, jnp.floor(3 * test_x), test_x),
        below(last[1 : 1 + TESTS], 4),
        jnp.where(last[3] < 0.3, jnp.arange(N), below(draws[3], N)),
        below(draws[4], GROUPS),
        below(draws[5], CONTRIBUTORS),
        below(last[4], N + 1) + 1,
    )


data = Setting(generate_data, "6 instances of 1 to 6 sources, 1 to 3 groups, 3 contributors, 2 test points, K = 1 to 7")


def wrong_then_right() -> Data:
    """On a line, seen from 0: a wrong label, then a right one, K = 3; the other four come later and are wrong."""
    later = GROUPS - 1
    return Data(
        jnp.stack([jnp.asarray(RANKS, dtype=float), jnp.zeros(N)], axis=1),
        jnp.array([0, 1, 0, 0, 0, 0]),
        jnp.zeros((TESTS, 2)),
        jnp.ones(TESTS, dtype=int),
        jnp.arange(N),
        jnp.array([0, 0, later, later, later, later]),
        jnp.arange(N) % CONTRIBUTORS,
        jnp.array(3),
    )


def nearest_order(data: Data, x: Array) -> Bool[Array, "ranks instances"]:
    """Whether an instance is the first, the second, ... in the order by (distance, index) from a test point."""
    distance, index = jnp.sum((data.train_x - x[None]) ** 2, axis=1), np.arange(N)
    tied = (distance[None] == distance[:, None]) & (index[None] < index[:, None])
    rank = jnp.sum((distance[None] < distance[:, None]) | tied, axis=1)
    return index[:, None] == rank[None]


def averaged(data: Data, values: Callable[[Array, Array], Array], group: Array) -> Float[Array, "instances"]:
    """The mean over the test points of values(right, role), which are nearest first."""

    def at(x: Array, y: Array) -> Array:
        order = nearest_order(data, x)
        return values(order @ (data.train_y == y).astype(float), order @ group) @ order

    return jnp.mean(jax.vmap(at)(data.test_x, data.test_y), axis=0)


def total(values: Array, owner: Array, number: int) -> Array:
    """The sum of the values of each owner."""
    return (owner[None] == np.arange(number)[:, None]) @ values


def by_definition(right: Array, role: Array, *, K: Array | int, divisor: Divisor = "K'") -> Array:
    """ADS at one test point, nearest first."""
    return ads(knn(right, K, divisor), role)


@data.claim(
    "ads/algorithm-2",
    "Algorithm 2",
    root="ads/neighbours-displaced",
    quote="This neighbor relation yields an iterative and exact computation of ADS without retraining (Theorem 5.1); "
    "full details appear in Algorithm 2. ... 7: Compute the base value φ^σ(q_{I_d^{m(C_t)}(x_{test,l};C_t)}; v_knn, "
    "Ins(D)) using Appendix B.6. ... 9: Update φ^σ(q_{I_d^i(x_{test,l};C_t)}; v_knn, Ins(D)) from "
    "φ^σ(q_{I_d^{i+1}(x_{test,l};C_t)}; v_knn, Ins(D)) using Theorem 5.1.",
    why="Theorem 5.1 and the base case fail for (12) while fewer than K instances are present. K = 3, a wrong label "
    "before a right one: the algorithm gives 1/6 and 1/2, the values under (12) are -1/4 and 3/4, and those for the "
    "utility divided by K are 0 and 1/3. In line 15 the sum is over t, as in Algorithm 1; it is printed over i, which "
    "is a slip.",
    corrected="The outputs are the ADS values under (12) if every step adds R (a_i - a_{i+1}), R = 1/(m-1) "
    "Σ_{s=0}^{min(m-2, K-p-2)} [1/(p+s+1) - 1/K], and the base case is that of (12) (ads/base-case).",
    correction={"for_size": True},
    counterexample=wrong_then_right,
)
def algorithm_2(data: Data, for_size: bool = False) -> dict[str, tuple]:
    """The outputs of Algorithm 2 are the ADS values under (12), averaged over the test points.

    These are the values of the instances and their sums over each source and over each contributor.
    """
    group, K = data.group[data.source], data.neighbours
    rule = functools.partial(printed_values, for_size=for_size)
    values = averaged(data, lambda right, role: of_groups(rule, right, role, K), group)
    wanted = averaged(data, functools.partial(by_definition, K=K), group)
    sources, owner = total(values, data.source, N), data.contributor[data.source]
    return {
        "instances": (values, wanted),
        "sources": (sources, total(wanted, data.source, N)),
        "contributors": (total(sources, data.contributor, CONTRIBUTORS), total(wanted, owner, CONTRIBUTORS)),
    }


# Groups, which are known when the library compiles, `normalise`, and the divisor that it stands for.
LIBRARY = (((2, 0, 1, 1, 2, 2), "size", "K'"), ((0, 0, 1, 2, 0, 1), "neighbours", "K"))


@data.claim(
    "ads/knn-ads-library",
    "Algorithm 2, as jaxval.values.knn_shapley computes it",
    false="knn_shapley(..., normalise='size') gives the ADS values for the utility divided by K.",
    neighbour={"calls": ((LIBRARY[0][0], "size", "K"),)},
    most=3_000,
    scope="6 instances of 1 to 6 sources, 2 divisions into 3 groups, 2 test points, K = 3",
)
def knn_ads_library(data: Data, calls: tuple = LIBRARY) -> dict[str, tuple]:
    """knn_shapley gives the ADS values under (12) with normalise="size", and of division by K with "neighbours".

    owner_totals gives their sums over the sources.
    """
    parts, instances = {}, (data.train_x, data.train_y, data.test_x, data.test_y)
    for groups, normalise, divisor in calls:
        values = knn_shapley(*instances, neighbours=3, groups=np.array(groups), normalise=normalise)
        wanted = averaged(data, functools.partial(by_definition, K=3, divisor=divisor), jnp.asarray(groups))
        parts[normalise] = values, wanted
        parts[f"{normalise}, sources"] = owner_totals(values, data.source, num=N), total(wanted, data.source, N)
    return parts
