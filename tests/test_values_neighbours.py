"""KNN-Shapley and KNN-ADS against the definition, and the recursion as printed where it fails."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval.coalitions import tabulate
from jaxval.values import neighbour_utilities, shapley
from jaxval.values import neighbours as module
from jaxval.values._neighbours import check_instances, distances, nearest_first
from jaxval.values.incremental import sample_shapley_along_paths
from jaxval.values.neighbour_utilities import knn_path_utility, knn_utility
from jaxval.values.neighbours import knn_shapley
from jaxval.values.owner_totals import owner_totals
from jaxval.values.permutations import sample_shapley

GROUPINGS = {
    "one group": [0, 0, 0, 0, 0, 0, 0],
    "two groups": [0, 1, 0, 1, 1, 0, 1],
    "a small group first": [1, 1, 1, 0, 1, 1, 1],
    "three groups, a small one last": [0, 1, 0, 1, 0, 2, 1],
    "each alone": [3, 0, 6, 2, 5, 1, 4],
}


def utility(right, members, K, normalise):
    """v(S), from whether each instance has the right label, nearest first."""
    nearest = [right[i] for i in range(len(right)) if i in members][:K]
    if not nearest:
        return 0.0
    return sum(nearest) / (K if normalise == "neighbours" else min(K, len(members)))


def by_definition(right, groups, K, normalise):
    """ADS in its subset form (9), by enumeration; instances nearest first."""
    values = np.zeros(len(right))
    for z, t in enumerate(groups):
        earlier = {i for i, g in enumerate(groups) if g < t}
        others = [i for i, g in enumerate(groups) if g == t and i != z]
        for size in range(len(others) + 1):
            for chosen in itertools.combinations(others, size):
                S = earlier | set(chosen)
                marginal = utility(right, S | {z}, K, normalise) - utility(right, S, K, normalise)
                values[z] += marginal / ((len(others) + 1) * math.comb(len(others), size))
    return values


def as_printed(right, groups, K):
    """Theorem 5.1 and the base case of B.6, line by line; a neighbour of P_t that is not there has no right label."""
    values = np.zeros(len(right))

    def choose(n, k):
        return math.comb(n, k) if 0 <= k <= n else 0

    for t in sorted(set(groups)):
        P = [i for i, g in enumerate(groups) if g < t]
        C = [i for i, g in enumerate(groups) if g == t]
        m = len(C)
        a = [None, *(right[i] for i in C)]
        c = [None, *(sum(p < i for p in P) for i in C)]

        def b(j, P=P):
            return right[P[j - 1]] if j <= len(P) else 0

        value = 0.0
        if c[m] < K and len(P) == c[m]:
            value = (K - c[m]) / (K * m) * a[m]
        elif c[m] < K:
            value = (K - c[m]) / (K * m) * a[m] - sum(b(K - s) for s in range(K - c[m])) / (K * m)
        values[C[m - 1]] = value
        for i in range(m - 1, 0, -1):
            if c[i + 1] < K:
                value += (a[i] - a[i + 1]) / K * min(K - c[i + 1], i) / i
            if c[i] < K and c[i + 1] > c[i]:
                low = max(0, K - c[i + 1])
                for s in range(low, m - 1):
                    for u in range(low, min(K - c[i] - 1, s) + 1):
                        weight = choose(s, u) * choose(m - 2 - s, i - 1 - u) / choose(m - 2, i - 1)
                        value += weight * (a[i] - b(K - u)) / K / (m - 1)
            values[C[i - 1]] = value
    return values


def in_order(x, test):
    """The order of (distance, index)."""
    distance = ((np.asarray(x, dtype=float) - test) ** 2).sum(axis=1)
    return sorted(range(len(x)), key=lambda i: (distance[i], i))


def on_data(values_of, train_x, train_y, test_x, test_y, groups):
    """The mean over test points of values of instances that are given nearest first."""
    values = np.zeros(len(train_x))
    for x, y in zip(test_x, test_y, strict=True):
        order = in_order(train_x, x)
        right = [int(train_y[i] == y) for i in order]
        values[order] += values_of(right, [groups[i] for i in order]) / len(test_x)
    return values


@pytest.fixture(scope="module")
def data():
    """Seven instances on a small grid, so that many are as far as others; three classes; five test points."""
    rng = np.random.default_rng(1)
    train_x, test_x = rng.integers(0, 3, (7, 2)), rng.integers(0, 3, (5, 2))
    return train_x, rng.integers(0, 3, 7), test_x, rng.integers(0, 4, 5)


@pytest.mark.parametrize("K", [1, pytest.param(3, marks=pytest.mark.float64), 9])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_values_against_the_definition(data, grouping, K, close):
    groups = GROUPINGS[grouping]
    for normalise in ("neighbours", "size"):
        expected = on_data(lambda right, g, n=normalise: by_definition(right, g, K, n), *data, groups)
        close(knn_shapley(*data, neighbours=K, groups=groups, normalise=normalise), expected)


@pytest.mark.float64
def test_every_set_of_labels_of_two_groups(close):
    """One test point at 0 and instances at 1, 2, ..., 5: all labels and all pairs of groups, K = 3."""
    x = np.arange(1, 6)[:, None]
    for right in itertools.product([0, 1], repeat=5):
        for groups in ([0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 1, 0, 1, 0]):
            for normalise in ("neighbours", "size"):
                values = knn_shapley(x, list(right), [[0]], [1], neighbours=3, groups=groups, normalise=normalise)
                close(values, by_definition(right, groups, 3, normalise))


def test_fewer_instances_than_neighbours(close):
    """The farthest of n right instances is worth 1/K where n < K: peers give 1/n."""
    for n in (1, 2, 3):
        x = np.arange(n)[:, None]
        close(knn_shapley(x, np.ones(n, int), [[0]], [1], neighbours=5), np.full(n, 1 / 5))
        close(knn_shapley(x, np.ones(n, int), [[0]], [1], neighbours=5, normalise="size"), np.full(n, 1 / n))


def test_the_printed_base_case_fails_for_a_group_smaller_than_k(close):
    """Two instances, the farther right, K = 5: printed (0.3, 0.5), by definition (0, 0.2), or (-1/4, 3/4) for 1/K'."""
    right, groups = [0, 1], [0, 0]
    np.testing.assert_allclose(as_printed(right, groups, 5), [0.3, 0.5], atol=1e-12)
    np.testing.assert_allclose(by_definition(right, groups, 5, "neighbours"), [0, 0.2], atol=1e-12)
    np.testing.assert_allclose(by_definition(right, groups, 5, "size"), [-0.25, 0.75], atol=1e-12)
    close(knn_shapley([[1], [2]], right, [[0]], [1], neighbours=5), [0, 0.2])
    close(knn_shapley([[1], [2]], right, [[0]], [1], neighbours=5, normalise="size"), [-0.25, 0.75])


