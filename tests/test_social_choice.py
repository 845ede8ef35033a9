"""Rules, maximal lotteries and bootstrap intervals against definitions, linear programs and textbook values."""

import json
import math
from fractions import Fraction
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from jaxval import preferences, social_choice
from jaxval.social_choice.intervals import interval_ends
from jaxval.types import Comparisons

RULES_OF_P = {
    "proportional": social_choice.proportional,
    "proportional, β = 7": lambda matrix: social_choice.proportional(matrix, beta=7.0),
    "minimax": social_choice.minimax,
    "maximal_borda": social_choice.maximal_borda,
    "maximal_lottery": social_choice.maximal_lottery,
    "c1_maximal_lottery": social_choice.c1_maximal_lottery,
    "proportional_borda": social_choice.proportional_borda,
}
TOGETHER = 175  # games of one size; fewer are filled up, so that one program serves all tests of that size
TEXTBOOK = {"maximal_lottery", "share_bounds", "proportional", "minimax"}


def each(rule, matrices):
    """A rule of games (batch, alternatives, alternatives). Without `jit`, all rules share one solver for each size."""
    matrices = np.asarray(matrices)
    count, size = matrices.shape[:2]
    batch = np.resize(matrices, (TOGETHER, size, size)) if size <= 30 else matrices
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], jax.vmap(rule)(jax.device_put(batch)))


def solved(matrices):
    """The lotteries and diagnostics of games."""
    return each(social_choice.maximal_lottery_solve, matrices)


def random_matrices(rng, kind, batch, alternatives):
    """Preference functions in general position, with ties, of majorities alone, and of five voters."""
    shape = (batch, alternatives, alternatives)
    if kind == "voters":
        place = rng.permuted(np.tile(np.arange(alternatives), (batch, 5, 1)), axis=2)
        upper = (place[:, :, :, None] < place[:, :, None, :]).mean(1)
    elif kind == "cycle":
        ahead = (np.arange(alternatives)[None] - np.arange(alternatives)[:, None]) % alternatives
        upper = np.broadcast_to(np.where(ahead % 2, 0.7, 0.3), shape)
    else:
        levels = {"general": 2**30, "ties": 2, "majorities": 1}[kind]
        upper = rng.integers(0, levels, shape, endpoint=True) / levels
    upper = np.triu(upper, 1)
    return upper + np.tril(1 - upper.transpose(0, 2, 1), -1) + np.eye(alternatives) / 2


KINDS = ["general", "ties", "majorities", "voters", "cycle"]


def lottery_by_linear_program(matrix, rng):
    """A p in {p ∈ Δ : Kᵀp ≥ 0}, and whether it is the only one: a random cost has then one value on the set."""
    game, size = matrix - matrix.T, len(matrix)
    cost = rng.normal(size=size)
    low, high = (
        linprog(sign * cost, A_ub=-game.T, b_ub=np.zeros(size), A_eq=np.ones((1, size)), b_eq=[1], method="highs").x
        for sign in (1, -1)
    )
    return low, cost @ (high - low) < 1e-9


def test_textbook_values(vectors_path, close):
    path = vectors_path("social_choice.json")
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
        if "comparisons" in case:
            winner, loser = np.array(case["comparisons"]).T
            wins = preferences.count_wins(Comparisons(winner * 0, winner, loser, np.ones(len(winner))), alternatives=3)
            close(preferences.bradley_terry(wins), case["rewards"], atol=1e-5)
            continue
        orders, counts = np.array(case["orders"]), np.array(case["counts"])
        weights = counts / counts.sum()
        matrix = preferences.preference_matrix(orders, weights)
        for name in TEXTBOOK & case.keys():
            close(getattr(social_choice, name)(matrix), case[name], atol=1e-5 if matrix.dtype == jnp.float32 else 1e-9)
        if "borda" in case:
            close(preferences.borda_scores(matrix) * counts.sum(), case["borda"], atol=1e-3)
        if "first_choice" in case:
            close(social_choice.random_dictatorship(orders, weights), case["first_choice"])
        if "condorcet_winner" in case:
            assert int(preferences.condorcet_winner(matrix)) == case["condorcet_winner"]


