"""Utilities of a user's own models against plain definitions: fits by hand, optima, paths, derivatives, curves."""

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, values
from jaxval.types import BadArgument

KEY = jax.random.key(0)


class Means:
    """The class with the nearest mean; what a user may bring, with `fit` and `predict` alone."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        self.means = np.stack([x[y == c].mean(axis=0) for c in self.classes_])

    def predict(self, x):
        return self.classes_[((x[:, None] - self.means[None]) ** 2).sum(axis=2).argmin(axis=1)]

    def predict_proba(self, x):
        closeness = np.exp(-((x[:, None] - self.means[None]) ** 2).sum(axis=2))
        return closeness / closeness.sum(axis=1, keepdims=True)


class Line:
    """Least squares through the origin; `score` is its own."""

    def fit(self, x, y):
        self.slope = (x[:, 0] @ y) / (x[:, 0] @ x[:, 0])

    def predict(self, x):
        return self.slope * x[:, 0]


class Own(Line):
    def score(self, x, y):
        return -float(np.abs(self.predict(x) - y).max())


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(20, 2))
    y = (x[:, 0] + 0.5 * rng.normal(size=20) > 0).astype(int)
    return (x[:6], np.array([0, 1, 1, 0, 1, 0])), (x[6:], y[6:])


def of_masks(players):
    return np.array(list(itertools.product([False, True], repeat=players)))


def test_a_model_is_fitted_to_the_rows_of_a_coalition(rows):
    (x, y), (test_x, test_y) = rows
    utility = values.model_utility(Means, *rows)
    assert utility.players == 6
    for mask in of_masks(6):
        if not mask.any():
            expected = 0.5
        elif len(set(y[mask])) == 1:
            expected = np.mean(test_y == y[mask][0])
        else:
            model = Means()
            model.fit(x[mask], y[mask])
            expected = np.mean(model.predict(test_x) == test_y)
        assert utility(mask) == expected
    assert utility.full == utility(np.ones(6, bool))


def test_log_loss_counts_classes_that_a_coalition_lacks(rows):
    (x, _), (test_x, _) = rows
    train = x, np.array(["a", "b", "c", "a", "b", "c"])
    utility = values.model_utility(Means(), train, (test_x[:4], np.array(["a", "b", "c", "a"])), score="log_loss")
    assert np.isclose(utility(np.zeros(6, bool)), -np.log(3))
    only = np.array([True, False, False, False, False, False])
    assert np.isclose(utility(only), (2 * np.log(1) + 2 * np.log(1e-6)) / 4)
    two = np.array([True, True, False, False, False, False])
    model = Means()
    model.fit(x[:2], np.array(["a", "b"]))
    probability = model.predict_proba(test_x[:4])[[0, 1, 3], [0, 1, 0]]
    assert np.isclose(utility(two), (np.log(np.maximum(probability, 1e-6)).sum() + np.log(1e-6)) / 4)


@pytest.mark.once
def test_regressions_and_scores_of_ones_own(rows):
    (x, _), (test_x, _) = rows
    target, test = x[:, 0] * 2.0 + x[:, 1], (test_x, test_x[:, 0] * 2.0)
    mask = np.array([True, True, False, True, False, False])
    slope = (x[mask, 0] @ target[mask]) / (x[mask, 0] @ x[mask, 0])
    error = np.mean((slope * test_x[:, 0] - test[1]) ** 2)
    assert np.isclose(values.model_utility(Line, (x, target), test, score="squared_error")(mask), -error)
    r2 = values.model_utility(Line, (x, target), test)  # no `score` of its own
    assert np.isclose(r2(mask), 1 - error / test[1].var())
    assert r2(np.zeros(6, bool)) == 0
    largest = values.model_utility(Own, (x, target), test, fewest=3, empty=-9.0)
    assert np.isclose(largest(mask), -np.abs(slope * test_x[:, 0] - test[1]).max())
    assert largest(np.arange(6) < 2) == -9.0

    def both(model, x, y):
        return np.array([model.slope, 1.0])

    pair = values.model_utility(Line, (x, target), test, score=both, empty=0.0)
    assert np.allclose(pair(mask), [slope, 1.0])
    assert np.allclose(pair(np.zeros(6, bool)), [0, 0])
    estimate = values.sample_shapley(KEY, pair, 6, permutations=4)
    assert np.allclose(estimate.values.sum(axis=0), pair.full, atol=1e-5)


def test_owners_bring_all_their_rows_and_frames_are_taken(rows):
    (x, y), test = rows
    owners = np.array([0, 1, 2, 1, 0, 2])
    by_owner = values.model_utility(Means, (x, y), test, owners=owners)
    by_row = values.model_utility(Means, (x, y), test)
    for mask in of_masks(3):
        assert by_owner(mask) == by_row(mask[owners])

    class Frame:
        """As pandas: rows by `iloc`, columns with names."""

        def __init__(self, table):
            self.table, self.shape, self.columns = table, table.shape, ["age", "pay"]

        def __getitem__(self, name):
            return self.table[:, self.columns.index(name)]

        def __array__(self, dtype=None, copy=None):
            return self.table

        @property
        def iloc(self):
            outer = self

            class Rows:
                def __getitem__(self, index):
                    return Frame(outer.table[index])

            return Rows()

    class OfFrame(Means):
        def fit(self, x, y):
            super().fit(np.asarray(x), y)

        def predict(self, x):
            return super().predict(np.asarray(x))

    framed = values.model_utility(OfFrame, (Frame(x), y), (Frame(test[0]), test[1]))
    assert all(framed(mask) == by_row(mask) for mask in of_masks(6)[::7])


def test_the_evaluator_takes_it_without_being_told(rows, tmp_path):
    utility = values.model_utility(Means, *rows)
    stored = coalitions.evaluator(utility, 6, store=tmp_path / "fits.sqlite")
    table = coalitions.tabulate(stored, 6)
    assert stored.computed == 64
    del stored  # a store belongs to one evaluator at a time
    again = coalitions.evaluator(pickle.loads(pickle.dumps(utility)), 6, store=tmp_path / "fits.sqlite")
    assert (coalitions.tabulate(again, 6) == table).all()
    assert again.computed == 0
    direct = values.evaluate_leave_one_out(utility, 6)
    assert np.allclose(direct.values, values.leave_one_out(table), atol=1e-6)
    assert int(direct.evaluations) == 7


@pytest.mark.mistakes
def test_mistakes_of_training_data_are_named(rows):
    (x, y), test = rows
    with pytest.raises(BadArgument, match=r"train: expected one label for each of the 6 rows; got labels of shape \(5"):
        values.model_utility(Means, (x, y[:5]), test)
    with pytest.raises(BadArgument, match=r"test: expected features of shape \(2,\)"):
        values.model_utility(Means, (x, y), (test[0][:, :1], test[1]))
    with pytest.raises(BadArgument, match="train: expected a label for every row; got none for row 1"):
        values.model_utility(Line, (x, np.array([0.0, np.nan, 1, 1, 1, 1])), test)
    with pytest.raises(BadArgument, match="score: expected a finite number or a vector of them; got nan"):
        values.model_utility(Means, (x, y), test, score=lambda model, x, y: np.nan, empty=0.0)
    with pytest.raises(BadArgument, match="empty: expected the utility of no rows"):
        values.model_utility(Means, (x, y), test, score=lambda model, x, y: 1.0)
    with pytest.raises(BadArgument, match="labels that are floating-point numbers, for 'r2'"):
        values.model_utility(Means, (x, y), test, score="r2")
    with pytest.raises(BadArgument, match=r"make_model: expected a model that can be fitted.*no such thing"):
        values.model_utility(Refuses, (x, y), test)
    holes = np.where(np.arange(6)[:, None] == 4, np.nan, x)
    with pytest.raises(BadArgument, match="got missing values in column 0, 1 of 6; encode or impute"):
        values.model_utility(Refuses, (holes, y), test)
    words = np.array([["red", "1"]] * 6)
    with pytest.raises(BadArgument, match="got text in column 0, such as 'red'"):
        values.model_utility(Refuses, (words, y), (words, y))
    with pytest.raises(BadArgument, match=r"owners: .*each of whom owns some; got .*\[0, 2\]"):
        values.model_utility(Means, (x, y), test, owners=[0, 2, 0, 2, 0, 2])
    with pytest.warns(UserWarning, match="training: no test row has the class 2"):
        values.model_utility(Means, (x, np.array([0, 1, 2, 0, 1, 2])), test)
    with pytest.warns(UserWarning, match="test: no training row has the class 7"):
        values.model_utility(Means, (x, y), (test[0], np.where(test[1] == 1, 7, np.arange(14) % 2)))
    sometimes = values.model_utility(Means, (x, y), test, score=Sometimes(), empty=0.0)
    with pytest.raises(BadArgument, match=r"utility: .*nan for coalition \[0, 1\]"):
        sometimes.as_evaluation().many(of_masks(6)[48:49])


class Refuses(Means):
    def fit(self, x, y):
        raise RuntimeError("no such thing")


class Sometimes:
    def __call__(self, model, x, y):
        return 1.0 if len(model.classes_) == 2 and abs(model.means).sum() < 2.5 else np.nan


def test_bagged_models_value_the_rows_that_they_left_out(close):
    scores = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0.5]])
    inside = np.array([[False, False, True], [False, True, False], [True, False, False], [False, False, True]])
    estimate = values.out_of_bag(scores, inside)
    for row in range(3):
        seen = scores[~inside[:, row], row]
        close(estimate.values[row], seen.mean(), atol=1e-6)
        close(estimate.standard_errors[row], seen.std(ddof=1) / np.sqrt(len(seen)), atol=1e-6)


# Models of weighted rows


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(22, 3))
    y = (x[:, 0] + rng.normal(size=22) > 0).astype(int)
    return (x[:12], y[:12]), (x[12:], y[12:])


def logistic_by_definition(x, y, weights, ridge):
    """Newton's method in NumPy, float64, with an intercept that is penalised."""
    rows, sign = np.c_[x, np.ones(len(x))], 2.0 * y - 1
    params = np.zeros(rows.shape[1])
    for _ in range(60):
        wrong = 1 / (1 + np.exp(sign * (rows @ params)))
        gradient = ridge * params - rows.T @ (weights * sign * wrong)
        hessian = rows.T @ (rows * (weights * wrong * (1 - wrong))[:, None]) + ridge * np.eye(len(params))
        params = params - np.linalg.solve(hessian, gradient)
    return params


