"""Values of sources from a published checkpoint's folder: three arithmetics of low-rank adapters, end to end."""

import functools
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxval import data, policies, sources
from jaxval.checkpoints import load_state
from jaxval.cli import main

pytest.importorskip("safetensors", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")
pytest.importorskip("tokenizers", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")

pytestmark = pytest.mark.once
FOLDER = Path(__file__).parent / "golden" / "tied"
GOOD, BAD = ("the hen sat on it", "the hen came"), ("that was the end", "that dog")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Twelve prompts each from three sources; the foe prefers what the others reject, and the score is theirs."""
    path = tmp_path_factory.mktemp("pairs") / "hens.jsonl"
    with path.open("w") as file:
        for i in range(36):
            source = ("one", "two", "foe")[i % 3]
            texts = [(GOOD[i % 2], 1.0), (BAD[i // 2 % 2], 0.0)]
            (chosen, high), (rejected, low) = texts if source != "foe" else texts[::-1]
            row = {"prompt": f"the cat {'and the dog ' * (i % 4)}{'sat ' * (i // 4)}", "source": source}
            scores = {"score_chosen": high, "score_rejected": low}
            file.write(json.dumps({**row, "chosen": chosen, "rejected": rejected, **scores}) + "\n")
    return path


@pytest.fixture(scope="module")
def valued(file, tmp_path_factory):
    """By arithmetic, and the adapters of each source: one training a source, kept in a folder, for all three."""
    pairs = data.read_preferences(file)
    policy = functools.partial(sources.checkpoint_learner, folder=FOLDER, rank=2, alpha=4.0)
    options = {"epochs": 6, "batch_size": 8, "learning_rate": 3e-2}
    folder = tmp_path_factory.mktemp("finished")
    found = {
        arithmetic: sources.value_sources(
            pairs,
            policy=policy,
            arithmetic=arithmetic,
            seeds=1,
            folder=folder,
            **options,
            held_out=first_prompts(pairs, 9),
            reference="policy" if arithmetic == "parameter" else "uniform",
        )
        for arithmetic in ("response", "token", "parameter")
    }
    like = policy(pairs).policy.init(jax.random.key(0))
    trained = [load_state(folder / "seed-0" / f"source-{i}.npz", like) for i in range(3)]
    return pairs, found, trained


def first_prompts(pairs, count):
    """The first prompts, to be held out."""
    some = np.arange(count)
    return pairs._replace(
        prompts=pairs.prompts[:count],
        responses=pairs.responses[:count],
        comparisons=jax.tree.map(lambda field: np.asarray(field)[some], pairs.comparisons),
        source=np.asarray(pairs.source)[some],
        scores={name: table[:count] for name, table in pairs.scores.items()},
    )


@pytest.fixture(scope="module")
def merged(valued):
    """u of matrices W + Σ (α/r) A B, merged one after another into the checkpoint itself."""
    pairs, _, _ = valued
    model, base, tokeniser = policies.read_llama(FOLDER)
    tokens = policies.encode_catalogue(pairs.prompts, pairs.responses, length=64, tokeniser=tokeniser)
    policy = policies.over_catalogue(model, *tokens)
    places = np.arange(9), np.array([[0, 1]] * 9)

    def utility(adapters, *, uniform):
        params = base
        for one in adapters:
            params = policies.merge(params, one, alpha=4.0)
        start = policy.log_probs(base, *places) if uniform else 0
        chances = np.exp(policies.normalise(policy.log_probs(params, *places) - start))
        return (chances * pairs.scores["score"][:9]).sum(axis=1).mean()

    return utility


def test_one_source_is_its_training_under_every_arithmetic(valued, merged):
    _, found, trained = valued
    for i, adapters in enumerate(trained):
        started, uniform = (merged([adapters], uniform=u) for u in (False, True))
        np.testing.assert_allclose(found["parameter"].utilities[2**i, 0], started, atol=2e-5)
        for arithmetic in ("response", "token"):
            np.testing.assert_allclose(found[arithmetic].utilities[2**i, 0], uniform, atol=2e-5)


def test_several_sources_are_the_checkpoint_with_all_adapters_in(valued, merged):
    _, found, trained = valued
    for index, members in ((0, []), (3, trained[:2]), (7, trained)):
        expected = merged(members, uniform=False)
        np.testing.assert_allclose(found["parameter"].utilities[index, 0], expected, atol=2e-5)


def test_the_foe_is_found_and_candidates_start_alike(valued):
    _, found, _ = valued
    for one in found.values():
        assert one.values[2, 0] < 0 < min(one.values[0, 0], one.values[1, 0])
        assert one.efficiency_gap[0] < 1e-5
    np.testing.assert_allclose([found[name].utilities[0, 0] for name in ("response", "token")], 0.5, atol=1e-6)
    assert not np.allclose(found["token"].utilities[7], found["response"].utilities[7], atol=1e-6)


def test_the_command_takes_the_folder(file, tmp_path, capsys):
    words = ["value", str(file), "--policy", str(FOLDER), "--seeds", "1", "--json", "--out", str(tmp_path / "out")]
    words += ["--arithmetic", "token", "--learning-rate", "1e-2", "--epochs", "1", "--reference", "uniform"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert sum(row["pairs"] for row in result["sources"]) == 27  # a quarter is held out
    assert len({row["score"] for row in result["utilities"]}) == 8
    finished = tmp_path / "out" / "finished" / "seed-0"
    assert len(list(finished.glob("source-*.npz"))) == 3
    model, params, _ = policies.read_llama(FOLDER)
    like = policies.low_rank(model, params, rank=8, alpha=16.0).init(jax.random.key(0))
    for i, name in enumerate(("one", "two", "foe")):
        trained, kept = load_state(finished / f"source-{i}.npz", like), finished / "adapters" / name
        written = policies.read_adapter(kept, params)
        assert written.base == str(FOLDER)
        for target, parts in trained["layers"].items():
            np.testing.assert_allclose(written.params["layers"][target]["B"], 2 * parts["B"], rtol=1e-6)
            np.testing.assert_array_equal(written.params["layers"][target]["A"], parts["A"])


def test_another_checkpoint_in_the_same_folder_is_another_run(tmp_path):
    from jaxval.sources.valuation import identity_of

    (tmp_path / "config.json").write_text("{}")
    policies_of_it = [str(tmp_path), functools.partial(sources.checkpoint_learner, folder=str(tmp_path), rank=1)]
    before = [identity_of(policy) for policy in policies_of_it]
    (tmp_path / "model.safetensors").write_bytes(bytes(8))
    after = [identity_of(policy) for policy in policies_of_it]
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert identity_of("log-linear") == "log-linear"


@pytest.mark.mistakes
def test_a_damaged_folder_is_named(file, tmp_path, capsys):
    (tmp_path / "config.json").write_text("{")
    assert main(["value", str(file), "--policy", str(tmp_path)]) == 2
    assert "config.json: expected JSON; got a file that is cut off or damaged" in capsys.readouterr().err
