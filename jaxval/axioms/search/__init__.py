"""The search for counterexamples: over profiles for axioms of rules, and over games for axioms of values."""

from jaxval.axioms.search.counterexample import Counterexample, GameCounterexample, format_game, format_profile
from jaxval.axioms.search.find import SearchedSize, count_profiles, find_counterexample, search_plan

__all__ = [
    "Counterexample",
    "GameCounterexample",
    "SearchedSize",
    "count_profiles",
    "find_counterexample",
    "format_game",
    "format_profile",
    "search_plan",
]
