"""Keep the figures of an experiment's run for the site, small, with the command, the time and the date.

    python -m experiments.gallery NAME [--finished FOLDER --seconds N] [-- OPTIONS OF THE EXPERIMENT]

Runs `python -m experiments.NAME` with its options and takes the processor's time, which other work on the machine
hardly changes; with --finished, takes the figures of a run that is in FOLDER already, and the time that it took. The
figures go to `docs/figures`, and what made them to `docs/figures.json`, in place of what the experiment had there.
"""

import datetime
import importlib
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from experiments.commands import documented_parser
from experiments.results import versions

__all__ = ["keep", "main", "small"]

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH, LARGEST = 1400, 150_000


def small(path: Path) -> bytes:
    """A figure as PNG of at most 150,000 bytes: narrower if it is wide, and in few colours.

    Args:
        path: a PNG file.

    Returns:
        The content of the small file.
    """
    with Image.open(path) as image:
        picture = image.convert("RGB")
    width = min(WIDTH, picture.width)
    while True:
        size, content = (width, max(1, round(picture.height * width / picture.width))), io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).quantize(128).save(content, "PNG", optimize=True)
        if content.tell() <= LARGEST:
            return content.getvalue()
        width = round(0.85 * width)


def keep(name: str, folder: Path, command: str, seconds: float, docs: Path = DOCS) -> list[str]:
    """Copy the figures of a run, and tell in `figures.json` what made them.

    Args:
        name: of the experiment.
        folder: with the figures.
        command: that wrote them.
        seconds: of the processor, all cores together, that it took.
        docs: the folder of the site's sources.

    Returns:
        The names of the files.
    """
    written = sorted(folder.glob("*.png"))
    if not written:
        raise FileNotFoundError(f"{folder}: expected figures, as python -m experiments.{name} writes them")
    (docs / "figures").mkdir(exist_ok=True)
    for old in (docs / "figures").glob(f"{name}-*.png"):
        old.unlink()
    names = [f"{name}-{path.stem.replace('_', '-')}.png" for path in written]
    for path, kept in zip(written, names, strict=True):
        (docs / "figures" / kept).write_bytes(small(path))
    about = (importlib.import_module(f"experiments.{name}").__doc__ or "").splitlines()[0]
    told = ", ".join(f"{package} {version}" for package, version in versions().items())
    day = datetime.datetime.fromtimestamp(written[0].stat().st_mtime, datetime.UTC).date().isoformat()
    entry = {"experiment": name, "about": about, "command": command, "seconds": round(seconds), "date": day}
    record = docs / "figures.json"
    runs: list[dict[str, Any]] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else []
    runs = [run for run in runs if run["experiment"] != name] + [entry | {"versions": told, "figures": names}]
    runs.sort(key=lambda run: str(run["experiment"]))
    record.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return names


def main(arguments: list[str] | None = None) -> int:
    """Run an experiment, or take a finished run, and keep its figures.

    Args:
        arguments: the words after the command; None means those of the process.

    Returns:
        The exit status.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    words, options = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = documented_parser("experiments.gallery", __doc__)
    parser.add_argument("name", metavar="NAME", help="of the experiment")
    parser.add_argument("--finished", type=Path, metavar="FOLDER", help="results of a run")
    parser.add_argument("--seconds", type=float, metavar="N", help="of the processor that the finished run took")
    told = parser.parse_args(words)
    if (told.finished is None) != (told.seconds is None):
        parser.error("--finished and --seconds go together")
    command = shlex.join(["python", "-m", f"experiments.{told.name}", *options])
    try:
        if told.finished is not None:
            print("\n".join(keep(told.name, told.finished, command, told.seconds)))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            started = _seconds_of_children()
            run = [sys.executable, "-m", f"experiments.{told.name}", *options, "--out", folder]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
            print("\n".join(keep(told.name, Path(folder), command, _seconds_of_children() - started)))
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        parser.error(str(error))
    return 0


def _seconds_of_children() -> float:
    """The CPU seconds of child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
