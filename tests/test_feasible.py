"""Feasible shares against plain enumerations: every basic solution for M <= 4, and programs of another form beyond."""

from itertools import combinations, permutations
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from jaxval import _checks
from jaxval.social_choice import (
    box_distance,
    extended_membership,
    extended_shares,
    feasible_membership,
    feasible_shares,
    feasible_shares_solve,
    support_function,
)

APPENDIX_F = np.array([[1 / 2, 2 / 3, 2 / 3], [1 / 3, 1 / 2, 2 / 3], [1 / 3, 1 / 3, 1 / 2]])
CYCLE = np.array([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
UNANIMOUS_OVER_CYCLE = np.block([[np.full((1, 1), 0.5), np.ones((1, 3))], [np.zeros((3, 1)), CYCLE]])


def matrix_of(orders, weights=None):
    """P and the shares of first choices, in float64, by the definition."""
    orders = np.asarray(orders)
    weights = np.full(len(orders), 1 / len(orders)) if weights is None else np.asarray(weights)
    alternatives = orders.shape[1]
    matrix, shares = np.full((alternatives, alternatives), 0.5), np.zeros(alternatives)
    for i, j in permutations(range(alternatives), 2):
        matrix[i, j] = sum(
            weight for order, weight in zip(orders.tolist(), weights, strict=True) if order.index(i) < order.index(j)
        )
    for order, weight in zip(orders, weights, strict=True):
        shares[order[0]] += weight
    return matrix, shares


def random_profile(rng, alternatives, voters):
    return np.argsort(rng.random((voters, alternatives)), axis=1)


def random_skew(rng, alternatives):
    """Any preference function: each pair drawn alone, so mostly of no profile."""
    above = np.triu(rng.random((alternatives, alternatives)), 1)
    return above + np.tril(1 - above.T, -1) + np.eye(alternatives) / 2


def share_bounds(matrix):
    return np.array([min([row[j] for j in range(len(row)) if j != i], default=1) for i, row in enumerate(matrix)])


def basic_solutions(system, right):
    """Every x ≥ 0 with system @ x = right on linearly independent columns; the system holds integers."""
    rows, columns = system.shape
    choices = np.array(list(combinations(range(columns), rows)))
    for chunk in np.array_split(choices, 1 + len(choices) // 20_000):
        bases = np.moveaxis(system[:, chunk], 1, 0)
        regular = np.abs(np.linalg.det(bases)) > 0.5  # determinants of integers are integers
        solutions = np.linalg.solve(bases[regular], np.broadcast_to(right[:, None], (regular.sum(), rows, 1)))[..., 0]
        held = (solutions >= -1e-10).all(axis=1)
        for basis, solution in zip(chunk[regular][held], solutions[held], strict=True):
            x = np.zeros(columns)
            x[basis] = solution
            yield x


def feasible_vertices(matrix):
    """Points whose convex hull is W(P): the shares of all basic profiles with this P."""
    alternatives = len(matrix)
    orders = list(permutations(range(alternatives)))
    pairs = list(combinations(range(alternatives), 2))
    system = np.array([[order.index(i) < order.index(j) for order in orders] for i, j in pairs] + [[1] * len(orders)])
    first = np.array([[order[0] == i for order in orders] for i in range(alternatives)])
    right = np.array([matrix[i, j] for i, j in pairs] + [1])
    points = np.array([first @ x for x in basic_solutions(system.astype(float), right)])
    return np.unique(points.round(9), axis=0)


def box_vertices(matrix):
    """Points whose convex hull is {w ∈ Δ : w_i ≤ u_i}: basic solutions of w + slack = u, Σw = 1."""
    alternatives = len(matrix)
    identity = np.eye(alternatives)
    system = np.block([[identity, identity], [np.ones((1, alternatives)), np.zeros((1, alternatives))]])
    points = [x[:alternatives] for x in basic_solutions(system, np.append(share_bounds(matrix), 1))]
    return np.unique(np.array(points).round(9), axis=0)


def distance_to_hull(point, vertices):
    """min over mixtures of the vertices of the total variation to the point, with |·| as two inequalities."""
    count, size = vertices.shape
    result = linprog(
        np.append(np.zeros(count), np.full(size, 0.5)),
        A_ub=np.block([[vertices.T, -np.eye(size)], [-vertices.T, -np.eye(size)]]),
        b_ub=np.append(point, -point),
        A_eq=np.append(np.ones(count), np.zeros(size))[None],
        b_eq=[1],
        # HiGHS's default of 1e-7 may ignore a share of 5e-8.
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert result.status == 0
    return result.fun


def extended_program(matrix, direction):
    """max d·w over the extended set by a program in w and Q_k = w_k P_k, or None where it is empty.

    Σ_k Q_k(i ≻ j) = P(i ≻ j), where Q_i(i ≻ j) = w_i, Q_j(i ≻ j) = 0 and otherwise 0 ≤ Q_k(i ≻ j) ≤ w_k.
    """
    alternatives = len(matrix)
    free = [(i, j, k) for i, j in combinations(range(alternatives), 2) for k in range(alternatives) if k not in (i, j)]
    size = alternatives + len(free)
    equal, right, less = [np.append(np.ones(alternatives), np.zeros(len(free)))], [1.0], []
    for i, j in combinations(range(alternatives), 2):
        row = np.zeros(size)
        row[i] = 1
        row[[alternatives + n for n, (a, b, _) in enumerate(free) if (a, b) == (i, j)]] = 1
        equal.append(row)
        right.append(matrix[i, j])
    for n, (_, _, k) in enumerate(free):
        row = np.zeros(size)
        row[alternatives + n], row[k] = 1, -1
        less.append(row)
    result = linprog(
        np.append(-np.asarray(direction), np.zeros(len(free))),
        A_eq=np.array(equal),
        b_eq=right,
        A_ub=np.array(less) if less else None,
        b_ub=np.zeros(len(less)) if less else None,
    )
    assert result.status in (0, 2)
    return -result.fun if result.status == 0 else None


def check_witness(profile, matrix, shares, *, atol=1e-9):
    """The profile has positive weights, few rankings, this P and these shares."""
    alternatives = len(matrix)
    assert (profile.weights > 0).all()
    assert len(profile.weights) <= alternatives * (alternatives - 1) / 2 + alternatives
    found, first = matrix_of(profile.orders, profile.weights)
    np.testing.assert_allclose(found, matrix, rtol=0, atol=atol)
    np.testing.assert_allclose(first, shares, rtol=0, atol=atol)
    assert abs(profile.weights.sum() - 1) < 1e-12


# The feasible set against enumeration


THREE = [
    matrix_of([[0, 1, 2], [1, 2, 0], [2, 0, 1]])[0],
    matrix_of([[0, 1, 2]])[0],
    matrix_of([[0, 1, 2], [2, 1, 0]])[0],
    matrix_of([[0, 1, 2], [1, 2, 0], [2, 1, 0]], [0.5, 0.2, 0.3])[0],
    matrix_of([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]], [0.3, 0.1, 0.05, 0.2, 0.15, 0.2])[0],
    APPENDIX_F,
]
FOUR = [
    matrix_of([[0, 1, 2, 3], [2, 1, 3, 0]])[0],
    matrix_of([[0, 1, 2, 3], [2, 1, 3, 0], [3, 0, 2, 1]], [0.5, 0.3, 0.2])[0],
    matrix_of([[0, 1, 2, 3], [1, 3, 0, 2], [2, 0, 3, 1], [3, 2, 1, 0]], [0.4, 0.3, 0.2, 0.1])[0],
]


@pytest.fixture(scope="module")
def enumerated():
    """The vertices of W(P) by brute force, for a few P."""
    return [(matrix, feasible_vertices(matrix)) for matrix in THREE + FOUR]


@pytest.mark.float64
def test_shares_are_the_ends_of_the_enumerated_set(enumerated):
    for matrix, vertices in enumerated:
        shares = feasible_shares(matrix)
        np.testing.assert_allclose(shares.smallest, vertices.min(axis=0), rtol=0, atol=1e-8)
        np.testing.assert_allclose(shares.largest, vertices.max(axis=0), rtol=0, atol=1e-8)


def test_support_function_is_the_largest_over_the_enumerated_set(enumerated, rng):
    for matrix, vertices in enumerated:
        for direction in rng.normal(size=(3, len(matrix))):
            point = support_function(matrix, direction)
            assert abs(point.value - (vertices @ direction).max()) < 1e-8
            assert abs(point.value - point.shares @ direction) < 1e-12
            check_witness(point.profile, matrix, point.shares)


@pytest.mark.float64
def test_membership_is_the_distance_to_the_enumerated_set(enumerated, rng):
    for matrix, vertices in enumerated:
        inside = rng.dirichlet(np.ones(len(vertices))) @ vertices
        for shares in (inside / inside.sum(), *np.eye(len(matrix)), *rng.dirichlet(np.full(len(matrix), 0.3), size=8)):
            gap, profile = feasible_membership(matrix, shares)
            assert abs(gap - distance_to_hull(shares, vertices)) < 1e-8
            nearest = np.bincount(profile.orders[:, 0], profile.weights, minlength=len(matrix))
            assert abs(np.abs(nearest - shares).sum() / 2 - gap) < 1e-12
            check_witness(profile, matrix, nearest)


def test_box_distance_is_the_hausdorff_distance_of_the_enumerated_sets(enumerated):
    for matrix, vertices in enumerated:
        distances = [distance_to_hull(corner, vertices) for corner in box_vertices(matrix)]
        found = box_distance(matrix)
        assert abs(found.distance - max(distances)) < 1e-8
        assert abs(np.abs(found.shares - found.nearest).sum() / 2 - found.distance) < 1e-12
        assert (found.shares <= share_bounds(matrix) + 1e-9).all()
        assert distance_to_hull(found.nearest, vertices) < 1e-8
        np.testing.assert_allclose(found.above, share_bounds(matrix) - vertices.max(axis=0), rtol=0, atol=1e-8)
        np.testing.assert_allclose(
            found.below, vertices.min(axis=0) - box_vertices(matrix).min(axis=0), rtol=0, atol=1e-8
        )


# By hand


def test_appendix_f():
    """Two profiles, one P. With three alternatives W(P) is the box, here w_0 ≤ 2/3, w_1 ≤ 1/3, w_2 ≤ 1/3."""
    assert feasible_membership(APPENDIX_F, [1 / 3, 1 / 3, 1 / 3])[0] < 1e-9
    gap, profile = feasible_membership(APPENDIX_F, [2 / 3, 0, 1 / 3])
    assert gap < 1e-9
    check_witness(profile, APPENDIX_F, [2 / 3, 0, 1 / 3])
    shares = feasible_shares(APPENDIX_F)
    np.testing.assert_allclose(shares.smallest, [1 / 3, 0, 0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(shares.largest, [2 / 3, 1 / 3, 1 / 3], rtol=0, atol=1e-9)
    assert box_distance(APPENDIX_F).distance < 1e-9


def test_the_box_is_too_large_with_four_alternatives():
    """Voters 0123 and 2130: w = (0, 1/2, 1/2, 0) lies in the box, and no profile has it.

    1 and 2 are above 3 for all. If half had 1 first and half 2, P(0 ≻ 1) = P(0 ≻ 2) = 1/2 would put 0 above 2 in the
    first half and above 1 in the second, so above 3 for all; but P(0 ≻ 3) = 1/2.
    """
    matrix, _ = matrix_of([[0, 1, 2, 3], [2, 1, 3, 0]])
    found = box_distance(matrix)
    np.testing.assert_allclose(found.shares, [0, 0.5, 0.5, 0], rtol=0, atol=1e-9)
    assert abs(found.distance - 0.5) < 1e-9
    np.testing.assert_allclose(found.above, 0, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.below, [0.5, 0, 0, 0], rtol=0, atol=1e-9)
    assert extended_membership(matrix, [0, 0.5, 0.5, 0])[0] < 1e-9


def test_with_five_alternatives_a_bound_can_be_out_of_reach():
    """Voters 10324 and 20413: u_0 = 1/2, yet nobody can have 0 first. W(P) = {(0, 1/2, 1/2, 0, 0)}.

    For all, 0 ≻ 3, 0 ≻ 4, 1 ≻ 3 and 2 ≻ 4. So 4 ≻ 1 implies 0 ≻ 1, and as half hold each, it is the same half; likewise
    3 ≻ 2 and 0 ≻ 2. Whoever has 0 first then has 4 ≻ 1 ≻ 3 ≻ 2 ≻ 4, a cycle.
    """
    matrix, shares = matrix_of([[1, 0, 3, 2, 4], [2, 0, 4, 1, 3]])
    assert share_bounds(matrix).tolist() == [0.5, 0.5, 0.5, 0, 0]
    found = feasible_shares(matrix)
    np.testing.assert_allclose(found.smallest, shares, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.largest, shares, rtol=0, atol=1e-9)
    gap = box_distance(matrix)
    np.testing.assert_allclose(gap.above, [0.5, 0, 0, 0, 0], rtol=0, atol=1e-9)
    assert abs(gap.distance - 0.5) < 1e-9


def test_one_and_two_alternatives():
    """One voter group decides all; with two alternatives P is w."""
    assert feasible_shares([[0.5]]).largest.tolist() == [1]
    assert feasible_shares([[0.5]]).smallest.tolist() == [1]
    assert feasible_membership([[0.5]], [1.0])[0] == 0
    assert box_distance([[0.5]]).distance == 0
    assert extended_shares([[0.5]]).smallest.tolist() == [1]
    gap, groups = extended_membership([[0.5]], [1.0])
    assert gap == 0
    assert groups.matrices.tolist() == [[[0.5]]]
    for share in (0.0, 0.25, 1.0):
        matrix = np.array([[0.5, share], [1 - share, 0.5]])
        for shares in (feasible_shares(matrix), extended_shares(matrix)):
            np.testing.assert_allclose(shares, [[share, 1 - share]] * 2, rtol=0, atol=1e-12)
        gap, profile = feasible_membership(matrix, [0.5, 0.5])
        assert abs(gap - abs(share - 0.5)) < 1e-12
        check_witness(profile, matrix, [share, 1 - share])


def test_all_pairs_tied():
    """P = 1/2: any ranking and its reverse, so any two may have all first choices, half each."""
    for alternatives in (3, 4, 5):
        matrix = np.full((alternatives, alternatives), 0.5)
        shares = feasible_shares(matrix)
        np.testing.assert_allclose(shares.smallest, 0, rtol=0, atol=1e-9)
        np.testing.assert_allclose(shares.largest, 0.5, rtol=0, atol=1e-9)
        assert box_distance(matrix).distance < 1e-9


# Theorem 4.4 and what there is to say beyond it


@pytest.mark.parametrize("alternatives", [3, 4, 5])
def test_true_shares_are_feasible_and_below_the_bounds(alternatives, rng):
    for voters in (1, 2, 3, 7, 40):
        matrix, shares = matrix_of(random_profile(rng, alternatives, voters))
        gap, profile = feasible_membership(matrix, shares)
        assert gap < 1e-9
        check_witness(profile, matrix, shares)
        found, diagnostics = feasible_shares_solve(matrix)
        assert diagnostics.converged
        assert not diagnostics.empty
        assert diagnostics.error < 1e-9
        assert (found.smallest <= shares + 1e-9).all()
        assert (shares <= found.largest + 1e-9).all()
        assert (found.largest <= share_bounds(matrix) + 1e-9).all()
        np.testing.assert_array_equal(feasible_shares(matrix), found)


@pytest.mark.float64
def test_seven_alternatives(rng):
    matrix, shares = matrix_of(random_profile(rng, 7, 5))
    found = feasible_shares(matrix)
    assert (found.smallest <= shares + 1e-9).all()
    assert (shares <= found.largest + 1e-9).all()
    assert (found.largest <= share_bounds(matrix) + 1e-9).all()
    gap, profile = feasible_membership(matrix, shares)
    assert gap < 1e-9
    check_witness(profile, matrix, shares)


def test_group_matrices_of_proposition_4_2(rng):
    """Split by first choice, the witness gives P_k with P_k(k ≻ ·) = 1 and Σ_k w_k P_k = P."""
    for alternatives in (3, 4, 5):
        matrix, shares = matrix_of(random_profile(rng, alternatives, 6))
        _, profile = feasible_membership(matrix, shares)
        total = np.zeros_like(matrix)
        for k in np.flatnonzero(shares):
            group = profile.orders[:, 0] == k
            weight = profile.weights[group].sum()
            own, _ = matrix_of(profile.orders[group], profile.weights[group] / weight)
            assert np.delete(own[k], k).min() > 1 - 1e-12
            total += weight * own
        np.testing.assert_allclose(total, matrix, rtol=0, atol=1e-9)


@pytest.mark.float64
def test_with_three_alternatives_the_box_is_exact(rng):
    """P_k with k first ranks two others: any skew-symmetric one is of a profile, so W(P) is the extended set."""
    kinds = set()
    for _ in range(25):
        matrix = random_skew(rng, 3)
        _, diagnostics = feasible_shares_solve(matrix)
        kinds.add(diagnostics.empty)
        assert diagnostics.empty == (share_bounds(matrix).sum() < 1)
        if not diagnostics.empty:
            np.testing.assert_allclose(feasible_shares(matrix), extended_shares(matrix), rtol=0, atol=1e-9)
            assert box_distance(matrix).distance < 1e-9
            shares = rng.dirichlet(np.ones(3))
            gap = feasible_membership(matrix, shares)[0]
            assert abs(gap - extended_membership(matrix, shares)[0]) < 1e-9
    assert kinds == {True, False}


def test_with_four_alternatives_every_bound_is_reached():
    """A proof by enumeration that the largest feasible share is u_i for every P of four alternatives.

    Take i = 0 and P(0 ≻ 1) the least of the P(0 ≻ j). Such P of profiles lie in the polytope of 0 ≤ P ≤ 1,
    1 ≤ P(a ≻ b) + P(b ≻ c) + P(c ≻ a) ≤ 2, P(0 ≻ 1) ≤ P(0 ≻ 2) and P(0 ≻ 1) ≤ P(0 ≻ 3). All its vertices turn out to be
    rankings with 0 first or 1 above 0. So P is a mixture of these, where exactly those with 0 first, in all
    P(0 ≻ 1) = u_0, have 0 above 1.
    """
    pairs = list(combinations(range(4), 2))

    def row(i, j):
        """P(i ≻ j) as (coefficients of the six pairs, constant)."""
        coefficients = np.zeros(6)
        if i < j:
            coefficients[pairs.index((i, j))] = 1
            return coefficients, 0
        coefficients[pairs.index((j, i))] = -1
        return coefficients, 1

    less = []  # coefficients · p ≤ right
    for i, j in permutations(range(4), 2):
        coefficients, constant = row(i, j)
        less.append((coefficients, 1 - constant))
    for a, b, c in combinations(range(4), 3):
        rows = [row(a, b), row(b, c), row(c, a)]
        total, constant = sum(r[0] for r in rows), sum(r[1] for r in rows)
        less += [(total, 2 - constant), (-total, constant - 1)]
    for j in (2, 3):
        less.append((row(0, 1)[0] - row(0, j)[0], 0))
    left, right = np.array([r[0] for r in less]), np.array([float(r[1]) for r in less])
    choices = np.array(list(combinations(range(len(left)), 6)))
    bases = left[choices]
    regular = np.abs(np.linalg.det(bases)) > 0.5
    points = np.linalg.solve(bases[regular], right[choices[regular]][..., None])[..., 0]
    vertices = np.unique(points[(points @ left.T <= right + 1e-9).all(axis=1)].round(9), axis=0)
    rankings = [r for r in permutations(range(4)) if r[0] == 0 or r.index(1) < r.index(0)]
    expected = [[float(r.index(i) < r.index(j)) for i, j in pairs] for r in rankings]
    assert sorted(np.abs(vertices).tolist()) == sorted(expected)


def test_box_distance_bounds_the_distance_of_every_point_in_the_box(rng):
    for alternatives in (4, 5):
        matrix, _ = matrix_of(random_profile(rng, alternatives, 3))
        found = box_distance(matrix)
        assert abs(feasible_membership(matrix, found.shares)[0] - found.distance) < 1e-9
        corners = box_vertices(matrix)
        for mixture in rng.dirichlet(np.ones(len(corners)), size=5):
            shares = mixture @ corners
            assert feasible_membership(matrix, shares / shares.sum())[0] <= found.distance + 1e-8


def test_renaming_the_alternatives_renames_the_answers(rng):
    matrix, _ = matrix_of(random_profile(rng, 4, 5))
    names = np.array([2, 0, 3, 1])
    renamed = matrix[np.ix_(names, names)]
    np.testing.assert_allclose(
        np.array(feasible_shares(renamed)), np.array(feasible_shares(matrix))[:, names], rtol=0, atol=1e-9
    )
    assert abs(box_distance(renamed).distance - box_distance(matrix).distance) < 1e-9


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_every_profile_lies_in_its_own_feasible_set(data):
    alternatives = data.draw(st.integers(2, 4))
    orders = data.draw(st.lists(st.permutations(range(alternatives)), min_size=1, max_size=4))
    direction = data.draw(st.lists(st.integers(-3, 3), min_size=alternatives, max_size=alternatives))
    matrix, shares = matrix_of(orders)
    assert feasible_membership(matrix, shares)[0] < 1e-9
    assert support_function(matrix, direction).value >= shares @ direction - 1e-9
    assert extended_membership(matrix, shares)[0] < 1e-9


# No profile


def test_a_strict_cycle_comes_from_no_profile():
    """P(0 ≻ 1) + P(1 ≻ 2) + P(2 ≻ 0) is 3, and 2 at most in a profile: some entry is off by 1/3."""
    shares, diagnostics = feasible_shares_solve(CYCLE)
    assert diagnostics.empty
    assert diagnostics.converged
    assert abs(diagnostics.error - 1 / 3) < 1e-9
    assert np.isnan(shares).all()
    nearest, _ = matrix_of(diagnostics.nearest.orders, diagnostics.nearest.weights)
    assert abs(np.abs(nearest - CYCLE).max() - 1 / 3) < 1e-9
    for call in (feasible_shares, box_distance):
        with pytest.raises(ValueError, match=r"profile of complete strict rankings.*0\.333"):
            call(CYCLE)
    with pytest.raises(ValueError, match=r"0\.333"):
        feasible_membership(CYCLE, [1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"0\.333"):
        support_function(CYCLE, [1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="Σu = 0"):
        extended_shares(CYCLE)


def test_all_prefer_one_and_cycle_below_it():
    """P_0 may be cyclic in the extended set, {(1, 0, 0, 0)}; of rankings W(P) is empty."""
    shares = extended_shares(UNANIMOUS_OVER_CYCLE)
    np.testing.assert_array_equal(shares, [[1, 0, 0, 0]] * 2)
    gap, groups = extended_membership(UNANIMOUS_OVER_CYCLE, [1.0, 0.0, 0.0, 0.0])
    assert gap == 0
    np.testing.assert_array_equal(groups.matrices[0], UNANIMOUS_OVER_CYCLE)
    _, diagnostics = feasible_shares_solve(UNANIMOUS_OVER_CYCLE)
    assert diagnostics.empty
    assert abs(diagnostics.error - 1 / 3) < 1e-9


def test_distance_to_the_nearest_profile_is_a_minimum(rng):
    """The nearest profile is as far as it says, and no other drawn at random comes nearer."""
    for alternatives in (3, 4):
        matrix = random_skew(rng, alternatives)
        _, diagnostics = feasible_shares_solve(matrix)
        nearest, _ = matrix_of(diagnostics.nearest.orders, diagnostics.nearest.weights)
        assert abs(np.abs(nearest - matrix).max() - diagnostics.error) < 1e-12
        orders = list(permutations(range(alternatives)))
        for weights in rng.dirichlet(np.full(len(orders), 0.2), size=50):
            assert np.abs(matrix_of(orders, weights)[0] - matrix).max() >= diagnostics.error - 1e-9


def test_rounding_does_not_empty_the_set(rng, x64):
    """P of a few voters lies on the boundary of all P: noise below the tolerance is forgiven, more is not."""
    limit = _checks.tolerance(np.float64 if x64 else np.float32)
    for _ in range(5):
        matrix, shares = matrix_of(random_profile(rng, 4, 2))
        noise = np.triu(rng.uniform(-limit, limit, (4, 4)), 1) / 2
        near = np.clip(matrix + noise - noise.T, 0, 1)
        np.testing.assert_allclose(
            np.array(feasible_shares(near)), np.array(feasible_shares(matrix)), rtol=0, atol=20 * limit
        )
        assert feasible_membership(near, shares)[0] < 20 * limit
    outside = matrix_of([[0, 1, 2], [1, 2, 0]])[0]  # 1 above 2 for all, so P(0 ≻ 2) ≥ P(0 ≻ 1)
    outside[0, 2], outside[2, 0] = outside[0, 2] - 100 * limit, outside[2, 0] + 100 * limit
    diagnostics = feasible_shares_solve(outside)[1]
    assert diagnostics.empty
    np.testing.assert_allclose(diagnostics.error, 100 * limit / 3, rtol=0.02)


def test_float32_input(x64):
    """JAX arrays as the other functions return them."""
    matrix = jax.numpy.asarray(APPENDIX_F)
    shares = feasible_shares(matrix)
    atol = 1e-9 if x64 else 1e-6
    np.testing.assert_allclose(shares.largest, [2 / 3, 1 / 3, 1 / 3], rtol=0, atol=atol)
    assert shares.largest.dtype == np.float64
    assert isinstance(shares.largest, np.ndarray)
    assert feasible_membership(matrix, jax.numpy.asarray([2 / 3, 0, 1 / 3]))[0] < atol
    assert box_distance(matrix).distance < atol


# The extended set


def boundary_matrices(rng):
    """P at the edges of the claim: Σu = 1, ties, entries 0 and 1, no profile, and Σu < 1."""
    yield matrix_of([[0, 1, 2], [1, 2, 0], [2, 0, 1]])[0]
    yield CYCLE
    yield UNANIMOUS_OVER_CYCLE
    yield APPENDIX_F
    yield np.full((4, 4), 0.5)
    yield matrix_of([[1, 0, 3, 2, 4], [2, 0, 4, 1, 3]])[0]
    yield matrix_of([[0, 1, 2, 3], [1, 0, 2, 3]], [0.3, 0.7])[0]
    yield 0.99 * matrix_of([[0, 1, 2], [1, 2, 0], [2, 0, 1]])[0] + 0.01 * CYCLE
    for alternatives in (3, 4, 5):
        for _ in range(4):
            yield random_skew(rng, alternatives)
        for noise in (0.5, 0.9):
            yield noise * matrix_of(random_profile(rng, alternatives, 3))[0] + (1 - noise) * random_skew(
                rng, alternatives
            )


@pytest.mark.float64
def test_extended_set_is_the_box(rng):
    """Appendix I against a program in w and w_k P_k, in random directions and along each axis."""
    kinds = set()
    for matrix in boundary_matrices(rng):
        alternatives = len(matrix)
        bounds = share_bounds(matrix)
        empty = bounds.sum() < 1 - 1e-12
        kinds.add(empty)
        for direction in (*np.eye(alternatives), *-np.eye(alternatives), *rng.normal(size=(3, alternatives))):
            largest = extended_program(matrix, direction)
            assert (largest is None) == empty
            if empty:
                continue
            value, left = 0.0, 1.0  # fill the best coordinates of the box first
            for i in np.argsort(-direction):
                value, left = value + direction[i] * min(bounds[i], left), left - min(bounds[i], left)
            assert abs(largest - value) < 1e-8
        if empty:
            with pytest.raises(ValueError, match="Σu"):
                extended_shares(matrix)
            continue
        shares = extended_shares(matrix)
        for i, direction in enumerate(np.eye(alternatives)):
            assert abs(shares.largest[i] - extended_program(matrix, direction)) < 1e-8
            assert abs(shares.smallest[i] + extended_program(matrix, -direction)) < 1e-8
    assert kinds == {True, False}


def test_bounds_that_rounding_took_below_one(x64):
    """Σu a little below 1: the set is the point u, scaled to sum to one."""
    limit = _checks.tolerance(np.float64 if x64 else np.float32)
    third = 1 / 3 - limit / 6
    matrix = np.array([[0.5, 1 - third, third], [third, 0.5, 1 - third], [1 - third, third, 0.5]])
    shares = extended_shares(matrix)
    np.testing.assert_allclose(shares, np.full((2, 3), 1 / 3), rtol=0, atol=1e-12)
    gap, groups = extended_membership(matrix, [0.5, 0.25, 0.25])
    assert abs(gap - 1 / 6) < 1e-12
    np.testing.assert_allclose(groups.shares, 1 / 3, rtol=0, atol=1e-12)


def check_groups(groups, matrix):
    """Skew-symmetric P_k in [0, 1], unanimous for k, and Σ_k shares_k P_k = P."""
    alternatives = len(matrix)
    total = np.zeros_like(matrix)
    for k, own in enumerate(groups.matrices):
        assert own.min() >= 0
        assert own.max() <= 1
        np.testing.assert_allclose(own + own.T, 1, rtol=0, atol=1e-12)
        assert (np.delete(own[k], k) == 1).all()
        total += groups.shares[k] * own
    np.testing.assert_allclose(total, matrix, rtol=0, atol=1e-9)
    assert groups.matrices.shape == (alternatives,) * 3


def test_equation_32_at_the_vertices_of_the_box_and_inside(rng):
    """At vertices shares are 0 or u, so the arbitrary cases w_k = 0 and w_i + w_j = 1 are met."""
    met = set()
    for matrix in boundary_matrices(rng):
        if share_bounds(matrix).sum() < 1 - 1e-12:
            continue
        corners = box_vertices(matrix)
        inside = rng.dirichlet(np.ones(len(corners))) @ corners
        for shares in (*corners, inside):
            gap, groups = extended_membership(matrix, shares / shares.sum())
            assert gap < 1e-8
            np.testing.assert_allclose(groups.shares, shares, rtol=0, atol=1e-8)
            check_groups(groups, matrix)
            met.add(bool((shares == 0).any()))
            met.add("two groups" if (shares > 0).sum() == 2 else "other")
    assert met == {True, False, "two groups", "other"}


def test_equation_32_as_printed():
    """P_2(0 ≻ 1) = (P(0 ≻ 1) - w_0) / (1 - w_0 - w_1) = (0.6 - 0.5) / 0.3, and so on."""
    matrix = np.array([[0.5, 0.6, 0.7], [0.4, 0.5, 0.45], [0.3, 0.55, 0.5]])
    gap, groups = extended_membership(matrix, [0.5, 0.2, 0.3])
    assert gap < 1e-9
    np.testing.assert_allclose(groups.matrices[2, 0, 1], (0.6 - 0.5) / 0.3, rtol=0, atol=1e-12)
    np.testing.assert_allclose(groups.matrices[1, 0, 2], (0.7 - 0.5) / 0.2, rtol=0, atol=1e-12)
    np.testing.assert_allclose(groups.matrices[0, 1, 2], (0.45 - 0.2) / 0.5, rtol=0, atol=1e-12)


def test_extended_membership_is_the_distance_to_the_box(rng):
    for alternatives in (3, 4, 5):
        matrix, _ = matrix_of(random_profile(rng, alternatives, 5))
        corners = box_vertices(matrix)
        for shares in rng.dirichlet(np.full(alternatives, 0.5), size=6):
            gap, groups = extended_membership(matrix, shares)
            assert abs(gap - distance_to_hull(shares, corners)) < 1e-8
            assert abs(np.abs(groups.shares - shares).sum() / 2 - gap) < 1e-12
            check_groups(groups, matrix)


def test_extended_membership_where_the_box_is_one_point_but_for_rounding():
    """u = w here, with 0.2 a rounding error above u: there is no room to spread it to."""
    for shares in ([0.2, 0.8], [0.4, 0.6], [0.8189978732646997, 0.18100212673530022]):
        matrix = np.array([[0.5, shares[0]], [1 - shares[0], 0.5]])
        gap, groups = extended_membership(matrix, shares)
        assert gap < 1e-9
        np.testing.assert_allclose(groups.shares, shares, rtol=0, atol=1e-9)


def test_extended_set_with_many_alternatives(rng):
    """No rankings are enumerated, so any number of alternatives goes."""
    matrix, shares = matrix_of(random_profile(rng, 12, 9))
    gap, groups = extended_membership(matrix, shares)
    assert gap < 1e-9
    check_groups(groups, matrix)
    found = extended_shares(matrix)
    assert (found.smallest <= shares + 1e-9).all()
    assert (shares <= found.largest + 1e-9).all()


# Solvers that fail


def test_a_failure_of_the_solver_is_no_answer(monkeypatch):
    failed = SimpleNamespace(status=4, message="numerical difficulties", x=None)
    calls = []

    def failing_after(count):
        def solve(*args, **options):
            calls.append(options["options"]["presolve"])
            return failed if len(calls) > count else linprog(*args, **options)

        calls.clear()
        return solve

    monkeypatch.setattr("scipy.optimize.linprog", failing_after(0))
    with pytest.raises(RuntimeError, match="numerical difficulties"):
        feasible_shares(APPENDIX_F)
    assert calls == [True, False]
    for count in (0, 1):
        monkeypatch.setattr("scipy.optimize.linprog", failing_after(count))
        shares, diagnostics = feasible_shares_solve(APPENDIX_F)
        assert not diagnostics.converged
        assert np.isnan(shares).all()
        assert np.isnan(diagnostics.error) == (count == 0)


def test_a_program_that_fails_is_tried_without_presolve(monkeypatch):
    def solve(*args, **options):
        if options["options"]["presolve"]:
            return SimpleNamespace(status=4, message="numerical difficulties", x=None)
        return linprog(*args, **options)

    monkeypatch.setattr("scipy.optimize.linprog", solve)
    np.testing.assert_allclose(feasible_shares(APPENDIX_F).largest, [2 / 3, 1 / 3, 1 / 3], rtol=0, atol=1e-9)


# What users get wrong

OF_THE_MATRIX = [
    feasible_shares,
    feasible_shares_solve,
    box_distance,
    extended_shares,
    lambda matrix: feasible_membership(matrix, [1.0, 0.0, 0.0]),
    lambda matrix: extended_membership(matrix, [1.0, 0.0, 0.0]),
    lambda matrix: support_function(matrix, [1.0, 0.0, 0.0]),
]


@pytest.mark.mistakes
@pytest.mark.parametrize("call", OF_THE_MATRIX)
def test_wrong_matrices(call):
    with pytest.raises(ValueError, match=r"matrix: expected P \+ Pᵀ = 1"):
        call(np.full((3, 3), 0.4))
    with pytest.raises(ValueError, match="matrix: expected a square array"):
        call(np.full((2, 3), 0.5))
    with pytest.raises(ValueError, match="matrix: expected finite numbers"):
        call(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="matrix: expected a square array"):
        call("ballots")


@pytest.mark.mistakes
@pytest.mark.parametrize("call", OF_THE_MATRIX)
def test_tracers_are_refused(call):
    with pytest.raises(ValueError, match="matrix: expected an array with values; got a tracer"):
        jax.jit(call)(APPENDIX_F)


@pytest.mark.mistakes
def test_tracers_of_shares_are_refused():
    with pytest.raises(ValueError, match=r"shares: .*tracer"):
        jax.jit(lambda shares: feasible_membership(APPENDIX_F, shares)[0])(np.full(3, 1 / 3))
    with pytest.raises(ValueError, match=r"shares: .*tracer"):
        jax.vmap(lambda shares: extended_membership(APPENDIX_F, shares)[0])(np.full((2, 3), 1 / 3))
    with pytest.raises(ValueError, match=r"direction: .*tracer"):
        jax.jit(lambda direction: support_function(APPENDIX_F, direction).value)(np.ones(3))


@pytest.mark.mistakes
def test_more_than_seven_alternatives():
    matrix = np.full((8, 8), 0.5)
    for call in (
        feasible_shares,
        feasible_shares_solve,
        box_distance,
        lambda matrix: feasible_membership(matrix, np.full(8, 1 / 8)),
        lambda matrix: support_function(matrix, np.ones(8)),
    ):
        with pytest.raises(ValueError, match=r"at most 7 alternatives.*M = 8.*40320.*share_bounds"):
            call(matrix)


@pytest.mark.mistakes
@pytest.mark.parametrize("call", [feasible_membership, extended_membership])
def test_wrong_shares(call):
    with pytest.raises(ValueError, match="shares: expected one probability for each of 3"):
        call(APPENDIX_F, [0.5, 0.5])
    with pytest.raises(ValueError, match=r"shares: .*sum to one"):
        call(APPENDIX_F, [0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="shares: "):
        call(APPENDIX_F, [1.5, -0.5, 0.0])
    with pytest.raises(ValueError, match="shares: expected finite"):
        call(APPENDIX_F, [np.nan, 0.5, 0.5])


@pytest.mark.mistakes
def test_wrong_directions():
    with pytest.raises(ValueError, match="direction: expected one number for each of 3 alternatives"):
        support_function(APPENDIX_F, [1.0, 2.0])
    with pytest.raises(ValueError, match="direction: expected finite"):
        support_function(APPENDIX_F, [1.0, np.inf, 0.0])
    with pytest.raises(ValueError, match="direction: "):
        support_function(APPENDIX_F, np.eye(3))
