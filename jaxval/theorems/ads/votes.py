"""Identical sources in two rounds: Lemma 3.2, what follows it, and the example of votes in B.2.

A state is a vote total; v(S; A) depends on the total T(A, S) of the state's votes and those of S. Rounds k and ℓ have
the source in question and at most two others; at most three rounds with one source each come between them.
"""

from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems.ads._games import data_shapley, masks
from jaxval.theorems.records import AtMost, Setting

REACH, ROUNDING = 15, 1e-12
TOTALS = np.arange(-REACH, REACH + 1)
STEP = (TOTALS > 0).astype(float)


class Trajectory(NamedTuple):
    """Votes in the order of rounds, and what a total of votes is worth.

    Attributes:
        worth: (31,) v for the totals -15, ..., 15; in B.2 it is 1 above 0, else 0.
        start: the total of A_init.
        label: the vote -1 or +1 of the identical sources.
        company: (2, 2) the votes -1, 0 (nobody) or +1 of other sources in rounds k and ℓ.
        between: (3,) the votes of the rounds in between.
    """

    worth: Float[Array, "totals"]
    start: Int[Array, ""]
    label: Int[Array, ""]
    company: Int[Array, "2 2"]
    between: Int[Array, "3"]


def trajectories(key: Key[Array, ""]) -> Trajectory:
    """Random votes, with utilities of one of four kinds: those of B.2, any, small integers, equal gains."""
    u = jax.random.uniform(key, (len(TOTALS) + 10,))
    worth, drawn = u[: len(TOTALS)], u[len(TOTALS) :]
    kinds = jnp.stack([jnp.asarray(STEP), worth, jnp.round(2 * worth), worth[0] * jnp.asarray(TOTALS)])
    votes = (3 * drawn[3:]).astype(int) - 1
    start, label = (5 * drawn[1]).astype(int) - 2, 2 * (2 * drawn[2]).astype(int) - 1
    return Trajectory(kinds[(4 * drawn[0]).astype(int)], start, label, votes[:4].reshape(2, 2), votes[4:])


def votes_of_the_proof() -> Trajectory:
    """The utility of B.2 with each label, at most one other source in rounds k and ℓ, and one vote in between."""
    every = np.array(list(product((-1, 1), *[(-1, 0, 1)] * 3)))
    company, between = np.zeros((len(every), 2, 2), int), np.zeros((len(every), 3), int)
    company[:, :, 0], between[:, 0] = every[:, 1:3], every[:, 3]
    worth, start = np.tile(STEP, (len(every), 1)), np.zeros(len(every), int)
    return Trajectory(*map(jnp.asarray, (worth, start, every[:, 0], company, between)))


votings = Setting(
    trajectories,
    "rounds k and ℓ of 1 to 3 sources, 0 to 3 rounds in between; v of B.2, generic, of small integers, or insensitive",
    exhaustive=votes_of_the_proof,
    every="v of B.2, all labels, at most 2 sources a round, 3 rounds",
)


def value(c: Trajectory, state: Array, others: Array) -> Array:
    """Equation (6) for the source beside two others; nobody, a vote of 0, changes no value."""
    totals = REACH + state + jnp.asarray(masks(2), int) @ others
    return jnp.array([2, 1, 1, 2]) / 6 @ (c.worth[totals + c.label] - c.worth[totals])


def in_two_rounds(c: Trajectory) -> tuple[Array, Array, Array]:
    """By how much (9,) values in round ℓ, after -4, ..., 4 votes in between, differ from that in round k.

    The second result is the difference for the realised votes, the third whether the value depends on the state.
    """
    reached = c.start + c.label + jnp.sum(c.company[0])
    later = jax.vmap(lambda total: value(c, reached + total, c.company[1]))(jnp.arange(-4, 5))
    difference = jnp.abs(later - value(c, c.start, c.company[0]))
    return difference, difference[4 + jnp.sum(c.between)], jnp.ptp(later) > ROUNDING


@votings.claim(
    "ads/lemma-3.2",
    "Lemma 3.2",
    false="If the utility depends on the state, identical sources in two rounds have different values, whatever the "
    "rounds in between are. On the utility of B.2, with one source z, w, z = ±1 in each of three rounds, the two "
    "values are equal in three of four cases.",
    neighbour={"always": True},
    proof="if the value in round ℓ depends on the state, it cannot equal the one number of round k in all states",
)
def lemma_3_2(c: Trajectory, always: bool = False) -> dict[str, tuple]:
    """If gains depend on the model state, identical sources of two rounds need not have equal values.

    That is, if the value (6) in the later round depends on the state, there are rounds in between after which the two
    values along the trajectory differ, while Data Shapley gives the two sources equal values.
    """
    difference, _, depends = in_two_rounds(c)
    equal = (jnp.min if always else jnp.max)(difference) < ROUNDING
    labels = jnp.stack([c.label, c.label, c.between[0], c.company[0, 0]])
    phi = data_shapley(c.worth[REACH + c.start + jnp.asarray(masks(4), int) @ labels])
    return {"(6)": AtMost(jnp.where(depends & equal, 1.0, 0.0), 0.0), "Data Shapley": (phi[0], phi[1])}


@votings.claim(
    "ads/example-B.2",
    "B.2 (constructive counterexample)",
    false="T in round 3 is 1 without and 2 with the source if Y(A) ⊆ {-1, +1} is a set of labels.",
    neighbour={"as_set": True},
)
def example_b2(c: Trajectory, as_set: bool = False) -> dict[str, tuple]:
    """Votes +1, then one or more of +1, then +1 again have T = 0, 1 in round 1 and T = 2, 3 (or more) in round 3.

    The values are 1 and 0. Y(A) counts equal labels as often as they come.
    """
    more = 1 + jnp.abs(c.start)
    before = jnp.stack([0 * more, jnp.minimum(1 + more, 1) if as_set else 1 + more])
    totals = jnp.stack([before, before + 1], axis=1)
    worth = jnp.asarray(STEP)[REACH + totals]
    printed = jnp.stack([0 * more, 0 * more + 1, 1 + more, 2 + more])
    return {"T": (totals.reshape(-1), printed), "values": (worth[:, 1] - worth[:, 0], jnp.array([1.0, 0.0]))}


@votings.claim(
    "ads/only-if-insensitive",
    "below Lemma 3.2",
    fails="reading",
    quote="Equality arises only when the utility is state insensitive, so that Δ_A(z | S) does not depend on A",
    why="With the utility of B.2, which depends on the state, and the votes -1, +1, -1 in three rounds, both votes -1 "
    "have the value 0, because the total is 0 before either of them. Equality may be a coincidence.",
    counterexample=lambda: Trajectory(*map(jnp.asarray, (STEP, 0, -1, np.zeros((2, 2), int), [1, 0, 0]))),
    corrected="Values that are equal whatever comes in between arise only if the later value ignores the state.",
    correction={"always": True},
    proof="of the corrected version: all values of the later round equal the one number of the earlier round",
)
def only_if_insensitive(c: Trajectory, always: bool = False) -> AtMost:
    """Identical sources of two rounds have equal values only when the later value does not depend on the state."""
    difference, realised, depends = in_two_rounds(c)
    equal = (jnp.max(difference) if always else realised) < ROUNDING
    return AtMost(jnp.where(equal & depends, 1.0, 0.0), 0.0)
