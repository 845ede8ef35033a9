"""Profiles of two to six alternatives with what is asked of them, and the definitions of Kim et al., section 2.1.

The whole room has one setting, `profiles`. The definitions are written out plainly, apart from the library's own.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems.records import Setting

SIZES = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
MOST, BALLOTS = 6, 6
APART = {size: ~np.eye(size, dtype=bool) for size in SIZES}


class Profile(NamedTuple):
    """Rankings, best first, and the share of voters who hold each."""

    orders: Int[Array, "rankings alternatives"]
    weights: Float[Array, "rankings"]


class Case(NamedTuple):
    """A profile of M alternatives and six rankings, and what is asked of it.

    Attributes:
        profile: σ.
        reports: what voters report instead: a mixture of rankings.
        P: (M, M) the preference function of the profile, 1/2 on its diagonal.
        w: (M,) its shares of first choices.
        u: (M,) u_i = min_{j≠i} P(i ≻ j).
        skew: (M, M) any preference function with P(i ≻ j) + P(j ≻ i) = 1, induced by a profile or not.
        rewards: (M,) r; often whole numbers, so that some are equal.
        lotteries: (2, M) policies; often on few alternatives.
        share: in [0, 1], the ends among them.
        small: in (0, 1], often small: α, γ1 or ε.
        delta: δ in [0, 1], often an entry of P.
        beta: β ≥ 0, often 0.
        level: α or α_c in (0, 1).
    """

    profile: Profile
    reports: Profile
    P: Float[Array, "alternatives alternatives"]
    w: Float[Array, "alternatives"]
    u: Float[Array, "alternatives"]
    skew: Float[Array, "alternatives alternatives"]
    rewards: Float[Array, "alternatives"]
    lotteries: Float[Array, "2 alternatives"]
    share: Float[Array, ""]
    small: Float[Array, ""]
    delta: Float[Array, ""]
    beta: Float[Array, ""]
    level: Float[Array, ""]


class Instance(NamedTuple):
    """One case of each size, drawn apart from the others."""

    two: Case
    three: Case
    four: Case
    five: Case
    six: Case


# The definitions. They are jitted, so that they are traced once for all claims and versions of one size.


def places(orders: Array) -> Array:
    """r(y), 1 for the first choice."""
    positions = jnp.arange(orders.shape[1])
    at = orders[:, None, :] == positions[None, :, None]  # cheaper than a sort, to compile and to run
    return 1 + jnp.sum(at * positions[None, None], axis=2)


@jax.jit
def induced(profile: Profile) -> Array:
    """Equation (1) to the letter: P(y ≻ y') = Σ_r σ_r 1{r(y) < r(y')}, so that P(y ≻ y) = 0."""
    r = places(profile.orders)
    return jnp.sum(profile.weights[:, None, None] * (r[:, :, None] < r[:, None, :]), axis=0)


def halved(P: Array) -> Array:
    """The same with 1/2 on the diagonal."""
    return jnp.where(jnp.eye(len(P), dtype=bool), 0.5, P)


@jax.jit
def shares(profile: Profile) -> Array:
    """w_k = Σ_{r ∈ G_k} σ_r, G_k = {r : r(y_k) = 1}."""
    first = profile.orders[:, :1] == np.arange(profile.orders.shape[1])[None]
    return jnp.sum(profile.weights[:, None] * first, axis=0)


@jax.jit
def borda(profile: Profile) -> Array:
    """B(y) = Σ_r σ_r (M - r(y))."""
    return jnp.sum(profile.weights[:, None] * (profile.orders.shape[1] - places(profile.orders)), axis=0)


@jax.jit
def bounds(P: Array) -> Array:
    """u_i = min_{j≠i} P(i ≻ j)."""
    return jnp.min(jnp.where(jnp.eye(len(P), dtype=bool), jnp.inf, P), axis=1)


def known(profile: Profile) -> tuple[Array, Array, Array]:
    """P with 1/2 on the diagonal, w and u."""
    P = halved(induced(profile))
    return P, shares(profile), bounds(P)


@jax.jit
def relaxed(u: Array, beta: Array | float = 0.0) -> Array:
    """Equation (9), π_i = u_i exp(β u_i) / Σ_j u_j exp(β u_j); β = 0 is F* of equation (5)."""
    scores = u * jnp.exp(beta * (u - jnp.max(u)))
    return scores / jnp.sum(scores)


@jax.jit
def lottery_of_three(P: Array) -> Array:
    """Φ^ML of three alternatives without ties: the winner, or in a cycle each in proportion to the others' margin."""
    margins, wins = jnp.abs(jnp.stack([P[1, 2], P[2, 0], P[0, 1]]) - 0.5), jnp.sum(P > 0.5, axis=1)
    return jnp.where(jnp.any(wins == 2), 1.0 * (wins == 2), margins / jnp.sum(margins))


