"""What lotteries give groups, intervals of clustered votes, contexts and orders: against definitions in plain NumPy."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import axioms, preferences, social_choice
from jaxval.social_choice import clusters
from jaxval.types import Comparisons

CYCLE = [[0.5, 0.75, 0.5], [0.25, 0.5, 0.75], [0.5, 0.25, 0.5]]


def close(left, right):
    np.testing.assert_allclose(np.asarray(left), np.asarray(right), atol=1e-5)


def group_profiles(seed):
    """Rankings of four alternatives by three groups of voters: P_g, w_g, and the whole profile."""
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(4), (12, 1)), axis=1)
    group = np.repeat([0, 1, 2], [2, 4, 6])
    matrices = [preferences.preference_matrix(orders[group == g]) for g in range(3)]
    return orders, jnp.stack(matrices), np.array([2, 4, 6]) / 12


def by_definition(matrices, lottery, shares):
    """α, the probabilities of the favourites and the win rates, one group at a time."""
    size = len(lottery)
    needed, favoured, rates = np.zeros(size), [], []
    for matrix, share in zip(np.asarray(matrices, float), shares, strict=True):
        borda = [sum(matrix[i, j] for j in range(size) if j != i) for i in range(size)]
        favourites = [i for i in range(size) if borda[i] >= max(borda) - 1e-5]
        for i in favourites:
            needed[i] += share / len(favourites)
        favoured.append(sum(lottery[i] for i in favourites))
        rates.append(sum(lottery[i] * matrix[i, j] / size for i in range(size) for j in range(size)))
    level = min(1, *(lottery[i] / needed[i] for i in range(size) if needed[i] > 0))
    return level, favoured, rates


@pytest.mark.parametrize("seed", range(6))
def test_outcomes_are_those_of_the_definition(seed):
    _, matrices, shares = group_profiles(seed)
    lottery = np.random.default_rng(seed).dirichlet(np.ones(4))
    lottery = lottery / lottery.sum()
    outcomes = social_choice.group_outcomes(matrices, lottery, shares=shares)
    level, favoured, rates = by_definition(matrices, lottery, shares)
    close(outcomes.level, level)
    close(outcomes.favoured, favoured)
    close(outcomes.win_rates, rates)
    assert int(outcomes.worst_off) == int(np.argmin(rates))
    for g in range(3):
        close(outcomes.bounds[g], social_choice.share_bounds(matrices[g]))
        close(outcomes.certificates[g], social_choice.certificate(matrices[g]))


def test_groups_with_one_favourite_count_once():
    """Both groups of two want 0, which has 1/2: by its own share each would have enough, together they have half."""
    first, second = np.array([[0.5, 1.0], [0.0, 0.5]]), np.array([[0.5, 0.2], [0.8, 0.5]])
    together = social_choice.group_outcomes([first, first], [0.5, 0.5])
    close(together.level, 0.5)
    apart = social_choice.group_outcomes([first, second], [0.5, 0.5])
    close(apart.level, 1.0)


def test_groups_by_first_choice_have_the_level_of_the_paper():
    """Groups that are unanimous: their favourites are their first choices, w_g are the paper's w, α is `ppa_level`."""
    orders, shares = np.array([[0, 1, 2], [2, 1, 0], [1, 0, 2]]), np.array([0.5, 0.3, 0.2])
    matrices = jnp.stack([preferences.preference_matrix(orders[g : g + 1]) for g in range(3)])
    lottery = social_choice.proportional(preferences.preference_matrix(orders, shares))
    outcomes = social_choice.group_outcomes(matrices, lottery, shares=shares)
    close(outcomes.level, axioms.ppa_level(lottery, preferences.first_choice_shares(orders, shares)))


def test_the_curve_is_the_outcome_at_every_beta():
    orders, matrices, shares = group_profiles(0)
    matrix = preferences.preference_matrix(orders)
    betas = [0.0, 2.0, jnp.inf]
    curve = social_choice.group_curve(matrix, matrices, betas, shares=shares)
    for i, beta in enumerate(betas):
        one = social_choice.group_outcomes(matrices, social_choice.proportional(matrix, beta=beta), shares=shares)
        for field, mine in zip(curve, one, strict=True):
            close(field[i], mine)