def test_the_printed_base_case_fails_with_enough_earlier_instances(close):
    """K = 2, one right instance, then two wrong ones of the group before: printed 1, but v goes from 0 to 1/2."""
    right, groups = [1, 0, 0], [1, 0, 0]
    assert as_printed(right, groups, 2).tolist() == [1, 0, 0]
    for normalise in ("neighbours", "size"):
        assert by_definition(right, groups, 2, normalise).tolist() == [0.5, 0, 0]
        close(
            knn_shapley([[1], [2], [3]], right, [[0]], [1], neighbours=2, groups=groups, normalise=normalise),
            [0.5, 0, 0],
        )


def test_the_printed_recursion_holds_elsewhere_for_division_by_k():
    """It is exact for 1/K where m >= K - c_m in every group, and only there; for (12), 1/K', not even there."""
    rng = np.random.default_rng(0)
    held = failed = failed_for_size = 0
    for _ in range(400):
        n, K = int(rng.integers(2, 8)), int(rng.integers(1, 6))
        groups, right = np.sort(rng.integers(0, 2, n)), rng.integers(0, 2, n)
        order = rng.permutation(n)
        groups, right = np.unique(groups, return_inverse=True)[1][order].tolist(), right[order].tolist()
        wrong = np.abs(as_printed(right, groups, K) - by_definition(right, groups, K, "neighbours"))
        for t in set(groups):
            members = [i for i in range(n) if groups[i] == t]
            nearer = sum(groups[i] < t for i in range(members[-1]))
            worst = max(wrong[i] for i in members)
            if len(members) >= K - nearer:
                assert worst < 1e-12
                held += 1
                size = by_definition(right, groups, K, "size")
                failed_for_size += max(abs(as_printed(right, groups, K) - size)[members]) > 1e-3
            else:
                failed += worst > 1e-3
    assert held > 50
    assert failed > 50
    assert failed_for_size > 20


