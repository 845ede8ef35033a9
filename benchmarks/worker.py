"""The inside of a race: `python -m benchmarks.worker MODULE [CORES]` answers JSON lines, one run of one task a line.

A request is `{"task", "inputs", "options", "answers"}`: a task's name, a NumPy archive of inputs, keyword arguments,
and where to put the answers (or null). The first request with given inputs prepares the task, which is not timed, and
every request runs it once: `{"seconds", "cpu_seconds", "gigabytes", "first"}`, or `{"error"}`. The gigabytes are the
most memory that the process held since the task was prepared. MODULE has `TASKS`, a dictionary of functions
`prepare(inputs, **options) -> run`, where `run()` does the work and returns a dictionary of NumPy arrays, and
`PACKAGES`, whose versions the first line tells. What a package prints goes to standard error. NumPy is all it needs.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import numpy as np


def main(arguments: list[str]) -> None:
    """Serve the tasks of a module until the input ends."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the package's own prints must not end up between our lines
    if len(arguments) > 1:
        use_cores(int(arguments[1]))
    try:
        module = importlib.import_module(arguments[0])
    except Exception as error:  # a package that does not even load is the peer's result
        say(lines, {"error": sentence(error)})
        return
    say(lines, {"versions": versions(module), "device": getattr(module, "DEVICE", "cpu"), "cores": cores()})
    serve(module, sys.stdin, lines)


def serve(module: ModuleType, requests: TextIO, lines: TextIO) -> None:
    """Answer each request with one line."""
    prepared: dict[str, Any] = {}
    latest = None
    for line in requests:
        request = json.loads(line)
        if request["inputs"] != latest:
            prepared, latest = {}, request["inputs"]
        key = json.dumps([request["task"], request["options"]])
        try:
            first = key not in prepared
            if first:
                forget_peak()
                prepared[key] = module.TASKS[request["task"]](read(latest), **request["options"])
            started, busy = time.perf_counter(), cpu_seconds()
            answers = prepared[key]()
            told = {"seconds": time.perf_counter() - started, "cpu_seconds": cpu_seconds() - busy}
            told |= {"gigabytes": peak_gigabytes(), "first": first}
            if request["answers"]:
                np.savez(request["answers"], **answers)
        except Exception as error:  # one failed run must not end the process
            say(lines, {"error": sentence(error)})
        else:
            say(lines, told)


def cpu_seconds() -> float:
    """All threads together, and the processes that they have started and seen end."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def forget_peak() -> None:
    """Let the system count the peak of this process anew; where it cannot, the peak stays that of earlier tasks."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_gigabytes() -> float | None:
    """The most memory that this process held; None where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    return None


def read(path: str | None) -> dict[str, np.ndarray]:
    if path is None:
        return {}
    with np.load(path) as archive:
        return dict(archive)


def say(lines: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=lines, flush=True)


def sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def versions(module: ModuleType) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in module.PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found | getattr(module, "VERSIONS", {})


def use_cores(number: int) -> None:
    """Keep this process, and those it starts, on the first cores that it may use, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main(sys.argv[1:])
