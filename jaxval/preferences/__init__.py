"""Preferences: from profiles, ballots and comparisons to preference functions, and models that generate them.

A preference function is an (alternatives, alternatives) array P with `P[i, j]` the share that prefers i to j and 1/2
on the diagonal. `preference_matrix` makes it from complete rankings, `empirical_matrix` from counts of wins, and
the counts come from ballots (`ballot_wins`), comparisons (`count_wins`) or votes on statements (`vote_wins`). Where
pairs were seldom or never compared, `complete_matrix` fits a model of all comparisons.
"""

from jaxval.preferences.ballots import (
    ballot_first_choices,
    ballot_wins,
    ballots_from_orders,
    count_wins,
    empirical_matrix,
)
from jaxval.preferences.profiles import (
    borda_scores,
    condorcet_winner,
    first_choice_shares,
    pmc_ranking,
    positions,
    preference_matrix,
    smith_set,
)
from jaxval.preferences.rewards import BradleyTerryDiagnostics, bradley_terry, bradley_terry_solve
from jaxval.preferences.sampling import (
    sample_comparisons,
    sample_impartial_culture,
    sample_mallows,
    sample_mixture,
    sample_plackett_luce,
)
from jaxval.preferences.sparse import (
    Strengths,
    choose_strengths,
    complete_matrix,
    held_out_log_likelihood,
    smoothed_matrix,
)
from jaxval.preferences.votes import vote_wins

__all__ = [
    "BradleyTerryDiagnostics",
    "Strengths",
    "ballot_first_choices",
    "ballot_wins",
    "ballots_from_orders",
    "borda_scores",
    "bradley_terry",
    "bradley_terry_solve",
    "choose_strengths",
    "complete_matrix",
    "condorcet_winner",
    "count_wins",
    "empirical_matrix",
    "first_choice_shares",
    "held_out_log_likelihood",
    "pmc_ranking",
    "positions",
    "preference_matrix",
    "sample_comparisons",
    "sample_impartial_culture",
    "sample_mallows",
    "sample_mixture",
    "sample_plackett_luce",
    "smith_set",
    "smoothed_matrix",
    "vote_wins",
]
