"""Any file of votes: its ending and its columns tell which reader it needs."""

from itertools import chain
from pathlib import Path

from jaxval import _checks
from jaxval.data._text import FilePath, ending_of
from jaxval.data.annotations import read_annotations
from jaxval.data.matrices import holds_matrix, read_vote_matrix
from jaxval.data.movielens import rating_ballots, read_movielens, with_user_groups
from jaxval.data.preflib import ENDINGS, read_preflib
from jaxval.data.records import Election, NamedComparisons, VoteMatrix
from jaxval.data.tables import holds_comparisons, read_comparisons_csv, read_rankings_csv
from jaxval.types import BadArgument

__all__ = ["read_votes"]

ANNOTATED = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
READABLE = (*ENDINGS, ".csv")
MOST_NAMED = 12


def read_votes(
    path: FilePath, *, voter: str | None = None, group: str | None = None
) -> Election | NamedComparisons | VoteMatrix:
    r"""An election, comparisons or a matrix of votes from any supported file.

    - `.soc`, `.soi`, `.toc`, `.toi`: PrefLib, by `read_preflib`.
    - `.csv` with a column `winner`: comparisons, by `read_comparisons_csv`.
    - `.csv` with a column `participant` and no `winner`: votes on statements, by `read_vote_matrix`.
    - `.csv` with neither: rankings, by `read_rankings_csv`.
    - `.json` and `.jsonl`, also with `.gz`: pairs that several annotators judged, by `read_annotations`.
    - a folder with MovieLens' `ratings.dat` or `ratings.dat.gz`: the 20 most-rated movies, by `rating_ballots`. Groups
      of users are a column of `users.dat`: gender, age, occupation or zip-code.

    Args:
        path: a file, or the folder of MovieLens 1M.
        voter: the column of a table with the voters' names; None means the reader's usual ones.
        group: the column with the groups' names; None means the reader's usual ones.

    Returns:
        `NamedComparisons` for comparisons, `VoteMatrix` for votes on statements, and otherwise `Election`.

    Raises:
        ValueError: if the path is none of these (the message lists them), its content is malformed (the message
            names the line), or a column is asked for that a file of this kind does not have.
        FileNotFoundError: if there is no such file or folder.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "drinks.csv")
        ...     _ = path.write_text("winner,loser\ntea,coffee\n")
        ...     votes = read_votes(path)
        >>> type(votes).__name__, votes.names
        ('NamedComparisons', ('coffee', 'tea'))
    """
    path = Path(_checks.check_path("path", path))
    if path.is_dir():
        return _read_folder(path, voter, group)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    ending = path.suffix.lower()
    if ending == ".csv":
        read = read_comparisons_csv if holds_comparisons(path) else read_rankings_csv
        return (read_vote_matrix if read is read_rankings_csv and holds_matrix(path) else read)(
            path, voter=voter, group=group
        )
    if ending in ENDINGS or path.name.lower().endswith(ANNOTATED):
        for name, column in (("voter", voter), ("group", group)):
            if column is not None:
                raise BadArgument(name, expected="a table (.csv)", got=f"{path.name}, which has no columns")
        return read_preflib(path) if ending in ENDINGS else read_annotations(path)
    advice = f"; for MovieLens, pass the folder {path.parent}" if path.name.startswith("ratings.dat") else ""
    raise BadArgument(
        path,
        expected=f"a file that ends in {', '.join((*READABLE, *ANNOTATED))}, or the folder of MovieLens 1M",
        got=f"{ending_of(path)}{advice}",
    )


def _read_folder(folder: Path, voter: str | None, group: str | None) -> Election:
    if any((folder / name).is_file() for name in ("ratings.dat", "ratings.dat.gz")):
        if voter is not None:
            raise BadArgument("voter", expected="a table (.csv)", got="MovieLens, whose voters are its users")
        election = rating_ballots(read_movielens(folder))
        return election if group is None else with_user_groups(election, folder, group)
    files = sorted(file for file in chain(folder.glob("*"), folder.glob("*/*")) if file.suffix.lower() in READABLE)
    named = ", ".join(str(file.relative_to(folder)) for file in files[:MOST_NAMED])
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    result = (
        f"a folder without ratings.dat; one of its files will do: {named}{more}"
        if files
        else (f"a folder without ratings.dat and without files that end in {', '.join(READABLE)}")
    )
    raise BadArgument(folder, expected="a file of votes or the folder of MovieLens 1M", got=result)
