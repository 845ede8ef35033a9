"""What the parts share: values of a table, how two of them compare, time, precision."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxval import values

__all__ = ["Run", "compare", "pearson", "precision", "ranks", "shapley", "spearman", "stopwatch", "summary"]


class Run(NamedTuple):
    """A piece of work that is kept once it is finished.

    Attributes:
        work: `work(advance)` gives numbers in JSON's types, and calls `advance(units)` as it goes.
        units: how much of the part it is, for the bar.
    """

    work: Callable[[Callable[[float], None]], dict[str, Any]]
    units: float


def shapley(table: Any) -> np.ndarray:
    """(sources, objectives) Shapley values of a (2^sources, objectives) table, as a NumPy array."""
    return np.asarray(values.shapley(table), dtype=float)


def pearson(left: Any, right: Any) -> float | None:
    """The correlation of two lists of numbers; None where one of them does not vary."""
    left, right = (np.asarray(side, dtype=float).ravel() - np.mean(side) for side in (left, right))
    length = np.sqrt(np.sum(left**2) * np.sum(right**2))
    return float(left @ right / length) if length > 1e-12 else None


def ranks(numbers: Any) -> np.ndarray:
    """0 for the smallest; equal numbers share the mean of their places."""
    numbers = np.asarray(numbers, dtype=float).ravel()
    below = numbers[:, None] > numbers[None, :]
    equal = numbers[:, None] == numbers[None, :]
    return below.sum(axis=1) + (equal.sum(axis=1) - 1) / 2


def spearman(left: Any, right: Any) -> float | None:
    """The correlation of the ranks."""
    return pearson(ranks(left), ranks(right))


def compare(estimate: Any, truth: Any) -> dict[str, Any]:
    """How far (sources,) values are from others: size, rank correlation, whose sign changes."""
    estimate, truth = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    gap = np.abs(estimate - truth).max()
    return {
        "largest gap": float(gap),
        "largest gap, share of the largest value": float(gap / np.abs(truth).max()),
        "ratio of the totals": float(truth.sum() / estimate.sum()),
        "pearson": pearson(estimate, truth),
        "spearman": spearman(estimate, truth),
        "change sign": np.flatnonzero(np.sign(estimate) != np.sign(truth)).tolist(),
    }


@contextlib.contextmanager
def precision(x64: bool) -> Iterator[None]:
    """float64 inside, or float32; what it was before afterwards."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", x64)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@contextlib.contextmanager
def stopwatch(times: dict[str, list[float]], name: str) -> Iterator[None]:
    """Add the seconds that pass inside, and the processor's seconds, to `times[name]`."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    so_far = times.setdefault(name, [0.0, 0.0])
    so_far[0] += time.perf_counter() - wall
    so_far[1] += time.process_time() - cpu


def summary(numbers: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean, smallest and largest, and the standard deviation where there are two or more; None entries are left out."""
    known = np.array([number for number in numbers if number is not None], dtype=float)
    if not len(known):
        return None
    spread = float(known.std(ddof=1)) if len(known) > 1 else None
    return {"mean": float(known.mean()), "std": spread, "low": float(known.min()), "high": float(known.max())}
