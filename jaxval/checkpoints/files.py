"""Files that are written whole or not at all, and folders that belong to one run."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["claim_folder", "lock_folder", "whole_file", "write_whole"]

UNFINISHED = ".unfinished"


@contextlib.contextmanager
def whole_file(path: str | Path, *, replace: bool = True) -> Iterator[Path]:
    """A draft beside `path`, which takes the name `path` in one step when the block ends without an error.

    An earlier file of that name stays until then. The draft is flushed to the disk before it takes the name, so that a
    file with that name is whole, even after a kill or a loss of power.

    Args:
        path: the file, in a folder that exists.
        replace: whether the draft replaces an existing file. If not, an existing file stays as it is.

    Yields:
        The path of the draft, a file that does not exist yet.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(f"{folder}/result.txt") as draft:
        ...         _ = draft.write_text("all of it")
        ...     Path(folder, "result.txt").read_text(), os.listdir(folder)
        ('all of it', ['result.txt'])
    """
    path = Path(_checks.check_path("path", path))
    draft = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    draft.unlink(missing_ok=True)
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)  # unlike a new name, a link never takes another file's place
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # as of a full disk, which names no file
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file in one step; see `whole_file`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(f"{folder}/result.txt", "all of it")
        ...     Path(folder, "result.txt").read_bytes()
        b'all of it'
    """
    with whole_file(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


def claim_folder(folder: str | Path, run: Mapping[str, Any], *, note: str, name: str = "folder") -> Path:
    """The folder of one run, made if it is missing, with a note that says which run it belongs to.

    Args:
        folder: a folder of this run, an empty folder, or one that does not exist yet.
        run: the words and numbers that tell this run from others.
        note: the name of the file that keeps `run`.
        name: what error messages call the folder.

    Returns:
        The absolute path of the folder.

    Raises:
        ValueError: if the folder belongs to another run, or holds other files. The message says how the runs differ.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = claim_folder(folder, {"seed": 0}, note="run.json")
        ...     path == claim_folder(folder, {"seed": 0}, note="run.json")
        True
    """
    folder = Path(_checks.check_path(name, folder)).absolute()
    try:
        wanted = json.loads(json.dumps(run))
        if not isinstance(wanted, dict):
            raise TypeError(f"{type(run).__name__}")
    except (TypeError, ValueError) as error:
        expected = "words and numbers that describe the run, by name, in JSON's types"
        raise BadArgument("what", expected=expected, got=error) from error
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / note
    if not file.exists():
        if any(path.suffix != UNFINISHED for path in folder.iterdir()):  # such a note was cut off by a kill
            raise BadArgument(
                name, expected="an empty folder, or one of this run", got=f"{folder} with other files in it"
            )
        write_whole(file, json.dumps(wanted, indent=1))
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadArgument(
            name, expected=f"a file {file} that says which run the folder belongs to", got=error
        ) from error
    other = [key for key in sorted({*result, *wanted}) if result.get(key) != wanted.get(key)]
    if other:
        raise BadArgument(
            name,
            expected="a folder of this run",
            got=(
                f"{folder}, the folder of another run: {', '.join(other)} differ ({other[0]} is "
                f"{wanted.get(other[0])!r} here and {result.get(other[0])!r} there)"
            ),
            advice="choose another folder",
        )
    return folder


@contextlib.contextmanager
def lock_folder(folder: str | Path, *, lock: str = ".lock", name: str = "folder") -> Iterator[None]:
    """Keep other runs out of a folder for as long as the block lasts.

    The lock ends with the process, however it ends. On a system without such locks (Windows) nothing is locked.

    Args:
        folder: a folder that exists.
        lock: the name of the file that is locked. The file stays in the folder.
        name: what error messages call the folder.

    Raises:
        ValueError: if another run has locked the folder; the message names its process.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, lock_folder(folder):
        ...     int(Path(folder, ".lock").read_text()) == os.getpid()
        True
    """
    with Path(folder, lock).open("a+", encoding="utf-8") as file:
        _lock(file, name, folder)
        yield


def _lock(file: IO[str], name: str, folder: str | Path) -> None:
    try:
        import fcntl
    except ModuleNotFoundError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        process = file.read().strip() or "another"
        raise BadArgument(
            name,
            expected="a folder that no other run writes to",
            got=f"{folder}, in which process {process} is working",
            advice="wait for it to end, or choose another folder",
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
