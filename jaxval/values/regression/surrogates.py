"""Surrogates of the differences d(S) = v(S) - v(N - S), each family a record of how it is fitted and what it is worth.

The Shapley value depends on d alone, for w_i(N - S) = -w_i(S) (module `estimate`). So do surrogates: all are sums

    g(S) = Σ_T b_T f_T(S) with f_T(N - S) = -f_T(S), where f_T is one of
    signs:  z_T(S) = Π_{i∈T} z_i, |T| odd, z_i = 1 in S and -1 outside (Fumagalli et al.'s OddSHAP; an interaction of
            an even number of players cancels in d);
    games:  h_T(S) = [T ⊆ S] - [T ⊆ N - S], the difference of the unanimity game of T. Its dual has the same.

f_T depends on S through |S ∩ T| and |S| only. Over the coalitions of size s the mean of w_i f_T is then the same c_t(s)
for all members of T, and -t / (n - t) c_t(s) for the others, because the n means sum to zero. So a family's
contributions need only the sum of b_T over the carriers of each size that hold each player.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from jaxval.values.regression.design import FOLDS
from jaxval.values.regression.sparse import greedy_terms, indicators

__all__ = ["Family", "Fit", "Surrogate", "choose", "families"]

KERNEL_PAIRS = 750  # beyond, the inverse of a kernel costs too much, and monomials are fitted instead
MOST_MONOMIALS = 1000
PAIRS_PER_PLAYER = 12  # below, sparse terms cannot be told apart
DECAY = 8.0  # ρ: the prior variance of all products of t signs together falls as ρ^-(t - 1)
PENALTIES = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # λ, times the mean of the kernel's diagonal


class Fit(NamedTuple):
    """A surrogate fitted to one objective without the pairs of one fold.

    Attributes:
        error: its cross-validated mean squared error on the pairs it was fitted to.
        model: what the family's contributions are computed from.
        residuals: (rows,) d - g, also in the fold left out.
    """

    error: float
    model: Any
    residuals: np.ndarray


class Family(NamedTuple):
    """A kind of surrogate.

    Attributes:
        fit: `fit(masks, differences, folds)` yields (fold, objective, `Fit`) of the (rows, objectives) differences, for
            each fold and objective as often as there are penalties to choose from. Fold -1 is in every fit.
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


def choose(masks: np.ndarray, folds: np.ndarray, gain: np.ndarray, differences: np.ndarray) -> list[list[Surrogate]]:
    """For each objective and fold the surrogate with the least cross-validated error on the other folds.

    Args:
        masks: (pairs, players) one coalition of each pair.
        folds: (pairs,).
        gain: (objectives,) v(N) - v(∅), in every fit.
        differences: (pairs, objectives).
    """
    masks = np.concatenate([masks, np.ones((1, masks.shape[1]), bool)])
    targets = np.concatenate([differences, gain[None]])
    scale = np.abs(targets).max(axis=0)
    targets = targets / np.where(scale > 0, scale, 1)[None]
    best: dict[tuple[int, int], tuple[Fit, Family]] = {}
    for family in families(*masks.shape):
        for fold, objective, fit in family.fit(masks, targets, np.append(folds, -1)):
            if (fold, objective) not in best or fit.error < best[fold, objective][0].error:
                best[fold, objective] = fit, family

    def surrogate(fold: int, objective: int) -> Surrogate:
        fit, family = best[fold, objective]
        contributions = family.contributions(masks, fit.model)
        return Surrogate(contributions * scale[objective], fit.residuals[:-1] * scale[objective])

    return [[surrogate(fold, objective) for fold in range(folds.max() + 1)] for objective in range(len(gain))]


def families(rows: int, players: int) -> list[Family]:
    """The families worth fitting to so many differences."""
    few = rows <= KERNEL_PAIRS
    found = [
        polynomial(rows, players, degree)
        for degree in (1, 3)
        if few or count_monomials(players, degree) <= MOST_MONOMIALS
    ]
    return found + [UNANIMITY] * few + [SPARSE] * (rows > PAIRS_PER_PLAYER * players)


def polynomial(rows: int, players: int, degree: int) -> Family:
    """A shrunk polynomial, by its monomials if they are fewer than the rows, and otherwise by its kernel."""
    if count_monomials(players, degree) < rows:
        fit, members = partial(fit_monomials, degree), partial(monomial_members, degree=degree)
    else:
        fit = partial(fit_kernel, partial(polynomial_kernel, degree=degree))
        members = partial(polynomial_members, degree=degree)
    return Family(fit, partial(contributions_of, partial(sign_basis, degree=degree), members))


