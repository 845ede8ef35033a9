"""The tasks of `benchmarks.adapters` by transformers and peft."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

PACKAGES = ("torch", "transformers", "peft", "gguf", "numpy")

Run = Callable[[], dict[str, np.ndarray]]


def base(inputs: dict[str, np.ndarray], *, path: str) -> Run:
    """The logits of the checkpoint."""
    return _logits(_read(path), inputs)


def adapters(inputs: dict[str, np.ndarray], *, path: str, folder: str) -> Run:
    """The logits with the adapter in the folder."""
    return _logits(PeftModel.from_pretrained(_read(path), folder), inputs)


def _read(path: str) -> Any:
    file = Path(path)
    if file.suffix == ".gguf":
        return AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


def _logits(model: Any, inputs: dict[str, np.ndarray]) -> Run:
    tokens = torch.tensor(inputs["tokens"])
    model.eval()

    def run() -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"logits": model(tokens).logits.numpy()}

    return run


TASKS = {"base": base, "adapters": adapters}
