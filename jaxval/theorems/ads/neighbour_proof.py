"""The proof of Theorem 5.1, Appendix B.6 of Zheng et al.: Lemma B.1, regimes (15) to (17), sums (18) and (20).

A display of the proof is compared with what it is derived from: the regimes with the utility, coalition by coalition,
the sums with the regimes as printed.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxval.theorems.ads._neighbour_games import (
    BITS,
    CODES,
    CURRENT,
    NEARER,
    SETS,
    SIZES,
    SUBSET_WEIGHTS,
    UP_TO,
    Divisor,
    Group,
    I,
    N,
    Neighbours,
    ads,
    differences,
    double_sum,
    group_of,
    knn,
    nearest,
    nearest_first,
    roles,
)
from jaxval.theorems.records import Setting

__all__: list[str] = []


# Lemma B.1, for any utility


class Game(NamedTuple):
    """A utility of six instances in three groups.

    Attributes:
        role: (6,) as in `Neighbours`.
        table: (64,) v of every set, instance i being bit i.
    """

    role: Int[Array, "instances"]
    table: Float[Array, "coalitions"]


def generate_game(key: Key[Array, ""]) -> Game:
    """Utilities that are uniform, or 0 and 1."""
    draws = jax.random.uniform(key, (N + 4 + 2**N,))
    v = 2 * draws[N + 4 :] - 1
    return Game(roles(draws), jnp.where(draws[N + 3] < 0.2, v > 0, v))


games = Setting(generate_game, "groups of 1 to 6 of six instances, utilities uniform in [-1, 1] or 0 and 1")


@games.claim(
    "ads/lemma-B.1",
    "Lemma B.1",
    false="φ(q_i) - φ(q_j) = 1/m Σ_{S ⊆ C-{q_i,q_j}} C(m-1,|S|)^{-1} [v(P∪S∪q_i) - v(P∪S∪q_j)] for any utility v.",
    neighbour={"more": 1},
)
def lemma_b_1(game: Game, more: int = 0) -> dict[str, tuple]:
    """φ(q_i) - φ(q_j) = 1/(m-1) Σ_{S ⊆ C-{q_i,q_j}} C(m-2,|S|)^{-1} [v(P∪S∪q_i) - v(P∪S∪q_j)] for any utility v.

    Here q_i and q_j are two of the m instances of a group C, and P has the instances of the earlier groups. The proof's
    displays hold too. One has the weight 1/m {C(m-1,|S|)^{-1} + C(m-1,|S|+1)^{-1}}. The other has 1/m C(m-1,|S|)^{-1}
    and sums over the S that contain neither, those that contain q_j, and those that contain q_i.
    """

    def partner(x: Array | np.ndarray) -> Array:
        return jnp.roll(x, -1, axis=-1)

    current, values, m = game.role == CURRENT, ads(game.table, game.role), jnp.sum(game.role == CURRENT)
    union = ((game.role < CURRENT) @ BITS) | CODES
    with_one = game.table[union[:, None] | BITS[None]]
    gain = with_one - game.table[union][:, None]
    has, has_partner = jnp.asarray(SETS), partner(SETS)
    exchange = jnp.where(~has & ~has_partner, with_one - partner(with_one), 0)
    rest = jnp.where(~has & has_partner, gain, 0) - jnp.where(has & ~has_partner, partner(gain), 0)
    pair = current & partner(current)
    inside = ~jnp.any(SETS & ~current[None], axis=1)
    weights = jnp.asarray(SUBSET_WEIGHTS)

    def total(weight: Array, terms: Array) -> Array:
        return jnp.where(pair, jnp.where(inside, weight, 0) @ terms, 0)

    difference = jnp.where(pair, values - partner(values), 0)
    return {
        "the lemma": (difference, total(weights[m - 1 + more, SIZES], exchange)),
        "both weights": (difference, total(weights[m, SIZES] + weights[m, SIZES + 1], exchange)),
        "three sums": (difference, total(weights[m, SIZES], exchange + rest)),
    }


# The regimes


class Coalitions(NamedTuple):
    """Every set S of instances of the group, bit i - 1 being the i-th nearest, and what the i-th adds to P ∪ S.

    Attributes:
        g: the group.
        K: the number of neighbours.
        union: (64,) the code of P ∪ S as a set of instances.
        v: (64,) v(P ∪ S).
        kth: (64,) 1 if the K-th nearest of P ∪ S has the right label; 0 otherwise, and if there is none.
        gain: (64, 6) v(P ∪ S ∪ q_i) - v(P ∪ S).
        others: (64, 6) whether S ⊆ C - q_i.
    """

    g: Group
    K: Int[Array, ""]
    union: Int[Array, "sets"]
    v: Float[Array, "sets"]
    kth: Float[Array, "sets"]
    gain: Float[Array, "sets i"]
    others: Bool[Array, "sets i"]

    @property
    def size(self) -> Int[Array, "sets"]:
        """m(P ∪ S)."""
        return self.g.p + SIZES

    @property
    def pairs(self) -> Bool[Array, "sets i"]:
        """Whether S ⊆ C - {q_i, q_{i+1}}, for i = 1, ..., m - 1."""
        return self.others[:, :-1] & self.others[:, 1:]

    @property
    def exchange(self) -> Float[Array, "sets i"]:
        """Δ_{i,P}(S) = v(P ∪ S ∪ q_i) - v(P ∪ S ∪ q_{i+1})."""
        return self.gain[:, :-1] - self.gain[:, 1:]

    @property
    def farthest(self) -> tuple[Float[Array, "sets"], Bool[Array, "sets"]]:
        """Δ_max(S) = v(P ∪ S ∪ q_max) - v(P ∪ S), and whether S ⊆ C - q_max."""
        return self.gain[:, self.g.m - 1], self.others[:, self.g.m - 1]


@functools.partial(jax.jit, static_argnames="divisor")
def coalitions(c: Neighbours, divisor: Divisor) -> Coalitions:
    """All sets of an instance."""
    g, K, v = group_of(c.right, c.role), c.neighbours, knn(c.right, c.neighbours, divisor)
    union = (c.role < CURRENT) @ BITS + jnp.asarray(SETS) @ (g.member @ BITS)
    with_one = CODES[:, None] | BITS[None]
    gain = v[union][with_one] - v[union][:, None]
    kth = ((SETS & (NEARER == K - 1)) @ c.right)[union]
    return Coalitions(g, K, union, v[union], kth, gain, ~SETS & (with_one < (1 << g.m)))


def regimes(x: Coalitions, reach: int = 0) -> tuple[Array, Array, Array]:
    """Whether (A) m(S_1) ≥ K - c_i, (B) m(S_1) < K - c_{i+1}, (C) neither applies; `reach` widens each."""
    first, last, nearer = (x.K - x.g.c[1:])[None], (x.K - x.g.c[:-1])[None], NEARER[:, :-1]
    return nearer >= last - reach, nearer < first + reach, (nearer >= first - reach) & (nearer < last)


def said_in_c(x: Coalitions) -> Array:
    """(17): (a_i - b_{K-m(S_1)})/K."""
    return (x.g.a[None, :-1] - x.g.b[jnp.clip(x.K - NEARER[:, :-1], 0, N + 1)]) / x.K


def displaced(x: Coalitions) -> Array:
    """Δ⁺_{i,P}(S) as printed: 0, or (a_i - the label of the K-th neighbour)/K."""
    return jnp.where(x.g.c[None] + NEARER >= x.K, 0, (x.g.a[None] - x.kth[:, None]) / x.K)


@nearest.claim(
    "ads/neighbours-displaced",
    "Appendix B.6, Δ⁺ before (15)",
    fails="root error",
    quote="If c_{t,i} + m(S_1) < K, then q_{I_i^d} becomes one of the K nearest neighbors after being added and "
    "replaces the previous Kth neighbor of x_test in P_t ∪ S. ... By the definition of v_knn, we have Δ⁺_{i,P_t}(S) = "
    "(1[y_{q_{I_i^d}} = y_test] - 1[y_{I_K^d(x_test; P_t∪S)} = y_test])/K.",
    why="A coalition of fewer than K instances has no K-th neighbour to replace, and (12) divides by min{K, m(S)}, not "
    "by K. One group with a right and a wrong label, K = 2: the right one alone adds v = 1, and the display says 1/2 "
    "at most. The display is right for the utility that divides by K for every S. So Theorem 5.1, the base case and "
    "Algorithm 2 are about that utility; under (12) they can be off in every group that fewer than K instances come "
    "before.",
    corrected="Under (12), if P_t ∪ S has fewer than K instances, the change is [a_i - v(P_t ∪ S)]/(m(P_t ∪ S) + 1), "
    "with a_i the indicator of q_i's label and v(∅) = 0. Otherwise it is 0 if c_i + m(S_1) ≥ K, else (a_i - the "
    "indicator of the K-th neighbour's label)/K.",
    correction={"joins": True},
    counterexample=lambda: nearest_first("Cc", neighbours=2),
)
def neighbours_displaced(c: Neighbours, joins: bool = False) -> tuple[Array, Array]:
    """Adding q_i to P_t ∪ S changes (12) by 0, or by one label for another over K.

    It changes (12) by 0 if c_i + m(S_1) ≥ K. Otherwise q_i replaces the K-th neighbour of P_t ∪ S, and the change is
    (1[q_i has the right label] - 1[the K-th neighbour has the right label])/K.
    """
    x = coalitions(c, "K'")
    said = displaced(x)
    if joins:
        joined = (x.g.a[None] - x.v[:, None]) / (x.size + 1)[:, None]
        said = jnp.where((x.size < x.K)[:, None], joined, said)
    return jnp.where(x.others, x.gain, 0), jnp.where(x.others, said, 0)


@nearest.claim(
    "ads/three-regimes",
    "Appendix B.6, equations (15) and (17)",
    covers=("ads/equation-15", "ads/equation-17"),
    false="Exactly one regime applies, with (15) and (17), if (A) is m(S_1) ≥ K - c_i - 1, (B) is m(S_1) ≤ K - c_{i+1} "
    "and (C) is K - c_{i+1} - 1 ≤ m(S_1) < K - c_i.",
    neighbour={"reach": 1},
)
def three_regimes(c: Neighbours, reach: int = 0) -> dict[str, tuple]:
    """For every S ⊆ C_t - {q_i, q_{i+1}} exactly one of three regimes applies, and two of them are as printed.

    The regimes are (A) m(S_1) ≥ K - c_i, (B) m(S_1) < K - c_{i+1} and (C) K - c_{i+1} ≤ m(S_1) < K - c_i, where S_1 has
    the instances of S that are nearer than q_i. (15) says that Δ_{i,P_t}(S) = 0 in (A). (17) says that Δ_{i,P_t}(S) =
    (a_i - b_{K-m(S_1)})/K in (C), because the K nearest of P_t ∪ S are S_1 and the K - m(S_1) nearest of P_t.
    """
    x = coalitions(c, "K'")
    A, B, C = regimes(x, reach)
    earlier, S = c.role < CURRENT, x.union - (c.role < CURRENT) @ BITS
    nearest_code = ((SETS & (NEARER < x.K)) @ BITS)[x.union]
    first_earlier = (earlier[None] & ((UP_TO @ earlier)[None] <= np.arange(N + 2)[:, None])) @ BITS
    nearer = x.g.member[:-1] @ BITS - 1  # the bits below the bit of q_i
    said = (S[:, None] & nearer[None]) | first_earlier[jnp.clip(x.K - NEARER[:, :-1], 0, N + 1)]
    return {
        "one regime": (jnp.where(x.pairs, A.astype(int) + B + C, 1), 1),
        "(15)": (jnp.where(x.pairs & A, x.exchange, 0), 0.0),
        "K nearest": (jnp.where(x.pairs & C, nearest_code[:, None], 0), jnp.where(x.pairs & C, said, 0)),
        "(17)": (jnp.where(x.pairs & C, x.exchange, 0), jnp.where(x.pairs & C, said_in_c(x), 0)),
    }


@nearest.claim(
    "ads/equation-16",
    "Equation (16)",
    root="ads/neighbours-displaced",
    quote="(B) m(S_1) < K - c_{t,i+1} ⇒ Δ_{i,P_t}(S) = (1[y_{q_{I_i^d}} = y_test] - 1[y_{q_{I_{i+1}^d}} = y_test])/K;",
    why="(12) divides by the size of P_t ∪ S ∪ {q_i} if that is less than K. S = ∅, one group, a right label before a "
    "wrong one, K = 2: 1 - 0 = 1, printed 1/2.",
    corrected="m(S_1) < K - c_{i+1} ⇒ Δ_{i,P_t}(S) = (a_i - a_{i+1})/min{K, m(P_t ∪ S) + 1} under (12).",
    correction={"by_size": True},
    counterexample=lambda: nearest_first("Cc", neighbours=2),
)
def equation_16(c: Neighbours, by_size: bool = False) -> tuple[Array, Array]:
    """m(S_1) < K - c_{i+1} ⇒ Δ_{i,P_t}(S) = v(P_t ∪ S ∪ q_i) - v(P_t ∪ S ∪ q_{i+1}) = (a_i - a_{i+1})/K under (12)."""
    x = coalitions(c, "K'")
    applies = x.pairs & regimes(x)[1]
    size = jnp.minimum(x.K, x.size + 1)[:, None] if by_size else x.K
    return jnp.where(applies, x.exchange, 0), jnp.where(applies, x.g.change[None] / size, 0)


@nearest.claim(
    "ads/equation-18",
    "Equations (18) and (20)",
    covers=("ads/equation-20",),
    false="φ_i - φ_{i+1} = 1/m Σ_S C(m-1, m(S))^{-1} Δ_{i,P_t}(S) over S ⊆ C_t - {q_i, q_{i+1}}, and φ(q_max) = "
    "1/(m+1) Σ_S C(m, m(S))^{-1} Δ_max(S) over S ⊆ C_t - q_max.",
    neighbour={"more": 1},
)
def equation_18(c: Neighbours, more: int = 0) -> dict[str, tuple]:
    """Under (12) the values of a group of m are averages of Δ_{i,P_t}(S) and Δ_max(S).

    (18): φ_i - φ_{i+1} = 1/(m-1) Σ_S C(m-2, m(S))^{-1} Δ_{i,P_t}(S) over S ⊆ C_t - {q_i, q_{i+1}}.
    (20): φ(q_max) = 1/m Σ_S C(m-1, m(S))^{-1} Δ_max(S) over S ⊆ C_t - q_max.
    """
    x = coalitions(c, "K'")
    m, weights = x.g.m, jnp.asarray(SUBSET_WEIGHTS)
    values, (last, alone) = ads(knn(c.right, c.neighbours), c.role), x.farthest
    return {
        "(18)": (differences(x.g, values), weights[m - 1 + more, SIZES] @ jnp.where(x.pairs, x.exchange, 0)),
        "(20)": ((x.g.member @ values)[m - 1], weights[m + more, SIZES] @ jnp.where(alone, last, 0)),
    }


@nearest.claim(
    "ads/case-sums",
    "Appendix B.6, cases 2 to 4, from (16), (17) and (18)",
    false="The S with m(S_1) ≤ K - c_{i+1} contribute (a_i - a_{i+1})/K · min{K - c_{i+1}, i}/i to (18), and those "
    "with K - c_{i+1} - 1 ≤ m(S_1) < K - c_i the double sums of items 3 and 4.",
    neighbour={"reach": 1},
)
def case_sums(c: Neighbours, reach: int = 0) -> dict[str, tuple]:
    """From (16) and (17) as printed, the average (18) gives the right-hand sides of items 2 to 4 of Theorem 5.1.

    The S of (16) contribute (a_i - a_{i+1})/K · min{K - c_{i+1}, i}/i if K > c_{i+1}, and 0 otherwise. Those of (17)
    contribute the double sum of item 3 if K > c_{i+1}, and that of item 4 otherwise.
    """
    x = coalitions(c, "K'")
    g, K = x.g, x.K
    _, B, C = regimes(x, reach)
    weight = jnp.asarray(SUBSET_WEIGHTS)[g.m - 1, SIZES]
    first = g.change / K * jnp.clip(K - g.c[1:], 0, I) / I
    second = double_sum(g, K)
    return {
        "(16)": (weight @ jnp.where(x.pairs & B, g.change[None] / K, 0), jnp.where(g.exists, first, 0)),
        "(17)": (weight @ jnp.where(x.pairs & C, said_in_c(x), 0), jnp.where(g.exists, second, 0)),
    }
