import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import values_by_definition as definition

from jaxval import values
from jaxval.coalitions import games, tabulate

SIZES = (1, pytest.param(2, marks=pytest.mark.float64), 4, pytest.param(8, marks=pytest.mark.float64))


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(7)
    return {n: rng.normal(size=2**n) for n in range(1, 9)}


def betas(n, alpha, beta):
    return [scipy.special.beta(s + beta, n - s - 1 + alpha) / scipy.special.beta(alpha, beta) for s in range(n)]


@pytest.mark.parametrize("n", SIZES)
def test_semivalues_are_those_of_their_definition(n, tables, close):
    table = tables[n]
    last = [0.0] * (n - 1) + [1.0]
    by_size = np.random.default_rng(n).dirichlet(np.ones(n))
    weights = [by_size[s] / math.comb(n - 1, s) for s in range(n)]
    close(values.shapley(table), definition.semivalue(table, definition.shapley_weights(n)))
    close(values.banzhaf(table), definition.semivalue(table, [0.5 ** (n - 1)] * n))
    close(values.beta_shapley(table, alpha=4.0, beta=0.5), definition.semivalue(table, betas(n, 4.0, 0.5)))
    close(values.semivalue(table, weights=weights), definition.semivalue(table, weights))
    close(values.leave_one_out(table), definition.semivalue(table, last))


@pytest.mark.parametrize("n", SIZES)
def test_interactions_are_those_of_their_definition(n, tables, close):
    table = tables[n]
    shapley = [math.factorial(s) * math.factorial(n - s - 2) / math.factorial(n - 1) for s in range(n - 1)]
    close(
        values.shapley_interactions(table), definition.interactions(table, shapley), atol=1e-5 if _single() else 1e-12
    )
    banzhaf = [0.5 ** (n - 2)] * (n - 1)
    close(
        values.banzhaf_interactions(table), definition.interactions(table, banzhaf), atol=1e-5 if _single() else 1e-12
    )


def _single():
    return not jax.config.jax_enable_x64


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_asymmetric_values_of_every_order_of_groups(n, tables, close):
    """All ordered partitions; of five players every seventh of each sequence of sizes."""
    table, partitions = tables[n], list(definition.ordered_partitions(n))
    assert len(partitions) == [1, 1, 3, 13, 75, 541][n]
    by_sizes = {}
    for groups in partitions:
        by_sizes.setdefault(tuple(np.bincount(groups)), []).append(groups)
    assert len(by_sizes) == 2 ** (n - 1)
    partitions = [groups for alike in by_sizes.values() for groups in alike[:: 7 if n == 5 else 1]]
    found = {groups: values.asymmetric_shapley(table, groups) for groups in partitions}
    for groups, value in found.items():
        close(value, definition.random_order_value(table, groups, np.ones(n)))


@pytest.mark.parametrize(
    "n", [1, pytest.param(2, marks=pytest.mark.float64), 3, pytest.param(4, marks=pytest.mark.float64)]
)
def test_weighted_values_of_every_order_of_groups(n, tables, close):
    table, weights = tables[n], np.random.default_rng(n).lognormal(size=n)
    for groups in definition.ordered_partitions(n):
        close(values.weighted_shapley(table, groups, weights), definition.random_order_value(table, groups, weights))


@pytest.mark.parametrize(
    "groups",
    [
        (0,) * 8,
        (2, 0, 1, 0, 1, 1, 0, 2),
        pytest.param((0, 1, 2, 3, 4, 5, 6, 7), marks=pytest.mark.float64),
        pytest.param((1, 1, 1, 1, 0, 0, 0, 0), marks=pytest.mark.float64),
    ],
    ids=str,
)
def test_ordered_values_of_eight_players(groups, tables, close):
    weights = np.random.default_rng(8).lognormal(size=8)
    close(
        values.weighted_shapley(tables[8], groups, weights), definition.random_order_value(tables[8], groups, weights)
    )
    expected = definition.random_order_value(tables[8], groups, np.ones(8))
    close(values.asymmetric_shapley(tables[8], groups), expected)
    close(values.weighted_shapley(tables[8], groups, np.array(groups) + 1.0), expected)


@pytest.mark.parametrize("weights", [[1e38, 1e38], [3e38, 1e38], [1e-38, 3e-38], [1.0, 1e-30], [2e-45, 1e-45]])
def test_only_ratios_of_weights_matter(weights, tables, close):
    total = np.longdouble(weights[0]) + np.longdouble(weights[1])
    first, second = np.asarray(weights, np.longdouble) / total
    table = tables[2]
    marginals = np.array([[table[1] - table[0], table[3] - table[2]], [table[2] - table[0], table[3] - table[1]]])
    expected = [second * marginals[0, 0] + first * marginals[0, 1], first * marginals[1, 0] + second * marginals[1, 1]]
    close(values.weighted_shapley(table, [0, 0], weights), np.asarray(expected, float))


