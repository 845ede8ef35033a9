"""Rounds of training, valued at the realised state: section 3.3, Remark 4.1 and leave one out of C.2.

The state of a model is a number, a parameter that updates move; v(S; A) is what it is worth after the update with S.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._games import Game, data_shapley, games, subset_form

__all__ = ["CLAIMS"]

ROUNDS = ((0, 1, 2), (1, 2), (0,))
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
        jnp.where(u[18] < 0.3, votes.astype(float), gifts), votes, 4 * u[19] - 2, (5 * u[20]).astype(int) - 2,
        4 * u[21] - 2, jnp.maximum(0.0, u[22] - 0.5), (2 * u[23]).astype(int), (3 * u[24]).astype(int),
    )  # fmt: skip


def judged(state: Array, p: Pipeline) -> Array:
    return jnp.stack([state, -((state - p.target) ** 2), (state > 0).astype(float)])[p.judge]


def updated(state: Array, gifts: Array, members: Array, p: Pipeline) -> Array:
    """What an update of some members makes of a state."""
    total = jnp.sum(jnp.where(members, gifts, 0.0))
    share = jnp.where(p.averages == 1, jnp.maximum(jnp.sum(members), 1), 1)
    return (1 - p.decay) * state + total / share


def gains(z: int, state: Array, gifts: Array, p: Pipeline) -> tuple[Array, Array]:
    """Equation (5) for a member of a round of two, without and with the other one."""

    def worth(first: bool, second: bool) -> Array:
        members = jnp.array([first, second] if z == 0 else [second, first])
        return judged(updated(state, gifts, members, p), p)

    return worth(True, False) - worth(False, False), worth(True, True) - worth(False, True)


def trajectory(p: Pipeline) -> list[Array]:
    """A_init, A_1, A_2, A_3."""
    states = [p.start]
    for t, members in enumerate(ROUNDS):
        there = jnp.asarray(np.isin(np.arange(CONTRIBUTORS), members))
        states.append(updated(states[-1], p.gifts[t], there, p))
    return states


def worths(state: Array, gifts: Array, p: Pipeline) -> Array:
    """v(S; A) of every subset S of a round, bit i of the index being its source i."""
    masks = np.array([[k >> i & 1 for i in range(len(gifts))] for k in range(2 ** len(gifts))], dtype=bool)
    return jax.vmap(lambda members: judged(updated(state, gifts, members, p), p))(jnp.asarray(masks))


def by_subsets(table: Array, n: int) -> list[Array]:
    """Equation (6): 1/|D_t| Σ_{S ⊆ D_t∖{z}} C(|D_t|-1, |S|)^{-1} Δ_A(z | S)."""
    phi = []
    for z in range(n):
        without = [k for k in range(2**n) if not k >> z & 1]
        weights = np.array([1 / (n * math.comb(n - 1, k.bit_count())) for k in without])
        phi.append(jnp.sum(weights * jnp.stack([table[k | 1 << z] - table[k] for k in without])))
    return phi


def by_orders(table: Array, n: int) -> list[Array]:
    """The mean gain over all orders of submission within the round."""
    total = [jnp.zeros(())] * n
    for order in itertools.permutations(range(n)):
        inside = 0
        for z in order:
            total[z] = total[z] + (table[inside | 1 << z] - table[inside]) / math.factorial(n)
            inside |= 1 << z
    return total


def in_rounds(
    p: Pipeline, value: Callable[[Array, int], list[Array]] = by_subsets
) -> Float[Array, "rounds contributors"]:
    """Equation (6), round by round along the realised trajectory; 0 for those who are not active."""
    states = trajectory(p)
    rows = jnp.zeros((len(ROUNDS), CONTRIBUTORS))
    for t, members in enumerate(ROUNDS):
        table = worths(states[t], p.gifts[t][np.array(members)], p)
        rows = rows.at[t, np.array(members)].set(jnp.stack(value(table, len(members))))
    return rows


def alone(table: Array, n: int) -> list[Array]:
    """Each one's gain over nothing."""
    return [table[1 << z] - table[0] for z in range(n)]


# Gaps


