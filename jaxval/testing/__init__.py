"""For the tests of your own rules, values and policies: strategies, contracts, and pytest fixtures of all axioms.

- `profiles`, `grouped_profiles`, `ballots`, `preference_matrices`, `games` and others draw inputs by Hypothesis.
- `check_rule` and `check_policy` test contracts.
- `jaxval.testing.fixtures` is a pytest plugin: a file of ten lines tests a rule or a value for every axiom.

It needs the `test` extra. The strategies draw NumPy arrays in the records of `jaxval.types` and shrink towards few
voters, few alternatives, equal shares and the ranking 0, 1, ..., M - 1, or towards few players and one group.
"""

try:
    import hypothesis  # noqa: F401, the strategies need it
except ImportError as error:
    raise ImportError('jaxval.testing needs Hypothesis; install the test extra: pip install "jaxval[test]"') from error

from jaxval.testing.contracts import check_policy, check_rule
from jaxval.testing.strategies import (
    ballots,
    games,
    grouped_profiles,
    preference_matrices,
    profiles,
    rankings,
    skew_matrices,
)

__all__ = [
    "ballots",
    "check_policy",
    "check_rule",
    "games",
    "grouped_profiles",
    "preference_matrices",
    "profiles",
    "rankings",
    "skew_matrices",
]


def __dir__() -> list[str]:
    return list(__all__)