@pytest.mark.parametrize("scale", [1e-300, 1e-100, 1e300])
def test_weights_of_any_size_and_of_huge_ratios(scale, tables, close):
    """Weights within each group scaled apart; then the heavier three of a group so heavy that they come last."""
    table, groups = tables[5], np.array([1, 0, 0, 1, 0])
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    scaled = np.where(groups == 1, weights * scale, weights)
    close(values.weighted_shapley(table, groups, scaled), values.weighted_shapley(table, groups, weights))
    heavy = np.where(np.arange(5) < 2, weights * 1e-150, weights * 1e150)
    expected = values.weighted_shapley(table, (np.arange(5) >= 2).astype(int), weights)
    close(values.weighted_shapley(table, np.zeros(5, int), heavy), expected)


def test_weights_may_be_traced(tables, close):
    """The same values, and their slopes where weights are equal, which the order of the weights must not disturb."""
    table, groups, weights = tables[3], [0, 0, 0], jnp.array([2.0, 0.5, 2.0])
    traced = jax.jit(lambda w: values.weighted_shapley(table, groups, w))
    close(traced(weights), values.weighted_shapley(table, groups, weights))
    slopes = jax.jacobian(traced)(weights)
    step = 1e-3
    for player in range(3):
        move = np.eye(3)[player] * step
        up, down = (definition.random_order_value(table, groups, np.asarray(weights) + s * move) for s in (1, -1))
        close(slopes[:, player], (up - down) / (2 * step), atol=1e-5)


def offset_values(n):
    """Every exact value of a table of n players, by name."""
    groups = np.arange(n) % 2
    return {
        "shapley": values.shapley,
        "banzhaf": values.banzhaf,
        "leave_one_out": values.leave_one_out,
        "beta_shapley": lambda table: values.beta_shapley(table, alpha=4.0, beta=1.0),
        "semivalue": lambda table: values.semivalue(table, weights=definition.shapley_weights(n)),
        "asymmetric_shapley": lambda table: values.asymmetric_shapley(table, groups),
        "weighted_shapley": lambda table: values.weighted_shapley(table, groups, np.arange(1.0, n + 1)),
        "shapley_interactions": values.shapley_interactions,
        "banzhaf_interactions": values.banzhaf_interactions,
        "least_core": values.least_core,
    }


@pytest.mark.parametrize("offset", [1e6, -3e4])
@pytest.mark.parametrize("n", [3, 6])
@pytest.mark.parametrize("name", offset_values(1))
def test_an_offset_costs_no_digits(name, n, offset, close):
    """v and v + c have the same values: those of a table in single precision are right relative to the spread of v."""
    table = (offset + np.random.default_rng(n).uniform(size=(2**n, 2))).astype(np.float32)
    without = table.astype(np.float64) - np.float64(table[0])
    value = offset_values(n)[name]
    spread = float(np.ptp(table, axis=0).max())
    close(value(table), value(without), atol=1e-5 * spread)


@pytest.mark.parametrize("kind", ["shapley", "banzhaf", "asymmetric", "weighted", "shapley_interactions"])
def test_values_of_an_offset_table_are_those_of_their_definition(kind, close):
    n = 6
    table = (1e6 + np.random.default_rng(1).uniform(size=2**n)).astype(np.float32)
    exact = table.astype(np.float64) - 1e6  # exact in double precision
    groups = (0, 1, 0, 1, 0, 1)
    weights = np.arange(1.0, 7.0)
    shapley = [math.factorial(s) * math.factorial(n - s - 2) / math.factorial(n - 1) for s in range(n - 1)]
    found, expected = {
        "shapley": lambda: (values.shapley(table), definition.semivalue(exact, definition.shapley_weights(n))),
        "banzhaf": lambda: (values.banzhaf(table), definition.semivalue(exact, [0.5 ** (n - 1)] * n)),
        "asymmetric": lambda: (
            values.asymmetric_shapley(table, groups),
            definition.random_order_value(exact, groups, np.ones(n)),
        ),
        "weighted": lambda: (
            values.weighted_shapley(table, groups, weights),
            definition.random_order_value(exact, groups, weights),
        ),
        "shapley_interactions": lambda: (
            values.shapley_interactions(table),
            definition.interactions(exact, shapley),
        ),
    }[kind]()
    close(found, expected, atol=1e-5 * np.ptp(exact))


