"""Rankings and comparisons as comma-separated tables: golden tables in every layout, and what is wrong with others."""

import re

import numpy as np
import pytest

from jaxval.data import read_comparisons_csv, read_rankings_csv
from jaxval.preferences import ballot_wins, count_wins


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="drinks.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_text


def rows(matches):
    return list(zip(*(np.asarray(field).tolist() for field in matches.comparisons), strict=True))


def test_columns_are_ranks_and_cells_hold_names(write):
    election = read_rankings_csv(
        write("count,1,2,3\n3,tea,coffee=juice,\n2, juice ,,coffee\n1,tea = juice = coffee,,\n")
    )
    assert election.names == ("coffee", "juice", "tea")
    # tea, then the others tied; juice then coffee, tea unranked, the empty cell between skipped; all tied
    assert election.ballots.positions.tolist() == [[1, 1, 0], [1, 0, -1], [0, 0, 0]]
    assert election.ballots.weights.tolist() == [3, 2, 1]
    assert election.title == "drinks"


@pytest.mark.parametrize("header", ["1,2", "rank 1,rank 2", "Rank_1,Rank_2", "choice1,choice2", "place-1,preference 2"])
def test_columns_that_are_ranks(write, header):
    assert read_rankings_csv(write(f"{header}\ntea,coffee\n")).ballots.positions.tolist() == [[1, 0]]


def test_columns_of_ranks_in_any_order_beside_labels(write):
    election = read_rankings_csv(write("Voter,2,weight,1,ID\nAnn,tea,0.5,coffee,7\n"))
    assert election.names == ("coffee", "tea")
    assert election.ballots.positions.tolist() == [[0, 1]]
    assert election.ballots.weights.tolist() == [0.5]


def test_columns_are_alternatives_and_cells_hold_ranks(write):
    election = read_rankings_csv(write("voter,Tea,Coffee,Juice\nAnn,1,2,2\nBob,9,3,\n"))
    assert election.names == ("Tea", "Coffee", "Juice")
    assert election.ballots.positions.tolist() == [[0, 1, 1], [1, 0, -1]]  # gaps between ranks do not count
    assert election.ballots.weights.tolist() == [1, 1]


def test_both_layouts_say_the_same(write, close):
    named = read_rankings_csv(write("count,1,2,3\n3,A,B=C,\n2,C,A,B\n4,B,,\n", "named.csv"))
    ranked = read_rankings_csv(write("count,A,B,C\n3,1,2,2\n2,2,3,1\n4,,1,\n", "ranked.csv"))
    assert named.names == ranked.names
    assert named.ballots.positions.tolist() == ranked.ballots.positions.tolist()
    close(ballot_wins(named.ballots), ballot_wins(ranked.ballots))


def test_winner_and_loser(write):
    text = "winner,loser,tie,context,weight,note\ntea,juice,0,hot,2,x\njuice,tea,TRUE,cold,3,\ncoffee,tea,,hot,1,\n"
    matches = read_comparisons_csv(write(text))
    assert matches.names == ("coffee", "juice", "tea")
    assert matches.contexts == ("cold", "hot")
    # (context, winner, loser, weight); the tie of weight 3 is two rows of 1.5, one each way
    assert rows(matches) == [(1, 2, 1, 2.0), (0, 1, 2, 1.5), (0, 2, 1, 1.5), (1, 0, 2, 1.0)]
    assert matches.title == "drinks"


def test_without_context_and_weight(write):
    matches = read_comparisons_csv(write("Winner,Loser\ntea,juice\n"))
    assert matches.contexts == ("",)
    assert rows(matches) == [(0, 1, 0, 1.0)]
    assert matches.winner_first is None


@pytest.mark.parametrize(("left", "right", "tie"), [("left", "right", "tie"), ("model_a", "model_b", "tie (bothbad)")])
def test_two_sides_and_a_verdict(write, left, right, tie):
    text = f"id,prompt,{left},{right},winner\n0,p,owl,emu,{left}\n1,q,owl,emu,{right}\n2,p,emu,owl,{tie}\n"
    matches = read_comparisons_csv(write(text))
    assert matches.names == ("emu", "owl")
    assert matches.contexts == ("p", "q")
    assert rows(matches) == [(0, 1, 0, 1.0), (1, 0, 1, 1.0), (0, 0, 1, 0.5), (0, 1, 0, 0.5)]
    assert matches.winner_first.tolist() == [True, False, True, False]
    # one win each way and a tie: 1.5 each way
    assert count_wins(matches.comparisons, alternatives=2).tolist() == [[0, 1.5], [1.5, 0]]


