"""Data Shapley and the axioms of the asymmetric value: section 3.1 and Axiom 4.1 of Zheng et al. (2026).

`jaxval.values` is held against sums over permutations and coalitions as they are printed. Uniqueness is in
`uniqueness`, the forms of the asymmetric value in `forms`, rounds of training in `rounds`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import values
from jaxval.theorems.ads._games import (
    DESIGNS,
    Game,
    coalition_marginals,
    data_shapley,
    game,
    marginals,
    of_sources,
    ordered_form,
    ordered_games,
    orders_of,
    permutation_form,
)

# Sources 0 and 1 are the z and z' of the axioms. Their groups are drawn, so that either may come first.
FIRST, SECOND = 1, 2


def both_values(g: Game, table: Array) -> Array:
    """Data Shapley by (2) in the first row, the asymmetric value by (7) in the second."""
    return of_sources(g, jnp.stack([data_shapley(table, g.n), ordered_form(table, g.groups)]))[0]


def interchangeable(table: Array, once: float = 0.0) -> Array:
    """A game in which z and z' add the same to every coalition without them, but `once` more z to the empty one."""
    codes = np.arange(len(table))
    swapped = codes & ~(FIRST | SECOND) | (codes & FIRST) << 1 | (codes & SECOND) >> 1
    return (0.5 * (table + table[swapped])).at[FIRST].add(once)


def dependent(table: Array) -> Array:
    """A game in which neither z nor z' adds anything without the other: mutual dependence as it is cited."""
    codes = np.arange(len(table))
    both = (codes & (FIRST | SECOND)) == FIRST | SECOND
    return table[np.where(both, codes, codes & ~(FIRST | SECOND))]


@ordered_games.claim(
    "ads/definition-3.1",
    "Definition 3.1, equation (1)",
    covers=("ads/equation-1",),
    false="The gains that the sources have on the empty coalition add up to v(D) - v(∅).",
    neighbour={"alone": True},
    proof="along a permutation the sum telescopes",
)
def definition_3_1(g: Game, alone: bool = False) -> tuple[Array, Array]:
    """Δ(z|S) = v(S∪{z}) - v(S) is a one-step gain: along any permutation the gains add up to v(D) - v(∅)."""
    gains = coalition_marginals(g.table)[:, :1].T if alone else marginals(g.table)
    total, orders = jnp.sum(of_sources(g, gains)[0], axis=1), orders_of(g.n)
    return jnp.where(orders, total, 0.0), jnp.where(orders, g.table[(1 << g.n) - 1] - g.table[0], 0.0)


@ordered_games.claim(
    "ads/equation-2",
    "equations (2) and (3)",
    covers=("ads/equation-3",),
    false="The plain mean of Δ(z|S) over all coalitions S without z equals the permutation form (3).",
    neighbour={"plain": True},
    proof="|S|! (n-1-|S|)! of the n! permutations have π^{<z} = S",
)
def equation_2(g: Game, plain: bool = False) -> dict[str, tuple]:
    """The subset form (2) equals the permutation form (3), the mean gain over all insertion positions.

    The library's Data Shapley is the same.
    """
    by_subsets = jnp.mean(coalition_marginals(g.table), axis=1) if plain else data_shapley(g.table, g.n)
    sides = {"(2) = (3)": of_sources(g, by_subsets, permutation_form(g.table, g.n))}
    for n in () if plain else DESIGNS:
        sides[f"library, n = {n}"] = (values.shapley(g.table[: 2**n]), data_shapley(g.table[: 2**n]))
    return sides


@ordered_games.claim(
    "ads/axiom-3.1",
    "Axiom 3.1 of Data Shapley and of the asymmetric value",
    false="Σ_z φ(z) = v(D), whatever the untrained model is worth.",
    neighbour={"untrained": 0.0},
    proof="the gains along each permutation add up to v(D) - v(∅)",
)
def axiom_3_1(g: Game, untrained: float = 1.0) -> tuple[Array, Array]:
    """Efficiency: Σ_z φ(z) = v(D) - v(∅), for Data Shapley and for the asymmetric value."""
    return jnp.sum(both_values(g, g.table), axis=1), g.table[(1 << g.n) - 1] - untrained * g.table[0]


