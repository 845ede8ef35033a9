"""jaxval: data valuation, preference alignment and social choice as tiny pure functions in JAX.

The rooms, in order; each imports only rooms above it:

1. `types`: shape names and records.
2. `preferences`: profiles, ballots, preference matrices, sampling models, Bradley-Terry.
3. `data`: readers of real files, makers of synthetic data.
4. `social_choice`: rules from preferences to a lottery; feasible shares.
5. `coalitions`: masks, utilities over all coalitions, games whose values are known.
6. `values`: exact and sampled values of players, asymmetric, sequential, of nearest neighbours.
7. `axioms`: a gap and a witness for every axiom of rules; counterexample search.
8. `plots`: figures from results (extra `plots`).
9. `testing`: Hypothesis strategies for users' own rules (extra `test`).
10. `cli`: the command `jaxval`.

Rooms are loaded when first used: `import jaxval as jv; jv.social_choice.proportional(matrix)`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "axioms",
    "coalitions",
    "data",
    "plots",
    "preferences",
    "social_choice",
    "testing",
    "types",
    "values",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"jaxval.{name}")
    raise AttributeError(f"module 'jaxval' has no attribute {name!r}; its rooms are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