def test_quoted_cells_may_hold_commas_quotes_and_newlines(write):
    matches = read_comparisons_csv(write('prompt,winner,loser\n"a, ""b""\nc",x,y\n\n"a",y,x\n'))
    assert matches.contexts == ("a", 'a, "b"\nc')
    with pytest.raises(ValueError, match="line 4: expected 3 cells"):
        read_comparisons_csv(write('prompt,winner,loser\n"a\nb",x,y\nc,d\n'))


def test_marks_of_other_systems_do_not_count(write):
    plain = read_rankings_csv(write("1,2\ntea,café\n"))
    other = read_rankings_csv(write("\ufeff1,2\r\n\r\ntea,café"))
    assert other.names == plain.names
    assert other.ballots.positions.tolist() == plain.ballots.positions.tolist()


RANKINGS = {
    "empty": (b"", 1, "got an empty file"),
    "blank": (b"\n \n", 1, "a different name for every column"),
    "nothing below": (b"1,2\n", 1, "rows below"),
    "bytes": (b"1,2\ntea,caf\xe9\n", 2, "UTF-8 text; got byte 0xe9 in column 8"),
    "a cell too few": (b"1,2\ntea,juice\ntea\n", 3, "2 cells, one for each column; got 1"),
    "a cell too many": (b"1,2\ntea,juice,\n", 2, "2 cells, one for each column; got 3"),
    "an open quote": (b'1,2\ntea,juice\n"tea,juice\ntea,juice\n', 3, "fault: unexpected end of data"),
    "a name twice": (b"1,2\ntea,tea\n", 2, "at most once"),
    "a name twice in a tie": (b"1,2\ntea=juice=tea,\n", 2, "at most once"),
    "half a tie": (b"1,2\ntea=,juice\n", 2, "both sides of ="),
    "no name": (b"1,2\ntea,juice\n,\n", 3, "ranks nobody"),
    "a gap in the columns": (b"1,3\ntea,juice\n", 1, "columns 1, 2, 3, ... without gaps"),
    "rank twice": (b"1,rank 1\ntea,juice\n", 1, "without gaps"),
    "an unknown column": (
        b"1,2,age\ntea,juice,9\n",
        1,
        "without gaps.*only count, weight, ballot, id, voter, group; got",
    ),
    "a column twice": (b"1,2,1\na,b,c\n", 1, "different name"),
    "a column without a name": (b"1,2,\na,b,c\n", 1, "different name"),
    "count and weight": (b"1,count,weight\na,1,1\n", 1, "count and weight; remove one"),
    "no count": (b"1,2,count\na,b,1\na,b,\n", 3, "positive number in column count; got ''"),
    "count zero": (b"1,2,count\na,b,0\n", 2, "positive number"),
    "count nan": (b"1,2,count\na,b,nan\n", 2, "positive number"),
    "count too large": (b"1,2,count\na,b,1e40\n", 2, "positive number"),
    "count below zero": (b"1,2,count\na,b,-1\n", 2, "positive number"),
    "names for ranks": (
        b"first,second\ntea,juice\n",
        2,
        "a rank .1 is best. or nothing in column 'first'; .*call the col",
    ),
    "rank zero": (b"tea,juice\n0,1\n", 2, "got '0'"),
    "half a rank": (b"tea,juice\n1,1.5\n", 2, "got '1.5'"),
    "no rank": (b"tea,juice\n,\n", 2, "ranks nobody"),
    "another separator": (b"tea;juice\n1;2\n", 1, "got semicolons; save it with commas"),
}
COMPARISONS = {
    "empty": (b"", 1, "got an empty file"),
    "no columns": (b"tea,juice\n1,2\n", 1, "columns winner and loser, or left, right and winner, or model_a"),
    "no loser": (b"winner,second\ntea,juice\n", 1, "columns winner and loser"),
    "one side": (b"left,winner\ntea,left\n", 1, "columns winner and loser"),
    "itself": (b"winner,loser\ntea,juice\ntea,tea\n", 3, "two different alternatives; got 'tea' and 'tea'"),
    "nobody": (b"winner,loser\ntea,\n", 2, "two different alternatives; got 'tea' and ''"),
    "verdict": (b"left,right,winner\ntea,juice,tea\n", 2, "one of left, right, tie, .* in column winner; got 'tea'"),
    "no verdict": (b"left,right,winner\ntea,juice,\n", 2, "in column winner; got ''"),
    "tie flag": (b"winner,loser,tie\ntea,juice,maybe\n", 2, "in column tie; got 'maybe'"),
    "count": (b"winner,loser,count\ntea,juice,many\n", 2, "positive number in column count; got 'many'"),
    "bytes": (b"winner,loser\n\xff,tea\n", 2, "0xff in column 1"),
    "a long cell": (b"winner,loser\n" + b"a" * 200_000 + b",b\n", 2, "field larger than field limit"),
}


