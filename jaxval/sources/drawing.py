"""A pool of responses drawn from a reference, its sources and their grand coalition, and scored by all of them.

Draws and scores are made in pieces of one shape. If a folder is given, a finished piece is kept in the folder and not
made again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks, policies
from jaxval.checkpoints import load_state, save_state
from jaxval.coalitions import TokenArithmetic, score_coalitions, token_arithmetic
from jaxval.data import SamplePool
from jaxval.parallel import progress as progress_bar
from jaxval.types import BadArgument, Grouped, Params, SequenceModel

__all__ = ["Draws", "draw_pool", "pool_of_draws"]

ROWS = 64  # responses that are drawn at a time: the model's weights are read once for all of them
TOGETHER = "all sources together"


class Draws(NamedTuple):
    """Responses drawn to prompts, and their log-probabilities under every policy.

    Attributes:
        prompts: (B,) lists of ids.
        tokens: (B, M, T) ids of the responses, the end token included.
        lengths: (B, M) the number of tokens of each response; the rest is padding.
        drawn_from: (B, M) 0 for the reference, 1 to n for the sources, then further proposals.
        log_probs: (n + 1, B, M) log π_k(y|x), the reference first.
        proposals: the names of further proposals: the grand coalition token by token; or, at a temperature other than
            1, all policies and the grand coalition at that temperature.
        proposal_log_probs: (proposals, B, M) the log-probabilities of the responses under these proposals.
    """

    prompts: list[list[int]]
    tokens: np.ndarray
    lengths: np.ndarray
    drawn_from: np.ndarray
    log_probs: np.ndarray
    proposals: tuple[str, ...]
    proposal_log_probs: np.ndarray


def draw_pool(
    key: Key[Array, ""],
    model: SequenceModel,
    reference: Params,
    trained: Sequence[Params],
    prompts: Sequence[Sequence[int]],
    *,
    samples: int,
    new_tokens: int,
    end: int | None = None,
    temperature: float = 1.0,
    names: Sequence[str] | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
) -> Draws:
    """Draw responses to each prompt in equal shares from π_0, each π_ℓ and the grand coalition, and score them by all.

    The grand coalition is that of `coalitions.token_arithmetic`, Π_ℓ π_ℓ / π_0^(n-1) at every token. It only proposes
    responses: the coalitions that are valued combine whole responses, not tokens. A response that reaches `new_tokens`
    has no end token, whichever policy drew it. The same key gives the same pool, also after an interruption.

    Source: Tamine et al., equation (6); Veach and Guibas (1995) for the mixture.

    Args:
        key: a JAX random key.
        model: a model with parts; adapters in the last layers share the layers below.
        reference: the parameters at π_0.
        trained: (n,) the parameters of each source, trees like that of the reference.
        prompts: (B,) sequences of ids.
        samples: M, the number of responses to each prompt, which is rounded up to a multiple of n + 2.
        new_tokens: T, the largest number of tokens of a response.
        end: the id that ends a response; None means that no id does.
        temperature: above 0, at which responses are drawn; scores are at temperature 1.
        names: the names of the sources, for the bar and for proposals at a temperature.
        folder: where finished pieces are kept; None keeps nothing. A folder must not hold pieces of other arguments.
        progress: whether a bar goes to standard error.

    Returns:
        `Draws`.

    Raises:
        ValueError: if a prompt and `new_tokens` are longer than the model's context, the model has no parts, or a
            number is out of range.

    Example:
        >>> model = policies.transformer(vocabulary=5, length=8, width=8, layers=2, heads=2)
        >>> base, one = (model.init(jax.random.key(k)) for k in (0, 1))
        >>> drawn = draw_pool(jax.random.key(2), model, base, [one], [[0, 1], [2]], samples=6, new_tokens=3)
        >>> drawn.tokens.shape, drawn.log_probs.shape, drawn.drawn_from[0].tolist()
        ((2, 6, 3), (2, 2, 6), [0, 0, 1, 1, 2, 2])
    """
    key = _checks.check_key(key)
    _checks.check_record("model", model, SequenceModel)
    check_draws(model, prompts, samples, new_tokens, temperature)
    _checks.check_leaves("reference", reference)
    sources = len(_checks.check_list("trained", trained, "the parameters of each source"))
    if not sources:
        raise BadArgument("trained", expected="the parameters of at least one source", got="none")
    for number, one in enumerate(trained):
        _checks.check_leaves(f"trained[{number}]", one)
    names = tuple(f"source {i}" for i in range(sources)) if names is None else names
    if len(_checks.check_names("names", names, "a name for each source")) != sources:
        raise BadArgument("names", expected=f"a name for each of {sources} sources", got=len(names))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trained)
    every = TokenArithmetic(jnp.ones(sources), reference, stacked)
    folder = None if folder is None else Path(_checks.check_path("folder", folder))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    count = -(-samples // (sources + 2))
    blocks = _blocks(model, prompts, count)
    of_each = [*((model, params) for params in (reference, *trained)), (token_arithmetic(model, sources), every)]
    titles = ("reference", *names, TOGETHER)
    form = np.zeros((len(blocks[0].lengths) * count, new_tokens), np.int32)
    tokens, lengths = [], []
    with progress_bar(progress, len(of_each) * len(blocks) * form.size, "drawing", unit="tokens") as advance:
        for number, (one, params) in enumerate(of_each):
            of_policy = jax.random.fold_in(key, number)
            for part, block in enumerate(blocks):

                def draw(one: Any = one, params: Any = params, block: Any = block, of: Any = (of_policy, part)) -> Any:
                    how: Any = {"num_tokens": new_tokens, "responses": count, "temperature": temperature, "end": end}
                    key = jax.random.fold_in(*of)
                    drawn = policies.sample(key, one, params, (block.tokens, block.lengths), **how)
                    return np.asarray(drawn.tokens, np.int32), np.asarray(drawn.lengths, np.int32)

                path = folder and folder / f"drawn-{number}-{part}.npz"
                piece = _kept(path, draw, (form, form[:, 0]))
                tokens.append(piece[0].reshape(-1, count, new_tokens))
                lengths.append(piece[1].reshape(-1, count))
                advance(form.size)
    shape = len(of_each), len(prompts), count
    by_policy = [np.concatenate(part).reshape(shape[0], -1, count, *part[0].shape[2:]) for part in (tokens, lengths)]
    drawn, counts = (
        np.moveaxis(part[:, : shape[1]], 0, 1).reshape(shape[1], -1, *part.shape[3:]) for part in by_policy
    )
    label = np.repeat(np.arange(shape[0]), count)
    log_probs, further = _score(model, every, prompts, drawn, counts, temperature, folder, progress)
    proposals: tuple[str, ...] = (TOGETHER,)
    if temperature != 1:
        label, proposals = label + sources + 1, tuple(f"{title} at temperature {temperature:g}" for title in titles)
    labels = np.broadcast_to(label, counts.shape)
    return Draws(list(map(list, prompts)), drawn, counts, labels, log_probs, proposals, further)


class _Block(NamedTuple):
    """Prompts whose responses are drawn together, padded to the width of the longest of all prompts."""

    tokens: np.ndarray
    lengths: np.ndarray


def check_draws(
    model: SequenceModel, prompts: Sequence[Sequence[int]], samples: int, new_tokens: int, temperature: float
) -> None:
    """Raise a ValueError if so many responses of so many tokens cannot be drawn to these prompts."""
    _checks.check_size("samples", samples)
    _checks.check_size("new_tokens", new_tokens)
    _checks.check_number("temperature", temperature, low=1e-3, high=1e3, expected="a number above 0")
    policies.group_responses(model, prompts, [[] for _ in _checks.check_list("prompts", prompts, "lists of ids")])
    longest = max((len(prompt) for prompt in prompts), default=0)
    if longest + new_tokens > model.length:
        expected = f"at most {model.length - longest} beside a prompt of {longest} tokens, since the model reads "
        raise BadArgument("new_tokens", expected=f"{expected}{model.length} together", got=new_tokens)
    _checks.check_memory("samples", len(prompts), samples, new_tokens)


def _blocks(model: SequenceModel, prompts: Sequence[Sequence[int]], count: int) -> list[_Block]:
    """All prompts in blocks of one shape, the last filled up with its last prompt."""
    every = policies.group_responses(model, prompts, [[[0]]] * len(prompts))
    size = min(len(prompts), max(1, ROWS // count))
    parts = [np.minimum(np.arange(start, start + size), len(prompts) - 1) for start in range(0, len(prompts), size)]
    return [_Block(np.asarray(every.prompts)[part], np.asarray(every.prompt_lengths)[part]) for part in parts]


def _score(
    model: SequenceModel,
    every: TokenArithmetic,
    prompts: Any,
    tokens: np.ndarray,
    lengths: np.ndarray,
    temperature: float,
    folder: Path | None,
    shown: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The log-probabilities of all draws under the policies, (n + 1, B, M), and under further proposals."""
    sources = np.shape(every.coalition)[0]
    alone = np.concatenate([np.zeros((1, sources)), np.eye(sources)])
    together = np.ones((1, sources))
    plain = temperature == 1
    masks = np.concatenate([alone, together]) if plain else alone
    whole = policies.group_responses(model, prompts, [[[0]]] * len(prompts))
    results = []
    with progress_bar(shown, int(lengths.sum()), "scoring", unit="tokens") as advance:
        for row in range(len(prompts)):

            def score(row: int = row) -> np.ndarray:
                part = slice(row, row + 1)
                grouped = Grouped(whole.prompts[part], whole.prompt_lengths[part], tokens[part], lengths[part])  # type: ignore[index]
                states = policies.trunk_states(model, grouped) if model.parts and model.parts.fixed else None
                scores = [score_coalitions(model, every, grouped, masks, states=states)]
                if not plain:
                    heated: Any = {"states": states, "temperature": temperature}
                    scores.append(score_coalitions(model, every, grouped, np.concatenate([alone, together]), **heated))
                return np.asarray(jnp.concatenate(scores)[:, 0])

            path = folder and folder / f"scores-{row}.npz"
            form = np.zeros((sources + 2 if plain else 2 * sources + 3, lengths.shape[1]), jnp.zeros(0).dtype)
            results.append(_kept(path, score, form))
            advance(int(lengths[row].sum()))
    table = np.stack(results, axis=1)
    return table[: sources + 1], table[sources + 1 :]


