"""Sampled permutations: Definition 5.1, the number of permutations that suffices, Algorithm 1 and what they cost.

Where sources come in pairs, one group for each pair, and v adds up what the pairs are worth, the orders of the pairs
are independent and as likely as their reverse, so that errors are products of binomial ones: coverage is exact.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._games import (
    MASKS,
    ORDERS,
    PLAYERS,
    SHAPES,
    Game,
    game,
    games,
    ordered_form,
    respects,
)

__all__ = ["CLAIMS"]


class Accuracy(NamedTuple):
    """What an estimator is asked for, and games of pairs to try it on.

    Attributes:
        pairs: how many pairs of sources, n = 2 pairs.
        spread: r, the range of each source's gains; often 0.
        epsilon: ε.
        delta: δ.
        table: (4,) accuracies in [0, 1] of the coalitions of one pair.
    """

    pairs: Int[Array, ""]
    spread: Float[Array, ""]
    epsilon: Float[Array, ""]
    delta: Float[Array, ""]
    table: Float[Array, "4"]


def accuracies(key: Key[Array, ""]) -> Accuracy:
    """One to sixty pairs; ε from 1/20 of the range to all of it, δ from 1/1000 to 1; accuracies often 0 and 1."""
    u = jax.random.uniform(key, (9,), minval=1e-9)
    spread = jnp.where(u[0] < 0.1, 0.0, 0.2 + u[1])
    epsilon = jnp.maximum(spread, 0.5) * jnp.exp(-3 * u[2])
    table = jnp.where(u[3] < 0.5, jnp.round(u[4:8]), u[4:8])
    return Accuracy(jnp.ceil(60 * u[3] ** 2).astype(int), spread, epsilon, 10 ** (-3 * u[8]), table)


def permutations_needed(n: int, a: Accuracy, spread: float, *, union: bool = True) -> int:
    """m* = ⌈r²/(2ε²) log(2n/δ)⌉; without the union bound log(2/δ)."""
    return math.ceil(spread**2 / (2 * float(a.epsilon) ** 2) * math.log(2 * (n if union else 1) / float(a.delta)))


def coverage(m: int, spread: float, epsilon: float, pairs: int, constant: float = 0.0) -> float:
    """P(‖φ̂ - φ‖ ≤ ε) from m permutations: the error of a pair is r |B/m - 1/2|, B binomial; without any, |φ|."""
    if m == 0:
        return float(abs(constant) <= epsilon)
    half = (epsilon / spread) * m if spread else float(m)
    low, high = math.ceil(m / 2 - half - 1e-9), math.floor(m / 2 + half + 1e-9)
    one = scipy.stats.binom.cdf(high, m, 0.5) - scipy.stats.binom.cdf(low - 1, m, 0.5)
    return float(one**pairs)


def misses(a: Accuracy, *, at_least: int = 0, union: bool = True) -> float:
    """By how much coverage falls short of 1 - δ with m* permutations, each source being worth 1 where r is 0."""
    n, spread = 2 * int(a.pairs), float(a.spread)
    m = max(at_least, permutations_needed(n, a, spread, union=union))
    if at_least and union and spread:
        held = values.required_permutations(n, epsilon=float(a.epsilon), delta=float(a.delta), spread=spread)
        m = m if m == held else 0
    short = 1 - float(a.delta) - coverage(m, spread, float(a.epsilon), int(a.pairs), constant=1.0)
    return max(short, -1.0)


def misses_accuracy(a: Accuracy, *, monotone: bool = False, spread: float = 1.0) -> float:
    """The same of one pair and a table of accuracies, with r as told for accuracies."""
    table = np.asarray(a.table, float)
    if monotone:
        table = np.maximum.accumulate(np.sort(table))
    true = abs(table[3] - table[1] - table[2] + table[0])
    return 1 - float(a.delta) - coverage(permutations_needed(2, a, spread), float(true), float(a.epsilon), 1)


# Algorithm 1


class Draw(NamedTuple):
    """A game and a seed.

    Attributes:
        game: the game.
        seed: of the permutations.
    """

    game: Game
    seed: Int[Array, ""]


def draws(key: Key[Array, ""]) -> Draw:
    """Games as elsewhere."""
    return Draw(games(key), jax.random.bits(jax.random.fold_in(key, 1)).astype(int))


def running(table: Array, orders: Array) -> Array:
    """Lines 3 to 15: φ̂(z) ← (s-1)/s φ̂(z) + 1/s (u_cur - u_prev), one permutation after the other."""
    gains = jax.vmap(lambda order: gains_along(table, order))(orders)

    def step(phi: Array, item: tuple[Array, Array]) -> tuple[Array, None]:
        s, gain = item
        return (s - 1) / s * phi + gain / s, None

    return jax.lax.scan(step, jnp.zeros(PLAYERS), (1.0 + jnp.arange(len(orders)), gains))[0]


def gains_along(table: Array, order: Array) -> Array:
    """Lines 9 to 14: u_cur - u_prev of each source along one permutation."""
    codes = jnp.cumsum(1 << order)
    worth = table[jnp.concatenate([jnp.zeros(1, codes.dtype), codes])]
    return jnp.zeros(PLAYERS).at[order].set(jnp.diff(worth))


def sampled(d: Draw) -> Array:
    """The library's estimate against Algorithm 1 on the very permutations that it asks for; all respect the groups."""
    groups = SHAPES[3]
    estimator = values.permutation_estimator(PLAYERS, permutations=5, groups=groups, antithetic=False)
    state = estimator.init(jax.random.key(d.seed))
    coalitions = estimator.ask(state)
    codes = jnp.sum(jnp.where(coalitions, 1 << jnp.arange(PLAYERS)[None, :], 0), axis=1)
    held = estimator.estimate(estimator.tell(state, coalitions, d.game.table[codes])).values
    orders = jnp.argsort(-jnp.sum(coalitions[2:].reshape(5, PLAYERS - 1, PLAYERS), axis=1), axis=1)
    backwards = jnp.minimum(jnp.diff(jnp.asarray(groups)[orders], axis=1), 0)
    return jnp.maximum(largest(held - running(d.game.table, orders)), largest(backwards.astype(float)))


