"""Compiled programs, kept from one run of a command to the next: JAX compiles for longer than most commands compute.

JAX can keep programs in a folder, but it reads what stands there. So every entry is kept here under a name that holds
the digest of its content. A run takes the entries that are whole into a folder of its own, where JAX finds them, and
hands in its new ones when it ends. No run sees what another one has written in part, or a file that was damaged.
"""

import atexit
import contextlib
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
import zlib
from importlib.metadata import version
from pathlib import Path

__all__ = ["keep_programs"]

SUFFIX = "-cache"  # of JAX's files
LIMIT = 200_000_000  # bytes; the oldest entries make room
DAY = 24 * 3600


def keep_programs() -> Path | None:
    """Load what earlier runs compiled, and keep what this process and its child processes compile.

    The programs are in the user's cache folder (`$XDG_CACHE_HOME`, by default `~/.cache`, then `jaxval`), in a part for
    these versions of JAX and this kind of processor. The environment variable `JAXVAL_CACHE` names another folder, or
    is `off`. Nothing is kept if the folder cannot be written, if the system is not Linux and no folder is named, or if
    `JAX_COMPILATION_CACHE_DIR` is set, because JAX then keeps programs by itself.

    Returns:
        The folder that this process uses, or None.

    Example:
        >>> import os
        >>> os.environ["JAXVAL_CACHE"] = "off"
        >>> keep_programs()
    """
    said = os.environ.get("JAXVAL_CACHE", "")
    if said == "off" or "JAX_COMPILATION_CACHE_DIR" in os.environ or not (said or sys.platform == "linux"):
        return None
    base = Path(said) if said else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxval"
    try:
        kept = base / f"programs-{_machine()}"
        own = Path(tempfile.mkdtemp(prefix="run-", dir=_made(kept)))
        _forget_ended(kept)
        known = _take(kept, own)
    except OSError:  # a home that cannot be written, or is full
        return None
    atexit.register(_hand_in, own, kept, known, os.getpid())
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(own)  # also for child processes
    os.environ["JAXVAL_PROGRAMS"] = str(own)  # where `theorems` keeps what it has traced
    os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"  # their folders would be part of a program's name
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # Two processes of a run may write the same program at the same time; one of them then compiles it again.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(own))
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    return own


def _machine() -> str:
    """What a compiled program depends on beside its text: the versions of JAX, and what the processor can do."""
    features = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        features = next((line for line in file if line.startswith(("flags", "Features"))), "")
    parts = (version("jax"), version("jaxlib"), sys.platform, platform.machine(), features)
    return _digest("\n".join(parts).encode())[:16]


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _take(kept: Path, own: Path) -> set[str]:
    """Link the whole entries into the run's own folder, remove damaged ones, and return the names of those linked."""
    known = set()
    for path in kept.glob(f"*{SUFFIX}.*"):
        name, _, digest = path.name.rpartition(".")
        with contextlib.suppress(FileNotFoundError, FileExistsError):  # another run has made room meanwhile
            if name in known or _digest(path.read_bytes()) != digest:  # two runs compiled it, or it was damaged
                path.unlink()
                continue
            try:
                os.link(path, own / name)
            except OSError:  # a file system without links
                shutil.copyfile(path, own / name)
            known.add(name)
    return known


def _hand_in(own: Path, kept: Path, known: set[str], process: int) -> None:
    """Move the run's new entries to the kept ones, each whole or not at all, and remove the run's own folder."""
    if os.getpid() != process:  # a fork ends
        return
    with contextlib.suppress(OSError):
        for path in own.glob(f"*{SUFFIX}"):
            content = path.read_bytes()
            if path.name not in known and _whole(content):
                os.replace(path, kept / f"{path.name}.{_digest(content)}")
        entries = sorted(kept.glob(f"*{SUFFIX}.*"), key=lambda path: path.stat().st_mtime, reverse=True)
        size = 0
        for path in entries:
            size += path.stat().st_size
            if size > LIMIT:
                path.unlink(missing_ok=True)
    shutil.rmtree(own, ignore_errors=True)


def _whole(content: bytes) -> bool:
    """Whether JAX has written an entry to its end: a worker may be killed before, and a disk may be full."""
    try:
        return content[:1] != b"x" or bool(zlib.decompress(content))  # only zlib's streams begin so
    except zlib.error:
        return False


def _forget_ended(kept: Path) -> None:
    """Remove the folders of runs that were killed: those in which nothing was written for a week."""
    for folder in kept.glob("run-*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < time.time() - 7 * DAY:
                shutil.rmtree(folder, ignore_errors=True)
