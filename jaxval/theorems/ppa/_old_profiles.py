"""Small profiles with their boundary cases, and the definitions of Kim et al., section 2.1, written out plainly.

One instance has a profile over two, one over three and one over four alternatives: rankings with shares.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

__all__ = [
    "Instance",
    "Profile",
    "borda",
    "by_hand",
    "every",
    "generate",
    "halved",
    "induced",
    "over_sizes",
    "places",
    "shares",
    "worst",
]

VOTERS = 5


class Profile(NamedTuple):
    """Rankings, best first, and the share of voters who hold each."""

    orders: Int[Array, "rankings alternatives"]
    weights: Float[Array, "rankings"]


class Instance(NamedTuple):
    """Profiles of three sizes and what is asked of them.

    Attributes:
        two: a profile over two alternatives.
        three: over three.
        four: over four.
        skew: any skew-symmetric preference function of four, in [0, 1].
        rewards: (4,) r; often whole numbers, so that some are equal.
        lotteries: (2, 4) policies; often on few alternatives.
        share: in [0, 1], the ends among them.
        small: in (0, 1], often small: α, γ1 or ε.
    """

    two: Profile
    three: Profile
    four: Profile
    skew: Float[Array, "4 4"]
    rewards: Float[Array, "4"]
    lotteries: Float[Array, "2 4"]
    share: Float[Array, ""]
    small: Float[Array, ""]


def generate(key: Key[Array, ""]) -> Instance:
    """Random profiles; a fifth each has equal shares, small whole shares, one ranking alone, two halves."""
    numbers = iter(jnp.split(jax.random.uniform(key, (160,), minval=1e-12), np.arange(1, 160)))

    def draw(*shape: int) -> Array:
        return jnp.concatenate([next(numbers) for _ in range(int(np.prod(shape)))]).reshape(shape)

    upper = jnp.triu(draw(4, 4), 1)
    rewards = 8 * draw(4) - 4
    lotteries = -jnp.log(draw(2, 4)) * (draw(2, 4) > 0.4).at[:, 0].set(True)
    share, small, ends, whole = (draw() for _ in range(4))
    return Instance(
        two=_profile(draw, 2),
        three=_profile(draw, 3),
        four=_profile(draw, 4),
        skew=upper + jnp.tril(1 - upper.T, -1) + jnp.eye(4) / 2,
        rewards=jnp.where(whole < 0.5, jnp.round(rewards), rewards),
        lotteries=lotteries / jnp.sum(lotteries, axis=1, keepdims=True),
        share=jnp.where(ends < 0.1, 0.0, jnp.where(ends > 0.9, 1.0, share)),
        small=jnp.where(whole < 0.1, 1.0, 1e-4**small),
    )


def _profile(draw: Callable[..., Array], size: int) -> Profile:
    orders = jnp.argsort(draw(VOTERS, size), axis=1)
    same = draw(VOTERS, 1) < jnp.where(draw() < 0.3, 0.6, 0.0)
    orders = jnp.where(same, orders[:1], orders)
    place = jnp.argsort(orders, axis=1)
    wrong = (place[:, :1] > place[:, 1:2]) & (draw() < 0.3)  # then nobody has 1 above 0
    orders = jnp.where(wrong & (orders < 2), 1 - orders, orders)
    spread = -jnp.log(draw(VOTERS))
    counts = jnp.floor(2 * spread).at[0].add(1)
    kinds = jnp.stack(
        [
            spread / jnp.sum(spread),
            jnp.full(VOTERS, 1 / VOTERS),
            counts / jnp.sum(counts),
            jnp.eye(VOTERS)[0],
            (jnp.arange(VOTERS) < 2) / 2,
        ]
    )
    return Profile(orders, kinds[jnp.floor(draw() * len(kinds)).astype(int)])


def every() -> Instance:
    """All profiles of three voters over three and over two alternatives, and of two voters over four."""
    three = np.array(list(itertools.product(itertools.permutations(range(3)), repeat=3)))
    two = np.array(list(itertools.product(itertools.permutations(range(2)), repeat=3)))
    four = np.array([[(0, 1, 2, 3), other] for other in itertools.permutations(range(4))])
    num = len(three)

    def padded(orders: np.ndarray) -> Profile:
        voters = orders.shape[1]
        nobody = np.broadcast_to(np.arange(orders.shape[2]), (len(orders), VOTERS - voters, orders.shape[2]))
        weights = np.where(np.arange(VOTERS) < voters, 1 / voters, 0.0)
        return Profile(_tiled(np.concatenate([orders, nobody], axis=1), num), jnp.tile(weights, (num, 1)))

    corners = np.stack([np.eye(4), np.full((4, 4), 0.25)], axis=1)
    return Instance(
        padded(two),
        padded(three),
        padded(four),
        skew=jnp.full((num, 4, 4), 0.5),
        rewards=_tiled(np.array(list(itertools.product([-1.0, 0.0, 1.0], repeat=4))), num),
        lotteries=_tiled(corners, num),
        share=_tiled(np.array([0.0, 0.5, 1.0]), num),
        small=_tiled(np.array([1e-3, 0.5, 1.0]), num),
    )


def by_hand(
    *,
    two: tuple[list[list[int]], list[float]] = ([[0, 1], [1, 0]], [0.5, 0.5]),
    three: tuple[list[list[int]], list[float]] = ([[0, 1, 2], [2, 1, 0]], [0.5, 0.5]),
    four: tuple[list[list[int]], list[float]] = ([[0, 1, 2, 3], [3, 2, 1, 0]], [0.5, 0.5]),
    rewards: tuple[float, ...] = (3.0, 2.0, 1.0, 0.0),
    lotteries: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)),
    share: float = 0.5,
    small: float = 0.5,
) -> Instance:
    """An instance to replay by hand: two voters who disagree on everything, but for what is given."""

    def profile(orders: list[list[int]], weights: list[float]) -> Profile:
        nobody = VOTERS - len(orders)
        return Profile(
            jnp.array(orders + [list(range(len(orders[0])))] * nobody), jnp.array(list(weights) + [0.0] * nobody)
        )

    return Instance(
        profile(*two),
        profile(*three),
        profile(*four),
        skew=jnp.full((4, 4), 0.5),
        rewards=jnp.array(rewards),
        lotteries=jnp.array(lotteries),
        share=jnp.array(share),
        small=jnp.array(small),
    )


def _tiled(rows: np.ndarray, num: int) -> Array:
    return jnp.asarray(rows[np.arange(num) % len(rows)])


# The definitions


def places(orders: Array) -> Array:
    """r(y), 1 for the first choice."""
    return 1 + jnp.argsort(orders, axis=1)


def induced(profile: Profile) -> Array:
    """Equation (1) to the letter: P(y ≻ y') = Σ_r σ_r 1{r(y) < r(y')}, so that P(y ≻ y) = 0."""
    r = places(profile.orders)
    return jnp.einsum("r,rij->ij", profile.weights, (r[:, :, None] < r[:, None, :]).astype(float))


def halved(matrix: Array) -> Array:
    """The same with 1/2 on the diagonal."""
    return jnp.where(jnp.eye(len(matrix), dtype=bool), 0.5, matrix)


def shares(profile: Profile) -> Array:
    """w_k = Σ_{r ∈ G_k} σ_r, G_k = {r : r(y_k) = 1}."""
    return jnp.sum(jnp.where(places(profile.orders) == 1, profile.weights[:, None], 0), axis=0)


def borda(profile: Profile) -> Array:
    """B(y) = Σ_r σ_r (M - r(y))."""
    return jnp.sum(profile.weights[:, None] * (profile.orders.shape[1] - places(profile.orders)), axis=0)


def worst(*gaps: Array) -> Array:
    """The largest; infinite where one is no number."""
    several = jnp.stack([jnp.asarray(gap, float) for gap in gaps])
    return jnp.where(jnp.any(jnp.isnan(several)), jnp.inf, jnp.max(several))


def over_sizes(gap: Callable[[Profile], Array]) -> Callable[[Instance], Array]:
    """The worst gap of an instance's three profiles."""
    return lambda c: worst(gap(c.two), gap(c.three), gap(c.four))