@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_the_guaranteed_level_is_the_papers_bound_and_holds(beta):
    """Lemma 4.7 and equation (46)."""
    for seed in range(4):
        orders, _, _ = group_profiles(seed)
        matrix = preferences.preference_matrix(orders)
        bounds, lottery = social_choice.share_bounds(matrix), social_choice.proportional(matrix, beta=beta)
        level = social_choice.guaranteed_level(matrix, lottery)
        terms = [1 / float(jnp.sum(bounds * jnp.exp(beta * (bounds - u)))) for u in bounds if u > 0]
        close(level, min(1, *terms))
        assert float(level) <= float(axioms.ppa_level(lottery, preferences.first_choice_shares(orders))) + 1e-6
    close(social_choice.guaranteed_level(matrix, social_choice.proportional(matrix)), social_choice.certificate(matrix))
    nobody = [[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]]
    assert np.isnan(social_choice.guaranteed_level(nobody, [0.2, 0.3, 0.5]))


VOTERS, VOTES, SETS = 40, 30, 120
PAIRS = ((0, 1), (0, 2), (1, 2))


@pytest.fixture(scope="module")
def clustered():
    """Voters who always answer the same: (sets, voters, 3, 3) wins of 30 votes each, and P of the population."""
    rng = np.random.default_rng(1)
    reward = np.array([0.6, 0.0, -0.6])
    score = reward + rng.gumbel(size=(SETS, VOTERS, 3))
    wins = np.zeros((SETS, VOTERS, 3, 3))
    for i, j in PAIRS:
        first = score[..., i] > score[..., j]
        wins[..., i, j], wins[..., j, i] = first * VOTES / 3, ~first * VOTES / 3
    truth = 1 / (1 + np.exp(reward[None, :] - reward[:, None]))
    return jnp.asarray(wins, dtype=float), truth


def held(intervals, truth):
    truth = np.asarray(truth)
    return ((np.asarray(intervals.low) <= truth) & (truth <= np.asarray(intervals.high))).mean()


@pytest.mark.float64
def test_clustered_intervals_cover_and_plain_ones_do_not(clustered):
    """Measured: entries of P and win rates, which are win rates against uniform, in 120 data sets of 40 voters."""
    wins, truth = clustered

    def shown(matrix):
        return jnp.append(jnp.stack([matrix[i, j] for i, j in PAIRS]), jnp.mean(matrix, axis=1))

    def ends(key, votes):
        def statistic(times):
            return shown(preferences.empirical_matrix(jnp.tensordot(times, votes, axes=1)))

        by_voter = social_choice.cluster_intervals(key, statistic, VOTERS, samples=200, batch_size=200)
        plain = social_choice.bootstrap_intervals(key, jnp.sum(votes, axis=0), shown, samples=200)
        return by_voter, plain

    by_voter, plain = jax.jit(jax.vmap(ends))(jax.random.split(jax.random.key(0), SETS), wins)
    known = shown(jnp.asarray(truth))
    rates = [held(one, known) for one in (by_voter, plain)]
    assert 0.91 < rates[0] < 0.99
    assert rates[1] < 0.6


def test_intervals_know_how_few_clusters_an_entry_depends_on(close):
    """The ends of an entry that few clusters decide lie further apart, and a single cluster has no interval."""
    rng, sizes = np.random.default_rng(3), [20, 12, 1]
    masks = jnp.asarray(np.stack([np.arange(20) < size for size in sizes]), dtype=float)
    votes = jnp.asarray(rng.normal(size=20), dtype=float)

    def means(times):
        return masks @ (times * votes) / (masks @ times)

    ends = social_choice.cluster_intervals(KEY, means, 20, contributing=sizes, samples=400, batch_size=400)
    assert np.isnan(np.asarray(ends.low)).tolist() == [False, False, True] == np.isnan(np.asarray(ends.high)).tolist()
    as_if_all = social_choice.cluster_intervals(KEY, means, 20, samples=400, batch_size=400)
    close(ends.low[0], as_if_all.low[0])
    assert ends.low[1] < as_if_all.low[1]
    assert ends.high[1] > as_if_all.high[1]


