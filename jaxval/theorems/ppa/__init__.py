"""The statements of Kim, Zhang, Ozdaglar and Parrilo: population-proportional alignment, both versions of the paper.

`profiles`, `axioms` and `feasible` have sections 2 to 4.1 and Appendices C to I; `guarantees` and `algorithm` the rest.
"""

from jaxval.theorems.ppa import profiles

__all__ = ["CLAIMS", "EXEMPT"]

CLAIMS = (*profiles.CLAIMS,)
EXEMPT: dict[str, str] = {}
