"""The linear values that axioms leave.

A linear value of n players is a matrix A (n, 2^n), φ = A v, with bit i of a game's index for player i. An axiom on all
games of a linear space is a set of linear equations in A, on a basis of that space made of unanimity games; a value is
unique if the equations have full rank and a solution.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["LinearValues", "linear_values", "ordered_value", "subset_weights", "unanimity", "unique"]


class LinearValues(NamedTuple):
    """The linear values that obey some axioms.

    Attributes:
        freedom: the dimension of their space.
        residual: the largest amount by which the best value misses an axiom's equation; 0 if a value obeys them all.
        best: (n, 2^n) that value.
    """

    freedom: int
    residual: float
    best: np.ndarray


def unanimity(team: int, players: int) -> np.ndarray:
    """The game that is 1 if all members of the team are present."""
    return (np.arange(2**players) & team == team).astype(float)


@functools.cache
def linear_values(axioms: frozenset[str], groups: tuple[int, ...], weights: tuple[float, ...] = ()) -> LinearValues:
    """The values that obey axioms among "efficiency", "nullity", "interchange" and "dependence".

    The last two say φ_i / λ_i = φ_j / λ_j for players of one group, and φ_i = 0 if i is of the earlier group, for every
    game in which i and j are interchangeable (each adds as much as the other to any coalition without both), or
    mutually dependent (neither adds anything to a coalition without the other).
    """
    n, size = len(groups), 2 ** len(groups)
    rows, right = [], []

    def demand(coefficients: Mapping[int, float], game: np.ndarray, wanted: float = 0.0) -> None:
        row = np.zeros((n, size))
        for player, coefficient in coefficients.items():
            row[player] = coefficient * game
        rows.append(row.reshape(-1))
        right.append(wanted)

    for team in range(size):
        game = unanimity(team, n)
        if "efficiency" in axioms:
            demand(dict.fromkeys(range(n), 1.0), game, game[-1] - game[0])
        for i in range(n):
            if "nullity" in axioms and not team >> i & 1:
                demand({i: 1.0}, game)
        for i, j in itertools.combinations(range(n), 2):
            shares = {i: weights[j], j: -weights[i]} if weights else {i: 1.0, j: -1.0}
            wanted = shares if groups[i] == groups[j] else {i if groups[i] < groups[j] else j: 1.0}
            has_i, has_j = team >> i & 1, team >> j & 1
            if has_i == has_j and axioms & {"dependence", "interchange"}:
                demand(wanted, game)
            if has_i > has_j and "interchange" in axioms:
                demand(wanted, game + unanimity(team ^ 1 << i ^ 1 << j, n))
    matrix, targets = np.array(rows), np.array(right)
    best, _, rank, _ = np.linalg.lstsq(matrix, targets, rcond=1e-10)
    return LinearValues(
        matrix.shape[1] - int(rank), float(np.abs(matrix @ best - targets).max()), best.reshape(n, size)
    )


@functools.cache
def subset_weights(n: int, *, banzhaf: bool = False) -> np.ndarray:
    """(n, 2^n): the Shapley value over subsets S, |S|! (n-|S|-1)!/n! for each, or the Banzhaf value."""
    matrix = np.zeros((n, 2**n))
    for i, code in itertools.product(range(n), range(2**n)):
        if not code >> i & 1:
            weight = 1 / (2 ** (n - 1) if banzhaf else n * math.comb(n - 1, code.bit_count()))
            matrix[i, [code, code | 1 << i]] = -weight, weight
    return matrix


@functools.cache
def ordered_value(groups: tuple[int, ...], weights: tuple[float, ...] = ()) -> np.ndarray:
    """(n, 2^n) the mean marginals over all permutations that respect the groups, with probabilities by weights."""
    n = len(groups)
    matrix = np.zeros((n, 2**n))
    for order in itertools.permutations(range(n)):
        if any(groups[x] > groups[y] for x, y in itertools.pairwise(order)):
            continue
        chance, inside = 1.0, 0
        for last, z in enumerate(order):
            peers = [y for y in order[: last + 1] if groups[y] == groups[z]]
            chance *= weights[z] / sum(weights[y] for y in peers) if weights else 1 / len(peers)
        for z in order:
            matrix[z, inside | 1 << z] += chance
            matrix[z, inside] -= chance
            inside |= 1 << z
    return matrix


def unique(axioms: Iterable[str], value: np.ndarray, groups: tuple[int, ...], weights: tuple[float, ...] = ()) -> Any:
    """The sides of "the value is the only linear one that obeys the axioms"."""
    found = linear_values(frozenset(axioms), groups, weights)
    return {
        "a value obeys them": (found.residual, 0.0),
        "no other does": (float(found.freedom), 0.0),
        "it is the one stated": (found.best, value),
    }
