"""Axioms of rules and of values: for each a gap and a witness, and a search for counterexamples.

`axiom(rule, orders, weights, **options) -> (gap, witness)`. The gap is signed, and a larger gap is worse: the axiom is
violated if the gap is above the tolerance (`violated`). The gap is -inf if the axiom's premise does not apply. The
witness records the case with the largest gap, so that the case can be computed again by hand. Its arrays have fixed
shapes, so that it passes through `jit` and `vmap`.

Every axiom of rules takes

- rule: a function of P (one positional parameter) or of the profile (two: orders, weights) to a lottery;
- orders: (rankings, alternatives) rankings, best first;
- weights: (rankings,) shares that sum to one; None means equal shares. A row of weight 0 belongs to no voter.

Every axiom of rules raises `ValueError` if `orders` and `weights` are not a profile, if an option is unknown, or if the
rule returns NaN or an array of another shape.

Axioms of values have the form `axiom(value, table, ...) -> (gap, witness)`. Every axiom of values takes

- value: a function of a table (one positional parameter), or of a table and groups (two), to (n,) values;
- table: (2^n,) utilities of all coalitions, bit i of the index being player i;
- groups: (n,) the group of each player, 0 first; None means one group. Only axioms about groups require them.

Every axiom of values raises `ValueError` if `table` is not a game, if a group below the largest has no player, or if
the value returns NaN or an array of another shape.

`find_counterexample` searches profiles for axioms of rules, and games for axioms of values.
"""

from jaxval.axioms._profiles import violated
from jaxval.axioms.bounded_strategyproofness import (
    BoundedStrategyproofnessWitness,
    population_bounded_strategyproofness,
)
from jaxval.axioms.consistency import (
    CondorcetWitness,
    MajorityWitness,
    ParetoWitness,
    condorcet,
    pairwise_majority,
    pareto,
)
from jaxval.axioms.games import (
    with_dependent_players,
    with_null_player,
    with_same_marginals,
    with_symmetric_players,
)
from jaxval.axioms.invariance import (
    AnonymityWitness,
    NeutralityWitness,
    PairwiseWitness,
    anonymity,
    neutrality,
    pairwise_only,
)
from jaxval.axioms.kinds import of_values
from jaxval.axioms.manipulation import (
    Manipulations,
    ManipulationWitness,
    manipulation_gains,
    population_bounded_manipulability,
    strategyproofness,
)
from jaxval.axioms.monotonicity import MonotonicityWitness, monotonicity
from jaxval.axioms.proportionality import (
    ProportionalityWitness,
    lemma_4_9_level,
    population_proportional_alignment,
    ppa_level,
)
from jaxval.axioms.rules import as_profile_rule
from jaxval.axioms.search import Counterexample, GameCounterexample, find_counterexample, format_game, format_profile
from jaxval.axioms.substitutes import PairWitness, mutual_dependence, symmetry, within_group_symmetry
from jaxval.axioms.values import (
    GroupWitness,
    PlayerWitness,
    TotalWitness,
    as_value,
    efficiency,
    group_efficiency,
    linearity,
    marginality,
    nullity,
    precedence,
)

__all__ = [
    "AnonymityWitness",
    "BoundedStrategyproofnessWitness",
    "CondorcetWitness",
    "Counterexample",
    "GameCounterexample",
    "GroupWitness",
    "MajorityWitness",
    "ManipulationWitness",
    "Manipulations",
    "MonotonicityWitness",
    "NeutralityWitness",
    "PairWitness",
    "PairwiseWitness",
    "ParetoWitness",
    "PlayerWitness",
    "ProportionalityWitness",
    "TotalWitness",
    "anonymity",
    "as_profile_rule",
    "as_value",
    "condorcet",
    "efficiency",
    "find_counterexample",
    "format_game",
    "format_profile",
    "group_efficiency",
    "lemma_4_9_level",
    "linearity",
    "manipulation_gains",
    "marginality",
    "monotonicity",
    "mutual_dependence",
    "neutrality",
    "nullity",
    "of_values",
    "pairwise_majority",
    "pairwise_only",
    "pareto",
    "population_bounded_manipulability",
    "population_bounded_strategyproofness",
    "population_proportional_alignment",
    "ppa_level",
    "precedence",
    "strategyproofness",
    "symmetry",
    "violated",
    "with_dependent_players",
    "with_null_player",
    "with_same_marginals",
    "with_symmetric_players",
    "within_group_symmetry",
]
