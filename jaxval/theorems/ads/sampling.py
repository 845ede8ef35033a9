"""Sampled permutations: Definition 5.1, the number of permutations that suffices, Algorithm 1 and what it costs.

If sources come in pairs, one group for each pair, and v adds up what the pairs are worth, then the orders of the pairs
are independent and as likely as their reverse. Errors are then those of binomial shares, and coverage is exact.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.theorems.ads._games import SOURCES, Game, of_sources, ordered_form, ordered_games, permutations
from jaxval.theorems.records import AtMost, Setting


class Accuracy(NamedTuple):
    """What an estimator is asked for, and games of pairs to try it on.

    Attributes:
        pairs: the number of pairs of sources, n = 2 pairs.
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
    """ε from 1/20 of the range to all of it, δ from 1/1000 to 1; accuracies often 0 and 1."""
    u = jax.random.uniform(key, (9,), minval=1e-9)
    spread = jnp.where(u[0] < 0.1, 0.0, 0.2 + u[1])
    epsilon = jnp.maximum(spread, 0.5) * jnp.exp(-3 * u[2])
    table = jnp.where(u[3] < 0.5, jnp.round(u[4:8]), u[4:8])
    return Accuracy(jnp.ceil(60 * u[3] ** 2).astype(int), spread, epsilon, 10 ** (-3 * u[8]), table)


sampled_pairs = Setting(
    accuracies,
    "n = 2 to 120 sources in groups of two, exact binomial probabilities; ε ≥ r/20, δ from 0.001 to 1",
    most=200,
    compiled=False,
)


def permutations_needed(n: int, a: Accuracy, spread: float) -> int:
    """m* = ⌈r²/(2ε²) log(2n/δ)⌉."""
    return math.ceil(spread**2 / (2 * float(a.epsilon) ** 2) * math.log(2 * n / float(a.delta)))


def coverage(m: int, spread: float, epsilon: float, pairs: int) -> float:
    """P(‖φ̂ - φ‖_∞ ≤ ε) with m permutations: a pair's error is r |B/m - 1/2|, B binomial.

    If gains do not vary, each source is worth 1, and Algorithm 1 without any permutation returns 0.
    """
    if spread == 0:
        return float(m > 0 or epsilon >= 1)
    half = epsilon / spread * m
    low = math.ceil(m / 2 - half - 1e-9)
    # The distribution is symmetric, so that both tails are alike.
    return float(1 - 2 * scipy.special.bdtr(low - 1, m, 0.5)) ** pairs if low > 0 else 1.0


@sampled_pairs.claim(
    "ads/definition-5.1",
    "Definition 5.1 and below",
    fails="convention",
    quote="Let r bound the range of one step marginal contributions ... Then it suffices to use m⋆ = ⌈r²/(2ϵ²) "
    "log(2n/δ)⌉ independent samples π_σ(D) ∼ Unif(Π_σ(D)) to achieve an (ϵ,δ) approximation",
    why="If gains do not vary, as with v(S) = |S|, their range is r = 0 and m* = 0. Algorithm 1 without a permutation "
    "then returns 0 for sources that are worth 1.",
    counterexample=lambda: Accuracy(*map(jnp.asarray, (1, 0.0, 0.5, 0.05, [0.0, 1.0, 1.0, 2.0]))),
    corrected="max(1, m*) permutations give P(‖φ̂ - φ‖_∞ ≤ ε) ≥ 1 - δ, and `values.required_permutations` says so.",
    correction={"least": 1},
    false="max(1, ⌈r²/(2ε²) log(2/δ)⌉) permutations give P(‖φ̂ - φ‖_∞ ≤ ε) ≥ 1 - δ for all n sources at once.",
    neighbour={"least": 1, "union": False},
    proof="of the corrected version: Hoeffding's inequality and the union bound; with r = 0 one permutation is exact",
)
def definition_5_1(a: Accuracy, least: int = 0, union: bool = True) -> dict[str, tuple]:
    """m* = ⌈r²/(2ε²) log(2n/δ)⌉ permutations give P(‖φ̂ - φ‖_∞ ≤ ε) ≥ 1 - δ, where r is the range of the gains."""
    n, spread, epsilon, delta = 2 * int(a.pairs), float(a.spread), float(a.epsilon), float(a.delta)
    m = max(least, permutations_needed(n if union else 1, a, spread))
    sides: dict[str, tuple] = {"coverage": AtMost(1 - delta, coverage(m, spread, epsilon, int(a.pairs)))}
    if least and union and spread:
        sides["library"] = (m, values.required_permutations(n, epsilon=epsilon, delta=delta, spread=spread))
    return sides


