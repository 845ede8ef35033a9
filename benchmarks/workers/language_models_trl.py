"""A step of `benchmarks.language_models` by TRL's trainer of DPO, on the same model and adapters as with peft."""

from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from benchmarks.workers import language_models_peft

PACKAGES = ("torch", "transformers", "peft", "trl", "numpy")

Run = Callable[[], dict[str, np.ndarray]]


def training(inputs: dict[str, np.ndarray], *, path: str, layers: int) -> Run:
    """The loss of a step of DPO, its gradient, and a step of AdamW, the reference's numbers being known."""
    with torch.no_grad():
        reference = language_models_peft.log_probs(language_models_peft.read(path), inputs)
    model, parts = language_models_peft.adapted(path, layers)
    trainer = of_model(model, path)
    batch = trainer.data_collator(
        [
            {
                "prompt_ids": prompt,
                "chosen_ids": chosen,
                "rejected_ids": rejected,
                "ref_chosen_logps": of_chosen,
                "ref_rejected_logps": of_rejected,
            }
            for prompt, (chosen, rejected), (of_chosen, of_rejected) in zip(
                inputs["prompts"].tolist(), inputs["responses"].tolist(), reference.tolist(), strict=True
            )
        ]
    )

    def run() -> dict[str, np.ndarray]:
        language_models_peft.start(parts, inputs)
        optimiser = torch.optim.AdamW(parts.values(), lr=language_models_peft.RATE, weight_decay=1e-4)
        loss = trainer.training_step(trainer.model, batch)
        optimiser.step()
        return {"loss": loss.numpy(), **language_models_peft.slopes(parts, layers)}

    return run


def of_model(model: Any, path: str) -> DPOTrainer:
    """A trainer of the model; the one pair that it needs to be made is never used."""
    tokens = PreTrainedTokenizerFast(tokenizer_file=f"{path}/tokenizer.json")
    tokens.eos_token = tokens.pad_token = tokens.convert_ids_to_tokens(2)
    pair = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    with TemporaryDirectory() as folder:
        options = DPOConfig(
            output_dir=folder,
            beta=language_models_peft.BETA,
            per_device_train_batch_size=1,
            precompute_ref_log_probs=True,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        trainer = DPOTrainer(model=model, args=options, train_dataset=pair, processing_class=tokens)
    trainer.current_gradient_accumulation_steps = 1  # what its loop of training would set
    return trainer


TASKS = {"training": training}
