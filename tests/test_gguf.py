"""A GGUF file against what `transformers` computes from it, chat templates, and files and templates of bad faith."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxval import data, policies

gguf = pytest.importorskip("gguf", reason="needs the extra llama: pip install 'jaxval[llama]'")
pytest.importorskip("tokenizers", reason="needs the extra llama: pip install 'jaxval[llama]'")
pytest.importorskip("jinja2", reason="needs the extra llama: pip install 'jaxval[llama]'")

FOLDER = Path(__file__).parent / "golden"
FILE = FOLDER / "tiny.gguf"
GOLDEN = json.loads((FOLDER / "tiny.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def read():
    return policies.read_gguf(FILE)


def test_logits_are_those_of_transformers(read, x64):
    model, params, _ = read
    logits = model.logits(params, np.array([GOLDEN["ids"][:12]]))
    assert logits.dtype == (jnp.float64 if x64 else jnp.float32)
    assert np.std(GOLDEN["logits"]) > 1
    np.testing.assert_allclose(logits[:, ::4], GOLDEN["logits"], rtol=0, atol=1e-4)


@pytest.mark.once
def test_greedy_continuations_are_those_of_transformers(read):
    model, params, _ = read
    found = policies.sample(jax.random.key(0), model, params, [GOLDEN["ids"][:5]], num_tokens=8, temperature=0.0)
    assert found.tokens[0].tolist() == GOLDEN["greedy"]


@pytest.mark.once
def test_texts_and_chats_are_encoded_as_by_the_tokeniser_before_the_file(read):
    model, _, tokeniser = read
    assert tokeniser.encode(GOLDEN["text"]) == GOLDEN["ids"]
    assert tokeniser.decode([1, *GOLDEN["ids"], 2]) == GOLDEN["text"]
    assert tokeniser.chat(GOLDEN["messages"]) == GOLDEN["chat"]
    assert policies.encode_prompt(tokeniser, GOLDEN["messages"]) == GOLDEN["chat_ids"]
    assert (tokeniser.begin, tokeniser.end, model.length) == (None, 2, 64)


@pytest.mark.once
def test_a_path_that_ends_in_gguf_is_read_by_read_llama_too(read):
    model, params, tokeniser = policies.read_llama(str(FILE), length=8, dtype=jnp.bfloat16)
    assert (model.length, tokeniser.vocabulary) == (8, 288)
    np.testing.assert_array_equal(params["norm"]["scale"], read[1]["norm"]["scale"].astype(jnp.bfloat16))
    with pytest.raises(ValueError, match="length: expected at most the 64 tokens of the checkpoint; got 65"):
        policies.read_gguf(FILE, length=65)


@pytest.mark.once
def test_a_checkpoint_with_a_template_takes_chats(tmp_path):
    """The template of a file of its own comes before that of the configuration; its end of turn ends responses."""
    shutil.copytree(FOLDER / "tied", tmp_path / "chatty")
    config = {"chat_template": "{{ messages[0].content }}", "bos_token": {"content": "<s>"}, "eos_token": "<unk>"}
    (tmp_path / "chatty" / "tokenizer_config.json").write_text(json.dumps(config))
    messages = [{"role": "user", "content": "the cat"}]
    _, _, tokeniser = policies.read_llama(tmp_path / "chatty")
    assert tokeniser.chat(messages) == "the cat"
    assert tokeniser.end == 0
    template = "{{ bos_token }}{% for m in messages %}\n  {%- if m.role == 'user' %} the {{ m.content }}{% endif %}\n"
    (tmp_path / "chatty" / "chat_template.jinja").write_text(template + "{% endfor %}")
    _, _, tokeniser = policies.read_llama(tmp_path / "chatty")
    assert tokeniser.chat(messages) == "<s> the the cat"
    prompts, responses = policies.encode_catalogue([messages, "a"], [["that"], ["dog"]], length=32, tokeniser=tokeniser)
    assert prompts[0] == tokeniser.encode("<s> the the cat")
    assert prompts[0].count(1) == prompts[1].count(1) == 1  # begin once: by the template, or in front of the text
    assert [row[0][-1] for row in responses] == [0, 0]


@pytest.mark.once
def test_messages_of_pairs_are_kept_for_the_template(tmp_path):
    row = {"chosen": [{"role": "assistant", "content": "b"}], "rejected": [{"role": "assistant", "content": "c"}]}
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"prompt": GOLDEN["messages"], **row}) + "\n", encoding="utf-8")
    pairs = data.read_preferences(path, source=None)
    assert pairs.prompts == ("user: the cat?\n\nassistant: the dog\n\nuser: and 12 hens",)
    assert pairs.chats == {pairs.prompts[0]: GOLDEN["messages"]}


@pytest.mark.mistakes
@pytest.mark.parametrize("kept", [0, 3, 40, 2000, 0.2, 0.5, 0.999])
def test_files_that_are_cut_off_are_named(tmp_path, kept):
    content = FILE.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(
        ValueError, match=r"cut.gguf: expected a whole GGUF file; got a file that is cut off or damaged"
    ):
        policies.read_gguf(path)


@pytest.fixture
def changed(tmp_path):
    """The file with other fields, another name for a field, or another tensor."""

    def of(architecture="llama", drop=(), rename=None, **fields):
        reader = gguf.GGUFReader(FILE)
        path = tmp_path / "changed.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        for name, field in reader.fields.items():
            if name.startswith("GGUF.") or name in ("general.architecture", *drop, *fields):
                continue
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
        for name, value in fields.items():
            kinds = {str: gguf.GGUFValueType.STRING, int: gguf.GGUFValueType.UINT32}
            writer.add_key_value(name, value, kinds[type(value)])
        for tensor in reader.tensors:
            name = (rename or {}).get(tensor.name, tensor.name)
            if name is not None:
                writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return of


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "qwen2"}, "expected a GGUF file of the architecture llama; got 'qwen2'"),
        ({"llama.attention.sliding_window": 4}, "got llama.attention.sliding_window as well"),
        ({"llama.expert_count": 8}, "expected llama.expert_count 0; got 8"),
        ({"llama.rope.scaling.type": "yarn"}, "expected llama.rope.scaling.type 'none'; got 'yarn'"),
        ({"drop": ["llama.block_count"]}, "expected the field llama.block_count; got a file without it"),
        ({"llama.block_count": 1}, "only the tensors of a Llama of 1 layers; got blk.1.attn_k.weight as well"),
        ({"llama.block_count": 3}, "expected the tensor model.layers.2.input_layernorm.weight; got files without it"),
        ({"llama.feed_forward_length": 64}, "mlp.gate_proj.weight of shape .64, 64.; got shape .96, 64."),
        ({"rename": {"blk.0.attn_q.weight": "blk.0.attn_q.bias"}}, "got blk.0.attn_q.bias as well"),
        ({"rename": {"output_norm.weight": "rope_freqs.weight"}}, "rope_freqs.weight as in Llama 3.1, or none"),
        ({"tokenizer.ggml.model": "llama"}, "a tokeniser of the model gpt2, merges of bytes; got 'llama'"),
        ({"tokenizer.ggml.pre": "qwen2"}, "tokenizer.ggml.pre among gpt-2, .*; got 'qwen2'"),
        ({"drop": ["tokenizer.ggml.merges"]}, "expected tokens, one type for each, and merges"),
        ({"tokenizer.chat_template": "{% for %}"}, "a chat template in Jinja; got a fault in line 1"),
    ],
)
def test_settings_that_do_not_fit_are_named(changed, changes, said):
    with pytest.raises(ValueError, match=rf"changed.gguf: expected .*{said}" if "expected" not in said else said):
        policies.read_gguf(changed(**changes))


def test_the_stretch_of_llama_3_1_is_told_by_its_factors(read, monkeypatch):
    from jaxval.policies.published import gguf as module
    from jaxval.policies.transformer import RopeScaling, rotary_frequencies

    stretch = RopeScaling(8.0, 1.0, 4.0, 8192)
    plain, stretched = (rotary_frequencies(16, base=5e5, scaling=scaling) for scaling in (None, stretch))
    assert module._stretch(FILE, (plain / stretched).astype(np.float32), 16, 5e5) == stretch


@pytest.mark.mistakes
@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append({}) }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{% set n = namespace(__class__=1) %}",
        "{% set n = namespace() %}{% set n._Namespace__attrs = 1 %}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{% for i in range(10000000) %}{% endfor %}",
    ],
)
def test_templates_that_reach_out_of_the_sandbox_are_refused(template):
    with pytest.raises(ValueError, match=r"template: expected a chat template that"):
        policies.chat_template(template + "{{ messages[0].x.y }}")([{"role": "user", "content": "hi"}])


@pytest.mark.mistakes
def test_templates_that_refuse_messages_or_lack_something_are_told():
    write = policies.chat_template("{% if messages[0].role != 'user' %}{{ raise_exception('users first') }}{% endif %}")
    with pytest.raises(ValueError, match=r"takes these messages, \['system'\]; got TemplateError: users first"):
        write([{"role": "system", "content": "be kind"}])
    with pytest.raises(ValueError, match="messages: expected texts role and content"):
        write([{"role": "user"}])
    for name in ("lipsum", "cycler", "joiner", "dict", "strftime_now"):
        with pytest.raises(ValueError, match=f"got UndefinedError: '{name}' is undefined"):
            policies.chat_template(f"{{{{ {name}() }}}}")([])
    with pytest.raises(ValueError, match="prompts: expected texts, for there is no chat template"):
        policies.encode_prompt(policies.byte_tokeniser(), [{"role": "user", "content": "hi"}])
    with pytest.raises(ValueError, match="prompts: expected texts, or lists of chat messages; got 3"):
        policies.encode_prompt(policies.byte_tokeniser(), 3)


@pytest.mark.once
def test_templates_write_loops_namespaces_and_json():
    template = (
        "{% set n = namespace(count=0) %}{% for m in messages %}{% set n.count = n.count + 1 %}"
        "{% if m.role == 'system' %}{% continue %}{% endif %}{{ m | tojson }}{% endfor %}{{ n.count }}"
    )
    write = policies.chat_template(template)
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "né"}]
    assert write(messages) == '{"role": "user", "content": "né"}2'
