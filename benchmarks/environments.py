"""One virtual environment for each peer, made when it is first wanted: peers share none with us nor with each other."""

import os
import shutil
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
        python: the oldest Python that those packages support, as (3, 12).
    """

    name: str
    packages: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 11)


OURS = Peer("jaxval")


class Environments(NamedTuple):
    """Where the peers' interpreters are.

    Attributes:
        folder: where environments are made, one folder a peer.
        python: the interpreter that makes them, unless a peer needs a newer one: then the oldest at hand that will do.
        given: environments that exist, by peer; each a folder or an interpreter.
        ours: whether peers are left out, so that no environment is wanted.
    """

    folder: Path
    python: str = sys.executable
    given: Mapping[str, Path] = {}
    ours: bool = False

    def interpreter(self, peer: Peer) -> Path:
        """The peer's interpreter; its environment is made where there is none yet.

        Raises:
            MissingPeerError: where it cannot be made, or the one given does not exist.
        """
        if self.ours and peer.packages:
            raise MissingPeerError("left out")
        if peer.name in self.given:
            return _existing(self.given[peer.name])
        if not peer.packages:
            return Path(sys.executable)
        folder = self.folder / peer.name
        wanted, stamp = "\n".join(peer.packages), folder / "installed.txt"
        if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
            _call([_new_enough(self.python, peer), "-m", "venv", "--clear", str(folder)])
            _call([str(_inside(folder)), "-m", "pip", "install", "--quiet", *peer.packages])
            stamp.write_text(wanted, encoding="utf-8")
        return _existing(folder)


def _new_enough(python: str, peer: Peer) -> str:
    """The interpreter asked for where it is new enough for the peer, else the oldest at hand that is."""
    if not _version(python):
        raise MissingPeerError(f"{python} does not run, or cannot make environments")
    for candidate in (python, *_interpreters()):
        if _version(candidate) >= peer.python:
            return candidate
    wanted = ".".join(map(str, peer.python))
    raise MissingPeerError(
        f"{', '.join(peer.packages)} wants Python {wanted} or newer, and none is at hand that can make an environment; "
        f"give one by --python, or an environment by --environment {peer.name}=PATH"
    )


def _interpreters() -> list[str]:
    """Interpreters on the path and in pyenv's folder, the oldest first."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = []
    for minor in range(11, 20):
        found += [shutil.which(f"python3.{minor}"), *sorted(map(str, pyenv.glob(f"3.{minor}.*/bin/python3")))]
    return [path for path in found if path]


def _version(python: str) -> tuple[int, ...]:
    """Such as (3, 12); () where it does not run or cannot make environments."""
    ask = "import sys, ensurepip, venv; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


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
