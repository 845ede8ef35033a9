"""Preference pairs of language models, as TRL writes them: a prompt, the response chosen, the one rejected."""

import json
import os
import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxval import _checks
from jaxval.checkpoints.files import whole_file
from jaxval.data._arrays import floats, indices
from jaxval.data._json_lines import ENDINGS, json_objects
from jaxval.data._judgements import Judgement, judgement, with_trl_names
from jaxval.data._text import FilePath, shorten, wrong
from jaxval.data.records import PreferencePairs
from jaxval.types import BadArgument, Comparisons

__all__ = ["read_preferences", "source_comparisons", "write_weighted"]

MOST_SOURCES = 1000
"""A file with more sources than this is refused: each source is a training, and the field is likely to be an id."""
MOST_CELLS = 2**28
"""Scores are stored densely; more of them than this, 2 GiB, are refused."""
LARGEST_SCORE = 1e15
FIELDS = "the fields prompt, chosen and rejected"
SCORED = "a score is a number; either every pair has scores of both responses, or none has"
POOLED = "a table of log-probabilities is read by data.read_log_probs, on the command line by --log-probs"
_SCORE = re.compile("(?P<before>.+[_-])?chosen(?P<after>[_-].+)?")


def read_preferences(
    path: FilePath | Sequence[FilePath], *, source: str | None = "source", skip_unusable: bool = False
) -> PreferencePairs:
    r"""Preference pairs from JSON lines, each with the source it came from.

    A line is an object with the fields `prompt`, `chosen` and `rejected`, in one of TRL's forms:

    - plain strings;
    - chat messages: lists of `{"role": ..., "content": ...}`;
    - chat messages with the prompt inside: `chosen` and `rejected` begin with the same messages, which are the prompt,
      and there is no `prompt`, or one that is a string and not used (as in UltraFeedback binarised).

    Chat messages become text. A single message becomes its content; of several, each becomes `role: content`, with an
    empty line between two. Equal texts are one prompt, or one response of a prompt. The messages of prompts are kept
    beside their texts, for a checkpoint with a chat template.

    A number in the field `weight` says how much a pair counts, and one in `p_chosen` how probable it is that the chosen
    response is preferred: such a pair is two comparisons, one each way, whose weights sum to that of the pair.

    The layout of AlpacaEval is read as it is: `instruction`, `output_1`, `output_2`, and `p_prefers_2` or `preference`.

    The field `source`, a string or a whole number, says who contributed a pair. If several files are given and their
    pairs have no such field, or if `source` is None, each file is a source with the name of the file without its
    ending.

    Two numbers in the fields `X_chosen` and `X_rejected`, or `chosen_X` and `rejected_X`, are scores under the reward
    X. A hyphen may stand for the underscore, and the object `metadata` may hold the fields. A response that was scored
    several times gets the mean. Every pair must have the rewards that the first pair has.

    Args:
        path: a file that ends in .jsonl, .jsonl.gz or .json (one array of all pairs), or several.
        source: the field that names a pair's source; "metadata.provider" is the field provider of the object metadata.
            None makes every file a source.
        skip_unusable: whether pairs without information (an empty prompt or response, chosen equal to rejected) are
            left out and counted instead of refused.

    Returns:
        `PreferencePairs`, in the order of the files and their lines.

    Raises:
        ValueError: if a file is malformed, has other fields, or has more than 1,000 sources. The message names the
            line.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import pathlib, tempfile
        >>> lines = [
        ...     '{"prompt": "2+2?", "chosen": "4", "rejected": "5", "source": "school", "score_chosen": 9, '
        ...     '"score_rejected": 1}',
        ...     '{"prompt": "2+2?", "chosen": "four", "rejected": "5", "source": "web", "score_chosen": 8, '
        ...     '"score_rejected": 2}',
        ... ]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "sums.jsonl")
        ...     _ = path.write_text("\n".join(lines) + "\n")
        ...     pairs = read_preferences(path)
        >>> pairs.prompts, pairs.responses, pairs.sources
        (('2+2?',), (('4', '5', 'four'),), ('school', 'web'))
        >>> pairs.comparisons.winner.tolist(), pairs.comparisons.loser.tolist(), pairs.scores["score"].tolist()
        ([0, 2], [1, 1], [[9.0, 1.5, 8.0]])

    Source: the preference formats of TRL, https://huggingface.co/docs/trl/dataset_formats.
    """
    files = files_of(path)
    if source is not None and not isinstance(source, str):
        raise BadArgument("source", expected="the name of a field, or None", got=f"{source!r}")
    prompts: dict[str, int] = {}
    chats: dict[str, Any] = {}
    responses: list[dict[str, int]] = []
    sources: dict[str, int] = {}
    scores: dict[str, array[float]] = defaultdict(lambda: array("d"))
    weights = array("d")
    context, winner, loser, origin = (array("i") for _ in range(4))
    skipped = 0
    for file, line, pair, _ in _checked_pairs(files, source):
        fault = _unusable(pair)
        if fault and not skip_unusable:
            expected, got = fault
            raise _skippable(file, line, expected, got)
        if fault:
            skipped += 1
            continue
        of_source = _index(sources, _stem(file) if pair.source is None else pair.source)
        if len(sources) > MOST_SOURCES:
            raise _too_many_sources(file, line, sources, source)
        prompt = _index(prompts, pair.prompt)
        if len(responses) < len(prompts):
            responses.append({})
            if pair.messages is not None:
                chats[pair.prompt] = [{part: one[part] for part in ("role", "content")} for one in pair.messages]
        two = [_index(responses[prompt], response) for response in (pair.chosen, pair.rejected)]
        weight, chance, _ = pair.judgement
        for order, share in ((1, chance), (-1, 1 - chance)):
            if share > 0:  # a pair that is sure is one comparison
                origin.append(of_source)
                context.append(prompt)
                winner.append(two[::order][0])
                loser.append(two[::order][1])
                weights.append(weight * share)
                for name, of_two in pair.scores.items():
                    scores[name].extend(of_two[::order])
    if not context:
        why = fault[1] if fault else "no pair"
        raise wrong(file, line, expected="at least one pair that says something", got=f"none up to here: {why}")
    ids = tuple(np.frombuffer(column, dtype=np.int32) for column in (context, winner, loser))
    shape = len(prompts), max(map(len, responses))
    return PreferencePairs(
        prompts=tuple(prompts),
        responses=tuple(map(tuple, responses)),
        comparisons=Comparisons(indices(ids[0]), indices(ids[1]), indices(ids[2]), floats(np.frombuffer(weights))),
        source=indices(np.frombuffer(origin, dtype=np.int32)),
        sources=tuple(sources),
        scores={name: _mean_scores(files[0], column, ids, shape) for name, column in scores.items()},
        title=title_of(files),
        skipped=skipped,
        chats=chats,
    )


