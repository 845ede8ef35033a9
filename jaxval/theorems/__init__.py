"""The ledger: statements of the papers as executable claims, with evidence that is computed anew in each run."""

from jaxval.theorems.checks import Verdict, check_claim, scope
from jaxval.theorems.ledger import Coverage, claims, coverage, verify
from jaxval.theorems.pages import exhibit, page, replay, told
from jaxval.theorems.records import AtMost, Claim, Inconclusive, Setting, largest, parts

__all__ = [
    "AtMost",
    "Claim",
    "Coverage",
    "Inconclusive",
    "Setting",
    "Verdict",
    "check_claim",
    "claims",
    "coverage",
    "exhibit",
    "largest",
    "page",
    "parts",
    "replay",
    "scope",
    "told",
    "verify",
]
