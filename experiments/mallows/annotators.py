"""Real annotators: does the index of a reference model order prompts as the disagreement of people does?

PandaLM   999 pairs on 170 prompts, each judged by three annotators. Disagreement is the share of pairs of annotators
          with different verdicts. The index is that of a small transformer trained on UltraFeedback's chosen responses,
          or of a published model.
campus    5,609 votes on statements in four questions, without the texts of the statements, so that no language model
          can read them. The reference is a Bradley-Terry policy of one half of the voters; what the other half does is
          compared with it, and the halves change places. A prompt is a pair of statements, and its index is the entropy
          of the reference on the pair; disagreement is a vote against the reference's favourite.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.mallows.indices import pair_indices, rank_correlation
from jaxval import data, policies, preferences, training
from jaxval.data._json_lines import json_objects
from jaxval.types import BadArgument, SequenceModel

__all__ = ["LEVEL", "Item", "campus", "pandalm_agreement", "read_items", "small_reference", "text_indices"]

LEVEL = 0.95
PROMPT_TOKENS, RESPONSE_TOKENS = 64, 96
TOGETHER = 8  # prompts whose responses are read at a time


class Item(NamedTuple):
    """One pair of PandaLM: the prompt, both responses, and the share of pairs of annotators that disagree."""

    prompt: str
    first: str
    second: str
    disagreement: float


def read_items(folder: Path | None) -> list[Item]:
    """The pairs of PandaLM, whose verdicts `data.read_annotations` checks."""
    path = data.data_folder("preferences", path=folder) / "pandalm_testset-v1.json.gz"
    judged = data.read_annotations(path)
    del judged  # it keeps no responses; reading it has checked every verdict
    items = []
    for line, item in json_objects(path):
        if missing := [name for name in ("response1", "response2") if name not in item]:
            raise BadArgument(f"{path}, line {line}", expected="both responses", got=f"no {missing[0]}")
        prompt = "\n".join(str(item[name]) for name in ("instruction", "input") if item.get(name))
        verdicts = [item[name] for name in sorted(item) if name.startswith("annotator")]
        apart = [one != other for one, other in combinations(verdicts, 2)]
        first, second = (str(item[name]).strip() or "-" for name in ("response1", "response2"))
        items.append(Item(prompt, first, second, float(np.mean(apart))))
    return items


def small_reference(folder: Path | None, *, steps: int, width: int = 64) -> tuple[SequenceModel, Any, Any]:
    """A byte-level transformer of two layers that has learnt to write UltraFeedback's chosen responses."""
    path = data.data_folder("preferences", path=folder) / "ultrafeedback_train_clean.jsonl.gz"
    pairs = data.read_preferences(path, source=None, skip_unusable=True)
    tokeniser = policies.byte_tokeniser()
    x, winner = np.asarray(pairs.comparisons.context), np.asarray(pairs.comparisons.winner)
    length = PROMPT_TOKENS + RESPONSE_TOKENS
    model = policies.transformer(vocabulary=tokeniser.vocabulary, length=length, width=width, layers=2, heads=4)
    tokens = policies.encode_catalogue(
        [pairs.prompts[i] for i in x],
        [[pairs.responses[i][y]] for i, y in zip(x, winner, strict=True)],
        length=length,
        truncate=(PROMPT_TOKENS, RESPONSE_TOKENS),
    )
    policy = policies.over_catalogue(model, *tokens)
    key = jax.random.key(0)
    params, _ = training.fine_tune(
        policy,
        policy.init(key),
        np.arange(len(x)),
        np.zeros(len(x), int),
        optimiser=training.adamw(3e-3, steps=steps),
        steps=steps,
        batch_size=16,
        key=key,
        progress=True,
    )
    return model, params, tokeniser


def text_indices(
    items: Sequence[Item],
    model: SequenceModel,
    params: Any,
    tokeniser: policies.Tokeniser,
) -> Iterator[dict[str, list[Any]]]:
    """For some prompts at a time: the index of each of their pairs, its disagreement, and the length of its responses.

    Args:
        items: the pairs.
        model: the reference model, one with parts.
        params: its parameters.
        tokeniser: its tokeniser.

    Yields:
        `prompt`, `index`, `disagreement` and `bytes`, each with an entry for every pair of the prompts.
    """
    prompts = list(dict.fromkeys(item.prompt for item in items))
    responses = {prompt: dict[str, int]() for prompt in prompts}
    for item in items:
        for text in (item.first, item.second):
            responses[item.prompt].setdefault(text, len(responses[item.prompt]))
    most = max(map(len, responses.values()))
    for start in range(0, len(prompts), TOGETHER):
        part = prompts[start : start + TOGETHER]
        chats = [prompt if tokeniser.chat is None else [{"role": "user", "content": prompt}] for prompt in part]
        # A batch of one shape is compiled once: the last prompts are filled up with copies.
        full = [*range(len(part)), *[0] * (TOGETHER - len(part))]
        texts = [[*responses[part[i]], *["-"] * (most - len(responses[part[i]]))] for i in full]
        ids = policies.encode_catalogue(
            [chats[i] for i in full],
            texts,
            length=PROMPT_TOKENS + RESPONSE_TOKENS,
            tokeniser=tokeniser,
            truncate=(PROMPT_TOKENS, RESPONSE_TOKENS),
        )
        grouped = policies.group_responses(model, *ids, widths=(PROMPT_TOKENS, RESPONSE_TOKENS))
        entropies = np.asarray(policies.response_entropies(model, params, grouped)).reshape(TOGETHER * most, -1)
        mine = [item for item in items if item.prompt in set(part)]
        first, second = (
            np.array([part.index(i.prompt) * most + responses[i.prompt][getattr(i, side)] for i in mine])
            for side in ("first", "second")
        )
        lengths = np.asarray(grouped.lengths).ravel()
        index = pair_indices(entropies, lengths, first, second, vocabulary=tokeniser.vocabulary)
        yield {
            "prompt": [prompts.index(item.prompt) for item in mine],
            "index": index.tolist(),
            "disagreement": [item.disagreement for item in mine],
            "bytes": [(len(i.first.encode()) + len(i.second.encode())) / 2 for i in mine],
        }


