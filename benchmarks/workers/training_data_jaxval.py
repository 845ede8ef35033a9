"""The tasks of `benchmarks.training_data` by jaxval, and bare loops over scikit-learn's fits."""

import resource
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from joblib import Parallel, delayed, parallel_config
from sklearn.linear_model import LogisticRegression

from jaxval import values
from jaxval.coalitions import evaluator
from jaxval.parallel import ProcessPool

PACKAGES = ("jaxval", "jax", "scikit-learn", "numpy")

Inputs = dict[str, np.ndarray]
Run = Callable[[], dict[str, np.ndarray]]
MODEL = partial(LogisticRegression, max_iter=1000)
NEIGHBOURS = 5


def rows_of(inputs: Inputs) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return (inputs["train_x"], inputs["train_y"]), (inputs["test_x"], inputs["test_y"])


def fitted(inputs: Inputs, workers: int, estimate_of: Callable) -> Run:
    """Values of the fitted model in a pool that is started once, as joblib's pools are."""
    utility = values.model_utility(MODEL, *rows_of(inputs))
    pool = ProcessPool(workers)
    rows = np.arange(utility.players)
    evaluator(utility, utility.players, executor=pool).many(rows[None, :] < rows[2 : 2 + 2 * workers, None])

    def run() -> dict[str, np.ndarray]:
        estimate = estimate_of(evaluator(utility, utility.players, executor=pool), utility.players)
        return {"values": np.asarray(estimate.values), "fits": np.asarray(estimate.evaluations)}

    return run


def banzhaf(inputs: Inputs, *, fits: int, workers: int) -> Run:
    return fitted(inputs, workers, lambda u, n: values.sample_banzhaf(jax.random.key(0), u, n, coalitions=fits))


def truncated(inputs: Inputs, *, permutations: int, tolerance: float, workers: int) -> Run:
    def estimate_of(utility: Callable, players: int) -> values.Estimator:
        return values.sample_truncated_shapley(
            jax.random.key(0), utility, players, permutations=permutations, tolerance=tolerance, burn_in=2
        )

    return fitted(inputs, workers, estimate_of)


def leave_one_out(inputs: Inputs, *, workers: int) -> Run:
    return fitted(inputs, workers, values.evaluate_leave_one_out)


def knn(inputs: Inputs) -> Run:
    train, test = rows_of(inputs)
    return lambda: {"values": np.asarray(values.knn_shapley(*train, *test, neighbours=NEIGHBOURS))}


def loop(inputs: Inputs, *, fits: int, workers: int) -> Run:
    """As many fits of uniform coalitions in joblib's processes, and nothing else."""
    masks = np.random.default_rng(0).random((fits, len(inputs["train_y"]))) < 0.5

    def run() -> dict[str, np.ndarray]:
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):  # two would wait for each other, busily
            scores = Parallel()(delayed(one_fit)(*rows_of(inputs), mask) for mask in masks)
        return {"scores": np.array(scores)}

    run()
    return run


def one_fit(train: tuple, test: tuple, mask: np.ndarray) -> float:
    x, y = train[0][mask], train[1][mask]
    return 0.5 if len(np.unique(y)) < 2 else MODEL().fit(x, y).score(*test)


def along(inputs: Inputs, *, permutations: int) -> Run:
    train, test = rows_of(inputs)
    path = values.weighted_path_utility(values.logistic_regression(), train, test)

    def run() -> dict[str, np.ndarray]:
        estimate = values.sample_shapley_along_paths(
            jax.random.key(0), path, len(train[1]), permutations=permutations, per_ask=64
        )
        return {"values": np.asarray(estimate.values)}

    return run


def loop_along(inputs: Inputs, *, permutations: int) -> Run:
    """The same prefixes one after another by scikit-learn, with the intercept as a penalised column of ones."""
    (x, y), (test_x, test_y) = with_ones(inputs)
    model = LogisticRegression(fit_intercept=False, max_iter=1000)

    def run() -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        gains = np.zeros(len(y))
        for _ in range(permutations):
            before = 0.5
            for size, order in enumerate([rng.permutation(len(y))] * len(y), 1):
                rows = order[:size]
                one = len(set(y[rows])) == 1
                score = np.mean(test_y == y[rows][0]) if one else model.fit(x[rows], y[rows]).score(test_x, test_y)
                gains[rows[-1]] += score - before
                before = score
        return {"values": gains / permutations}

    return run


def gradients(inputs: Inputs) -> Run:
    """How far from the optimum the fits of both are: the largest entry of the gradient, over prefixes."""
    (x, y), _ = with_ones(inputs)
    model, order = values.logistic_regression(), np.random.default_rng(0).permutation(len(y))
    plain, labels = jnp.asarray(inputs["train_x"]), jnp.asarray(y)

    def gradient(params: np.ndarray, rows: np.ndarray) -> float:
        sign = 2.0 * y[rows] - 1
        wrong = 1 / (1 + np.exp(sign * (x[rows] @ params)))
        return float(np.abs(params - (sign * wrong) @ x[rows]).max())

    def run() -> dict[str, np.ndarray]:
        ours, theirs = [], []
        start, add = model.path(plain, labels)
        add = jax.jit(add)
        for size, row in enumerate(order, 1):
            start, params = add(start, row)
            rows = order[:size]
            if size % 10 == 0 and len(set(y[rows])) == 2:
                sk = LogisticRegression(fit_intercept=False, max_iter=1000).fit(x[rows], y[rows])
                ours.append(gradient(np.asarray(params, dtype=float), rows))
                theirs.append(gradient(sk.coef_[0], rows))
        return {"largest gradient, jaxval": np.max(ours), "largest gradient, scikit-learn": np.max(theirs)}

    return run


def with_ones(inputs: Inputs) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    (x, y), (test_x, test_y) = rows_of(inputs)
    return (np.c_[x, np.ones(len(x))], y), (np.c_[test_x, np.ones(len(test_x))], test_y)


def million(inputs: Inputs, *, rows: int, tests: int, features: int) -> Run:
    rng = np.random.default_rng(0)
    x, test_x = (rng.standard_normal((count, features), dtype=np.float32) for count in (rows, tests))
    y, test_y = (rng.integers(0, 10, count) for count in (rows, tests))
    before = peak()

    def run() -> dict[str, np.ndarray]:
        found = np.asarray(values.knn_shapley(x, y, test_x, test_y, neighbours=NEIGHBOURS), dtype=float)
        return {"sum": found.sum(), "MiB of the data": np.asarray(before), "MiB at the peak": np.asarray(peak())}

    return run


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


TASKS = {
    "banzhaf": banzhaf,
    "truncated": truncated,
    "leave_one_out": leave_one_out,
    "knn": knn,
    "loop": loop,
    "along": along,
    "loop_along": loop_along,
    "gradients": gradients,
    "million": million,
}
