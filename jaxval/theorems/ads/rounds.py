"""Rounds of training, valued at the realised state: section 3.3, Remark 4.1 and the example of votes in B.2.

The state of a model is a number: a margin of votes, or a parameter that updates move. v(S; A) is what it is worth after
the update with S.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.theorems.ads.games import Game, data_shapley, games, subset_form
from jaxval.theorems.checks import Claim, Statement, largest

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


def totals(p: Pipeline, *, mean: bool = False) -> float:
    """Remark 3.1, with (6) in plain numbers, against `values.sequential_shapley` and `values.owner_totals`."""

    def update(state: tuple[int, float], coalition: Array | np.ndarray) -> tuple[int, float]:
        number, parameter = state
        gifts = p.gifts[number][np.asarray(coalition)]
        share = max(len(gifts), 1) if p.averages else 1
        return number + 1, float((1 - p.decay) * parameter + gifts.sum() / share)

    def evaluate(state: tuple[int, float]) -> float:
        return float((state[1], -((state[1] - p.target) ** 2), state[1] > 0)[int(p.judge)])

    state, rows = (0, float(p.start)), np.zeros((len(ROUNDS), CONTRIBUTORS))
    for t, members in enumerate(ROUNDS):
        for order in itertools.permutations(members):
            for place, z in enumerate(order):
                without, with_z = (np.isin(np.arange(CONTRIBUTORS), order[:end]) for end in (place, place + 1))
                gain = evaluate(update(state, with_z)) - evaluate(update(state, without))
                rows[t, z] += gain / math.factorial(len(members))
        state = update(state, np.isin(np.arange(CONTRIBUTORS), members))
    held = values.sequential_shapley(update, evaluate, (0, float(p.start)), ROUNDS)
    active = np.asarray(held.active)
    owned = values.owner_totals(jnp.asarray(rows[active]), np.nonzero(active)[1])
    wanted = rows.sum(axis=0) / (active.sum(axis=0) if mean else 1)
    gaps = (held.values - rows, held.totals - wanted, owned - wanted)
    return max(float(np.abs(np.asarray(gap)).max()) for gap in gaps)


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


# Votes: identical sources in the first and the third round


def vote_value(state: Array, z: Array, company: Array, *, sees_state: bool = True) -> Array:
    """Equation (6) of z beside one other source; v(S; A) = 1 where the votes are above 0."""
    margin = state if sees_state else jnp.zeros_like(state)

    def worth(total: Array) -> Array:
        return (margin + total > 0).astype(float)

    return 0.5 * (worth(z) - worth(0 * z)) + 0.5 * (worth(z + company) - worth(company))


def of_identical_votes(p: Pipeline, *, sees_state: bool, same_company: bool) -> Array:
    """How far apart the values of the same vote in rounds 1 and 3 are."""
    z, company, later = p.votes[0, 0], p.votes[0, 1], p.votes[0, 1] if same_company else p.votes[2, 1]
    state = p.margin + z + company + jnp.sum(p.votes[1])
    one = vote_value(p.margin, z, company, sees_state=sees_state)
    return jnp.abs(one - vote_value(state, z, later, sees_state=sees_state))


def equal_though_sensitive(p: Pipeline) -> Array:
    return (of_identical_votes(p, sees_state=True, same_company=False) == 0).astype(float)


def printed_numbers(p: Pipeline, *, as_sets: bool = False) -> Array:
    """B.2: T = 0, 1, 2, 3 and the two values 1 and 0, with any number of votes for +1 in round 2 in place of one."""
    more = 1 + jnp.abs(p.margin)
    counts = jnp.stack([jnp.zeros((), int), 1 + more])
    votes = jnp.minimum(counts, 1) if as_sets else counts
    t = jnp.stack([votes, votes + 1]).T.reshape(-1)
    worth = (t > 0).astype(float)
    wanted = jnp.stack([jnp.zeros((), int), jnp.ones((), int), 1 + more, 2 + more])
    found = jnp.concatenate([t - wanted, jnp.stack([worth[1] - worth[0] - 1, worth[3] - worth[2]])])
    return largest(found.astype(float))


def differ(p: Pipeline, *, sees_state: bool = True) -> Array:
    """1 where identical sources in rounds 1 and 3 have equal values; the utility is smooth, tanh of the state."""
    z, between = p.gifts[0, 0] + p.start / 8, p.gifts[1, 1] + p.target / 8
    one = jnp.tanh(p.start + z) - jnp.tanh(p.start)
    state = p.start + z + between if sees_state else p.start
    return (jnp.abs(one - (jnp.tanh(state + z) - jnp.tanh(state))) < 1e-12).astype(float)


def equal_as_players(p: Pipeline) -> Array:
    """Data Shapley of the four votes z, w, z, w' from the initial state: by how much identical ones differ."""
    labels = jnp.stack([p.votes[0, 0], p.votes[1, 1], p.votes[0, 0], p.votes[2, 1]])
    masks = np.array([[k >> z & 1 for z in range(4)] for k in range(16)])
    phi = data_shapley((p.margin + jnp.asarray(masks) @ labels > 0).astype(float))
    return jnp.abs(phi[0] - phi[2])


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


def against() -> Pipeline:
    """Votes -1, then +1, then -1 again, each alone, from nothing."""
    return mean_updates()._replace(votes=jnp.array([[-1, 0, 0], [1, 0, 0], [-1, 0, 0]]))


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
        most=8,
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
        "ads/lemma-3.2",
        "Lemma 3.2",
        Statement(
            "If the utility depends on the state, identical sources in two rounds generally have different values; "
            "Data Shapley gives them equal ones.",
            lambda p: jnp.maximum(differ(p), equal_as_players(p)),
            "They have though it does not depend on the state.",
            lambda p: differ(p, sees_state=False),
        ),
        pipelines,
    ),
    Claim(
        "ads/example-B.2",
        "B.2 (constructive counterexample)",
        Statement(
            "Votes +1, then one or more of +1, then +1 again: T = 0, 1 in round 1 and 2, 3 (or more) in round 3; the "
            "values are 1 and 0. Y(A) counts equal labels as often as they come.",
            printed_numbers,
            "Y(A) ⊆ {-1, +1} is a set.",
            lambda p: printed_numbers(p, as_sets=True),
        ),
        pipelines,
    ),
    Claim(
        "ads/only-if-insensitive",
        "below Lemma 3.2",
        Statement(
            "Identical sources in two rounds have equal values only when the utility is state insensitive.",
            equal_though_sensitive,
            "They never have equal values.",
            lambda p: (of_identical_votes(p, sees_state=False, same_company=True) == 0).astype(float),
        ),
        pipelines,
        verdict="holds as corrected",
        why=(
            "Votes -1, +1, -1 in three rounds, in B.2's example, which sees the state: both votes -1 are worth 0. "
            "Nor is insensitivity enough: v = 1 where the votes of the round are above 0 gives +1 the value 1 alone, "
            "and 1/2 beside another +1."
        ),
        corrected=Statement(
            "Where the utility is state insensitive and both rounds hold the same company, identical sources have "
            "equal values.",
            lambda p: of_identical_votes(p, sees_state=False, same_company=True),
            "Whatever the company.",
            lambda p: of_identical_votes(p, sees_state=False, same_company=False),
        ),
        counterexample=against,
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
