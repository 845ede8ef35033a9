"""The polynomial surrogate where there are more rows than monomials: ridge regression on the monomials themselves.

g(S) = c + Σ_{1 ≤ |T| ≤ d} b_T Π_{i∈T} z_i with z_i = 1 in S and -1 outside; the penalty is that of the polynomial
kernel. The degree is the largest of 3, 2, 1 that leaves few enough monomials.
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np
import scipy.linalg

from jaxval.values._kernels import PENALTIES, KernelFit, shrinkage, sign_means
from jaxval.values._products import spread

__all__ = ["monomial_contributions", "monomial_folds", "monomials"]

MOST = 1000  # monomials


def monomials(players: int) -> list[np.ndarray]:
    """(count, t) the players of all monomials of each degree t that are fitted."""
    degree = max(d for d in (1, 2, 3) if d == 1 or sum(comb(players, t) for t in range(1, d + 1)) <= MOST)
    return [np.array(list(combinations(range(players), t))) for t in range(1, min(degree, players) + 1)]


def monomial_folds(coalitions: np.ndarray, utilities: np.ndarray, folds: np.ndarray) -> Iterator[list[KernelFit]]:
    """For each penalty the fits without each fold, of (rows, objectives) utilities; fold -1 is in every fit.

    `weights` are (1 + monomials, objectives) coefficients, and `error` is that of generalised cross-validation,
    (1/m) Σ (y - g)² / (1 - df / m)².
    """
    signs = np.where(coalitions, 1.0, -1.0)
    players = signs.shape[1]
    terms = monomials(players)
    features = np.concatenate([np.ones((len(signs), 1)), *(signs[:, term].prod(axis=2) for term in terms)], axis=1)
    ridge = np.concatenate([[1e-3], *(np.full(len(term), shrinkage(players, term.shape[1])) for term in terms)])
    parts = [np.flatnonzero(folds == fold) for fold in range(folds.max() + 1)]
    gram, loads = features.T @ features, features.T @ utilities
    grams = [gram - features[own].T @ features[own] for own in parts]
    totals = [loads - features[own].T @ utilities[own] for own in parts]
    for penalty in PENALTIES[1:]:
        fits = []
        for own, inner, outer in zip(parts, grams, totals, strict=True):
            factor = scipy.linalg.cholesky(inner + np.diag(penalty * len(terms) * ridge), lower=True)
            weights = scipy.linalg.cho_solve((factor, True), outer)
            inverse = scipy.linalg.lapack.dtrtri(factor, lower=1)[0]
            shrunk = penalty * len(terms) * np.sum(ridge[None, :] * inverse**2)
            residuals = utilities - features @ weights
            rest = np.ones(len(signs), bool)
            rest[own] = False
            freedom = (len(ridge) - shrunk) / max(rest.sum(), 1)
            error = np.mean(residuals[rest] ** 2, axis=0) / max(1 - freedom, 1e-3) ** 2
            fits.append(KernelFit(error, weights, residuals))
        yield fits


def monomial_contributions(players: int, weights: np.ndarray) -> np.ndarray:
    """E[(x_i / s - (1 - x_i) / (n - s)) g(S)] over the coalitions of each size s = 1, ..., n - 1; (players, n - 1)."""
    sizes = np.arange(1, players)
    total = np.zeros((players, players - 1))
    first = 1
    for term in monomials(players):
        own = weights[first : first + len(term)]
        first += len(term)
        size = term.shape[1]
        if size < players:  # the product of all gives nothing below the full coalition
            members = np.bincount(term.ravel(), np.repeat(own, size), minlength=players)
            total += spread(members, own.sum(), size)[:, None] * sign_means(players, size, sizes)[None, :]
    return total