def enumerated(d: Draw, *, ordered: bool = True) -> Array:
    """Its mean over all permutations that may be drawn, each once, against the value: unbiased."""
    inside = respects(d.game.groups) if ordered else jnp.ones(len(ORDERS), bool)
    first = jnp.argsort(~inside)
    gains = jax.vmap(lambda order: gains_along(d.game.table, order))(jnp.asarray(ORDERS)[first])
    mean = jnp.sum(jnp.where(jnp.arange(len(ORDERS))[:, None] < jnp.sum(inside), gains, 0), axis=0) / jnp.sum(inside)
    return largest(mean - ordered_form(d.game.table, d.game.groups))


def evaluations(g: Game, *, per_pass: int = PLAYERS + 1) -> float:
    """Algorithm 1's calls of v with 7 permutations, against (n+1) for each, and against O(n) for each."""
    calls = 0

    def utility(code: int) -> float:
        nonlocal calls
        calls += 1
        return float(g.table[code])

    groups = [int(group) for group in g.groups]
    random = np.random.default_rng(int(1000 * abs(float(g.table[0]))))
    phi = np.zeros(PLAYERS)
    for s in range(1, 8):
        order = sorted(range(PLAYERS), key=lambda z: (groups[z], random.random()))
        code, before = 0, utility(0)
        for z in order:
            code |= 1 << z
            now = utility(code)
            phi[z] = (s - 1) / s * phi[z] + (now - before) / s
            before = now
    return float(max(calls - 7 * per_pass, abs(phi.sum() - g.table[-1] + g.table[0])))


def coalitions_needed(g: Game) -> int:
    """How many coalitions (9) asks for; none where it is not the mean over the ordered permutations."""
    seen: set[int] = set()
    groups = np.asarray(g.groups)
    phi = np.zeros(PLAYERS)

    def utility(code: int) -> float:
        seen.add(code)
        return float(g.table[code])

    for z in range(PLAYERS):
        mine = [y for y in range(PLAYERS) if groups[y] == groups[z] and y != z]
        before = sum(1 << y for y in range(PLAYERS) if groups[y] < groups[z])
        for size in range(len(mine) + 1):
            for others in itertools.combinations(mine, size):
                code = before + sum(1 << y for y in others)
                gain = utility(code | 1 << z) - utility(code)
                phi[z] += gain / (len(mine) + 1) / math.comb(len(mine), size)
    return len(seen) if np.abs(phi - ordered_mean(g)).max() < 1e-9 else 0


def between_prefixes(g: Game) -> int:
    """Σ_t 2^{|D_t|} - T + 1."""
    sizes = np.bincount(np.asarray(g.groups))
    return int((2**sizes).sum()) - len(sizes) + 1


def ordered_mean(g: Game) -> np.ndarray:
    """The mean over ordered permutations in plain numbers."""
    groups, total, count = np.asarray(g.groups), np.zeros(PLAYERS), 0
    for order in ORDERS.tolist():
        if all(groups[x] <= groups[y] for x, y in itertools.pairwise(order)):
            codes = np.concatenate([[0], np.cumsum([1 << z for z in order])])
            total[order] += np.diff(np.asarray(g.table)[codes])
            count += 1
    return total / count


