"""The layers of a Llama-shaped transformer as flax modules; `policies.transformer` makes a model of them."""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array


def rotate(heads: Array, cosine: Array, sine: Array) -> Array:
    """Turn each pair (x_i, x_{i+d/2}) by its angle: the halves' convention of the published weights."""
    first, second = jnp.split(heads, 2, axis=-1)
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(turned, axis=-1).astype(heads.dtype)


def attend(query: Array, keys: Array, values: Array, positions: Array) -> Array:
    """softmax(q·k / √d) v over the slots up to each query's own position; heads in groups share a key and a value."""
    rows, tokens, heads, width = query.shape
    slots, shared = keys.shape[1:3]
    grouped = query.reshape(rows, tokens, shared, heads // shared, width)
    scores = jnp.einsum("btkgd,bskd->bkgts", grouped, keys) / math.sqrt(width)
    seen = jnp.arange(slots)[None, None, :] <= positions[:, :, None]
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))  # bfloat16 weights sum in float32
    weights = nn.softmax(jnp.where(seen[:, None, None], scores, -jnp.inf)).astype(values.dtype)
    return jnp.einsum("bkgts,bskd->btkgd", weights, values).reshape(rows, tokens, heads * width)


class Linear(nn.Module):
    """x W, or x W + (x A) B if low-rank adapters are attached to the parameters (`policies.adapters.attach`)."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.width), self.dtype)
        y = x @ kernel
        if self.has_variable("params", "A"):
            y = y + (x @ self.get_variable("params", "A")) @ self.get_variable("params", "B")
        return y


class Block(nn.Module):
    """h = x + attention(norm(x)); h + down(silu(gate(norm(h))) · up(norm(h)))."""

    heads: int
    key_value_heads: int
    head_width: int
    hidden: int
    epsilon: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, angles: Any, cache: Any) -> tuple[Array, Any]:
        def linear(width: int, name: str) -> Linear:
            return Linear(width, self.dtype, name=name)

        def norm(name: str) -> nn.RMSNorm:
            return nn.RMSNorm(epsilon=self.epsilon, param_dtype=self.dtype, name=name)

        positions, cosine, sine = angles
        rows, tokens, width = x.shape

        def split(projected: Array, heads: int) -> Array:
            return projected.reshape(rows, tokens, heads, self.head_width)

        inner = norm("attention_norm")(x)
        query = rotate(split(linear(self.heads * self.head_width, "query")(inner), self.heads), cosine, sine)
        shared = self.key_value_heads
        keys = rotate(split(linear(shared * self.head_width, "key")(inner), shared), cosine, sine)
        values = split(linear(shared * self.head_width, "value")(inner), shared)
        if cache is not None:
            row = jnp.arange(rows)[:, None]
            keys, values = cache[0].at[row, positions].set(keys), cache[1].at[row, positions].set(values)
        x = x + linear(width, "output")(attend(query, keys, values, positions))
        inner = norm("hidden_norm")(x)
        gated = nn.silu(linear(self.hidden, "gate")(inner)) * linear(self.hidden, "up")(inner)
        return x + linear(width, "down")(gated), (None if cache is None else (keys, values))


class Transformer(nn.Module):
    """Embedding, `layers` blocks, a norm, and scores of the vocabulary."""

    vocabulary: int
    width: int
    layers: int
    tied: bool
    block: Mapping[str, Any]
    frequencies: tuple[float, ...]

    @nn.compact
    def __call__(self, tokens: Array, positions: Array, cache: Any, ends: Array | None) -> tuple[Array, Any]:
        dtype = self.block["dtype"]
        embedding = nn.Embed(self.vocabulary, self.width, param_dtype=dtype, name="embedding")
        turns = positions[:, :, None, None] * jnp.asarray(self.frequencies)[None, None, None, :]
        layers = nn.scan(
            Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0),
            length=self.layers,
        )(**self.block, name="layers")
        x, cache = layers(embedding(tokens), (positions, jnp.cos(turns), jnp.sin(turns)), cache)
        if ends is not None:  # only these are scored: a vocabulary is wide
            x = x[jnp.arange(len(ends)), ends][:, None]
        x = nn.RMSNorm(epsilon=self.block["epsilon"], param_dtype=dtype, name="norm")(x)
        if self.tied:
            return embedding.attend(x), cache
        return Linear(self.vocabulary, dtype, name="scores")(x), cache