def test_how_ties_are_broken_does_matter(close):
    """A wrong label tied with an earlier right one, K = 1: its value is 0 in the order of the index, and -1 otherwise.

    Counting c with a strict inequality, as printed, puts ties of earlier groups behind; that is the second answer.
    """
    close(knn_shapley([[1], [1]], [1, 0], [[0]], [1], neighbours=1, groups=[0, 1]), [1, 0])
    close(knn_shapley([[1], [1]], [0, 1], [[0]], [1], neighbours=1, groups=[1, 0]), [-1, 1])


def test_equal_instances_are_ordered_by_their_index(close):
    """Copies of real features tie to the bit: with K = 1 copies in a later group are behind and worth nothing."""
    rng = np.random.default_rng(3)
    x, tests = rng.normal(size=(40, 19)), rng.normal(size=(6, 19))
    y, test_y = rng.integers(0, 2, 40), rng.integers(0, 2, 6)
    groups = np.repeat([0, 1], 40)
    values = knn_shapley(np.r_[x, x], np.r_[y, 1 - y], tests, test_y, neighbours=1, groups=groups)
    assert np.all(np.asarray(values[40:]) == 0)
    close(values[:40], knn_shapley(x, y, tests, test_y, neighbours=1))


def test_groups_sum_to_what_they_add(data, close):
    groups = np.array(GROUPINGS["three groups, a small one last"])
    for normalise in ("neighbours", "size"):
        values = knn_shapley(*data, neighbours=3, groups=groups, normalise=normalise)
        v = knn_utility(*data, neighbours=3, measure="soft", normalise=normalise)
        added = [float(v(groups <= t) - v(groups < t)) for t in range(3)]
        close(owner_totals(values, groups), added)


def test_blocks_and_jit_change_nothing(data, close, monkeypatch):
    groups = GROUPINGS["two groups"]
    values = knn_shapley(*data, neighbours=3, groups=groups, normalise="size")
    monkeypatch.setattr(
        module, "AT_ONCE", 2 * (16 * 7 + 8 * 3 * 3)
    )  # two test points at a time, the last block filled up
    close(knn_shapley(*data, neighbours=3, groups=groups, normalise="size"), values)

    def of_arrays(train_x, train_y, test_x, test_y):
        return knn_shapley(train_x, train_y, test_x, test_y, neighbours=3, groups=groups, normalise="size")

    close(jax.jit(of_arrays)(*map(jnp.asarray, data)), values)
    assert values.dtype == jnp.zeros(1).dtype


def test_the_same_shape_is_compiled_once(data):
    knn_shapley(*data, neighbours=3)
    compiled = module._block_sum._cache_size()
    knn_shapley(data[0] + 1, data[1], data[2], data[3], neighbours=3)
    assert module._block_sum._cache_size() == compiled


def test_many_instances_against_the_one_group_recursion(close):
    """Jia et al., Theorem 1, in NumPy, on 300 instances: the sort and the sums at a size beyond enumeration."""
    rng = np.random.default_rng(5)
    x, y, tests, test_y = (
        rng.normal(size=(300, 4)),
        rng.integers(0, 3, 300),
        rng.normal(size=(20, 4)),
        np.arange(20) % 3,
    )
    n, K = 300, 7
    x, tests = x.astype(np.float32), tests.astype(np.float32)
    expected = np.zeros(n)
    for t in range(20):
        order = in_order(x, tests[t])
        a = (y[order] == test_y[t]).astype(float)
        value = np.zeros(n)
        value[n - 1] = a[n - 1] / n
        for i in range(n - 1, 0, -1):
            value[i - 1] = value[i] + (a[i - 1] - a[i]) / K * min(K, i) / i
        expected[order] += value / 20
    close(knn_shapley(x, y, tests, test_y, neighbours=K), expected)


