"""Algorithm 2 of Zheng et al. and what their text says of KNN-ADS: exactness, ties, sources, copies, cost."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems.ads._neighbour_games import (
    BITS,
    CURRENT,
    EARLIER,
    NEARER,
    SETS,
    SIZES,
    Division,
    Group,
    I,
    N,
    Neighbours,
    all_neighbours,
    base_of_fraction,
    base_printed,
    below,
    generate,
    group_of,
    group_values,
    inverse,
    neighbours_from,
    places,
    recursion,
    spread,
    table,
)
from jaxval.theorems.checks import Claim, Statement, largest
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


def one_group_is_exact(instance: Neighbours, *, farthest: str, beyond: int) -> Array:
    """The recursion of one group against Data Shapley of the utility divided by K, for K ≤ n + beyond."""
    everybody = jnp.ones(N, dtype=bool)
    g, K = group_of(instance.right, ~everybody, everybody), instance.neighbours
    v = table(instance.right, K, "neighbours")
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
        x,
        np.array(labels + [0] * missing),
        np.zeros((TESTS, 2)),
        np.ones(TESTS, dtype=int),
        np.array(sources + rest),
        np.array(group),
        np.arange(N) % CONTRIBUTORS,
        np.array(neighbours),
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


def of_sources(data: Data, *, compare: str) -> Array:
    """ADS with sources as players, v(S) being (12) of their instances, against sums of the instances' ADS."""
    v = average(data, "size")
    owned = jnp.asarray(SETS)[:, data.source] @ jnp.asarray(BITS)  # the instances of every set of sources
    absent = ~jnp.any(data.source[None, :] == jnp.arange(N)[:, None], axis=1)
    players = jnp.where(absent, GROUPS, data.group)
    of_players = by_definition(v[owned], players)
    instances = by_definition(v, data.group[data.source])
    difference = of_players - totals(instances, data.source, N)
    by_group = totals(difference, players, GROUPS)
    by_contributor = totals(difference, jnp.where(absent, CONTRIBUTORS, data.contributor), CONTRIBUTORS)
    alone = jnp.all(jnp.sum(data.source[None, :] == data.source[:, None], axis=1) == 1)
    return {
        "sources": largest(difference),
        "groups": jnp.maximum(largest(by_group), jnp.where(alone, largest(difference), 0)),
        "contributors": largest(by_contributor),
    }[compare]


# The library, whose groups are known when it compiles

LIBRARY = (((2, 0, 1, 1, 2, 2), 3), ((1, 1, 1, 0, 1, 1), 4), ((0, 0, 0, 0, 0, 0), 9))


def library(data: Data, divide: Division, *, against: Division, cases: int = 3) -> Array:
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


# The classifier's accuracy, and copies


def accuracy(instance: Neighbours, *, neighbours: int) -> Array:
    """ADS of the vote's accuracy, one wrong class, ties half right, against ADS of (12), for K up to `neighbours`."""
    K = instance.neighbours
    among = jnp.asarray(SETS) & (NEARER < K)
    votes = jnp.sum(among * (2 * instance.right - 1)[None, :], axis=1)
    vote = jnp.where(SIZES > 0, (jnp.sign(votes) + 1) / 2, 0)
    soft = table(instance.right, K, "size")
    gap = largest(by_definition(vote, instance.role) - by_definition(soft, instance.role))
    return jnp.where(neighbours >= K, gap, 0)


ORIGINALS, COPIES = np.arange(N) % 2 == 0, np.arange(N) % 2 == 1