def fit_kernel(
    kernel: Callable[[np.ndarray], np.ndarray], masks: np.ndarray, differences: np.ndarray, folds: np.ndarray
) -> Iterator[tuple[int, int, Fit]]:
    """Kernel ridge regression: g(S) = Σ_R α_R κ(S, R), α = (K + λ I)⁻¹ d, the mean of a Gaussian process.

    With Q = (K + λ I)⁻¹ on all rows, the fit without the rows k has α_{-k} = α - Q_{:,k} Q_kk⁻¹ α_k and leaves the
    residuals Q_kk⁻¹ α_k on them: one inverse serves all folds. The leave-one-out residual of a row is α / diag(Q), with
    α and Q of the fit without the fold. The model is α, 0 in the fold.
    """
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
            solved = scipy.linalg.solve_triangular(
                half, np.concatenate([weights[left_out], columns], axis=1), lower=True, check_finite=False
            )
            outside, reduced = solved[:, : weights.shape[1]], solved[:, weights.shape[1] :]
            shifted = weights - reduced.T @ outside
            shifted[left_out] = 0
            diagonal = np.diag(inverse) - np.sum(reduced**2, axis=0)
            residuals = penalty * scale * shifted
            residuals[left_out] = scipy.linalg.solve_triangular(half, outside, lower=True, trans=1, check_finite=False)
            rest = folds != fold
            errors = np.mean((shifted[rest] / np.maximum(diagonal[rest], 1e-300)[:, None]) ** 2, axis=0)
            for objective, error in enumerate(errors):
                yield fold, objective, Fit(error, shifted[:, objective], residuals[:, objective])


def fit_monomials(
    degree: int, masks: np.ndarray, differences: np.ndarray, folds: np.ndarray
) -> Iterator[tuple[int, int, Fit]]:
    """Ridge regression on the z_T: the fit of the polynomial kernel, for more rows than monomials.

    One eigendecomposition for each fold serves all penalties. The error is that of generalised cross-validation,
    mean (d - g)² / (1 - df / rows)². The model is b.
    """
    players = masks.shape[1]
    signs = np.where(masks, 1.0, -1.0)
    carriers = monomials(players, degree)
    root = np.sqrt(
        np.concatenate([np.full(len(of_size), shrinkage(players, of_size.shape[1])) for of_size in carriers])
    )
    features = np.concatenate([signs[:, of_size].prod(axis=2) for of_size in carriers], axis=1) / root
    scale = np.sum(features[0] ** 2)  # as for the kernel: its diagonal
    gram, loads = features.T @ features, features.T @ differences
    for fold in range(folds.max() + 1):
        rest = folds != fold
        own, rows = features[~rest], int(rest.sum())
        spectrum, vectors = scipy.linalg.eigh(gram - own.T @ own, driver="evd", check_finite=False)
        spectrum = np.maximum(spectrum, 0)
        rotated = vectors.T @ (loads - own.T @ differences[~rest])
        for penalty in PENALTIES:
            ridge = penalty * scale
            weights = vectors @ (rotated / (spectrum + ridge)[:, None])
            residuals = differences - features @ weights
            # Of more monomials than rows, those beyond have eigenvalue zero and no residual of their own.
            unexplained = (np.sum(ridge / (spectrum[-rows:] + ridge)) + max(rows - len(spectrum), 0)) / rows
            errors = np.mean(residuals[rest] ** 2, axis=0) / unexplained**2
            for objective, error in enumerate(errors):
                yield fold, objective, Fit(error, weights[:, objective] / root, residuals[:, objective])


def fit_sparse(masks: np.ndarray, differences: np.ndarray, folds: np.ndarray) -> Iterator[tuple[int, int, Fit]]:
    """The terms h_T of `greedy_terms`, as many as have the least error on a fifth of the rows held out.

    Their coefficients are refitted to all rows. The model is those and the carriers.
    """
    for fold in range(folds.max() + 1):
        train = np.flatnonzero(folds != fold)
        held = train[folds[train] >= 0][fold % FOLDS :: FOLDS]
        kept = np.setdiff1d(train, held)
        order = np.concatenate([kept, held])
        for objective, values in enumerate(differences.T):
            carriers, errors = greedy_terms(masks[order], values[order], len(kept))
            carriers = carriers[: int(np.argmin(errors))]
            columns = indicators(masks, carriers)
            coefficients = np.linalg.lstsq(columns[train], values[train], rcond=None)[0]
            yield fold, objective, Fit(errors.min(), (coefficients, carriers), values - columns @ coefficients)


def polynomial_kernel(masks: np.ndarray, *, degree: int) -> np.ndarray:
    """Σ_t e_t(z z') / (ρ^(t-1) C(n, t)) over odd t up to the degree, e_t the elementary symmetric polynomial."""
    signs = np.where(masks, 1.0, -1.0)
    players = signs.shape[1]
    common = signs @ signs.T
    return sum(elementary(common, players, size) / shrinkage(players, size) for size in odd_sizes(players, degree))


