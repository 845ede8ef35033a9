"""Games with known values on which `benchmarks.coverage` counts how often intervals hold them.

Values are exact: of voting games by counting coalitions of each size and weight, of set cover and of the giants in
closed form, of tables by the definition. All of it is NumPy in float64.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

__all__ = ["GAMES", "Game"]


class Game(NamedTuple):
    """A game and what its players are worth.

    Attributes:
        utility: from a mask (players,) to a scalar, in JAX.
        values: (players,) exact Shapley values.
        largest: of |v|, by which rounding is judged.
    """

    utility: Callable[[Any], Any]
    values: np.ndarray
    largest: float


def voting(weights: list[int], quota: int) -> Game:
    """v(S) = 1 where the weights in S reach the quota; values by counting coalitions of each size and weight."""
    players, total = len(weights), sum(weights)
    counts = np.zeros((players + 1, total + 1))
    counts[0, 0] = 1
    for weight in weights:
        counts[1:, weight:] += counts[:-1, : total + 1 - weight].copy()
    shares = np.array([1 / (players * math.comb(players - 1, size)) for size in range(players)])
    values = np.zeros(players)
    for player, weight in enumerate(weights):
        without = counts.copy()
        for size in range(1, players + 1):
            without[size, weight:] -= without[size - 1, : total + 1 - weight]
        values[player] = shares @ without[:players, max(quota - weight, 0) : quota].sum(axis=1)
    known = jnp.asarray(weights)
    return Game(lambda s: jnp.where(jnp.sum(jnp.where(s, known, 0)) >= quota, 1.0, 0.0), values, 1.0)


def set_cover(players: int, elements: int, covers: float, seed: int) -> Game:
    """v(S) = the share of elements that a member of S covers; each is worth 1 / elements to those who cover it."""
    rng = np.random.default_rng(seed)
    sets = rng.random((players, elements)) < covers * rng.random((players, 1)) * 2
    values = (sets / np.maximum(sets.sum(axis=0), 1)).sum(axis=1) / elements
    known = jnp.asarray(sets)
    return Game(lambda s: jnp.mean(jnp.any(known & s[:, None], axis=0).astype(float)), values, 1.0)


def tabulated(table: np.ndarray) -> Game:
    """A game given by its table, bit i of a row being player i."""
    players = int(math.log2(len(table)))
    rows = np.arange(len(table))
    sizes = np.array([bin(row).count("1") for row in rows])
    values = np.zeros(players)
    for player in range(players):
        without = rows[(rows >> player) & 1 == 0]
        weights = np.array([1 / (players * math.comb(players - 1, size)) for size in sizes[without]])
        values[player] = weights @ (table[without | 1 << player] - table[without])
    known, bits = jnp.asarray(table, float), jnp.asarray(2 ** np.arange(players))
    return Game(lambda s: known[jnp.sum(jnp.where(s, bits, 0))], values, float(np.abs(table).max()))


def monotone(players: int, seed: int) -> Game:
    """A random monotone game of 0s and 1s: a coalition wins where it holds one of a few random small ones."""
    rng = np.random.default_rng(seed)
    rows = np.arange(2**players)
    table = np.zeros(2**players)
    for _ in range(players):
        core = sum(1 << int(i) for i in rng.choice(players, size=rng.integers(2, players // 2 + 2), replace=False))
        table = np.maximum(table, (rows & core == core) * rng.random())
    return tabulated(table)


def monotone_steps(players: int, seed: int) -> Game:
    """A random monotone game: every coalition is better than the best inside it by an exponential step."""
    rng = np.random.default_rng(seed)
    table = np.zeros(2**players)
    for row in range(1, 2**players):
        inside = max(table[row & ~(1 << i)] for i in range(players) if row >> i & 1)
        table[row] = inside + rng.exponential() * (rng.random() < 0.3)
    return tabulated(table / table[-1])


def heavy_tailed(players: int, seed: int) -> Game:
    """Utilities independent, of Student's distribution with 2 degrees of freedom: gains are symmetric, some huge."""
    return tabulated(np.random.default_rng(seed).standard_t(2, size=2**players))


def noisy(players: int, noise: float, seed: int) -> Game:
    """Positive weights under normal noise of each coalition."""
    rng = np.random.default_rng(seed)
    masks = np.arange(2**players)[:, None] >> np.arange(players) & 1
    return tabulated(masks @ rng.exponential(size=players) / players + noise * rng.normal(size=2**players))


def giant(players: int, utility: Callable[[Any, Any], Any]) -> Game:
    """v(S) = utility(whether the giant is in, how many others are); the giant comes anywhere, the others are alike."""
    others = np.arange(players)
    alone = float(np.mean(utility(1.0, others) - utility(0.0, others)))
    whole = float(utility(1.0, players - 1) - utility(0.0, 0))
    values = np.append(alone, np.full(players - 1, (whole - alone) / (players - 1)))
    return Game(lambda s: utility(jnp.asarray(s[0], float), jnp.sum(s[1:])), values, float(utility(1.0, players - 1)))


def concave(giant: Any, others: Any) -> Any:
    """The root of a sum of weights: 100 for the giant and 1 for each other."""
    return (100 * giant + others) ** 0.5


def capped(giant: Any, others: Any) -> Any:
    """Weights of 18 and 1, of which no more than 20 count: gains are additive until there is no room."""
    total = 18 * giant + others
    return total - (total - 20) * (total > 20)


def rewarded(giant: Any, others: Any) -> Any:
    """1 for each of the others, and 1 more where the giant has company: a constant gain with a rare exception.

    Whoever comes second after the giant has the 1. No sample that has not seen it can know it, and a constant gain
    other than zero has no interval: this game marks where the intervals end.
    """
    return others + giant * (others > 0)


def _random_votes(players: int, share: float, seed: int) -> Game:
    weights = np.random.default_rng(seed).integers(1, 40, players).tolist()
    return voting(weights, math.ceil(share * sum(weights)))


GAMES: dict[str, Callable[[], Game]] = {
    "voters, one of 28 votes, 30": lambda: voting([28, *[1] * 29], 29),
    "voting, quota 1/2, 10": lambda: _random_votes(10, 0.5, 0),
    "voting, quota 4/5, 10": lambda: _random_votes(10, 0.8, 1),
    "voting, quota 1/2, 14": lambda: _random_votes(14, 0.5, 2),
    "voting, quota 9/10, 14": lambda: _random_votes(14, 0.9, 3),
    "set cover, 12": lambda: set_cover(12, 40, 0.25, 4),
    "set cover, 30": lambda: set_cover(30, 60, 0.15, 5),
    "random monotone, winning sets, 8": lambda: monotone(8, 6),
    "random monotone, winning sets, 12": lambda: monotone(12, 7),
    "random monotone, steps, 8": lambda: monotone_steps(8, 8),
    "symmetric heavy-tailed, 8": lambda: heavy_tailed(8, 9),
    "symmetric heavy-tailed, 12": lambda: heavy_tailed(12, 10),
    "giant, concave, 20": lambda: giant(20, concave),
    "giant, capped, 20": lambda: giant(20, capped),
    "noisy, 6": lambda: noisy(6, 0.2, 11),
    "noisy, 12": lambda: noisy(12, 0.2, 12),
    "outside: giant, rewarded, 20": lambda: giant(20, rewarded),
}
