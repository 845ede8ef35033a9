"""Social choice: rules from a preference function, or a profile, to a lottery, and the shares of voters that P allows.

A rule takes P as an (alternatives, alternatives) array and returns a lottery (alternatives,).
"""

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
from jaxval.social_choice.intervals import Intervals, bootstrap_intervals, share_bound_intervals
from jaxval.social_choice.lotteries import (
    LotteryDiagnostics,
    c1_maximal_lottery,
    exploitability,
    maximal_lottery,
    maximal_lottery_solve,
)
from jaxval.social_choice.rules import (
    certificate,
    maximal_borda,
    minimax,
    proportional,
    proportional_borda,
    random_dictatorship,
    share_bounds,
    win_rate_over_uniform,
)

__all__ = [
    "BoxDistance",
    "FeasibleDiagnostics",
    "FeasibleShares",
    "GroupMatrices",
    "Intervals",
    "LotteryDiagnostics",
    "SupportPoint",
    "bootstrap_intervals",
    "box_distance",
    "c1_maximal_lottery",
    "certificate",
    "exploitability",
    "extended_membership",
    "extended_shares",
    "feasible_membership",
    "feasible_shares",
    "feasible_shares_solve",
    "maximal_borda",
    "maximal_lottery",
    "maximal_lottery_solve",
    "minimax",
    "proportional",
    "proportional_borda",
    "random_dictatorship",
    "share_bound_intervals",
    "share_bounds",
    "support_function",
    "win_rate_over_uniform",
]
