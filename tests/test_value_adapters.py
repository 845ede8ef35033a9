"""Values of adapters of PEFT, with a reference adapter or without, against the checkpoint with adapters merged in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxval import data, policies, sources
from jaxval.cli import main

pytest.importorskip("safetensors", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")
pytest.importorskip("tokenizers", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")

pytestmark = pytest.mark.once
GOLDEN = Path(__file__).parent / "golden"
BASE, PEFT = GOLDEN / "tied", GOLDEN / "peft"
SOURCES = [PEFT / "plain", PEFT / "layers"]
PROMPTS = ("the cat sat", "the dog and the cat", "the hen")
RESPONSES = ("the mat", "the dog")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Pairs without a source, each response with a score."""
    path = tmp_path_factory.mktemp("pairs") / "hens.jsonl"
    rows = [
        {
            "prompt": prompt,
            "chosen": RESPONSES[0],
            "rejected": RESPONSES[1],
            "score_chosen": 2.0,
            "score_rejected": -1.0,
        }
        for prompt in PROMPTS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def merged():
    """u of the base with some products added to its matrices: weights by the name of an adapter."""
    model, base, tokeniser = policies.read_llama(BASE)
    tokens = policies.encode_catalogue(PROMPTS, [RESPONSES] * 3, length=64, tokeniser=tokeniser)
    policy = policies.over_catalogue(model, *tokens)

    def utility(**weights):
        params = base
        for name, weight in weights.items():
            adapter = policies.read_adapter(PEFT / name, base)
            params = policies.merge(params, adapter.params, alpha=weight * adapter.alpha)
        chances = np.exp(policies.normalise(policy.log_probs(params, np.arange(3), np.array([[0, 1]] * 3))))
        return (chances * np.array([2.0, -1.0])).sum(axis=1).mean()

    return utility


def valued(file, **options):
    pairs = data.read_preferences(file, source=None)
    return sources.value_adapters(pairs, SOURCES, policy=BASE, arithmetic="parameter", **options)


def test_adapters_are_steps_from_the_base(file, merged):
    found = valued(file)
    expected = [merged(), merged(plain=1), merged(layers=1), merged(plain=1, layers=1)]
    np.testing.assert_allclose(found.utilities[:, 0], expected, atol=2e-5)
    assert np.ptp(expected) > 0.1
    assert found.names == ("plain", "layers")
    assert np.isnan(found.pairs).all()


def test_adapters_that_began_as_copies_replace_the_reference(file, merged):
    """π_0 is base + R, π_ℓ is base + A_ℓ, and both together are base + A + A' - R."""
    found = valued(file, reference_adapter=PEFT / "rslora")
    both = merged(plain=1, layers=1, rslora=-1)
    expected = [merged(rslora=1), merged(plain=1), merged(layers=1), both]
    np.testing.assert_allclose(found.utilities[:, 0], expected, atol=2e-5)


def test_stacked_adapters_come_on_top_of_the_reference(file, merged):
    found = valued(file, reference_adapter=PEFT / "rslora", stacked=True)
    expected = [merged(rslora=1, **dict.fromkeys(names, 1)) for names in ((), ("plain",), ("layers",))]
    np.testing.assert_allclose(found.utilities[:3, 0], expected, atol=2e-5)


@pytest.mark.parametrize("stacked", [None, False, True])
def test_a_mixture_is_one_adapter_of_the_base(file, merged, tmp_path, stacked):
    """base + Σ λ A; with a reference adapter R, base + R + Σ λ (A - R), or base + R + Σ λ A if A is stacked on R."""
    reference = {} if stacked is None else {"reference_adapter": PEFT / "rslora", "stacked": stacked}
    found = sources.value_adapters(data.read_preferences(file, source=None), SOURCES, policy=BASE, **reference)
    sources.write_mixture(found, tmp_path / "mixture", [0.75, 0.5])
    model, base, tokeniser = policies.read_llama(BASE)
    written = policies.read_adapter(tmp_path / "mixture", base)
    assert written.base == str(BASE)
    tokens = policies.encode_catalogue(PROMPTS, [RESPONSES] * 3, length=64, tokeniser=tokeniser)
    params = policies.merge(base, written.params, alpha=written.alpha)
    ids = np.array([[0, 1]] * 3)
    log_probs = policies.over_catalogue(model, *tokens).log_probs(params, np.arange(3), ids)
    worth = (np.exp(policies.normalise(log_probs)) * np.array([2.0, -1.0])).sum(axis=1).mean()
    own = {None: {}, False: {"rslora": 1 - 1.25}, True: {"rslora": 1}}[stacked]
    np.testing.assert_allclose(worth, merged(plain=0.75, layers=0.5, **own), atol=2e-5)


def test_the_command_values_adapters_and_resumes(file, tmp_path, capsys):
    words = ["value", str(file), "--policy", str(BASE), "--adapters", *map(str, SOURCES), "--arithmetic", "token"]
    words += ["--reference", "uniform", "--out", str(tmp_path / "out")]
    assert main([*words[:-4], "--weights", str(tmp_path / "weights")]) == 2
    assert "--arithmetic: expected response beside --weights" in capsys.readouterr().err
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in result["sources"]] == ["plain", "layers"]
    assert [row["pairs"] for row in result["sources"]] == [None, None]
    np.testing.assert_allclose(result["utilities"][0]["score"], 0.5, atol=1e-5)  # two ways to sum float32 tokens
    assert main([*words, "--resume"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 coalitions from one adapter a source, 3 prompts" in said
    assert "Checked: each adapter alone gives the log-probabilities of its own policy" in said


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("adapters", "options", "said"),
    [
        (["plain", "zero"], {}, "adapters: expected adapters with an effect; got 'zero', .* B is zero"),
        (["layers", "plain"], {"reference_adapter": PEFT / "plain"}, "got 'plain', .* copy of the reference adapter"),
        (["plain", "dora"], {}, "dora/adapter_config.json: .* got use_dora True"),
        (["plain", "named"], {}, "adapters: expected a folder with adapter_config.json; got .*; name one .*named/one"),
        (["plain"], {}, "adapters: expected at least 2 adapters"),
        (["plain", "plain"], {}, "adapters: expected folders of different names"),
        (["plain", "layers"], {"stacked": True}, "stacked: expected a reference adapter"),
        (["plain", "layers"], {"policy": GOLDEN / "untied"}, "which fit the base"),
    ],
)
def test_adapters_that_cannot_be_right_are_refused(file, adapters, options, said):
    pairs = data.read_preferences(file, source=None)
    with pytest.raises(ValueError, match=said):
        sources.value_adapters(pairs, [PEFT / name for name in adapters], **{"policy": BASE, **options})


@pytest.mark.mistakes
def test_adapters_of_another_base_are_refused_unless_it_is_the_same(file, tmp_path, merged):
    shutil.copytree(BASE, tmp_path / "other")
    pairs = data.read_preferences(file, source=None)
    with pytest.raises(ValueError, match=r"adapters: expected an adapter of the base .*other; got .*'golden/tied'"):
        sources.value_adapters(pairs, SOURCES, policy=tmp_path / "other")
    found = sources.value_adapters(pairs, SOURCES, policy=tmp_path / "other", any_base=True)
    np.testing.assert_allclose(found.utilities[1, 0], merged(plain=1), atol=2e-5)


@pytest.mark.mistakes
def test_an_arithmetic_that_does_not_apply_adapters_is_caught(file, monkeypatch):
    """As of an engine that loads an adapter and scales it otherwise."""
    from jaxval import coalitions

    add = coalitions.add_adapters
    monkeypatch.setattr(coalitions, "add_adapters", lambda stacked, mask: add(stacked, 0.5 * mask))
    with pytest.raises(ValueError, match=r"same policy at weight 1 as merged .* nats between 'plain' alone"):
        valued(file)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stacked"], "--stacked: expected --adapters beside it"),
        (["--policy", str(BASE), "--adapters", "a", "b", "--epochs", "3"], "--epochs: expected no such option beside"),
        (["--adapters", "a", "b"], "--policy: expected the base of the adapters"),
        (
            ["--policy", str(BASE), "--adapters", str(PEFT / "plain"), str(PEFT / "zero")],
            "--adapters: expected adapters",
        ),
    ],
)
def test_options_that_do_not_fit_are_named(file, words, said, capsys):
    assert main(["value", str(file), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.mistakes
def test_adapters_need_a_file(capsys):
    assert main(["value", "--policy", str(BASE), "--adapters", "a", "b"]) == 2
    assert "FILE: expected prompts and responses" in capsys.readouterr().err
