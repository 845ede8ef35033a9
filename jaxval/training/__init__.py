"""Training: Newton's method for policies and losses that allow it, optax for all others; sequential and union DPO.

`newton_optimum`, `train_minibatches` and `proportional`, the two-phase algorithm, take a policy, its parameters at the
reference, and `Comparisons` of ids. They return parameters and diagnostics. `fine_tune` makes a reference.
"""

from jaxval.training._losses import suits_newton
from jaxval.training.comparisons import stack_sources
from jaxval.training.gradient import MinibatchDiagnostics, adamw, pair_log_probs, train_minibatches
from jaxval.training.newton import NewtonDiagnostics, newton_optimum
from jaxval.training.proportional import ProportionalDiagnostics, Selector, proportional
from jaxval.training.stages import sequential_dpo, union_dpo
from jaxval.training.supervised import fine_tune

__all__ = [
    "MinibatchDiagnostics",
    "NewtonDiagnostics",
    "ProportionalDiagnostics",
    "Selector",
    "adamw",
    "fine_tune",
    "newton_optimum",
    "pair_log_probs",
    "proportional",
    "sequential_dpo",
    "stack_sources",
    "suits_newton",
    "train_minibatches",
    "union_dpo",
]
