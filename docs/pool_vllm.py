"""A table for `jaxval value --log-probs` with vLLM: python pool_vllm.py BASE PROMPTS.txt NAME=ADAPTER NAME=ADAPTER."""

import json
import sys
from pathlib import Path

from my_rewards import REWARDS  # {"helpful": a function of a prompt and a response to a number, ...}
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest

base, prompts_file, *adapters = sys.argv[1:]
pairs = [text.split("=", 1) for text in adapters]
policies = {"reference": None} | {name: LoRARequest(name, k, path) for k, (name, path) in enumerate(pairs, 1)}
model = LLM(base, enable_lora=True, max_lora_rank=64, generation_config="vllm")  # no defaults of the model's own
template = model.get_tokenizer().apply_chat_template
prompts = Path(prompts_file).read_text().splitlines()
asked = [template([{"role": "user", "content": p}], add_generation_prompt=True, return_dict=False) for p in prompts]
sample = SamplingParams(n=16, temperature=1.0, top_p=1.0, top_k=0, max_tokens=256)  # the same limit for every policy
draws = []  # prompt, what it was drawn from, tokens with the end token, text
for name, adapter in policies.items():
    outputs = model.generate([{"prompt_token_ids": ids} for ids in asked], sample, lora_request=adapter)
    draws += [(x, name, list(one.token_ids), one.text) for x, output in enumerate(outputs) for one in output.outputs]
score = SamplingParams(max_tokens=1, prompt_logprobs=0)
whole = [{"prompt_token_ids": asked[x] + ids} for x, _, ids, _ in draws]
scored = {name: model.generate(whole, score, lora_request=adapter) for name, adapter in policies.items()}
with open("pool.jsonl", "w") as table:
    for k, (x, name, ids, text) in enumerate(draws):
        row = {"prompt": prompts[x], "response": text, "drawn_from": name}
        for policy, outputs in scored.items():
            tokens = zip(outputs[k].prompt_logprobs[len(asked[x]) :], ids, strict=True)
            row[f"log_prob_{policy}"] = sum(entry[token].logprob for entry, token in tokens)
        row |= {f"reward_{reward}": float(of(prompts[x], text)) for reward, of in REWARDS.items()}
        table.write(json.dumps(row) + "\n")
