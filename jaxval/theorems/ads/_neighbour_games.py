"""Nearest-neighbour games written out: instances, the utility (12), ADS by its subset form (9), Theorem 5.1 as printed.

At one test point only the order of the instances counts. Six places, the nearest first, each with a right or a wrong
label, are split into a group, the groups before it (P_t) and those after it, which no value of the group looks at.
Fewer instances are six of which the farthest come later.
"""

import itertools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

__all__ = [
    "Game", "Group", "Neighbours", "all_neighbours", "all_of_one_group", "base_of_fraction", "base_printed", "below",
    "cases", "choose", "differences", "double_sum", "generate", "generate_game", "group_of", "group_values", "inverse",
    "neighbours_from", "places", "recursion", "spread", "table",
]  # fmt: skip

N = 6
CODES = np.arange(2**N)
SETS = (CODES[:, None] >> np.arange(N) & 1).astype(bool)
SIZES = SETS.sum(axis=1)
NEARER = np.cumsum(SETS, axis=1) - SETS  # NEARER[S, j]: how many of S are nearer than place j
BITS = 2 ** np.arange(N)
PASCAL = np.array([[math.comb(n, k) for k in range(N + 1)] for n in range(N + 1)], dtype=float)
WEIGHTS = np.array([1 / np.maximum(m * PASCAL[max(m - 1, 0)][SIZES], 1) for m in range(N + 1)])  # 1/(m C(m-1, |S|))
EARLIER, CURRENT, LATER = 0, 1, 2
I = np.arange(1, N)  # noqa: E741 - the paper's i = 1, ..., m - 1

Division = Literal["size", "neighbours"]


class Neighbours(NamedTuple):
    """Six instances as one test point sees them, the nearest first.

    Attributes:
        role: (6,) 0 in an earlier group, 1 in the group, 2 in a later one.
        right: (6,) whether the label is the test point's, 1 or 0.
        neighbours: K, from 1 to 7.
    """

    role: Int[Array, "places"]
    right: Float[Array, "places"]
    neighbours: Int[Array, ""]


class Game(NamedTuple):
    """Any game of six players.

    Attributes:
        role: (6,) as in `Neighbours`.
        table: (64,) v of every set, player i being bit i.
    """

    role: Int[Array, "players"]
    table: Float[Array, "coalitions"]


def generate(key: Key[Array, ""]) -> Neighbours:
    """Groups of every share; labels of which any share is right; at least one instance is in the group."""
    return neighbours_from(jax.random.uniform(key, (2 * N + 5,)))


def neighbours_from(draws: Float[Array, "draws"]) -> Neighbours:
    """An instance from seventeen uniform numbers: one draw of them compiles faster than several."""
    cuts = draws[2 * N : 2 * N + 2] * jnp.array([1.0, 2.0])
    role = jnp.sum(draws[:N, None] > cuts[None, :], axis=1)
    role = jnp.where(np.arange(N) == jnp.floor(N * draws[2 * N + 2]), CURRENT, role)
    right = draws[N : 2 * N] < 1.2 * draws[2 * N + 3] - 0.1
    return Neighbours(role, right.astype(float), below(draws[2 * N + 4], N + 1) + 1)


def below(draw: Array, end: Array | int) -> Int[Array, "..."]:
    """Whole numbers 0, ..., end - 1 from uniform ones."""
    return jnp.floor(end * draw).astype(int)


def generate_game(key: Key[Array, ""]) -> Game:
    """The roles of `generate`, and worths that are uniform, or 0 and 1."""
    draws = jax.random.uniform(key, (2 * N + 6 + 2**N,))
    worths = 2 * draws[-(2**N) :] - 1
    return Game(neighbours_from(draws).role, jnp.where(draws[2 * N + 5] < 0.2, worths > 0, worths))


def all_neighbours() -> Neighbours:
    """All labels and splits of one to five instances, K = 1, ..., 6."""
    states = [(EARLIER, 0), (EARLIER, 1), (CURRENT, 0), (CURRENT, 1)]
    found = [
        (*row, *[(LATER, 0)] * (N - n))
        for n in range(1, N)
        for row in itertools.product(states, repeat=n)
        if any(role == CURRENT for role, _ in row)
    ]
    rows, ks = np.array(found), np.arange(1, N + 1)
    role, right = np.repeat(rows[..., 0], len(ks), axis=0), np.repeat(rows[..., 1], len(ks), axis=0)
    return Neighbours(jnp.asarray(role), jnp.asarray(right, dtype=float), jnp.asarray(np.tile(ks, len(rows))))


def all_of_one_group() -> Neighbours:
    """All labels of six instances of one group, K = 1, ..., 7."""
    ks = np.arange(1, N + 2)
    right = np.repeat(SETS, len(ks), axis=0)
    return Neighbours(
        jnp.full(right.shape, CURRENT), jnp.asarray(right, dtype=float), jnp.asarray(np.tile(ks, len(SETS)))
    )


