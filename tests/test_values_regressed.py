"""Regressed estimators against enumeration: exactness, unbiasedness, efficiency, standard errors, and mistakes."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import values_by_definition as definition

from jaxval import values
from jaxval.coalitions import games
from jaxval.values.regression import design, regress_shapley, regression_estimator, sparse, surrogates

EXACT = 1e-5 if jnp.zeros(0).dtype == jnp.float32 else 1e-9
METHODS = ("adjusted", "least_squares")


def index_of(coalitions):
    return np.asarray(coalitions) @ (1 << np.arange(np.shape(coalitions)[1]))


def masks_of(players):
    return np.array([[index >> player & 1 for player in range(players)] for index in range(2**players)], bool)


def run(table, evaluations, seed=0, **options):
    """The estimate for the game of a table."""
    players = int(np.log2(len(table)))
    estimator = regression_estimator(players, evaluations=evaluations, **options)
    state = estimator.init(jax.random.key(seed), np.shape(table)[1:])
    coalitions = estimator.ask(state)
    assert len(np.unique(index_of(coalitions))) == len(coalitions) <= evaluations
    return estimator.estimate(estimator.tell(state, coalitions, jnp.asarray(table[index_of(coalitions)], float)))


def contributions_by_definition(masks, outputs):
    """The mean of w_i g over the coalitions of each size s = 1, ..., n // 2; half of it at n / 2."""
    players = masks.shape[1]
    count = masks.sum(axis=1)
    return np.array(
        [
            [
                np.mean(
                    [
                        (1 / size if mask[i] else -1 / (players - size)) * output
                        for mask, output in zip(masks[count == size], outputs[count == size], strict=True)
                    ]
                )
                / (2 if 2 * size == players else 1)
                for size in range(1, players // 2 + 1)
            ]
            for i in range(players)
        ]
    )


def game_differences(masks):
    """[T ⊆ S] - [T ⊆ N - S] of every carrier T but the empty one."""
    return np.array([[float(not (t & ~s).any()) - float(not (t & s).any()) for t in masks[1:]] for s in masks])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("players", [1, 2, 3, 5])
def test_all_coalitions_give_the_exact_values_and_no_errors(players, method):
    table = np.random.default_rng(players).normal(size=2**players)
    for evaluations in (2**players, 2**players + 7):
        estimate = run(table, evaluations, method=method)
        np.testing.assert_allclose(estimate.values, definition.shapley(table), atol=EXACT)
        np.testing.assert_allclose(estimate.standard_errors, 0, atol=EXACT)
        assert int(estimate.evaluations) == 2**players


@pytest.mark.parametrize("players", [2, 3, 5, 6])
def test_kernels_are_sums_over_carriers(players):
    masks = masks_of(players)
    games_of = game_differences(masks)
    sizes = masks[1:].sum(axis=1)
    shares = np.array([1 / (players * math.comb(players, size)) for size in sizes])
    np.testing.assert_allclose(surrogates.unanimity_kernel(masks), (games_of * shares) @ games_of.T, atol=1e-12)
    signs = np.array([[np.prod(np.where(s, 1.0, -1.0)[t]) for t in masks[1:]] for s in masks])
    used = (sizes % 2 == 1) & (sizes <= 3) & (sizes < players)
    shares = np.array([used[t] / (8.0 ** (size - 1) * math.comb(players, size)) for t, size in enumerate(sizes)])
    np.testing.assert_allclose(surrogates.polynomial_kernel(3, masks), (signs * shares) @ signs.T, atol=1e-12)


@pytest.mark.parametrize("players", [2, 3, 5, 6])
def test_contributions_of_the_surrogates_are_those_of_enumeration(players):
    rng = np.random.default_rng(players)
    masks = masks_of(players)
    utilities = rng.normal(size=(2, len(masks), 1))
    folds = np.arange(len(masks)) % 2
    families = [
        surrogates.UNANIMITY,
        surrogates.SPARSE,
        *(surrogates.polynomial(rows, players, degree) for rows in (1, 10**9) for degree in (1, 3)),
    ]
    for family in families:
        _, _, fit = next(family.fit(masks, utilities, folds))
        outputs = (utilities[0] - utilities[1])[:, 0] - fit.residuals
        np.testing.assert_allclose(
            family.contributions(masks, fit.model), contributions_by_definition(masks, outputs), atol=1e-7
        )


def test_kernel_fits_without_a_fold_are_refits_without_its_rows():
    rng = np.random.default_rng(0)
    masks = masks_of(5)[rng.permutation(16)[:12]]
    utilities, folds = rng.normal(size=(2, 12, 2)), np.arange(12) % 3
    differences = utilities[0] - utilities[1]
    kernel = surrogates.unanimity_kernel(masks)
    scale = np.mean(np.diag(kernel))
    fits = list(surrogates.UNANIMITY.fit(masks, utilities, folds))
    assert [(fold, objective) for fold, objective, _ in fits[:6]] == list(itertools.product(range(3), range(2)))
    for number, (fold, objective, fit) in enumerate(fits[:30]):
        penalty, wanted = surrogates.PENALTIES[number // 6], differences[:, objective]
        rest = np.flatnonzero(folds != fold)
        ridge = kernel[np.ix_(rest, rest)] + penalty * scale * np.eye(len(rest))
        weights = np.linalg.solve(ridge, wanted[rest])
        np.testing.assert_allclose(fit.residuals, wanted - kernel[:, rest] @ weights, atol=1e-6)
        np.testing.assert_allclose(fit.model[rest], weights, atol=1e-6 * np.abs(weights).max())
        out = []
        for row in range(len(rest)):
            others = np.delete(np.arange(len(rest)), row)
            fitted = np.linalg.solve(ridge[np.ix_(others, others)], wanted[rest[others]])
            out.append(wanted[rest[row]] - kernel[rest[row], rest[others]] @ fitted)
        np.testing.assert_allclose(fit.error, np.mean(np.square(out)), rtol=1e-4)


@pytest.mark.parametrize("rows", [6, 25])
def test_monomials_fit_what_their_kernel_does(rows):
    rng = np.random.default_rng(rows)
    masks = masks_of(6)[rng.permutation(32)[:rows]]
    utilities, folds = rng.normal(size=(2, rows, 2)), np.arange(rows) % 3
    kernel, monomials = (surrogates.polynomial(count, 6, 3).fit for count in (1, 10**9))
    fits = {(fold, objective): [] for fold in range(3) for objective in range(2)}
    for fold, objective, fit in monomials(masks, utilities, folds):
        fits[fold, objective].append(fit)
    penalties = dict.fromkeys(fits, 0)
    for fold, objective, fit in kernel(masks, utilities, folds):
        other = fits[fold, objective][penalties[fold, objective]]
        penalties[fold, objective] += 1
        np.testing.assert_allclose(other.residuals, fit.residuals, atol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize(
    ("players", "evaluations", "groups"), [(4, 5, None), (5, 14, None), (6, 12, [0, 1, 0, 1, 0, 0])]
)
def test_the_adjusted_estimate_is_unbiased(players, evaluations, groups):
    rng = np.random.default_rng(1)
    masks = masks_of(players)
    table = rng.normal(size=2**players) + masks @ rng.normal(size=players) * 2
    truth = values.shapley(table) if groups is None else values.asymmetric_shapley(table, np.array(groups))
    draws = np.array([run(table, evaluations, seed, groups=groups).values for seed in range(200)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.all(np.abs(draws.mean(axis=0) - np.asarray(truth)) <= 4 * error + 10 * EXACT)
    assert error.max() > 1e-3  # there was something to be biased about


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("players", "evaluations"), [(2, 3), (3, 4), (4, 5), (7, 8), (7, 31), (8, 9), (8, 100)])
def test_values_sum_to_the_gain_whatever_the_budget(players, evaluations, method):
    table = np.random.default_rng(players).normal(size=2**players)
    estimate = run(table, evaluations, method=method)
    assert abs(float(estimate.values.sum()) - (table[-1] - table[0])) < 10 * EXACT
    assert evaluations - 1 <= int(estimate.evaluations) <= evaluations
    told = method == "adjusted" or (evaluations - 2) // 2 >= players  # below n pairs least squares interpolates
    assert np.isfinite(estimate.standard_errors).all() == told


def test_players_alone_lose_nothing_of_the_budget():
    for players in range(1, 12):
        estimator = regression_estimator(players, evaluations=players + 1)
        coalitions = np.asarray(estimator.ask(estimator.init(jax.random.key(0))))
        assert len(coalitions) == players + 1
        assert set(coalitions.sum(axis=1)) == set(range(players + 1))  # one of each size: unbiased from here on


def test_an_additive_and_a_pairwise_game_are_found():
    rng = np.random.default_rng(3)
    masks = masks_of(8)
    additive = masks @ rng.normal(size=8)
    upper = np.triu(rng.normal(size=(8, 8)), 1)
    pairwise = additive + np.einsum("ri,ij,rj->r", masks, upper, masks)
    for table, evaluations in ((additive, 40), (pairwise, 200)):
        estimate = run(table, evaluations)
        np.testing.assert_allclose(estimate.values, values.shapley(table), atol=1e-4)
        assert float(estimate.standard_errors.max()) < 1e-3
    np.testing.assert_allclose(run(additive, 40, method="least_squares").values, values.shapley(additive), atol=EXACT)


def few_unanimity_games(players):
    rng = np.random.default_rng(4)
    carriers = np.zeros((6, players), bool)
    for row, size in zip(carriers, [1, 2, 3, 4, 2, 5], strict=True):
        row[rng.choice(players, size, replace=False)] = True
    return games.unanimity(carriers, [1.0, -2.0, 1.5, 3.0, 0.5, -2.0])


@pytest.mark.once
def test_a_sum_of_few_unanimity_games_is_found():
    game = few_unanimity_games(10)
    estimate = regress_shapley(jax.random.key(0), game.utility, 10, evaluations=400)
    np.testing.assert_allclose(estimate.values, game.shapley, atol=1e-5)
    assert float(estimate.standard_errors.max()) < 1e-4


def test_the_beam_takes_terms_that_explain_what_is_there():
    rng = np.random.default_rng(10)
    masks = rng.random((400, 20)) < 0.6
    carriers = np.zeros((3, 20), bool)
    for row, members in zip(carriers, ([3], [1, 7], [2, 11, 17]), strict=True):
        row[members] = True
    absent = np.array([False, False, True])
    utilities = 0.25 + sparse.indicators(masks, carriers, absent) @ np.array([1.0, 2.0, -3.0])
    terms, missing, errors = sparse.greedy_terms(masks, utilities, 300)
    assert errors[-1] < 1e-18 * errors[0]
    found = {(row.tobytes(), bool(flag)) for row, flag in zip(terms, missing, strict=True)}
    wanted = {(row.tobytes(), bool(flag)) for row, flag in zip(carriers, absent, strict=True)}
    assert len(wanted - found) <= 1  # that player 3 is there may be told by whether it is missing


@pytest.mark.parametrize("players", [3, 5, 8])
def test_the_exhaustive_search_finds_the_best_carrier(players):
    rng = np.random.default_rng(players)
    masks = masks_of(players)[rng.permutation(2**players)[: 2 ** (players - 1)]]
    left = rng.normal(size=len(masks))
    best = []
    for carriers in masks_of(players):
        for absent in (False, True):
            column = sparse.indicators(masks, carriers[None], np.array([absent]))[:, 0]
            if 1 < column.sum() < len(masks):
                best.append(abs(column @ left) / np.sqrt(column.sum()))
    carrier, absent = sparse.search_all(masks)(left)
    column = sparse.indicators(masks, carrier[None], np.array([absent]))[:, 0]
    np.testing.assert_allclose(abs(column @ left) / np.sqrt(column.sum()), max(best), rtol=1e-5)


def test_monomials_take_over_from_kernels(monkeypatch):
    monkeypatch.setattr(surrogates, "KERNEL_PAIRS", 25)
    monkeypatch.setattr(surrogates, "PAIRS_PER_PLAYER", 1000)
    rng = np.random.default_rng(5)
    masks = masks_of(8)
    table = 1 - np.exp(-(masks @ rng.random(8)) / 2)
    estimate = run(table, 140)
    gap = np.abs(np.asarray(estimate.values) - np.asarray(values.shapley(table)))
    assert gap.max() < 1e-3
    assert gap.max() < 5 * float(estimate.standard_errors.max()) + EXACT


@pytest.mark.parametrize("method", METHODS)
def test_groups_get_the_asymmetric_values(method):
    rng = np.random.default_rng(6)
    table, groups = rng.normal(size=2**6), np.array([1, 0, 2, 1, 1, 0])
    estimate = run(table, 64, groups=groups, method=method)
    np.testing.assert_allclose(estimate.values, values.asymmetric_shapley(table, groups), atol=EXACT)
    assert int(estimate.evaluations) == 1 + 3 + 2 + 6  # the ends and what lies between within each group
    estimate = run(table, 8, groups=groups, method=method)
    for group in range(3):
        before, after = (index_of((groups < bound)[None])[0] for bound in (group, group + 1))
        assert abs(float(estimate.values[groups == group].sum()) - (table[after] - table[before])) < 10 * EXACT


@pytest.mark.parametrize("method", METHODS)
def test_objectives_are_estimated_one_by_one(method):
    table = np.random.default_rng(7).normal(size=(2**6, 2))
    both = run(table, 30, method=method)
    for objective in range(2):
        one = run(table[:, objective], 30, method=method)
        np.testing.assert_allclose(both.values[:, objective], one.values, atol=EXACT)
        np.testing.assert_allclose(both.standard_errors[:, objective], one.standard_errors, atol=EXACT)


@pytest.mark.parametrize(("players", "evaluations"), [(7, 60), (8, 61), (64, 131), (1000, 1001)])
def test_coalitions_are_distinct_pairs_that_depend_on_the_key_alone(players, evaluations):
    estimator = regression_estimator(players, evaluations=evaluations)
    asked = [np.asarray(estimator.ask(estimator.init(jax.random.key(seed)))) for seed in (0, 0, 1)]
    assert np.array_equal(asked[0], asked[1])
    assert not np.array_equal(asked[0], asked[2])
    rows = {row.tobytes() for row in asked[0]}
    assert len(rows) == len(asked[0]) == evaluations - (evaluations - 2) % 2 * (players != 1000)
    pairs = sum((~row).tobytes() in rows for row in asked[0])
    assert pairs >= len(rows) - 1
    assert set(asked[0].sum(axis=1)) == set(range(players + 1))


def test_the_coalitions_of_a_size_are_equally_likely():
    counts = np.zeros(2**5)
    for seed in range(600):
        half, _ = design.draw_pairs(np.random.Philox(seed), 5, np.array([1, 3]))
        counts[index_of(half)] += 1
    sizes = masks_of(5).sum(axis=1)
    for size, drawn, there in ((1, 1, 5), (2, 3, 10)):
        expected = 600 * drawn / there
        deviation = np.sqrt(600 * drawn / there * (1 - drawn / there))
        assert np.all(np.abs(counts[sizes == size] - expected) < 4 * deviation)


@pytest.mark.parametrize("players", [2, 3, 6, 9])
def test_pairs_are_shared_among_sizes_to_the_last(players):
    for pairs in range(0, design.most_pairs(players) + 1):
        counts = design.share_pairs(players, pairs)
        assert counts.sum() == pairs
        assert np.all(counts <= design.pairs_of_size(players))
        assert pairs < players // 2 or counts.min() >= 1


@pytest.mark.once
def test_sixty_four_players():
    game = games.saturating(np.random.default_rng(0).lognormal(size=64))
    with pytest.warns(UserWarning, match="12 for each of 64 players"):
        estimate = regress_shapley(jax.random.key(0), game.utility, 64, evaluations=400)
    np.testing.assert_allclose(estimate.intervals[1] - estimate.values, 1.96 * estimate.standard_errors, rtol=1e-3)
    gap = np.abs(np.asarray(estimate.values - game.shapley))
    assert gap.max() < 0.1 * float(game.shapley.max())
    assert np.mean(gap <= 2 * np.asarray(estimate.standard_errors)) > 0.8


@pytest.mark.once
@pytest.mark.parametrize("method", METHODS)
def test_standard_errors_cover(method):
    rng = np.random.default_rng(8)
    table = masks_of(7) @ rng.normal(size=7) + rng.normal(size=2**7)
    truth = np.asarray(values.shapley(table))
    inside = []
    for seed in range(120):
        estimate = run(table, 44, seed, method=method)
        inside.append(np.abs(np.asarray(estimate.values) - truth) <= 1.96 * np.asarray(estimate.standard_errors))
    assert 0.9 <= np.mean(inside) <= 0.99


def test_an_interrupted_estimate_goes_on_from_its_state():
    table = np.random.default_rng(9).normal(size=2**6)
    estimator = regression_estimator(6, evaluations=30)
    state = estimator.init(jax.random.key(2))
    before = estimator.estimate(state)
    assert np.isnan(before.values).all()
    assert int(before.evaluations) == 0
    leaves, structure = jax.tree.flatten(state._replace(key=jax.random.key_data(state.key)))
    loaded = jax.tree.unflatten(structure, [np.array(leaf) for leaf in leaves])
    loaded = loaded._replace(key=jax.random.wrap_key_data(jnp.asarray(loaded.key)))
    coalitions = estimator.ask(loaded)
    estimate = regression_estimator(6, evaluations=30).estimate(
        estimator.tell(loaded, coalitions, jnp.asarray(table[index_of(coalitions)], float))
    )
    assert np.array_equal(estimate.values, run(table, 30, 2).values)


@pytest.mark.once
def test_a_second_call_compiles_nothing(caplog):
    def utility(coalition):
        return jnp.sum(coalition * 1.0) ** 2

    with jax.log_compiles():
        first = regress_shapley(jax.random.key(0), utility, 6, evaluations=64)
        assert any("Compiling" in record.getMessage() for record in caplog.records)
        caplog.clear()
        second = regress_shapley(jax.random.key(1), utility, 6, evaluations=64)
    assert not [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()]
    np.testing.assert_allclose(first.values.sum(), second.values.sum(), rtol=1e-5)


@pytest.mark.mistakes
def test_mistakes_are_told_at_the_door():
    key = jax.random.key(0)

    def size(coalition):
        return jnp.sum(coalition)

    with pytest.raises(ValueError, match=r"evaluations: expected at least 6.*; got"):
        regress_shapley(key, size, 5, evaluations=5)
    with pytest.raises(ValueError, match="evaluations"):
        regress_shapley(key, size, 5, evaluations=10.5)
    with pytest.raises(ValueError, match="method: expected one of 'adjusted', 'least_squares'"):
        regress_shapley(key, size, 5, evaluations=32, method="ridge")
    with pytest.raises(ValueError, match="groups"):
        regress_shapley(key, size, 5, evaluations=32, groups=[0, 2, 2, 0, 0])
    with pytest.raises(ValueError, match="utility: expected finite numbers"):
        regress_shapley(key, lambda coalition: jnp.log(jnp.sum(coalition) - 1.0), 5, evaluations=32)
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda k: regress_shapley(k, size, 5, evaluations=32).values)(key)
