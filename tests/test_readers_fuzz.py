"""Every reader of files on spoiled files: a `ValueError` or `OSError` that names the file, or what a whole file gives.

With `JAXVAL_FUZZ=N`, Hypothesis draws N spoilings of each file in place of a few that are the same everywhere. What it
does on votes is in test_data_fuzz.py.
"""

import contextlib
import functools
import gzip
import io
import json
import math
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from drawn_arguments import LETTERS, draw_each

from jaxval import data, policies
from jaxval.checkpoints import Store, load_state, save_state
from jaxval.checkpoints.store import pack_masks
from jaxval.cli.value_statement import read_statement
from jaxval.data import PreferencePairs
from jaxval.types import BadArgument, Comparisons, Estimate
from jaxval.values import load_estimate, save_estimate

pytestmark = [pytest.mark.once, pytest.mark.mistakes]

GOLDEN = Path(__file__).parent / "golden"
ALIEN = (
    b"\n",
    b"\0",
    b'"',
    b"{",
    b"[" * 3000,
    b"9" * 400,
    b"1e999",
    b"NaN",
    b"-1",
    b"\xc3",
    b"\\ud800",
    b"null",
    b"\xff" * 8,
)
PAIR = {"prompt": "2+2?", "chosen": "4", "rejected": "5", "source": "school", "weight": 2, "score_chosen": 1.5}
PAIR |= {"score_rejected": 0.5}
ITEM = {"cmp_key": "owl_emu", "instruction": "Rhyme.", "input": "", "annotator1": 1, "annotator2": 0}
ROW = {"prompt": "p", "response": "a", "log_prob_reference": -1.0, "log_prob_s": -1.5, "reward_good": 1.0}
ROW |= {"drawn_from": "reference"}
CATALOGUE = PreferencePairs(
    ("p",), (("a", "b"),), Comparisons([0], [0], [1], [1.0]), np.array([0]), ("one",), {}, "example"
)
CSV = b"participant,group-id,rents,buses\n7,A,1,\n8,B,-1,0\n9,,0,1\n"


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@functools.cache
def base():
    return policies.read_llama(GOLDEN / "tied")[1]


TEXTS = {  # the file, its content, and the reader
    "pairs.jsonl": (lines(PAIR, {**PAIR, "prompt": "3+3?"}), data.read_preferences),
    "pairs.json": (json.dumps([PAIR, {**PAIR, "prompt": "3+3?"}]).encode(), data.read_preferences),
    "pairs.jsonl.gz": (gzip.compress(lines(PAIR), mtime=0), data.read_preferences),
    "scores.jsonl": (
        lines({"prompt": "p", "response": "b", "helpful": 0.5}),
        lambda path: data.read_scores(path, CATALOGUE),
    ),
    "scores.csv": (b"source,trak\nweb,0.5\nschool,2\n", lambda path: data.read_source_scores(path, ("school", "web"))),
    "pool.jsonl": (lines(ROW, {**ROW, "log_prob_s": -1.0}, {**ROW, "drawn_from": "s"}), data.read_log_probs),
    "votes.csv": (CSV, data.read_vote_matrix),
    "batches.csv": (CSV, lambda path: list(data.vote_batches(path))),
    "comments.csv": (
        b"comment-id,comment-body\n1,More buses\n0,Lower rents\n",
        lambda path: data.read_texts(path, ("0", "1")),
    ),
    "items.json": (json.dumps([ITEM]).encode(), data.read_annotations),
    "images": (bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(6)]), data.read_idx),
    "images.gz": (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]), mtime=0), data.read_idx),
    "statement.json": (b'{"schema": "jaxval/statement/2", "sources": ["a"]}', read_statement),
}


def spoiled(content, choose):
    """The content with bytes spoiled in one or two places."""
    for _ in range(choose((1, 2))):
        kind, at = choose(("cut", "replace", "insert", "remove")), choose(range(len(content) + 1))
        length = choose(range(1, 10))
        text = choose(ALIEN) if choose((True, False)) else bytes(choose(range(256)) for _ in range(length % 3 + 1))
        after = {"cut": b"", "replace": text + content[at + len(text) :], "insert": text + content[at:]}
        content = content[:at] + after.get(kind, content[at + length :])
    return content


def table_bytes(ending):
    """The rows of a pool as Parquet or as Arrow."""
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra tables: pip install 'jaxval[tables]'")
    rows, sink = pyarrow.Table.from_pylist([ROW, {**ROW, "log_prob_s": -1.0}]), io.BytesIO()
    if ending == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(rows, sink)
    else:
        with pyarrow.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
    return sink.getvalue()


