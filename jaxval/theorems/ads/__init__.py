"""The statements of Zheng et al. (2026), asymmetric data Shapley, topic by topic."""

from jaxval.theorems.ads import (  # noqa: F401, I001 - in the order of the paper, in which their claims stand
    order,
    duplicates,
    rounds,
    votes,
    uniqueness,
    forms,
    sampling,
    neighbours,
    neighbour_values,
    market,
    neighbour_proof,
    binomials,
    neighbour_base,
)

__all__ = ["EXEMPT"]

EXEMPT = {
    "ads/example-1.1": (
        "Motivation in prose; what it says of symmetry and copies is Lemma 3.1 (ads/lemma-3.1, ads/copies-share)."
    ),
    "ads/example-1.2": (
        "Motivation in prose; what it says of rounds is Example 2 and Lemma 3.2 (ads/example-2, ads/lemma-3.2)."
    ),
    "ads/example-1.3": (
        "Motivation in prose; what it asks for, values at the current state, is Remark 4.1 (ads/remark-4.1)."
    ),
}
