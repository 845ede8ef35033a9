"""Every command and experiment that resumes, under kills and broken disks: nothing is lost, nothing is done twice.

    python -m benchmarks.faults [--only NAME ...] [--kills N] [--seed N] [--quick] [--out FOLDER]
    python -m benchmarks.faults [--kills N] [--longest SECONDS] EXPERIMENT [OPTION ...]

Each case runs undisturbed, and then again with SIGKILL at random moments, each followed by the same command, which
resumes. Half of the kills wait until a further part of the run has finished, so that there is something to lose. A case
holds if its results are equal to those of the undisturbed run, times aside, and if no part that was finished at a kill
was lost or made again. At ten kills at least, some parts must have finished and others not.

Then it meets four faults. Each must be named in one sentence with the folder or the file, without a traceback:

full disk     the disk has room for half of what is kept; with more room the run goes on to the same results
read-only     the disk cannot be written
second run    a second run starts in the folder of one that is running
changed byte  a byte of the largest file of each kind of a killed run is changed: refused, or without influence

Beside the cases, one byte is changed in every page of 4,096 bytes of every kind of file that work is resumed from.

With a command of your own, such as `experiments.data_market --seeds 6 --images 10`, only that is killed. A case that
has finished is kept in `--out`, and the next start goes on after it. `--out` gets faults.md and faults.json.
"""

import argparse
import json
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.fault_cases import CASES, FILE, LEFT_OUT, Case, write_pairs
from benchmarks.fault_disks import DISKS, PAGES, flipped_pages
from benchmarks.fault_kills import kill_and_resume, undisturbed
from benchmarks.fault_starts import Starter, working_folder

