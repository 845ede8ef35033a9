"""Smooth surrogates: kernel ridge regression (Gaussian process means) on coalitions, and what it predicts fold by fold.

g(S) = Σ_R α_R κ(S, R), α = (K + λ I)⁻¹ y. The kernels:

    linear, pairwise, polynomial: κ(S, R) = Σ_{1 ≤ t ≤ d} e_t(z z') / (ρ^(t-1) C(n, t)), d = 1, 2, 3, z = ±1 in and
        outside, e_t the elementary symmetric polynomial: all interactions of up to d players, higher ones shrunk more.
    unanimity: κ(S, R) = (1/n) Σ_t C(m, t) / C(n, t) = m / (n (n + 1 - m)), m = |S ∩ R|, and the same of those who are
        missing: the covariance of a sum of unanimity games whose carriers' sizes are uniform, and of their duals.

With Q = (K + λ I)⁻¹ on all rows, the fit without the rows k has α_{-k} = α - Q_{:,k} Q_kk⁻¹ α_k and leaves the
residuals Q_kk⁻¹ α_k on them, so that one inverse serves all folds.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import comb
from typing import NamedTuple

import numpy as np
import scipy.linalg

from jaxval.values._products import contained_chances, spread

__all__ = ["KERNELS", "KernelFit", "kernel_contributions", "kernel_folds", "shrinkage", "sign_means"]

DECAY = 8.0  # ρ
PENALTIES = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # λ, times the mean of the kernel's diagonal
CONSTANT = 10.0  # the variance of an unknown constant, times the same


class KernelFit(NamedTuple):
    """A fit without one fold.

    Attributes:
        error: its leave-one-out mean squared error on the rows that it was fitted to.
        weights: (rows,) α, 0 in the fold.
        residuals: (rows,) v - g, out of sample in the fold.
    """

    error: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray


def kernel_folds(
    kernel: str, coalitions: np.ndarray, utilities: np.ndarray, folds: np.ndarray
) -> Iterator[list[KernelFit]]:
    """For each penalty the fits without each fold, of (rows, objectives) utilities; fold -1 is in every fit.

    The leave-one-out residual of a row is α / diag(Q), with α and Q of the fit without the fold.
    """
    matrix = KERNELS[kernel](coalitions)
    rows, scale = len(coalitions), float(np.mean(np.diag(matrix)))
    if scale <= 0:
        return
    matrix = matrix + CONSTANT * scale
    for penalty in PENALTIES:
        inverse = scipy.linalg.lapack.dpotri(
            scipy.linalg.cholesky(matrix + penalty * scale * np.eye(rows), lower=True), lower=1
        )[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse @ utilities
        diagonal = np.diag(inverse)
        fits = []
        for fold in range(folds.max() + 1):
            own = np.flatnonzero(folds == fold)
            factor = scipy.linalg.cho_factor(inverse[np.ix_(own, own)])
            outside = scipy.linalg.cho_solve(factor, weights[own])
            columns = inverse[:, own]
            shifted = weights - columns @ outside
            reduced = diagonal - np.sum(columns * scipy.linalg.cho_solve(factor, columns.T).T, axis=1)
            shifted[own] = 0
            residuals = penalty * scale * shifted
            residuals[own] = outside
            rest = folds != fold
            error = np.mean((shifted[rest] / np.maximum(reduced[rest], 1e-300)[:, None]) ** 2, axis=0)
            fits.append(KernelFit(error, shifted, residuals))
        yield fits


def kernel_contributions(kernel: str, coalitions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """E[(x_i / s - (1 - x_i) / (n - s)) g(S)] over the coalitions of each size s = 1, ..., n - 1; (players, n - 1)."""
    return CONTRIBUTIONS[kernel](coalitions, weights)


def _polynomial(coalitions: np.ndarray, degree: int) -> np.ndarray:
    signs = np.where(coalitions, 1.0, -1.0)
    players = signs.shape[1]
    common = signs @ signs.T
    total = np.zeros_like(common)
    for size in range(1, min(degree, players) + 1):
        total += elementary(common, players, size) / shrinkage(players, size)
    return total


def _unanimity(coalitions: np.ndarray) -> np.ndarray:
    players = coalitions.shape[1]
    total = np.zeros((len(coalitions), len(coalitions)))
    for side in (coalitions.astype(float), (~coalitions).astype(float)):
        common = side @ side.T
        total += common / (players * (players + 1 - common))
    return total


def _polynomial_contributions(coalitions: np.ndarray, weights: np.ndarray, degree: int) -> np.ndarray:
    """For Π_{j∈T} z_j and i in T: (k(s - 1) + k(s)) / n.

    k(s) is the mean of a product of |T| - 1 signs over the coalitions of s among the n - 1 others.
    """
    signs = np.where(coalitions, 1.0, -1.0)
    players = signs.shape[1]
    sizes, others = np.arange(1, players), players - 1
    total = np.zeros((players, players - 1))
    sums = signs.sum(axis=1)
    for size in range(1, min(degree, players - 1) + 1):
        share = weights / shrinkage(players, size)
        members = share @ (signs * elementary(sums[:, None] - signs, others, size - 1))
        everything = share @ elementary(sums, players, size)
        total += spread(members, everything, size)[:, None] * sign_means(players, size, sizes)[None, :]
    return total


def _unanimity_contributions(coalitions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """κ(·, R) = (1/n) Σ_{T ⊆ R} [T ⊆ S] / C(n, |T|): C(r - 1, t - 1) of the carriers of size t hold a member of R."""
    players = coalitions.shape[1]
    sizes = np.arange(1, players)
    total = np.zeros((players, players - 1))
    for absent, side in ((False, coalitions), (True, ~coalitions)):
        count = side.sum(axis=1)
        for size, (chance, share) in enumerate(
            zip(contained_chances(players, sizes), contained_chances(players, count), strict=True), start=1
        ):
            load = weights * share / players  # C(r, t) / C(n, t) carriers
            members = (load * size / np.maximum(count, 1)) @ side
            each = -(chance / sizes)[::-1] if absent else chance / sizes
            total += spread(members, load.sum(), size)[:, None] * each[None, :]
    return total


def sign_means(players: int, size: int, sizes: np.ndarray) -> np.ndarray:
    """What a product of `size` signs gives each of its players, from the coalitions of each of the sizes."""
    others = players - 1
    means = [elementary(2.0 * s - others, others, size - 1) / comb(others, size - 1) for s in (sizes - 1, sizes)]
    return (means[0] + means[1]) / players


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
    return DECAY ** (size - 1) * comb(players, size)


DEGREES = {"linear": 1, "pairwise": 2, "polynomial": 3}
KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **{name: partial(_polynomial, degree=degree) for name, degree in DEGREES.items()},
    "unanimity": _unanimity,
}
CONTRIBUTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    **{name: partial(_polynomial_contributions, degree=degree) for name, degree in DEGREES.items()},
    "unanimity": _unanimity_contributions,
}