def at_the_start(p: Pipeline, *, later: bool = False) -> Array:
    """Δ_{A_init}(z | S) against Δ(z | S) of v(S) = v(S; A_init), for both sources and both S of the first round."""
    worth = jnp.stack([
        judged(updated(p.start, p.gifts[0, :2], jnp.array([bool(k & 1), bool(k & 2)]), p), p) for k in range(4)
    ])  # fmt: skip
    plain = jnp.stack([worth[1] - worth[0], worth[3] - worth[2], worth[2] - worth[0], worth[3] - worth[1]])
    state = updated(p.start, p.gifts[0, :2], jnp.array([True, True]), p) if later else p.start
    return largest(jnp.stack([*gains(0, state, p.gifts[0, :2], p), *gains(1, state, p.gifts[0, :2], p)]) - plain)


def sums_of_rounds(p: Pipeline, table: Array) -> Array:
    """Σ_{z ∈ D_t} of (6) - [v(D_t; A_{t-1}) - v(∅; A_{t-1})]."""
    states = trajectory(p)
    nobody = jnp.zeros(CONTRIBUTORS, bool)
    gain = [judged(states[t + 1], p) - judged(updated(states[t], p.gifts[t], nobody, p), p) for t in range(len(ROUNDS))]
    return largest(jnp.sum(table, axis=1) - jnp.stack(gain))


def improvement(p: Pipeline, value: Callable[[Array, int], list[Array]] = by_subsets) -> Array:
    """Σ of (6) over a round against what the round improved, v(A_t) - v(A_{t-1}), and over all rounds."""
    worth = jnp.stack([judged(state, p) for state in trajectory(p)])
    table = in_rounds(p, value)
    return jnp.maximum(
        largest(jnp.sum(table, axis=1) - jnp.diff(worth)), jnp.abs(jnp.sum(table) - (worth[-1] - worth[0]))
    )


State = tuple[int, float]


def plain_update(p: Pipeline, state: State, coalition: Array | np.ndarray) -> State:
    """`updated` in plain numbers; the state carries the number of the round."""
    number, parameter = state
    gifts = p.gifts[number][np.asarray(coalition)]
    share = max(len(gifts), 1) if p.averages else 1
    return number + 1, float((1 - p.decay) * parameter + gifts.sum() / share)


def plain_worth(p: Pipeline, state: State) -> float:
    return float((state[1], -((state[1] - p.target) ** 2), state[1] > 0)[int(p.judge)])


def plain_rows(
    p: Pipeline, value: Callable[[Callable[[Sequence[int]], float], Sequence[int], int], float]
) -> np.ndarray:
    """(rounds, contributors): a value of each active one from v(S; A_{t-1}) in plain numbers."""
    state, rows = (0, float(p.start)), np.zeros((len(ROUNDS), CONTRIBUTORS))

    def there(members: Sequence[int]) -> np.ndarray:
        return np.isin(np.arange(CONTRIBUTORS), list(members))

    for t, active in enumerate(ROUNDS):
        start = state

        def worth(members: Sequence[int], start: State = start) -> float:
            return plain_worth(p, plain_update(p, start, there(members)))

        rows[t, list(active)] = [value(worth, active, z) for z in active]
        state = plain_update(p, state, there(active))
    return rows


def mean_gain(worth: Callable[[Sequence[int]], float], active: Sequence[int], z: int) -> float:
    """Equation (6), order by order."""
    orders = list(itertools.permutations(active))
    return sum(worth(o[: o.index(z) + 1]) - worth(o[: o.index(z)]) for o in orders) / len(orders)


def loss_without(worth: Callable[[Sequence[int]], float], active: Sequence[int], z: int) -> float:
    """v(D_t; A_{t-1}) - v(D_t∖{z}; A_{t-1})."""
    return worth(active) - worth([y for y in active if y != z])


def gain_alone(worth: Callable[[Sequence[int]], float], active: Sequence[int], z: int) -> float:
    """v({z}; A_{t-1}) - v(∅; A_{t-1})."""
    del active
    return worth([z]) - worth([])


def held(p: Pipeline, function: Callable[..., values.SequentialValues]) -> values.SequentialValues:
    """One of the library's functions on the pipeline."""
    return function(
        lambda state, coalition: plain_update(p, state, coalition),
        lambda state: plain_worth(p, state),
        (0, float(p.start)),
        ROUNDS,
    )


