"""A surrogate of few terms: products over members and over those who are missing, found greedily.

g(S) = c + Σ_j a_j [T_j ⊆ S] + Σ_k b_k [T_k ∩ S = ∅]: unanimity games and their duals. Every game is a sum of either
kind; many are a sum of few. Orthogonal matching pursuit takes, again and again, the term that explains most of what
is left, and then refits all coefficients.

A term that depends on S through |S ∩ T| alone gives the members of T the same, c_t(s) each from coalitions of size s,
and takes it from the others, -t / (n - t) c_t(s) each: the n contributions from one size sum to zero.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["Products", "fit_products", "product_contributions", "product_predictions"]

EXHAUSTIVE = 16  # players up to which all 2^n carriers are tried for each term
BEAM = 24  # carriers kept at each size where there are more players
DEEPEST = 8  # players in the carriers that a beam reaches

Search = Callable[[np.ndarray], tuple[np.ndarray, bool]]


class Products(NamedTuple):
    """The terms.

    Attributes:
        constant: c.
        coefficients: (terms,).
        carriers: (terms, players) masks.
        absent: (terms,) whether the carrier's players must be missing rather than present.
    """

    constant: float
    coefficients: np.ndarray
    carriers: np.ndarray
    absent: np.ndarray


def fit_products(
    coalitions: np.ndarray, utilities: np.ndarray, *, most: int, held: np.ndarray | None = None, patience: int = 25
) -> tuple[Products, np.ndarray]:
    """The best terms in order, and the mean squared error after each of them where some rows are held out.

    Args:
        coalitions: (rows, players) masks.
        utilities: (rows,).
        most: terms at most.
        held: (rows,) which to hold out; none where None.
        patience: how many terms that do not improve on the rows held out end the search.

    Returns:
        The terms, and (1 + terms,) errors on the rows held out, before the first and after each; NaN where none are.
    """
    train = np.ones(len(utilities), bool) if held is None else ~held
    members, values = coalitions[train], utilities[train]
    search = _search_all if coalitions.shape[1] <= EXHAUSTIVE else _search_beam
    state = search(members)
    basis = np.empty((min(most, len(values) - 1) + 1, len(coalitions)))  # rows orthonormal on the training rows
    basis[0] = 1 / np.sqrt(len(values))
    outputs = np.full(len(coalitions), values.mean())
    triangle = [np.array([np.sqrt(len(values))])]
    found: list[tuple[np.ndarray, bool]] = []
    errors = [_error(utilities, outputs, held)]
    projections = [values.sum() / np.sqrt(len(values))]
    total = np.sum((values - values.mean()) ** 2)
    while len(found) < most and len(found) + 1 < len(values):
        left = values - outputs[train]
        if left @ left <= 1e-20 * max(total, np.sum(values**2)):
            break
        carrier, absent = state(left)
        column = indicator(coalitions, carrier, absent)
        inside = basis[: len(found) + 1]
        rest, loads = column.copy(), np.zeros(len(found) + 1)
        for _ in range(2):  # twice is enough
            share = inside[:, train] @ rest[train]
            rest, loads = rest - share @ inside, loads + share
        size = np.linalg.norm(rest[train])
        if size <= 1e-7 * np.sqrt(max(column[train].sum(), 1)):
            break
        row = rest / size
        weight = row[train] @ left
        outputs = outputs + weight * row
        basis[len(found) + 1] = row
        triangle.append(np.append(loads, size))
        projections.append(weight)
        found.append((carrier, absent))
        errors.append(_error(utilities, outputs, held))
        if held is not None and len(errors) - 1 - int(np.argmin(errors)) >= patience:
            break
    upper = np.zeros((len(triangle), len(triangle)))
    for place, loads in enumerate(triangle):
        upper[: place + 1, place] = loads
    solved = np.linalg.solve(upper, np.array(projections)) if len(triangle) else np.zeros(1)
    players = coalitions.shape[1]
    carriers = np.array([carrier for carrier, _ in found], bool).reshape(-1, players)
    absent_of = np.array([absent for _, absent in found], bool)
    return Products(float(solved[0]), solved[1:], carriers, absent_of), np.array(errors)


def product_predictions(model: Products, coalitions: np.ndarray) -> np.ndarray:
    """g(S) of each coalition."""
    common = coalitions.astype(float) @ model.carriers.T.astype(float)
    wanted = np.where(model.absent, 0, model.carriers.sum(axis=1))
    return model.constant + (common == wanted[None, :]) @ model.coefficients


def product_contributions(model: Products, players: int) -> np.ndarray:
    """E[(x_i / s - (1 - x_i) / (n - s)) g(S)] over the coalitions of each size s = 1, ..., n - 1; (players, n - 1).

    For [T ⊆ S]: P(T ⊆ S) / s for a member of T. The dual's are those of [T ⊆ N - S] at size n - s, negated.
    """
    sizes = np.arange(1, players)
    total = np.zeros((players, players - 1))
    count = model.carriers.sum(axis=1)
    for size, chance in enumerate(contained_chances(players, sizes), start=1):
        for absent in (False, True):
            which = (count == size) & (model.absent == absent)
            if which.any():
                shares = spread(
                    model.coefficients[which] @ model.carriers[which], model.coefficients[which].sum(), size
                )
                each = -(chance / sizes)[::-1] if absent else chance / sizes
                total += shares[:, None] * each[None, :]
    return total


def contained_chances(players: int, sizes: np.ndarray) -> Iterator[np.ndarray]:
    """P(T ⊆ S) = C(s, t) / C(n, t) of a carrier of t = 1, ..., n - 1 players, for coalitions of each of the sizes s."""
    chance = np.ones(len(sizes))
    for size in range(1, players):
        chance = chance * np.maximum(sizes - size + 1, 0) / (players - size + 1)
        yield chance


def spread(members: np.ndarray, total: float, size: int) -> np.ndarray:
    """1 for a member of a carrier of t players and -t / (n - t) for the others, summed over carriers by coefficient."""
    return members - (total - members) * size / (len(members) - size)


def indicator(coalitions: np.ndarray, carrier: np.ndarray, absent: bool) -> np.ndarray:
    """[T ⊆ S], or [T ∩ S = ∅]."""
    inside = coalitions[:, carrier]
    return (~inside.any(axis=1) if absent else inside.all(axis=1)).astype(float)


def _error(utilities: np.ndarray, outputs: np.ndarray, held: np.ndarray | None) -> float:
    return float("nan") if held is None else float(np.mean((utilities[held] - outputs[held]) ** 2))


def _search_all(coalitions: np.ndarray) -> Search:
    """Over all carriers: (Σ_{S: T ⊆ S} r(S))² / #{S: T ⊆ S} by sums over supersets."""
    players = coalitions.shape[1]
    index = coalitions @ (1 << np.arange(players))
    everyone = (1 << players) - 1
    places = np.concatenate([index, everyone - index + (1 << players)])

    def sums(values: np.ndarray) -> np.ndarray:
        table = np.bincount(places, np.concatenate([values, values]), minlength=2 << players)
        for player in range(players):
            pairs = table.reshape(-1, 2, 1 << player)
            pairs[:, 0] += pairs[:, 1]
        return table

    count = sums(np.ones(len(coalitions)))
    with np.errstate(divide="ignore"):
        scale = np.where((count > 1.5) & (count < len(coalitions) - 0.5), 1 / np.sqrt(count), 0)

    def search(left: np.ndarray) -> tuple[np.ndarray, bool]:
        score = np.abs(sums(left)) * scale
        best = int(np.argmax(score))
        return (best >> np.arange(players)) & 1 == 1, best >> players == 1

    return search


