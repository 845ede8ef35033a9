"""The experiment on coalition alignment: identities at n = 3, measures by plain NumPy, the command itself."""

import functools
import itertools
import json

import jax
import numpy as np
import pytest
import values_by_definition as definition

from experiments.commands import precision
from experiments.dpo_shapley import exact, growth, providers, real_pairs, stopped_short
from experiments.dpo_shapley.__main__ import main, parse
from experiments.dpo_shapley.measures import compare, pearson, spearman
from jaxval.data import PreferencePairs
from jaxval.types import Comparisons

pytestmark = pytest.mark.once

SMALL = stopped_short.SIZES["quick"]


# Against definitions.


def test_values_from_n_trainings_are_those_of_retraining_every_coalition():
    with precision(True):
        result = exact.compare_all(exact.SIZES["quick"], n=3, beta=1.0, seed=0)
    assert result["gap to sequential"] < 1e-8
    assert result["gap between orders, nats"] < 1e-8
    assert result["gap between product and (6), nats"] < 1e-8
    assert max(entry["largest gap"] for entry in result["union"]) > 0.01  # the union is something else
    for way, values in result["values"].items():
        np.testing.assert_allclose(np.sum(values, axis=0), result["gain of all sources"][way], atol=1e-12)


def descend(wins, order, *, steps, beta, rate):
    """Gradient descent in stages on tabular logits, one context and one pair at a time."""
    theta = np.zeros(wins.shape[1:3])
    for source in order:
        start = theta.copy()
        for _ in range(steps):
            slopes = np.zeros_like(theta)
            for x, y, z in itertools.product(*map(range, wins.shape[1:])):
                margin = (theta - start)[x, y] - (theta - start)[x, z]
                pull = beta * wins[source, x, y, z] / (1 + np.exp(beta * margin)) / wins[source].sum()
                slopes[x, y] -= pull
                slopes[x, z] += pull
            theta = theta - rate * slopes
    return theta - np.log(np.exp(theta).sum(axis=1, keepdims=True))


def test_stages_of_gradient_descent_are_plain_ones_and_commute():
    wins = np.random.default_rng(0).uniform(0.5, 2, (2, 2, 3, 3)) * ~np.eye(3, dtype=bool)
    model = stopped_short.trainable("table", 2, 3)
    kind = stopped_short.Kind(scaled=False)
    members = jax.numpy.ones(2, dtype=bool)
    trained = jax.jit(
        lambda order: stopped_short.in_stages(kind, model, jax.numpy.asarray(wins), order, members, 3, 0.5)
    )
    plain = {order: descend(wins, order, steps=3, beta=0.5, rate=stopped_short.DESCENT) for order in ((0, 1), (1, 0))}
    for order, expected in plain.items():
        np.testing.assert_allclose(trained(np.array(order)), expected, atol=2e-5)
    assert np.abs(plain[0, 1] - plain[1, 0]).max() < 1e-12  # three steps are far from the optimum


def test_measures_of_commutativity_are_those_of_two_orders():
    generator = np.random.default_rng(1)

    def policies(count):
        logits = generator.normal(size=(count, 2, 3))
        return logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))

    rewards, masks, orders = generator.normal(size=(2, 3, 2)), policies(4), policies(2)
    limit = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, -1.0], [4.0, 1.0]])
    found = stopped_short.measures(rewards, orders, masks, limit)
    assert found["gap between orders, nats"] == pytest.approx(np.abs(orders[0] - orders[1]).max())
    value = [sum(np.exp(p) @ r for p, r in zip(order, rewards, strict=True)) / 2 for order in orders]
    spread = np.abs(value[0] - value[1]) / [4.0, 3.0]
    assert found["range of the reward over orders"] == pytest.approx(spread.max(), rel=1e-4)

    product = masks[1] + masks[2] - masks[0]
    both = product - np.log(np.exp(product).sum(axis=1, keepdims=True))
    short, retrained = (
        definition.shapley(np.einsum("axy,xyk->ak", np.exp(np.stack([*masks[:3], last])), rewards) / 2)
        for last in (both, masks[3])
    )
    final = definition.shapley(limit)
    scale = np.abs(final).max()
    assert found["error against equally short retraining"] == pytest.approx(
        np.abs(short - retrained).max() / scale, rel=1e-4
    )
    assert found["error against convergence"] == pytest.approx(np.abs(short - final).max() / scale, rel=1e-4)


def test_correlations_and_signs_by_hand():
    assert pearson([1.0, 2.0, 3.0], [2.0, 4.0, 6.5]) == pytest.approx(np.corrcoef([1, 2, 3], [2, 4, 6.5])[0, 1])
    assert pearson([1.0, 1.0], [0.0, 2.0]) is None
    assert spearman([1.0, 5.0, 9.0], [-1.0, -5.0, -4.0]) == pytest.approx(-0.5)
    assert compare([1.0, -2.0], [-1.0, -3.0])["change sign"] == [0]
    assert compare([1.0, -2.0], [-1.0, -3.0])["largest gap"] == 2.0