def test_many_instances_in_groups_against_the_printed_recursion(close):
    """36 instances in three groups of 12, K = 4, where the recursion as printed is exact for division by K."""
    rng = np.random.default_rng(6)
    data = rng.normal(size=(36, 2)), rng.integers(0, 2, 36), rng.normal(size=(8, 2)), rng.integers(0, 2, 8)
    groups = rng.permutation(np.arange(36) % 3)
    expected = on_data(lambda right, g: as_printed(right, g, 4), *data, groups)
    close(knn_shapley(*data, neighbours=4, groups=groups), expected)


def accuracy(labels, wanted, ties):
    """The score of the neighbours' majority."""
    if not labels:
        return 0.0
    votes = {label: labels.count(label) for label in labels}
    winners = sorted(label for label in votes if votes[label] == max(votes.values()))
    return float(winners[0] == wanted) if ties == "smallest" else (wanted in winners) / len(winners)


@pytest.mark.parametrize("K", [2, 9])
@pytest.mark.parametrize("ties", ["shared", "smallest"])
def test_accuracy_against_a_count_of_votes(data, K, ties, close):
    """K = 2 counts votes neighbour by neighbour, 9 class by class; all 128 coalitions."""
    train_x, train_y, test_x, test_y = data
    orders = [in_order(train_x, x) for x in test_x]
    masks = np.array(list(itertools.product([False, True], repeat=7)))
    expected = [
        np.mean(
            [
                accuracy([int(train_y[i]) for i in order if mask[i]][:K], y, ties)
                for order, y in zip(orders, test_y, strict=True)
            ]
        )
        for mask in masks
    ]
    close(jax.vmap(knn_utility(*data, neighbours=K, measure="accuracy", ties=ties))(masks), expected)


def test_many_neighbours_are_sorted_and_few_taken_one_by_one(data, monkeypatch, close):
    masks = jnp.asarray(list(itertools.product([False, True], repeat=7)))
    few = jax.vmap(knn_utility(*data, neighbours=5, measure="accuracy"))(masks)
    monkeypatch.setattr(neighbour_utilities, "PASSES", 4)
    close(jax.vmap(knn_utility(*data, neighbours=5, measure="accuracy"))(masks), few)


def test_the_default_score_is_that_of_the_exact_values(data, close):
    """Shapley values of the utilities' table, or of all permutations, are `knn_shapley` without a word on the score."""
    exact = knn_shapley(*data, neighbours=3)
    close(shapley(tabulate(knn_utility(*data, neighbours=3), 7)), exact)
    permutations = np.array(list(itertools.permutations(range(7))))
    marginals = np.diff(np.asarray(jax.vmap(knn_path_utility(*data, neighbours=3))(permutations)), axis=1)
    values = np.zeros(7)
    np.add.at(values, permutations, marginals / len(permutations))
    close(values, exact)


@pytest.mark.parametrize("kind", ["far from the origin", "two far clusters", "one large feature", "ordinary"])
def test_features_keep_the_digits_in_which_they_came(kind):
    """The order of float64 features is that of their distances in float64, in both precisions, traced or not."""
    rng = np.random.default_rng(5)
    train_x, test_x = 0.05 * rng.uniform(-1, 1, (60, 3)), 0.05 * rng.uniform(-1, 1, (9, 3))
    train_y, test_y, told_apart = rng.integers(0, 2, 60), rng.integers(0, 2, 9), 60
    if kind == "far from the origin":
        train_x, test_x = train_x + 1e4, test_x + 1e4
    elif kind == "two far clusters":
        train_x[::2], test_x[::2] = train_x[::2] + 1e6, test_x[::2] + 1e6
        told_apart = 30  # distances to the other cluster differ by less than single precision holds
    elif kind == "one large feature":
        train_x[:, 0], test_x[:, 0] = 1.6e9 + train_x[:, 0], 1.6e9 + test_x[:, 0]
    expected = np.array([in_order(train_x, x) for x in test_x])
    train, _, test, _ = check_instances(train_x, train_y, test_x, test_y)
    known = nearest_first(distances(test, train))
    traced = jax.jit(lambda: nearest_first(distances(test, train)))()
    for order in (known, traced):
        np.testing.assert_array_equal(order[:, :told_apart], expected[:, :told_apart])


