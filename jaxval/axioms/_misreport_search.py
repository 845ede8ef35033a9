"""A search for the best misreport of a group that has too many misreports to enumerate.

The search has three steps:

1. It evaluates many joint reports and keeps the best of them.
2. It climbs from each of these by changing one ballot at a time. A ballot tries all rankings if M <= 6, and all moves
   of one alternative if M > 6.
3. If M <= 4, it climbs from the best profile by changing two ballots at a time.

The outcome of a rule that chooses one winner is constant almost everywhere, so that many reports do equally well. Among
these the search takes the report with the least Σ_{j≠k} B_j^12, which levels the Borda scores B_j of the rivals until
none of them beats alternative k. The search compiles to one shape and works under `jit` and `vmap`. The report that it
returns is a lower bound of the best.
"""

import itertools
from collections.abc import Callable
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks
from jaxval.axioms._misreports import Misreports, evaluator, profile_matrix, settle
from jaxval.axioms._profiles import cached, each, rankings
from jaxval.axioms.rules import is_matrix_rule
from jaxval.types import Rule

__all__ = ["search_misreports"]

SLOTS = 4  # a joint report to start from has at most four different rankings
ALL_RANKINGS = 6  # up to 6! = 720 rankings of one ballot are tried one by one
ALL_PAIRS = 4  # up to 4!² = 576 rankings of two ballots are tried together
SWEEPS = 6

State = tuple[Array, Array, Array, Array, Array]  # step, unchanged, current, best value, best


def search_misreports(
    rule: Rule, orders: Array, weights: Array, *, common: bool, starts: int, ascents: int
) -> Misreports:
    """The best report of every group that the search meets."""
    return _searcher(rule, common, starts, ascents)(orders, weights)


@cached
def _searcher(rule: Rule, common: bool, starts: int, ascents: int) -> Callable[[Array, Array], Misreports]:
    @jax.jit
    def search(orders: Array, weights: Array) -> Misreports:
        evaluate = evaluator(rule, orders.shape[1])
        best_of = partial(_best_of, evaluate, orders, weights, common=common, starts=starts, ascents=ascents)
        numbers = orders.shape[1] ** 2 * (1 if is_matrix_rule(rule) else orders.shape[0])
        profiles = jax.lax.map(partial(best_of, numbers=numbers), jnp.arange(orders.shape[1]))
        # The rule is applied to the misreported profiles and to the true profile in one batch.
        candidates = jnp.concatenate([profiles, orders[None]])
        lotteries = jax.vmap(lambda o: evaluate(profile_matrix(o, weights), o, weights))(candidates)
        values = jnp.where(jnp.isnan(lotteries[-1]), jnp.nan, jnp.diag(lotteries))
        return settle(values, profiles, lotteries[:-1], orders, lotteries[-1])

    return search