def _search_beam(coalitions: np.ndarray) -> Search:
    """Carriers grown by one player at a time from the best of the last size."""
    rows, players = coalitions.shape
    sides = [coalitions.astype(float), (~coalitions).astype(float)]

    def grow(left: np.ndarray, inside: np.ndarray) -> tuple[float, np.ndarray]:
        best, best_carrier = -1.0, np.zeros(players, bool)
        carriers, active = np.zeros((1, players), bool), np.ones((1, rows))
        for _ in range(min(DEEPEST, players - 1)):
            sums, count = (active * left) @ inside, active @ inside
            score = np.where((count > 1.5) & ~carriers, np.abs(sums) / np.sqrt(np.maximum(count, 1)), -1)
            order = np.argsort(-score, axis=None, kind="stable")[: 4 * BEAM]
            parent, player = np.unravel_index(order[score.ravel()[order] >= 0], score.shape)
            if len(parent) == 0:
                break
            if score[parent[0], player[0]] > best:
                best, best_carrier = float(score[parent[0], player[0]]), carriers[parent[0]].copy()
                best_carrier[player[0]] = True
            children = carriers[parent]
            children[np.arange(len(parent)), player] = True
            _, first = np.unique(children, axis=0, return_index=True)
            kept = np.sort(first)[:BEAM]
            carriers, active = children[kept], active[parent[kept]] * inside.T[player[kept]]
        return best, best_carrier

    def search(left: np.ndarray) -> tuple[np.ndarray, bool]:
        present, absent = (grow(left, inside) for inside in sides)
        return (absent[1], True) if absent[0] > present[0] else (present[1], False)

    return search
