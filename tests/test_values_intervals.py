import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxval import values
from jaxval.coalitions import coalition_index, games
from jaxval.values._intervals import FEW_GAINS, binomial_lower_ends, student_factor

KEY = jax.random.key(5)
VOTERS = 12
rare_pivots = games.voting([VOTERS - 2, *[1] * (VOTERS - 1)], quota=VOTERS - 1)


def of_table(table):
    known = jnp.asarray(table, dtype=float)
    return lambda coalition: known[coalition_index(coalition)]


def by_definition(gains, utilities, spread=None):
    """(2, players) ends from the gains (draws, together, players) of every draw, with SciPy's quantiles."""
    count, players = len(gains), gains.shape[2]
    wide = np.ptp(utilities)
    low, high = (-wide if gains.min() < 0 else 0), (wide if gains.max() > 0 else 0)
    if spread is not None:
        silent = gains.min() >= 0 and gains.max() <= 0
        low = gains.max() - spread if gains.min() < 0 or silent else 0
        high = gains.min() + spread if gains.max() > 0 or silent else 0
    z, ends = stats.norm.isf(0.025), np.zeros((2, players))
    for player in range(players):
        own = gains[:, :, player]
        x = own.mean(axis=1)
        nonzero, moved = np.any(own != 0, axis=1).sum(), np.sum(np.abs(x - x[0]) > 1e-12)
        usual = None
        if nonzero < FEW_GAINS and nonzero < count:
            usual = 0.0
        elif moved < FEW_GAINS and 2 * moved < count and np.any(own != own[0, 0]):
            usual = x[0]
        if usual is None:
            ends[:, player] = x.mean() + stats.t.isf([0.975, 0.025], count - 1) * x.std(ddof=1) / math.sqrt(count)
            continue
        parts = []
        for part, scale in ((np.maximum(x - usual, 0), high - usual), (np.maximum(usual - x, 0), usual - low)):
            p = part.mean() / scale if scale > 0 else 0
            whole = np.arange(1, FEW_GAINS + 1)
            lower = np.interp(
                p * count,
                np.arange(FEW_GAINS + 1),
                [0, *stats.beta.ppf(0.025, whole, np.maximum(count - whole, 0) + 1)],
            )
            upper = p + z**2 / (2 * count) + z * math.sqrt(p * (1 - p) / count + (z / (2 * count)) ** 2)
            parts.append((scale * lower, scale * upper / (1 + z**2 / count)))
        (least_rise, most_rise), (least_fall, most_fall) = parts
        ends[:, player] = usual + least_rise - most_fall, usual + most_rise - least_fall
    return ends


def drawn(estimator, utility, players, together):
    """The estimate of an estimator with one ask, the gains of its draws and all utilities."""
    state = estimator.init(KEY)
    coalitions = estimator.ask(state)
    utilities = np.asarray(jax.jit(jax.vmap(utility))(coalitions), np.float64)
    inside = np.asarray(coalitions[2:]).reshape(-1, players - 1, players)
    paths = utilities[2:].reshape(-1, players - 1)
    paths = np.concatenate([np.full((len(paths), 1), utilities[0]), paths, np.full((len(paths), 1), utilities[1])], 1)
    place = players - 1 - inside.sum(axis=1)
    gains = np.take_along_axis(np.diff(paths, axis=1), place, axis=1).reshape(-1, together, players)
    return estimator.estimate(estimator.tell(state, coalitions, jnp.asarray(utilities))), gains, utilities


def signed(coalition):
    """Rare gains of both signs, a usual gain other than zero, a constant one, a null player."""
    few = jnp.sum(coalition[3:]) == 0
    rare = jnp.where(coalition[0] & few, 0.5, 0.0) - jnp.where(coalition[1] & few, 0.25, 0.0)
    return rare + 0.75 * jnp.any(coalition[1:4]) + 0.125 * coalition[4]


@pytest.mark.parametrize(
    ("utility", "spread"),
    [
        pytest.param(rare_pivots.utility, None, id="voters"),
        pytest.param(rare_pivots.utility, 3.0, id="voters, wide", marks=pytest.mark.float64),
        pytest.param(signed, None, id="signed", marks=pytest.mark.float64),
        pytest.param(signed, 2.5, id="signed, wide"),
    ],
)
@pytest.mark.parametrize("antithetic", [True, False])
def test_intervals_against_the_definition(utility, spread, antithetic, close):
    options = {"permutations": 40 if antithetic else 60, "antithetic": antithetic, "spread": spread}
    estimator = values.permutation_estimator(VOTERS, **options)
    estimate, gains, utilities = drawn(estimator, utility, VOTERS, 1 + antithetic)
    expected = by_definition(gains, utilities, spread)
    close(estimate.intervals, expected)
    assert np.array_equal(estimate.gains.nonzero, np.any(gains != 0, axis=1).sum(axis=0))
    assert bool(estimate.gains.stated) == (spread is not None)
    assert np.all(expected[1] - expected[0] >= 0)
    if antithetic == (spread is None):  # two of four combinations have every utility and every option once
        inside = jax.jit(lambda key: values.sample_shapley(key, utility, VOTERS, **options))(KEY)
        close(inside.intervals, expected)


