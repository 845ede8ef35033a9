import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import values_by_definition as definition

from jaxval import coalitions
from jaxval.coalitions import games

RNG = np.random.default_rng(4)
WEIGHTS = RNG.normal(size=6)
MATRIX = np.triu(RNG.normal(size=(6, 6)), 1)
GAMES = {
    "additive": games.additive(WEIGHTS),
    "unanimity": games.unanimity([True, False, True, True, False]),
    "sum of unanimity": games.unanimity(RNG.random((7, 5)) < 0.6, RNG.normal(size=7)),
    "airport": games.airport([3.0, 1.0, 1.0, 0.0, 7.0]),
    "glove": games.glove([True, False, False, True, False, False]),
    "one hand": games.glove([True, True]),
    "voting": games.voting([4, 3, 2, 1, 0], quota=6),
    "unanimous voting": games.voting([1, 2, 3], quota=6),
    "saturating": games.saturating(WEIGHTS),
    "saturating odd": games.saturating(WEIGHTS[:5]),
    "pairwise": games.pairwise(WEIGHTS, MATRIX + MATRIX.T),
    "one player": games.airport([2.0]),
}


def plain_table(utility, players):
    masks = [[index >> player & 1 == 1 for player in range(players)] for index in range(2**players)]
    return np.array([utility(jnp.array(mask)) for mask in masks])


def test_bit_i_of_an_index_is_player_i():
    masks = coalitions.all_coalitions(3)
    assert masks.tolist() == [[k >> i & 1 == 1 for i in range(3)] for k in range(8)]
    assert coalitions.coalition_index(masks).tolist() == list(range(8))
    assert coalitions.coalition_sizes(3).tolist() == [0, 1, 1, 2, 1, 2, 2, 3]
    assert coalitions.index_coalition(np.array([[5], [2]]), 3).shape == (2, 1, 3)


@pytest.mark.parametrize("name", GAMES)
def test_known_values_are_those_of_the_definition(name, close):
    game = GAMES[name]
    table = plain_table(game.utility, game.players)
    close(game.shapley, definition.semivalue(table, definition.shapley_weights(game.players)))


def test_the_value_of_an_objective_is_its_own(close):
    weights = RNG.normal(size=(4, 2))
    game = games.additive(weights)
    close(game.shapley, weights)
    close(coalitions.tabulate(game.utility, 4)[5], weights[0] + weights[2])


@pytest.mark.parametrize("batch_size", [1, 3, 8, 64, 1000])
def test_the_table_is_the_same_for_every_batch(batch_size, close):
    game = GAMES["pairwise"]
    table = coalitions.tabulate(game.utility, game.players, batch_size=batch_size)
    close(table, plain_table(game.utility, game.players), atol=1e-5 if table.dtype == np.float32 else 1e-12)


def test_masks_in_any_order_and_vectors_of_objectives():
    masks = coalitions.all_coalitions(4)[::-1]
    utility = lambda coalition: jnp.array([coalition.sum(), coalition[0]])  # noqa: E731
    values = coalitions.evaluate_coalitions(utility, masks, batch_size=5)
    assert values.tolist() == [[float(mask.sum()), float(mask[0])] for mask in np.asarray(masks)]


def test_a_table_costs_one_batch_beside_itself():
    rows, seen = 2**12, []

    def utility(coalition):
        seen.append(coalition.shape)
        return coalition.sum()

    coalitions.tabulate(utility, 12, batch_size=32)
    assert set(seen) == {(12,)}
    run = jax.jit(lambda: coalitions.tabulate(lambda coalition: coalition.sum(), 12, batch_size=32))
    table = rows * jnp.zeros(0).dtype.itemsize
    assert run.lower().compile().memory_analysis().temp_size_in_bytes < table + 32 * 12 * 64


def test_same_utilities_inside_jit(close):
    game = GAMES["glove"]
    inside = jax.jit(lambda: coalitions.tabulate(game.utility, game.players))()
    close(inside, coalitions.tabulate(game.utility, game.players))


