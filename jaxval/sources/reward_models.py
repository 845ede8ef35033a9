"""Rewards of texts by a checkpoint: a linear head on its hidden states, fitted to pairs, or a published reward model.

Both are r(x, y) = w·h(x, y). Here h is the last hidden state of the response y after the prompt x: at the end token, or
the mean over the tokens of the response.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks, policies
from jaxval.checkpoints import fingerprint, load_state, save_state
from jaxval.data import PreferencePairs
from jaxval.data._pair_lines import text_of_messages
from jaxval.parallel import progress as progress_bar
from jaxval.sources.learners import identity_of, log_linear_of, tokens_kept
from jaxval.sources.pairs import check_pairs
from jaxval.sources.trainings import Training, trainer
from jaxval.types import BadArgument, Comparisons, Params, SequenceModel

__all__ = ["RewardModel", "fit_reward_head", "read_reward_model"]

LEAST = 10  # pairs to which a head is fitted
ROWS = 8  # responses that go through the model at a time
KEPT = 64  # prompts whose hidden states are kept together
WIDTH = 64  # arrays are as wide as a multiple of so many tokens, so that few shapes are compiled
POOLINGS = ("mean", "last")


class RewardModel(NamedTuple):
    """Rewards of texts.

    Attributes:
        names: the names of the rewards.
        score: `score(prompts, responses)` gives (contexts, most responses, rewards) numbers. A prompt with fewer
            responses than others has zeros at the end. Prompts are texts or chat messages; responses are lists of
            texts.
        accuracy: the share of held-out pairs whose chosen response has the higher reward; None if no head was fitted.
        accuracy_error: the standard error of the accuracy over pairs.
        fitted: the number of pairs to which the head was fitted, each counted by its weight.
        held_out: the number of pairs on which the accuracy was measured, each counted by its weight.
    """

    names: tuple[str, ...]
    score: Callable[[Sequence[Any], Sequence[Sequence[str]]], np.ndarray]
    accuracy: float | None = None
    accuracy_error: float | None = None
    fitted: float = 0.0
    held_out: float = 0.0

    def __call__(self, prompt: Any, response: str) -> np.ndarray:
        """(rewards,) the rewards of one response."""
        return self.score([prompt], [[response]])[0, 0]


def read_reward_model(folder: str | Path, *, prompt_tokens: int = 128, response_tokens: int = 128) -> RewardModel:
    """A published reward model of the architecture LlamaForSequenceClassification.

    Its rewards are `score.weight` times the normalised hidden state of the last token. The text is the prompt, the
    response and the end token. A prompt of chat messages goes through the chat template; without one, the messages are
    joined to one text, as `data.read_preferences` joins them.

    Args:
        folder: a folder with config.json, model.safetensors and tokenizer.json.
        prompt_tokens: how many of the last tokens of a prompt are kept.
        response_tokens: how many of the first tokens of a response are kept.

    Returns:
        The model; its rewards have the name of the folder.

    Raises:
        ValueError: if the folder holds no such model; the message names the file.

    Example:
        >>> read_reward_model("no/such/folder")
        Traceback (most recent call last):
        jaxval.types.BadArgument: path: expected a folder with config.json; got no folder no/such/folder
    """
    model, params, tokeniser, weight = policies.read_reward(folder)
    reader = _Reader(model, params, tokeniser, tokens_kept(model, prompt_tokens, response_tokens), "last")
    name, labels = Path(folder).resolve().name, weight.shape[1]
    names = (name,) if labels == 1 else tuple(f"{name} {i}" for i in range(labels))
    matrix = np.asarray(weight, np.float64)
    return RewardModel(names, lambda prompts, responses: reader.states(prompts, responses) @ matrix)


def fit_reward_head(
    pairs: PreferencePairs,
    *,
    policy: str | Path,
    pooling: str = "mean",
    held_out: float = 0.2,
    ridge: float = 1.0,
    prompt_tokens: int = 128,
    response_tokens: int = 128,
    key: Key[Array, ""] | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
) -> RewardModel:
    """A linear head on a checkpoint's last hidden states, fitted to pairs by Bradley-Terry, and its held-out accuracy.

    The weights maximise Σ log σ(r(x, y⁺) - r(x, y⁻)) with a ridge penalty, over hidden states divided by their standard
    deviations. Prompts of chat messages are read as by `read_reward_model`. A share of the prompts is held out: the
    head is not fitted to their pairs, and its accuracy is measured on them. A random choice has accuracy 1/2.

    Args:
        pairs: preference pairs, whose sources do not matter; their title becomes the name of the reward.
        policy: the checkpoint, a folder or a GGUF file.
        pooling: "mean" over the tokens of a response, or "last" for the state of its end token.
        held_out: the share of prompts that are held out.
        ridge: the penalty, on the rewards' scale, as for log-linear policies.
        prompt_tokens: how many of the last tokens of a prompt are kept.
        response_tokens: how many of the first tokens of a response are kept.
        key: a random key that chooses the held-out prompts; None means `jax.random.key(0)`.
        folder: where hidden states are kept, so that a run that was interrupted can resume; None keeps nothing.
        progress: whether a progress bar goes to standard error.

    Returns:
        The model.

    Raises:
        ValueError: if there are fewer than 10 pairs to fit to, or no pair is held out.

    Example:
        >>> from jaxval.sources.learners import EXAMPLE
        >>> try:
        ...     fit_reward_head(EXAMPLE, policy="no/such/folder")
        ... except ValueError as error:
        ...     print(error)
        pairs: expected at least 10 pairs to fit a reward head to, and one more held out; got 1 and 0
    """
    _checks.check_choice("pooling", pooling, POOLINGS)
    check_pairs(pairs)
    share = _checks.check_number("held_out", held_out, low=1e-9, high=1 - 1e-9, expected="a share in (0, 1)")
    key = jax.random.key(0) if key is None else _checks.check_key(key)
    prompts = len(pairs.prompts)
    order = np.asarray(jax.random.permutation(key, prompts))
    is_out = np.isin(np.asarray(pairs.comparisons.context), order[: round(float(share) * prompts)])
    parts = [Comparisons(*(np.asarray(field)[of] for field in pairs.comparisons)) for of in (~is_out, is_out)]
    counts = [float(np.sum(part.weight)) for part in parts]
    if counts[0] < LEAST or counts[1] < 1:
        expected = f"at least {LEAST} pairs to fit a reward head to, and one more held out"
        raise BadArgument("pairs", expected=expected, got=f"{counts[0]:g} and {counts[1]:g}")
    model, params, tokeniser = policies.read_llama(policy)
    reader = _Reader(model, params, tokeniser, tokens_kept(model, prompt_tokens, response_tokens), pooling)
    how = {"folder": None if folder is None else Path(folder), "identity": identity_of(policy), "progress": progress}
    states = reader.states([pairs.chats.get(prompt, prompt) for prompt in pairs.prompts], pairs.responses, **how)
    learner, scale = log_linear_of(pairs, states, ridge=ridge)
    train, _ = trainer(learner, pairs, Training(beta=1.0))
    weights = np.asarray(train(learner.policy.init(None), parts[0], None, None), np.float64) / scale
    accuracy, error = _accuracy(states @ weights, parts[1])
    of_texts = functools.partial(_score, reader, weights)
    return RewardModel((pairs.title,), of_texts, accuracy, error, *counts)


def _score(reader: "_Reader", weights: np.ndarray, prompts: Any, responses: Any) -> np.ndarray:
    return (reader.states(prompts, responses) @ weights)[..., None]


def _accuracy(rewards: np.ndarray, comparisons: Comparisons) -> tuple[float, float]:
    """The share of comparisons whose winner has the higher reward, a tie being half, and its standard error."""
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    right = np.heaviside(rewards[context, winner] - rewards[context, loser], 0.5)
    share = float(np.average(right, weights=weight))
    error = math.sqrt(float(np.average((right - share) ** 2, weights=weight)) / len(right))
    return share, error


class _Reader(NamedTuple):
    """What makes hidden states of texts: a checkpoint, the numbers of tokens that are kept, and the pooling."""

    model: SequenceModel
    params: Params
    tokeniser: policies.Tokeniser
    kept: tuple[int, int]
    pooling: str

    def states(
        self,
        prompts: Sequence[Any],
        responses: Sequence[Sequence[str]],
        *,
        folder: Path | None = None,
        identity: Any = None,
        progress: bool = False,
    ) -> np.ndarray:
        """(contexts, most responses, W) states, in float64; zeros after the last response of a prompt."""
        if self.tokeniser.chat is None:
            prompts = [prompt if isinstance(prompt, str) else text_of_messages(prompt) for prompt in prompts]
        ids = policies.encode_catalogue(
            prompts, responses, length=sum(self.kept), truncate=self.kept, tokeniser=self.tokeniser
        )
        most, parts = max(map(len, responses)), []
        with progress_bar(progress, len(prompts), "hidden states of prompts and responses") as advance:
            for first in range(0, len(prompts), KEPT):
                some = tuple(part[first : first + KEPT] for part in ids)
                path = None
                if folder is not None:
                    folder.mkdir(parents=True, exist_ok=True)
                    path = folder / f"{fingerprint(json.dumps(some), self.kept, self.pooling, identity)[:16]}.npz"
                if path is not None and path.exists():
                    parts.append(load_state(path, np.zeros((len(some[0]), most, len(self.params["norm"]["scale"])))))
                else:
                    parts.append(self._some(*some, most=most))
                    if path is not None:
                        save_state(path, parts[-1])
                advance(len(some[0]))
        return np.concatenate(parts)

    def _some(self, prompts: list[Any], responses: list[Any], *, most: int) -> np.ndarray:
        """The states of some prompts, which go through the model a few at a time, the shortest first."""
        together = max(1, ROWS // most)
        lengths = [len(prompt) + max(map(len, row)) for prompt, row in zip(prompts, responses, strict=True)]
        order, parts = np.argsort(lengths, kind="stable"), []
        for first in range(0, len(order), together):
            rows = order[np.minimum(np.arange(first, first + together), len(order) - 1)]  # filled up
            some, behind = [prompts[i] for i in rows], [responses[i] for i in rows]
            prompt, response = max(map(len, some)), max(len(ids) for row in behind for ids in row)
            widths = _width(prompt, self.kept[0]), _width(response, self.kept[1])
            grouped: Any = policies.group_responses(self.model, some, behind, widths=widths)
            more = ((0, 0), (0, most - grouped.lengths.shape[1]))
            grouped = grouped._replace(
                responses=np.pad(grouped.responses, (*more, (0, 0))), lengths=np.pad(grouped.lengths, more)
            )
            parts.append(np.asarray(_pooled(self.model, self.params, grouped, self.pooling), np.float64))
        result = np.zeros((len(prompts), *parts[0].shape[1:]))
        result[order] = np.concatenate(parts)[: len(order)]
        return result


def _width(longest: int, limit: int) -> int:
    return min(limit, WIDTH * math.ceil(longest / WIDTH))


@functools.partial(jax.jit, static_argnames=("model", "pooling"))
def _pooled(model: SequenceModel, params: Params, grouped: Any, pooling: str) -> Array:
    """The state of the last token of each response, or the mean over its tokens; 0 if there is no response."""
    states = policies.response_states(model, params, grouped)[:, :, 1:]
    at, lengths = jnp.arange(states.shape[2])[None, None, :], grouped.lengths[:, :, None]
    inside = at == lengths - 1 if pooling == "last" else at < lengths
    total = jnp.sum(jnp.where(inside[..., None], states, 0), axis=2)
    return total if pooling == "last" else total / jnp.maximum(lengths, 1)
