"""Votes on statements, several annotators an item, voters and groups: read, counted against the definition, refused."""

import gzip
import itertools
import json
import re

import numpy as np
import pytest

from jaxval.data import (
    NamedComparisons,
    VoteMatrix,
    read_annotations,
    read_comparisons_csv,
    read_rankings_csv,
    read_texts,
    read_vote_matrix,
    read_votes,
    vote_batches,
)
from jaxval.preferences import count_wins, vote_wins
from jaxval.types import UNSEEN

TOWN = "participant,group-id,n-votes,rents,buses,parks\n7,B,2,1,,0\n8,A,2, -1 ,0,\n9,,3,0,1,1\n"


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="town.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_text


def wins_by_definition(votes, weights, equal, each):
    """Every ordered pair of statements that a voter saw, one at a time."""
    statements = votes.shape[1]
    total = np.zeros((statements, statements))
    for row, weight in zip(votes, weights, strict=True):
        one = np.zeros_like(total)
        for i, j in itertools.permutations(np.flatnonzero(row != UNSEEN), 2):
            one[i, j] = 1.0 * (row[i] > row[j]) + 0.5 * (row[i] == row[j]) * (equal == "half")
        if each == "voter" and one.sum():
            one /= one.sum()
        total += weight * one
    return total


@pytest.mark.parametrize("each", ["pair", "voter"])
@pytest.mark.parametrize("equal", ["half", "ignored"])
def test_products_count_what_the_definition_counts(rng, monkeypatch, close, x64, equal, each):
    votes = rng.choice([1, 0, -1, UNSEEN], p=[0.3, 0.2, 0.2, 0.3], size=(40, 6)).astype(np.int8)
    votes[3] = UNSEEN  # a voter without votes
    votes[4] = [1, UNSEEN, UNSEEN, UNSEEN, UNSEEN, UNSEEN]  # a voter without pairs
    weights = rng.random(40)
    expected = wins_by_definition(votes, weights, equal, each)
    options = {"equal": equal, "each": each}
    close(vote_wins(votes, weights=weights, **options), expected, atol=1e-12 if x64 else 1e-5)
    monkeypatch.setattr("jaxval.preferences.votes.BLOCK", 16)  # three blocks, the last one filled up
    close(vote_wins(votes, weights=weights, **options), expected, atol=1e-12 if x64 else 1e-5)


def test_a_matrix_of_votes_in_golden_numbers(write):
    """The third voter agrees with buses and parks and passes on rents: buses and parks are equal, both above rents."""
    matrix = read_vote_matrix(write(TOWN))
    assert matrix.votes.tolist() == [[1, UNSEEN, 0], [-1, 0, UNSEEN], [0, 1, 1]]
    assert (matrix.names, matrix.voters, matrix.title) == (("rents", "buses", "parks"), ("7", "8", "9"), "town")
    assert (matrix.groups, matrix.group.tolist()) == (("A", "B"), [1, 0, -1])
    assert vote_wins(matrix.votes).tolist() == [[0, 0, 1], [2, 0, 0.5], [1, 0.5, 0]]
    assert vote_wins(matrix.votes, equal="ignored").tolist() == [[0, 0, 1], [2, 0, 0], [1, 0, 0]]


def test_columns_by_name_and_files_told_apart(write):
    assert type(read_votes(write(TOWN))) is VoteMatrix
    other = read_votes(write("who,party,participant,rents\na,X,1,1\nb,Y,2,0\n"), voter="Who", group="party")
    assert (other.voters, other.groups, other.names) == (("a", "b"), ("X", "Y"), ("rents",))
    with pytest.raises(ValueError, match=r"line 1: expected a column 'town'; got none among 'participant, group-id"):
        read_votes(write(TOWN), group="town")
    with pytest.raises(ValueError, match=r"^group: expected a table .*got cup\.soc, which has no columns"):
        read_votes(write("", "cup.soc"), group="town")