def test_a_profile_worked_by_hand(close):
    # 2 x a > b > c, 2 x b > c > a, 1 x c > a > b: 3/5 prefer a to b, 4/5 b to c, 3/5 c to a.
    orders, weights = [[0, 1, 2], [1, 2, 0], [2, 0, 1]], [0.4, 0.4, 0.2]
    matrix = preferences.preference_matrix(orders, weights)
    close(matrix, [[0.5, 0.6, 0.4], [0.4, 0.5, 0.8], [0.6, 0.2, 0.5]])
    close(social_choice.share_bounds(matrix), [0.4, 0.4, 0.2])
    close(social_choice.proportional(matrix), [0.4, 0.4, 0.2])
    close(social_choice.certificate(matrix), 1.0)
    close(social_choice.minimax(matrix), [0.5, 0.5, 0])
    close(social_choice.maximal_borda(matrix), [0, 1, 0])  # Borda 1.0, 1.2, 0.8
    close(social_choice.proportional_borda(matrix), [1 / 3, 1.2 / 3, 0.8 / 3])
    close(social_choice.maximal_lottery(matrix), [0.6, 0.2, 0.2])  # margins 1, 3, 1 of the opposite pairs
    close(social_choice.c1_maximal_lottery(matrix), [1 / 3, 1 / 3, 1 / 3])
    beta = 3.0
    scores = np.array([0.4, 0.4, 0.2]) * np.exp(beta * np.array([0.4, 0.4, 0.2]))
    close(social_choice.proportional(matrix, beta=beta), scores / scores.sum())
    close(social_choice.win_rate_over_uniform(matrix, [0.4, 0.4, 0.2]), 0.4 * 0.5 + 0.4 * 1.7 / 3 + 0.2 * 1.3 / 3)


def test_degenerate_conventions(close):
    one = jnp.array([[0.5]])
    nothing = jnp.array([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])  # u is zero throughout
    for rule in RULES_OF_P.values():
        close(rule(one), [1.0])
        close(rule(nothing), np.full(3, 1 / 3))
    close(social_choice.share_bounds(one), [1.0])
    close(social_choice.proportional(nothing, beta=jnp.inf), np.full(3, 1 / 3))
    assert np.isnan(social_choice.certificate(nothing))


def test_beta_from_zero_to_infinity(rng, close):
    matrix = random_matrices(rng, "general", 1, 6)[0]
    bounds = social_choice.share_bounds(matrix)
    close(social_choice.proportional(matrix, beta=0), bounds / bounds.sum())
    close(social_choice.proportional(matrix, beta=jnp.inf), social_choice.minimax(matrix))
    close(social_choice.proportional(matrix, beta=1e30), social_choice.minimax(matrix))
    gradient = jax.grad(lambda beta: social_choice.proportional(matrix, beta=beta)[0])(2.0)
    assert np.isfinite(gradient)


