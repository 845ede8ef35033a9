"""Pairs made ready: one catalogue with the held-out prompts, and the comparisons that each source trains on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import _checks
from jaxval.data import PreferencePairs, SyntheticPreferences, source_comparisons
from jaxval.types import BadArgument, Comparisons


def as_pairs(pairs: Any) -> PreferencePairs:
    """The argument as preference pairs, checked to have at least two sources; generated preferences are converted."""
    if isinstance(pairs, SyntheticPreferences):
        pairs = _with_texts(pairs)
    if not isinstance(pairs, PreferencePairs):
        raise BadArgument(
            "pairs", expected="data.PreferencePairs, as data.read_preferences reads", got=type(pairs).__name__
        )
    if len(pairs.sources) < 2:
        got = f"only {pairs.sources[0]!r}" if pairs.sources else "none"
        raise BadArgument("pairs", expected="at least 2 sources, for a value is one among others", got=got)
    return pairs


def _with_texts(drawn: SyntheticPreferences) -> PreferencePairs:
    """Generated preferences as preference pairs: their ids become texts such as "prompt 0"."""
    rewards = np.asarray(drawn.rewards, dtype=float)
    contexts, responses = rewards.shape[:2]
    fields = zip(*drawn.comparisons, strict=True)
    return PreferencePairs(
        prompts=tuple(f"prompt {x}" for x in range(contexts)),
        responses=(tuple(f"response {y}" for y in range(responses)),) * contexts,
        comparisons=Comparisons(*(np.concatenate([np.asarray(part) for part in field]) for field in fields)),
        source=jnp.asarray(np.repeat(range(len(drawn.sources)), [np.size(part.weight) for part in drawn.comparisons])),
        sources=drawn.sources,
        scores={name: rewards[:, :, k] for k, name in enumerate(drawn.objectives)},
        title=drawn.title,
    )


def with_held_out(pairs: PreferencePairs, held_out: PreferencePairs) -> tuple[PreferencePairs, np.ndarray]:
    """One catalogue of both sets of pairs, and the ids of the held-out prompts in it.

    Scores that only one of the two sets has are left out.
    """
    if not isinstance(held_out, PreferencePairs):
        raise BadArgument("held_out", expected="a share or data.PreferencePairs", got=type(held_out).__name__)
    known_prompts = {prompt: x for x, prompt in enumerate(pairs.prompts)}
    prompts, responses = list(pairs.prompts), [list(row) for row in pairs.responses]
    ids, moves = [], []
    for prompt, row in zip(held_out.prompts, held_out.responses, strict=True):
        if prompt not in known_prompts:
            known_prompts[prompt] = len(prompts)
            prompts.append(prompt)
            responses.append([])
        known = responses[known_prompts[prompt]]
        known.extend(response for response in row if response not in known)
        ids.append(known_prompts[prompt])
        moves.append([known.index(response) for response in row])
    shape = len(prompts), max(map(len, responses))
    scores = {}
    for name in [name for name in pairs.scores if name in held_out.scores]:
        scores[name] = np.full(shape, np.nan)
        old = np.asarray(pairs.scores[name])
        scores[name][: old.shape[0], : old.shape[1]] = old
        for x, move, row in zip(ids, moves, np.asarray(held_out.scores[name]), strict=True):
            scores[name][x, move] = row[: len(move)]
    merged = pairs._replace(prompts=tuple(prompts), responses=tuple(map(tuple, responses)), scores=scores)
    return merged, np.unique(ids)


def draw_held_out(key: Any, contexts: int, share: float) -> np.ndarray:
    """The ids of a random share of the prompts, at least one."""
    count = max(1, round(share * contexts))
    return np.sort(np.asarray(jax.random.permutation(key, contexts))[:count])


def check_share(share: Any) -> float:
    """The share of held-out prompts, checked to be in (0, 1)."""
    return float(
        _checks.check_number(
            "held_out", share, low=1e-9, high=1 - 1e-9, expected="a share of the prompts in (0, 1), or pairs"
        )
    )


def to_train_on(pairs: PreferencePairs, held_out: np.ndarray) -> list[Comparisons]:
    """The comparisons of each source, without those of held-out prompts."""
    taken = np.isin(np.arange(len(pairs.prompts)), held_out)
    parts = []
    for name, comparisons in zip(pairs.sources, source_comparisons(pairs), strict=True):
        fields = [np.asarray(field) for field in comparisons]
        left = ~taken[fields[0]] & (fields[3] > 0)
        if not left.any():
            why = f"all of its {len(left)} are on held-out prompts; hold out fewer" if len(left) else "it has no pair"
            raise BadArgument("pairs", expected="a pair of every source to train on", got=f"none of {name!r}: {why}")
        parts.append(Comparisons(*(field[left] for field in fields)))
    return parts


def candidates(pairs: PreferencePairs, contexts: np.ndarray) -> np.ndarray:
    """(contexts, most responses) ids of each prompt's responses; -1 means no response."""
    counts = np.array([len(pairs.responses[x]) for x in contexts.tolist()])
    ids = np.arange(max(map(len, pairs.responses)))[None, :]
    return np.where(ids < counts[:, None], ids, -1)
