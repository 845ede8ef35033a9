"""Tables as batches of columns, from JSON lines, Parquet, Arrow streams and files, and folders of `save_to_disk`.

A file may be of any size: a batch is all that is in memory at a time.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxval.data._json_lines import ENDINGS, json_objects
from jaxval.data._text import FilePath, conversion, ending_of, shorten
from jaxval.types import BadArgument

__all__ = ["TABLES", "Batch", "batches", "kind_of"]

TABLES = (*ENDINGS, ".parquet", ".arrow")
BATCH = 2**14  # rows


class Batch(NamedTuple):
    """Rows of a table.

    Attributes:
        path: the file.
        rows: (rows,) the numbers of the rows, counted from 1; of JSON lines, the numbers of the lines.
        unit: "line" or "row".
        columns: the columns by name, each a list, or an array of pyarrow.
    """

    path: FilePath
    rows: Sequence[int]
    unit: str
    columns: dict[str, Any]

    def wrong(self, place: int, *, expected: Any, got: Any, advice: Any = None) -> BadArgument:
        """The error that names the file and the row."""
        name = f"{os.fspath(self.path)}, {self.unit} {self.rows[place]}"
        return BadArgument(name, expected=expected, got=got, advice=advice)

    def numbers(self, name: str) -> np.ndarray:
        """(rows,) the numbers of a column, in float64."""
        column = self.columns[name]
        if not isinstance(column, list):
            import pyarrow as pa

            if column.null_count:
                place = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
                raise self.wrong(place, expected=f"a number in the column {name}", got="nothing")
            if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
                raise self.wrong(0, expected=f"numbers in the column {name}", got=f"a column of {column.type}")
            return column.to_numpy(zero_copy_only=False).astype(np.float64)
        for place, value in enumerate(column):
            if type(value) is not float and type(value) is not int:
                raise self.wrong(place, expected=f"a number in the column {name}", got=kind_of(value))
        try:
            return np.array(column, dtype=np.float64)
        except OverflowError:
            raise self.wrong(
                0, expected=f"numbers in the column {name}", got="a whole number that float64 cannot hold"
            ) from None

    def texts(self, name: str) -> tuple[np.ndarray, list[str]]:
        """(rows,) indices into the different texts of a column, and these texts.

        A list of chat messages counts as its JSON text.
        """
        column = self.columns[name]
        if not isinstance(column, list):
            import pyarrow as pa

            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) and not column.null_count:
                coded = column.dictionary_encode()
                return coded.indices.to_numpy(zero_copy_only=False), coded.dictionary.to_pylist()
            column = column.to_pylist()
        codes: dict[str, int] = {}
        result = np.empty(len(column), dtype=np.int64)
        for place, value in enumerate(column):
            if isinstance(value, list):
                value = json.dumps(value, ensure_ascii=False, sort_keys=True)
            if not isinstance(value, str) or not value.strip():
                raise self.wrong(place, expected=f"text in the column {name}", got=kind_of(value))
            result[place] = codes.setdefault(value, len(codes))
        return result, list(codes)


def batches(path: FilePath, *, without: Sequence[str] = ()) -> Iterator[Batch]:
    """The rows of a table in batches; an error if the ending is unknown or the file is cut off.

    Columns `without` are not read from Parquet files, where this saves time.
    """
    name = os.fspath(path).lower()
    if name.endswith(ENDINGS):
        yield from _json_batches(path)
        return
    if not Path(path).exists():
        raise FileNotFoundError(f"{os.fspath(path)}: there is no such file")
    if not Path(path).is_dir() and not name.endswith(TABLES):
        expected = f"a file that ends in {', '.join(TABLES)}, or a folder of save_to_disk"
        raise BadArgument(os.fspath(path), expected=expected, got=ending_of(path), advice=conversion(path))
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{os.fspath(path)}: Parquet and Arrow files need pyarrow: pip install 'jaxval[tables]'", name=error.name
        ) from error
    first = 1
    files = _saved_files(Path(path)) if Path(path).is_dir() else [Path(path)]
    try:
        for file in files:
            for batch in _arrow_batches(file, without):
                batch.validate(full=True)  # offsets of a spoiled file lead outside the memory that was read
                if batch.num_rows:
                    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                    yield Batch(path, range(first, first + batch.num_rows), "row", columns)
                    first += batch.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # names of columns are decoded late
        fault = " ".join(str(error).split())[:200]
        got = f"a fault after row {first - 1}: {fault}"
        raise BadArgument(os.fspath(path), expected="a whole Parquet or Arrow file", got=got) from error
    if first == 1:
        raise BadArgument(os.fspath(path), expected="at least one row", got="none")


def _json_batches(path: FilePath) -> Iterator[Batch]:
    lines: list[int] = []
    objects: list[dict[str, Any]] = []
    names: list[str] | None = None

    def batch() -> Batch:
        assert names is not None
        columns: dict[str, list[Any]] = {}
        for name in names:
            try:
                columns[name] = [fields[name] for fields in objects]
            except KeyError:
                place = next(k for k, fields in enumerate(objects) if name not in fields)
                raise Batch(path, lines, "line", {}).wrong(
                    place, expected=f"the columns of the first line, {name} among them", got="no such column"
                ) from None
        return Batch(path, lines, "line", columns)

    for line, fields in json_objects(path):
        if names is None:
            names = list(fields)
        elif len(fields) != len(names) and (new := [name for name in fields if name not in names]):
            expected = "the columns of the first line"
            raise Batch(path, [line], "line", {}).wrong(0, expected=expected, got=f"{shorten(new[0])} as well")
        lines.append(line)
        objects.append(fields)
        if len(objects) == BATCH:
            yield batch()
            lines, objects = [], []
    if objects:
        yield batch()


def _arrow_batches(path: Path, without: Sequence[str]) -> Iterator[Any]:
    import pyarrow as pa

    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet

        file = pyarrow.parquet.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name not in without]
        yield from file.iter_batches(batch_size=BATCH, columns=names)
        return
    with pa.memory_map(str(path)) as source:
        # A file begins with this word; a stream, such as `save_to_disk` writes, does not.
        if source.size() >= 6 and source.read(6) == b"ARROW1":
            reader = pa.ipc.open_file(source)
            yield from (reader.get_batch(k) for k in range(reader.num_record_batches))
        else:
            source.seek(0)
            yield from pa.ipc.open_stream(source)


def _saved_files(folder: Path) -> list[Path]:
    """The files of a folder that `datasets.Dataset.save_to_disk` wrote."""
    name = os.fspath(folder)
    if (folder / "dataset_dict.json").exists():
        splits = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise BadArgument(
            name,
            expected="the folder of one split",
            got=f"a folder of several splits, {', '.join(splits[:6])}",
            advice=f"pass {folder / splits[0] if splits else folder}",
        )
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        files = [folder / entry["filename"] for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        expected = "a folder of save_to_disk, whose state.json names its files"
        raise BadArgument(name, expected=expected, got=f"{type(error).__name__}: {error}") from None
    if state.get("_indices_files"):
        got = "one that selects rows by an index"
        raise BadArgument(
            name, expected="a data set without an index", got=got, advice="call flatten_indices() before save_to_disk"
        )
    if missing := [path.name for path in files if not path.exists()]:
        raise BadArgument(name, expected="all files that state.json names", got=f"no {missing[0]}")
    return files


def kind_of(value: Any) -> str:
    """What a value of JSON is, in words."""
    kinds = {list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    if isinstance(value, str):
        return f"text, {shorten(value)}"
    return kinds.get(type(value), "a number")
