"""Social choice: rules from a preference function, or a profile, to a lottery; what shares of voters P allows.

P goes in as an (alternatives, alternatives) array, a lottery (alternatives,) comes out.
"""

from jaxval.social_choice.bootstrap import Intervals, bootstrap_intervals
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
    win_rate,
)

__all__ = [
    "Intervals",
    "LotteryDiagnostics",
    "bootstrap_intervals",
    "c1_maximal_lottery",
    "certificate",
    "exploitability",
    "maximal_borda",
    "maximal_lottery",
    "maximal_lottery_solve",
    "minimax",
    "proportional",
    "proportional_borda",
    "random_dictatorship",
    "share_bounds",
    "win_rate",
]
