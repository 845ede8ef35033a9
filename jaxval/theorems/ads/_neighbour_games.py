"""Nearest-neighbour games written out: instances, the utility (12), ADS by (8), Theorem 5.1 and its base case.

At one test point only the order of the instances counts. Six instances, the nearest first, each with a right or a wrong
label, are divided into a group C, the groups before it (P) and those after it, on which no value of the group depends.
So an instance of six in which the farthest come later is one of fewer than six.
"""

import functools
import itertools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxval.theorems.records import Setting

__all__ = [
    "Group",
    "Neighbours",
    "ads",
    "below",
    "double_sum",
    "extra",
    "group_of",
    "items",
    "knn",
    "nearest",
    "nearest_first",
    "order_of",
    "printed_base",
    "size_base",
]

N = 6
CODES = np.arange(2**N)
SETS = (CODES[:, None] >> np.arange(N) & 1).astype(bool)
SIZES = SETS.sum(axis=1)
BITS = 2 ** np.arange(N)
NEARER = np.cumsum(SETS, axis=1) - SETS  # NEARER[S, z]: how many of S are nearer than instance z
RANKS = np.arange(1, N + 1)
I = np.arange(1, N)  # noqa: E741 - the paper's i = 1, ..., m - 1
UP_TO = np.tri(N, dtype=int)  # UP_TO @ x is the cumulative sum of x, which XLA takes longer to compile
EARLIER, CURRENT, LATER = 0, 1, 2
GROUPS = 3

Divisor = Literal["K'", "K"]  # K' = min(K, |S|) as in (12), or K as in the proof of Theorem 5.1


class Neighbours(NamedTuple):
    """Six instances as one test point sees them, the nearest first.

    Attributes:
        role: (6,) 0 in an earlier group, 1 in the group, 2 in a later one.
        right: (6,) 1 if the label is that of the test point, 0 otherwise.
        distance: (6,) whole numbers that do not decrease; of instances at one distance the rule takes the first first.
        neighbours: K, from 1 to 7.
    """

    role: Int[Array, "instances"]
    right: Float[Array, "instances"]
    distance: Int[Array, "instances"]
    neighbours: Int[Array, ""]


def generate(key: Key[Array, ""]) -> Neighbours:
    """Groups and right labels of any shares, at least one instance in the group; half of the time without ties."""
    split, label, tie = jax.random.uniform(key, (3, N + 3))
    right = label[:N] < 1.2 * label[N] - 0.1
    distance = jnp.asarray(UP_TO) @ (tie[:N] < 2 * tie[N])
    return Neighbours(roles(split), right.astype(float), distance, below(label[N + 1], N + 1) + 1)


def roles(draws: Float[Array, "draws"]) -> Int[Array, "instances"]:
    """The role of each instance, from nine uniform numbers."""
    role = jnp.sum(draws[:N, None] > draws[None, N : N + 2] * np.array([[1.0, 2.0]]), axis=1)
    return jnp.where(np.arange(N) == below(draws[N + 2], N), CURRENT, role)


def below(draw: Array, end: Array | int) -> Int[Array, "..."]:
    """Whole numbers 0, ..., end - 1 from uniform ones."""
    return jnp.floor(end * draw).astype(int)


def all_neighbours() -> Neighbours:
    """All labels and divisions of one to four instances without ties, K = 1, ..., 5."""
    kinds = [(EARLIER, 0), (EARLIER, 1), (CURRENT, 0), (CURRENT, 1)]
    rows = [
        (*row, *[(LATER, 0)] * (N - n))
        for n in range(1, N - 1)
        for row in itertools.product(kinds, repeat=n)
        if any(role == CURRENT for role, _ in row)
    ]
    role, right = np.repeat(np.array(rows), len(I), axis=0).transpose(2, 0, 1)
    fields = role, right.astype(float), np.tile(np.arange(N), (len(role), 1)), np.tile(I, len(rows))
    return Neighbours(*map(jnp.asarray, fields))


def nearest_first(text: str, *, neighbours: int, tied: bool = False) -> Neighbours:
    """Instances from one letter each: p or c for a wrong label in an earlier group or in the group, P or C right.

    Example:
        >>> nearest_first("cC", neighbours=3).role.tolist()
        [1, 1, 2, 2, 2, 2]
    """
    role = [CURRENT if letter in "cC" else EARLIER for letter in text] + [LATER] * (N - len(text))
    right = [float(letter.isupper()) for letter in text] + [0.0] * (N - len(text))
    return Neighbours(jnp.array(role), jnp.array(right), jnp.arange(N) * (not tied), jnp.array(neighbours))


nearest = Setting(
    generate,
    "1 to 6 instances in a group and before it, any labels, ties of distances, K = 1 to 7",
    exhaustive=all_neighbours,
    every="every division and labelling of 1 to 4 instances without ties, K = 1 to 5",
)


