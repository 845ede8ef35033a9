"""Games of two to five sources in ordered groups, and the values of sections 3.1 and 4 as they are printed.

A table has the utilities of all coalitions of up to five sources, bit z of an index being source z. In a game of n < 5
sources the others come after them, one by one, so that they are in no coalition of which the formulas for the first n
speak. One compiled program thus serves all sizes.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxval.theorems.records import Setting

SOURCES, FEWEST = 5, 2
GROUPS = 2 * SOURCES - FEWEST  # of those in the game at most five, and one for each other source
# Groups for the library, which takes known numbers only and compiles anew for each.
DESIGNS = {3: [0, 0, 0], 5: [2, 0, 1, 0, 1]}


class Game(NamedTuple):
    """A utility, another one, and ordered groups of n sources.

    Attributes:
        n: the number of sources, 2 to 5.
        groups: (5,) κ, from 0, where some groups may be empty; sources that are not among the n come last, one by one.
        table: (32,) v, bit z of the index being source z, of which the first 2^n belong to the game; v(∅) is not 0.
        other: (32,) another utility.
        scalars: (2,) α and β of Axiom 3.2.
        weights: (5,) λ > 0.
        some_zero: (5,) weights that are zero or positive, as B.3 prints them.
        seed: for sampled permutations.
    """

    n: Int[Array, ""]
    groups: Int[Array, "sources"]
    table: Float[Array, "coalitions"]
    other: Float[Array, "coalitions"]
    scalars: Float[Array, "2"]
    weights: Float[Array, "sources"]
    some_zero: Float[Array, "sources"]
    seed: Int[Array, ""]


# Coalitions and permutations of n sources


@functools.cache
def masks(n: int) -> np.ndarray:
    """(2^n, n) whether each coalition has each source."""
    return np.array([[code >> z & 1 for z in range(n)] for code in range(2**n)], dtype=bool)


@functools.cache
def without(n: int) -> np.ndarray:
    """(n, 2^(n-1)) the coalitions without each source."""
    return np.array([[code for code in range(2**n) if not code >> z & 1] for z in range(n)])


@functools.cache
def permutations(n: int) -> np.ndarray:
    """(n!, n) the sources in the order in which they come."""
    return np.array(list(itertools.permutations(range(n))))


@functools.cache
def predecessors(n: int) -> np.ndarray:
    """(n!, n) the coalition π^{<z} for each permutation and source."""
    return np.array([[sum(1 << y for y in o[: o.index(z)]) for z in range(n)] for o in permutations(n).tolist()])


COALITIONS, MASKS = 16, masks(4)


# Instances


def utility(u: Array) -> Float[Array, "coalitions"]:
    """Generic numbers, small integers, accuracies of 0 or 1, sums over sources, one team, or a constant."""
    first, team, kind = u[: 2**SOURCES], (2**SOURCES * u[-2]).astype(int), (12 * u[-1]).astype(int)
    levels = jnp.floor(3 * first) - 1
    sums = 1 + jnp.asarray(masks(SOURCES), float) @ levels[:SOURCES]
    teams = ((jnp.arange(2**SOURCES) & team) == team).astype(float)
    kinds = jnp.stack([6 * first - 3, levels, jnp.floor(2 * first), sums, teams, jnp.ones(2**SOURCES)])
    return kinds[jnp.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5])[kind]]


def in_order(groups: Any, n: Any, numpy: Any = jnp) -> Any:
    """Groups in which sources that are not among the first n come last, one by one."""
    source = numpy.arange(SOURCES)
    return numpy.where(source < n, groups, SOURCES - FEWEST + source)


def games(key: Key[Array, ""]) -> Game:
    """Two utilities of any kind, one to five groups, weights that are far apart."""
    # One call draws all numbers, because it takes longest to compile.
    u = jax.random.uniform(key, (4, 2**SOURCES + 2), minval=1e-9)
    n, weights = FEWEST + (4 * u[2, -1]).astype(int), jnp.exp(8 * u[3, :SOURCES] - 4)
    groups = in_order((SOURCES * u[2, :SOURCES]).astype(int), n)
    some_zero = jnp.where(u[3, SOURCES : 2 * SOURCES] < 0.1, 0.0, weights)
    seed = (2.0**30 * u[3, -1]).astype(int)
    return Game(n, groups, utility(u[0]), utility(u[1]), 4 * u[2, 5:7] - 2, weights, some_zero, seed)


@functools.cache
def every_grouping() -> Game:
    """Each division of two to five sources into ordered groups once, with generic utilities and weights."""
    every = [(n, one) for n in range(FEWEST, SOURCES + 1) for one in itertools.product(range(n), repeat=n)]
    every = [(n, one) for n, one in every if set(one) == set(range(len(set(one))))]
    groups = np.array([in_order(one + (0,) * (SOURCES - n), n, np) for n, one in every])
    random, many = np.random.default_rng(0), len(every)
    table, other = random.normal(size=(2, many, 2**SOURCES))
    scalars, weights = random.normal(size=(many, 2)), random.exponential(size=(many, SOURCES)) + 0.01
    numbers = np.array([n for n, _ in every])
    return Game(*map(jnp.asarray, (numbers, groups, table, other, scalars, weights, weights, np.arange(many))))


def game(table: Sequence[float], groups: Sequence[int], some_zero: Sequence[float] = ()) -> Game:
    """One game by hand, of as many sources as there are groups; the others add nothing."""
    n, rows, ones = len(groups), np.asarray(table, float)[np.arange(2**SOURCES) % len(table)], np.ones(SOURCES)
    placed = in_order(np.array([*groups, *(SOURCES - n) * (0,)]), n, np)
    weights = np.array([*some_zero, *ones])[:SOURCES]
    return Game(*map(jnp.asarray, (n, placed, rows, 0 * rows, np.ones(2), ones, weights, 0)))


ordered_games = Setting(
    games,
    "n = 2 to 5 sources in ordered groups; v generic, of small integers, 0 or 1, additive, of a team or constant",
    exhaustive=every_grouping,
    every="every division of 2 to 5 sources into ordered groups, v generic",
)


def of_sources(g: Game, *values: Array) -> tuple[Array, ...]:
    """Values whose last axis is the sources, with 0 for those that are not in the game."""
    return tuple(jnp.where(jnp.arange(SOURCES) < g.n, phi, jnp.zeros_like(phi)) for phi in values)


def two_groups(g: Game) -> Int[Array, "sources"]:
    """The sources of the first group before all others: originals before augmentations."""
    return in_order((g.groups > 0).astype(int), g.n)


# Values. They are traced once for all claims, since tracing takes as long as compiling.


def size_of(table: Array) -> int:
    """The number of sources of a table."""
    return len(table).bit_length() - 1


def factorial(n: int | Array) -> Array:
    """The factorials of small whole numbers."""
    return jnp.asarray([float(math.factorial(k)) for k in range(SOURCES + 1)])[n]


def binomial(n: int | Array, k: Array | np.ndarray) -> Array:
    """The binomial coefficients C(n, k) of small whole numbers."""
    return jnp.asarray([[float(math.comb(n, k)) for k in range(SOURCES + 1)] for n in range(SOURCES + 1)])[n, k]


@jax.jit
def marginals(table: Array) -> Float[Array, "permutations sources"]:
    """Equation (1) along each permutation: Δ(z | π^{<z}) = v(π^{<z} ∪ {z}) - v(π^{<z})."""
    before = predecessors(size_of(table))
    return table[before | 1 << np.arange(size_of(table))] - table[before]


def coalition_marginals(table: Array) -> Float[Array, "sources coalitions"]:
    """Equation (1): Δ(z | S) = v(S ∪ {z}) - v(S) for each S without z, in the order of `without`."""
    rest = without(size_of(table))
    return table[rest | 1 << np.arange(len(rest))[:, None]] - table[rest]


@jax.jit
def data_shapley(table: Array, n: int | Array | None = None) -> Float[Array, "sources"]:
    """Equation (2): φ(z) = 1/n Σ_{S ⊆ D∖{z}} C(n-1, |S|)^{-1} Δ(z | S), where D has the first n sources."""
    n = size_of(table) if n is None else n
    rest = without(size_of(table))
    weights = jnp.where(rest < 1 << n, 1 / (n * binomial(n - 1, masks(size_of(table)).sum(axis=1)[rest])), 0.0)
    return jnp.sum(coalition_marginals(table) * weights, axis=1)


def orders_of(n: Array) -> Bool[Array, "permutations"]:
    """The permutations of the first n sources, which are those of five in which the others come last, in order."""
    return respects(in_order(jnp.zeros(SOURCES, int), n))


def permutation_form(table: Array, n: Array) -> Float[Array, "sources"]:
    """Equation (3): the mean of the marginals over all permutations of the first n sources."""
    return orders_of(n) @ marginals(table) / factorial(n)


def respects(groups: Array) -> Array:
    """Definition 4.2: for each permutation, whether κ(z_{o_1}) ≤ ... ≤ κ(z_{o_n})."""
    along = groups[permutations(len(groups))]
    return jnp.all(along[:, 1:] >= along[:, :-1], axis=1)


def sizes_of(groups: Array) -> Array:
    """(8,) |D_t|, 0 for groups that are empty."""
    return jnp.sum(groups[:, None] == jnp.arange(GROUPS)[None, :], axis=0)


def ordered_probabilities(groups: Array) -> Float[Array, "permutations"]:
    """Equation (8): p = 1 / Π_t |D_t|! for permutations that respect the groups, 0 otherwise."""
    return jnp.where(respects(groups), 1 / jnp.prod(factorial(sizes_of(groups))), 0.0)


@jax.jit
def weighted_probabilities(groups: Array, weights: Array) -> Float[Array, "permutations"]:
    """Equation (14): p = Π_j λ_{o_j} / Σ_{z ∈ Max({z_{o_1}, ..., z_{o_j}})} λ_z for permutations that respect them."""
    order = permutations(len(groups))
    along, of_source = groups[order], weights[order]
    # In a permutation that respects the groups, the latest group among the first j is that of the j-th source.
    latest = (along[:, None, :] == along[:, :, None]) & np.tri(len(groups), dtype=bool)[None]
    share = jnp.prod(of_source / jnp.sum(jnp.where(latest, of_source[:, None, :], 0.0), axis=2), axis=1)
    return jnp.where(respects(groups), share, 0.0)


@jax.jit
def ordered_form(table: Array, groups: Array) -> Float[Array, "sources"]:
    """Equation (7): Σ_π p_π [v(π^{<z} ∪ {z}) - v(π^{<z})] with p of equation (8)."""
    return ordered_probabilities(groups) @ marginals(table)


def within(groups: Array) -> tuple[Array, Array]:
    """For each source z and S of `without`, whether S = U_{t-1} ∪ S_t with S_t ⊆ D_t∖{z}, and |S_t|."""
    inside = jnp.asarray(masks(len(groups)))[without(len(groups))]
    mine = groups[:, None, None]
    earlier, later = groups[None, None, :] < mine, groups[None, None, :] > mine
    fits = jnp.all((inside | ~earlier) & (~inside | ~later), axis=2)
    return fits, jnp.sum(inside & ~earlier & ~later, axis=2)


@jax.jit
def subset_form(table: Array, groups: Array) -> Float[Array, "sources"]:
    """Equation (9): 1/|D_t| Σ_{S_t ⊆ D_t∖{z}} C(|D_t|-1, |S_t|)^{-1} [v(U_{t-1} ∪ S_t ∪ {z}) - v(U_{t-1} ∪ S_t)]."""
    fits, sizes = within(groups)
    mine = sizes_of(groups)[groups][:, None]
    terms = coalition_marginals(table[: 2 ** len(groups)]) / binomial(mine - 1, sizes) / mine
    return jnp.sum(jnp.where(fits, terms, 0.0), axis=1)


def unions(groups: Array) -> Array:
    """(9,) the indices of U_0, U_1, ..., where U_t is the union of the first t groups."""
    inside = groups[None, :] < jnp.arange(GROUPS + 1)[:, None]
    return jnp.sum(jnp.where(inside, 1 << jnp.arange(len(groups))[None, :], 0), axis=1)
