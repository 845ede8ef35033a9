"""Four providers of real UltraFeedback pairs, with disjoint prompts; the rewards of the held-out responses."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxval.data import PreferencePairs, data_folder, read_preferences
from jaxval.types import Comparisons

PROVIDERS = ("clean", "20 % flipped", "30 % flipped", "weak quality")
FILES = ("train_clean", "label_flip_20", "label_flip_30", "weak_quality_20", "eval_clean")
OBJECTIVES = ("score", "probability of the better")
N = len(PROVIDERS)


class Settings(NamedTuple):
    """The sizes of the part."""

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
    """The pairs of every provider's file, and the held-out pairs."""

    texts: PreferencePairs
    held_out: PreferencePairs


def read(data: str | None) -> Pairs:
    """The pairs of all files; each file is a source."""
    folder = data_folder("preferences", path=data)
    paths = [folder / f"ultrafeedback_{name}.jsonl.gz" for name in FILES]
    texts, held_out = (read_preferences(part, source=None, skip_unusable=True) for part in (paths[:-1], paths[-1]))
    return Pairs(texts, held_out)


def provider_pairs(pairs: Pairs, seed: int) -> PreferencePairs:
    """The pairs of each provider under a seed: those of its file on the provider's quarter of the prompts."""
    owner, context = np.asarray(pairs.texts.source), np.asarray(pairs.texts.comparisons.context)
    place = np.arange(len(pairs.texts.prompts))
    if seed >= N:  # beyond the first round the prompts are shuffled
        place = np.random.default_rng(seed // N).permutation(len(place))
    rows = np.flatnonzero(owner == (place[context] + seed) % N)
    comparisons = Comparisons(*(np.asarray(field)[rows] for field in pairs.texts.comparisons))
    return pairs.texts._replace(comparisons=comparisons, source=owner[rows], sources=PROVIDERS)


def held_out_rewards(held_out: PreferencePairs) -> Callable[[str, str], list[float]]:
    """The two objectives of a held-out response: its score, and whether it has the higher score of the pair."""
    known = {}
    scores = next(iter(held_out.scores.values()))
    context, winner, loser, _ = (np.asarray(field).tolist() for field in held_out.comparisons)
    for x, y, z in zip(context, winner, loser, strict=True):
        for one, other in ((y, z), (z, y)):
            score = scores[x, one]
            known[held_out.prompts[x], held_out.responses[x][one]] = [
                float(score),
                float(0.5 + 0.5 * np.sign(score - scores[x, other])),
            ]

    def objectives(prompt: str, response: str) -> list[float]:
        return known.get((prompt, response), [math.nan, math.nan])  # a provider's own response has none

    return objectives
