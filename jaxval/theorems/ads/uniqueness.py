"""Ordered groups, and which values their axioms leave: Definitions 4.1 and 4.2, Theorem 4.1 and the axioms behind it.

A linear value of n sources is a matrix A (n, 2^n), φ = A v. An axiom on all games of a linear space is a set of linear
equations in A on a basis of that space; a value is unique where the equations have full rank and a solution.
All 13 and 75 ways to put three and four sources into ordered groups are gone through.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems._old import Claim, Statement

__all__ = ["CLAIMS"]

MOST = 4
PAIRS = np.array(list(itertools.permutations(range(3), 2)))


class Partition(NamedTuple):
    """Sources in ordered groups, and numbers to try values on.

    Attributes:
        players: 3 or 4.
        groups: (4,) κ from 0; the last entry means nothing where there are 3.
        weights: (4,) λ > 0.
        contents: (4,) what the sources hold; equal numbers for identical sources.
        pair: (2,) two different sources among the first three.
        table: (16,) a utility, of which the first 2^players count.
    """

    players: Int[Array, ""]
    groups: Int[Array, "4"]
    weights: Float[Array, "4"]
    contents: Int[Array, "4"]
    pair: Int[Array, "2"]
    table: Float[Array, "coalitions"]


def partitions(key: Key[Array, ""]) -> Partition:
    """Any groups, all kinds of weights, and utilities of small integers as often as others."""
    u = jax.random.uniform(key, (31,), minval=1e-9)
    players = 3 + (u[0] * 2).astype(int)
    drawn, contents = (u[1:9] * MOST).astype(int).reshape(2, MOST)
    taken = jnp.where(jnp.arange(MOST) < players, drawn, drawn[0])
    present = jnp.any(taken[:, None] == jnp.arange(MOST)[None, :], axis=0)
    groups = (jnp.cumsum(present) - 1)[taken]
    table = 6 * u[9:25] - 3
    table = jnp.where(u[25] < 0.5, jnp.round(table), table)
    pair = jnp.asarray(PAIRS)[(u[26] * len(PAIRS)).astype(int)]
    return Partition(players, groups, jnp.exp(6 * u[27:31] - 3), contents, pair, table)


def all_partitions() -> Partition:
    """Every ordered partition of three and of four sources."""
    rows = [
        (n, [*drawn, *[0] * (MOST - n)])
        for n in (3, 4)
        for drawn in itertools.product(range(n), repeat=n)
        if set(drawn) == set(range(max(drawn) + 1))
    ]
    random = np.random.default_rng(0)
    count = len(rows)
    return Partition(
        jnp.array([n for n, _ in rows]), jnp.array([groups for _, groups in rows]),
        jnp.exp(random.normal(size=(count, MOST))), jnp.asarray(random.integers(0, MOST, (count, MOST))),
        jnp.asarray(PAIRS[random.integers(0, len(PAIRS), count)]), jnp.asarray(random.normal(size=(count, 2**MOST))),
    )  # fmt: skip


def groups_of(p: Partition) -> tuple[int, ...]:
    return tuple(int(group) for group in p.groups[: int(p.players)])


# Ordered groups


def relations(p: Partition, *, once: bool = False) -> float:
    """Definition 4.1: how many sources have not one group, and how many relations are wrong."""
    groups = groups_of(p)
    names = [int(name) for name in p.contents[: len(groups)]] if once else list(range(len(groups)))
    index: dict[int, set[int]] = {}
    for name, group in zip(names, groups, strict=True):
        index.setdefault(name, set()).add(group)
    wrong = sum(len(found) != 1 for found in index.values())
    k = [min(index[name]) for name in names]
    for x, y in itertools.product(range(len(k)), repeat=2):
        same, before, before_or_same = k[x] == k[y], k[x] < k[y], k[x] <= k[y]
        wrong += before_or_same != (same or before)
        wrong += (before_or_same or k[y] <= k[x]) is False
        wrong += before and same
        wrong += sum(before_or_same and k[y] <= k[z] and not k[x] <= k[z] for z in range(len(k)))
    return float(wrong)


def ordered_permutations(p: Partition, *, any_order: bool = False) -> float:
    """Definition 4.2: nondecreasing permutations, concatenations, and Π_t |D_t|!, by how much they differ."""
    groups = groups_of(p)
    blocks = [[z for z, group in enumerate(groups) if group == t] for t in range(max(groups) + 1)]
    nondecreasing = {
        order for order in itertools.permutations(range(len(groups)))
        if all(groups[x] <= groups[y] for x, y in itertools.pairwise(order))
    }  # fmt: skip
    concatenated = [
        tuple(itertools.chain.from_iterable(parts))
        for arrangement in (itertools.permutations(blocks) if any_order else [blocks])
        for parts in itertools.product(*(itertools.permutations(block) for block in arrangement))
    ]
    count = math.prod(math.factorial(len(block)) for block in blocks)
    twice = len(concatenated) - len(set(concatenated))
    return float(len(nondecreasing ^ set(concatenated)) + abs(len(nondecreasing) - count) + twice)


# Axioms as linear equations


def team(members: int, players: int) -> np.ndarray:
    """The unanimity game of a coalition: 1 where all its members are there."""
    codes = np.arange(2**players)
    return (codes & members == members).astype(float)


@functools.cache
def equations(groups: tuple[int, ...], weights: tuple[float, ...], axioms: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """M and b, such that the linear values that obey the axioms are the solutions of M a = b."""
    n = len(groups)
    size = 2**n
    rows, right = [], []

    def ask(coefficients: dict[int, float], on: np.ndarray, wanted: float) -> None:
        row = np.zeros((n, size))
        for z, coefficient in coefficients.items():
            row[z] = coefficient * on
        rows.append(row.reshape(-1))
        right.append(wanted)

    for members in range(size):
        on = team(members, n)
        if "efficiency" in axioms:
            ask(dict.fromkeys(range(n), 1.0), on, on[-1] - on[0])
        if "nullity" in axioms:
            for z in range(n):
                if not members >> z & 1:
                    ask({z: 1.0}, on, 0.0)
    for i, j in itertools.combinations(range(n), 2):
        early = i if groups[i] <= groups[j] else j
        asked = {early: 1.0} if groups[i] != groups[j] else {i: weights[j], j: -weights[i]}
        for members in range(size):
            has = members >> i & 1, members >> j & 1
            if "dependence" in axioms and has[0] == has[1]:
                ask(asked, team(members, n), 0.0)
            if "interchange" in axioms and has[0] >= has[1]:
                other = members ^ 1 << i ^ 1 << j
                ask(asked, team(members, n) + (team(other, n) if has[0] > has[1] else 0.0), 0.0)
    return np.array(rows), np.array(right)


@functools.cache
def solutions(
    groups: tuple[int, ...], weights: tuple[float, ...], axioms: tuple[str, ...]
) -> tuple[int, float, np.ndarray]:
    """How many dimensions the solutions have, how far the best one is from solving, and the best one."""
    matrix, right = equations(groups, weights, axioms)
    best, _, rank, _ = np.linalg.lstsq(matrix, right, rcond=1e-10)
    return matrix.shape[1] - int(rank), float(np.abs(matrix @ best - right).max()), best.reshape(len(groups), -1)


@functools.cache
def asymmetric_matrix(groups: tuple[int, ...], weights: tuple[float, ...] | None = None) -> np.ndarray:
    """The value as a matrix, permutation by permutation: (7) with (8), or (13) with (14) where there are weights."""
    n = len(groups)
    matrix = np.zeros((n, 2**n))
    for order in itertools.permutations(range(n)):
        if any(groups[x] > groups[y] for x, y in itertools.pairwise(order)):
            continue
        share = 1.0
        for place, z in enumerate(order):
            latest = [y for y in order[: place + 1] if groups[y] == groups[z]]
            share *= weights[z] / sum(weights[y] for y in latest) if weights else 1 / len(latest)
        inside = 0
        for z in order:
            matrix[z, inside | 1 << z] += share
            matrix[z, inside] -= share
            inside |= 1 << z
    return matrix


ONES = (1.0,) * MOST


def unique(p: Partition, *axioms: str) -> float:
    """Dimensions left over, plus what the axioms lack of a solution, plus how far that is from the asymmetric value."""
    groups = groups_of(p)
    dimensions, residual, best = solutions(groups, ONES, axioms)
    return dimensions + residual + float(np.abs(best - asymmetric_matrix(groups)).max())


def unique_weighted(p: Partition, *, equal: bool = False) -> float:
    """The same with weights, of which only ratios within a group count."""
    groups = groups_of(p)
    weights = tuple(float(weight) for weight in p.weights)
    dimensions, residual, best = solutions(groups, weights, ("efficiency", "nullity", "dependence"))
    other = ONES[: len(groups)] if equal else weights[: len(groups)]
    return dimensions + residual + float(np.abs(best - asymmetric_matrix(groups, other)).max())


def classical(p: Partition, *axioms: str) -> float:
    """Axioms 3.1 to 3.4 against (3): symmetry is the exchange of sources of one group."""
    single = (0,) * int(p.players)
    dimensions, residual, best = solutions(single, ONES, axioms)
    return dimensions + residual + float(np.abs(best - asymmetric_matrix(single)).max())


# Values that are not linear


def null_players(table: np.ndarray, n: int) -> list[int]:
    codes = np.arange(2**n)
    return [z for z in range(n) if np.array_equal(table[codes | 1 << z], table[codes & ~(1 << z)])]


def last_takes_all(table: np.ndarray, groups: tuple[int, ...]) -> np.ndarray:
    """v(D) - v(∅) in equal parts to the latest of those who are not null."""
    n = len(groups)
    active = sorted(set(range(n)) - set(null_players(table, n)))
    phi = np.zeros(n)
    takers = [z for z in active if groups[z] == max(groups[y] for y in active)]
    phi[takers] = (table[-1] - table[0]) / max(len(takers), 1)
    return phi


def equal_parts_else(table: np.ndarray, groups: tuple[int, ...]) -> np.ndarray:
    """Equal parts where nobody is null and no two depend on each other, the asymmetric value where some are or do."""
    n = len(groups)
    pairs = itertools.combinations(range(n), 2)
    some = null_players(table, n) or any(np.array_equal(table, dependent(table, i, j)) for i, j in pairs)
    return asymmetric_matrix(groups) @ table if some else np.full(n, (table[-1] - table[0]) / n)


def interchangeable(table: np.ndarray, i: int, j: int) -> np.ndarray:
    codes = np.arange(len(table))
    swapped = codes & ~(1 << i | 1 << j) | (codes >> i & 1) << j | (codes >> j & 1) << i
    return 0.5 * (table + table[swapped])


def dependent(table: np.ndarray, i: int, j: int) -> np.ndarray:
    codes = np.arange(len(table))
    both = 1 << i | 1 << j
    return np.where(codes & both == both, table, table[codes & ~both])


def disobeys(p: Partition, axiom: str) -> float:
    """By how much a value that is not linear misses efficiency, nullity or the printed or cited Axiom 4.1."""
    groups = groups_of(p)
    table = np.asarray(p.table[: 2 ** len(groups)])
    i, j = (int(z) for z in p.pair)
    value = last_takes_all if axiom == "interchange" else equal_parts_else
    game = (interchangeable if axiom == "interchange" else dependent)(table, i, j)
    phi = value(game, groups)
    early = i if groups[i] < groups[j] else j
    pair = abs(phi[i] - phi[j]) if groups[i] == groups[j] else abs(phi[early])
    without = table[np.arange(len(table)) & ~(1 << i)]
    null = abs(value(without, groups)[i])
    sums = max(abs(value(v, groups).sum() - (v[-1] - v[0])) for v in (table, game, without))
    return float(max(pair, null, sums))


LINEAR = ("efficiency", "nullity")


def any_three(p: Partition) -> float:
    """Each three of the printed axioms have a value; the four have none where there are two groups."""
    groups = groups_of(p)
    pairs = (LINEAR, ("efficiency", "interchange"), ("nullity", "interchange"))
    missed = [solutions(groups, ONES, pair)[1] for pair in pairs]
    conflict = solutions(groups, ONES, (*LINEAR, "interchange"))[1]
    return max(*missed, disobeys(p, "interchange"), 1e-2 - conflict if max(groups) else conflict)


def each_needed(p: Partition) -> float:
    """1 where the axioms without one of them leave only the asymmetric value."""
    groups = groups_of(p)
    left = [
        solutions(groups, ONES, two)[0] for two in (LINEAR, ("efficiency", "dependence"), ("nullity", "dependence"))
    ]
    v, one = np.sqrt(2.0 + np.arange(2 ** len(groups))), team(1, len(groups))
    bend = equal_parts_else(v, groups) + equal_parts_else(one, groups) - equal_parts_else(v + one, groups)
    return max(float(min(left) < 1), float(np.abs(bend).max() < 1e-6), disobeys(p, "dependence"))


def two_in_two_groups() -> Partition:
    """Three sources, the first before the other two; any utility."""
    return Partition(
        jnp.asarray(3), jnp.array([0, 1, 1, 0]), jnp.ones(MOST), jnp.arange(MOST), jnp.array([0, 1]),
        jnp.arange(2.0**MOST),
    )  # fmt: skip


CLAIMS = (
    Claim(
        "ads/shapley-unique",
        "section 3.1, below Definition 3.1",
        Statement(
            "Data Shapley is the unique allocation that satisfies Axioms 3.1 to 3.4.",
            lambda p: classical(p, "efficiency", "nullity", "interchange"),
            "Axioms 3.1, 3.2 and 3.4 suffice.",
            lambda p: classical(p, "efficiency", "interchange"),
        ),
        partitions,
        most=100,
        compiled=False,
    ),
    Claim(
        "ads/definition-4.1",
        "Definition 4.1",
        Statement(
            "κ(z) = t iff z ∈ D_t is a map; ⪯ is a complete preorder, ≺ and ≡ its strict and symmetric parts. "
            "Identical sources of two rounds are two sources, as Remark 3.1 treats them.",
            relations,
            "Identical sources are one source.",
            lambda p: relations(p, once=True),
        ),
        partitions,
        most=100,
        exhaustive=all_partitions,
        compiled=False,
    ),
    Claim(
        "ads/definition-4.2",
        "Definition 4.2, and the two steps of section 5.1",
        Statement(
            "The permutations of nondecreasing group index are the concatenations of within-group permutations in "
            "group order, each once, Π_t |D_t|! in number.",
            ordered_permutations,
            "They are the concatenations in any order of the groups.",
            lambda p: ordered_permutations(p, any_order=True),
        ),
        partitions,
        most=100,
        exhaustive=all_partitions,
        compiled=False,
    ),
    Claim(
        "ads/theorem-4.1",
        "Theorem 4.1",
        Statement(
            "The asymmetric value is the unique allocation that satisfies Axioms 3.1, 3.2, 3.3 and 4.1.",
            lambda p: unique(p, "efficiency", "nullity", "interchange"),
            "Axioms 3.1, 3.2 and 4.1 suffice.",
            lambda p: unique(p, "efficiency", "interchange"),
        ),
        partitions,
        verdict="holds as corrected",
        why=(
            "With Axiom 4.1 as printed no allocation satisfies the four where there are two groups or more: of v(S) "
            "= |S| each source gets 1 by linearity, nullity and efficiency, and the earlier of two groups 0 by Axiom "
            "4.1."
        ),
        corrected=Statement(
            "It is, with mutual dependence as cited in Axiom 4.1: pairs that add nothing without each other.",
            lambda p: unique(p, "efficiency", "nullity", "dependence"),
            "Without nullity it still is.",
            lambda p: unique(p, "efficiency", "dependence"),
        ),
        counterexample=two_in_two_groups,
        most=100,
        exhaustive=all_partitions,
        compiled=False,
    ),
    Claim(
        "ads/axioms-conflict",
        "section 4, below Axiom 4.1",
        Statement(
            "Of the four axioms as printed any three have a value, and all four have none where there are two groups.",
            any_three,
            "All four have one.",
            lambda p: solutions(groups_of(p), ONES, (*LINEAR, "interchange"))[1],
        ),
        partitions,
        most=100,
        exhaustive=all_partitions,
        compiled=False,
    ),
    Claim(
        "ads/axioms-needed",
        "Theorem 4.1, with mutual dependence as cited",
        Statement(
            "None of the four axioms can be left out: without any one of them there are other values.",
            each_needed,
            "Without nullity there is none.",
            lambda p: float(solutions(groups_of(p), ONES, ("efficiency", "dependence"))[0]),
        ),
        partitions,
        most=100,
        exhaustive=all_partitions,
        compiled=False,
    ),
    Claim(
        "ads/weighted-unique",
        "B.3, the axiomatization cited",
        Statement(
            "Efficiency, linearity, nullity and ω-mutual dependence, φ(z_i)/λ_i = φ(z_j)/λ_j in one group and 0 for "
            "the earlier of two, determine the weighted value of (13) and (14).",
            unique_weighted,
            "They determine the one with equal weights.",
            lambda p: unique_weighted(p, equal=True),
        ),
        partitions,
        most=100,
        exhaustive=all_partitions,
        compiled=False,
    ),
)