def test_values_of_features_far_from_the_origin(close):
    """Moving all features by 2^13, which float64 does without rounding here, moves no value."""
    rng = np.random.default_rng(6)
    train_x, test_x = (np.round(rng.uniform(size=(size, 2)) * 2**20) / 2**24 for size in (40, 12))
    train_y, test_y = rng.integers(0, 3, 40), rng.integers(0, 3, 12)
    masks = rng.integers(0, 2, (20, 40)).astype(bool)
    for make in (
        lambda x, t: knn_shapley(x, train_y, t, test_y, neighbours=3),
        lambda x, t: jax.jit(lambda: knn_shapley(x, train_y, t, test_y, neighbours=3))(),
        lambda x, t: jax.vmap(knn_utility(x, train_y, t, test_y, neighbours=3))(masks),
    ):
        close(make(train_x + 2.0**13, test_x + 2.0**13), make(train_x, test_x))


@pytest.mark.parametrize("score", ["accuracy", "soft"])
@pytest.mark.parametrize("normalise", ["neighbours", "size"])
def test_along_a_permutation_as_coalition_by_coalition(data, score, normalise, close):
    options = {"neighbours": 3, "measure": score, "normalise": normalise}
    utility = knn_utility(*data, **options)
    along = jax.jit(knn_path_utility(*data, **options))
    for permutation in np.random.default_rng(0).permuted(np.tile(np.arange(7), (4, 1)), axis=1):
        prefixes = np.argsort(permutation)[None, :] < np.arange(8)[:, None]
        close(along(permutation), jax.vmap(utility)(prefixes))


@pytest.mark.parametrize("normalise", ["neighbours", "size"])
def test_all_permutations_give_the_exact_value(data, normalise, close):
    """(7) by enumeration: the 3! 3! 1! permutations that respect the groups, each followed by insertions."""
    groups = [0, 1, 0, 1, 0, 2, 1]
    parts = [[i for i in range(7) if groups[i] == t] for t in range(3)]
    permutations = np.array([sum(parts, ()) for parts in itertools.product(*map(itertools.permutations, parts))])
    along = knn_path_utility(*data, neighbours=3, measure="soft", normalise=normalise)
    marginals = np.diff(np.asarray(jax.vmap(along)(permutations)), axis=1)
    values = np.zeros(7)
    np.add.at(values, permutations, marginals / len(permutations))
    close(knn_shapley(*data, neighbours=3, groups=groups, normalise=normalise), values)


def test_sampled_along_permutations(data, close):
    """The same sample as coalition by coalition, and within five standard errors of the exact values."""
    groups = GROUPINGS["three groups, a small one last"]
    options = {"neighbours": 3, "measure": "soft"}
    sampling = {"permutations": 40, "groups": groups}
    key = jax.random.key(0)
    estimate = sample_shapley_along_paths(key, knn_path_utility(*data, **options), 7, per_ask=12, **sampling)
    expected = sample_shapley(key, knn_utility(*data, **options), 7, **sampling)
    close(estimate.values, expected.values)
    close(estimate.standard_errors, expected.standard_errors)
    assert int(estimate.evaluations) == int(expected.evaluations)
    exact = knn_shapley(*data, neighbours=3, groups=groups)
    assert np.all(np.abs(estimate.values - exact) <= 5 * np.asarray(estimate.standard_errors) + 1e-6)
    assert float(jnp.max(estimate.standard_errors)) > 0


