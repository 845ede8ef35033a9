"""Games of four sources in ordered groups, and the values of sections 3.1 and 4 written out as they are printed."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values

__all__ = [
    "Game",
    "asymmetric",
    "coalition_marginals",
    "data_shapley",
    "games",
    "marginals",
    "of_shape",
    "ordered_probabilities",
    "permutation_form",
    "respects",
    "subset_form",
]

PLAYERS = 4
COALITIONS = 2**PLAYERS
MASKS = np.array([[code >> z & 1 for z in range(PLAYERS)] for code in range(COALITIONS)], dtype=bool)
ORDERS = np.array(list(itertools.permutations(range(PLAYERS))))
PLACES = np.argsort(ORDERS, axis=1)
BEFORE = np.array([[sum(1 << y for y in o[: list(o).index(z)]) for z in range(PLAYERS)] for o in ORDERS.tolist()])
AFTER = BEFORE | 1 << np.arange(PLAYERS)
WITHOUT = np.array([[code for code in range(COALITIONS) if not code >> z & 1] for z in range(PLAYERS)])
PAIRS = np.array(list(itertools.permutations(range(PLAYERS), 2)))
FACTORIAL = np.array([math.factorial(k) for k in range(PLAYERS + 1)], dtype=float)
BINOMIAL = np.array([[math.comb(n, k) for k in range(PLAYERS + 1)] for n in range(PLAYERS + 1)], dtype=float)
KINDS = np.array([0] * 8 + [1] * 4 + [2] * 3 + [3] * 2 + [4] * 2 + [5])
SHAPES = np.array(
    [
        [0, 0, 0, 0],
        [1, 0, 1, 1],
        [0, 0, 1, 0],
        [1, 0, 0, 1],
        [2, 0, 2, 1],
        [1, 0, 2, 1],
        [0, 2, 1, 0],
        [2, 0, 3, 1],
    ]
)
"""Of each composition of four sources one division into groups, in no order of the sources."""


class Game(NamedTuple):
    """A utility, another one, and ordered groups.

    Attributes:
        table: (16,) v, bit z of the index being source z; v(∅) is not 0.
        other: (16,) another utility.
        scalars: (2,) α and β of Axiom 3.2.
        shape: which of `SHAPES`.
        groups: (4,) κ, from 0; that row of `SHAPES`.
        weights: (4,) λ > 0.
        pair: (2,) two different sources.
        cover: (16,) weights of coalitions, at least 0, of a coverage game.
    """

    table: Float[Array, "coalitions"]
    other: Float[Array, "coalitions"]
    scalars: Float[Array, "2"]
    shape: Int[Array, ""]
    groups: Int[Array, "players"]
    weights: Float[Array, "players"]
    pair: Int[Array, "2"]
    cover: Float[Array, "coalitions"]


def games(key: Key[Array, ""]) -> Game:
    """Utilities of any kind, small integers, accuracies of 0 or 1, sums, teams or constants; all shapes of groups."""
    u = jax.random.uniform(key, (5, COALITIONS), minval=1e-9)
    spread = 6 * u[:2] - 3
    levels, accuracy = jnp.floor(3 * u[:2]) - 1, jnp.floor(2 * u[:2])
    sums = 1 + levels[:, :PLAYERS] @ MASKS.T.astype(float)
    drawn = iter(u[2:4].reshape(-1))

    def one_of(number: int) -> Array:
        return (next(drawn) * number).astype(int)

    team = jnp.stack([one_of(COALITIONS), one_of(COALITIONS)])
    teams = (jnp.arange(COALITIONS)[None, :] & team[:, None] == team[:, None]).astype(float)
    kinds = jnp.stack([spread, levels, accuracy, sums, teams, jnp.ones((2, COALITIONS))])
    kind = jnp.asarray(KINDS)[jnp.stack([one_of(len(KINDS)), one_of(len(KINDS))])]
    shape = one_of(len(SHAPES))
    weights = jnp.exp(8 * jnp.stack([next(drawn) for _ in range(PLAYERS)]) - 4)
    return Game(
        kinds[kind[0], 0],
        kinds[kind[1], 1],
        4 * jnp.stack([next(drawn), next(drawn)]) - 2,
        shape,
        jnp.asarray(SHAPES)[shape],
        jnp.where(next(drawn) < 0.1, 1.0, weights),
        jnp.asarray(PAIRS)[one_of(len(PAIRS))],
        jnp.maximum(0.0, -jnp.log(u[4]) - 0.3),
    )


def game(table: Sequence[float], groups: Sequence[int], weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Game:
    """One game by hand; the table says what each coalition of the first sources is worth, the others add nothing."""
    rows = jnp.asarray(table, float)[jnp.arange(COALITIONS) % len(table)]
    shape = int(np.flatnonzero((np.asarray(groups) == SHAPES).all(axis=1))[0])
    return Game(
        rows, jnp.zeros(COALITIONS), jnp.ones(2), jnp.asarray(shape), jnp.asarray(groups),
        jnp.asarray(weights, float), jnp.arange(2), jnp.zeros(COALITIONS),
    )  # fmt: skip


def marginals(table: Array) -> Float[Array, "orders players"]:
    """Equation (1) along each permutation: Δ(z | π^{<z}) = v(π^{<z} ∪ {z}) - v(π^{<z})."""
    return table[AFTER] - table[BEFORE]


def coalition_marginals(table: Array) -> Float[Array, "players coalitions"]:
    """Equation (1): Δ(z | S) = v(S ∪ {z}) - v(S) for each S without z, in the order of `WITHOUT`."""
    return table[WITHOUT | 1 << np.arange(PLAYERS)[:, None]] - table[WITHOUT]


def data_shapley(table: Array) -> Float[Array, "players"]:
    """Equation (2): φ(z) = 1/n Σ_{S ⊆ D∖{z}} C(n-1, |S|)^{-1} Δ(z | S)."""
    sizes = MASKS.sum(axis=1)[WITHOUT]
    return jnp.sum(coalition_marginals(table) / BINOMIAL[PLAYERS - 1][sizes], axis=1) / PLAYERS


def permutation_form(table: Array) -> Float[Array, "players"]:
    """Equation (3): the mean of the marginals over all permutations."""
    return jnp.mean(marginals(table), axis=0)


def respects(groups: Array) -> Array:
    """Definition 4.2: for each permutation, whether κ(z_{o_1}) ≤ ... ≤ κ(z_{o_n})."""
    along = groups[ORDERS]
    return jnp.all(along[:, 1:] >= along[:, :-1], axis=1)


def sizes_of(groups: Array) -> Array:
    """(4,) |D_t|, 0 for groups that there are not."""
    return jnp.sum(groups[:, None] == jnp.arange(PLAYERS)[None, :], axis=0)


def ordered_probabilities(groups: Array) -> Float[Array, "orders"]:
    """Equation (8): p = 1 / Π_t |D_t|! for permutations that respect the groups, 0 otherwise."""
    return jnp.where(respects(groups), 1 / jnp.prod(jnp.asarray(FACTORIAL)[sizes_of(groups)]), 0.0)


def weighted_probabilities(groups: Array, weights: Array) -> Float[Array, "orders"]:
    """Equation (14): p = Π_j λ_{o_j} / Σ_{z ∈ Max({z_{o_1}, ..., z_{o_j}})} λ_z for permutations that respect them."""
    along = groups[ORDERS]
    share = jnp.ones(len(ORDERS))
    for j in range(PLAYERS):
        so_far = along[:, : j + 1]
        latest = so_far == jnp.max(so_far, axis=1, keepdims=True)
        share = share * weights[ORDERS[:, j]] / jnp.sum(jnp.where(latest, weights[ORDERS[:, : j + 1]], 0), axis=1)
    return jnp.where(respects(groups), share, 0.0)


def ordered_form(table: Array, groups: Array) -> Float[Array, "players"]:
    """Equation (7): Σ_π p_π [v(π^{<z} ∪ {z}) - v(π^{<z})] with p of equation (8)."""
    return ordered_probabilities(groups) @ marginals(table)


def weighted_form(table: Array, groups: Array, weights: Array) -> Float[Array, "players"]:
    """Equation (13): the same with p of equation (14)."""
    return weighted_probabilities(groups, weights) @ marginals(table)


def within(groups: Array) -> tuple[Array, Array]:
    """For each source z and S of `WITHOUT`, whether S = U_{t-1} ∪ S_t with S_t ⊆ D_t∖{z}, and |S_t|."""
    inside = jnp.asarray(MASKS)[WITHOUT]
    mine = groups[:, None, None]
    earlier, later = groups[None, None, :] < mine, groups[None, None, :] > mine
    fits = jnp.all((inside | ~earlier) & (~inside | ~later), axis=2)
    return fits, jnp.sum(inside & ~earlier & ~later, axis=2)


def subset_form(table: Array, groups: Array) -> Float[Array, "players"]:
    """Equation (9): 1/|D_t| Σ_{S_t ⊆ D_t∖{z}} C(|D_t|-1, |S_t|)^{-1} [v(U_{t-1} ∪ S_t ∪ {z}) - v(U_{t-1} ∪ S_t)]."""
    fits, sizes = within(groups)
    size = sizes_of(groups)[groups][:, None]
    terms = coalition_marginals(table) / jnp.asarray(BINOMIAL)[size - 1, sizes] / size
    return jnp.sum(jnp.where(fits, terms, 0.0), axis=1)


def prefix(groups: Array, group: int | Array) -> Array:
    """The index of U_t, the union of groups 1, ..., t; U_0 is empty."""
    return jnp.sum(jnp.where(groups < group, 1 << jnp.arange(PLAYERS), 0))


def of_shape(function: Callable[[np.ndarray], Array], shape: Array) -> Array:
    """A function of groups that must be known numbers, at the row of `SHAPES` of the instance."""
    return jnp.stack([function(groups) for groups in SHAPES])[shape]


def asymmetric(table: Array, g: Game) -> Array:
    """What is under test: `values.asymmetric_shapley` of a utility in the groups of an instance."""
    return of_shape(lambda groups: values.asymmetric_shapley(table, groups), g.shape)
