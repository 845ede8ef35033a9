"""The experiment on colours: draws and measures by definition, the printed losses' optimum, limits, a small run."""

import json

import numpy as np
import pytest

from experiments.colors import __main__ as colors
from experiments.colors import stages, world
from experiments.commands import precision

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def drawn():
    with precision(True):
        return world.draw_world(0, evaluators=40, comparisons=5000)


def test_a_draw_is_of_the_stated_evaluators_and_comparisons(drawn):
    np.testing.assert_allclose(drawn.matrices + np.swapaxes(drawn.matrices, 1, 2), 1)
    np.testing.assert_allclose(drawn.shares.sum(axis=1), 1)
    np.testing.assert_allclose(40 * drawn.matrices, np.round(40 * drawn.matrices), atol=1e-9)
    assert drawn.comparisons.weight.sum() == 5000


def test_measures_are_their_definitions(drawn, rng):
    policies = rng.dirichlet(np.ones(10), size=10)
    wins, levels, least = [], [], []
    for policy, matrix, shares in zip(policies, drawn.matrices, drawn.shares, strict=True):
        against = [sum(policy[i] * matrix[i, j] for i in range(10)) for j in range(10)]
        wins.append(sum(against) / 10)
        least.append(min(against))
        levels.append(min(policy[k] / shares[k] for k in range(10) if shares[k] > 0))
    with precision(True):
        found = world.measured(policies, drawn)
    assert found["win rate"] == pytest.approx(np.mean(wins))
    assert found["PPA level"] == pytest.approx(np.mean(levels))
    assert found["least win rate"] == pytest.approx(np.mean(least))


def printed_losses(selector, policy, wins, beta, coefficient):
    """The means of (50) and (53) over all comparisons, with the KLs to uniform, by loops."""
    many, total = len(policy), wins.sum()
    first = second = 0.0
    for w in range(many):
        for l in range(many):  # noqa: E741
            own, other = selector[l, w], selector[w, l]  # μ(w|l), μ(l|w)
            divergence = (selector[w] * np.log(many * selector[w])).sum()
            first += wins[w, l] / total * (many * other + coefficient * divergence)
            of_winner = np.log(policy[w] / ((0.5 + 0.5 * own) * np.exp(beta / 2 + beta / 2 * own)))
            of_loser = np.log(policy[l] / ((0.5 - 0.5 * other) * np.exp(beta / 2 - beta / 2 * own)))
            second += wins[w, l] / total * many * (policy[w] * of_winner + policy[l] * of_loser)
    return first, second + coefficient * (policy * np.log(many * policy)).sum()


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_the_printed_optimum_minimises_the_printed_losses(rng, beta):
    wins, coefficient = rng.integers(1, 9, size=(3, 3)) * (1 - np.eye(3)), 0.3
    selector = stages.printed_selector(wins[None], coefficient=coefficient)[0]
    policy = stages.printed_optimum(wins[None], beta, coefficient=coefficient)[0]
    least = printed_losses(selector, policy, wins, beta, coefficient)
    for _ in range(20):
        moved = selector * np.exp(0.1 * rng.normal(size=(3, 3)))
        away = policy * np.exp(0.1 * rng.normal(size=3))
        other = printed_losses(moved / moved.sum(axis=1, keepdims=True), policy, wins, beta, coefficient)
        assert other[0] > least[0]
        assert printed_losses(selector, away / away.sum(), wins, beta, coefficient)[1] > least[1]


def test_no_rule_of_one_estimate_goes_beyond_the_limits(rng):
    """π ∝ û exp(βû): levels fall to e^-d of themselves at most, and the total variation is at most tanh(d/4)."""
    for _ in range(200):
        bounds, low, step = rng.random(5), rng.exponential(), rng.exponential()
        bounds[:2] = 0, 1  # the widest range
        one, other = (bounds * np.exp(beta * bounds) for beta in (low, low + step))
        one, other = one / one.sum(), other / other.sum()
        assert (other[1:] / one[1:]).min() >= np.exp(-step) - 1e-12
        assert np.abs(one - other).sum() / 2 <= np.tanh(step / 4) + 1e-12
    rows = world.limits()
    assert [row["to"] for row in rows] == ["β = 0.0001", "β = 0.01", "β = 1"]
    assert rows[0]["PPA ratio"] == pytest.approx(0.0235 / 0.0883)
    assert all(row["PPA ratio"] < row["smallest PPA ratio"] for row in rows)


def test_the_exact_stages_are_rule_estimate_and_coefficient(drawn):
    with precision(True):
        found = stages.exact_stages(drawn)
    matrix = drawn.matrices[3]
    bounds = np.where(np.eye(10, dtype=bool), 1, matrix).min(axis=1)
    np.testing.assert_allclose(found["rule"]["β = 0"][3], bounds / bounds.sum(), atol=1e-8)
    of = drawn.comparisons
    wins = np.zeros((10, 10, 10))
    np.add.at(wins, (of.context, of.winner, of.loser), of.weight)
    estimate = wins[3] / (wins[3] + wins[3].T + np.eye(10))
    logits = np.where(np.eye(10, dtype=bool), -np.inf, -2 * estimate / 0.1)
    selector = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    soft = (selector * estimate).sum(axis=1)
    expected = (soft * np.exp(10 * soft)) ** (1 / 1.1)
    np.testing.assert_allclose(found["coefficient"]["β = 10"][3], expected / expected.sum(), atol=1e-6)


class Stub:
    """In place of the transformer: the tabular optimum itself."""

    def __init__(self, steps, width):
        del steps, width

    def train(self, drawn, seed, advance):
        del seed
        for _ in world.METHODS:
            advance()
        return stages.exact_stages(drawn)["coefficient"]


def test_a_small_run_resumes_and_draws(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(colors, "Transformer", Stub)
    arguments = ["--evaluators", "40", "--comparisons", "5000", "--seeds", "2", "--out", str(tmp_path)]
    assert colors.main([*arguments, "--draws", "2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert list(runs) == ["exact, 0", "exact, 1", "transformer, 0", "transformer, 1"]
    of = first["summary"]["transformer"]["β = 1"]
    assert of["moved"]["mean"] == 0
    assert of["win rate"] == first["summary"]["coefficient"]["β = 1"]["win rate"]
    monkeypatch.setattr(colors, "exact", None)  # nothing is computed again
    assert colors.main([*arguments, "--draws", "2"]) == 0
    said = capsys.readouterr().out
    assert "0.6157" in said
    assert "From estimation" in said
    assert (tmp_path / "colors.png").read_bytes().startswith(b"\x89PNG")


def test_a_transformer_starts_at_the_uniform_policy():
    with precision(False):
        trainer = stages.Transformer(2, 8)
        np.testing.assert_allclose(stages.probabilities(trainer.policy, trainer.start(0)), 0.1, rtol=1e-6)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "6"], "--width: expected a multiple of 4"),
        (["--comparisons", "30"], "at least one of every"),
    ],
)
def test_what_cannot_run_is_said(capsys, tmp_path, arguments, message):
    assert colors.main([*arguments, "--draws", "1", "--out", str(tmp_path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