def _best_of(
    evaluate: Callable[[Array, Array, Array], Array],
    orders: Array,
    weights: Array,
    group: Array,
    *,
    common: bool,
    starts: int,
    ascents: int,
    numbers: int,
) -> Array:
    """The profile with the best report of one group that the search meets."""
    num, alternatives = orders.shape
    members = (orders[:, 0] == group) & (weights > 0)
    slot = jnp.where(members, (jnp.cumsum(members) - 1) % SLOTS, 0)
    slot_weights = jnp.zeros(SLOTS).at[slot].add(jnp.where(members, weights, 0))
    others = profile_matrix(orders, jnp.where(members, 0, weights))

    def with_report(report: Array) -> Array:
        return jnp.where(members[:, None], report[slot], orders)

    def outcome(report: Array) -> tuple[Array, Array]:
        matrix = others + profile_matrix(report, slot_weights)
        return _worth(evaluate(matrix, with_report(report), weights)[group]), _levelled(matrix, group)

    # The table of reports is written for alternative 0; `names` exchanges alternative 0 and the group's.
    names = jnp.arange(alternatives).at[0].set(group).at[group].set(0)
    borda = jnp.sum(profile_matrix(orders, weights), axis=1)
    buried = jnp.argsort(jnp.where(jnp.arange(alternatives) == group, -1, borda))
    table = jnp.concatenate([names[_start_table(alternatives, starts, common)], jnp.stack([buried] * SLOTS)[None]])
    values, levels = each(outcome, table, numbers=numbers << 8)
    rounded = jnp.round(values / _checks.tolerance(values.dtype))
    leaders = jnp.lexsort((-levels, -rounded))[:ascents]  # best outcome first; equal outcomes, most level first
    profiles = jax.vmap(with_report)(table[leaders])
    if common and alternatives <= ALL_RANKINGS:
        return profiles[0]  # the table contains every common ranking, so no climb can improve on it

    climb = partial(_climb, evaluate, weights=weights, group=group)
    if common:
        whole = jnp.stack([members, jnp.zeros_like(members)])[None]  # one unit: all ballots of the group
        reached, profiles = jax.vmap(partial(climb, units=whole, size=jnp.asarray(1)))(profiles)
        return profiles[jnp.argmax(reached)]

    rows, size = jnp.argsort(~members), jnp.sum(members)  # the rows of the group's ballots come first
    singles = jnp.stack([rows, jnp.full_like(rows, num)], axis=1)
    profiles = jnp.concatenate([profiles, orders[None]])
    reached, profiles = jax.vmap(partial(climb, units=_masks(singles, num), size=size))(profiles)
    best = profiles[jnp.argmax(reached)]
    if alternatives > ALL_PAIRS or num == 1:
        return best
    # Pairs are sorted by their second ballot, so that the pairs of two ballots of the group come first.
    pairs = rows[np.array([(i, j) for j in range(num) for i in range(j)])]
    _, best = climb(best, units=_masks(pairs, num), size=size * (size - 1) // 2, in_pairs=True)
    return best


def _masks(rows: Array, num: int) -> Array:
    """(units, 2, rankings): masks of each unit's first and second ballot; the index `num` stands for no ballot."""
    return rows[:, :, None] == jnp.arange(num)[None, None]


def _climb(
    evaluate: Callable[[Array, Array, Array], Array],
    start: Array,
    *,
    weights: Array,
    group: Array,
    units: Array,
    size: Array,
    in_pairs: bool = False,
) -> tuple[Array, Array]:
    """Coordinate ascent: each unit in turn takes its best report, until a whole sweep changes nothing.

    A unit is one or two sets of ballots, given as masks (2, rankings). Only the first `size` units change their
    reports. An option is one ranking for each of the two sets, (2, alternatives).
    """
    alternatives = start.shape[1]
    tolerance = _checks.tolerance(weights.dtype)
    # With M > 6 a step moves only one alternative, so that more steps are allowed.
    most = size * SWEEPS * (1 if alternatives <= ALL_RANKINGS else alternatives)

    def options_of(report: Array) -> Array:
        """(options, 2, alternatives): the first option is the present report, (2, alternatives)."""
        if alternatives > ALL_RANKINGS:
            return jnp.stack([report[0][_move_table(alternatives)]] * 2, axis=1)
        every = jnp.asarray(rankings(alternatives))
        first, second = np.divmod(np.arange(len(every) ** 2), len(every)) if in_pairs else [np.arange(len(every))] * 2
        return jnp.concatenate([report[None], jnp.stack([every[first], every[second]], axis=1)])

    def unfinished(state: State) -> Array:
        step, unchanged, *_ = state
        return (unchanged < size) & (step < most)

    def improve(state: State) -> State:
        step, unchanged, current, best_value, best = state
        unit = units[step % jnp.maximum(size, 1)]
        options = options_of(current[jnp.argmax(unit, axis=1)])
        others = profile_matrix(current, jnp.where(unit[0] | unit[1], 0, weights))
        moved = jnp.sum(jnp.where(unit, weights[None], 0), axis=1)

        def reported(option: Array) -> Array:
            return jnp.where(unit[0][:, None], option[:1], jnp.where(unit[1][:, None], option[1:], current))

        def outcome(option: Array) -> tuple[Array, Array]:
            matrix = others + profile_matrix(option, moved)
            return _worth(evaluate(matrix, reported(option), weights)[group]), _levelled(matrix, group)

        values, levels = jax.vmap(outcome)(options)
        levels = jnp.where(values >= jnp.max(values) - tolerance, levels, -jnp.inf)
        choice = jnp.where(levels[0] >= jnp.max(levels) - tolerance, 0, jnp.argmax(levels))
        chosen = reported(options[choice])
        better = values[choice] > best_value
        return (
            step + 1,
            jnp.where(choice == 0, unchanged + 1, 1),
            chosen,
            jnp.where(better, values[choice], best_value),
            jnp.where(better, chosen, best),
        )

    none = jnp.asarray(0)
    start_value = jnp.asarray(-jnp.inf, dtype=weights.dtype)
    *_, value, best = jax.lax.while_loop(unfinished, improve, (none, none, start, start_value, start))
    return value, best


def _worth(value: Array) -> Array:
    """The probability, or -inf if the rule returns NaN, so that the search never takes such a report."""
    return jnp.where(jnp.isnan(value), -jnp.inf, value)


def _levelled(matrix: Array, group: Array) -> Array:
    """-Σ_{j≠k} (B_j / (M - 1))^12, which is large if no rival has a much higher Borda score than the others."""
    alternatives = len(matrix)
    borda = (jnp.sum(matrix, axis=1) - 0.5) / max(alternatives - 1, 1)
    return -jnp.sum(jnp.where(jnp.arange(alternatives) == group, 0, borda) ** 12)


@lru_cache(maxsize=64)
def _start_table(alternatives: int, starts: int, common: bool) -> np.ndarray:
    """Joint reports of the group of alternative 0, (starts, SLOTS, alternatives).

    The common rankings come first: all of them if M <= 6, else random ones. Unless `common`, joint reports follow, in
    which the group's ballots are split among four rankings that begin with alternative 0, or among any two rankings.
    These are all such splits if M <= 4, and random ones from a fixed seed, half of each kind, if M > 4.
    """
    random = np.random.default_rng(0)

    def draw(shape: tuple[int, ...], *, own_first: bool) -> np.ndarray:
        drawn = random.permuted(np.broadcast_to(np.arange(alternatives), (*shape, alternatives)), axis=-1)
        if own_first:  # move alternative 0 to the top; the others keep the order drawn
            drawn = np.take_along_axis(drawn, np.argsort(drawn != 0, axis=-1, kind="stable"), axis=-1)
        return drawn

    half = (starts + 1) // 2
    if alternatives <= ALL_RANKINGS:
        alike = rankings(alternatives)
    else:
        alike = np.concatenate([draw((half,), own_first=True), draw((half,), own_first=False)])
    alike = np.repeat(alike[:, None], SLOTS, axis=1)
    if common:
        return alike
    if alternatives <= 4:
        every = rankings(alternatives)
        first = every[every[:, 0] == 0]
        fours = first[np.array(list(itertools.product(range(len(first)), repeat=SLOTS)))]
        twos = every[np.array(list(itertools.product(range(len(every)), repeat=2)))]
    else:
        fours = draw((half, SLOTS), own_first=True)
        twos = draw((half, 2), own_first=False)
    joint = np.concatenate([fours, twos[:, [0, 1, 0, 1]]])
    room = max(starts - len(alike), 0)
    if len(joint) > room:
        joint = joint[np.sort(random.permutation(len(joint))[:room])]
    return np.concatenate([alike, joint]).astype(np.int32)


@lru_cache(maxsize=16)
def _move_table(alternatives: int) -> np.ndarray:
    """Indices such that `ranking[table]` is the ranking itself, then each move of one alternative to a new position."""
    tables = [list(range(alternatives))]
    for old, new in itertools.permutations(range(alternatives), 2):
        positions = list(range(alternatives))
        positions.insert(new, positions.pop(old))
        if positions not in tables:
            tables.append(positions)
    return np.array(tables, dtype=np.int32)
