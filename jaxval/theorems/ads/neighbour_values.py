"""Algorithm 2 of Zheng et al.: whole values of instances, sources and contributors, exactness, one group."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._neighbour_games import (
    BITS,
    SETS,
    SIZES,
    Division,
    Group,
    I,
    N,
    Neighbours,
    all_neighbours,
    all_of_one_group,
    base_of_fraction,
    base_printed,
    below,
    generate,
    group_of,
    group_values,
    inverse,
    places,
    recursion,
    spread,
    table,
)
from jaxval.values import knn_shapley, owner_totals

__all__ = ["CLAIMS"]

GROUPS, TESTS, CONTRIBUTORS = 3, 2, 3


# The recursion, whole


def printed(g: Group, K: Array) -> Array:
    """Theorem 5.1 with the base case of B.6."""
    return recursion(g, K, base_printed(g, K))


def for_neighbours(g: Group, K: Array) -> Array:
    """The same with min(K - c_max, m) in the base case: for the utility divided by K."""
    return recursion(g, K, base_printed(g, K, g.m))


def for_size(g: Group, K: Array) -> Array:
    """For (12): R (a_i - a_{i+1}) in every step, and the base case of coalitions of fewer than K."""
    return recursion(g, K, base_of_fraction(g, K), spread(g, K))


Recursion = Callable[[Group, Array], Array]


def of_groups(rule: Recursion, right: Array, group: Array, K: Array) -> Array:
    """The values of all instances, nearest first, group by group 0, 1, 2."""

    def of_group(t: Array) -> Array:
        g = group_of(right, group < t, group == t)
        return jnp.where(g.m > 0, rule(g, K), 0)

    return jnp.sum(jax.vmap(of_group)(jnp.arange(GROUPS)), axis=0)


def by_definition(v: Array, group: Array) -> Array:
    """(9) for all players, group by group 0, 1, 2; an empty group has nobody."""

    def of_group(t: Array) -> Array:
        found = group_values(v, group < t, group == t)
        return jnp.where(group == t, found, 0)

    return jnp.sum(jax.vmap(of_group)(jnp.arange(GROUPS)), axis=0)


def exact(instance: Neighbours, rule: Recursion, divide: Division) -> Array:
    """How far the recursion is from ADS at one test point, over three groups (the roles)."""
    v = table(instance.right, instance.neighbours, divide)
    return largest(
        of_groups(rule, instance.right, instance.role, instance.neighbours) - by_definition(v, instance.role)
    )


def group_sums(instance: Neighbours, rule: Recursion, divide: Division) -> Array:
    """How far each group's values are from summing to v(U_t) - v(U_{t-1})."""
    v = table(instance.right, instance.neighbours, divide)
    values = of_groups(rule, instance.right, instance.role, instance.neighbours)
    reached = jnp.stack([v[jnp.sum((instance.role < t) * BITS)] for t in range(GROUPS + 1)])
    sums = jnp.stack([jnp.sum(jnp.where(instance.role == t, values, 0)) for t in range(GROUPS)])
    return largest(sums - (reached[1:] - reached[:-1]))


def of_one_group(instance: Neighbours, *, farthest: str) -> Array:
    """The printed recursion of one group against Theorem 1 of Jia et al.: φ_n = a_n/n, steps min(K, i)/(K i)."""
    a, K = instance.right, instance.neighbours
    base = a[-1] / N if farthest == "1/n" else a[-1] / jnp.maximum(K, N)
    steps = (a[:-1] - a[1:]) / K * jnp.minimum(K, I) / I
    jia = base + jnp.append(jnp.cumsum(steps[::-1])[::-1], 0)
    everybody = jnp.ones(N, dtype=bool)
    return largest(printed(group_of(a, ~everybody, everybody), K) - jia)


def one_group_is_exact(
    instance: Neighbours, *, farthest: str, beyond: int = 1, divide: Division = "neighbours"
) -> Array:
    """The recursion of one group against Data Shapley, for K ≤ n + beyond; the largest K here is n + 1."""
    everybody = jnp.ones(N, dtype=bool)
    g, K = group_of(instance.right, ~everybody, everybody), instance.neighbours
    v = table(instance.right, K, divide)
    rule = printed if farthest == "1/n" else for_neighbours
    return jnp.where(N + beyond >= K, largest(rule(g, K) - group_values(v, ~everybody, everybody)), 0)


