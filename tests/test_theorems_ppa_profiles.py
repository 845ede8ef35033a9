"""Population-proportional alignment, sections 2 to 4.1: what fails as printed, by hand, in numbers."""

import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.once


def literally(rankings, weights):
    """Equation (1) to the letter, and first choices: rankings as tuples, best first."""
    size = len(rankings[0])
    matrix, first = np.zeros((size, size)), np.zeros(size)
    for ranking, weight in zip(rankings, weights, strict=True):
        first[ranking[0]] += weight
        for i, j in itertools.product(range(size), repeat=2):
            matrix[i, j] += weight * (ranking.index(i) < ranking.index(j))
    return matrix, first


def test_nobody_prefers_an_alternative_to_itself():
    """ppa/equation-1: the sum at y = y' is 0, where (28) has 1/2 + 1/2."""
    matrix, _ = literally([(0, 1)], [1.0])
    np.testing.assert_array_equal(matrix, [[0, 1], [0, 0]])
    np.testing.assert_array_equal(matrix + matrix.T, [[0, 1], [1, 0]])


def test_a_group_without_members_has_no_profile():
    """ppa/groups and ppa/definition-3.2: σ_1 = 0/0 for one voter with 0 first."""
    _, first = literally([(0, 1)], [1.0])
    with np.errstate(invalid="ignore"):
        own = np.array([0.0, 0.0]) / first[1]
        manipulated = np.array([1.0, 0.0]) + first[1] * (np.array([0.0, 1.0]) - own)
    assert np.isnan(own).all()
    assert np.isnan(manipulated).all()


def test_no_rewards_are_most_likely_for_one_voter():
    """ppa/rlhf: L = log sigmoid(r_0 - r_1) rises for ever; maximal Borda takes 0 all the same."""
    matrix, _ = literally([(0, 1)], [1.0])
    likelihoods = [matrix[0, 1] * -np.log1p(np.exp(-t)) for t in (0.0, 1.0, 10.0, 30.0)]
    assert likelihoods == sorted(set(likelihoods))
    assert likelihoods[-1] < 0
    assert matrix.sum(axis=1).tolist() == [1, 0]
    # Mixed with 1/2 it has them: (1 - t) P + t/2 with t = 1/2 is 3/4 against 1/4, and r_0 - r_1 = log 3.
    gains = np.linspace(-4, 4, 8001)
    best = gains[np.argmax(-0.75 * np.log1p(np.exp(-gains)) - 0.25 * np.log1p(np.exp(gains)))]
    assert abs(best - np.log(3)) < 1e-3


def test_the_game_of_equation_1_is_not_constant_sum():
    """ppa/nlhf: shares 0.6 and 0.4 with P(y ≻ y) = 0; its equilibrium is (0.4, 0.6), with 1/2 it is (1, 0)."""
    matrix = np.array([[0, 0.6], [0.4, 0]])
    same = np.array([1.0, 0.0])
    assert same @ matrix @ same + same @ matrix @ same == 0
    chances = np.linspace(0, 1, 1001)
    policies = np.stack([chances, 1 - chances], axis=1)
    np.testing.assert_allclose(policies[np.argmax((policies @ matrix).min(axis=1))], [0.4, 0.6], atol=1e-12)
    halved = matrix + np.eye(2) / 2
    np.testing.assert_allclose(policies[np.argmax((policies @ halved).min(axis=1))], [1, 0], atol=1e-12)


def test_an_empty_group_that_gets_nothing_has_no_ratio():
    """ppa/definition-3.1: random dictatorship for one voter, (1, 0)/(1, 0)."""
    with np.errstate(invalid="ignore"):
        ratios = np.array([1.0, 0.0]) / np.array([1.0, 0.0])
    assert ratios[0] == 1
    assert np.isnan(ratios[1])


@pytest.mark.parametrize(
    ("epsilon", "lottery"), [(1 / 12, [1 / 4, 1 / 4, 1 / 2]), (1 / 100, [0.03, 0.03, 0.94]), (1 / 4, [1, 0, 0])]
)
def test_lottery_of_the_manipulated_matrix(epsilon, lottery):
    """ppa/equation-25: ε = 1/12 as printed; at ε = 1/4 it is deterministic. An equilibrium has pᵀP ≥ 1/2."""
    third = 1 / 3
    rankings = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 1, 0)]
    weights = [(third + epsilon) / 2] * 2 + [(third - epsilon) / 2] * 2 + [third]
    matrix = literally(rankings, weights)[0] + np.eye(3) / 2
    printed = [
        [1 / 2, 1 / 3 + epsilon, (1 + epsilon) / 2],
        [2 / 3 - epsilon, 1 / 2, (1 - epsilon) / 2],
        [(1 - epsilon) / 2, (1 + epsilon) / 2, 1 / 2],
    ]
    np.testing.assert_allclose(matrix, printed, atol=1e-12)
    payoffs = np.array(lottery) @ matrix
    assert payoffs.min() >= 0.5 - 1e-12
    if epsilon == 1 / 4:  # y1 beats both, 7/12 and 5/8, so that no other lottery is an equilibrium
        np.testing.assert_allclose(matrix[0, 1:], [7 / 12, 5 / 8], atol=1e-12)


def test_borda_scores_of_the_misreport():
    """ppa/equation-26, as printed."""
    weights = [0.30, 0.45, 0.25]
    true, _ = literally([(0, 1, 2), (1, 0, 2), (2, 0, 1)], weights)
    false, _ = literally([(0, 1, 2), (1, 2, 0), (2, 0, 1)], weights)
    np.testing.assert_allclose(true.sum(axis=1), [1.3, 1.2, 0.5])
    np.testing.assert_allclose(false.sum(axis=1), [0.85, 1.2, 0.95])