def ridge_by_definition(x, targets, weights, ridge):
    rows = np.c_[x, np.ones(len(x))]
    matrix = rows.T @ (weights[:, None] * rows) + ridge * np.eye(rows.shape[1])
    return np.linalg.solve(matrix, rows.T @ (weights[:, None] * targets))


@pytest.mark.parametrize("ridge", [0.05, 1.0])
def test_fits_are_the_optima(problem, ridge, close, x64):
    (x, y), _ = problem
    rng = np.random.default_rng(0)
    weights = np.concatenate([np.eye(12)[:1], [np.zeros(12), np.ones(12)], rng.random((2, 12))])
    logistic = values.logistic_regression(ridge=ridge)
    linear = values.ridge_regression(ridge=ridge, classes=2)
    rows = jnp.asarray(x), jnp.asarray(y)
    fits = jax.jit(jax.vmap(lambda w: (logistic.fit(*rows, w), linear.fit(*rows, w))))
    found, lines = fits(jnp.asarray(weights))
    of_classes = values.logistic_regression(ridge=ridge, classes=3)
    several = jax.jit(jax.vmap(lambda w: of_classes.fit(*rows, w)))(jnp.asarray(weights))
    for params, line, three, w in zip(found, lines, several, weights, strict=True):
        close(params, logistic_by_definition(x, y, w, ridge), atol=1e-7 if x64 else 1e-4)
        for k, column in enumerate(three.T):  # each class against the rest; no row is of class 2
            close(column, logistic_by_definition(x, y == k, w, ridge), atol=1e-7 if x64 else 1e-4)
        close(line, ridge_by_definition(x, np.eye(2)[y], w, ridge), atol=1e-10 if x64 else 1e-4)


