"""The command `jaxval`. Nothing is loaded before the arguments are understood, so that `--help` answers at once."""

import argparse
import os
import sys
from typing import NoReturn

from jaxval import __version__
from jaxval.cli import value, verify, votes
from jaxval.cli.votes import aggregate

__all__ = ["aggregate", "main"]


def main(argv: list[str] | None = None) -> int:
    """Run the command `jaxval`.

    Args:
        argv: the words after `jaxval`; those of the process where None.

    Returns:
        The exit status: 0, 2 where the input is wrong, 1 where the output is cut off.

    Example:
        >>> main(["aggregate", "no-such-file.csv", "--json"])
        2
    """
    arguments = _parser().parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError, FloatingPointError, ModuleNotFoundError) as error:
        print(f"jaxval {arguments.command}: {error}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and not all the options there are with one."""

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
