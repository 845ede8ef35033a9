"""The page of findings, from the verdicts that `jaxval verify --json` has just computed.

    jaxval verify --json > verdicts.json
    python -m experiments.findings verdicts.json [--out FILE]

The page leads with the root errors: what is printed, why it fails, what holds. Then it lists slips, conventions and
readings, sets conjectures apart, and counts the claims of each paper by kind. Beside the page, `ledger.json` keeps what
the run found on each claim, from which the site makes a page for each.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from experiments.commands import documented_parser, precision
from jaxval import theorems

__all__ = ["main", "page", "record"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "findings.md"
RECORD = "ledger.json"
LONGEST = 3_000  # characters
FOUND = ("id", "verdict", "kind", "scope", "worst_gap", "counterexample_gap", "corrected_gap", "false_gap")
OPENING = """# What was found

<!-- Made by python -m experiments.findings: change that, not this page. -->

Every numbered statement of the papers is checked by `jaxval verify`, on random instances, finite families and boundary
cases. Most of them hold. `jaxval verify --claim ID` prints a claim in full: the printed sentence, both sides at the
counterexample, the version that holds, and how far it was checked.
"""
PAPERS = {
    "coalition": "Tamine et al., coalition alignment",
    "mallows": "Chen et al., MallowsPO",
    "ads": "Zheng et al., Asymmetric Data Shapley",
    "ppa": "Kim et al., population-proportional alignment",
    "conjectures": "conjectures",
}
KINDS = ("root error", "follows", "slip", "convention", "reading")
LISTS = {
    "slip": ("Slips", "Misprints: what one computes stays the same."),
    "convention": (
        "Conventions",
        "Cases at the edge of a statement's range: 0/0, the empty coalition, diagonals, ties, ends of intervals.",
    ),
    "reading": (
        "Readings",
        "Sentences of the running text, read as a mathematical statement. Another reading may well be what is meant.",
    ),
}
CONJECTURES = (
    "Questions beyond the papers. None of them is a claim of the papers' authors; the name in front says whose "
    "question it is."
)


def page(verdicts: list[dict[str, Any]]) -> str:
    """The whole page.

    Args:
        verdicts: entries of `jaxval verify --json`.

    Returns:
        Markdown: a paragraph for each root error, counts, and lists of the other statements that fail as printed.

    Example:
        >>> entry = {"id": "ads/axiom-0", "kind": "", "verdict": "holds", "instances": 3, "root": ""}
        >>> page([entry]).splitlines()[-1]
        '| Zheng et al., Asymmetric Data Shapley | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 3 |'
    """
    papers = [entry for entry in verdicts if _paper(entry) != "conjectures"]
    lines = [*OPENING.splitlines()]
    roots = [entry for entry in papers if entry["kind"] == "root error"]
    if roots:
        lines += ["", f"## Root errors ({len(roots)})", ""]
        lines += ["Statements that are wrong as printed, and that change what one should compute or believe.", ""]
    for paper, title in PAPERS.items():
        those = [entry for entry in roots if _paper(entry) == paper]
        if those:
            lines += [f"### {title}", ""]
        for entry in those:
            lines += _root_error(entry, [other["id"] for other in papers if other["root"] == entry["id"]])
    for kind, (heading, opening) in LISTS.items():
        those = [entry for entry in papers if entry["kind"] == kind]
        if those:
            lines += ["", f"## {heading} ({len(those)})", "", opening, "", *map(_item, those)]
    questions = [entry for entry in verdicts if _paper(entry) == "conjectures"]
    if questions:
        lines += ["", f"## Conjectures ({len(questions)})", "", CONJECTURES, "", *map(_question, questions)]
    lines += ["", "## Counts", ""]
    lines += [f"| paper | claims | hold | {' | '.join(KINDS)} | instances |", "|---" * (4 + len(KINDS)) + "|"]
    for paper, title in PAPERS.items():
        those = [entry for entry in verdicts if _paper(entry) == paper]
        if those:
            kinds = Counter(entry["kind"] for entry in those)
            counts = [len(those), sum(entry["verdict"] == "holds" for entry in those), *(kinds[kind] for kind in KINDS)]
            instances = sum(entry["instances"] for entry in those)
            lines.append(f"| {title} | {' | '.join(map(str, counts))} | {instances:,} |")
    return "\n".join(lines) + "\n"


def record(verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a run found on each claim; of a claim that fails, the counterexample and both sides there, as text.

    Args:
        verdicts: entries of `jaxval verify --json`.

    Returns:
        An entry for each claim.

    Example:
        >>> record([{"id": "ads/axiom-0", "verdict": "holds", "kind": "", "seconds": 1.0}])
        [{'id': 'ads/axiom-0', 'verdict': 'holds', 'kind': ''}]
    """
    entries = []
    for verdict in verdicts:
        entry = {name: verdict[name] for name in FOUND if name in verdict}
        if verdict.get("counterexample") is not None:
            (claim,) = theorems.claims(ids=[verdict["id"]])
            with precision(True):
                instance, sides = theorems.exhibit(claim)
            entry["counterexample"], entry["sides"] = _cut(instance), [_cut(side) for side in sides]
        entries.append(entry)
    return entries


