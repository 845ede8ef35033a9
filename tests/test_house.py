"""The house rules that a machine can check: rooms import upwards only, examples run, the package says what it holds."""

import ast
import builtins
import doctest
import functools
import importlib
import inspect
import os
import re
import symtable
from pathlib import Path

import drawn_arguments
import pytest
import spoiled_arguments

import jaxval

ROOT = Path(__file__).parent.parent
ROOMS = re.findall(r"^\d+\. `(\w+)`", jaxval.__doc__, flags=re.MULTILINE)
PACKAGE = Path(jaxval.__file__).parent
BELOW = ("_checks", "_errors", "_objects", "_tables")  # files on which all rooms may rest
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [".".join(("jaxval", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in FILES]
MODULES = [name.removesuffix(".__init__") for name in MODULES]


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_docstring_lists_every_room():
    found = {room(path) for path in FILES} - {"__init__", *BELOW}
    assert set(ROOMS) == found


def loaded_and_stored(table):
    """The names that a part of a file reads from the module, and those that it puts there; with the parts within it."""
    loaded, stored = set(), set()
    for symbol in table.get_symbols():
        if table.get_type() == "module" or symbol.is_global():
            loaded |= {symbol.get_name()} if symbol.is_referenced() else set()
            stored |= {symbol.get_name()} if symbol.is_assigned() or symbol.is_imported() else set()
    for part in table.get_children():
        inner_loaded, inner_stored = loaded_and_stored(part)
        loaded, stored = loaded | inner_loaded, stored | inner_stored
    return loaded, stored


@pytest.mark.once
def test_every_name_is_defined():
    """Linters cannot tell: to them a shape in an annotation, such as "players", is an undefined name."""
    known = {*dir(builtins), "__file__", "__path__"}
    for folder in (PACKAGE, ROOT / "experiments", ROOT / "benchmarks", ROOT / "tests"):
        for path in folder.rglob("*.py"):
            loaded, stored = loaded_and_stored(symtable.symtable(path.read_text(encoding="utf-8"), str(path), "exec"))
            assert not loaded - stored - known, f"{path}: {loaded - stored - known}"


@pytest.mark.once
def test_rooms_import_only_rooms_above():
    """And values import nothing that reads data, makes policies or trains them."""
    below = {*BELOW, "types"}
    outside = ("jaxval.data", "jaxval.policies", "jaxval.alignment", "jaxval.training", "optax", "orbax", "flax")
    wrong = []
    for path in FILES:
        if room(path) == "__init__":
            continue
        allowed = below if room(path) in below else {*below, *ROOMS[: ROOMS.index(room(path)) + 1]}
        for name in imported(path):
            inside = name.startswith("jaxval.") and name != "jaxval.__version__"
            if (inside and name.split(".")[1] not in allowed) or (room(path) == "values" and name.startswith(outside)):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_the_list_of_rooms_is_in_order():
    rooms = (ROOT / "docs" / "rooms.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", rooms, flags=re.MULTILINE) == ROOMS


def made(path):
    """Whether the build of the site writes a page."""
    docs = ROOT / "docs"
    return any(folder in path.parents for folder in (docs / "api", docs / "claims", docs / "gallery")) or (
        path == docs / "figures.md"
    )


def pages():
    """The pages of the site that are written by hand."""
    return [page for page in sorted((ROOT / "docs").rglob("*.md")) if not made(page)]


@pytest.mark.once
def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 120
    assert len(re.findall(r"^python3 -m venv .*pytest", text, flags=re.MULTILINE)) == 1
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages()]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            assert made(target) or target.exists(), f"{page.name} points to {link}, which is not there"
    for page in pages():
        name = page.relative_to(ROOT).as_posix()
        assert f"({name})" in text or f"\n{name.removeprefix('docs/').removesuffix('.md')}\n" in index, (
            f"neither README.md nor docs/index.md names {name}"
        )


def test_the_site_runs_its_guides():
    """Guides are notebooks, which the build of the site runs; pages of examples with prompts are run here."""
    guides = [page for page in pages() if page.parent.name == "guides"]
    assert len(guides) >= 8
    for page in guides:
        text = page.read_text(encoding="utf-8")
        assert text.startswith("---\nfile_format: mystnb\n"), f"{page.name} is not run"
        assert "{code-cell}" in text
        assert ">>>" not in text


@functools.cache
def ran(name):
    """Run the examples of a module; how many fail, and what comes of wrong arguments of its public functions."""
    module, found, drawn, called = importlib.import_module(name), [], [], set()

    def spoiled(public, function, bound, argument):
        for other in drawn_arguments.left_out(function, bound) if public not in called else ():
            drawn.extend(drawn_arguments.faults(f"{name}.{public}", function, bound, other))
        called.add(public)
        found.extend(spoiled_arguments.faults(f"{name}.{public}", function, bound, argument))
        drawn.extend(drawn_arguments.faults(f"{name}.{public}", function, bound, argument))

    # With the hook, wrong arguments meet the type checker first; of other versions the tests of mistakes ask nothing.
    if "1" in (os.environ.get("JAXVAL_TYPECHECK"), os.environ.get("JAXVAL_FIRST_CASES")):
        return doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed, found, drawn
    with spoiled_arguments.followed(module, spoiled):
        failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    for public, function in spoiled_arguments.public_functions(module):
        found += spoiled_arguments.alone(f"{name}.{public}", function) if public not in called else []
    return failed, found, drawn


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    failed, *_ = ran(name)
    assert failed == 0


@pytest.mark.mistakes
@pytest.mark.parametrize("name", MODULES)
def test_examples_with_a_spoiled_argument_are_refused(name):
    """`BadArgument` and nothing else: whatever a room hands out is in here as soon as it has an example."""
    _, found, _ = ran(name)
    assert found == []


@pytest.mark.mistakes
@pytest.mark.parametrize("name", MODULES)
def test_examples_with_a_drawn_argument_are_refused_or_work(name):
    """A value drawn in place of a good argument; with JAXVAL_FUZZ=N in the environment, Hypothesis draws N."""
    _, _, drawn = ran(name)
    assert not drawn, "\n".join(drawn)


@pytest.mark.once
def test_public_functions_have_examples():
    without = []
    for name in MODULES:
        module = importlib.import_module(name)
        if any(part.startswith("_") for part in name.split(".")):
            continue
        for public in getattr(module, "__all__", []):
            thing = getattr(module, public)
            if callable(thing) and not isinstance(thing, type) and getattr(thing, "__module__", None) == name:
                without += [] if ">>>" in (thing.__doc__ or "") else [f"{name}.{public}"]
    assert not without


@pytest.mark.parametrize("room", ROOMS)
def test_the_reference_shows_the_signatures_that_calls_have(room):
    """The site unwraps functions before it reads their signatures: what a function wraps takes the same arguments."""
    module = importlib.import_module(f"jaxval.{room}")
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isfunction(inspect.unwrap(thing)):
            shown = inspect.signature(inspect.unwrap(thing)).parameters
            assert list(shown) == list(inspect.signature(thing).parameters), f"{room}.{name}"


def test_rooms_are_reached_from_the_package_and_others_are_named():
    assert jaxval.social_choice.proportional([[0.5, 0.75], [0.25, 0.5]]).tolist() == [0.75, 0.25]
    with pytest.raises(AttributeError, match="social_choice"):
        jaxval.socialchoice  # noqa: B018


@pytest.mark.parametrize("page", ["README.md", "docs/tour.md"])
def test_tours_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, page, 0)
    assert test.examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(test)
    assert runner.failures == 0


@pytest.mark.once
def test_every_public_function_has_a_user():
    """A name that a room hands out is used by another file: a page, an experiment, a benchmark, a test or a room."""
    texts = [ROOT / "README.md", *pages()]
    users = [
        path
        for part in ("jaxval", "experiments", "benchmarks", "tests", "docs")
        for path in (ROOT / part).rglob("*.py")
    ]
    texts = [path for path in [*texts, *users] if path.name != "__init__.py"]
    words = {path: set(re.findall(r"\w+", path.read_text(encoding="utf-8"))) for path in texts}
    unused = []
    for name in ROOMS:
        module = importlib.import_module(f"jaxval.{name}")
        for public in module.__all__:
            thing = getattr(module, public)
            if isinstance(thing, type) or not callable(thing):
                continue  # records come back from functions
            home = Path(importlib.import_module(thing.__module__).__file__ or "")
            if not any(public in said for path, said in words.items() if path != home):
                unused.append(f"{name}.{public}")
    assert not unused
