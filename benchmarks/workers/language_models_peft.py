"""The tasks of `benchmarks.language_models` by transformers and peft."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

PACKAGES = ("torch", "transformers", "peft", "numpy")
BETA, RANK, ALPHA, RATE = 0.1, 8, 16.0, 1e-3

Run = Callable[[], dict[str, np.ndarray]]


def read(path: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


def log_probs(model: Any, inputs: dict[str, np.ndarray]) -> torch.Tensor:
    """(prompts, responses) sums over the response, from whole sequences and logits of the response alone."""
    rows, count, width = inputs["responses"].shape
    prompts = np.repeat(inputs["prompts"][:, None], count, axis=1)
    sequences = torch.tensor(np.concatenate([prompts, inputs["responses"]], axis=2).reshape(rows * count, -1))
    logits = model(sequences, logits_to_keep=width + 1).logits[:, :-1]
    chosen = logits.gather(2, sequences[:, -width:, None])[..., 0] - logits.logsumexp(dim=2)
    return chosen.sum(dim=1).reshape(rows, count)


def scoring(inputs: dict[str, np.ndarray], *, path: str) -> Run:
    """The log-probabilities of responses."""
    model = read(path).eval()

    def run() -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"log_probs": log_probs(model, inputs).numpy()}

    return run


def training(inputs: dict[str, np.ndarray], *, path: str, layers: int) -> Run:
    """The loss of a step of DPO, its gradient, and a step of AdamW, from the same adapters every time."""
    with torch.no_grad():
        reference = log_probs(read(path), inputs)
    model, parts = adapted(path, layers)

    def run() -> dict[str, np.ndarray]:
        start(parts, inputs)
        optimiser = torch.optim.AdamW(parts.values(), lr=RATE, weight_decay=1e-4)
        found = log_probs(model, inputs) - reference
        loss = -torch.nn.functional.logsigmoid(BETA * (found[:, 0] - found[:, 1])).mean()
        loss.backward()
        optimiser.step()
        return {"loss": loss.detach().numpy(), **slopes(parts, layers)}

    return run


def adapted(path: str, layers: int) -> tuple[Any, dict[tuple[str, str, int], torch.nn.Parameter]]:
    """The model with adapters in its last layers, and their parameters by target, part and layer."""
    base = read(path)
    total = base.config.num_hidden_layers
    numbers = list(range(total - layers, total))
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"], layers_to_transform=numbers)
    model = get_peft_model(base, config).train()
    parts = {}
    for name, parameter in model.named_parameters():
        for short, target in (("q_proj", "query"), ("v_proj", "value")):
            for part in "AB":
                if f"{short}.lora_{part}" in name:
                    parts[target, part, int(name.split(".layers.")[1].split(".")[0]) - (total - layers)] = parameter
    return model, parts


def start(parts: dict[tuple[str, str, int], torch.nn.Parameter], inputs: dict[str, np.ndarray]) -> None:
    """The adapters from which every step goes out."""
    with torch.no_grad():
        for (target, part, layer), parameter in parts.items():
            parameter.copy_(torch.tensor(inputs[f"{target}_{part}"][layer].T))
            parameter.grad = None


def slopes(parts: dict[tuple[str, str, int], torch.nn.Parameter], layers: int) -> dict[str, np.ndarray]:
    """The gradient in every B."""
    return {
        target: np.stack([parts[target, "B", layer].grad.numpy().T for layer in range(layers)])
        for target in ("query", "value")
    }


def sampling(inputs: dict[str, np.ndarray], *, path: str, new_tokens: int) -> Run:
    """Continuations at temperature 1, with no other change of the probabilities."""
    model = read(path).eval()
    prompts = torch.tensor(inputs["prompts"])
    how = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0, "pad_token_id": 2}

    def run() -> dict[str, np.ndarray]:
        with torch.no_grad():
            mask = torch.ones_like(prompts)
            drawn = model.generate(
                prompts, attention_mask=mask, max_new_tokens=new_tokens, min_new_tokens=new_tokens, **how
            )
        return {"tokens": drawn[:, prompts.shape[1] :].numpy()}

    return run


TASKS = {"scoring": scoring, "training": training, "sampling": sampling}