def source_comparisons(pairs: PreferencePairs) -> list[Comparisons]:
    """The comparisons of each source, by the ids of the common catalogue, as one training per source needs them.

    Args:
        pairs: the pairs of all sources.

    Returns:
        One `Comparisons` for each of `pairs.sources`, each with at least one comparison if a reader made the pairs.

    Example:
        >>> comparisons = Comparisons(context=[0, 0, 1], winner=[0, 1, 1], loser=[1, 0, 0], weight=[1.0, 1.0, 1.0])
        >>> pairs = PreferencePairs(
        ...     ("p", "q"), (("a", "b"), ("c", "d")), comparisons, indices([0, 1, 0]), ("one", "two"), {}, "example"
        ... )
        >>> [part.winner.tolist() for part in source_comparisons(pairs)]
        [[0, 1], [1]]
    """
    _checks.check_record("pairs", pairs, PreferencePairs)
    _checks.check_record("pairs.comparisons", pairs.comparisons, Comparisons)
    _checks.check_names("pairs.sources", pairs.sources, "a name for each source")
    owner = np.asarray(
        _checks.integers("pairs.source", pairs.source, ndim=1, expected="the number of each pair's source")
    )
    columns = [
        np.asarray(_checks.real_array(f"pairs.comparisons.{name}", column))
        for name, column in zip(Comparisons._fields, pairs.comparisons, strict=True)
    ]
    for name, column in zip(Comparisons._fields, columns, strict=True):
        if column.shape != owner.shape:
            raise BadArgument(f"pairs.comparisons.{name}", expected=f"shape {owner.shape}", got=f"shape {column.shape}")
    return [
        Comparisons(*(jax.device_put(column[owner == index]) for column in columns))
        for index in range(len(pairs.sources))
    ]