@ordered_games.claim(
    "ads/axiom-3.2",
    "Axiom 3.2 of Data Shapley and of the asymmetric value",
    false="φ(z; w) = α φ(z; u) + β φ(z; v) also if w is αu + βv but for the empty coalition, which is worth 1 more.",
    neighbour={"shift": 1.0},
    proof="both values are sums of utilities with fixed weights",
)
def axiom_3_2(g: Game, shift: float = 0.0) -> tuple[Array, Array]:
    """Linearity: φ(z; αu + βv) = α φ(z; u) + β φ(z; v), for Data Shapley and for the asymmetric value."""
    combination = (g.scalars[0] * g.table + g.scalars[1] * g.other).at[0].add(shift)
    three = jnp.stack([g.table, g.other, combination])
    one, other, whole = jax.vmap(both_values, (None, 0))(g, three)
    return whole, g.scalars[0] * one + g.scalars[1] * other


@ordered_games.claim(
    "ads/axiom-3.3",
    "Axiom 3.3 of Data Shapley and of the asymmetric value",
    false="If v(S∪{z}) = v(S) for all S without z but the empty one, then φ(z) = 0.",
    neighbour={"once": 1.0},
    proof="every gain of z is 0",
)
def axiom_3_3(g: Game, once: float = 0.0) -> tuple[Array, Array]:
    """Nullity: if v(S∪{z}) = v(S) for all S without z, then φ(z) = 0, for Data Shapley and the asymmetric value."""
    null = g.table[np.arange(len(g.table)) & ~FIRST].at[FIRST].add(once)
    return both_values(g, null)[:, 0], jnp.zeros(2)


@ordered_games.claim(
    "ads/axiom-3.4",
    "Axiom 3.4 of Data Shapley",
    false="If v(S∪{z}) = v(S∪{z'}) for all S without z and z' but the empty one, then φ(z) = φ(z').",
    neighbour={"once": 1.0},
    proof="to swap z and z' maps the permutations onto themselves",
)
def axiom_3_4(g: Game, once: float = 0.0) -> tuple[Array, Array]:
    """Symmetry: if v(S∪{z}) = v(S∪{z'}) for all S without z and z', then φ(z) = φ(z') for Data Shapley."""
    phi = data_shapley(interchangeable(g.table, once), g.n)
    return phi[0], phi[1]


@ordered_games.claim(
    "ads/axiom-4.1",
    "Axiom 4.1 (intra-group uniform mutual dependence)",
    fails="root error",
    quote="If two sources z_i, z_j ∈ D are mutually dependent, that is, Δ(z_i|S) = Δ(z_j|S) for all S ⊆ D∖{z_i, z_j}, "
    "then φ^σ(z_i; v, D) = φ^σ(z_j; v, D) if z_i ≡_σ z_j, and 0 if z_i ≺_σ z_j.",
    why="Two sources in two groups with v(S) = |S| both add 1 to any coalition, so the axiom gives the earlier one 0, "
    "but the asymmetric value gives it v({1}) - v(∅) = 1, as does every value with efficiency, linearity and nullity. "
    "The axiom as printed therefore contradicts the other three. Nowak and Radzik (1995), who are cited, call two "
    "players mutually dependent if both gains are 0, that is, if each is worthless without the other. With that "
    "hypothesis the axiom holds.",
    counterexample=lambda: game((0.0, 1.0, 1.0, 2.0), (0, 1)),
    corrected="If Δ(z_i|S) = Δ(z_j|S) = 0 for all S without both (Nowak and Radzik, 1995), then the asymmetric value "
    "has φ(z_i) = φ(z_j) if both are in one group, and φ(z_i) = 0 if z_i's group comes first.",
    correction={"alike": dependent},
    proof="of the corrected version: only the later of the two gains, and within a group each is later equally often",
)
def axiom_4_1(g: Game, alike: Callable = interchangeable) -> tuple[Array, Array]:
    """The asymmetric value has equal φ(z_i) = φ(z_j) for mutually dependent sources of one group.

    If z_i's group comes first, then φ(z_i) = 0. Mutually dependent means that Δ(z_i|S) = Δ(z_j|S) for all S without
    both.
    """
    phi = ordered_form(alike(g.table), g.groups)
    together = g.groups[0] == g.groups[1]
    earlier = jnp.where(g.groups[0] < g.groups[1], phi[0], phi[1])
    return jnp.where(together, phi[0], earlier), jnp.where(together, phi[1], 0.0)


@ordered_games.claim(
    "ads/within-group-symmetry",
    "section 4, below Axiom 4.1 and in the abstract",
    false="The asymmetric value gives indistinguishable sources equal values across groups, too.",
    neighbour={"across": True},
    proof="to swap two sources of a group maps the ordered permutations onto themselves",
)
def within_group_symmetry(g: Game, across: bool = False) -> tuple[Array, Array]:
    """The asymmetric value preserves equal valuation of indistinguishable sources within a group."""
    phi = ordered_form(interchangeable(g.table), g.groups)
    return jnp.where(across | (g.groups[0] == g.groups[1]), phi[0], phi[1]), phi[1]