def check_spoiled(path, content, read):
    """The reader takes the content, or refuses it by the name of the file."""
    path.write_bytes(content)
    message = None
    try:
        read(path)
    except (ValueError, OSError) as error:
        message = str(error)
    assert message is None or path.name in message or path.parent.name in message, message


@pytest.mark.once
@pytest.mark.parametrize("name", TEXTS)
def test_spoiled_texts_are_named_or_read(name, tmp_path):
    content, read = TEXTS[name]
    draw_each(name, lambda choose: check_spoiled(tmp_path / name, spoiled(content, choose), read), times=15)


@pytest.mark.once
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_spoiled_columns_are_named_or_read(ending, tmp_path):
    path, content = tmp_path / f"pool.{ending}", table_bytes(ending)
    draw_each(ending, lambda choose: check_spoiled(path, spoiled(content, choose), data.read_log_probs), times=15)


@pytest.mark.parametrize("name", TEXTS)
def test_whole_texts_are_read(name, tmp_path):
    content, read = TEXTS[name]
    (tmp_path / name).write_bytes(content)
    read(tmp_path / name)


def binary_readers(folder):
    """The files of formats with headers, each with its reader."""
    shutil.copytree(GOLDEN / "peft" / "plain", folder / "adapter")
    shutil.copytree(GOLDEN / "tied", folder / "checkpoint")
    shutil.copy(GOLDEN / "tiny.gguf", folder / "tiny.gguf")
    like = {"a": np.arange(9.0), "b": np.arange(3)}
    save_state(folder / "state.npz", like)
    save_estimate(Estimate(np.ones(3), np.ones(3), 4).with_names(["a", "b", "c"]), folder / "estimate.npz")
    with Store(folder / "run.sqlite", fingerprint="one") as store:
        store.record({key: np.ones(2) for key in pack_masks(np.eye(9, dtype=bool))}, players=9)

    def adapter(path):
        policies.read_adapter(path.parent, base())

    def checkpoint(path):
        policies.read_llama(path.parent)

    def store(path):
        with Store(path, fingerprint="one") as opened:
            dict(opened)

    readers = {
        path: adapter for path in sorted((folder / "adapter").iterdir()) if path.suffix in (".json", ".safetensors")
    }
    readers |= {path: checkpoint for path in sorted((folder / "checkpoint").iterdir()) if path.is_file()}
    readers |= {folder / "tiny.gguf": policies.read_gguf, folder / "run.sqlite": store}
    return readers | {
        folder / "state.npz": lambda path: load_state(path, like),
        folder / "estimate.npz": load_estimate,
    }


@pytest.mark.once
def test_spoiled_formats_with_headers_are_named_or_read(tmp_path):
    pytest.importorskip("gguf", reason="needs the extra llama: pip install 'jaxval[llama]'")
    rng = np.random.default_rng(0)
    times = int(os.environ.get("JAXVAL_FUZZ", "6"))
    for path, read in binary_readers(tmp_path).items():
        content = path.read_bytes()
        read(path)
        for _ in range(times):
            at = int(rng.integers(min(len(content), 4096 if rng.random() < 0.7 else len(content))))
            alien = ALIEN[rng.integers(len(ALIEN))]
            kind = rng.integers(3)
            after = (b"", alien + content[at + len(alien) :], content[at + 1 + rng.integers(9) :])[kind]
            check_spoiled(path, content[:at] + after, read)
        path.write_bytes(content)


LEAVES = (None, False, True, -1, 0, 3, 2**31, 2**62, 10**30, 0.5, 1e300, math.inf, "", "x", "F32")


def some_json(choose):
    return {
        "leaf": lambda: choose(LEAVES),
        "list": lambda: [choose(LEAVES) for _ in range(choose(range(4)))],
        "nested": lambda: [[choose(LEAVES)], {"a": choose(LEAVES)}],
        "fields": lambda: {choose(("a", "shape", "")): choose(LEAVES) for _ in range(choose(range(3)))},
    }[choose(("leaf", "leaf", "list", "nested", "fields"))]()


def replaced(value, choose):
    """JSON in which one value is another one, or gone."""
    if isinstance(value, dict) and value and choose((True, True, True, False)):
        key = choose(sorted(value))
        if choose(range(5)) == 0:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: replaced(value[key], choose)}
    if isinstance(value, list) and value and choose((True, False)):
        return [*value[:-1], replaced(value[-1], choose)]
    return some_json(choose)


