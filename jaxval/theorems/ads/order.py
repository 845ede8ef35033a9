"""Data Shapley and its asymmetric form: sections 3.1 and 4 of Zheng et al. (2026), formula by formula.

Four sources in ordered groups; `jaxval.values` is held against sums over permutations and coalitions as they are
printed. Uniqueness is in `uniqueness`, rounds of training in `rounds`.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import values
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._games import (
    COALITIONS,
    Game,
    asymmetric,
    coalition_marginals,
    data_shapley,
    game,
    games,
    marginals,
    ordered_form,
    permutation_form,
)

__all__ = ["CLAIMS"]

CODES = np.arange(COALITIONS)
ALL = COALITIONS - 1


def bits(g: Game) -> tuple[Array, Array]:
    return 1 << g.pair[0], 1 << g.pair[1]


def null(g: Game) -> Array:
    """The first of the pair adds nothing to anybody."""
    return g.table[CODES & ~bits(g)[0]]


def null_but_once(g: Game) -> Array:
    """It adds 1 to the empty coalition, and nothing to any other."""
    return null(g).at[bits(g)[0]].add(1.0)


def swapped(g: Game) -> Array:
    first, second = bits(g)
    codes = jnp.arange(COALITIONS)
    has_first, has_second = (codes & first) > 0, (codes & second) > 0
    return (codes & ~(first | second)) + jnp.where(has_first, second, 0) + jnp.where(has_second, first, 0)


def interchangeable(g: Game) -> Array:
    """The pair adds the same to every coalition without them: the hypothesis of Axioms 3.4 and 4.1 as printed."""
    return 0.5 * (g.table + g.table[swapped(g)])


def interchangeable_but_once(g: Game) -> Array:
    return interchangeable(g).at[bits(g)[0]].add(1.0)


def dependent(g: Game) -> Array:
    """Neither of the pair adds anything without the other: mutual dependence in Nowak and Radzik (1995)."""
    both = bits(g)[0] | bits(g)[1]
    return jnp.where((CODES & both) == both, g.table, g.table[CODES & ~both])


def telescopes(g: Game) -> Array:
    """Along each permutation (1) adds up to v(D) - v(∅), and two sources add the same in either order."""
    first, second = bits(g)
    rest = CODES & ~(first | second)
    v = g.table
    one = (v[rest | first] - v[rest]) + (v[rest | first | second] - v[rest | first])
    other = (v[rest | second] - v[rest]) + (v[rest | first | second] - v[rest | second])
    return jnp.maximum(largest(jnp.sum(marginals(v), axis=1) - (v[ALL] - v[0])), largest(one - other))


def alone_or_together(g: Game) -> Array:
    first, second = bits(g)
    rest = CODES & ~(first | second)
    return largest(g.table[rest | first] - g.table[rest] - g.table[rest | first | second] + g.table[rest | second])


def banzhaf_instead(g: Game) -> Array:
    return jnp.mean(coalition_marginals(g.table), axis=1)


def linear(g: Game, *, shift: float = 0.0) -> Array:
    """Axiom 3.2 of both values; a shift of what the empty coalition is worth spoils it."""
    combination = (g.scalars[0] * g.table + g.scalars[1] * g.other).at[0].add(shift)
    three = jnp.stack([g.table, g.other, combination], axis=1)
    of_both = jnp.stack([values.shapley(three), asymmetric(three, g)])
    return largest(of_both[..., 2] - g.scalars[0] * of_both[..., 0] - g.scalars[1] * of_both[..., 1])


def of_pair(phi: Array, g: Game, *, swap: bool = False) -> Array:
    """What Axiom 4.1 asks of a pair: equal values in one group, none for the earlier of two groups."""
    one, other = phi[g.pair[0]], phi[g.pair[1]]
    first_earlier = (g.groups[g.pair[0]] < g.groups[g.pair[1]]) != swap
    same = g.groups[g.pair[0]] == g.groups[g.pair[1]]
    return jnp.where(same, jnp.abs(one - other), jnp.abs(jnp.where(first_earlier, one, other)))


def within_group_symmetry(g: Game, *, across: bool = False) -> Array:
    phi = ordered_form(interchangeable(g), g.groups)
    same = g.groups[g.pair[0]] == g.groups[g.pair[1]]
    return jnp.where(same | across, jnp.abs(phi[g.pair[0]] - phi[g.pair[1]]), 0.0)


ONE_EACH = (0.0, 1.0, 1.0, 2.0)

CLAIMS = (
    Claim(
        "ads/definition-3.1",
        "Definition 3.1, equation (1)",
        Statement(
            "Δ(z|S) = v(S∪{z}) - v(S) is a one-step gain: along any permutation the gains add up to v(D) - v(∅), and "
            "Δ(z|S) + Δ(z'|S∪{z}) = Δ(z'|S) + Δ(z|S∪{z'}).",
            telescopes,
            "A source adds as much after another as without it, Δ(z|S) = Δ(z|S∪{z'}).",
            alone_or_together,
        ),
        games,
        covers=("ads/equation-1",),
    ),
    Claim(
        "ads/equation-2",
        "equations (2) and (3)",
        Statement(
            "The subset form (2) equals the permutation form (3), the mean gain over all insertion positions.",
            lambda g: jnp.maximum(
                largest(data_shapley(g.table) - permutation_form(g.table)),
                largest(values.shapley(g.table) - data_shapley(g.table)),
            ),
            "So does the plain mean over all coalitions.",
            lambda g: largest(banzhaf_instead(g) - permutation_form(g.table)),
        ),
        games,
        covers=("ads/equation-3",),
    ),
    Claim(
        "ads/axiom-3.1",
        "Axiom 3.1 of Data Shapley and of the asymmetric value",
        Statement(
            "Efficiency: Σ_z φ(z) = v(D) - v(∅).",
            lambda g: jnp.maximum(
                jnp.abs(jnp.sum(values.shapley(g.table)) - (g.table[ALL] - g.table[0])),
                jnp.abs(jnp.sum(asymmetric(g.table, g)) - (g.table[ALL] - g.table[0])),
            ),
            "Σ_z φ(z) = v(D), whatever the untrained model is worth.",
            lambda g: jnp.abs(jnp.sum(values.shapley(g.table)) - g.table[ALL]),
        ),
        games,
    ),
    Claim(
        "ads/axiom-3.2",
        "Axiom 3.2 of Data Shapley and of the asymmetric value",
        Statement(
            "Linearity: φ(z; αu + βv) = α φ(z; u) + β φ(z; v).",
            linear,
            "The same where only the untrained model of the combination is worth 1 more.",
            lambda g: linear(g, shift=1.0),
        ),
        games,
    ),
    Claim(
        "ads/axiom-3.3",
        "Axiom 3.3 of Data Shapley and of the asymmetric value",
        Statement(
            "Nullity: if v(S∪{z}) = v(S) for all S without z, then φ(z) = 0.",
            lambda g: jnp.maximum(
                jnp.abs(values.shapley(null(g))[g.pair[0]]),
                jnp.abs(asymmetric(null(g), g)[g.pair[0]]),
            ),
            "If v(S∪{z}) = v(S) for all S but the empty one, then φ(z) = 0.",
            lambda g: jnp.abs(values.shapley(null_but_once(g))[g.pair[0]]),
        ),
        games,
    ),
    Claim(
        "ads/axiom-3.4",
        "Axiom 3.4 of Data Shapley",
        Statement(
            "Symmetry: if v(S∪{z}) = v(S∪{z'}) for all S without z and z', then φ(z) = φ(z').",
            lambda g: jnp.abs(jnp.diff(values.shapley(interchangeable(g))[g.pair])[0]),
            "If v(S∪{z}) = v(S∪{z'}) for all S but the empty one, then φ(z) = φ(z').",
            lambda g: jnp.abs(jnp.diff(values.shapley(interchangeable_but_once(g))[g.pair])[0]),
        ),
        games,
    ),
    Claim(
        "ads/axiom-4.1",
        "Axiom 4.1 (intra-group uniform mutual dependence)",
        Statement(
            "If Δ(z_i|S) = Δ(z_j|S) for all S without both, then φ(z_i) = φ(z_j) where they are in one group, and "
            "φ(z_i) = 0 where z_i's group comes first: the asymmetric value obeys.",
            lambda g: of_pair(ordered_form(interchangeable(g), g.groups), g),
            "The same of any two sources.",
            lambda g: of_pair(ordered_form(g.table, g.groups), g),
        ),
        games,
        verdict="holds as corrected",
        why=(
            "v(S) = |S| of two sources in two groups: both add 1 to anything, so the axiom gives the earlier one 0, "
            "while the asymmetric value gives it v({1}) - v(∅) = 1, as every efficient and linear value with nullity "
            "does. Nor does it suit copies: of an original and its exact copy it gives the original 0. The "
            "hypothesis of the mutual dependence cited is that both gains are 0: each is worthless without the "
            "other."
        ),
        corrected=Statement(
            "If Δ(z_i|S) = Δ(z_j|S) = 0 for all S without both (Nowak and Radzik, 1995), then the same follows.",
            lambda g: of_pair(ordered_form(dependent(g), g.groups), g),
            "Then the later of the two gets 0.",
            lambda g: of_pair(ordered_form(dependent(g), g.groups), g, swap=True),
        ),
        counterexample=lambda: game(ONE_EACH, (1, 0, 1, 1)),
    ),
    Claim(
        "ads/within-group-symmetry",
        "section 4, below Axiom 4.1 and in the abstract",
        Statement(
            "The asymmetric value preserves equal valuation of indistinguishable sources within a group.",
            within_group_symmetry,
            "And across groups.",
            lambda g: within_group_symmetry(g, across=True),
        ),
        games,
    ),
)
