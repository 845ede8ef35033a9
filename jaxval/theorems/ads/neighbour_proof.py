"""The proof of Theorem 5.1, Appendix B.6 of Zheng et al.: Lemma B.1, regimes (15) to (17), sums (18) to (20)."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._neighbour_games import (
    BITS,
    CODES,
    CURRENT,
    EARLIER,
    NEARER,
    SETS,
    SIZES,
    Division,
    Game,
    Group,
    I,
    N,
    Neighbours,
    all_neighbours,
    choose,
    differences,
    double_sum,
    generate,
    generate_game,
    group_of,
    group_values,
    places,
    table,
)

__all__ = ["CLAIMS"]


# Lemma B.1 and (18), (20), for any game


def lemma(game: Game, *, weight: str) -> Array:
    """φ(q_i) - φ(q_j) against the sum over S ⊆ C - {q_i, q_j} of v(P ∪ S ∪ q_i) - v(P ∪ S ∪ q_j), all pairs i, j."""
    current, values, _, worth, inside = pairs_of(game)
    m = jnp.sum(current)
    weights = {
        "1/C(m-2, s)": 1 / jnp.maximum(choose(m - 2, SIZES) * (m - 1), 1),
        "two": (1 / jnp.maximum(choose(m - 1, SIZES), 1) + 1 / jnp.maximum(choose(m - 1, SIZES + 1), 1)) / m,
        "1/C(m-1, s)": 1 / jnp.maximum(choose(m - 1, SIZES) * m, 1),
    }[weight]
    counts = inside[:, None, None] & ~SETS[:, :, None] & ~SETS[:, None, :]
    said = jnp.sum(jnp.where(counts, weights[:, None, None] * (worth[:, :, None] - worth[:, None, :]), 0), axis=0)
    pair = current[:, None] & current[None, :]
    return largest(jnp.where(pair, values[:, None] - values[None, :] - said, 0))


def pairs_of(game: Game) -> tuple[Array, Array, Array, Array, Array]:
    """Who is in the group, φ by (9), the code of P ∪ S, (64, 6) v(P ∪ S ∪ q), whether S ⊆ C."""
    earlier, current = game.role == EARLIER, game.role == CURRENT
    without = jnp.sum(earlier * BITS) | CODES
    worth = game.table[without[:, None] | BITS[None, :]]
    inside = ~jnp.any(jnp.asarray(SETS) & ~current[None, :], axis=1)
    return current, group_values(game.table, earlier, current), without, worth, inside


def split(game: Game) -> Array:
    """The proof's second display: S with neither, with q_j, and with q_i, each of the weight 1/m C(m-1,|S|)^{-1}."""
    current, values, without, worth, inside = pairs_of(game)
    m = jnp.sum(current)
    weight = jnp.where(inside, 1 / jnp.maximum(choose(m - 1, SIZES) * m, 1), 0)[:, None, None]
    has_i, has_j = jnp.asarray(SETS)[:, :, None], jnp.asarray(SETS)[:, None, :]
    gain = worth - game.table[without][:, None]
    terms = jnp.where(~has_i & ~has_j, worth[:, :, None] - worth[:, None, :], 0)
    terms = terms + jnp.where(~has_i & has_j, gain[:, :, None], 0) - jnp.where(has_i & ~has_j, gain[:, None, :], 0)
    pair = (current[:, None] & current[None, :]) & ~np.eye(N, dtype=bool)
    return largest(jnp.where(pair, values[:, None] - values[None, :] - jnp.sum(weight * terms, axis=0), 0))


# The regimes of Δ_{i,P}(S)


class Regimes(NamedTuple):
    """Every S ⊆ C_t - {q_i, q_{i+1}}, i = 1, ..., m - 1.

    Attributes:
        g: the group.
        inside: (64, 5) whether S is one of them.
        nearer: (64, 5) m(S_1), how many of S are nearer than q_i.
        present: (64,) the code of P ∪ S.
        change: (64, 5) Δ_{i,P}(S) = v(P ∪ S ∪ q_i) - v(P ∪ S ∪ q_{i+1}).
        gains: (64, 2, 5) Δ⁺_{i,P}(S) = v(P ∪ S ∪ q_i) - v(P ∪ S), and that of q_{i+1}.
        v: (64,) the utility.
    """

    g: Group
    inside: Bool[Array, "sets i"]
    nearer: Int[Array, "sets i"]
    present: Int[Array, "sets"]
    change: Float[Array, "sets i"]
    gains: Float[Array, "sets 2 i"]
    v: Float[Array, "sets"]


