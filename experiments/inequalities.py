"""A paper's claims as inequalities between methods on the same seeds, with the gap, its interval and the seeds against.

A claim says that one method's number is larger than another's. Both are measured on every seed, and the gap is the mean
of their differences. "holds" and "fails" mean that the interval of the gap lies above or below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

__all__ = ["half_width", "inequality", "inequality_table"]


def half_width(numbers: Any, *, level: float) -> np.ndarray:
    """Half the width of Student's interval for the mean over the first axis; NaN for a single number.

    Args:
        numbers: (seeds, ...) independent numbers.
        level: the probability of the interval, such as 0.95.

    Returns:
        (...) half widths.
    """
    from scipy.special import stdtrit

    array = np.asarray(numbers, dtype=float)
    seeds = len(array)
    if seeds < 2:
        return np.full(array.shape[1:], np.nan)
    return stdtrit(seeds - 1, (1 + level) / 2) * array.std(axis=0, ddof=1) / np.sqrt(seeds)


def inequality(claim: str, larger: Sequence[float], smaller: Sequence[float], *, level: float) -> dict[str, Any]:
    """How far the numbers that a claim says are larger are above the others, on the same seeds.

    Args:
        claim: the claim, a sentence.
        larger: (seeds,) the numbers that are said to be larger.
        smaller: (seeds,) the others, of the same seeds.
        level: the probability of the interval.

    Returns:
        The claim, the gap, the ends of its interval (None for one seed), the verdict, and the seeds against the claim:
        those whose difference is below 0.
    """
    gaps = np.asarray(larger, dtype=float) - np.asarray(smaller, dtype=float)
    gap, reach = float(gaps.mean()), float(half_width(gaps, level=level))
    known = bool(np.isfinite(reach))
    verdict = "open" if not known or abs(gap) <= reach else "holds" if gap > 0 else "fails"
    return {
        "claim": claim,
        "gap": gap,
        "low": gap - reach if known else None,
        "high": gap + reach if known else None,
        "verdict": verdict,
        "seeds": len(gaps),
        "against": np.flatnonzero(gaps < 0).tolist(),
    }


def inequality_table(rows: Sequence[dict[str, Any]], *, level: float, title: str) -> Table:
    """The claims with their gaps, intervals, verdicts and the seeds against them."""
    table = Table("claim", "gap", f"{level:.0%} interval", "verdict", "seeds against", box=box.SIMPLE_HEAD, title=title)
    for row in rows:
        ends = "unknown" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}"
        table.add_row(row["claim"], f"{row['gap']:+.4f}", ends, row["verdict"], _against(row))
    return table


def _against(row: dict[str, Any]) -> str:
    """How many seeds are against a claim, and the first of them."""
    seeds = row["against"]
    listed = ", ".join(map(str, seeds[:8])) + (", …" if len(seeds) > 8 else "")
    return f"{len(seeds)} of {row['seeds']}" + (f": {listed}" if seeds else "")