# The definitions. They are jitted so that JAX traces each once for all claims.


@functools.partial(jax.jit, static_argnames="divisor")
def knn(right: Float[Array, "instances"], K: Array | int, divisor: Divisor = "K'") -> Float[Array, "coalitions"]:
    """Of every set S, how many of its K nearest have the right label, over K' = min(K, |S|), or over K."""
    count = (SETS & (NEARER < K)) @ right
    return count / (K if divisor == "K" else jnp.clip(SIZES, 1, K))


def order_weights() -> np.ndarray:
    """(6, 64): the weight of v(S) in the mean marginal contribution of each of six players over their 720 orders."""
    weights = np.zeros((N, 2**N))
    for order in itertools.permutations(range(N)):
        for player, reached in zip(order, np.cumsum(BITS[list(order)]), strict=True):
            weights[player, reached] += 1
            weights[player, reached - BITS[player]] -= 1
    return weights / math.factorial(N)


ORDER_WEIGHTS = order_weights()


@jax.jit
def ads(v: Float[Array, "coalitions"], role: Int[Array, "instances"]) -> Float[Array, "instances"]:
    """(8) for groups 0, 1, 2: the mean marginal contribution over all orders that take one group after the other.

    Within a group the orders are those of the game S ↦ v(P ∪ (S ∩ C)), in which all others contribute nothing.
    """
    groups = np.arange(GROUPS)[:, None]
    P, C = (role[None] < groups) @ BITS, (role[None] == groups) @ BITS
    return jnp.asarray(ORDER_WEIGHTS) @ jnp.sum(v[P[:, None] | (CODES[None] & C[:, None])], axis=0)


def subset_weights() -> np.ndarray:
    """(8, 8): 1/(m C(m-1, s)) at m, s, the weight of a set of s others in (9); 0 if s ≥ m."""
    weights = np.zeros((N + 2, N + 2))
    for m in range(1, N + 2):
        weights[m, :m] = [1 / (m * math.comb(m - 1, s)) for s in range(m)]
    return weights


SUBSET_WEIGHTS = subset_weights()


# Theorem 5.1


class Group(NamedTuple):
    """A group as its test point sees it; what belongs to its i-th nearest instance is at index i - 1.

    Attributes:
        m: the number of its instances.
        p: the number of instances in earlier groups.
        member: (6, 6) whether an instance is the group's i-th nearest.
        a: (6,) 1 if the i-th has the right label; 0 otherwise and beyond m.
        c: (6,) c_{t,i}, the number of earlier instances that come before the i-th; 0 beyond m.
        b: (8,) 1 at index j if the j-th nearest of the earlier instances has the right label; 0 if there is none.
    """

    m: Int[Array, ""]
    p: Int[Array, ""]
    member: Bool[Array, "i instances"]
    a: Float[Array, "i"]
    c: Int[Array, "i"]
    b: Float[Array, "j"]

    @property
    def exists(self) -> Bool[Array, "i"]:
        """Whether there is an i-th and an (i+1)-th instance, i = 1, ..., 5."""
        return self.m > I

    @property
    def change(self) -> Float[Array, "i"]:
        """a_i - a_{i+1}."""
        return self.a[:-1] - self.a[1:]

    @property
    def farthest(self) -> tuple[Float[Array, ""], Int[Array, ""]]:
        """a_m and c_m."""
        return self.a[self.m - 1], self.c[self.m - 1]


@jax.jit
def group_of(right: Float[Array, "instances"], role: Int[Array, "instances"], group: Array | int = CURRENT) -> Group:
    """The numbers that Theorem 5.1 takes from the order."""
    member, earlier = order_of(role == group), role < group
    b = jnp.pad(order_of(earlier) @ right, 1)
    return Group(jnp.sum(role == group), jnp.sum(earlier), member, member @ right, member @ (UP_TO @ earlier), b)


def order_of(members: Bool[Array, "instances"]) -> Bool[Array, "i instances"]:
    """Whether an instance is the i-th nearest of the members; XLA takes longer to compile a sort."""
    return members[None] & ((UP_TO @ members)[None] == RANKS[:, None])


def differences(g: Group, values: Float[Array, "instances"]) -> Float[Array, "i"]:
    """φ_i - φ_{i+1} for i = 1, ..., m - 1; 0 beyond."""
    phi = g.member @ values
    return jnp.where(g.exists, phi[:-1] - phi[1:], 0)