# Several test points, sources and contributors


class Data(NamedTuple):
    """Six instances of six possible sources, two test points.

    Attributes:
        train_x: (6, 2) features, half of the time on a small grid, where many tie.
        train_y: (6,) labels 0, 1, 2.
        test_x: (2, 2) features.
        test_y: (2,) labels 0 to 3.
        source: (6,) the source of each instance.
        group: (6,) the group 0, 1, 2 of each source.
        contributor: (6,) the contributor 0, 1, 2 of each source, in any groups.
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
    """Sources of one instance or of several; as many groups as come up."""
    draws = jax.random.uniform(key, (2 * N + 2 * TESTS + 4 * N + TESTS + 3,))
    *parts, last = jnp.split(draws, np.cumsum([2 * N, 2 * TESTS, N, N, N, N, TESTS]))
    x, tests = parts[0].reshape(N, 2), parts[1].reshape(TESTS, 2)
    grid, alone = last[0] < 0.5, last[1] < 0.3
    return Data(
        jnp.where(grid, jnp.floor(3 * x), x),
        below(parts[2], 3),
        jnp.where(grid, jnp.floor(3 * tests), tests),
        below(parts[6], 4),
        jnp.where(alone, jnp.arange(N), below(parts[3], N)),
        below(parts[4], GROUPS),
        below(parts[5], CONTRIBUTORS),
        below(last[2], N + 1) + 1,
    )


def line(labels: list[int], sources: list[int], groups: list[int], *, neighbours: int) -> Data:
    """Instances at 1, 2, ... of a line, test points at 0 with label 1; those not named are later, wrong and far."""
    missing = N - len(labels)
    x = np.stack([np.arange(1.0, N + 1), np.zeros(N)], axis=1)
    used = max(sources) + 1
    rest = [min(used + j, N - 1) for j in range(missing)]
    group = groups + [GROUPS - 1] * (N - len(groups))
    return Data(
        jnp.asarray(x),
        jnp.array(labels + [0] * missing),
        jnp.zeros((TESTS, 2)),
        jnp.ones(TESTS, dtype=int),
        jnp.array(sources + rest),
        jnp.array(group),
        jnp.arange(N) % CONTRIBUTORS,
        jnp.array(neighbours),
    )


def ranks_of(data: Data, x: Array) -> Array:
    """The rank of each instance by (distance, index) from a test point."""
    distance = jnp.sum((data.train_x - x[None, :]) ** 2, axis=1)
    tied = (distance[:, None] == distance[None, :]) & (np.arange(N)[:, None] < np.arange(N)[None, :])
    return jnp.sum((distance[:, None] < distance[None, :]) | tied, axis=0)


def utility(data: Data, divide: Division, x: Array, y: Array, K: Array | int) -> Array:
    """(64,) v of every set of instances at one test point."""
    rank = ranks_of(data, x)
    sets = jnp.asarray(SETS)
    nearer = jnp.sum(sets[:, None, :] & (rank[None, None, :] < rank[None, :, None]), axis=2)
    count = jnp.sum(sets & (nearer < K) & (data.train_y == y)[None, :], axis=1)
    return count / (K if divide == "neighbours" else jnp.clip(SIZES, 1, K))


def average(data: Data, divide: Division, K: Array | int | None = None) -> Array:
    """The utility averaged over the test points."""
    K = data.neighbours if K is None else K
    return jnp.mean(jax.vmap(lambda x, y: utility(data, divide, x, y, K))(data.test_x, data.test_y), axis=0)


def algorithm(data: Data, rule: Recursion) -> tuple[Array, Array, Array]:
    """Algorithm 2: values of instances, totals of sources and of contributors."""
    group = data.group[data.source]

    def at(x: Array, y: Array) -> Array:
        rank = ranks_of(data, x)
        order = inverse(rank)
        right = (data.train_y == y).astype(float)
        return of_groups(rule, right[order], group[order], data.neighbours)[rank]

    values = jnp.mean(jax.vmap(at)(data.test_x, data.test_y), axis=0)
    sources = totals(values, data.source, N)
    return values, sources, totals(sources, data.contributor, CONTRIBUTORS)


def totals(values: Array, owner: Array, count: int) -> Array:
    return jnp.sum(jnp.where(owner[None, :] == np.arange(count)[:, None], values[None, :], 0), axis=1)


def outputs(data: Data, rule: Recursion, divide: Division, *, share: float = 1.0) -> Array:
    """How far Algorithm 2 is from ADS of the average utility, instance by instance, and from its totals."""
    values, sources, contributors = algorithm(data, rule)
    wanted = by_definition(average(data, divide), data.group[data.source])
    of_sources = totals(wanted, data.source, N)
    of_contributors = totals(wanted, data.contributor[data.source], CONTRIBUTORS)
    gaps = [values - wanted, sources - share * of_sources, contributors - share * of_contributors]
    return jnp.max(jnp.stack([largest(gap) for gap in gaps]))


def additive(data: Data, *, tests: int) -> Array:
    """ADS of the average utility against the average of the ADS at the first `tests` test points."""
    group = data.group[data.source]
    one = jax.vmap(lambda x, y: by_definition(utility(data, "size", x, y, data.neighbours), group))
    pointwise = jnp.mean(one(data.test_x[:tests], data.test_y[:tests]), axis=0)
    return largest(by_definition(average(data, "size"), group) - pointwise)


# The library, whose groups are known when it compiles

LIBRARY = (((2, 0, 1, 1, 2, 2), 3), ((0, 0, 0, 0, 0, 0), 9))


def library(data: Data, divide: Division, *, against: Division, cases: int = 2) -> Array:
    """How far `jaxval.values.knn_shapley` is from ADS of the average utility, and its totals by `owner_totals`."""
    gaps = []
    for groups, K in LIBRARY[:cases]:
        group = np.array(groups)
        found = knn_shapley(
            data.train_x, data.train_y, data.test_x, data.test_y, neighbours=K, groups=group, normalise=divide
        )
        wanted = by_definition(average(data, against, K), jnp.asarray(group))
        summed = owner_totals(found, data.source, num=N) - totals(wanted, data.source, N)
        gaps += [largest(found - wanted), largest(summed)]
    return jnp.max(jnp.stack(gaps))


# The claims


def wrong_then_right() -> Data:
    """A wrong label before a right one, K = 3: the group of two that is smaller than K."""
    return line([0, 1], [0, 1], [0, 0], neighbours=3)


CLAIMS = (
    Claim(
        "ads/algorithm-2",
        "Algorithm 2, for (12)",
        Statement(
            "Its outputs are the ADS values of the instances under (12), averaged over the test points, and their sums "
            "over each source and each contributor.",
            lambda c: outputs(c, printed, "size"),
            "Its outputs are those for division by K.",
            lambda c: outputs(c, printed, "neighbours"),
        ),
        generate_data,
        verdict="holds as corrected",
        why=(
            "Theorem 5.1 and the base case fail while fewer than K instances are present. K = 3, a wrong label before "
            "a right one: printed 1/6 and 1/2, for (12) -1/4 and 3/4, for division by K 0 and 1/3. In line 15 the sum "
            "is over t, as in Algorithm 1; it is printed over i."
        ),
        corrected=Statement(
            "With R (a_i - a_{i+1}) in each step and the base case of (12) it is so (for division by K: "
            "ads/knn-ads-exact).",
            lambda c: outputs(c, for_size, "size"),
            "So are 0.95 of the totals.",
            lambda c: outputs(c, for_size, "size", share=0.95),
        ),
        counterexample=wrong_then_right,
    ),
    Claim(
        "ads/knn-ads-exact",
        "section 5.2: exact at one test point",
        Statement(
            "Theorem 5.1 and the base case yield the exact ADS under (12), group by group.",
            lambda c: exact(c, printed, "size"),
            "They yield the ADS for division by K.",
            lambda c: exact(c, printed, "neighbours"),
        ),
        generate,
        verdict="holds as corrected",
        why="K = 3, a wrong label before a right one: printed 1/6 and 1/2, for (12) -1/4 and 3/4.",
        corrected=Statement(
            "With R (a_i - a_{i+1}) in each step and the base case of (12); and for division by K with "
            "min(K - c_max, m).",
            lambda c: jnp.maximum(exact(c, for_size, "size"), exact(c, for_neighbours, "neighbours")),
            "The latter with K - c_max as printed.",
            lambda c: exact(c, printed, "neighbours"),
        ),
        counterexample=lambda: places("cC", neighbours=3),
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/knn-ads-library",
        "section 5.2 and Algorithm 2, as jaxval.values computes them",
        Statement(
            "knn_shapley is the ADS of the average utility for (12) (normalise='size') and for division by K, and "
            "owner_totals the sums over sources.",
            lambda c: jnp.maximum(library(c, "size", against="size"), library(c, "neighbours", against="neighbours")),
            "normalise='neighbours' is the one of (12).",
            lambda c: library(c, "neighbours", against="size", cases=1),
        ),
        generate_data,
        most=3_000,
    ),
    Claim(
        "ads/knn-group-efficiency",
        "Proposition 4.2 for the values of Algorithm 2",
        Statement(
            "They sum to v(U_t) - v(U_{t-1}) over each group, v being (12).",
            lambda c: group_sums(c, printed, "size"),
            "They do for division by K.",
            lambda c: group_sums(c, printed, "neighbours"),
        ),
        generate,
        verdict="holds as corrected",
        why="K = 3, a wrong label before a right one: printed 1/6 + 1/2 = 2/3; (12) goes from 0 to 1/2.",
        corrected=Statement(
            "They do where steps and base case are those of (12); and for division by K with min(K - c_max, m).",
            lambda c: jnp.maximum(group_sums(c, for_size, "size"), group_sums(c, for_neighbours, "neighbours")),
            "As printed they do for division by K.",
            lambda c: group_sums(c, printed, "neighbours"),
        ),
        counterexample=lambda: places("cC", neighbours=3),
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/average-over-tests",
        "section 5.2: pointwise in the test point, aggregated in Algorithm 2",
        Statement(
            "ADS of (12) averaged over test points is the average of the ADS at each.",
            lambda c: additive(c, tests=TESTS),
            "It is the ADS at the first.",
            lambda c: additive(c, tests=1),
        ),
        generate_data,
    ),
    Claim(
        "ads/one-group-is-knn-shapley",
        "section 5.2: as in symmetric KNN Shapley (Jia et al., 2019, Theorem 1)",
        Statement(
            "With one group the recursion is φ_n = a_n/n, φ_i = φ_{i+1} + (a_i - a_{i+1})/K · min(K, i)/i.",
            lambda c: of_one_group(c, farthest="1/n"),
            "It begins with a_n/max(K, n).",
            lambda c: of_one_group(c, farthest="1/max"),
        ),
        generate,
        exhaustive=all_of_one_group,
    ),
    Claim(
        "ads/one-group-exact",
        "Proposition 4.3 for the recursion, division by K",
        Statement(
            "With one group the recursion gives the Data Shapley value, for any K.",
            lambda c: one_group_is_exact(c, farthest="1/n"),
            "It gives that of (12).",
            lambda c: one_group_is_exact(c, farthest="1/n", divide="size"),
        ),
        generate,
        verdict="holds as corrected",
        why="Six right labels and K = 7: each is worth 1/7 by symmetry, printed 1/6.",
        corrected=Statement(
            "It does with φ_n = min(K, n)/(K n) a_n; as printed for K ≤ n.",
            lambda c: jnp.maximum(
                one_group_is_exact(c, farthest="min"), one_group_is_exact(c, farthest="1/n", beyond=0)
            ),
            "As printed for K ≤ n + 1.",
            lambda c: one_group_is_exact(c, farthest="1/n"),
        ),
        counterexample=lambda: places("CCCCCC", neighbours=7),
        exhaustive=all_of_one_group,
    ),
)