def test_quantiles_against_scipy():
    freedom = np.array([1, 2, 9, 199, 200, 201, 10_000, 10**8])
    for tail in (0.025, 0.001, 0.2):
        np.testing.assert_allclose(student_factor(jnp.asarray(freedom), tail), stats.t.isf(tail, freedom), rtol=2e-6)
        for draws in (12, 100, 1_000_000):
            events = np.arange(1, FEW_GAINS + 1)
            exact = stats.beta.ppf(tail, events, draws - events + 1)
            np.testing.assert_allclose(binomial_lower_ends(jnp.asarray(draws), tail)[1:], exact, rtol=1e-4)


def test_rare_pivots_are_covered():
    sample = functools.partial(values.sample_shapley, utility=rare_pivots.utility, players=VOTERS, permutations=60)

    def one(key):
        estimate = sample(key)
        return estimate.values, estimate.standard_errors, estimate.intervals

    found, errors, ends = map(np.asarray, jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(KEY, 400)))
    exact = np.asarray(rare_pivots.shapley)
    held = (ends[:, 0] <= exact) & (exact <= ends[:, 1])
    normal = np.abs(found - exact) <= 1.96 * errors
    assert held.mean() >= 0.93
    assert held.mean(axis=0).min() >= 0.9
    assert normal.mean() < 0.6  # what the standard errors alone would say


def test_an_interval_collapses_only_where_nothing_is_left_to_know(close):
    # a player whose gain is constant and not zero has no error; one whose gain was always zero has an interval
    gifts = values.sample_shapley(KEY, lambda s: 2.0 * s[0], 8, permutations=8)
    close(gifts.intervals[:, 0], [2.0, 2.0])
    assert gifts.standard_errors.tolist() == [0.0] * 8
    z = stats.norm.isf(0.025) ** 2 / 4
    close(gifts.intervals[:, 1], [0.0, 2.0 * z / (1 + z)])
    # all coalitions of five players are seen: the null player is known, and those whose gains differ are not
    whole = values.sample_shapley(KEY, lambda s: 2.0 * s[0] + jnp.all(s[1:4]), 5, permutations=128)
    assert int(whole.evaluations) == 32
    close(whole.intervals[:, [0, 4]], [[2.0, 0.0]] * 2)
    assert (whole.intervals[1, 1:4] > whole.intervals[0, 1:4] + 0.01).all()
    # a player alone in its group has one gain, and a pair holds both orders of a group of two
    for groups, antithetic in (([0, 1, 2], False), ([0, 1, 1], True)):
        options = {"permutations": 4, "groups": groups, "antithetic": antithetic}
        ordered = values.sample_shapley(KEY, lambda s: 2.0 * s[0], 3, **options)
        close(ordered.intervals, [[2.0, 0.0, 0.0]] * 2)


def test_pairs_that_are_constant_though_gains_are_not_keep_an_interval():
    game = games.pairwise(np.ones(10), np.ones((10, 10)) - np.eye(10))
    estimate = values.sample_shapley(KEY, game.utility, 10, permutations=20)
    low, high = np.asarray(estimate.intervals)
    assert np.all(low < estimate.values)
    assert np.all(high > estimate.values)


def test_where_nothing_can_be_told_ends_are_nan(close):
    silent = functools.partial(values.sample_shapley, KEY, lambda s: 1.0 * jnp.all(s[:0]), 12, permutations=40)
    assert np.isnan(silent().intervals).all()
    assert silent().standard_errors.tolist() == [0.0] * 12
    z = stats.norm.isf(0.025) ** 2 / 20
    close(silent(spread=0.5).intervals, np.array([[-0.5], [0.5]]) * np.full((2, 12), z / (1 + z)))


def test_objectives_have_ranges_of_their_own(close):
    both = lambda s: jnp.stack([rare_pivots.utility(s), -2 * rare_pivots.utility(s)])  # noqa: E731
    estimate = values.sample_shapley(KEY, both, VOTERS, permutations=40)
    alone = values.sample_shapley(KEY, rare_pivots.utility, VOTERS, permutations=40)
    assert estimate.intervals.shape == (2, VOTERS, 2)
    close(estimate.intervals[..., 0], alone.intervals)
    close(estimate.intervals[::-1, :, 1], -2 * np.asarray(alone.intervals))
    stated = values.sample_shapley(KEY, both, VOTERS, permutations=40, spread=[1.0, 2.0])
    close(stated.intervals, estimate.intervals)


