"""Profiles, ballots, samplers and Bradley-Terry against plain NumPy definitions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxval import preferences
from jaxval.preferences import rewards
from jaxval.types import Ballots, Comparisons


def matrix_by_definition(orders, weights):
    """P(i ≻ j) = Σ_r σ_r 1{r(i) < r(j)}, one voter and one pair at a time."""
    alternatives = len(orders[0])
    matrix = np.full((alternatives, alternatives), 0.5)
    for i, j in itertools.permutations(range(alternatives), 2):
        matrix[i, j] = sum(w for order, w in zip(orders, weights, strict=True) if order.index(i) < order.index(j))
    return matrix


def wins_by_definition(positions, weights, unranked):
    alternatives = len(positions[0])
    wins = np.zeros((alternatives, alternatives))
    for ballot, weight in zip(positions, weights, strict=True):
        for i, j in itertools.permutations(range(alternatives), 2):
            if unranked == "ignored" and -1 in (ballot[i], ballot[j]):
                continue
            mine, other = (place if place >= 0 else np.inf for place in (ballot[i], ballot[j]))
            wins[i, j] += weight * (1.0 if mine < other else 0.5 if mine == other else 0.0)
    return wins


def random_profile(rng, rankings, alternatives):
    orders = [rng.permutation(alternatives).tolist() for _ in range(rankings)]
    return orders, rng.dirichlet(np.ones(rankings))


@pytest.mark.parametrize(("rankings", "alternatives"), [(1, 1), (1, 3), (5, 2), (40, 6)])
def test_preference_matrix_is_its_definition(rng, close, rankings, alternatives):
    orders, weights = random_profile(rng, rankings, alternatives)
    close(preferences.preference_matrix(jnp.array(orders), weights), matrix_by_definition(orders, weights))
    equal = np.full(rankings, 1 / rankings)
    close(preferences.preference_matrix(jnp.array(orders)), matrix_by_definition(orders, equal))


def test_preference_matrix_of_more_voters_than_a_block_is_exact(rng):
    place = rng.permuted(np.tile(np.arange(4), (5000, 1)), axis=1)
    expected = (place[:, :, None] < place[:, None, :]).sum(0)
    found = preferences.preference_matrix(np.argsort(place, axis=1))
    assert np.array_equal(np.round(np.asarray(found) * 5000)[~np.eye(4, dtype=bool)], expected[~np.eye(4, dtype=bool)])
    assert np.array_equal(found + found.T, np.ones((4, 4)))


def test_preference_matrix_takes_more_alternatives_than_a_byte_counts(close):
    matrix = preferences.preference_matrix(jnp.arange(300)[None])
    close(matrix, np.triu(np.ones((300, 300)), 1) + np.eye(300) / 2)


def test_a_batch_by_vmap(rng, close):
    orders = np.array([random_profile(rng, 5, 4)[0] for _ in range(3)])
    weights = np.full((3, 5), 0.2)
    matrices = jax.vmap(preferences.preference_matrix)(orders, weights)
    for one, matrix in zip(orders, matrices, strict=True):
        close(matrix, preferences.preference_matrix(one))


def test_shares_scores_and_positions(close):
    orders, weights = [[0, 1, 2], [1, 2, 0], [2, 0, 1]], [0.5, 0.3, 0.2]
    close(preferences.first_choice_shares(orders, weights), weights)
    # B(i) = Σ_r σ_r (M - r(i)): the last of a ranking has 0, the first 2
    close(preferences.borda_scores(preferences.preference_matrix(orders, weights)), [1.2, 1.1, 0.7])
    assert preferences.positions(orders).tolist() == [[0, 1, 2], [2, 0, 1], [1, 2, 0]]


def test_condorcet_winner_pmc_ranking_and_smith_set():
    transitive = jnp.array([[0.5, 0.6, 0.3], [0.4, 0.5, 0.4], [0.7, 0.6, 0.5]])  # Kim et al. (48): y3 > y1 > y2
    cycle = jnp.array([[0.5, 0.6, 0.4], [0.4, 0.5, 0.6], [0.6, 0.4, 0.5]])
    assert int(preferences.condorcet_winner(transitive)) == 2
    assert preferences.pmc_ranking(transitive).tolist() == [2, 0, 1]
    assert preferences.smith_set(transitive).tolist() == [False, False, True]
    assert int(preferences.condorcet_winner(cycle)) == -1
    assert preferences.pmc_ranking(cycle).tolist() == [-1, -1, -1]
    assert preferences.smith_set(cycle).tolist() == [True, True, True]
    below = jnp.pad(cycle, (0, 1), constant_values=1.0).at[3].set(0).at[3, 3].set(0.5)  # a cycle above a loser
    assert preferences.smith_set(below).tolist() == [True, True, True, False]
    assert int(preferences.condorcet_winner(jnp.array([[0.5]]))) == 0


def test_smith_set_is_the_smallest_dominating_set(rng):
    for _ in range(30):
        margin = np.triu(rng.integers(-1, 2, (5, 5)), 1)
        matrix = (1 + margin - margin.T) / 2
        dominating = [
            subset
            for size in range(1, 6)
            for subset in itertools.combinations(range(5), size)
            if all(matrix[i, j] > 0.5 for i in subset for j in set(range(5)) - set(subset))
        ]
        found = preferences.smith_set(jnp.asarray(matrix, dtype=float))
        assert tuple(np.flatnonzero(found)) == dominating[0]


@pytest.mark.parametrize("unranked", ["below", "ignored"])
def test_ballot_wins_are_their_definition(rng, close, unranked):
    positions = rng.integers(-1, 4, (50, 5))
    weights = rng.integers(1, 9, 50).astype(float)
    found = preferences.ballot_wins(Ballots(positions, weights), unranked=unranked)
    close(found, wins_by_definition(positions, weights, unranked), atol=1e-4)
    matrix = preferences.empirical_matrix(found)
    assert np.allclose(matrix + matrix.T, 1)


def test_the_two_readings_of_unranked_alternatives_by_hand():
    ballots = Ballots(np.array([[0, -1, -1], [1, 0, -1]]), np.array([3.0, 1.0]))  # 3 x: a; 1 x: b > a
    below = [[0, 3, 4], [1, 0, 2.5], [0, 1.5, 0]]  # b and c tie below a on three ballots, b above c on one
    ignored = [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert preferences.ballot_wins(ballots).tolist() == below
    assert preferences.ballot_wins(ballots, unranked="ignored").tolist() == ignored
    assert preferences.ballot_first_choices(ballots).tolist() == [0.75, 0.25, 0]


def test_complete_ballots_are_a_profile(rng, close):
    orders, _ = random_profile(rng, 7, 4)
    wins = preferences.ballot_wins(preferences.ballots_from_orders(np.array(orders)))
    close(preferences.empirical_matrix(wins), preferences.preference_matrix(np.array(orders)))


def test_count_wins_adds_halves_for_a_tie():
    one = np.zeros(4, dtype=int)
    comparisons = Comparisons(one, np.array([0, 0, 1, 2]), np.array([1, 1, 2, 1]), np.array([1.0, 1.0, 0.5, 0.5]))
    assert preferences.count_wins(comparisons, alternatives=3).tolist() == [[0, 2, 0], [0, 0, 0.5], [0, 0.5, 0]]


def kendall(order, center):
    place = {alternative: i for i, alternative in enumerate(center)}
    return sum(place[a] > place[b] for a, b in itertools.combinations(order, 2))


@pytest.mark.parametrize("dispersion", [0.0, 0.4, 1.0])
def test_mallows_frequencies_are_its_probabilities(dispersion):
    center, num = [2, 0, 3, 1], 20_000
    drawn = np.asarray(preferences.sample_mallows(jax.random.key(3), center, dispersion=dispersion, num=num))
    orders = list(itertools.permutations(range(4)))
    chances = np.array([float(dispersion) ** kendall(order, center) for order in orders])
    chances /= chances.sum()
    frequencies = np.array([(drawn == order).all(1).mean() for order in orders])
    spread = np.sqrt(chances * (1 - chances) / num)
    assert (np.abs(frequencies - chances) <= 4.5 * spread + 1e-12).all()


def test_plackett_luce_has_bradley_terry_margins():
    rewards, num = np.array([0.5, -0.3, 0.1]), 20_000
    drawn = preferences.sample_plackett_luce(jax.random.key(1), rewards, num=num)
    found = preferences.preference_matrix(drawn)
    expected = 1 / (1 + np.exp(rewards[None] - rewards[:, None]))
    assert np.abs(found - expected).max() < 4.5 * 0.5 / np.sqrt(num)
    strengths = np.exp(rewards)
    first = preferences.first_choice_shares(drawn)
    assert np.abs(first - strengths / strengths.sum()).max() < 4.5 * 0.5 / np.sqrt(num)


def test_comparisons_come_from_the_matrix(rng):
    matrix = preferences.preference_matrix(np.array(random_profile(rng, 9, 4)[0]))
    num = 60_000
    wins = preferences.count_wins(preferences.sample_comparisons(jax.random.key(2), matrix, num=num), alternatives=4)
    assert float(wins.sum()) == num
    assert np.abs(preferences.empirical_matrix(wins) - matrix).max() < 4.5 * 0.5 / np.sqrt(num / 6)
    compared = np.asarray(wins + wins.T)[np.triu_indices(4, 1)]
    assert np.abs(compared - num / 6).max() < 4.5 * np.sqrt(num / 6)


def test_mixture_draws_each_group_with_its_share():
    def always(order):
        return lambda key, *, num: jnp.tile(jnp.array(order), (num, 1))

    drawn = preferences.sample_mixture(jax.random.key(0), [always([0, 1]), always([1, 0])], [0.2, 0.8], num=10_000)
    assert abs(float((drawn[:, 0] == 0).mean()) - 0.2) < 0.02


def test_the_same_key_draws_the_same():
    one, two = (
        preferences.sample_mallows(jax.random.key(5), range_, dispersion=0.7, num=50) for range_ in [[0, 1, 2]] * 2
    )
    assert np.array_equal(one, two)
    other = preferences.sample_impartial_culture(jax.random.key(6), alternatives=3, num=50)
    assert not np.array_equal(one, other)
    assert np.array_equal(np.sort(other, axis=1), np.tile(np.arange(3), (50, 1)))


def newton_free_fit(wins, steps=200_000):
    """Zermelo's fixed point, which needs no derivative: π_i = Σ_j wins / Σ_j n / (π_i + π_j)."""
    strength = np.ones(len(wins))
    games = wins + wins.T
    for _ in range(steps):
        new = wins.sum(1) / (games / (strength[:, None] + strength)).sum(1)
        new /= np.exp(np.log(new).mean())
        if np.abs(np.log(new / strength)).max() < 1e-14:
            break
        strength = new
    return np.log(strength)


