"""The reference: a page for each room, a table of all public names, and docstrings as Sphinx wants them.

Docstrings are plain text in Google's style, with mathematics in its own letters and names in single backticks. Before
Napoleon reads them, characters that reStructuredText would take as markup are escaped, and indented formulas become
literal blocks. A public name that is missing from the built reference fails the build.
"""

import ast
import functools
import importlib
import inspect
import re
import textwrap
from itertools import groupby, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import jaxval

__all__ = ["setup"]

ROOMS = dict(re.findall(r"^\d+\. `(\w+)`: (.*)$", jaxval.__doc__ or "", flags=re.MULTILINE))
ROOMS["types"] = ROOMS.pop("types")  # last: a reader looks for functions first
SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Example|Attributes|Source|Note)s?:")
PAGE = """{title}
{line}

.. automodule:: {module}

{entries}
"""
OPENING = """# Reference

Every public name, with its first sentence. {rooms} rooms, {names} names: search in this page (Ctrl-F), or in the whole
site. `import jaxval as jv`, then `jv.ROOM.NAME`. [Rooms and conventions](../rooms.md) says what belongs in which room.
"""


def write_pages(app: Sphinx) -> None:
    """Write a page for each room, and the page with the table of all names."""
    folder = Path(app.srcdir) / "api"
    lines, names = [], 0
    for room, about in ROOMS.items():
        module = importlib.import_module(f"jaxval.{room}")
        inner = [getattr(module, name) for name in module.__all__ if isinstance(getattr(module, name), ModuleType)]
        pages = [page(module, room, "=")]
        pages += [page(one, one.__name__.removeprefix("jaxval."), "-") for one in [*inner, *plugins(module)]]
        write_if_new(folder / f"{room}.rst", "\n\n".join(pages))
        lines += ["", f"## [{room}]({room}.rst)", "", about, ""]
        known = {name: first_sentence(module, name) for name in public(module)}
        rows = [f"| [`{room}.{name}`](#jaxval.{room}.{name}) | {told} |" for name, told in known.items()]
        names += len(rows)
        lines += ["| name | |", "|---|---|", *rows] if rows else []
    toctree = ["", "```{toctree}", ":hidden:", "", *ROOMS, "```"]
    text = OPENING.format(rooms=len(ROOMS), names=names)
    write_if_new(folder / "index.md", "\n".join([text, *lines, *toctree]) + "\n")


def page(module: ModuleType, title: str, line: str) -> str:
    """The docstring of a module, then an entry for each of its names."""
    entries = "\n\n".join(entry(module, name) for name in public(module))
    return PAGE.format(title=title, line=line * len(title), module=module.__name__, entries=entries)


def entry(module: ModuleType, name: str) -> str:
    """The directive that documents a name; an alias or a constant has its docstring below its assignment."""
    thing, path = getattr(module, name), f"{module.__name__}.{name}"
    if inspect.isclass(thing) and not is_alias(module, name):
        kind = "exception" if issubclass(thing, BaseException) else "class"
        return f".. auto{kind}:: {path}\n   :members:\n   :member-order: bysource"
    if not is_alias(module, name):
        return f".. autofunction:: {path}"
    text = escaped(inspect.cleandoc(alias_docs(module).get(name, "")))
    return f".. py:data:: {name}\n   :module: {module.__name__}\n\n{textwrap.indent(text, '   ')}"


def plugins(module: ModuleType) -> list[ModuleType]:
    """Modules that a room offers beside its own names: pytest loads the fixtures by the name of their module."""
    return [importlib.import_module("jaxval.testing.fixtures")] if module.__name__ == "jaxval.testing" else []


def public(module: ModuleType) -> list[str]:
    """The names that a room hands out, functions first, then records; modules are pages of their own."""
    names = [name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)]
    return sorted(names, key=lambda name: inspect.isclass(getattr(module, name)) or is_alias(module, name))


def first_sentence(module: ModuleType, name: str) -> str:
    """The first sentence of a name's docstring, for a cell of a table; that of an alias stands in the source."""
    text = alias_docs(module).get(name) if is_alias(module, name) else inspect.getdoc(getattr(module, name))
    paragraph = " ".join((text or "").split("\n\n")[0].split())
    sentence = re.match(r".*?[.](?= [A-Z]|$)|.*", paragraph)
    return (sentence[0] if sentence else "").rstrip(":").replace("|", "\\|")


def is_alias(module: ModuleType, name: str) -> bool:
    """Whether a name is an alias or a constant, whose docstring stands below its assignment."""
    return name in alias_docs(module) or not callable(getattr(module, name))


