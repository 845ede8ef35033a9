import contextlib
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import values_by_definition as definition
from scipy import stats

from jaxval import values
from jaxval.coalitions import all_coalitions, coalition_index, games, tabulate

KEY = jax.random.key(3)
GROUPS = (1, 0, 2, 1, 0, 1)


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(5).normal(size=2**6)


def of_table(table):
    known = jnp.asarray(table, dtype=float)
    return lambda coalition: known[coalition_index(coalition)]


def told(estimator, table, asks=None):
    """The state after all asks, and every coalition that was asked for."""
    ask, tell = estimator.ask, estimator.tell
    state = estimator.init(KEY, table.shape[1:])
    asked = []
    for _ in range(estimator.asks if asks is None else asks):
        asked.append(np.asarray(ask(state)))
        state = tell(state, asked[-1], jnp.asarray(table[asked[-1] @ 2 ** np.arange(asked[-1].shape[1])]))
    return state, asked


def orders_asked(asked, players):
    """The permutations behind the coalitions of permutation asks."""
    orders = []
    for coalitions in asked:
        assert not coalitions[0].any()
        assert coalitions[1].all()
        for beginnings in coalitions[2:].reshape(-1, players - 1, players):
            assert (beginnings.sum(axis=1) == np.arange(1, players)).all()
            orders.append(np.argsort(-beginnings.sum(axis=0), kind="stable"))
    return orders


def distinct(asked):
    return len({row.tobytes() for coalitions in asked for row in coalitions})


@pytest.mark.parametrize(("groups", "antithetic"), [(None, True), (GROUPS, True), (GROUPS, False)])
def test_permutations_against_plain_marginals(groups, antithetic, table, close):
    estimator = values.permutation_estimator(6, permutations=12, groups=groups, antithetic=antithetic, per_ask=12)
    state, asked = told(estimator, table)
    orders = orders_asked(asked, 6)
    assert len(orders) == 12
    for order in orders:
        assert np.all(np.diff(np.asarray(groups or (0,) * 6)[order]) >= 0)
    if antithetic:
        for order, other in zip(orders[::2], orders[1::2], strict=True):
            for group in range(3):
                inside = lambda o, g=group: [i for i in o if (groups or (0,) * 6)[i] == g]  # noqa: E731
                assert inside(order) == inside(other)[::-1]
    draws = np.zeros((12, 6))
    for k, order in enumerate(orders):
        for player, marginal in definition.marginals(table, order):
            draws[k, player] = marginal
    draws = draws.reshape(-1, 1 + antithetic, 6).mean(axis=1)
    estimate = estimator.estimate(state)
    close(estimate.values, draws.mean(axis=0))
    close(estimate.standard_errors, draws.std(axis=0, ddof=1) / math.sqrt(len(draws)))
    assert int(estimate.evaluations) == distinct(asked)
    assert int(jax.jit(estimator.estimate)(state).evaluations) == distinct(asked)


def test_every_permutation_in_order_is_equally_likely():
    groups = (0, 1, 1, 1)
    estimator = values.permutation_estimator(4, permutations=3000, groups=groups, antithetic=False)
    _, asked = told(estimator, np.zeros(16))
    found = [tuple(order.tolist()) for order in orders_asked(asked, 4)]
    counts = [found.count(tuple(order)) for order in definition.orders_in_groups(groups)]
    assert sum(counts) == 3000
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.once
def test_chunks_do_not_change_the_sample(table, close):
    whole = values.permutation_estimator(6, permutations=14, groups=GROUPS)
    parts = values.permutation_estimator(6, permutations=14, groups=GROUPS, per_ask=4)
    assert (whole.asks, parts.asks) == (1, 4)
    (state, asked), (other, also_asked) = told(whole, table), told(parts, table)
    orders, also = orders_asked(asked, 6), orders_asked(also_asked, 6)
    assert np.array_equal(orders, also[:14])  # the last ask is filled up with the last pair
    assert np.array_equal(also[14:], also[12:14])
    by_hand = whole.estimate(state)
    driven = values.sample_shapley(KEY, of_table(table), 6, permutations=14, groups=GROUPS, batch_size=7)
    for estimate in (parts.estimate(other), driven):
        close(estimate.values, by_hand.values)
        close(estimate.standard_errors, by_hand.standard_errors)
        assert int(estimate.evaluations) == int(by_hand.evaluations) == distinct(asked)
    # Proposition 4.2, whatever the sample
    first = sum(1 << i for i in range(6) if GROUPS[i] == 0)
    close(np.asarray(driven.values)[np.equal(GROUPS, 0)].sum(), table[first] - table[0])

    # to resume is to load the state, and to ask changes nothing
    state, _ = told(parts, table, asks=2)
    leaves, form = jax.tree.flatten(state._replace(key=jax.random.key_data(state.key)))
    loaded = jax.tree.unflatten(form, [jnp.asarray(np.asarray(leaf)) for leaf in leaves])
    loaded = loaded._replace(key=jax.random.wrap_key_data(loaded.key))
    ask, tell = parts.ask, parts.tell
    for _ in range(2):
        assert np.array_equal(ask(loaded), ask(loaded))
        loaded = tell(loaded, ask(loaded), of_table(table)(ask(loaded)))
    resumed = parts.estimate(loaded)
    assert np.array_equal(resumed.values, parts.estimate(other).values)
    assert np.array_equal(resumed.standard_errors, parts.estimate(other).standard_errors)
    assert int(resumed.evaluations) == int(by_hand.evaluations)


