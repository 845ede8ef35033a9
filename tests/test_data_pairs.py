"""Preference pairs as JSON lines: TRL's forms, sources, scores, every mistake; synthetic sources of known quality."""

import gzip
import json
import re
import tracemalloc
from collections import Counter
from itertools import combinations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_fuzz import EXAMPLES, read_spoiled, spoilings

from jaxval import policies, training
from jaxval.data import (
    read_preferences,
    read_source_scores,
    source_comparisons,
    synthetic_preferences,
    write_weighted,
)

ULTRAFEEDBACK = ("train_clean", "label_flip_20", "label_flip_30", "weak_quality_20")


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def row(**fields):
    return {"prompt": "p", "chosen": "a", "rejected": "b", "source": "s"} | fields


def written(path, rows):
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    content = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def texts(pairs):
    """Prompt, chosen, rejected and source of every pair, looked up in the catalogue."""
    fields = zip(*(np.asarray(field).tolist() for field in (*pairs.comparisons[:3], pairs.source)), strict=True)
    return [(pairs.prompts[x], pairs.responses[x][y], pairs.responses[x][z], pairs.sources[k]) for x, y, z, k in fields]


def valid(pairs, *, soft=False):
    """Everything that the record's description says of itself."""
    context, winner, loser, weight = map(np.asarray, pairs.comparisons)
    source = np.asarray(pairs.source)
    assert len(context) == len(winner) == len(loser) == len(weight) == len(source) > 0
    assert ((weight > 0) & (weight <= 1)).all() if soft else (weight == 1).all()
    assert len(set(pairs.prompts)) == len(pairs.prompts) == len(pairs.responses)
    assert list(dict.fromkeys(context.tolist())) == list(range(len(pairs.prompts)))
    assert list(dict.fromkeys(source.tolist())) == list(range(len(pairs.sources)))
    assert len(set(pairs.sources)) == len(pairs.sources)
    used = {(x, y) for side in (winner, loser) for x, y in zip(context.tolist(), side.tolist(), strict=True)}
    assert used == {(x, y) for x, candidates in enumerate(pairs.responses) for y in range(len(candidates))}
    for prompt, candidates in zip(pairs.prompts, pairs.responses, strict=True):
        assert prompt.strip()
        assert all(text.strip() for text in candidates)
        assert len(set(candidates)) == len(candidates) >= 2
        assert "".join(candidates).encode()
    assert (winner != loser).all()
    for scores in pairs.scores.values():
        assert scores.shape == (len(pairs.prompts), max(map(len, pairs.responses)))
        there = np.arange(scores.shape[1]) < np.array([[len(candidates)] for candidates in pairs.responses])
        np.testing.assert_array_equal(np.isfinite(scores), there)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "A.JSONL"])
def test_plain_strings(tmp_path, name):
    rows = [row(), row(prompt="q", chosen="é", rejected="a", source="t"), row(chosen="b", rejected="c", source="t")]
    pairs = read_preferences(written(tmp_path / name, [rows[0], "", *rows[1:]]))
    assert texts(pairs) == [tuple(one.values()) for one in rows]
    assert pairs.prompts == ("p", "q")
    assert pairs.responses == (("a", "b", "c"), ("é", "a"))
    assert (pairs.sources, pairs.scores, pairs.title, pairs.skipped) == (("s", "t"), {}, name[0], 0)
    valid(pairs)


def test_pairs_are_shown_by_their_numbers(tmp_path):
    pairs = read_preferences(written(tmp_path / "a.jsonl", [row(prompt="p" * 999), row(source="t")]))
    assert repr(pairs) == "<PreferencePairs 'a': 2 pairs, 2 sources, 2 prompts, 0 scores>"
    assert repr(pairs._replace(sources=np.array(0))).count(" 0 sources")  # also of what is in no file


def test_a_source_each(tmp_path):
    rows = [row(source=1), row(prompt="q", source=2), row(chosen="b", rejected="a", source=1)]
    first, second = source_comparisons(read_preferences(written(tmp_path / "a.jsonl", rows)))
    assert [np.asarray(field).tolist() for field in first] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert [np.asarray(field).tolist() for field in second] == [[1], [0], [1], [1]]
    stacked = training.stack_sources([first, second])
    assert stacked.weight.tolist() == [[1, 1], [1, 0]]


