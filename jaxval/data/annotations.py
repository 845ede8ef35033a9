"""Pairs of responses that several annotators judged, in the layout of PandaLM."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxval.data._arrays import floats, indices
from jaxval.data._columns import kind_of
from jaxval.data._json_lines import json_objects
from jaxval.data._tables import numbered
from jaxval.data._text import FilePath, wrong
from jaxval.data.records import NamedComparisons
from jaxval.types import Comparisons

__all__ = ["read_annotations"]

_ANNOTATOR = re.compile("annotator[ _-]?[0-9]{1,3}")


def read_annotations(path: FilePath) -> NamedComparisons:
    r"""Comparisons of two models, each judged by several annotators, in the layout of PandaLM's test set.

    An item has `cmp_key`, such as `bloom-7b_llama-7b`, the two models whose responses are compared; `instruction` and
    `input`, the prompt; and `annotator1`, `annotator2` and so on, each 1 if the first response is better, 2 if the
    second is, and 0 if neither is.

    Args:
        path: a file that ends in .json (one array of items) or .jsonl (one item a line), plain or with .gz.

    Returns:
        `NamedComparisons` between models: one comparison of weight 1 per item and annotator. A tie gives two
        comparisons of weight 1/2, one each way. The contexts are the prompts, the voters are the annotators.

    Raises:
        ValueError: if an item lacks a field or a verdict is another number. The message names the line.
        FileNotFoundError: if there is no such file.

    Example:
        >>> import json, pathlib, tempfile
        >>> item = {"cmp_key": "owl_emu", "instruction": "Rhyme.", "input": "", "annotator1": 1, "annotator2": 0}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "items.json")
        ...     _ = path.write_text(json.dumps([item]))
        ...     matches = read_annotations(path)
        >>> matches.names, matches.comparisons.winner.tolist(), matches.comparisons.weight.tolist()
        (('emu', 'owl'), [1, 1, 0], [1.0, 0.5, 0.5])
        >>> matches.voters, matches.voter.tolist(), matches.contexts
        (('annotator1', 'annotator2'), [0, 1, 1], ('Rhyme.',))

    Source: Wang et al. (2024), "PandaLM: an automatic evaluation benchmark for LLM instruction tuning optimization".
    """
    judged = [one for line, item in json_objects(path) for one in _judgements(path, line, item)]
    names, index = numbered(name for _, _, first, second, _ in judged for name in (first, second))
    contexts, asked = numbered(prompt for prompt, *_ in judged)
    voters, who = numbered(annotator for _, annotator, *_ in judged)
    rows = []
    for prompt, annotator, first, second, verdict in judged:
        pairs = [(first, second, 1.0)] if verdict == 1 else [(second, first, 1.0)]
        if verdict == 0:
            pairs = [(first, second, 0.5), (second, first, 0.5)]
        rows += [(asked[prompt], index[one], index[other], weight, who[annotator]) for one, other, weight in pairs]
    context, winner, loser, weight, voter = (list(column) for column in zip(*rows, strict=True))
    comparisons = Comparisons(indices(context), indices(winner), indices(loser), floats(weight))
    title = Path(path).name.split(".")[0]
    return NamedComparisons(comparisons, names, contexts, title, np.array(voter, dtype=np.int32), voters)


def _judgements(path: FilePath, line: int, item: dict[str, Any]) -> list[tuple[str, str, str, str, int]]:
    """The prompt, the annotator, the two models and the verdict, for each annotator of an item."""
    models = str(item.get("cmp_key", "")).split("_")
    if len(models) != 2 or not all(models) or models[0] == models[1]:
        got = kind_of(item.get("cmp_key"))
        raise wrong(path, line, expected="two different models, joined by _, in the field cmp_key", got=got)
    prompt = "\n".join(str(item[name]) for name in ("instruction", "input") if item.get(name))
    if not prompt:
        raise wrong(path, line, expected="a prompt in the field instruction", got=kind_of(item.get("instruction")))
    verdicts = {name: item[name] for name in item if _ANNOTATOR.fullmatch(name.lower())}
    if not verdicts:
        raise wrong(path, line, expected="fields annotator1, annotator2, ...", got=", ".join(item)[:60])
    for name, verdict in verdicts.items():
        if type(verdict) is not int or verdict not in (0, 1, 2):
            got = str(verdict) if type(verdict) in (int, float) else kind_of(verdict)
            raise wrong(path, line, expected=f"1 (the first), 2 (the second) or 0 (a tie) in field {name}", got=got)
    return [(prompt, name, models[0], models[1], verdict) for name, verdict in verdicts.items()]
