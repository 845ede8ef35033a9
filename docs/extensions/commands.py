"""Commands of guides: cells that IPython runs by `%%bash` and saves by `%%writefile` are shown as a reader types them.

A failing command fails its cell under `%%bash`, and so the build. The reader sees the command alone. A file that a
guide writes is shown with its name above it.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["setup"]


def as_typed(app: Sphinx, document: nodes.document) -> None:
    """Take the first line of such cells away, and tell the language."""
    for cell in list(document.findall(nodes.literal_block)):
        first, _, rest = cell.astext().partition("\n")
        if first == "%%bash":
            replace(cell, rest, "sh")
        elif first.startswith("%%writefile "):
            name = first.split()[1]
            cell.parent.insert(
                cell.parent.index(cell), nodes.paragraph("", "", nodes.literal("", name), nodes.Text(":"))
            )
            replace(cell, rest, "python")


def replace(cell: nodes.literal_block, text: str, language: str) -> None:
    """Give a block another text."""
    cell.rawsource = text
    cell.children = []
    cell += nodes.Text(text)
    cell["language"] = language


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx's events."""
    app.connect("doctree-read", as_typed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