def test_the_last_line_needs_no_end_and_a_byte_order_mark_is_dropped(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row()).encode() + b"\r\n" + json.dumps(row(prompt="q")).encode())
    assert read_preferences(path).prompts == ("p", "q")


def test_chat_messages(tmp_path):
    system = {"role": "system", "content": "be kind"}
    rows = [
        row(prompt=[user("hello")], chosen=[assistant("hi")], rejected=[assistant("no")]),  # explicit
        row(prompt=[system, user("hello")], chosen=[assistant("hi")], rejected=[assistant("no"), user("why?")]),
        {"chosen": [user("hello"), assistant("hi")], "rejected": [user("hello"), assistant("no")], "source": "s"},
        row(prompt="unused", chosen=[user("hello"), assistant("yo")], rejected=[user("hello"), assistant("no")]),
    ]
    pairs = read_preferences(written(tmp_path / "a.jsonl", rows))
    several = "system: be kind\n\nuser: hello"
    assert texts(pairs) == [
        ("hello", "hi", "no", "s"),
        (several, "hi", "assistant: no\n\nuser: why?", "s"),
        ("hello", "hi", "no", "s"),
        ("hello", "yo", "no", "s"),
    ]


def test_the_implicit_prompt_is_all_that_both_begin_with(tmp_path):
    start = [user("2+2?"), assistant("4"), user("sure?")]
    rows = [row(prompt=None, chosen=[*start, assistant("yes")], rejected=[*start, assistant("no"), user("oh")])]
    del rows[0]["prompt"]
    pairs = read_preferences(written(tmp_path / "a.jsonl", rows))
    assert pairs.prompts == ("user: 2+2?\n\nassistant: 4\n\nuser: sure?",)
    assert pairs.responses == (("yes", "assistant: no\n\nuser: oh"),)
    rows[0]["rejected"] = rows[0]["chosen"]  # the last message stays a response: the same twice
    with pytest.raises(ValueError, match="line 1: expected two different responses"):
        read_preferences(written(tmp_path / "a.jsonl", rows))


def test_sources_by_dotted_names_files_and_none(tmp_path):
    rows = [row(metadata={"by": {"name": "x"}}), row(metadata={"by": {"name": "y"}}), row(metadata={"by": {"name": 3}})]
    path = written(tmp_path / "a.jsonl", rows)
    assert read_preferences(path, source="metadata.by.name").sources == ("x", "y", "3")
    assert read_preferences(path, source=None).sources == ("a",)
    dotted = written(tmp_path / "dotted.jsonl", [row(**{"metadata.by.name": "z"}, metadata={"by": {"name": "x"}})])
    assert read_preferences(dotted, source="metadata.by.name").sources == ("z",)
    other = written(tmp_path / "b.jsonl.gz", [row(prompt="q"), row(metadata={"by": {}})])
    pairs = read_preferences([path, other], source="provider")
    assert pairs.sources == ("a", "b")
    assert np.asarray(pairs.source).tolist() == [0, 0, 0, 1, 1]
    assert pairs.title == "a, b"
    assert read_preferences([path, other]).sources == ("s",)


def test_scores_are_means_and_missing_where_there_is_no_response(tmp_path):
    rows = [
        row(score_chosen=4, score_rejected=1.5, metadata={"chosen_style": 1, "rejected_style": 0, "chosen_model": "m"}),
        row(rejected="c", score_chosen=2, score_rejected=0, metadata={"chosen_style": 2, "rejected_style": 5}),
        row(prompt="q", score_chosen=7, score_rejected=6, metadata={"chosen_style": 3, "rejected_style": 4}),
    ]
    pairs = read_preferences(written(tmp_path / "a.jsonl", rows))
    assert list(pairs.scores) == ["score", "style"]
    np.testing.assert_array_equal(pairs.scores["score"], [[3, 1.5, 0], [7, 6, np.nan]])
    np.testing.assert_array_equal(pairs.scores["style"], [[1.5, 0, 5], [3, 4, np.nan]])
    valid(pairs)
    hyphens = read_preferences(written(tmp_path / "b.jsonl", [row(**{"chosen-rating": 5, "rejected-rating": 3})]))
    assert hyphens.scores["rating"].tolist() == [[5, 3]]


