"""Figures: those that the build computes, for the gallery, and those that are kept of full runs, for a page of theirs.

The experiments return matplotlib figures without pyplot, so the gallery is told to take the variable `figure` of an
example. `figures.json` tells the runs whose figures are in the folder `figures`; `experiments.gallery` writes both.
"""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx_gallery.scrapers import figure_rst

from extensions.reference import write_if_new

__all__ = ["scrape", "setup"]

LARGEST = 150_000  # bytes of a figure that is kept
OPENING = """# Figures of full runs

Figures that the experiments wrote with the commands beside them, on real data where an experiment has them. They are
kept with the project, and are not computed when this site is built; the [gallery](gallery/index.rst) is. Times are
those of the processor, all cores together. [Experiments](experiments.md) says what each command shows, and what it
needs.
"""


def scrape(block: Any, variables: dict[str, Any], configuration: dict[str, Any]) -> str:
    """Save the variable `figure` of a gallery's example, and return the markup that shows it."""
    figure = variables["example_globals"].pop("figure", None)
    if figure is None:
        return ""
    path = next(variables["image_path_iterator"])
    figure.savefig(path, dpi=160)
    return figure_rst([path], configuration["src_dir"])


def write_page(app: Sphinx) -> None:
    """Write the page of the figures that are kept."""
    source = Path(app.srcdir)
    runs = json.loads((source / "figures.json").read_text(encoding="utf-8"))
    named = {name for run in runs for name in run["figures"]}
    kept = {path.name for path in (source / "figures").glob("*.png")}
    if named != kept:
        raise ExtensionError(f"docs/figures.json and docs/figures differ in {', '.join(sorted(named ^ kept))}")
    large = [name for name in kept if (source / "figures" / name).stat().st_size > LARGEST]
    if large:
        raise ExtensionError(f"figures above {LARGEST} bytes: {', '.join(large)}; experiments.gallery makes them small")
    lines = [OPENING]
    for run in runs:
        lines += [f"## {run['experiment'].replace('_', ' ')}", "", f"{run['about']}", ""]
        lines += ["```sh", run["command"], "```", "", f"{run['date']}, {_time(run['seconds'])}, {run['versions']}.", ""]
        lines += [f"![{run['experiment']}](figures/{name})\n" for name in run["figures"]]
    write_if_new(source / "figures.md", "\n".join(lines))


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} seconds of the processor" if seconds < 100 else f"{seconds / 60:.0f} minutes of the processor"
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the page to Sphinx's events."""
    app.connect("builder-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
