"""The numbered statements of the papers, extracted from their texts into the ledger's list.

    python -m experiments.statements [--texts FOLDER] [--out FILE]

Definitions, axioms, lemmas, propositions, theorems, corollaries, remarks, examples, algorithms and numbered equations,
each once, with counts per paper; of MallowsPO, whose text is not at hand, the rows of a table of its variants. Only
numbers and titles are kept. A test compares the list with the texts where they are at hand, and asks of each entry a
claim, or an exemption with its sentence (`jaxval.theorems.coverage`).
"""

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from experiments.commands import documented_parser

__all__ = ["extract", "main"]

TEXTS = {
    "coalition": "papers/dpo-shapley.txt",
    "mallows": "spec/2-mallowspo.md",
    "ads": "papers/asymmetric-data-shapley.txt",
    "ppa": "papers/population-proportional-v2.txt",
    "ppa-v1": "papers/population-proportional-v1.txt",
}
LIST = Path(__file__).resolve().parent.parent / "jaxval" / "theorems" / "statements.json"
KINDS = ("definition", "axiom", "lemma", "proposition", "theorem", "corollary", "remark", "example", "algorithm")
NUMBER = r"(?:[A-Z]\.)?\d+(?:\.\d+)?"
HEADING = re.compile(rf"^\s*({'|'.join(KINDS)})\s+({NUMBER})\s*(?:\.?|\((.*)\)\.?)\s*$", re.IGNORECASE)
ALGORITHM = re.compile(rf"^\s*(algorithm)\s+({NUMBER})\s+(\S.{{0,99}})$", re.IGNORECASE)
ROW = re.compile(r"^\|\s*([θφ][^|]*?)\s*\|")
EQUATION = re.compile(rf"(?:^\|\s*|\s)\(({NUMBER})\)\s*\|?\s*$")


def extract(text: str, paper: str) -> list[dict[str, Any]]:
    """The numbered statements of one text.

    Args:
        text: the paper.
        paper: the name of the paper in the ledger, such as "ads".

    Returns:
        For each statement its `id`, such as "ads/lemma-3.1", its `title` and its `line`, in the order of the text.

    Example:
        >>> extract("Lemma 3.1 (Halving).", "ads")
        [{'id': 'ads/lemma-3.1', 'title': 'Halving', 'line': 1}]
    """
    found: dict[str, dict[str, Any]] = {}
    for line, content in enumerate(text.splitlines(), start=1):
        heading = HEADING.match(content) or ALGORITHM.match(content)
        if heading and heading[3] != "continued":
            kind, number, title = heading[1].lower(), heading[2], re.sub(r"\\[a-z]+", "", heading[3] or "")
        elif row := ROW.match(content):
            kind, number, title = (
                "variant",
                re.sub(r"\W+", "-", row[1].replace("θ", "theta").replace("φ", "phi")),
                row[1],
            )
        elif equation := EQUATION.search(content):
            kind, number, title = "equation", equation[1], ""
        else:
            continue
        name = f"{paper}/{kind}-{number}"
        found.setdefault(name, {"id": name, "title": title.strip(), "line": line})
    return list(found.values())


def main(arguments: list[str] | None = None) -> int:
    """Write the list, print its counts, and return the exit status."""
    parser = documented_parser("experiments.statements", __doc__)
    folder = Path(os.environ.get("JAXVAL_TEXTS", "texts"))
    parser.add_argument(
        "--texts",
        type=Path,
        default=folder,
        metavar="FOLDER",
        help="of the papers (default: $JAXVAL_TEXTS or texts)",
    )
    parser.add_argument("--out", type=Path, default=LIST, metavar="FILE", help="the list (default: the ledger's own)")
    options = parser.parse_args(arguments)
    missing = [text for text in TEXTS.values() if not (options.texts / text).is_file()]
    if missing:
        parser.error(f"--texts: expected {', '.join(TEXTS.values())} in {options.texts}; missing {', '.join(missing)}")
    listed = {name: extract((options.texts / text).read_text(encoding="utf-8"), name) for name, text in TEXTS.items()}
    counts = {name: dict(Counter(_kind(entry["id"]) for entry in entries)) for name, entries in listed.items()}
    lines = [json.dumps(entry, ensure_ascii=False) for entries in listed.values() for entry in entries]
    rows = ",\n  ".join(lines)
    content = f'{{"counts": {json.dumps(counts)},\n "statements": [\n  {rows}\n]}}\n'
    options.out.write_text(content, encoding="utf-8")
    for name, count in counts.items():
        print(f"{name}: {sum(count.values())} ({', '.join(f'{n} {kind}' for kind, n in count.items())})")
    return 0


def _kind(name: str) -> str:
    return name.split("/")[1].partition("-")[0]


if __name__ == "__main__":
    sys.exit(main())
