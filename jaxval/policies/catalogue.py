"""A catalogue of tokenised prompts and candidates, and a sequence model as a policy over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from jaxval import _checks
from jaxval.parallel.chunks import map_chunks
from jaxval.policies.scoring import score_responses, trunk_states
from jaxval.policies.sequences import token_log_probs
from jaxval.policies.text import byte_tokeniser, check_candidates, encode_catalogue
from jaxval.policies.transformer import check_tokens, held_by, rebind
from jaxval.types import BadArgument, Grouped, Params, Policy, SequenceModel

__all__ = [
    "Catalogue",
    "catalogue",
    "over_catalogue",
    "response_lengths",
    "selector_prompts",
]

KEPT = 2**29  # numbers of the trunk's states that are kept, two gigabytes; more are computed anew for every batch

Prompts = Sequence[Any]  # sequences of ids, or texts
Candidates = Sequence[Any]
Lengths = Int[ArrayLike, "rows"] | list[Any]
Queries = Int[ArrayLike, "rows candidates"] | list[Any]


class Catalogue(NamedTuple):
    """Tokenised prompts and their candidate responses, held once each; row first[x] + y is response y of context x.

    Attributes:
        sequences: (rows, T) prompt and response in one sequence, padded on the right with 0.
        prompt_lengths: (rows,) the position at which the response begins.
        lengths: (rows,) the position after the last token of the response.
        first: (contexts,) the row of a context's first candidate.
        counts: (contexts,) how many candidates a context has.
    """

    sequences: Int[Array, "rows tokens"]
    prompt_lengths: Int[Array, "rows"]
    lengths: Int[Array, "rows"]
    first: Int[Array, "contexts"]
    counts: Int[Array, "contexts"]


def catalogue(prompts: Prompts, responses: Candidates, *, length: int) -> Catalogue:
    """Prompts and candidates as arrays.

    Args:
        prompts: (contexts,) sequences of ids, or texts, which are encoded by bytes.
        responses: for each prompt its candidates, sequences of ids, including the end token if there is one; or
            texts.
        length: the largest number of tokens of a prompt and a response together.

    Returns:
        The arrays.

    Raises:
        ValueError: if a prompt has no token (a model needs one to start from), a response is empty, or a prompt and a
            response together are longer than `length`.

    Example:
        >>> arrays = catalogue([[0], [0, 1]], [[[1], [2, 2]], [[1]]], length=4)
        >>> arrays.sequences.tolist(), arrays.lengths.tolist()
        ([[0, 1, 0], [0, 2, 2], [0, 1, 1]], [2, 3, 3])
    """
    check_candidates(prompts, responses)
    length = _checks.check_size("length", length)
    if isinstance(prompts[0], str):
        prompts, responses = encode_catalogue(prompts, responses, length=length)
    rows: list[list[int]] = []
    starts: list[int] = []
    for context, (prompt, candidates) in enumerate(zip(prompts, responses, strict=True)):
        if len(prompt) == 0:
            raise BadArgument(
                "prompts",
                expected="at least one token in each, such as the tokeniser's begin",
                got=f"none in context {context}",
            )
        for response in candidates:
            rows.append([*_ids("prompts", prompt, context), *_ids("responses", response, context)])
            starts.append(len(prompt))
            if len(rows[-1]) > length:
                raise BadArgument(
                    "prompts",
                    expected=f"a prompt and a response of at most length={length} tokens together",
                    got=f"{len(prompt)} + {len(response)} in context {context}",
                    advice="cut them with policies.encode_catalogue(prompts, responses, length=length, truncate=(...))",
                )
    sequences = np.zeros((len(rows), max(map(len, rows))), dtype=np.int32)
    for row, ids in zip(sequences, rows, strict=True):
        row[: len(ids)] = ids
    counts = np.array([len(candidates) for candidates in responses])
    return Catalogue(
        jnp.asarray(sequences),
        jnp.asarray(starts),
        jnp.asarray([len(ids) for ids in rows]),
        jnp.asarray(np.cumsum(counts) - counts),
        jnp.asarray(counts),
    )


def over_catalogue(
    model: SequenceModel, prompts: Prompts, responses: Candidates, *, batch_size: int | None = None
) -> Policy:
    """A sequence model as a policy over candidates: log π(y|x) = Σ_t log p(y_t | x, y_<t).

    The sum is over all tokens of the response, including its end token if the response has one; texts always have one.
    Without an end token, π(y|x) is the probability of all responses that begin with y. The probabilities of the
    candidates need not sum to one: `policies.normalise` conditions on them.

    Args:
        model: next-token logits.
        prompts: (contexts,) sequences of ids, or texts, which are encoded by bytes.
        responses: for each prompt its candidates, sequences of ids or texts; response y of context x is
            `responses[x][y]`.
        batch_size: how many responses go through the model at a time; None means all responses of a call. Gradients
            then recompute each batch, so that they need the memory of one batch.

    Returns:
        The policy. Its log-probabilities are -inf for an id of -1. An id outside the catalogue raises a
        `ValueError`; inside `jit`, its log-probability is NaN.

    Raises:
        ValueError: if a prompt or a response is empty, an id is not in the model's vocabulary, or a prompt and
            a response together are longer than the model's context.

    Example:
        >>> bigram = SequenceModel(lambda key: jnp.zeros((3, 3)), lambda params, tokens: params[tokens], 3, 8)
        >>> policy = over_catalogue(bigram, [[0], [0, 1]], [[[1], [2, 2]], [[1]]])
        >>> params = policy.init(jax.random.key(0))
        >>> (-policy.log_probs(params, [0, 1], [[0, 1], [0, -1]]) / jnp.log(3)).round(2).tolist()
        [[1.0, 2.0], [1.0, inf]]
    """
    _checks.check_record("model", model, SequenceModel)
    check_candidates(prompts, responses)
    if isinstance(prompts[0], str) and model.vocabulary < byte_tokeniser().vocabulary:
        raise BadArgument(
            "model", expected=f"a vocabulary of at least {byte_tokeniser().vocabulary} for texts", got=model.vocabulary
        )
    arrays = catalogue(prompts, responses, length=model.length)
    check_tokens(arrays.sequences, model.vocabulary, model.length, name="prompts, responses")
    if batch_size is not None:
        _checks.check_size("batch_size", batch_size)

    trunk = _kept_trunk(model, arrays, batch_size)

    @jax.jit
    def of_ids(kept: Any, params: Params, contexts: Array, ids: Array) -> Array:
        bound, known = rebind(model, kept[0]), _known(arrays, contexts, ids)
        rows = jnp.where(known, arrays.first[contexts][:, None] + ids, arrays.first[contexts][:, None])
        together = len(contexts) if batch_size is None else max(1, batch_size // max(1, ids.shape[1]))

        def of_part(params: Params, part: Array) -> Array:
            if bound.parts is None:
                return _whole_rows(bound, params, arrays, rows[part])
            return _grouped_rows(bound, params, arrays, contexts[part], rows[part], kept[1])

        log_probs = _in_batches(of_part, params, len(contexts), together)
        return jnp.where(known, log_probs, jnp.where(ids == -1, -jnp.inf, jnp.nan))

    def log_probs(kept: Any, params: Params, contexts: Any, responses: Any) -> Array:
        return of_ids(kept, params, *_check_ids(arrays, contexts, responses))

    return Policy(model.init, jax.tree_util.Partial(log_probs, (held_by(model), trunk)))


def _whole_rows(model: SequenceModel, params: Params, arrays: Catalogue, rows: Array) -> Array:
    """(B, R) log-probabilities of rows of the catalogue, each sequence read whole."""
    flat = rows.reshape(-1)
    sequences, starts, ends = arrays.sequences[flat], arrays.prompt_lengths[flat], arrays.lengths[flat]
    return jnp.sum(token_log_probs(model, params, sequences, starts, ends), axis=1).reshape(rows.shape)


def _grouped_rows(
    model: SequenceModel, params: Params, arrays: Catalogue, contexts: Array, rows: Array, trunk: Any
) -> Array:
    """(B, R) log-probabilities of rows of the catalogue, each prompt read once; from the trunk's states if kept."""
    states = None
    if trunk is not None:
        of_rows = trunk[1][rows].reshape(len(contexts), -1, trunk[1].shape[-1])
        states = jnp.concatenate([trunk[0][contexts], of_rows], axis=1)
    return jnp.sum(score_responses(model, params, _grouped(arrays, contexts, rows), states=states), axis=2)


