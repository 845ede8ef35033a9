"""Adapters: folders that PEFT wrote against the logits that it computed from them, and folders that are refused."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import coalitions, policies
from jaxval.policies.adapters import attach

pytest.importorskip("safetensors", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")
pytest.importorskip("tokenizers", reason="needs safetensors and tokenizers: pip install 'jaxval[llama]'")

GOLDEN = Path(__file__).parent / "golden"
FOLDER = GOLDEN / "peft"
LOGITS = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))["logits"]
TOKENS = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))["tokens"]
READ = ["plain", "rslora", "patterns", "layers", "zero", "named/one", "named/two"]


@pytest.fixture(scope="module")
def base():
    model, params, _ = policies.read_llama(GOLDEN / "tied")
    return jax.jit(lambda params: model.logits(params, np.array(TOKENS))), params


def assert_logits(found, name):
    """Equal to 1e-5 of the largest logit, which is about 10: both sides round to float32."""
    np.testing.assert_allclose(found, LOGITS[name], rtol=0, atol=1e-5 * np.abs(LOGITS[name]).max())


@pytest.mark.once
@pytest.mark.parametrize("name", READ)
def test_logits_are_those_of_peft(base, name):
    logits, params = base
    adapter = policies.read_adapter(FOLDER / name, params)
    found = logits(policies.merge(params, adapter.params, alpha=adapter.alpha))
    assert (np.abs(np.subtract(LOGITS[name], LOGITS["base"])).max() > 0.1) == (name != "zero")
    assert_logits(found, name)
    assert adapter.base == "golden/tied"
    assert adapter.layers == ((1,) if name == "layers" else (0, 1))


def test_unmerged_adapters_give_the_same_logits(base):
    logits, params = base
    adapter = policies.read_adapter(FOLDER / "patterns", params)
    assert_logits(logits(attach(params, adapter.params, alpha=adapter.alpha)), "patterns")


def test_several_adapters_add_as_in_peft_and_one_at_weight_1_is_itself(base):
    """Ranks side by side: the products add, of adapters of other targets, ranks and layers too."""
    logits, params = base
    adapters = [policies.read_adapter(FOLDER / name, params) for name in ("plain", "layers")]
    stacked, alpha = policies.stack_adapters(adapters)
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacked)
    for coalition, name in (([1, 1], "plain + layers"), ([1, 0], "plain"), ([0, 1], "layers"), ([0, 0], "base")):
        summed = coalitions.add_adapters(together, np.array(coalition))
        assert_logits(logits(policies.merge(params, summed, alpha=alpha)), name)


@pytest.mark.once
def test_what_is_written_is_read_back(base, tmp_path):
    _, params = base
    adapters = policies.init_adapters(jax.random.key(0), params, rank=3, targets=["query", "down"])
    adapters = jax.tree.map(lambda leaf: leaf + 0.1, adapters)
    policies.write_adapter(tmp_path / "all", adapters, alpha=4.0, base="golden/tied")
    top = jax.tree.map(lambda leaf: leaf[1:], adapters)
    policies.write_adapter(tmp_path / "top", top, alpha=0.5, layers=[1])
    for name, scale, layers, base_name in (("all", 4 / 3, [0, 1], "golden/tied"), ("top", 0.5 / 3, [1], None)):
        back = policies.read_adapter(tmp_path / name, params)
        assert (back.layers, back.base, back.alpha) == (tuple(layers), base_name, 3.0)
        for target, parts in back.params["layers"].items():
            written = adapters["layers"][target]
            np.testing.assert_allclose(parts["A"][np.array(layers)], written["A"][np.array(layers)])
            np.testing.assert_allclose(parts["B"][np.array(layers)], scale * written["B"][np.array(layers)], rtol=1e-6)
            assert not np.any(np.delete(parts["B"], layers, axis=0))


@pytest.fixture
def changed(tmp_path):
    """A copy of the plain adapter with other fields."""

    def of(name="plain", **fields):
        folder = tmp_path / name
        shutil.copytree(FOLDER / name, folder)
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")
        return folder

    return of


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"use_dora": True}, "adapter_config.json: expected an adapter that adds .*; got use_dora True"),
        ({"bias": "all"}, "got bias 'all'"),
        ({"lora_bias": True}, "got lora_bias True"),
        ({"modules_to_save": ["lm_head"]}, "got modules_to_save"),
        ({"trainable_token_indices": [3]}, "got trainable_token_indices"),
        ({"target_parameters": ["x"]}, "got target_parameters"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "got layer_replication"),
        ({"fan_in_fan_out": True}, "got fan_in_fan_out"),
        ({"kasa_config": {"beta": 1.0}}, "got kasa_config"),
        ({"use_tomorrows_lora": True}, "got use_tomorrows_lora True"),
        ({"init_lora_weights": "pissa"}, "expected init_lora_weights that leaves the base unchanged; got 'pissa'"),
        ({"init_lora_weights": "olora"}, "got 'olora'"),
        ({"peft_type": "IA3"}, "expected peft_type 'LORA'; got 'IA3'"),
        ({"r": None}, "expected the field r; got none"),
        ({"r": 8}, r"expected rank 8 of model.layers.0.self_attn.q_proj, as adapter_config.json says; got 4"),
        ({"rank_pattern": {"v_proj": 2}}, "expected rank 2 of model.layers.0.self_attn.v_proj"),
        ({"target_modules": ["q_proj"]}, "v_proj too; got tensors of it, which the fields exclude"),
        ({"exclude_modules": ["v_proj"]}, "v_proj too; got tensors of it, which the fields exclude"),
        ({"layers_to_transform": [0]}, "layers.1.self_attn.q_proj too; got tensors of it, which the fields exclude"),
        ({"target_modules": ["q_proj", "v_proj", "up_proj"]}, "layers.0.mlp.up_proj too; got no tensors of it"),
    ],
)
def test_fields_that_change_numbers_are_refused_by_name(base, changed, fields, said):
    with pytest.raises(ValueError, match=said):
        policies.read_adapter(changed(**fields), base[1])


@pytest.mark.mistakes
@pytest.mark.parametrize(("name", "said"), [("dora", "got use_dora True"), ("saved", "got modules_to_save")])
def test_kinds_that_peft_wrote_are_refused_by_name(base, name, said):
    with pytest.raises(ValueError, match=said):
        policies.read_adapter(FOLDER / name, base[1])


@pytest.mark.mistakes
def test_tensors_that_are_no_plain_adapter_are_refused_without_the_field_too(base, changed):
    with pytest.raises(ValueError, match=r"only lora_A and lora_B .*; got .*lora_magnitude_vector as well"):
        policies.read_adapter(changed("dora", use_dora=False), base[1])
    with pytest.raises(ValueError, match=r"got base_model.model.lm_head.weight as well"):
        policies.read_adapter(changed("saved", modules_to_save=None), base[1])


@pytest.mark.mistakes
def test_layers_and_modules_are_matched_as_peft_does(base, changed):
    folder = changed("layers", layers_pattern="layers", exclude_modules=["k_proj"], layers_to_transform=1)
    assert policies.read_adapter(folder, base[1]).layers == (1,)
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match="got tensors of it, which the fields exclude"):
        policies.read_adapter(changed("layers", layers_pattern=["h"]), base[1])


@pytest.mark.mistakes
def test_files_that_are_missing_cut_off_or_pickles_are_named(base, changed, tmp_path):
    with pytest.raises(ValueError, match=r"name one of the adapters in it: .*named/one, .*named/two"):
        policies.read_adapter(FOLDER / "named", base[1])
    folder = changed()
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=r"adapter_model.safetensors: expected a whole file of tensors; got .* cut off"
    ):
        policies.read_adapter(folder, base[1])
    weights.rename(folder / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"got adapter_model.bin, a pickle, .*; save it as safetensors"):
        policies.read_adapter(folder, base[1])
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"adapter_config.json: expected JSON"):
        policies.read_adapter(folder, base[1])


@pytest.mark.mistakes
def test_another_base_is_refused(base):
    _, params, _ = policies.read_llama(GOLDEN / "untied")
    with pytest.raises(ValueError, match=r"A \(r, 16\) and B \(32, r\) of self_attn.q_proj .* which fit the base; got"):
        policies.read_adapter(FOLDER / "plain", params)


@pytest.mark.mistakes
def test_adapters_that_cannot_be_written_are_named(tmp_path):
    adapters = {"layers": {"query": {"A": jnp.ones((2, 3, 1)), "B": jnp.ones((2, 1, 4))}}}
    with pytest.raises(ValueError, match=r"layers: expected 2 different numbers of layers; got \[1\]"):
        policies.write_adapter(tmp_path, adapters, alpha=1.0, layers=[1])
    with pytest.raises(ValueError, match=r"expected targets among query, .* under layers; got"):
        policies.write_adapter(tmp_path, {"layers": {}, "scores": {}}, alpha=1.0)
    with pytest.raises(ValueError, match="adapters: expected at least one"):
        policies.stack_adapters([])
