"""The command line's arguments: parsers of numbers, and errors that name options."""

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxval._errors import BadArgument

OPTIONS = {
    "pairs": "FILE",
    "path": "FILE",
    "pool": "--log-probs",
    "comparisons": "FILE",
    "groups": "--group",
    "folder": "--out",
    "checkpoints": "--out",
    "loss_options": "--loss-option",
    "ids": "--claim",
    "unions": "--hierarchy",
    "floors": "--floor",
    "most": "--over",
    "valued": "--weights",
    **{
        name: "--" + name.replace("_", "-")
        for name in (
            "source",
            "skip_unusable",
            "reward",
            "policy",
            "arithmetic",
            "beta",
            "ridge",
            "held_out",
            "semivalue",
            "permutations",
            "evaluations",
            "seeds",
            "truth",
            "fidelity",
            "fidelity_scores",
            "over",
            "objective",
            "least_effective",
            "any_base",
            "epochs",
            "learning_rate",
            "reference",
            "loss",
            "batch_size",
            "accumulation",
            "paper",
            "adapters",
            "reference_adapter",
            "stacked",
            "by",
            "equal",
            "each",
            "voter",
            "group",
            "least_votes",
            "samples",
            "new_tokens",
            "temperature",
            "layers",
        )
    },
}


@contextmanager
def naming_options() -> Iterator[None]:
    """Errors raised inside this context name the command's option in place of the function's argument."""
    try:
        yield
    except BadArgument as error:
        argument, bracket, index = error.name.partition("[")  # such as pair_options['weight']
        raise ValueError(error.under(OPTIONS.get(argument, argument + bracket + index), OPTIONS)) from error


def above_zero(text: str) -> float:
    """Parse a number above 0."""
    return _number(text, lambda number: 0 < number < math.inf, "a number above 0")


def from_zero(text: str) -> float:
    """Parse a number of at least 0."""
    return _number(text, lambda number: 0 <= number < math.inf, "a number of at least 0")


def count(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; got {text!r}")
    return int(text)


def even_count(text: str) -> int:
    """Parse an even number of at least 4."""
    if not (text.isascii() and text.isdigit()) or int(text) < 4 or int(text) % 2:
        raise argparse.ArgumentTypeError(
            f"expected an even number of at least 4, for permutations come in pairs, one the reverse of the other; "
            f"got {text!r}"
        )
    return int(text)


def _number(text: str, allowed: Callable[[float], bool], expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not allowed(number):
        raise argparse.ArgumentTypeError(f"expected {expected}; got {text}")
    return number
