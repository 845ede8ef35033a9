"""The tasks of `benchmarks.transformer` by jaxval."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxval
from jaxval import policies

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
VERSIONS = {"jaxval": jaxval.__version__, "precision": "float64" if jax.config.jax_enable_x64 else "float32"}
DEVICE = f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}"

Run = Callable[[], dict[str, np.ndarray]]


def build(shape: dict[str, int]) -> tuple[Any, Any]:
    model = policies.transformer(**shape)
    return model, model.init(jax.random.key(0))


def pairs(inputs: dict[str, np.ndarray], shape: dict[str, int]) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """A policy over as many pairs as there are prompts: response 0 chosen, 1 rejected."""
    model, params = build(shape)
    prompts, responses = inputs["prompts"].tolist(), inputs["responses"].tolist()
    contexts = np.arange(len(prompts))
    return policies.over_catalogue(model, prompts, responses), params, contexts, np.tile([0, 1], (len(prompts), 1))


def forward(inputs: dict[str, np.ndarray], *, shape: dict[str, int]) -> Run:
    """The log-probabilities of both responses of every pair."""
    policy, params, contexts, ids = pairs(inputs, shape)
    return lambda: {"log_probs": np.asarray(policy.log_probs(params, contexts, ids))}


def train(inputs: dict[str, np.ndarray], *, shape: dict[str, int], batch_size: int | None = None) -> Run:
    """The gradient of the mean of -log σ(β (log π(y+|x) - log π(y-|x))), and a step along it."""
    policy, params, contexts, ids = pairs(inputs, shape)
    if batch_size is not None:
        model, _ = build(shape)
        both = inputs["prompts"].tolist(), inputs["responses"].tolist()
        policy = policies.over_catalogue(model, *both, batch_size=batch_size)

    def loss(params: Any) -> Any:
        log_probs = policy.log_probs(params, contexts, ids)
        return -jnp.mean(jax.nn.log_sigmoid(0.1 * (log_probs[:, 0] - log_probs[:, 1])))

    @jax.jit
    def step(params: Any) -> tuple[Any, Any, Any]:
        value, slope = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda leaf, down: leaf - 1e-3 * down, params, slope), value, slope["norm"]["scale"]

    def run() -> dict[str, np.ndarray]:
        _, value, slope = jax.block_until_ready(step(params))
        return {"loss": np.asarray(value), "slope": np.asarray(slope)}

    return run


def sample(inputs: dict[str, np.ndarray], *, shape: dict[str, int], num_tokens: int, cache: bool) -> Run:
    """Continue every prompt."""
    model, params = build(shape)
    tokens = jnp.asarray(inputs["prompts"])
    prompts = (tokens, jnp.full(len(tokens), tokens.shape[1]))

    def run() -> dict[str, np.ndarray]:
        found = policies.sample(jax.random.key(1), model, params, prompts, num_tokens=num_tokens, cache=cache)
        return {"tokens": np.asarray(found.tokens)}

    return run


TASKS = {"forward": forward, "train": train, "sample": sample}
