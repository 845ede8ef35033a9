"""Rewards by a checkpoint: a published reward model against transformers, and a head against its definition."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxval import data, policies, sources
from jaxval.cli import main
from jaxval.sources.rewards import resolve_rewards

pytest.importorskip("safetensors", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")
pytest.importorskip("tokenizers", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")

pytestmark = pytest.mark.once
FOLDER = Path(__file__).parent / "golden"
GOLDEN = json.loads((FOLDER / "reward" / "golden.json").read_text(encoding="utf-8"))
WORDS = ("cat", "dog", "hen", "mat")


def write_pairs(path, count, *, chats=False):
    """The longer response is chosen, and the scores say so."""
    rows = []
    for i in range(count):
        prompt = f"the {WORDS[i % 4]} and the {WORDS[i // 4 % 4]} {'sat ' * (i // 16 + 1)}"
        texts = f"the {WORDS[i % 3]} came and sat on it", f"that {WORDS[(i + 1) % 3]}"
        if chats:
            prompt = [{"role": "user", "content": prompt}]
            texts = [[{"role": "assistant", "content": text}] for text in texts]
        rows.append({"prompt": prompt, "chosen": texts[0], "rejected": texts[1], "source": f"s{i % 2}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs") / "longer.jsonl", 40)


@pytest.fixture(scope="module")
def pairs(file):
    return data.read_preferences(file)


@pytest.fixture(scope="module")
def head(pairs):
    return sources.fit_reward_head(pairs, policy=FOLDER / "tied")


def test_rewards_are_those_of_transformers():
    model = sources.read_reward_model(FOLDER / "reward")
    found = model.score(GOLDEN["prompts"], GOLDEN["responses"])
    assert model.names == ("reward 0", "reward 1")
    np.testing.assert_allclose(found[0], GOLDEN["rewards"][0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1, :1], GOLDEN["rewards"][1], rtol=0, atol=1e-5)
    assert not found[1, 1].any()  # there is no second response
    np.testing.assert_allclose(
        model(GOLDEN["prompts"][1], GOLDEN["responses"][1][0]), GOLDEN["rewards"][1][0], atol=1e-5
    )


def test_a_head_tells_its_held_out_accuracy(head, pairs):
    assert head.names == ("longer",)
    assert (head.fitted, head.held_out) == (32, 8)
    rewards = head.score(pairs.prompts, pairs.responses)[..., 0]
    won = rewards[np.arange(40), 0] > rewards[np.arange(40), 1]
    assert won.mean() > 0.9
    held = np.asarray(jax.random.permutation(jax.random.key(0), 40))[:8]
    np.testing.assert_allclose(head.accuracy, won[held].mean())
    np.testing.assert_allclose(head.accuracy_error, np.sqrt(head.accuracy * (1 - head.accuracy) / 8))


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_head_is_linear_in_the_states_of_the_response(pairs, pooling):
    """Rewards of 40 responses less than 16 coordinates explain exactly, if they are w·h for the states by hand."""
    head = sources.fit_reward_head(pairs, policy=FOLDER / "tied", pooling=pooling)
    model, params, tokeniser = policies.read_llama(FOLDER / "tied")
    states = []
    for prompt, (response, _) in zip(pairs.prompts, pairs.responses, strict=True):
        ids = policies.encode_prompt(tokeniser, prompt), [*tokeniser.encode(response), tokeniser.end]
        one = policies.response_states(model, params, policies.group_responses(model, [ids[0]], [[ids[1]]]))
        of_tokens = np.asarray(one, float)[0, 0, 1:]
        states.append(of_tokens.mean(axis=0) if pooling == "mean" else of_tokens[-1])
    rewards = head.score(pairs.prompts, pairs.responses)[:, 0, 0]
    weights, *_ = np.linalg.lstsq(np.array(states), rewards, rcond=None)
    np.testing.assert_allclose(np.array(states) @ weights, rewards, atol=1e-4 * np.abs(rewards).max())
    assert np.linalg.matrix_rank(states) == 16 < 40


def test_heads_and_reward_models_are_rewards_of_sources(head, pairs):
    from jaxval.sources.learners import log_linear_learner

    both = resolve_rewards([head, sources.read_reward_model(FOLDER / "reward")], pairs, log_linear_learner(pairs))
    assert both.names == ("longer", "reward 0", "reward 1")
    some = np.array([7, 3])
    expected = head.score([pairs.prompts[x] for x in some], [pairs.responses[x] for x in some])
    np.testing.assert_allclose(both.of(some)[..., 0], expected[..., 0], atol=1e-6)


def test_states_are_kept_and_chats_go_through_the_template(tmp_path, monkeypatch):
    shutil.copytree(FOLDER / "tied", tmp_path / "chatty")
    (tmp_path / "chatty" / "chat_template.jinja").write_text("the {{ messages[0].content }}")
    pairs = data.read_preferences(write_pairs(tmp_path / "chats.jsonl", 12, chats=True), source=None)
    kept = {"policy": tmp_path / "chatty", "folder": tmp_path / "kept", "held_out": 0.1}
    first = sources.fit_reward_head(pairs, **kept)
    files = list((tmp_path / "kept").iterdir())
    assert len(files) == 1
    monkeypatch.setattr("jaxval.sources.reward_models._pooled", None)  # a second fit reads what is kept
    again = sources.fit_reward_head(pairs, **kept)
    assert (first.accuracy, first.fitted) == (again.accuracy, again.fitted)
    monkeypatch.undo()
    plain = sources.fit_reward_head(pairs._replace(chats={}), **kept)
    assert len(list((tmp_path / "kept").iterdir())) == 2  # other tokens
    texts = pairs.prompts[:1], pairs.responses[:1]
    messages = pairs.chats[pairs.prompts[0]]
    assert not np.allclose(plain.score(*texts), first.score([messages], texts[1]))
    joined = sources.fit_reward_head(pairs, policy=FOLDER / "tied", held_out=0.1)  # has no template
    for prompt in (pairs.prompts[0], messages):
        np.testing.assert_allclose(joined.score([prompt], texts[1]), plain.score(*texts), atol=1e-6)


def test_the_command_fits_a_head_and_tells_its_accuracy(file, tmp_path, capsys):
    adapters = [str(FOLDER / "peft" / name) for name in ("plain", "layers")]
    words = ["value", str(file), "--policy", str(FOLDER / "tied"), "--adapters", *adapters, "--reward", f"head:{file}"]
    assert main([*words, "--reward", str(FOLDER / "reward"), "--out", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert result["rewards"] == ["longer", "reward 0", "reward 1"]
    assert [(one["name"], one["fitted_pairs"], one["held_out_pairs"]) for one in result["reward_heads"]] == [
        ("longer", 32, 8)
    ]
    said = " ".join(capsys.readouterr().out.split())
    assert "Reward longer: a linear head fitted to 32 pairs. Of 8 held-out pairs it prefers the chosen" in said


@pytest.mark.mistakes
def test_heads_without_pairs_and_other_architectures_are_named(tmp_path, pairs, capsys):
    few = write_pairs(tmp_path / "few.jsonl", 6)
    with pytest.raises(ValueError, match=r"pairs: expected at least 10 pairs to fit a reward head to, .*; got 5 and 1"):
        sources.fit_reward_head(data.read_preferences(few), policy=FOLDER / "tied")
    (tmp_path / "none.jsonl").write_text("")
    base = ["value", str(few), "--policy"]
    for words, said in (
        ([str(FOLDER / "tied"), "--reward", f"head:{tmp_path / 'none.jsonl'}"], "none.jsonl"),
        (["log-linear", "--reward", f"head:{few}"], "--policy: expected a checkpoint, on whose hidden states"),
        ([str(FOLDER / "tied"), "--reward", str(FOLDER / "tied")], "architectures ['LlamaForSequenceClassification']"),
        ([str(FOLDER / "reward")], "architectures ['LlamaForCausalLM']"),
    ):
        assert main([*base, *words]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(ValueError, match="pooling: expected one of 'mean', 'last'"):
        sources.fit_reward_head(pairs, policy=FOLDER / "tied", pooling="max")


@pytest.mark.mistakes
def test_a_reward_model_without_its_score_is_named(tmp_path):
    from safetensors.numpy import load_file, save_file

    shutil.copytree(FOLDER / "reward", tmp_path / "reward")
    path = tmp_path / "reward" / "model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if name != "score.weight"}, path)
    with pytest.raises(ValueError, match=r"expected the tensor score.weight; got files without it"):
        sources.read_reward_model(tmp_path / "reward")
    save_file(tensors | {"score.weight": tensors["score.weight"][:, :8].copy()}, path)
    with pytest.raises(ValueError, match=r"score.weight of shape \(labels, 16\); got shape \(2, 8\)"):
        sources.read_reward_model(tmp_path / "reward")
