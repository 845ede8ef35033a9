"""The value in ordered groups and its weighted form: (7) to (9), (11), (13), (14) and Propositions 4.1 to 4.5."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import values
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._games import (
    BEFORE,
    COALITIONS,
    FACTORIAL,
    PLAYERS,
    SHAPES,
    WITHOUT,
    Game,
    asymmetric,
    data_shapley,
    game,
    games,
    marginals,
    of_shape,
    ordered_form,
    ordered_probabilities,
    permutation_form,
    prefix,
    respects,
    sizes_of,
    subset_form,
    weighted_form,
    weighted_probabilities,
    within,
)

__all__ = ["CLAIMS"]

CODES = np.arange(COALITIONS)


def two_forms(g: Game) -> Array:
    """(7) with (8) against the library; (8) sums to one."""
    total = jnp.sum(ordered_probabilities(g.groups))
    return jnp.maximum(jnp.abs(total - 1), largest(ordered_form(g.table, g.groups) - asymmetric(g.table, g)))


def predecessors(g: Game) -> Array:
    """Proof of Proposition 4.1: how many ordered permutations have π^{<z} = U_{t-1} ∪ S_t, against N(S_t)."""
    sizes = sizes_of(g.groups)
    own = sizes[g.groups][:, None]
    fits, small = within(g.groups)
    others = jnp.prod(jnp.asarray(FACTORIAL)[sizes])
    factorial = jnp.asarray(FACTORIAL)
    formula = others / factorial[own] * factorial[small] * factorial[jnp.maximum(own - small - 1, 0)]
    counted = jnp.sum(respects(g.groups)[:, None, None] & (BEFORE[:, :, None] == WITHOUT[None, :, :]), axis=0)
    return largest(jnp.where(fits, formula, 0.0) - counted)


def by_groups(phi: Array, g: Game, *, from_nothing: bool = False) -> Array:
    """Proposition 4.2: Σ_{z ∈ D_t} φ(z) - [v(U_t) - v(U_{t-1})], largest over t."""
    gaps = [
        jnp.sum(jnp.where(g.groups == t, phi, 0))
        - (g.table[prefix(g.groups, t + 1)] - g.table[0 if from_nothing else prefix(g.groups, t)])
        for t in range(PLAYERS)
    ]
    there = jnp.arange(PLAYERS) <= jnp.max(g.groups)
    return largest(jnp.where(there, jnp.stack(gaps), 0.0))


def one_group(g: Game, *, groups: tuple[int, ...] = (0, 0, 0, 0)) -> Array:
    """Proposition 4.3: weights, permutation and subset form, and the library."""
    single = jnp.asarray(groups)
    classical = data_shapley(g.table)
    return jnp.stack([
        largest(ordered_probabilities(single) - 1 / FACTORIAL[PLAYERS]),
        largest(subset_form(g.table, single) - classical),
        largest(ordered_form(g.table, single) - permutation_form(g.table)),
        largest(values.asymmetric_shapley(g.table, list(groups)) - values.shapley(g.table)),
    ]).max()  # fmt: skip


def two_groups(g: Game) -> Game:
    """The same utility with originals before augmentations."""
    shape = 1 + g.shape % 3
    return g._replace(shape=shape, groups=jnp.asarray(SHAPES)[shape])


def standalone_and_incremental(g: Game, *, conditional: bool = True) -> Array:
    """Proposition 4.4: originals by themselves; augmentations on top of all originals."""
    g = two_groups(g)
    originals = prefix(g.groups, 1)
    alone = data_shapley(g.table[CODES & originals])
    on_top = data_shapley(g.table[(CODES & ~originals) | jnp.where(conditional, originals, 0)])
    p = jnp.where(respects(g.groups), 1 / jnp.prod(jnp.asarray(FACTORIAL)[sizes_of(g.groups)[:2]]), 0.0)
    wanted = jnp.where(g.groups == 0, alone, on_top)
    held = jnp.stack([values.asymmetric_shapley(g.table, SHAPES[k]) for k in (1, 2, 3)])[g.shape - 1]
    return jnp.maximum(largest(held - wanted), largest(p @ marginals(g.table) - wanted))


def on_top_of_rounds(g: Game, *, backwards: bool = False) -> Array:
    """Proposition 4.5: (11), and each source's Shapley value in its round, on top of the rounds before."""
    groups = jnp.max(g.groups) - g.groups if backwards else g.groups
    phi = jnp.zeros(PLAYERS)
    for t in range(PLAYERS):
        before, mine = prefix(groups, t), prefix(groups, t + 1) - prefix(groups, t)
        phi = jnp.where(groups == t, data_shapley(g.table[before | (CODES & mine)]), phi)
    p = jnp.where(respects(g.groups), 1 / jnp.prod(jnp.asarray(FACTORIAL)[sizes_of(g.groups)]), 0.0)
    return largest(p @ marginals(g.table) - phi)


