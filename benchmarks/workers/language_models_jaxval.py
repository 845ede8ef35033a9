"""The tasks of `benchmarks.language_models` by jaxval."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxval
from jaxval import policies
from jaxval.alignment import dpo
from jaxval.types import Grouped

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "optax")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"
BETA, RANK, ALPHA, RATE = 0.1, 8, 16.0, 1e-3

Run = Callable[[], dict[str, np.ndarray]]


def scoring(inputs: dict[str, np.ndarray], *, path: str) -> Run:
    """The log-probabilities of responses, their prompt read once."""
    model, params, _ = policies.read_llama(path)
    grouped = group(inputs)
    return lambda: {
        "log_probs": np.asarray(policies.score_responses(model, params, grouped).sum(axis=2)),
    }


def training(inputs: dict[str, np.ndarray], *, path: str, layers: int) -> Run:
    """The loss of a step of DPO, its gradient, and the adapters after a step of AdamW."""
    base, params, _ = policies.read_llama(path)
    model = policies.low_rank(base, params, rank=RANK, alpha=ALPHA, layers=layers)
    policy = policies.over_catalogue(model, inputs["prompts"].tolist(), inputs["responses"].tolist())
    names = ("query", "value")
    start = {"layers": {name: {part: jnp.asarray(inputs[f"{name}_{part}"]) for part in "AB"} for name in names}}
    rows = jnp.arange(len(inputs["prompts"]))
    both = jnp.broadcast_to(jnp.arange(2)[None, :], (len(rows), 2))
    zero = jax.tree.map(jnp.zeros_like, start)
    reference = policy.log_probs(zero, rows, both)
    optimiser = optax.adamw(RATE)
    state = optimiser.init(start)

    @jax.jit
    def step(log_probs: Any, adapters: Any, state: Any) -> Any:
        def loss(adapters: Any) -> Any:
            found = log_probs(adapters, rows, both)
            each = jax.vmap(lambda pair, base: dpo(pair[0], pair[1], base[0], base[1], beta=BETA))
            return jnp.mean(each(found, reference))

        value, slopes = jax.value_and_grad(loss)(adapters)
        moves, state = optimiser.update(slopes, state, adapters)
        return value, slopes, optax.apply_updates(adapters, moves), state

    def run() -> dict[str, np.ndarray]:
        value, slopes, *_ = jax.block_until_ready(step(policy.log_probs, start, state))
        of = {name: np.asarray(slopes["layers"][name]["B"]) for name in names}
        return {"loss": np.asarray(value), **of}

    return run


def sampling(inputs: dict[str, np.ndarray], *, path: str, new_tokens: int) -> Run:
    """Continuations at temperature 1."""
    model, params, _ = policies.read_llama(path)
    prompts = inputs["prompts"], np.full(len(inputs["prompts"]), inputs["prompts"].shape[1])
    keys = iter(jax.random.split(jax.random.key(0), 1000))
    return lambda: {
        "tokens": np.asarray(policies.sample(next(keys), model, params, prompts, num_tokens=new_tokens).tokens),
    }


def group(inputs: dict[str, np.ndarray]) -> Grouped:
    prompts, responses = inputs["prompts"], inputs["responses"]
    lengths = np.full(len(prompts), prompts.shape[1]), np.full(responses.shape[:2], responses.shape[2])
    return Grouped(prompts, lengths[0], responses, lengths[1])


TASKS = {"scoring": scoring, "training": training, "sampling": sampling}
