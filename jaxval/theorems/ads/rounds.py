"""Rounds of training, valued at the realised state: section 3.3, Remark 4.1 and leave one out of C.2.

The state of a model is a number, a parameter that updates move; v(S; A) is what it is worth after the update with S.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.theorems._axioms import ordered_value, subset_weights
from jaxval.theorems.ads._games import COALITIONS, Game, games
from jaxval.theorems.records import Setting

ROUNDS = ((0, 1), (1, 2), (0, 2))
SIZES = ((0, 1, 2), (1, 2), (0,))  # rounds of different sizes
CONTRIBUTORS = 3


class Pipeline(NamedTuple):
    """What contributors bring in each round, and how a state is updated and judged.

    Attributes:
        gifts: (3, 3) of each round and contributor; those who are not active count for nothing.
        votes: (3, 3) labels -1, 0 (nobody) or 1.
        start: the state before the first round.
        margin: the same as a number of votes.
        target: where a parameter should be.
        decay: how much of a parameter an update forgets, be it with nothing; often 0.
        averages: 1 where an update adds the mean of what comes in, 0 where it adds the sum.
        judge: 0 for the state itself, 1 for -(state - target)², 2 for 1 where it is above 0.
    """

    gifts: Float[Array, "rounds contributors"]
    votes: Int[Array, "rounds contributors"]
    start: Float[Array, ""]
    margin: Int[Array, ""]
    target: Float[Array, ""]
    decay: Float[Array, ""]
    averages: Int[Array, ""]
    judge: Int[Array, ""]


def pipelines(key: Key[Array, ""]) -> Pipeline:
    """Gifts of both signs away from 0, or votes; half of the pipelines forget, half average."""
    u = jax.random.uniform(key, (25,), minval=1e-9)
    gifts, votes = (4 * u[:9] - 2).reshape(3, 3), (3 * u[9:18]).astype(int).reshape(3, 3) - 1
    gifts = gifts + 0.25 * jnp.sign(gifts)
    return Pipeline(
        jnp.where(u[18] < 0.3, votes.astype(float), gifts),
        votes,
        4 * u[19] - 2,
        (5 * u[20]).astype(int) - 2,
        4 * u[21] - 2,
        jnp.maximum(0.0, u[22] - 0.5),
        (2 * u[23]).astype(int),
        (3 * u[24]).astype(int),
    )


def mean_updates() -> Pipeline:
    """Everybody brings 1 to a parameter that starts at 0 and is worth what it is; updates average."""
    one, zero = jnp.ones((3, 3)), jnp.zeros((), int)
    return Pipeline(one, one.astype(int), jnp.zeros(()), zero, jnp.zeros(()), jnp.zeros(()), zero + 1, zero)


training = Setting(
    pipelines,
    "3 rounds of 2 contributors out of 3 (of 3, 2 and 1 in equation (6), 2 and 2, or 1 and 2, in Remark 4.1); a "
    "parameter that is moved by sums or means, forgets or does not, and is judged by itself, a square loss or its sign",
)


def updated(state: Array, gifts: Array, members: Array, p: Pipeline) -> Array:
    """What an update of some members makes of a state."""
    total = jnp.sum(jnp.where(members, gifts, 0.0))
    share = jnp.where(p.averages == 1, jnp.maximum(jnp.sum(members), 1), 1)
    return (1 - p.decay) * state + total / share


def judged(state: Array, p: Pipeline) -> Array:
    """What a state is worth."""
    return jnp.stack([state, -((state - p.target) ** 2), (state > 0).astype(float)])[p.judge]


def utilities(state: Array, gifts: Array, p: Pipeline) -> Array:
    """v(S; A) of every subset S of a round, bit i of the index being its source i."""
    masks = jnp.asarray(np.arange(2 ** len(gifts))[:, None] >> np.arange(len(gifts)) & 1 == 1)
    return jax.vmap(lambda members: judged(updated(state, gifts, members, p), p))(masks)


def in_rounds(p: Pipeline, rounds: tuple[tuple[int, ...], ...] = ROUNDS) -> list[tuple[Array, Array]]:
    """The utilities v(S; A_{t-1}) of each round along the realised trajectory, and v(A_t) - v(A_{t-1})."""
    state, found = p.start, []
    for t, members in enumerate(rounds):
        gifts, before = p.gifts[t, np.array(members)], state
        state = updated(state, gifts, jnp.ones(len(members), bool), p)
        found.append((utilities(before, gifts, p), judged(state, p) - judged(before, p)))
    return found


def by_library(p: Pipeline, function: Callable[..., values.SequentialValues]) -> tuple[list[Array], Array]:
    """One of the library's functions on the pipeline: the values of those active in each round, and totals."""

    def update(state: tuple[Any, Array], coalition: Array) -> tuple[Any, Array]:
        return state[0] + 1, updated(state[1], p.gifts[state[0]], coalition, p)

    with jax.ensure_compile_time_eval():  # the library needs the coalitions of a round as known numbers
        found = function(update, lambda state: judged(state[1], p), (0, p.start), ROUNDS, batch_size=8)
    return [found.values[t, np.array(members)] for t, members in enumerate(ROUNDS)], found.totals