def _kept(path: Path | None, make: Callable[[], Any], like: Any) -> Any:
    """The result of `make`, which is saved at the path; a result that was saved before is loaded instead."""
    if path is None:
        return make()
    if not path.exists():
        save_state(path, make())
    return load_state(path, like)


def pool_of_draws(
    draws: Draws,
    scores: np.ndarray,
    *,
    prompts: Sequence[str],
    sources: Sequence[str],
    rewards: Sequence[str],
    title: str,
) -> SamplePool:
    """Draws and their rewards as a pool that `value_pool` takes.

    Args:
        draws: what `draw_pool` returned.
        scores: (prompts, samples, rewards) the rewards of the responses.
        prompts: the texts of the prompts.
        sources: the names of the sources.
        rewards: the names of the rewards.
        title: a name for the pool.

    Returns:
        `data.SamplePool`.

    Example:
        >>> model = policies.transformer(vocabulary=5, length=8, width=8, layers=2, heads=2)
        >>> base, one = (model.init(jax.random.key(k)) for k in (0, 1))
        >>> drawn = draw_pool(jax.random.key(2), model, base, [one], [[0, 1], [2]], samples=6, new_tokens=3)
        >>> ones = (drawn.tokens == 1).sum(axis=2, keepdims=True)
        >>> pool_of_draws(drawn, ones, prompts=["a", "b"], sources=["s"], rewards=["ones"], title="t").proposals
        ('all sources together',)
    """
    _checks.check_record("draws", draws, Draws)
    for name, texts in (("prompts", prompts), ("sources", sources), ("rewards", rewards)):
        _checks.check_names(name, texts, "texts")
    labels = _checks.integers("draws.drawn_from", draws.drawn_from, ndim=2, expected="(prompts, samples) numbers")
    return SamplePool(
        tuple(prompts),
        tuple(sources),
        tuple(rewards),
        _checks.host_numbers("draws.log_probs", draws.log_probs),
        _checks.host_numbers("scores", scores, "(prompts, samples, rewards) numbers"),
        None,
        np.asarray(labels),
        draws.proposals,
        _checks.host_numbers("draws.proposal_log_probs", draws.proposal_log_probs),
        False,
        title,
    )
