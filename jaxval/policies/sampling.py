"""Sampling responses from any `SequenceModel`, with its cache or by reading the whole sequence anew at every step."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxval import _checks
from jaxval.policies.transformer import check_lengths, check_tokens, held_by, rebind
from jaxval.types import BadArgument, Params, SequenceModel

BLOCK = 256  # tokens whose weights are summed together when one is drawn

__all__ = ["Samples", "pad_sequences", "sample"]


class Samples(NamedTuple):
    """Sampled responses.

    Attributes:
        tokens: (B, num_tokens) ids; after an end token, the end token. Under `jit` a row whose logits are NaN is -1.
        lengths: (B,) how many of them count, the end token included.
    """

    tokens: Int[Array, "rows tokens"]
    lengths: Int[Array, "rows"]


def pad_sequences(
    sequences: Sequence[Sequence[int]], *, pad: int = 0
) -> tuple[Int[Array, "rows tokens"], Int[Array, "rows"]]:
    """Sequences of different lengths as one array, padded on the right, and their lengths.

    Args:
        sequences: (rows,) sequences of ids, none of them empty.
        pad: the id that fills up rows.

    Returns:
        `(tokens, lengths)`.

    Raises:
        ValueError: if there is no sequence, an empty one, or one that is not of whole numbers.

    Example:
        >>> tokens, lengths = pad_sequences([[1, 2, 3], [4]])
        >>> tokens.tolist(), lengths.tolist()
        ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    return _padded("sequences", sequences, pad)


def _padded(name: str, sequences: Any, pad: int) -> tuple[Array, Array]:
    """`pad_sequences`, whose errors call the argument `name`."""
    expected = "sequences of token ids, one list of whole numbers each"
    _checks.check_list(name, [sequences] if isinstance(sequences, str) else sequences, expected)
    for ids in [sequences] if isinstance(sequences, str) else sequences:
        if isinstance(ids, str):
            advice = "encode text first, such as [tokeniser.encode(text) for text in texts]; policies.byte_tokeniser()"
            raise BadArgument(name, expected=expected, got=f"the text {ids[:40]!r}", advice=f"{advice} is a tokeniser")
        given = _checks.real_array(name, ids, expected)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise BadArgument(name, expected=expected, got=f"{ids!r}")
    lengths = [len(ids) for ids in sequences]
    if not lengths or min(lengths) == 0:
        raise BadArgument(
            name, expected="at least one sequence, and at least one token in each", got=f"lengths {lengths}"
        )
    if not isinstance(pad, int | np.integer) or not -(2**31) <= pad < 2**31:
        raise BadArgument("pad", expected="an id, a whole number of 32 bits", got=f"{pad!r:.80}")
    tokens = np.full((len(lengths), max(lengths)), pad, dtype=np.int32)
    for row, ids in zip(tokens, sequences, strict=True):
        row[: len(ids)] = ids
    return jnp.asarray(tokens), jnp.asarray(lengths)


def sample(
    key: Any,
    model: SequenceModel,
    params: Params,
    prompts: Any,
    *,
    num_tokens: int,
    responses: int = 1,
    temperature: float = 1.0,
    cache: bool = True,
    end: int | None = None,
) -> Samples:
    """Continue prompts: y_t drawn from softmax(logits(x, y_<t) / temperature), one token after the other.

    A prompt is read once for all its responses; response j of prompt i is row i * responses + j. Row i draws its token
    t with a key made of `key`, i and t alone, so that a row's sample does not depend on the other rows, nor on
    `num_tokens`, nor (up to rounding of the logits) on whether the cache is used.

    Args:
        key: a JAX random key.
        model: next-token logits. A model without `start` and `advance` is used without a cache.
        params: its parameters.
        prompts: (rows,) sequences of ids, or `(tokens (B, P), lengths (B,))` padded on the right.
        num_tokens: the most tokens of a response.
        responses: how many responses are drawn to each prompt.
        temperature: 0 takes the most likely token, the first of several equally likely ones.
        cache: whether to use the model's cache, and not to read every token again at every step.
        end: the id that ends a response; None means that no id does.

    Returns:
        The responses.

    Raises:
        ValueError: if a prompt is empty or a text, an id is none of the model's, a prompt and `num_tokens` are longer
            than the model's context, the temperature is negative, or the model's logits are NaN.

    Example:
        >>> up = SequenceModel(lambda key: jnp.eye(3), lambda params, tokens: params[(tokens + 1) % 3], 3, 8)
        >>> found = sample(jax.random.key(0), up, jnp.eye(3), [[0], [1, 0]], num_tokens=3, temperature=0.0, end=2)
        >>> found.tokens.tolist(), found.lengths.tolist()
        ([[1, 2, 2], [1, 2, 2]], [2, 2])
    """
    _checks.check_key(key)
    _checks.check_record("model", model, SequenceModel)
    _checks.check_leaves("params", params)
    texts = isinstance(prompts, tuple) and any(isinstance(part, str) for part in prompts)
    tokens, lengths = prompts if isinstance(prompts, tuple) and not texts else _padded("prompts", prompts, 0)
    tokens = check_tokens(tokens, model.vocabulary, model.length, name="prompts")
    lengths = check_lengths(lengths, tokens, name="prompts")
    _checks.check_size("num_tokens", num_tokens)
    _checks.check_size("responses", responses)
    longest = int(np.max(np.asarray(lengths))) if _checks.concrete(lengths) else tokens.shape[1]
    if longest + num_tokens > model.length:
        raise BadArgument(
            "num_tokens",
            expected=f"prompt and response of at most length={model.length} tokens together",
            got=f"{longest} + {num_tokens}",
        )
    if end is not None and (not isinstance(end, int | np.integer) or not 0 <= end < model.vocabulary):
        raise BadArgument("end", expected=f"an id in [0, {model.vocabulary}), or None", got=end)
    heat = _checks.check_number(
        "temperature", temperature, low=0.0, high=float("inf"), expected="a number of at least 0"
    )
    _checks.check_memory("responses", len(tokens), responses, max(longest + num_tokens, model.vocabulary))
    keep = _checks.check_flag("cache", cache) and model.start is not None and model.advance is not None
    prompts = tokens[:, :longest]
    how = {"model": model, "steps": num_tokens, "copies": responses, "keep": keep, "end": end}
    samples, lost = _sample(key, held_by(model), params, prompts, lengths, heat, **how)
    if _checks.concrete(lost) and bool(jnp.any(lost)):
        raise BadArgument(
            "params",
            expected="a model whose logits are numbers",
            got=f"NaN in row {int(jnp.argmax(lost))}",
            advice=("if the model is a token_arithmetic, the members of its coalition may exclude each other's tokens"),
        )
    return samples


