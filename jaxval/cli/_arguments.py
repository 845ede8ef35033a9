"""What the words of `jaxval value` mean: groups of sources, rewards, functions of Python."""

import importlib
import os
import sys
from typing import Any

from jaxval._errors import BadArgument


def groups_of(named: list[str] | None, names: tuple[str, ...]) -> list[int] | None:
    """The group of each source: group 0 for sources that no --group names, then one group for each --group."""
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


def rewards_of(asked: list[str] | None, pairs: Any) -> Any:
    if not asked:
        return "score" if pairs.scores else "bradley-terry"
    return [_reward(text, pairs) for text in asked]


def _reward(text: str, pairs: Any) -> Any:
    from jaxval import data

    if text.partition(":")[0] in ("score", "bradley-terry"):
        return text
    if text.endswith((".jsonl", ".jsonl.gz")):
        return data.read_scores(text, pairs)
    if ":" not in text:
        raise BadArgument(
            "--reward",
            expected="score, bradley-terry, a table that ends in .jsonl, or module:function",
            got=f"{text!r}",
        )
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