@pytest.mark.parametrize(
    ("read", "fault"),
    [(read_rankings_csv, one) for one in RANKINGS.values()]
    + [(read_comparisons_csv, one) for one in COMPARISONS.values()],
    ids=[*RANKINGS, *(f"comparisons: {name}" for name in COMPARISONS)],
)
def test_faults_name_the_file_and_the_line(write, read, fault):
    content, line, message = fault
    path = write(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}, line {line}: .*{message}"):
        read(path)


VOTERS = "if the column names the voters, pass voter 'member'"
NAMES = "where cells hold names, call the columns 1, 2, 3, ..."
LAYOUTS = {
    "names": ("member,first,second\nAnn,Hike,Museum\nBob,Museum,Hike\n", f"; {VOTERS}; {NAMES}"),
    "one choice": ("member,vote\nAnn,Hike\nBob,Museum\nCid,Hike\n", f"; {VOTERS}; {NAMES}"),
    "ranks": ("member,Hike,Museum\nAnn,1,2\nBob,2,1\n", f"; got 'Ann'; {VOTERS}"),
    "ids": ("member,Hike,Museum\n1,1,2\n2,2,1\n3,1,2\n4,1,2\n", f"; got another number in every row; {VOTERS}"),
    "places": ("member,1,2\nAnn,Hike,Museum\n", f"; got 'member,1,2'; {VOTERS}"),
    "compared": ("won,lost\nHike,Museum\nCinema,Hike\n", f"{NAMES}, or winner and loser if one won"),
    "a slip": ("tea,coffee\n1,2\nx,1\n", f"; got 'x'; {NAMES}"),
    "semicolons": ("1;2\nHike;Museum\n", "columns separated by commas; got semicolons; save it with commas"),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_are_nearly_right_are_told(write, layout):
    content, message = LAYOUTS[layout]
    with pytest.raises(ValueError, match=re.escape(message)):
        read_rankings_csv(write(content))
    if "voters" in message and layout in ("ranks", "ids"):
        assert len(read_rankings_csv(write(content), voter="member").names) == 2


@pytest.mark.parametrize("read", [read_rankings_csv, read_comparisons_csv])
def test_a_missing_file(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: there is no such file"):
        read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("name", "votes", "models", "pairs", "prompts", "ties"),
    [
        ("crowd", 8931, 59, 927, 13, 3471),
        ("gpt3", 3236, 70, 1290, 19, 313),
        ("gpt3-crowd", 2139, 59, 927, 13, 194),
        ("gpt4", 3236, 70, 1290, 19, 139),
        ("gpt4-crowd", 2139, 59, 927, 13, 66),
    ],
)
def test_real_votes_on_language_models(data_path, name, votes, models, pairs, prompts, ties):
    """Counts taken from the files by csv.DictReader; 927 of 59 * 58 / 2 = 1,711 pairs were ever compared."""
    matches = read_comparisons_csv(data_path("votes", "llmfao", f"{name}-comparisons.csv"))
    weight = np.asarray(matches.comparisons.weight)
    assert weight.sum() == votes
    assert (weight == 0.5).sum() == 2 * ties
    assert (len(matches.names), len(matches.contexts)) == (models, prompts)
    wins = np.asarray(count_wins(matches.comparisons, alternatives=models))
    assert np.triu(wins + wins.T > 0).sum() == pairs