def test_bradley_terry_is_the_maximum_likelihood(rng, close):
    wins = rng.integers(0, 30, (6, 6)) * (1 - np.eye(6))
    found, diagnostics = preferences.bradley_terry_solve(wins)
    assert bool(diagnostics.converged)
    close(found, newton_free_fit(wins), atol=1e-9 if found.dtype == jnp.float64 else 2e-5)
    close(preferences.bradley_terry(wins), found)


def test_bradley_terry_standard_errors_are_those_of_repeated_experiments():
    rewards = np.array([0.6, 0.1, -0.7])
    chance = 1 / (1 + np.exp(rewards[None] - rewards[:, None]))
    rng = np.random.default_rng(1)
    i, j = np.triu_indices(3, 1)

    def experiment():
        wins = np.zeros((3, 3))
        wins[i, j] = rng.binomial(400, chance[i, j])
        wins[j, i] = 400 - wins[i, j]
        return wins

    fits, diagnostics = jax.vmap(preferences.bradley_terry_solve)(jnp.asarray([experiment() for _ in range(400)]))
    ratio = np.std(fits, axis=0) / np.median(diagnostics.standard_errors, axis=0)
    assert (np.abs(ratio - 1) < 0.15).all(), ratio


def test_bradley_terry_from_a_far_optimum(close):
    wins = jnp.array([[0.0, 99_999.0, 0.0], [1.0, 0.0, 99_999.0], [0.0, 1.0, 0.0]])  # a long way down a chain
    rewards, diagnostics = preferences.bradley_terry_solve(wins)
    assert bool(diagnostics.converged)
    step = np.log(99_999)
    close(rewards, [step, 0, -step], atol=1e-6 if rewards.dtype == jnp.float64 else 2e-2)