def copied(instance: Neighbours, divide: Division) -> tuple[Array, Array, Array, Array]:
    """Three originals, each with a copy right behind it: ADS, the originals' values alone, Data Shapley, labels."""
    labels = instance.right[: N // 2]
    v = table(jnp.repeat(labels, 2), instance.neighbours, divide)
    nobody, everybody = jnp.zeros(N, dtype=bool), jnp.ones(N, dtype=bool)
    originals, copies = jnp.asarray(ORIGINALS), jnp.asarray(COPIES)
    alone = group_values(v, nobody, originals)
    return alone + group_values(v, originals, copies), alone, group_values(v, nobody, everybody), labels


def loss_by_copies(instance: Neighbours, *, at_least: float) -> Array:
    """How far the broker's total is below `at_least`."""
    values, _, _, _ = copied(instance, "size")
    return at_least - jnp.sum(jnp.where(COPIES, values, 0))


def broker(instance: Neighbours, *, values_of: str) -> Array:
    """The broker's total against what the doubled neighbours have more; the contributors' against those alone."""
    gaps = []
    K = instance.neighbours
    for divide in ("size", "neighbours"):
        values, alone, shapley, labels = copied(instance, divide)
        values = shapley if values_of == "ds" else values
        nearest, half = jnp.arange(1, N + 1), jnp.repeat(labels, 2)
        doubled = jnp.sum(jnp.where(nearest <= K, half, 0)) / (K if divide == "neighbours" else jnp.minimum(K, N))
        single = jnp.sum(jnp.where(nearest[:3] <= K, labels, 0))
        single = single / (K if divide == "neighbours" else jnp.minimum(K, N // 2))
        gaps.append(jnp.sum(jnp.where(COPIES, values, 0)) - (doubled - single))
        gaps.append(largest(jnp.where(ORIGINALS, values - alone, 0)))
    return largest(jnp.stack(gaps))


# Cost


class Growth(NamedTuple):
    """A constant of O(n log n), and a group for it.

    Attributes:
        constant: from 1/2 to 8.
        neighbours: K.
        role: (40,) 0 in an earlier group, 1 in the group.
        right: (40,) labels.
    """

    constant: Float[Array, ""]
    neighbours: Int[Array, ""]
    role: Int[Array, "places"]
    right: Float[Array, "places"]


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


def bounded(growth: Growth, *, factor: float) -> float:
    """By how much the terms pass `factor` K (m - 1)."""
    m = int(np.sum(growth.role == CURRENT))
    return terms(growth) - factor * int(growth.neighbours) * max(m - 1, 0)


def wrong_then_right() -> Data:
    """A wrong label before a right one, K = 3: the group of two that is smaller than K."""
    return line([0, 1], [0, 1], [0, 0], neighbours=3)


ALGORITHM = (
    Claim(
        "ads/algorithm-2",
        "Algorithm 2, for (12)",
        Statement(
            "Its outputs are the ADS values of the instances under (12), averaged over the test points, and their sums "
            "over each source and each contributor.",
            lambda c: outputs(c, printed, "size"),
            "Its outputs with the base case corrected are those for (12).",
            lambda c: outputs(c, for_neighbours, "size"),
        ),
        generate_data,
        verdict="holds as corrected",
        why=(
            "Theorem 5.1 and the base case fail while fewer than K instances are present. K = 3, a wrong label before "
            "a right one: printed 1/6 and 1/2, for (12) -1/4 and 3/4, for division by K 0 and 1/3. In line 15 the sum "
            "is over t, as in Algorithm 1; it is printed over i."
        ),
        corrected=Statement(
            "With R (a_i - a_{i+1}) in each step and the base case of (12) it is so; with min(K - c_max, m) in "
            "the base case it is so for division by K.",
            lambda c: jnp.maximum(outputs(c, for_size, "size"), outputs(c, for_neighbours, "neighbours")),
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
            "With the base case corrected for small groups they do.",
            lambda c: exact(c, for_neighbours, "size"),
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
            "They do with the base case corrected for small groups.",
            lambda c: group_sums(c, for_neighbours, "size"),
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
    ),
    Claim(
        "ads/one-group-exact",
        "Proposition 4.3 for the recursion, division by K",
        Statement(
            "With one group the recursion gives the Data Shapley value, for any K.",
            lambda c: one_group_is_exact(c, farthest="1/n", beyond=1),
            "The recursion with min(K, n)/(K n) a_n does not: it begins with a_n/n for K > n.",
            lambda c: one_group_is_exact(c, farthest="1/n", beyond=1),
        ),
        generate,
        verdict="holds as corrected",
        why="Six right labels and K = 7: each is worth 1/7 by symmetry, printed 1/6.",
        corrected=Statement(
            "It does with φ_n = min(K, n)/(K n) a_n; as printed for K ≤ n.",
            lambda c: jnp.maximum(
                one_group_is_exact(c, farthest="min", beyond=1), one_group_is_exact(c, farthest="1/n", beyond=0)
            ),
            "As printed for K ≤ n + 1.",
            lambda c: one_group_is_exact(c, farthest="1/n", beyond=1),
        ),
        counterexample=lambda: places("CCCCCC", neighbours=7),
    ),
)

TEXT = (
    Claim(
        "ads/source-totals",
        "section 5.2: the ADS value of a source z is defined as the sum of the ADS values of its instances",
        Statement(
            "That sum is the ADS value of z by Theorem 4.1, sources being players and v(S) being (12) of Ins(S).",
            lambda c: of_sources(c, compare="sources"),
            "So it is for contributors' totals.",
            lambda c: of_sources(c, compare="contributors"),
        ),
        generate_data,
        verdict="holds as corrected",
        why=(
            "Instances of one source come one by one where the source comes whole. K = 1, two wrong labels of source A "
            "before a right one of B, one group: as players A is worth -1/2 and B 1/2, the sums are -1/3 and 1/3."
        ),
        corrected=Statement(
            "The totals of groups are the same, and where each source is one instance so are those of sources.",
            lambda c: of_sources(c, compare="groups"),
            "So are those of contributors.",
            lambda c: of_sources(c, compare="contributors"),
        ),
        counterexample=lambda: line([0, 0, 1], [0, 0, 1], [0, 0], neighbours=1),
    ),
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
        counterexample=lambda: one_tie(),
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
        counterexample=lambda: one_tie(),
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
        "ads/knn-replication",
        "section 6.1.2: the increment from duplicates is small but positive for a KNN classifier",
        Statement(
            "A broker who copies every original into a later group gets no negative total under (12).",
            lambda c: loss_by_copies(c, at_least=0.0),
            "The broker's total is at least 5 %.",
            lambda c: loss_by_copies(c, at_least=0.05),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "Doubled, the nearer half of the K neighbours votes twice. A wrong label before two right ones and K = 2: "
            "(12) falls from 1/2 to 0."
        ),
        corrected=Statement(
            "The broker's total is what the K nearest of the doubled originals have more than theirs, of either sign; "
            "every contributor keeps the value it had without copies.",
            lambda c: broker(c, values_of="ads"),
            "So it is under Data Shapley.",
            lambda c: broker(c, values_of="ds"),
        ),
        counterexample=lambda: places("cCC", neighbours=2),
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
)


def one_tie() -> Ties:
    """A right label of an earlier group and a wrong one of the group at distance 0, K = 1; the rest is later."""
    return Ties(
        np.array([0, 0, 1, 1, 2, 3]),
        np.array([1.0, 0, 0, 0, 0, 0]),
        np.array([EARLIER, CURRENT, 2, 2, 2, 2]),
        np.array([[0, 1, 2, 3, 4, 5], [1, 0, 2, 3, 4, 5]]),
        np.array(1),
    )


CLAIMS = (*ALGORITHM, *TEXT)
