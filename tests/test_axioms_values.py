"""Axioms of values: each checker on values that have the axiom and on some that have not, premises by enumeration."""

import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import find, given, settings
from value_stubs import ADS, WEIGHTED, backwards, equal_split, grand, in_order, nothing, one_by_one, players, relative

from jaxval import _checks, axioms, testing, values
from jaxval.axioms._games import equal_within
from jaxval.axioms._profiles import violated

GROUPS = [1, 0, 1]
PLAYERS = 3
GAME = np.random.default_rng(0).normal(size=8)
OTHER = np.random.default_rng(1).normal(size=8)
PAIRS = list(itertools.combinations(range(PLAYERS), 2))


@functools.cache
def games():
    """Games that meet every premise for every player or pair, (games, 8)."""
    changed = [GAME]
    for z in range(PLAYERS):
        changed.append(axioms.with_null_player(GAME, z))
    for i, j in PAIRS:
        changed += [axioms.with_symmetric_players(GAME, i, j), axioms.with_dependent_players(GAME, i, j)]
    return np.stack(changed)


def worst(axiom, value):
    """The largest gap on those games."""
    gaps = jax.jit(jax.vmap(lambda table: axiom(value, table, groups=np.array(GROUPS))[0]))(games())
    return float(jnp.max(gaps))


def marginality(value, table, groups):
    """Against games in which one player's marginals are the same."""
    others = [axioms.with_same_marginals(table, OTHER, z) for z in range(PLAYERS)]
    return jnp.max(jnp.stack([axioms.marginality(value, table, other, groups)[0] for other in others])), None


def linearity(value, table, groups):
    return axioms.linearity(value, table, OTHER, groups)


PRINTED = partial(axioms.mutual_dependence, version="printed")

HOLDS = [
    (axioms.efficiency, values.shapley),
    (axioms.efficiency, ADS),
    (linearity, values.banzhaf),
    (linearity, WEIGHTED),
    (axioms.nullity, ADS),
    (axioms.symmetry, values.shapley),
    (axioms.group_efficiency, ADS),
    (axioms.group_efficiency, grand),
    (axioms.within_group_symmetry, ADS),
    (axioms.within_group_symmetry, grand),
    (axioms.precedence, ADS),
    (axioms.precedence, one_by_one),
    (axioms.mutual_dependence, ADS),
    (PRINTED, nothing),
    (marginality, values.shapley),
    (marginality, ADS),
]
FAILS = [
    (axioms.efficiency, values.banzhaf),
    (linearity, relative),
    (axioms.nullity, equal_split),
    (axioms.symmetry, in_order),
    (axioms.symmetry, ADS),
    (axioms.group_efficiency, values.shapley),
    (axioms.group_efficiency, backwards),
    (axioms.within_group_symmetry, in_order),
    (axioms.within_group_symmetry, WEIGHTED),
    (axioms.precedence, values.shapley),
    (axioms.precedence, backwards),
    (axioms.mutual_dependence, values.shapley),
    (axioms.mutual_dependence, backwards),
    (axioms.mutual_dependence, WEIGHTED),
    (PRINTED, ADS),
    (PRINTED, values.shapley),
    (marginality, equal_split),
]


@pytest.mark.parametrize(("axiom", "value"), HOLDS)
def test_a_value_that_has_it(axiom, value):
    gap = worst(axiom, value)
    assert np.isfinite(gap)
    assert not violated(gap)


@pytest.mark.parametrize(("axiom", "value"), FAILS)
def test_a_value_that_has_it_not(axiom, value):
    assert worst(axiom, value) > 1e-3


def by_enumeration(table, i, j, limit):
    """Whether two players are symmetric, and whether dependent, coalition by coalition."""
    symmetric = dependent = True
    others = [z for z in range(players(table)) if z not in (i, j)]
    for size in range(len(others) + 1):
        for chosen in itertools.combinations(others, size):
            S = sum(1 << z for z in chosen)
            symmetric &= abs(table[S | 1 << i] - table[S | 1 << j]) <= limit
            dependent &= max(abs(table[S | 1 << i] - table[S]), abs(table[S | 1 << j] - table[S])) <= limit
    return symmetric, dependent


