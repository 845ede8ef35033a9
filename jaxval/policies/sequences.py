"""Log-probabilities and entropies of the tokens of a response, where each sequence is read whole.

The module `scoring` gives the same numbers for several responses of a prompt, which it reads once.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxval import _checks
from jaxval.policies.transformer import check_lengths, check_tokens
from jaxval.types import BadArgument, Params, SequenceModel

__all__ = ["next_token_entropies", "response_log_probs"]

PromptTokens = Int[ArrayLike, "rows prompt_tokens"] | list[Any]
Tokens = Int[ArrayLike, "rows tokens"] | list[Any]
Lengths = Int[ArrayLike, "rows"] | list[Any]


def response_log_probs(
    model: SequenceModel,
    params: Params,
    prompt_tokens: PromptTokens,
    prompt_lengths: Lengths,
    response_tokens: Tokens,
    response_lengths: Lengths,
) -> Float[Array, "rows tokens"]:
    """The log-probability of each token of a response: log p(y_t | x, y_<t).

    Prompts and responses are padded on the right; each response is moved to the end of its prompt.

    Args:
        model: next-token logits.
        params: its parameters.
        prompt_tokens: (B, P) ids, at least one in each row.
        prompt_lengths: (B,) how many of the prompt tokens count.
        response_tokens: (B, R) ids.
        response_lengths: (B,) how many of the response tokens count.

    Returns:
        (B, R) log-probabilities, 0 beyond the end of a response, so that a sum is log π(y|x).

    Raises:
        ValueError: if shapes differ, lengths do not fit, or P + R is more than the model's context.

    Example:
        >>> bigram = SequenceModel(lambda key: jnp.zeros((3, 3)), lambda params, tokens: params[tokens], 3, 8)
        >>> log_probs = response_log_probs(bigram, jnp.zeros((3, 3)), [[0, 1]], [1], [[2, 2, 0]], [2])
        >>> (-log_probs / jnp.log(3)).round(4).tolist()
        [[1.0, 1.0, -0.0]]
    """
    _checks.check_record("model", model, SequenceModel)
    _checks.check_leaves("params", params)
    prompts = check_tokens(prompt_tokens, model.vocabulary, model.length, name="prompt_tokens")
    answers = check_tokens(response_tokens, model.vocabulary, model.length, name="response_tokens")
    starts = check_lengths(prompt_lengths, prompts, name="prompt_lengths")
    counts = check_lengths(response_lengths, answers, name="response_lengths")
    if len(prompts) != len(answers):
        raise BadArgument(
            "response_tokens", expected=f"a row for each of {len(prompts)} prompts", got=f"{len(answers)} rows"
        )
    width = prompts.shape[1] + answers.shape[1]
    if width > model.length:
        raise BadArgument("response_tokens", expected=f"P + R of at most the model's length={model.length}", got=width)
    columns = jnp.arange(width)[None, :]
    within = jnp.clip(columns - starts[:, None], 0, answers.shape[1] - 1)
    moved = jnp.take_along_axis(answers, within, axis=1)
    own = jnp.pad(prompts, ((0, 0), (0, answers.shape[1])))
    sequences = jnp.where(columns < starts[:, None], own, moved)
    log_probs = token_log_probs(model, params, sequences, starts, starts + counts)
    at = jnp.minimum(starts[:, None] - 1 + jnp.arange(answers.shape[1])[None, :], width - 2)
    inside = jnp.arange(answers.shape[1])[None, :] < counts[:, None]
    return jnp.where(inside, jnp.take_along_axis(log_probs, at, axis=1), 0)


def next_token_entropies(
    model: SequenceModel, params: Params, tokens: Tokens, starts: Lengths, ends: Lengths
) -> Float[Array, "rows positions"]:
    """The entropy of the model before each token of a response: H_t = -Σ_v p(v | y_<t) log p(v | y_<t), in nats.

    0 log 0 counts as 0. The largest entropy is log V, at equal probabilities.

    Args:
        model: next-token logits.
        params: its parameters.
        tokens: (B, T) prompt and response in one sequence, padded on the right, such as `Catalogue.sequences`.
        starts: (B,) the position at which the response begins, at least 1.
        ends: (B,) the position after the last token of the response.

    Returns:
        (B, T - 1): column t - 1 is the entropy before token t if starts <= t < ends, and 0 otherwise.

    Raises:
        ValueError: if shapes or lengths do not fit.

    Example:
        >>> bigram = SequenceModel(lambda key: jnp.zeros((3, 3)), lambda params, tokens: params[tokens], 3, 8)
        >>> (next_token_entropies(bigram, jnp.zeros((3, 3)), [[0, 1, 2]], [2], [3]) / jnp.log(3)).round(4).tolist()
        [[0.0, 1.0]]
    """
    _checks.check_record("model", model, SequenceModel)
    _checks.check_leaves("params", params)
    tokens = check_tokens(tokens, model.vocabulary, model.length)
    starts = check_lengths(starts, tokens, name="starts")
    ends = check_lengths(ends, tokens, name="ends")
    log_probs = jax.nn.log_softmax(model.logits(params, tokens))[:, :-1]
    entropies = -jnp.sum(jnp.where(log_probs == -jnp.inf, 0, jnp.exp(log_probs) * log_probs), axis=-1)
    return jnp.where(_inside(tokens, starts, ends), entropies, 0)


def _inside(tokens: Array, starts: Array, ends: Array) -> Array:
    """(B, T - 1): whether token t belongs to the response, in column t - 1."""
    t = jnp.arange(1, tokens.shape[1])[None, :]
    return (starts[:, None] <= t) & (t < ends[:, None])


def token_log_probs(model: SequenceModel, params: Params, tokens: Array, starts: Array, ends: Array) -> Array:
    """(B, T - 1): log p(token t | tokens before it) in column t - 1, 0 outside the response."""
    logits = model.logits(params, tokens)[:, :-1]
    chosen = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
    return jnp.where(_inside(tokens, starts, ends), chosen - jax.nn.logsumexp(logits, axis=-1), 0)