def test_objectives_and_one_player(table, close):
    both = np.stack([table, -2 * table], axis=1)
    estimate = values.sample_shapley(KEY, of_table(both), 6, permutations=8)
    alone = values.sample_shapley(KEY, of_table(table), 6, permutations=8)
    assert estimate.values.shape == (6, 2)
    close(estimate.values[:, 0], alone.values)
    close(estimate.standard_errors[:, 1], 2 * np.asarray(alone.standard_errors))
    one = values.sample_shapley(KEY, lambda coalition: 3.0 * coalition[0], 1, permutations=4)
    assert (one.values.tolist(), one.standard_errors.tolist(), int(one.evaluations)) == ([3.0], [0.0], 2)


@pytest.mark.once
def test_sampling_inside_jit(table, close):
    sample = functools.partial(values.sample_shapley, utility=of_table(table), players=6, permutations=8)
    inside, outside = jax.jit(lambda key: sample(key))(KEY), sample(KEY)
    close(inside.values, outside.values)
    assert int(inside.evaluations) == int(outside.evaluations)
    broken = jax.jit(lambda key: values.sample_shapley(key, lambda s: jnp.log(s.sum() - 5.5), 6, permutations=8))(KEY)
    assert np.isnan(broken.values).all()
    assert np.isnan(broken.standard_errors).all()


@pytest.mark.once
def test_many_players_are_told_apart():
    game = games.additive(np.arange(70.0))
    estimate = values.sample_shapley(KEY, game.utility, 70, permutations=4)
    assert np.allclose(estimate.values, game.shapley, rtol=1e-5)
    assert int(estimate.evaluations) == 2 + 4 * 69  # no two beginnings of four random orders coincide here
    reverse = values.sample_shapley(KEY, game.utility, 70, permutations=4, groups=np.arange(70))
    assert int(reverse.evaluations) == 71  # one order is all there is


def test_standard_errors_are_honest(table):
    exact = definition.random_order_value(table, GROUPS, np.ones(6))
    sample = functools.partial(
        values.sample_shapley, utility=of_table(table), players=6, permutations=128, groups=GROUPS
    )
    runs = jax.jit(lambda keys: jax.lax.map(lambda key: sample(key), keys))(jax.random.split(KEY, 400))
    free = np.array([0, 3, 5])  # a pair holds both orders of a group of two: no error is left there
    scores = (np.asarray(runs.values) - exact)[:, free] / np.asarray(runs.standard_errors)[:, free]
    assert np.abs(scores.mean(axis=0)).max() < 4.5 / math.sqrt(400)
    assert np.all((scores.std(axis=0) > 0.85) & (scores.std(axis=0) < 1.15))
    rest = np.array([1, 2, 4])
    np.testing.assert_allclose(np.asarray(runs.values)[:, rest], np.broadcast_to(exact[rest], (400, 3)), atol=1e-5)


def test_required_permutations_is_the_formula_and_suffices():
    assert values.required_permutations(20, epsilon=0.1, delta=0.05, spread=2.0) == math.ceil(200 * math.log(800))
    assert values.required_permutations(1, epsilon=10.0, delta=0.9, spread=1.0) == 1
    game = games.voting([3, 2, 1, 1], quota=4)
    needed = values.required_permutations(4, epsilon=0.2, delta=0.2, spread=1.0)
    utility = of_table(np.asarray(tabulate(game.utility, 4)))
    sample = functools.partial(values.sample_shapley, utility=utility, players=4, permutations=needed, antithetic=False)
    runs = jax.jit(lambda keys: jax.lax.map(lambda key: sample(key).values, keys))(jax.random.split(KEY, 300))
    wrong = np.abs(np.asarray(runs) - np.asarray(game.shapley)).max(axis=1) > 0.2
    assert wrong.mean() <= 0.2


