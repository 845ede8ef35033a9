"""Self-contained pages: HTML that loads nothing from outside, runs no script, escapes every text and prints well.

A page is a Jinja template in this folder that extends `page.html`, the frame of all reports.
"""

import io
import re
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxval import __version__
from jaxval._errors import without_controls

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["inline_svg", "render"]

WANTED = "pages need Jinja2: pip install 'jaxval[reports]'"


def render(template: str, *, command: list[str], filters: dict[str, Any] | None = None, **fields: Any) -> str:
    """A page from one of the templates.

    Args:
        template: the name of a file in this folder.
        command: the words of the command that makes the page again, for its foot.
        filters: functions by the name under which the template calls them.
        fields: what the template shows. Texts are escaped; figures come from `inline_svg`.

    Returns:
        The HTML as text.

    Raises:
        ModuleNotFoundError: without Jinja2.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(WANTED, name=error.name) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=lambda value: without_controls(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = f"jaxval {__version__}: {shlex.join(['jaxval', *command])}"
    environment.filters |= filters or {}
    return environment.get_template(template).render(made=made, **fields)


def inline_svg(figure: "Figure", *, says: str, name: str) -> Any:
    """A figure as an SVG element for a template; its texts stay texts, and are escaped.

    Args:
        figure: of matplotlib.
        says: what the figure shows, for readers who cannot see it.
        name: different for each figure of a page, since ids are shared by the page.

    Returns:
        Markup that a template does not escape again.
    """
    import matplotlib
    from markupsafe import Markup, escape

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "jaxval"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # the reader's fonts have it
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'((?:\sid="|href="#|url\(#))', rf"\g<1>{name}-", svg)
    # Matplotlib has escaped the texts inside.
    opening = f'<svg role="img" aria-label="{escape(without_controls(says))}"'
    return Markup(opening + svg.removeprefix("<svg"))
