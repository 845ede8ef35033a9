"""Tables of log-probabilities from any engine: pools of sampled responses, and candidates that were given."""

import os
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxval.data._columns import Batch, batches
from jaxval.data._pair_lines import files_of, title_of
from jaxval.data._text import FilePath, shorten
from jaxval.types import BadArgument

__all__ = ["SamplePool", "read_log_probs"]

MOST_CELLS = 2**28
"""Numbers are stored densely, prompts by most responses; more of them than this, 2 GiB, are refused."""
ROUNDING = 1e-6
REFERENCE = "reference"
NO_PROPOSAL = (
    "a pool says nothing without the distribution that its responses were drawn from, for its weights are π/q: write "
    "drawn_from if each came from the reference or a source at temperature 1, log_proposal otherwise; candidates that "
    "were not drawn are read with --candidates (candidates=True)"
)


class SamplePool(NamedTuple):
    """Responses to prompts with the log-probabilities of the reference and of every source, and their rewards.

    Prompts have as many slots as the largest number of responses to one of them. A slot without a response has
    `drawn_from` -1 or `proposal` inf; its other numbers are 0.

    Attributes:
        prompts: the different prompts, in order of appearance.
        sources: the names of the sources.
        rewards: the names of the rewards.
        log_probs: (sources + 1, prompts, samples) log π_k(y|x), the reference first.
        scores: (prompts, samples, rewards).
        proposal: (prompts, samples) log q(y|x); 0 for candidates. None if `drawn_from` tells.
        drawn_from: (prompts, samples) 0 for the reference, 1, 2, ... for the sources, then further proposals. None if
            `proposal` tells.
        proposals: the names of further proposals.
        proposal_log_probs: (proposals, prompts, samples) their log-probabilities.
        candidates: whether the responses are candidates that were given, and not drawn.
        title: a name for the pool.
    """

    prompts: tuple[str, ...]
    sources: tuple[str, ...]
    rewards: tuple[str, ...]
    log_probs: np.ndarray
    scores: np.ndarray
    proposal: np.ndarray | None
    drawn_from: np.ndarray | None
    proposals: tuple[str, ...]
    proposal_log_probs: np.ndarray
    candidates: bool
    title: str


