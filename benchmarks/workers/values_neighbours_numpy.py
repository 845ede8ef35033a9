"""The tasks of `benchmarks.values_neighbours` in NumPy: products of matrices, argsort, and the recursion as sums."""

from collections.abc import Callable

import numpy as np

PACKAGES = ("numpy",)


def exact(
    inputs: dict[str, np.ndarray], *, neighbours: int, dtype: str = "float64"
) -> Callable[[], dict[str, np.ndarray]]:
    """Jia et al. (2019), Theorem 1, all test points at once."""
    x, tests = inputs["train_x"].astype(dtype), inputs["test_x"].astype(dtype)
    y, test_y = inputs["train_y"], inputs["test_y"]
    n = len(x)
    place = np.arange(1, n)
    weights = (np.minimum(neighbours, place) / (place * neighbours)).astype(dtype)

    def run() -> dict[str, np.ndarray]:
        distances = np.sum(tests**2, axis=1)[:, None] + np.sum(x**2, axis=1)[None, :] - 2 * tests @ x.T
        order = np.argsort(distances, axis=1)
        right = (y[order] == test_y[:, None]).astype(dtype)
        values = np.empty_like(right)
        values[:, -1] = right[:, -1] * min(neighbours, n) / (n * neighbours)
        steps = (right[:, :-1] - right[:, 1:]) * weights[None, :]
        values[:, :-1] = values[:, -1:] + np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
        total = np.bincount(order.ravel(), weights=values.ravel(), minlength=n)
        return {"values": total / len(tests)}

    return run


TASKS = {"exact": exact}
