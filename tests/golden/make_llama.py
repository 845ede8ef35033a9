"""Make the tiny checkpoints of `tests/golden` and what the `transformers` implementation computes from them.

    pip install torch==2.13.0 transformers==5.23.0 && python tests/golden/make_llama.py

Three randomly initialised models, saved as published ones are: `tied` (bfloat16 in one file, grouped heads, a begin
token in front), `untied` (float32 in several files, stretched rotary frequencies, heads of a width of their own), and
beside each its logits in float32 on two rows of tokens, its greedy continuation and the ids of a text.
"""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
TEXT = "the cat and the dog sat on the mat; then the hen came, and that was the end of it."
COMMON = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "initializer_range": 0.5, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": None, "attention_bias": False,
}  # fmt: skip
STRETCHED = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 500.0,
}
CASES = {
    "tied": (
        {"num_key_value_heads": 2, "tie_word_embeddings": True, "rms_norm_eps": 1e-3},
        torch.bfloat16,
        "1MB",
    ),
    "untied": (
        {"num_key_value_heads": 4, "tie_word_embeddings": False, "head_dim": 8, "rope_parameters": STRETCHED},
        torch.float32,
        "16KB",
    ),
}


def make_tokeniser(folder: Path, begins: bool) -> PreTrainedTokenizerFast:
    tokeniser = Tokenizer(models.BPE(unk_token="<unk>"))
    tokeniser.pre_tokenizer = pre_tokenizers.Metaspace()
    tokeniser.decoder = decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    tokeniser.train_from_iterator([TEXT] * 3, trainers.BpeTrainer(vocab_size=60, special_tokens=special))
    if begins:
        tokeniser.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokeniser.save(str(folder / "tokenizer.json"))
    return PreTrainedTokenizerFast(tokenizer_object=tokeniser)


def main() -> None:
    rng = np.random.default_rng(0)
    for name, (own, dtype, shard) in CASES.items():
        folder = HERE / name
        torch.manual_seed(len(name))
        model = LlamaForCausalLM(LlamaConfig(**COMMON, **own)).eval()
        for parameter in model.parameters():
            if parameter.ndim == 1:  # the norms' scales, ones at the start, would hide a mistake
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
        model.to(dtype).save_pretrained(folder, max_shard_size=shard)
        tokeniser = make_tokeniser(folder, begins=name == "tied")
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokens = rng.integers(0, 64, size=(2, 12))
        with torch.no_grad():
            logits = model(torch.tensor(tokens)).logits.numpy()
            greedy = model.generate(
                torch.tensor(tokens[:1, :5]), max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0
            )[0, 5:]
        text = "the hen sat on it"
        ids = tokeniser(text, add_special_tokens=False)["input_ids"]
        golden = {
            "tokens": tokens.tolist(),
            "logits": [[[round(float(x), 6) for x in row] for row in rows] for rows in logits],
            "greedy": greedy.tolist(),
            "text": text,
            "ids": ids,
            "ids_with_begin": tokeniser(text)["input_ids"],
            "decoded": tokeniser.decode([1, *ids, 2], skip_special_tokens=True),
        }
        (folder / "golden.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")
        (folder / "generation_config.json").unlink(missing_ok=True)
        print(name, sorted(path.name for path in folder.iterdir()), logits.std())


if __name__ == "__main__":
    main()