def test_few_clusters_take_students_quantile_and_its_widening():
    """By hand from a table of t: the lower end is the quantile at Φ(-t_{m-1} √(m / (m - 1)))."""
    tails = clusters._adjusted_tails(4, 0.95)  # t_3 = 3.18245, √(4/3) = 1.154701; t_2 = 4.30265, √(3/2) = 1.224745
    assert float(tails[2]) == pytest.approx(0.5 * math.erfc(3.18245 * 1.154701 / math.sqrt(2)), rel=1e-3)
    assert float(tails[1]) == pytest.approx(0.5 * math.erfc(4.30265 * 1.224745 / math.sqrt(2)), rel=1e-3)


def test_effective_counts_are_those_of_the_definition():
    rng = np.random.default_rng(2)
    winner, other, voter = rng.integers(4, size=60), rng.integers(1, 4, size=60), rng.integers(5, size=60)
    weight = rng.choice([0.5, 1.0], size=60)
    votes = Comparisons(np.zeros(60, int), winner, (winner + other) % 4, weight)
    effective = np.asarray(social_choice.effective_counts(votes, voter, alternatives=4))
    for i, j in itertools.combinations(range(4), 2):
        pair = {i, j}
        of_pair = np.array([{a, b} == pair for a, b in zip(votes.winner, votes.loser, strict=True)])
        counts = np.array([weight[of_pair & (voter == v)].sum() for v in range(5)])
        close(effective[i, j], counts.sum() ** 2 / (counts**2).sum())
        assert effective[i, j] == effective[j, i]


@pytest.mark.float64
def test_share_bounds_of_clustered_votes_are_covered(clustered):
    wins, truth = clustered
    total = jnp.sum(wins, axis=1)
    independent = jnp.full((3, 3), float(VOTERS)) * (1 - jnp.eye(3))
    by_voter = jax.vmap(lambda one: social_choice.share_bound_intervals(one, effective=independent))(total)
    plain = jax.vmap(social_choice.share_bound_intervals)(total)
    bounds = social_choice.share_bounds(truth)
    rates = [held(one, bounds) for one in (by_voter, plain)]
    assert rates[0] > 0.95
    assert rates[1] < 0.7