@pytest.mark.once
def test_scores_share_ties(problem):
    x, y = map(jnp.asarray, problem[1])
    logistic, linear = values.logistic_regression(), values.ridge_regression(classes=3)
    assert float(logistic.score(jnp.zeros(4), x, y)) == 0.5
    assert np.isclose(float(linear.score(jnp.zeros((4, 3)), x, y)), 1 / 3)
    several, even = (values.logistic_regression(classes=3, score=s) for s in ("accuracy", "log_likelihood"))
    assert np.isclose(float(several.score(jnp.zeros((4, 3)), x, y)), 1 / 3)
    assert np.isclose(float(even.score(jnp.ones((4, 3)), x, y)), np.log(1 / 3))
    likelihood = values.logistic_regression(score="log_likelihood")
    assert np.isclose(float(likelihood.score(jnp.zeros(4), x, y)), np.log(0.5))
    r2 = values.ridge_regression(score="r2")
    flat = jnp.array([[0.0], [0.0], [0.0], [float(jnp.mean(y))]])
    assert abs(float(r2.score(flat, x, y))) < 1e-6


@pytest.mark.parametrize("kind", ["logistic", pytest.param("classes", marks=pytest.mark.float64), "ridge", "plain"])
def test_paths_are_the_fits_of_the_prefixes(problem, kind, close, x64):
    model = {
        "logistic": values.logistic_regression(ridge=0.3, score="log_likelihood"),
        "classes": values.logistic_regression(ridge=0.3, classes=3, score="log_likelihood"),
        "ridge": values.ridge_regression(ridge=0.3, classes=2, score="squared_error"),
        "plain": values.ridge_regression(ridge=0.3, classes=2, score="squared_error")._replace(path=None),
    }[kind]
    along = values.weighted_path_utility(model, *problem)
    utility = values.weighted_utility(model, *problem)
    order = np.random.default_rng(0).permutation(12)
    prefixes = np.argsort(order)[None] < np.arange(13)[:, None]
    # Conjugate gradients stop when no logit moves by more than 1e-4.
    atol = 1e-8 if x64 and kind != "classes" else 1e-4
    close(jax.jit(along)(order), jax.jit(jax.vmap(utility))(jnp.asarray(prefixes)), atol=atol)
    if kind == "ridge":
        estimate = values.sample_shapley_along_paths(KEY, along, 12, permutations=4)
        again = values.sample_shapley(KEY, utility, 12, permutations=4)
        close(estimate.values, again.values, atol=1e-8 if x64 else 1e-4)


