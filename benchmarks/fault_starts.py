"""Starts a command again and again without loading its modules anew: each start is a fork of one process.

    python -m benchmarks.fault_starts MODULE

The process imports the module, reads requests as lines of JSON from standard input, and forks a process for each. It
computes nothing itself, so that JAX starts its threads in the fork alone. Every kill therefore comes while the command
works, and not while Python loads its modules. A watching process, the parent of the command, writes the end to a file.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["End", "Process", "Starter", "working_folder"]

ALSO = ("jaxval.sources", "matplotlib.backends.backend_agg", "orbax.checkpoint")  # what commands import late


class End(NamedTuple):
    """How a command ended: its status, negative for a signal, its CPU seconds, and what it said on standard error."""

    status: int
    seconds: float
    said: str


class Process:
    """A command that was started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = int((folder / "pid").read_text(encoding="utf-8"))

    def ended(self) -> bool:
        """Whether the command has ended."""
        return (self._folder / "status").exists()

    def wait(self, timeout: float = float("inf")) -> End | None:
        """How it ended, or None if it still runs after so many seconds."""
        deadline = time.monotonic() + timeout
        while not self.ended():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.005)
        said = (self._folder / "said").read_text(encoding="utf-8", errors="replace")
        status, seconds = (self._folder / "status").read_text(encoding="utf-8").split()
        return End(int(status), float(seconds), said)

    def kill(self) -> End:
        """Send SIGKILL, and wait for the end."""
        if not self.ended():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self._pid, signal.SIGKILL)
        end = self.wait()
        assert end is not None
        return end


class Starter:
    """A process that starts a command as often as it is asked to; all starts share what they compile."""

    def __init__(self, module: str, work: Path) -> None:
        self._module, self._folder, self._started = module, work / "starts", list[Process]()
        self._folder.mkdir(parents=True, exist_ok=True)
        shared = {
            "JAX_COMPILATION_CACHE_DIR": str(work / "programs"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PYTHONPYCACHEPREFIX": str(work / "bytecode"),
        }
        environment = {**shared, **os.environ}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        words = [sys.executable, "-m", "benchmarks.fault_starts", module]
        self._server = subprocess.Popen(
            words, stdin=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )

    def start(self, words: tuple[str, ...], out: Path) -> Process:
        """Start the command with these words and `--out`."""
        folder = self._folder / str(len(self._started))
        folder.mkdir()
        (folder / "said").touch()  # a kill may come before the command opens it
        assert self._server.stdin
        self._server.stdin.write(json.dumps({"words": [*words, "--out", str(out)], "folder": str(folder)}) + "\n")
        self._server.stdin.flush()
        while not (folder / "pid").exists():
            if self._server.poll() is not None:
                raise RuntimeError(f"the process that starts {self._module} has ended: see its message")
            time.sleep(0.005)
        self._started.append(Process(folder))
        return self._started[-1]

    def run(self, words: tuple[str, ...], out: Path) -> End:
        """Run the command to its end."""
        end = self.start(words, out).wait()
        assert end is not None
        return end

    def __enter__(self) -> "Starter":
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self._started:  # an interrupted benchmark leaves nothing behind
            if not process.ended():
                process.kill()
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()


def _serve(module: str) -> None:
    if module.split(".")[0] in ("experiments", "jaxval"):  # a script of the user's may begin its work when imported
        for name in (*ALSO, module, f"{module}.__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _watch(module, request["words"], Path(request["folder"]))


def _watch(module: str, words: list[str], folder: Path) -> None:
    pid = os.fork()
    if pid == 0:
        _become(module, words, folder / "said")
    _write(folder / "pid", str(pid))
    _, status, used = os.wait4(pid, 0)
    _write(folder / "status", f"{os.waitstatus_to_exitcode(status)} {used.ru_utime + used.ru_stime}")
    os._exit(0)


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _become(module: str, words: list[str], said: Path) -> None:
    """Run the module as a command, with standard error to a file, and end this process."""
    files = (os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY))
    files = (*files, os.open(said, os.O_WRONLY))
    for number, file in enumerate(files):
        os.dup2(file, number)
    sys.argv = [module, *words]
    main = f"{module}.__main__"
    sys.modules.pop(main if main in sys.modules else module, None)  # it runs anew, as the command
    status: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if status is None else status if isinstance(status, int) else 1)


def working_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder for starts and their results, which ends with the block."""
    return tempfile.TemporaryDirectory(prefix="jaxval-faults-", ignore_cleanup_errors=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
