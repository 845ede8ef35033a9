"""Shapley values, plain and asymmetric, from sampled permutations.

A permutation that respects the groups is a random order of each group, one group after the other. The marginal of
player z is v(π^{<z} ∪ {z}) - v(π^{<z}), and its mean over permutations is the value (Zheng et al., Algorithm 1). An
antithetic pair is a permutation and the same permutation reversed within each group. With s strata, a permutation comes
with s - 1 cyclic shifts of itself, each by a further share 1/s of its group, so that every player stands once in each
of s equal parts of the order. Standard errors are computed from the means of what is drawn together.

A semivalue weights the marginals of a permutation by size: if p_s is the total weight of the coalitions of s other
players (for the Shapley value p_s = 1/n), its value is the mean of n p_s [v(π^{<z} ∪ {z}) - v(π^{<z})], s = |π^{<z}|.

Arguments that a function does not list are described in `jaxval.values`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Key, Num, UInt32

from jaxval import _checks, _objects
from jaxval.coalitions.evaluation import compiled
from jaxval.types import BadArgument, Estimate, Groups, Unions, Utility
from jaxval.values._intervals import (
    TAIL,
    Tally,
    add_to_tally,
    check_spread,
    constant_draws,
    gain_reaches,
    interval_ends,
    no_tally,
    reachable,
    reachable_with_unions,
    seen_gains,
)
from jaxval.values._neighbours import check_groups
from jaxval.values._orders import check_permutations, draw_order, order_variants, prefixes
from jaxval.values.estimators import (
    Estimator,
    Moments,
    add_draws,
    coalition_codes,
    count_distinct,
    no_draws,
    run_estimator,
    standard_errors,
)

__all__ = ["PermutationState", "permutation_estimator", "sample_shapley"]


class Drawn(NamedTuple):
    """The statistics of the permutations so far.

    Attributes:
        moments: (players, *objectives) moments of the draws: single permutations or means of antithetic pairs.
        tally: the tally of the same draws, for intervals.
        seen: (asks, rows, 2) codes of the coalitions evaluated.
    """

    moments: Moments
    tally: Tally
    seen: UInt32[Array, "asks rows 2"]


class PermutationState(NamedTuple):
    """The state of a permutation estimator.

    Attributes:
        key: the random key; permutation k depends only on the key and on k.
        drawn: the statistics of the permutations so far.
    """

    key: Key[Array, ""]
    drawn: Drawn


def sample_shapley(
    key: Key[Array, ""],
    utility: Utility,
    players: int,
    *,
    permutations: int,
    groups: Groups | None = None,
    unions: Unions | None = None,
    antithetic: bool = True,
    strata: int = 1,
    spread: float | Sequence[float] | None = None,
    batch_size: int = 1024,
) -> Estimate:
    """Shapley values from sampled permutations; asymmetric ones if `groups` are given, Owen values if `unions` are.

    The estimates of the players sum to v(N) - v(∅), whatever the sample is. The function
    `jax.jit(lambda key: sample_shapley(key, ...))` is compiled only once, however often it is called.

    A draw is a permutation, or several permutations that are drawn together. The intervals are Student's t
    intervals for the mean of the draws. A player gets another interval, which allows for gains that were never seen, if
    fewer than ten of its draws held a nonzero gain, or if fewer than ten differ from the first draw. This interval
    combines Clopper and Pearson's lower bound and Wilson's upper bound on a proportion, scaled by the range of possible
    gains. The range is `spread` if it is given, and otherwise the range of the utilities seen. If no player had a gain
    above zero, gains above zero are taken to be impossible; the same holds below zero.

    If all draws of a player were equal, its standard error is 0. Its interval still has a width above 0, unless every
    gain was the same nonzero number, or all coalitions were seen.

    Source: Castro, Gómez and Tejada (2009); Zheng et al., Algorithm 1; Mitchell et al. (2022) for antithetic pairs;
    Castro et al. (2017) for strata of positions.

    Args:
        unions: (n,) the union of each player, or (levels, n), coarsest first, as `owen` takes them: the players of a
            union then stand together in every permutation. None means no unions; groups and unions exclude each other.

    Returns:
        An `Estimate`; `evaluations` counts distinct coalitions.

    Raises:
        ValueError: if the permutations are too few for a standard error, or no multiple of those drawn together;
            there is not one group for each player, or a group number is left out; unions are not as `owen` takes them,
            or come with groups or with strata; the spread is less than the largest minus the smallest gain seen; or the
            utility returns anything but finite numbers.

    Example:
        >>> from jaxval.coalitions import games
        >>> game = games.pairwise([1.0, 2.0], [[0.0, 1.0], [1.0, 0.0]])
        >>> sample_shapley(jax.random.key(0), game.utility, game.players, permutations=4).values.tolist()
        [1.5, 2.5]
    """
    return sample_permutations(
        key,
        utility,
        players,
        permutations=permutations,
        groups=groups,
        unions=unions,
        antithetic=antithetic,
        strata=strata,
        spread=spread,
        batch_size=batch_size,
    )


def sample_permutations(
    key: Key[Array, ""], utility: Utility, players: int, *, batch_size: int, **design: Any
) -> Estimate:
    """The estimate of `permutation_estimator(players, **design)`, about `batch_size` coalitions at a time."""
    players = _checks.check_size("players", players)
    batch_size = _checks.check_size("batch_size", batch_size)
    estimator = permutation_estimator(players, per_ask=max(batch_size // max(players - 1, 1), 1), **design)
    return run_estimator(key, estimator, utility, players, batch_size=batch_size)


def permutation_estimator(
    players: int,
    *,
    permutations: int,
    groups: Groups | None = None,
    unions: Unions | None = None,
    antithetic: bool = True,
    strata: int = 1,
    size_weights: Num[ArrayLike, "players"] | list[Any] | None = None,
    per_ask: int | None = None,
    spread: float | Sequence[float] | None = None,
) -> Estimator:
    """The estimator `init, ask, tell, estimate` of Shapley values, or of a semivalue, from permutations.

    One ask holds the empty and the full coalition, and then the n - 1 other prefixes of each permutation. The last ask
    is filled up with copies of the last draw, which do not count. With `size_weights`, an ask leaves out the longest
    and the shortest prefixes whose weights together are lost in the rounding of JAX's default precision.

    Args:
        unions: the unions of the players, as in `sample_shapley`.
        size_weights: (n,) the total weight p_s of the coalitions of s = 0, ..., n - 1 other players, as in
            `sample_semivalue`; None means the Shapley value, 1/n each.
        per_ask: the number of permutations in one ask; None means all of them.

    Returns:
        An `Estimator`.

    Raises:
        ValueError: in the cases of `sample_shapley`; or if `size_weights` are not (n,) numbers of at least 0 that sum
            to one, or come with groups or unions.

    Example:
        >>> estimator = permutation_estimator(3, permutations=4, per_ask=2)
        >>> state = estimator.init(jax.random.key(0))
        >>> for _ in range(estimator.asks):
        ...     coalitions = estimator.ask(state)
        ...     state = estimator.tell(state, coalitions, coalitions.sum(axis=1))
        >>> estimator.estimate(state).values.tolist()
        [1.0, 1.0, 1.0]
    """
    players = _checks.check_size("players", players)
    group_of = check_groups(groups, players)
    if unions is not None and groups is not None:
        raise BadArgument("unions", expected="groups or unions", got="both", advice="give only one")
    if unions is not None and (strata != 1 or size_weights is not None):
        got = "strata" if strata != 1 else "size_weights"
        raise BadArgument("unions", expected="None with strata or size_weights", got=got, advice="give only one")
    union_of = None if unions is None else _objects.check_unions(unions, players)
    together = _checks.check_size("strata", strata) * (2 if _checks.check_flag("antithetic", antithetic) else 1)
    permutations = check_permutations(permutations, together)
    _checks.check_memory("strata", together, players)
    variants = order_variants(group_of, antithetic, strata)
    factors, first, last = _size_factors(size_weights, group_of)
    largest = float(factors.max())
    possible = check_spread(spread)
    scaled = None if possible is None else possible * largest
    draws = permutations // together
    per_ask = permutations if per_ask is None else _checks.check_size("per_ask", per_ask)
    draws_per_ask = min(max(per_ask // together, 1), draws)
    asks = -(-draws // draws_per_ask)
    sizes = np.arange(max(first, 1), min(last + 1, players - 1) + 1)  # of the prefixes besides ∅ and N
    rows = 2 + draws_per_ask * together * len(sizes)
    _checks.check_memory("permutations", asks, rows, 2)
    _checks.check_memory("per_ask", rows, players, itemsize=1)

    def init(key: Array, objectives: tuple[int, ...] = ()) -> PermutationState:
        return PermutationState(key, nothing_drawn(players, objectives, asks, rows))

    def ask(state: PermutationState) -> Array:
        draw = jnp.minimum(state.drawn.moments.draws + jnp.arange(draws_per_ask), draws - 1)
        orders = jax.vmap(lambda k: draw_order(jax.random.fold_in(state.key, k), group_of, union_of))(draw)
        orders = orders[:, variants].reshape(-1, players)
        ends = jnp.array([[False], [True]]).repeat(players, axis=1)
        return jnp.concatenate([ends, prefixes(orders, sizes).reshape(-1, players)])

    def tell(state: PermutationState, coalitions: Array, utilities: Array) -> PermutationState:
        before = state.drawn.moments.draws
        utilities = utilities.astype(state.drawn.moments.mean.dtype)
        marginals = _marginals(coalitions, utilities, draws_per_ask * together, factors, first, last)
        marginals = marginals.reshape(draws_per_ask, together, *marginals.shape[1:])
        counts = before + jnp.arange(draws_per_ask) < draws
        asked = before // draws_per_ask
        # The weighted gains of utilities are gains of utilities that are `largest` times as large, or smaller ones.
        return PermutationState(state.key, add(state.drawn, marginals, counts, coalitions, utilities * largest, asked))

    def estimate(state: PermutationState) -> Estimate:
        drawn = state.drawn
        evaluations = count_distinct(drawn.seen, -(-drawn.moments.draws // draws_per_ask))
        check_spread(scaled, drawn.tally)
        by_design, whole = exact_cases(evaluations, group_of, together, union_of)
        # Equal weighted gains are not all gains there are, for some sizes may have another weight.
        plain = size_weights is None
        known = known_values(drawn.tally, by_design & plain, whole & plain)
        return estimate_of(drawn.moments, drawn.tally, evaluations, known, scaled)

    def finished(state: PermutationState) -> Array:
        return state.drawn.moments.draws >= draws

    spreads = None if possible is None else tuple(np.atleast_1d(possible).tolist())
    ordered = tuple(group_of.tolist()), None if union_of is None else tuple(map(tuple, union_of.tolist()))
    weights = None if size_weights is None else factors.tobytes()
    design = (permutations, antithetic, strata, draws_per_ask, *ordered)
    identity = ("permutations", *design, spreads, weights)
    ask, tell = (compiled(part, (identity, part.__name__)) for part in (ask, tell))  # for loops by hand
    return Estimator(init, ask, tell, estimate, finished, asks, identity)


def nothing_drawn(players: int, objectives: tuple[int, ...], asks: int, rows: int) -> Drawn:
    """The statistics before the first permutation."""
    seen = jnp.zeros((asks, rows, 2), jnp.uint32)
    return Drawn(no_draws((players, *objectives)), no_tally(players, objectives), seen)


def add(drawn: Drawn, gains: Array, counts: Array, coalitions: Array, utilities: Array, asked: Array) -> Drawn:
    """The statistics after one more ask.

    Args:
        drawn: the statistics before this ask.
        gains: (draws, together, players, *objectives) marginals of the permutations of each draw.
        counts: (draws,) whether each draw counts.
        coalitions: (rows, players) the coalitions asked for.
        utilities: (rows, *objectives) their utilities.
        asked: the number of earlier asks.
    """
    return Drawn(
        add_draws(drawn.moments, gains.mean(axis=1), counts),
        add_to_tally(drawn.tally, gains, counts, utilities, drawn.moments.draws),
        jax.lax.dynamic_update_index_in_dim(drawn.seen, coalition_codes(coalitions), asked, 0),
    )


@jax.jit
def estimate_of(moments: Moments, tally: Tally, evaluations: Array, known: Array, spread: ArrayLike | None) -> Estimate:
    """The mean gains, NaN before the first draw, with their intervals; `known` are those without an error."""
    values = jnp.where(moments.draws == 0, jnp.nan, moments.mean)
    reaches = gain_reaches(moments, tally, known=known, spread=spread, tail=TAIL)
    intervals, gains = interval_ends(values, reaches), seen_gains(tally, spread)
    return Estimate(values, standard_errors(moments), evaluations, intervals, gains=gains)


def exact_cases(
    evaluations: Array, groups: np.ndarray, together: int, unions: np.ndarray | None = None
) -> tuple[np.ndarray, Array]:
    """Whether each player's draws are exact by design, and whether all coalitions were seen.

    One draw gives the exact value of a player who is alone in a group. If an even number of permutations is drawn
    together, half of them have either order of a group of two, whose values are then exact too.
    """
    alone = 2 if together % 2 == 0 else 1
    coalitions = reachable(groups) if unions is None else reachable_with_unions(unions)
    return np.bincount(groups)[groups] <= alone, evaluations >= min(coalitions, 2**31 - 1)


@jax.jit
def known_values(tally: Tally, by_design: ArrayLike, whole: ArrayLike) -> Array:
    """The values without an error: exact by design, or all draws equal although all coalitions were seen."""
    exact = jnp.asarray(by_design).reshape(-1, *(1,) * (tally.first.ndim - 1))
    return exact | (whole & constant_draws(tally))


def _marginals(
    coalitions: Array, utilities: Array, permutations: int, factors: np.ndarray, first: int, last: int
) -> Array:
    """Each player's weighted marginal in each permutation, (permutations, n, *objectives), from one ask.

    Only marginals over coalitions of `first` to `last` others were asked for; all others have no weight.
    """
    players, objectives = coalitions.shape[1], utilities.shape[1:]
    ends = jnp.broadcast_to(utilities[:2][:, None], (2, permutations, *objectives))
    inside = coalitions[2:].reshape(permutations, (len(coalitions) - 2) // permutations, players)
    between = utilities[2:].reshape(*inside.shape[:2], *objectives)
    left = [ends[0][:, None]] if first == 0 else []
    right = [ends[1][:, None]] if last == players - 1 else []
    path = jnp.concatenate([*left, between, *right], axis=1)
    steps = (path[:, 1:] - path[:, :-1]) * jnp.asarray(factors[first : last + 1], utilities.dtype).reshape(
        1, -1, *(1,) * len(objectives)
    )
    # A player who joins at size s is in all longer prefixes; the prefixes asked for begin with size max(first, 1).
    rank = inside.shape[1] + max(first, 1) - 1 - jnp.sum(inside, axis=1)
    position = (rank - first).reshape(*rank.shape, *(1,) * len(objectives))
    if len(left) + len(right) == 2:  # all sizes
        return jnp.take_along_axis(steps, position, axis=1)
    earlier = (jnp.all(inside, axis=1) & (first > 0)).reshape(position.shape)
    outside = earlier | (position > last - first)
    return jnp.where(outside, 0, jnp.take_along_axis(steps, jnp.clip(position, 0, last - first), axis=1))


def _size_factors(weights: Any, groups: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The factor n p_s of a marginal for each size s, and the first and the last size whose weight matters."""
    players = len(groups)
    if weights is None:
        return np.ones(players), 0, players - 1
    expected = f"({players},) weights of at least 0 that sum to one, one for each size 0..{players - 1}"
    if not _checks.concrete(weights):
        raise BadArgument("size_weights", expected="known numbers", got="a tracer", advice="close over them")
    known = np.asarray(_checks.known_floats("size_weights", weights, ndim=1, expected=expected), dtype=np.float64)
    if known.shape != (players,):
        raise BadArgument("size_weights", expected=expected, got=f"shape {known.shape}")
    if known.min() < 0 or abs(known.sum() - 1) > 1e-5:
        got = f"a sum of {known.sum():g}, least {known.min():g}"
        advice = "p_s is C(n-1, s) times the weight of one coalition of s others"
        raise BadArgument("size_weights", expected=expected, got=got, advice=advice)
    if groups.max() > 0:
        raise BadArgument("size_weights", expected="None with groups, whose positions are not uniform", got="weights")
    lost = np.cumsum(known) <= np.finfo(jnp.zeros(0).dtype).eps / 4
    lost_above = np.cumsum(known[::-1])[::-1] <= np.finfo(jnp.zeros(0).dtype).eps / 4
    matter = np.flatnonzero(~lost & ~lost_above)
    return players * known, int(matter[0]), int(matter[-1])