@pytest.mark.parametrize("groups", [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
def test_premises_against_an_enumeration(groups):
    """All 256 games of zeros and ones; the values tell the players apart, so that each pair that counts shows."""
    marks = np.array([1.0, 10.0, 100.0])
    binary = list(itertools.product([0, 1], repeat=8))
    expected = {"symmetry": [], "within": [], "cited": [], "printed": [], "nullity": []}
    for table in binary:
        for gaps in expected.values():
            gaps.append(-np.inf)
        for i, j in itertools.combinations(range(3), 2):
            symmetric, dependent = by_enumeration(table, i, j, 0)
            gap, earlier = abs(marks[i] - marks[j]), min(i, j, key=lambda z: groups[z])
            axiom = gap if groups[i] == groups[j] else marks[earlier]
            found = {
                "symmetry": gap if symmetric else -np.inf,
                "within": gap if symmetric and groups[i] == groups[j] else -np.inf,
                "cited": axiom if dependent else -np.inf,
                "printed": axiom if symmetric else -np.inf,
            }
            for name in found:
                expected[name][-1] = max(expected[name][-1], found[name])
        for z in range(3):
            if all(table[S | 1 << z] == table[S] for S in range(8)):
                expected["nullity"][-1] = max(expected["nullity"][-1], marks[z])

    def gaps(table):
        value = lambda table: jnp.asarray(marks)  # noqa: E731
        return {
            "symmetry": axioms.symmetry(value, table)[0],
            "within": axioms.within_group_symmetry(value, table, groups)[0],
            "cited": axioms.mutual_dependence(value, table, groups)[0],
            "printed": axioms.mutual_dependence(value, table, groups, version="printed")[0],
            "nullity": axioms.nullity(value, table)[0],
        }

    found = jax.jit(jax.vmap(gaps))(jnp.array(binary, dtype=float))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        assert 2 < np.isfinite(expected[name]).sum() < 256


def test_the_changed_games_meet_their_premises():
    for i, j in PAIRS:
        limit = 1e-6
        assert by_enumeration(np.asarray(axioms.with_symmetric_players(GAME, i, j)), i, j, limit)[0]
        assert by_enumeration(np.asarray(axioms.with_dependent_players(GAME, i, j)), i, j, limit)[1]
        assert not any(by_enumeration(GAME, i, j, limit))
    for z in range(PLAYERS):
        for table in (axioms.with_null_player(GAME, z), axioms.with_same_marginals(GAME, OTHER, z) - GAME):
            table = np.asarray(table)
            assert max(abs(table[S | 1 << z] - table[S]) for S in range(8)) < 1e-6
    assert float(axioms.nullity(values.shapley, GAME)[0]) == -np.inf
    assert float(axioms.symmetry(values.shapley, GAME)[0]) == -np.inf
    assert float(axioms.marginality(values.shapley, GAME, OTHER)[0]) == -np.inf


def test_games_that_meet_a_premise_already_are_left_alone(close):
    """Nullity, symmetry and dependence hold on all games if they hold on changed ones: each is a projection."""
    for i, j in PAIRS:
        for change in (axioms.with_symmetric_players, axioms.with_dependent_players):
            once = change(GAME, i, j)
            close(change(once, i, j), once)
    close(axioms.with_null_player(axioms.with_null_player(GAME, 2), 2), axioms.with_null_player(GAME, 2))


def test_axiom_4_1_as_printed_contradicts_the_other_three(close):
    """v(S) = |S|, one player a group. Efficiency, nullity and linearity: φ(u_0) + φ(u_1) = (1, 0) + (0, 1) = (1, 1).

    The axiom as printed wants 0 for the first of the two, who do the same. So no allocation has all four, and Theorem
    4.1 holds with the cited premise only, where neither adds anything without the other.
    """
    first, second, both = [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 2.0]
    three_axioms = np.zeros(2)
    for game, null in ((first, 1), (second, 0)):
        allocation = np.zeros(2)
        allocation[1 - null] = game[3] - game[0]
        close(ADS(jnp.array(game), [0, 1]), allocation)
        three_axioms += allocation
    gap, witness = axioms.mutual_dependence(lambda table: jnp.asarray(three_axioms), both, [0, 1], version="printed")
    assert (float(gap), int(witness.first), int(witness.second)) == (1.0, 0, 1)
    assert float(axioms.mutual_dependence(ADS, both, [0, 1])[0]) == -np.inf
    assert float(axioms.mutual_dependence(ADS, both, [0, 0], version="printed")[0]) == 0


def test_copies_are_substitutes_and_not_dependent(close):
    """A copy in a later group: the original keeps everything under ADS; as printed the original would get 0."""
    copied = [0.0, 1.0, 1.0, 1.0]
    close(ADS(jnp.array(copied), [0, 1]), [1, 0])
    assert float(axioms.mutual_dependence(ADS, copied, [0, 1], version="printed")[0]) == 1
    assert float(axioms.mutual_dependence(ADS, copied, [0, 1])[0]) == -np.inf


def test_witnesses(close):
    """The unanimity game of players 0 and 2, who are dependent: ADS gives all of it to the later one."""
    table = np.array([float(S & 5 == 5) for S in range(8)])
    groups = np.array([0, 0, 1])
    gap, pair = axioms.mutual_dependence(values.shapley, table, groups)
    assert (round(float(gap), 5), int(pair.first), int(pair.second)) == (0.5, 0, 2)
    close(pair.values, [0.5, 0, 0.5])
    gap, pair = axioms.mutual_dependence(backwards, table, groups)
    assert (round(float(gap), 5), int(pair.first), int(pair.second)) == (1.0, 0, 2)
    gap, pair = axioms.mutual_dependence(values.shapley, table, groups.max() - groups)
    assert (round(float(gap), 5), int(pair.first), int(pair.second)) == (0.5, 2, 0)
    gap, group = axioms.group_efficiency(lambda table: jnp.array([0.5, 0.0, 0.75]), table, groups)
    assert (round(float(gap), 5), round(float(group.total), 5), float(group.expected)) == (0.5, 0.5, 0.0)
    gap, total = axioms.efficiency(lambda table: jnp.ones(3), table)
    assert (round(float(gap), 5), round(float(total.total), 5), float(total.expected)) == (2.0, 3.0, 1.0)
    gap, player = axioms.nullity(lambda table: jnp.ones(3), table)
    assert (round(float(gap), 5), int(player.player)) == (1.0, 1)
    gap, player = axioms.nullity(values.shapley, np.arange(8.0))
    assert (round(float(gap), 5), int(player.player)) == (-np.inf, -1)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(testing.games(players=3))
def test_drawn_games_are_games(game):
    table, groups = game
    assert table.shape == (8,)
    assert groups.shape == (3,)
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
    assert table.dtype == jnp.result_type(float)
    assert np.array_equal(2 * table, np.round(2 * table))
    assert np.abs(table).max() <= 4


@pytest.mark.once
def test_drawn_games_reach_every_premise():
    """A counterexample to an axiom is found, and shrinks to what can be read."""
    options = settings(deadline=None, derandomize=True, max_examples=300)
    broken = jax.jit(lambda table: axioms.mutual_dependence(values.shapley, table, [0, 1])[0] > 0.4)
    table, groups = find(
        testing.games(players=2, largest=1),
        lambda game: game[1].tolist() == [0, 1] and bool(broken(game[0])),
        settings=options,
    )
    assert table[0] == table[1] == table[2] != table[3]
    assert groups.tolist() == [0, 1]
    for axiom in (axioms.nullity, axioms.symmetry, partial(axioms.mutual_dependence, groups=[0, 1, 1])):
        premise = jax.jit(lambda table, axiom=axiom: axiom(values.shapley, table)[0] > -jnp.inf)
        table, _ = find(
            testing.games(players=3),
            lambda game, premise=premise: len(set(game[0].tolist())) > 3 and bool(premise(game[0])),
            settings=options,
        )
        assert len(set(table.tolist())) > 3


def test_one_player_makes_no_pair():
    assert float(axioms.symmetry(values.shapley, [0.0, 1.0])[0]) == -np.inf
    assert float(axioms.mutual_dependence(ADS, [0.0, 1.0], [0])[0]) == -np.inf
    assert float(axioms.efficiency(values.shapley, [0.0, 1.0])[0]) == 0


def test_under_jit_and_vmap(close):
    """Groups known, games traced: a batch of games at once."""
    some = games()[::4]
    for axiom, value in ((axioms.mutual_dependence, ADS), (axioms.group_efficiency, values.shapley)):
        together = jax.jit(jax.vmap(lambda table, a=axiom, f=value: a(f, table, GROUPS)[0]))(some)
        close(together, [axiom(value, table, GROUPS)[0] for table in some])


def test_utilities_are_equal_within_the_spread_of_the_game():
    """Utilities in the millions whose last digits differ are equal; small ones that differ as much are not."""
    noise = _checks.tolerance(jnp.zeros(0).dtype) / 10 * np.array([0, 1, 0, 0])
    assert float(axioms.symmetry(in_order, 1e6 * (np.array([0.0, 1.0, 1.0, 1.0]) + noise))[0]) > 1e5
    assert float(axioms.symmetry(in_order, 1e-6 * np.array([0.0, 1.0, 0.9, 1.0]))[0]) == -np.inf


def test_players_of_a_game_far_from_zero_are_told_apart():
    """Utilities of 1000 to 1000.012: the players' shares differ by a third of the spread, so they are not symmetric."""
    table = [1e3, 1e3, 1000.008, 1000.012]
    assert float(axioms.symmetry(values.shapley, table)[0]) == -np.inf
    assert float(axioms.nullity(values.shapley, [1e3, 1000.004, 1e3, 1000.012])[0]) == -np.inf


@pytest.mark.parametrize("offset", [0, 1024])
def test_an_offset_changes_no_premise(offset):
    """All 256 games of 0 and 1/128, and the same with 1024 more, exact in float32; a value that tells players apart."""
    tables = np.array(list(itertools.product([0, 1 / 128], repeat=8))) + offset
    met = {"symmetric": 0, "dependent": 0, "null": 0}

    def gaps(table, other):
        value = lambda table: jnp.array([1.0, 10.0, 100.0]) + table[-1] - other[-1]  # noqa: E731
        groups = [0, 1, 1]
        return {
            "symmetric": axioms.symmetry(value, table)[0],
            "dependent": axioms.mutual_dependence(value, table, groups)[0],
            "null": axioms.nullity(value, table)[0],
            "marginal": axioms.marginality(value, table, other)[0],
        }

    # The other game has the same marginals and the opposite offset: the premise of marginality is met by all players.
    found = jax.jit(jax.vmap(gaps))(jnp.array(tables), jnp.array(tables - 2 * offset))
    for row, table in enumerate(tables):
        premises = [by_enumeration(table, i, j, 1e-9) for i, j in PAIRS]
        null = [all(table[S | 1 << z] == table[S] for S in range(8)) for z in range(3)]
        for name, expected in (
            ("symmetric", any(symmetric for symmetric, _ in premises)),
            ("dependent", any(dependent for _, dependent in premises)),
            ("null", any(null)),
        ):
            assert bool(np.isfinite(found[name][row])) == expected, (name, table)
            met[name] += expected
    assert np.isfinite(found["marginal"]).all()
    assert (np.asarray(found["marginal"]) == 2 * offset).all()
    assert min(met.values()) > 2


def from_zero(table):
    """Shapley values of the game less its offset: no digit is lost to the offset."""
    return values.shapley(table - table[0])


@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize("offset", [0, 1000])
def test_rounding_is_no_violation(scale, offset, x64):
    """Games that are large, or far from 0, for the precision: a correct value has all axioms, in_order lacks one."""
    unit = 1e6 if x64 else 1.0
    tables = unit * (scale * games() + offset * scale)
    other = unit * (scale * OTHER + offset * scale)
    assert not any(violated(axioms.efficiency(from_zero, table)[0]) for table in tables[:3])
    assert not violated(axioms.linearity(from_zero, tables[0], other)[0])
    assert not violated(axioms.linearity(from_zero, tables[0], other, scalars=(0.3, 0.7))[0])
    assert violated(axioms.linearity(lambda table: from_zero(table) ** 2, tables[0], other)[0])
    symmetric = np.array(axioms.with_symmetric_players(tables[0], 0, 1))
    nearly = symmetric.copy()
    nearly[1] += _checks.tolerance(symmetric.dtype) * np.ptp(symmetric) / 2
    for table in (symmetric, nearly):
        assert float(axioms.symmetry(from_zero, table)[0]) == 0
        assert violated(axioms.symmetry(in_order, table)[0])


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([0.0, 1.0, 2.0], "table: expected a table"),
        ([0.0], "table: expected a table"),
        ([0.0, np.nan], "table: expected finite numbers"),
        (np.zeros((4, 2)), r"table: expected one number for each coalition; got shape \(4, 2\)"),
    ],
)
def test_wrong_tables_are_refused(table, message):
    for axiom in (axioms.efficiency, axioms.nullity, axioms.symmetry):
        with pytest.raises(ValueError, match=message):
            axiom(values.shapley, table)
    for axiom in (axioms.group_efficiency, axioms.precedence, axioms.within_group_symmetry, axioms.mutual_dependence):
        with pytest.raises(ValueError, match=message):
            axiom(ADS, table, [0, 1])
    for axiom in (axioms.linearity, axioms.marginality):
        with pytest.raises(ValueError, match=message):
            axiom(values.shapley, table, table)
    with pytest.raises(ValueError, match=message):
        axioms.with_null_player(table, 0)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda table: jnp.ones(3), r"value: expected one number for each of 2 players; got shape \(3,\)"),
        (lambda table: jnp.full(2, jnp.nan), "value: expected finite numbers; got NaN"),
        (lambda table, groups, weights: table, "value: expected one positional parameter"),
        (values.weighted_shapley, "value: expected one positional parameter.*partial"),
        (lambda: 0, "value: expected one positional parameter"),
        (3, "value: expected a function"),
    ],
)
def test_wrong_values_are_refused(value, message):
    table = [0.0, 1.0, 1.0, 2.0]
    calls = [
        partial(axioms.efficiency, value, table),
        partial(axioms.linearity, value, table, table),
        partial(axioms.nullity, value, table),
        partial(axioms.symmetry, value, table),
        partial(axioms.group_efficiency, value, table, [0, 1]),
        partial(axioms.within_group_symmetry, value, table, [0, 0]),
        partial(axioms.precedence, value, table, [0, 1]),
        partial(axioms.mutual_dependence, value, table, [0, 1]),
        partial(axioms.marginality, value, table, table),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.mistakes
def test_other_mistakes_are_refused():
    table = [0.0, 1.0, 1.0, 2.0]
    with pytest.raises(ValueError, match=r"groups: expected the groups 0, 1, ... without a gap"):
        axioms.group_efficiency(ADS, table, [0, 2])
    with pytest.raises(ValueError, match=r"groups: expected \(2,\) groups"):
        axioms.precedence(ADS, table, [0, 1, 1])
    with pytest.raises(ValueError, match="version: expected one of 'cited', 'printed'; got 'quoted'"):
        axioms.mutual_dependence(ADS, table, [0, 1], version="quoted")
    with pytest.raises(ValueError, match="other: expected a game of as many players"):
        axioms.linearity(values.shapley, table, [0.0, 1.0])
    with pytest.raises(ValueError, match="other: expected a game of as many players"):
        axioms.with_same_marginals(table, [0.0, 1.0], 0)
    for change in (axioms.with_symmetric_players, axioms.with_dependent_players):
        with pytest.raises(ValueError, match=r"player: expected different players in \[0, 2\); got 1, 1"):
            change(table, 1, 1)
    with pytest.raises(ValueError, match=r"player: expected different players in \[0, 2\); got 2"):
        axioms.with_null_player(table, 2)


def test_what_counts_as_equal_in_two_games_is_told_by_the_larger_range(x64):
    limit = equal_within(np.array([0.0, 1.0]), np.array([4.0, 12.0]))
    np.testing.assert_allclose(limit, 8 * (1e-9 if x64 else 1e-5), rtol=1e-6)