def places(text: str, *, neighbours: int) -> Neighbours:
    """An instance from one letter a place: p or c for a wrong label in an earlier group or in the group, P or C right.

    Example:
        >>> places("cC", neighbours=3).role.tolist()
        [1, 1, 2, 2, 2, 2]
    """
    role = [CURRENT if letter in "cC" else EARLIER for letter in text] + [LATER] * (N - len(text))
    right = [float(letter.isupper()) for letter in text] + [0.0] * (N - len(text))
    return Neighbours(jnp.array(role), jnp.array(right), jnp.array(neighbours))


# The definitions


def table(right: Array, neighbours: Array, divide: Division = "size") -> Float[Array, "coalitions"]:
    """V of every set of places: the right labels among its K nearest, over K' = min(K, |S|) as in (12), or over K."""
    among = jnp.asarray(SETS) & (neighbours > NEARER)
    count = jnp.sum(among * right[None, :], axis=1)
    return count / (neighbours if divide == "neighbours" else jnp.maximum(jnp.minimum(neighbours, SIZES), 1))


def group_values(v: Array, earlier: Bool[Array, "players"], current: Bool[Array, "players"]) -> Array:
    """(9): φ(z) = 1/m Σ_{S ⊆ C - z} C(m-1, |S|)^{-1} [v(P ∪ S ∪ z) - v(P ∪ S)] for the group; 0 for others."""
    m = jnp.sum(current)
    inside = ~jnp.any(jnp.asarray(SETS) & ~current[None, :], axis=1)
    without = jnp.sum(earlier * BITS) | CODES
    marginal = v[without[:, None] | BITS[None, :]] - v[without][:, None]
    weight = jnp.asarray(WEIGHTS)[m]
    counts = inside[:, None] & ~SETS & current[None, :]
    return jnp.sum(jnp.where(counts, weight[:, None] * marginal, 0), axis=0)


def choose(n: Array, k: Array | np.ndarray) -> Array:
    """C(n, k) for n up to 6, 0 where k is not in 0..n."""
    return jnp.where((k >= 0) & (k <= n), jnp.asarray(PASCAL)[jnp.clip(n, 0, N), jnp.clip(k, 0, N)], 0)


# Theorem 5.1 as printed


class Group(NamedTuple):
    """A group as its test point sees it; i-th is at index i - 1.

    Attributes:
        place: (6,) the places of the group's instances, nearest first; then all others.
        m: how many there are.
        p: how many instances are in earlier groups.
        a: (6,) the label of the i-th, 1 if right; 0 beyond m.
        c: (6,) c_{t,i}: how many of the earlier groups are nearer than the i-th.
        b: (8,) the label of the j-th nearest of the earlier groups, at index j; 0 where there is none.
        known: p right labels among the earlier groups.
    """

    place: Int[Array, "places"]
    m: Int[Array, ""]
    p: Int[Array, ""]
    a: Float[Array, "places"]
    c: Int[Array, "places"]
    b: Float[Array, "j"]
    known: Float[Array, ""]


def members_first(members: Bool[Array, "places"]) -> Int[Array, "places"]:
    """The places of the members, nearest first, then all others; a sort takes XLA long to compile."""
    index = jnp.where(members, jnp.cumsum(members) - 1, jnp.sum(members) + jnp.cumsum(~members) - 1)
    return inverse(index)


def inverse(ranks: Int[Array, "places"]) -> Int[Array, "places"]:
    """The inverse of a permutation."""
    return jnp.sum(jnp.where(ranks[:, None] == np.arange(N)[None, :], np.arange(N)[:, None], 0), axis=0)


def group_of(right: Array, earlier: Bool[Array, "places"], current: Bool[Array, "places"]) -> Group:
    """The numbers the recursion reads off the order."""
    place, first = members_first(current), members_first(earlier)
    m, p = jnp.sum(current), jnp.sum(earlier)
    index = jnp.arange(N)
    a = jnp.where(index < m, right[place], 0)
    b = jnp.pad(jnp.where(index < p, right[first], 0), 1)
    return Group(place, m, p, a, jnp.cumsum(earlier)[place], b, jnp.sum(jnp.where(earlier, right, 0)))


def printed_weights() -> np.ndarray:
    """(7, 5, 5, 5): 1/(m-1) C(s,u) C(m-2-s,i-1-u) / C(m-2,i-1) at m, i - 1, s, u; 0 outside s ≤ m - 2, u ≤ s, i < m."""
    weights = np.zeros((N + 1, N - 1, N - 1, N - 1))
    for m in range(2, N + 1):
        for i, s in itertools.product(range(1, m), range(m - 1)):
            for u in range(min(s, i - 1) + 1):
                count = math.comb(s, u) * math.comb(m - 2 - s, i - 1 - u)
                weights[m, i - 1, s, u] = count / math.comb(m - 2, i - 1) / (m - 1)
    return weights


PRINTED_WEIGHTS = printed_weights()


