"""Pairs made ready: one catalogue with the held-out prompts, and the comparisons that each source trains on."""

from collections.abc import Sequence
from typing import Any

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
        got = type(pairs).__name__
        raise BadArgument("pairs", expected="data.PreferencePairs, as data.read_preferences reads", got=got)
    if len(pairs.sources) < 2:
        got = f"only {pairs.sources[0]!r}" if pairs.sources else "none"
        raise BadArgument("pairs", expected="at least 2 sources, for a value is one among others", got=got)
    return pairs


def check_pairs(pairs: Any) -> PreferencePairs:
    """Check that something is preference pairs with texts."""
    _checks.check_record("pairs", pairs, PreferencePairs)
    _checks.check_names("pairs.prompts", pairs.prompts, "the texts of the prompts")
    for row in _checks.check_list("pairs.responses", pairs.responses, "the texts of the responses to each prompt"):
        _checks.check_names("pairs.responses", row, "the texts of the responses to each prompt")
    return pairs


def _with_texts(drawn: SyntheticPreferences) -> PreferencePairs:
    """Generated preferences as preference pairs: their ids become texts such as "prompt 0"."""
    rewards = np.asarray(drawn.rewards, dtype=float)
    contexts, responses = rewards.shape[:2]
    return PreferencePairs(
        prompts=tuple(f"prompt {x}" for x in range(contexts)),
        responses=(tuple(f"response {y}" for y in range(responses)),) * contexts,
        comparisons=joined(drawn.comparisons),
        source=jnp.asarray(np.repeat(range(len(drawn.sources)), [np.size(p.weight) for p in drawn.comparisons])),
        sources=drawn.sources,
        scores={name: rewards[:, :, k] for k, name in enumerate(drawn.objectives)},
        title=drawn.title,
    )


def joined(parts: Sequence[Comparisons]) -> Comparisons:
    """All comparisons, those of one part after those of another."""
    return Comparisons(*(np.concatenate(list(map(np.asarray, fields))) for fields in zip(*parts, strict=True)))


def with_held_out(pairs: PreferencePairs, held_out: PreferencePairs) -> tuple[PreferencePairs, np.ndarray]:
    """One catalogue of both sets of pairs, and the ids of the held-out prompts in it.

    Scores that only one of the two sets has are left out.
    """
    prompts, responses = list(pairs.prompts), [list(row) for row in pairs.responses]
    id_of = {prompt: x for x, prompt in enumerate(prompts)}
    for prompt, row in zip(held_out.prompts, held_out.responses, strict=True):
        if prompt not in id_of:
            id_of[prompt] = len(prompts)
            prompts.append(prompt)
            responses.append([])
        known = responses[id_of[prompt]]
        known.extend(response for response in row if response not in known)
    shape = len(prompts), max(map(len, responses))
    scores = {name: np.full(shape, np.nan) for name in pairs.scores if name in held_out.scores}
    for name, table in scores.items():
        before = np.asarray(pairs.scores[name])
        table[: before.shape[0], : before.shape[1]] = before
        for prompt, row, numbers in zip(held_out.prompts, held_out.responses, held_out.scores[name], strict=True):
            x = id_of[prompt]
            table[x, [responses[x].index(response) for response in row]] = numbers[: len(row)]
    chats = {**held_out.chats, **pairs.chats}
    merged = pairs._replace(prompts=tuple(prompts), responses=tuple(map(tuple, responses)), scores=scores, chats=chats)
    return merged, np.unique([id_of[prompt] for prompt in held_out.prompts])


def to_train_on(pairs: PreferencePairs, held_out: np.ndarray) -> list[Comparisons]:
    """The comparisons of each source, without those of held-out prompts."""
    parts = []
    for name, comparisons in zip(pairs.sources, source_comparisons(pairs), strict=True):
        fields = [np.asarray(field) for field in comparisons]
        left = ~np.isin(fields[0], held_out) & (fields[3] > 0)
        if not left.any():
            why = f"all of its {len(left)} are on held-out prompts; hold out fewer" if len(left) else "it has no pair"
            raise BadArgument("pairs", expected="a pair of every source to train on", got=f"none of {name!r}: {why}")
        parts.append(Comparisons(*(field[left] for field in fields)))
    return parts


def candidates(pairs: PreferencePairs, contexts: np.ndarray) -> np.ndarray:
    """(contexts, most responses) ids of each prompt's responses; -1 means no response."""
    counts = np.array([len(row) for row in pairs.responses])
    ids = np.arange(counts.max())
    return np.where(ids < counts[contexts, None], ids, -1)