def test_what_an_error_of_one_percent_needs():
    rows = [{"evaluations": 10, "error": 0.1}, {"evaluations": 1000, "error": 0.001}]
    assert growth.needed(rows, "evaluations", 0.01) == pytest.approx(100)
    assert growth.needed(rows[:1], "evaluations", 0.01) is None
    assert growth.needed(rows[1:], "evaluations", 0.01) == 1000


def test_providers_share_out_the_prompts():
    """Over four seeds every quarter of the prompts is once with every provider; the better response is told apart."""
    prompts = tuple(f"p{i}" for i in range(8))
    ids = np.repeat(np.arange(8), 4)  # every prompt is in the file of every provider
    texts = PreferencePairs(
        prompts,
        (("a", "b"),) * 8,
        Comparisons(ids, ids * 0, ids * 0 + 1, np.ones(32)),
        np.tile(np.arange(4), 8),
        providers.FILES[:4],
        {"score": np.array([[2.0, 1.0]] * 8)},
        "texts",
    )
    seen = set()
    for seed in range(4):
        found = providers.provider_pairs(providers.Pairs(texts, texts), seed)
        assert np.bincount(np.asarray(found.source)).tolist() == [2] * 4
        assert sorted(np.asarray(found.comparisons.context).tolist()) == list(range(8))
        seen |= {*zip(np.asarray(found.source).tolist(), np.asarray(found.comparisons.context).tolist(), strict=True)}
    assert len(seen) == 32
    reward = providers.held_out_rewards(texts)
    assert (reward("p3", "a"), reward("p3", "b")) == ([2.0, 1.0], [1.0, 0.0])


@pytest.mark.parametrize("ways", [("response", "parameter")])
def test_real_pairs_are_valued_by_the_library(ways):
    """A policy whose log-probabilities are linear: both arithmetics give sequential retraining."""
    rng = np.random.default_rng(0)
    n = 24
    texts = PreferencePairs(
        tuple(f"q{i}" for i in range(n)),
        tuple((f"yes {i % 3} well", f"no {i % 4} never") for i in range(n)),
        Comparisons(np.arange(n), rng.integers(0, 2, n), np.zeros(n, int), np.ones(n)),
        np.arange(n) % 4,
        providers.FILES[:4],
        {"score": rng.normal(size=(n, 2))},
        "texts",
    )
    winner = np.asarray(texts.comparisons.winner)
    texts = texts._replace(comparisons=texts.comparisons._replace(loser=1 - winner))
    held_out = texts._replace(
        prompts=tuple(f"h{i}" for i in range(6)),
        responses=texts.responses[:6],
        source=np.zeros(6, int),
        comparisons=Comparisons(*(np.asarray(field)[:6] for field in texts.comparisons)),
        sources=("held out",),
        scores={"score": texts.scores["score"][:6]},
    )
    policy = functools.partial(real_pairs.linear_policy, buckets=4)
    with precision(True):
        found = real_pairs.value_all(providers.Pairs(texts, held_out), 0, ways, policy=policy, beta=0.1, ridge=1.0)
    for way in ways:
        assert found["against"][f"{way} against sequential"][0]["largest gap"] < 1e-8
    assert found["against"]["sequential against union"][0]["largest gap"] > 1e-4
    assert set(found["seconds"]) == {"separate", *ways, "sequential", "union"}
    assert np.shape(found["values"]["response"]) == (4, 2)


# The command.


def test_parts_a_and_b_run_and_what_is_finished_is_kept(tmp_path, capsys):
    arguments = ["--quick", "--out", str(tmp_path), "--part"]
    before = jax.config.jax_enable_x64
    assert main([*arguments, "a"]) == 0
    assert "n trainings give the values" in capsys.readouterr().out
    assert main([*arguments, "a", "b", "--json"]) == 0
    said = capsys.readouterr()
    results = json.loads(said.out)
    assert "are kept" in said.err
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written == {**results, "sha256": written["sha256"]}
    assert {row["part"] for row in results["claims"]} == {"a", "b"}
    verdicts = {row["claim"]: row["verdict"] for row in results["claims"]}
    assert verdicts["n trainings give the values of 2ⁿ retrainings (equation 7)"] == "holds"
    kinds = results["found"]["b"]
    assert kinds["tabular, gradient descent"]["range of the reward over orders"]["largest"]["value"] < 1e-12
    assert kinds["adapters of full rank, Adam"]["range of the reward over orders"]["largest"]["value"] > 1e-3
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "results.json", "exact.png", "stopped-short.png"}
    assert jax.config.jax_enable_x64 == before


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "e"], "invalid choice"),
        (["--seeds", "0"], "expected a whole number of at least 1,"),
        (["--quick", "--full"], "not allowed with"),
    ],
)
def test_options_that_are_none_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.mistakes
def test_what_is_missing_is_said_without_a_traceback(tmp_path, capsys):
    assert main(["--quick", "--part", "c", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "preferences" in said
    assert "Without the data: --part a b d" in said
    assert main(["--quick", "--part", "a", "--out", __file__]) == 2
    assert "--out: expected a folder" in capsys.readouterr().err
