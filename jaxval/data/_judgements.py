"""How sure a pair is, and how much it counts: weights, soft labels, and pairs in the layout of AlpacaEval."""

import math
from typing import Any, NamedTuple

from jaxval.data._columns import kind_of
from jaxval.data._text import FilePath, wrong

__all__ = ["Judgement", "judgement", "with_trl_names"]

LARGEST_WEIGHT = 1e6


class Judgement(NamedTuple):
    """What a pair says besides its texts.

    Attributes:
        weight: how much the pair counts.
        chance: the probability that the chosen response is preferred.
        fields: the names of the fields that told so, which all pairs must have.
    """

    weight: float
    chance: float
    fields: tuple[str, ...]


def with_trl_names(path: FilePath, line: int, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields by TRL's names, if they are in the layout of AlpacaEval: instruction, output_1, output_2.

    The preference is `p_prefers_2`, the probability that output_2 is preferred, or `preference`, which is 1 or 2 for
    the preferred output, and a number between them for an unsure one.
    """
    if "chosen" in fields or not {"instruction", "output_1", "output_2"} <= set(fields):
        return fields
    second: Any = fields.get("p_prefers_2")
    if second is None:
        verdict: Any = fields.get("preference")
        if not _is_number(verdict) or not 1 <= verdict <= 2:
            raise wrong(
                path,
                line,
                expected="p_prefers_2 from 0 to 1, or preference from 1 to 2",
                got=kind_of(verdict) if not _is_number(verdict) else verdict,
                advice="leave out what the annotator could not judge",
            )
        second = verdict - 1
    first = 1 - _within("p_prefers_2", path, line, second, 0.0, 1.0)
    rest = {name: value for name, value in fields.items() if name not in ("instruction", "output_1", "output_2")}
    names = {"prompt": fields["instruction"], "chosen": fields["output_1"], "rejected": fields["output_2"]}
    return {**rest, **names, "p_chosen": first}


def judgement(path: FilePath, line: int, fields: dict[str, Any]) -> Judgement:
    """The weight and the soft label of a pair, 1 and 1 if it has none."""
    names = tuple(name for name in ("weight", "p_chosen") if name in fields)
    weight = _within("weight", path, line, fields.get("weight", 1), 0.0, LARGEST_WEIGHT)
    if weight <= 0:
        raise wrong(path, line, expected="a weight above 0", got=weight, advice="leave the pair out")
    return Judgement(weight, _within("p_chosen", path, line, fields.get("p_chosen", 1), 0.0, 1.0), names)


def _within(name: str, path: FilePath, line: int, value: Any, low: float, high: float) -> float:
    if not _is_number(value):
        raise wrong(path, line, expected=f"a number in the field {name}", got=kind_of(value))
    if not low <= value <= high:
        raise wrong(path, line, expected=f"a number from {low:g} to {high:g} in the field {name}", got=str(value)[:20])
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
