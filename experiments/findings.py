"""The README's table of findings, from the verdicts that `jaxval verify --json` has just computed.

    jaxval verify --json > verdicts.json
    python -m experiments.findings verdicts.json [--readme FILE]

What stands between the two marks in the README is replaced: counts, then for each paper every statement that fails as
printed, with the reason and the version that holds; conjectures apart.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["main", "section"]

BEGIN, END = "<!-- findings: python -m experiments.findings -->", "<!-- end of findings -->"
PAPERS = {
    "coalition": "Tamine et al., coalition alignment",
    "mallows": "Chen et al., MallowsPO",
    "ads": "Zheng et al., Asymmetric Data Shapley",
    "ppa": "Kim et al., population-proportional alignment",
    "ppa-v1": "the same, first version",
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
        ...          "source": "Axiom 0", "statement": "Yes.", "corrected": None}
        >>> section([entry]).splitlines()[2]
        '| Zheng et al., Asymmetric Data Shapley | 1 | 1 | 0 | 0 | 3 |'
    """
    lines = ["| paper | claims | hold | hold as corrected | fail | instances |", "|---|---|---|---|---|---|"]
    for paper, title in PAPERS.items():
        those = [entry for entry in verdicts if _paper(entry) == paper]
        if those:
            outcomes = Counter(entry["verdict"] for entry in those)
            counts = [len(those), *(outcomes[name] for name in ("holds", "holds as corrected", "fails as printed"))]
            instances = sum(entry["instances"] for entry in those)
            lines.append(f"| {title} | {' | '.join(map(str, counts))} | {instances:,} |")
    lines += [
        "",
        "Statements of running text, which have no number, are in our words. A statement fails where any case of",
    ]
    lines += ["its stated range does, an empty group or 0/0 too; the correction says what is left out."]
    for paper, title in PAPERS.items():
        those = [entry for entry in verdicts if _paper(entry) == paper and entry["verdict"] != "holds"]
        if those:
            lines += [
                "",
                f"<details><summary>{title}: what fails as printed, why, and what holds ({len(those)})</summary>",
            ]
            lines += ["", "| claim | statement | why not | what holds |", "|---|---|---|---|"]
            lines += [*map(_row, those), "", "</details>"]
    return "\n".join(lines)


def _paper(entry: dict[str, Any]) -> str:
    return str(entry["id"]).partition("/")[0]


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
    """Replace the README's section.

    Args:
        arguments: of the command line; `sys.argv` where None.

    Returns:
        The exit status.
    """
    summary, _, description = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m experiments.findings",
        description=f"{summary}\n\n{description}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verdicts", type=Path, metavar="FILE", help="from jaxval verify --json")
    readme = Path(__file__).resolve().parent.parent / "README.md"
    parser.add_argument("--readme", type=Path, default=readme, metavar="FILE", help="default: this checkout's")
    options = parser.parse_args(arguments)
    try:
        verdicts = json.loads(options.verdicts.read_text(encoding="utf-8"))
        text = options.readme.read_text(encoding="utf-8")
        before, mark, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (mark and end):
            raise ValueError(f"{options.readme}: expected the lines {BEGIN} and {END}")
        options.readme.write_text(f"{before}{BEGIN}\n\n{section(verdicts)}\n\n{END}{after}", encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"{error}; expected a file from jaxval verify --json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
