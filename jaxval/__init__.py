"""jaxval: data valuation, preference alignment and social choice as tiny pure functions in JAX.

The rooms, in order; each imports only rooms above it:

1. `types`: shape names and records.
2. `checkpoints`: saving and resuming; a store of finished evaluations.
3. `parallel`: meshes of devices, several processes, executors.
4. `preferences`: profiles, ballots, preference matrices, sampling models, Bradley-Terry.
5. `data`: readers of real files, makers of synthetic data.
6. `social_choice`: rules from preferences to a lottery; feasible shares.
7. `policies`: tabular, log-linear and transformer policies behind one interface.
8. `alignment`: closed forms and losses of log-probabilities: DPO, its family, MallowsPO.
9. `training`: Newton's method and optax; sequential and union DPO.
10. `coalitions`: masks, utilities over all coalitions, model arithmetic, games whose values are known.
11. `values`: exact and sampled values of players, asymmetric, sequential, of nearest neighbours.
12. `sources`: the product: what each source of preference pairs is worth, with intervals and decisions.
13. `axioms`: a gap and a witness for every axiom of rules and of values; counterexample search.
14. `theorems`: statements of the papers as executable claims, with evidence.
15. `plots`: figures from results (extra `plots`).
16. `testing`: Hypothesis strategies for users' own rules (extra `test`).
17. `cli`: the command `jaxval`.

Rooms are loaded when first used: `import jaxval as jv; jv.social_choice.proportional(matrix)`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # type checkers and editors see the rooms, which run time loads when they are first used
    from jaxval import (
        alignment,
        axioms,
        checkpoints,
        coalitions,
        data,
        parallel,
        plots,
        policies,
        preferences,
        social_choice,
        sources,
        testing,
        theorems,
        training,
        types,
        values,
    )

__version__ = "0.1.0"
__all__ = [
    "alignment",
    "axioms",
    "checkpoints",
    "coalitions",
    "data",
    "parallel",
    "plots",
    "policies",
    "preferences",
    "social_choice",
    "sources",
    "testing",
    "theorems",
    "training",
    "types",
    "values",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        try:
            return importlib.import_module(f"jaxval.{name}")
        except ImportError as error:  # a room whose extra is not installed must not break `help(jaxval)`
            raise AttributeError(str(error)) from error
    raise AttributeError(f"module 'jaxval' has no attribute {name!r}; its rooms are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
