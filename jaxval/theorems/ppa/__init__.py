"""The statements of Kim, Zhang, Ozdaglar and Parrilo: population-proportional alignment, both versions of the paper.

`profiles`, `axioms`, `constructions` and `feasible` have sections 2 to 4.1 and Appendices C to I, on profiles of two to
four alternatives (`instances`); `guarantees`, `manipulation`, `condorcet`, `relaxed` and `algorithm` have the rest, on
`elections`.
"""

from jaxval.theorems.ppa import (
    algorithm,
    axioms,
    condorcet,
    constructions,
    feasible,
    guarantees,
    manipulation,
    profiles,
    relaxed,
)

__all__ = ["CLAIMS", "EXEMPT"]

CLAIMS = (
    *profiles.CLAIMS,
    *axioms.CLAIMS,
    *constructions.CLAIMS,
    *feasible.CLAIMS,
    *guarantees.CLAIMS,
    *manipulation.CLAIMS,
    *condorcet.CLAIMS,
    *relaxed.CLAIMS,
    *algorithm.CLAIMS,
)
EXEMPT: dict[str, str] = {}
