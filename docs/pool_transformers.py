"""A table for `jaxval value --log-probs` with transformers: pool_transformers.py BASE PROMPTS.txt NAME=ADAPTER ..."""

import contextlib
import json
import sys
from pathlib import Path

import torch
from my_rewards import REWARDS  # {"helpful": a function of a prompt and a response to a number, ...}
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, prompts_file, *adapters = sys.argv[1:]
pairs = [text.split("=", 1) for text in adapters]
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), pairs[0][1], adapter_name=pairs[0][0])
for name, path in pairs[1:]:
    model.load_adapter(path, adapter_name=name)
names = ["reference", *(name for name, _ in pairs)]


def using(name):
    """The context in which the model is one policy."""
    if name == "reference":
        return model.disable_adapter()
    model.set_adapter(name)
    return contextlib.nullcontext()


with open("pool.jsonl", "w") as table, torch.no_grad():
    for prompt in Path(prompts_file).read_text().splitlines():
        message = [{"role": "user", "content": prompt}]
        asked = tokenizer.apply_chat_template(
            message, add_generation_prompt=True, return_dict=False, return_tensors="pt"
        )
        options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": 256}
        for drawn_from in names:
            with using(drawn_from):
                drawn = model.generate(input_ids=asked, num_return_sequences=16, **options)
            for ids in drawn[:, asked.shape[1] :]:
                ends = (ids == tokenizer.eos_token_id).nonzero()
                ids = ids[: ends[0, 0] + 1] if len(ends) else ids  # with the end token, without the padding after it
                text = tokenizer.decode(ids, skip_special_tokens=True)
                row = {"prompt": prompt, "response": text, "drawn_from": drawn_from}
                for name in names:
                    with using(name):
                        logits = model(input_ids=torch.cat([asked[0], ids])[None]).logits[0, asked.shape[1] - 1 : -1]
                    row[f"log_prob_{name}"] = logits.float().log_softmax(-1).gather(1, ids[:, None]).sum().item()
                row |= {f"reward_{reward}": float(of(prompt, text)) for reward, of in REWARDS.items()}
                table.write(json.dumps(row) + "\n")