@pytest.mark.parametrize("value", [values.shapley, values.banzhaf])
def test_large_tables_keep_their_digits(value, close):
    """2^16 utilities around 1e6, against sums in double precision."""
    n = 16
    table = (1e6 + np.random.default_rng(2).uniform(size=2**n)).astype(np.float32)
    exact = table.astype(np.float64) - 1e6
    sizes = np.bitwise_count(np.arange(2**n))
    weights = np.array(definition.shapley_weights(n) if value is values.shapley else [0.5 ** (n - 1)] * n)
    expected = []
    for player in range(n):
        halves = exact.reshape(-1, 2, 2**player)
        others = sizes.reshape(-1, 2, 2**player)[:, 0]
        expected.append(np.sum(weights[others] * (halves[:, 1] - halves[:, 0])))
    close(value(table), expected, atol=1e-5 * np.ptp(exact))
    close(jax.jit(value)(table), expected, atol=1e-5 * np.ptp(exact))


def test_propositions_of_asymmetric_values(tables, close):
    table, groups = tables[5], np.array([1, 0, 2, 1, 0])
    value = values.asymmetric_shapley(table, groups)
    unions = [sum(1 << i for i in range(5) if groups[i] < t) for t in range(4)]
    for t in range(3):  # Proposition 4.2
        close(value[groups == t].sum(), table[unions[t + 1]] - table[unions[t]])
    close(values.asymmetric_shapley(table, np.zeros(5, int)), values.shapley(table))  # Proposition 4.3


def test_duplicates_halve_the_originals_under_shapley_and_not_under_asymmetric(close):
    # Lemma 3.1: players 2 and 3 are copies of 0 and 1; a copy adds nothing to its original
    weights = jnp.array([1.0, 2.0])
    utility = lambda coalition: weights @ (coalition[:2] | coalition[2:])  # noqa: E731
    table = tabulate(utility, 4)
    close(values.shapley(table)[:2].sum(), 1.5)
    close(values.asymmetric_shapley(table, [0, 0, 1, 1]), [1.0, 2.0, 0.0, 0.0])


def test_objectives_are_carried_through(close):
    tables = np.random.default_rng(0).normal(size=(2**4, 2, 3))
    groups, weights = [0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0]
    for value in (
        values.shapley,
        values.banzhaf,
        values.leave_one_out,
        values.least_core,
        lambda table: values.beta_shapley(table, alpha=1.0, beta=4.0),
        lambda table: values.semivalue(table, weights=[1 / 8] * 4),
        lambda table: values.asymmetric_shapley(table, groups),
        lambda table: values.weighted_shapley(table, groups, weights),
        values.shapley_interactions,
        values.banzhaf_interactions,
    ):
        together = value(tables)
        assert together.shape[-2:] == (2, 3)
        close(together[..., 1, 2], value(tables[:, 1, 2]))


def test_beta_one_one_is_shapley_and_large_beta_nears_leave_one_out(tables, close):
    close(values.beta_shapley(tables[5], alpha=1.0, beta=1.0), values.shapley(tables[5]))
    near = values.beta_shapley(tables[5], alpha=1.0, beta=1e7)
    close(near, values.leave_one_out(tables[5]), atol=1e-5)


def test_values_pass_through_jit_vmap_and_grad(tables, close):
    table = jnp.asarray(tables[5])
    close(jax.jit(values.shapley)(table), values.shapley(table))
    batch = jnp.stack([table, 2 * table])
    close(jax.vmap(values.banzhaf)(batch)[1], values.banzhaf(2 * table))
    gradient = jax.grad(lambda t: values.shapley(t)[0])(table)  # linear: the gradient is the weights
    close(gradient @ table, values.shapley(table)[0])
    inside = jax.jit(lambda a: values.beta_shapley(table, alpha=a, beta=1.0))
    close(inside(2.0), values.beta_shapley(table, alpha=2.0, beta=1.0))


def test_a_nan_inside_jit_is_seen_in_every_value(tables):
    broken = jnp.asarray(tables[3]).at[5].set(jnp.nan)
    assert np.isnan(jax.jit(values.shapley)(broken)).all()
    assert np.isnan(jax.jit(values.banzhaf)(broken)).all()


@pytest.mark.once
@pytest.mark.parametrize("value", [values.shapley, values.banzhaf, values.shapley_interactions])
def test_large_tables_are_read_and_not_copied(value):
    table = jax.ShapeDtypeStruct((2**18,), jnp.zeros(0).dtype)
    memory = jax.jit(value).lower(table).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2 * memory.argument_size_in_bytes


def least_deficit_by_vertices(table):
    """The least e over all basic solutions: x(N) = v(N) and as many tight coalitions as there are players."""
    n = definition.players_of(table)
    game = table - table[0]
    rows = np.array([[*((index >> i & 1) for i in range(n)), 1] for index in range(1, 2**n - 1)], dtype=float)
    worth = game[1:-1]
    best = np.inf
    for tight in itertools.combinations(range(len(rows)), n):
        system = np.vstack([[*[1.0] * n, 0.0], rows[list(tight)]])
        if abs(np.linalg.det(system)) > 1e-9:
            solution = np.linalg.solve(system, [game[-1], *worth[list(tight)]])
            if (rows @ solution >= worth - 1e-9).all():
                best = min(best, solution[-1])
    return best


