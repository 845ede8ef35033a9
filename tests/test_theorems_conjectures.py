"""The counterexamples of conjectures once more, in plain NumPy, with their numbers written out."""

import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.once


def shares(rankings, weights):
    """P(i ≻ j), 1/2 on the diagonal."""
    matrix = np.eye(len(rankings[0])) / 2
    for ranking, weight in zip(rankings, weights, strict=True):
        for place, better in enumerate(ranking):
            for worse in ranking[place + 1 :]:
                matrix[better, worse] += weight
    return matrix


def bounds(matrix):
    return np.where(np.eye(len(matrix)) == 1, 1, matrix).min(axis=1)


def test_nobody_can_rank_0_first():
    """conjectures/largest-share: of all 120 rankings, none with 0 first fits voters 10324 and 20413."""
    matrix = shares([(1, 0, 3, 2, 4), (2, 0, 4, 1, 3)], [0.5, 0.5])
    np.testing.assert_array_equal(bounds(matrix), [0.5, 0.5, 0.5, 0, 0])
    certain = [(i, j) for i in range(5) for j in range(5) if i != j and matrix[i, j] == 1]
    assert sorted(certain) == [(0, 3), (0, 4), (1, 3), (2, 4)]
    for ranking in itertools.permutations(range(5)):
        place = {y: k for k, y in enumerate(ranking)}
        fits = all(place[i] < place[j] for i, j in certain)
        # 4 ≻ 1 makes 0 ≻ 4 ≻ 1, 3 ≻ 2 makes 0 ≻ 3 ≻ 2; all four have 1/2, so that each pair is one half of the voters.
        halves = (place[0] < place[1]) == (place[4] < place[1]) and (place[0] < place[2]) == (place[3] < place[2])
        assert not (fits and halves and ranking[0] == 0)
    assert matrix[0, 1] == matrix[4, 1] == matrix[0, 2] == matrix[3, 2] == 0.5


def test_half_of_the_box_is_out_of_reach():
    """conjectures/box-is-feasible: voters 0123 and 2130; whoever does not rank 0 first ranks 2 first or 1 first, but
    never (0, 1/2, 1/2, 0): 0 is first in exactly half."""
    matrix = shares([(0, 1, 2, 3), (2, 1, 3, 0)], [0.5, 0.5])
    np.testing.assert_array_equal(bounds(matrix), [0.5, 0.5, 0.5, 0])
    # 0 ≻ 1, 0 ≻ 2 and 0 ≻ 3 hold for half each; 1 ≻ 3 and 2 ≻ 3 for all. Where 0 ≻ 1 then 0 ≻ 3, so these are one half
    # of the voters, and likewise with 2: that half ranks 0 above 1, 2 and 3, so w_0 = 1/2 in every profile.
    assert matrix[0, 1] == matrix[0, 2] == matrix[0, 3] == 0.5
    assert matrix[1, 3] == matrix[2, 3] == 1
    box = np.array([0, 0.5, 0.5, 0])
    assert (box <= bounds(matrix)).all()
    assert box.sum() == 1
    feasible = [np.array([0.5, b, 0.5 - b, 0]) for b in np.linspace(0, 0.5, 11)]
    assert min(np.abs(box - w).sum() / 2 for w in feasible) == 0.5


def test_the_box_can_share_nothing_with_what_is_feasible():
    """conjectures/box-is-feasible: voters 243051 and 534120; 2 is first in one half and 5 in the other.

    For all 2, 3, 4 ≻ 0 and 3, 4, 5 ≻ 1. So 0 ≻ 5, which half say, implies 2, 3, 4 ≻ 5, said by half each: all of them
    or none. Likewise 1 ≻ 2 with 3, 4, 5 ≻ 2. Nobody says both 2 ≻ 5 and 5 ≻ 2.
    """
    matrix = shares([(2, 4, 3, 0, 5, 1), (5, 3, 4, 1, 2, 0)], [0.5, 0.5])
    np.testing.assert_array_equal(bounds(matrix), [0, 0, 0.5, 0.5, 0.5, 0.5])
    certain = [(i, j) for i in range(6) for j in range(6) if matrix[i, j] == 1]
    assert set(certain) >= {(2, 0), (3, 0), (4, 0), (3, 1), (4, 1), (5, 1)}
    assert {matrix[i, 5] for i in (0, 2, 3, 4)} | {matrix[i, 2] for i in (1, 3, 4, 5)} == {0.5}
    firsts = set()
    for ranking in itertools.permutations(range(6)):
        place = {y: k for k, y in enumerate(ranking)}
        fits = all(place[i] < place[j] for i, j in certain)
        one = len({place[i] < place[5] for i in (0, 2, 3, 4)}) == 1
        other = len({place[i] < place[2] for i in (1, 3, 4, 5)}) == 1
        if fits and one and other:
            firsts.add(ranking[0])
    assert firsts == {2, 5}


def test_a_bound_that_no_report_attains():
    """conjectures/manipulation-bound-attained: half want 0, a quarter each rank 1203 and 2103: 2/5 against 1/2."""
    best = 0
    for report in itertools.permutations((1, 2, 3)):
        u = bounds(shares([(0, *report), (1, 2, 0, 3), (2, 1, 0, 3)], [0.5, 0.25, 0.25]))
        assert u[0] == 0.5
        best = max(best, u[0] / u.sum())
    np.testing.assert_allclose(best, 2 / 5)
    assert 0.5 / (0.5 + 1 - 0.5) == 0.5


def test_tokens_and_responses_part():
    """conjectures/token-level: after token 0 both sources give 3/4, 1/8, 1/8, elsewhere a third each."""
    source = np.array([[3 / 4, 1 / 8, 1 / 8], [1 / 3] * 3, [1 / 3] * 3]) / 3
    whole = source**2 / (1 / 9)
    whole /= whole.sum()
    first_by_response = whole.sum(axis=1)
    first_by_token = np.array([1 / 3, 1 / 3, 1 / 3]) ** 2 / (1 / 3)
    np.testing.assert_allclose(first_by_token, [1 / 3] * 3)
    # 3 (9/16 + 1/64 + 1/64) = 57/32 against 1 and 1
    np.testing.assert_allclose(first_by_response, np.array([57 / 32, 1, 1]) / (57 / 32 + 2))


def test_sources_that_cancel():
    """conjectures/union-is-milder: 1 to 3 and 30 to 10."""
    assert abs(np.log(1 / 3) + np.log(30 / 10)) < 1e-15
    assert np.log(31 / 13) > 0.86


def test_banzhaf_after_duplication():
    """conjectures/halving: two sources that are both needed; 1/2 each before, 3/8 each of the originals after."""

    def banzhaf(players, worth):
        value = np.zeros(players)
        for mask in itertools.product((0, 1), repeat=players):
            for i in range(players):
                if not mask[i]:
                    value[i] += (worth([*mask[:i], 1, *mask[i + 1 :]]) - worth(mask)) / 2 ** (players - 1)
        return value

    assert banzhaf(2, lambda s: s[0] and s[1]).tolist() == [1 / 2, 1 / 2]
    assert banzhaf(4, lambda s: (s[0] or s[2]) and (s[1] or s[3])).tolist() == [3 / 8] * 4
