"""Programs that are kept from one run to the next: whole ones alone, and nothing where nothing can be kept."""

import atexit
import os
import subprocess
import sys
import zlib

import pytest

from jaxval.cli import keep_programs, programs

pytestmark = pytest.mark.once
VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAXVAL_CACHE", "JAXVAL_PROGRAMS", "XDG_CACHE_HOME")


@pytest.fixture
def begin(monkeypatch, tmp_path):
    """`begin()` is the folder of a new run, and what happens at its end."""
    monkeypatch.delitem(sys.modules, "jax")  # as if JAX were not loaded yet
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def begin():
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        ends = []
        monkeypatch.setattr(atexit, "register", lambda function, *args: ends.append(lambda: function(*args)))
        own = keep_programs()
        return own, lambda: [end() for end in ends]

    return begin


def entries(folder):
    """The entries of a folder by the names that JAX gives them."""
    return {path.name.split("-cache")[0]: path for path in folder.glob("*-cache*")}


def write(folder, name, content=b"program"):
    (folder / f"{name}-cache").write_bytes(zlib.compress(content))


@pytest.mark.skipif(sys.platform != "linux", reason="only there a folder need not be named")
def test_whole_programs_are_kept_and_damaged_ones_are_not(begin, tmp_path):
    own, end = begin()
    assert own.parent.parent == tmp_path / "jaxval"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(own)
    for name in ("sound", "flipped", "cut"):
        write(own, name)
    (own / "unfinished-cache").write_bytes(zlib.compress(b"program")[:-3])
    end()
    kept = own.parent
    assert not own.exists()
    assert set(entries(kept)) == {"sound", "flipped", "cut"}

    flipped, cut = entries(kept)["flipped"], entries(kept)["cut"]
    flipped.write_bytes(bytes([flipped.read_bytes()[0] ^ 1]) + flipped.read_bytes()[1:])
    cut.write_bytes(cut.read_bytes()[:5])
    own, end = begin()
    assert set(entries(own)) == set(entries(kept)) == {"sound"}
    write(own, "flipped")  # compiled again
    end()
    assert set(entries(kept)) == {"sound", "flipped"}


def test_runs_side_by_side_do_not_see_each_other(begin):
    first, end_first = begin()
    second, end_second = begin()
    write(first, "both", b"of the first")
    write(second, "both", b"of the second")
    write(second, "half")
    assert set(entries(first)) == {"both"}
    end_first()
    assert second.exists()
    end_second()
    third, _ = begin()
    assert set(entries(third)) == {"both", "half"}
    assert len(list(third.parent.glob("*-cache.*"))) == 2
    assert zlib.decompress(entries(third)["both"].read_bytes()).startswith(b"of the ")


def test_old_entries_make_room_and_killed_runs_are_forgotten(begin, monkeypatch):
    own, end = begin()
    for age, name in enumerate(("new", "old")):
        write(own, name)
        os.utime(own / f"{name}-cache", (1e9 - age, 1e9 - age))
    monkeypatch.setattr(programs, "LIMIT", 20)  # one of them has 15 bytes
    end()
    assert set(entries(own.parent)) == {"new"}
    killed, _ = begin()
    os.utime(killed, (1e9, 1e9))
    begin()
    assert not killed.exists()


def test_nothing_is_kept_where_it_is_not_wanted_or_cannot_be(begin, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for variable, value in (
        ("JAXVAL_CACHE", "off"),
        ("JAXVAL_CACHE", str(tmp_path / "file")),
        ("JAX_COMPILATION_CACHE_DIR", str(tmp_path)),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(variable, value)
            assert keep_programs() is None
            assert os.environ.get("JAX_COMPILATION_CACHE_DIR") == (value if variable.startswith("JAX_") else None)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


CODE = """
import sys
from jaxval.cli import main
sys.stderr.isatty = lambda: True
assert main(["aggregate", "nowhere.csv"]) == 2
import jax
jax.jit(lambda x: x + 1)(1)
"""


def test_a_command_says_at_once_that_it_begins_and_jax_writes_where_it_is_told(tmp_path):
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=kept | {"JAXVAL_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "jaxval aggregate: loading JAX"
    (folder,) = tmp_path.iterdir()
    assert any(name.startswith("jit") for name in entries(folder))
    assert not list(folder.glob("run-*"))
