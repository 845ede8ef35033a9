"""What section 6 does with values: totals of contributors and brokers, and the error of estimated part-worths."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxval.theorems.ads._games import Game, data_shapley, of_sources, ordered_games, subset_form, two_groups, unions
from jaxval.theorems.records import Setting

MOST = 4


@ordered_games.claim(
    "ads/contributors-retain",
    "section 6.1.2 (replication and augmentation)",
    false="Under Data Shapley the contributors retain v(D_orig) - v(∅), and the broker gets v(D) - v(D_orig).",
    neighbour={"symmetric": True},
    proof="Proposition 4.2 with two groups",
)
def contributors_retain(g: Game, symmetric: bool = False) -> dict[str, tuple]:
    """Under the asymmetric value with σ = (D_orig, D_aug) the contributors retain v(D_orig) - v(∅), as before.

    The broker gets v(D) - v(D_orig). Both also hold if only the augmented sources of positive value are retained.
    """
    groups = two_groups(g)
    U, codes = unions(groups), jnp.arange(len(g.table))

    def value(table: Array) -> Array:
        return of_sources(g, data_shapley(table, g.n) if symmetric else subset_form(table, groups))[0]

    def totals(table: Array) -> tuple[Array, Array]:
        return jnp.zeros(len(U) - 1).at[groups].add(value(table))[:2], jnp.diff(table[U[:3]])

    positive = jnp.sum(jnp.where(value(g.table) > 0, 1 << jnp.arange(len(groups)), 0))
    return {"all": totals(g.table), "positive": totals(g.table[codes & (U[1] | positive)])}


# The error of estimated part-worths


class PartWorths(NamedTuple):
    """What people think of the levels of attributes.

    Attributes:
        levels: (4, 4) u_ij of up to four attributes with up to four levels.
    """

    levels: Float[Array, "attributes levels"]


def part_worths(key: Key[Array, ""]) -> PartWorths:
    """Uniform from 0 to 95/3 as in Appendix C.3, or 0 and 1."""
    u = jax.random.uniform(key, (MOST * MOST + 1,))
    return PartWorths(jnp.where(u[-1] < 0.2, jnp.round(u[:-1]), u[:-1] * 95 / 3).reshape(MOST, MOST))


def profiles_of(attributes: int, levels: int) -> np.ndarray:
    """(levels^attributes, attributes levels) the indicators of each product profile's levels."""
    profiles = np.indices((levels,) * attributes).reshape(attributes, -1).T
    return np.eye(levels)[profiles].reshape(len(profiles), -1)


ratings = Setting(
    part_worths, "2 attributes of 2 levels, 2 of 3, 3 of 4 as in the paper, and 4 of 2; all profiles rated"
)


@ratings.claim(
    "ads/average-error",
    "section 6.3 and C.3",
    fails="reading",
    quote="The performance of the fine-tuned LLM in approximating the underlying consumer preference model is "
    "evaluated using the average estimation error (AvgErr), defined as AvgErr = 1/n Σ_i Σ_j |û_ij - u_ij|.",
    why="The 12 columns of the paper's design have rank 10, because each profile has exactly one level of each "
    "attribute, and least squares leaves a constant free to move between attributes. If one level is worth 12 and all "
    "others nothing, the least-squares part-worths of smallest norm from perfect ratings are wrong by -2 at the first "
    "attribute's levels and by 1 at the others', so that AvgErr is 4/3 for a model that is exactly right.",
    counterexample=lambda: PartWorths(jnp.zeros((MOST, MOST)).at[0, 0].set(12.0)),
    corrected="Perfect ratings determine the differences between levels of an attribute, and the ratings, exactly.",
    correction={"differences": True},
    false="Perfect ratings of all profiles determine the differences between levels of any two attributes exactly.",
    neighbour={"differences": True, "across": True},
    proof="of the corrected version: the design's null space is the constants of attributes that sum to 0",
)
def average_error(p: PartWorths, differences: bool = False, across: bool = False) -> dict[str, Any]:
    """The average error AvgErr of part-worths û that least squares finds from perfect ratings of all profiles is 0."""
    sides = {}
    for attributes, levels in ((2, 2), (2, 3), (3, 4), (4, 2)):
        design, u = jnp.asarray(profiles_of(attributes, levels)), p.levels[:attributes, :levels]
        rated = design @ u.reshape(-1)
        estimated = (np.linalg.pinv(profiles_of(attributes, levels)) @ rated).reshape(u.shape)
        error = estimated - u
        shift = error[:1, :1] if across else error[:, :1]
        exact = {"differences": (estimated - shift, u), "ratings": (design @ estimated.reshape(-1), rated)}
        sides[f"{attributes} x {levels}"] = exact if differences else (jnp.mean(jnp.abs(error)), 0.0)
    return sides