def test_what_is_no_pair_of_numbers_is_no_score(tmp_path):
    fields = {"chosen_model": "m", "rejected_model": "n", "tokens_chosen": 3, "x_chosen_y": 1, "x_rejected_y": 1}
    fields |= {"ok_chosen": True, "ok_rejected": False, "metadata": [1]}
    assert read_preferences(written(tmp_path / "a.jsonl", [row(**fields)])).scores == {}


MISTAKES = [
    (["nonsense"], 1, "expected one JSON object; got 'nonsense'"),
    ([row(), "[1, 2]"], 2, r"expected a JSON object with fields; got '\[1, 2\]'"),
    ([row(), json.dumps(row())[:-5]], 2, "expected one JSON object"),
    (["[" * 100_000], 1, "nested too deeply"),
    (['{"prompt": ' + "1" * 5000 + "}"], 1, "expected one JSON object"),
    ([{"prompt": "p", "rejected": "b", "source": "s"}], 1, "got no chosen among 'prompt', 'rejected', 'source'"),
    ([{}], 1, "got no prompt and no chosen and no rejected among no fields"),
    ([{"chosen": "a", "rejected": "b"}], 1, "got no prompt among"),
    ([row(prompt=3)], 1, "expected text in the field prompt; got a number"),
    ([row(chosen=None)], 1, "expected text in the field chosen; got null"),
    ([row(rejected=[assistant("b")])], 1, "expected text in the field rejected; got a list"),
    ([row(prompt=[user("p")])], 1, "expected text in the field prompt; got a list"),
    ([row(chosen=[assistant("a")])], 1, "expected chat messages in the field rejected, as in chosen; got text, 'b'"),
    ([row(chosen=[assistant("a")], rejected=[assistant("b")])], 1, "begin with the same messages"),
    ([row(prompt=[], chosen=[assistant("a")], rejected=[assistant("b")])], 1, "field prompt; got an empty one"),
    ([row(prompt=[user("p")], chosen=[], rejected=[assistant("b")])], 1, "field chosen; got an empty one"),
    ([row(prompt=["p"], chosen=[assistant("a")], rejected=[assistant("b")])], 1, "messages with role and content"),
    ([row(prompt=[{"content": "p"}], chosen=[assistant("a")], rejected=[])], 1, "prompt; got 'content' in message 1"),
    ([row(prompt=[user(None)], chosen=[assistant("a")], rejected=[])], 1, r"prompt\[0\].content; got null"),
    ([row(), row(chosen=" \n")], 2, "field chosen; got an empty one; skip_unusable leaves"),
    ([row(), row(prompt="")], 2, "field prompt; got an empty one"),
    ([row(rejected="a")], 1, "expected two different responses; got the same as chosen and rejected, 'a'"),
    ([row(chosen="\ud800")], 1, r"field chosen; got half a character, \\ud800 in place 1"),
    ([row(source="")], 1, "expected the name of a source in the field source; got an empty one"),
    ([row(source=None)], 1, "expected text in the field source; got null"),
    ([row(source=True)], 1, "expected text in the field source; got true or false"),
    ([row(), {"prompt": "p", "chosen": "a", "rejected": "b"}], 2, "'source' in every pair, or in none; got line 1"),
    ([row(score_chosen=1, score_rejected=None)], 1, "column score_rejected; got null; a score is a number"),
    ([row(score_chosen="1", score_rejected=1)], 1, "column score_chosen; got text, '1'; a score is a number"),
    (
        [row(score_chosen=1, score_rejected=2), row()],
        2,
        "no score, which line 1 has; a score is a number; either every pair has",
    ),
    ([row(), row(score_chosen=1, score_rejected=2)], 2, "got score, which line 1 has not; a score is a number"),
    (['{"prompt": "p", "chosen": "a", "rejected": "b", "x_chosen": NaN, "x_rejected": 1}'], 1, "finite .*; got nan"),
    (['{"prompt": "p", "chosen": "a", "rejected": "b", "x_chosen": 1, "x_rejected": 1e999}'], 1, "finite .*; got inf"),
    ([row(x_chosen=1, x_rejected=1, chosen_x=1, rejected_x=1)], 1, "one pair of columns for the reward x; got two"),
    (
        [row(), row(prompt=[user("p")], chosen=[assistant("a")], rejected=[assistant("b")])],
        2,
        "expected plain strings, as in line 1; got chat messages",
    ),
    ([""], 1, "got an empty file"),
    ([row(rejected="a"), "{"], 1, "two different"),
]