def test_batches_add_up_and_keep_the_numbers_of_groups(write, close):
    rng = np.random.default_rng(1)
    rows = [f"{v},{'XYZ'[v // 9]},{','.join(rng.choice(['1', '0', '-1', ''], size=4))}" for v in range(27)]
    path = write("participant,group,a,b,c,d\n" + "\n".join(rows) + "\n")
    whole = read_vote_matrix(path)
    batches = list(vote_batches(path, rows=10))
    assert [len(batch.votes) for batch in batches] == [10, 10, 7]
    assert [batch.groups for batch in batches] == [("X", "Y"), ("X", "Y", "Z"), ("X", "Y", "Z")]
    close(sum(vote_wins(batch.votes) for batch in batches), vote_wins(whole.votes))
    assert np.concatenate([batch.group for batch in batches]).tolist() == whole.group.tolist()


MATRICES = {
    "another number": (TOWN.replace("8,A,2, -1 ", "8,A,2,2"), 3, "1 .agree., 0 .pass.*column 'rents'; got '2'"),
    "a word": (TOWN.replace(",1,,0", ",yes,,0"), 2, "in column 'rents'; got 'yes'"),
    "a voter twice": (TOWN + "8,B,1,1,,\n", 5, "every voter in one row.*'8' are in line 3 already"),
    "a group without votes": (TOWN + "10,C,0,,,\n11,C,0,,,\n", 5, "votes of group 'C' in column group-id; got none"),
    "groups of nobody": ("participant,group,a\n1,,1\n", 1, "a group in column group; got only empty cells"),
    "a statement nobody saw": ("participant,a,b,c\n1,1,,\n2,0,,\n", 1, "column 'b'; got none: .*with 2 statements"),
    "a row cut off": (TOWN + "10,A,1,1", 5, "6 cells, one for each column; got 4"),
    "no statements": ("participant,group-id,n-votes\n1,A,0\n", 1, "a column for each statement"),
    "no rows": ("participant,a\n", 1, "rows below the names"),
    "a voter without a name": ("participant,a\n ,1\n", 2, "a name in column participant; got an empty cell"),
}


@pytest.mark.mistakes
@pytest.mark.parametrize("fault", MATRICES.values(), ids=MATRICES)
def test_faults_of_matrices_name_line_and_column(write, fault):
    text, line, message = fault
    path = write(text)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}, line {line}: .*{message}"):
        read_vote_matrix(path)


@pytest.mark.mistakes
def test_votes_that_are_none():
    with pytest.raises(ValueError, match=r"votes: expected .*got 3 of voter 1 on statement 0"):
        vote_wins([[1, 0], [3, 0]])
    for wrong in (dict(equal="both"), dict(each="person"), dict(weights=[-1.0]), dict(weights=[1.0, 2.0])):
        with pytest.raises(ValueError, match="expected"):
            vote_wins([[1, 0]], **wrong)
    for wrong in ([1, 0], [[0.5, 1.0]], np.zeros((0, 2), int)):
        with pytest.raises(ValueError, match="votes: expected"):
            vote_wins(wrong)


def test_texts_of_statements(write):
    path = write("id,Text\n2,More  buses\n0,\n", "texts.csv")
    assert read_texts(path, ("0", "1", "2")) == ("", "", "More buses")


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("id,text\n0,a\n5,b\n", 3, "a statement with votes in column id; got '5', .*names 2 and the votes 1"),
        ("id,text\n0,a\n0,b\n", 3, "every statement once in column id; got '0' again, after line 2"),
        ("id,words\n0,a\n", 1, "a column called comment-body or text or title; got 'id,words'"),
    ],
)
def test_faults_of_texts_name_line_and_column(write, text, line, message):
    path = write(text, "texts.csv")
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}, line {line}: .*{message}"):
        read_texts(path, ("0",))


