"""A preference pair from a line of a file: texts, source, scores and weight, of one form in all lines."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxval.data._json_lines import ENDINGS, json_objects
from jaxval.data._judgements import Judgement, judgement, with_trl_names
from jaxval.data._text import FilePath, shorten, wrong
from jaxval.types import BadArgument

__all__ = [
    "Pair",
    "checked_pairs",
    "files_of",
    "skippable",
    "source_of_file",
    "text_of_messages",
    "title_of",
    "unusable",
]

LARGEST_SCORE = 1e15
FIELDS = "the fields prompt, chosen and rejected"
SCORED = "a score is a number; either every pair has scores of both responses, or none has"
POOLED = "a table of log-probabilities is read by data.read_log_probs, on the command line by --log-probs"
_SCORE = re.compile("(?P<before>.+[_-])?chosen(?P<after>[_-].+)?")


class Pair(NamedTuple):
    """What one line says."""

    prompt: str
    chosen: str
    rejected: str
    messages: Any  # of the prompt; None if texts are plain strings
    source: str | None  # None if the field is missing or was not asked for
    scores: dict[str, tuple[float, float]]
    judgement: Judgement


class _First(NamedTuple):
    path: FilePath
    line: int
    pair: Pair


def checked_pairs(
    files: Sequence[FilePath], source: str | None
) -> Iterator[tuple[FilePath, int, Pair, dict[str, Any]]]:
    """Every pair with its file, its line and the fields of that line.

    Check that all pairs have one form, the same rewards, and either all a field for the source or none.
    """
    first: _First | None = None
    for file in files:
        for line, named in json_objects(file, fields=FIELDS):
            fields = with_trl_names(file, line, named)
            pair = _read_pair(file, line, fields, source)
            if first is None:
                first = _First(file, line, pair)
                if pair.source is None:
                    _check_names(files)
                    if source is not None and len(files) == 1:
                        raise _no_source(file, line, fields, source)
            _check_alike(file, line, pair, first, source)
            yield file, line, pair, named


def files_of(path: FilePath | Sequence[FilePath]) -> list[FilePath]:
    """One file or several as a list."""
    files: list[Any] = [path] if not isinstance(path, Sequence) or isinstance(path, str) else list(path)
    if not files or not all(isinstance(file, str | os.PathLike) for file in files):
        raise BadArgument("path", expected="a file or several", got=f"{path!r}")
    return files


def title_of(files: Sequence[FilePath]) -> str:
    """The names of the files, at most three of them."""
    return ", ".join(map(source_of_file, files[:3])) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _check_names(files: Sequence[FilePath]) -> None:
    stems = [source_of_file(file) for file in files]
    for place, stem in enumerate(stems):
        if stem in stems[:place]:
            same = f"{os.fspath(files[stems.index(stem)])} and {os.fspath(files[place])}"
            raise BadArgument(
                "path", expected="files of different names, which name the sources", got=same, advice="rename one"
            )


def source_of_file(path: FilePath) -> str:
    """The name of a file without its ending, as a source is called if each file is one."""
    name = Path(path).name
    return next(
        (name[: -len(ending)] for ending in (*ENDINGS, ".parquet", ".arrow") if name.lower().endswith(ending)), name
    )


def _read_pair(path: FilePath, line: int, fields: dict[str, Any], source: str | None) -> Pair:
    missing = [name for name in ("chosen", "rejected") if name not in fields]
    chat = isinstance(fields.get("chosen"), list)
    if "prompt" not in fields and not chat:
        missing.insert(0, "prompt")
    if missing:
        raise wrong(
            path,
            line,
            expected=FIELDS,
            got=f"no {' and no '.join(missing)} among {_named(fields)}",
            advice=POOLED if any(name.startswith("log_prob") for name in fields) else "rename the fields as TRL does",
        )
    prompt, chosen, rejected = fields.get("prompt"), fields["chosen"], fields["rejected"]
    if chat and not isinstance(rejected, list):
        raise wrong(path, line, expected="chat messages in the field rejected, as in chosen", got=_kind(rejected))
    if chat and (prompt is None or isinstance(prompt, str)):
        alike = _common_prefix(chosen, rejected)
        if not alike:
            raise wrong(
                path,
                line,
                expected=(
                    "chosen and rejected that begin with the same messages, which are the prompt, and end with "
                    "messages of their own, because the field prompt is no list of messages"
                ),
                got="no message that both begin with",
            )
        prompt, chosen, rejected = chosen[:alike], chosen[alike:], rejected[alike:]
    read = _messages if chat else _string
    return Pair(
        prompt=read(path, line, "prompt", prompt),
        chosen=read(path, line, "chosen", chosen),
        rejected=read(path, line, "rejected", rejected),
        messages=prompt if chat else None,
        source=_source(path, line, fields, source),
        scores=_scores(path, line, fields),
        judgement=judgement(path, line, fields),
    )


def _common_prefix(chosen: list[Any], rejected: list[Any]) -> int:
    """How many messages both begin with; at least one remains to either."""
    most = min(len(chosen), len(rejected)) - 1
    return next((i for i in range(most) if chosen[i] != rejected[i]), max(most, 0))


def _string(path: FilePath, line: int, field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(path, line, expected=f"text in the field {field}", got=_kind(value))
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        got = f"\\u{ord(value[error.start]):04x} in place {error.start + 1}"
        raise wrong(path, line, expected=f"text in the field {field}", got=f"half a character, {got}") from None
    return value


def _messages(path: FilePath, line: int, field: str, value: Any) -> str:
    if not isinstance(value, list):
        raise wrong(path, line, expected=f"chat messages in the field {field}, as in chosen", got=_kind(value))
    parts = []
    for place, message in enumerate(value):
        if not isinstance(message, dict) or not {"role", "content"} <= set(message):
            raise wrong(
                path,
                line,
                expected=f"messages with role and content in the field {field}",
                got=f"{_named(message) if isinstance(message, dict) else _kind(message)} in message {place + 1}",
            )
        role, content = (_string(path, line, f"{field}[{place}].{name}", message[name]) for name in ("role", "content"))
        parts.append({"role": role, "content": content})
    return text_of_messages(parts)


def text_of_messages(messages: Sequence[Mapping[str, str]]) -> str:
    """The text of chat messages for a model without a chat template; several messages have their roles in front."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def _source(path: FilePath, line: int, fields: dict[str, Any], source: str | None) -> str | None:
    if source is None:
        return None
    value: Any = fields
    for name in [source] if source in fields else source.split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:d}" if abs(value) < 1e15 else _string(path, line, source, value)
    named = _string(path, line, source, value)
    if not named.strip():
        raise wrong(path, line, expected=f"the name of a source in the field {source}", got="an empty one")
    return named


