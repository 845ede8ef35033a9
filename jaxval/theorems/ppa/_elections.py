"""Elections on which statements about F* and F^β are checked: profiles, misreports and parameters, small and random.

Four alternatives, six ballots with shares; fewer alternatives are there as ballots that leave the others last. P, w, u
and the policies are written out here from their definitions, apart from `jaxval.social_choice`, which is held against
them.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

__all__ = [
    "ALTERNATIVES",
    "APART",
    "CLOSE",
    "RANKINGS",
    "Election",
    "all_small_elections",
    "bounds",
    "election",
    "generate",
    "highest",
    "known",
    "lifts",
    "manipulated",
    "matrix",
    "place",
    "relaxed",
    "shares",
    "to_top",
]

ALTERNATIVES, BALLOTS = 4, 6
CLOSE = 1e-9
APART = ~np.eye(ALTERNATIVES, dtype=bool)
RANKINGS = np.array(list(itertools.permutations(range(ALTERNATIVES))))
SECOND = np.array([[1, 0, 2, 3], [2, 0, 1, 3], [3, 0, 1, 2], [0, 1, 2, 3], [1, 0, 3, 2], [2, 0, 3, 1]])
POLAR = np.array([[0, 1, 2, 3], [0, 3, 2, 1], [1, 2, 3, 0], [3, 2, 1, 0], [0, 1, 2, 3], [0, 1, 2, 3]])
DENOMINATORS = np.array([2, 4, 16, 4096])


class Election(NamedTuple):
    """A profile σ, what its voters report, and the parameters of the statements.

    Attributes:
        orders: (6, 4) ballots, best first.
        weights: (6,) their shares.
        reports: (6, 4) ballots of a misreport.
        report_weights: (6,) their shares where they are mixed into one.
        lottery: (4,) any policy.
        delta: δ in [0, 1], often an entry of P.
        beta: β ≥ 0.
        level: α or α_c in (0, 1).
    """

    orders: Int[Array, "6 4"]
    weights: Float[Array, "6"]
    reports: Int[Array, "6 4"]
    report_weights: Float[Array, "6"]
    lottery: Float[Array, "4"]
    delta: Float[Array, ""]
    beta: Float[Array, ""]
    level: Float[Array, ""]


# The definitions


def place(orders: Array) -> Array:
    """r(y), 0 for the first."""
    return jnp.argsort(orders, axis=-1)


def matrix(orders: Array, weights: Array) -> Array:
    """P(i ≻ j) = Σ_r σ_r 1{r(i) < r(j)}, 1/2 on the diagonal."""
    r = place(orders)
    above = (r[:, :, None] < r[:, None, :]) * weights[:, None, None]
    return jnp.sum(above, axis=0) + jnp.eye(orders.shape[1]) / 2


def shares(orders: Array, weights: Array) -> Array:
    """w_k = Σ_r σ_r 1{r(k) = 1}."""
    return jnp.sum((orders[:, :1] == jnp.arange(orders.shape[1])[None, :]) * weights[:, None], axis=0)


def bounds(P: Array) -> Array:
    """u_i = min_{j≠i} P(i ≻ j)."""
    return jnp.stack([jnp.min(P[i, jnp.array([j for j in range(len(P)) if j != i])]) for i in range(len(P))])


def relaxed(u: Array, beta: Array | float = 0.0) -> Array:
    """Equation (9), π_i = u_i exp(β u_i) / Σ_j u_j exp(β u_j); β = 0 is F* of equation (5)."""
    scores = u * jnp.exp(beta * (u - jnp.max(u)))
    return scores / jnp.sum(scores)


def highest(gaps: Array) -> Array:
    """The largest; infinite where one is no number, which a compiled maximum passes over on CPU."""
    return jnp.where(jnp.any(jnp.isnan(gaps)), jnp.inf, jnp.max(gaps))


def known(e: Election) -> tuple[Array, Array, Array]:
    """P, w and u."""
    P = matrix(e.orders, e.weights)
    return P, shares(e.orders, e.weights), bounds(P)


def to_top(orders: Array, k: Array | int) -> Array:
    """Every ballot with y_k lifted to its top, the others in their order."""
    return jnp.argsort(jnp.where(jnp.arange(orders.shape[1])[None, :] == k, -1, place(orders)), axis=-1)


def manipulated(e: Election, k: Array | int, reports: Array) -> Array:
    """P of σ'_k = σ + w_k (σ' - σ_k): group k reports the mixture of the ballots, the others tell the truth."""
    inside = e.orders[:, 0] == k
    others = jnp.where(inside, 0.0, e.weights)
    w_k = jnp.sum(jnp.where(inside, e.weights, 0.0))
    return matrix(jnp.concatenate([e.orders, reports]), jnp.concatenate([others, w_k * e.report_weights]))


def lifts(e: Election, share: float) -> tuple[Array, Array]:
    """P after each lift of D.1, and who was lifted: y to a better place in one ballot, of which `share` moves."""
    r = place(e.orders)
    P = matrix(e.orders, e.weights)

    def lift(row: Array, y: Array, to: Array) -> tuple[Array, Array]:
        passed = (r[row] >= to) & (r[row] < r[row, y])
        gain = share * e.weights[row] * jnp.outer(jnp.arange(ALTERNATIVES) == y, passed)
        return P + gain - gain.T, y

    cases = np.array(list(itertools.product(range(BALLOTS), range(ALTERNATIVES), range(ALTERNATIVES - 1))))
    return jax.vmap(lift)(*map(jnp.asarray, cases.T))


# The instances


def cut(which: Array, where: Array) -> Float[Array, "6"]:
    """Shares that sum to one exactly: multiples of 1/2, 1/4, 1/16 or 1/4096, so that ties and zeros are common."""
    denominator = jnp.asarray(DENOMINATORS)[(which * len(DENOMINATORS)).astype(int)]
    cuts = jnp.sort(jnp.floor(where * (denominator + 1)))
    return jnp.diff(cuts, prepend=0, append=denominator) / denominator


def generate(key: Key[Array, ""]) -> Election:
    """Ballots at random, alike, of two alternatives, of one group, of poles, or with one alternative second throughout.

    A sixth of the profiles has one dominating ballot. One draw of uniform numbers makes all: it compiles fast.
    """
    numbers = jax.random.uniform(key, (72,))
    noise, report_noise = numbers[:24].reshape(BALLOTS, -1), numbers[24:48].reshape(BALLOTS, -1)
    names, pair = jnp.argsort(numbers[48:56].reshape(2, -1), axis=1)
    cuts, (which, which_report, kind, pole, small, dominates, delta, beta, level, choice, more) = (
        numbers[56:61], numbers[61:72]
    )  # fmt: skip
    kind = (8 * kind).astype(int)
    ladder = jnp.arange(ALTERNATIVES)[None, :]
    scores = jnp.stack([
        noise,
        ladder + 2 * noise,
        jnp.where(ladder < 2, noise, ladder),
        jnp.where(ladder == 0, -1, noise),
        jnp.argsort(jnp.asarray(POLAR), axis=1),
        jnp.argsort(jnp.asarray(SECOND), axis=1),
    ])[jnp.array([0, 0, 0, 1, 2, 3, 4, 5])[kind]]  # fmt: skip
    orders, reports = jnp.argsort(jnp.stack([scores, report_noise]), axis=2)
    weights, report_weights = cut(which, cuts), cut(which_report, (cuts + cuts[::-1] + which) % 1)
    pole = jnp.floor(129 * pole) / 128
    poles = jnp.array([1, 1, 0, 0, 0, 0]) * pole / 2 + jnp.array([0, 0, 1, 1, 0, 0]) * (1 - pole) / 2
    first = jnp.array([0, 0, 0, 1, 0, 0]) * pole + jnp.array([1, 1, 1, 0, 1, 0]) * (1 - pole) / 4
    weights = jnp.where(kind == 6, poles, jnp.where((kind == 7) & (more < 0.5), first, weights))
    small = 2 ** -jnp.ceil(11 * small)
    dominating = (dominates < 1 / 6) & (kind < 6)
    weights = jnp.where(dominating, small * weights + (1 - small) * (jnp.arange(BALLOTS) == 0), weights)
    orders = names[orders]
    P = matrix(orders, weights)
    choice = (6 * choice).astype(int)
    deltas = jnp.stack([delta, delta, P[pair[0], pair[1]], jnp.max(jnp.where(jnp.asarray(APART), P, 0)), 0.0, 1.0])
    return Election(
        orders,
        weights,
        reports,
        report_weights,
        jnp.where(choice == 5, jnp.arange(ALTERNATIVES) == pair[0], jax.nn.softmax(10 * report_noise[1])),
        deltas[choice],
        jnp.where(choice == 4, 0.0, 0.01 * 3000.0**beta),
        0.001 + 0.998 * level,
    )


def election(
    ballots: Sequence[str],
    weights: Sequence[float],
    *,
    reports: Sequence[str] = ("abcd",),
    report_weights: Sequence[float] = (1.0,),
    lottery: Sequence[float] = (0.25, 0.25, 0.25, 0.25),
    delta: float = 1.0,
    beta: float = 0.0,
    level: float = 0.5,
) -> Election:
    """An election by hand: ballots such as "cab", alternatives that are not named last; ballots of share 0 fill up."""

    def rows(words: Sequence[str]) -> np.ndarray:
        named = ["abcd".index(letter) for word in words for letter in word + "".join(sorted(set("abcd") - set(word)))]
        found = np.array(named).reshape(-1, ALTERNATIVES)
        return np.concatenate([found, np.tile(np.arange(ALTERNATIVES), (BALLOTS - len(found), 1))])

    def filled(numbers: Sequence[float]) -> np.ndarray:
        return np.concatenate([np.asarray(numbers, float), np.zeros(BALLOTS - len(numbers))])

    fields: tuple[Any, ...] = (
        rows(ballots), filled(weights), rows(reports), filled(report_weights), np.asarray(lottery, float),
        np.asarray(delta), np.asarray(beta), np.asarray(level),
    )  # fmt: skip
    return Election(*fields)


@functools.cache
def all_small_elections() -> Election:
    """All profiles of one to four voters up to renaming, the first of whom says abcd, with parameters in turn."""
    sets = [c for n in range(4) for c in itertools.combinations_with_replacement(range(len(RANKINGS)), n)]
    random = np.random.default_rng(0)
    count = len(sets)
    orders = np.tile(np.arange(ALTERNATIVES), (count, BALLOTS, 1))
    weights = np.zeros((count, BALLOTS))
    for row, chosen in enumerate(sets):
        orders[row, 1 : len(chosen) + 1] = RANKINGS[list(chosen)]
        weights[row, : len(chosen) + 1] = 1 / (len(chosen) + 1)
    turn = np.arange(count)
    deltas, betas = np.array([0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1]), np.array([0, 0.1, 1.0, 3.0, 10.0])
    fields: tuple[Any, ...] = (
        orders, weights,
        RANKINGS[random.integers(0, len(RANKINGS), (count, BALLOTS))],
        np.eye(BALLOTS)[random.integers(0, BALLOTS, count)],
        random.dirichlet(np.ones(ALTERNATIVES), count),
        deltas[turn % len(deltas)], betas[turn % len(betas)], random.uniform(0.001, 0.999, count),
    )  # fmt: skip
    return Election(*fields)