def read_log_probs(path: FilePath | Sequence[FilePath], *, candidates: bool = False) -> SamplePool:
    r"""A pool of sampled responses, or a table of candidates, with log-probabilities under every policy.

    A row is a response. Its columns are `prompt`, `log_prob_reference`, `log_prob_NAME` for each source, and
    `reward_NAME` for each reward. Log-probabilities are those of whole responses: sums over their tokens and the end
    token, at temperature 1. One of two more columns says what the response was drawn from:

    - `drawn_from`: "reference", the name of a source, or the name of a further proposal, which then has a column
      `log_proposal_NAME` and is no source. The shares of the mixture are, in each prompt, those of its rows.
    - `log_proposal`: the log-probability with which it was drawn, for draws at another temperature, say.

    A response that was drawn twice has two rows. Other columns, such as `response`, are not read.

    Candidates need neither column; policies are then normalised over the responses to a prompt, which the column
    `response` tells apart. They may also be in TRL's layout, two in a row: `prompt`, `chosen`, `rejected`,
    `ref_chosen_logps`, `ref_rejected_logps`, likewise `NAME_chosen_logps` and `NAME_rejected_logps` for each source,
    and two numbers `X_chosen` and `X_rejected` for each reward X.

    Args:
        path: a file of JSON lines (.jsonl, .jsonl.gz), Parquet (.parquet) or Arrow (.arrow), or a folder of
            `save_to_disk`; or several with the same columns. All but JSON lines need the extra `tables`.
        candidates: whether the rows are candidates.

    Returns:
        `SamplePool`.

    Raises:
        ValueError: if a file is malformed or cut off, a column is missing or has something else than numbers, a
            log-probability is NaN or above 0, a prompt has only one response, or nothing says what responses were drawn
            from.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import pathlib, tempfile
        >>> lines = [
        ...     '{"prompt": "2+2?", "response": "4", "log_prob_reference": -1.2, "log_prob_school": -0.2, '
        ...     '"reward_right": 1, "drawn_from": "school"}',
        ...     '{"prompt": "2+2?", "response": "5", "log_prob_reference": -1.6, "log_prob_school": -2.3, '
        ...     '"reward_right": 0, "drawn_from": "reference"}',
        ... ]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "pool.jsonl")
        ...     _ = path.write_text("\n".join(lines) + "\n")
        ...     pool = read_log_probs(path)
        >>> pool.sources, pool.rewards, pool.log_probs[:, 0].tolist(), pool.drawn_from.tolist()
        (('school',), ('right',), [[-1.2, -1.6], [-0.2, -2.3]], [[1, 0]])
    """
    files = files_of(path)
    layout: _Layout | None = None
    prompts: dict[str, int] = {}
    ids = array("i")
    numbers: dict[str, array[float]] = {}
    labels = array("i")
    seen: dict[tuple[int, str], int] = {}
    for batch in _rows(files, candidates):
        if layout is None:
            layout = _layout(batch, candidates)
            numbers = {name: array("d") for name in layout.columns}
        _check_columns(batch, layout)
        codes, texts = batch.texts("prompt")
        places = np.array([prompts.setdefault(text, len(prompts)) for text in texts], dtype=np.int32)[codes]
        columns = {name: _numbers(batch, name) for name in layout.columns}
        if layout.labels:
            labels.frombytes(_labels(batch, layout).tobytes())
        if candidates:
            kept = _distinct(batch, places, columns, numbers, seen, len(ids))
            places, columns = places[kept], {name: column[kept] for name, column in columns.items()}
        ids.frombytes(places.tobytes())
        for name, column in columns.items():
            numbers[name].frombytes(column.tobytes())
    assert layout is not None
    return _gather(files, layout, tuple(prompts), np.frombuffer(ids, np.int32), numbers, labels, candidates)


class _Layout(NamedTuple):
    sources: tuple[str, ...]
    rewards: tuple[str, ...]
    proposals: tuple[str, ...]
    labels: dict[str, int]  # of drawn_from; empty if there is no such column
    columns: tuple[str, ...]  # of numbers


def _layout(batch: Batch, candidates: bool) -> _Layout:
    """The sources, rewards and proposals that the names of the columns tell."""

    def named(prefix: str) -> tuple[str, ...]:
        return tuple(name[len(prefix) :] for name in batch.columns if name.startswith(prefix) and name != prefix)

    sources = tuple(name for name in named("log_prob_") if name != REFERENCE)
    rewards, proposals = named("reward_"), named("log_proposal_")
    missing = [name for name in ("prompt", f"log_prob_{REFERENCE}") if name not in batch.columns]
    missing += [] if sources else ["log_prob_NAME for a source"]
    missing += [] if rewards else ["reward_NAME"]
    missing += ["response"] if candidates and "response" not in batch.columns else []
    if missing:
        raise batch.wrong(
            0,
            expected=f"the columns prompt, log_prob_{REFERENCE}, log_prob_NAME for each source, reward_NAME",
            got=f"no {' and no '.join(missing)} among {_listed(batch.columns)}",
        )
    if both := sorted({REFERENCE, *sources} & set(proposals)):
        raise batch.wrong(0, expected="another name for a further proposal", got=f"log_proposal_{both[0]}")
    known = [name for name in ("drawn_from", "log_proposal") if name in batch.columns]
    if candidates and known:
        raise batch.wrong(0, expected=f"no column {known[0]} beside candidates, which were not drawn", got=known[0])
    if not candidates and len(known) != 1:
        raise batch.wrong(
            0,
            expected="the column drawn_from or the column log_proposal",
            got=f"{'both' if known else 'neither'} among {_listed(batch.columns)}",
            advice="log_proposal is the whole proposal: remove drawn_from" if known else NO_PROPOSAL,
        )
    if proposals and "drawn_from" not in known:
        raise batch.wrong(0, expected="the column drawn_from", got=f"log_proposal_{proposals[0]} without it")
    labels = {name: k for k, name in enumerate((REFERENCE, *sources, *proposals))} if "drawn_from" in known else {}
    columns = [f"log_prob_{name}" for name in (REFERENCE, *sources)] + [f"reward_{name}" for name in rewards]
    columns += [f"log_proposal_{name}" for name in proposals] + [name for name in known if name == "log_proposal"]
    return _Layout(sources, rewards, proposals, labels, tuple(columns))


