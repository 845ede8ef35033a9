"""The statements of Kim, Zhang, Ozdaglar and Parrilo: population-proportional alignment, both versions of the paper.

`profiles`, `axioms`, `constructions`, `feasible` and `extended` have sections 2 to 4.1 and Appendices C to I;
`guarantees`, `domination`, `manipulation`, `identification`, `condorcet` and `relaxed` have the rest, with `selectors`
and `algorithm` for the two phases of Appendices T and U. All profiles are those of `_profiles`.
"""

from jaxval.theorems.ppa import (  # noqa: F401  # isort: skip
    profiles,
    axioms,
    constructions,
    feasible,
    extended,
    guarantees,
    domination,
    manipulation,
    identification,
    condorcet,
    relaxed,
    selectors,
    algorithm,
)

__all__ = ["EXEMPT"]

# Of the first version's numbered statements, the text at hand has whole sentences of Definitions 3.1, 3.2 and 4.15,
# Theorem 4.6 and Propositions 4.13, 4.14 and 4.17 alone.
BLANK = (
    *(f"equation-{number}" for number in (*range(1, 56), 58, 59, 60)),
    *(f"definition-{number}" for number in ("3.3", "3.4", "3.5", "3.6", "4.1", "4.3", "4.5", "4.8", "4.12", "4.16")),
    *(f"proposition-{number}" for number in ("3.7", "4.2", "B.1", "N.1")),
    *("theorem-4.4", "theorem-4.10", "theorem-4.11", "lemma-4.7", "lemma-4.9"),
)
EXEMPT: dict[str, str] = {
    f"ppa-v1/{name}": "The formulas of this statement are blank in the text of the first version at hand, so that no "
    "claim can say that it computes them."
    for name in BLANK
}
