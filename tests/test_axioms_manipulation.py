"""What groups gain by misreporting: enumeration and search against the definition, the bounds, Appendix N."""

from functools import partial

import axiom_definitions as plain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import axioms, social_choice
from jaxval.axioms._misreports import count_misreports


def profiles_of(seed, num, voters, alternatives):
    """Random ballots, half of them around two centres, so that groups have several members."""
    rng = np.random.default_rng(seed)
    orders = np.argsort(rng.random((num, voters, alternatives)), axis=-1).astype(np.int32)
    center = rng.integers(2, size=(num // 2, voters))
    place = np.argsort(orders[: num // 2, :2], axis=-1)[np.arange(num // 2)[:, None], center]
    orders[: num // 2] = np.argsort(place + rng.normal(0, 1, place.shape), axis=-1)
    return orders


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("rule_name", ["proportional", "maximal_borda", "random_dictatorship"])
def test_enumerated_gains_are_those_of_the_definition(rule_name, common, close):
    rule, definition = getattr(social_choice, rule_name), getattr(plain, rule_name)
    if rule_name == "proportional":
        rule, definition = partial(rule, beta=5.0), partial(definition, beta=5.0)
    found_one = False
    for index, orders in enumerate(profiles_of(7, 6, 4, 3)):
        weights = [0.25] * 4 if index % 2 else [0.4, 0.3, 0.2, 0.1]
        reports = "common" if common else "ballots"
        gains, found = axioms.manipulation_gains(rule, orders, weights, reports=reports, method="enumerate")
        expected = plain.manipulation_gains(definition, plain.profile_of(orders, weights), common=common)
        close(gains, expected, atol=1e-6)
        found_one |= max(expected) > 1e-6
        # The reports replay, and only the group's own ballots are changed.
        for group in range(3):
            after = axioms.as_profile_rule(rule)(found.orders[group], jnp.asarray(weights))
            close(after[group] - found.lottery[group], gains[group], atol=1e-6)
            others = orders[:, 0] != group
            assert (np.asarray(found.orders[group])[others] == orders[others]).all()
    assert found_one == (rule_name != "random_dictatorship")


def profiles_with_small_groups(num):
    return np.stack([orders for orders in profiles_of(11, 60, 6, 4) if np.bincount(orders[:, 0]).max() <= 3][:num])


def assert_reached(searched, gains):
    """At least 95 % of the best of all reports, and never more than it."""
    searched, gains = np.asarray(searched), np.asarray(gains)
    pays = gains > 1e-4
    assert pays.sum() >= 3
    assert (searched <= gains + 1e-5).all()
    assert (searched[pays] >= 0.95 * gains[pays]).all()


@pytest.mark.float64
def test_search_reaches_the_enumerated_gain_of_proportional_rules():
    """M = 4, up to three ballots a group; β = 0, 1, 10 and inf, which is minimax."""
    betas = [0.0, 1.0, 10.0, jnp.inf]
    orders = profiles_with_small_groups(24)
    search = jax.jit(
        jax.vmap(
            lambda o, b: axioms.manipulation_gains(partial(social_choice.proportional, beta=b), o, method="search")[0]
        )
    )
    searched = np.asarray(search(orders, jnp.resize(jnp.array(betas), len(orders))))
    for index, beta in enumerate(betas):
        rule = partial(social_choice.proportional, beta=beta)
        mine = slice(index, None, len(betas))
        gains = [axioms.manipulation_gains(rule, o, method="enumerate")[0] for o in orders[mine][: 6 if index else 3]]
        assert_reached(searched[mine][: len(gains)], gains)


@pytest.mark.float64
@pytest.mark.parametrize(("name", "num"), [("maximal_borda", 12), ("maximal_lottery", 3)])
def test_search_reaches_the_enumerated_gain(name, num):
    rule, orders = getattr(social_choice, name), profiles_with_small_groups(num)
    searched = [axioms.manipulation_gains(rule, o, method="search")[0] for o in orders]
    assert_reached(searched, [axioms.manipulation_gains(rule, o, method="enumerate")[0] for o in orders])


def test_a_mixture_beats_every_common_ranking():
    """Where two rivals are to be kept down, the members of a group report different rankings."""
    for orders in profiles_of(11, 60, 6, 4):
        mixed, found = axioms.manipulation_gains(social_choice.maximal_borda, orders)
        common, _ = axioms.manipulation_gains(social_choice.maximal_borda, orders, reports="common")
        assert (np.asarray(mixed) >= np.asarray(common) - 1e-6).all()
        better = np.asarray(mixed) > np.asarray(common) + 0.1
        if better.any():
            group = int(better.argmax())
            reports = np.asarray(found.orders[group])[orders[:, 0] == group]
            assert len(np.unique(reports, axis=0)) > 1
            return
    pytest.fail("no profile on which a mixture pays more than a common ranking")


@pytest.mark.float64
def test_search_beyond_the_tables(close):
    """Seven alternatives: rankings can no longer be listed; bury the rivals by moves. Borda's best is known by hand."""
    # 3 voters for 0 who rank 1 second, 2 voters for 1 who rank 0 second, 1 voter more for 1.
    orders = np.array([[0, 1, 2, 3, 4, 5, 6]] * 3 + [[1, 0, 2, 3, 4, 5, 6]] * 3 + [[1, 2, 0, 3, 4, 5, 6]])
    gains, found = axioms.manipulation_gains(social_choice.maximal_borda, orders, method="search", starts=16, ascents=2)
    # Truth: 1 has 3 * 5 + 4 * 6 = 39, 0 has 3 * 6 + 3 * 5 + 4 = 37. The three bury 1 and win.
    close(gains[0], 1.0)
    assert (np.asarray(found.orders[0])[3:] == orders[3:]).all()
    common, _ = axioms.manipulation_gains(social_choice.maximal_borda, orders, reports="common", starts=16, ascents=2)
    close(common[0], 1.0)


def test_bounds_of_theorem_4_11(close):
    """F* keeps both bounds, and reaches the tighter one; Borda breaks both (profile (26))."""
    rule = partial(social_choice.proportional)
    gaps = []
    for orders in profiles_of(3, 8, 4, 3):
        gap, witness = axioms.population_bounded_manipulability(rule, orders, bound="share_bounds", method="enumerate")
        assert not bool(axioms.violated(gap))
        gaps.append(float(gap))
        shares, bounds = (
            np.bincount(orders[:, 0], minlength=3) / 4,
            np.array(plain.bounds_of(plain.profile_of(orders, [0.25] * 4))),
        )
        close(witness.bound, (bounds / (bounds + 1 - shares))[witness.alternative], atol=1e-6)
        affine, witness = axioms.population_bounded_manipulability(rule, orders, method="enumerate")
        assert float(affine) <= gap + 1e-6  # the affine bound is the weaker one
        close(witness.bound, ((1 + shares) / 2)[witness.alternative], atol=1e-6)
    assert max(gaps) > -1e-5
    orders, weights = [[0, 1, 2], [1, 0, 2], [2, 0, 1]], [0.30, 0.45, 0.25]
    gap, witness = axioms.population_bounded_manipulability(social_choice.maximal_borda, orders, weights, gamma=1)
    # Group 0 has the winner without any lie, w = 0.3; group 1 wins by burying, w = 0.45.
    close(gap, 0.7, atol=1e-6)
    assert int(witness.alternative) == 0
    gains, _ = axioms.manipulation_gains(social_choice.maximal_borda, orders, weights)
    close(gains, [0, 1, 0], atol=1e-6)


def test_strategyproofness_is_not_the_population_bound(close):
    """Majority rule between two alternatives is strategyproof and above the bound (41); F* is the reverse.

    F* of abc and cba, half each: group a gains 1/2 * 1/2 / (1 + 1/2) = 1/6 by reporting acb.
    """
    majority = social_choice.maximal_borda
    for first in range(6):
        orders = np.array([[0, 1]] * first + [[1, 0]] * (5 - first))
        assert float(axioms.strategyproofness(majority, orders)[0]) == 0
        share = max(first, 5 - first) / 5
        above, witness = axioms.population_bounded_strategyproofness(majority, orders)
        # With two alternatives u = w, so the bound of the winners is w / (w + 1 - w) = w.
        close(above, 1 - share, atol=1e-6)
        assert int(witness.claim) == 1
    orders = [[0, 1, 2], [2, 1, 0]]
    gap, witness = axioms.strategyproofness(social_choice.proportional, orders)
    close(gap, 1 / 6, atol=1e-6)
    group = int(witness.alternative)
    close(witness.manipulated_lottery[group] - witness.lottery[group], gap, atol=1e-6)
    close(witness.bound, witness.lottery[group])
    assert not axioms.violated(axioms.population_bounded_strategyproofness(social_choice.proportional, orders)[0])


@pytest.mark.parametrize("rule_name", ["proportional", "maximal_borda", "random_dictatorship"])
def test_strategyproofness_is_the_largest_gain_of_the_definition(rule_name, close):
    largest = []
    for orders in profiles_of(7, 4, 4, 3):
        gap, _ = axioms.strategyproofness(getattr(social_choice, rule_name), orders, method="enumerate")
        expected = plain.manipulation_gains(getattr(plain, rule_name), plain.profile_of(orders, [0.25] * 4))
        close(gap, max(expected), atol=1e-6)
        largest.append(max(expected))
    assert (max(largest) > 1e-6) == (rule_name != "random_dictatorship")


def test_maximal_lottery_manipulated_as_in_appendix_e(x64, close):
    """(23) with M = 3 and ε = 1/12: group 3 turns its indifference between 1 and 2 into 2 ≻ 1, and gets 1/2."""
    epsilon = 1 / 12
    orders = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    weights = np.repeat([1 / 3 + epsilon, 1 / 3 - epsilon, 1 / 3], 2) / 2
    before = axioms.as_profile_rule(social_choice.maximal_lottery)(orders, weights)
    close(before, [1, 0, 0], atol=1e-5)
    misreport = orders.copy()
    misreport[4] = [2, 1, 0]
    after = axioms.as_profile_rule(social_choice.maximal_lottery)(misreport, weights)
    close(after, [0.25, 0.25, 0.5], atol=1e-5)


def test_groups_without_members_gain_nothing(close):
    orders = jnp.array([[0, 1, 2], [0, 2, 1], [0, 1, 2]])
    gains, found = axioms.manipulation_gains(social_choice.minimax, orders)
    close(gains, [0, 0, 0])
    assert (np.asarray(found.orders) == np.asarray(orders)[None]).all()
    gap, witness = axioms.population_bounded_manipulability(social_choice.minimax, orders)
    assert (float(gap), int(witness.alternative)) == (0, 0)


def test_counts_of_reports():
    orders = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [1, 0, 2]])
    weights = np.array([0.1, 0.1, 0.2, 0.3, 0.3])
    assert count_misreports(orders, weights, common=False) == [21, 216, 1]  # multisets of 2, products of 3, nobody
    assert count_misreports(orders, weights, common=True) == [6, 6, 1]


@pytest.mark.mistakes
def test_mistakes_at_the_door():
    rule, orders = social_choice.proportional, np.array([[0, 1, 2, 3]] * 6)
    with pytest.raises(ValueError, match="method: expected at most limit=20000 reports of a group to enumerate; got"):
        axioms.manipulation_gains(rule, orders, method="enumerate")
    with pytest.raises(ValueError, match="method: expected known values to enumerate"):
        jax.jit(lambda o: axioms.manipulation_gains(rule, o, method="enumerate"))(orders)
    with pytest.raises(ValueError, match="reports: expected one of 'ballots', 'common'"):
        axioms.manipulation_gains(rule, orders, reports="mixed")
    with pytest.raises(ValueError, match="bound: expected one of"):
        axioms.population_bounded_manipulability(rule, orders, bound="half")
    with pytest.raises(ValueError, match=r"gamma: expected a number in \(0, 1\]; got 0"):
        axioms.population_bounded_manipulability(rule, orders, gamma=0)
    with pytest.raises(ValueError, match="starts: expected a whole number of at least 1"):
        axioms.manipulation_gains(rule, orders, starts=0)