@pytest.mark.mistakes
@pytest.mark.parametrize(("rows", "line", "message"), MISTAKES)
def test_mistakes_name_the_line(tmp_path, rows, line, message):
    for name in ("a.jsonl", "a.jsonl.gz"):
        path = written(tmp_path / name, rows)
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}, line {line}: .*{message}"):
            read_preferences(path)


@pytest.mark.mistakes
def test_no_source_names_the_fields_and_the_ways_out(tmp_path):
    path = written(tmp_path / "a.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b", "provider": "x"}])
    with pytest.raises(ValueError, match=r"line 1: .*'source'.*'rejected', 'provider'; .*by source.*several"):
        read_preferences(path)
    assert read_preferences(path, source="provider").sources == ("x",)


@pytest.mark.mistakes
def test_faults_of_bytes(tmp_path):
    path = tmp_path / "a.jsonl"
    good = (json.dumps(row()) + "\n").encode()
    for content, line, message in [
        (b"", 1, "got an empty file"),
        (b"\n \n", 1, "got an empty file"),
        (good + b'{"prompt": "\xe9"}\n', 2, "expected UTF-8 text; got byte 0xe9 in column 13; save the file as UTF-8"),
        (json.dumps(row()).encode("utf-16"), 1, "expected UTF-8 text"),
        (good + good[:-4], 2, "the line has no end: the file may be cut off"),
        (gzip.compress(good), 1, "expected UTF-8 text; got byte 0x8b"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"line {line}: .*{message}"):
            read_preferences(path)
    packed = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(good * 3)
    for content in (whole[:-9], whole[:-1], good, whole[:20] + b"\xff" * 10 + whole[30:]):
        packed.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.jsonl\.gz, line \d: expected a whole gzip file; got a fault here or"):
            read_preferences(packed)


@pytest.mark.mistakes
def test_a_line_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxval.data._json_lines.LONGEST", 2000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "' + b"x" * 10_000_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"line 1: .* of at most 2000 bytes; got a longer line"):
        read_preferences(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.mistakes
def test_faults_of_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_preferences(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="got a folder"):
        read_preferences(tmp_path)
    (tmp_path / "a.txt").write_text("[]")
    with pytest.raises(ValueError, match=r"ends in \.jsonl or \.jsonl\.gz, one JSON object a line"):
        read_preferences(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"the fields prompt, chosen and rejected; .*read_csv\('p\.csv'\)\.to_json\("):
        read_preferences("p.csv")
    for path in ([], 3, [3]):
        with pytest.raises(ValueError, match="path: expected a file or several; got"):
            read_preferences(path)
    with pytest.raises(ValueError, match="source: expected the name of a field, or None; got 3"):
        read_preferences(written(tmp_path / "a.jsonl", [row()]), source=3)
    (tmp_path / "b").mkdir()
    files = [written(folder / "a.jsonl", [row(prompt=folder.name)]) for folder in (tmp_path, tmp_path / "b")]
    assert read_preferences(files).sources == ("s",)
    with pytest.raises(ValueError, match="path: expected files of different names"):
        read_preferences(files, source=None)


@pytest.mark.mistakes
def test_faults_in_a_second_file_name_both(tmp_path):
    first = written(tmp_path / "a.jsonl", [row(score_chosen=1, score_rejected=2)])
    second = written(tmp_path / "b.jsonl", [row(score_chosen=1, score_rejected=2), row()])
    with pytest.raises(ValueError, match=rf"b\.jsonl, line 2: .*{re.escape(str(first))}, line 1"):
        read_preferences([first, second])


@pytest.mark.mistakes
def test_too_many_sources_are_refused_at_once(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps(row(source=i)) + "\n" for i in range(1001))
        file.write("never read")
    with pytest.raises(
        ValueError,
        match=r"line 1001: expected at most 1000 .*in the field source; .*name one that says who .* by source",
    ):
        read_preferences(path)


def test_unusable_pairs_are_left_out_on_request(tmp_path):
    rows = [row(rejected="a", source="gone"), row(), row(chosen=""), row(prompt="\t")]
    pairs = read_preferences(written(tmp_path / "a.jsonl", rows), skip_unusable=True)
    assert texts(pairs) == [("p", "a", "b", "s")]
    assert pairs.skipped == 3
    with pytest.raises(ValueError, match="line 2: expected at least one usable pair"):
        read_preferences(written(tmp_path / "b.jsonl", [rows[0], rows[2]]), skip_unusable=True)


def test_pairs_are_written_with_weights_of_their_sources(tmp_path):
    """Soft labels and weights stay, AlpacaEval's layout too; sources of weight 0 and unusable pairs are left out."""
    own = written(tmp_path / "own.jsonl", [row(weight=2, p_chosen=0.75), row(chosen="", weight=1, p_chosen=1)])
    layout = {"instruction": "p", "output_1": "a", "output_2": "b", "p_prefers_2": 0.25, "weight": 1}
    alpaca = written(tmp_path / "alpaca.jsonl", [layout])
    out, how = tmp_path / "weighted.jsonl", {"source": None, "skip_unusable": True}
    assert write_weighted([own, alpaca], out, {"own": 0.5, "alpaca": 3}, **how) == {"own": 1, "alpaca": 1}
    pairs = read_preferences(out)
    assert pairs.sources == ("own", "alpaca")
    np.testing.assert_allclose(pairs.comparisons.weight, [0.75, 0.25, 2.25, 0.75])
    assert write_weighted([own, alpaca], out, {"own": 0, "alpaca": 1}, **how) == {"own": 0, "alpaca": 1}
    assert read_preferences(out).sources == ("alpaca",)


@pytest.mark.mistakes
def test_mistakes_of_weights_are_named_and_leave_no_file(tmp_path):
    path, out = written(tmp_path / "a.jsonl", [row(source="s"), row(source="t")]), tmp_path / "out.jsonl"
    for weights, words in (
        ({"s": -1.0, "t": 1.0}, "weights: expected finite weights of at least 0; got -1.0 of 's'"),
        ({"s": 0.0, "t": 0.0}, "weights: expected a weight above 0; got 0 for every source"),
        ({"s": 1.0}, "weights: expected a weight of every source; got none of 't'"),
    ):
        with pytest.raises(ValueError, match=words):
            write_weighted(path, out, weights)
    with pytest.raises(ValueError, match=r"out: expected a name that ends in \.jsonl"):
        write_weighted(path, tmp_path / "out.csv", {"s": 1.0, "t": 1.0})
    assert not out.exists()


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source\ns\n", "line 1: expected a column of scores beside source; got none"),
        ("name,trak\ns,1\n", "line 1: expected a column 'source'"),
        ("source,trak\ns,1\ns,2\n", "line 3: expected each of 2 sources once; got 's' again"),
        ("source,trak\ns,1\nu,2\n", "line 3: expected each of 2 sources once; got 'u'"),
        ("source,trak\ns,1\nt,inf\n", "line 3: expected a finite number in column trak; got 'inf'"),
        ("source,trak\ns,1\n", "expected a line of the source 't'"),
    ],
)
def test_mistakes_of_scores_of_sources_are_named(tmp_path, text, words):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_source_scores(tmp_path / "scores.csv", ("s", "t"))


