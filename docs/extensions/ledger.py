"""The pages of the ledger: one for each claim, and a list of all, from the claims and from the record of the last run.

The words come from the claims themselves. What was computed comes from `ledger.json`, which `experiments.findings`
writes: nothing is computed here. A record that does not fit the claims fails the build.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from extensions.reference import write_if_new
from jaxval import theorems

__all__ = ["setup"]

PAPERS = {
    "coalition": "Tamine et al., data valuation for LLM fine-tuning",
    "mallows": "Chen et al., MallowsPO",
    "ads": "Zheng et al., asymmetric data Shapley",
    "ppa": "Kim et al., population-proportional alignment",
    "conjectures": "Conjectures beyond the papers",
}
AGAIN = "run `jaxval verify --json > verdicts.json`, then `python -m experiments.findings verdicts.json`"
OPENING = """# The ledger

Every numbered statement of the four papers as a claim that a computer checks: {claims} claims, {fail} of which fail as
printed. Each has a page with the statement, the verdict, the reason, a counterexample if there is one, and the command
that checks it again. [What was found](../findings.md) tells the failures in order of weight, and
[a guide](../guides/ledger.md) says how to add a claim.

"root error" means that the statement is wrong and changes what one computes or believes; "follows" means that a claim
fails because another does; a "slip" changes nothing that one computes; a "convention" is about the edge of a range; a
"reading" is of prose.
"""


def write_pages(app: Sphinx) -> None:
    """Write the page of every claim, and the list."""
    source = Path(app.srcdir)
    entries = {entry["id"]: entry for entry in json.loads((source / "ledger.json").read_text(encoding="utf-8"))}
    claims = theorems.claims()
    known = {claim.id: (claim.verdict, claim.kind) for claim in claims}
    if known != {name: (entry["verdict"], entry["kind"]) for name, entry in entries.items()}:
        raise ExtensionError(f"docs/ledger.json does not fit the ledger: {AGAIN}")
    by_paper = defaultdict(list)
    for claim in claims:
        write_if_new(source / "claims" / f"{slug(claim.id)}.md", page(claim, entries[claim.id], set(known)))
        by_paper[claim.id.partition("/")[0]].append(claim)
    lines = [OPENING.format(claims=len(claims), fail=sum(bool(claim.kind) for claim in claims))]
    for paper, those in by_paper.items():
        lines += [f"## {PAPERS.get(paper, paper)}", "", "| claim | where | verdict |", "|---|---|---|"]
        lines += [f"| [{c.id}]({slug(c.id)}.md) | {c.source} | {verdict_of(c, short=True)} |" for c in those] + [""]
    write_if_new(source / "claims" / "index.md", "\n".join(lines))


def page(claim: theorems.Claim, entry: dict[str, Any], known: set[str]) -> str:
    """The page of a claim."""
    paper = claim.id.partition("/")[0]
    lines = ["---", "orphan: true", "---", "", f"# {sentence(plain(claim.source))}", ""]
    lines += [f"[The ledger](index.md) · {PAPERS.get(paper, paper)} · `{claim.id}`", ""]
    lines += [f"**Verdict: {verdict_of(claim)}**", ""]
    words = {
        "As printed": f"“{plain(claim.quote)}”" if claim.quote else "",
        "Statement": plain(claim.words),
        "Why it fails": plain(claim.why),
        "What holds": plain(claim.corrected),
        "The nearest false neighbour": plain(claim.false),
        "How far it was checked": plain(entry["scope"]) + ". " + gaps(claim, entry),
        "Covers": ", ".join(linked(other, known) for other in claim.covers),
    }
    for heading, text in words.items():
        if text:
            lines += [f"## {heading}", "", text, ""]
    if "counterexample" in entry:
        lines += ["## Counterexample", "", *block("python", entry["counterexample"].splitlines())]
        lines += ["Both sides there:", "", *block("text", entry["sides"])]
    lines += ["## To check it again", "", *block("sh", [f"jaxval verify --claim {claim.id}"])]
    lines += ["Or in Python, both sides at the counterexample:" if claim.counterexample else "Or in Python:", ""]
    return "\n".join([*lines, *block("python", theorems.replay(claim))])


def verdict_of(claim: theorems.Claim, *, short: bool = False) -> str:
    """The verdict in words, with the kind of failure and its root."""
    if claim.kind == "follows":
        return f"{claim.verdict}; it follows from [{claim.root}]({slug(claim.root)}.md)"
    kind = f"; {claim.kind}" if claim.kind else ""
    return f"{claim.verdict}{kind}" if short or claim.kind != "conjecture" else f"{claim.verdict}; a conjecture of ours"


def gaps(claim: theorems.Claim, entry: dict[str, Any]) -> str:
    """The largest gaps that were measured."""
    names = {"worst_gap": "as printed", "corrected_gap": "as corrected", "false_gap": "of the false neighbour"}
    told = [f"{entry[name]:.1e} {words}" for name, words in names.items() if entry.get(name) is not None]
    return f"Largest gaps: {', '.join(told)}; a gap above {claim.setting.tolerance:.0e} is a violation."


def linked(name: str, known: set[str]) -> str:
    return f"[{name}]({slug(name)}.md)" if name in known else name


def sentence(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def slug(name: str) -> str:
    return name.replace("/", "-").replace(".", "-")


def plain(text: str) -> str:
    """Words and mathematics in its own letters, with nothing taken as Markdown; names in backticks stay code."""
    parts = text.split("`")
    parts[::2] = ["".join(f"\\{c}" if c in "*_|<>[]{}$#~\\" else c for c in part) for part in parts[::2]]
    return "`".join(parts)


def block(language: str, lines: list[str]) -> list[str]:
    return [f"```{language}", *lines, "```", ""]


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the pages to Sphinx's events."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