def _check_columns(batch: Batch, layout: _Layout) -> None:
    """Every file must have the columns of the first."""
    wanted = ["prompt", *layout.columns, *(["drawn_from"] if layout.labels else [])]
    for name in wanted:
        if name not in batch.columns:
            raise batch.wrong(0, expected=f"the column {name}, as in the first file", got=_listed(batch.columns))
    for name in batch.columns:
        if name.startswith(("log_prob_", "log_proposal", "reward_")) and name not in layout.columns:
            raise batch.wrong(0, expected="the columns of the first file", got=f"{name} as well")


def _numbers(batch: Batch, name: str) -> np.ndarray:
    """The numbers of a column: finite rewards, log-probabilities of at most 0."""
    column = batch.numbers(name)
    reward = name.startswith("reward_")
    right = np.isfinite(column) if reward else column <= ROUNDING
    if name == "log_proposal":
        right &= column > -np.inf
    if not right.all():
        place = int(np.argmin(right))
        raise batch.wrong(
            place,
            expected=f"a finite number in {name}" if reward else f"a log-probability, at most 0, in {name}",
            got=f"{column[place]:g}",
            advice=None if reward else "it is the sum over the tokens of the response, not a loss",
        )
    return column


def _labels(batch: Batch, layout: _Layout) -> np.ndarray:
    codes, texts = batch.texts("drawn_from")
    for code, text in enumerate(texts):
        if text not in layout.labels:
            raise batch.wrong(
                int(np.argmax(codes == code)),
                expected=f"one of {_listed(layout.labels)} in drawn_from",
                got=shorten(text),
                advice=f"a further proposal needs the column log_proposal_{text}",
            )
    return np.array([layout.labels[text] for text in texts], dtype=np.int32)[codes]


def _distinct(
    batch: Batch,
    places: np.ndarray,
    columns: dict[str, np.ndarray],
    numbers: dict[str, "array[float]"],
    seen: dict[tuple[int, str], int],
    first: int,
) -> np.ndarray:
    """The rows whose candidate comes for the first time; a candidate that comes again must have the same numbers."""
    codes, texts = batch.texts("response")
    kept: list[int] = []
    for row, (prompt, code) in enumerate(zip(places.tolist(), codes.tolist(), strict=True)):
        index = seen.setdefault((prompt, texts[code]), first + len(kept))
        if index == first + len(kept):
            kept.append(row)
            continue
        for name, column in columns.items():
            before = numbers[name][index] if index < first else column[kept[index - first]]
            if not (column[row] == before or abs(column[row] - before) <= 1e-4 * max(1, abs(before))):
                got = f"{column[row]:g} after {before:g} for {shorten(texts[code])}"
                raise batch.wrong(row, expected=f"the same {name} for the same candidate", got=got)
    return np.array(kept, dtype=np.int64)