def totals(p: Pipeline, *, mean: bool = False) -> float:
    """Remark 3.1, with (6) in plain numbers, against `values.sequential_shapley` and `values.owner_totals`."""
    rows, found = plain_rows(p, mean_gain), held(p, values.sequential_shapley)
    active = np.asarray(found.active)
    owned = values.owner_totals(jnp.asarray(rows[active]), np.nonzero(active)[1])
    wanted = rows.sum(axis=0) / (active.sum(axis=0) if mean else 1)
    gaps = (found.values - rows, found.totals - wanted, owned - wanted)
    return max(float(np.abs(np.asarray(gap)).max()) for gap in gaps)


def left_out(p: Pipeline, *, alone: bool = False) -> float:
    """C.2's leave one out within rounds against `values.sequential_leave_one_out`."""
    rows = plain_rows(p, gain_alone if alone else loss_without)
    found = held(p, values.sequential_leave_one_out)
    return float(max(np.abs(found.values - rows).max(), np.abs(found.totals - rows.sum(axis=0)).max()))


def absorbed(p: Pipeline, *, state: str = "realised") -> Array:
    """Equation (10) for two rounds of two against equation (9) with v(S) = v(S; A_init)."""
    first, second = p.gifts[0, :2], p.gifts[1, :2]
    four = jnp.concatenate([first, second])
    masks = np.array([[k >> z & 1 for z in range(4)] for k in range(16)], dtype=bool)
    table = jax.vmap(lambda members: judged(updated(p.start, four, members, p), p))(jnp.asarray(masks))
    realised = p.start if state == "initial" else updated(p.start, first, jnp.array([True, True]), p)
    phi = [sum(gains(z, p.start, first, p)) / 2 for z in range(2)]
    phi += [sum(gains(z, realised, second, p)) / 2 for z in range(2)]
    return largest(jnp.stack([jnp.asarray(value) for value in phi]) - subset_form(table, jnp.array([0, 0, 1, 1])))


def composing(p: Pipeline) -> Pipeline:
    """Updates that add: one after the other they are one update with both."""
    return p._replace(averages=jnp.zeros((), int), decay=jnp.zeros(()))


def second_round(g: Game) -> Array:
    """Example 2: the half sum of two gains against (9), and on which positions Data Shapley averages."""
    first, z, other = 0b0110, 0b0001, 0b1000
    groups = jnp.array([1, 0, 0, 1])
    gain = (g.table[first | z] - g.table[first]) + (g.table[first | other | z] - g.table[first | other])
    counterfactual = sum(
        1 / (4 * [1, 3, 3, 1][bin(s).count("1")]) for s in range(16) if not s & z and s & first != first
    )
    return jnp.maximum(jnp.abs(gain / 2 - subset_form(g.table, groups)[0]), jnp.abs(counterfactual - 2 / 3))


def mean_updates() -> Pipeline:
    """Everybody brings 1 to a parameter that starts at 0 and is worth what it is; updates average."""
    one = jnp.ones((3, 3))
    return Pipeline(
        one, one.astype(int), jnp.zeros(()), jnp.zeros((), int), jnp.zeros(()), jnp.zeros(()), jnp.ones((), int),
        jnp.zeros((), int),
    )  # fmt: skip


def forgets() -> Pipeline:
    """A parameter 2 that should be 0, nothing is brought, and half is forgotten in each round."""
    return mean_updates()._replace(
        gifts=jnp.zeros((3, 3)), start=jnp.asarray(2.0), decay=jnp.asarray(0.5), judge=jnp.ones((), int)
    )


