"""Shapley values by regression: few evaluations, with standard errors.

With w_i(S) = 1/s for members of S and -1/(n - s) for the other players, the values are means over the coalitions of
each size:

    φ_i = (v(N) - v(∅)) / n + Σ_{s=1}^{n-1} mean over |S| = s of w_i(S) v(S).

As w_i(N - S) = -w_i(S), the values depend only on the differences d(S) = v(S) - v(N - S):

    φ_i = (v(N) - v(∅)) / n + Σ_{1≤s≤n/2} mean over |S| = s of w_i(S) d(S), half of it at s = n/2.

A surrogate g is fitted to the differences evaluated. The mean of w_i g over all coalitions of a size is known, and the
mean of w_i (d - g) is estimated from the coalitions evaluated (Witter, Liu and Musco, 2025). Pairs of complementary
coalitions are drawn without replacement and divided into folds. The g of a fold is fitted to the other folds, so that
it is independent of the pairs drawn in the fold. Let O be the pairs of size s in the other folds, F the pairs of that
size in the fold, and M the number of all pairs of that size. The estimate

    mean of w d  ~  mean of w g + (1/M) Σ_{S∈O} w (d - g) + (1 - |O|/M) mean over F of w (d - g)

is unbiased whatever g is, and so is its mean over the folds. As Σ_i w_i(S) = 0, the values sum to v(N) - v(∅).

Arguments that a function does not list are described in `jaxval.values`.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxval import _checks
from jaxval.types import BadArgument, Estimate, Groups, Utility
from jaxval.values._intervals import error_intervals, reachable
from jaxval.values._neighbours import check_groups
from jaxval.values.estimators import Estimator, check_finite, run_estimator
from jaxval.values.regression.design import Design, coalitions_of, draw, make_plan, pair_utilities, share_evaluations
from jaxval.values.regression.surrogates import Surrogate, choose

__all__ = ["RegressionState", "regress_shapley", "regression_estimator"]

FEW = 12  # with fewer evaluations for each player, standard errors can be far too small
PRIOR_PAIRS = 4  # the weight, in pairs, of the variance over all sizes in the variance at one size


class RegressionState(NamedTuple):
    """The state of a regression estimator.

    Attributes:
        key: the random key; the coalitions depend only on the key.
        utilities: (rows, *objectives) utilities of the coalitions asked for.
        told: whether the utilities are known.
    """

    key: Key[Array, ""]
    utilities: Float[Array, "rows *objectives"]
    told: Bool[Array, ""]


def regress_shapley(
    key: Key[Array, ""],
    utility: Utility,
    players: int,
    *,
    evaluations: int,
    groups: Groups | None = None,
    method: str = "adjusted",
    batch_size: int = 1024,
) -> Estimate:
    """Shapley values, or asymmetric ones if `groups` is given, by regression on few coalitions.

    "adjusted" uses for each fold the surrogate with the least cross-validated error on the other folds. The surrogates
    are shrunk polynomials of degree 1 and 3, whose terms of even degree cancel in v(S) - v(N - S); kernel regression
    whose kernel is the covariance of a sum of unanimity games (up to 1,500 coalitions); and a sparse sum of unanimity
    games and their duals (from 24 coalitions a player on). Neither the choice nor the fit uses the fold itself, so that
    the estimate is unbiased. "least_squares" is KernelSHAP's weighted least squares on the same coalitions. It is
    faster and consistent, but biased, as it is a ratio of two random sums. Its standard errors are NaN for fewer than n
    pairs, which it interpolates.

    The intervals are normal intervals from the standard errors. With fewer than 12 evaluations a player, the standard
    errors can be far too small if few coalitions matter, and a `UserWarning` says so. An example has 30 voters, one
    with 28 votes and the others with one vote each, and quota 29. Its 95 % intervals hold a quarter of the values at
    4 n evaluations, half at 8 n, 94 % at 12 n and 99 % at 20 n (`python -m benchmarks.coverage --method regress`
    measures this).

    The values sum to v(N) - v(∅). If all coalitions are evaluated, the values are exact and the standard errors are 0.
    The fit runs in NumPy on the host, in float64, so the function cannot be called inside `jit`.

    Source: Witter, Liu and Musco (2025), "Regression-adjusted Monte Carlo estimators for Shapley values and
    probabilistic values"; Musco and Witter (2025), "Provably accurate Shapley value estimation via leverage score
    sampling"; Lundberg and Lee (2017); Covert and Lee (2021) for the pairs.

    Args:
        evaluations: the largest number of distinct coalitions, with the empty and the full one; at least n + 1.
            Coalitions come in pairs, so that one evaluation may be left over in each group.
        groups: as in `jaxval.values`; the evaluations are divided among groups by size.
        method: "adjusted" or "least_squares".

    Returns:
        An `Estimate`.

    Raises:
        ValueError: if the evaluations are fewer than n + 1, there is not one group for each player, a group number is
            left out, the utility returns anything but finite numbers, or the call is inside `jit`.

    Example:
        >>> from jaxval.coalitions import games
        >>> game = games.airport([1.0, 2.0, 3.0, 5.0])
        >>> estimate = regress_shapley(jax.random.key(0), game.utility, game.players, evaluations=16)
        >>> [f"{value:.4f}" for value in estimate.values], int(estimate.evaluations)
        (['0.2500', '0.5833', '1.0833', '3.0833'], 16)
    """
    players = _checks.check_size("players", players)
    estimator = regression_estimator(players, evaluations=evaluations, groups=groups, method=method)
    if evaluations < min(FEW * players, reachable(check_groups(groups, players))):
        warnings.warn(
            f"evaluations: {evaluations} are fewer than {FEW} for each of {players} players; where few coalitions "
            f"matter, intervals may hold far less than 95 % of the values; allow {FEW * players} or more, or call "
            "sample_shapley, whose intervals hold there",
            UserWarning,
            stacklevel=2,
        )
    return run_estimator(key, estimator, utility, players, batch_size=batch_size)


def regression_estimator(
    players: int, *, evaluations: int, groups: Groups | None = None, method: str = "adjusted"
) -> Estimator:
    """The estimator `init, ask, tell, estimate` of Shapley values by regression.

    A single ask holds all coalitions, each of them once.

    Args:
        evaluations: the largest number of distinct coalitions.
        method: "adjusted" or "least_squares", as in `regress_shapley`.

    Returns:
        An `Estimator`. `ask` and `estimate` run on the host.

    Raises:
        ValueError: if the evaluations are fewer than n + 1, there is not one group for each player, a group number is
            left out, or the method is unknown.

    Example:
        >>> estimator = regression_estimator(3, evaluations=8)
        >>> state = estimator.init(jax.random.key(0))
        >>> coalitions = estimator.ask(state)
        >>> estimate = estimator.estimate(estimator.tell(state, coalitions, coalitions.sum(axis=1)))
        >>> [f"{value:.4f}" for value in estimate.values]
        ['1.0000', '1.0000', '1.0000']
    """
    players = _checks.check_size("players", players)
    values_of = METHODS[_checks.check_choice("method", method, METHODS)]
    group_of = check_groups(groups, players)
    evaluations = _check_evaluations(evaluations, players)
    members_of = [np.flatnonzero(group_of == group) for group in range(group_of.max() + 1)]
    shares = share_evaluations(evaluations, [len(members) for members in members_of])
    plans = [make_plan(len(members), share) for members, share in zip(members_of, shares, strict=True)]
    rows = 1 + len(members_of) + sum(2 * int(plan.counts.sum()) + plan.single for plan in plans)

    def designs(key: Array) -> list[Design]:
        words = np.asarray(jax.random.key_data(_known(key))).ravel().astype(np.uint64).tolist()
        return [
            draw(np.random.Philox(np.random.SeedSequence([*words, group])), len(members), plan)
            for group, (members, plan) in enumerate(zip(members_of, plans, strict=True))
        ]

    def init(key: Array, objectives: tuple[int, ...] = ()) -> RegressionState:
        return RegressionState(key, jnp.full((rows, *objectives), jnp.nan), jnp.asarray(False))

    def ask(state: RegressionState) -> Array:
        earlier = group_of[None, :] < np.arange(len(members_of) + 1)[:, None]
        parts = [earlier]
        for group, (members, design) in enumerate(zip(members_of, designs(state.key), strict=True)):
            between = coalitions_of(design)
            masks = np.repeat(earlier[group][None], len(between), axis=0)
            masks[:, members] = between
            parts.append(masks)
        return jnp.asarray(np.concatenate(parts))

    def tell(state: RegressionState, coalitions: Array, utilities: Array) -> RegressionState:
        return RegressionState(state.key, jnp.asarray(utilities, state.utilities.dtype), jnp.asarray(True))

    def estimate(state: RegressionState) -> Estimate:
        objectives = state.utilities.shape[1:]
        if not bool(_known(state.told)):
            nothing = np.full((players, *objectives), np.nan)
            return _estimate(nothing, nothing, 0)
        utilities = np.asarray(_known(state.utilities), np.float64).reshape(rows, -1)
        check_finite(Estimate(utilities, utilities, rows))
        values, errors = np.empty((2, players, utilities.shape[1]))
        first = len(members_of) + 1
        for group, (members, design) in enumerate(zip(members_of, designs(state.key), strict=True)):
            ends = utilities[[group + 1, group]]
            between = utilities[first : first + 2 * len(design.masks) - design.single]
            first += len(between)
            values[members], errors[members] = values_of(design, ends, pair_utilities(design, between, ends))
        shape = (players, *objectives)
        return _estimate(values.reshape(shape), errors.reshape(shape), rows)

    return Estimator(init, ask, tell, estimate, lambda state: state.told, 1, traceable=False)


def adjusted_values(design: Design, ends: np.ndarray, utilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors (players, objectives), adjusted by the surrogate of each fold."""
    players, differences = design.masks.shape[1], utilities[0] - utilities[1]
    values = np.repeat((ends[0] - ends[1])[None] / players, players, axis=0)
    errors = np.zeros_like(values)
    if len(design.masks) == 0:
        return values, errors
    weights = size_weights(design)
    if design.complete:
        nothing = np.zeros((players, len(design.available)))
        chosen = [[Surrogate(nothing, d)] * (design.folds.max() + 1) for d in differences.T]
    else:
        chosen = choose(design.masks, design.folds, ends, utilities)
    for objective, surrogates in enumerate(chosen):
        residuals = np.choose(design.folds, [surrogate.residuals for surrogate in surrogates])
        values[:, objective] += corrected(design, weights, surrogates)
        errors[:, objective] = standard_errors(design, weights, residuals)
    return values, errors