@functools.cache
def alias_docs(module: ModuleType) -> dict[str, str]:
    """The strings below the assignments of a module and, if it is a package, of its files."""
    home = Path(inspect.getfile(module))
    files = sorted(home.parent.rglob("*.py")) if home.name == "__init__.py" else [home]
    return {
        name.id: text.value.value
        for file in files
        for line, text in pairwise(ast.parse(file.read_text(encoding="utf-8")).body)
        if isinstance(name := getattr(line, "target", None) or getattr(line, "targets", [None])[0], ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def write_if_new(path: Path, text: str) -> None:
    """Write a page unless it is there already, so that Sphinx reads only what has changed."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def as_markup(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a docstring's text into reStructuredText that shows the same characters."""
    made: list[str] = []
    section, code, literal, verbatim = "", False, False, set()
    for line in lines:
        indent = len(line) - len(line.lstrip())
        heading = SECTION.match(line)
        if heading:
            section, code, literal = heading[1], False, False
            made.append(line)
            continue
        if line and not indent and section not in ("", "Source"):
            section = ""
        if not line.strip():
            code = False
        elif line.lstrip().startswith(">>> "):
            code = True
        formula = indent >= 4 and not section and not made_list(made)
        if formula and not literal and not code:
            made += ["::", ""] if not made or not made[-1].strip() else ["", "::", ""]
            literal = True
        elif line.strip() and not formula:
            if literal:
                made.append("")
            literal = False
        made.append(line)
        verbatim.add(len(made) - 1) if code or literal else None
    plain = [(index in verbatim, line) for index, line in enumerate(made)]
    lines[:] = [
        line
        for shown, group in groupby(plain, key=lambda pair: pair[0])
        for line in as_text(shown, "\n".join(line for _, line in group)).split("\n")
    ]


def as_text(verbatim: bool, text: str) -> str:
    return text if verbatim else escaped(text)


def made_list(made: list[str]) -> bool:
    """Whether the last line belongs to an item of a list, whose next lines are indented."""
    return bool(made) and bool(re.match(r"\s*(- |\d+\. )|\s+\S", made[-1])) and made[-1].strip() != ""


def escaped(text: str) -> str:
    """Text whose markup is made plain; a name in backticks may become a link, anything else in them is literal."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[1::2] = [part if re.fullmatch(r"`[\w.]+`", part) else f"`{part}`" for part in parts[1::2]]
    parts[::2] = [re.sub(r"([*|\\])|(?<=\w)(_)(?=\W|$)", r"\\\1\2", part) for part in parts[::2]]
    return "".join(parts)


def signature(app: Sphinx, what: str, name: str, obj: Any, options: Any, given: Any, result: Any) -> Any:
    """The signature as its author wrote it, with the short names of types."""
    function = inspect.unwrap(obj) if what in ("function", "method") else obj
    if not inspect.isfunction(function):
        return ("", None) if what == "class" else None
    if hasattr(function, "__signature__"):  # a function that was made, as the losses are: its source has another one
        return str(inspect.signature(function)), None
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError):
        return None
    if not isinstance(tree, ast.FunctionDef):
        return None
    if what == "method" and tree.args.args:
        tree.args.args.pop(0)
    for argument in [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]:
        argument.annotation = None  # shapes and units are told beside each argument
    return f"({ast.unparse(tree.args)})", ast.unparse(tree.returns) if tree.returns else None


def skipped(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields of records, which the record's docstring tells, and what a record inherits."""
    field = type(obj).__name__ == "_tuplegetter" or (isinstance(obj, property) and not obj.__doc__)
    return True if what == "class" and field else None


def within_the_package(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """`values.shapley` in the docstring of another room means `jaxval.values.shapley`."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].removeprefix("jv.")
    domain = env.get_domain("py")
    for name in (f"jaxval.{target}", f"jaxval.types.{target}"):
        if name in domain.objects:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, content)
    return None


def all_names_are_there(app: Sphinx, env: Any) -> None:
    """Raise an error that names the public names which the reference lacks."""
    known = env.get_domain("py").objects
    modules = [importlib.import_module(f"jaxval.{room}") for room in ROOMS]
    missing = [f"{m.__name__}.{name}" for m in modules for name in public(m) if f"{m.__name__}.{name}" not in known]
    if missing:
        raise ExtensionError(f"the reference lacks {', '.join(missing)}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the parts to Sphinx's events."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", as_markup, priority=100)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skipped)
    app.connect("missing-reference", within_the_package)
    app.connect("env-check-consistency", all_names_are_there)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