def regimes(instance: Neighbours, divide: Division) -> Regimes:
    """The regimes' numbers, coalition by coalition."""
    earlier, current = instance.role == EARLIER, instance.role == CURRENT
    g, v = group_of(instance.right, earlier, current), table(instance.right, instance.neighbours, divide)
    i, j = g.place[I - 1], g.place[I]
    sets = jnp.asarray(SETS)
    inside = ~jnp.any(sets & ~current[None, :], axis=1)[:, None] & ~sets[:, i] & ~sets[:, j] & (g.m > I)[None, :]
    present = jnp.sum(earlier * BITS) | CODES
    bits = jnp.asarray(BITS)
    with_i, with_j = v[present[:, None] | bits[i][None, :]], v[present[:, None] | bits[j][None, :]]
    gains = jnp.stack([with_i, with_j], axis=1) - v[present][:, None, None]
    return Regimes(g, inside, jnp.asarray(NEARER)[:, i], present, with_i - with_j, gains, v)


def labels(g: Group) -> tuple[Array, Array]:
    """a_i and a_{i+1}, (1, 5)."""
    return g.a[None, :-1], g.a[None, 1:]


def regime_gap(letter: str, divide: Division, *, reach: int = 0, over: str = "K") -> Callable[[Neighbours], Array]:
    """How far Δ_{i,P}(S) is from (15), (16) or (17), where the regime's condition, widened by `reach`, holds."""

    def gap(instance: Neighbours) -> Array:
        K = instance.neighbours
        r = regimes(instance, divide)
        g = r.g
        c, c_next = g.c[None, :-1], g.c[None, 1:]
        a, a_next = labels(g)
        divisor = jnp.minimum(K, jnp.asarray(SIZES)[r.present] + 1)[:, None] if over == "K'" else K
        where, said = {
            "A": (r.nearer >= K - c - reach, jnp.zeros(())),
            "B": (r.nearer < K - c_next + reach, (a - a_next) / divisor),
            "C": (
                (r.nearer >= K - c_next - reach) & (r.nearer < K - c),
                (a - g.b[jnp.clip(K - r.nearer, 0, N + 1)]) / K,
            ),
        }[letter]
        return largest(jnp.where(r.inside & where, r.change - said, 0))

    return gap


def trichotomy(instance: Neighbours, *, strict: bool) -> Array:
    """|number of regimes that apply - 1|; with `strict`, (C) asks for K - c_{i+1} < m(S_1)."""
    K, r = instance.neighbours, regimes(instance, "size")
    c, c_next = r.g.c[None, :-1], r.g.c[None, 1:]
    low = r.nearer > K - c_next if strict else r.nearer >= K - c_next
    count = (r.nearer >= K - c).astype(float) + (r.nearer < K - c_next) + (low & (r.nearer < K - c))
    return largest(jnp.where(r.inside, count - 1, 0))


def displaced(instance: Neighbours, divide: Division, *, joins: float | None = None) -> Array:
    """Δ⁺ against 0 where c + m(S_1) ≥ K, else [a - label of the K-th neighbour of P ∪ S] / K, a missing one wrong.

    With `joins`, where P ∪ S has fewer than K instances: `joins` [a - v(P ∪ S)] / (m(P ∪ S) + 1).
    """
    K, r = instance.neighbours, regimes(instance, divide)
    kth = jnp.sum(jnp.where(jnp.asarray(SETS) & (NEARER == K - 1), instance.right[None, :], 0), axis=1)[r.present]
    size = jnp.asarray(SIZES)[r.present]
    a = jnp.stack(labels(r.g), axis=1)
    enters = jnp.stack([r.g.c[:-1], r.g.c[1:]])[None] + r.nearer[:, None, :] < K
    said = (a - kth[:, None, None]) / K
    if joins is not None:
        alone = joins * (a - r.v[r.present][:, None, None]) / (size + 1)[:, None, None]
        said = jnp.where((size < K)[:, None, None], alone, said)
    return largest(jnp.where(r.inside[:, None, :], r.gains - jnp.where(enters, said, 0), 0))