def test_influence_is_the_derivative_through_the_fit(problem, x64):
    model = values.logistic_regression(ridge=0.5, score="log_likelihood")
    utility = values.weighted_utility(model, *problem)
    found = np.asarray(values.influence(utility, 12))
    (x, y), (test_x, test_y) = problem

    def likelihood(weights):
        margins = (2 * test_y - 1) * (np.c_[test_x, np.ones(10)] @ logistic_by_definition(x, y, weights, 0.5))
        return -np.log1p(np.exp(-margins)).mean()

    step = 1e-5 * np.eye(12)
    expected = [(likelihood(1 + up) - likelihood(1 - up)) / 2e-5 for up in step]
    assert np.allclose(found, expected, atol=1e-8 if x64 else 1e-4)
    by_owner = values.weighted_utility(model, *problem, owners=np.arange(12) % 3)
    totals = found.reshape(4, 3).sum(axis=0)
    assert np.allclose(values.influence(by_owner, 3), totals, atol=1e-4)


@pytest.mark.once
def test_sampling_along_paths_resumes(problem, tmp_path):
    along = values.weighted_path_utility(values.ridge_regression(classes=2), *problem)
    whole = values.sample_shapley_along_paths(KEY, along, 12, permutations=8, per_ask=2)
    calls = []

    def interrupted(order):
        jax.debug.callback(lambda: calls.append(1))
        return along(order)

    save = tmp_path / "state.npz"
    first = values.sample_shapley_along_paths(KEY, interrupted, 12, permutations=8, per_ask=2, save=save)
    before = len(calls)
    again = values.sample_shapley_along_paths(KEY, interrupted, 12, permutations=8, per_ask=2, save=save)
    assert before == len(calls) > 0
    assert (first.values == again.values).all()
    assert np.allclose(first.values, whole.values, atol=1e-6)


