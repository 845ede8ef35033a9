"""Weights of pairs, soft labels, arrays of pairs, and the layout of AlpacaEval."""

import json

import numpy as np
import pytest

from jaxval import sources
from jaxval.cli.value_report import describe, print_result
from jaxval.data import read_preferences


def written(path, rows, *, array=False):
    lines = [json.dumps(row) for row in rows]
    path.write_text("[" + ",\n ".join(lines) + "]" if array else "\n".join(lines) + "\n")
    return path


def rows_of(pairs):
    texts = [
        (pairs.prompts[x], pairs.responses[x][w], pairs.responses[x][z], round(float(weight), 6))
        for x, w, z, weight in zip(*map(np.asarray, pairs.comparisons), strict=True)
    ]
    return texts, [pairs.sources[s] for s in np.asarray(pairs.source)]


def test_weights_and_soft_labels(tmp_path):
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    made = [
        pair | {"source": "x", "weight": 2, "p_chosen": 0.75, "score_chosen": 3, "score_rejected": 1},
        pair | {"source": "y", "weight": 0.5, "p_chosen": 1, "score_chosen": 3, "score_rejected": 1},
        pair | {"source": "y", "weight": 1, "p_chosen": 0, "score_chosen": 3, "score_rejected": 1},
    ]
    pairs = read_preferences(written(tmp_path / "pairs.jsonl", made))
    rows, sources = rows_of(pairs)
    assert rows == [("q", "a", "b", 1.5), ("q", "b", "a", 0.5), ("q", "a", "b", 0.5), ("q", "b", "a", 1.0)]
    assert sources == ["x", "x", "y", "y"]
    assert pairs.scores["score"].tolist() == [[3, 1]]


@pytest.mark.once
def test_values_per_pair_count_pairs_by_weight(tmp_path, capsys):
    made = [
        {"prompt": "q", "chosen": "a", "rejected": "b", "source": source, "weight": weight, "p_chosen": chance}
        | {"score_chosen": 1, "score_rejected": 0}
        for source, weight, chance in (("x", 3, 0.75), ("x", 1, 1), ("y", 2, 0.5))
    ]
    found = sources.value_sources(read_preferences(written(tmp_path / "p.jsonl", made)), policy="tabular", ridge=1e-3)
    assert found.pairs.tolist() == [4, 2]
    np.testing.assert_allclose(found.values_per_pair, found.values / [[4], [2]])
    assert found.values[0, 0] > 0
    assert abs(found.values[1, 0]) < 1e-3  # a tie teaches nothing
    print_result(describe(found, title="two"))
    assert "Values per 1,000 pairs under score: x +" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("array", [False, True])
def test_alpaca_eval_is_read_as_it_is(tmp_path, array):
    one = {"instruction": "q", "output_1": "a", "output_2": "b", "generator_1": "base", "generator_2": "m"}
    made = [one | {"preference": 2.0}, one | {"preference": 1.25, "output_2": "c"}, one | {"preference": 1}]
    pairs = read_preferences(
        written(tmp_path / f"a.json{'' if array else 'l'}", made, array=array), source="generator_2"
    )
    expected = [("q", "b", "a", 1.0), ("q", "a", "c", 0.75), ("q", "c", "a", 0.25), ("q", "a", "b", 1.0)]
    assert rows_of(pairs) == (expected, ["m"] * 4)
    sure = [{"p_prefers_2": row["preference"] - 1} | row for row in made]
    again = read_preferences(written(tmp_path / "b.jsonl", sure), source="generator_2")
    assert rows_of(again)[0] == expected


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"weight": 0}], r"line 1: expected a weight above 0; got 0"),
        ([{"weight": -1}], r"line 1: expected a number from 0 to 1e\+06 in the field weight; got -1"),
        ([{"weight": "much"}], r"line 1: expected a number in the field weight; got text, 'much'"),
        ([{"p_chosen": 1.5}], r"line 1: expected a number from 0 to 1 in the field p_chosen; got 1.5"),
        ([{"p_chosen": float("nan")}], r"line 1: expected a number in the field p_chosen"),
        ([{"weight": 1}, {}], r"line 2: expected weight and p_chosen in every pair or in none; line 1 has weight"),
    ],
)
def test_wrong_weights_are_named(tmp_path, rows, message):
    pair = {"prompt": "q", "chosen": "a", "rejected": "b", "source": "x"}
    with pytest.raises(ValueError, match=message):
        read_preferences(written(tmp_path / "pairs.jsonl", [pair | row for row in rows]))


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"instruction": "q", "output_1": "a", "output_2": "b", "preference": 3}]', r"preference from 1 to 2; got 3"),
        ('[{"instruction": "q", "output_1": "a", "output_2": "b", "preference": null}]', r"line 1: .* got null"),
        ('[{"prompt": "q",\n "chosen"', r"line 1: expected a JSON object, and \] after the last; .* may be cut off"),
        ('[\n\n{"prompt": 1},\n 7]', r"line 3: expected the fields prompt, chosen and rejected"),
        ("[7]", r"line 1: expected a JSON object with fields; got '7'"),
        ("[]", r"line 1: expected at least one object; got an empty array"),
        ('{"prompt": "q"}', r"line 1: expected one JSON array of objects"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, text, message):
    (tmp_path / "pairs.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_preferences(tmp_path / "pairs.json")