def elsewhere_changed(g: Game) -> Array:
    """V with other numbers wherever a coalition is not some U_{t-1} ∪ S_t."""
    fits, _ = within(g.groups)
    seen = jnp.zeros(COALITIONS, bool)
    for z in range(PLAYERS):
        seen = seen.at[WITHOUT[z]].max(fits[z]).at[WITHOUT[z] | 1 << z].max(fits[z])
    return jnp.where(seen, g.table, g.other + 1)


def coverage(g: Game) -> Array:
    """A submodular game: Σ of the weights of the sets that a coalition meets."""
    return jnp.asarray((CODES[:, None] & CODES[None, :]) > 0, float) @ g.cover


def originals_lose(table: Array, g: Game, *, gain: bool = False) -> Array:
    """By how much Data Shapley gives the first group more than the asymmetric value does."""
    first = g.groups == 0
    more = jnp.sum(jnp.where(first, data_shapley(table) - subset_form(table, g.groups), 0.0))
    return -more if gain else more


def weighted_library(g: Game) -> Array:
    return of_shape(lambda groups: values.weighted_shapley(g.table, groups, g.weights), g.shape)


def all_so_far(g: Game) -> Array:
    """(14) with the sum over all that came so far in place of the latest group."""
    ones = jnp.zeros(PLAYERS, int)
    return jnp.where(respects(g.groups), weighted_probabilities(ones, g.weights), 0.0)


def probabilities(weights: Array, g: Game) -> Array:
    """(14): not below 0, one in all; of equal weights those of (8)."""
    p = weighted_probabilities(g.groups, weights)
    equal = weighted_probabilities(g.groups, jnp.full(PLAYERS, 0.7))
    off = jnp.stack([jnp.abs(jnp.sum(p) - 1), jnp.max(-p), largest(equal - ordered_probabilities(g.groups))])
    return jnp.where(jnp.all(jnp.isfinite(p)), jnp.max(off), jnp.inf)


def some_zero(g: Game) -> Array:
    """λ in which the lightest weighs nothing where the two scalars are both above 0."""
    return jnp.where(jnp.all(g.scalars > 0) & (g.weights == jnp.min(g.weights)), 0.0, g.weights)


def positive(g: Game) -> Array:
    return jnp.where(g.weights > 0, g.weights, 1.0)


ONE_EACH = (0.0, 1.0, 1.0, 2.0)
BOTH_OR_NOTHING = (0.0, 0.0, 0.0, 1.0)