@pytest.mark.mistakes
def test_mistakes_of_weighted_models_are_named(problem):
    (x, y), test = problem
    model = values.logistic_regression()
    with pytest.raises(BadArgument, match=r"utility: .*derivatives that are all zero; choose a smooth score"):
        values.influence(values.weighted_utility(model, (x, y), test), 12)
    with pytest.raises(BadArgument, match="y: expected the labels 0 and 1"):
        values.weighted_utility(model, (x, y + 1), test)(jnp.ones(12))
    with pytest.raises(BadArgument, match="integer labels 0 to 1"):
        values.weighted_utility(values.ridge_regression(classes=2), (x, y + 1), test)(jnp.ones(12))
    with pytest.raises(BadArgument, match="integer labels 0 to 1"):
        values.weighted_utility(values.logistic_regression(classes=2), (x, y + 1), test)(jnp.ones(12))
    with pytest.raises(BadArgument, match=r"train\[1\]: expected labels of shape \(12,\).*got int64 of shape \(11,\)"):
        values.weighted_utility(model, (x, y[:11]), test)
    with pytest.raises(BadArgument, match=r"train\[0\]: expected finite numbers; got nan"):
        values.weighted_utility(model, (np.where(x > 1, np.nan, x), y), test)
    with pytest.raises(BadArgument, match="score: expected one of squared_error, r2"):
        values.ridge_regression(score="accuracy")
    with pytest.raises(BadArgument, match="ridge"):
        values.logistic_regression(ridge=0.0)


# Semivalues by weight, and strata


@pytest.fixture(scope="module")
def game():
    table = jnp.asarray(np.random.default_rng(5).normal(size=64))
    return table, lambda mask: table[jnp.sum(jnp.where(mask, 2 ** jnp.arange(6), 0))]


def size_weights(name):
    from math import comb

    per_coalition = {"shapley": [1 / (6 * comb(5, s)) for s in range(6)], "banzhaf": [2.0**-5] * 6}
    per_coalition["middle"] = [0, 0, 0.4 / comb(5, 2), 0.6 / comb(5, 3), 0, 0]
    per_coalition["ends"] = [0.7, 0, 0, 0, 0, 0.3]
    return np.array([w * comb(5, s) for s, w in enumerate(per_coalition[name])]), per_coalition[name]


@pytest.mark.parametrize(
    "name",
    [
        "shapley",
        pytest.param("banzhaf", marks=pytest.mark.float64),
        "middle",
        pytest.param("ends", marks=pytest.mark.float64),
    ],
)
@pytest.mark.parametrize(("strata", "antithetic"), [(1, True), (3, False)])
def test_sampled_semivalues_are_those_of_the_table(game, name, strata, antithetic):
    table, utility = game
    of_sizes, weights = size_weights(name)
    estimate = values.sample_semivalue(
        KEY, utility, 6, size_weights=of_sizes, permutations=1500, strata=strata, antithetic=antithetic
    )
    exact = values.semivalue(table, weights=weights)
    assert (np.abs(estimate.values - exact) < 4.5 * estimate.standard_errors).all()
    inside = (estimate.intervals[0] <= exact) & (exact <= estimate.intervals[1])
    assert inside.sum() >= 5
    if name == "middle":  # ∅, N and the prefixes of sizes 2, 3 and 4
        assert int(estimate.evaluations) == 2 + 15 + 20 + 15


