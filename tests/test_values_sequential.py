"""Values at the realised state against the definition, and asymmetric values where the state is what came before."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import values
from jaxval.values.sequential import sequential_leave_one_out, sequential_shapley

ROUNDS = [[2, 0, 3], [1], [0, 1, 3, 2]]
PLAYERS = 5  # the last is never active
TOLERANCE = 1e-12 if jax.config.jax_enable_x64 else 1e-5


def update(state, coalition):
    """A step of gradient descent on the data of those who take part; the state counts the rounds, whose data differ."""
    weights, number = state
    x, y = FEATURES[number], TARGETS[number]
    gradients = (x @ weights - y)[:, None] * x
    taken = jnp.where(coalition[:, None], gradients, 0)
    return weights - 0.3 * jnp.sum(taken, axis=0) / jnp.maximum(jnp.sum(coalition), 1), number + 1


def evaluate(state):
    """Two objectives: the error at a point, and a length."""
    weights, _ = state
    return jnp.stack([jnp.sum((weights - 1) ** 2), jnp.sum(jnp.abs(weights))])


FEATURES, TARGETS = (jnp.asarray(a) for a in (np.random.default_rng(0).normal(size=(3, 5, 2)), np.ones((3, 5))))


@pytest.fixture(scope="module")
def start():
    return jnp.array([0.5, -0.5]), jnp.array(0)


def mask(members):
    return jnp.asarray(np.isin(np.arange(PLAYERS), list(members)))


def by_definition(start, rounds):
    """(6) by enumeration, and leave-one-out, round by round at the realised state."""
    shapley, losses, state = np.zeros((len(rounds), PLAYERS, 2)), np.zeros((len(rounds), PLAYERS, 2)), start
    for t, members in enumerate(rounds):
        v = {
            S: np.asarray(evaluate(update(state, mask(S))))
            for size in range(len(members) + 1)
            for S in itertools.combinations(sorted(members), size)
        }
        for z in members:
            others = sorted(set(members) - {z})
            for size in range(len(others) + 1):
                for S in itertools.combinations(others, size):
                    marginal = v[tuple(sorted((*S, z)))] - v[S]
                    shapley[t, z] += marginal / (len(members) * math.comb(len(others), size))
            losses[t, z] = v[tuple(sorted(members))] - v[tuple(others)]
        state = update(state, mask(members))
    return shapley, losses, state


@pytest.mark.parametrize(
    "batch_size", [None, pytest.param(1, marks=pytest.mark.float64), 4, pytest.param(100, marks=pytest.mark.float64)]
)
def test_values_against_the_definition(start, batch_size, close):
    shapley, losses, state = by_definition(start, ROUNDS)
    result = sequential_shapley(update, evaluate, start, ROUNDS, players=PLAYERS, batch_size=batch_size)
    close(result.values, shapley, atol=TOLERANCE)
    close(result.totals, shapley.sum(axis=0), atol=TOLERANCE)
    close(result.state[0], state[0])
    close(result.utilities[-1], evaluate(state))
    assert result.active.tolist() == [mask(members).tolist() for members in ROUNDS]
    assert np.all(np.asarray(result.values)[~np.asarray(result.active)] == 0)
    without = sequential_leave_one_out(update, evaluate, start, ROUNDS, players=PLAYERS, batch_size=batch_size)
    close(without.values, losses, atol=TOLERANCE)
    close(without.utilities, result.utilities)
    assert without.tables == ()
    for row, members, table in zip(losses, ROUNDS, result.tables, strict=True):  # no second training for these
        close(values.leave_one_out(table), row[members], atol=TOLERANCE)


def test_a_round_sums_to_what_it_adds(start, close):
    result = sequential_shapley(update, evaluate, start, ROUNDS, players=PLAYERS)
    state = start
    for t, members in enumerate(ROUNDS):
        nobody, everybody = (evaluate(update(state, mask(S))) for S in ([], members))
        close(result.values[t].sum(axis=0), everybody - nobody, atol=TOLERANCE)
        state = update(state, mask(members))


def test_what_is_prepared_once_a_round_changes_nothing(start, close):
    """Local models first, then averages of them: the same values, the local models computed three times and not 26."""
    calls = []

    def prepare(state, active):
        calls.append(int(active.sum()))
        weights, number = state
        x, y = FEATURES[number], TARGETS[number]
        return weights[None, :] - 0.3 * (x @ weights - y)[:, None] * x, weights, number

    def average(context, coalition):
        local, weights, number = context
        mean = jnp.sum(jnp.where(coalition[:, None], local, 0), axis=0) / jnp.maximum(jnp.sum(coalition), 1)
        return jnp.where(jnp.any(coalition), mean, weights), number + 1

    expected = sequential_shapley(update, evaluate, start, ROUNDS, players=PLAYERS)
    for batch_size in (None, 8):
        close(
            sequential_shapley(
                average, evaluate, start, ROUNDS, players=PLAYERS, prepare=prepare, batch_size=batch_size
            ).values,
            expected.values,
            atol=TOLERANCE,
        )
    assert calls == [3, 1, 4] * 2


def test_the_union_of_what_came_before_as_the_state_gives_asymmetric_values(close):
    """Remark 4.1: with A_{t-1} = U_{t-1} and any utility of sets, (10) is (9), here enumerated as permutations (7)."""
    table, groups = np.random.default_rng(2).normal(size=32), [1, 0, 1, 0, 1]
    rounds = [[1, 3], [0, 2, 4]]
    orders = [first + last for first in itertools.permutations(rounds[0]) for last in itertools.permutations(rounds[1])]
    expected = np.zeros(5)
    for order in orders:
        indices = np.cumsum([0, *(2**z for z in order)])
        expected[list(order)] += np.diff(table[indices]) / len(orders)
    result = sequential_shapley(
        lambda state, coalition: state | coalition,
        lambda state: table[2 ** np.arange(5) @ np.asarray(state)],
        jnp.zeros(5, dtype=bool),
        rounds,
    )
    close(result.totals, expected)
    assert groups == [int(np.argmax(np.asarray(result.active)[:, z])) for z in range(5)]


def test_identical_sources_differ_between_rounds():
    """Lemma 3.2 and its example in B.2: the vote of round 1 decides, the same vote in round 3 no longer does."""
    result = sequential_shapley(
        lambda votes, coalition: votes + coalition.sum(), lambda votes: votes > 0, 0, [[0], [1], [0]]
    )
    assert result.values.tolist() == [[1, 0], [0, 0], [0, 0]]
    assert result.totals.tolist() == [1, 0]
    assert int(result.state) == 3


def test_any_python_will_do():
    """A state that is no array, an update that JAX could not trace."""
    result = sequential_shapley(
        lambda names, coalition: names | {"abc"[i] for i in np.flatnonzero(coalition)},
        lambda names: float(len(names)),
        frozenset("a"),
        [[0, 1], [2]],
    )
    assert result.values.tolist() == [[0, 1, 0], [0, 0, 1]]
    assert result.state == frozenset("abc")


def test_rounds_of_one_size_are_compiled_once(start):
    traces = []

    def counted(state):
        traces.append(1)
        return evaluate(state)[0]

    sequential_shapley(update, counted, start, [[0, 1], [2, 3], [1, 2]], players=PLAYERS, batch_size=4)
    sequential_shapley(update, counted, start, [[0, 3], [1, 3]], players=PLAYERS, batch_size=4)
    assert len(traces) == 1


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("rounds", "options", "message"),
    [
        ([], {}, "rounds: expected at least one round; got none"),
        ([[0], []], {}, r"rounds\[1\]|rounds: expected at least one contributor"),
        ([[0], np.zeros(0, int)], {}, r"rounds: expected at least one contributor.* got \[\] in round 1"),
        ([[0, 1, 0]], {}, r"rounds: expected at least one contributor.* got \[0, 1, 0\] in round 0"),
        ([[0, -1]], {}, r"rounds: expected at least one contributor.* got \[0, -1\] in round 0"),
        ([[0.5]], {}, r"rounds\[0\]: expected contributors 0, 1, ...; got dtype float64"),
        ([[0, 3]], {"players": 3}, r"rounds: expected contributors in \[0, 3\); got 3; set players=4"),
        ([[0]], {"players": 0}, "players: expected a whole number of at least 1"),
        ([[0]], {"batch_size": 0}, "batch_size: expected a whole number of at least 1"),
    ],
)
@pytest.mark.parametrize("function", [sequential_shapley, sequential_leave_one_out])
def test_wrong_rounds_are_refused(function, rounds, options, message):
    with pytest.raises(ValueError, match=message):
        function(lambda state, coalition: state, lambda state: 0.0, 0, rounds, **options)


@pytest.mark.mistakes
@pytest.mark.parametrize("batch_size", [None, 2])
def test_wrong_utilities_are_refused(batch_size):
    def add(state, coalition):
        return state + coalition.sum()

    with pytest.raises(
        ValueError, match=r"evaluate: expected finite utilities; got inf in round 1 for coalition \[0\]"
    ):
        sequential_shapley(add, lambda n: 1 / (n - 3.0), jnp.array(0), [[0, 1], [0, 1]], batch_size=batch_size)
    with pytest.raises(ValueError, match=r"evaluate: expected a scalar or a vector of objectives; got shape \(2, 2\)"):
        sequential_shapley(add, lambda n: jnp.zeros((2, 2)), 0, [[0, 1]], batch_size=batch_size)


@pytest.mark.mistakes
def test_utilities_that_change_their_shape_are_refused():
    def add(state, coalition):
        return state + int(coalition.sum())

    with pytest.raises(ValueError, match=r"evaluate: expected utilities of one shape; got shapes \(0,\), \(1,\)"):
        sequential_shapley(add, lambda n: np.zeros(n), 0, [[0]])
    with pytest.raises(ValueError, match=r"evaluate: expected shape \(1,\) as in round 0; got \(2,\)"):
        sequential_leave_one_out(lambda n, coalition: n + 1, lambda n: np.zeros(n), 0, [[0], [1]])
    with pytest.raises(ValueError, match=r"rounds: expected at most 20 contributors in a round.* got 21"):
        sequential_shapley(add, float, 0, [range(21)])


def test_under_vmap_over_starts(close):
    """A pure function of the state: a batch of starting points at once."""

    def one(weights):
        return sequential_shapley(update, evaluate, (weights, 0), [[0, 1], [2, 3]], players=PLAYERS).totals

    starts = jnp.array([[0.5, -0.5], [0.0, 1.0]])
    close(jax.vmap(one)(starts)[1], one(starts[1]), atol=TOLERANCE)