def nothing_varies() -> Accuracy:
    """Two sources worth 1 each whatever else there is."""
    return Accuracy(jnp.asarray(1), jnp.zeros(()), jnp.asarray(0.5), jnp.asarray(0.05), jnp.array([0.0, 1.0, 1.0, 1.0]))


def odd_or_even() -> Accuracy:
    """Accuracy 1 with one source, 0 with none or both: each gains 1 where it comes first, -1 second."""
    return Accuracy(jnp.asarray(1), jnp.ones(()), jnp.asarray(0.99), jnp.asarray(0.05), jnp.array([0.0, 1.0, 1.0, 0.0]))


CLAIMS = (
    Claim(
        "ads/definition-5.1",
        "Definition 5.1 and below",
        Statement(
            "m* = ⌈r²/(2ε²) log(2n/δ)⌉ permutations give P(‖φ̂ - φ‖_∞ ≤ ε) ≥ 1 - δ, r being the range of the gains.",
            misses,
            "log(2/δ) in place of log(2n/δ), for all sources at once.",
            lambda a: misses(a, union=False),
        ),
        accuracies,
        verdict="holds as corrected",
        why=(
            "Where gains do not vary, as with v(S) = |S|, their range is 0, m* = 0, and Algorithm 1 without a "
            "permutation says 0 where the value is 1."
        ),
        corrected=Statement(
            "max(1, m*) permutations do, as `values.required_permutations` says.",
            lambda a: misses(a, at_least=1),
            "max(1, m*) with log(2/δ) in place of log(2n/δ).",
            lambda a: misses(a, at_least=1, union=False),
        ),
        counterexample=nothing_varies,
        most=1_500,
        compiled=False,
    ),
    Claim(
        "ads/accuracy-range",
        "section 5.1, below Definition 5.1",
        Statement(
            "For accuracy based utilities r = 1.",
            misses_accuracy,
            "r = 1/2.",
            lambda a: misses_accuracy(a, spread=0.5),
        ),
        accuracies,
        verdict="holds as corrected",
        why=(
            "A source may raise accuracy by 1 and lower it by 1: accuracy 1 with one of two sources, 0 with none or "
            "both. With ε = 0.99 and δ = 0.05, r = 1 gives m* = 3; with probability 1/4 all three orders are the "
            "same, and the error is 1."
        ),
        corrected=Statement(
            "r = 2, or r = 1 where more data never lowers accuracy.",
            lambda a: max(misses_accuracy(a, spread=2.0), misses_accuracy(a, monotone=True)),
            "r = 2, or r = 1/2 where more data never lowers it.",
            lambda a: misses_accuracy(a, monotone=True, spread=0.5),
        ),
        counterexample=odd_or_even,
        most=1_500,
        compiled=False,
    ),
    Claim(
        "ads/algorithm-1",
        "Algorithm 1",
        Statement(
            "Its running mean is the mean gain along permutations drawn group by group; over all of them, each as "
            "likely as another, it is the asymmetric value: unbiased.",
            lambda d: jnp.maximum(sampled(d), enumerated(d)),
            "Over all permutations, whatever the groups.",
            lambda d: enumerated(d, ordered=False),
        ),
        draws,
    ),
    Claim(
        "ads/evaluations",
        "section 5.1, below Definition 5.1",
        Statement(
            "A permutation gives the gains of all n sources in one pass: Algorithm 1 calls v no more than m (n + 1) "
            "times.",
            evaluations,
            "No more than m n times.",
            lambda g: evaluations(g, per_pass=PLAYERS),
        ),
        games,
        most=2_500,
        compiled=False,
    ),
    Claim(
        "ads/exact-cost",
        "section 5",
        Statement(
            "Exact computation requires gains across all n! permutations.",
            lambda g: float(math.factorial(PLAYERS) - coalitions_needed(g)),
            "It requires no fewer evaluations than there are gains along permutations, n · n!.",
            lambda g: float(PLAYERS * math.factorial(PLAYERS) - coalitions_needed(g)),
        ),
        games,
        verdict="holds as corrected",
        why=(
            "By (2) the 2^n coalitions suffice, 16 for four sources with 4! = 24 permutations; by (9) those between "
            "U_{t-1} and U_t, 5 where each source is a group."
        ),
        corrected=Statement(
            "It takes Σ_t 2^{|D_t|} - T + 1 coalitions.",
            lambda g: float(abs(coalitions_needed(g) - between_prefixes(g))),
            "It takes all 2^n.",
            lambda g: float(abs(coalitions_needed(g) - len(MASKS))),
        ),
        counterexample=lambda: game((0.0, 1.0, 1.0, 2.0), (2, 0, 3, 1)),
        most=2_500,
        compiled=False,
    ),
)
