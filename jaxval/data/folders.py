"""The folders of real data. No data are part of the package."""

import os
from pathlib import Path

from jaxval import _checks
from jaxval.data._text import FilePath

__all__ = ["SOURCES", "data_folder"]

SOURCES = {
    "ml-1m": "https://grouplens.org/datasets/movielens/1m/, or by jaxval.data.download_movielens(folder)",
    "adult": "https://archive.ics.uci.edu/dataset/2/adult, as adult.data.gz and adult.test.gz",
    "mnist": "https://yann.lecun.com/exdb/mnist, or any copy of its four idx files",
    "omniglot": "https://github.com/brendenlake/omniglot, its images_background as images_background.npz, whose array "
    "`images` is (characters, drawings, height, width) with False for ink",
    "preflib": "https://www.preflib.org",
    "preferences": "https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized, as JSON lines of pairs",
    "votes/llmfao": "https://huggingface.co/datasets/dustalov/llmfao",
}
"""The place to get each set from, by the name of its folder."""


def data_folder(name: str, *, path: FilePath | None = None) -> Path:
    """The folder of one set of real data: `name`, in the first of these folders that has it.

    1. `path`, such as a command's `--data`. If it is given, no other folder is considered.
    2. The environment variable `JAXVAL_DATA`.
    3. `data`, in the working folder.

    Args:
        name: the set's folder, such as "ml-1m", "preflib" or "votes/llmfao".
        path: the folder of sets, or the set's own folder.

    Returns:
        The path of a folder that exists.

    Raises:
        FileNotFoundError: if no folder is found. The message says where it looked and where to get the set.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pathlib.Path(folder, "ml-1m").mkdir()
        ...     found = data_folder("ml-1m", path=folder)
        >>> found.name
        'ml-1m'
    """
    variable = os.environ.get("JAXVAL_DATA")
    _checks.check_path("name", name)
    if path is not None:
        _checks.check_path("path", path)
        itself = [Path(path)] if Path(path).resolve().parts[-len(Path(name).parts) :] == Path(name).parts else []
        candidates = [Path(path, name), *itself]
    else:
        candidates = [*([Path(variable, name)] if variable else []), Path("data", name)]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    source = f"get it from {SOURCES[name]}; then" if name in SOURCES else "get it, then"
    raise FileNotFoundError(
        f"no data set {name!r}: looked for the folder {looked}; {source} pass the folder that holds {name} (--data), "
        f"or set JAXVAL_DATA{f' (now {variable})' if variable else ''}"
    )