def _grouped(arrays: Catalogue, contexts: Array, rows: Array) -> Grouped:
    """Some prompts of the catalogue with some of their responses."""
    prompts, new = _widths(arrays)
    starts = arrays.prompt_lengths[arrays.first[contexts]]
    own = jnp.arange(prompts)[None, :] < starts[:, None]
    at = starts[:, None, None] + jnp.arange(new)[None, None, :]
    sequences = jnp.pad(arrays.sequences, ((0, 0), (0, new)))
    responses = jnp.take_along_axis(sequences[rows], at, axis=2)
    heads = jnp.where(own, sequences[arrays.first[contexts], :prompts], 0)
    return Grouped(heads, starts, responses, arrays.lengths[rows] - starts[:, None])


def _widths(arrays: Catalogue) -> tuple[int, int]:
    """The largest number of tokens of a prompt, and of a response."""
    starts, ends = np.asarray(arrays.prompt_lengths), np.asarray(arrays.lengths)
    return int(starts.max()), int((ends - starts).max())


def _kept_trunk(model: SequenceModel, arrays: Catalogue, batch_size: int | None) -> tuple[Array, Array] | None:
    """The trunk's states of all prompts (contexts, P, W) and responses (rows, T, W); None if they need much memory."""
    parts, (prompts, new) = model.parts, _widths(arrays)
    if parts is None or not parts.fixed:
        return None
    contexts, rows = len(arrays.counts), len(arrays.lengths)
    width = jax.eval_shape(parts.below, None, _grouped(arrays, jnp.zeros(1, int), jnp.zeros((1, 1), int)))
    if (contexts * prompts + rows * new) * width.shape[-1] > KEPT:
        return None
    counts, first = np.asarray(arrays.counts), np.asarray(arrays.first)
    before = np.zeros((contexts, prompts, width.shape[-1]), width.dtype)
    behind = np.zeros((rows, new, width.shape[-1]), width.dtype)
    for count in np.unique(counts):  # a shape for each number of responses
        of_count = np.flatnonzero(counts == count)
        together = min(len(of_count), max(1, (batch_size or contexts) // int(count)))
        for start in range(0, len(of_count), together):
            part = of_count[np.minimum(np.arange(start, start + together), len(of_count) - 1)]
            ids = first[part, None] + np.arange(count)[None, :]
            states = np.asarray(trunk_states(model, _grouped(arrays, jnp.asarray(part), jnp.asarray(ids))))
            before[part] = states[:, :prompts]
            behind[ids] = states[:, prompts:].reshape(*ids.shape, new, -1)
    return jnp.asarray(before), jnp.asarray(behind)


def selector_prompts(
    prompts: Prompts, responses: Candidates, *, separator: Sequence[int] | str
) -> tuple[list[Any], list[Any]]:
    """The prompts that ask a sequence model for the strongest opponent of a response, and their candidates.

    The prompt of (x, y) is x, separator, y, separator; its index is x R + y, with R the most candidates of a prompt. A
    catalogue of the prompts and then of these makes one model a policy and a selector, told apart by the separator:

        policy = over_catalogue(model, [*prompts, *asked], [*responses, *opponents])
        training.proportional(policy, ..., candidates=..., selector=training.Selector(policy, first=len(prompts)))

    Source: Kim et al., Appendix T.3.

    Args:
        prompts: (contexts,) sequences of ids, or texts.
        responses: for each prompt its candidates; response y of context x is `responses[x][y]`.
        separator: ids, or a text, that are in no prompt and no response.

    Returns:
        (contexts * R prompts, the candidates of each, which are all responses of the context). If a context has fewer
        than R responses, its first response stands in for the missing ones.

    Raises:
        ValueError: if there is not one list of candidates for each prompt, or a list or a candidate is empty.

    Example:
        >>> selector_prompts([[0]], [[[1], [2]]], separator=[9])
        ([[0, 9, 1, 9], [0, 9, 2, 9]], [[[1], [2]], [[1], [2]]])
    """
    check_candidates(prompts, responses)
    most = max(map(len, responses))
    texts = isinstance(prompts[0], str) and not isinstance(prompts, np.ndarray)
    if not texts:
        prompts = [_ids("prompts", prompt, x) for x, prompt in enumerate(prompts)]
        responses = [[_ids("responses", one, x) for one in row] for x, row in enumerate(responses)]
    if isinstance(separator, str) != texts or not (texts or isinstance(separator, Sequence)):
        raise BadArgument("separator", expected="a text for texts, or ids for ids", got=f"{separator!r:.80}")
    mark = separator if isinstance(separator, str) else _ids("separator", separator, 0)
    whole: Any = str if texts else list
    asked = [
        whole(prompt) + mark + whole(row[y if y < len(row) else 0]) + mark
        for prompt, row in zip(prompts, responses, strict=True)
        for y in range(most)
    ]
    return asked, [list(row) for row in responses for _ in range(most)]


def response_lengths(arrays: Catalogue, contexts: Lengths, responses: Queries) -> Int[Array, "rows candidates"]:
    """How many tokens each response has, the end token included: |y|, for losses per token.

    Args:
        arrays: the catalogue.
        contexts: (B,) ids of prompts.
        responses: (B, R) ids of responses; -1 if there is none.

    Returns:
        (B, R) numbers of tokens, 0 if the id is -1 (or, inside `jit`, outside the catalogue).

    Raises:
        ValueError: if an id is outside the catalogue.

    Example:
        >>> arrays = catalogue([[0], [0, 1]], [[[1], [2, 2]], [[1]]], length=4)
        >>> response_lengths(arrays, [0, 1], [[0, 1], [0, -1]]).tolist()
        [[1, 2], [1, 0]]
    """
    contexts, ids = _check_ids(arrays, contexts, responses)
    known = _known(arrays, contexts, ids)
    rows = jnp.where(known, arrays.first[contexts][:, None] + ids, 0)
    return jnp.where(known, arrays.lengths[rows] - arrays.prompt_lengths[rows], 0)


def _in_batches(of_part: Any, params: Params, rows: int, together: int) -> Array:
    """`of_part` applied to one batch of rows after another; a gradient recomputes each batch instead of storing it."""
    if rows <= together:
        return of_part(params, jnp.arange(rows))
    recomputed = jax.checkpoint(of_part)
    even = -(-rows // -(-rows // together))  # as many batches, of equal sizes
    return map_chunks(lambda number: recomputed(params, number), rows, even)


def _ids(name: str, sequence: Any, context: int) -> list[int]:
    """A sequence of whole numbers as a list."""
    array = np.asarray(_checks.real_array(name, sequence, "sequences of ids, or texts for both"))
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise BadArgument(
            name, expected="sequences of ids, or texts for both", got=f"{sequence!r} in context {context}"
        )
    return array.tolist()


def _known(arrays: Catalogue, contexts: Array, ids: Array) -> Array:
    """Whether each id is one of its context's candidates."""
    inside = (contexts >= 0) & (contexts < len(arrays.counts))
    return inside[:, None] & (ids >= 0) & (ids < arrays.counts[contexts][:, None])


def _check_ids(arrays: Catalogue, contexts: Any, responses: Any) -> tuple[Array, Array]:
    """Contexts (B,) and responses (B, R) of the catalogue, -1 if there is no response."""
    _checks.check_record("arrays", arrays, Catalogue)
    for name in Catalogue._fields:
        _checks.real_array(f"arrays.{name}", getattr(arrays, name), "whole numbers")
    contexts = _checks.integers("contexts", contexts, ndim=1, expected="(B,) ids of prompts")
    ids = _checks.integers("responses", responses, ndim=2, expected="(B, R) ids of responses, -1 for none")
    if len(contexts) != len(ids):
        raise BadArgument("responses", expected=f"a row for each of {len(contexts)} contexts", got=f"{len(ids)} rows")
    if _checks.concrete(contexts, ids) and ids.size:
        prompts, answers, counts = np.asarray(contexts), np.asarray(ids), np.asarray(arrays.counts)
        if prompts.min() < 0 or prompts.max() >= len(counts):
            wrong = prompts[(prompts < 0) | (prompts >= len(counts))][0]
            raise BadArgument("contexts", expected=f"ids in [0, {len(counts)}), those of the catalogue", got=wrong)
        outside = (answers < -1) | (answers >= counts[prompts][:, None])
        if outside.any():
            row, column = np.argwhere(outside)[0]
            context = prompts[row]
            raise BadArgument(
                "responses",
                expected=f"ids in [0, {counts[context]}) for context {context}, or -1 for none",
                got=answers[row, column],
            )
    return contexts, ids
