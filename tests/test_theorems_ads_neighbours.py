"""What fails as printed about nearest-neighbour values, by hand: small numbers, fractions, all coalitions in a loop."""

import itertools
import math
from fractions import Fraction

import pytest

pytestmark = pytest.mark.once

HALF, THIRD, QUARTER = Fraction(1, 2), Fraction(1, 3), Fraction(1, 4)


def by_size(right, K):
    """(12): the share of right labels among the K' = min(K, |S|) nearest, 0 for nobody; instances nearest first."""

    def v(S):
        nearest = [right[i] for i in sorted(S)[:K]]
        return Fraction(sum(nearest), len(nearest)) if nearest else Fraction(0)

    return v


def by_k(right, K):
    """The same sum over K."""
    return lambda S: Fraction(sum(right[i] for i in sorted(S)[:K]), K)


def majority(right, K):
    """1 where most of the K nearest are right, 1/2 where the vote is tied."""

    def v(S):
        nearest = [right[i] for i in sorted(S)[:K]]
        votes = 2 * sum(nearest) - len(nearest)
        return Fraction(0) if not nearest else Fraction((votes > 0) - (votes < 0) + 1, 2)

    return v


def ads(v, groups):
    """(9), coalition by coalition."""
    values = []
    for z, t in enumerate(groups):
        earlier = {i for i, g in enumerate(groups) if g < t}
        others = [i for i, g in enumerate(groups) if g == t and i != z]
        value = Fraction(0)
        for size in range(len(others) + 1):
            for chosen in itertools.combinations(others, size):
                S = earlier | set(chosen)
                value += (v(S | {z}) - v(S)) / ((len(others) + 1) * math.comb(len(others), size))
        values.append(value)
    return values


def test_definition_5_2_divides_by_nobody():
    """ads/definition-5.2: K' = min(K, 0)."""
    with pytest.raises(ZeroDivisionError):
        Fraction(0, min(1, 0))


def test_neighbours_beyond_the_group():
    """ads/neighbour-index: one earlier instance and one of the group, K = 2."""
    group, everybody, K = 1, 2, 2
    assert min(K, everybody) > group


def test_case_2_for_the_fraction():
    """ads/theorem-5.1, item 2: a right label before a wrong one, K = 2."""
    first, second = ads(by_size([1, 0], 2), [0, 0])
    assert (first, second) == (3 * QUARTER, -QUARTER)
    printed = Fraction(1 - 0, 2) * min(2 - 0, 1) / 1
    assert first - second == 1
    assert printed == HALF
    R = 1 - HALF  # m = 2, p = 0: s = 0 alone, 1/1 - 1/2
    assert printed + R * (1 - 0) == first - second
    first, second = ads(by_k([1, 0], 2), [0, 0])
    assert first - second == printed


def test_case_3_for_the_fraction():
    """ads/theorem-5.1, item 3: right, wrong of an earlier group, wrong; K = 3, c_1 = 0, c_2 = 1; its sum is empty."""
    first, _, last = ads(by_size([1, 0, 0], 3), [1, 0, 1])
    assert (first, last) == (Fraction(5, 12), Fraction(-1, 12))
    printed = Fraction(1 - 0, 3) * min(3 - 1, 1) / 1
    assert printed == THIRD
    assert list(range(3 - 1, 2 - 2 + 1)) == []
    assert first - last == HALF == printed + (HALF - THIRD)
    first, _, last = ads(by_k([1, 0, 0], 3), [1, 0, 1])
    assert first - last == printed


def test_base_case_2():
    """ads/base-case (ii): wrong before right, K = 3, c_max = 0."""
    printed = Fraction(3 - 0, 3 * 2)
    assert printed == HALF
    assert ads(by_size([0, 1], 3), [0, 0])[1] == 3 * QUARTER
    assert ads(by_k([0, 1], 3), [0, 0])[1] == THIRD == Fraction(min(3, 2), 3 * 2)
    #  1/m Σ x_s: alone (a - v(∅))/1 = 1, after the other (1 - 0)/2
    assert (1 + HALF) / 2 == 3 * QUARTER


def test_the_base_case_counts_sizes_that_the_group_has_not():
    """ads/base-case-sizes: one right instance, K = 2; only s = 0 occurs, and Δ_max(∅) is printed as 1/2."""
    sizes = range(1)
    assert sum(Fraction(1, 2) / math.comb(0, s) for s in sizes) / 1 == HALF
    assert Fraction(2 - 0, 2 * 1) == 1
    assert ads(by_k([1], 2), [0]) == [HALF] == [Fraction(min(2, 1), 2 * 1)]