BAD = ("DIFFERENT", "FAILED", "USED", "NOT NAMED", "LOST", "ENDED", "FEW")
COLUMNS = ("case", "parts", "undisturbed, CPU s", "kills", "resumed runs", "telling", "lost or repeated", "results")


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if every case holds, 1 if one does not or the command fails, and 130 if interrupted."""
    options = parse(arguments)
    notes = Console(stderr=True, highlight=False, soft_wrap=True)
    if options.command:
        row = one_case(Case(options.command[0], tuple(options.command[1:])), options, (), notes)
        print(sentence(row))
        return int("fault" in row)
    path = options.out / "faults.json"
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    began, done = time.monotonic(), 0
    try:
        for number, name in enumerate(options.only):
            asked = {"words": list(CASES[name].words) if name in CASES else [], "kills": options.kills}
            asked |= {"seed": options.seed, "disks": not options.only_kills}
            if rows.get(name, {}).get("asked") != asked:
                left = len(options.only) - number
                told = f"; about {(time.monotonic() - began) / done * left / 60:.0f} minutes left" if done else ""
                notes.print(f"{number + 1} of {len(options.only)}: {name}{told}", markup=False)
                faults = () if options.only_kills else tuple(DISKS)
                row = one_case(CASES[name], options, faults, notes) if name in CASES else pages(name, options.seed)
                rows[name] = {**row, "asked": asked}
                done += 1
                write(options.out, rows)
    except KeyboardInterrupt:
        notes.print("interrupted; cases that were finished are kept")
        return 130
    print(table(rows))
    notes.print(f"written to {options.out}: faults.md, faults.json", markup=False)
    return int(any(is_bad(rows[name]) for name in options.only))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options; `command` is a command of the user's own, or empty."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*PAGES, *CASES]
    add = parser.add_argument
    add("--only", action="append", choices=names, metavar="NAME", help=f"may be repeated; of {'; '.join(names)}")
    add("--kills", type=int, metavar="N", help="in each case; 0 leaves them out (default: 50)")
    add("--longest", type=float, metavar="SECONDS", help="from a start to a kill (default: two parts of the run)")
    add("--seed", type=int, default=0, metavar="N", help="of the moments (default: %(default)s)")
    add("--only-kills", action="store_true", help="leave out the disks")
    add("--quick", action="store_true", help="pages and one case, with four kills")
    add("--out", type=Path, default=Path("results", "faults"), metavar="FOLDER", help="(default: %(default)s)")
    add("command", nargs=argparse.REMAINDER, metavar="EXPERIMENT [OPTION ...]")
    options = parser.parse_args(arguments)
    options.kills = options.kills if options.kills is not None else 4 if options.quick else 50
    options.only = options.only or ([*PAGES, "data_market"] if options.quick else names)
    return options


def one_case(case: Case, options: argparse.Namespace, faults: tuple[str, ...], notes: Console) -> dict[str, Any]:
    """Run one case undisturbed, under kills, and with each fault of a disk."""
    with working_folder() as work:
        pairs = Path(work, "pairs.jsonl")
        write_pairs(pairs)
        words = tuple(str(pairs) if word == FILE else word for word in case.words)
        with Starter(case.module, Path(work)) as starter:
            cold = undisturbed(starter, words, Path(work, "cold"))
            if isinstance(cold, str):
                return {"fault": f"the undisturbed run {cold}"}
            calm = undisturbed(starter, words, Path(work, "calm"))  # with what the first has compiled
            if isinstance(calm, str):
                return {"fault": f"the second undisturbed run {calm}"}
            notes.print(f"  undisturbed {calm.seconds:.1f} s, {calm.cpu:.1f} CPU s, {calm.parts} parts", markup=False)
            row: dict[str, Any] = {"parts": calm.parts, "seconds": [cold.seconds, calm.seconds]}
            row["CPU seconds"] = [cold.cpu, calm.cpu]
            half = None
            if options.kills and calm.parts < 2:
                row["fault"] = "TOO FEW parts: ask for more"
            elif options.kills:
                began = time.monotonic()

                def tell(kill: int) -> None:
                    if kill % max(1, options.kills // 5) == 0:
                        left = (time.monotonic() - began) / kill * (options.kills - kill)
                        notes.print(f"  {kill} of {options.kills} kills; {left:.0f} s left", markup=False)

                rng = random.Random(options.seed)
                found, half = kill_and_resume(
                    starter, words, calm, kills=options.kills, rng=rng, tell=tell, longest=options.longest
                )
                row |= found
            for name in faults:
                try:
                    row[name] = DISKS[name](starter, words, calm.folder, half or calm.folder)
                except OSError as error:
                    row[name] = f"left out ({error})"
            return row


def pages(name: str, seed: int) -> dict[str, Any]:
    """One changed byte in every page of a kind of file."""
    counts = flipped_pages(PAGES[name], random.Random(seed))
    told = ", ".join(f"{counts[kind]} {kind}" for kind in ("named", "the same", "NOT NAMED", "USED") if kind in counts)
    return {"pages": counts["pages"], "every page": told}


def is_bad(row: dict[str, Any]) -> bool:
    """Whether something in a row does not hold."""
    return any(word in text for text in row.values() if isinstance(text, str) for word in BAD)


def sentence(row: dict[str, Any]) -> str:
    """What came of the kills of one command."""
    if "runs" not in row:
        return row["fault"]
    same = "the same" if row["same"] else "different"
    return (
        f"{row['kills']} kills in {row['runs']} resumed runs, {row['telling']} of them with some parts finished and "
        f"others not; undisturbed {row['seconds'][1]:.0f} s; {row['lost or repeated']} finished parts were lost or "
        f"made again; the results are {same}{'; ' + row['fault'] if 'fault' in row else ''}"
    )


def table(rows: dict[str, Any]) -> str:
    """The rows in Markdown: the cases, and the pages."""
    head = [*COLUMNS, *DISKS]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, row in ((name, row) for name, row in rows.items() if name in CASES):
        took = "cold {:.0f}, then {:.1f}".format(*row["CPU seconds"]) if "CPU seconds" in row else ""
        cells = [row.get(key, "") for key in ("parts", "kills", "runs", "telling", "lost or repeated")]
        cells.insert(1, took)
        cells += [row.get("fault", "the same" if row.get("same") else ""), *(row.get(key, "") for key in DISKS)]
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in (name, *cells)) + " |")
    lines += ["", "| kind of file | pages | one byte changed in every page |", "|---|---|---|"]
    lines += [f"| {name} | {rows[name]['pages']} | {rows[name]['every page']} |" for name in PAGES if name in rows]
    return "\n".join([*lines, "", *(f"Not run: {name} ({why})." for name, why in LEFT_OUT.items())])


def write(folder: Path, rows: dict[str, Any]) -> None:
    """Both files, each in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"faults.md": table(rows), "faults.json": json.dumps(rows, indent=1, ensure_ascii=False)}
    for name, text in texts.items():
        draft = folder / f".{name}"
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(folder / name)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started ends with it
    sys.exit(main())
