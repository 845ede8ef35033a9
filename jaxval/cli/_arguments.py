"""From the options of `jaxval value` to groups of sources, rewards and Python functions."""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxval._errors import BadArgument


def groups_of(named: list[str] | None, names: tuple[str, ...]) -> list[int] | None:
    """The group of each source: one group for each --group, after a group of all sources that no --group names."""
    if not named:
        return None
    groups = dict.fromkeys(names, 0)
    for number, text in enumerate(named, 1):
        for name in text.split(","):
            if name.strip() not in groups:
                raise BadArgument(
                    "--group", expected=f"sources among {', '.join(map(repr, names))}", got=f"{name.strip()!r}"
                )
            if groups[name.strip()]:
                raise BadArgument("--group", expected="each source once", got=f"{name.strip()!r} twice")
            groups[name.strip()] = number
    first = 0 if 0 in groups.values() else 1
    return [group - first for group in groups.values()]


def unions_of(names: tuple[str, ...]) -> list[list[int]]:
    """The unions of sources that are named provider/dataset or deeper, (levels, sources), coarsest first.

    Args:
        names: the names of the sources, all with the same number of parts.
    """
    parts = [tuple(part.strip() for part in name.split("/")) for name in names]
    depth = len(parts[0])
    for name, each in zip(names, parts, strict=True):
        if len(each) != depth or depth < 2 or not all(each):
            expected = "sources that are named provider/dataset, all with as many parts, at least 2, and none empty"
            got = f"{name!r} beside {names[0]!r}" if len(each) != depth else f"{name!r}"
            raise BadArgument("--hierarchy", expected=expected, got=got)
    levels = []
    for level in range(1, depth):
        unions = list(dict.fromkeys(each[:level] for each in parts))
        levels.append([unions.index(each[:level]) for each in parts])
    return levels


def rewards_of(asked: list[str] | None, pairs: Any, *, policy: str | None = None, **how: Any) -> Any:
    """The rewards of the words of --reward.

    Args:
        asked: the words; None means the default.
        pairs: the pairs whose responses are rewarded.
        policy: the checkpoint on whose hidden states heads are fitted.
        **how: `folder` and `progress` of `sources.fit_reward_head`.
    """
    if not asked:
        return "score" if pairs.scores else "bradley-terry"
    return [_reward(text, pairs, policy, how) for text in asked]


def of_heads(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where the hidden states of reward heads are kept, and whether a bar is shown."""
    folder = arguments.out / "finished" / "heads" if arguments.out else None
    return {"folder": folder, "progress": sys.stderr.isatty()}


def heads_of(rewards: Any) -> list[dict[str, Any]]:
    """The reward heads among the rewards: for each, the number of pairs that it was fitted to, and its accuracy."""
    from jaxval.sources import RewardModel

    known = [one for one in (rewards if isinstance(rewards, list) else []) if isinstance(one, RewardModel)]
    return [
        {
            "name": one.names[0],
            "fitted_pairs": one.fitted,
            "held_out_pairs": one.held_out,
            "accuracy": one.accuracy,
            "accuracy_error": one.accuracy_error,
        }
        for one in known
        if one.accuracy is not None
    ]


def _reward(text: str, pairs: Any, policy: str | None, how: Mapping[str, Any]) -> Any:
    from jaxval import data, sources
    from jaxval.sources.learners import is_checkpoint

    kind, _, file = text.partition(":")
    if kind in ("score", "bradley-terry"):
        return text
    if kind == "head":
        if policy is None or not is_checkpoint(policy):
            expected = f"a checkpoint, on whose hidden states {text} is fitted"
            raise BadArgument("--policy", expected=expected, got=policy or "none")
        return sources.fit_reward_head(data.read_preferences(file, source=None), policy=policy, **how)
    if Path(text).is_dir():
        return sources.read_reward_model(text)
    if text.endswith((".jsonl", ".jsonl.gz")):
        return data.read_scores(text, pairs)
    if ":" not in text:
        expected = (
            "score, bradley-terry, head:FILE, a reward model's folder, a table that ends in .jsonl, or module:function"
        )
        raise BadArgument("--reward", expected=expected, got=f"{text!r}")
    return imported("--reward", text)


def imported(option: str, text: str) -> Any:
    """The Python function that "module:function" names; modules of the working folder are searched too."""
    module, _, name = text.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadArgument(option, expected="a function that can be imported", got=f"{text!r}: {error}") from error
    finally:
        sys.path.remove(os.getcwd())


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
