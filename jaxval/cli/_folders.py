"""Where a command writes: the output folder of a run, which is locked while the run lasts, and single files."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from jaxval._errors import BadArgument

LOCK = ".lock"
WANTED = {".png": ("matplotlib",), ".html": ("matplotlib", "jinja2")}


@contextmanager
def own_folder(out: Path | None, *, resume: bool) -> Iterator[None]:
    """Create the folder of --out if it does not exist, and lock it; a second run on the same folder is refused.

    The lock ends with the process, however the process ends. A system without such locks (Windows) has no lock.
    """
    if out is None:
        if resume:
            raise BadArgument("--resume", expected="--out, the folder of the run to continue", got="none")
        yield
        return
    if out.exists() and not out.is_dir():
        raise BadArgument("--out", expected="a folder, or a path that does not exist yet", got=f"the file {out}")
    if not resume and _used(out):
        raise BadArgument(
            "--out",
            expected="a new or empty folder",
            got=f"{out} with files in it",
            advice="add --resume to continue the run in it",
        )
    out.mkdir(parents=True, exist_ok=True)
    from jaxval.checkpoints.files import lock_folder

    with lock_folder(out, lock=LOCK, name="--out"):
        if not resume and _used(out):  # another run may have written files and ended since the first check
            raise BadArgument("--out", expected="a new or empty folder", got=f"{out} with files in it")
        yield


def _used(out: Path) -> bool:
    return out.exists() and any(path.name != LOCK for path in out.iterdir())


def check_empty(option: str, folder: Path) -> None:
    """Raise if an option names a file, or a folder that has files in it."""
    if folder.exists() and (not folder.is_dir() or _used(folder)):
        got = f"{folder} with files in it" if folder.is_dir() else f"the file {folder}"
        raise BadArgument(option, expected="a new or empty folder", got=got)


def check_written(arguments: argparse.Namespace, **endings: str) -> None:
    """Raise if an option names a file that cannot be written: of another ending, in no folder, or without a package."""
    for option, ending in endings.items():
        path = getattr(arguments, option)
        if path is None:
            continue
        if not (path.suffix == ending and path.resolve().parent.is_dir()):
            raise BadArgument(
                f"--{option}", expected=f"a name that ends in {ending}, in a folder that exists", got=path
            )
        for module in WANTED.get(ending, ()):
            if find_spec(module) is None:  # told before anything is computed that would be lost
                expected, advice = f"{module} to be installed", "pip install 'jaxval[reports]'"
                raise BadArgument(f"--{option}", expected=expected, got="none", advice=advice)
