"""Counterexamples of population-proportional alignment, from Definition 4.5 on, replayed by counting with fractions.

Nothing here comes from the ledger: profiles are dictionaries of ballots and shares, P is counted anew.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest

pytestmark = pytest.mark.once


def preferred(profile, first, second):
    """P(first ≻ second)."""
    return sum(share for ballot, share in profile.items() if ballot.index(first) < ballot.index(second))


def bounds(profile):
    """u, by name."""
    names = sorted(next(iter(profile)))
    return {a: min(preferred(profile, a, b) for b in names if b != a) for a in names}


def proportional(profile):
    """F*, by name."""
    u = bounds(profile)
    return {name: bound / sum(u.values()) for name, bound in u.items()}


def relaxed(profile, beta):
    """F^β, by name."""
    scores = {name: float(bound) * np.exp(beta * float(bound)) for name, bound in bounds(profile).items()}
    return {name: score / sum(scores.values()) for name, score in scores.items()}


def first_choices(profile):
    """w, by name."""
    return {name: sum(s for ballot, s in profile.items() if ballot[0] == name) for name in sorted(next(iter(profile)))}


def test_the_largest_ratio_is_largest_elsewhere():
    """ppa/definition-4.5-optimal.

    u = (3/4, 1/4) sums to one, so that the box is one point; F* has ‖π/w‖_∞ = 1, (0, 1) has 4.
    """
    u = bounds({"ab": Fraction(3, 4), "ba": Fraction(1, 4)})
    assert sum(u.values()) == 1
    assert max(Fraction(3, 4) / u["a"], Fraction(1, 4) / u["b"]) == 1
    assert max(0 / u["a"], 1 / u["b"]) == 4
    # What F* maximises: the smallest ratio, 1 against 0.
    assert min(0 / u["a"], 1 / u["b"]) == 0


def test_the_box_is_wider_than_what_the_voters_may_want():
    """ppa/definition-4.5-misalignment.

    Half 10324 and half 20413: u = (1, 1, 1, 0, 0)/2, but w = (0, 1/2, 1/2, 0, 0) in every profile with this P.
    """
    half = Fraction(1, 2)
    profile = {"10324": half, "20413": half}
    u, policy = bounds(profile), proportional(profile)
    assert list(u.values()) == [half, half, half, 0, 0]
    # In every ranking 1{0 first} is at most this sum, whose mean over the profile is 0.
    signs = {"01": 1, "02": 1, "03": -1, "04": -1, "13": -1, "14": 1, "23": 1, "24": -1}
    for ballot in map("".join, itertools.permutations("01234")):
        assert (ballot[0] == "0") <= 2 + sum(
            sign * (ballot.index(a) < ballot.index(b)) for (a, b), sign in signs.items()
        )
    assert 2 + sum(sign * preferred(profile, *pair) for pair, sign in signs.items()) == 0
    # So w_0 = 0, w_3 = w_4 = 0, and w_1 and w_2, at most 1/2 each, are 1/2.
    assert min(policy["1"] / half, policy["2"] / half) == Fraction(2, 3) < 1


def test_a_largest_group_that_is_dominated_is_counted_twice():
    """ppa/equation-36.

    Ab and ba, δ = 1/2: I has both, N = 0; 1 = 1/2 + 0 + 1 ≤ 1/2 - 1/2 + 2 · 1/2 is false in both places.
    """
    profile, delta = {"ab": Fraction(1, 2), "ba": Fraction(1, 2)}, Fraction(1, 2)
    u, w = bounds(profile), first_choices(profile)
    inside = [a for a, b in ("ab", "ba") if preferred(profile, b, a) >= delta]
    assert inside == ["a", "b"]
    middle = u["a"] + sum(u[name] for name in inside)
    right = (1 - w["b"]) + (0 - 1) * (1 - w["a"]) + (2 - 0) * (1 - delta)
    assert (sum(u.values()), middle, right) == (1, Fraction(3, 2), 1)


def test_the_dominated_are_not_those_that_are_not():
    """ppa/dominated-count: all say abcd, and three are 1-dominated: |I| = 3, N_1 = 1."""
    profile = {"abcd": Fraction(1)}
    dominated = [a for a in "abcd" if any(preferred(profile, b, a) >= 1 for b in "abcd" if b != a)]
    assert len(dominated) == 3


def test_half_of_the_voters_gain_a_majority():
    """ppa/majority-by-manipulation: w_a = F*(a) = 1/2 by the truth, u_a = 2/3; burying b gives 4/7."""
    truth = {"abc": Fraction(1, 2), "bac": Fraction(1, 6), "cab": Fraction(1, 6), "cba": Fraction(1, 6)}
    lie = {"acb": Fraction(1, 2), "bac": Fraction(1, 6), "cab": Fraction(1, 6), "cba": Fraction(1, 6)}
    assert bounds(truth) == {"a": Fraction(2, 3), "b": Fraction(1, 3), "c": Fraction(1, 3)}
    assert first_choices(truth)["a"] == proportional(truth)["a"] == Fraction(1, 2)
    assert bounds(lie) == {"a": Fraction(2, 3), "b": Fraction(1, 6), "c": Fraction(1, 3)}
    assert proportional(lie)["a"] == Fraction(4, 7)


def test_a_best_report_without_the_own_alternative_on_top():
    """ppa/only-top-reports.

    With abc, acb and cab given, no ballot gives b more than 1/5, and both bac and cba give that.
    """
    given = ["abc", "acb", "cab"]
    reports = ["abc", "acb", "bac", "bca", "cab", "cba"]
    found = {}
    for report in reports:
        profile: dict = {}
        for ballot in [*given, report]:
            profile[ballot] = profile.get(ballot, 0) + Fraction(1, 4)
        found[report] = proportional(profile)["b"]
    assert max(found.values()) == Fraction(1, 5) == found["bac"] == found["cba"]


def test_two_halves_stay_two_halves():
    """ppa/relaxed-limit: the largest u is shared, and no β makes the policy deterministic."""
    profile = {"ab": Fraction(1, 2), "ba": Fraction(1, 2)}
    assert [relaxed(profile, beta)["a"] for beta in (0.0, 1.0, 1000.0)] == [0.5, 0.5, 0.5]


def test_a_beta_of_zero_is_allowed_and_too_small():
    """ppa/proposition-Q.1.

    u_i = 3/5, α_c = 2/5, M = 4: log(3 · 2/5 / (2 · 3/5)) = log 1 = 0, yet π(a) = 1/3; so with M = 2.
    """
    profile = {"abcd": Fraction(3, 10), "adcb": Fraction(3, 10), "bcda": Fraction(2, 10), "dcba": Fraction(2, 10)}
    assert bounds(profile) == {"a": Fraction(3, 5), "b": Fraction(2, 5), "c": Fraction(2, 5), "d": Fraction(2, 5)}
    level = Fraction(2, 5)
    assert (4 - 1) * level / (2 * (1 - level)) == 1
    assert proportional(profile)["a"] == Fraction(1, 3) < level
    level = Fraction(13, 20)
    assert (2 - 1) * level / (2 * (1 - level)) == Fraction(13, 14) < 1
    assert proportional({"ab": Fraction(3, 5), "ba": Fraction(2, 5)})["a"] == Fraction(3, 5) < level


def test_the_corrected_beta_is_just_enough():
    """ppa/proposition-Q.1 corrected.

    Log((M-1)(1-u)α/(u(1-α)))/(2u-1), at which the policy of four has 2/5 for a to the last digit.
    """
    profile = {"abcd": Fraction(3, 10), "adcb": Fraction(3, 10), "bcda": Fraction(2, 10), "dcba": Fraction(2, 10)}
    beta = np.log(3 * 0.4 * 0.4 / (0.6 * 0.6)) / 0.2
    np.testing.assert_allclose(relaxed(profile, beta)["a"], 0.4, rtol=1e-12)


def test_the_first_link_of_the_chain():
    """ppa/equation-44: M = 4, u_i = 3/5, α_c = 2/5, β = 0 from (43): 3/5 ≥ 2/3 · 3 · 1/2 = 1 is false."""
    level = Fraction(2, 5)
    assert Fraction(3, 5) < level / (1 - level) * 3 * Fraction(1, 2) == 1


def test_the_uniform_policy_is_in_every_order():
    """ppa/pmc-stronger: all say abcd; equal probabilities satisfy the weak inequality, and the winner has a quarter."""
    policy = dict.fromkeys("abcd", Fraction(1, 4))
    assert all(policy[a] >= policy[b] for a, b in ("ab", "ac", "ad", "bc", "bd", "cd"))
    assert policy["a"] < 1


THREE_QUARTERS = np.array([[0.5, 0.75, 1.0], [0.25, 0.5, 1.0], [0.0, 0.0, 0.5]])


def test_a_response_against_itself_caps_the_bound():
    """ppa/equation-49, ppa/equation-50, ppa/equation-56.

    Abc 3/4 and bac 1/4; the least of (1/2, 3/4, 1) is 1/2, without the first 3/4.
    """
    with_itself, without = THREE_QUARTERS[0].min(), THREE_QUARTERS[0, 1:].min()
    assert (with_itself, without) == (0.5, 0.75)
    np.testing.assert_allclose(with_itself / (with_itself + 0.25), 2 / 3)
    np.testing.assert_allclose(without / (without + 0.25), 3 / 4)
    # (50): the expected cost of the selector of a is Σ_z P(a ≻ z) μ(z), least on a itself.
    costs = [THREE_QUARTERS[0] @ mass for mass in np.eye(3)]
    assert int(np.argmin(costs)) == 0


def test_a_cycle_of_three_comparisons_has_no_policy():
    """ppa/normalised: a preferred to b, b to c, c to a, once each: every row of P̂ has a 0."""
    estimate = np.array([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])
    assert (estimate + np.eye(3)).min(axis=1).tolist() == [0.0, 0.0, 0.0]


def test_the_substituted_divergence_has_another_minimiser():
    """ppa/equation-52-substituted.

    û = (9, 7, 2)/12, the rows' means; at β = 1 the target has 0.561 for a, û normalised has 0.5.
    """
    u = THREE_QUARTERS.mean(axis=1)
    np.testing.assert_allclose(u, np.array([9, 7, 2]) / 12)
    target, other = u * np.exp(u) / np.sum(u * np.exp(u)), u / u.sum()
    np.testing.assert_allclose([target[0], other[0]], [0.561, 0.5], atol=5e-4)

    def loss(policy):
        return np.sum(policy * np.log(policy / u))

    assert loss(other) < loss(target) - 0.005


def test_the_selectors_are_exchanged():
    """ppa/equation-53.

    a preferred to b, μ(.|a) = (1, 2, 1)/4, μ(.|b) = (0, 1, 1)/2: by (60) P̂(a ≻ .) = (1/2, 1, 1/2) and
    P̂(b ≻ .) = (0, 1/2, 1/2).
    """
    of_a, of_b = np.array([0.25, 0.5, 0.25]), np.array([0.0, 0.5, 0.5])
    u_a, u_b = np.array([0.5, 1.0, 0.5]) @ of_a, np.array([0.0, 0.5, 0.5]) @ of_b
    assert (u_a, u_b) == (0.75, 0.5)
    assert (0.5 + of_b[0] / 2, 0.5 - of_a[1] / 2) == (0.5, 0.25)  # as printed
    assert (0.5 + of_a[1] / 2, 0.5 - of_b[0] / 2) == (0.75, 0.5)  # corrected


def test_the_mean_of_logarithms_has_another_minimiser():
    """ppa/equation-53-minimiser.

    β = 0 with μ = π_d = 1/3: a score is 2/3 after a win and 1/3 after a loss, so the minimiser is ∝ 2^û.
    """
    policy_of_logs = 2.0 ** (np.array([9, 7, 2]) / 12)
    policy_of_logs /= policy_of_logs.sum()
    target = np.array([9, 7, 2]) / 18

    def loss(policy):
        total = 0.0
        for y in range(3):
            for z in range(3):  # the query (y, z), each 1/9; π/π_d = 3π
                for winner, loser, chance in ((y, z, THREE_QUARTERS[y, z]), (z, y, THREE_QUARTERS[z, y])):
                    won = 3 * policy[winner] * np.log(policy[winner] / (2 / 3))
                    lost = 3 * policy[loser] * np.log(policy[loser] / (1 / 3))
                    total += chance * (won + lost) / 9
        return total

    assert loss(policy_of_logs) < loss(target) - 0.1
    rest = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    assert all(loss(policy) > loss(policy_of_logs) for policy in rest)