CLAIMS = (
    Claim(
        "ads/equation-7",
        "equations (7) and (8)",
        Statement(
            "φ^σ(z) = Σ_π p_π [v(π^{<z}∪{z}) - v(π^{<z})], p = 1/Π_t |D_t|! on the permutations that respect σ, else "
            "0.",
            two_forms,
            "It does not matter in which order the groups come.",
            lambda g: largest(ordered_form(g.table, jnp.max(g.groups) - g.groups) - asymmetric(g.table, g)),
        ),
        games,
        covers=("ads/equation-8",),
    ),
    Claim(
        "ads/proposition-4.1",
        "Proposition 4.1, equation (9), and its proof",
        Statement(
            "φ^σ(z) = 1/|D_t| Σ_{S_t⊆D_t∖{z}} C(|D_t|-1, |S_t|)^{-1} [v(U_{t-1}∪S_t∪{z}) - v(U_{t-1}∪S_t)]; N(S_t) "
            "of its proof counts the ordered permutations in which S_t comes before z.",
            lambda g: jnp.stack(
                [
                    largest(subset_form(g.table, g.groups) - ordered_form(g.table, g.groups)),
                    largest(subset_form(g.table, g.groups) - asymmetric(g.table, g)),
                    predecessors(g),
                ]
            ).max(),
            "The same without the groups before, v(S_t∪{z}) - v(S_t).",
            lambda g: largest(
                jnp.stack(
                    [
                        data_shapley(g.table[CODES & (prefix(g.groups, t + 1) - prefix(g.groups, t))])
                        for t in range(PLAYERS)
                    ]
                )[g.groups, jnp.arange(PLAYERS)]
                - asymmetric(g.table, g)
            ),
        ),
        games,
        covers=("ads/equation-9",),
    ),
    Claim(
        "ads/proposition-4.2",
        "Proposition 4.2 and the telescoping sum of B.5",
        Statement(
            "Group efficiency: Σ_{z∈D_t} φ^σ(z) = v(U_t) - v(U_{t-1}) for every t.",
            lambda g: by_groups(ordered_form(g.table, g.groups), g),
            "Σ_{z∈D_t} φ^σ(z) = v(U_t) - v(∅).",
            lambda g: by_groups(ordered_form(g.table, g.groups), g, from_nothing=True),
        ),
        games,
    ),
    Claim(
        "ads/proposition-4.3",
        "Proposition 4.3",
        Statement(
            "One group gives Data Shapley: p = 1/n!, and the forms are (2) and (3).",
            one_group,
            "So does one group for each source.",
            lambda g: one_group(g, groups=(0, 1, 2, 3)),
        ),
        games,
    ),
    Claim(
        "ads/proposition-4.4",
        "Proposition 4.4 (its R^σ(D) is Π_σ(D))",
        Statement(
            "σ = (D_orig, D_aug): p = 1/(|D_orig|! |D_aug|!); originals get their standalone value, augmentations "
            "their incremental value conditional on all originals.",
            standalone_and_incremental,
            "Augmentations get their standalone value, too.",
            lambda g: standalone_and_incremental(g, conditional=False),
        ),
        games,
    ),
    Claim(
        "ads/proposition-4.5",
        "Proposition 4.5, equation (11)",
        Statement(
            "σ = rounds: p = 1/Π_t |D_t|!; each source gets its incremental value, averaged within its round, on top "
            "of all earlier rounds.",
            on_top_of_rounds,
            "On top of all later rounds.",
            lambda g: on_top_of_rounds(g, backwards=True),
        ),
        games,
        covers=("ads/equation-11",),
    ),
    Claim(
        "ads/within-group-combinatorics",
        "section 4, below Remark 4.1",
        Statement(
            "The asymmetric value depends only on within-group combinatorics, on v of U_{t-1} ∪ S_t with S_t ⊆ D_t.",
            lambda g: largest(jnp.diff(asymmetric(jnp.stack([elsewhere_changed(g), g.table], axis=1), g), axis=1)),
            "So does Data Shapley.",
            lambda g: largest(values.shapley(elsewhere_changed(g)) - values.shapley(g.table)),
        ),
        games,
    ),
    Claim(
        "ads/originals-keep-more",
        "sections 6.1.2 and 7 (an observation), read as a rule",
        Statement(
            "Under Data Shapley part of the contributors' value goes to the broker who augments, the asymmetric "
            "value protects the originals: the first group gets at least what Data Shapley gives it.",
            lambda g: originals_lose(g.table, g),
            "The same with at most in place of at least.",
            lambda g: originals_lose(g.table, g, gain=True),
        ),
        games,
        verdict="holds as corrected",
        why=(
            "An original and an augmentation that are worth 1 together and nothing apart: Data Shapley gives the "
            "original 1/2, the asymmetric value 0 and the augmentation 1. Who comes first is protected where gains "
            "diminish, and loses where they grow."
        ),
        corrected=Statement(
            "Where gains diminish (v submodular, as coverage is), the first group gets at least what Data Shapley "
            "gives it; where they grow (-v submodular), at most.",
            lambda g: jnp.maximum(originals_lose(coverage(g), g), originals_lose(-coverage(g), g, gain=True)),
            "Where gains diminish, every group gets at least that.",
            lambda g: jnp.max(data_shapley(coverage(g)) - subset_form(coverage(g), g.groups)),
        ),
        counterexample=lambda: game(BOTH_OR_NOTHING, (1, 0, 1, 1)),
    ),
    Claim(
        "ads/equation-13",
        "equations (13) and (14), B.3",
        Statement(
            "φ_ω(z) = Σ_π p_π^ω [v(π^{<z}∪{z}) - v(π^{<z})]; with equal weights in each group it is the asymmetric "
            "value.",
            lambda g: jnp.maximum(
                largest(weighted_form(g.table, g.groups, g.weights) - weighted_library(g)),
                largest(weighted_form(g.table, g.groups, g.weights[g.groups]) - ordered_form(g.table, g.groups)),
            ),
            "It is the asymmetric value whatever the weights.",
            lambda g: largest(weighted_form(g.table, g.groups, g.weights) - ordered_form(g.table, g.groups)),
        ),
        games,
    ),
    Claim(
        "ads/equation-14",
        "equation (14), B.3",
        Statement(
            "Weights that are zero or positive give p_π = Π_j λ_{o_j} / Σ_{Max} λ, a distribution on the "
            "permutations that respect σ; equal ones in each group give (8).",
            lambda g: probabilities(some_zero(g), g),
            "Each factor is taken over all that came so far, not over the latest group.",
            lambda g: jnp.abs(jnp.sum(all_so_far(g)) - 1),
        ),
        games,
        verdict="holds as corrected",
        why=(
            "With weights 0 and 1 in one group, the permutation that begins with the first source has 0/0 for a "
            "factor. The weights cited are positive; who is to come first for certain belongs into an earlier group."
        ),
        corrected=Statement(
            "Positive weights do.",
            lambda g: probabilities(positive(g), g),
            "And the distribution is uniform.",
            lambda g: largest(weighted_probabilities(g.groups, positive(g)) - ordered_probabilities(g.groups)),
        ),
        counterexample=lambda: game(ONE_EACH, (0, 0, 0, 0), (0.0, 1.0, 1.0, 1.0))._replace(scalars=jnp.ones(2)),
    ),
)
