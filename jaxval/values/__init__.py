"""Values of players: from a table or a utility of coalitions to one number for each player.

Values are (players, *objectives) arrays. Groups are integers (players,), the first group 0.

- Exact, from a table of the utilities of all coalitions: `shapley`, `banzhaf`, `beta_shapley`, `semivalue`,
  `leave_one_out`; with groups `asymmetric_shapley` and `weighted_shapley`, with unions `owen`; `shapley_interactions`,
  `banzhaf_interactions`, `least_core`, `least_core_solve`.
- Values of training data for a model of yours: `model_utility` (any model with `fit` and `predict`), `weighted_utility`
  and `weighted_path_utility` (models in JAX, such as `logistic_regression`, `ridge_regression`; `warm_path`),
  `influence`, `out_of_bag`.
- How good values are: `removal_curves`, `detection_curve`.
- Estimated, from a utility: `sample_shapley`, `sample_shapley_along_paths`, `sample_truncated_shapley`,
  `sample_banzhaf`, `sample_beta_shapley`, `sample_semivalue`, `regress_shapley`; exactly, `evaluate_leave_one_out`.
  `sample_until` and `sample_until_solve` sample until the intervals are narrow. `required_permutations` and
  `anytime_factors` say how many draws are enough.
- Values for nearest neighbours: `knn_shapley`, and the utilities `knn_utility` and `knn_path_utility`.
- Values of rounds that happened one after another: `sequential_shapley`, `sequential_leave_one_out`.
- Estimators that can be interrupted: `run_estimator` drives `permutation_estimator`, `regression_estimator`,
  `sample_reuse_estimator`, `truncated_shapley_estimator`.
- How well values predict retrained utilities: `datamodelling_score`.
- Totals, tables and files of values: `owner_totals`, `estimate_table`, `estimate_frame`, `save_estimate`,
  `load_estimate`.
- Records: `DatamodellingScore`, `Estimator`, `RegressionState`, `SequentialValues`, `LeastCoreDiagnostics`,
  `StoppingDiagnostics`, `ModelUtility`, `WeightedModel`, `TrainingPath`, `RemovalCurves`, `DetectionCurve`.

The functions that sample describe only the arguments in which they differ. They share these:

- key: a random key;
- utility: a JAX function from a mask (players,) to a scalar or a vector of objectives, or an `evaluator`;
- players: the number n of players;
- groups: (n,) the group of each player, 0 first; None means one group;
- permutations: the number of permutations, a multiple of those that are drawn together: `strata`, and twice as many if
  `antithetic`;
- antithetic: whether each permutation is followed by its reverse within each group;
- strata: into how many equal parts positions are divided: a permutation is drawn together with strata - 1 cyclic shifts
  of itself within each group, so that every player stands in each part once;
- spread: the largest minus the smallest possible gain, one number or one for each objective. The intervals of players
  with few nonzero gains use it. None means the range of the utilities seen;
- batch_size: about how many coalitions are evaluated at a time.
"""

from jaxval.values.asymmetric import asymmetric_shapley, weighted_shapley
from jaxval.values.curves import DetectionCurve, RemovalCurves, detection_curve, removal_curves
from jaxval.values.estimators import Estimator, run_estimator
from jaxval.values.fidelity import DatamodellingScore, datamodelling_score
from jaxval.values.incremental import sample_shapley_along_paths
from jaxval.values.interactions import banzhaf_interactions, shapley_interactions
from jaxval.values.least_core import LeastCoreDiagnostics, least_core, least_core_solve
from jaxval.values.maximum_sample_reuse import sample_banzhaf, sample_reuse_estimator
from jaxval.values.models import (
    ModelUtility,
    TrainingPath,
    WeightedModel,
    influence,
    logistic_regression,
    model_utility,
    out_of_bag,
    ridge_regression,
    warm_path,
    weighted_path_utility,
    weighted_utility,
)
from jaxval.values.neighbour_utilities import knn_path_utility, knn_utility
from jaxval.values.neighbours import knn_shapley
from jaxval.values.owner_totals import owner_totals
from jaxval.values.permutations import permutation_estimator, sample_shapley
from jaxval.values.regression import RegressionState, regress_shapley, regression_estimator
from jaxval.values.reports import estimate_frame, estimate_table, load_estimate, save_estimate
from jaxval.values.sampled_semivalues import evaluate_leave_one_out, sample_beta_shapley, sample_semivalue
from jaxval.values.semivalues import banzhaf, beta_shapley, leave_one_out, semivalue, shapley
from jaxval.values.sequential import SequentialValues, sequential_leave_one_out, sequential_shapley
from jaxval.values.stopping import (
    StoppingDiagnostics,
    anytime_factors,
    required_permutations,
    sample_until,
    sample_until_solve,
)
from jaxval.values.truncation import sample_truncated_shapley, truncated_shapley_estimator
from jaxval.values.unions import owen

__all__ = [
    "DatamodellingScore",
    "DetectionCurve",
    "Estimator",
    "LeastCoreDiagnostics",
    "ModelUtility",
    "RegressionState",
    "RemovalCurves",
    "SequentialValues",
    "StoppingDiagnostics",
    "TrainingPath",
    "WeightedModel",
    "anytime_factors",
    "asymmetric_shapley",
    "banzhaf",
    "banzhaf_interactions",
    "beta_shapley",
    "datamodelling_score",
    "detection_curve",
    "estimate_frame",
    "estimate_table",
    "evaluate_leave_one_out",
    "influence",
    "knn_path_utility",
    "knn_shapley",
    "knn_utility",
    "least_core",
    "least_core_solve",
    "leave_one_out",
    "load_estimate",
    "logistic_regression",
    "model_utility",
    "out_of_bag",
    "owen",
    "owner_totals",
    "permutation_estimator",
    "regress_shapley",
    "regression_estimator",
    "removal_curves",
    "required_permutations",
    "ridge_regression",
    "run_estimator",
    "sample_banzhaf",
    "sample_beta_shapley",
    "sample_reuse_estimator",
    "sample_semivalue",
    "sample_shapley",
    "sample_shapley_along_paths",
    "sample_truncated_shapley",
    "sample_until",
    "sample_until_solve",
    "save_estimate",
    "semivalue",
    "sequential_leave_one_out",
    "sequential_shapley",
    "shapley",
    "shapley_interactions",
    "truncated_shapley_estimator",
    "warm_path",
    "weighted_path_utility",
    "weighted_shapley",
    "weighted_utility",
]


def __dir__() -> list[str]:
    # `help` would print every method of `tuple` for each record before the first function, so records are left out.
    return [name for name in __all__ if not isinstance(globals()[name], type)]