def least_squares_values(design: Design, ends: np.ndarray, utilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values and standard errors (players, objectives) by weighted least squares with a fixed sum of the values.

    With z = x - s / n, β = (Zᵀ Q Z)⁺ Zᵀ Q (d - (v(N) - v(∅)) (2s / n - 1)) / 2 and φ = (v(N) - v(∅)) / n + β. Q divides
    1 / (s (n - s)) equally among the pairs of a size. The standard errors are those of the linearised estimate. They
    are NaN for fewer than n pairs, which the fit interpolates.
    """
    players, gain, differences = design.masks.shape[1], ends[0] - ends[1], utilities[0] - utilities[1]
    values = np.repeat((gain / players)[None], players, axis=0)
    if len(design.masks) == 0:
        return values, np.zeros_like(values)
    size = design.sizes
    drawn = np.bincount(size)[size]
    middle = np.where(2 * size == players, 0.5, 1.0)  # both coalitions of such a pair have size n / 2
    share = middle / (size * (players - size) * drawn)
    centred = design.masks - size[:, None] / players
    wanted = (differences - gain[None] * (2 * size / players - 1)[:, None]) / 2
    parts = (centred * share[:, None]) @ np.linalg.pinv(
        (centred * share[:, None]).T @ centred, rcond=1e-10, hermitian=True
    )
    shift = parts.T @ wanted
    errors = np.full_like(values, np.nan)
    if design.complete or len(size) - design.single >= players:
        # The fit shrinks the residual of a pair by 1 minus its leverage; the division undoes this.
        leverages = np.sum(parts * centred, axis=1)
        left = 2 * (wanted - centred @ shift) / np.maximum(1 - leverages, 0.1)[:, None]
        weights = parts * drawn[:, None] / 2
        for objective in range(values.shape[1]):
            errors[:, objective] = standard_errors(design, weights, left[:, objective])
    return values + shift, errors


def size_weights(design: Design) -> np.ndarray:
    """w_i(S), (pairs, players), halved at size n / 2, because both coalitions of a pair have this size."""
    players, size = design.masks.shape[1], design.sizes[:, None]
    return np.where(design.masks, 1 / size, -1 / (players - size)) * np.where(2 * size == players, 0.5, 1.0)


def corrected(design: Design, weights: np.ndarray, surrogates: list[Surrogate]) -> np.ndarray:
    """Σ_s of the mean of w d at size s: the mean of the folds' estimates, weighted by their pairs of that size."""
    row = design.sizes - 1
    drawn = np.bincount(row, minlength=len(design.available))
    total = np.zeros(weights.shape[1])
    for fold, (contributions, residuals) in enumerate(surrogates):
        inside = design.folds == fold
        in_fold = np.bincount(row[inside], minlength=len(drawn))
        part = in_fold / np.maximum(drawn, 1)
        unknown = 1 - (drawn - in_fold) / design.available
        scaling = np.where(inside, (unknown / np.maximum(in_fold, 1))[row], (1 / design.available)[row])
        total += contributions @ part + (scaling * part[row] * residuals) @ weights
    missing = drawn == 0  # sizes without a pair get the mean of the surrogates' contributions
    return total + np.mean([surrogate.contributions[:, missing].sum(axis=1) for surrogate in surrogates], axis=0)


def standard_errors(design: Design, weights: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """√Σ (1 - m/M) s²/m over the sizes, where m of M pairs are drawn.

    s² is the mean square of a pair's part in the estimate. It is shrunk towards an estimate that all players share: the
    mean square of the residuals at that size times the mean square of the weights. That mean square of the residuals is
    in turn shrunk towards its mean over all sizes.
    """
    overall = np.mean(residuals**2)
    variance = np.zeros(weights.shape[1])
    for size in np.unique(design.sizes):
        rows = design.sizes == size
        drawn = int(rows.sum())
        common = (drawn * np.mean(residuals[rows] ** 2) + PRIOR_PAIRS * overall) / (drawn + PRIOR_PAIRS)
        parts = weights[rows] * residuals[rows, None]
        shared = common * np.mean(weights[rows] ** 2)
        square = (drawn * np.mean(parts**2, axis=0) + PRIOR_PAIRS * shared) / (drawn + PRIOR_PAIRS)
        variance += (1 - drawn / design.available[size - 1]) * square / drawn
    return np.sqrt(variance)


def _estimate(values: np.ndarray, errors: np.ndarray, evaluations: int) -> Estimate:
    means, deviations = jnp.asarray(values, float), jnp.asarray(errors, float)
    return Estimate(means, deviations, jnp.asarray(evaluations), error_intervals(means, deviations))


def _check_evaluations(evaluations: int, players: int) -> int:
    evaluations = _checks.check_size("evaluations", evaluations)
    if evaluations < players + 1:
        raise BadArgument(
            "evaluations",
            expected=f"at least {players + 1}, one more than there are players",
            got=evaluations,
            advice="allow that many or more",
        )
    _checks.check_memory("evaluations", evaluations, players, itemsize=1)
    return evaluations


def _known(array: Any) -> Any:
    if not _checks.concrete(array):
        raise BadArgument(
            "key",
            expected="known numbers, for coalitions are drawn and surrogates fitted on the host",
            got="a tracer",
            advice="call regress_shapley outside jit, it compiles the utility itself",
        )
    return array


METHODS = {"adjusted": adjusted_values, "least_squares": least_squares_values}