CLAIMS = (
    Claim(
        "ads/definition-3.2",
        "Definition 3.2, equation (5)",
        Statement(
            "Δ_A(z|S) = v(S∪{z}; A) - v(S; A); with v(S) ≡ v(S; A_init), Δ(z|S) = Δ_{A_init}(z|S).",
            at_the_start,
            "Δ(z|S) = Δ_{A_1}(z|S).",
            lambda p: at_the_start(p, later=True),
        ),
        pipelines,
        covers=("ads/equation-5",),
    ),
    Claim(
        "ads/equation-6",
        "equation (6)",
        Statement(
            "The value in a round, 1/|D_t| Σ_S C(|D_t|-1, |S|)^{-1} Δ_A(z|S), is the mean gain over all orders "
            "within the round; a round's values add up to v(D_t; A_{t-1}) - v(∅; A_{t-1}).",
            lambda p: jnp.maximum(largest(in_rounds(p, by_orders) - in_rounds(p)), sums_of_rounds(p, in_rounds(p))),
            "The gains over nothing, Δ_A(z|∅), add up to that.",
            lambda p: sums_of_rounds(p, in_rounds(p, alone)),
        ),
        pipelines,
    ),
    Claim(
        "ads/remark-3.1",
        "Remark 3.1, line 16 of Algorithm 1",
        Statement(
            "A contributor's total is the sum over the rounds in which it is active, Φ_i = Σ_{t ∈ T_i} of (6).",
            totals,
            "It is the mean over these rounds.",
            lambda p: totals(p, mean=True),
        ),
        pipelines,
        most=25,
        compiled=False,
    ),
    Claim(
        "ads/leave-one-out",
        "C.2",
        Statement(
            "Leave one out within rounds is the loss from omitting z while A_{t-1} is updated with the rest of the "
            "round; its total is the sum over rounds.",
            left_out,
            "It is the gain from updating A_{t-1} with z alone.",
            lambda p: left_out(p, alone=True),
        ),
        pipelines,
        most=25,
        compiled=False,
    ),
    Claim(
        "ads/example-2",
        "Example 2 (continued), section 3.3",
        Statement(
            "A source of round 2 of two and two is worth the half sum of its gains on D_1 and on D_1 and the other "
            "one; Data Shapley averages over 8 coalitions, and puts 2/3 on those without all of round 1.",
            second_round,
            "Data Shapley gives it the same.",
            lambda g: jnp.abs(data_shapley(g.table)[0] - subset_form(g.table, jnp.array([1, 0, 0, 1]))[0]),
        ),
        games,
    ),
    Claim(
        "ads/round-improvement",
        "section 4, below Remark 4.1 (group efficiency along the trajectory)",
        Statement(
            "The values of a round add up to what it improved, v(A_t) - v(A_{t-1}), those of all rounds to v(A_T) - "
            "v(A_init).",
            improvement,
            "The same of the gains of each round over nothing, one source at a time.",
            lambda p: improvement(p, alone),
        ),
        pipelines,
        verdict="holds as corrected",
        why=(
            "They add up to v(D_t; A_{t-1}) - v(∅; A_{t-1}), and an update with nothing may change the model. A "
            "parameter 2 that is worth -A² and halves in each round goes from -4 to -1/16 though nobody brings "
            "anything."
        ),
        corrected=Statement(
            "Where an update with nothing leaves the model as it is, they do.",
            lambda p: improvement(p._replace(decay=jnp.zeros(()))),
            "Where it forgets, too.",
            lambda p: improvement(p._replace(decay=p.decay + 0.05)),
        ),
        counterexample=forgets,
    ),
    Claim(
        "ads/remark-4.1",
        "Remark 4.1, equation (10)",
        Statement(
            "In a sequential pipeline the asymmetric value (9) is (10): earlier rounds are absorbed in the state "
            "A_{t-1}.",
            absorbed,
            "It is (10) at the initial state.",
            lambda p: absorbed(p, state="initial"),
        ),
        pipelines,
        verdict="holds as corrected",
        why=(
            "(9) is about v(U_{t-1} ∪ S) = v(U_{t-1} ∪ S; A_init), trained at once, (10) about an update of what was "
            "trained. Updates that average, all bringing 1 to a parameter at 0 that is worth what it is: (9) gives "
            "round 2 nothing, (10) gives each of its two sources 1/2."
        ),
        corrected=Statement(
            "Where updates compose, v(S; A_{t-1}) = v(U_{t-1} ∪ S; A_init), as when they add, (10) is (9).",
            lambda p: absorbed(composing(p)),
            "Where they average, too.",
            lambda p: absorbed(composing(p)._replace(averages=jnp.ones((), int))),
        ),
        counterexample=mean_updates,
        covers=("ads/equation-10",),
    ),
)
