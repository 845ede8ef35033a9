"""What the experiments' commands share: parsers, whole numbers, errors of one sentence, and a progress bar."""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.results import locks
from jaxval._errors import printable
from jaxval.cli import keep_programs

__all__ = ["documented_parser", "guarded", "natural", "positive", "precision", "progress"]


def documented_parser(module: str, text: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m MODULE` that shows the module's docstring as it is written.

    Args:
        module: the name of the module, such as "experiments.figures".
        text: the docstring of the module.

    Returns:
        The parser, to which options are added.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def natural(text: str, smallest: int = 0) -> int:
    """A whole number of at least `smallest` and below 2^31."""
    if not text.isdecimal() or not smallest <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {smallest}, below 2^31; got {text!r}")
    return int(text)


positive = partial(natural, smallest=1)


def guarded(
    work: Callable[[argparse.Namespace, Console], None], options: argparse.Namespace, *, kept: str, without_data: str
) -> int:
    """Do the work in float64; an error of the input is printed as one sentence instead of a traceback.

    Args:
        work: a function of the options and of a console for notes.
        options: the options of the command line.
        kept: a sentence on what is kept of interrupted work.
        without_data: the command that runs without data.

    Returns:
        The exit status: 0, 2 if input is wrong or missing, 130 if interrupted.
    """
    notes = Console(stderr=True, soft_wrap=True, highlight=False)
    keep_programs()
    try:
        with precision(True), locks:
            work(options, notes)
    except FileNotFoundError as error:
        notes.print(f"error: {printable(str(error))}. Without the data: {without_data}", markup=False)
        return 2
    except (OSError, ValueError, RuntimeError, FloatingPointError) as error:
        unnamed = isinstance(error, OSError) and error.errno is not None and error.filename is None  # as of a full disk
        notes.print(f"error: {printable(str(error))}{f' in {options.out}' if unnamed else ''}", markup=False)
        return 2
    except KeyboardInterrupt:
        notes.print(f"interrupted; {kept}")
        return 130
    return 0


@contextlib.contextmanager
def precision(x64: bool) -> Iterator[None]:
    """A context that computes in float64 or float32; afterwards the precision is what it was before."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", x64)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def progress(notes: Console) -> Progress:
    """A progress bar with the remaining time, on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=notes,
        speed_estimate_period=24 * 3600,  # a step may take longer than rich's half minute
    )
