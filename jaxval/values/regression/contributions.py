"""The contribution of a surrogate to the values: the mean of w_i g over all coalitions of a size, in closed form.

g = Σ_T b_T f_T, with f_T = z_T or f_T = h_T (module `surrogates`). f_T depends on S only through |S ∩ T| and |S|. The
mean of w_i f_T over the coalitions of size s is therefore the same c_t(s) for all members of T. It is
-t / (n - t) c_t(s) for the other players, because the n means sum to zero. Hence the contributions need only B_ti, the
sum of b_T over the carriers T of size t that contain player i.
"""

from collections.abc import Callable
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

__all__: list[str] = []

DECAY = 8.0  # ρ: the total prior variance of all products of t signs falls as ρ^-(t - 1)


def contributions_of(
    basis: Callable[[int], tuple[np.ndarray, np.ndarray]],
    members: Callable[[np.ndarray, Any], np.ndarray],
    masks: np.ndarray,
    model: Any,
) -> np.ndarray:
    """The mean of w_i g at each size: Σ_t n / (n - t) (B_ti - mean_i B_ti) c_t(s).

    This follows from Σ_{T∋i} b_T - t / (n - t) Σ_{T∌i} b_T = B_ti - t / (n - t) (Σ_i B_ti / t - B_ti).

    Args:
        basis: `basis(players)` gives the sizes t and (t, s) c_t(s), s = 1, ..., n // 2.
        members: `members(masks, model)` gives (t, players) B_ti.
        masks: (rows, players) the coalitions that the surrogate was fitted to.
        model: the fitted surrogate.

    Returns:
        (players, n // 2) contributions, halved at size n / 2, because both coalitions of a pair have this size.
    """
    players = masks.shape[1]
    sizes, means = basis(players)
    sums = members(masks, model)
    share = players / (players - sizes)
    halved = np.where(2 * np.arange(1, players // 2 + 1) == players, 0.5, 1.0)
    return ((sums - sums.mean(axis=1, keepdims=True)) * share[:, None]).T @ (means * halved)


def polynomial_members(degree: int, masks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """B_ti from a kernel's weights: b_T = Σ_R α_R z_T(R) / (ρ^(t-1) C(n, t))."""
    signs = np.where(masks, 1.0, -1.0)
    players = signs.shape[1]
    sums = signs.sum(axis=1)[:, None]
    return np.array(
        [
            weights @ (signs * elementary(sums - signs, players - 1, size - 1)) / shrinkage(players, size)
            for size in odd_sizes(players, degree)
        ]
    )


def monomial_members(degree: int, masks: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """B_ti from the coefficients b_T."""
    carriers = monomials(masks.shape[1], degree)
    parts = np.split(coefficients, np.cumsum([len(of) for of in carriers])[:-1])
    repeated = [(of.ravel(), np.repeat(part, of.shape[1])) for of, part in zip(carriers, parts, strict=True)]
    return np.array([np.bincount(players, loads, minlength=masks.shape[1]) for players, loads in repeated])


def unanimity_members(masks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """B_ti from a kernel's weights: b_T = Σ_R α_R h_T(R) / (n C(n, t)).

    A given member of R belongs to C(r - 1, t - 1) = C(r, t) t / r of the carriers of size t inside R.
    """
    players = masks.shape[1]
    count = masks.sum(axis=1)
    each = containment(players) * np.arange(1, players)[:, None] / np.maximum(np.arange(players + 1), 1) / players
    return (each[:, count] * weights) @ masks - (each[:, players - count] * weights) @ ~masks


def sparse_members(masks: np.ndarray, model: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """B_ti from the carriers and coefficients of the terms."""
    carriers, coefficients = model
    members = np.zeros((masks.shape[1], masks.shape[1]))
    np.add.at(members, carriers.sum(axis=1) - 1, coefficients[:, None] * carriers)
    return members[:-1]  # h_N = 0 for all coalitions other than the empty and the full one


def sign_basis(degree: int, players: int) -> tuple[np.ndarray, np.ndarray]:
    """The odd sizes t up to the degree, and c_t(s) of z_T, (t, s), for s = 1, ..., n // 2.

    c_t(s) = (k(s - 1) + k(s)) / n, where k(s) is the mean of a product of t - 1 signs over the coalitions of s players
    out of n - 1.
    """
    sizes = odd_sizes(players, degree)
    size = np.arange(1, players // 2 + 1)
    others = players - 1
    means = [
        sum(elementary(2.0 * s - others, others, t - 1) for s in (size - 1, size)) / comb(others, t - 1) / players
        for t in sizes
    ]
    return np.array(sizes), np.array(means)


def game_basis(players: int) -> tuple[np.ndarray, np.ndarray]:
    """The sizes t = 1, ..., n - 1, and c_t(s) of h_T: P(T ⊆ S) / s + P(T ⊆ N - S) / (n - s)."""
    size = np.arange(1, players // 2 + 1)
    chance = containment(players)
    return np.arange(1, players), chance[:, size] / size + chance[:, players - size] / (players - size)


def containment(players: int) -> np.ndarray:
    """P(T ⊆ S) = C(s, t) / C(n, t) for t = 1, ..., n - 1 and s = 0, ..., n."""
    size, carrier = np.arange(players + 1)[None], np.arange(1, players)[:, None]
    return np.cumprod(np.maximum(size - carrier + 1, 0) / (players - carrier + 1), axis=0)


def monomials(players: int, degree: int) -> list[np.ndarray]:
    """For each odd size t up to the degree, an array (sets, t) of all sets T of t players, one set in each row."""
    return [np.array(list(combinations(range(players), size))) for size in odd_sizes(players, degree)]


def odd_sizes(players: int, degree: int) -> list[int]:
    """The odd t up to the degree and below n."""
    # z_N depends only on |S|, and the weights w_i of the coalitions of one size sum to zero.
    return [size for size in range(1, degree + 1, 2) if size < players]


def elementary(sums: np.ndarray, count: int, size: int) -> np.ndarray:
    """The elementary symmetric polynomial e_t of `count` signs from their sum u, up to degree 3."""
    if size == 0:
        return np.ones_like(sums)
    if size == 1:
        return sums
    if size == 2:
        return (sums**2 - count) / 2
    return (sums**3 - (3 * count - 2) * sums) / 6


def shrinkage(players: int, size: int) -> float:
    """ρ^(t-1) C(n, t), the inverse of the prior variance of b_T."""
    return DECAY ** (size - 1) * comb(players, size)
