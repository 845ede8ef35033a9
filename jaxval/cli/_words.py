"""Words of the command line: numbers as they are written there, and errors that name options."""

import argparse
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OPTIONS = {
    "pairs": "FILE",
    "path": "FILE",
    "comparisons": "FILE",
    "groups": "--group",
    "folder": "--out",
    "checkpoints": "--out",
    **{
        name: "--" + name.replace("_", "-")
        for name in (
            "source", "skip_unusable", "reward", "policy", "arithmetic", "beta", "ridge", "held_out", "semivalue",
            "permutations", "evaluations", "seeds", "truth", "epochs", "learning_rate", "reference", "loss",
            "batch_size", "accumulation",
        )
    },
    "loss_options": "--loss-option",
}  # fmt: skip
NAMES = "|".join(OPTIONS)
PYTHON: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [  # what callers in Python are told, and users here
    (r"^path: (?=expected a folder with config.json)", "--policy: "),
    (rf"^({NAMES})(\[[^]]*\])?: ", lambda found: f"{OPTIONS[found[1]]}: "),
    (r"regularise the step from the reference: fit\(\.\.\., ridge=([\d.]+)\)", r"regularise: --ridge \1"),
    (r"; call regress_shapley\(.*", ""),
    (r"; or pass source=None to take the file as one source", ""),
    (r"by source=\.\.\., such as source='([^']*)'", r"by --source, such as --source \1"),
    (r"source=None makes every file a source", "give every pair one"),
    (rf"\b({NAMES})=True\b", lambda found: OPTIONS[found[1]]),
    (rf"\b({NAMES})='([^']*)'", lambda found: f"{OPTIONS[found[1]]} {found[2]}"),
    (rf"\b({NAMES})=(?=[\d.])", lambda found: f"{OPTIONS[found[1]]} "),
]


@contextmanager
def naming_options() -> Iterator[None]:
    """Errors raised within name options, as a user of the command gave them, and not arguments of functions."""
    try:
        yield
    except ValueError as error:
        raise ValueError(as_options(str(error))) from error


def as_options(message: str) -> str:
    """A message of the library in the words of the command line."""
    for pattern, words in PYTHON:
        message = re.sub(pattern, words, message)
    return message


def above_zero(text: str) -> float:
    """A number above 0."""
    return _number(text, lambda number: 0 < number < math.inf, "a number above 0")


def from_zero(text: str) -> float:
    """A number of at least 0."""
    return _number(text, lambda number: 0 <= number < math.inf, "a number of at least 0")


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; got {text!r}")
    return int(text)


def even_count(text: str) -> int:
    """An even number of at least 4."""
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