# Other profiles made of one


def mixture(parts: Sequence[tuple[Any, Profile]]) -> Profile:
    """The profile in which each part counts by its weight."""
    return Profile(
        jnp.concatenate([part.orders for _, part in parts]),
        jnp.concatenate([weight * part.weights for weight, part in parts]),
    )


@jax.jit
def manipulated(profile: Profile, k: Array | int, reports: Profile) -> Profile:
    """Definition 3.2, σ'_k = σ + w_k (σ' - σ_k): group k reports σ', the others tell the truth."""
    inside = profile.orders[:, 0] == k
    others = profile._replace(weights=jnp.where(inside, 0.0, profile.weights))
    return mixture([(1.0, others), (jnp.sum(jnp.where(inside, profile.weights, 0.0)), reports)])


@jax.jit
def to_top(orders: Array, k: Array | int) -> Array:
    """Every ranking with y_k lifted to its top, the others in their order."""
    return jnp.argsort(jnp.where(jnp.arange(orders.shape[1])[None, :] == k, -1, places(orders)), axis=-1)


@jax.jit
def lifted(profile: Profile, share: Array | float = 1.0) -> tuple[Profile, Array]:
    """The profiles after each lift of Definition D.1, stacked, and the lifted alternatives.

    An alternative passes the next above it in one ranking, in which `share` of the voters move. A lift by several
    places is several such lifts.
    """
    voters, size = profile.orders.shape
    rows, alternatives = jnp.asarray(np.array(list(itertools.product(range(voters), range(size)))).T)

    def lift(row: Array, y: Array) -> Profile:
        r = places(profile.orders[row][None])[0]
        moved = jnp.argsort(jnp.where(jnp.arange(size) == y, r - 1.5, r))
        weight = profile.weights[row]
        weights = profile.weights.at[row].add(-share * weight)
        return Profile(jnp.concatenate([profile.orders, moved[None]]), jnp.append(weights, share * weight))

    return jax.vmap(lift)(rows, alternatives), alternatives


@jax.jit
def lifts(c: Case, share: Array | float = 1.0) -> tuple[Array, Array]:
    """P after each lift, and the lifted alternatives."""
    r, (voters, size) = places(c.profile.orders), c.profile.orders.shape
    rows, alternatives = jnp.asarray(np.array(list(itertools.product(range(voters), range(size)))).T)

    def lift(row: Array, y: Array) -> Array:
        passed = r[row] == r[row, y] - 1
        gain = share * c.profile.weights[row] * ((jnp.arange(size) == y)[:, None] & passed[None])
        return c.P + gain - gain.T

    return jax.vmap(lift)(rows, alternatives), alternatives


# The instances


def generate(key: Key[Array, ""]) -> Instance:
    """One case of each size: rankings and shares of eight and six designs, boundary cases among them."""
    numbers = jax.random.uniform(key, (len(SIZES), 168), minval=1e-12)
    padded = jax.vmap(_case)(jnp.asarray(list(SIZES)), numbers)
    return Instance(*(_cut(jax.tree.map(lambda leaf, row=row: leaf[row], padded), m) for row, m in enumerate(SIZES)))


def _cut(case: Case, size: int) -> Case:
    """The case without the alternatives that only fill up to six, which are last in all rankings."""
    profile, reports = (part._replace(orders=part.orders[:, :size]) for part in (case.profile, case.reports))
    return case._replace(
        profile=profile,
        reports=reports,
        P=case.P[:size, :size],
        w=case.w[:size],
        u=case.u[:size],
        skew=case.skew[:size, :size],
        rewards=case.rewards[:size],
        lotteries=case.lotteries[:, :size],
    )