@pytest.mark.parametrize(
    ("walks", "tolerance", "groups"),
    [
        (1, 0.5, None),
        pytest.param(5, 0.0, GROUPS, marks=pytest.mark.float64),
        (5, 0.5, GROUPS),
        pytest.param(5, 1.0, None, marks=pytest.mark.float64),
    ],
)
def test_truncated_permutations_against_a_plain_walk(walks, tolerance, groups, table, close):
    plain = values.permutation_estimator(6, permutations=12, groups=groups, antithetic=False)
    orders = orders_asked(told(plain, table, asks=1)[1], 6)  # permutation k depends on the key and on k alone
    draws, seen = np.zeros((12, 6)), {0, 63}
    burn_in = 3
    in_vain = tolerance == 1.0  # here |v(N) - v(∅)| is less than 1
    for k, order in enumerate(orders[:burn_in] if in_vain else orders):
        index = 0
        for player in order:
            if k >= burn_in and abs(table[63] - table[index]) < tolerance:
                break
            draws[k, player] = table[index | 1 << player] - table[index]
            index |= 1 << int(player)
            seen.add(index)
    assert (abs(table[63] - table[0]) < tolerance) == in_vain
    draws = draws[:burn_in] if in_vain else draws
    options = {"permutations": 12, "tolerance": tolerance, "groups": groups, "walks": walks, "burn_in": burn_in}
    with pytest.warns(UserWarning, match="9 of 12 permutations") if in_vain else contextlib.nullcontext():
        estimate = values.sample_truncated_shapley(KEY, of_table(table), 6, **options)
    close(estimate.values, draws.mean(axis=0))
    close(estimate.standard_errors, draws.std(axis=0, ddof=1) / math.sqrt(len(draws)))
    assert int(estimate.evaluations) == len(seen)
    assert int(values.truncated_shapley_estimator(6, **options).asks) >= len(seen) / (walks + 2)


def test_truncation_saves_evaluations_and_carries_objectives(close):
    curve = games.saturating(np.ones(12))
    both = values.sample_truncated_shapley(
        KEY, lambda s: jnp.array([curve.utility(s), s.sum() / 12]), 12, permutations=20, tolerance=0.3
    )
    assert both.values.shape == (12, 2)
    # ten are walked whole; the mean of all is 9/12 where the others stop, as 3/12 is nearer to 0 than 0.3
    close(both.values[:, 1].sum(), (1 + 9 / 12) / 2)
    assert 9 < int(both.evaluations) <= 2 + 10 * 9 + 10 * 11
    one = values.sample_truncated_shapley(KEY, lambda s: s.sum(), 1, permutations=4, tolerance=0.0)
    assert one.values.tolist() == [1.0]


@pytest.mark.parametrize("per_ask", [None, 16])
def test_reuse_against_plain_means(per_ask, table, close):
    estimator = values.sample_reuse_estimator(6, coalitions=40, per_ask=per_ask)
    state, asked = told(estimator, table)
    drawn = np.concatenate(asked)[:40]
    utilities = table[np.asarray(coalition_index(jnp.asarray(drawn)))]
    estimate = estimator.estimate(state)
    for i in range(6):
        inside, outside = utilities[drawn[:, i]], utilities[~drawn[:, i]]
        close(estimate.values[i], inside.mean() - outside.mean())
        error = math.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
        close(estimate.standard_errors[i], error)
    assert int(estimate.evaluations) == distinct([drawn])


def test_reuse_nears_banzhaf_and_carries_objectives(table):
    both = np.stack([table, 3 * table], axis=1)
    estimate = values.sample_banzhaf(KEY, of_table(both), 6, coalitions=4000, batch_size=512)
    scores = (np.asarray(estimate.values) - np.asarray(values.banzhaf(both))) / np.asarray(estimate.standard_errors)
    assert np.abs(scores).max() < 4.5
    assert int(estimate.evaluations) == 64