@pytest.mark.parametrize(
    "alternatives", [8, 30, *(pytest.param(size, marks=pytest.mark.float64) for size in (2, 3, 20))]
)
def test_maximal_lotteries_of_many_matrices(alternatives, x64):
    """175 of each of five sizes: equilibria all, and the linear program's where that is unique."""
    rng = np.random.default_rng(alternatives)
    matrices = np.concatenate([random_matrices(rng, kind, 35, alternatives) for kind in KINDS])
    lotteries, diagnostics = solved(matrices)
    assert bool(diagnostics.converged.all())
    assert float(diagnostics.exploitability.max()) <= (1e-9 if x64 else 1e-5)
    lotteries = np.asarray(lotteries, dtype=float)
    assert lotteries.min() >= 0
    assert np.abs(lotteries.sum(1) - 1).max() < 1e-5
    best_reply = np.einsum("bji,bi->bj", matrices, lotteries).max(1) - 0.5
    assert best_reply.max() <= (1e-9 if x64 else 1e-5)
    programs = [lottery_by_linear_program(matrix, rng) for matrix in matrices[::9]]
    gaps = [np.abs(p - q).max() for (p, unique), q in zip(programs, lotteries[::9], strict=True) if unique]
    assert len(gaps) >= 3
    assert max(gaps) < (1e-7 if x64 else 5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_renaming_alternatives_renames_the_lottery(kind, x64):
    rng = np.random.default_rng(2)
    matrices = random_matrices(rng, kind, 40, 8)
    renaming = rng.permutation(8)
    for name, rule in RULES_OF_P.items():
        before, after = each(rule, matrices), each(rule, matrices[:, renaming][:, :, renaming])
        assert np.abs(before[:, renaming] - after).max() < (1e-9 if x64 else 1e-4), name


def test_many_equilibria_are_shared_at_their_analytic_centre(close, x64):
    # Two clones of the winner tie: any split of them is an equilibrium, the centre halves.
    clones = jnp.array([[0.5, 0.5, 1.0], [0.5, 0.5, 1.0], [0.0, 0.0, 0.5]])
    close(social_choice.maximal_lottery(clones), [0.5, 0.5, 0.0], atol=1e-9 if x64 else 1e-5)
    # a ties with b and c, b beats c: equilibria are (t, 1 - t, 0); the centre maximises
    # log t + log(1 - t) + log s_c with s_c = K_bc (1 - t) = 1 - t, so t = 1/3.
    tie = jnp.array([[0.5, 0.5, 0.5], [0.5, 0.5, 1.0], [0.5, 0.0, 0.5]])
    close(social_choice.maximal_lottery(tie), [1 / 3, 2 / 3, 0.0], atol=1e-9 if x64 else 1e-5)


def test_one_tolerance_for_ties(x64):
    """Within the tolerance of 1/2 two alternatives share; beyond it the better one has everything."""
    tolerance = 1e-9 if x64 else 1e-5
    shares = 0.5 + tolerance * np.array([0, 1e-3, 0.1, 0.5, 0.9, 1.1, 2, 10, 100, 1000])
    matrices = np.array([[[0.5, share], [1 - share, 0.5]] for share in shares])
    lotteries, diagnostics = solved(matrices)
    assert bool(diagnostics.converged.all())
    expected = np.where(shares > 0.5 + tolerance, 1, 0.5)
    np.testing.assert_allclose(lotteries[:, 0], expected, rtol=0, atol=1e-12 if x64 else 1e-6)
    np.testing.assert_array_equal(each(social_choice.c1_maximal_lottery, matrices)[:, 0] > 0.75, expected == 1)


@pytest.mark.parametrize("size", [15, pytest.param(20, marks=pytest.mark.float64)])
def test_clones_share_what_the_original_has(size, x64):
    draw = np.random.default_rng(370)
    upper = np.triu(draw.integers(0, 65, (12, size, size)) / 64, 1)
    matrices = upper + np.tril(1 - upper.transpose(0, 2, 1), -1) + np.eye(size) / 2
    twice = np.arange(2 * size) % size
    originals, _ = solved(matrices)
    clones, diagnostics = solved(matrices[:, twice][:, :, twice])
    sure = np.asarray(diagnostics.converged)
    assert sure.all() if x64 else sure.mean() > 0.8
    first, second = np.asarray(clones)[sure, :size], np.asarray(clones)[sure, size:]
    assert np.abs(first - second).max() < (1e-9 if x64 else 1e-4)
    assert np.abs(first + second - np.asarray(originals)[sure]).max() < (1e-9 if x64 else 1e-4)


def test_nearly_flat_games_are_renamed(rng, x64):
    """Margins around the tolerance and well above it."""
    renaming = rng.permutation(8)
    margins = np.triu(rng.uniform(-1, 1, (60, 8, 8)), 1) * np.repeat([1, 3, 10, 100, 1e3, 1e4], 10)[:, None, None]
    matrices = 0.5 + (1e-9 if x64 else 1e-5) * (margins - margins.transpose(0, 2, 1))
    before, after = solved(matrices), solved(matrices[:, renaming][:, :, renaming])
    assert bool(before[1].converged.all())
    assert np.abs(before[0][:, renaming] - after[0]).max() < (1e-9 if x64 else 1e-4)


@pytest.mark.parametrize("others", ["random", "tied"])
def test_a_condorcet_winner_by_little_has_everything(others, x64):
    matrix = (
        random_matrices(np.random.default_rng(3), "general", 1, 20)[0] if others == "random" else np.full((20, 20), 0.5)
    )
    matrix[7], matrix[:, 7] = 0.5 + 1e-4, 0.5 - 1e-4
    matrix[7, 7] = 0.5
    assert each(social_choice.maximal_lottery, matrix[None])[0, 7] > 1 - (1e-12 if x64 else 1e-6)


def off_the_analytic_centre(matrix, lottery):
    """Newton decrement of Σ_support log p + Σ_rest log s among the exact equilibria, or None without a strict one.

    An equilibrium with p > 0 on the support and s = Kᵀp > 0 off it proves that every equilibrium has this support.
    """
    game, support = np.asarray(matrix - matrix.T, dtype=float), np.flatnonzero(lottery > 0)
    rest = np.flatnonzero(lottery == 0)
    rows = [[Fraction(game[j, i]) for j in support] for i in support]
    pivots = []
    for column in range(len(support)):
        row = next((i for i in range(len(pivots), len(rows)) if rows[i][column]), None)
        if row is None:
            continue
        rows[len(pivots)], rows[row] = rows[row], rows[len(pivots)]
        top = rows[len(pivots)] = [entry / rows[len(pivots)][column] for entry in rows[len(pivots)]]
        rows = [r if r is top else [a - r[column] * b for a, b in zip(r, top, strict=True)] for r in rows]
        pivots.append(column)
    free = [column for column in range(len(support)) if column not in pivots]
    basis = np.full((len(support), len(free)), Fraction(0))
    basis[free, range(len(free))] = Fraction(1)
    for i, column in enumerate(pivots):
        basis[column] = [-rows[i][other] for other in free]
    exact = np.array([[Fraction(entry) for entry in row] for row in game])
    both = np.concatenate([basis, exact[support][:, rest].T @ basis]).astype(float)
    basis = both[: len(support)]
    weights = lottery[support][free]
    values = both @ (weights / (basis.sum(0) @ weights))
    if not free or values.min() <= 0:
        return None
    gradient = (both / values[:, None]).sum(0) - len(game) * basis.sum(0)
    moved = np.abs(values[: len(support)] - lottery[support]).max()
    return max(moved, np.linalg.norm(np.linalg.lstsq((both / values[:, None]).T, gradient, rcond=None)[0]))


@pytest.mark.parametrize("kind", ["general", "ties", "majorities", "clones", "sixty-fourths"])
def test_the_analytic_centre_in_fractions(kind, x64):
    draw = np.random.default_rng(11)
    if kind == "clones":
        matrices = random_matrices(draw, "ties", 20, 4)[:, np.arange(8) % 4][:, :, np.arange(8) % 4]
    elif kind == "sixty-fourths":
        matrices = np.round(random_matrices(draw, "general", 20, 8) * 64) / 64
        matrices = np.triu(matrices, 1) + np.tril(1 - matrices.transpose(0, 2, 1), -1) + np.eye(8) / 2
    else:
        matrices = random_matrices(draw, kind, 20, 8)
    matrices = np.asarray(jax.device_put(matrices))  # rounded to the precision of the leg
    lotteries, diagnostics = solved(matrices)
    assert bool(diagnostics.converged.all())
    gaps = [
        off_the_analytic_centre(*case) for case in zip(np.asarray(matrices), np.asarray(lotteries, float), strict=True)
    ]
    assert None not in gaps
    assert max(gaps) < (1e-8 if x64 else 1e-3)


def test_margins_of_many_sizes_in_one_game(x64):
    """Exact where the support proves itself; otherwise what the best reply gains is below the rounding of P's entries.

    In float32, margins that elimination leaves below that rounding count as ties, as `maximal_lottery` says.
    """
    tolerance = 1e-9 if x64 else 1e-5
    draws = [np.random.default_rng(1000 + seed) for seed in range(20)]
    margins = np.stack([draw.uniform(-1, 1, (8, 8)) * 10.0 ** draw.integers(-9, 1, (8, 8)) for draw in draws])
    upper = np.triu(margins, 1)
    matrices = np.asarray(jax.device_put(0.5 + 0.5 * (upper - upper.transpose(0, 2, 1))))
    lotteries, diagnostics = solved(matrices)
    assert diagnostics.converged.mean() > 0.8
    ties = np.abs(matrices - matrices.transpose(0, 2, 1)) <= 2 * tolerance + 4 * np.finfo(matrices.dtype).eps
    cases = zip(np.where(ties, 0.5, matrices).astype(matrices.dtype), np.asarray(lotteries, float), strict=True)
    for matrix, lottery in cases:
        if np.isfinite(lottery).all():
            gap = off_the_analytic_centre(matrix, lottery)
            gain = ((matrix - matrix.T).astype(float) @ lottery).max() / 2
            assert gain < 3e-7 and not x64 if gap is None else gap < (1e-8 if x64 else 1e-3)


def test_unconverged_is_not_an_answer(monkeypatch):
    from jaxval.social_choice import lotteries

    monkeypatch.setattr(lotteries, "MAX_STEPS", 1)
    lotteries._solve.clear_cache()
    matrix = jnp.array([[0.5, 0.9, 0.3], [0.1, 0.5, 0.8], [0.7, 0.2, 0.5]])
    with pytest.raises(RuntimeError, match="did not converge in 1 steps"):
        social_choice.maximal_lottery(matrix)
    lottery, _ = social_choice.maximal_lottery_solve(matrix)  # and that of `maximal_lottery` inside `jit`
    assert np.isnan(lottery).all()
    assert jax.eval_shape(social_choice.maximal_lottery, matrix).shape == (3,)  # which does not raise
    lotteries._solve.clear_cache()


@pytest.mark.once
def test_rules_do_not_retrace_for_new_values(rng):
    traces = []

    @jax.jit
    def rule(matrix, beta):
        traces.append(1)
        return social_choice.proportional(matrix, beta=beta) + social_choice.maximal_lottery(matrix)

    for matrix, beta in zip(random_matrices(rng, "general", 3, 4), (0.0, 1.0, np.inf), strict=True):
        assert np.isfinite(rule(matrix, beta)).all()
    assert len(traces) == 1


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.permutations(range(4)), min_size=1, max_size=7))
def test_the_certificate_holds_for_every_profile(orders):
    """Lemma 4.7 and Theorem 4.4 on whatever Hypothesis finds."""
    orders = np.array(orders)
    shares, matrix = preferences.first_choice_shares(orders), preferences.preference_matrix(orders)
    assert (shares <= social_choice.share_bounds(matrix) + 1e-6).all()
    lottery, certificate = social_choice.proportional(matrix), social_choice.certificate(matrix)
    assert 0 < certificate <= 1
    assert (lottery >= certificate * shares - 1e-6).all()