def test_comparisons_keep_voters_and_groups(write):
    """A tie is two rows of its voter; an empty group is none."""
    path = write("left,right,winner,worker,party\na,b,tie,Ann,X\nb,c,left,Bob,\na,c,right,Ann,X\n")
    votes = read_comparisons_csv(path, group="party")
    assert (votes.voters, votes.voter.tolist()) == (("Ann", "Bob"), [0, 0, 1, 0])
    assert (votes.groups, votes.group.tolist()) == (("X",), [0, 0, -1, 0])
    assert read_comparisons_csv(path).group is None
    assert read_comparisons_csv(write("winner,loser\na,b\n")).voter is None


def test_rankings_keep_voters_and_groups(write):
    election = read_rankings_csv(write("voter,group,1,2\nAnn,X,tea,milk\nBob,Y,milk,\n"))
    assert (election.voters, election.groups, election.group.tolist()) == (("Ann", "Bob"), ("X", "Y"), [0, 1])
    assert election.names == ("milk", "tea")
    assert read_rankings_csv(write("party,tea,milk\nX,1,2\n"), group="party").names == ("tea", "milk")


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,c,left,Ann,Y", "'X' in column group, the group of voter 'Ann' in line 2; got 'Y'; a voter is in one group"),
        ("a,c,left,Ann,", "the group of voter 'Ann' in line 2; got ''"),
        ("a,c,left,,X", "a name in column voter; got an empty cell"),
    ],
)
def test_faults_of_voters_name_line_and_column(write, row, message):
    path = write(f"left,right,winner,voter,group\na,b,left,Ann,X\n{row}\n")
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}, line 3: .*{message}"):
        read_comparisons_csv(path)


ITEM = {"cmp_key": "owl_emu", "instruction": "Rhyme.", "input": "moon", "annotator1": 2, "annotator2": 0}


@pytest.mark.parametrize("name", ["items.json", "items.json.gz"])
def test_several_annotators_an_item(write, name):
    text = json.dumps([ITEM, {**ITEM, "annotator1": 1, "annotator2": 1}]).encode()
    votes = read_votes(write(gzip.compress(text) if name.endswith("gz") else text, name))
    assert type(votes) is NamedComparisons
    assert votes.names == ("emu", "owl")
    assert votes.contexts == ("Rhyme.\nmoon",)
    assert votes.voter.tolist() == [0, 1, 1, 0, 1]
    assert count_wins(votes.comparisons, alternatives=2).tolist() == [[0, 1.5], [2.5, 0]]


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cmp_key": "owl"}, "two different models, joined by _, in the field cmp_key; got text, 'owl'"),
        ({"annotator2": 3}, "or 0 .a tie. in field annotator2; got 3"),
        ({"annotator2": True}, "in field annotator2; got "),
        ({"instruction": "", "input": ""}, "a prompt in the field instruction"),
    ],
)
def test_faults_of_annotators_name_the_line(write, change, message):
    with pytest.raises(ValueError, match=rf"line 2: .*{message}"):
        read_annotations(write(f"[\n{json.dumps({**ITEM, **change})}]", "items.json"))


def test_real_matrices_and_annotations(data_path):
    seattle = read_votes(data_path("votes", "polis", "15-per-hour-seattle", "participants-votes.csv"))
    assert seattle.votes.shape == (339, 54)
    assert [(seattle.votes == vote).sum() for vote in (1, 0, -1)] == [1358, 592, 922]
    assert np.bincount(seattle.group + 1).tolist() == [201, 99, 39]
    texts = read_texts(data_path("votes", "polis", "15-per-hour-seattle", "comments.csv"), seattle.names)
    assert texts[53] == "Not sure I believe any of this..."
    pandalm = read_votes(data_path("preferences", "pandalm_testset-v1.json.gz"))
    assert (len(pandalm.names), len(pandalm.voters)) == (5, 3)
    assert float(pandalm.comparisons.weight.sum()) == 3 * 999
