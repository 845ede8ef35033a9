"""A pytest plugin that tests your rule or your value for every axiom, with one test for each axiom.

A file of ten lines is enough. Run it with pytest:

    import pytest
    from jaxval import social_choice

    pytest_plugins = ["jaxval.testing.fixtures"]

    @pytest.fixture
    def rule():
        return social_choice.maximal_borda

    def test_rule(rule_axiom):
        rule_axiom(alternatives=3, voters=3)

An axiom that the rule violates fails its test, and the failure shows the minimal counterexample. For a value, write the
fixture `value` and a test with `value_axiom`, which takes `players=3`. Further fixtures may be overridden:

- `violates`: the names of axioms that your rule or value is known to violate. Their tests fail if no counterexample
  is found, so that the list stays true.
- `axiom_options`: the options of axioms by name, such as {"population_bounded_manipulability": {"gamma": 1.0}}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jaxval import axioms, social_choice

__all__ = ["RULE_AXIOMS", "VALUE_AXIOMS"]  # fixtures are not imported, but found by pytest

RULE_AXIOMS = (
    "anonymity",
    "neutrality",
    "pareto",
    "monotonicity",
    "condorcet",
    "pairwise_majority",
    "pairwise_only",
    "population_proportional_alignment",
    "population_bounded_manipulability",
    "population_bounded_strategyproofness",
    "strategyproofness",
)
"""The axioms that `rule_axiom` tests, one test each; `violates` names those of them that a rule breaks."""
VALUE_AXIOMS = (
    "efficiency",
    "nullity",
    "symmetry",
    "linearity",
    "marginality",
    "group_efficiency",
    "within_group_symmetry",
    "mutual_dependence",
    "precedence",
)
"""The axioms that `value_axiom` tests, one test each; `violates` names those of them that a value breaks."""
OPTIONS: dict[str, dict[str, Any]] = {"population_proportional_alignment": {"level": social_choice.certificate}}


@pytest.fixture
def violates() -> tuple[str, ...]:
    """The names of axioms that the rule or value is known to violate; override this fixture to name some."""
    return ()


@pytest.fixture
def axiom_options() -> dict[str, dict[str, Any]]:
    """The options of each axiom by its name; override this fixture to give some."""
    return {}


@pytest.fixture(params=RULE_AXIOMS)
def rule_axiom(
    request: pytest.FixtureRequest,
    rule: Callable[..., Any],
    violates: tuple[str, ...],
    axiom_options: dict[str, dict[str, Any]],
) -> Callable[..., None]:
    """A function of sizes that searches for a counterexample of `rule` to one axiom; each axiom is a test."""
    return _searcher(rule, request.param, violates, axiom_options)


@pytest.fixture(params=VALUE_AXIOMS)
def value_axiom(
    request: pytest.FixtureRequest,
    value: Callable[..., Any],
    violates: tuple[str, ...],
    axiom_options: dict[str, dict[str, Any]],
) -> Callable[..., None]:
    """A function of sizes that searches for a counterexample of `value` to one axiom; each axiom is a test."""
    return _searcher(value, request.param, violates, axiom_options)


def _searcher(
    rule_or_value: Callable[..., Any], name: str, violates: tuple[str, ...], options: dict[str, dict[str, Any]]
) -> Callable[..., None]:
    known = RULE_AXIOMS + VALUE_AXIOMS
    for argument, names in (("violates", violates), ("axiom_options", options)):
        if unknown := sorted(set(names) - set(known)):
            pytest.fail(f"{argument}: expected names among {', '.join(known)}; got {', '.join(unknown)}", pytrace=False)

    def search(**sizes: Any) -> None:
        """Search; `sizes` are the arguments of `axioms.find_counterexample`."""
        found = axioms.find_counterexample(
            rule_or_value, getattr(axioms, name), **sizes, **{**OPTIONS.get(name, {}), **options.get(name, {})}
        )
        if found is not None and name not in violates:
            pytest.fail(str(found), pytrace=False)
        if found is None and name in violates:
            pytest.fail(f"violates: no counterexample to {name} was found with {sizes}", pytrace=False)

    return search
