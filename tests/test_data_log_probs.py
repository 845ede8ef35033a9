"""Tables of log-probabilities: every format, ragged prompts, candidates, and what is wrong with a file."""

import gzip
import json

import numpy as np
import pytest

from jaxval.data import read_log_probs

pytestmark = pytest.mark.once
NAMES = ("reference", "books", "web")


def rows(rng, prompts=3, samples=4):
    """Rows of a pool whose responses come from the reference and two sources."""
    made = []
    for x in range(prompts):
        for j in range(samples - (x == 1)):  # the second prompt has a response less
            row = {"prompt": f"p{x}", "response": f"y{j}", "drawn_from": NAMES[j % 3]}
            row |= {f"log_prob_{name}": float(-rng.exponential(20)) for name in NAMES}
            made.append(row | {"reward_help": float(rng.normal()), "reward_harm": int(rng.integers(5))})
    return made


def written(path, made):
    with gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in made)
    return path


def same(one, other):
    for name, part in one._asdict().items():
        if name != "title":
            np.testing.assert_array_equal(part, getattr(other, name))


def test_rows_are_gathered_by_prompt(rng, tmp_path):
    made = rows(rng)
    pool = read_log_probs(written(tmp_path / "pool.jsonl", rng.permutation(made).tolist()))
    assert pool.sources == ("books", "web")
    assert pool.rewards == ("help", "harm")
    assert pool.title == "pool"
    assert pool.log_probs.shape == (3, 3, 4)
    found = set()
    for x, prompt in enumerate(pool.prompts):
        for j in np.flatnonzero(pool.drawn_from[x] >= 0):
            origin = NAMES[pool.drawn_from[x, j]]
            found.add((prompt, origin, *pool.log_probs[:, x, j], *pool.scores[x, j]))
    expected = {
        (row["prompt"], row["drawn_from"], *(row[f"log_prob_{name}"] for name in NAMES), *list(row.values())[-2:])
        for row in made
    }
    assert found == expected
    assert (pool.drawn_from < 0).sum() == 1
    assert pool.proposal is None


def test_formats_and_several_files_agree(rng, tmp_path):
    made = rows(rng)
    expected = read_log_probs(written(tmp_path / "pool.jsonl", made))
    same(read_log_probs(written(tmp_path / "pool.jsonl.gz", made)), expected)
    parts = [written(tmp_path / f"{k}.jsonl", part) for k, part in enumerate((made[:5], made[5:]))]
    same(read_log_probs(parts), expected)
    assert read_log_probs(parts).title == "0, 1"
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    table = pa.Table.from_pylist(made)
    parquet.write_table(table, tmp_path / "pool.parquet")
    same(read_log_probs(tmp_path / "pool.parquet"), expected)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=4)
    same(read_log_probs(tmp_path / "stream.arrow"), expected)
    with pa.ipc.new_file(tmp_path / "file.arrow", table.schema) as file:
        file.write_table(table)
    same(read_log_probs(tmp_path / "file.arrow"), expected)
    folder = tmp_path / "saved"  # as datasets.Dataset.save_to_disk writes it
    folder.mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, part in zip(names, (table.slice(0, 5), table.slice(5)), strict=True):
        with pa.ipc.new_stream(folder / name, table.schema) as stream:
            stream.write_table(part)
    state = {"_data_files": [{"filename": name} for name in names], "_indices_files": None}
    (folder / "state.json").write_text(json.dumps(state))
    same(read_log_probs(folder), expected)
    coded = table.set_column(0, "prompt", table["prompt"].dictionary_encode())
    parquet.write_table(coded, tmp_path / "coded.parquet")
    same(read_log_probs(tmp_path / "coded.parquet"), expected)


def test_proposals(rng, tmp_path):
    made = [row | {"log_proposal_all": -3.0} for row in rows(rng)]
    made[0]["drawn_from"] = "all"
    pool = read_log_probs(written(tmp_path / "further.jsonl", made))
    assert pool.proposals == ("all",)
    assert pool.drawn_from[0, 0] == 3
    assert set(np.unique(pool.proposal_log_probs)) == {-3.0, 0.0}
    for row in made:
        del row["drawn_from"], row["log_proposal_all"]
        row["log_proposal"] = row["log_prob_web"] - 1
    pool = read_log_probs(written(tmp_path / "whole.jsonl", made))
    assert pool.drawn_from is None
    drawn = pool.proposal < np.inf
    np.testing.assert_array_equal(pool.proposal[drawn], pool.log_probs[2][drawn] - 1)
    assert drawn.sum() == 11


