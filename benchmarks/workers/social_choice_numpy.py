"""The tasks of `benchmarks.social_choice` in NumPy and SciPy, as one would write them without a package."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import linprog

PACKAGES = ("numpy", "scipy")

Run = Callable[[], dict[str, np.ndarray]]


def maximal_lottery(inputs: dict[str, np.ndarray]) -> Run:
    """One linear program a matrix by HiGHS: max v such that (P - Pᵀ)ᵀ p ≥ v, Σp = 1, p ≥ 0."""

    def solve(matrix: np.ndarray) -> np.ndarray:
        alternatives = len(matrix)
        result = linprog(
            np.append(np.zeros(alternatives), -1),
            A_ub=np.hstack([matrix - matrix.T, np.ones((alternatives, 1))]),
            b_ub=np.zeros(alternatives),
            A_eq=np.append(np.ones(alternatives), 0)[None],
            b_eq=[1],
            bounds=[(0, None)] * alternatives + [(None, None)],
            method="highs",
        )
        return result.x[:-1]

    return lambda: {"lotteries": np.array([solve(matrix) for matrix in inputs["matrices"]])}


def random_matrix(seed: int, alternatives: int) -> np.ndarray:
    """A preference function in float32 that is too large for a file."""
    upper = np.triu(np.random.default_rng(seed).random((alternatives, alternatives), dtype=np.float32), 1)
    matrix = upper + np.tril(1 - upper.T, -1)
    np.fill_diagonal(matrix, 0.5)
    return matrix


def share_bounds(inputs: dict[str, np.ndarray], *, alternatives: int) -> Run:
    """The least entry of each row beside the diagonal."""
    matrix = random_matrix(int(inputs["seed"]), alternatives)
    itself = np.eye(alternatives, dtype=bool)
    return lambda: {"u": np.where(itself, 1, matrix).min(axis=1)}


def preference_matrix(inputs: dict[str, np.ndarray], *, tuned: bool) -> Run:
    """A loop over the alternatives: as one writes it, or on small integers, one alternative's places side by side."""
    orders = inputs["orders"]
    num, alternatives = orders.shape

    def plain() -> dict[str, np.ndarray]:
        place = np.argsort(orders, axis=1)
        shares = np.array([np.mean(place[:, [i]] < place, axis=0) for i in range(alternatives)])
        return {"matrix": shares + np.eye(alternatives) / 2}

    def on_small_integers() -> dict[str, np.ndarray]:
        place = np.empty((num, alternatives), dtype=np.int8)
        np.put_along_axis(place, orders, np.arange(alternatives, dtype=np.int8)[None, :], axis=1)
        place = np.ascontiguousarray(place.T)
        wins = np.array([np.count_nonzero(place[i] < place, axis=1) for i in range(alternatives)])
        return {"matrix": wins / num + np.eye(alternatives) / 2}

    return on_small_integers if tuned else plain


def mallows(inputs: dict[str, np.ndarray], *, num: int, dispersion: float) -> Run:
    """Repeated insertion, one alternative of the center at a time for all rankings together."""
    center = inputs["center"]
    alternatives = len(center)
    rng = np.random.default_rng(0)

    def run() -> dict[str, np.ndarray]:
        place = np.zeros((alternatives, num), dtype=np.int8)
        for i in range(1, alternatives):
            chances = np.cumsum(dispersion ** np.arange(i + 1))
            distance = np.searchsorted(chances, rng.random(num) * chances[-1], side="right")
            place[i] = i - distance
            place[:i] += place[:i] >= place[i]
        orders = np.empty((num, alternatives), dtype=center.dtype)
        np.put_along_axis(orders, place.T.astype(np.intp), center[None, :], axis=1)
        return {"orders": orders}

    return run


TASKS = {
    "maximal_lottery": maximal_lottery,
    "share_bounds": share_bounds,
    "preference_matrix": preference_matrix,
    "mallows": mallows,
}
