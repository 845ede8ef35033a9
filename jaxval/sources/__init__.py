"""What each source of preference pairs contributed, from one training per source, and decisions that follow from it.

`learners` makes policies over the catalogue of the pairs, and `trainings` trains them on each source. `arithmetic`
computes the utilities of coalitions, `valuation` computes values with intervals, and `curation` takes decisions. `pool`
needs no training: it values sources from a table of log-probabilities.
"""

from jaxval.sources.curation import HarmAuc, best_coalition, harm_auc, payments, source_weights, top_sources
from jaxval.sources.learners import (
    Learner,
    checkpoint_learner,
    log_linear_learner,
    tabular_learner,
    transformer_learner,
)
from jaxval.sources.pool import PoolValues, value_pool
from jaxval.sources.trainings import Training
from jaxval.sources.valuation import SourceValues, Truth, value_sources
from jaxval.sources.weights import BestWeights, best_weights

__all__ = [
    "BestWeights",
    "HarmAuc",
    "Learner",
    "PoolValues",
    "SourceValues",
    "Training",
    "Truth",
    "best_coalition",
    "best_weights",
    "checkpoint_learner",
    "harm_auc",
    "log_linear_learner",
    "payments",
    "source_weights",
    "tabular_learner",
    "top_sources",
    "transformer_learner",
    "value_pool",
    "value_sources",
]