def test_sampled_along_permutations_with_objectives_and_one_player(close):
    gifts = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    def along(order):
        return jnp.concatenate([jnp.zeros((1, 2)), jnp.cumsum(gifts[order], axis=0)])

    estimate = sample_shapley_along_paths(jax.random.key(0), along, 3, permutations=4, antithetic=False)
    close(estimate.values, gifts)
    close(
        sample_shapley_along_paths(jax.random.key(0), lambda order: jnp.array([1.0, 3.0]), 1, permutations=4).values,
        [2],
    )


def test_totals_of_owners(close):
    values = np.array([[1.0, 0.0], [2.0, 1.0], [4.0, 0.5]])
    close(owner_totals(values, [1, 0, 1], num=3), [[2, 1], [5, 0.5], [0, 0]])
    close(jax.jit(lambda owners: owner_totals(values, owners, num=3))(jnp.array([1, 0, 1])), [[2, 1], [5, 0.5], [0, 0]])


HUGE = 2 * float(np.sqrt(jnp.finfo(jnp.zeros(0).dtype).max))
X, Y, TEST_X, TEST_Y = [[0.0], [1.0], [2.0]], [0, 1, 0], [[0.5], [1.5]], [0, 1]


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, [0, 1], TEST_X, TEST_Y), {}, r"train_y: expected \(3,\) integer labels"),
        ((X, Y, TEST_X, [0, 1, 1]), {}, r"test_y: expected \(2,\) integer labels"),
        ((X, [0.5, 1.0, 2.0], TEST_X, TEST_Y), {}, "train_y.*numpy.unique"),
        ((X, ["a", "b", "a"], TEST_X, TEST_Y), {}, "train_y.*numpy.unique"),
        (([[0.0], [np.nan], [1.0]], Y, TEST_X, TEST_Y), {}, "train_x: expected finite numbers; got nan"),
        ((X, Y, [[0.0], [np.inf]], TEST_Y), {}, "test_x: expected finite numbers; got inf"),
        ((X, Y, [[0.0, 1.0], [0.0, 1.0]], TEST_Y), {}, r"test_x: expected \(tests, 1\) features"),
        (([0.0, 1.0, 2.0], Y, TEST_X, TEST_Y), {}, "train_x: expected"),
        ((np.zeros((0, 1)), np.zeros(0, int), TEST_X, TEST_Y), {}, "train_x: expected at least one instance"),
        ((X, Y, np.zeros((0, 1)), np.zeros(0, int)), {}, "test_x: expected at least one instance"),
        (
            (np.zeros((3, 0)), Y, np.zeros((2, 0)), TEST_Y),
            {},
            "train_x: expected at least one instance of at least one",
        ),
        (([[HUGE], [1.0], [2.0]], Y, [[-HUGE], [0.0]], TEST_Y), {}, "train_x, test_x: expected distances that fit"),
        ((X, Y, TEST_X, TEST_Y), {"neighbours": 0}, "neighbours: expected a whole number of at least 1; got 0"),
        ((X, Y, TEST_X, TEST_Y), {"neighbours": 1.5}, "neighbours: expected a whole number"),
    ],
)
@pytest.mark.parametrize("function", [knn_shapley, knn_utility, knn_path_utility])
def test_wrong_data_is_refused(function, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments, **{"neighbours": 1, **options})


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": [0, 2, 0]}, "groups: expected the groups 0, 1, ... without a gap; got"),
        ({"groups": [1, 1, 2]}, "groups: expected the groups 0, 1, ... without a gap; got"),
        ({"groups": [0, 0, -1]}, "groups: expected the groups 0, 1, ..."),
        ({"groups": [0, 1]}, r"groups: expected \(3,\) groups"),
        ({"groups": [0.0, 1.0, 1.0]}, "groups: .*float"),
        ({"normalise": "both"}, "normalise: expected one of 'neighbours', 'size'; got 'both'"),
    ],
)
def test_wrong_options_of_the_exact_values_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        knn_shapley(X, Y, TEST_X, TEST_Y, neighbours=1, **options)


