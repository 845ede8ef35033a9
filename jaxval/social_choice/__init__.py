"""Social choice: rules from a preference function, or a profile, to a lottery, and the shares of voters that P allows.

A rule takes P as an (alternatives, alternatives) array and returns a lottery (alternatives,).
"""

from jaxval.social_choice.clusters import cluster_intervals, effective_counts, majority_cycle
from jaxval.social_choice.extended import FeasibleShares, GroupMatrices, extended_membership, extended_shares
from jaxval.social_choice.feasible import (
    BoxDistance,
    FeasibleDiagnostics,
    SupportPoint,
    box_distance,
    feasible_membership,
    feasible_shares,
    feasible_shares_solve,
    support_function,
)
from jaxval.social_choice.groups import GroupOutcomes, group_curve, group_outcomes, guaranteed_level
from jaxval.social_choice.intervals import Intervals, bootstrap_intervals, pair_intervals, share_bound_intervals
from jaxval.social_choice.lotteries import (
    LotteryDiagnostics,
    c1_maximal_lottery,
    exploitability,
    maximal_lottery,
    maximal_lottery_solve,
)
from jaxval.social_choice.order_effects import OrderEffect, order_effect
from jaxval.social_choice.rules import (
    certificate,
    maximal_borda,
    minimax,
    proportional,
    proportional_borda,
    random_dictatorship,
    share_bounds,
    votes_won,
    win_rate_over_uniform,
)

__all__ = [
    "BoxDistance",
    "FeasibleDiagnostics",
    "FeasibleShares",
    "GroupMatrices",
    "GroupOutcomes",
    "Intervals",
    "LotteryDiagnostics",
    "OrderEffect",
    "SupportPoint",
    "bootstrap_intervals",
    "box_distance",
    "c1_maximal_lottery",
    "certificate",
    "cluster_intervals",
    "effective_counts",
    "exploitability",
    "extended_membership",
    "extended_shares",
    "feasible_membership",
    "feasible_shares",
    "feasible_shares_solve",
    "group_curve",
    "group_outcomes",
    "guaranteed_level",
    "majority_cycle",
    "maximal_borda",
    "maximal_lottery",
    "maximal_lottery_solve",
    "minimax",
    "order_effect",
    "pair_intervals",
    "proportional",
    "proportional_borda",
    "random_dictatorship",
    "share_bound_intervals",
    "share_bounds",
    "support_function",
    "votes_won",
    "win_rate_over_uniform",
]
