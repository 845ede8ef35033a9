"""Published checkpoints: tiny ones against what `transformers` computes from them, and damaged ones."""

import json
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import policies

pytest.importorskip("safetensors", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")
pytest.importorskip("tokenizers", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", params=["tied", "untied"])
def checkpoint(request):
    folder = GOLDEN / request.param
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    return request.param, golden, policies.read_llama(folder)


def test_logits_are_those_of_transformers(checkpoint, x64):
    _, golden, (model, params, _) = checkpoint
    logits = model.logits(params, np.array(golden["tokens"]))
    assert logits.dtype == (jnp.float64 if x64 else jnp.float32)
    assert np.std(golden["logits"]) > 1  # 1e-4 is of something
    np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=1e-4)


@pytest.mark.once
def test_greedy_continuations_are_those_of_transformers(checkpoint):
    _, golden, (model, params, _) = checkpoint
    prompt = golden["tokens"][0][:5]
    found = policies.sample(jax.random.key(0), model, params, [prompt], num_tokens=8, temperature=0.0)
    assert found.tokens[0].tolist() == golden["greedy"]


@pytest.mark.once
def test_texts_are_encoded_as_by_transformers(checkpoint):
    name, golden, (model, _, tokeniser) = checkpoint
    assert tokeniser.encode(golden["text"]) == golden["ids"]
    assert tokeniser.decode([1, *golden["ids"], 2]) == golden["decoded"] == golden["text"]
    begin = [] if tokeniser.begin is None else [tokeniser.begin]
    assert begin + golden["ids"] == golden["ids_with_begin"]
    assert (tokeniser.begin, tokeniser.end) == (1 if name == "tied" else None, 2)
    assert tokeniser.vocabulary <= model.vocabulary == 64


def test_the_shape_is_the_checkpoint_s(checkpoint):
    name, _, (model, params, _) = checkpoint
    assert model.length == 64
    assert ("scores" in params) == (name == "untied")
    assert params["layers"]["key"]["kernel"].shape == (2, 16, 8 if name == "tied" else 32)


@pytest.mark.once
def test_weights_are_read_in_another_precision_and_a_shorter_context():
    model, params, _ = policies.read_llama(GOLDEN / "tied", length=16, dtype=jnp.bfloat16)
    assert model.length == 16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    shapes = jax.eval_shape(model.logits, params, np.array([[1, 2, 3]]))
    assert shapes.dtype == jnp.bfloat16


@pytest.fixture
def copy(tmp_path):
    """A copy of a checkpoint to damage."""

    def of(name):
        shutil.copytree(GOLDEN / name, tmp_path / name)
        return tmp_path / name

    return of


def change(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | settings), encoding="utf-8")


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model_type": "gpt2"}, "LlamaForCausalLM.*; got model_type 'gpt2'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "got .*.'LlamaForSequenceClassification'"),
        ({"attention_bias": True}, "config.json: expected attention_bias False; got True"),
        ({"hidden_act": "gelu"}, "expected hidden_act 'silu'; got 'gelu'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling of type llama3, or none; got 'dynamic'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "in rope_scaling; got no low_freq_factor"),
        ({"quantization_config": {"bits": 4}}, "not quantised"),
        ({"vocab_size": "64"}, "config.json: vocab_size: expected a whole number"),
        ({"vocab_size": 30}, "tokenizer.json: expected at most vocab_size=30 tokens, .*; got"),
        ({"vocab_size": 62}, "the tensor model.embed_tokens.weight of shape .62, 16.; got shape .64, 16."),
        ({"intermediate_size": 25}, r"model.layers.0.mlp.gate_proj.weight of shape \(25, 16\); got shape \(24, 16\)"),
        ({"num_hidden_layers": 3}, "expected the tensor model.layers.2.input_layernorm.weight; got files without it"),
        ({"num_hidden_layers": 1}, "a Llama of 1 layers; got model.layers.1"),
        ({"tie_word_embeddings": False}, "expected the tensor lm_head.weight; got files without it"),
    ],
)
def test_settings_that_do_not_fit_are_named(copy, settings, said):
    folder = copy("tied")
    change(folder, **settings)
    with pytest.raises(ValueError, match=said):
        policies.read_llama(folder)


@pytest.mark.mistakes
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("kept", [0, 5, 0.5, 0.99])
def test_files_that_are_cut_off_are_named(copy, file, kept):
    folder = copy("tied")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(ValueError, match=rf"{file}: expected .* cut off or damaged"):
        policies.read_llama(folder)


@pytest.mark.mistakes
@pytest.mark.parametrize("cut", [False, True])
def test_one_of_several_files_that_is_missing_or_cut_off_is_named(copy, cut):
    folder = copy("untied")
    path = folder / "model-00002-of-00003.safetensors"
    content = path.read_bytes()
    path.unlink()
    if cut:
        path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"model-00002-of-00003.safetensors: expected .* (cut off|no such file)"):
        policies.read_llama(folder)


@pytest.mark.mistakes
def test_an_index_that_lists_a_tensor_in_another_file_is_named(copy):
    folder = copy("untied")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["weight_map"]["model.norm.weight"] = "model-00001-of-00003.safetensors"
    path.write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ValueError, match=r"model-00001.*: expected the tensor model.norm.weight, because .* lists it"):
        policies.read_llama(folder)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected a weight_map"):
        policies.read_llama(folder)


@pytest.mark.mistakes
def test_files_that_are_not_there_are_named(copy, tmp_path):
    with pytest.raises(ValueError, match=r"path: expected a folder with config.json"):
        policies.read_llama(tmp_path)
    folder = copy("tied")
    with pytest.raises(ValueError, match=r"length: expected at most the 64 tokens of the checkpoint; got 65"):
        policies.read_llama(folder, length=65)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"expected tokenizer.json; got a folder without it"):
        policies.read_llama(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"expected model.safetensors or model.safetensors.index.json; got neither"):
        policies.read_llama(folder)


@pytest.mark.mistakes
def test_the_extra_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxval\[llama\]'"):
        policies.read_llama(GOLDEN / "tied")