def test_strata_are_exact_where_gains_depend_on_the_position_alone(close):
    def utility(mask):
        return jnp.sqrt(jnp.sum(mask).astype(float))

    estimate = values.sample_shapley(KEY, utility, 5, permutations=10, strata=5, antithetic=False)
    close(estimate.values, np.full(5, np.sqrt(5) / 5), atol=1e-6)
    assert (np.asarray(estimate.standard_errors) < 1e-6).all()
    beta = values.sample_beta_shapley(KEY, utility, 5, alpha=4, beta=1, permutations=20, strata=5)
    sizes = (np.arange(32)[:, None] >> np.arange(5) & 1).sum(axis=1)
    close(beta.values, values.beta_shapley(np.sqrt(sizes), alpha=4, beta=1), atol=1e-5)


def test_strata_keep_the_order_of_groups(game):
    table, utility = game
    groups = [0, 1, 0, 1, 1, 0]
    estimate = values.sample_shapley(KEY, utility, 6, permutations=1200, strata=2, groups=groups, antithetic=False)
    exact = values.asymmetric_shapley(table, jnp.array(groups))
    assert (np.abs(estimate.values - exact) < 4.5 * estimate.standard_errors).all()
    assert np.isclose(estimate.values.sum(), table[-1] - table[0], atol=1e-5)


@pytest.mark.mistakes
def test_mistakes_of_weights_and_strata_are_named(game):
    _, utility = game
    with pytest.raises(BadArgument, match="permutations: expected a multiple of 6; got 8, and 6 are drawn together"):
        values.sample_shapley(KEY, utility, 6, permutations=8, strata=3)
    for wrong in ([0.5] * 6, [1.0], [2.0, -1.0, 0, 0, 0, 0]):
        with pytest.raises(BadArgument, match="size_weights"):
            values.sample_semivalue(KEY, utility, 6, size_weights=wrong, permutations=8)
    with pytest.raises(BadArgument, match="alpha"):
        values.sample_beta_shapley(KEY, utility, 6, alpha=0, beta=1, permutations=8)


# Curves


def test_removal_and_detection_by_definition(rng):
    gifts = rng.integers(-3, 6, 9).astype(float)
    worth = jnp.asarray(gifts)
    among = np.arange(9) != 2
    for adding in (False, True):
        curves = values.removal_curves(
            KEY, lambda mask: mask @ worth, gifts, counts=[0, 2, 8], among=among, adding=adding, draws=3
        )
        order = [i for i in np.argsort(gifts, kind="stable") if among[i]]
        for point, count in enumerate((0, 2, 8)):
            moved = gifts[order[:count]].sum()
            assert np.isclose(curves.lowest[point], gifts[2] + moved if adding else gifts.sum() - moved)
        assert curves.adding == adding
        assert np.allclose(curves.random[:, -1], curves.highest[-1])
    harmful = np.arange(9) % 3 == 0
    curve = values.detection_curve(gifts, harmful)
    pairs = [np.sign(b - a) / 2 + 0.5 for a in gifts[harmful] for b in gifts[~harmful]]
    assert np.isclose(curve.auc, np.mean(pairs))
    assert np.allclose(np.asarray(curve.recall)[[0, -1]], [0, 1])
    # The area under the curve of shares is the AUC but for the harmful players' own share of the axis.
    area = np.trapezoid(np.asarray(curve.recall, float), np.asarray(curve.inspected, float))
    assert np.isclose(area, harmful.mean() / 2 + (1 - harmful.mean()) * np.mean(pairs), atol=1e-6)


@pytest.mark.mistakes
def test_mistakes_of_curves_are_named():
    with pytest.raises(BadArgument, match="counts: expected increasing numbers from 0 to 3"):
        values.removal_curves(KEY, lambda mask: mask.sum(), [1.0, 2.0, 3.0], counts=[0, 4])
    with pytest.raises(BadArgument, match="harmful: expected some harmful players and some others; got 0 harmful"):
        values.detection_curve([1.0, 2.0], [False, False])
    with pytest.raises(BadArgument, match="values: expected finite numbers"):
        values.detection_curve([1.0, np.nan], [False, True])