def pandalm_agreement(parts: Sequence[dict[str, list[Any]]]) -> dict[str, Any]:
    """How the index, and the length of responses alone, order prompts by disagreement, and how well anything could.

    The reliability is the correlation between the disagreements on two halves of each prompt's pairs: a measure of how
    much of the disagreement belongs to the prompt. Prompts with fewer than four pairs have no halves.
    """
    prompt, index, apart, size = (
        np.concatenate([np.asarray(part[name]) for part in parts])
        for name in ("prompt", "index", "disagreement", "bytes")
    )
    labels = np.unique(prompt)
    means = {name: np.array([column[prompt == k].mean() for k in labels]) for name, column in
             (("index", index), ("apart", apart), ("bytes", size))}  # fmt: skip
    halves = [(apart[prompt == k][::2].mean(), apart[prompt == k][1::2].mean()) for k in labels
              if (prompt == k).sum() >= 4]  # fmt: skip
    found = {
        "index": rank_correlation(means["index"], means["apart"], level=LEVEL),
        "length of responses": rank_correlation(means["bytes"], means["apart"], level=LEVEL),
        "index of pairs": rank_correlation(index, apart, level=LEVEL, clusters=prompt),
        "pairs with disagreement": float(np.mean(apart > 0)),
        "prompts": {"index": means["index"].tolist(), "disagreement": means["apart"].tolist()},
    }
    if len(halves) > 2:
        found["reliability"] = rank_correlation(*np.array(halves).T, level=LEVEL)
    return found


def campus(folder: Path | None, *, seed: int = 0) -> dict[str, Any]:
    """The campus votes: the entropy of a policy of half the voters, and votes of the other half against it."""
    path = data.data_folder("votes", path=folder) / "campus-protests" / "comparisons.csv"
    votes = data.read_comparisons_csv(path)
    half = np.random.default_rng(seed).permutation(len(votes.voters)) % 2
    rows = [against_reference(votes, half, side) for side in (0, 1)]
    index, against, weight, voter, question = (np.concatenate(column) for column in zip(*rows, strict=True))
    whole = weight > 0.5  # a tie agrees with nobody and says nothing of the favourite
    names = range(len(votes.contexts))
    by_question = [(index[question == q].mean(), against[(question == q) & whole].mean()) for q in names]
    bins = np.array_split(np.argsort(index[whole]), 8)
    return {
        "votes": int(whole.sum()),
        "pairs": rank_correlation(index[whole], against[whole], level=LEVEL, clusters=voter[whole]),
        "questions": rank_correlation(*np.array(by_question).T, level=LEVEL),
        "by question": [list(map(float, row)) for row in by_question],
        "bins": [[float(index[whole][rows].mean()), float(against[whole][rows].mean())] for rows in bins],
        "bin reach": [float(1.96 * against[whole][rows].std() / np.sqrt(len(rows))) for rows in bins],
    }


def against_reference(votes: data.NamedComparisons, half: np.ndarray, side: int) -> tuple[np.ndarray, ...]:
    """For every vote of the other half: the reference's entropy on its pair, in bits, and whether it is against it."""
    context, winner, loser, weight = (np.asarray(field) for field in votes.comparisons)
    taught = half[votes.voter] == side
    known = np.unique(np.concatenate([np.stack([context, side]) for side in (winner, loser)], axis=1), axis=1)
    number = np.zeros((len(votes.contexts), len(votes.names)), int)  # of a statement among those of its question
    number[tuple(known)] = np.arange(known.shape[1]) - np.searchsorted(known[0], known[0])
    winner, loser = number[context, winner], number[context, loser]
    wins = np.zeros((len(votes.contexts), number.max() + 1, number.max() + 1))
    np.add.at(wins, (context[taught], winner[taught], loser[taught]), weight[taught])
    rewards = np.asarray(preferences.bradley_terry(wins, ridge=1.0))
    rest = ~taught
    gap = rewards[context[rest], winner[rest]] - rewards[context[rest], loser[rest]]
    chance = 1 / (1 + np.exp(-np.abs(gap)))
    entropy = -(chance * np.log(chance) + (1 - chance) * np.log1p(-chance)) / np.log(2)
    return entropy, np.heaviside(-gap, 0.5), weight[rest], np.asarray(votes.voter)[rest], context[rest]