def _scores(path: FilePath, line: int, fields: dict[str, Any]) -> dict[str, tuple[float, float]]:
    scores: dict[str, tuple[float, float]] = {}
    metadata = fields.get("metadata")
    for place in (fields, metadata if isinstance(metadata, dict) else {}):
        for column, chosen in place.items():
            match = _SCORE.fullmatch(column)
            if not match or (match["before"] is None) == (match["after"] is None):
                continue
            before, after = match["before"] or "", match["after"] or ""
            other = f"{before}rejected{after}"
            if other not in place or not (_is_number(chosen) or _is_number(place[other])):
                continue
            name = (before or after).strip("_-") or before or after
            if name in scores:
                raise wrong(
                    path, line, expected=f"one pair of columns for the reward {name}", got="two", advice="rename one"
                )
            scores[name] = _score(path, line, column, chosen), _score(path, line, other, place[other])
    return scores


def _score(path: FilePath, line: int, column: str, value: Any) -> float:
    if not _is_number(value):
        raise wrong(path, line, expected=f"a score in the column {column}", got=_kind(value), advice=SCORED)
    if not abs(value) <= LARGEST_SCORE:
        raise wrong(path, line, expected=f"a finite score, at most {LARGEST_SCORE:g}, in {column}", got=str(value)[:20])
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_alike(path: FilePath, line: int, pair: Pair, first: _First, source: str | None) -> None:
    """The same kind of text, the same rewards, and a source or none, as in the first pair."""
    there = f"{os.fspath(first.path)}, line {first.line}" if path != first.path else f"line {first.line}"
    if (pair.messages is None) != (first.pair.messages is None):
        both = (first.pair.messages, pair.messages)
        kinds = ["plain strings" if messages is None else "chat messages" for messages in both]
        raise wrong(path, line, expected=f"{kinds[0]}, as in {there}", got=f"{kinds[1]}: write all pairs in one form")
    if pair.judgement.fields != first.pair.judgement.fields:
        one, other = (" and ".join(of.judgement.fields) or "neither" for of in (first.pair, pair))
        raise wrong(path, line, expected=f"weight and p_chosen in every pair or in none; {there} has {one}", got=other)
    lacking = ", ".join(sorted(first.pair.scores.keys() - pair.scores.keys())[:5])
    new = ", ".join(sorted(pair.scores.keys() - first.pair.scores.keys())[:5])
    if lacking or new:
        got = f"no {lacking}, which {there} has" if lacking else f"{new}, which {there} has not"
        raise wrong(path, line, expected="the same scores for every pair", got=got, advice=SCORED)
    if (pair.source is None) != (first.pair.source is None):
        has, lacks = (there, "this pair") if pair.source is None else ("this pair", there)
        raise wrong(
            path,
            line,
            expected=f"the field {source!r} in every pair, or in none",
            got=f"{has} with it, {lacks} without",
        )


def unusable(pair: Pair) -> tuple[str, str] | None:
    """For a pair without information, what was expected and what came; None for any other pair."""
    empty = [name for name in ("prompt", "chosen", "rejected") if not getattr(pair, name).strip()]
    if empty:
        return f"text in the field {empty[0]}", "an empty one"
    if pair.chosen == pair.rejected:
        return "two different responses", f"the same as chosen and rejected, {shorten(pair.chosen)}"
    return None


def skippable(path: FilePath, line: int, expected: str, got: str) -> ValueError:
    """The error of a pair without information."""
    return wrong(path, line, expected=expected, got=got, advice="{0} leaves such pairs out", mentions=["skip_unusable"])


def _no_source(path: FilePath, line: int, fields: dict[str, Any], source: str) -> ValueError:
    return wrong(
        path,
        line,
        expected=f"the field {source!r}, which names the pair's source",
        got=_named(fields),
        advice=(
            "if another field names it, give that field by {0}, such as metadata.provider; or pass several files, one "
            "for each source"
        ),
        mentions=["source"],
    )


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    if isinstance(value, str):
        return f"text, {shorten(value)}"
    return kinds.get(type(value), "a number")


def _named(fields: dict[str, Any]) -> str:
    names = [shorten(name) for name in fields]
    return (", ".join(names[:12]) or "no fields") + (f" and {len(names) - 12} more" if len(names) > 12 else "")
