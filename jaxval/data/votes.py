"""Any file of votes: its ending and its columns tell which reader it needs."""

from itertools import chain
from pathlib import Path

from jaxval.data._text import FilePath
from jaxval.data.movielens import rating_ballots, read_movielens
from jaxval.data.preflib import ENDINGS, read_preflib
from jaxval.data.records import Election, NamedComparisons
from jaxval.data.tables import holds_comparisons, read_comparisons_csv, read_rankings_csv
from jaxval.types import BadArgument

__all__ = ["read_votes"]

READABLE = (*ENDINGS, ".csv")
MOST_NAMED = 12


def read_votes(path: FilePath) -> Election | NamedComparisons:
    r"""An election or comparisons from any supported file of votes.

    - `.soc`, `.soi`, `.toc`, `.toi`: PrefLib, by `read_preflib`.
    - `.csv` with a column `winner`: comparisons, by `read_comparisons_csv`.
    - `.csv` without such a column: rankings, by `read_rankings_csv`.
    - a folder with MovieLens' `ratings.dat` or `ratings.dat.gz`: the 20 most-rated movies, by `rating_ballots`.

    Args:
        path: a file, or the folder of MovieLens 1M.

    Returns:
        `Election`, or `NamedComparisons` if the file holds comparisons.

    Raises:
        ValueError: if the path is none of these (the message lists them), or its content is malformed (the message
            names the line).
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
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    ending = path.suffix.lower()
    if ending in ENDINGS:
        return read_preflib(path)
    if ending == ".csv":
        return read_comparisons_csv(path) if holds_comparisons(path) else read_rankings_csv(path)
    advice = f"; for MovieLens, pass the folder {path.parent}" if path.name.startswith("ratings.dat") else ""
    raise BadArgument(
        path,
        expected=f"a file that ends in {', '.join(READABLE)}, or the folder of MovieLens 1M",
        got=f"{f'the ending {ending}' if ending else 'no ending'}{advice}",
    )


def _read_folder(folder: Path) -> Election:
    if any((folder / name).is_file() for name in ("ratings.dat", "ratings.dat.gz")):
        return rating_ballots(read_movielens(folder))
    files = sorted(file for file in chain(folder.glob("*"), folder.glob("*/*")) if file.suffix.lower() in READABLE)
    named = ", ".join(str(file.relative_to(folder)) for file in files[:MOST_NAMED])
    more = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    result = (
        f"a folder without ratings.dat; one of its files will do: {named}{more}"
        if files
        else (f"a folder without ratings.dat and without files that end in {', '.join(READABLE)}")
    )
    raise BadArgument(folder, expected="a file of votes or the folder of MovieLens 1M", got=result)