def total(rows: list[Array], *, mean: bool = False) -> Array:
    """Each contributor's sum over the rounds in which it is active, or mean."""
    sums, rounds = jnp.zeros(CONTRIBUTORS), np.zeros(CONTRIBUTORS)
    for members, row in zip(ROUNDS, rows, strict=True):
        sums, rounds[list(members)] = sums.at[np.array(members)].add(row), rounds[list(members)] + 1
    return sums / rounds if mean else sums


@training.claim(
    "ads/equation-6",
    "equation (6), with Definition 3.2 and (5)",
    covers=("ads/definition-3.2", "ads/equation-5"),
    false="the values of a round add up to the improvement that it brought, v(A_t) - v(A_{t-1}), be it by its sources "
    "or by what an update with nothing does",
    neighbour={"improvement": True},
)
def equation_6(p: Pipeline, improvement: bool = False) -> Any:
    """The value in a round, 1/|D_t| Σ_S C(|D_t|-1, |S|)^{-1} Δ_A(z|S), is the mean gain over all orders of the round.

    Δ_A(z|S) = v(S∪{z}; A) - v(S; A) as in (5). A round's values add up to v(D_t; A_{t-1}) - v(∅; A_{t-1}).
    """
    found = {}
    for members, (table, gain) in zip(SIZES, in_rounds(p, SIZES), strict=True):
        n = len(members)
        row = subset_weights(n) @ table
        found[f"round of {members}"] = {
            "mean gain": (row, ordered_value((0,) * n) @ table),
            "sum": (jnp.sum(row), gain if improvement else table[-1] - table[0]),
        }
    return found


@training.claim(
    "ads/remark-3.1",
    "Remark 3.1, line 16 of Algorithm 1",
    false="a contributor's total is the mean of its values over the rounds in which it is active",
    neighbour={"mean": True},
)
def remark_3_1(p: Pipeline, mean: bool = False) -> Any:
    """A contributor's total is the sum over the rounds in which it is active, Φ_i = Σ_{t ∈ T_i} of (6).

    `values.sequential_shapley` and `values.owner_totals` compute it.
    """
    printed = [
        jnp.asarray(subset_weights(len(active))) @ table
        for active, (table, _) in zip(ROUNDS, in_rounds(p), strict=True)
    ]
    if mean:
        return total(printed), total(printed, mean=True)
    rows, totals = by_library(p, values.sequential_shapley)
    owned = values.owner_totals(jnp.concatenate(rows), np.concatenate(ROUNDS), num=CONTRIBUTORS)
    return {
        "values": (jnp.concatenate(rows), jnp.concatenate(printed)),
        "totals": (totals, total(printed)),
        "values.owner_totals": (owned, total(printed)),
    }