def _gather(
    files: Sequence[FilePath],
    layout: _Layout,
    prompts: tuple[str, ...],
    ids: np.ndarray,
    numbers: dict[str, "array[float]"],
    labels: "array[int]",
    candidates: bool,
) -> SamplePool:
    """The rows of each prompt side by side."""
    counts = np.bincount(ids, minlength=len(prompts))
    name, samples = os.fspath(files[0]), int(counts.max())
    if counts.min() < 2:
        raise BadArgument(
            name,
            expected="at least two responses to every prompt",
            got=f"one to {shorten(prompts[int(counts.argmin())])}, and {int((counts < 2).sum()) - 1} more such prompts",
            advice="sample more, or leave the prompt out",
        )
    if len(prompts) * samples * len(numbers) > MOST_CELLS:
        expected = f"at most {MOST_CELLS} prompts x most responses x columns"
        raise BadArgument(name, expected=expected, got=f"{len(prompts)} x {samples} x {len(numbers)}")
    order = np.argsort(ids, kind="stable")
    slots = np.empty(len(ids), dtype=np.int64)
    slots[order] = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    cells = ids * np.int64(samples) + slots

    def gathered(names: list[str]) -> np.ndarray:
        table = np.zeros((len(names), len(prompts) * samples))
        for row, name in zip(table, names, strict=True):
            row[cells] = np.frombuffer(numbers.pop(name))
        return table.reshape(len(names), len(prompts), samples)

    log_probs = gathered([f"log_prob_{name}" for name in (REFERENCE, *layout.sources)])
    scores = np.moveaxis(gathered([f"reward_{name}" for name in layout.rewards]), 0, 2)
    further = gathered([f"log_proposal_{name}" for name in layout.proposals])
    proposal: Any = None
    drawn_from: Any = None
    if layout.labels:
        drawn_from = np.full(len(prompts) * samples, -1, dtype=np.int32)
        drawn_from[cells] = np.frombuffer(labels, np.int32)
        drawn_from = drawn_from.reshape(len(prompts), samples)
    else:
        proposal = np.full(len(prompts) * samples, np.inf)
        proposal[cells] = 0.0 if candidates else np.frombuffer(numbers["log_proposal"])
        proposal = proposal.reshape(len(prompts), samples)
    return SamplePool(
        prompts,
        layout.sources,
        layout.rewards,
        log_probs,
        scores,
        proposal,
        drawn_from,
        layout.proposals,
        further,
        candidates,
        title_of(files),
    )


def _rows(files: Sequence[FilePath], candidates: bool) -> Iterator[Batch]:
    for file in files:
        for batch in batches(file, without=() if candidates else ("response",)):
            yield _from_pairs(batch) if candidates and {"chosen", "rejected"} <= set(batch.columns) else batch


def _from_pairs(batch: Batch) -> Batch:
    """Rows of two candidates in TRL's layout as two rows of one candidate."""
    columns = {name: list(_values(column)) for name, column in batch.columns.items()}
    names: dict[str, str] = {}  # of the chosen candidate's columns, by the name of the single candidate's column
    for name in columns:
        if name.endswith("_chosen_logps"):
            policy = name.removesuffix("_chosen_logps")
            names[f"log_prob_{REFERENCE if policy == 'ref' else policy}"] = name
        elif name.endswith("_chosen") and isinstance(columns[name][0], int | float):
            names[f"reward_{name.removesuffix('_chosen').removeprefix('reward_')}"] = name
    names["response"] = "chosen"
    if missing := [other for name in names.values() if (other := name.replace("chosen", "rejected")) not in columns]:
        raise batch.wrong(0, expected=f"the column {missing[0]}", got=_listed(columns))
    if "prompt" not in columns:
        raise batch.wrong(0, expected="the column prompt", got=_listed(columns))

    def both(one: list[Any], other: list[Any]) -> list[Any]:
        return [value for pair in zip(one, other, strict=True) for value in pair]

    split = {
        name: both(columns[chosen], columns[chosen.replace("chosen", "rejected")]) for name, chosen in names.items()
    }
    split["prompt"] = both(columns["prompt"], columns["prompt"])
    return Batch(batch.path, [row for row in batch.rows for _ in range(2)], batch.unit, split)


def _values(column: Any) -> list[Any]:
    return column if isinstance(column, list) else column.to_pylist()


def _listed(names: Any) -> str:
    shown = [shorten(name) for name in names]
    return (", ".join(shown[:12]) or "no columns") + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")
