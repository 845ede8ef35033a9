"""What came out: a table, the targets, and `results.json`."""

import itertools
import json
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.environments import OURS

__all__ = ["disagreements", "growth", "machine", "save", "show", "tables"]


def machine() -> dict[str, Any]:
    """The machine, and how busy it was when asked."""
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": busy,
    }


def save(folder: Path, results: dict[str, Any]) -> None:
    """Write `results.json` whole, in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".results.json.{os.getpid()}"
    draft.write_text(json.dumps(results, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(folder / "results.json")


def show(records: Sequence[dict[str, Any]], console: Console) -> None:
    """Every side's times, every pair's ratio, and the targets."""
    for table in tables(records):
        console.print(table)


def tables(records: Sequence[dict[str, Any]]) -> list[Table]:
    """Those of `show`, less the empty ones."""
    races = [record for record in records if "sides" in record]
    times = _table("times (compile apart: first call less median)", "case", "side")
    for name in ("compile s", "median s", "least to most", "CPU s", "items / s", "peak GB"):
        times.add_column(name, justify="right")
    ratios = _table("ratios of medians in one run, for the same amount of work", "case", "ours", "theirs")
    for name in ("times faster", "over rounds", "by CPU time", "answers differ by"):
        ratios.add_column(name, justify="right")
    targets = _table("targets", "case", "what", "wanted", "got", "")
    profiles = _table("profiles: the share of a side's time that its parts take, each measured alone", "case", "side")
    for name in ("part", "share", "what limits it"):
        profiles.add_column(name)
    for record in races:
        for i, entry in enumerate(record["sides"]):
            times.add_row(_title(record) if i == 0 else "", entry["side"], *_times(entry))
        for i, pair in enumerate(record["pairs"]):
            ratios.add_row(_title(record) if i == 0 else "", pair["ours"], pair["theirs"], *_ratio(pair))
        for target in record["targets"]:
            got = "" if target["got"] is None else f"{target['got']:.4g}"
            met = {True: "met", False: "missed", None: "not measured"}[target["met"]]
            targets.add_row(_title(record), target["what"], target["wanted"], got, met)
        for profile in record.get("profiles", ()):
            for i, part in enumerate(profile["parts"]):
                first = [_title(record), profile["side"]] if i == 0 else ["", ""]
                share = "not measured" if part["share"] is None else f"{part['share']:.0%}"
                profiles.add_row(*first, part["side"], share, profile["limit"] if i == 0 else "")
        times.add_section()
        ratios.add_section()
        profiles.add_section()
    return [table for table in (times, ratios, targets, profiles) if table.row_count]


def growth(records: Sequence[dict[str, Any]]) -> Table:
    """How a side's median grows with one size, the others equal: time ~ size^exponent between two races of a case."""
    table = _table("growth of the median time: proportional to size^exponent", "case", "side", "size")
    for name in ("from", "to", "times as long", "exponent"):
        table.add_column(name, justify="right")
    for one, other in itertools.combinations([record for record in records if "sides" in record], 2):
        grown = {name for name, size in one["sizes"].items() if other["sizes"].get(name) != size}
        if one["case"] != other["case"] or one["sizes"].keys() != other["sizes"].keys() or len(grown) != 1:
            continue
        (name,) = grown
        low, high = sorted((one, other), key=lambda record: record["sizes"][name])
        medians = {entry["side"]: entry["median"] for entry in high["sides"] if "median" in entry}
        rest = ", ".join(f"{key} {size}" for key, size in low["sizes"].items() if key != name)
        for entry in low["sides"]:
            if "median" not in entry or entry["side"] not in medians:
                continue
            longer = medians[entry["side"]] / entry["median"]
            sizes = low["sizes"][name], high["sizes"][name]
            exponent = math.log(longer) / math.log(sizes[1] / sizes[0])
            title = f"{low['case']}, {rest}" if rest else low["case"]
            table.add_row(title, entry["side"], name, *map(str, sizes), f"{longer:.3g}", f"{exponent:.2f}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name)
    return table


def disagreements(records: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for every pair whose answers differ, and for every side of ours that failed (but for want of data)."""
    found = []
    for record in (record for record in records if "sides" in record):
        for pair in record["pairs"]:
            if not pair.get("agrees", True):
                found.append(
                    f"{_title(record)}: {pair['ours']} and {pair['theirs']} differ by {pair['gap']} {pair['unit']}"
                )
        for entry in record["sides"]:
            missing = entry.get("missing", "") if entry["peer"] == OURS.name else ""
            if missing and not missing.startswith("FileNotFoundError"):
                found.append(f"{_title(record)}: {entry['side']}: {missing}")
    return found


def _title(record: dict[str, Any]) -> str:
    return ", ".join([record["case"], *(f"{name} {size}" for name, size in record["sizes"].items())])


def _times(entry: dict[str, Any]) -> list[str]:
    if "missing" in entry:
        return ["", f"none: {entry['missing']}", "", "", "", ""]
    peak = "" if entry.get("gigabytes") is None else f"{entry['gigabytes']:.2f}"
    if "median" not in entry:
        return ["", f"{entry['first_seconds']:.4g}", "one cold run", "", "", peak]
    return [
        f"{entry['compile_seconds']:.3g}",
        f"{entry['median']:.4g}",
        f"{min(entry['seconds']):.3g} to {max(entry['seconds']):.3g}",
        f"{entry['cpu_median']:.4g}",
        f"{entry['rate']:,.0f}",
        peak,
    ]


def _ratio(pair: dict[str, Any]) -> list[str]:
    faster = [f"{pair['ratio']:.3g}", "{:.3g} to {:.3g}".format(*pair["ratio_range"])] if "ratio" in pair else ["", ""]
    faster.append(f"{pair['cpu_ratio']:.3g}" if "cpu_ratio" in pair else "")
    if "agrees" not in pair:
        return [*faster, ""]
    gap = "not finite" if pair["gap"] is None else f"{pair['gap']:.2g}"
    return [*faster, f"{gap} {pair['unit']}{'' if pair['agrees'] else ' (TOO MUCH)'}"]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
