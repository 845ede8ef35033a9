"""The value in ordered groups and its weighted form: (7) to (9), (11), (13), (14) and Propositions 4.1 to 4.5."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxval import values
from jaxval.theorems.ads._games import (
    DESIGNS,
    SOURCES,
    Game,
    data_shapley,
    factorial,
    game,
    in_order,
    marginals,
    of_sources,
    ordered_form,
    ordered_games,
    ordered_probabilities,
    permutation_form,
    predecessors,
    respects,
    sizes_of,
    subset_form,
    two_groups,
    unions,
    weighted_probabilities,
    within,
    without,
)
from jaxval.theorems.records import AtMost


def on_top(table: Array, groups: Array, given: int = 1) -> Array:
    """Data Shapley of each group in the game v(U_{t-1} ∪ ·), or in v(·) if nothing is given."""
    U, codes = unions(groups), jnp.arange(len(table))[None, :]
    games = table[U[:-1, None] * given | codes & (U[1:] - U[:-1])[:, None]]
    return jax.vmap(data_shapley)(games)[groups, jnp.arange(len(groups))]


@ordered_games.claim(
    "ads/equation-7",
    "equations (7) and (8)",
    covers=("ads/equation-8",),
    false="The asymmetric value is the mean gain over the permutations in which the groups come in the opposite order.",
    neighbour={"backwards": True},
)
def equation_7(g: Game, backwards: bool = False) -> dict[str, tuple]:
    """The asymmetric value is φ^σ(z) = Σ_π p_π [v(π^{<z}∪{z}) - v(π^{<z})].

    Here p_π = 1/Π_t |D_t|! for permutations that respect σ and 0 for others, which is a distribution. The library
    computes this value.
    """
    if backwards:
        return {"(7)": of_sources(g, ordered_form(g.table, -g.groups), ordered_form(g.table, g.groups))}
    sides: dict[str, tuple] = {"(8)": (jnp.sum(ordered_probabilities(g.groups)), 1.0)}
    for n, groups in DESIGNS.items():
        table = g.table[: 2**n]
        by_orders = ordered_form(table, jnp.asarray(groups))
        sides[f"library, groups {groups}"] = (by_orders, values.asymmetric_shapley(table, groups))
    return sides


@ordered_games.claim(
    "ads/proposition-4.1",
    "Proposition 4.1, equation (9), and its proof",
    covers=("ads/equation-9",),
    false="φ^σ(z) = 1/|D_t| Σ_{S_t⊆D_t∖{z}} C(|D_t|-1, |S_t|)^{-1} [v(S_t∪{z}) - v(S_t)], without earlier groups.",
    neighbour={"form": lambda table, groups: on_top(table, groups, given=0)},
    proof="N(S_t) of the Π_t |D_t|! ordered permutations have π^{<z} = U_{t-1} ∪ S_t",
)
def proposition_4_1(g: Game, form: Callable = subset_form) -> dict[str, tuple]:
    """φ^σ(z) = 1/|D_t| Σ_{S_t⊆D_t∖{z}} C(|D_t|-1, |S_t|)^{-1} [v(U_{t-1}∪S_t∪{z}) - v(U_{t-1}∪S_t)] for z in D_t.

    N(S_t) of its proof counts the ordered permutations in which U_{t-1}∪S_t comes before z.
    """
    sizes, (fits, small) = sizes_of(g.groups), within(g.groups)
    mine = sizes[g.groups][:, None]
    others = jnp.prod(factorial(sizes)) / factorial(mine)
    formula = jnp.where(fits, others * factorial(small) * factorial(jnp.maximum(mine - small - 1, 0)), 0.0)
    before = predecessors(SOURCES)[:, :, None] == without(SOURCES)[None]
    counted = respects(g.groups).astype(float) @ before.reshape(len(before), -1).astype(float)
    return {
        "(9)": (form(g.table, g.groups), ordered_form(g.table, g.groups)),
        "N(S_t)": (formula, counted.reshape(formula.shape)),
    }


@ordered_games.claim(
    "ads/proposition-4.2",
    "Proposition 4.2 and the telescoping sum of B.5",
    false="Σ_{z∈D_t} φ^σ(z) = v(U_t) - v(∅) for every t.",
    neighbour={"given": 0},
    proof="along each ordered permutation the gains of D_t telescope from U_{t-1} to U_t",
)
def proposition_4_2(g: Game, given: int = 1) -> tuple[Array, Array]:
    """Group efficiency: Σ_{z∈D_t} φ^σ(z) = v(U_t) - v(U_{t-1}) for every t."""
    U = unions(g.groups)
    totals = jnp.zeros(len(U) - 1).at[g.groups].add(ordered_form(g.table, g.groups))
    return totals, g.table[U[1:]] - g.table[U[:-1] * given]


@ordered_games.claim(
    "ads/proposition-4.3",
    "Proposition 4.3",
    false="One group for each source gives Data Shapley.",
    neighbour={"apart": 1},
    proof="all permutations respect a single group",
)
def proposition_4_3(g: Game, apart: int = 0) -> dict[str, tuple]:
    """A single group gives Data Shapley: p_π = 1/n!, the subset form is (2) and the permutation form is (3)."""
    groups = in_order(apart * jnp.arange(SOURCES), g.n)
    return {
        "p": (jnp.max(ordered_probabilities(groups)), 1 / factorial(g.n)),
        "(9) = (2)": of_sources(g, subset_form(g.table, groups), data_shapley(g.table, g.n)),
        "(7) = (3)": of_sources(g, ordered_form(g.table, groups), permutation_form(g.table, g.n)),
    }


@ordered_games.claim(
    "ads/proposition-4.4",
    "Proposition 4.4 (its R^σ(D) is Π_σ(D))",
    false="With σ = (D_orig, D_aug) augmented sources, too, get their standalone value.",
    neighbour={"given": 0},
    proof="Proposition 4.1 with two groups",
)
def proposition_4_4(g: Game, given: int = 1) -> dict[str, tuple]:
    """With σ = (D_orig, D_aug), original sources get their standalone value, by Data Shapley of D_orig alone.

    Augmented sources get their incremental value conditional on all of D_orig, by Data Shapley of v(D_orig ∪ ·). The
    |D_orig|! |D_aug|! ordered permutations have equal probabilities.
    """
    groups = two_groups(g)
    U, codes = unions(groups), jnp.arange(len(g.table))
    standalone, incremental = g.table[codes & U[1]], g.table[U[1] * given | codes & U[2] & ~U[1]]
    wanted = jnp.where(groups == 0, data_shapley(standalone), data_shapley(incremental))
    return {
        "p": (jnp.sum(respects(groups)), jnp.prod(factorial(sizes_of(groups)[:2]))),
        "values": of_sources(g, ordered_form(g.table, groups), wanted),
    }


@ordered_games.claim(
    "ads/proposition-4.5",
    "Proposition 4.5, equation (11) (its R^σ(D) is Π_σ(D))",
    covers=("ads/equation-11",),
    false="With σ = (D_1, ..., D_T) each source gets its Shapley value within its round on top of the initial model.",
    neighbour={"given": 0},
    proof="Proposition 4.1, group by group",
)
def proposition_4_5(g: Game, given: int = 1) -> dict[str, tuple]:
    """With σ = (D_1, ..., D_T), the rounds, each source gets its incremental value on top of all earlier rounds.

    It is averaged within the source's round. The Π_t |D_t|! ordered permutations have equal probabilities.
    """
    return {
        "(11)": (jnp.sum(respects(g.groups)), jnp.prod(factorial(sizes_of(g.groups)))),
        "values": (ordered_form(g.table, g.groups), on_top(g.table, g.groups, given)),
    }


@ordered_games.claim(
    "ads/within-group-combinatorics",
    "section 4, below Remark 4.1",
    false="Data Shapley depends on v of the coalitions U_{t-1} ∪ S_t with S_t ⊆ D_t alone.",
    neighbour={"form": lambda table, _: data_shapley(table)},
    proof="Proposition 4.1 names no other coalition",
)
def within_group_combinatorics(g: Game, form: Callable = ordered_form) -> tuple[Array, ...]:
    """The asymmetric value depends on within-group combinatorics alone: on v of U_{t-1} ∪ S_t with S_t ⊆ D_t."""
    U, codes = unions(g.groups)[:, None], jnp.arange(len(g.table))[None, :]
    seen = jnp.any(((codes & U[:-1]) == U[:-1]) & ((codes & ~U[1:]) == 0), axis=0)
    elsewhere = jnp.where(seen, g.table, g.other + 1)
    return of_sources(g, form(elsewhere, g.groups), form(g.table, g.groups))


@ordered_games.claim(
    "ads/equation-13",
    "equations (13) and (14), B.3",
    false="The weighted value is the asymmetric value whatever the weights.",
    neighbour={"equal": False},
)
def equation_13(g: Game, equal: bool = True) -> dict[str, tuple]:
    """With equal weights in each group, φ_ω(z) = Σ_π p_π^ω [v(π^{<z}∪{z}) - v(π^{<z})] is the asymmetric value.

    With any positive weights it is the library's weighted value.
    """
    weights = g.weights[g.groups % SOURCES] if equal else g.weights
    p = weighted_probabilities(g.groups, weights)
    sides = {"equal weights": (p @ marginals(g.table), ordered_form(g.table, g.groups))}
    if equal:
        table, groups, weights = g.table[:16], [1, 0, 1, 1], g.weights[:4]
        by_orders = weighted_probabilities(jnp.asarray(groups), weights) @ marginals(table)
        sides[f"library, groups {groups}"] = (by_orders, values.weighted_shapley(table, groups, weights))
    return sides


@ordered_games.claim(
    "ads/equation-14",
    "equation (14), B.3",
    fails="convention",
    quote="Λ = (λ_1, …, λ_n)^⊤ assigns zero or positive weights to the each source",
    why="With weights 0 and 1 in one group, a permutation that begins with the source of weight 0 has the factor 0/0. "
    "The weights of Nowak and Radzik (1995) are positive, and a source that is to come first for certain can be put "
    "into an earlier group.",
    counterexample=lambda: game((0.0, 1.0, 1.0, 2.0), (0, 0), (0.0, 1.0)),
    corrected="Positive weights make (14) a distribution on the permutations that respect σ; equal ones make it (8).",
    correction={"zero": False},
    proof="of the corrected version: the factors are the chances to draw a permutation from its end, group by group",
    most=2_500,
)
def equation_14(g: Game, zero: bool = True) -> dict[str, tuple]:
    """Weights that are zero or positive make (14) a distribution on the permutations that respect σ.

    It is p_π = Π_j λ_{o_j} / Σ_{Max} λ. Equal weights make it (8).
    """
    p = weighted_probabilities(g.groups, g.some_zero if zero else g.weights)
    equal = weighted_probabilities(g.groups, jnp.full(SOURCES, 0.7))
    return {"sum": (jnp.sum(p), 1.0), "sign": AtMost(-p, 0.0), "(8)": (equal, ordered_probabilities(g.groups))}
