"""Ordered groups, and which values their axioms leave: Definitions 4.1 and 4.2, Theorem 4.1 and the axioms behind it.

All 3, 13 and 75 ways to put two, three and four sources into ordered groups are gone through; see
`jaxval.theorems._axioms` for how the axioms are solved.
"""

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems._axioms import linear_values, ordered_value, unique
from jaxval.theorems.records import AtMost, Setting

MOST = 4
CITED = ("efficiency", "nullity", "dependence")
PRINTED = ("efficiency", "nullity", "interchange")


class Partition(NamedTuple):
    """Sources in ordered groups.

    Attributes:
        players: 2, 3 or 4.
        groups: (4,) κ from 0; entries after the players mean nothing.
        weights: (4,) λ > 0.
    """

    players: Int[Array, ""]
    groups: Int[Array, "4"]
    weights: Float[Array, "4"]


def partitions(key: Key[Array, ""]) -> Partition:
    """Any groups, and weights from 0.05 to 20."""
    u = jax.random.uniform(key, (1 + 2 * MOST,))
    players = 2 + (3 * u[0]).astype(int)
    drawn = (u[1 : 1 + MOST] * players).astype(int)
    present = jnp.any((drawn[:, None] == jnp.arange(MOST)[None]) & (jnp.arange(MOST) < players)[:, None], axis=0)
    return Partition(players, (jnp.cumsum(present) - 1)[drawn], jnp.exp(6 * u[1 + MOST :] - 3))


def all_partitions() -> Partition:
    """Every ordered partition of two, three and four sources."""
    rows = [
        (n, (*drawn, *[0] * (MOST - n)))
        for n in range(2, MOST + 1)
        for drawn in itertools.product(range(n), repeat=n)
        if set(drawn) == set(range(max(drawn) + 1))
    ]
    weights = np.exp(np.random.default_rng(0).normal(size=(len(rows), MOST)))
    return Partition(jnp.array([n for n, _ in rows]), jnp.array([groups for _, groups in rows]), jnp.asarray(weights))


def one_before_two() -> Partition:
    """Three sources, the first before the other two."""
    return Partition(jnp.asarray(3), jnp.array([0, 1, 1, 0]), jnp.ones(MOST))


ordered = Setting(
    partitions,
    "n = 2 to 4 sources in ordered groups, weights from 0.05 to 20",
    exhaustive=all_partitions,
    every="every ordered partition of two, three and four sources",
    most=10,
    compiled=False,
)


def groups_of(p: Partition) -> tuple[int, ...]:
    """The groups of the players, as known numbers."""
    return tuple(int(group) for group in p.groups[: int(p.players)])


@ordered.claim(
    "ads/shapley-unique",
    "section 3.1, below Definition 3.1",
    proof="unanimity games are a basis, and on each of them Axioms 3.1, 3.3 and 3.4 leave one value",
    false="Data Shapley is the only allocation that satisfies Axioms 3.1, 3.2 and 3.4",
    neighbour={"axioms": ("efficiency", "interchange")},
)
def shapley_unique(p: Partition, axioms: tuple[str, ...] = PRINTED) -> Any:
    """Data Shapley is the unique allocation that satisfies Axioms 3.1 to 3.4."""
    single = (0,) * int(p.players)
    return unique(axioms, ordered_value(single), single)


@ordered.claim(
    "ads/definition-4.2",
    "Definitions 4.1 and 4.2, and the two steps of section 5.1",
    covers=("ads/definition-4.1",),
    false="the permutations of nondecreasing group index are the concatenations of within-group permutations in any "
    "order of the groups",
    neighbour={"any_order": True},
)
def definition_4_2(p: Partition, any_order: bool = False) -> Any:
    """The permutations of nondecreasing group index are the concatenations of within-group permutations in group order.

    Each comes once, and there are Π_t |D_t|! of them; z has the group index t if and only if z ∈ D_t.
    """
    groups = groups_of(p)
    blocks = [[z for z, group in enumerate(groups) if group == t] for t in range(max(groups) + 1)]
    nondecreasing = [
        order
        for order in itertools.permutations(range(len(groups)))
        if all(groups[x] <= groups[y] for x, y in itertools.pairwise(order))
    ]
    concatenated = [
        tuple(itertools.chain.from_iterable(parts))
        for arrangement in (itertools.permutations(blocks) if any_order else [blocks])
        for parts in itertools.product(*(itertools.permutations(block) for block in arrangement))
    ]
    return {
        "permutations in one of the two sets": (len(set(nondecreasing) ^ set(concatenated)), 0),
        "number": (len(concatenated), math.prod(math.factorial(len(block)) for block in blocks)),
    }


@ordered.claim(
    "ads/theorem-4.1",
    "Theorem 4.1",
    proof="the corrected version: on the unanimity game of S, nullity gives 0 outside S, mutual dependence 0 in S "
    "outside its last group and equal parts in it, and efficiency 1 in all",
    root="ads/axiom-4.1",
    quote="For z ∈ D, the ADS value φ^σ(z; v, D) is the unique allocation that satisfies Axioms 3.1, 3.2, 3.3, and "
    "4.1.",
    why="With Axiom 4.1 as printed no allocation satisfies the four if there are two groups or more. Of v(S) = |S| "
    "each source gets 1 by linearity, nullity and efficiency, and the earlier of two sources gets 0 by Axiom 4.1.",
    corrected="With mutual dependence as in the source that Axiom 4.1 cites, for sources that add nothing without each "
    "other, the ADS value is the unique allocation that satisfies Axioms 3.1, 3.2, 3.3 and 4.1.",
    correction={"axioms": CITED},
    counterexample=one_before_two,
)
def theorem_4_1(p: Partition, axioms: tuple[str, ...] = PRINTED) -> Any:
    """The ADS value is the unique allocation that satisfies Axioms 3.1, 3.2, 3.3 and 4.1."""
    return unique(axioms, ordered_value(groups_of(p)), groups_of(p))


@ordered.claim(
    "ads/axioms-needed",
    "ours, on Theorem 4.1 with mutual dependence as cited",
    false="without efficiency, nullity or mutual dependence, ADS is the only linear value that satisfies the others",
    neighbour={"unique": True},
)
def axioms_needed(p: Partition, unique: bool = False) -> Any:
    """Without efficiency, nullity or mutual dependence, other linear values than ADS satisfy the remaining axioms."""
    sides = {}
    for left_out in CITED:
        freedom = linear_values(frozenset(CITED) - {left_out}, groups_of(p)).freedom
        sides[f"without {left_out}"] = (freedom, 0) if unique else AtMost(1, freedom)
    return sides


@ordered.claim(
    "ads/weighted-unique",
    "B.3, the axiomatization cited",
    false="Efficiency, linearity, nullity and ω-mutual dependence determine the value with equal weights",
    neighbour={"equal": True},
)
def weighted_unique(p: Partition, equal: bool = False) -> Any:
    """Efficiency, linearity, nullity and ω-mutual dependence determine the weighted value of (13) and (14).

    ω-mutual dependence says φ(z_i)/λ_i = φ(z_j)/λ_j in one group, and 0 for the earlier of two groups; λ > 0.
    """
    groups = groups_of(p)
    weights = tuple(float(weight) for weight in p.weights[: len(groups)])
    return unique(CITED, ordered_value(groups, () if equal else weights), groups, weights)