def items(g: Group, K: Array) -> tuple[Bool[Array, "4 i"], Float[Array, "4 i"]]:
    """Which of the four items of Theorem 5.1 applies to each i, and what each says φ_i - φ_{i+1} is."""
    c, c_next = g.c[:-1], g.c[1:]
    applies = [
        c >= K,
        (c_next < K) & (c_next == c),
        (c_next < K) & (c_next > c),
        (c < K) & (c_next >= K),
    ]
    printed = [
        jnp.zeros(N - 1),
        g.change / K * jnp.minimum(K - c, I) / I,
        g.change / K * jnp.minimum(K - c_next, I) / I + double_sum(g, K),
        double_sum(g, K),
    ]
    return jnp.stack(applies) & g.exists[None], jnp.stack(printed)


def double_sum_weights() -> np.ndarray:
    """(7, 5, 5, 5): 1/(m-1) C(s,u) C(m-2-s,i-1-u) / C(m-2,i-1) at m, i - 1, s, u."""
    weights = np.zeros((N + 1, N - 1, N - 1, N - 1))
    for m in range(2, N + 1):
        for i, s in itertools.product(range(1, m), range(m - 1)):
            counts = [math.comb(s, u) * math.comb(m - 2 - s, i - 1 - u) for u in range(i)]
            weights[m, i - 1, s, :i] = np.array(counts) / math.comb(m - 2, i - 1) / (m - 1)
    return weights


DOUBLE_SUM_WEIGHTS = double_sum_weights()


def double_sum_terms(g: Group, K: Array) -> Bool[Array, "i s u"]:
    """Whether s = l, ..., m - 2 and u = l, ..., min(K - c_i - 1, s), l = K - c_{i+1} in item 3 and l = 0 in item 4."""
    s, u = np.arange(N - 1)[None, :, None], np.arange(N - 1)[None, None, :]
    c, c_next = g.c[:-1, None, None], g.c[1:, None, None]
    return (K - c_next <= np.minimum(s, u)) & (s <= g.m - 2) & (u < K - c) & (u <= s)


@jax.jit
def double_sum(g: Group, K: Array) -> Float[Array, "i"]:
    """1/(m-1) Σ_{s=l}^{m-2} Σ_{u=l}^{min(K-c_i-1, s)} C(s,u) C(m-2-s,i-1-u) / C(m-2,i-1) (a_i - b_{K-u}) / K."""
    change = (g.a[:-1, None] - g.b[jnp.clip(K - np.arange(N - 1), 0, N + 1)][None]) / K
    terms = jnp.where(double_sum_terms(g, K), jnp.asarray(DOUBLE_SUM_WEIGHTS)[g.m], 0)
    return jnp.sum(terms * change[:, None, :], axis=(1, 2))


def extra(g: Group, K: Array) -> Float[Array, ""]:
    """R = 1/(m-1) Σ_{s=0}^{min(m-2, K-p-2)} [1/(p+s+1) - 1/K]: (12) adds R (a_i - a_{i+1}) to φ_i - φ_{i+1}."""
    s = np.arange(N - 1)
    inside = (s <= g.m - 2) & (s <= K - g.p - 2)
    return jnp.sum(jnp.where(inside, 1 / (g.p + s + 1) - 1 / K, 0)) / jnp.maximum(g.m - 1, 1)


def printed_base(g: Group, K: Array, within: bool = False) -> Float[Array, ""]:
    """The base case: 0 if K ≤ c_m, else (K - c_m)/(K m) a_m - [p > c_m] 1/(K m) Σ_{s=0}^{K-c_m-1} b_{K-s}.

    With `within`, min(K - c_m, m) takes the place of K - c_m.
    """
    a, c = g.farthest
    sizes = jnp.minimum(K - c, g.m) if within else K - c
    s = np.arange(N + 1)
    displaced = jnp.sum(jnp.where(s < sizes, g.b[jnp.clip(K - s, 0, N + 1)], 0))
    return jnp.where(c >= K, 0, (sizes * a - jnp.where(g.p > c, displaced, 0)) / (K * jnp.maximum(g.m, 1)))


def size_base(g: Group, K: Array) -> Float[Array, ""]:
    """The farthest's value under (12), 1/m Σ_{s=0}^{m-1} x_s: s others of the group have come before it.

    x_s = [a_m - (h + s ā)/(p+s)]/(p+s+1) if p + s < K, with h right labels among the earlier instances and a share ā of
    them among the others of the group; x_s = (a_m - b_{K-s})/K if p + s ≥ K > c_m + s; x_s = 0 otherwise.
    """
    a, c = g.farthest
    s = np.arange(N)
    others = (jnp.sum(g.a) - a) / jnp.maximum(g.m - 1, 1)
    joins = (a - (jnp.sum(g.b) + s * others) / jnp.maximum(g.p + s, 1)) / (g.p + s + 1)
    displaces = jnp.where(c + s < K, (a - g.b[jnp.clip(K - s, 0, N + 1)]) / K, 0)
    return jnp.sum(jnp.where(s < g.m, jnp.where(g.p + s < K, joins, displaces), 0)) / jnp.maximum(g.m, 1)
