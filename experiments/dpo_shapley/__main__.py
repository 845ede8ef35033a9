"""Data valuation by model arithmetic, claim by claim (Tamine et al.): exact, stopped short, real pairs, many sources.

    python -m experiments.dpo_shapley [--part a b c d] [--quick | --full] [--seeds N] [--data FOLDER] [--out FOLDER]

a  tabular and at the optimum: values from n trainings against values from retraining all 2^n coalitions
b  stopped short of the optimum: whether the order of sources matters, and the error of the values
c  real UltraFeedback pairs of four providers: three arithmetics against retraining, log-linear and transformer
d  growth: evaluations and seconds for an error of 1 %, from 4 to 64 sources, by permutations and by regression

Written to `--out`: `results.json`, a figure for each part. What is finished is kept, so that a run that was interrupted
goes on where it was.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.commands import documented_parser, guarded, positive, precision, progress
from experiments.dpo_shapley import exact, figures, growth, real_pairs, stopped_short
from experiments.dpo_shapley.claims import claims
from experiments.dpo_shapley.measures import Run
from experiments.results import open_results, save_results, unfinished_folder

PARTS = {
    "a": ("exact", exact),
    "b": ("stopped short", stopped_short),
    "c": ("real pairs", real_pairs),
    "d": ("growth", growth),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the requested parts; the exit status is 0, 2 if input is wrong or missing, 130 if interrupted."""
    kept = "what was finished is kept, and the same command goes on after it"
    return guarded(run, parse(arguments), kept=kept, without_data="--part a b d")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = documented_parser("experiments.dpo_shapley", __doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="default: all of them")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", dest="size", action="store_const", const="full", help="larger, for hours")
    size.add_argument("--quick", dest="size", action="store_const", const="quick", help="tiny, to see that it runs")
    parser.set_defaults(size="default")
    parser.add_argument("--seeds", type=positive, metavar="N", help="draws in every part (default: as each part says)")
    parser.add_argument("--data", metavar="FOLDER", help="folder of data sets (default: $JAXVAL_DATA, then data)")
    parser.add_argument(
        "--out", type=Path, default=Path("results", "dpo_shapley"), metavar="FOLDER", help="(%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the results alone, as JSON, on standard output")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, notes: Console) -> None:
    """Do the runs that are not finished yet, and write and print the results."""
    results, said = open_results(options.out, "dpo_shapley", {"size": options.size})
    if said:
        notes.print(f"{options.out / 'results.json'}: finished parts of the same settings are kept", markup=False)
    results.setdefault("found", {})
    for part in dict.fromkeys(options.part):
        title, module = PARTS[part]
        settings = module.SIZES[options.size]
        if options.seeds:
            settings = settings._replace(**{name: options.seeds for name in settings._fields if name.endswith("seeds")})
        kept = kept_runs(results, part, settings, notes)
        asked = module.runs(settings, options.data, unfinished_folder(options.out, results))
        do_part(f"{part}: {title}", asked, kept, partial(save_results, options.out, results), notes)
        results["found"][part] = module.found({name: kept[name] for name in asked})
        save_results(options.out, results)
    results["claims"] = claims(results["found"])
    save_results(options.out, results)
    drawn = draw(options.out, results["found"], notes)
    if options.json:
        print(json.dumps(results, indent=1, allow_nan=False))
    else:
        show(results["claims"], Console(width=max(Console().width, 110)))
    notes.print(f"written to {options.out}: {', '.join(['results.json', *drawn])}", markup=False)


def kept_runs(results: dict[str, Any], part: str, settings: Any, notes: Console) -> dict[str, Any]:
    """The finished runs of a part; none if its settings other than the number of seeds have changed."""
    wanted = {name: value for name, value in settings._asdict().items() if not name.endswith("seeds")}
    fresh = {"settings": json.loads(json.dumps(wanted)), "runs": {}}
    if results["runs"].setdefault(part, fresh)["settings"] != fresh["settings"]:
        notes.print(f"part {part}: its settings are new, so it is done again", markup=False)
        results["runs"][part] = fresh
    return results["runs"][part]["runs"]


def do_part(title: str, asked: dict[str, Run], kept: dict[str, Any], save: Callable[[], Any], notes: Console) -> None:
    """Do the runs that are not kept yet, and save each once it is finished."""
    todo = {name: run for name, run in asked.items() if name not in kept}
    with progress(notes) as bar:
        task = bar.add_task(title, total=sum(run.units for run in todo.values()))
        for name, one in todo.items():
            bar.update(task, description=f"{title}, {name}")
            with precision(one.x64):
                kept[name] = one.work()
            bar.advance(task, one.units)
            save()


def draw(folder: Path, found: dict[str, Any], notes: Console) -> list[str]:
    """Draw a figure for each part that has results."""
    names = []
    try:
        for part, (title, _) in PARTS.items():
            if part in found:
                names.append(f"{title.replace(' ', '-')}.png")
                figures.FIGURES[part](found[part]).savefig(folder / names[-1], dpi=200)
    except ImportError as error:
        notes.print(f"no figures: {error}", markup=False)
    return names


def show(rows: list[dict[str, str]], console: Console) -> None:
    """Print the table of claims."""
    table = Table(title="What the paper says and what was found", show_lines=True)
    for column, width in (("the paper", 34), ("found", None), ("verdict", 12)):
        table.add_column(column, max_width=width)
    for row in rows:
        table.add_row(row["claim"], row["found"], row["verdict"])
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
