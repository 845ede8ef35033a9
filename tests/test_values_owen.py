import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import values_by_definition as definition
from scipy import stats

from jaxval import values
from jaxval.coalitions import games
from jaxval.values._intervals import reachable_with_unions
from jaxval.values._orders import draw_order

TWO_LEVELS = [[0, 0, 0, 1, 1, 2], [0, 0, 1, 2, 3, 4]]  # providers, and the data sets of each


def test_two_unions_by_hand(close):
    """A market of one buyer and two sellers; the sellers unite. The quotient game splits 1 in halves."""
    market = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    close(values.owen(market, [0, 0, 1]), [1 / 4, 1 / 4, 1 / 2])
    # The buyer unites with seller 0. Seller 1 first: v(01) - v(0) = 0 for it. Alone against the union it gets 0, and
    # the union's members share 1 over four orders: the buyer is last twice, or seller 1 serves it.
    close(values.owen(market, [0, 1, 0]), [1 / 4, 0, 3 / 4])


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_owen_of_every_hierarchy_is_its_definition(n, close):
    table = np.random.default_rng(n).normal(size=(2**n, 2))
    for levels in definition.hierarchies(n, 2):
        close(values.owen(table, levels), definition.owen(table, levels))


def test_owen_of_three_levels_and_its_totals(close):
    """Six players; the totals of the coarsest unions are Shapley's values of the game between them."""
    table = np.random.default_rng(6).normal(size=64)
    levels = [TWO_LEVELS[0], [0, 0, 1, 2, 2, 3], [0, 1, 2, 3, 4, 5]]
    owen = values.owen(table, levels)
    close(owen, definition.owen(table, levels))
    quotient = [table[sum(1 << i for i in range(6) if joined >> levels[0][i] & 1)] for joined in range(8)]
    close(values.owner_totals(owen, levels[0]), values.shapley(quotient))


def test_owen_of_large_and_traced_tables_is_that_of_known_ones(close, monkeypatch):
    table = np.random.default_rng(5).normal(size=64)
    known = values.owen(table, TWO_LEVELS)
    close(jax.jit(lambda t: values.owen(t, TWO_LEVELS))(table), known)
    monkeypatch.setattr("jaxval.values.unions.SMALL", 0)
    close(values.owen(table, TWO_LEVELS), known)


@pytest.mark.once
@pytest.mark.parametrize("levels", [[[0, 0, 1, 1]], [[0, 1, 0, 0], [0, 1, 2, 0]]], ids=str)
def test_every_permutation_that_keeps_unions_together_is_equally_likely(levels):
    allowed = [list(order) for order in definition.orders_in_unions(levels)]
    draws = 200 * len(allowed)
    orders = jax.vmap(lambda key: draw_order(key, np.zeros(4, np.int32), np.array(levels)))(
        jax.random.split(jax.random.key(1), draws)
    )
    counts = [int((np.asarray(orders) == order).all(axis=1).sum()) for order in allowed]
    assert sum(counts) == draws
    assert stats.chisquare(counts).pvalue > 1e-3


def test_sampled_owen_values_near_exact_ones():
    table = np.random.default_rng(9).normal(size=64)
    powers, known = 1 << np.arange(6), jnp.asarray(table)
    estimate = values.sample_shapley(
        jax.random.key(0), lambda mask: known[mask @ powers], 6, permutations=400, unions=TWO_LEVELS
    )
    exact = values.owen(table, TWO_LEVELS)
    assert np.all(np.abs(estimate.values - exact) < 4 * estimate.standard_errors)
    assert np.all(np.abs(estimate.values - values.shapley(table)).max() > 5 * estimate.standard_errors.max())
    np.testing.assert_allclose(estimate.values.sum(), table[-1] - table[0], rtol=0, atol=1e-4)
    # The sample has seen every coalition that such a permutation can form, and no other.
    assert int(estimate.evaluations) == reachable_with_unions(np.array(TWO_LEVELS))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_reachable_coalitions_are_counted(n):
    for levels in definition.hierarchies(n, 2):
        formed = {frozenset(order[:k]) for order in definition.orders_in_unions(levels) for k in range(n + 1)}
        assert reachable_with_unions(np.array(levels)) == len(formed)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("unions", "words"),
    [
        ([0, 1], r"unions: .*\(3,\) unions.*shape \(2,\)"),
        ([0, 2, 2], r"unions: .*gap.*\[0, 2\] at level 0"),
        ([[0, 0, 1], [0, 1, 3]], r"unions: .*gap.*\[0, 1, 3\] at level 1"),
        ([[0, 0, 1], [0, 1, 1]], r"unions: .*within one union.*union 1 of level 1 in the unions \[0, 1\] of level 0"),
        ([0.0, 1.0, 1.0], "unions: .*dtype"),
        ([], r"unions: .*dtype"),
        ([[[0, 1, 2]]], r"unions: .*shape \(1, 1, 3\)"),
    ],
    ids=itertools.count(),
)
def test_unions_that_are_none(unions, words):
    with pytest.raises(ValueError, match=words):
        values.owen(np.arange(8.0), unions)


@pytest.mark.mistakes
def test_unions_and_groups_exclude_each_other():
    game = games.additive([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="unions: expected groups or unions; got both"):
        values.sample_shapley(jax.random.key(0), game.utility, 3, permutations=4, groups=[0, 0, 1], unions=[0, 0, 1])
    with pytest.raises(ValueError, match=r"unions: .*tracer"):
        jax.jit(lambda unions: values.owen(np.arange(8.0), unions))(jnp.array([0, 0, 1]))
