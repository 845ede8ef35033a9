"""The tasks of `benchmarks.social_choice` by pref_voting (Holliday and Pacuit)."""

from collections.abc import Callable

import numpy as np
from pref_voting.iterative_methods import instant_runoff
from pref_voting.margin_based_methods import minimax
from pref_voting.monotonicity_axioms import has_monotonicity_violation
from pref_voting.probabilistic_methods import maximal_lottery as lottery_of
from pref_voting.profiles import Profile
from pref_voting.weighted_majority_graphs import MarginGraph

PACKAGES = ("pref_voting", "numpy", "scipy", "numba")

Run = Callable[[], dict[str, np.ndarray]]


def maximal_lottery(inputs: dict[str, np.ndarray]) -> Run:
    """Its default, a linear program by HiGHS; its margin graphs are made beforehand."""
    graphs = [margin_graph(margins) for margins in inputs["margins"]]

    def run() -> dict[str, np.ndarray]:
        lotteries = [lottery_of(graph) for graph in graphs]
        return {"lotteries": np.array([[lottery[i] for i in sorted(lottery)] for lottery in lotteries])}

    return run


def margin_graph(margins: np.ndarray) -> MarginGraph:
    edges = [(int(i), int(j), int(margins[i, j])) for i, j in np.argwhere(margins > 0)]
    return MarginGraph(list(range(len(margins))), edges)


def preference_matrix(inputs: dict[str, np.ndarray]) -> Run:
    """A profile from lists, which it takes faster than arrays, then its margins."""
    orders = inputs["orders"].tolist()

    def run() -> dict[str, np.ndarray]:
        margins = np.array(Profile(orders).margin_matrix)
        return {"matrix": (1 + margins / len(orders)) / 2}

    return run


RULES = {"minimax": minimax, "instant_runoff": instant_runoff}


def monotonicity(inputs: dict[str, np.ndarray], *, rule: str, only: int) -> Run:
    """Its check of lifts in single ballots, with the winners sharing the probability; profiles are made beforehand."""
    profiles = [Profile(orders.tolist()) for orders in inputs["profiles"][:only]]

    def check(profile: Profile) -> bool:
        return has_monotonicity_violation(profile, RULES[rule], violation_type="Lift", check_probabilities=True)

    return lambda: {"violated": np.array([check(profile) for profile in profiles])}


TASKS = {
    "maximal_lottery": maximal_lottery,
    "preference_matrix": preference_matrix,
    "monotonicity": monotonicity,
}
