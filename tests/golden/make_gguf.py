"""Make `tests/golden/tiny.gguf`, a random model in GGUF, and what `transformers` computes from that file.

    pip install torch==2.13.0 transformers==5.23.0 gguf==0.19.0 && python tests/golden/make_gguf.py

As SmolLM2 is published: matrices in Q4_1, the embedding in Q8_0, tied, grouped heads, merges of bytes with digits one
by one, ChatML. The ids of the text come from the tokeniser itself, before the file.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
FILE = HERE / "tiny.gguf"
TEXT = "the cat and the dog sat on the mat; then the hen came, and that was the end of it.\n\n It's 2024, isn't it? né"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a hen<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CHAT = [
    {"role": "user", "content": "the cat?"},
    {"role": "assistant", "content": "the dog"},
    {"role": "user", "content": "and 12 hens"},
]
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def make_tokeniser() -> Tokenizer:
    tokeniser = Tokenizer(models.BPE())
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokeniser.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokeniser.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=288, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokeniser.train_from_iterator([TEXT] * 3, trainer)
    tokeniser.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    return tokeniser


def permute(rows: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp's converter: coordinate i of the first half beside coordinate i of the second."""
    out, width = rows.shape
    return rows.reshape(heads, 2, out // heads // 2, width).swapaxes(1, 2).reshape(out, width)


def write(model: LlamaForCausalLM, tokeniser: Tokenizer) -> None:
    config = model.config
    writer = gguf.GGUFWriter(FILE, "llama")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    words = sorted(tokeniser.get_vocab(), key=tokeniser.get_vocab().get)
    writer.add_token_list(words)
    writer.add_token_types([3 if word in SPECIAL else 1 for word in words])
    writer.add_token_merges([" ".join(merge) for merge in json.loads(tokeniser.to_str())["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    kinds = gguf.GGMLQuantizationType
    for name, tensor in model.state_dict().items():
        array = tensor.numpy()
        if name == "lm_head.weight":
            continue
        if name.startswith("model.layers."):
            _, _, layer, module = name.removesuffix(".weight").split(".", 3)
            own = NAMES[module]
            array = permute(array, heads[own]) if own in heads else array
            own = f"blk.{layer}.{own}"
        else:
            own = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}[name.removesuffix(".weight")]
        kind = kinds.F32 if array.ndim == 1 else kinds.Q8_0 if own == "token_embd" else kinds.Q4_1
        writer.add_tensor(f"{own}.weight", gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    torch.manual_seed(0)
    tokeniser = make_tokeniser()
    size = tokeniser.get_vocab_size()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, rms_norm_eps=1e-4,
            rope_parameters={"rope_type": "default", "rope_theta": 700.0}, tie_word_embeddings=True,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        if parameter.ndim == 1:  # the norms' scales, ones at the start, would hide a mistake
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    write(model, tokeniser)
    read = AutoModelForCausalLM.from_pretrained(HERE, gguf_file=FILE.name, dtype=torch.float32).eval()
    ids = tokeniser.encode(TEXT).ids
    with torch.no_grad():
        logits = read(torch.tensor([ids[:12]])).logits.numpy()[:, ::4]
        greedy = read.generate(torch.tensor([ids[:5]]), max_new_tokens=8, do_sample=False, eos_token_id=None)[0, 5:]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokeniser, chat_template=TEMPLATE)
    chat = fast.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    golden = {
        "text": TEXT,
        "ids": ids,
        "logits": [[[round(float(x), 6) for x in row] for row in part] for part in logits],
        "greedy": greedy.tolist(),
        "messages": CHAT,
        "chat": chat,
        "chat_ids": fast(chat, add_special_tokens=False)["input_ids"],
    }
    (HERE / "tiny.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")
    print(FILE.stat().st_size, size, float(logits.std()), chat)


if __name__ == "__main__":
    main()
