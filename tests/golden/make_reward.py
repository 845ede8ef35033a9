"""Make `tests/golden/reward`, a random LlamaForSequenceClassification, and the rewards that `transformers` computes.

    pip install torch==2.13.0 transformers==5.23.0 && python tests/golden/make_reward.py

It has the tokeniser of `tests/golden/tied`. Two labels, so that a reward is a vector.
"""

import json
import shutil
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

HERE = Path(__file__).parent
FOLDER = HERE / "reward"
PROMPTS = ["the cat sat", "the dog"]
RESPONSES = [["on the mat", "the hen came and that was the end"], ["came then"]]


def main() -> None:
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.5, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, num_labels=2, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForSequenceClassification(config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # the norms' scales, ones at the start, would hide a mistake
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    model.save_pretrained(FOLDER)
    shutil.copy(HERE / "tied" / "tokenizer.json", FOLDER)
    tokeniser = PreTrainedTokenizerFast(tokenizer_file=str(FOLDER / "tokenizer.json"))
    rewards = []
    for prompt, responses in zip(PROMPTS, RESPONSES, strict=True):
        rows = [[1, *ids(tokeniser, prompt), *ids(tokeniser, response), 2] for response in responses]
        with torch.no_grad():
            rewards.append([model(torch.tensor([row])).logits[0].tolist() for row in rows])
    golden = {"prompts": PROMPTS, "responses": RESPONSES, "rewards": rewards}
    (FOLDER / "golden.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")
    print(rewards)


def ids(tokeniser: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokeniser(text, add_special_tokens=False)["input_ids"]


if __name__ == "__main__":
    main()
