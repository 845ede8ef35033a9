"""The ledger: statements of the papers as executable claims, with evidence that is computed anew in each run."""

from jaxval.theorems.checks import Claim, Statement, Verdict, check_claim, largest
from jaxval.theorems.ledger import Coverage, claims, coverage, verify

__all__ = ["Claim", "Coverage", "Statement", "Verdict", "check_claim", "claims", "coverage", "largest", "verify"]
