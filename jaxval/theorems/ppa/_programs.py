"""Linear programs over what P allows, and the profiles of claims in plain NumPy: on the host, one at a time."""

import functools
import itertools
from typing import Any

import numpy as np
from scipy.optimize import linprog

__all__ = ["by_box", "by_definition", "by_groups", "by_reports", "plain", "sizes"]


@functools.cache
def rankings(size: int) -> tuple[np.ndarray, np.ndarray]:
    """All rankings, and above[r, i, j] = 1{r puts i above j}."""
    orders = np.array(list(itertools.permutations(range(size))))
    place = orders.argsort(axis=1)
    return orders, (place[:, :, None] < place[:, None, :]).astype(float)


def pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(size, 1)


def plain(orders: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P, with 1/2 on the diagonal, and w, ranking by ranking."""
    size = orders.shape[1]
    matrix, w = np.eye(size) / 2, np.zeros(size)
    for order, weight in zip(orders, weights, strict=True):
        w[order[0]] += weight
        for i, j in itertools.combinations(order, 2):
            matrix[i, j] += weight
    return matrix, w


def greatest(direction: np.ndarray, **constraints: Any) -> float:
    found = linprog(-direction, method="highs", **constraints)
    if found.status == 2:
        return -np.inf  # nothing is feasible
    return -found.fun if found.success else np.nan


def by_definition(matrix: np.ndarray, direction: np.ndarray) -> float:
    """The largest Σ_k d_k w_k of Definition 4.1: over σ ≥ 0 on all rankings with P^σ = P, Σσ = 1."""
    size = len(matrix)
    orders, above = rankings(size)
    i, j = pairs(size)
    rows = np.vstack([above[:, i, j].T, np.ones(len(orders))])
    return greatest(direction[orders[:, 0]], A_eq=rows, b_eq=np.append(matrix[i, j], 1))


def by_groups(matrix: np.ndarray, direction: np.ndarray, *, unanimous: bool = True) -> float:
    """The same of (3): over w_k σ_k ≥ 0 on all rankings for each k, with P_k(y_k ≻ y) = 1 and Σ_k w_k P_k = P."""
    size = len(matrix)
    orders, above = rankings(size)
    i, j = pairs(size)
    num = len(orders)
    rows = [np.tile(above[:, i, j].T, size), np.ones((1, size * num))]
    if unanimous:
        for k in range(size):
            block = np.zeros((size - 1, size * num))
            block[:, k * num : (k + 1) * num] = 1 - np.delete(above[:, k], k, axis=1).T
            rows.append(block)
    right = np.concatenate([matrix[i, j], [1], np.zeros(size * (size - 1) * unanimous)])
    return greatest(np.repeat(direction, num), A_eq=np.vstack(rows), b_eq=right)


def by_reports(matrix: np.ndarray, direction: np.ndarray, *, bounded: bool) -> float:
    """The same where P_k is any skew-symmetric function: over w and w_k P_k(i ≻ j), in [0, w_k] where `bounded`."""
    size = len(matrix)
    columns = [(k, i, j) for k in range(size) for i in range(size) for j in range(i + 1, size) if k not in (i, j)]
    cost = np.concatenate([direction, np.zeros(len(columns))])
    left, right = [1.0 * (np.arange(len(cost)) < size)], [1.0]
    for i, j in zip(*pairs(size), strict=True):
        row = np.zeros(len(cost))
        row[i] = 1
        for number, (_, *pair) in enumerate(columns):
            row[size + number] = pair == [i, j]
        left.append(row)
        right.append(matrix[i, j])
    most = np.zeros((len(columns), len(cost)))
    for number, (k, _, _) in enumerate(columns):
        most[number, k], most[number, size + number] = -1, 1
    limits = [(0, None)] * size + [(0, None) if bounded else (None, None)] * len(columns)
    kept = {"A_ub": most, "b_ub": np.zeros(len(columns))} if bounded and columns else {}
    return greatest(cost, A_eq=np.array(left), b_eq=np.array(right), bounds=limits, **kept)


def by_box(matrix: np.ndarray, direction: np.ndarray, *, scale: float = 1.0) -> float:
    """The same over {w ∈ Δ : w_i ≤ u_i}: as much as there is room for, the largest d first."""
    bounds = scale * np.array([np.delete(row, i).min() for i, row in enumerate(matrix)])
    total, left = 0.0, 1.0
    for i in np.argsort(-direction):
        taken = min(bounds[i], left)
        total, left = total + direction[i] * taken, left - taken
    return total if left < 1e-9 else -np.inf


def sizes(c: Any) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """P, w and a direction for M = 2, 3, 4."""
    return [
        (*plain(*profile), np.asarray(c.rewards)[: profile.orders.shape[1]]) for profile in (c.two, c.three, c.four)
    ]