def unanimity_kernel(masks: np.ndarray) -> np.ndarray:
    """Σ_T h_T(S) h_T(R) / (n C(n, |T|)): the covariance of a sum of unanimity games whose carriers' sizes are uniform.

    As (1/n) Σ_{T ⊆ S∩R} 1 / C(n, |T|) = m / (n (n + 1 - m)) with m = |S ∩ R|, it is the sum of that over the
    intersections of S and R and of their complements, less that of S and N - R and of N - S and R.
    """
    players = masks.shape[1]
    worth = np.arange(players + 1) / (players * (players + 1 - np.arange(players + 1)))
    inside = masks.astype(float)
    common = (inside @ inside.T).astype(int)
    count = np.diag(common)
    mine, other = count[:, None] - common, count[None, :] - common
    return worth[common] + worth[players - common - mine - other] - worth[mine] - worth[other]


def polynomial_members(masks: np.ndarray, weights: np.ndarray, *, degree: int) -> np.ndarray:
    """Σ_{T∋i} b_T of each size of T and player i, from a kernel's weights: b_T = Σ_R α_R z_T(R) / (ρ^(t-1) C(n, t))."""
    signs = np.where(masks, 1.0, -1.0)
    players = signs.shape[1]
    sums = signs.sum(axis=1)[:, None]
    return np.array(
        [
            weights @ (signs * elementary(sums - signs, players - 1, size - 1)) / shrinkage(players, size)
            for size in odd_sizes(players, degree)
        ]
    )


def monomial_members(masks: np.ndarray, coefficients: np.ndarray, *, degree: int) -> np.ndarray:
    """Σ_{T∋i} b_T of each size of T and player i, from the b_T."""
    players, members, first = masks.shape[1], [], 0
    for of_size in monomials(players, degree):
        own = np.repeat(coefficients[first : first + len(of_size)], of_size.shape[1])
        members.append(np.bincount(of_size.ravel(), own, minlength=players))
        first += len(of_size)
    return np.array(members)


def unanimity_members(masks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ_{T∋i} b_T of each size of T and player i, from a kernel's weights: b_T = Σ_R α_R h_T(R) / (n C(n, t)).

    Of the carriers of size t inside R, C(r - 1, t - 1) = C(r, t) t / r hold a given member of R.
    """
    players = masks.shape[1]
    count = masks.sum(axis=1)
    each = containment(players) * np.arange(1, players)[:, None] / np.maximum(np.arange(players + 1), 1) / players
    return (each[:, count] * weights) @ masks - (each[:, players - count] * weights) @ ~masks


def sparse_members(masks: np.ndarray, model: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Σ_{T∋i} b_T of each size of T and player i, from the terms."""
    coefficients, carriers = model
    members = np.zeros((masks.shape[1], masks.shape[1]))
    np.add.at(members, carriers.sum(axis=1) - 1, coefficients[:, None] * carriers)
    return members[:-1]  # h_N = 0 between the empty and the full coalition


def contributions_of(
    basis: Callable[[int], tuple[np.ndarray, np.ndarray]],
    members: Callable[[np.ndarray, Any], np.ndarray],
    masks: np.ndarray,
    model: Any,
) -> np.ndarray:
    """The mean of w_i g at each size: Σ_t n / (n - t) (B_ti - mean of B_t) c_t(s), B the sums of `members`.

    For Σ_{T∋i} b_T - t / (n - t) Σ_{T∌i} b_T = B_ti - t / (n - t) (B_t - B_ti), where B_t = Σ_i B_ti / t.
    """
    players = masks.shape[1]
    sizes, means = basis(players)
    sums = members(masks, model)
    share = players / (players - sizes)
    halved = np.where(2 * np.arange(1, players // 2 + 1) == players, 0.5, 1.0)
    return ((sums - sums.mean(axis=1, keepdims=True)) * share[:, None]).T @ (means * halved)


def sign_basis(players: int, *, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """The odd sizes t up to the degree, and c_t(s) of z_T, (t, s), for s = 1, ..., n // 2.

    c_t(s) = (k(s - 1) + k(s)) / n, k(s) the mean of a product of t - 1 signs over the coalitions of s of n - 1 players.
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
    """(count, t) the players of all T of each odd size t up to the degree."""
    return [np.array(list(combinations(range(players), size))) for size in odd_sizes(players, degree)]


def odd_sizes(players: int, degree: int) -> list[int]:
    """The odd t up to the degree and below n, for z_N says nothing between the empty and the full coalition."""
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


def count_monomials(players: int, degree: int) -> int:
    return sum(comb(players, size) for size in odd_sizes(players, degree))


UNANIMITY = Family(partial(fit_kernel, unanimity_kernel), partial(contributions_of, game_basis, unanimity_members))
SPARSE = Family(fit_sparse, partial(contributions_of, game_basis, sparse_members))