def nearest_in_regime_c(instance: Neighbours, *, more: int) -> Array:
    """Whether the K nearest of P ∪ S are S_1 and the K - m(S_1) + more nearest of P."""
    K, r = instance.neighbours, regimes(instance, "size")
    earlier = instance.role == EARLIER
    c, c_next = r.g.c[None, :-1], r.g.c[None, 1:]
    regime = r.inside & (r.nearer >= K - c_next) & (r.nearer < K - c)
    found = (jnp.asarray(SETS) & (NEARER < K))[r.present]
    first = jnp.asarray(SETS)[:, None, :] & (jnp.arange(N)[None, :] < r.g.place[I - 1][:, None])[None]
    rank = jnp.cumsum(earlier) - earlier
    second = earlier[None, None, :] & (rank[None, None, :] < (K - r.nearer + more)[:, :, None])
    wrong = jnp.any(found[:, None, :] != (first | second), axis=2)
    return jnp.max(jnp.where(regime, wrong, False)).astype(float)


def regime_sums(instance: Neighbours, *, factor: float) -> Array:
    """Case 3's two displays for division by K: what the S of (16) and those of (17) contribute to (18)."""
    K, r = instance.neighbours, regimes(instance, "neighbours")
    g = r.g
    c, c_next = g.c[:-1], g.c[1:]
    weight = jnp.where(r.inside, 1 / jnp.maximum(choose(g.m - 2, SIZES) * (g.m - 1), 1)[:, None], 0)
    of_b = jnp.sum(jnp.where(r.nearer < K - c_next[None, :], weight * r.change, 0), axis=0)
    in_c = (r.nearer >= K - c_next[None, :]) & (r.nearer < K - c[None, :])
    of_c = jnp.sum(jnp.where(in_c, weight * r.change, 0), axis=0)
    low = jnp.maximum(K - c_next, 0)
    first = (g.a[:-1] - g.a[1:]) / K * jnp.minimum(K - c_next, I) / I
    second = double_sum(g, K, low, K - c - 1)
    case = (g.m > I) & (c < c_next) & (c_next < K)
    return jnp.maximum(
        largest(jnp.where(case, of_b - factor * first, 0)), largest(jnp.where(case, of_c - factor * second, 0))
    )


def sum_18(instance: Neighbours, divide: Division, *, less: int) -> Array:
    """(18): φ_i - φ_{i+1} = 1/(m-1) Σ_S C(m-2, m(S))^{-1} Δ_{i,P}(S)."""
    r = regimes(instance, divide)
    g = r.g
    weight = 1 / jnp.maximum(choose(g.m - 2, SIZES) * (g.m - 1 + less), 1)
    said = jnp.sum(jnp.where(r.inside, weight[:, None] * r.change, 0), axis=0)
    values = group_values(r.v, instance.role == EARLIER, instance.role == CURRENT)
    return largest(differences(g, values) - said)


# The base case


def farthest(instance: Neighbours, divide: Division) -> tuple[Group, Array, Array, Array, Array]:
    """The group, S ⊆ C - q_max, the code of P ∪ S, Δ_max(S), and v."""
    earlier, current = instance.role == EARLIER, instance.role == CURRENT
    g, v = group_of(instance.right, earlier, current), table(instance.right, instance.neighbours, divide)
    last = g.place[g.m - 1]
    inside = ~jnp.any(jnp.asarray(SETS) & ~current[None, :], axis=1) & ~jnp.asarray(SETS)[:, last]
    present = jnp.sum(earlier * BITS) | CODES
    return g, inside, present, v[present | jnp.asarray(BITS)[last]] - v[present], v


def three_regimes(instance: Neighbours, divide: Division, *, joins: float | None = None) -> Array:
    """Δ_max(S) against its three regimes; with `joins`, of a coalition of fewer than K it is one more member."""
    K = instance.neighbours
    g, inside, present, change, v = farthest(instance, divide)
    c, a = g.c[g.m - 1], g.a[g.m - 1]
    other = (a - jnp.where(g.p > c, g.b[jnp.clip(K - SIZES, 0, N + 1)], 0)) / K
    if joins is not None:
        few = g.p + SIZES < K
        other = jnp.where(few, joins * (a - v[present]) / (g.p + SIZES + 1), other)
    return largest(jnp.where(inside, change - jnp.where(K - c <= SIZES, 0, other), 0))


