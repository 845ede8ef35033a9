"""Values and standard errors of one group from its sample: the adjusted estimate, and weighted least squares."""

from typing import Any, NamedTuple

import numpy as np

from jaxval.values._kernels import KERNELS, kernel_contributions, kernel_folds
from jaxval.values._paired import most_pairs
from jaxval.values._polynomials import monomial_contributions, monomial_folds
from jaxval.values._products import fit_products, product_contributions, product_predictions

__all__ = ["Sample", "adjusted_values", "least_squares_values"]

FOLDS = 5
KERNEL_ROWS = 1500  # beyond, a kernel's inverse costs too much, and monomials take its place
PRODUCT_ROWS = 24  # for each player, below which terms cannot be told apart
MOST_TERMS = 150
PRIOR_PAIRS = 4  # how many pairs the variance at all sizes counts for at one of them


class Sample(NamedTuple):
    """Coalitions between the empty and the full one: one of each pair, the complements in the same order, a single.

    Attributes:
        coalitions: (rows, players) masks.
        sizes: (pairs,) the smaller size of each pair, ascending.
        there: (players + 1,) how many coalitions there are of each size.
    """

    coalitions: np.ndarray
    sizes: np.ndarray
    there: np.ndarray


class Fit(NamedTuple):
    """A surrogate without one fold, for one objective.

    Attributes:
        error: its cross-validated mean squared error on the rows it was fitted to.
        contributions: (players, players - 1) E[w_i g] at each size.
        residuals: (rows,) v - g.
    """

    error: float
    contributions: Any
    residuals: np.ndarray