def write_weighted(
    path: FilePath | Sequence[FilePath],
    out: FilePath,
    weights: Mapping[str, float | int],
    *,
    source: str | None = "source",
    skip_unusable: bool = False,
) -> dict[str, int]:
    r"""Write preference pairs again, the weight of each multiplied by the weight of its source.

    The pairs keep their fields, and the field `weight` is new or changed. Pairs of sources whose weight is 0 are left
    out, as are unusable pairs with `skip_unusable`. If each file is a source, the field `source` gets its name.

    Args:
        path: as in `read_preferences`, like `source` and `skip_unusable`.
        out: the file that is written, which ends in .jsonl.
        weights: the weight of each source by its name, at least 0 and not all 0.
        source: the field that names a pair's source.
        skip_unusable: whether pairs without information are left out.

    Returns:
        The number of pairs written, by the name of a source.

    Raises:
        ValueError: if a weight is negative or not finite, all are 0, a source has none, the file's ending is another,
            or a file is malformed.

    Example:
        >>> import pathlib, tempfile
        >>> row = '{"prompt": "2+2?", "chosen": "4", "rejected": "5", "source": "school", "weight": 2}'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pairs, out = pathlib.Path(folder, "pairs.jsonl"), pathlib.Path(folder, "weighted.jsonl")
        ...     _ = pairs.write_text(row + "\n")
        ...     written = write_weighted(pairs, out, {"school": 0.25})
        ...     written, read_preferences(out).comparisons.weight.tolist()
        ({'school': 1}, [0.5])
    """
    if not isinstance(weights, Mapping):
        raise BadArgument("weights", expected="weights by the names of sources", got=f"{type(weights).__name__}")
    _checks.check_path("out", out)
    for name, weight in weights.items():
        _checks.check_number(f"weights[{name!r}]", weight, low=-np.inf, high=np.inf, expected="a number")
        if not 0 <= weight < float("inf"):
            raise BadArgument("weights", expected="finite weights of at least 0", got=f"{weight} of {name!r}")
    if not any(weights.values()):
        raise BadArgument("weights", expected="a weight above 0", got="0 for every source")
    if not os.fspath(out).endswith(".jsonl"):
        raise BadArgument("out", expected="a name that ends in .jsonl", got=os.fspath(out))
    counts = dict.fromkeys(weights, 0)
    with whole_file(Path(out)) as draft, draft.open("w", encoding="utf-8") as lines:
        for file, line, pair, fields in _checked_pairs(files_of(path), source):
            fault = _unusable(pair)
            if fault and not skip_unusable:
                raise _skippable(file, line, *fault)
            name = _stem(file) if pair.source is None else pair.source
            if name not in weights:
                raise BadArgument("weights", expected="a weight of every source", got=f"none of {name!r}")
            if fault or weights[name] == 0:
                continue
            own = {"source": name} if pair.source is None else {}
            row = {**fields, **own, "weight": pair.judgement.weight * float(weights[name])}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            counts[name] += 1
    return counts


class _Pair(NamedTuple):
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
    pair: _Pair


