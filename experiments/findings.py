"""The README's table of findings, from the verdicts that `jaxval verify --json` has just computed.

    jaxval verify --json > verdicts.json
    python -m experiments.findings verdicts.json [--readme FILE]

What stands between the two marks in the README is replaced: counts, then for each paper every statement that fails as
printed, with the reason and the version that holds; conjectures apart.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from experiments.commands import documented_parser
from jaxval import theorems

__all__ = ["main", "section"]

BEGIN, END = "<!-- findings: python -m experiments.findings -->", "<!-- end of findings -->"
NOTE = """*Numbered* are definitions, lemmas, theorems, equations and the like; *text* is what running text says, in our
words and as its source tells it is read. A statement fails where any case of its range does, an empty group or 0/0 too;
what holds says what is left out. Of MallowsPO there are formulas only, not the paper's words."""
PAPERS = {
    "coalition": "Tamine et al., coalition alignment",
    "mallows": "Chen et al., MallowsPO",
    "ads": "Zheng et al., Asymmetric Data Shapley",
    "ppa": "Kim et al., population-proportional alignment",
    "conjectures": "conjectures beyond the papers",
}


def section(verdicts: list[dict[str, Any]]) -> str:
    """The text between the marks.

    Args:
        verdicts: entries of `jaxval verify --json`.

    Returns:
        Markdown: a table of counts, and one of what fails as printed.

    Example:
        >>> entry = {"id": "ads/axiom-0", "verdict": "holds", "instances": 3, "false_neighbour": "No.", "why": "",
        ...          "source": "Axiom 0", "statement": "Yes.", "corrected": None, "covers": []}
        >>> section([entry]).splitlines()[2]
        '| Zheng et al., Asymmetric Data Shapley | 1 | 1 | 0 | 0 | 0 | 3 |'
    """
    numbered = tuple(statement.id for statement in theorems.coverage())
    lines = ["| paper | claims | hold | fail, numbered | fail, text | of these hold as corrected | instances |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for paper, title in PAPERS.items():
        those = [entry for entry in verdicts if _paper(entry) == paper]
        if those:
            fail = Counter(_kind(entry, numbered) for entry in those if _fails(entry))
            corrected = sum(entry["verdict"] == "holds as corrected" for entry in those)
            counts = [len(those), len(those) - fail.total(), fail["numbered"], fail["text"], corrected]
            instances = sum(entry["instances"] for entry in those)
            lines.append(f"| {title} | {' | '.join(map(str, counts))} | {instances:,} |")
    lines += ["", NOTE]
    for paper, title in PAPERS.items():
        for kind in ("numbered", "text"):
            those = [
                entry
                for entry in verdicts
                if _paper(entry) == paper and _fails(entry) and _kind(entry, numbered) == kind
            ]
            if those:
                what = "what fails" if paper == "conjectures" else f"{kind}: what fails as printed"
                lines += ["", f"<details><summary>{title}, {what}, why, and what holds ({len(those)})</summary>"]
                lines += ["", "| claim | statement | why not | what holds |", "|---|---|---|---|"]
                lines += [*map(_row, those), "", "</details>"]
    return "\n".join(lines)


def _paper(entry: dict[str, Any]) -> str:
    return str(entry["id"]).partition("/")[0]


def _fails(entry: dict[str, Any]) -> bool:
    return bool(entry["verdict"] != "holds")


def _kind(entry: dict[str, Any], numbered: tuple[str, ...]) -> str:
    """Whether the claim computes a numbered statement, or is a part of one by its name."""
    return "numbered" if entry["id"].startswith(numbered) or set(numbered) & {*entry["covers"]} else "text"


def _row(entry: dict[str, Any]) -> str:
    name = str(entry["id"]).partition("/")[2]
    cells = (
        name if _paper(entry) == "conjectures" else f"{name}: {entry['source']}",
        entry["statement"],
        entry["why"],
        entry["corrected"] or "",
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def main(arguments: list[str] | None = None) -> int:
    """Replace the README's section, and return the exit status."""
    parser = documented_parser("experiments.findings", __doc__)
    parser.add_argument("verdicts", type=Path, metavar="FILE", help="from jaxval verify --json")
    readme = Path(__file__).resolve().parent.parent / "README.md"
    parser.add_argument("--readme", type=Path, default=readme, metavar="FILE", help="default: this checkout's")
    options = parser.parse_args(arguments)
    try:
        verdicts = json.loads(options.verdicts.read_text(encoding="utf-8"))
        missing = {claim.id for claim in theorems.claims()} - {entry["id"] for entry in verdicts}
        if missing:
            raise ValueError(
                f"{options.verdicts}: expected all claims; {len(missing)} are missing, {min(missing)} first"
            )
        text = options.readme.read_text(encoding="utf-8")
        before, mark, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (mark and end):
            raise ValueError(f"{options.readme}: expected the lines {BEGIN} and {END}")
        options.readme.write_text(f"{before}{BEGIN}\n\n{section(verdicts)}\n\n{END}{after}", encoding="utf-8")
    except (OSError, ValueError) as error:
        parser.error(f"{error}; expected a file from jaxval verify --json")
    except (KeyError, TypeError) as error:
        parser.error(f"{options.verdicts}: {error!r}; expected a file from jaxval verify --json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
