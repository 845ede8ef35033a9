"""How far sizes go: time, memory and error as each size grows, and what is expected beyond what was run.

    python -m benchmarks.sizes [--case CASE ...] [--quick] [--out FOLDER] [--page FILE]

Cases: players, by a table of all coalitions and by permutations; training points of nearest neighbours; comparisons
streamed from a file; alternatives, for F* and for a maximal lottery. No peer takes part. `--page FILE` writes the
results that are in FOLDER as a page, and runs nothing.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Bench, sides_of

FOLDER = Path("results", "benchmarks", "sizes")
SIDE = "jaxval"
side = sides_of("sizes")


class Growth(NamedTuple):
    """One size that grows.

    Attributes:
        title: of the page's section.
        task: of the worker.
        size: the option that grows.
        sizes: what is run, the least first.
        quick: what is run by `--quick`.
        beyond: sizes that are extrapolated.
        options: of the task, which stay.
        x64: whether in float64.
        doubles: whether work doubles with each step of the size, as a table does with each player.
        order: the power of the work to which arrays grow, 2 for a matrix of alternatives.
        note: a sentence for the page.
    """

    title: str
    task: str
    size: str
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    beyond: tuple[int, ...]
    options: Mapping[str, Any] = {}
    x64: bool = False
    doubles: bool = False
    order: int = 1
    note: str = ""


GROWTHS = {
    "table": Growth(
        "Players, by a table of all coalitions",
        "table",
        "players",
        (16, 20, 24, 26),
        (8, 10),
        (30, 40),
        doubles=True,
        note="Shapley values from the 2^n utilities. The error is the largest, relative to the utility of all.",
    ),
    "permutations": Growth(
        "Players, by permutations",
        "permutations",
        "players",
        (10, 20, 40, 80, 160),
        (5, 10),
        (1000,),
        {"permutations": 2000},
        note="Set cover of 200 elements, 2,000 permutations. The error is relative to the mean value.",
    ),
    "neighbours": Growth(
        "Training points of nearest neighbours",
        "neighbours",
        "instances",
        (10_000, 100_000, 1_000_000),
        (200, 400),
        (10_000_000,),
        {"tests": 100, "features": 32},
        note="Exact KNN-Shapley, five neighbours, 100 test points of 32 features. The values add up to the utility.",
    ),
    "comparisons": Growth(
        "Comparisons streamed from a file",
        "comparisons",
        "voters",
        (2_000, 20_000, 200_000),
        (200, 400),
        (2_000_000,),
        {"statements": 1000, "votes": 100},
        note="Votes of 100 of 1,000 statements each: whoever approves one and not another compares them. The counts "
        "are exact.",
    ),
    "shares": Growth(
        "Alternatives, F*",
        "shares",
        "alternatives",
        (1_000, 3_000, 10_000),
        (20, 40),
        (100_000,),
        order=2,
        note="Bounds on shares and F* from P in float32, against NumPy.",
    ),
    "lottery": Growth(
        "Alternatives, maximal lottery",
        "lottery",
        "alternatives",
        (250, 500, 1_000, 2_000),
        (10, 20),
        (10_000,),
        x64=True,
        order=2,
        note="P of independent uniform pairs, float64.",
    ),
}


def grow(name: str, bench: Bench, options: argparse.Namespace) -> None:
    """Race nobody: each size once after compilation, in a process that is fresh for the case."""
    growth = GROWTHS[name]
    for size in growth.quick if options.quick else growth.sizes:
        sizes = {growth.size: size, **growth.options}
        one = side(SIDE, OURS, growth.task, x64=growth.x64, **sizes)
        bench.race(growth.title, sizes, {}, [one])


def page(results: dict[str, Any]) -> str:
    """The page: a table for every growth, what was run and what is expected beyond it."""
    machine = results["machine"]
    parts = [
        "# What large sizes cost",
        "<!-- Made by python -m benchmarks.sizes --page: change that, not this page. -->",
        f"Measured on two cores ({machine['processor'] or machine['system']}), once after compilation; the memory is "
        "the most that the process held, Python and JAX included. Rows in italics were not run: the time is carried on "
        "from the last two sizes by the exponent between them, and the memory by what the arrays added between them.",
    ]
    for growth in GROWTHS.values():
        found = [record for record in results["records"] if record["case"] == growth.title]
        rows = [_measured(growth, record) for record in found]
        if len(rows) > 1:
            parts += [f"## {growth.title}", growth.note, _table(growth, rows)]
    return "\n\n".join(parts) + "\n"


def _measured(growth: Growth, record: dict[str, Any]) -> dict[str, Any]:
    entry = record["sides"][0]
    size = record["sizes"][growth.size]
    if "median" not in entry:
        return {"size": size, "missing": entry.get("missing", "not measured")}
    return {"size": size, "seconds": entry["median"], "gigabytes": entry["gigabytes"], **entry["numbers"]}


def _table(growth: Growth, rows: list[dict[str, Any]]) -> str:
    ran = [row for row in rows if "seconds" in row]
    numbers = [name for name in (ran[-1] if ran else {}) if name not in ("size", "seconds", "gigabytes")]
    lines = [[growth.size, "seconds", "GB", *numbers], ["--:"] * (3 + len(numbers))]
    for row in rows:
        if "missing" in row:
            lines.append([f"{row['size']:,}", row["missing"], *[""] * (1 + len(numbers))])
        else:
            lines.append([f"{row['size']:,}", *(_number(row[n]) for n in ("seconds", "gigabytes", *numbers))])
    for size in growth.beyond if len(ran) > 1 else ():
        seconds, gigabytes = _later(growth, ran, size), _larger(growth, ran, size)
        lines.append([f"*{size:,}*", f"*{_number(seconds)}*", f"*{_number(gigabytes)}*", *[""] * len(numbers)])
    exponent = "" if len(ran) < 2 else f"\n\n{_exponent(growth, ran)}"
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + exponent


def _work(growth: Growth, size: float) -> float:
    return 2.0**size if growth.doubles else float(size)


def _slope(growth: Growth, ran: list[dict[str, Any]]) -> float:
    """The exponent of the time between the last two sizes."""
    low, high = ran[-2:]
    longer = high["seconds"] / low["seconds"]
    return math.log(longer) / math.log(_work(growth, high["size"]) / _work(growth, low["size"]))


def _later(growth: Growth, ran: list[dict[str, Any]], size: int) -> float:
    """The seconds of a larger size."""
    last = ran[-1]
    return last["seconds"] * (_work(growth, size) / _work(growth, last["size"])) ** _slope(growth, ran)


def _larger(growth: Growth, ran: list[dict[str, Any]], size: int) -> float:
    """The gigabytes of a larger size: those of the last, and what arrays add that grow as the work to the `order`."""
    low, high = ran[-2:]
    before, last, later = (_work(growth, each) ** growth.order for each in (low["size"], high["size"], size))
    return high["gigabytes"] + (high["gigabytes"] - low["gigabytes"]) * (later - last) / (last - before)


def _exponent(growth: Growth, ran: list[dict[str, Any]]) -> str:
    of = "2^players" if growth.doubles else growth.size
    return f"Between the last two sizes time grows as {of}^{_slope(growth, ran):.2f}."


def _number(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2g}"


CASES: Cases = {name: partial(grow, name) for name in GROWTHS}


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or run the benchmark."""
    given = sys.argv[1:] if arguments is None else arguments
    if "--page" in given:
        parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes --page")
        parser.add_argument("--page", type=Path, metavar="FILE", help="where the page goes")
        parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="where the results are")
        options = parser.parse_args(given)
        results = json.loads((options.out / "results.json").read_text(encoding="utf-8"))
        options.page.write_text(page(results), encoding="utf-8")
        return 0
    return run_benchmark("sizes", __doc__, CASES, (), given, repeats=1)


if __name__ == "__main__":
    sys.exit(main())