@pytest.fixture(scope="module")
def formats(tmp_path_factory):
    pytest.importorskip("gguf", reason="needs the extra llama: pip install 'jaxval[llama]'")
    return binary_readers(tmp_path_factory.mktemp("formats"))


@pytest.mark.once
def test_other_json_in_headers_is_named_or_read(formats):
    """Settings of checkpoints and of adapters, and headers of safetensors, with other values in their fields."""
    paths = sorted(path for path in formats if path.suffix in (".json", ".safetensors"))

    def check(choose):
        path = choose(paths)
        content = path.read_bytes()
        try:
            if path.suffix == ".json":
                check_spoiled(path, json.dumps(replaced(json.loads(content), choose)).encode(), formats[path])
            else:
                (length,) = struct.unpack("<Q", content[:8])
                header = json.dumps(replaced(json.loads(content[8 : 8 + length]), choose)).encode()
                check_spoiled(path, struct.pack("<Q", len(header)) + header + content[8 + length :], formats[path])
        finally:
            path.write_bytes(content)

    draw_each("headers", check, times=60)


MESSAGES = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
PIECES = (
    *("{% for i in range(99999) %}", "{% for m in messages %}", "{% if m.role %}", "{% macro f(x) %}", "{% set n = "),
    *("{% endfor %}", "{% endif %}", "{% endmacro %}", "%}", "{{ ", " }}", "(", ")", "[", "]", "{#", "#}", "{%", "\0"),
    *("f(f)", "messages", "m.content", "range(10**9)", "'a' * 99999999999", "9**9**9", "'%99999999999d' % 1", "1/0"),
    *(
        ".__class__",
        ".__init__.__globals__",
        "|attr('__class__')",
        "|map(attribute='__class__')|list",
        "|tojson",
        "|length",
    ),
    *(
        "namespace(a=1)",
        "raise_exception('no')",
        "cycler",
        "self",
        "loop.cycle",
        "caller()",
        "{% include 'x' %}",
        "~",
        "+",
    ),
)


def test_templates_write_or_are_refused():
    """Chat templates that loop for ever, multiply, or reach for Python's attributes."""
    pytest.importorskip("jinja2", reason="needs the extra llama: pip install 'jaxval[llama]'")

    def check(choose):
        pieces = [choose(choose((PIECES, LETTERS))) for _ in range(choose(range(13)))]
        with contextlib.suppress(BadArgument):
            assert "<class" not in policies.chat_template("".join(pieces))(MESSAGES)

    draw_each("templates", check, times=150)


@pytest.mark.parametrize(
    ("template", "got"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "more than 1000000 steps"),
        ("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ range(9999999999) }}", "Range too big"),
        ("{{ 'a' * 9999999999 }}", "a product that is too long"),
        ("{{ 9 ** 9 ** 9 ** 9 }}", r"the operator \*\*"),
        ("{{ '%9999999999d' % 1 }}", "the operator %"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{" + "(" * 3000 + "1" + ")" * 3000 + "}}", "RecursionError"),
        ("{% for m in messages %}" * 40 + "{% endfor %}" * 40, "SyntaxError"),
    ],
)
def test_templates_that_would_not_end_are_stopped(template, got):
    pytest.importorskip("jinja2", reason="needs the extra llama: pip install 'jaxval[llama]'")
    with pytest.raises(BadArgument, match=rf"^template: expected a chat template.*{got}"):
        policies.chat_template(template)(MESSAGES)


@pytest.mark.parametrize("axes", [1, 3, 65, 255])
def test_an_image_file_cannot_ask_for_much_memory(axes, tmp_path):
    for length in (1, 2**32 - 1):
        content = bytes([0, 0, 8, axes]) + struct.pack(">I", length) * axes + b"\0"
        check_spoiled(tmp_path / "images", content, data.read_idx)


def test_headers_that_lie_about_lengths_are_named(tmp_path):
    """A length of 2^60 in the header of safetensors, and as the number of tensors and of fields of GGUF."""
    pytest.importorskip("gguf", reason="needs the extra llama: pip install 'jaxval[llama]'")
    readers = binary_readers(tmp_path)
    far = struct.pack("<Q", 2**60)
    for path, places in (("adapter/adapter_model.safetensors", [0]), ("tiny.gguf", [8, 16, 24])):
        content = (tmp_path / path).read_bytes()
        for at in places:
            changed = content[:at] + far + content[at + 8 :]
            (tmp_path / path).write_bytes(changed)
            with pytest.raises((ValueError, OSError), match=(tmp_path / path).name):
                readers[tmp_path / path](tmp_path / path)
        (tmp_path / path).write_bytes(content)
