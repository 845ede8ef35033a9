"""Tokens a second of a published model's shape: scoring, a step of DPO on adapters, sampling; beside transformers.

    python -m benchmarks.language_models [--case CASE ...] [--quick] [--environment peft=PATH] [--out FOLDER]

Random weights of the shape of SmolLM2-135M, in float32. Cases: scoring one prompt with 8 responses, for which we read
the prompt once; a step of DPO on adapters in all layers, and in the last 6, below which our trunk is computed once for
all steps; and sampling 16 rows with a cache. The peers are transformers with peft, and TRL's trainer for the steps, on
the same weights and batches. The peak memory of each side is told, ours being at most 6 GB.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, Pair, sides_of
from benchmarks.peers import PEFT

PEERS = (PEFT,)
TINY = Path(__file__).resolve().parents[1] / "tests" / "golden" / "tied"
SHAPE = {"vocab": 49152, "width": 576, "hidden": 1536, "layers": 30, "heads": 9, "shared": 3, "length": 2048}
QUICK = {"vocab": 64, "width": 16, "hidden": 24, "layers": 8, "heads": 4, "shared": 2, "length": 64}
LIMIT = 1e-3  # of the largest number: sums over 128 tokens through 30 layers in float32

side = sides_of("language_models")


def scoring(bench: Bench, options: argparse.Namespace) -> None:
    """One prompt with 8 responses, each as long as the prompt."""
    tokens = 8 if options.quick else 128
    inputs = ids(options, prompts=(1, tokens), responses=(1, 8, tokens))
    race(bench, options, "scoring", inputs, items=8 * 2 * tokens, at_least=1.5)


def training(bench: Bench, options: argparse.Namespace, *, layers: int | None, at_least: float | None) -> None:
    """A step on 4 pairs, from random adapters of rank 8 on queries and values."""
    tokens, shape = (8, QUICK) if options.quick else (128, SHAPE)
    inputs = ids(options, prompts=(4, tokens), responses=(4, 2, tokens))
    depth = shape["layers"] if layers is None else layers
    rng = np.random.default_rng(options.seed + 1)
    head = shape["width"] // shape["heads"]
    for target, out in (("query", shape["width"]), ("value", shape["shared"] * head)):
        inputs[f"{target}_A"] = 0.05 * rng.normal(size=(depth, shape["width"], 8)).astype(np.float32)
        inputs[f"{target}_B"] = 0.05 * rng.normal(size=(depth, 8, out)).astype(np.float32)
    title = "a step of DPO, all layers" if layers is None else f"a step of DPO, last {layers} layers"
    race(bench, options, title, inputs, task="training", items=4 * 2 * 2 * tokens, at_least=at_least, layers=depth)


def sampling(bench: Bench, options: argparse.Namespace) -> None:
    """16 prompts, no two of them the same, continued at temperature 1."""
    tokens = 8 if options.quick else 128
    inputs = ids(options, prompts=(16, tokens), responses=(16, 1, 1))
    new = tokens // 4
    race(bench, options, "sampling", inputs, items=16 * new, at_least=1.0, compare=None, new_tokens=new)


def ids(options: argparse.Namespace, **shapes: tuple[int, ...]) -> Answers:
    rng, most = np.random.default_rng(options.seed), (QUICK if options.quick else SHAPE)["vocab"]
    return {name: rng.integers(3, most, size=shape) for name, shape in shapes.items()}


def race(
    bench: Bench,
    options: argparse.Namespace,
    title: str,
    inputs: Answers,
    *,
    items: int,
    at_least: float | None,
    task: str | None = None,
    compare: Any = "",
    **how: Any,
) -> None:
    with checkpoint(QUICK if options.quick else SHAPE, options.seed) as folder:
        sides = [side(peer.name, peer, task or title, items=items, path=str(folder), **how) for peer in (OURS, PEFT)]
        if task == "training":  # TRL's trainer, in the environment of peft
            sides.append(sides[1]._replace(name="trl", worker="language_models_trl"))
        pairs = [Pair(OURS.name, other.name, None if options.quick else at_least) for other in sides[1:]]
        sizes = {"weights": "tiny" if options.quick else "135 million", "tokens": items}
        most = {} if options.quick else {OURS.name: 6.0}
        bench.race(title, sizes, inputs, sides, pairs=pairs, compare=same if compare == "" else compare, gigabytes=most)


@contextmanager
def checkpoint(shape: dict[str, int], seed: int) -> Iterator[Path]:
    """A folder of random weights, as published models are; the tokeniser is that of the tests."""
    from safetensors.numpy import save_file

    rng, width, hidden = np.random.default_rng(seed), shape["width"], shape["hidden"]
    keys = shape["shared"] * (width // shape["heads"])
    sizes = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (hidden, width),
        "mlp.up_proj": (hidden, width),
        "mlp.down_proj": (width, hidden),
    }

    def normal(*size: int) -> np.ndarray:
        return rng.normal(scale=size[-1] ** -0.5, size=size).astype(np.float32)

    tensors = {"model.embed_tokens.weight": normal(shape["vocab"], width), "model.norm.weight": np.ones(width, "f4")}
    for layer in range(shape["layers"]):
        tensors |= {f"model.layers.{layer}.{name}.weight": normal(*size) for name, size in sizes.items()}
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{name}.weight"] = np.ones(width, np.float32)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape["vocab"],
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["shared"],
        "max_position_embeddings": shape["length"],
        "rope_theta": 100000.0,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        shutil.copy(TINY / "tokenizer.json", folder)
        yield folder


def same(_: Answers, ours: Answers, theirs: Answers) -> Agreement:
    gaps = [np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max() for name in theirs]
    return Agreement(float(max(gaps)), LIMIT, "of the largest number")


CASES: Cases = {
    "scoring": scoring,
    "training": partial(training, layers=None, at_least=1.0),
    "training-6": partial(training, layers=6, at_least=None),
    "sampling": sampling,
}

main = partial(run_benchmark, "language_models", __doc__, CASES, PEERS)

if __name__ == "__main__":
    sys.exit(main())