def _case(size: Array, numbers: Array) -> Case:
    """A case of `size` alternatives, filled up to six. One draw of uniform numbers makes all: it compiles fast."""
    used = 0

    def draw(*shape: int) -> Array:
        nonlocal used
        used += int(np.prod(shape))
        return numbers[used - int(np.prod(shape)) : used].reshape(shape)

    inside = jnp.arange(MOST) < size
    named = jnp.argsort(jnp.where(inside, draw(MOST), 2.0))

    def ranked(scores: Array) -> Array:
        return named[jnp.argsort(jnp.where(inside[None], scores, jnp.inf), axis=1)]

    noise, alike = draw(BALLOTS, MOST), draw(BALLOTS, 1)
    ladder, ballot = jnp.arange(MOST)[None, :], jnp.arange(BALLOTS)[:, None]
    designs = jnp.stack(
        [
            noise,
            jnp.where(alike < 0.6, noise[:1], noise),  # many voters agree
            ladder + 2 * noise,  # voters are near to one order
            jnp.where(ladder == 0, -1, noise),  # one group
            jnp.concatenate([jnp.sort(noise[:, :2], axis=1), noise[:, 2:]], axis=1),  # nobody has 1 above 0
            jnp.where(ladder == ballot // 2, -10, jnp.where(ballot % 2 == 0, ladder, -ladder)),  # Appendix E
            jnp.where(ladder == 1 + ballot % (size - 1), -2, jnp.where(ladder == 0, -1, noise)),  # 0 is second
            (ladder - ballot) % size,  # a cycle
        ]
    )
    kinds, moderate = jnp.floor(draw(3) * jnp.array([len(designs), 6, 4])).astype(int), draw()
    orders = ranked(designs[kinds[0]])
    gaps = -jnp.log(draw(2, BALLOTS))
    grid = jnp.array([2, 4, 16, 4096])[kinds[2]]  # shares are whole multiples of 1/grid: ties and zeros are common
    counts = jnp.diff(jnp.sort(jnp.floor(draw(BALLOTS - 1) * (grid + 1))), prepend=0, append=grid) / grid
    few = 2.0 ** -jnp.ceil(11 * moderate)
    weights = jnp.stack(
        [
            gaps[0] / jnp.sum(gaps[0]),
            jnp.full(BALLOTS, 1 / BALLOTS),
            counts,
            jnp.eye(BALLOTS)[0],
            (jnp.arange(BALLOTS) < 2) / 2,
            few * counts + (1 - few) * jnp.eye(BALLOTS)[0],  # one ranking dominates
        ]
    )[kinds[1]]
    reported, mixed, whole, ends = draw(BALLOTS, MOST), draw(), draw(), draw()
    report_weights = jnp.where(mixed < 0.5, jnp.eye(BALLOTS)[0], gaps[1] / jnp.sum(gaps[1]))
    upper = jnp.triu(draw(MOST, MOST), 1)
    rewards = 8 * draw(MOST) - 4
    supported = (draw(2, MOST) > 0.4) | (jnp.arange(MOST) == named[0])[None]
    lotteries = jnp.where(inside[None] & supported, -jnp.log(reported[:2]), 0.0)
    share, small, delta, beta, level = draw(5)
    P = halved(induced(Profile(orders, weights)))
    apart = inside[:, None] & inside[None, :] & APART[MOST]
    most = jnp.max(jnp.where(apart, P, 0))
    deltas = jnp.stack([delta, delta, P[named[0], named[1]], most, jnp.zeros(()), jnp.ones(())])
    choice = jnp.floor(6 * draw()).astype(int)
    return Case(
        Profile(orders, weights),
        Profile(ranked(reported), report_weights),
        P,
        shares(Profile(orders, weights)),
        jnp.min(jnp.where(apart, P, jnp.inf), axis=1),
        skew=upper + jnp.tril(1 - upper.T, -1) + jnp.eye(MOST) / 2,
        rewards=jnp.where(whole < 0.5, jnp.round(rewards), rewards),
        lotteries=lotteries / jnp.sum(lotteries, axis=1, keepdims=True),
        share=jnp.where(ends < 0.1, 0.0, jnp.where(ends > 0.9, 1.0, share)),
        small=jnp.where(whole < 0.1, 1.0, 1e-4**small),
        delta=deltas[choice],
        beta=jnp.where(choice == 4, 0.0, 0.01 * 3000.0**beta),
        level=0.001 + 0.998 * level,
    )


EVERY = {2: 6, 3: 4, 4: 3, 5: 2, 6: 2}


@functools.cache
def every() -> Instance:
    """All profiles of few voters, the first of whom ranks the alternatives in order; parameters in turn."""
    of_size = {size: _small_profiles(size, voters) for size, voters in EVERY.items()}
    count = max(len(weights) for _, weights in of_size.values())
    random = np.random.default_rng(0)

    def cases(size: int) -> Case:
        orders, weights = (part[np.arange(count) % len(part)] for part in of_size[size])
        corners = np.stack([np.eye(size), np.full((size, size), 1 / size)], axis=1)
        return _stacked(
            orders,
            weights,
            random.permuted(np.tile(np.arange(size), (count, BALLOTS, 1)), axis=2),
            np.eye(BALLOTS)[random.integers(0, BALLOTS, count)],
            np.full((count, size, size), 0.5),
            np.array(list(itertools.product([-1.0, 0.0, 1.0], repeat=size)))[np.arange(count) % 3**size],
            corners[np.arange(count) % size],
            np.resize([0.0, 0.5, 1.0], count),
            np.resize([1e-3, 0.5, 1.0], count),
            np.resize([0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1], count),
            np.resize([0, 0.1, 1.0, 3.0, 10.0], count),
            random.uniform(0.001, 0.999, count),
        )

    return Instance(*map(cases, SIZES))


def _small_profiles(size: int, voters: int) -> tuple[np.ndarray, np.ndarray]:
    """Rankings and shares of all profiles of one to `voters` voters, up to the names and the order of the voters."""
    rankings = np.array(list(itertools.permutations(range(size))))
    sets = [c for n in range(voters) for c in itertools.combinations_with_replacement(range(len(rankings)), n)]
    orders, weights = np.tile(np.arange(size), (len(sets), BALLOTS, 1)), np.zeros((len(sets), BALLOTS))
    for row, others in enumerate(sets):
        orders[row, 1 : len(others) + 1] = rankings[list(others)]
        weights[row, : len(others) + 1] = 1 / (len(others) + 1)
    return orders, weights


def _stacked(orders: Any, weights: Any, reports: Any, report_weights: Any, *others: Any) -> Case:
    r, eye = np.argsort(orders, axis=-1), np.eye(orders.shape[-1])
    P = np.sum(weights[..., None, None] * (r[..., :, None] < r[..., None, :]), axis=-3) + eye / 2
    w = np.sum(weights[..., None] * (r == 0), axis=-2)
    return Case(Profile(orders, weights), Profile(reports, report_weights), P, w, np.min(P + eye, axis=-1), *others)


def by_hand(
    *ballots: tuple[Sequence[str], Sequence[float]],
    reports: tuple[Sequence[str], Sequence[float]] | None = None,
    rewards: Sequence[float] = (3.0, 2.0, 1.0, 0.0, -1.0, -2.0),
    lotteries: Sequence[Sequence[float]] = ((1.0,), (0.0, 1.0)),
    share: float = 0.5,
    small: float = 0.5,
    delta: float = 1.0,
    beta: float = 0.0,
    level: float = 0.5,
) -> Instance:
    """An instance to replay by hand, such as `by_hand((["012", "120"], [0.75, 0.25]))`.

    Args:
        *ballots: profiles of different sizes; of the other sizes two voters are opposed in everything.
        reports: a profile of one size; of the other sizes all report the alternatives in order.
        rewards: of the first alternatives.
        lotteries: the probabilities of the first alternatives, in proportion; the others have none.
        share: see `Case`.
        small: see `Case`.
        delta: see `Case`.
        beta: see `Case`.
        level: see `Case`.

    Returns:
        The instance.
    """

    def profile(
        given: Sequence[tuple[Sequence[str], Sequence[float]] | None], size: int, opposed: bool
    ) -> tuple[Any, Any]:
        names = "".join(map(str, range(size)))
        default = ([names, names[::-1]], [0.5, 0.5]) if opposed else ([names], [1.0])
        words, weights = next((one for one in given if one and len(one[0][0]) == size), default)
        nobody = BALLOTS - len(words)
        orders = [[int(digit) for digit in word] for word in [*words, *[names] * nobody]]
        return np.array(orders), np.array([*weights, *[0.0] * nobody])

    def case(size: int) -> Case:
        policies = np.stack([np.resize([*lottery, *[0.0] * MOST], size) for lottery in lotteries])
        policies[policies.sum(axis=1) == 0, 0] = 1.0  # all that it gives is beyond this size
        return _stacked(
            *profile(ballots, size, True),
            *profile([reports], size, False),
            np.full((size, size), 0.5),
            np.resize([*rewards, *[0.0] * MOST], size),
            policies / policies.sum(axis=1, keepdims=True),
            *map(np.asarray, (share, small, delta, beta, level)),
        )

    return Instance(*map(case, SIZES))


def over(*sizes: int, of: Setting | None = None) -> Setting:
    """The setting of claims about one profile of each of these sizes; `of` another setting than `profiles`."""
    voters = ", ".join(f"{EVERY[size]} over {size}" for size in sizes)
    designs = "random, alike, cyclic, unanimous, in near ties, with one dominant group"
    return (of or Setting(generate, "", exhaustive=every))._replace(
        scope=f"M = {', '.join(map(str, sizes))}; profiles of up to 6 rankings: {designs}",
        every="" if of else f"all profiles of few voters, up to names (at most {voters} alternatives)",
        cases={f"M = {size}": SIZES[size] for size in sizes},
    )


profiles = over(*SIZES)
