"""The statements of Kim, Zhang, Ozdaglar and Parrilo: population-proportional alignment, both versions of the paper.

`profiles`, `axioms`, `constructions`, `feasible` and `extended` have sections 2 to 4.1 and Appendices C to I, on
`_profiles` of two to four alternatives; `guarantees`, `domination`, `manipulation`, `identification`, `condorcet` and
`relaxed` have the rest, on `_elections`, with `selectors` and `algorithm` for the two phases of Appendices T and U, on
`_tasks`.
"""

from jaxval.theorems.ppa import (
    algorithm,
    axioms,
    condorcet,
    constructions,
    domination,
    extended,
    feasible,
    guarantees,
    identification,
    manipulation,
    profiles,
    relaxed,
    selectors,
)

__all__ = ["CLAIMS", "EXEMPT"]

CLAIMS = (
    *axioms.CLAIMS,
    *constructions.CLAIMS,
    *feasible.CLAIMS,
    *extended.CLAIMS,
    *guarantees.CLAIMS,
    *domination.CLAIMS,
    *manipulation.CLAIMS,
    *identification.CLAIMS,
    *condorcet.CLAIMS,
    *relaxed.CLAIMS,
    *selectors.CLAIMS,
    *algorithm.CLAIMS,
)
EXEMPT: dict[str, str] = {}
