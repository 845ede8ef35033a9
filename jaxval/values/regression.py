"""Shapley values by regression: as few evaluations as possible, with standard errors.

Size by size, with w_i(S) = 1/s for members of S and -1/(n - s) for the others,

    φ_i = (v(N) - v(∅)) / n + Σ_{s=1}^{n-1} mean over |S| = s of w_i(S) v(S).

A surrogate g is fitted to the coalitions evaluated; the mean of w_i g is known for all coalitions of a size, and the
mean of w_i (v - g) is estimated from those evaluated (Witter, Liu and Musco, 2025). Coalitions are drawn without
replacement, in pairs with their complements, and lie in folds. For each fold, g is fitted to the others, so that it is
independent of the fold's draw: with O the coalitions of size s in the other folds, F those in the fold, of N in all,

    mean of w v  ~  mean of w g + (1/N) Σ_{S∈O} w (v - g) + (1 - |O|/N) mean over F of w (v - g),

which is unbiased whatever g is, and so is the mean over the folds. As Σ_i w_i(S) = 0, the values sum to v(N) - v(∅).
"""

import warnings
from math import comb
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxval import _checks
from jaxval.types import Estimate, Groups, Utility
from jaxval.values._intervals import error_intervals, reachable
from jaxval.values._neighbours import check_groups
from jaxval.values._paired import draw_pairs, most_pairs, share_pairs
from jaxval.values._regressed import Sample, adjusted_values, least_squares_values
from jaxval.values.estimators import Estimator, check_finite, run_estimator

__all__ = ["RegressionState", "regress_shapley", "regression_estimator"]

FEW = 12  # evaluations a player, below which standard errors can be far too small
METHODS = {"adjusted": adjusted_values, "least_squares": least_squares_values}


