"""Training: Newton's method where it applies, optax elsewhere; sequential and union DPO.

A fit takes a policy, its parameters at the reference, and `Comparisons` of ids, and gives parameters and diagnostics.
"""

from jaxval.training._losses import suits_newton
from jaxval.training.comparisons import source_key, stack_sources
from jaxval.training.gradient import TrainDiagnostics, adamw, log_ratios, train
from jaxval.training.newton import FitDiagnostics, fit
from jaxval.training.stages import sequential_dpo, union_dpo

__all__ = [
    "FitDiagnostics",
    "TrainDiagnostics",
    "adamw",
    "fit",
    "log_ratios",
    "sequential_dpo",
    "source_key",
    "stack_sources",
    "suits_newton",
    "train",
    "union_dpo",
]