def sum_20(instance: Neighbours, divide: Division, *, less: int) -> Array:
    """(20): φ(q_max) = 1/m Σ_{S ⊆ C - q_max} C(m-1, m(S))^{-1} Δ_max(S), beside the mean over orders of arrival."""
    g, inside, _, change, v = farthest(instance, divide)
    said = jnp.sum(jnp.where(inside, change / jnp.maximum(choose(g.m - 1, SIZES), 1), 0)) / jnp.maximum(g.m - less, 1)
    values = group_values(v, instance.role == EARLIER, instance.role == CURRENT)
    return largest(values[g.place[g.m - 1]] - said)


# The claims


LEMMA = (
    Claim(
        "ads/lemma-B.1",
        "Lemma B.1, any utility",
        Statement(
            "φ(q_i) - φ(q_j) = 1/(m-1) Σ_{S ⊆ C-{q_i,q_j}} C(m-2,|S|)^{-1} [v(P∪S∪q_i) - v(P∪S∪q_j)]; and so with the "
            "weight 1/m {C(m-1,|S|)^{-1} + C(m-1,|S|+1)^{-1}} of its proof, and split into S with neither, with q_j, "
            "with q_i.",
            lambda c: jnp.maximum(jnp.maximum(lemma(c, weight="1/C(m-2, s)"), lemma(c, weight="two")), split(c)),
            "With the weight 1/m C(m-1,|S|)^{-1}.",
            lambda c: lemma(c, weight="1/C(m-1, s)"),
        ),
        generate_game,
    ),
    Claim(
        "ads/equation-18",
        "Equation (18)",
        Statement(
            "φ_i - φ_{i+1} = 1/(m-1) Σ_S C(m-2, m(S))^{-1} Δ_{i,P}(S), for (12) and for division by K.",
            lambda c: jnp.maximum(sum_18(c, "size", less=0), sum_18(c, "neighbours", less=0)),
            "With 1/m for 1/(m-1).",
            lambda c: sum_18(c, "size", less=1),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
)

REGIMES = (
    Claim(
        "ads/neighbours-displaced",
        "Appendix B.6, Δ⁺ before (15)",
        Statement(
            "Adding q_i to P ∪ S changes v by 0 if c_i + m(S_1) ≥ K; else q_i replaces the K-th neighbour and changes "
            "v by (a_i - its label)/K. So for q_{i+1}.",
            lambda c: displaced(c, "size"),
            "It is [a_i - v(P ∪ S)]/(m(P ∪ S) + 1) for division by K where that has fewer than K instances.",
            lambda c: displaced(c, "neighbours", joins=1.0),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "A coalition of fewer than K instances has no K-th neighbour, and (12) then divides by one more. One "
            "group, a right label and a wrong one, K = 2: alone the right one adds 1, printed 1/2 at most."
        ),
        corrected=Statement(
            "If P ∪ S has fewer than K instances the change is [a_i - v(P ∪ S)]/(m(P ∪ S) + 1), with v(∅) = 0; and for "
            "division by K it is as printed where a K-th neighbour that is not there counts as wrong.",
            lambda c: jnp.maximum(displaced(c, "size", joins=1.0), displaced(c, "neighbours")),
            "It is 0.95 of that.",
            lambda c: displaced(c, "size", joins=0.95),
        ),
        counterexample=lambda: places("Cc", neighbours=2),
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/three-regimes",
        "Appendix B.6: exactly one of the three regimes applies",
        Statement(
            "For every S exactly one of (A) m(S_1) ≥ K - c_i, (B) m(S_1) < K - c_{i+1}, "
            "(C) K - c_{i+1} ≤ m(S_1) < K - c_i.",
            lambda c: trichotomy(c, strict=False),
            "(C) may be K - c_{i+1} < m(S_1) < K - c_i.",
            lambda c: trichotomy(c, strict=True),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/equation-15",
        "Equation (15)",
        Statement(
            "m(S_1) ≥ K - c_i ⇒ Δ_{i,P}(S) = 0, for (12) and for division by K.",
            lambda c: jnp.maximum(regime_gap("A", "size")(c), regime_gap("A", "neighbours")(c)),
            "So it is where m(S_1) ≥ K - c_i - 1.",
            regime_gap("A", "size", reach=1),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/equation-16",
        "Equation (16), for (12)",
        Statement(
            "m(S_1) < K - c_{i+1} ⇒ Δ_{i,P}(S) = (a_i - a_{i+1})/K.",
            regime_gap("B", "size"),
            "So it is where m(S_1) ≤ K - c_{i+1}.",
            regime_gap("B", "size", reach=1),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "(12) divides by the size of P ∪ S ∪ q_i where that is less than K. S = ∅, one group, a right label before "
            "a wrong one, K = 2: 1 - 0, printed 1/2."
        ),
        corrected=Statement(
            "Δ_{i,P}(S) = (a_i - a_{i+1})/min{K, m(P ∪ S) + 1}.",
            regime_gap("B", "size", over="K'"),
            "So it is where m(S_1) ≤ K - c_{i+1}.",
            regime_gap("B", "size", over="K'", reach=1),
        ),
        counterexample=lambda: places("Cc", neighbours=2),
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/equation-16-by-k",
        "Equation (16), read for the utility divided by K",
        Statement(
            "m(S_1) < K - c_{i+1} ⇒ Δ_{i,P}(S) = (a_i - a_{i+1})/K.",
            regime_gap("B", "neighbours"),
            "So it is where m(S_1) ≤ K - c_{i+1}.",
            regime_gap("B", "neighbours", reach=1),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/equation-17",
        "Equation (17)",
        Statement(
            "K - c_{i+1} ≤ m(S_1) < K - c_i ⇒ Δ_{i,P}(S) = (a_i - b_{K-m(S_1)})/K, for (12) and for division by K.",
            lambda c: jnp.maximum(regime_gap("C", "size")(c), regime_gap("C", "neighbours")(c)),
            "So it is where K - c_{i+1} - 1 ≤ m(S_1).",
            regime_gap("C", "size", reach=1),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/nearest-in-regime-c",
        "Appendix B.6, before (15)",
        Statement(
            "Where K - c_{i+1} ≤ m(S_1) < K - c_i the K nearest of P ∪ S are S_1 and the K - m(S_1) nearest of P.",
            lambda c: nearest_in_regime_c(c, more=0),
            "They are S_1 and the K - m(S_1) - 1 nearest of P.",
            lambda c: nearest_in_regime_c(c, more=-1),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/case-3-sums",
        "Appendix B.6, case 3: what regimes (16) and (17) contribute, for the utility divided by K",
        Statement(
            "If K > c_{i+1} > c_i, the S of (16) contribute (a_i - a_{i+1})/K · min{K - c_{i+1}, i}/i to (18), and "
            "those of (17) its double sum.",
            lambda c: regime_sums(c, factor=1.0),
            "They contribute 0.95 of that.",
            lambda c: regime_sums(c, factor=0.95),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
)

BASE = (
    Claim(
        "ads/base-case-regimes",
        "Appendix B.6, Δ_max before (20), for (12)",
        Statement(
            "Δ_max(S) = 0 if m(S) ≥ K - c_max; else a_m/K if m(P) = c_max, and (a_m - b_{K-m(S)})/K if m(P) > c_max.",
            lambda c: three_regimes(c, "size"),
            "It is [a_m - v(P ∪ S)]/(m(P ∪ S) + 1) for division by K where that has fewer than K instances.",
            lambda c: three_regimes(c, "neighbours", joins=1.0),
        ),
        generate,
        verdict="holds as corrected",
        why="One right instance alone, K = 2: it adds 1 to (12), printed 1/2.",
        corrected=Statement(
            "If P ∪ S has fewer than K instances it is [a_m - v(P ∪ S)]/(m(P ∪ S) + 1), with v(∅) = 0; and for "
            "division by K it is as printed where b is 0 for a neighbour that is not there.",
            lambda c: jnp.maximum(three_regimes(c, "size", joins=1.0), three_regimes(c, "neighbours")),
            "It is 0.95 of that.",
            lambda c: three_regimes(c, "size", joins=0.95),
        ),
        counterexample=lambda: places("C", neighbours=2),
        exhaustive=all_neighbours,
    ),
    Claim(
        "ads/equation-20",
        "Equation (20)",
        Statement(
            "φ(q_max) = 1/m Σ_{S ⊆ C - q_max} C(m-1, m(S))^{-1} Δ_max(S), for (12) and for division by K.",
            lambda c: jnp.maximum(sum_20(c, "size", less=0), sum_20(c, "neighbours", less=0)),
            "With 1/(m-1) for 1/m.",
            lambda c: sum_20(c, "size", less=1),
        ),
        generate,
        exhaustive=all_neighbours,
    ),
)

CLAIMS = (*LEMMA, *REGIMES, *BASE)
