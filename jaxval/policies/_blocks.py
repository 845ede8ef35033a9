"""The layers of a Llama-shaped transformer as flax modules; `policies.transformer` makes a model of them.

A block leaves it to a function how tokens attend to each other, `attention(query, keys, values, kept)`: within a
sequence, from the responses of a prompt to the prompt and to themselves, or from one new token to what was kept.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

Attention = Callable[[Array, Array, Array, Any], tuple[Array, Any]]


def rotate(heads: Array, cosine: Array, sine: Array) -> Array:
    """Turn each pair (x_i, x_{i+d/2}) by its angle: the halves' convention of the published weights."""
    first, second = jnp.split(heads, 2, axis=-1)
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(turned, axis=-1).astype(heads.dtype)


def attend(query: Array, keys: Array, values: Array, seen: Array) -> Array:
    """softmax(q·k / √d) v over the slots that are seen, (rows, tokens, slots); groups of heads share a key."""
    rows, tokens, heads, width = query.shape
    shared = keys.shape[2]
    grouped = query.reshape(rows, tokens, shared, heads // shared, width)
    scores = jnp.einsum("btkgd,bskd->bkgts", grouped, keys)
    weights = _softmax(scores, seen[:, None, None], width).astype(values.dtype)
    return jnp.einsum("bkgts,bskd->btkgd", weights, values).reshape(query.shape)


def attend_to_both(query: Array, prompts: Any, own: Any, seen: tuple[Array, Array]) -> Array:
    """`attend` for responses (rows, responses, tokens, heads, width), whose slots are the prompt's and their own.

    The prompt's keys and values (rows, slots, heads, width) are held once for all its responses.
    """
    width, shared = query.shape[-1], own[0].shape[-2]
    grouped = query.reshape(*query.shape[:3], shared, -1, width)
    of_prompt = jnp.einsum("brtkgd,bpkd->brkgtp", grouped, prompts[0])
    of_own = jnp.einsum("brtkgd,brskd->brkgts", grouped, own[0])
    slots = of_prompt.shape[-1]
    shapes = [(*of_prompt.shape[:2], query.shape[2], size) for size in (slots, of_own.shape[-1])]
    both = jnp.concatenate([jnp.broadcast_to(part, shape) for part, shape in zip(seen, shapes, strict=True)], axis=-1)
    scores = jnp.concatenate([of_prompt, of_own], axis=-1)
    weights = _softmax(scores, both[:, :, None, None], width).astype(own[1].dtype)
    mixed = jnp.einsum("brkgtp,bpkd->brtkgd", weights[..., :slots], prompts[1])
    mixed += jnp.einsum("brkgts,brskd->brtkgd", weights[..., slots:], own[1])
    return mixed.reshape(query.shape)


def _softmax(scores: Array, seen: Array, width: int) -> Array:
    scores = (scores / math.sqrt(width)).astype(jnp.promote_types(scores.dtype, jnp.float32))  # for bfloat16 weights
    return nn.softmax(jnp.where(seen, scores, -jnp.inf))


def within(positions: Array, *, keep: bool = False) -> Attention:
    """Each token attends to the tokens of its sequence up to its own position; keys and values may be kept."""

    def attention(query: Array, keys: Array, values: Array, kept: Any) -> tuple[Array, Any]:
        slots = jnp.arange(keys.shape[1])[None, None, :]
        return attend(query, keys, values, slots <= positions[:, :, None]), (keys, values) if keep else None

    return attention


def after_prompts(slots: int, responses: int, lengths: Array) -> Attention:
    """A row is a prompt of `slots` slots, then its responses: they attend to the prompt and each to itself."""

    def attention(query: Array, keys: Array, values: Array, kept: Any) -> tuple[Array, Any]:
        rows = len(query)
        t = jnp.arange(slots)
        before = attend(query[:, :slots], keys[:, :slots], values[:, :slots], t[None, None, :] <= t[None, :, None])
        split = [part[:, slots:].reshape(rows, responses, -1, *part.shape[2:]) for part in (query, keys, values)]
        t = jnp.arange(split[0].shape[2])
        of_prompt = jnp.arange(slots)[None, None, None, :] < lengths[:, None, None, None]
        of_own = t[None, None, None, :] <= t[None, None, :, None]
        behind = attend_to_both(split[0], (keys[:, :slots], values[:, :slots]), split[1:], (of_prompt, of_own))
        return jnp.concatenate([before, behind.reshape(rows, -1, *query.shape[2:])], axis=1), None

    return attention


def after_kept(lengths: Array, used: Array) -> Attention:
    """One new token of each response attends to the prompt, to what was kept of the response, and to itself."""

    def attention(query: Array, keys: Array, values: Array, kept: Any) -> tuple[Array, Any]:
        prompts, own = kept[:2], kept[2:]
        own = [part.at[:, :, used].set(new, mode="drop") for part, new in zip(own, (keys, values), strict=True)]
        of_prompt = jnp.arange(prompts[0].shape[1])[None, None, None, :] < lengths[:, None, None, None]
        of_own = jnp.arange(own[0].shape[2])[None, None, None, :] <= used
        return attend_to_both(query[:, :, None], prompts, own, (of_prompt, of_own))[:, :, 0], tuple(own)

    return attention


def norm(epsilon: float, dtype: Any, name: str | None = None) -> nn.RMSNorm:
    """The norm scale · x / √(mean(x²) + epsilon)."""
    return nn.RMSNorm(epsilon=epsilon, param_dtype=dtype, name=name)


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
    attention: Attention

    @nn.compact
    def __call__(self, x: Array, angles: Any, kept: Any = None) -> tuple[Array, Any]:
        def linear(width: int, name: str) -> Linear:
            return Linear(width, self.dtype, name=name)

        cosine, sine = angles
        rows, tokens, width = x.shape

        def split(projected: Array, heads: int) -> Array:
            return projected.reshape(rows, tokens, heads, self.head_width)

        inner = norm(self.epsilon, self.dtype, "attention_norm")(x)
        query = rotate(split(linear(self.heads * self.head_width, "query")(inner), self.heads), cosine, sine)
        shared = self.key_value_heads
        keys = rotate(split(linear(shared * self.head_width, "key")(inner), shared), cosine, sine)
        values = split(linear(shared * self.head_width, "value")(inner), shared)
        mixed, kept = self.attention(query, keys, values, kept)
        x = x + linear(width, "output")(mixed.reshape(rows, tokens, -1))
        inner = norm(self.epsilon, self.dtype, "hidden_norm")(x)
        gated = nn.silu(linear(self.hidden, "gate")(inner)) * linear(self.hidden, "up")(inner)
        return x + linear(width, "down")(gated), kept


class Transformer(nn.Module):
    """Embedding, `layers` blocks, a norm, and scores of the vocabulary; `policies.transformer` runs them in parts."""

    vocabulary: int
    width: int
    layers: int
    tied: bool
    block: Mapping[str, Any]

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        """What the parameters are made from; only their shapes and their start matter here."""
        dtype, head = self.block["dtype"], self.block["head_width"]
        nothing = jnp.zeros((*tokens.shape, 1, head // 2))
        layers = nn.scan(
            Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.layers,
        )(**self.block, attention=lambda query, keys, values, kept: (query, None), name="layers")
        x = nn.Embed(self.vocabulary, self.width, param_dtype=dtype, name="embedding")(tokens)
        x, _ = layers(x, (nothing, nothing))
        x = norm(self.block["epsilon"], dtype, "norm")(x)
        return x if self.tied else Linear(self.vocabulary, dtype, name="scores")(x)