@pytest.mark.parametrize("n", [2, 3, 4])
def test_least_core_has_the_least_deficit(n, tables, close):
    table = tables[n]
    value, diagnostics = values.least_core_solve(table)
    loose = 1e-5 if _single() else 1e-8
    close(diagnostics.deficit, least_deficit_by_vertices(table), atol=loose)
    masks = np.array([[index >> i & 1 for i in range(n)] for index in range(1, 2**n - 1)])
    missing = (table[1:-1] - table[0]) - masks @ np.asarray(value)
    assert missing.max() <= float(diagnostics.deficit) + loose
    close(value.sum(), table[-1] - table[0], atol=loose)
    assert bool(diagnostics.converged)


def test_least_core_shares_what_is_left_open(close):
    loose = 1e-5 if _single() else 1e-8
    gloves = games.glove([True, True, False, False])
    close(
        values.least_core(tabulate(gloves.utility, 4)), [0.5] * 4, atol=loose
    )  # any split of each pair is in the core
    close(values.least_core(tabulate(games.glove([True, False, False]).utility, 3)), [1.0, 0.0, 0.0], atol=loose)
    close(values.least_core([3.0, 5.0]), [2.0])


def test_least_core_follows_the_names(tables, close):
    # player i of the renamed game is player (i + 1) mod 3 of the other
    table = tables[3]
    renamed = np.array([table[(index << 1 & 7) | index >> 2] for index in range(8)])
    close(values.least_core(renamed), np.roll(values.least_core(table), -1), atol=1e-5 if _single() else 1e-8)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    "value",
    [
        values.shapley,
        values.banzhaf,
        values.leave_one_out,
        values.least_core,
        values.shapley_interactions,
        values.banzhaf_interactions,
        lambda table: values.beta_shapley(table, alpha=1.0, beta=1.0),
        lambda table: values.semivalue(table, weights=[1.0]),
        lambda table: values.asymmetric_shapley(table, [0]),
        lambda table: values.weighted_shapley(table, [0], [1.0]),
    ],
)
@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([0.0], "table: .*1 player.*tabulate"),
        ([], "table: .*shape"),
        ([0.0, 1.0, 2.0], r"table: .*shape \(3,\)"),
        ([0.0, np.nan], "table: .*nan"),
        ([0.0, np.inf], "table: .*inf"),
        (1.0, r"table: .*shape \(\)"),
        (["a", "b"], "table: .*no array of numbers"),
    ],
)
def test_tables_that_are_none(value, table, words):
    with pytest.raises(ValueError, match=words):
        value(table)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: values.asymmetric_shapley(t, [0, 1]), r"groups: .*\(3,\)"),
        (lambda t: values.asymmetric_shapley(t, [0, 2, 2]), "groups: .*gap"),
        (lambda t: values.asymmetric_shapley(t, [1, 1, 2]), "groups: .*gap"),
        (lambda t: values.asymmetric_shapley(t, [-1, 0, 1]), "groups: "),
        (lambda t: values.asymmetric_shapley(t, [0.0, 1.0, 1.0]), "groups: .*dtype"),
        (lambda t: jax.jit(values.asymmetric_shapley)(t, jnp.array([0, 0, 1])), "groups: .*tracer"),
        (lambda t: values.weighted_shapley(t, [0, 0, 0], [1.0, 2.0]), "weights: .*3 players"),
        (lambda t: values.weighted_shapley(t, [0, 0, 0], [1.0, 0.0, 2.0]), "weights: .*above 0.*player 1"),
        (lambda t: values.weighted_shapley(t, [0, 0, 0], [1.0, np.nan, 2.0]), "weights: .*finite"),
        (lambda t: values.beta_shapley(t, alpha=0.0, beta=1.0), "alpha: .*above 0"),
        (lambda t: values.beta_shapley(t, alpha=1.0, beta=np.inf), "beta: .*finite"),
        (lambda t: values.semivalue(t, weights=[0.5, 0.5]), "weights: .*0..2"),
        (lambda t: values.semivalue(t, weights=[1.0, 1.0, 1.0]), r"weights: .*sum to one.*C\(n-1, s\)"),
        (lambda t: values.semivalue(t, weights=[1.5, -0.5, 0.5]), "weights: .*negative"),
        (lambda t: jax.jit(values.least_core)(t), "table: .*tracer"),
    ],
    ids=itertools.count(),
)
def test_mistakes_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(np.arange(8.0))
