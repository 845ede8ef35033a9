"""What each source of preference pairs contributed, from one training per source, and decisions that follow from it.

`learners` makes policies over the catalogue of the pairs, and `trainings` trains them on each source. `arithmetic`
computes the utilities of coalitions, `valuation` computes values with intervals, and `curation` takes decisions. `pool`
and `adapters` need no training: they value sources from a table of log-probabilities, and from adapters of PEFT.
`samples` trains once a source and values responses that the policies write, which `drawing` draws and scores.

Arguments that the functions `value_...` share are described here, and there only where they differ:

- `semivalue`: the kind of value, such as "shapley" or "banzhaf".
- `groups`: (sources,) the group of each source, for asymmetric values.
- `permutations`: the number of permutations from which coalitions are sampled; `evaluations`: the number of coalitions
  to which a regression is fitted. Without either, all coalitions are evaluated.
- `key`: a random key; None means `jax.random.key(0)`.
- `folder`: where finished work is kept, so that a run that was interrupted can resume; None keeps nothing.
- `progress`: whether a progress bar goes to standard error.
"""

from jaxval.sources.adapters import value_adapters
from jaxval.sources.curation import HarmAuc, best_coalition, harm_auc, payments, source_weights, top_sources
from jaxval.sources.drawing import Draws, draw_pool, pool_of_draws
from jaxval.sources.fidelity import Drops, Fidelity
from jaxval.sources.learners import (
    Learner,
    checkpoint_learner,
    log_linear_learner,
    tabular_learner,
    transformer_learner,
)
from jaxval.sources.mixtures import sampling_shares, weigh_sources, write_mixture
from jaxval.sources.pool import PoolValues, value_pool
from jaxval.sources.reward_models import RewardModel, fit_reward_head, read_reward_model
from jaxval.sources.samples import value_samples
from jaxval.sources.sensitivity import (
    Conclusions,
    Variation,
    compare_variations,
    duplicate_values,
    step_variations,
    table_variations,
)
from jaxval.sources.trainings import Training
from jaxval.sources.valuation import SourceValues, Truth, UnionTotals, value_sources
from jaxval.sources.weights import BestWeights, best_weights

__all__ = [
    "BestWeights",
    "Conclusions",
    "Draws",
    "Drops",
    "Fidelity",
    "HarmAuc",
    "Learner",
    "PoolValues",
    "RewardModel",
    "SourceValues",
    "Training",
    "Truth",
    "UnionTotals",
    "Variation",
    "best_coalition",
    "best_weights",
    "checkpoint_learner",
    "compare_variations",
    "draw_pool",
    "duplicate_values",
    "fit_reward_head",
    "harm_auc",
    "log_linear_learner",
    "payments",
    "pool_of_draws",
    "read_reward_model",
    "sampling_shares",
    "source_weights",
    "step_variations",
    "table_variations",
    "tabular_learner",
    "top_sources",
    "transformer_learner",
    "value_adapters",
    "value_pool",
    "value_samples",
    "value_sources",
    "weigh_sources",
    "write_mixture",
]
