"""Where statements on asymmetric data Shapley fail as printed: each counterexample by hand, in plain NumPy."""

import itertools
import math

import numpy as np
import pytest

pytestmark = pytest.mark.once


def value(v, groups):
    """The mean gain over the permutations whose groups are in order; v takes a set of players 0, 1, ..."""
    players = range(len(groups))
    orders = [
        o for o in itertools.permutations(players) if all(groups[x] <= groups[y] for x, y in itertools.pairwise(o))
    ]
    phi = np.zeros(len(groups))
    for order in orders:
        for place, z in enumerate(order):
            phi[z] += (v(set(order[: place + 1])) - v(set(order[:place]))) / len(orders)
    return phi


def test_two_sources_worth_one_each():
    """ads/axiom-4.1: v(S) = |S|. Both add 1 to anything, and Axiom 4.1 gives the earlier one 0."""
    assert value(len, [0, 1]).tolist() == [1, 1]


def test_an_original_and_its_copy():
    """ads/axiom-4.1: either is worth 1, both together no more; the original gets 1, and 0 by the axiom as printed."""
    assert value(lambda members: float(len(members) > 0), [0, 1]).tolist() == [1, 0]


def test_no_value_obeys_the_four_axioms_as_printed():
    """ads/theorem-4.1: two sources, φ = A v with v = (v(∅), v(1), v(2), v(12)), 1 before 2.

    On |S| the axiom asks φ_1 = 0. Nullity and efficiency on v = 1 where 1 is there ask φ_1 = 1, and on v = 1 where 2 is
    there φ_1 = 0; |S| is their sum.
    """
    one, two = np.array([0, 1, 0, 1.0]), np.array([0, 0, 1, 1.0])
    rows, right = np.array([one, two, one + two]), np.array([1.0, 0.0, 0.0])
    best = np.linalg.lstsq(rows, right, rcond=None)[0]
    np.testing.assert_allclose(rows @ best - right, [-1 / 3, -1 / 3, 1 / 3])


def test_three_of_the_axioms_as_printed_can_be_met():
    """ads/theorem-4.1: all to the last source, nothing to anybody, or all to the last one who is not null."""
    for table in ([0, 1, 1, 2], [1, 3, 3, 0], [0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]):
        empty, one, two, both = table
        all_to_last = np.array([0, both - empty])
        assert all_to_last.sum() == both - empty
        first_null, second_null = one == empty and both == two, two == empty and both == one
        last_not_null = np.array([both - empty, 0]) if second_null else all_to_last
        assert last_not_null.sum() == both - empty
        assert not first_null or last_not_null[0] == 0
        assert not second_null or last_not_null[1] == 0
        assert one != two or last_not_null[0] == 0


def test_a_weight_of_zero():
    """ads/equation-14: weights 0 and 1 in one group; the permutation (1, 2) begins with the factor 0/0."""
    with np.errstate(invalid="ignore"):
        assert np.isnan(np.float64(0.0) / np.float64(0.0) * (1 / 1))
    assert (1 / 1) * (0 / 1) == 0


def test_a_minimiser_that_is_not_the_same():
    """ads/lemma-3.1: two hypotheses of scores 0 and 1 fit one source and its copy; both together take the second."""
    scores = {0: 0.0, 1: 0.0, 2: 1.0}
    phi = value(lambda members: scores[len(members)], [0, 0])
    assert phi.tolist() == [0.5, 0.5]
    assert phi[0] != (scores[1] - scores[0]) / 2 == 0


def test_the_mean_loss_of_nothing():
    """ads/equation-4: |Ins(∅)| = 0."""
    with np.errstate(invalid="ignore"):
        assert np.isnan(np.sum([]) / np.float64(0))