def _cut(text: str) -> str:
    """A text that a page can show; `jaxval verify --claim` prints all of it."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters in all)"


def _root_error(entry: dict[str, Any], followers: list[str]) -> list[str]:
    """A root error for a colleague of the authors: what is printed, why it fails, what holds, what follows from it."""
    parts = [f"**{entry['source']}** (`{entry['id']}`)", f"> {entry['quote']}", entry["why"]]
    parts += [f"**What holds:** {entry['corrected']}"] if entry["corrected"] else []
    parts += [f"From it follow the failures of {', '.join(f'`{name}`' for name in followers)}."] if followers else []
    return [line for part in parts for line in (part, "")]


def _item(entry: dict[str, Any]) -> str:
    corrected = f" **What holds:** {entry['corrected']}" if entry["corrected"] else ""
    return f"- **{entry['source']}** (`{entry['id']}`): {entry['statement']} {entry['why']}{corrected}"


def _question(entry: dict[str, Any]) -> str:
    if entry["verdict"] == "holds":
        return f"- **{entry['source']}** (`{entry['id']}`): {entry['statement']} No counterexample was found."
    return _item(entry)


def _paper(entry: dict[str, Any]) -> str:
    return str(entry["id"]).partition("/")[0]


def main(arguments: list[str] | None = None) -> int:
    """Write the page, and the record beside it.

    Args:
        arguments: the words after the command; None means those of the process.

    Returns:
        The exit status.
    """
    parser = documented_parser("experiments.findings", __doc__)
    parser.add_argument("verdicts", type=Path, metavar="FILE", help="from jaxval verify --json")
    parser.add_argument(
        "--out", type=Path, default=PAGE, metavar="FILE", help="default: docs/findings.md of this checkout"
    )
    options = parser.parse_args(arguments)
    try:
        verdicts = json.loads(options.verdicts.read_text(encoding="utf-8"))
        missing = {claim.id for claim in theorems.claims()} - {entry["id"] for entry in verdicts}
        if missing:
            raise ValueError(
                f"{options.verdicts}: expected all claims; {len(missing)} are missing, {min(missing)} first"
            )
        options.out.write_text(page(verdicts), encoding="utf-8")
        kept = json.dumps(record(verdicts), indent=1, ensure_ascii=False, allow_nan=False)
        options.out.with_name(RECORD).write_text(kept + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        parser.error(f"{error}; expected a file from jaxval verify --json")
    except (KeyError, TypeError) as error:
        parser.error(f"{options.verdicts}: {error!r}; expected a file from jaxval verify --json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
