"""What section 6 does with values: augmentations retained, data sets bought, sources of many instances, errors."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._games import COALITIONS, MASKS, PLAYERS, Game, data_shapley, game, games, subset_form

__all__ = ["CLAIMS"]

CODES = np.arange(COALITIONS)
ORIGINAL_FIRST, ROUND_OF_TWO = np.array([1, 0, 1, 1]), np.array([1, 0, 0, 1])
ATTRIBUTES, LEVELS = 3, 4
PROFILES = np.array([[i, j, k] for i in range(LEVELS) for j in range(LEVELS) for k in range(LEVELS)])
DESIGN = np.concatenate([np.eye(LEVELS)[PROFILES[:, a]] for a in range(ATTRIBUTES)], axis=1)
LEAST_SQUARES = np.linalg.pinv(DESIGN)


# Augmentations that are retained where their value is positive


def retained(table: Array, *, above_all: bool = False) -> Array:
    """How far v of the originals and the augmentations of positive value falls below v of the originals, or of all."""
    phi = subset_form(table, jnp.asarray(ORIGINAL_FIRST))
    kept = jnp.sum(jnp.where((phi > 1e-12) & (ORIGINAL_FIRST == 1), 1 << jnp.arange(PLAYERS), 0))
    originals = int(np.sum(1 << np.flatnonzero(ORIGINAL_FIRST == 0)))
    below = table[originals] - table[originals | kept]
    return jnp.maximum(below, table[-1] - table[originals | kept]) if above_all else below


def diminishing(g: Game) -> Array:
    """A submodular utility that may fall: what a coalition covers, less what its sources cost."""
    covered = jnp.asarray((CODES[:, None] & CODES[None, :]) > 0, float) @ g.cover
    return covered - jnp.asarray(MASKS, float) @ jnp.abs(g.other[:PLAYERS])


# One data set bought of the candidates of a round


def regret(g: Game, groups: np.ndarray, *, left_out: bool = False) -> Array:
    """How far the candidate of the largest value falls below the best one, each bought alone after round 1."""
    without = g.table[-1] - g.table[CODES[-1] & ~(1 << np.arange(PLAYERS))]
    phi = jnp.where(groups == 1, without if left_out else subset_form(g.table, jnp.asarray(groups)), -jnp.inf)
    before = int(np.sum(1 << np.flatnonzero(groups == 0)))
    alone = jnp.where(groups == 1, g.table[before | 1 << np.arange(PLAYERS)], -jnp.inf)
    return jnp.max(alone) - alone[jnp.argmax(phi)]


def consistent(g: Game) -> Game:
    """A round whose candidates rank alike in any company: v depends on what they bring in all, and grows with it."""
    brought = jnp.asarray(MASKS, float) @ g.other[:PLAYERS]
    return g._replace(table=jnp.tanh(brought) + brought / 8)


# Sources of several instances


def of_instances(g: Game, *, total: bool = False) -> Array:
    """Source {0, 1} and source {2}: the sum over instances against the value of sources as players, or totals."""
    of_four = jnp.where(jnp.arange(PLAYERS) < 3, data_shapley(g.table[CODES & 7]), 0.0)
    first, second, both = g.table[3] - g.table[0], g.table[4] - g.table[0], g.table[7] - g.table[0]
    sources = jnp.stack([first + both - second, second + both - first]) / 2
    gap = jnp.stack([of_four[0] + of_four[1], of_four[2]]) - sources
    return jnp.abs(jnp.sum(gap)) if total else largest(gap)


# The error of estimated part-worths


class PartWorths(NamedTuple):
    """What people think of the levels of three attributes.

    Attributes:
        levels: (12,) u_ij, four for each attribute.
    """

    levels: Float[Array, "levels"]


def part_worths(key: Key[Array, ""]) -> PartWorths:
    """Uniform from 0 to 95/3, or 0 and 1."""
    u = jax.random.uniform(key, (ATTRIBUTES * LEVELS + 1,))
    return PartWorths(jnp.where(u[-1] < 0.2, jnp.round(u[:-1]), u[:-1] * 95 / 3))


def estimated(p: PartWorths) -> Array:
    """û by least squares from perfect ratings of all 64 profiles, of smallest norm among the minimisers."""
    return jnp.asarray(LEAST_SQUARES) @ (jnp.asarray(DESIGN) @ p.levels)


def average_error(p: PartWorths) -> Array:
    """AvgErr = 1/n Σ_ij |û_ij - u_ij|."""
    return jnp.mean(jnp.abs(estimated(p) - p.levels))


def differences(p: PartWorths, *, across: bool = False) -> Array:
    """Errors of the differences of levels of one attribute, and of the ratings; or of levels of several attributes."""
    error = (estimated(p) - p.levels).reshape(ATTRIBUTES, LEVELS)
    if across:
        return largest(error - error[:1, :1])
    return jnp.maximum(largest(error - error[:, :1]), largest(jnp.asarray(DESIGN) @ error.reshape(-1)))


def one_level() -> PartWorths:
    """One level of the first attribute is worth 12, nothing else anything."""
    return PartWorths(jnp.zeros(ATTRIBUTES * LEVELS).at[0].set(12.0))


def two_augmentations() -> Game:
    """Accuracies 0.5 of the originals, 0.4 and 0.1 with one augmentation, 0.5 with both; a third adds nothing."""
    blank = game((0.0,), (1, 0, 1, 1))
    worth = {0: 0.5, 1: 0.4, 2: 0.1, 3: 0.5}
    table = [worth[(code & 1) + 2 * (code >> 2 & 1)] for code in range(COALITIONS)]
    return blank._replace(table=jnp.asarray(table))


def third_wheel() -> Game:
    """Candidates a, b, c: v is 1 of a, 0 of b and c, 0 of a and c, 2 of b and c, 1 of a and b, 1 of all."""
    blank = game((0.0,), (1, 0, 1, 1))
    worth = {0: 0, 1: 1, 2: 0, 4: 0, 3: 1, 5: 0, 6: 2, 7: 1}
    table = [float(worth[(code & 1) + (code >> 1 & 6)]) for code in range(COALITIONS)]
    return blank._replace(table=jnp.asarray(table))


def majority() -> Game:
    """Three instances, worth 1 where there are two of them or more."""
    return game([float(code.bit_count() > 1) for code in range(8)], (0, 0, 0, 0))


CLAIMS = (
    Claim(
        "ads/retain-positive",
        "section 6.1.2 (augmentation, an expected improvement), read as a rule",
        Statement(
            "Originals before augmentations: the model that is trained with the augmentations of positive value is "
            "no worse than that of the originals.",
            lambda g: retained(g.table),
            "It is no better.",
            lambda g: -retained(g.table),
        ),
        games,
        verdict="holds as corrected",
        why=(
            "Accuracies 0.5 of the originals, 0.4 with augmentation a, 0.1 with b, 0.5 with both: a is worth 0.15 "
            "and b -0.15, but the originals with a alone have 0.4. A positive value is a mean over company that is "
            "then dropped."
        ),
        corrected=Statement(
            "Where gains diminish (v submodular), it is no worse than that of the originals, and than that of all.",
            lambda g: retained(diminishing(g), above_all=True),
            "Where they grow.",
            lambda g: retained(-diminishing(g), above_all=True),
        ),
        counterexample=two_augmentations,
    ),
    Claim(
        "ads/procurement",
        "section 6.3 (values choose what to buy), read as a rule",
        Statement(
            "Of three candidate data sets, of which one is bought, the one of the largest value in the round is the "
            "best.",
            lambda g: regret(g, ORIGINAL_FIRST),
            "The one is whose absence the round would miss most (leave one out).",
            lambda g: regret(g, ORIGINAL_FIRST, left_out=True),
        ),
        games,
        verdict="holds as corrected",
        why=(
            "a alone is worth 1, b and c nothing, b and c together 2, a and c nothing, a and b 1, all three 1: the "
            "values are 1/6, 2/3 and 1/6, and b is bought. Values share out what all bring; one purchase is judged "
            "by v({z}; A)."
        ),
        corrected=Statement(
            "Of two candidates it is, and of three whose order is the same in any company.",
            lambda g: jnp.maximum(regret(g, ROUND_OF_TWO), regret(consistent(g), ORIGINAL_FIRST)),
            "Of two, and of any three.",
            lambda g: jnp.maximum(regret(g, ROUND_OF_TWO), regret(g, ORIGINAL_FIRST)),
        ),
        counterexample=third_wheel,
    ),
    Claim(
        "ads/instances-to-sources",
        "section 5.2, before Definition 5.2, read beside Theorem 4.1",
        Statement(
            "The value of a source is the sum of the values of its instances as players.",
            of_instances,
            "The sums over instances are twice as large.",
            lambda g: largest(data_shapley(g.table[CODES & 7])[:3]),
        ),
        games,
        verdict="holds as corrected",
        why=(
            "Three instances, worth 1 where there are two of them or more, are worth 1/3 each; a source of two of "
            "them is worth 1 beside a source of the third, and not 2/3. What section 5.2 defines is another value "
            "than Theorem 4.1's."
        ),
        corrected=Statement(
            "The totals of a group are the same, of instances and of sources, by group efficiency.",
            lambda g: of_instances(g, total=True),
            "And those of each source.",
            of_instances,
        ),
        counterexample=majority,
    ),
    Claim(
        "ads/average-error",
        "section 6.3 and C.3",
        Statement(
            "AvgErr = 1/12 Σ_ij |û_ij - u_ij|, û by least squares, measures how far estimated part-worths are from "
            "the true ones: perfect ratings of all 64 profiles give 0.",
            average_error,
            "They give the mean of the part-worths.",
            lambda p: jnp.abs(average_error(p) - jnp.mean(p.levels)),
        ),
        part_worths,
        verdict="holds as corrected",
        why=(
            "Levels of an attribute exclude each other, so the 12 columns have rank 10: a constant may move between "
            "attributes. One level worth 12 and all others nothing is estimated, from perfect ratings and with the "
            "smallest norm, with errors of -2 at the first attribute's levels and 1 at the others': AvgErr = 4/3."
        ),
        corrected=Statement(
            "Perfect ratings give the differences between levels of an attribute, and the ratings, exactly.",
            differences,
            "And those between levels of two attributes.",
            lambda p: differences(p, across=True),
        ),
        counterexample=one_level,
    ),
)
