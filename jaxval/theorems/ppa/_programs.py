"""Linear programs over what P allows, in plain NumPy: on the host, one case at a time."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linprog

from jaxval.theorems.ppa._profiles import profiles
from jaxval.theorems.records import Inconclusive

programs = profiles._replace(compiled=False, exhaustive=None, every="", most=8, tolerance=1e-7)
EMPTY = -1e6  # what stands for a largest value over the empty set


@functools.cache
def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of arrays with a cache, as the versions of a claim ask for the same programs."""
    cache: dict[Any, Any] = {}

    @functools.wraps(function)
    def of(*arrays: np.ndarray, **options: Any) -> Any:
        key = (*(array.tobytes() for array in arrays), *options.values())
        if key not in cache:
            cache[key] = function(*arrays, **options)
        return cache[key]

    return of


@functools.cache
def rankings(size: int) -> tuple[np.ndarray, np.ndarray]:
    """All rankings, and the rows 1{r puts i above j} for i < j."""
    orders = np.array(list(itertools.permutations(range(size))))
    place = orders.argsort(axis=1)
    i, j = np.triu_indices(size, 1)
    return orders, (place[:, i] < place[:, j]).T.astype(float)


def greatest(direction: np.ndarray, **constraints: Any) -> float:
    """The largest value of a linear program; raises `Inconclusive` if the solver gives no answer."""
    found = linprog(-direction, method="highs", **constraints)
    if not found.success and found.status != 2:
        raise Inconclusive(found.message)
    return -found.fun if found.success else EMPTY


@remembered
def by_definition(P: np.ndarray, direction: np.ndarray) -> float:
    """The largest Σ_k d_k w_k of Definition 4.1: over σ ≥ 0 on all rankings with P^σ = P, Σσ = 1."""
    orders, above = rankings(len(P))
    rows = np.vstack([above, np.ones(len(orders))])
    return greatest(direction[orders[:, 0]], A_eq=rows, b_eq=np.append(P[np.triu_indices(len(P), 1)], 1))


def largest_shares(P: Any) -> np.ndarray:
    """The largest w_k of all profiles with this P, for each k."""
    return np.array([by_definition(P, unit) for unit in np.eye(len(P))])


@remembered
def by_groups(P: np.ndarray, direction: np.ndarray, *, unanimous: bool = True) -> float:
    """The same of (3): over w_k σ_k ≥ 0 on all rankings for each k, with P_k(y_k ≻ y) = 1 and Σ_k w_k P_k = P."""
    size = len(P)
    orders, above = rankings(size)
    rows = np.vstack([np.tile(above, size), np.ones(size * len(orders))])
    right = np.append(P[np.triu_indices(size, 1)], 1)
    last = (orders[None, :, 0] != np.arange(size)[:, None]).ravel()  # in G_k others than y_k are first, against P_k
    bounds = [(0, 0 if unanimous and other else None) for other in last]
    return greatest(np.repeat(direction, len(orders)), A_eq=rows, b_eq=right, bounds=bounds)


@functools.cache
def _report_rows(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of Σw = 1 and of each P(i ≻ j), i < j, and of w_k P_k ≤ w_k; columns w, then w_k P_k(i ≻ j)."""
    columns = [(k, i, j) for k in range(size) for i, j in itertools.combinations(range(size), 2) if k not in (i, j)]
    equal = [[1.0] * size + [0.0] * len(columns)]
    for i, j in itertools.combinations(range(size), 2):
        equal.append([float(k == i) for k in range(size)] + [float(pair == [i, j]) for _, *pair in columns])
    most = np.hstack([-np.eye(size)[[k for k, _, _ in columns]].reshape(-1, size), np.eye(len(columns))])
    return np.array(equal), most


@remembered
def by_reports(P: np.ndarray, direction: np.ndarray, *, bounded: bool = True) -> float:
    """The same where P_k is any skew-symmetric function: over w and w_k P_k(i ≻ j), in [0, w_k] where `bounded`."""
    size = len(P)
    equal, most = _report_rows(size)
    limits = [(0, None)] * size + [(0, None) if bounded else (None, None)] * len(most)
    kept = {"A_ub": most, "b_ub": np.zeros(len(most))} if bounded and len(most) else {}
    right = np.append(1, P[np.triu_indices(size, 1)])
    return greatest(np.append(direction, np.zeros(len(most))), A_eq=equal, b_eq=right, bounds=limits, **kept)


def by_box(P: Any, direction: np.ndarray) -> float:
    """The same over {w ∈ Δ : w_i ≤ u_i}: as much as there is room for, the largest d first."""
    bounds = (P + np.eye(len(P))).min(axis=1)
    total, left = 0.0, 1.0
    for i in np.argsort(-direction):
        taken = min(bounds[i], left)
        total, left = total + direction[i] * taken, left - taken
    return total if left < 1e-9 else EMPTY
