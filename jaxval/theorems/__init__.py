"""The ledger: statements of the papers as executable claims, with evidence that is computed anew in each run."""

from jaxval.theorems.checks import Claim, Statement, Verdict, check_claim
from jaxval.theorems.ledger import claims, verify

__all__ = ["Claim", "Statement", "Verdict", "check_claim", "claims", "verify"]
