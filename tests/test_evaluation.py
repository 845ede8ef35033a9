"""One contract of evaluation: what is compiled once, what is seen to have changed, and work in chunks of one shape."""

import logging
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, values
from jaxval.parallel.chunks import each_chunk, map_chunks
from jaxval.types import BadArgument

KEY = jax.random.key(0)
PLAYERS = 5
SCALE = 1.0


def scaled(coalition):
    return SCALE * jnp.sum(coalition) ** 2


CALLS = {
    "tabulate": lambda u: coalitions.tabulate(u, PLAYERS),
    "evaluate": lambda u: coalitions.evaluate_coalitions(u, np.eye(PLAYERS, dtype=bool)),
    "sample_shapley": lambda u: values.sample_shapley(KEY, u, PLAYERS, permutations=8).values,
    "sample_banzhaf": lambda u: values.sample_banzhaf(KEY, u, PLAYERS, coalitions=64).values,
    "sample_truncated_shapley": lambda u: (
        values.sample_truncated_shapley(KEY, u, PLAYERS, permutations=6, tolerance=0.5).values
    ),
    "sample_until": lambda u: values.sample_until(KEY, u, PLAYERS, half_width=50.0, most=256).values,
    "regress_shapley": lambda u: values.regress_shapley(KEY, u, PLAYERS, evaluations=32).values,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.float64] * (name == "sample_until")) for name in CALLS]
)
def test_a_second_call_compiles_nothing_and_sees_what_has_changed(name, monkeypatch, caplog):
    first = np.asarray(CALLS[name](scaled))
    with caplog.at_level(logging.WARNING, logger="jax"), jax.log_compiles():
        again = np.asarray(CALLS[name](scaled))
        assert not [record.getMessage() for record in caplog.records if "Compiling" in record.getMessage()]
        caplog.clear()
        jax.jit(lambda x: x + len(name))(jnp.zeros(3))  # what is compiled is told
        assert [record for record in caplog.records if "Compiling" in record.getMessage()]
    np.testing.assert_array_equal(again, first)
    monkeypatch.setattr(f"{__name__}.SCALE", -2.0)
    np.testing.assert_allclose(CALLS[name](scaled), -2 * first, rtol=1e-5)


def test_two_utilities_of_the_same_code_are_told_apart():
    def utility_of(weights):
        return lambda coalition: jnp.sum(jnp.where(coalition, jnp.asarray(weights), 0.0))

    for weights in ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]):
        estimate = values.sample_shapley(KEY, utility_of(weights), 3, permutations=4)
        np.testing.assert_allclose(estimate.values, weights, rtol=1e-6)


@pytest.mark.float64
def test_two_schedules_of_looks_are_told_apart():
    """66 draws, 33 at a time, looked at once or twice: two looks widen the intervals."""
    game = coalitions.games.airport([1.0, 2.0, 4.0, 8.0, 16.0])
    once, twice = (
        values.sample_until_solve(KEY, game.utility, 5, half_width=1e-9, most=most, batch_size=330)[1]
        for most in (132, 256)
    )
    assert (int(once.checks), int(twice.checks), int(once.permutations), int(twice.permutations)) == (1, 2, 132, 132)
    assert float(twice.half_widths.max()) > 1.05 * float(once.half_widths.max())


def test_sampling_stays_traceable(close):
    """Inside `jit` a utility may close over traced arrays; nothing is kept of it."""

    @jax.jit
    def estimate(weights):
        utility = lambda coalition: jnp.sum(jnp.where(coalition, weights, 0.0))  # noqa: E731
        return values.sample_shapley(KEY, utility, 3, permutations=4).values

    close(estimate(jnp.array([1.0, 2.0, 3.0])), [1.0, 2.0, 3.0])
    close(estimate(jnp.array([0.0, 5.0, 3.0])), [0.0, 5.0, 3.0])


class Doubled:
    """A user's own evaluation, of masks as NumPy arrays."""

    traceable = False
    identity = None
    players = 3

    def __call__(self, mask):
        return 2.0 * np.sum(mask)

    def as_evaluation(self):
        return self

    def many(self, masks, /):
        return jnp.asarray(2.0 * np.asarray(masks).sum(axis=1))

    def objectives(self):
        return ()


def test_an_evaluation_of_a_users_own_goes_wherever_a_utility_goes(close):
    close(values.shapley(coalitions.tabulate(Doubled(), 3)), [2.0] * 3)
    close(values.sample_shapley(KEY, Doubled(), 3, permutations=4).values, [2.0] * 3)
    close(values.regress_shapley(KEY, Doubled(), 3, evaluations=8).values, [2.0] * 3)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_chunks_give_every_row_once_in_calls_of_one_shape(size):
    numbers, shapes = np.arange(5.0) ** 2, set()

    def of_rows(rows):
        shapes.add(rows.shape)
        return numbers[np.asarray(rows)]

    done = []
    np.testing.assert_array_equal(each_chunk(of_rows, 5, size, advance=done.append), numbers)
    assert shapes == {(size,)}
    assert sum(done) == 5
    traced = jax.jit(lambda: map_chunks(lambda rows: {"square": jnp.asarray(numbers)[rows]}, 5, size))()
    np.testing.assert_array_equal(traced["square"], numbers)


def test_errors_are_records_that_travel_between_processes():
    error = BadArgument("beta", expected="a number above 0", got=-1, advice="pass beta=0.1")
    assert str(error) == "beta: expected a number above 0; got -1; pass beta=0.1"
    assert str(error.under("--beta").split(":")[0]) == "--beta"
    again = pickle.loads(pickle.dumps(error.with_advice("or leave it out")))
    assert (again.name, again.expected, again.got) == ("beta", "a number above 0", "-1")
    assert again.advice == "pass beta=0.1; or leave it out"
    assert str(BadArgument("x", expected="y")) == "x: expected y"
