"""What the parts share: runs that are kept, the comparison of two lists of values, and summaries over seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

__all__ = ["RETRAINED", "SHARE", "SHORT", "Run", "compare", "grouped", "pearson", "spearman", "spent", "summary"]

SHARE, SHORT = "largest gap, share of the largest value", "error against equally short retraining"
RETRAINED = ("sequential", "union")


class Run(NamedTuple):
    """A piece of work that is kept once it is finished.

    Attributes:
        work: a function that returns the numbers of the run in JSON's types.
        units: how much of the part the run is, for the progress bar.
        x64: whether the run computes in float64.
    """

    work: Callable[[], dict[str, Any]]
    units: float
    x64: bool = True


def pearson(left: Any, right: Any) -> float | None:
    """The correlation of two lists of numbers; None if one of them does not vary."""
    return _correlation(stats.pearsonr, left, right)


def spearman(left: Any, right: Any) -> float | None:
    """The correlation of the ranks; None if one of the lists does not vary."""
    return _correlation(stats.spearmanr, left, right)


def _correlation(measure: Callable[..., Any], left: Any, right: Any) -> float | None:
    left, right = np.ravel(left), np.ravel(right)
    return float(measure(left, right).statistic) if min(np.ptp(left), np.ptp(right)) > 1e-12 else None


def compare(estimate: Any, truth: Any) -> dict[str, Any]:
    """How far (sources,) values are from others: largest difference, rank correlation, and changes of sign."""
    estimate, truth = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    gap = np.abs(estimate - truth).max()
    return {
        "largest gap": float(gap),
        SHARE: float(gap / np.abs(truth).max()),
        "ratio of the totals": float(truth.sum() / estimate.sum()),
        "pearson": pearson(estimate, truth),
        "spearman": spearman(estimate, truth),
        "change sign": np.flatnonzero(np.sign(estimate) != np.sign(truth)).tolist(),
    }


def grouped(kept: Mapping[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs whose names are equal but for the seed, by the name without the seed."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, run in kept.items():
        groups.setdefault(name.rpartition(", seed ")[0] or name, []).append(run)
    return groups


def summary(numbers: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean, smallest and largest, and the standard deviation of two or more numbers; None entries are left out."""
    known = np.array([number for number in numbers if number is not None], dtype=float)
    if not len(known):
        return None
    deviation = float(known.std(ddof=1)) if len(known) > 1 else None
    return {"mean": float(known.mean()), "std": deviation, "low": float(known.min()), "high": float(known.max())}


def spent(entry: dict[str, Any]) -> dict[str, float]:
    """The mean seconds of each arithmetic, its single trainings included, and of each retraining."""
    seconds = {way: numbers["mean"] for way, numbers in entry["seconds"].items()}
    once = seconds.pop("separate")
    return {way: value + once * (way not in RETRAINED) for way, value in seconds.items()}
