"""Surrogates of the differences d(S) = v(S) - v(N - S): families, their fits, and the best fit for each fold.

The Shapley value depends only on d, because w_i(N - S) = -w_i(S) (module `estimate`). Surrogates are therefore fitted
to d. All of them are sums

    g(S) = Σ_T b_T f_T(S) with f_T(N - S) = -f_T(S), where f_T is one of
    signs:  z_T(S) = Π_{i∈T} z_i, |T| odd, z_i = 1 in S and -1 outside (Fumagalli et al.'s OddSHAP; an interaction of
            an even number of players cancels in d);
    games:  h_T(S) = [T ⊆ S] - [T ⊆ N - S], the difference of the unanimity game of T and also of its dual.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import comb
from typing import Any, NamedTuple

import numpy as np

from jaxval.values.regression.contributions import (
    contributions_of,
    elementary,
    game_basis,
    monomial_members,
    monomials,
    odd_sizes,
    polynomial_members,
    shrinkage,
    sign_basis,
    sparse_members,
    unanimity_members,
)
from jaxval.values.regression.design import FOLDS
from jaxval.values.regression.sparse import greedy_terms, indicators

__all__ = ["Family", "Fit", "Surrogate"]

KERNEL_PAIRS = 750  # with more pairs, the inverse of a kernel costs too much, and monomials are fitted instead
MOST_MONOMIALS = 1000
PAIRS_PER_PLAYER = 12  # with fewer, sparse terms cannot be told apart
PENALTIES = (1e-8, 1e-3, 1e-2, 1e-1, 1.0)  # λ, in units of the mean of the kernel's diagonal


class Fit(NamedTuple):
    """A surrogate fitted to one objective without the pairs of one fold.

    Attributes:
        error: the cross-validated mean squared error on the pairs that the surrogate was fitted to.
        model: the parameters from which the family's contributions are computed.
        residuals: (rows,) d - g, also in the fold left out.
    """

    error: float
    model: Any
    residuals: np.ndarray


class Family(NamedTuple):
    """A family of surrogates: how a member is fitted, and how its contributions to the values are computed.

    Attributes:
        fit: `fit(masks, utilities, folds)` yields (fold, objective, `Fit`), for each fold and objective once for each
            penalty. The utilities (2, rows, objectives) are those of the coalitions and of their complements. Rows of
            fold -1 belong to every fit.
        contributions: `contributions(masks, model)` gives the mean of w_i g over the coalitions of each size
            s = 1, ..., n // 2, (players, sizes).
    """

    fit: Callable[[np.ndarray, np.ndarray, np.ndarray], Iterator[tuple[int, int, Fit]]]
    contributions: Callable[[np.ndarray, Any], np.ndarray]


class Surrogate(NamedTuple):
    """The surrogate chosen for one fold and objective.

    Attributes:
        contributions: (players, n // 2) the mean of w_i g at each size.
        residuals: (pairs,) d - g.
    """

    contributions: np.ndarray
    residuals: np.ndarray


def choose(masks: np.ndarray, folds: np.ndarray, ends: np.ndarray, utilities: np.ndarray) -> list[list[Surrogate]]:
    """For each objective and fold, the surrogate with the least cross-validated error on the other folds.

    Args:
        masks: (pairs, players) one coalition of each pair.
        folds: (pairs,) the fold of each pair.
        ends: (2, objectives) v(N) and v(∅), which every fit uses.
        utilities: (2, pairs, objectives) utilities of the coalitions and of their complements.
    """
    masks = np.concatenate([masks, np.ones((1, masks.shape[1]), bool)])
    targets = np.concatenate([utilities, ends[:, None]], axis=1) - ends[1]
    scale = np.abs(targets).max(axis=(0, 1))
    targets = targets / np.where(scale > 0, scale, 1)
    best: dict[tuple[int, int], tuple[Fit, Family]] = {}
    for family in families(*masks.shape):
        for fold, objective, fit in family.fit(masks, targets, np.append(folds, -1)):
            if (fold, objective) not in best or fit.error < best[fold, objective][0].error:
                best[fold, objective] = fit, family

    def surrogate(fold: int, objective: int) -> Surrogate:
        fit, family = best[fold, objective]
        contributions = family.contributions(masks, fit.model)
        return Surrogate(contributions * scale[objective], fit.residuals[:-1] * scale[objective])

    return [[surrogate(fold, objective) for fold in range(folds.max() + 1)] for objective in range(len(scale))]


def families(rows: int, players: int) -> list[Family]:
    """The families of surrogates that are worth fitting to this many differences d(S) of this many players."""
    few = rows <= KERNEL_PAIRS
    cubic = few or players + comb(players, 3) <= MOST_MONOMIALS
    smooth = [polynomial(rows, players, degree) for degree in (1, 3)[: 1 + cubic]]
    return smooth + [UNANIMITY] * few + [SPARSE] * (rows > PAIRS_PER_PLAYER * players)


def polynomial(rows: int, players: int, degree: int) -> Family:
    """A shrunk polynomial, fitted by its monomials if they are far fewer than the rows, and otherwise by its kernel."""
    # The fit by monomials uses generalised cross-validation. With nearly as many monomials as rows, its error is small
    # although the fit only interpolates. The leave-one-out errors of the kernel are large in that case.
    if 2 * sum(comb(players, size) for size in odd_sizes(players, degree)) < rows:
        fit, members = partial(fit_monomials, degree), partial(monomial_members, degree)
    else:
        fit = partial(fit_kernel, partial(polynomial_kernel, degree))
        members = partial(polynomial_members, degree)
    return Family(fit, partial(contributions_of, partial(sign_basis, degree), members))


def fit_kernel(
    kernel: Callable[[np.ndarray], np.ndarray], masks: np.ndarray, utilities: np.ndarray, folds: np.ndarray
) -> Iterator[tuple[int, int, Fit]]:
    """Kernel ridge regression: g(S) = Σ_R α_R κ(S, R), α = (K + λ I)⁻¹ d, the mean of a Gaussian process.

    Let Q = (K + λ I)⁻¹ on all rows. The fit without the rows k has α_{-k} = α - Q_{:,k} Q_kk⁻¹ α_k, and its residuals
    on the rows k are Q_kk⁻¹ α_k, so that one inverse serves all folds. The leave-one-out residual of a row is
    α / diag(Q), with α and Q of the fit without the fold. The model is α, which is 0 in the fold.
    """
    import scipy.linalg  # it takes a quarter as long to load as JAX, so only a regression loads it
    from scipy.linalg.blas import dtrsm

    differences = utilities[0] - utilities[1]
    matrix = kernel(masks)
    scale = float(np.mean(np.diag(matrix)))
    parts = [np.flatnonzero(folds == fold) for fold in range(folds.max() + 1)]
    for penalty in PENALTIES:
        factor = scipy.linalg.cholesky(matrix + penalty * scale * np.eye(len(matrix)), lower=True, check_finite=False)
        inverse = scipy.linalg.lapack.dpotri(factor, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse @ differences
        for fold, left_out in enumerate(parts):
            columns = inverse[left_out]
            half = scipy.linalg.cholesky(columns[:, left_out], lower=True, check_finite=False)
            # dtrsm replaces solve_triangular, which starts BLAS's threads even for the smallest systems: on busy cores
            # a fit of ten rows then takes 15 times as long.
            solved = dtrsm(1.0, half, np.concatenate([weights[left_out], columns], axis=1), lower=1)
            outside, reduced = solved[:, : weights.shape[1]], solved[:, weights.shape[1] :]
            shifted = weights - reduced.T @ outside
            shifted[left_out] = 0
            diagonal = np.diag(inverse) - np.sum(reduced**2, axis=0)
            residuals = penalty * scale * shifted
            residuals[left_out] = dtrsm(1.0, half, outside, lower=1, trans_a=1)
            rest = folds != fold
            errors = np.mean((shifted[rest] / np.maximum(diagonal[rest], 1e-300)[:, None]) ** 2, axis=0)
            for objective, error in enumerate(errors):
                yield fold, objective, Fit(error, shifted[:, objective], residuals[:, objective])


def fit_monomials(
    degree: int, masks: np.ndarray, utilities: np.ndarray, folds: np.ndarray
) -> Iterator[tuple[int, int, Fit]]:
    """The fit of the polynomial kernel, computed as a ridge regression on the z_T; for more rows than monomials.

    One eigendecomposition for each fold serves all penalties. The error is that of generalised cross-validation,
    mean (d - g)² / (1 - df / rows)². The model is b.
    """
    import scipy.linalg  # loaded only here and in `fit_kernel`, because it takes long to load

    differences = utilities[0] - utilities[1]
    signs, carriers = np.where(masks, 1.0, -1.0), monomials(masks.shape[1], degree)
    root = np.concatenate([np.full(len(of), np.sqrt(shrinkage(masks.shape[1], of.shape[1]))) for of in carriers])
    features = np.concatenate([signs[:, of].prod(axis=2) for of in carriers], axis=1) / root
    scale = np.sum(features[0] ** 2)  # the kernel's diagonal
    gram, loads = features.T @ features, features.T @ differences
    for fold in range(folds.max() + 1):
        rest = folds != fold
        left_out, rows = features[~rest], int(rest.sum())
        spectrum, vectors = scipy.linalg.eigh(gram - left_out.T @ left_out, driver="evd", check_finite=False)
        spectrum = np.maximum(spectrum, 0)
        rotated = vectors.T @ (loads - left_out.T @ differences[~rest])
        for penalty in PENALTIES:
            ridge = penalty * scale
            weights = vectors @ (rotated / (spectrum + ridge)[:, None])
            residuals = differences - features @ weights
            # With more monomials than rows in the fit, the surplus eigenvalues are zero and add no residual. With fewer
            # monomials, the surplus rows are unexplained whatever the penalty is.
            unexplained = (np.sum(ridge / (spectrum[-rows:] + ridge)) + max(rows - len(spectrum), 0)) / rows
            errors = np.mean(residuals[rest] ** 2, axis=0) / unexplained**2
            for objective, error in enumerate(errors):
                yield fold, objective, Fit(error, weights[:, objective] / root, residuals[:, objective])


def fit_sparse(masks: np.ndarray, utilities: np.ndarray, folds: np.ndarray) -> Iterator[tuple[int, int, Fit]]:
    """The first terms of `greedy_terms`, as many as give the least error on the fifth of the pairs that is held out.

    Terms and coefficients are fitted to the utilities, which hold more information than their differences. The
    coefficients are refitted to all pairs. The model is the carriers and b_T: the term [T ⊆ S] has the difference h_T,
    and the term [T ⊆ N - S] has -h_T.
    """
    for fold in range(folds.max() + 1):
        train = np.flatnonzero(folds != fold)
        held = train[folds[train] >= 0][fold % FOLDS :: FOLDS]
        kept = np.setdiff1d(train, held)
        order = np.concatenate([masks[kept], ~masks[kept], masks[held], ~masks[held]])
        for objective, (first, second) in enumerate(np.moveaxis(utilities, 2, 0)):
            ordered = np.concatenate([first[kept], second[kept], first[held], second[held]])
            carriers, absent, errors = greedy_terms(order, ordered, 2 * len(kept))
            best = int(np.argmin(errors))
            carriers, absent = carriers[:best], absent[:best]
            signs = np.where(absent, -1.0, 1.0)
            columns = np.stack([indicators(side, carriers, absent) for side in (masks, ~masks)])
            system = np.concatenate([columns[0, train], columns[1, train]])
            wanted = np.concatenate([first[train], second[train]])
            constant = np.ones((len(system), 1))
            coefficients = np.linalg.lstsq(np.concatenate([constant, system], axis=1), wanted, rcond=None)[0][1:]
            residuals = first - second - (columns[0] - columns[1]) @ coefficients
            yield fold, objective, Fit(errors.min(), (carriers, signs * coefficients), residuals)


def polynomial_kernel(degree: int, masks: np.ndarray) -> np.ndarray:
    """Σ_t e_t(z z') / (ρ^(t-1) C(n, t)) over odd t up to the degree; e_t is the elementary symmetric polynomial."""
    signs = np.where(masks, 1.0, -1.0)
    players = signs.shape[1]
    common = signs @ signs.T
    terms = [elementary(common, players, size) / shrinkage(players, size) for size in odd_sizes(players, degree)]
    return np.sum(terms, axis=0)


def unanimity_kernel(masks: np.ndarray) -> np.ndarray:
    """Σ_T h_T(S) h_T(R) / (n C(n, |T|)): the covariance of a sum of unanimity games whose carriers' sizes are uniform.

    With m = |S ∩ R|, (1/n) Σ_{T ⊆ S∩R} 1 / C(n, |T|) = m / (n (n + 1 - m)). The kernel is this term for S and R, plus
    the term for N - S and N - R, minus the terms for S and N - R and for N - S and R.
    """
    players = masks.shape[1]
    worth = np.arange(players + 1) / (players * (players + 1 - np.arange(players + 1)))
    inside = masks.astype(float)
    common = (inside @ inside.T).astype(int)
    count = np.diag(common)
    left, right = count[:, None] - common, count[None, :] - common
    return worth[common] + worth[players - common - left - right] - worth[left] - worth[right]


UNANIMITY = Family(partial(fit_kernel, unanimity_kernel), partial(contributions_of, game_basis, unanimity_members))
SPARSE = Family(fit_sparse, partial(contributions_of, game_basis, sparse_members))
