"""Log-probabilities of responses, for which each prompt is read once for all its responses.

A `Grouped` holds prompts with several responses each. A response attends to the keys and values of its prompt and to
its own tokens. The vocabulary is scored only where a token of a response is predicted. If parameters are adapters of
the last layers, the hidden states below the adapters (the trunk) are the same for all parameters, and may be computed
once.

Arguments that the functions share: `params` are the parameters of the model, `grouped` holds prompts with responses, as
`group_responses` makes them, and `states` is what `trunk_states` returned for these, or None to compute it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.parallel.chunks import map_chunks
from jaxval.policies.transformer import held_by, rebind
from jaxval.types import BadArgument, Grouped, Params, SequenceModel

__all__ = ["group_responses", "map_tokens", "response_entropies", "response_states", "score_responses", "trunk_states"]

TOKENS = 64  # positions whose next-token logits are held at a time: they fit into the processor's cache


def group_responses(
    model: SequenceModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[Sequence[int]]],
    *,
    widths: tuple[int, int] = (1, 1),
) -> Grouped:
    """Prompts and their responses as arrays, padded on the right with 0.

    Args:
        model: the model, whose vocabulary and context the prompts and responses must fit.
        prompts: (B,) sequences of ids.
        responses: (B,) lists of sequences of ids, the end token included; a prompt may have fewer than others.
        widths: the least widths (P, T) of the arrays, for batches of one shape.

    Returns:
        `Grouped`.

    Raises:
        ValueError: if a prompt or a response is empty, an id is outside the model's vocabulary, or a prompt and a
            response together are longer than the model's context.

    Example:
        >>> bigram = SequenceModel(lambda key: jnp.zeros((3, 3)), lambda params, tokens: params[tokens], 3, 8)
        >>> grouped = group_responses(bigram, [[0], [0, 1]], [[[1], [2, 2]], [[1]]])
        >>> grouped.responses.tolist(), grouped.lengths.tolist()
        ([[[1, 0], [2, 2]], [[1, 0], [0, 0]]], [[1, 2], [1, 0]])
    """
    _checks.check_record("model", model, SequenceModel)
    for name, lists in (("prompts", prompts), ("responses", responses)):
        _checks.check_list(name, lists, "a list for each prompt")
        for number, one in enumerate(lists):
            _checks.check_list(f"{name}[{number}]", one, "a list for each prompt")
    if len(prompts) == 0 or len(prompts) != len(responses):
        raise BadArgument("responses", expected=f"a list for each of {len(prompts)} prompts", got=len(responses))
    for name, part in [("prompts", prompts), *(("responses", one) for one in responses)]:
        for ids in part:
            values = np.asarray(_checks.real_array(name, ids, "sequences of at least one id"))
            if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "iu":
                raise BadArgument(name, expected="sequences of at least one id", got=f"{ids!r}")
            if values.min() < 0 or values.max() >= model.vocabulary:
                raise BadArgument(
                    name, expected=f"ids in [0, {model.vocabulary})", got=f"{values.min()} to {values.max()}"
                )
    longest = [max((len(response) for response in row), default=0) for row in responses]
    for row, (prompt, most) in enumerate(zip(prompts, longest, strict=True)):
        if len(prompt) + most > model.length:
            expected = f"a prompt and a response of at most length={model.length} tokens together"
            raise BadArgument("prompts", expected=expected, got=f"{len(prompt)} + {most} in row {row}")
    count = max(map(len, responses))
    if len(_checks.check_list("widths", widths, "two numbers of tokens")) != 2:
        raise BadArgument("widths", expected="two numbers of tokens", got=f"{widths!r:.80}")
    for number, least in enumerate(widths):
        _checks.check_memory("widths", len(prompts), count, _checks.check_size(f"widths[{number}]", least))
    tokens = np.zeros((len(prompts), max(widths[0], *map(len, prompts))), np.int32)
    behind = np.zeros((len(prompts), count, max(widths[1], *longest)), np.int32)
    lengths = np.zeros((len(prompts), count), int)
    for row, (prompt, some) in enumerate(zip(prompts, responses, strict=True)):
        tokens[row, : len(prompt)] = prompt
        for column, response in enumerate(some):
            behind[row, column, : len(response)] = response
            lengths[row, column] = len(response)
    return Grouped(tokens, np.array([len(prompt) for prompt in prompts]), behind, lengths)


def check_grouped(grouped: Any) -> Grouped:
    """Check that the four arrays of prompts with responses hold whole numbers and fit together."""
    _checks.check_record("grouped", grouped, Grouped)
    for name, ndim in zip(Grouped._fields, (2, 1, 3, 2), strict=True):
        given = _checks.real_array(f"grouped.{name}", getattr(grouped, name), "whole numbers")
        if given.ndim != ndim or not jnp.issubdtype(given.dtype, jnp.integer):
            got = f"{given.dtype} of shape {given.shape}"
            raise BadArgument(f"grouped.{name}", expected=f"whole numbers with {ndim} axes", got=got)
    rows, shape = jnp.shape(grouped.prompts)[:1], jnp.shape(grouped.lengths)
    if not jnp.shape(grouped.prompt_lengths) == shape[:1] == rows or jnp.shape(grouped.responses)[:2] != shape:
        raise BadArgument(
            "grouped", expected="arrays that agree in the numbers of prompts and of responses", got="arrays that differ"
        )
    return grouped


def trunk_states(model: SequenceModel, grouped: Grouped) -> Float[Array, "rows tokens width"]:
    """The hidden states below the lowest adapter, which are the same for all adapters.

    Args:
        model: a model of adapters in the last layers, from `low_rank(..., layers=...)`.

    Returns:
        (B, P + R T, W) the states of the tokens of the prompt and then of its responses, for `score_responses`.

    Raises:
        ValueError: if every layer of the model depends on its parameters.

    Example:
        >>> from jaxval.policies import low_rank, transformer
        >>> base = transformer(vocabulary=5, length=8, width=8, layers=3, heads=2)
        >>> model = low_rank(base, base.init(jax.random.key(0)), rank=1, alpha=1.0, layers=1)
        >>> trunk_states(model, group_responses(model, [[0, 1]], [[[2], [3, 4, 2]]])).shape
        (1, 8, 8)
    """
    _checks.check_record("model", model, SequenceModel)
    check_grouped(grouped)
    if model.parts is None or not model.parts.fixed:
        got = "one whose layers all depend on its parameters"
        raise BadArgument("model", expected="a model of adapters in the last layers", got=got)
    return model.parts.below(None, grouped)


def response_states(
    model: SequenceModel, params: Params, grouped: Grouped, *, states: Any = None
) -> Float[Array, "rows responses tokens_and_one width"]:
    """The last hidden states, normalised, at the end of the prompt and at each token of each response.

    Args:
        model: a model with parts, such as `transformer` makes.

    Returns:
        (B, R, T + 1, W); state t predicts token t of the response, and state t + 1 has read that token.

    Raises:
        ValueError: if the model has no parts.

    Example:
        >>> from jaxval.policies import transformer
        >>> model = transformer(vocabulary=5, length=8, width=8, layers=3, heads=2)
        >>> grouped = group_responses(model, [[0, 1]], [[[2], [3, 4, 2]]])
        >>> response_states(model, model.init(jax.random.key(0)), grouped).shape
        (1, 2, 4, 8)
    """
    _checks.check_record("model", model, SequenceModel)
    check_grouped(grouped)
    _checks.check_leaves("params", params)
    if model.parts is None:
        raise BadArgument("model", expected="a model with parts, such as a transformer", got="one without")
    below = model.parts.below(params, grouped) if states is None else states
    return model.parts.above(params, grouped, below)


def score_responses(
    model: SequenceModel, params: Params, grouped: Grouped, *, states: Any = None
) -> Float[Array, "rows responses tokens"]:
    """The log-probability of each token of each response: log p(y_t | x, y_<t).

    The numbers are those of `response_log_probs`, which reads every sequence whole. Here each prompt is read once.

    Args:
        model: a `SequenceModel`. A model without parts reads every sequence whole.

    Returns:
        (B, R, T) log-probabilities, 0 beyond the end of a response, so that a sum is log π(y|x).

    Example:
        >>> bigram = SequenceModel(lambda key: jnp.zeros((3, 3)), lambda params, tokens: params[tokens], 3, 8)
        >>> grouped = group_responses(bigram, [[0], [0, 1]], [[[1], [2, 2]], [[1]]])
        >>> (-score_responses(bigram, jnp.zeros((3, 3)), grouped).sum(axis=2) / jnp.log(3)).round(2).tolist()
        [[1.0, 2.0], [1.0, -0.0]]
    """
    check_grouped(grouped)
    _checks.check_leaves("params", params)
    return _score_responses(model, held_by(model), params, grouped, states)


@functools.partial(jax.jit, static_argnames="model")
def _score_responses(model: SequenceModel, held: Any, params: Params, grouped: Grouped, states: Any) -> Array:
    model, responses = rebind(model, held), jnp.asarray(grouped.responses)
    if model.parts is None:
        each = _chosen(_whole_logits(model, params, grouped), responses)
    else:
        head = model.parts.head
        ends = response_states(model, params, grouped, states=states)[:, :, :-1]
        each = map_tokens(lambda tokens, states: _chosen(head(params, states), tokens), responses, ends)
    inside = jnp.arange(responses.shape[2])[None, None, :] < jnp.asarray(grouped.lengths)[:, :, None]
    return jnp.where(inside, each, 0)


def response_entropies(
    model: SequenceModel, params: Params, grouped: Grouped, *, states: Any = None
) -> Float[Array, "rows responses tokens"]:
    """The entropy of the model before each token of each response, H_t = -Σ_v p(v | x, y_<t) log p(v | x, y_<t).

    Args:
        model: a model with parts, such as `transformer` makes.

    Returns:
        (B, R, T) entropies in nats, 0 beyond the end of a response.

    Raises:
        ValueError: if the model has no parts.

    Example:
        >>> from jaxval.policies import transformer
        >>> model = transformer(vocabulary=5, length=8, width=8, layers=3, heads=2)
        >>> grouped = group_responses(model, [[0, 1]], [[[2], [3, 4, 2]]])
        >>> bool((response_entropies(model, model.init(jax.random.key(0)), grouped) <= np.log(5) + 1e-5).all())
        True
    """
    check_grouped(grouped)
    _checks.check_leaves("params", params)
    return _response_entropies(model, held_by(model), params, grouped, states)


@functools.partial(jax.jit, static_argnames="model")
def _response_entropies(model: SequenceModel, held: Any, params: Params, grouped: Grouped, states: Any) -> Array:
    model, responses = rebind(model, held), jnp.asarray(grouped.responses)
    ends = response_states(model, params, grouped, states=states)[:, :, :-1]

    def entropy(tokens: Array, states: Array) -> Array:
        del tokens
        logs = jax.nn.log_softmax(model.parts.head(params, states))  # type: ignore[union-attr]
        return -jnp.sum(jnp.where(logs == -jnp.inf, 0, jnp.exp(logs) * logs), axis=-1)

    inside = jnp.arange(responses.shape[2])[None, None, :] < jnp.asarray(grouped.lengths)[:, :, None]
    return jnp.where(inside, map_tokens(entropy, responses, ends), 0)


def map_tokens(function: Callable[..., Any], tokens: Array, *arrays: Array, size: int = TOKENS) -> Any:
    """Apply a function to few tokens at a time, to save memory; a gradient computes the function again.

    Args:
        function: from tokens (size,) and one array (size, ...) for each of `arrays`, such as hidden states, to a pytree
            of arrays (size, ...).
        tokens: ids of any shape.
        *arrays: arrays whose leading axes are those of the tokens.
        size: how many tokens the function gets at a time.

    Returns:
        The arrays of all tokens; their leading axes are those of the tokens.

    Example:
        >>> tokens, states = jnp.arange(6).reshape(2, 3), jnp.ones((2, 3, 4))
        >>> map_tokens(lambda tokens, states: states[:, 0] + tokens, tokens, states).tolist()
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    _checks.check_function("function", function)
    for name, part in (("tokens", tokens), *(("arrays", array) for array in arrays)):
        if not hasattr(_checks.check_leaves(name, part), "shape"):
            raise BadArgument(name, expected="arrays", got=f"{part!r:.80}")
        if part.shape[: len(tokens.shape)] != tokens.shape:
            raise BadArgument(name, expected="arrays whose leading axes are those of the tokens", got=f"{part!r:.80}")
    axes = tokens.shape
    flat = [jnp.asarray(part).reshape(-1, *part.shape[len(axes) :]) for part in (tokens, *arrays)]

    @jax.checkpoint
    def of_rows(rows: Array) -> Any:
        return function(*(part[rows] for part in flat))

    result = map_chunks(of_rows, len(flat[0]), _checks.check_size("size", size))
    return jax.tree.map(lambda part: part.reshape(*axes, *part.shape[1:]), result)


def _chosen(logits: Array, tokens: Array) -> Array:
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def _whole_logits(model: SequenceModel, params: Params, grouped: Grouped) -> Array:
    """(B, R, T, V) the logits before each token of a response, where each response is read together with its prompt."""
    prompts, lengths, responses, _ = (jnp.asarray(field) for field in grouped)
    rows, count, width = responses.shape
    columns = jnp.arange(prompts.shape[1] + width)[None, :]
    after = jnp.clip(columns - lengths[:, None], 0, width - 1)
    moved = jnp.take_along_axis(responses, jnp.broadcast_to(after[:, None], (rows, count, after.shape[1])), axis=2)
    own = jnp.pad(prompts, ((0, 0), (0, width)))
    sequences = jnp.where((columns < lengths[:, None])[:, None], own[:, None], moved)
    logits = model.logits(params, sequences.reshape(rows * count, -1)).reshape(rows, count, columns.size, -1)
    at = lengths[:, None, None, None] - 1 + jnp.arange(width)[None, None, :, None]
    return jnp.take_along_axis(logits, at, axis=2)