def test_a_copy_that_is_paid():
    """ads/duplicates-gain is of all copies together: losses (0, 3) and (4, 0), scores 0 and 1; 2 and 3 are copies."""
    losses, scores = np.array([[0, 3], [4, 0]]), np.array([0.0, 1.0])

    def v(members):
        counts = np.array([len(members & {0, 2}), len(members & {1, 3})])
        return scores[np.argmin(losses @ counts)] if members else 0.0

    assert [v({0, 1}), v({0, 1, 2}), v({0, 1, 3}), v({0, 1, 2, 3})] == [0, 0, 1, 0]
    np.testing.assert_allclose(value(v, [0, 0, 1, 1])[2:], [-0.5, 0.5])
    alone = value(lambda members: v({[0, 1, 3][z] for z in members}), [0, 0, 1])  # only b is copied
    assert alone.tolist() == [-0.5, 0.5, 1]  # b's owner has 3/2, and 1/2 without the copy
    assert value(v, [0, 0]).tolist() == [-0.5, 0.5]


def test_copies_of_neighbours_that_harm():
    """ads/duplicates-neighbours: K = 3, the nearest is wrong, the next two are right."""
    labels = np.array([0, 1, 1])
    assert labels[:3].mean() == 2 / 3
    np.testing.assert_allclose(np.repeat(labels, 2)[:3].mean(), 1 / 3)


def test_identical_votes_have_equal_values_in_three_of_four_cases():
    """ads/lemma-3.2 and ads/only-if-insensitive: votes z, w, z in three rounds, worth 1 if the total is above 0."""
    worth = [0, 1]

    def gain(total, vote):
        return worth[total + vote > 0] - worth[total > 0]

    values = {(z, w): (gain(0, z), gain(z + w, z)) for z in (1, -1) for w in (1, -1)}
    assert values == {(1, 1): (1, 0), (1, -1): (1, 1), (-1, 1): (0, 0), (-1, -1): (0, 0)}
    assert gain(1, 1) != gain(0, 1)  # the utility depends on the state


def test_trained_at_once_and_round_by_round():
    """ads/remark-4.1: updates add the mean of what comes in; everybody brings 1, and A is worth A."""

    def mean(members):
        return float(len(members) > 0)

    np.testing.assert_allclose(value(mean, [0, 0, 1, 1]), [0.5, 0.5, 0, 0])
    state = 0 + mean({0, 1})
    np.testing.assert_allclose(value(lambda members: state + mean(members), [0, 0]), [0.5, 0.5])


def test_nothing_varies_and_nothing_is_drawn():
    """ads/definition-5.1: v(S) = |S|, r = 0: m* = 0, and Algorithm 1 keeps the 0 that it begins with."""
    assert math.ceil(0.0**2 / (2 * 0.5**2) * math.log(2 * 2 / 0.05)) == 0
    assert abs(0 - value(len, [0, 0])[0]) > 0.5


def test_accuracies_that_rise_and_fall():
    """ads/accuracy-range: accuracy 1 with one of two sources; ε = 0.99, δ = 0.05 and r = 1 give three permutations."""

    def odd(members):
        return float(len(members) == 1)

    assert math.ceil(1 / (2 * 0.99**2) * math.log(2 * 2 / 0.05)) == 3
    assert value(odd, [0, 0]).tolist() == [0, 0]
    errors = [
        abs(np.mean([1 if first else -1 for first in draw])) for draw in itertools.product([True, False], repeat=3)
    ]
    assert np.mean(np.array(errors) <= 0.99) == 0.75 < 1 - 0.05


def test_errors_of_perfect_ratings():
    """ads/average-error: 64 profiles of three attributes with four levels; the first is worth 12."""
    design = np.array([np.eye(4)[list(profile)].reshape(-1) for profile in itertools.product(range(4), repeat=3)])
    truth = np.zeros(12)
    truth[0] = 12
    found = np.linalg.lstsq(design, design @ truth, rcond=None)[0]
    assert np.linalg.matrix_rank(design) == 10
    np.testing.assert_allclose(found - truth, [-2] * 4 + [1] * 8, atol=1e-12)
    np.testing.assert_allclose(np.abs(found - truth).mean(), 4 / 3)