def test_pair_intervals_by_hand():
    """Wilson's interval of 8 of 10: (0.8 + z²/20 ± z √(0.016 + z²/400)) / (1 + z²/10), z = 1.96."""
    intervals = social_choice.pair_intervals([[0.0, 8.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    z = 1.959964
    middle, shift = 0.8 + z**2 / 20, z * np.sqrt(0.016 + z**2 / 400)
    close(intervals.low[0, 1], (middle - shift) / (1 + z**2 / 10))
    close(intervals.high[0, 1], (middle + shift) / (1 + z**2 / 10))
    close(intervals.low + intervals.high.T, 1)
    assert (intervals.low[0, 2], intervals.high[0, 2]) == (0, 1)  # never compared
    assert np.diag(intervals.low).tolist() == np.diag(intervals.high).tolist() == [0.5] * 3


def test_votes_won_are_those_of_the_definition():
    rng = np.random.default_rng(4)
    wins = rng.integers(0, 3, size=(4, 4)).astype(float) * (1 - np.eye(4))
    lottery = np.array([0.5, 0.25, 0.25, 0.0])
    won = sum(lottery[i] * wins[i, j] for i in range(4) for j in range(4))
    voted = sum(lottery[i] * (wins[i, j] + wins[j, i]) for i in range(4) for j in range(4))
    close(social_choice.votes_won(wins, lottery), won / voted)
    assert np.isnan(social_choice.votes_won(np.zeros((2, 2)), [1.0, 0.0]))


def test_a_shortest_cycle_is_claimed():
    """Five alternatives that beat the next four times of five; 0 also beats 3, which makes a cycle of four of them."""
    wins = np.zeros((5, 5))
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0)):
        wins[i, j], wins[j, i] = 80, 20
    assert social_choice.majority_cycle(wins)[0] == (0, 1, 2, 3, 4)
    wins[3, 0], wins[0, 3] = 90, 10
    cycle, certain = social_choice.majority_cycle(wins)
    assert cycle == (0, 1, 2, 3)
    assert np.asarray(certain).sum() == 6
    assert social_choice.majority_cycle(wins, effective=np.full((5, 5), 4.0) - 4 * np.eye(5))[0] == ()


def test_cycles_that_are_chance_are_not_claimed():
    """Twelve level alternatives, 20 votes a pair: estimates have cycles, and no margin is certain in 19 of 20 sets."""
    rng = np.random.default_rng(3)
    claimed = seen = 0
    for _ in range(40):
        upper = np.triu(rng.binomial(20, 0.5, size=(12, 12)), 1).astype(float)
        wins = upper + np.tril(20 - upper.T, -1)
        seen += int(np.asarray(preferences.smith_set(preferences.empirical_matrix(wins))).sum() > 1)
        claimed += np.asarray(social_choice.majority_cycle(wins)[1]).any()
    assert seen > 30
    assert claimed <= 5


def test_votes_by_place_are_told_and_taken_out():
    """Whoever is first wins 3 of 4; 0 was first three times as often, so that it seems to win 5 of 8."""
    rows = [(0, 1, True, 9.0), (1, 0, False, 3.0), (1, 0, True, 3.0), (0, 1, False, 1.0)]
    winner, loser, first, weight = (list(column) for column in zip(*rows, strict=True))
    votes = Comparisons([0] * 4, winner, loser, weight)
    effect = social_choice.order_effect(votes, first, alternatives=3)
    close(effect.first_wins, 12 / 16)
    close(effect.bias, 0.25)
    assert float(effect.swapped) == 1
    close(preferences.empirical_matrix(preferences.count_wins(votes, alternatives=3))[0, 1], 10 / 16)
    close(effect.matrix, np.full((3, 3), 0.5))
    close(effect.balanced, 8 * (1 - np.eye(3)) * np.outer([1, 1, 0], [1, 1, 0]))
    one_way = social_choice.order_effect(Comparisons([0], [0], [1], [2.0]), [True], alternatives=2)
    assert np.isnan(one_way.bias)
    assert float(one_way.matrix[0, 1]) == 1


KEY = jax.random.key(0)
VOTE = Comparisons([0], [0], [1], [1.0])
MISTAKES = {
    "one group": (lambda: social_choice.group_outcomes(CYCLE, [1, 0, 0]), r"matrices.*shape \(3, 3\)"),
    "a group's P": (lambda: social_choice.group_outcomes([CYCLE, np.eye(3)], [1, 0, 0]), r"matrices\[1\]"),
    "shares": (lambda: social_choice.group_outcomes([CYCLE], [1.0, 0, 0], shares=[0.5]), "shares.*sum of 0.5"),
    "a lottery": (lambda: social_choice.group_outcomes([CYCLE], [0.5, 0.5]), "lottery"),
    "β": (lambda: social_choice.group_curve(CYCLE, [CYCLE], [-1.0]), "betas.*-1"),
    "one cluster": (lambda: social_choice.cluster_intervals(KEY, jnp.sum, 1), "clusters.*at least two"),
    "contributing": (
        lambda: social_choice.cluster_intervals(KEY, lambda times: times[:2], 3, contributing=[3, 3, 3], samples=2),
        r"contributing: expected numbers for a statistic of shape \(2,\); got shape \(3,\)",
    ),
    "voters": (lambda: social_choice.effective_counts(VOTE, [0, 1], alternatives=2), r"clusters.*\(2,\)"),
    "an index": (lambda: social_choice.effective_counts(VOTE, [0], alternatives=1), "comparisons.*0..0"),
    "effective": (lambda: social_choice.pair_intervals(np.ones((2, 2)), effective=np.ones((3, 3))), "effective"),
    "a level": (lambda: social_choice.majority_cycle(np.ones((2, 2)), level=2.0), "level"),
    "sides": (lambda: social_choice.order_effect(VOTE, [True, False], alternatives=2), "winner_first"),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake):
    call, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        call()
