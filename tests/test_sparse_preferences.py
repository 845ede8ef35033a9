"""Models of sparse comparisons against their objective, written out, and what they recover of planted preferences."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from jaxval import cli, preferences, social_choice
from jaxval.data import read_votes
from jaxval.preferences import Strengths, sparse

SIZE, RANK = 7, 1


def logits_by_definition(theta, rank):
    r, a, b = np.split(theta.reshape(1 + 2 * rank, -1), [1, 1 + rank])
    return r.T - r + a.T @ b - b.T @ a


def objective(theta, wins, ridge, cycles, rank):
    """-Σ wins log P + ρ/2 |r|² + λ/2 (|a|² + |b|²)."""
    rows = theta.reshape(1 + 2 * rank, -1)
    fit = -(wins * log_expit(logits_by_definition(theta, rank))).sum()
    return fit + ridge / 2 * (rows[0] ** 2).sum() + (cycles / 2 * (rows[1:] ** 2).sum() if rank else 0)


def sparse_wins(rng, size=SIZE, most=9, share=0.7):
    wins = np.triu(rng.integers(0, most, (size, size)) * (rng.random((size, size)) < share), 1)
    return (wins + np.triu(rng.integers(0, most, (size, size)) * (wins > 0), 1).T).astype(float)


def cyclic(size, strength=2.0):
    """P of alternatives on a circle: each beats those up to half a turn behind it; the logits have rank 2."""
    angle = np.random.default_rng(1).uniform(0, 2 * np.pi, size)
    return expit(strength * np.sin(angle[:, None] - angle[None]))


def observed(rng, matrix, *, share, each):
    i, j = np.triu_indices(len(matrix), 1)
    taken = rng.random(len(i)) < share
    won = rng.binomial(each, matrix[i, j])
    wins = np.zeros_like(matrix)
    wins[i[taken], j[taken]], wins[j[taken], i[taken]] = won[taken], each - won[taken]
    return wins, (i[~taken], j[~taken])


@pytest.mark.parametrize("rank", [0, RANK])
def test_the_model_minimises_its_objective(rng, close, x64, rank):
    wins = sparse_wins(rng)
    cycles = 0.5 if rank else np.inf
    found = preferences.smoothed_matrix(wins, Strengths(1.5, cycles, np.inf), rank=RANK)
    starts = rng.normal(size=(8, (1 + 2 * rank) * SIZE))
    best = min(
        (minimize(objective, start, (wins, 1.5, cycles, rank), options={"gtol": 1e-9}) for start in starts),
        key=lambda one: one.fun,
    )
    close(found, expit(logits_by_definition(best.x, rank)), atol=1e-6 if x64 else 1e-4)


def test_the_counts_are_shrunk_towards_the_model(close):
    wins = np.array([[0.0, 3.0, 0.0], [1.0, 0.0, 2.0], [0.0, 2.0, 0.0]])
    model = preferences.smoothed_matrix(wins, Strengths(1.0, np.inf, np.inf))
    shrunk = preferences.smoothed_matrix(wins, Strengths(1.0, np.inf, 4.0))
    close(shrunk[0, 1], (3 + 4 * model[0, 1]) / 8)
    close(shrunk[0, 2], model[0, 2])
    close(shrunk + shrunk.T, np.ones((3, 3)))
    counted = preferences.smoothed_matrix(wins, Strengths(1.0, np.inf, 0.0))
    close([counted[0, 1], counted[0, 2], counted[1, 1]], [0.75, model[0, 2], 0.5])
    towards_ties = preferences.smoothed_matrix(wins, Strengths(np.inf, np.inf, 4.0))
    close(towards_ties[0, 1], (3 + 4 / 2) / 8)


def test_without_a_cyclic_part_the_low_rank_model_is_bradley_terry(rng, close, x64):
    """No factor helps above the largest singular value of the residuals: the minimum then has none."""
    wins = sparse_wins(rng)
    model = preferences.smoothed_matrix(wins, Strengths(1.5, np.inf, np.inf))
    close(preferences.smoothed_matrix(wins, Strengths(1.5, 1e3, np.inf)), model, atol=1e-9 if x64 else 1e-5)
    rewards = preferences.bradley_terry(wins, ridge=1.5)
    close(model, expit(np.subtract.outer(rewards, rewards)))
    free, ridged = (preferences.bradley_terry(wins + 1, ridge=ridge) for ridge in (0.0, 1e-9))
    close(free, ridged, atol=1e-8 if x64 else 1e-4)


@pytest.mark.once
def test_a_planted_cycle_comes_back_from_a_share_of_its_pairs(rng):
    """Ties and Bradley-Terry cannot tell an unseen pair of a cycle; the low-rank model can."""
    matrix = cyclic(40)
    wins, unseen = observed(rng, matrix, share=0.25, each=60)
    errors = {}
    for name, strengths in {
        "tie": Strengths(np.inf),
        "bradley-terry": Strengths(8.0),
        "low-rank": Strengths(8.0, 4.0),
    }.items():
        found = np.asarray(preferences.smoothed_matrix(wins, strengths, rank=1))
        errors[name] = np.sqrt(np.mean((found - matrix)[unseen] ** 2))
    assert errors["low-rank"] < 0.1
    assert min(errors["tie"], errors["bradley-terry"]) > 0.25


def test_held_out_parts_are_the_counts(rng, close):
    wins = sparse_wins(rng) + np.triu(np.full((SIZE, SIZE), 0.5), 1)
    for by in ("pairs", "comparisons"):
        held = np.asarray(sparse.hold_out(jax.random.key(0), wins, by=by, folds=3))
        close(held.sum(axis=0), wins * (1 - np.eye(SIZE)), atol=1e-5)
        assert (held >= 0).all()
        apart = ((held + held.swapaxes(1, 2)) > 0).sum(axis=0)
        assert (apart.max() == 1) == (by == "pairs")


def test_held_out_log_likelihood_is_its_definition(rng, close):
    wins = sparse_wins(rng)
    estimate = functools.partial(preferences.smoothed_matrix, strengths=Strengths(1.0, np.inf, 2.0))
    found = preferences.held_out_log_likelihood(jax.random.key(3), wins, estimate, folds=3)
    expected = np.zeros_like(wins)
    for part in np.asarray(sparse.hold_out(jax.random.key(3), wins, by="pairs", folds=3)):
        expected += part * np.log(np.asarray(estimate(wins - part)))
    close(found, expected, atol=1e-5)


@pytest.fixture(scope="module")
def completed():
    """Strengths for comparisons of a cycle, and of rewards."""
    rng = np.random.default_rng(5)
    rewards = rng.normal(size=40)
    matrices = {"cycle": cyclic(40), "rewards": expit(np.subtract.outer(rewards, rewards))}
    wins = {name: observed(rng, matrix, share=0.4, each=40)[0] for name, matrix in matrices.items()}
    return {
        name: (
            matrices[name],
            wins[name],
            preferences.choose_strengths(jax.random.key(0), wins[name], model="low-rank", rank=1),
        )
        for name in matrices
    }


@pytest.mark.once
def test_strengths_follow_what_the_comparisons_are_like(completed):
    assert completed["cycle"][2].cycles < 100
    assert completed["rewards"][2].ridge < 10
    for matrix, wins, strengths in completed.values():
        assert strengths.counts > 0
        found = preferences.smoothed_matrix(wins, strengths, rank=1)
        ties = preferences.empirical_matrix(wins)
        assert np.abs(found - matrix).mean() < 0.4 * np.abs(ties - matrix).mean()


def test_the_held_out_best_of_a_grid_is_chosen(completed):
    """The strength of the counts by the definition: the best total over the grid."""
    _, wins, strengths = completed["rewards"]
    held = sparse.hold_out(jax.random.split(jax.random.key(0))[1], wins, by="comparisons", folds=5)

    def total(counts):
        strength = strengths._replace(counts=counts)
        matrices = [preferences.smoothed_matrix(wins - part, strength, rank=1) for part in held]
        return sum(
            float(jnp.sum(part * jnp.log(jnp.where(part > 0, m, 1)))) for part, m in zip(held, matrices, strict=True)
        )

    grid = sparse.COUNTS[::2]
    totals = [total(value) for value in (*grid, strengths.counts)]
    assert max(totals) == pytest.approx(totals[-1], abs=1e-2)


def test_counts_of_all_pairs_are_believed(close):
    wins = np.array([[0.0, 3.0, 1.0], [1.0, 0.0, 2.0], [0.0, 2.0, 0.0]])
    for unseen in ("tie", "bradley-terry"):
        matrix, strengths = preferences.complete_matrix(jax.random.key(0), wins, unseen=unseen)
        close(matrix, preferences.empirical_matrix(wins))
        assert strengths is None


@pytest.mark.once
def test_intervals_by_redrawing_include_unseen_pairs(rng):
    """An unseen pair is a tie in every resample of the counts, and has an interval under a model."""
    rewards = np.linspace(-1, 1, 5)
    matrix = expit(np.subtract.outer(rewards, rewards))
    wins = rng.binomial(40, np.triu(matrix, 1)).astype(float)
    wins += np.triu(40 - wins, 1).T
    wins[0, 4] = wins[4, 0] = 0
    estimate = functools.partial(preferences.smoothed_matrix, strengths=Strengths(1.0))
    entry = lambda matrix: matrix[0, 4]  # noqa: E731
    model = social_choice.bootstrap_intervals(jax.random.key(0), wins, entry, estimate=estimate, samples=100)
    counts = social_choice.bootstrap_intervals(jax.random.key(0), wins, entry, samples=50)
    assert counts.low == counts.high == 0.5
    assert 0.01 < model.high - model.low < 0.3
    assert model.low < model.estimate < model.high


@pytest.mark.once
def test_the_command_takes_a_model_of_unseen_pairs(tmp_path, capsys, monkeypatch):
    """A chain of five, each preferred to the next two in three of four: the first and the last never meet."""
    monkeypatch.setattr("jaxval.cli._votes_facts.RESAMPLES", 100)
    lines = [
        line
        for i, j in itertools.combinations(range(5), 2)
        if j - i < 3
        for line in [f"{'abcde'[i]},{'abcde'[j]}"] * 6 + [f"{'abcde'[j]},{'abcde'[i]}"] * 2
    ]
    file = tmp_path / "votes.csv"
    file.write_text("winner,loser\n" + "\n".join(lines) + "\n")
    results = {}
    for unseen in ("tie", "bradley-terry"):
        assert cli.main(["aggregate", str(file), "--unseen", unseen, "--rule", "proportional", "--json"]) == 0
        results[unseen] = json.loads(capsys.readouterr().out)
    rows = {unseen: {row["name"]: row for row in result["alternatives"]} for unseen, result in results.items()}
    assert rows["tie"]["a"]["share_bound"] == 0.5
    low, high = rows["bradley-terry"]["a"]["share_bound_interval"]
    assert low < rows["bradley-terry"]["a"]["share_bound"] < high
    assert rows["bradley-terry"]["a"]["share_bound"] > 0.6
    assert results["bradley-terry"]["model"] == "bradley-terry"
    assert results["bradley-terry"]["strengths"]["cycles"] == "inf"
    assert "model" not in results["tie"]

    voters = tmp_path / "voters.csv"
    voters.write_text("winner,loser,voter\n" + "".join(f"{line},v{k % 12}\n" for k, line in enumerate(lines)))
    resampled = cli.aggregate(read_votes(voters), rules=("proportional",), unseen="bradley-terry")
    plain = results["bradley-terry"]
    assert resampled["win_rates"]["proportional"] == pytest.approx(plain["win_rates"]["proportional"], rel=1e-4)
    low, high = resampled["win_rate_intervals"]["proportional"]  # of P of the model, as the rate is
    assert low < resampled["win_rates"]["proportional"] < high
    for row in resampled["alternatives"]:
        for name in ("share_bound", "proportional"):
            low, high = row[f"{name}_interval"]
            assert low <= row[name] <= high
            assert low < high


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda wins: preferences.smoothed_matrix(wins, Strengths(0.0)), "strengths.ridge: expected a number above 0"),
        (lambda wins: preferences.smoothed_matrix(wins, Strengths(1.0, 1.0, -1.0)), "strengths.counts"),
        (lambda wins: preferences.smoothed_matrix(wins[:2], Strengths(1.0)), "wins"),
        (lambda wins: preferences.smoothed_matrix(wins, Strengths(1.0, 1.0), rank=0), "rank"),
        (lambda wins: preferences.complete_matrix(jax.random.key(0), wins, unseen="guess"), "unseen.*'low-rank'"),
        (lambda wins: preferences.complete_matrix(0, wins), "key"),
        (lambda wins: preferences.choose_strengths(jax.random.key(0), wins, model="tie", folds=1), "two folds"),
        (lambda wins: preferences.choose_strengths(jax.random.key(0), 0 * wins, model="tie"), "at least two pairs"),
        (lambda wins: preferences.bradley_terry(wins, ridge=-1.0), "ridge"),
        (lambda wins: preferences.bradley_terry(wins), "pass ridge=0.1"),
        (
            lambda wins: preferences.held_out_log_likelihood(
                jax.random.key(0), wins, preferences.empirical_matrix, by="voters"
            ),
            "by: expected one of 'pairs'",
        ),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.array([[0.0, 3.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]]))