def missed(a: Accuracy, r: float = 1.0, monotone: bool = False) -> AtMost:
    """1 - δ and the probability of an error of at most ε from m*(r) permutations of two sources."""
    table = np.sort(a.table) if monotone else np.asarray(a.table)
    spread = abs(float(table[3] - table[1] - table[2] + table[0]))
    return AtMost(1 - float(a.delta), coverage(permutations_needed(2, a, r), spread, float(a.epsilon), 1))


@sampled_pairs.claim(
    "ads/accuracy-range",
    "section 5.1, below Definition 5.1",
    fails="root error",
    quote="Let r bound the range of one step marginal contributions (for accuracy based utilities, r = 1).",
    why="A source may raise accuracy by 1 and lower it by 1, so that its gains have the range 2, for which the bound "
    "asks for four times as many permutations. Let accuracy be 1 with one of two sources and 0 with none or both. With "
    "ε = 0.99 and δ = 0.05, r = 1 gives m* = 3; with probability 1/4 all three orders are the same, and the error is "
    "1.",
    counterexample=lambda: Accuracy(*map(jnp.asarray, (1, 1.0, 0.99, 0.05, [0.0, 1.0, 1.0, 0.0]))),
    corrected="For accuracies r = 2, or r = 1 if more data never lowers accuracy.",
    correction=lambda a: {"r = 2": missed(a, r=2.0), "r = 1": missed(a, monotone=True)},
    proof="of the corrected version: gains of accuracies lie in [-1, 1], those of monotone ones in [0, 1]",
)
def accuracy_range(a: Accuracy) -> AtMost:
    """For accuracies m* with r = 1 is enough: P(‖φ̂ - φ‖_∞ ≤ ε) ≥ 1 - δ."""
    return missed(a)


def running(gains: Array) -> Float[Array, "sources"]:
    """Lines 3 to 15: φ̂(z) ← (s-1)/s φ̂(z) + 1/s (u_cur - u_prev), one permutation after the other."""

    def step(phi: Array, item: tuple[Array, Array]) -> tuple[Array, None]:
        s, gain = item
        return (s - 1) / s * phi + gain / s, None

    return jax.lax.scan(step, jnp.zeros(gains.shape[1]), (1.0 + jnp.arange(len(gains)), gains))[0]


def gains_along(table: Array, order: Array) -> Float[Array, "sources"]:
    """Lines 9 to 14: u_cur - u_prev of each source along one permutation."""
    codes = jnp.cumsum(1 << order)
    return jnp.zeros(len(order)).at[order].set(table[codes] - table[codes - (1 << order)])


@ordered_games.claim(
    "ads/algorithm-1",
    "Algorithm 1 and its cost in section 5.1",
    false="Permutations of all sources, drawn uniformly whatever the groups, give the asymmetric value in the mean.",
    neighbour={"by_groups": False},
    proof="of the mean: a uniform permutation within each group makes the concatenation uniform on Π_σ(D)",
    most=500,
)
def algorithm_1(g: Game, by_groups: bool = True) -> dict[str, tuple]:
    """Permutations drawn uniformly within each group, put together in the groups' order, give φ^σ in the mean.

    The library's estimate is the running mean of lines 3 to 15 on such permutations, and m of them take no more than
    m (n + 1) evaluations of v.
    """
    orders = jnp.asarray(permutations(SOURCES))
    if by_groups:
        orders = jnp.take_along_axis(orders, jnp.argsort(g.groups[orders], axis=1, stable=True), axis=1)
    mean = jnp.mean(jax.vmap(gains_along, (None, 0))(g.table, orders), axis=0)
    sides = {"mean": of_sources(g, mean, ordered_form(g.table, g.groups))}
    return sides | in_library(g) if by_groups else sides


def in_library(g: Game) -> dict[str, tuple]:
    """What the library estimates from five permutations of three sources."""
    n, m, groups = 3, 5, [1, 0, 1]
    estimator = values.permutation_estimator(n, permutations=m, groups=groups, antithetic=False)
    state = estimator.init(jax.random.key(g.seed))
    coalitions = estimator.ask(state)
    library = estimator.estimate(estimator.tell(state, coalitions, g.table[coalitions @ (1 << np.arange(n))])).values
    # A source that comes early is in many of the prefixes that the estimator asks for.
    orders = jnp.argsort(-jnp.sum(coalitions[2:].reshape(m, n - 1, n), axis=1), axis=1)
    along = jnp.asarray(groups)[orders]
    gains = jax.vmap(gains_along, (None, 0))(g.table, orders)
    return {
        "running mean": (running(gains), library),
        "groups": AtMost(along[:, :-1], along[:, 1:]),
        "evaluations": AtMost(float(len(coalitions)), float(m * (n + 1))),
    }
