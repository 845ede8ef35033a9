"""Four providers of real UltraFeedback pairs, with disjoint prompts; the utility of a policy on the held-out ones."""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxval import coalitions
from jaxval.data import PreferencePairs, data_folder, read_preferences
from jaxval.types import Comparisons

PROVIDERS = ("clean", "20 % flipped", "30 % flipped", "weak quality")
FILES = ("train_clean", "label_flip_20", "label_flip_30", "weak_quality_20", "eval_clean")
OBJECTIVES = ("score", "probability of the better")
N = len(PROVIDERS)
MASKS = np.array([[bool(index >> i & 1) for i in range(N)] for index in range(2**N)])


class Settings(NamedTuple):
    """Sizes of the part."""

    beta: float = 0.1
    buckets: tuple[int, ...] = (8, 16, 32, 64, 256)
    log_linear_seeds: int = 8
    transformer_seeds: int = 3
    width: int = 88
    layers: int = 1
    prompt_tokens: int = 48
    response_tokens: int = 144
    epochs: int = 2
    batch: int = 25
    learning_rate: float = 5e-4


class Pairs(NamedTuple):
    """The texts, which of them each provider has, and the held-out rewards."""

    texts: PreferencePairs
    provider_prompts: np.ndarray  # the prompts that the providers share out
    held_out: Comparisons
    rewards: np.ndarray  # (held-out prompts, 2, objectives)


def read(data: str | None) -> Pairs:
    """The pairs of all files with one catalogue of texts."""
    folder = data_folder("preferences", path=data)
    texts = read_preferences(
        [folder / f"ultrafeedback_{name}.jsonl.gz" for name in FILES], source=None, skip_unusable=True
    )
    owner, context = np.asarray(texts.source), np.asarray(texts.comparisons.context)
    held_out = Comparisons(*(np.asarray(field)[owner == N] for field in texts.comparisons))
    both = np.stack([held_out.winner, held_out.loser], axis=1)
    scores = next(iter(texts.scores.values()))[held_out.context[:, None], both]
    better = 0.5 + 0.5 * np.sign(scores - scores[:, ::-1])
    return Pairs(texts, np.unique(context[owner < N]), held_out, np.stack([scores, better], axis=2))


def sources_of(pairs: Pairs, seed: int) -> list[Comparisons]:
    """What each provider has under a seed; of one length, filled up with rows of weight 0."""
    prompts = pairs.provider_prompts
    place = np.arange(len(prompts))
    if seed >= N:  # beyond the first round the prompts are shuffled
        place = np.random.default_rng(seed // N).permutation(len(prompts))
    provider = np.full(len(pairs.texts.prompts), -1)
    provider[prompts] = (place + seed) % N
    owner, context = np.asarray(pairs.texts.source), np.asarray(pairs.texts.comparisons.context)
    length = math.ceil(len(prompts) / N)
    sources = []
    for s in range(N):
        rows = np.flatnonzero((owner == s) & (provider[context] == s))[:length]
        fields = [np.asarray(field)[rows] for field in pairs.texts.comparisons]
        missing = length - len(rows)
        fills = (fields[0][:1], fields[1][:1], fields[2][:1], np.zeros(1))
        sources.append(
            Comparisons(*(np.concatenate([f, np.repeat(x, missing)]) for f, x in zip(fields, fills, strict=True)))
        )
    return sources


def joined(sources: list[Comparisons], members: tuple[int, ...]) -> Comparisons:
    """The pairs of several providers in one record."""
    return Comparisons(*(np.concatenate(fields) for fields in zip(*(sources[s] for s in members), strict=True)))


def utility(gains: Any, pairs: Pairs) -> np.ndarray:
    """v(π) from log π - log π_0 of the held-out responses, (prompts, 2)."""
    return np.asarray(coalitions.expected_reward(gains, pairs.rewards), dtype=float)


def margin(gains: np.ndarray) -> np.ndarray:
    """By how much more the first response of each pair has gained than the second, nats."""
    return gains[:, 0] - gains[:, 1]


def members_of(mask: np.ndarray) -> tuple[int, ...]:
    """The providers in a coalition."""
    return tuple(np.flatnonzero(mask).tolist())