def upsets(count):
    """Six alternatives in an order that every comparison keeps, `count` times a pair, but for one win back."""
    return np.triu(np.full((6, 6), count), 1) + np.outer(np.eye(6)[5], np.eye(6)[0])


def test_bradley_terry_of_lopsided_counts(x64):
    counts = {
        "two alternatives": (np.array([[0.0, 1e6], [1.0, 0.0]]), np.log(1e6) / 2 * np.array([1, -1])),
        "a long chain": (
            np.diag(np.full(49, 1e5), 1) + np.diag(np.ones(49), -1),
            np.log(1e5) * (24.5 - np.arange(50)),
        ),
        "one win back": (upsets(1000.0), None),
    }
    for name, (wins, expected) in counts.items():
        found = np.array(preferences.bradley_terry(wins), dtype=float)
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-12 if x64 else 1e-5, err_msg=name)
        # the likelihood's equations: what each alternative won by surprise, it lost by surprise
        surprise = wins / (1 + np.exp(found[:, None] - found[None, :]))
        np.testing.assert_allclose(surprise.sum(axis=1), surprise.sum(axis=0), rtol=1e-9 if x64 else 1e-3, err_msg=name)


@pytest.mark.once
def test_bradley_terry_that_does_not_converge_says_what_solve_returns(monkeypatch):
    monkeypatch.setattr(rewards, "MAX_STEPS", 3)
    rewards._solve.clear_cache()
    try:
        with pytest.raises(RuntimeError, match=r"in 3 Newton steps .*wins \+ 0.1.*bradley_terry_solve.* NaN"):
            preferences.bradley_terry(upsets(1000.0))
        values, diagnostics = preferences.bradley_terry_solve(upsets(1000.0))
        assert np.isnan(values).all()
        assert np.isnan(diagnostics.standard_errors).all()
        assert bool(diagnostics.strongly_connected)
        assert not bool(diagnostics.converged)
    finally:
        rewards._solve.clear_cache()


