"""Preference pairs of language models, as TRL writes them: a prompt, the response chosen, the one rejected."""

import os
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxval import _checks
from jaxval._errors import json_text
from jaxval.checkpoints.files import whole_file
from jaxval.data._arrays import floats, indices
from jaxval.data._pair_lines import checked_pairs, files_of, skippable, source_of_file, title_of, unusable
from jaxval.data._text import FilePath, shorten, wrong
from jaxval.data.records import PreferencePairs
from jaxval.types import BadArgument, Comparisons

__all__ = ["read_preferences", "source_comparisons", "write_weighted"]

MOST_SOURCES = 1000
"""A file with more sources than this is refused: each source is a training, and the field is likely to be an id."""
MOST_CELLS = 2**28
"""Scores are stored densely; more of them than this, 2 GiB, are refused."""


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
    _checks.check_flag("skip_unusable", skip_unusable)
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
    for file, line, pair, _ in checked_pairs(files, source):
        fault = unusable(pair)
        if fault and not skip_unusable:
            expected, got = fault
            raise skippable(file, line, expected, got)
        if fault:
            skipped += 1
            continue
        of_source = _index(sources, source_of_file(file) if pair.source is None else pair.source)
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
        raise wrong(file, line, expected="at least one usable pair", got=f"none up to this line: {why}")
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
    _checks.check_flag("skip_unusable", skip_unusable)
    if source is not None:
        _checks.check_text("source", source)
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
        for file, line, pair, fields in checked_pairs(files_of(path), source):
            fault = unusable(pair)
            if fault and not skip_unusable:
                raise skippable(file, line, *fault)
            name = source_of_file(file) if pair.source is None else pair.source
            if name not in weights:
                raise BadArgument("weights", expected="a weight of every source", got=f"none of {name!r}")
            if fault or weights[name] == 0:
                continue
            own = {"source": name} if pair.source is None else {}
            row = {**fields, **own, "weight": pair.judgement.weight * float(weights[name])}
            lines.write(json_text(row, indent=None, allow_nan=True) + "\n")
            counts[name] += 1
    return counts


def _index(places: dict[str, int], name: str) -> int:
    """The index of a name among those seen. A new name gets the next index."""
    return places.setdefault(name, len(places))


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