def test_before_anything_is_told_nothing_is_known():
    for estimator in (
        values.permutation_estimator(3, permutations=4),
        values.truncated_shapley_estimator(3, permutations=4, tolerance=0.0),
        values.sample_reuse_estimator(3, coalitions=4),
    ):
        estimate = estimator.estimate(estimator.init(KEY))
        assert np.isnan(estimate.values).all()
        assert np.isnan(estimate.standard_errors).all()
        assert int(estimate.evaluations) == 0


def test_anytime_factors_against_simulated_looks():
    looks = [64 * 2**k for k in range(6)]
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(200_000, 6)) * np.sqrt(np.diff(looks, prepend=0))
    scores = np.abs(steps.cumsum(axis=1) / np.sqrt(looks))
    for level in (0.9, 0.95, 0.99):
        t_quantiles = values.anytime_factors(looks, level=level)
        factor = stats.norm.isf(stats.t.sf(t_quantiles[0], 63))
        assert (scores.max(axis=1) <= factor).mean() == pytest.approx(level, abs=0.003)
        for quantile, look in zip(t_quantiles, looks, strict=True):
            assert quantile == pytest.approx(stats.t.isf(stats.norm.sf(factor), look - 1))
    assert values.anytime_factors([10], level=0.9)[0] == pytest.approx(stats.t.ppf(0.95, 9))


@pytest.mark.parametrize(
    ("game", "half_width"),
    [
        pytest.param(games.glove([True, True, False, False, False]), 0.06, id="glove", marks=pytest.mark.float64),
        pytest.param(games.saturating([2.0, 1.0, 1.0, 0.5, -0.5]), 0.002, id="saturating", marks=pytest.mark.float64),
    ],
)
def test_the_stopping_rule_keeps_its_level_in_a_thousand_runs(game, half_width):
    level = 0.95
    utility = of_table(np.asarray(tabulate(game.utility, game.players)))

    def one(key):
        estimate, diagnostics = values.sample_until_solve(
            key, utility, game.players, half_width=half_width, most=8192, level=level
        )
        return estimate.values, estimate.standard_errors, diagnostics

    found, errors, diagnostics = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(KEY, 1000))
    assert diagnostics.converged.all()
    inside = np.abs(np.asarray(found) - np.asarray(game.shapley)) <= np.asarray(diagnostics.half_widths)
    assert np.all(inside.mean(axis=0) >= level - 0.01)
    central_limit = stats.norm.ppf((1 + level) / 2) * np.asarray(errors)
    assert (np.asarray(diagnostics.half_widths) / central_limit).max() <= 1.5
    assert len(np.unique(diagnostics.checks)) <= 3
    assert 1 < np.max(diagnostics.checks) < 8


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("most", [10, 128, 1000, 10**5, 10**8])
def test_intervals_are_little_wider_than_the_central_limit(level, most):
    from jaxval.values.stopping import look_schedule

    looks, per_ask = look_schedule(most, 5)
    assert looks[-1] <= most < 3 * looks[-1]
    assert all(look % per_ask == 0 for look in looks)
    if most >= 128:
        factors = values.anytime_factors(looks, level=level)
        assert max(factors) <= 1.5 * stats.norm.ppf((1 + level) / 2)


