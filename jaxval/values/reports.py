"""Estimates as a table in text, as a pandas frame, and as an archive of NumPy arrays."""

import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxval import _checks
from jaxval._tables import flat, player_names
from jaxval.checkpoints.files import write_whole
from jaxval.types import BadArgument, Estimate, SeenGains

__all__ = ["estimate_frame", "estimate_table", "load_estimate", "save_estimate"]


def estimate_table(estimate: Estimate) -> str:
    """The players with their values and intervals as text, the largest value (of the first objective) first.

    Two notes follow the rows: the number of evaluations, and the number of players whose values rest on fewer than ten
    nonzero gains. The intervals of these players are scaled by the range of gains, which is the caller's `spread` or,
    without one, the range of the utilities seen. If the estimate has no intervals, the table shows the standard errors.
    If there are more than 40 players, the table shows the first and the last 20. `print(estimate)` shows the same.

    Args:
        estimate: an estimate of known numbers; the function cannot be called inside `jit`.

    Returns:
        The table as lines of text.

    Example:
        >>> values, errors = np.array([0.25, 0.5]), np.array([0.01, 0.02])
        >>> ends = np.stack([values - 2 * errors, values + 2 * errors])
        >>> print(estimate_table(Estimate(values, errors, 4, ends, ("news", "books"))))
        player   value   95 % interval
        books      0.5    0.46 to 0.54
        news      0.25    0.23 to 0.27
        4 evaluations
    """
    _check_estimate(estimate)
    return str(estimate)


def estimate_frame(estimate: Estimate) -> Any:
    """A pandas frame with the players as its index and the columns `value`, `low`, `high` and `standard error`.

    `low` and `high` are the ends of the intervals; an estimate without intervals has no such columns. With several
    objectives, the columns are numbered. The frame's `attrs` hold `evaluations`.

    Args:
        estimate: an estimate of known numbers.

    Returns:
        A `pandas.DataFrame`.

    Raises:
        ModuleNotFoundError: if pandas is not installed.

    Example:
        >>> estimate_frame(Estimate(np.ones(2), np.zeros(2), 4)).attrs["evaluations"]  # doctest: +SKIP
        4
    """
    _check_estimate(estimate)
    pandas = importlib.import_module("pandas")
    values, errors = flat(estimate, estimate.values), flat(estimate, estimate.standard_errors)
    columns: dict[str, np.ndarray] = {}
    for objective in range(values.shape[1]):
        mark = f" {objective}" if np.ndim(estimate.values) > 1 else ""
        columns[f"value{mark}"] = values[:, objective]
        if estimate.intervals is not None:
            low, high = (flat(estimate, end)[:, objective] for end in estimate.intervals)
            columns |= {f"low{mark}": low, f"high{mark}": high}
        columns[f"standard error{mark}"] = errors[:, objective]
    frame = pandas.DataFrame(columns, index=pandas.Index(player_names(estimate), name="player"))
    frame.attrs["evaluations"] = int(np.asarray(estimate.evaluations))
    return frame


def _check_estimate(estimate: Any) -> None:
    if not isinstance(estimate, Estimate):
        raise BadArgument("estimate", expected="a types.Estimate", got=f"{estimate!r:.80}")


def save_estimate(estimate: Estimate, path: str | Path) -> None:
    """Write an estimate to a NumPy archive (.npz), with the names and all digits.

    Args:
        estimate: an estimate of known numbers.
        path: the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_estimate(Estimate(np.ones(2), np.zeros(2), 4, names=("a", "b")), f"{folder}/values.npz")
        ...     load_estimate(f"{folder}/values.npz").names
        ('a', 'b')
    """
    _check_estimate(estimate)
    parts = {
        "values": estimate.values,
        "standard_errors": estimate.standard_errors,
        "evaluations": estimate.evaluations,
    }
    if estimate.intervals is not None:
        parts["intervals"] = estimate.intervals
    if estimate.gains is not None:
        parts |= {f"gains_{name}": part for name, part in estimate.gains._asdict().items()}
    content = io.BytesIO()
    np.savez(
        content,
        allow_pickle=False,
        names=np.array(json.dumps(estimate.names)),
        **{name: np.asarray(part) for name, part in parts.items()},
    )
    write_whole(path, content.getvalue())


def load_estimate(path: str | Path) -> Estimate:
    """Read an estimate that `save_estimate` wrote, as NumPy arrays of the same precision.

    Args:
        path: the file. An archive without intervals gives an estimate whose intervals are None.

    Returns:
        An `Estimate`.

    Raises:
        ValueError: if the file is not such an archive.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_estimate(Estimate(np.ones(2), np.zeros(2), 4), f"{folder}/values.npz")
        ...     load_estimate(f"{folder}/values.npz").values.tolist()
        [1.0, 1.0]
    """
    with Path(_checks.check_path("path", path)).open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                names = json.loads(str(archive["names"]))
                gains = [archive[f"gains_{name}"] for name in SeenGains._fields if f"gains_{name}" in archive]
                return Estimate(
                    archive["values"],
                    archive["standard_errors"],
                    archive["evaluations"],
                    archive.get("intervals"),
                    None if names is None else tuple(names),
                    SeenGains(*gains) if gains else None,
                )
        except Exception as error:  # a changed byte in an archive or in a header of NumPy's raises many kinds
            raise BadArgument(
                "path", expected="an archive written by values.save_estimate", got=f"{path} ({error})"
            ) from error