def plain_ends(drawn, center, tail):
    """Percentile and bias-corrected percentile interval of one number, whichever end lies further out."""
    normal, drawn = NormalDist(), sorted(draw for draw in drawn if not np.isnan(draw))
    below = np.mean([1.0 if draw < center else 0.5 if draw == center else 0.0 for draw in drawn])
    bias = normal.inv_cdf(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    lows, highs = [], []
    for shift in (0, 2 * bias):
        lows.append(drawn[math.floor(normal.cdf(shift + normal.inv_cdf(tail)) * (len(drawn) - 1))])
        highs.append(drawn[math.ceil(normal.cdf(shift - normal.inv_cdf(tail)) * (len(drawn) - 1))])
    return min(lows), max(highs)


def test_ends_of_bootstrap_intervals_by_hand():
    """Of the draws 0, ..., 100, the middle 95 % are those from 2.5 to 97.5.

    25.5 % lie below a center of 25, so z₀ = -0.659, and the corrected ends are 100 Φ(2 z₀ ± 1.96), 0.05 and 74.
    """
    drawn = np.arange(101.0)
    for center, expected in ((25.0, (0, 98)), (50.0, (2, 98)), (75.0, (2, 100)), (-1.0, (0, 98)), (101.0, (2, 100))):
        low, high = interval_ends(jnp.asarray(drawn)[:, None], jnp.asarray([center]), 0.025)
        assert (float(low[0]), float(high[0])) == expected == plain_ends(drawn, center, 0.025)


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_ends_of_bootstrap_intervals_are_those_of_the_definition(rng, level):
    drawn = np.stack([rng.normal(size=333), rng.exponential(size=333), np.round(rng.normal(size=333), 1)], axis=1)
    drawn[::7, 0] = np.nan  # a resample without the group
    drawn, centers = drawn.astype(jnp.result_type(float)), drawn[:9].astype(jnp.result_type(float))
    tail = (1 - level) / 2
    for center in centers[1:7]:
        low, high = interval_ends(jnp.asarray(drawn), jnp.asarray(center), tail)
        expected = [plain_ends(column, one, tail) for column, one in zip(drawn.T, center, strict=True)]
        np.testing.assert_array_equal(np.stack([low, high], axis=1), expected)


def test_bootstrap_intervals_are_those_of_the_definition(rng):
    """Six alternatives that are level, 40 comparisons a pair: u, a minimum, is estimated too low.

    Shares count in steps of 1/40, and an end may differ by one of them. The percentile interval alone ends two or three
    steps lower.
    """
    above = np.triu(rng.binomial(40, 0.5, size=(6, 6)), 1).astype(float)
    wins = above + np.triu(40 - above, 1).T
    intervals = social_choice.bootstrap_intervals(jax.random.key(0), wins, social_choice.share_bounds, samples=4000)
    chances = (wins + 0.5) / (wins + wins.T + 1)
    drawn = np.triu(rng.binomial(40, chances, size=(4000, 6, 6)), 1)
    drawn = (drawn + np.triu(40 - drawn, 1).swapaxes(1, 2)) / 40
    others = ~np.eye(6, dtype=bool)
    bounds = np.where(others, drawn, 1).min(axis=2)
    for u in range(6):
        low, high = plain_ends(bounds[:, u], chances[u, others[u]].min(), 0.025)
        assert abs(float(intervals.low[u]) - low) < 0.026
        assert abs(float(intervals.high[u]) - high) < 0.026
        assert abs(float(intervals.estimate[u]) - wins[u, others[u]].min() / 40) < 1e-6


@pytest.mark.float64
@pytest.mark.parametrize("statistic", ["share_bounds", "proportional"])
def test_bootstrap_intervals_cover_the_truth(statistic):
    """Measured: 60 data sets of 1,000 comparisons of 4 alternatives; 95 % intervals."""
    rewards = jnp.array([0.8, 0.3, -0.2, -0.6])
    matrix = jax.nn.sigmoid(rewards[:, None] - rewards[None, :])
    function = getattr(social_choice, statistic)

    def covered(key):
        draw, resample = jax.random.split(key)
        wins = preferences.count_wins(preferences.sample_comparisons(draw, matrix, num=1000), alternatives=4)
        intervals = social_choice.bootstrap_intervals(resample, wins, function, samples=200)
        return (intervals.low <= function(matrix)) & (function(matrix) <= intervals.high)

    rate = float(jax.jit(jax.vmap(covered))(jax.random.split(jax.random.key(0), 60)).mean())
    assert 0.91 <= rate <= 0.98


@pytest.mark.once
def test_bootstrap_intervals_of_one_statistic_compile_once():
    traces = []

    def statistic(matrix):
        traces.extend([matrix] * isinstance(matrix, jax.core.Tracer))
        return matrix[0]

    for key in (0, 1):
        social_choice.bootstrap_intervals(jax.random.key(key), [[0.0, 6.0], [4.0, 0.0]], statistic, samples=10)
    assert len(traces) == 1


def test_bootstrap_intervals_by_hand():
    wins = jnp.array([[0.0, 60.0, 0.0], [40.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    intervals = social_choice.bootstrap_intervals(jax.random.key(0), wins, lambda matrix: matrix, samples=4000)
    spread = 1.96 * np.sqrt(0.6 * 0.4 / 100)
    assert abs(float(intervals.low[0, 1]) - (0.6 - spread)) < 0.02
    assert abs(float(intervals.high[0, 1]) - (0.6 + spread)) < 0.02
    assert float(intervals.low[0, 2]) == float(intervals.high[0, 2]) == 0.5  # never compared
    sure = social_choice.bootstrap_intervals(jax.random.key(0), jnp.array([[0.0, 3.0], [0.0, 0.0]]), lambda p: p)
    assert float(sure.estimate[0, 1]) == 1.0
    assert float(sure.low[0, 1]) < 1.0  # three wins in a row are not certainty


SKEW = [[0.5, 0.7], [0.3, 0.5]]
MISTAKES = {
    "negative β": (lambda: social_choice.proportional(SKEW, beta=-1.0), "beta.*\\[0, inf\\].*-1"),
    "NaN β": (lambda: social_choice.proportional(SKEW, beta=float("nan")), "beta.*nan"),
    "β per alternative": (lambda: social_choice.proportional(SKEW, beta=jnp.ones(2)), "beta.*\\(2,\\)"),
    "counts for P": (lambda: social_choice.maximal_lottery([[0, 7], [3, 0]]), "matrix.*\\[0, 1\\].*0 to 7"),
    "wins": (lambda: social_choice.share_bounds([[0.0, 0.7], [0.2, 0.0]]), "empirical_matrix"),
    "a batch": (lambda: social_choice.minimax(np.full((2, 3, 3), 0.5)), "matrix.*square.*\\(2, 3, 3\\)"),
    "empty": (lambda: social_choice.minimax(np.zeros((0, 0))), "matrix.*square.*\\(0, 0\\)"),
    "text": (lambda: social_choice.minimax("P"), "matrix.*no array of numbers"),
    "lottery": (lambda: social_choice.win_rate_over_uniform(SKEW, [0.5, 0.6]), "lottery.*sum of 1.1"),
    "lottery's length": (lambda: social_choice.exploitability(SKEW, [1.0]), "lottery.*each of 2.*\\(1,\\)"),
    "level": (
        lambda: social_choice.bootstrap_intervals(jax.random.key(0), np.ones((2, 2)), social_choice.minimax, level=95),
        "level.*\\(0, 1\\).*95",
    ),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake):
    call, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("spread", [0.0, pytest.param(1.0, marks=pytest.mark.float64)])
def test_share_bound_intervals_cover_the_truth(spread):
    """200 data sets of 20 comparisons a pair of 8 alternatives, all level or not: 95 % intervals of each u."""
    rewards = spread * jnp.linspace(1, -1, 8)
    matrix = jax.nn.sigmoid(rewards[:, None] - rewards[None, :])
    rng = np.random.default_rng(4)
    upper = np.triu(rng.binomial(20, np.asarray(matrix), size=(200, 8, 8)), 1)
    wins = upper + np.tril(20 - upper.transpose(0, 2, 1), -1)
    intervals = jax.jit(jax.vmap(social_choice.share_bound_intervals))(jnp.asarray(wins, dtype=float))
    truth = social_choice.share_bounds(matrix)[None]
    covered = (intervals.low <= truth) & (truth <= intervals.high)
    assert float(covered.mean(axis=0).min()) >= 0.92
    assert float((intervals.high - intervals.low).mean()) < 0.6


def test_share_bound_intervals_of_pairs_never_compared():
    intervals = social_choice.share_bound_intervals([[0.0, 9.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert intervals.low.tolist() == [0, 0, 0]
    assert float(intervals.high[1]) < 0.6  # beaten nine times of ten by 0, whatever 2 would do
    assert float(intervals.high[2]) == 1