def test_two_alternatives_tell_their_shares():
    """ppa/random-dictatorship-not-implementable: with M = 2 P is w; with M = 3, (27) has two w behind one P."""
    for share in (0.0, 0.3, 1.0):
        matrix, first = literally([(0, 1), (1, 0)], [share, 1 - share])
        assert [matrix[0, 1], matrix[1, 0]] == first.tolist()
    one = literally([(0, 1, 2), (1, 0, 2), (2, 0, 1)], [1 / 3] * 3)
    other = literally([(0, 1, 2), (2, 1, 0)], [2 / 3, 1 / 3])
    np.testing.assert_allclose(one[0], [[0, 2 / 3, 2 / 3], [1 / 3, 0, 2 / 3], [1 / 3, 1 / 3, 0]])
    np.testing.assert_allclose(one[0], other[0])
    np.testing.assert_allclose([one[1], other[1]], [[1 / 3, 1 / 3, 1 / 3], [2 / 3, 0, 1 / 3]], atol=1e-12)


def test_reports_without_a_range_reach_beyond_the_box():
    """ppa/equation-31: P = 1/2, w = (0.8, 0.1, 0.1) and reports of -3 and 4."""
    half = 0.5
    groups = np.array(
        [
            [[half, 1, 1], [0, half, half], [0, half, half]],
            [[half, 0, -3], [1, half, 1], [4, 0, half]],
            [[half, -3, 0], [4, half, 0], [1, 1, half]],
        ]
    )
    np.testing.assert_allclose(groups + groups.swapaxes(1, 2), np.ones((3, 3, 3)))
    np.testing.assert_allclose(np.einsum("k,kij->ij", [0.8, 0.1, 0.1], groups), np.full((3, 3), 0.5))
    assert 0.8 > 0.5  # u_1


def test_an_alternative_is_not_above_itself():
    """ppa/equation-32: setting row and column of y_k to 1 and to 0 cannot give 1/2 where they cross."""
    matrix = np.full((3, 3), 0.5)
    for first, second in (
        ((0, slice(None), 1.0), (slice(None), 0, 0.0)),
        ((slice(None), 0, 0.0), (0, slice(None), 1.0)),
    ):
        set_both = matrix.copy()
        for row, column, value in (first, second):
            set_both[row, column] = value
        sums = set_both + set_both.T
        assert sums[0, 0] in (0, 2)
        sums[0, 0] = 1
        np.testing.assert_array_equal(sums, 1)


def test_nobody_else_votes():
    """ppa/equation-32: voters 0 1 2 and 1 0 2, w = (1/2, 1/2, 0): 0/0 for group 2."""
    matrix, first = literally([(0, 1, 2), (1, 0, 2)], [0.5, 0.5])
    assert first.tolist() == [0.5, 0.5, 0]
    assert matrix[0, 1] - first[0] == 0
    assert 1 - first[0] - first[1] == 0


def test_a_point_of_the_box_that_no_four_alternative_profile_has():
    """ppa/appendix-I-gap: voters 0123 and 2130, w = (0, 1/2, 1/2, 0)."""
    matrix, _ = literally([(0, 1, 2, 3), (2, 1, 3, 0)], [0.5, 0.5])
    bounds = [np.delete(matrix[i], i).min() for i in range(4)]
    assert bounds == [0.5, 0.5, 0.5, 0]
    w = np.array([0, 0.5, 0.5, 0])
    of_group_1 = [(matrix[i, j] - w[i]) / (1 - w[i] - w[j]) for i, j in [(0, 2), (2, 3), (3, 0)]]
    assert of_group_1 == [1, 1, 0.5]
    most = max(
        sum(ranking.index(i) < ranking.index(j) for i, j in [(0, 2), (2, 3), (3, 0)])
        for ranking in itertools.permutations(range(4))
    )
    assert most == 2 < sum(of_group_1)
    # In every ranking 1{0 first} ≥ 1{0 ≻ 1} + 1{0 ≻ 2} - 1{0 ≻ 3} - 1{3 ≻ 1} - 1{3 ≻ 2}, so that w_0 ≥ 1/2 given P.
    signs = {(0, 1): 1, (0, 2): 1, (0, 3): -1, (3, 1): -1, (3, 2): -1}
    for ranking in itertools.permutations(range(4)):
        total = sum(sign * (ranking.index(i) < ranking.index(j)) for (i, j), sign in signs.items())
        assert (ranking[0] == 0) >= total
    assert sum(sign * matrix[i, j] for (i, j), sign in signs.items()) == 0.5 > w[0]


def test_maximal_lotteries_are_not_monotone():
    """ppa/lotteries-not-monotone at d = 0.1: 12/24 before, 12/30 after 102 has lifted 0 above 1."""
    weights = [0.3, 0.3, 0.3, 0.1]
    for last, lottery in (((1, 0, 2), [0.5, 0.25, 0.25]), ((0, 1, 2), [0.4, 0.2, 0.4])):
        matrix = literally([(0, 1, 2), (1, 2, 0), (2, 0, 1), last], weights)[0] + np.eye(3) / 2
        margins = [matrix[1, 2] - 0.5, matrix[2, 0] - 0.5, matrix[0, 1] - 0.5]
        assert min(margins) > 0  # a cycle: its only equilibrium is in proportion to the opposite margins
        np.testing.assert_allclose(np.array(margins) / sum(margins), lottery, atol=1e-12)
        np.testing.assert_allclose(lottery @ matrix, 0.5, atol=1e-12)
