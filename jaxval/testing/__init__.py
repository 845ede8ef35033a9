"""For the tests of your own rules, values and policies: Hypothesis strategies, and contracts of rules and policies.

It needs the `test` extra. The strategies draw NumPy arrays in the records of `jaxval.types` and shrink towards few
voters, few alternatives, equal shares and the ranking 0, 1, ..., M - 1, or towards few players and one group.
"""

try:
    import hypothesis  # noqa: F401, the strategies need it
except ImportError as error:
    raise ImportError('jaxval.testing needs Hypothesis; install the test extra: pip install "jaxval[test]"') from error

from jaxval.testing.contracts import check_policy, check_rule
from jaxval.testing.strategies import ballots, games, preference_matrices, profiles, rankings, skew_matrices

__all__ = [
    "ballots",
    "check_policy",
    "check_rule",
    "games",
    "preference_matrices",
    "profiles",
    "rankings",
    "skew_matrices",
]


def __dir__() -> list[str]:
    return list(__all__)