@pytest.mark.mistakes
def test_wrong_options_of_the_utilities_are_refused():
    with pytest.raises(ValueError, match="measure: expected one of 'accuracy', 'soft'"):
        knn_utility(X, Y, TEST_X, TEST_Y, neighbours=1, measure="hard")
    with pytest.raises(ValueError, match="ties: expected one of 'shared', 'smallest'"):
        knn_path_utility(X, Y, TEST_X, TEST_Y, neighbours=1, ties="largest")
    with pytest.raises(ValueError, match="make the utility outside jit"):
        jax.jit(lambda x: knn_utility(x, Y, TEST_X, TEST_Y, neighbours=1)(jnp.ones(3, bool)))(jnp.asarray(X))
    with pytest.raises(ValueError, match=r"groups.*close over them outside jit"):
        jax.jit(lambda g: knn_shapley(X, Y, TEST_X, TEST_Y, neighbours=1, groups=g))(jnp.zeros(3, int))


@pytest.mark.mistakes
def test_utilities_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"path_utility: expected utilities \(4, \*objectives\); got shape \(3,\)"):
        sample_shapley_along_paths(jax.random.key(0), lambda order: jnp.zeros(3), 3, permutations=4)
    with pytest.raises(ValueError, match="utility: expected finite numbers"):
        sample_shapley_along_paths(jax.random.key(0), lambda order: jnp.full(4, jnp.nan), 3, permutations=4)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("owners", "options", "message"),
    [
        ([0, 1], {}, r"owners: expected \(3,\) owners"),
        ([0, 1, 3], {"num": 3}, r"owners: expected numbers in \[0, 3\); got 0 to 3"),
        ([0, 1, -1], {}, "owners: expected numbers in"),
        ([0, 1, 1], {"num": 0}, "num: expected a whole number"),
    ],
)
def test_wrong_owners_are_refused(owners, options, message):
    with pytest.raises(ValueError, match=message):
        owner_totals([1.0, 2.0, 3.0], owners, **options)


@pytest.mark.parametrize("normalise", ["neighbours", "size"])
@pytest.mark.parametrize(
    "grouping", ["one group", pytest.param("two groups", marks=pytest.mark.float64), "three groups, a small one last"]
)
def test_weighted_neighbours_are_those_of_the_definition(grouping, normalise, close):
    """The same enumeration with the kernel's weight in place of 1 for a right label, for few and many neighbours."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(7, 2)), rng.integers(0, 2, 7)
    tests, test_y = rng.normal(size=(2, 2)), rng.integers(0, 2, 2)
    groups = np.array(GROUPINGS[grouping])
    for K in (2, 9):
        expected = np.zeros(7)
        for point, label in zip(tests, test_y, strict=True):
            squared = ((x - point) ** 2).sum(axis=1)
            order = np.argsort(squared)
            a = np.exp(-squared) * (y == label)
            expected[order] += by_definition(a[order], groups[order], K, normalise) / 2
        found = knn_shapley(
            x,
            y,
            tests,
            test_y,
            neighbours=K,
            groups=groups,
            normalise=normalise,
            kernel=lambda squared: jnp.exp(-squared),
        )
        close(found, expected)


def test_distances_are_those_of_the_embedding(close):
    rng = np.random.default_rng(4)
    images, y = rng.integers(0, 255, (9, 4, 4), dtype=np.uint8), rng.integers(0, 2, 9)
    calls = []

    def embed(block):
        calls.append(len(block))
        return block.reshape(len(block), -1)[:, :3] / 255.0

    found = knn_shapley(images[:6], y[:6], images[6:], y[6:], neighbours=2, embed=embed)
    close(found, knn_shapley(embed(images[:6]), y[:6], embed(images[6:]), y[6:], neighbours=2))
    assert calls[:2] == [6, 3]


@pytest.mark.mistakes
def test_mistakes_of_kernels_and_embeddings_are_named():
    rows = [[1.0], [2.0]], [0, 1], [[0.0]], [1]
    with pytest.raises(ValueError, match="kernel: expected finite weights"):
        knn_shapley(*rows, neighbours=1, kernel=lambda squared: squared * jnp.nan)
    with pytest.raises(ValueError, match=r"embed: expected an embedding \(rows, dimensions\) of train_x"):
        knn_shapley(*rows, neighbours=1, embed=lambda block: block[:, 0])
