"""PrefLib files: golden ballots, every real file, and what is cut off or garbled."""

import re

import numpy as np
import pytest

from jaxval.data import read_preflib

LUNCH = """# FILE NAME: lunch.toi
# TITLE: Lunch
# DATA TYPE: toi
# NUMBER ALTERNATIVES: 4
# NUMBER VOTERS: 10
# NUMBER UNIQUE ORDERS: 3
# ALTERNATIVE NAME 1: soup
# ALTERNATIVE NAME 2: salad: green
# ALTERNATIVE NAME 3: Brötchen
# ALTERNATIVE NAME 4: pie
5: 2,{1,3}
3: 4
2: { 3, 4 }, 1, 2
"""
STRICT = (
    LUNCH.replace("5: 2,{1,3}", "5: 2,1,3,4").replace("3: 4\n", "3: 4,3,2,1\n").replace("{ 3, 4 }, 1, 2", "3, 4, 1, 2")
)


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="lunch.toi", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.replace("DATA TYPE: toi", f"DATA TYPE: {name[-3:]}").encode(encoding))
        return path

    return write_text


def test_braces_tie_and_what_is_not_listed_is_unranked(write):
    election = read_preflib(write(LUNCH))
    # 2 first, then 1 and 3 tied, 4 unranked; 4 alone; 3 and 4 tied, then 1, then 2
    assert election.ballots.positions.tolist() == [[1, 0, 1, -1], [-1, -1, -1, 0], [1, 2, 0, 0]]
    assert election.ballots.weights.tolist() == [5, 3, 2]
    assert election.names == ("soup", "salad: green", "Brötchen", "pie")
    assert election.title == "Lunch"


@pytest.mark.parametrize("name", ["lunch.soc", "lunch.soi", "lunch.toc", "lunch.toi", "lunch.SOC"])
def test_one_reader_for_four_endings(write, name):
    election = read_preflib(write(STRICT.replace("DATA TYPE: toi", f"DATA TYPE: {name[-3:].lower()}"), name))
    assert election.ballots.positions.tolist() == [[1, 0, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1]]


def test_windows_line_ends_a_byte_order_mark_and_empty_lines_do_not_count(write):
    text = "\ufeff" + LUNCH.replace("3: 4\n", "\n3: 4\n\n").replace("\n", "\r\n")
    assert read_preflib(write(text)).ballots.positions.tolist() == read_preflib(write(LUNCH)).ballots.positions.tolist()


def test_without_a_title_the_name_of_the_file_stands_in(write):
    assert read_preflib(write(LUNCH.replace("# TITLE: Lunch\n", ""))).title == "lunch"


