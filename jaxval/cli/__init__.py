"""The command `jaxval`. JAX is imported only after the arguments are parsed, so that `--help` answers at once."""

import argparse
import difflib
import os
import sys
from typing import Any, NoReturn

from jaxval import __version__
from jaxval._errors import printable
from jaxval.cli import value, verify, votes
from jaxval.cli.programs import keep_programs
from jaxval.cli.votes import aggregate

__all__ = ["aggregate", "keep_programs", "main"]


def main(argv: list[str] | None = None) -> int:
    """Run the command `jaxval`.

    Args:
        argv: the words after `jaxval`; None means those of the process.

    Returns:
        The exit status: 0 for success, 2 if the input is wrong, 130 if the command is interrupted. 1 means that a
        verdict differs from the recorded one, or that the reader of the output closed the pipe.

    Example:
        >>> main(["aggregate", "no-such-file.csv", "--json"])
        2
    """
    arguments = _parser().parse_args(argv)
    arguments.words = sys.argv[1:] if argv is None else list(argv)
    if "jax" not in sys.modules:  # a process of its own
        keep_programs()
        if sys.stderr.isatty():
            print(f"jaxval {arguments.command}: loading JAX", file=sys.stderr)
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"jaxval {arguments.command}: {printable(str(error))}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the list of all options."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the base class, but what a command does not know is its own error, which names the nearest option."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            asked = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(asked, self._option_string_actions, n=1)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{f'; did you mean {near[0]}?' if near else ''}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message.removeprefix('argument ')}; {self.prog} --help lists what there is\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jaxval", description="Data valuation, preference alignment and social choice, from the command line."
    )
    parser.add_argument("--version", action="version", version=f"jaxval {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    value.add_command(commands)
    votes.add_command(commands)
    verify.add_command(commands)
    return parser
