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


@pytest.mark.parametrize(
    ("name", "num"), [("proportional", 8), ("maximal_borda", 12), ("minimax", 24), ("maximal_lottery", 3)]
)
def test_search_reaches_the_enumerated_gain(name, num, close):
    """At M = 4 with up to three ballots a group, at least 95 % of the best of all reports; never more than it."""
    rule = getattr(social_choice, name)
    betas = jnp.resize(jnp.array([0.0, 1.0, 10.0]), num)  # the other rules do not look at them

    def rule_at(beta):
        return partial(rule, beta=beta) if name == "proportional" else rule

    orders = np.stack([o for o in profiles_of(11, 60, 6, 4) if np.bincount(o[:, 0]).max() <= 3][:num])
    searched, _ = jax.jit(jax.vmap(lambda o, b: axioms.manipulation_gains(rule_at(b), o, method="search")))(
        orders, betas
    )
    rules = {float(beta): rule_at(float(beta)) for beta in betas}
    gains = np.stack(
        [
            axioms.manipulation_gains(rules[float(beta)], o, method="enumerate")[0]
            for o, beta in zip(orders, betas, strict=True)
        ]
    )
    pays = gains > 1e-4
    assert pays.sum() >= 3
    assert (np.asarray(searched) <= gains + 1e-5).all()
    assert (np.asarray(searched)[pays] >= 0.95 * gains[pays]).all()


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
    """F* keeps both bounds, with equality of the tighter one attained; Borda breaks both (profile (26))."""
    check = jax.jit(
        jax.vmap(
            lambda o: axioms.population_bounded_manipulability(
                social_choice.proportional, o, bound="share_bounds", method="search", starts=60, ascents=2
            )
        )
    )
    gaps, witness = check(profiles_of(3, 32, 5, 3))
    assert not bool(jnp.any(axioms.violated(gaps)))
    assert float(jnp.max(gaps)) > -1e-4
    assert (np.asarray(witness.bound) <= 1).all()
    orders, weights = [[0, 1, 2], [1, 0, 2], [2, 0, 1]], [0.30, 0.45, 0.25]
    gap, witness = axioms.population_bounded_manipulability(social_choice.maximal_borda, orders, weights, gamma=1)
    # Group 0 has the winner without any lie, w = 0.3; group 1 wins by burying, w = 0.45.
    close(gap, 0.7, atol=1e-6)
    assert int(witness.alternative) == 0
    gains, _ = axioms.manipulation_gains(social_choice.maximal_borda, orders, weights)
    close(gains, [0, 1, 0], atol=1e-6)


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
    gains, _ = axioms.manipulation_gains(social_choice.maximal_lottery, orders, weights)
    assert float(gains[2]) >= 0.5 - 1e-5


def test_empty_groups_and_jit(close):
    orders = jnp.array([[0, 1, 2], [0, 2, 1], [0, 1, 2]])
    gains, found = axioms.manipulation_gains(social_choice.minimax, orders)
    close(gains, [0, 0, 0])
    assert (np.asarray(found.orders) == np.asarray(orders)[None]).all()
    options = {"method": "search", "starts": 20, "ascents": 2}
    rule = social_choice.maximal_borda
    orders = jnp.array([[0, 1, 2], [1, 0, 2], [2, 0, 1], [1, 2, 0]])
    plainly = axioms.population_bounded_manipulability(rule, orders, **options)
    jitted = jax.jit(lambda o: axioms.population_bounded_manipulability(rule, o, **options))(orders)
    jax.tree.map(close, plainly, jitted)


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
