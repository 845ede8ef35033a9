"""Models of populations: rankings and comparisons drawn at random.

Every function takes a key first and uses it once. The same key gives the same draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxval import _checks, _objects
from jaxval.types import BadArgument, Comparisons, Matrix, Number, Vector

__all__ = [
    "sample_comparisons",
    "sample_impartial_culture",
    "sample_mallows",
    "sample_mixture",
    "sample_plackett_luce",
]


def sample_impartial_culture(
    key: Key[Array, ""], *, alternatives: int, num: int
) -> Int[Array, "rankings alternatives"]:
    """Rankings drawn uniformly from all permutations.

    Args:
        key: a random key.
        alternatives: M.
        num: how many rankings.

    Returns:
        (num, alternatives) rankings, best first.

    Raises:
        ValueError: if a size is below 1.

    Example:
        >>> sample_impartial_culture(jax.random.key(0), alternatives=3, num=5).shape
        (5, 3)
    """
    alternatives = _checks.check_size("alternatives", alternatives)
    _checks.check_memory("num", _checks.check_size("num", num), alternatives)
    return sample_mallows(key, jnp.arange(alternatives), dispersion=1.0, num=num)


def sample_mallows(
    key: Key[Array, ""], center: Int[ArrayLike, "alternatives"] | list[int], *, dispersion: Number, num: int
) -> Int[Array, "rankings alternatives"]:
    """Rankings from the Mallows model, P(r) ∝ φ^d(r, center) with d the Kendall tau distance.

    The draw is by repeated insertion: alternative i of the center goes d places above the end of the i already
    inserted, with probability φ^d / (1 + φ + ... + φ^i), d = 0..i.

    Source: Mallows (1957); repeated insertion as in Doignon, Pekeč and Regenwetter (2004).

    Args:
        key: a random key.
        center: (alternatives,) the central ranking, best first.
        dispersion: φ in [0, 1]: 0 repeats the center, 1 is uniform over rankings.
        num: how many rankings.

    Returns:
        (num, alternatives) rankings, best first.

    Raises:
        ValueError: if the center is no permutation, the dispersion lies outside [0, 1], or num is below 1.

    Example:
        >>> sample_mallows(jax.random.key(0), [2, 0, 1], dispersion=0.0, num=2).tolist()
        [[2, 0, 1], [2, 0, 1]]
    """
    center = _checks.integers("center", center, ndim=1, expected="one ranking (alternatives,), best first")
    center = _objects.check_orders(center[None], name="center")[0]
    dispersion = _checks.check_number("dispersion", dispersion, low=0, high=1, expected="a number in [0, 1]")
    _checks.check_memory("num", _checks.check_size("num", num), len(center))
    return _repeated_insertion(_checks.check_key(key), center, dispersion, num)


def sample_mixture(
    key: Key[Array, ""],
    samplers: Sequence[Callable[..., Array]],
    shares: Float[ArrayLike, "groups"] | list[float],
    *,
    num: int,
) -> Int[Array, "rankings alternatives"]:
    """Rankings from a mixture of populations: each voter belongs to group g with probability shares[g].

    Args:
        key: a random key.
        samplers: for each group a function `(key, *, num) -> orders`, such as
            `functools.partial(sample_mallows, center=..., dispersion=...)`.
        shares: (groups,) shares that sum to one.
        num: how many rankings.

    Returns:
        (num, alternatives) rankings, best first.

    Raises:
        ValueError: if the shares do not sum to one, or their number is not that of the samplers.

    Example:
        >>> groups = [partial(sample_mallows, center=jnp.array(c), dispersion=0.0) for c in ([0, 1, 2], [2, 1, 0])]
        >>> orders = sample_mixture(jax.random.key(0), groups, [0.0, 1.0], num=2)
        >>> orders.tolist()
        [[2, 1, 0], [2, 1, 0]]
    """
    _checks.check_list("samplers", samplers, "a function for each group")
    for group, sampler in enumerate(samplers):
        _checks.check_function(f"samplers[{group}]", sampler, "a function of a key and num")
    shares = _objects.check_weights(shares, len(samplers), name="shares")
    _checks.check_memory("num", len(samplers), _checks.check_size("num", num))
    choose, *keys = jax.random.split(_checks.check_key(key), len(samplers) + 1)
    drawn = [
        _checks.integers(f"what samplers[{group}] returns", sampler(one, num=num), ndim=2, expected="(num, M) rankings")
        for group, (sampler, one) in enumerate(zip(samplers, keys, strict=True))
    ]
    for group, orders in enumerate(drawn):
        if orders.shape != (num, drawn[0].shape[1]):
            expected = f"{num} rankings of {drawn[0].shape[1]} alternatives"
            raise BadArgument(f"what samplers[{group}] returns", expected=expected, got=f"shape {orders.shape}")
    return _choose(choose, jnp.stack(drawn), shares)


def sample_plackett_luce(key: Key[Array, ""], rewards: Vector, *, num: int) -> Int[Array, "rankings alternatives"]:
    """Rankings from the Plackett-Luce model: the next place goes to i with probability ∝ exp(rewards[i]).

    The draw sorts the rewards with independent Gumbel noise. Its pairwise margins are Bradley-Terry:
    P(i ≻ j) = 1 / (1 + exp(rewards[j] - rewards[i])).

    Source: Plackett (1975); the Gumbel form is Yellott's (1977).

    Args:
        key: a random key.
        rewards: (alternatives,) logarithms of the strengths.
        num: how many rankings.

    Returns:
        (num, alternatives) rankings, best first.

    Raises:
        ValueError: if rewards are not finite or num is below 1.

    Example:
        >>> sample_plackett_luce(jax.random.key(0), [0.0, 100.0], num=2).tolist()
        [[1, 0], [1, 0]]
    """
    rewards = _checks.floating("rewards", rewards, ndim=1, expected="(alternatives,) numbers")
    _checks.check_memory("num", _checks.check_size("num", num), *rewards.shape)
    noise = jax.random.gumbel(_checks.check_key(key), (num, *rewards.shape))
    return jnp.argsort(-(rewards[None] + noise), axis=1)


def sample_comparisons(key: Key[Array, ""], matrix: Matrix, *, num: int) -> Comparisons:
    """Comparisons drawn from P: first a pair uniformly, then i as its winner with probability P(i ≻ j).

    Source: Kim et al., section 5.1.

    Args:
        key: a random key.
        matrix: (alternatives, alternatives) preference function of at least two alternatives.
        num: how many comparisons.

    Returns:
        `Comparisons` of num rows, all of context 0 and weight 1.

    Raises:
        ValueError: if the matrix is no preference function, or has only one alternative.

    Example:
        >>> drawn = sample_comparisons(jax.random.key(0), [[0.5, 1.0], [0.0, 0.5]], num=3)
        >>> drawn.winner.tolist(), drawn.loser.tolist()
        ([0, 0, 0], [1, 1, 1])
    """
    matrix = _objects.check_matrix(matrix)
    alternatives = matrix.shape[0]
    if alternatives < 2:
        raise BadArgument("matrix", expected="at least two alternatives to compare", got="1")
    _checks.check_memory("num", _checks.check_size("num", num), len(Comparisons._fields))
    return _compare(_checks.check_key(key), matrix, num)


@partial(jax.jit, static_argnames="num")
def _compare(key: Array, matrix: Array, num: int) -> Comparisons:
    which, toss = jax.random.split(key)
    i, j = map(jnp.asarray, np.triu_indices(matrix.shape[0], k=1))
    pair = jax.random.randint(which, (num,), 0, len(i))
    first_wins = jax.random.uniform(toss, (num,)) < matrix[i, j][pair]
    winner, loser = jnp.where(first_wins, i[pair], j[pair]), jnp.where(first_wins, j[pair], i[pair])
    return Comparisons(jnp.zeros_like(winner), winner, loser, jnp.ones(num))


@jax.jit
def _choose(key: Array, drawn: Array, shares: Array) -> Array:
    """One of the groups' rankings for each voter, from (groups, num, alternatives)."""
    groups, num, _ = drawn.shape
    return drawn[jax.random.choice(key, groups, (num,), p=shares), jnp.arange(num)]


@partial(jax.jit, static_argnames="num")
def _repeated_insertion(key: Array, center: Array, dispersion: Array, num: int) -> Array:
    """Keeps each alternative's position, in small integers, and turns positions into rankings at the end."""
    small = jnp.int8 if center.shape[0] < 127 else jnp.int32
    steps = jnp.arange(center.shape[0], dtype=small)
    chances = jnp.cumprod(jnp.full(center.shape[0], dispersion).at[0].set(1))  # φ^d
    sums = jnp.cumsum(chances)

    def insert(places: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
        i, uniform = step
        already = (steps < i)[:, None]
        distance = jnp.sum((uniform[None] * sums[i] >= sums[:, None]) & already, axis=0, dtype=small)
        place = (i - distance)[None]
        return jnp.where(already, places + (places >= place), jnp.where((steps == i)[:, None], place, places)), None

    def at(place: Array) -> Array:
        return jnp.sum(jnp.where(places == place, center[:, None], 0), axis=0, dtype=center.dtype)

    draws = jax.random.uniform(key, (center.shape[0], num))
    places, _ = jax.lax.scan(insert, jnp.zeros((center.shape[0], num), small), (steps, draws))
    return jax.lax.map(at, steps).T