def test_bradley_terry_without_a_finite_maximum():
    wins = jnp.array([[0.0, 2.0], [0.0, 0.0]])
    rewards, diagnostics = preferences.bradley_terry_solve(wins)
    assert not bool(diagnostics.strongly_connected)
    assert np.isnan(rewards).all()
    assert np.isnan(jax.jit(preferences.bradley_terry)(wins)).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.permutations(range(4)), min_size=1, max_size=6))
def test_renaming_alternatives_renames_the_matrix(orders):
    orders = np.array(orders)
    renaming = np.array([2, 0, 3, 1])
    matrix = np.asarray(preferences.preference_matrix(orders))
    renamed = np.asarray(preferences.preference_matrix(renaming[orders]))
    assert np.array_equal(renamed[np.ix_(renaming, renaming)], matrix)


KEY = jax.random.key(0)
MISTAKES = {
    "no permutation": (lambda: preferences.preference_matrix([[0, 0, 2]]), "orders.*row 0 = \\[0, 0, 2\\]"),
    "one past the end": (lambda: preferences.preference_matrix([[1, 2]]), "orders.*permutation of 0..1"),
    "negative index": (lambda: preferences.preference_matrix([[0, -1]]), "orders.*permutation"),
    "2^32": (lambda: preferences.preference_matrix(np.array([[2**32, 1]])), "orders.*below 2\\^31.*4294967296"),
    "too large for float32 or negative": (
        lambda: preferences.empirical_matrix([[0.0, -1e300], [1e300, 0.0]]),
        "wins.*1e\\+300",
    ),
    "floats": (lambda: preferences.preference_matrix([[0.0, 1.0]]), "orders.*integer.*float"),
    "one ranking": (lambda: preferences.preference_matrix([0, 1]), "orders.*\\(rankings, alternatives\\).*\\(2,\\)"),
    "no ranking": (lambda: preferences.preference_matrix(np.zeros((0, 3), int)), "orders.*at least one"),
    "ragged": (lambda: preferences.preference_matrix([[0, 1], [0]]), "orders.*no array of numbers"),
    "names": (lambda: preferences.preference_matrix([["a", "b"]]), "orders.*no array of numbers"),
    "counts": (lambda: preferences.preference_matrix([[0, 1]], [5.0]), "weights.*sum of 5.*counts / counts.sum"),
    "negative weight": (lambda: preferences.preference_matrix([[0, 1], [1, 0]], [2.0, -1.0]), "weights.*non-negative"),
    "weights of another length": (lambda: preferences.preference_matrix([[0, 1]], [0.5, 0.5]), "weights.*1 rankings"),
    "NaN weight": (lambda: preferences.preference_matrix([[0, 1]], [np.nan]), "weights.*finite.*nan"),
    "not skew": (lambda: preferences.borda_scores([[0.5, 0.6], [0.6, 0.5]]), "matrix.*P \\+ Pᵀ = 1.*1.2"),
    "diagonal": (lambda: preferences.borda_scores([[0.0, 0.6], [0.4, 0.0]]), "matrix.*diagonal 1/2"),
    "not square": (lambda: preferences.borda_scores([[0.5, 0.6]]), "matrix.*square.*\\(1, 2\\)"),
    "outside": (lambda: preferences.borda_scores([[0.5, 1.2], [-0.2, 0.5]]), "matrix.*\\[0, 1\\].*-0.2 to 1.2"),
    "NaN matrix": (lambda: preferences.borda_scores([[0.5, np.nan], [0.5, 0.5]]), "matrix.*finite.*nan"),
    "wins": (lambda: preferences.empirical_matrix([[0.0, -1.0], [2.0, 0.0]]), "wins.*non-negative.*-1"),
    "unranked": (
        lambda: preferences.ballot_wins(Ballots([[0, 1]], [1.0]), unranked="last"),
        "unranked.*'below'.*'last'",
    ),
    "place -2": (lambda: preferences.ballot_wins(Ballots([[0, -2]], [1.0])), "ballots.positions.*-2"),
    "ballot weights": (lambda: preferences.ballot_wins(Ballots([[0, 1]], [1.0, 1.0])), "ballots.weights.*1 rows"),
    "index": (
        lambda: preferences.count_wins(Comparisons([0], [2], [0], [1.0]), alternatives=2),
        "comparisons.winner.*0..1.*2",
    ),
    "itself": (
        lambda: preferences.count_wins(Comparisons([0], [1], [1], [1.0]), alternatives=2),
        "two different alternatives.*row 0",
    ),
    "dispersion": (lambda: preferences.sample_mallows(KEY, [0, 1], dispersion=2, num=1), "dispersion.*2"),
    "no draws": (
        lambda: preferences.sample_mallows(KEY, [0, 1], dispersion=0.5, num=0),
        "num.*at least 1",
    ),
    "center": (
        lambda: preferences.sample_mallows(KEY, [0, 0], dispersion=0.5, num=1),
        "center.*permutation",
    ),
    "one alternative": (
        lambda: preferences.sample_comparisons(KEY, [[0.5]], num=1),
        "matrix.*at least two",
    ),
    "disconnected": (lambda: preferences.bradley_terry([[0.0, 2.0], [0.0, 0.0]]), "wins.*\\[0\\] that never lose"),
    "never compared": (lambda: preferences.bradley_terry(np.zeros((2, 2))), "wins.*that never lose"),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake):
    call, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        call()


def test_known_values_are_checked_inside_somebody_elses_trace():
    comparisons = Comparisons(jnp.zeros(2, int), jnp.array([0, 1]), jnp.array([1, 2]), jnp.ones(2))
    ballots = Ballots(jnp.array([[0, 1], [1, 0]]), jnp.array([2.0, 1.0]))

    @jax.jit
    def closed_over(x):
        matrix = preferences.empirical_matrix(preferences.count_wins(comparisons, alternatives=3))
        return x + matrix[0, 1] + preferences.ballot_first_choices(ballots)[0] + preferences.ballot_wins(ballots)[0, 1]

    assert float(closed_over(0.0)) == pytest.approx(1 + 2 / 3 + 2)