@training.claim(
    "ads/leave-one-out",
    "C.2",
    false="leave one out within rounds is the gain from updating A_{t-1} with z alone",
    neighbour={"alone": True},
)
def leave_one_out(p: Pipeline, alone: bool = False) -> Any:
    """Leave one out within rounds is the loss from omitting z, A_{t-1} being updated with the rest of the round.

    Its total is the sum over the rounds; `values.sequential_leave_one_out` computes both.
    """
    rows, totals = by_library(p, values.sequential_leave_one_out)
    single = [2 ** np.arange(len(row)) for row in rows]
    losses = [
        table[z] - table[0] if alone else table[-1] - table[len(table) - 1 - z]
        for z, (table, _) in zip(single, in_rounds(p), strict=True)
    ]
    return {"values": (jnp.concatenate(rows), jnp.concatenate(losses)), "totals": (totals, total(losses))}


two_rounds = Setting(games, "2 sources in each of 2 rounds; utilities of any kind")


@two_rounds.claim(
    "ads/example-2",
    "Example 2 (continued), section 3.3",
    false="Data Shapley gives a source of round 2 the half sum of its gains on D_1 and on D_1 and the other one",
    neighbour={"groups": (0, 0, 0, 0)},
)
def example_2(g: Game, groups: tuple[int, ...] = (1, 0, 0, 1)) -> Any:
    """A source of round 2 is worth the half sum of its gains on D_1 and on D_1 and the other source of round 2."""
    first, z, other = 0b0110, 0b0001, 0b1000
    gains = g.table[first | z] - g.table[first] + g.table[first | other | z] - g.table[first | other]
    return values.asymmetric_shapley(g.table[:COALITIONS], np.array(groups))[0], gains / 2


def composing(p: Pipeline) -> Any:
    """Remark 4.1 for updates that add: one after the other they are one update with both."""
    return remark_4_1(p._replace(averages=jnp.zeros((), int), decay=jnp.zeros(())))


@training.claim(
    "ads/remark-4.1",
    "Remark 4.1, equation (10)",
    covers=("ads/equation-10",),
    fails="reading",
    quote="In sequential training pipelines, the contribution of U_{t-1} is typically absorbed into the realized model "
    "state at the end of round t-1, denoted A_{t-1}. [...] In this case, φ^σ(z; v, D) = 1/|D_t| Σ_{S_t ⊆ D_t∖{z}} "
    "C(|D_t|-1, |S_t|)^{-1} Δ_{A_{t-1}}(z | S_t), (10)",
    why="The remark does not say what v(U_{t-1} ∪ S) of (9) is. If it is the utility of a model that is trained on "
    "U_{t-1} ∪ S at once, v(S; A_init) as in section 3.3, (10) is another number. Let updates add the mean of what "
    "comes in, all bring 1 to a parameter at 0 that is worth what it is: by (9) round 2 is worth nothing, by (10) each "
    "of its two sources is worth 1/2. If it is v(S; A_{t-1}) by definition, (9) and (10) are one equation.",
    corrected="If updates compose, v(S; A_{t-1}) = v(U_{t-1} ∪ S; A_init), as they do if they add, (10) is (9).",
    correction=composing,
    counterexample=mean_updates,
)
def remark_4_1(p: Pipeline) -> Any:
    """In a sequential pipeline the asymmetric value (9), with v(S) = v(S; A_init), is (10), at the state A_{t-1}."""
    found = {}
    for sizes in ((2, 2), (1, 2)):
        gifts = [p.gifts[t, :n] for t, n in enumerate(sizes)]
        at_once = values.asymmetric_shapley(utilities(p.start, jnp.concatenate(gifts), p), np.repeat([0, 1], sizes))
        states = p.start, updated(p.start, gifts[0], jnp.ones(sizes[0], bool), p)
        rounds = [
            subset_weights(n) @ utilities(state, gift, p) for n, state, gift in zip(sizes, states, gifts, strict=True)
        ]
        found[f"{sizes[0]} and {sizes[1]} sources"] = (jnp.concatenate(rounds), at_once)
    return found
