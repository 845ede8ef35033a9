"""The page of findings, from the verdicts that `jaxval verify --json` has just computed.

    jaxval verify --json > verdicts.json
    python -m experiments.findings verdicts.json [--out FILE]

The page names the findings that change what one should compute. Then it counts the claims of each paper, and lists
every statement that fails as printed, with the reason and the version that holds. Conjectures stand apart.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from experiments.commands import documented_parser
from jaxval import theorems

__all__ = ["main", "page"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "findings.md"
OPENING = """# What was found

<!-- Made by python -m experiments.findings: change that, not this page. -->

Most statements of the papers hold. Of those that do not, these change what one should compute:
"""
CONSEQUENCES = (
    (
        ("ppa/proposition-Q.1",),
        "the β that is to make a Condorcet winner likely enough is too small: a factor u_i is lost.",
    ),
    (("ppa/definition-4.5-optimal",), "F* maximises the smallest ratio π/w; the norm that is printed is the largest."),
    (
        ("ppa/equation-49", "ppa/equation-53"),
        "a minimum over z that includes y caps u at 1/2. The offline loss has its selectors exchanged, and it averages "
        "logarithms.",
    ),
    (
        ("ads/theorem-5.1", "ads/base-case-2-by-k"),
        "the nearest-neighbour recursion is exact for division by K only, and only with another base case for groups "
        "smaller than K. For the utility that is printed it needs one more term.",
    ),
    (
        ("ads/axiom-4.1",),
        "as printed it contradicts the other three axioms. With gains of zero, as cited, the theorem holds.",
    ),
    (
        ("conjectures/largest-share",),
        "u_i is an upper bound on the share of i. From five alternatives on, there are P for which it is not reached.",
    ),
)
NOTE = """*Numbered* are definitions, lemmas, theorems, equations and the like. *Text* is what the running text says, in
our words; the first column says how it is read. A statement fails if any case of its range does, an empty group or 0/0
included; the last column says what has to be left out. MallowsPO is checked by its formulas, not by the paper's words.
"""
PAPERS = {
    "coalition": "Tamine et al., coalition alignment",
    "mallows": "Chen et al., MallowsPO",
    "ads": "Zheng et al., Asymmetric Data Shapley",
    "ppa": "Kim et al., population-proportional alignment",
    "conjectures": "conjectures beyond the papers",
}


def page(verdicts: list[dict[str, Any]]) -> str:
    """The whole page.

    Args:
        verdicts: entries of `jaxval verify --json`.

    Returns:
        Markdown: the consequences, a table of counts, and tables of the statements that fail as printed.

    Example:
        >>> entry = {"id": "ads/axiom-0", "verdict": "holds", "instances": 3, "false_neighbour": "No.", "why": "",
        ...          "source": "Axiom 0", "statement": "Yes.", "corrected": None, "covers": []}
        >>> page([entry]).splitlines()[-5]
        '| Zheng et al., Asymmetric Data Shapley | 1 | 1 | 0 | 0 | 0 | 3 |'
    """
    numbered = tuple(statement.id for statement in theorems.coverage())
    lines = [*OPENING.splitlines(), ""]
    lines += [f"- {', '.join(f'`{name}`' for name in names)}: {words}" for names, words in CONSEQUENCES]
    lines += ["", "| paper | claims | hold | fail, numbered | fail, text | of these hold as corrected | instances |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for paper, title in PAPERS.items():
        those = [entry for entry in verdicts if _paper(entry) == paper]
        if those:
            fail = Counter(_kind(entry, numbered) for entry in those if _fails(entry))
            corrected = sum(entry["verdict"] == "holds as corrected" for entry in those)
            counts = [len(those), len(those) - fail.total(), fail["numbered"], fail["text"], corrected]
            instances = sum(entry["instances"] for entry in those)
            lines.append(f"| {title} | {' | '.join(map(str, counts))} | {instances:,} |")
    lines += ["", *NOTE.splitlines()]
    for paper, title in PAPERS.items():
        for kind in ("numbered", "text"):
            those = [
                entry
                for entry in verdicts
                if _paper(entry) == paper and _fails(entry) and _kind(entry, numbered) == kind
            ]
            if those:
                failing = "what fails" if paper == "conjectures" else f"{kind}: what fails as printed"
                lines += ["", f"<details><summary>{title}, {failing}, why, and what holds ({len(those)})</summary>"]
                lines += ["", "| claim | statement | why not | what holds |", "|---|---|---|---|"]
                lines += [*map(_row, those), "", "</details>"]
    return "\n".join(lines) + "\n"


def _paper(entry: dict[str, Any]) -> str:
    return str(entry["id"]).partition("/")[0]


def _fails(entry: dict[str, Any]) -> bool:
    return bool(entry["verdict"] != "holds")


def _kind(entry: dict[str, Any], numbered: tuple[str, ...]) -> str:
    """Whether the claim computes a numbered statement, or is by its name a part of one."""
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
    """Write the page.

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
    except (OSError, ValueError) as error:
        parser.error(f"{error}; expected a file from jaxval verify --json")
    except (KeyError, TypeError) as error:
        parser.error(f"{options.verdicts}: {error!r}; expected a file from jaxval verify --json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
