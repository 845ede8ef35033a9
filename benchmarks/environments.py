"""One virtual environment for each peer, made when it is first wanted: peers share none with us nor with each other."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["OURS", "Environments", "MissingPeerError", "Peer"]

INSTALL_SECONDS = 1800


class MissingPeerError(Exception):
    """A peer that cannot be had; its message says why."""


class Peer(NamedTuple):
    """A package to race against.

    Attributes:
        name: as in `--environment NAME=PATH` and in the table.
        packages: what pip installs, such as ("scipy>=1.14",); none means the environment that runs the benchmark.
    """

    name: str
    packages: tuple[str, ...] = ()


OURS = Peer("jaxval")


class Environments(NamedTuple):
    """Where the peers' interpreters are.

    Attributes:
        folder: where environments are made, one folder a peer.
        python: the interpreter that makes them.
        given: environments that exist, by peer; each a folder or an interpreter.
    """

    folder: Path
    python: str = sys.executable
    given: Mapping[str, Path] = {}

    def interpreter(self, peer: Peer) -> Path:
        """The peer's interpreter; its environment is made where there is none yet.

        Raises:
            MissingPeerError: where it cannot be made, or the one given does not exist.
        """
        if peer.name in self.given:
            return _existing(self.given[peer.name])
        if not peer.packages:
            return Path(sys.executable)
        folder = self.folder / peer.name
        wanted, stamp = "\n".join(peer.packages), folder / "installed.txt"
        if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
            _call([self.python, "-m", "venv", "--clear", str(folder)])
            _call([str(_inside(folder)), "-m", "pip", "install", "--quiet", *peer.packages])
            stamp.write_text(wanted, encoding="utf-8")
        return _existing(folder)


def _inside(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _existing(path: Path) -> Path:
    python = _inside(path) if path.is_dir() else path
    if not python.is_file():
        raise MissingPeerError(f"no interpreter at {python}")
    return python.absolute()


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPeerError(f"{' '.join(command[1:4])} failed: {error}") from error
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")]
        raise MissingPeerError(f"{' '.join(command[1:4])} failed: {(errors or said or ['no message'])[-1]}")