def test_base_case_3():
    """ads/base-case (iii): right before a wrong one of an earlier group, K = 2, c_max = 0 < m(P) = 1."""
    printed = Fraction(2 - 0, 2 * 1) - Fraction(0 + 0, 2)
    assert printed == 1
    assert ads(by_size([1, 0], 2), [1, 0])[0] == HALF
    assert ads(by_k([1, 0], 2), [1, 0])[0] == HALF


def test_base_case_3_with_all_neighbours_it_asks_for():
    """ads/base-case-sizes in (iii): right before two wrong ones of an earlier group, K = 2."""
    assert Fraction(2 - 0, 2 * 1) - Fraction(0 + 0, 2) == 1
    for utility in (by_size, by_k):
        assert ads(utility([1, 0, 0], 2), [1, 0, 0])[0] == HALF


def test_base_case_3_asks_for_a_neighbour_that_is_not_there():
    """ads/base-case-neighbours: K = 2, m(P) = 1, c_max = 0: s = 0 asks for the second."""
    K, earlier, c = 2, 1, 0
    assert [K - s for s in range(K - c)] == [2, 1]
    assert max(K - s for s in range(K - c)) > earlier


def test_marginals_of_few_neighbours():
    """ads/neighbours-displaced, ads/equation-16 and ads/base-case-regimes: K = 2, nobody there."""
    v = by_size([1, 0], 2)
    assert v({0}) - v(set()) == 1 > HALF
    assert v({0}) - v({1}) == 1 > Fraction(1 - 0, 2)
    assert by_k([1, 0], 2)({0}) - by_k([1, 0], 2)({1}) == HALF


def test_binomials():
    """ads/beta-integral, ads/exchanged-binomials, and the sizes that ads/base-case-sizes counts."""
    assert math.comb(0, 1) == 0  # N = 0, k = 1: 1/C(N,k) is 1/0
    i, m, s, u, k = 1, 4, 0, 0, 1
    left = Fraction(math.comb(i - 1, u) * math.comb(m - i - 1, s - u), math.comb(m - 2, k))
    right = Fraction(math.comb(s, u) * math.comb(m - 2 - s, i - 1 - u), math.comb(m - 2, i - 1))
    assert (left, right) == (HALF, 1)
    assert math.comb(m - 2, s) == 1  # with k = s both are 1
    others = []  # m = 1: nobody beside q_max
    assert list(itertools.combinations(others, 1)) == []  # K = 2: the layer s = 1 sums to 0, not to 1


def test_the_whole_recursion():
    """ads/algorithm-2: wrong before right, K = 3; the values do not sum to what the group adds."""
    last = Fraction(3, 3 * 2)
    first = last + Fraction(0 - 1, 3) * min(3, 1) / 1
    assert (first, last) == (Fraction(1, 6), HALF)
    assert first + last == 2 * THIRD
    for utility, values, total in (
        (by_size, [-QUARTER, 3 * QUARTER], HALF),
        (by_k, [0, THIRD], THIRD),
    ):
        v = utility([0, 1], 3)
        assert ads(v, [0, 0]) == values
        assert v({0, 1}) - v(set()) == sum(values) == total


def test_ties_counted_strictly():
    """ads/ties-counted-strictly: K = 1, a right label of group 0 and a wrong one of group 1 tie, group 0 first."""
    assert ads(by_size([1, 0], 1), [0, 1]) == ads(by_k([1, 0], 1), [0, 1]) == [1, 0]
    strictly_nearer, K, m = 0, 1, 1
    assert Fraction(min(K - strictly_nearer, m), K * m) * 0 - Fraction(1, K * m) == -1


def test_the_share_is_not_the_vote():
    """ads/knn-accuracy: right, right, wrong, K = 3; for K = 2 they are one."""
    assert sum(ads(by_size([1, 1, 0], 3), [0, 0, 0])) == 2 * THIRD
    assert sum(ads(majority([1, 1, 0], 3), [0, 0, 0])) == 1
    for K in (1, 2):
        for right in itertools.product([0, 1], repeat=4):
            assert ads(by_size(right, K), [0, 1, 0, 1]) == ads(majority(right, K), [0, 1, 0, 1])


def test_double_sums_grow_with_k():
    """The bound of ads/knn-complexity grows with K: two groups alternate, m of each, K = m: m(m-1)/2 ≤ K(m-1) terms."""
    for m in (2, 5, 20):
        K, c = m, list(range(1, m + 1))
        terms = 0
        for here, after in itertools.pairwise(c):
            low = max(K - after, 0)
            terms += sum(1 for s in range(low, m - 1) for u in range(low, min(K - here - 1, s) + 1))
        assert terms == m * (m - 1) // 2
