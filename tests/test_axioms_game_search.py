"""The search over games finds and shrinks what each stub lacks, and nothing for a value that has the axiom."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from value_stubs import (
    ADS,
    WEIGHTED,
    backwards,
    equal_split,
    grand,
    in_order,
    nothing,
    one_by_one,
    relative,
    squared,
)

from jaxval import axioms, social_choice, values
from jaxval.axioms.kinds import GamesOf, games_of
from jaxval.axioms.search import _games as _game_search
from jaxval.axioms.search import _shrink_games

PRINTED = partial(axioms.mutual_dependence, version="printed")
HOLDS = [
    (axioms.efficiency, values.shapley),
    (axioms.efficiency, ADS),
    (axioms.linearity, values.banzhaf),
    (axioms.nullity, ADS),
    (axioms.symmetry, values.banzhaf),
    (axioms.group_efficiency, grand),
    (axioms.within_group_symmetry, ADS),
    (axioms.precedence, one_by_one),
    (axioms.mutual_dependence, ADS),
    (PRINTED, nothing),
    (axioms.marginality, values.shapley),
]
# The counterexample that is left: utilities of {}, {0}, {1}, {0, 1}, and groups where they count.
FAILS = [
    (axioms.nullity, equal_split, [0, 0, 1, 1], None),
    (axioms.symmetry, in_order, [0, 1, 1, 0], None),
    (axioms.symmetry, ADS, [0, 1, 1, 0], [0, 1]),
    (axioms.group_efficiency, values.shapley, [0, 0, 1, 0], [0, 1]),
    (axioms.group_efficiency, backwards, [0, 0, 1, 0], [0, 1]),
    (axioms.within_group_symmetry, in_order, [0, 1, 1, 0], [0, 0]),
    (axioms.precedence, values.shapley, [0, 0, 1, 0], [0, 1]),
    (axioms.mutual_dependence, values.shapley, [0, 0, 0, 1], [0, 1]),
    (axioms.mutual_dependence, backwards, [0, 0, 0, 1], [0, 1]),
    (PRINTED, ADS, [0, 1, 1, 0], [0, 1]),
]


@pytest.mark.parametrize(
    ("axiom", "value"), [*HOLDS[::2], *(pytest.param(*pair, marks=pytest.mark.float64) for pair in HOLDS[1::2])]
)
def test_nothing_is_found_for_a_value_that_has_the_axiom(axiom, value):
    assert axioms.find_counterexample(value, axiom, players=2, games=256, batch_size=256) is None


@pytest.mark.float64
def test_nothing_is_found_for_correct_values_of_three_players():
    for value, axiom in ((values.shapley, axioms.symmetry), (ADS, axioms.mutual_dependence)):
        assert axioms.find_counterexample(value, axiom, players=[3], games=4000, batch_size=1024) is None


@pytest.mark.parametrize(("axiom", "value", "table", "groups"), FAILS)
def test_what_a_stub_lacks_is_found_and_shrunk(axiom, value, table, groups):
    found = axioms.find_counterexample(value, axiom, players=3, games=256, batch_size=256)
    assert found.table.tolist() == table
    assert (None if found.groups is None else found.groups.tolist()) == groups
    given = {} if groups is None else {"groups": found.groups}
    gap, witness = axiom(value, found.table, **given)
    assert float(gap) == found.gap > 0.1
    jax.tree.map(np.testing.assert_array_equal, witness, found.witness)


def test_what_three_players_need_is_found():
    """Banzhaf is efficient with two players, so the least that shows the gap has three."""
    found = axioms.find_counterexample(values.banzhaf, axioms.efficiency, players=4, games=256, batch_size=256)
    assert len(found.table) == 8
    assert np.count_nonzero(found.table) == 1
    assert found.gap == 0.25


def test_axioms_of_two_games():
    found = axioms.find_counterexample(squared, axioms.linearity, players=2, games=256, batch_size=256)
    assert len(found.table) == len(found.other) == 2
    assert float(axioms.linearity(squared, found.table, found.other)[0]) == found.gap > 0.1
    found = axioms.find_counterexample(equal_split, axioms.marginality, players=2, games=256, batch_size=256)
    assert np.ptp(found.table) + np.ptp(found.other) == 1
    assert int(found.witness.player) >= 0
    # The premise by hand: the player's marginals are the same in both games.
    step = 1 << int(found.witness.player)
    for S in range(4):
        assert found.table[S | step] - found.table[S] == found.other[S | step] - found.other[S]


def test_a_value_of_three_players_alone_keeps_them():
    """Weights are fixed for three players, so that the search may not drop one."""
    found = axioms.find_counterexample(WEIGHTED, axioms.within_group_symmetry, players=[3], games=256, batch_size=256)
    assert len(found.table) == 8
    assert found.gap > 0.1


def test_drawn_games_reach_what_zeros_and_ones_do_not():
    """A value that goes wrong only for utilities above 2.5."""

    def wrong_for_large_utilities(table):
        return jnp.where(jnp.max(table) > 2.5, 0, 1) * values.shapley(table)

    found = axioms.find_counterexample(
        wrong_for_large_utilities, axioms.efficiency, players=2, games=256, batch_size=256
    )
    assert len(found.table) == 2
    assert found.table.tolist() == [0, 3]


@pytest.mark.once
def test_the_same_key_finds_the_same():
    found = [
        axioms.find_counterexample(
            values.shapley,
            axioms.precedence,
            players=[4],
            games=64,
            batch_size=64,
            key=jax.random.key(1),
            shrink=shrink,
        )
        for shrink in (False, False, True)
    ]
    np.testing.assert_array_equal(found[0].table, found[1].table)
    np.testing.assert_array_equal(found[0].groups, found[1].groups)
    assert len(found[0].table) == 16
    assert sorted(found[2].table.tolist()) == [0, 0, 0, 1]


def examiner(axiom, value):
    return _game_search.GameExaminer(value, axiom, games_of(axiom), {}, None, 64)


def test_small_games_are_searched_in_full():
    """Groupings are the ordered partitions of the players: 1, 3, 13, 75."""
    assert [len(_game_search._groupings(n)) for n in range(1, 5)] == [1, 3, 13, 75]
    for axiom, value, games, grouped in (
        (axioms.symmetry, values.shapley, 1, False),
        (axioms.symmetry, ADS, 1, True),
        (axioms.linearity, values.shapley, 2, False),
        (axioms.linearity, ADS, 2, True),
    ):
        examine = examiner(axiom, value)
        assert examine.grouped == grouped
        chunks = list(_game_search._binary_games(2, games, examine))
        listed = {(tuple(chunk.groups), *one.ravel()) for chunk in chunks for one in chunk.tables}
        cells = list(itertools.product([0.0, 1.0], repeat=4 * games))
        groupings = [(0, 0), (0, 1), (1, 0)] if grouped else [(0, 0)]
        assert listed == {(groups, *cell) for groups in groupings for cell in cells}
        assert sum(len(chunk.tables) for chunk in chunks) == _game_search._count_binary(2, games, grouped)


@pytest.mark.once
def test_drawn_games_meet_every_premise():
    tables = _game_search._draw(np.random.default_rng(0), 3, 400)
    assert tables.shape == (400, 8)
    assert (2 * tables == np.round(2 * tables)).all()
    assert np.abs(tables).max() <= 8
    # With a null player or dependent players, a game of three has at most four different utilities.
    varied = tables[[len(set(table)) > 3 for table in tables.tolist()]]
    assert len(varied) > 50
    for axiom in (axioms.nullity, axioms.symmetry, partial(axioms.mutual_dependence, groups=[0, 1, 1])):
        gaps = jax.jit(jax.vmap(lambda table, axiom=axiom: axiom(values.shapley, table)[0]))(jnp.asarray(varied))
        assert 10 < np.isfinite(gaps).sum() < len(varied)
    chunks = list(_game_search._drawn_games(jax.random.key(0), 3, 400, 2, examiner(axioms.marginality, ADS)))
    assert sum(len(chunk.tables) for chunk in chunks) == 400
    assert len({tuple(chunk.groups.tolist()) for chunk in chunks}) > 5
    pairs = jnp.asarray(np.concatenate([chunk.tables for chunk in chunks]))
    gaps = jax.jit(jax.vmap(lambda pair: axioms.marginality(values.shapley, *pair)[0]))(pairs)
    assert 150 < np.isfinite(gaps).sum() < 350


def test_shrinking_ends_where_nothing_simpler_violates():
    """A made-up axiom: the first player of the last group adds at least 2 to someone, who is in another group."""

    def violated(tables, groups):
        found = np.zeros(len(tables), dtype=bool)
        first = int(np.flatnonzero(groups == groups.max())[0])
        for other in np.flatnonzero(groups != groups.max()):
            found |= tables[:, 0, 1 << first | 1 << other] - tables[:, 0, 1 << other] >= 2
        return found

    random = np.random.default_rng(0)
    start = random.normal(size=(1, 16)) * 3, np.array([2, 0, 1, 2])
    assert violated(start[0][None], start[1])[0]
    tables, groups = _shrink_games.shrunk_games(violated, *start)
    assert groups.tolist() == [0, 1]
    assert tables.tolist() == [[0, 0, 0, 2]]


def test_printing():
    found = axioms.find_counterexample(values.shapley, axioms.mutual_dependence, players=[2], games=64, batch_size=64)
    assert str(found) == (
        "mutual_dependence violated by 0.5 with 2 players:\n"
        "  1 for {0, 1}\n"
        "  0 for all others\n"
        "groups: [0, 1]\n"
        "first: 0\n"
        "second: 1\n"
        "values: [0.5 0.5]"
    )
    found = axioms.find_counterexample(equal_split, axioms.marginality, players=[2], games=64, batch_size=64)
    assert str(found).startswith("marginality violated by 0.5 with 2 players:\ntable:\n  ")
    assert "\nother:\n  " in str(found)
    lines = axioms.format_game(np.arange(32) % 3).splitlines()
    assert max(map(len, lines)) <= 80


def test_progress_goes_to_standard_error(capsys):
    arguments = {"players": [1], "games": 8, "batch_size": 8}
    axioms.find_counterexample(values.shapley, axioms.efficiency, **arguments)
    assert capsys.readouterr() == ("", "")
    axioms.find_counterexample(values.shapley, axioms.efficiency, **arguments, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "efficiency of shapley" in err


def test_nan_is_refused_with_its_game():
    with pytest.raises(ValueError, match="got NaN, so efficiency says nothing of\n  0 for all"):
        axioms.find_counterexample(relative, axioms.efficiency, players=[2], games=16, batch_size=16)


def test_the_mark_says_what_an_axiom_takes():
    assert games_of(axioms.efficiency) == GamesOf(1, True, False)
    assert games_of(PRINTED) == GamesOf(1, True, True)
    assert games_of(axioms.marginality) == GamesOf(2, True, False)
    assert games_of(axioms.pareto) is None
    axiom_names = "efficiency group_efficiency linearity marginality mutual_dependence nullity precedence symmetry"
    for name in [*axiom_names.split(), "within_group_symmetry"]:
        assert games_of(getattr(axioms, name)) is not None

    @axioms.of_values
    def everybody_gains(value, table, groups=None, *, least=0.0):
        players = axioms.as_value(value)(jnp.asarray(table, dtype=float), np.zeros(2, dtype=np.int32))
        return least - jnp.min(players), players

    found = axioms.find_counterexample(
        values.shapley, everybody_gains, players=[2], games=16, batch_size=16, shrink=False, least=0.25
    )
    assert found.gap == 1.25


@pytest.mark.mistakes
def test_a_rule_is_no_value_and_a_value_no_rule():
    games, profiles = {"players": 2}, {"alternatives": 3, "voters": 2}
    for rule in (social_choice.proportional, social_choice.random_dictatorship, lambda matrix: matrix[0]):
        with pytest.raises(ValueError, match=r"efficiency is an axiom of values.*take an axiom of rules"):
            axioms.find_counterexample(rule, axioms.efficiency, **games)
    for value in (values.shapley, values.asymmetric_shapley, equal_split):
        with pytest.raises(ValueError, match=r"pareto is an axiom of rules.*take an axiom of values"):
            axioms.find_counterexample(value, axioms.pareto, **profiles)
    with pytest.raises(ValueError, match="alternatives: expected alternatives and voters, as pareto is an axiom"):
        axioms.find_counterexample(values.shapley, axioms.pareto, **games)
    with pytest.raises(ValueError, match=r"players: expected only alternatives and voters, as pareto .*of_values"):
        axioms.find_counterexample(values.shapley, axioms.pareto, **profiles, **games)
    with pytest.raises(ValueError, match="players: expected players, as symmetry is an axiom of values; got None"):
        axioms.find_counterexample(values.shapley, axioms.symmetry, **profiles)
    for name, given in (("voters", 3), ("neutral", True), ("groups", [0, 1])):
        with pytest.raises(ValueError, match=f"{name}: expected only players, as symmetry is an axiom of values; got"):
            axioms.find_counterexample(values.shapley, axioms.symmetry, **games, **{name: given})


@pytest.mark.mistakes
def test_mistakes_at_the_door():
    with pytest.raises(ValueError, match="players: expected a whole number of at least 1; got 0"):
        axioms.find_counterexample(values.shapley, axioms.symmetry, players=0)
    with pytest.raises(ValueError, match="games: expected a whole number of at least 1; got 0"):
        axioms.find_counterexample(values.shapley, axioms.symmetry, players=2, games=0)
    with pytest.raises(ValueError, match="version: expected one of"):
        axioms.find_counterexample(ADS, axioms.mutual_dependence, players=2, version="quoted")
    with pytest.raises(ValueError, match="value: expected a function of JAX arrays that works under jit and vmap"):
        axioms.find_counterexample(lambda table: np.asarray(table)[1:], axioms.symmetry, players=[1])
    for signature in (lambda value: 0, lambda rule, orders: 0, lambda value, table, weights: 0):
        with pytest.raises(ValueError, match="axiom: expected the parameters"):
            axioms.of_values(signature)
