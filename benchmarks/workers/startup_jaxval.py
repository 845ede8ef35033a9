"""The task of `benchmarks.startup`: a command in a process of its own, which writes to a terminal."""

import atexit
import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np

import jaxval

PACKAGES = ("jax", "jaxlib", "numpy")
VERSIONS = {"jaxval": jaxval.__version__}

SIGNS = {"word": b"jaxval", "bar": "━".encode()}


def command(
    inputs: dict[str, np.ndarray], *, words: Sequence[str], again: bool, until: str = "end"
) -> Callable[[], dict[str, np.ndarray]]:
    """`jaxval WORDS` with an empty folder of compiled programs; or `again`, with that of an earlier run.

    The run ends when the command has ended, or, to be killed, when the terminal shows its first word or its bar.
    """
    kept = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, kept, ignore_errors=True)
    if again:
        run_command(words, kept)

    def run() -> dict[str, np.ndarray]:
        with contextlib.nullcontext(kept) if again else tempfile.TemporaryDirectory() as programs:
            run_command(words, programs, until)
        return {}

    return run


def run_command(words: Sequence[str], programs: str, until: str = "end") -> None:
    """Run the command, whose standard error is a terminal, to its end or until that shows what is waited for."""
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxval.cli", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=its_end,
        env={**os.environ, "JAXVAL_CACHE": programs, "TERM": "xterm", "PYTHONUTF8": "1"},
        start_new_session=True,
    )
    os.close(its_end)
    shown = b""
    try:
        for part in read(terminal):
            shown += part
            if until != "end" and SIGNS[until] in shown:
                return
        status = process.wait()
        if status or until != "end":
            raise RuntimeError(f"jaxval {' '.join(words)} ended with {status}: {shown.decode()[-400:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(terminal)


def read(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal, until nobody has it open any more."""
    with contextlib.suppress(OSError):  # Linux says so by an error
        while part := os.read(terminal, 1 << 16):
            yield part


TASKS = {"command": command}