def test_a_prompt_may_be_chat_messages_and_is_told_by_them(rng, tmp_path):
    made = [row | {"prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows(rng)]
    assert len(read_log_probs(written(tmp_path / "chat.jsonl", made)).prompts) == 3


def test_candidates_count_once_and_trl_pairs_are_candidates(rng, tmp_path):
    made = [{name: value for name, value in row.items() if name != "drawn_from"} for row in rows(rng)]
    single = read_log_probs(written(tmp_path / "candidates.jsonl", [*made, made[0]]), candidates=True)
    assert single.candidates
    assert (single.proposal == 0).sum() == 11
    pairs = []
    for one, other in ((0, 1), (0, 2), (3, 1), (4, 5), (6, 5), (7, 8), (9, 10)):
        chosen, rejected = made[one], made[other]
        row = {"prompt": chosen["prompt"], "chosen": chosen["response"], "rejected": rejected["response"]}
        for side, part in (("chosen", chosen), ("rejected", rejected)):
            row |= {f"ref_{side}_logps": part["log_prob_reference"]}
            row |= {f"{name}_{side}_logps": part[f"log_prob_{name}"] for name in NAMES[1:]}
            row |= {f"{name}_{side}": part[f"reward_{name}"] for name in ("help", "harm")}
        pairs.append(row)
    paired = read_log_probs(written(tmp_path / "pairs.jsonl", pairs), candidates=True)
    assert paired.sources == ("books", "web")
    assert paired.rewards == ("help", "harm")
    cells = [{tuple(cell) for cell in pool.log_probs.reshape(3, -1).T} - {(0, 0, 0)} for pool in (single, paired)]
    assert cells[0] == cells[1]


# What is wrong with a file.


def changed(made, row, **fields):
    return [*made[:row], made[row] | fields, *made[row + 1 :]]


def without(made, *names):
    return [{name: value for name, value in row.items() if name not in names} for row in made]


WRONG = {
    "above zero": (
        lambda made: changed(made, 2, log_prob_web=0.3),
        r"line 3: expected a log-probability, at most 0, in",
    ),
    "NaN": (lambda made: changed(made, 2, log_prob_web=np.nan), r"line 3: .* at most 0, in log_prob_web; got nan"),
    "infinite reward": (
        lambda made: changed(made, 4, reward_help=np.inf),
        r"line 5: expected a finite number in reward",
    ),
    "text among numbers": (
        lambda made: changed(made, 2, reward_harm="high"),
        r"line 3: expected a number in the column reward_harm; got text, 'high'",
    ),
    "true among numbers": (lambda made: changed(made, 2, reward_harm=True), r"line 3: .* got true or false"),
    "null": (lambda made: changed(made, 2, log_prob_books=None), r"line 3: .* log_prob_books; got null"),
    "huge": (lambda made: changed(made, 0, reward_harm=10**400), r"a whole number that float64 cannot hold"),
    "a column missing in a row": (
        lambda made: [*made[:3], *without(made[3:4], "log_prob_web"), *made[4:]],
        r"line 4: expected the columns of the first line, log_prob_web among them; got no such column",
    ),
    "a column more in a row": (
        lambda made: changed(made, 3, log_prob_new=-1.0),
        r"line 4: .* got 'log_prob_new' as well",
    ),
    "no reference": (lambda made: without(made, "log_prob_reference"), r"line 1: .* got no log_prob_reference among"),
    "no source": (lambda made: without(made, "log_prob_web", "log_prob_books"), r"no log_prob_NAME for a source"),
    "no reward": (lambda made: without(made, "reward_help", "reward_harm"), r"no reward_NAME among"),
    "no prompt": (lambda made: without(made, "prompt"), r"no prompt among"),
    "no proposal": (
        lambda made: without(made, "drawn_from"),
        r"line 1: expected the column drawn_from or the column log_proposal; got neither .* weights are π/q",
    ),
    "two proposals": (lambda made: changed(made, 0, log_proposal=-1.0), r"got both among"),
    "unknown origin": (
        lambda made: changed(made, 5, drawn_from="grand"),
        r"line 6: expected one of 'reference', 'books', 'web' in drawn_from; got 'grand'; .* log_proposal_grand",
    ),
    "a proposal called as a source": (
        lambda made: changed(made, 0, log_proposal_web=-1.0),
        r"another name for a further",
    ),
    "an empty prompt": (lambda made: changed(made, 2, prompt=" "), r"line 3: expected text in the column prompt"),
    "one response to a prompt": (
        lambda made: changed(made, 2, prompt="alone"),
        r"at least two responses to every prompt; got one to 'alone', and 0 more",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rows_are_named(rng, tmp_path, case):
    change, message = WRONG[case]
    made = change(rows(rng))
    if case in ("two proposals", "a proposal called as a source"):  # the first line decides on the columns
        made = [row | {name: -1.0 for name in made[0] if name.startswith("log_proposal")} for row in made]
    with pytest.raises(ValueError, match=message):
        read_log_probs(written(tmp_path / "pool.jsonl", made))


def test_wrong_files_are_named(rng, tmp_path):
    made = rows(rng)
    whole = written(tmp_path / "pool.jsonl", made).read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(whole[:-30])
    with pytest.raises(ValueError, match=r"line 11: .* the file may be cut off"):
        read_log_probs(tmp_path / "cut.jsonl")
    packed = written(tmp_path / "pool.jsonl.gz", made).read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-40])
    with pytest.raises(ValueError, match="a whole gzip file"):
        read_log_probs(tmp_path / "cut.jsonl.gz")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_log_probs(tmp_path / "none.parquet")
    (tmp_path / "pool.csv").write_text("prompt\n")
    with pytest.raises(
        ValueError,
        match=r"ends in .*\.parquet, \.arrow, or a folder of save_to_disk; got the ending \.csv; with pandas, read_csv",
    ):
        read_log_probs(tmp_path / "pool.csv")
    other = written(tmp_path / "other.jsonl", without(made, "log_prob_web"))
    with pytest.raises(ValueError, match=r"line 1: expected the column log_prob_web, as in the first file"):
        read_log_probs([tmp_path / "pool.jsonl", other])
    more = written(tmp_path / "more.jsonl", [row | {"log_prob_new": -1.0} for row in made])
    with pytest.raises(ValueError, match=r"expected the columns of the first file; got log_prob_new as well"):
        read_log_probs([tmp_path / "pool.jsonl", more])


def test_wrong_candidates_are_named(rng, tmp_path):
    made = without(rows(rng), "drawn_from")
    with pytest.raises(ValueError, match=r"line 12: expected the same log_prob_web for the same candidate"):
        read_log_probs(written(tmp_path / "a.jsonl", [*made, made[0] | {"log_prob_web": -99.0}]), candidates=True)
    with pytest.raises(ValueError, match=r"no column drawn_from beside candidates"):
        read_log_probs(written(tmp_path / "b.jsonl", rows(rng)), candidates=True)
    with pytest.raises(ValueError, match=r"no response among"):
        read_log_probs(written(tmp_path / "c.jsonl", without(made, "response")), candidates=True)
    pair = {"prompt": "p", "chosen": "a", "rejected": "b", "ref_chosen_logps": -1.0, "web_chosen_logps": -1.0}
    with pytest.raises(ValueError, match=r"line 1: expected the column ref_rejected_logps"):
        read_log_probs(written(tmp_path / "d.jsonl", [pair]), candidates=True)


def test_wrong_arrow_files_are_named(rng, tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    made = rows(rng)
    parquet.write_table(pa.Table.from_pylist(made), tmp_path / "pool.parquet")
    whole = (tmp_path / "pool.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="a whole Parquet or Arrow file"):
        read_log_probs(tmp_path / "cut.parquet")
    table = pa.Table.from_pylist(made)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as stream:
        stream.write_table(table)
    (tmp_path / "cut.arrow").write_bytes((tmp_path / "stream.arrow").read_bytes()[:-400])
    with pytest.raises(ValueError, match="a whole Parquet or Arrow file"):
        read_log_probs(tmp_path / "cut.arrow")
    parquet.write_table(pa.Table.from_pylist(changed(made, 2, log_prob_web=None)), tmp_path / "null.parquet")
    with pytest.raises(ValueError, match=r"row 3: expected a number in the column log_prob_web; got nothing"):
        read_log_probs(tmp_path / "null.parquet")
    texts = [row | {"reward_harm": "high"} for row in made]
    parquet.write_table(pa.Table.from_pylist(texts), tmp_path / "text.parquet")
    with pytest.raises(ValueError, match=r"expected numbers in the column reward_harm; got a column of string"):
        read_log_probs(tmp_path / "text.parquet")
    with pytest.raises(ValueError, match=r"a folder of save_to_disk, whose state\.json names"):
        read_log_probs(tmp_path)
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "gone.arrow"}]}))
    with pytest.raises(ValueError, match=r"all files that state.json names; got no gone.arrow"):
        read_log_probs(tmp_path)
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [], "_indices_files": [{"filename": "i"}]}))
    with pytest.raises(ValueError, match="call flatten_indices"):
        read_log_probs(tmp_path)
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(ValueError, match="the folder of one split"):
        read_log_probs(tmp_path)