def double_sum(g: Group, K: Array, low: Array, high: Array) -> Float[Array, "i"]:
    """1/(m-1) Σ_{s=low}^{m-2} Σ_{u=low}^{min(high, s)} C(s,u) C(m-2-s,i-1-u) / C(m-2,i-1) [a_i - b_{K-u}] / K."""
    s, u = np.arange(N - 1)[None, :, None], np.arange(N - 1)
    low, high = low[:, None, None], high[:, None, None]
    inside = (low <= s) & (low <= u[None, None, :]) & (high >= u[None, None, :])
    difference = (g.a[:-1, None] - g.b[jnp.clip(K - u, 0, N + 1)][None, :]) / K
    weight = jnp.asarray(PRINTED_WEIGHTS)[g.m]
    return jnp.sum(jnp.where(inside, weight * difference[:, None, :], 0), axis=(1, 2))


def cases(g: Group, K: Array) -> tuple[Bool[Array, "4 i"], Float[Array, "4 i"]]:
    """Which of the four cases of Theorem 5.1 each i = 1, ..., m - 1 is, and what each case says φ_i - φ_{i+1} is."""
    here, next_ = g.c[I - 1], g.c[I]
    change = (g.a[I - 1] - g.a[I]) / K
    which = jnp.stack([
        here >= K,
        (next_ < K) & (next_ == here),
        (next_ < K) & (next_ > here),
        (here < K) & (next_ >= K),
    ]) & (g.m > I)[None, :]  # fmt: skip
    printed = jnp.stack([
        jnp.zeros(N - 1),
        change * jnp.minimum(K - here, I) / I,
        change * jnp.minimum(K - next_, I) / I + double_sum(g, K, K - next_, K - here - 1),
        double_sum(g, K, 0 * here, K - here - 1),
    ])  # fmt: skip
    return which, printed


def base_printed(g: Group, K: Array, members: Array | None = None) -> Array:
    """The base case of B.6: 0, or (K - c)/(K m) a_m, less 1/(K m) Σ_{s<K-c} b_{K-s} where earlier instances are left.

    With `members` the bound K - c is min(K - c, members).
    """
    c = g.c[g.m - 1]
    bound = K - c if members is None else jnp.minimum(K - c, members)
    s = jnp.arange(N + 1)
    displaced = jnp.sum(jnp.where(s < bound, g.b[jnp.clip(K - s, 0, N + 1)], 0))
    value = (bound * g.a[g.m - 1] - jnp.where(g.p > c, displaced, 0)) / (K * g.m)
    return jnp.where(c >= K, 0, value)


def base_of_fraction(g: Group, K: Array) -> Array:
    """The farthest's value for (12): with s others it displaces b_{K-s}, or is one more of p + s + 1 ≤ K.

    1/m Σ_{s=0}^{m-1} [a_m - b_{K-s}] / K where p + s ≥ K > c + s; [a_m - (h + s ā)/(p+s)] / (p+s+1) where p + s < K,
    h being the right labels of the earlier groups, ā the share of right labels among the others of the group.
    """
    s = jnp.arange(N)
    c, last = g.c[g.m - 1], g.a[g.m - 1]
    mean = (jnp.sum(g.a) - last) / jnp.maximum(g.m - 1, 1)
    joins = (last - (g.known + s * mean) / jnp.maximum(g.p + s, 1)) / (g.p + s + 1)
    displaces = jnp.where(c + s < K, (last - g.b[jnp.clip(K - s, 0, N + 1)]) / K, 0)
    return jnp.sum(jnp.where(s < g.m, jnp.where(g.p + s < K, joins, displaces), 0)) / g.m


def spread(g: Group, K: Array) -> Array:
    """R = 1/(m-1) Σ_{s=0}^{min(m-2, K-p-2)} [1/(p+s+1) - 1/K]: what (12) adds to φ_i - φ_{i+1} for a_i - a_{i+1}."""
    s = jnp.arange(N - 1)
    inside = (s <= g.m - 2) & (s <= K - g.p - 2)
    return jnp.sum(jnp.where(inside, 1 / (g.p + s + 1) - 1 / K, 0)) / jnp.maximum(g.m - 1, 1)


def recursion(g: Group, K: Array, base: Array, extra: Array | float = 0.0) -> Float[Array, "places"]:
    """Algorithm 2, lines 7 to 10: from the farthest to the nearest; `extra` (a_i - a_{i+1}) is added to each step."""
    which, steps = cases(g, K)
    step = jnp.sum(jnp.where(which, steps, 0), axis=0) + jnp.where(g.m > I, extra * (g.a[I - 1] - g.a[I]), 0)
    values = base + jnp.append(jnp.cumsum(step[::-1])[::-1], 0)
    values = jnp.where(jnp.arange(N) < g.m, values, 0)
    return jnp.sum(jnp.where(g.place[:, None] == np.arange(N)[None, :], values[:, None], 0), axis=0)


def differences(g: Group, values: Array) -> Float[Array, "i"]:
    """φ_i - φ_{i+1}, i = 1, ..., m - 1; 0 beyond."""
    sorted_values = values[g.place]
    return jnp.where(g.m > I, sorted_values[I - 1] - sorted_values[I], 0)