@pytest.mark.once
def test_memory_is_that_of_the_texts_not_of_the_file(tmp_path):
    filler = "x" * 20_000  # in a field that is not read
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.writelines(json.dumps(row(prompt=f"p{i}", filler=filler)) + "\n" for i in range(1000))
    tracemalloc.start()
    pairs = read_preferences(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(pairs.prompts) == 1000
    assert peak < 3e6  # of 20 MB


@pytest.mark.once
@pytest.mark.parametrize("name", ["eval_clean", *ULTRAFEEDBACK])
def test_ultrafeedback(data_path, name):
    path = data_path("preferences", f"ultrafeedback_{name}.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    kept = [one for one in rows if one["chosen"] != one["rejected"] and one["chosen"] and one["rejected"]]
    with pytest.raises(ValueError, match="line 1: expected the field 'source'"):
        read_preferences(path)
    with pytest.raises(ValueError, match=r"line (44|307): expected two different responses"):
        read_preferences(path, source=None)
    pairs = read_preferences(path, source=None, skip_unusable=True)
    valid(pairs)
    stem = f"ultrafeedback_{name}"
    assert texts(pairs) == [(one["prompt"], one["chosen"], one["rejected"], stem) for one in kept]
    assert (pairs.skipped, len(kept)) == ((1, 199) if name == "eval_clean" else (6, 994))
    context, winner, loser, _ = map(np.asarray, pairs.comparisons)
    for side, ids in (("chosen", winner), ("rejected", loser)):
        scores = [one["metadata"][f"score_{side}"] for one in kept]
        np.testing.assert_array_equal(pairs.scores["score"][context, ids], scores)


@pytest.mark.once
def test_ultrafeedback_of_several_files(data_path):
    paths = [data_path("preferences", f"ultrafeedback_{name}.jsonl.gz") for name in ULTRAFEEDBACK]
    pairs = read_preferences(paths, skip_unusable=True)
    valid(pairs)
    assert pairs.sources == tuple(f"ultrafeedback_{name}" for name in ULTRAFEEDBACK)
    assert len(pairs.prompts) == 994
    clean, flipped, _, weak = (np.asarray(part.winner) for part in source_comparisons(pairs))
    assert 190 < (clean != flipped).sum() <= 200  # of those kept
    assert (clean == weak).all()  # the weak rows are marked, not changed


@pytest.mark.once
def test_pairs_with_other_fields(data_path):
    with pytest.raises(
        ValueError, match=r"line 1: expected the fields prompt, chosen and rejected; got no .*chosen and no rejected"
    ):
        read_preferences(data_path("preferences", "autoj_testdata_pairwise.jsonl.gz"))


@pytest.mark.once
def test_alpaca_eval(data_path):
    pairs = read_preferences(data_path("preferences", "alpaca_eval2_pairs.jsonl.gz"), skip_unusable=True)
    valid(pairs, soft=True)
    weights = np.asarray(pairs.comparisons.weight)
    np.testing.assert_allclose(weights.sum() + pairs.skipped, 4025, rtol=1e-5)


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4).filter(str.strip)
ROWS = st.lists(
    st.builds(
        lambda prompt, two, source, scores: row(
            prompt=prompt,
            chosen=two[0],
            rejected=two[1],
            source=source,
            score_chosen=scores[0],
            score_rejected=scores[1],
        ),
        TEXTS,
        st.lists(TEXTS, min_size=2, max_size=2, unique=True),
        TEXTS,
        st.tuples(st.integers(-5, 5), st.floats(-9, 9)),
    ),
    min_size=1,
    max_size=5,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=6,
)
FIELDS = st.sampled_from(["prompt", "chosen", "rejected", "source", "score_chosen", "score_rejected", "metadata"])


def encoded(rows, packed):
    content = "".join(json.dumps(one) + "\n" for one in rows).encode()
    return gzip.compress(content, mtime=0) if packed else content


def refused_or_valid(content, packed, **options):
    pairs = read_spoiled(lambda path: read_preferences(path, **options), content, "a.jsonl.gz" if packed else "a.jsonl")
    if pairs is not None:
        valid(pairs)
    return pairs


@pytest.mark.once
@EXAMPLES
@given(ROWS, st.booleans(), st.booleans())
def test_pairs_are_read_back(rows, packed, chat):
    expected = [tuple(one[name] for name in ("prompt", "chosen", "rejected", "source")) for one in rows]
    if chat:
        rows = [
            one | {"prompt": [user(one["prompt"])]} | {side: [assistant(one[side])] for side in ("chosen", "rejected")}
            for one in rows
        ]
    pairs = refused_or_valid(encoded(rows, packed), packed)
    assert texts(pairs) == expected
    given_scores = {}
    for (prompt, *two, _), one in zip(expected, rows, strict=True):
        for response, side in zip(two, ("chosen", "rejected"), strict=True):
            given_scores.setdefault((prompt, response), []).append(one[f"score_{side}"])
    for (prompt, response), scores in given_scores.items():
        context = pairs.prompts.index(prompt)
        got = pairs.scores["score"][context, pairs.responses[context].index(response)]
        assert got == pytest.approx(np.mean(scores), abs=1e-12)


@pytest.mark.once
@settings(EXAMPLES, max_examples=150)
@given(ROWS, spoilings(), st.booleans(), st.booleans())
def test_spoiled_pairs_are_refused_or_valid(rows, spoil, packed, skip):
    refused_or_valid(spoil(encoded(rows, packed)), packed, skip_unusable=skip)


@pytest.mark.once
@settings(EXAMPLES, max_examples=150)
@given(ROWS, st.lists(st.tuples(st.integers(0, 4), FIELDS, JSON), min_size=1, max_size=3), st.booleans())
def test_fields_replaced_by_other_json_are_refused_or_valid(rows, changes, skip):
    for place, field, value in changes:
        rows[place % len(rows)] = rows[place % len(rows)] | {field: value}
    refused_or_valid(encoded(rows, packed=False), packed=False, skip_unusable=skip)


@pytest.mark.once
@EXAMPLES
@given(st.binary(max_size=60), st.booleans())
def test_random_bytes_are_refused(content, packed):
    assert refused_or_valid(content, packed) is None


SOURCES = {
    "good": 1.0,
    "fair": 0.4,
    "copy": "fair",
    "coin": 0.0,
    "bad": -1.0,
    "copy of copy": "copy",
    "one": (1.0, 0.0),
}


@pytest.fixture(scope="module")
def drawn():
    return synthetic_preferences(jax.random.key(1), contexts=30, responses=4, sources=SOURCES, repeats=20)


def agreement(drawn, source):
    """The share of comparisons whose winner has the higher mean reward."""
    context, winner, loser, weight = map(np.asarray, drawn.comparisons[source])
    reward = np.asarray(drawn.rewards).mean(axis=2)
    better = reward[context, winner] > reward[context, loser]
    return (weight * better).sum() / weight.sum()


def test_synthetic_shapes_and_labels(drawn):
    assert drawn.sources == tuple(SOURCES)
    assert drawn.kinds == ("useful", "useful", "duplicate", "noise", "adversary", "duplicate", "useful")
    assert np.asarray(drawn.groups).tolist() == [0, 0, 1, 0, 0, 2, 0]
    expected = [[1, 1], [0.4, 0.4], [0.4, 0.4], [0, 0], [-1, -1], [0.4, 0.4], [1, 0]]
    np.testing.assert_allclose(drawn.qualities, expected, rtol=1e-6)
    assert drawn.rewards.shape == (30, 4, 2)
    assert np.asarray(drawn.contexts).tolist() == list(range(30))
    assert np.asarray(drawn.responses).tolist() == [[0, 1, 2, 3]] * 30
    helpful, harmless = np.asarray(drawn.rewards).reshape(-1, 2).T
    assert abs(np.corrcoef(helpful, harmless)[0, 1]) < 0.3  # they differ
    ordered = {(x, *two) for x in range(30) for pair in combinations(range(4), 2) for two in (pair, pair[::-1])}
    for comparisons in drawn.comparisons:
        context, winner, loser, weight = map(np.asarray, comparisons)
        assert set(zip(context.tolist(), winner.tolist(), loser.tolist(), strict=True)) == ordered
        total = Counter()
        for x, y, z, count in zip(context, winner, loser, weight, strict=True):
            total[int(x), *sorted((int(y), int(z)))] += count
        assert set(total.values()) == {21}  # 20 comparisons and a tie


def test_synthetic_draws_are_those_of_the_key(drawn):
    again = synthetic_preferences(jax.random.key(1), contexts=30, responses=4, sources=SOURCES, repeats=20)
    for one, other in zip(jax.tree.leaves(drawn), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    other = synthetic_preferences(jax.random.key(2), contexts=30, responses=4, sources=SOURCES, repeats=20)
    assert (np.asarray(other.rewards) != np.asarray(drawn.rewards)).all()
    assert (np.asarray(other.comparisons[3].weight) != np.asarray(drawn.comparisons[3].weight)).any()


def test_a_duplicate_equals_its_original_and_nobody_else(drawn):
    for copy in (2, 5):
        for one, other in zip(drawn.comparisons[1], drawn.comparisons[copy], strict=True):
            np.testing.assert_array_equal(one, other)
    different = [np.asarray(drawn.comparisons[source].weight).tolist() for source in (0, 1, 3, 4, 6)]
    assert all(one != other for one, other in combinations(different, 2))


def test_sources_of_equal_quality_choose_on_their_own():
    coins = synthetic_preferences(jax.random.key(5), contexts=50, responses=4, sources={"a": 0.0, "b": 0.0}, repeats=3)
    one, other = (np.asarray(source.weight)[:300] for source in coins.comparisons)  # each pair once
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2


def test_an_adversary_reverses_every_choice():
    good, bad = (
        synthetic_preferences(jax.random.key(3), contexts=5, responses=3, sources={"a": q}, ties=0.0)
        for q in (0.7, -0.7)
    )
    np.testing.assert_array_equal(good.rewards, bad.rewards)
    half = len(good.comparisons[0].weight) // 2
    weight, reversed_weight = (np.asarray(one.comparisons[0].weight) for one in (good, bad))
    np.testing.assert_array_equal(weight, np.concatenate([reversed_weight[half:], reversed_weight[:half]]))


def test_qualities_order_the_agreement_with_the_truth(drawn):
    agreements = [agreement(drawn, source) for source in (0, 1, 3, 4)]
    assert agreements[0] > agreements[1] + 0.05 > agreements[2] + 0.1 > agreements[3] + 0.3
    assert agreements[2] == pytest.approx(0.5, abs=0.03)
    assert agreements[0] + agreements[3] == pytest.approx(1, abs=0.03)


def test_wins_are_those_of_bradley_terry(drawn):
    """Wins against 20 σ(scale · mean_k q_k Δr_k): each within 5 standard errors, the favoured sides' sum within 4."""
    rewards = np.asarray(drawn.rewards, dtype=float)
    for comparisons, quality in zip(drawn.comparisons, np.asarray(drawn.qualities, dtype=float), strict=True):
        context, winner, loser, weight = map(np.asarray, comparisons)
        margin = 2.0 * ((rewards[context, winner] - rewards[context, loser]) * quality).mean(axis=1)
        chance = 1 / (1 + np.exp(-margin))
        gap = weight - 0.5 - 20 * chance
        assert np.abs(gap / np.sqrt(20 * chance * (1 - chance))).max() < 5
        half = len(gap) // 2
        direction = np.sign(margin[:half])
        error = np.sqrt((20 * chance * (1 - chance))[:half].sum())
        assert abs((direction * gap[:half]).sum()) < 4 * error


@pytest.mark.once
def test_ties_connect_every_context_so_that_fits_have_an_optimum():
    sources = {"sharp": 50.0, "adversary": -50.0, "coin": 0.0}
    policy = policies.tabular(3, 3)
    drawn = synthetic_preferences(jax.random.key(4), contexts=3, responses=3, sources=sources, repeats=1)
    for comparisons in drawn.comparisons:
        params, diagnostics = training.newton_optimum(policy, policy.init(jax.random.key(0)), comparisons, beta=1.0)
        assert bool(diagnostics.finite_optimum)
        assert np.isfinite(np.asarray(params)).all()
    without = synthetic_preferences(jax.random.key(4), contexts=3, responses=3, sources=sources, repeats=1, ties=0.0)
    with pytest.raises(ValueError, match="optimum"):
        training.newton_optimum(policy, policy.init(jax.random.key(0)), without.comparisons[0], beta=1.0)


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contexts": 0}, "contexts: expected a whole number"),
        ({"responses": 1}, "responses: expected at least 2"),
        ({"repeats": 0}, "repeats: expected a whole number"),
        ({"scale": 0.0}, "scale: expected a number from"),
        ({"ties": -1.0}, "ties: expected a number from 0"),
        ({"objectives": ()}, "objectives: expected different names, at least one"),
        ({"objectives": ("a", "a")}, "objectives: expected different names"),
        ({"sources": {}}, "sources: expected different names, at least one"),
        ({"sources": [1.0]}, "sources: expected a mapping of names to qualities; got list"),
        ({"sources": {"a": "b", "b": 1.0}}, "source before it, one of none, for it is the first; got 'b'"),
        ({"sources": {"b": 1.0, "a": "c"}}, "a source before it, one of 'b'; got 'c'"),
        ({"sources": {"a": (1.0, 2.0, 3.0)}}, r"one for each of 2 objectives.*got shape \(3,\)"),
        ({"sources": {"a": float("nan")}}, "expected finite numbers"),
        ({"sources": {"a": None}}, "expected a quality"),
    ],
)
def test_mistakes_in_synthetic_sources(options, message):
    with pytest.raises(ValueError, match=message):
        synthetic_preferences(jax.random.key(0), **({"contexts": 2, "responses": 3} | options))