@functools.partial(jax.jit, static_argnames=("model", "steps", "copies", "keep", "end"))
def _sample(
    key: Array,
    held: Any,
    params: Params,
    tokens: Array,
    lengths: Array,
    temperature: Array,
    *,
    model: SequenceModel,
    steps: int,
    copies: int,
    keep: bool,
    end: int | None,
) -> tuple[Samples, Array]:
    """The samples, and (B,) whether a token of the row was to be drawn from NaN."""
    rows = jnp.arange(len(tokens) * copies)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)
    model = rebind(model, held)
    begin, advance = (model.start, model.advance) if keep else _without_cache(model)

    def step(carry: tuple[Array, Any, Array, Array], t: Array) -> tuple[Any, tuple[Array, Array]]:
        logits, memory, ended, lost = carry
        lost |= ~ended & jnp.any(jnp.isnan(logits), axis=-1)
        drawn = _draw(jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, t), logits, temperature)
        chosen = (drawn if end is None else jnp.where(ended, end, drawn)).astype(tokens.dtype)
        logits, memory = advance(params, memory, chosen)  # type: ignore[misc]
        return (logits, memory, ended | (chosen == end), lost), (chosen, ~ended)

    logits, memory = begin(params, tokens, lengths, steps, copies)  # type: ignore[misc]
    none = jnp.zeros(len(rows), dtype=bool)
    (*_, lost), (drawn, counted) = jax.lax.scan(step, (logits, memory, none, none), jnp.arange(steps))
    return Samples(jnp.where(lost[:, None], -1, drawn.T), jnp.sum(counted, axis=0)), lost


def _draw(keys: Array, logits: Array, temperature: Array) -> Array:
    """One token for each row; the most likely one if the temperature is 0.

    A token is found where the cumulative weights pass a uniform number, first among blocks of tokens and then within
    one: a random number for each token of a wide vocabulary would take as long as a tenth of the model.
    """
    best = jnp.argmax(logits, axis=-1)
    scaled = logits / jnp.where(temperature == 0, 1, temperature)
    weights = jnp.exp(scaled - jnp.max(scaled, axis=-1, keepdims=True))  # the largest is 1, so that none overflows
    weights = jnp.pad(weights, ((0, 0), (0, -weights.shape[1] % BLOCK))).reshape(len(weights), -1, BLOCK)
    rows, sums = jnp.arange(len(weights)), jnp.sum(weights, axis=2)
    height = jax.vmap(lambda key: jax.random.uniform(key, dtype=weights.dtype))(keys) * jnp.sum(sums, axis=1)
    block, rest = _pass(sums, height)
    token, _ = _pass(weights[rows, block], rest)
    return jnp.where(temperature == 0, best, block * BLOCK + token)


def _pass(weights: Array, height: Array) -> tuple[Array, Array]:
    """The first entry of each row whose cumulative weight is above the height, and how far into it that is."""
    total = jnp.cumsum(weights, axis=1)
    above = total > height[:, None]
    # By rounding, no entry may be above the height. The largest one is taken then, which has a weight above 0.
    first = jnp.where(jnp.any(above, axis=1), jnp.argmax(above, axis=1), jnp.argmax(weights, axis=1))
    rows = jnp.arange(len(weights))
    return first, height - (total[rows, first] - weights[rows, first])


def _without_cache(model: SequenceModel) -> tuple[Any, Any]:
    """`start` and `advance` that keep the tokens alone and read them all at every step."""

    def ends(params: Params, tokens: Array, lengths: Array) -> Array:
        at = jnp.minimum(lengths, tokens.shape[1])[:, None, None] - 1
        return jnp.take_along_axis(model.logits(params, tokens), at, axis=1)[:, 0]

    def start(params: Params, tokens: Array, lengths: Array, room: int, copies: int) -> tuple[Array, Any]:
        tokens = jnp.repeat(jnp.pad(tokens, ((0, 0), (0, room))), copies, axis=0)
        lengths = jnp.repeat(lengths, copies)
        return ends(params, tokens, lengths), (tokens, lengths)

    def advance(params: Params, memory: tuple[Array, Array], chosen: Array) -> tuple[Array, Any]:
        tokens, lengths = memory
        tokens = tokens.at[jnp.arange(len(tokens)), lengths].set(chosen)
        return ends(params, tokens, lengths + 1), (tokens, lengths + 1)

    return start, advance