class RegressionState(NamedTuple):
    """What a regression estimator knows.

    Attributes:
        key: the random key; the coalitions depend on it alone.
        utilities: (rows, *objectives) of the coalitions asked for.
        told: whether they have come.
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
    """Shapley values, or asymmetric ones where there are groups, by regression on few coalitions.

    "adjusted" fits, fold by fold, whichever of these surrogates has the least cross-validated error on the other folds:
    a shrunk polynomial of degree 1, 2 or 3; kernel regression whose kernel is the covariance of a sum of unanimity
    games (up to 1,500 coalitions); and a sparse sum of unanimity games and their duals (from 24 coalitions a player
    on). The choice does not see the fold either: the estimate is unbiased. "least_squares" is KernelSHAP's weighted
    least squares on the same coalitions: faster, consistent, but biased by the ratio of two random sums; its standard
    errors are NaN below n pairs, where it interpolates.

    The intervals are the normal distribution's, from the standard errors. Below 12 evaluations a player those can be
    far too small where few coalitions matter, and a `UserWarning` says so: of 30 voters, of whom one has 28 votes and
    the others one, with quota 29, the 95 % intervals hold a quarter of the values at 4 n evaluations, half at 8 n, 94 %
    at 12 n and 99 % at 20 n (`python -m benchmarks.coverage --method regress` measures it).

    The values sum to v(N) - v(∅); where all coalitions are evaluated they are exact and the standard errors 0. The fit
    runs on the host in NumPy, in float64, and therefore not inside `jit`.

    Source: Witter, Liu and Musco (2025), "Regression-adjusted Monte Carlo estimators for Shapley values and
    probabilistic values"; Musco and Witter (2025), "Provably accurate Shapley value estimation via leverage score
    sampling"; Lundberg and Lee (2017); Covert and Lee (2021) for the pairs.

    Args:
        key: a random key.
        utility: from a mask (players,) to a scalar or a vector of objectives, written in JAX.
        players: how many, n.
        evaluations: how many distinct coalitions at most, the empty and the full one included; n + 1 at least.
            Coalitions come in pairs, so that one evaluation may be left over in each group.
        groups: (n,) the group of each player, 0 first; one group where None. Evaluations are shared by size.
        method: "adjusted" or "least_squares".
        batch_size: how many coalitions are evaluated at a time.

    Returns:
        An `Estimate`.

    Raises:
        ValueError: where the evaluations are fewer than n + 1, the groups are wrong, the utility returns anything but
            finite numbers, or the call is inside `jit`.

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
    """Regression as `init, ask, tell, estimate`; one ask holds all coalitions, each of them once.

    Args:
        players: how many, n.
        evaluations: how many distinct coalitions at most.
        groups: (n,) the group of each player, 0 first; one group where None.
        method: "adjusted" or "least_squares", as in `regress_shapley`.

    Returns:
        An `Estimator`. `ask` and `estimate` run on the host.

    Raises:
        ValueError: where the evaluations are fewer than n + 1, the groups are wrong, or the method is another.

    Example:
        >>> estimator = regression_estimator(3, evaluations=6)
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
    members = [np.flatnonzero(group_of == group) for group in range(group_of.max() + 1)]
    shares = _share_evaluations(evaluations, [len(own) for own in members])
    plans = [_plan(len(own), share) for own, share in zip(members, shares, strict=True)]
    rows = 1 + len(members) + sum(2 * int(counts.sum()) + single for counts, single in plans)

    def samples(key: Array) -> list[Sample]:
        words = np.asarray(jax.random.key_data(_known(key))).ravel().astype(np.uint64).tolist()
        return [
            _draw(np.random.Philox(np.random.SeedSequence([*words, group])), len(own), *plan)
            for group, (own, plan) in enumerate(zip(members, plans, strict=True))
        ]

    def init(key: Array, objectives: tuple[int, ...] = ()) -> RegressionState:
        return RegressionState(key, jnp.full((rows, *objectives), jnp.nan), jnp.asarray(False))

    def ask(state: RegressionState) -> Array:
        earlier = group_of[None, :] < np.arange(len(members) + 1)[:, None]
        parts = [earlier]
        for group, (own, sample) in enumerate(zip(members, samples(state.key), strict=True)):
            masks = np.repeat(earlier[group][None], len(sample.coalitions), axis=0)
            masks[:, own] = sample.coalitions
            parts.append(masks)
        return jnp.asarray(np.concatenate(parts))

    def tell(state: RegressionState, coalitions: Array, utilities: Array) -> RegressionState:
        return RegressionState(state.key, jnp.asarray(utilities, state.utilities.dtype), jnp.asarray(True))

    def estimate(state: RegressionState) -> Estimate:
        objectives = state.utilities.shape[1:]
        if not bool(_known(state.told)):
            nothing = jnp.full((players, *objectives), jnp.nan)
            return Estimate(nothing, nothing, jnp.asarray(0), error_intervals(nothing, nothing))
        utilities = np.asarray(_known(state.utilities), np.float64).reshape(rows, -1)
        check_finite(Estimate(utilities, utilities, rows))
        values, errors = np.empty((2, players, utilities.shape[1]))
        first = len(members) + 1
        for group, (own, sample) in enumerate(zip(members, samples(state.key), strict=True)):
            between = utilities[first : first + len(sample.coalitions)]
            first += len(between)
            values[own], errors[own] = values_of(sample, utilities[group], utilities[group + 1], between)
        shape = (players, *objectives)
        found, their_errors = (jnp.asarray(part.reshape(shape), float) for part in (values, errors))
        return Estimate(found, their_errors, jnp.asarray(rows), error_intervals(found, their_errors))

    return Estimator(init, ask, tell, estimate, lambda state: state.told, 1, traceable=False)


def _plan(players: int, between: int) -> tuple[np.ndarray, bool]:
    """How many pairs of each size, and whether one coalition of the middle size stands alone for want of a second."""
    pairs = min(between // 2, most_pairs(players))
    single = players % 2 == 0 and pairs < players // 2 and between > 2 * pairs
    if single and players > 2:
        return np.append(share_pairs(players - 1, pairs), 0), True
    return share_pairs(players, pairs), single


def _draw(bits: np.random.Philox, players: int, counts: np.ndarray, single: bool) -> Sample:
    """The coalitions between the empty and the full one: one of each pair, then their complements, then the single."""
    half, sizes = draw_pairs(bits, players, counts)
    alone = np.zeros((int(single), players), bool)
    if single:
        alone[0, np.argsort(bits.random_raw(players), kind="stable")[: players // 2]] = True
    there = np.array([comb(players, size) for size in range(players + 1)], dtype=object)
    return Sample(np.concatenate([half, ~half, alone]), sizes, there)


def _share_evaluations(evaluations: int, sizes: list[int]) -> list[int]:
    """Evaluations between the ends of each group: n_g - 1 each, and the rest in proportion, as far as they serve."""
    shares = np.array([size - 1 for size in sizes])
    most = np.array([min(2**size - 2, evaluations) for size in sizes])
    left = evaluations - 1 - len(sizes) - int(shares.sum())
    while left > 0 and (shares < most).any():
        open_ = shares < most
        weight = np.where(open_, shares, 0)
        more = np.minimum(left * weight // weight.sum(), most - shares)
        if not more.any():
            more = np.zeros_like(shares)
            more[int(np.argmax(open_))] = 1
        shares, left = shares + more, left - int(more.sum())
    return shares.tolist()


def _check_evaluations(evaluations: int, players: int) -> int:
    evaluations = _checks.check_size("evaluations", evaluations)
    if evaluations < players + 1:
        raise ValueError(
            f"evaluations: expected at least {players + 1}, one more than there are players; got {evaluations}; "
            f"call regress_shapley(key, utility, {players}, evaluations={players + 1}) or more"
        )
    return evaluations


def _known(array: Any) -> Any:
    if not _checks.concrete(array):
        raise ValueError(
            "key: expected known numbers, for coalitions are drawn and surrogates fitted on the host; got a tracer; "
            "call regress_shapley outside jit, it compiles the utility itself"
        )
    return array