def test_known_values_of_many_players_sum_to_the_whole(close):
    game = games.saturating(RNG.lognormal(size=101))
    everybody = jnp.ones(101, bool)
    close(game.shapley.sum(), game.utility(everybody), atol=1e-5 if game.shapley.dtype == np.float32 else 1e-12)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: coalitions.all_coalitions(0), "players: .*at least 1"),
        (lambda: coalitions.tabulate(lambda s: 0.0, 40), "players: .*at most 30.*sample_shapley"),
        (lambda: coalitions.coalition_sizes(2.0), "players: .*whole number"),
        (lambda: coalitions.index_coalition(8, 3), "index: .*8"),
        (lambda: coalitions.index_coalition(-1, 3), "index: .*-1"),
        (lambda: coalitions.index_coalition(0.5, 3), "index: .*whole numbers"),
        (lambda: coalitions.coalition_index([0, 1]), "coalitions: .*boolean"),
        (lambda: coalitions.evaluate_coalitions(lambda s: 0.0, [True, False]), "coalitions: .*shape"),
        (lambda: coalitions.evaluate_coalitions(lambda s: 0.0, np.zeros((0, 3), bool)), "coalitions: .*shape"),
        (lambda: coalitions.tabulate(3, 2), "utility: .*function"),
        (lambda: coalitions.tabulate(lambda s: jnp.zeros((2, 2)), 2), r"utility: .*shape \(2, 2\)"),
        (lambda: coalitions.tabulate(lambda s: jnp.zeros(0), 2), "utility: .*shape"),
        (lambda: coalitions.tabulate(lambda s: None, 2), "utility: .*scalar"),
        (lambda: coalitions.tabulate(lambda s: (1.0, 2.0), 2), "utility: .*scalar"),
        (lambda: coalitions.tabulate(lambda s: 1j * s.sum(), 2), "utility: .*real"),
        (lambda: coalitions.tabulate(lambda s: np.sum(np.asarray(s)), 2), "utility: .*evaluator.*traced=False"),
        (lambda: coalitions.tabulate(lambda s: 1.0 if s[0] else 0.0, 2), "utility: .*trace"),
        (lambda: coalitions.tabulate(lambda s: jnp.where(s[1], jnp.nan, 0), 2), r"utility: .*nan for coalition \[1\]"),
        (lambda: coalitions.tabulate(lambda s: 1 / s.sum(), 2), r"utility: .*inf for coalition \[\]"),
        (lambda: coalitions.tabulate(lambda s: s.sum(), 2, batch_size=0), "batch_size: .*at least 1"),
        (lambda: games.additive([]), "weights: "),
        (lambda: games.additive([1.0, np.nan]), "weights: .*finite"),
        (lambda: games.unanimity([False, False]), "carriers: .*row 0"),
        (lambda: games.unanimity([1, 0]), "carriers: .*masks"),
        (lambda: games.unanimity([[True, False]], [1.0, 2.0]), "coefficients: .*1 carriers"),
        (lambda: games.airport([1.0, -1.0]), "costs: .*at least 0"),
        (lambda: games.airport([]), "costs: "),
        (lambda: games.glove([0, 1]), "right: .*mask"),
        (lambda: games.voting([1, 1], quota=3), "quota: .*2 votes"),
        (lambda: games.voting([1, 1], quota=0), "quota: .*at least 1"),
        (lambda: games.voting([1, -1], quota=1), "votes: .*negative"),
        (lambda: games.voting([1.5, 1.0], quota=1), "votes: .*whole"),
        (lambda: games.saturating([0.0, 0.0]), "weights: .*not zero"),
        (lambda: games.pairwise([1.0, 2.0], [[0.0, 1.0], [2.0, 0.0]]), "interactions: .*symmetric"),
        (lambda: games.pairwise([1.0, 2.0], [[0.0]]), "interactions: .*shape"),
    ],
    ids=itertools.count(),
)
def test_mistakes_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.mistakes
def test_a_table_that_cannot_fit_is_refused_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**18}[name])
    with pytest.raises(ValueError, match=r"players: .*1.0 GiB.*2\^29 rows.*sample_shapley"):
        coalitions.tabulate(lambda coalition: coalition.sum(), 29)
    with pytest.raises(ValueError, match=r"2\^26 rows of 26 bytes"):
        coalitions.all_coalitions(26)