FAULTS = {
    "no order left": (
        lambda text: text[: text.index("5: 2")],
        10,
        r"expected 3 orders \(NUMBER UNIQUE ORDERS, line 6\); got the end after 0",
    ),
    "orders missing": (
        lambda text: text[: text.index("2: { 3")],
        12,
        "expected 3 orders .*; got the end after 2 of them",
    ),
    "cut in the last order": (lambda text: text[: text.index(", 1, 2")], 13, "newline after the last line"),
    "cut in the header": (lambda text: text[: text.index("# ALTERNATIVE NAME 3")], 8, "names of alternatives 1 to 4"),
    "cut before the counts": (lambda text: text[: text.index("# NUMBER VOTERS")], 4, "# NUMBER VOTERS"),
    "one order too many": (lambda text: text + "1: 1\n", 14, "expected 3 orders"),
    "fewer voters than stated": (lambda text: text.replace("5: 2", "4: 2"), 5, "10 voters.*got 9"),
    "more voters than stated": (lambda text: text.replace("5: 2", "6: 2"), 5, "10 voters.*got 11"),
    "unknown alternative": (lambda text: text.replace("3: 4\n", "3: 5\n"), 12, "from 1 to 4; got 5"),
    "alternative zero": (lambda text: text.replace("3: 4\n", "3: 0\n"), 12, "from 1 to 4; got 0"),
    "alternative twice": (lambda text: text.replace("{1,3}", "{1,2}"), 11, "got 2 twice"),
    "open brace": (lambda text: text.replace("{1,3}", "{1,3"), 11, r"such as 12: 3,\{1,2\},4"),
    "letter for a number": (lambda text: text.replace("{1,3}", "{1,a}"), 11, "such as"),
    "spaces for commas": (lambda text: text.replace("{1,3}", "1 3"), 11, "such as"),
    "no colon": (lambda text: text.replace("3: 4\n", "3 4\n"), 12, "such as"),
    "nobody": (lambda text: text.replace("3: 4\n", "0: 4\n"), 12, "such as"),
    "minus": (lambda text: text.replace("3: 4\n", "-3: 4\n"), 12, "such as"),
    "other digits": (lambda text: text.replace("3: 4\n", "٣: 4\n"), 12, "such as"),
    "empty order": (lambda text: text.replace("3: 4\n", "3: \n"), 12, "such as"),
    "endless number": (lambda text: text.replace("3: 4\n", f"{'9' * 5000}: 4\n"), 12, "such as"),
    "header behind": (lambda text: text + "# TITLE: again\n", 14, "such as"),
    "no number": (lambda text: text.replace("VOTERS: 10", "VOTERS: ten"), 5, "positive whole number"),
    "count twice": (lambda text: text.replace("# NUMBER VOTERS", "# NUMBER VOTERS: 9\n# NUMBER VOTERS"), 6, "once"),
    "name twice": (lambda text: text.replace(": pie", ": soup"), 10, "new name"),
    "number twice": (lambda text: text.replace("NAME 4", "NAME 3"), 10, "new number"),
    "names with a gap": (lambda text: text.replace("NAME 4", "NAME 5"), 10, "alternatives 1 to 4.*number 5"),
    "another type": (lambda text: text.replace("DATA TYPE: toi", "DATA TYPE: cat"), 3, "the file's ending, toi"),
    "latin-1": (lambda text: text.replace("ö", "\udcf6"), 9, "0xf6 in column 25"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_the_file_and_the_line(write, fault, tmp_path):
    spoil, line, message = FAULTS[fault]
    path = tmp_path / "lunch.toi"
    path.write_bytes(spoil(LUNCH).encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}, line {line}: .*{message}"):
        read_preflib(path)


def test_endings_promise_strict_or_complete_orders(write):
    with pytest.raises(ValueError, match=r"line 11: expected no ties in a \.soi file; .*\.toi"):
        read_preflib(write(LUNCH, "lunch.soi"))
    with pytest.raises(ValueError, match=r"line 11: expected all 4 alternatives in a \.toc file; got 3; .*\.toi"):
        read_preflib(write(LUNCH, "lunch.toc"))
    with pytest.raises(ValueError, match=r"expected a PrefLib file ending in \.soc, .*; got '\.cat'"):
        read_preflib(write(LUNCH, "lunch.cat"))


def test_every_shorter_piece_of_a_file_is_refused(write):
    """Also a cut inside the last number of a soi or toi file, which leaves all counts right."""
    text = STRICT.replace("soup", "s").replace("salad: green", "t")
    for name in ("lunch.soi", "lunch.toc"):
        whole = text.replace("DATA TYPE: toi", f"DATA TYPE: {name[-3:]}")
        complete = name.endswith("c")  # a soc or toc file without its last newline is whole
        for end in range(len(whole) - 1 if complete else len(whole)):
            with pytest.raises(ValueError, match=r"line \d+"):
                read_preflib(write(whole[:end], name))


def test_missing_and_empty_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.soc: there is no such file"):
        read_preflib(tmp_path / "none.soc")
    (tmp_path / "empty.soc").touch()
    with pytest.raises(ValueError, match=r"empty\.soc, line 1: .*got an empty file"):
        read_preflib(tmp_path / "empty.soc")
    (tmp_path / "folder.soc").mkdir()
    with pytest.raises(ValueError, match="expected a file; got a folder"):
        read_preflib(tmp_path / "folder.soc")


@pytest.mark.once
def test_every_real_file_reads(data_path):
    """And says what its header says; 336 files, 102,448 orders of 430,233 voters, as preflibtools 2.0.33 reads them."""
    paths = sorted(data_path("preflib").glob("*/*.[st]o[ci]"))
    assert paths
    orders = voters = 0
    for path in paths:
        election = read_preflib(path)
        header = dict(re.findall(r"^# ([A-Z ]+): (\d+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
        positions, weights = map(np.asarray, election.ballots)
        assert positions.shape == (int(header["NUMBER UNIQUE ORDERS"]), int(header["NUMBER ALTERNATIVES"]))
        assert weights.sum() == int(header["NUMBER VOTERS"])
        assert len(election.names) == positions.shape[1]
        assert (positions >= 0).any(axis=1).all()
        assert (positions >= 0).all() == path.suffix.endswith("c") or path.suffix.endswith("i")
        orders += len(positions)
        voters += int(weights.sum())
    if len(paths) == 336:
        assert (orders, voters) == (102448, 430233)


def test_a_few_real_ballots_by_hand(data_path):
    """Burlington begins `840: 5,{1,2,3,4,6}`, `355: 1,2,{3,4,5,6}`; Glasgow `476: 7`, and fourth is `299: 3,8`."""
    burlington = read_preflib(data_path("preflib", "00005-burlington", "00005-00000002.toc"))
    assert burlington.title == "2009 Burlington Mayoral Election"
    assert burlington.names[:2] == ("Bob Kiss", "Andy Montroll")
    assert burlington.ballots.positions[:2].tolist() == [[1, 1, 1, 1, 0, 1], [0, 1, 2, 2, 2, 2]]
    assert burlington.ballots.weights[:2].tolist() == [840, 355]
    glasgow = read_preflib(data_path("preflib", "00008-glasgow", "00008-00000001.soi"))
    assert glasgow.ballots.positions[0].tolist() == [-1, -1, -1, -1, -1, -1, 0, -1, -1]
    assert glasgow.ballots.positions[3].tolist() == [-1, -1, 0, -1, -1, -1, -1, 1, -1]
    assert glasgow.ballots.weights[:4].tolist() == [476, 389, 304, 299]


def test_every_real_file_reads_as_by_preflibtools(data_path):
    """The field's own package, which is no dependency, reads whole files the same; this runs where it is installed."""
    instances = pytest.importorskip("preflibtools.instances")
    for path in sorted(data_path("preflib").glob("*/*.[st]o[ci]")):
        ours, theirs = read_preflib(path), instances.OrdinalInstance(str(path))
        expected = np.full((len(theirs.orders), theirs.num_alternatives), -1)
        for row, order in zip(expected, theirs.orders, strict=True):
            for place, tied in enumerate(order):
                row[[alternative - 1 for alternative in tied]] = place
        np.testing.assert_array_equal(ours.ballots.positions, expected)
        assert ours.ballots.weights.tolist() == [theirs.multiplicity[order] for order in theirs.orders]
        assert ours.names == tuple(theirs.alternatives_name[i] for i in range(1, theirs.num_alternatives + 1))
        assert ours.title == theirs.title