def _checked_pairs(
    files: Sequence[FilePath], source: str | None
) -> Iterator[tuple[FilePath, int, _Pair, dict[str, Any]]]:
    """Every pair with its file and line, and its fields as they stand there.

    All pairs have one form, the same rewards, and a source or the file's.
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


def _index(places: dict[str, int], name: str) -> int:
    """The index of a name among those seen. A new name gets the next index."""
    return places.setdefault(name, len(places))


def files_of(path: FilePath | Sequence[FilePath]) -> list[FilePath]:
    files: list[Any] = [path] if not isinstance(path, Sequence) or isinstance(path, str) else list(path)
    if not files or not all(isinstance(file, str | os.PathLike) for file in files):
        raise BadArgument("path", expected="a file or several", got=f"{path!r}")
    return files


def title_of(files: Sequence[FilePath]) -> str:
    """The names of the files, at most three of them."""
    return ", ".join(map(_stem, files[:3])) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _check_names(files: Sequence[FilePath]) -> None:
    stems = [_stem(file) for file in files]
    for place, stem in enumerate(stems):
        if stem in stems[:place]:
            same = f"{os.fspath(files[stems.index(stem)])} and {os.fspath(files[place])}"
            raise BadArgument(
                "path", expected="files of different names, which name the sources", got=same, advice="rename one"
            )


def _stem(path: FilePath) -> str:
    name = Path(path).name
    return next(
        (name[: -len(ending)] for ending in (*ENDINGS, ".parquet", ".arrow") if name.lower().endswith(ending)), name
    )


def _read_pair(path: FilePath, line: int, fields: dict[str, Any], source: str | None) -> _Pair:
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
                    "chosen and rejected to begin with the same messages, the prompt, for the prompt is no list "
                    "of messages, and to go on with messages of their own"
                ),
                got="none in common",
            )
        prompt, chosen, rejected = chosen[:alike], chosen[alike:], rejected[alike:]
    read = _messages if chat else _string
    return _Pair(
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


def _check_alike(path: FilePath, line: int, pair: _Pair, first: _First, source: str | None) -> None:
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


def _unusable(pair: _Pair) -> tuple[str, str] | None:
    """For a pair without information, what was expected and what came; None for any other pair."""
    empty = [name for name in ("prompt", "chosen", "rejected") if not getattr(pair, name).strip()]
    if empty:
        return f"text in the field {empty[0]}", "an empty one"
    if pair.chosen == pair.rejected:
        return "two different responses", f"the same as chosen and rejected, {shorten(pair.chosen)}"
    return None


def _skippable(path: FilePath, line: int, expected: str, got: str) -> ValueError:
    """The error of a pair without information."""
    return wrong(path, line, expected=expected, got=got, advice="{0} leaves such pairs out", mentions=["skip_unusable"])


def _no_source(path: FilePath, line: int, fields: dict[str, Any], source: str) -> ValueError:
    return wrong(
        path,
        line,
        expected=f"the field {source!r}, which names the pair's source",
        got=_named(fields),
        advice="name the field that does by {0}, such as metadata.provider; or pass several files, one a source",
        mentions=["source"],
    )


def _too_many_sources(path: FilePath, line: int, sources: dict[str, int], source: str | None) -> ValueError:
    return wrong(
        path,
        line,
        expected=f"at most {MOST_SOURCES} different sources in the field {source}",
        got=f"more up to this line, the last {shorten(next(reversed(sources)))}",
        advice="the field looks like an id: name one that says who contributed the pair by {0}",
        mentions=["source"],
    )


def _mean_scores(
    path: FilePath, column: "array[float]", ids: tuple[np.ndarray, ...], shape: tuple[int, int]
) -> np.ndarray:
    """The mean score of every response, (contexts, most responses); NaN if it has no score."""
    if shape[0] * shape[1] > MOST_CELLS:
        raise BadArgument(os.fspath(path), expected=f"at most {MOST_CELLS} prompts x most responses", got=shape)
    context, winner, loser = ids
    cells = np.stack([context, context], axis=1).ravel(), np.stack([winner, loser], axis=1).ravel()
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, cells, np.frombuffer(column))
    np.add.at(count, cells, 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    if isinstance(value, str):
        return f"text, {shorten(value)}"
    return kinds.get(type(value), "a number")


def _named(fields: dict[str, Any]) -> str:
    names = [shorten(name) for name in fields]
    return (", ".join(names[:12]) or "no fields") + (f" and {len(names) - 12} more" if len(names) > 12 else "")