def test_sampling_stops_when_it_may_and_says_when_it_could_not(close):
    game = games.airport([1.0, 2.0, 4.0])
    estimate, diagnostics = values.sample_until_solve(KEY, game.utility, 3, half_width=0.05, most=10_000)
    assert bool(diagnostics.converged)
    assert int(diagnostics.permutations) < 10_000
    assert float(diagnostics.half_widths.max()) <= 0.05
    plain = values.sample_shapley(KEY, game.utility, 3, permutations=int(diagnostics.permutations))
    close(estimate.values, plain.values)
    close(estimate.standard_errors, plain.standard_errors)
    with pytest.raises(RuntimeError, match=r"after 256 permutations .*most=256.*sample_until_solve"):
        values.sample_until(KEY, game.utility, 3, half_width=1e-6, most=256)
    inside = jax.jit(lambda key: values.sample_until(key, game.utility, 3, half_width=1e-6, most=256).values)(KEY)
    assert np.isnan(inside).all()


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda u: values.sample_shapley(KEY, u, 0, permutations=4), "players: .*at least 1"),
        (lambda u: values.sample_shapley(KEY, u, 3, permutations=5), "permutations: .*even.*5"),
        (lambda u: values.sample_shapley(KEY, u, 3, permutations=2), "permutations: .*at least 4"),
        (lambda u: values.sample_shapley(KEY, u, 3, permutations=1, antithetic=False), "permutations: .*at least 2"),
        (lambda u: values.sample_shapley(KEY, u, 3, permutations=4, groups=[0, 2, 2]), "groups: .*gap"),
        (lambda u: values.sample_shapley(KEY, u, 3, permutations=4, groups=[0, 0]), r"groups: .*\(3,\)"),
        (lambda u: values.sample_shapley(KEY, u, 3, permutations=4, batch_size=0), "batch_size: "),
        (lambda u: values.sample_shapley(KEY, lambda s: jnp.log(s.sum()), 3, permutations=4), "utility: .*finite"),
        (lambda u: values.sample_shapley(KEY, lambda s: jnp.zeros((2, 2)), 3, permutations=4), "utility: .*scalar"),
        (lambda u: values.sample_shapley(KEY, lambda s: np.sum(np.asarray(s)), 3, permutations=4), "utility: .*trace"),
        (
            lambda u: values.sample_truncated_shapley(KEY, u, 3, permutations=4, tolerance=-1.0),
            "tolerance: .*at least 0",
        ),
        (lambda u: values.sample_truncated_shapley(KEY, u, 3, permutations=4, tolerance=np.nan), "tolerance: .*nan"),
        (
            lambda u: values.sample_truncated_shapley(KEY, u, 3, permutations=4, tolerance=0.0, burn_in=1),
            "burn_in: .*2",
        ),
        (lambda u: values.sample_shapley(KEY, u, 3, permutations=4, spread=0.0), "spread: .*above 0"),
        (lambda u: values.sample_shapley(KEY, u, 3, permutations=4, spread=[1.0, 1.0]), "spread: .*each objective"),
        (lambda u: values.sample_shapley(KEY, lambda s: s[0] * s[1], 3, permutations=4, spread=0.5), "spread: .*seen"),
        (lambda u: values.sample_truncated_shapley(KEY, u, 3, permutations=4, tolerance=0.0, walks=0), "walks: "),
        (lambda u: values.sample_banzhaf(KEY, u, 3, coalitions=1), "coalitions: .*3 players"),
        (lambda u: values.sample_banzhaf(KEY, u, 3, coalitions=0), "coalitions: .*at least 1"),
        (lambda u: values.sample_banzhaf(KEY, lambda s: jnp.inf * s[0], 3, coalitions=99), "utility: .*finite"),
        (lambda u: values.required_permutations(3, epsilon=0.0, delta=0.1, spread=1.0), "epsilon: .*above 0"),
        (lambda u: values.required_permutations(3, epsilon=0.1, delta=1.0, spread=1.0), "delta: .*probability"),
        (lambda u: values.required_permutations(3, epsilon=0.1, delta=0.1, spread=np.nan), "spread: .*nan"),
        (lambda u: values.required_permutations(0, epsilon=0.1, delta=0.1, spread=1.0), "players: .*at least 1"),
        (lambda u: values.sample_until(KEY, u, 3, half_width=0.0, most=99), "half_width: .*above 0"),
        (lambda u: values.sample_until(KEY, u, 3, half_width=0.1, most=2), "most: .*2 independent"),
        (lambda u: values.sample_until(KEY, u, 3, half_width=0.1, most=99, level=1.0), "level: .*probability"),
        (lambda u: values.anytime_factors([8, 8], level=0.9), "draws: .*increasing"),
        (lambda u: values.anytime_factors([], level=0.9), "draws: .*increasing"),
    ],
    ids=itertools.count(),
)
def test_mistakes_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(lambda coalition: coalition.sum())


def test_all_coalitions_make_the_estimators_exact(table, close):
    # every order of three players once: the mean is the value itself
    small = table[:8]
    estimator = values.permutation_estimator(3, permutations=6, antithetic=False)
    state = estimator.init(KEY)
    ends = all_coalitions(3)[np.array([0, 7])]
    rows = [[1 << a, 1 << a | 1 << b] for a, b, _ in itertools.permutations(range(3))]
    asked = jnp.concatenate([ends, all_coalitions(3)[np.array(rows).ravel()]])
    state = estimator.tell(state, asked, jnp.asarray(small)[coalition_index(asked)])
    close(estimator.estimate(state).values, definition.semivalue(small, definition.shapley_weights(3)))
    assert int(estimator.estimate(state).evaluations) == 8