def test_an_offset_leaves_the_value_inside():
    noisy = of_table(1e4 + np.random.default_rng(0).random(2**6))
    estimate = values.sample_shapley(KEY, noisy, 6, permutations=40)
    low, high = np.asarray(estimate.intervals)
    assert np.all((low <= estimate.values) & (estimate.values <= high))


@pytest.mark.float64
def test_the_stopping_rule_goes_on_where_a_gain_was_not_seen(close):
    solve = functools.partial(values.sample_until_solve, utility=rare_pivots.utility, players=VOTERS, most=1024)
    estimate, diagnostics = solve(KEY, half_width=0.08)
    assert bool(diagnostics.converged)
    low, high = np.asarray(estimate.intervals)
    close(np.maximum(high - estimate.values, estimate.values - low), diagnostics.half_widths)
    _, narrow = solve(KEY, half_width=1e-4)
    assert not bool(narrow.converged)
    assert np.all(narrow.half_widths > 0)
    assert int(narrow.permutations) > int(diagnostics.permutations)
    # with all coalitions seen, a null player does not hold it up
    _, whole = values.sample_until_solve(KEY, lambda s: 2.0 * s[0], 3, half_width=1e-4, most=1024)
    assert bool(whole.converged)


@pytest.mark.float64
def test_the_stopping_rule_covers_a_gain_that_was_not_seen():
    def one(key):
        estimate, diagnostics = values.sample_until_solve(key, rare_pivots.utility, VOTERS, half_width=0.08, most=1024)
        return estimate.values, estimate.intervals, diagnostics.half_widths

    found, ends, wide = map(np.asarray, jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(KEY, 200)))
    exact = np.asarray(rare_pivots.shapley)
    assert np.mean((ends[:, 0] <= exact) & (exact <= ends[:, 1])) >= 0.93
    assert np.mean(np.abs(found - exact) <= wide) >= 0.93


def test_truncation_where_nothing_seems_to_be_gained():
    utility = lambda s: 0.76 + 0.01 * jnp.sqrt(jnp.mean(s))  # noqa: E731
    sample = functools.partial(values.sample_truncated_shapley, KEY, utility, 6, permutations=40, tolerance=0.02)
    with pytest.warns(UserWarning, match=r"tolerance: .*30 of 40 permutations ended before their first player"):
        estimate = sample()
    np.testing.assert_allclose(estimate.values.sum(), 0.01, rtol=1e-3)
    assert np.all(np.asarray(estimate.standard_errors) > 0)
    assert np.all(estimate.intervals[0] < estimate.intervals[1])
    with pytest.warns(UserWarning, match="rest on the 20 of the burn-in"):
        longer = sample(burn_in=20)
    assert int(longer.evaluations) > int(estimate.evaluations)
    inside = jax.jit(lambda: values.sample_truncated_shapley(KEY, utility, 6, permutations=40, tolerance=0.02).values)()
    np.testing.assert_allclose(inside, estimate.values, rtol=1e-3)
    assert values.sample_truncated_shapley(KEY, utility, 6, permutations=40, tolerance=0.005).values.shape == (6,)


def test_reuse_has_students_intervals(close):
    table = np.random.default_rng(2).normal(size=2**8)
    estimator = values.sample_reuse_estimator(8, coalitions=30)
    state = estimator.init(KEY)
    coalitions = np.asarray(estimator.ask(state))
    drawn = jnp.asarray(coalitions)
    estimate = estimator.estimate(estimator.tell(state, drawn, of_table(table)(drawn)))
    fewest = np.minimum(coalitions.sum(axis=0), (~coalitions).sum(axis=0))
    reach = stats.t.isf(0.025, fewest - 1) * np.asarray(estimate.standard_errors)
    close(estimate.intervals, np.asarray(estimate.values) + np.stack([-reach, reach]))
    silent = values.sample_banzhaf(KEY, lambda s: 1.0 * jnp.all(s), 20, coalitions=40)
    assert np.isnan(silent.intervals).all()
    assert values.sample_banzhaf(KEY, lambda s: 0.0 * jnp.all(s), 2, coalitions=60).intervals.tolist() == [[0, 0]] * 2


@pytest.mark.once
@pytest.mark.parametrize(("evaluations", "warned"), [(36, True), (120, False), (1024, False)])
def test_regression_warns_of_few_evaluations(evaluations, warned):
    utility = of_table(np.random.default_rng(3).normal(size=2**10))
    told = pytest.warns(UserWarning, match="12 for each of 10 players") if warned else contextlib.nullcontext()
    with told:
        estimate = values.regress_shapley(KEY, utility, 10, evaluations=evaluations)
    low, high = np.asarray(estimate.intervals)
    if evaluations == 1024:  # all of them
        assert np.array_equal(low, estimate.values)
        assert np.array_equal(high, estimate.values)
    else:
        np.testing.assert_allclose(high - low, 2 * 1.959964 * np.asarray(estimate.standard_errors), rtol=1e-4)
