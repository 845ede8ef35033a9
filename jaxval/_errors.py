"""The error of a wrong argument, and texts of strangers made safe to print.

It loads nothing of JAX, so that the command line can name a mistake at once.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BadArgument"]


def without_controls(text: str) -> str:
    r"""A stranger's text with a space for each character that no terminal prints, or that moves or turns the writing.

    Example:
        >>> without_controls("up\x1b[1A  and")
        'up [1A  and'
    """
    return "".join(letter if letter.isprintable() else " " for letter in text)


def printable(text: str) -> str:
    r"""A text of strangers as one line that neither moves the cursor nor turns the direction of writing.

    Characters that no terminal prints become spaces.

    Example:
        >>> printable("up\x1b[1A\n  and \u202eback")
        'up [1A and back'
    """
    return " ".join(without_controls(text).split())


def json_text(value: Any, *, indent: int | None = 1, allow_nan: bool = False) -> str:
    r"""JSON that a person can read, in which what no terminal prints, or what would turn the writing, is escaped.

    Args:
        value: of JSON's types.
        indent: as for `json.dumps`; None means one line.
        allow_nan: as for `json.dumps`; False means that numbers must be finite.

    Returns:
        The text.

    Example:
        >>> print(json_text(["É", "\u202eback"], indent=None))
        ["É", "\u202eback"]
    """
    lines = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan).split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_escaped, line)) for line in lines)


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


class BadArgument(ValueError):  # noqa: N818, it says what is wrong
    """An argument that is wrong: which, what was expected, what came, and what to do about it.

    Printed as `name: expected ...; got ...; advice`. The command line puts the name of its option in place of `name`.

    Attributes:
        name: of the argument; with a place in it, such as `sources[2]`, or of a file with a line.
        expected: what was expected, in words.
        got: what came, in words; None if there is nothing to tell.
        advice: what to do; None if that is clear.
        mentions: the arguments that the advice names, in place of {0}, {1} in it.

    Example:
        >>> error = BadArgument("beta", expected="a number above 0", got=-1, advice="pass beta=0.1")
        >>> print(error)
        beta: expected a number above 0; got -1; pass beta=0.1
        >>> error.name, error.got
        ('beta', '-1')
    """

    def __init__(
        self, name: Any, *, expected: Any, got: Any = None, advice: Any = None, mentions: Sequence[str] = ()
    ) -> None:
        if isinstance(mentions, str) or not isinstance(mentions, Sequence):
            raise BadArgument("mentions", expected="a sequence of the names of arguments", got=f"{mentions!r:.80}")
        self.name, self.expected, self.mentions = str(name), str(expected), tuple(map(str, mentions))
        self.got, self.advice = (None if part is None else str(part) for part in (got, advice))
        super().__init__(self.under(self.name))

    def under(self, name: str, options: Mapping[str, str] | None = None) -> str:
        """The message with another name for the argument, and with the options for arguments in the advice."""
        if not isinstance(options, Mapping | None):
            raise BadArgument("options", expected="words by the names of arguments", got=f"{options!r:.80}")
        got, advice = "" if self.got is None else f"; got {self.got}", self.advice
        if advice is not None and self.mentions:
            marks = {"{{": "{", "}}": "}"}
            marks |= {f"{{{i}}}": str((options or {}).get(one, one)) for i, one in enumerate(self.mentions)}
            advice = re.sub(r"{{|}}|{\d+}", lambda mark: marks.get(mark[0], mark[0]), advice)  # other braces stay
        message = f"{name}: expected {self.expected}{got}{'' if advice is None else f'; {advice}'}"
        return "\n".join(map(without_controls, message.split("\n")))  # a traceback prints it as it is

    def renamed(self, name: str) -> "BadArgument":
        """The same error of another argument, whose name the caller's user knows."""
        return BadArgument(name, expected=self.expected, got=self.got, advice=self.advice, mentions=self.mentions)

    def with_advice(self, advice: str) -> "BadArgument":
        """The same error with more advice."""
        advice = str(advice)
        if self.mentions:  # what is added holds no marks of arguments
            advice = advice.replace("{", "{{").replace("}", "}}")
        both = advice if self.advice is None else f"{self.advice}; {advice}"
        return BadArgument(self.name, expected=self.expected, got=self.got, advice=both, mentions=self.mentions)

    def __reduce__(self) -> Any:  # an error that a worker raises is pickled
        return _bad_argument, (self.name, self.expected, self.got, self.advice, self.mentions)


BadArgument.__module__ = "jaxval.types"  # where users find it


def _bad_argument(name: str, expected: str, got: str | None, advice: str | None, mentions: Any) -> BadArgument:
    return BadArgument(name, expected=expected, got=got, advice=advice, mentions=mentions)