def adjusted_values(
    sample: Sample, empty: np.ndarray, full: np.ndarray, between: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors (players, objectives), adjusted by cross-fitted surrogates."""
    players = sample.coalitions.shape[1]
    base = np.repeat(((full - empty) / players)[None], players, axis=0)
    if players == 1 or not len(between):
        return base, np.zeros_like(base) if players == 1 else np.full_like(base, np.nan)
    weights = size_weights(sample.coalitions)
    pairs = len(sample.sizes)
    folds = _folds(sample)
    complete = len(between) == 2 * most_pairs(players)
    values, errors = np.empty_like(base), np.empty_like(base)
    fits = None if complete else _choose(sample.coalitions, folds, empty, full, between)
    for objective in range(base.shape[1]):
        if fits is None:
            nothing = np.zeros((players, players - 1))
            chosen = [Fit(0.0, nothing, between[:, objective])] * (folds.max() + 1)
        else:
            chosen = fits[objective]
        outside = np.array([chosen[fold].residuals[row] for row, fold in enumerate(folds)])
        values[:, objective] = base[:, objective] + _corrected(sample, weights, folds, chosen)
        errors[:, objective] = _errors(sample, weights, outside[:, None] * weights, _differences(outside, pairs))
    return values, errors


def least_squares_values(
    sample: Sample, empty: np.ndarray, full: np.ndarray, between: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors (players, objectives) by weighted least squares under the sum's constraint.

    With x centred at s/n, β = (Zᵀ Q Z)⁺ Zᵀ Q (v - v(∅) - (v(N) - v(∅)) s / n) and φ = (v(N) - v(∅)) / n + β; Q shares
    1 / (s (n - s)) among the rows of a size. The standard errors are those of the linearised estimate, its residuals
    divided by 1 - h, h the leverage of the row's pair, which the fit has taken from them; NaN below n pairs, where
    nothing is left.
    """
    players = sample.coalitions.shape[1]
    gain = full - empty
    base = np.repeat((gain / players)[None], players, axis=0)
    if players == 1 or not len(between):
        return base, np.zeros_like(base) if players == 1 else np.full_like(base, np.nan)
    count = sample.coalitions.sum(axis=1)
    rows = np.bincount(count, minlength=players + 1)[count]
    share = 1 / (count * (players - count) * rows)
    centred = sample.coalitions - count[:, None] / players
    wanted = between - empty[None] - gain[None] * (count / players)[:, None]
    solve = np.linalg.pinv((centred * share[:, None]).T @ centred, rcond=1e-10, hermitian=True)
    parts = (centred * share[:, None]) @ solve  # (rows, players)
    shift = parts.T @ wanted
    left = wanted - centred @ shift
    left = left / np.maximum(1 - 2 * np.sum(parts * centred, axis=1), 0.1)[:, None]
    errors = np.full_like(base, np.nan)
    complete = len(between) == 2 * most_pairs(players)
    for objective in range(base.shape[1] if complete or len(sample.sizes) >= players else 0):
        scaled = left[:, objective][:, None] * parts * rows[:, None]
        errors[:, objective] = _errors(
            sample, parts * rows[:, None], scaled, _differences(left[:, objective], len(sample.sizes))
        )
    return base + shift, errors


def size_weights(coalitions: np.ndarray) -> np.ndarray:
    """w_i(S): 1/s for members and -1/(n - s) for the others."""
    count = coalitions.sum(axis=1, keepdims=True)
    return np.where(coalitions, 1 / count, -1 / (coalitions.shape[1] - count))


def _folds(sample: Sample) -> np.ndarray:
    """The fold of each row: pairs in turn, and their order within a size is random."""
    pairs = len(sample.sizes)
    folds = np.arange(pairs) % max(min(FOLDS, pairs), 1)
    return np.concatenate([folds, folds, np.zeros(len(sample.coalitions) - 2 * pairs, int)])


def _choose(
    coalitions: np.ndarray, folds: np.ndarray, empty: np.ndarray, full: np.ndarray, between: np.ndarray
) -> list[list[Fit]]:
    """For each objective and fold the surrogate with the least cross-validated error on the other folds."""
    players = coalitions.shape[1]
    everything = np.concatenate([coalitions, np.zeros((1, players), bool), np.ones((1, players), bool)])
    utilities = np.concatenate([between, empty[None], full[None]]) - empty[None]
    scale = np.abs(utilities).max(axis=0)
    utilities = utilities / np.where(scale > 0, scale, 1)[None]
    all_folds = np.concatenate([folds, [-1, -1]])
    small = len(everything) <= KERNEL_ROWS
    families = tuple(KERNELS) if small else ("monomials",)
    best: list[list[Any]] = [[(np.inf, "", None, None)] * (folds.max() + 1) for _ in scale]
    for family in families:
        fitted = (
            kernel_folds(family, everything, utilities, all_folds)
            if small
            else monomial_folds(everything, utilities, all_folds)
        )
        for fits in fitted:
            for fold, fit in enumerate(fits):
                for objective, row in enumerate(best):
                    if fit.error[objective] < row[fold][0]:
                        row[fold] = (
                            fit.error[objective],
                            family,
                            fit.weights[:, objective].copy(),
                            fit.residuals[:-2, objective].copy(),
                        )
    return [
        [
            _with_products(choice, everything, utilities[:, objective], all_folds, fold, float(scale[objective]))
            for fold, choice in enumerate(row)
        ]
        for objective, row in enumerate(best)
    ]


def _with_products(
    choice: Any, coalitions: np.ndarray, utilities: np.ndarray, folds: np.ndarray, fold: int, scale: float
) -> Fit:
    """The smooth surrogate chosen, or the sparse one where its error on a fifth held out is less."""
    error, family, weights, residuals = choice
    players = coalitions.shape[1]
    train = folds != fold
    if len(coalitions) > PRODUCT_ROWS * players and utilities.any():
        pairs = (len(folds) - 2) // 2
        chosen = np.flatnonzero(train[:pairs])[fold % FOLDS :: FOLDS]
        held = np.zeros(len(folds), bool)
        held[chosen] = held[chosen + pairs] = True
        _, path = fit_products(coalitions[train], utilities[train], most=MOST_TERMS, held=held[train])
        if path.min() < error:
            model, _ = fit_products(coalitions[train], utilities[train], most=max(int(np.argmin(path)), 1))
            left = (utilities - product_predictions(model, coalitions))[:-2]
            return Fit(float(path.min()), product_contributions(model, players) * scale, left * scale)
    if family == "monomials":
        contributions = monomial_contributions(players, weights)
    else:
        contributions = kernel_contributions(family, coalitions, weights)
    return Fit(float(error), contributions * scale, residuals * scale)


def _corrected(sample: Sample, weights: np.ndarray, folds: np.ndarray, fits: list[Fit]) -> np.ndarray:
    """Σ_s of the mean of w v at each size: the folds' estimates in proportion to their rows of that size."""
    players = sample.coalitions.shape[1]
    count = sample.coalitions.sum(axis=1)
    drawn = np.bincount(count, minlength=players + 1)
    total = np.zeros(players)
    for fold, fit in enumerate(fits):
        own = folds == fold
        mine = np.bincount(count[own], minlength=players + 1)
        part = mine / np.maximum(drawn, 1)  # of the rows of each size
        known = np.array([int(others) / there for others, there in zip(drawn - mine, sample.there, strict=True)])
        each = np.array([1 / there for there in sample.there])
        scaling = np.where(own, (1 - known[count]) / np.maximum(mine[count], 1), each[count]) * part[count]
        total += fit.contributions @ part[1:-1] + (scaling * fit.residuals) @ weights
    missing = drawn[1:-1] == 0  # no draw at this size: what the surrogates say
    if missing.any():
        total += np.mean([fit.contributions[:, missing].sum(axis=1) for fit in fits], axis=0)
    return total


def _differences(residuals: np.ndarray, pairs: int) -> np.ndarray:
    """(v - g)(S) - (v - g)(N - S) of each pair."""
    return residuals[:pairs] - residuals[pairs : 2 * pairs]


def _errors(sample: Sample, weights: np.ndarray, parts: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """√Σ_s (1 - m/M) s²/m over the sizes, m of M pairs drawn.

    s² is the mean square of a pair's part in the estimate, pulled towards what the players have in common there, the
    mean square of the differences times that of the weights; and those towards the mean of all sizes.
    """
    players, pairs = sample.coalitions.shape[1], len(sample.sizes)
    alone = parts[2 * pairs :]
    overall = np.mean(differences**2) if pairs else 0.0
    variance = np.sum(alone**2, axis=0)
    for size in np.unique(sample.sizes):
        rows = np.flatnonzero(sample.sizes == size)
        half = 2 if 2 * size == players else 1  # both of a pair are of the middle size
        drawn, of = len(rows), sample.there[size] // half
        part = (parts[rows] + parts[rows + pairs]) / half
        common = (drawn * np.mean(differences[rows] ** 2) + PRIOR_PAIRS * overall) / (drawn + PRIOR_PAIRS)
        shared = common * np.mean((weights[rows] / half) ** 2)
        square = (drawn * np.mean(part**2, axis=0) + PRIOR_PAIRS * shared) / (drawn + PRIOR_PAIRS)
        variance += (1 - drawn / of) * square / drawn
    return np.sqrt(variance)
