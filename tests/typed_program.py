"""A program of a user: `mypy --strict` and `pyright` find every type as it is asserted, and it runs from the wheel."""

from typing import assert_type

import jax
import jax.numpy as jnp

import jaxval as jv
from jaxval.sources import PoolValues, SourceValues
from jaxval.theorems import Verdict
from jaxval.types import Estimate


def rule(matrix: jax.Array) -> jax.Array:
    """A rule of the user's own."""
    scores = jv.preferences.borda_scores(matrix)
    return scores / scores.sum()


def utility(mask: jax.Array) -> jax.Array:
    """A utility of the user's own."""
    return jnp.sqrt(mask.sum())


def main() -> None:
    """Values, lotteries, axioms and claims, with the types that come back."""
    matrix = jv.preferences.preference_matrix([[0, 1], [1, 0]], [0.75, 0.25])
    assert_type(matrix, jax.Array)
    assert_type(jv.social_choice.proportional(matrix, beta=1.0), jax.Array)
    gap, _ = jv.axioms.condorcet(rule, jnp.array([[0, 1]]), jnp.array([1.0]))
    assert_type(gap, jax.Array)

    estimate = jv.values.sample_shapley(jax.random.key(0), utility, 3, permutations=20)
    assert_type(estimate, Estimate)
    assert_type(jv.values.shapley(jv.coalitions.tabulate(utility, 3)), jax.Array)
    assert_type(estimate.with_names(["a", "b", "c"]).names, tuple[str, ...] | None)
    assert_type(jv.values.estimate_table(estimate), str)

    drawn = jv.data.synthetic_preferences(
        jax.random.key(0), contexts=8, responses=3, sources={"experts": 1.0, "foes": -0.5}
    )
    assert_type(jv.sources.value_sources(drawn, policy="tabular", beta=1.0), SourceValues)
    assert_type(jv.theorems.claims()[0].verdict in ("holds", "fails as printed", "holds as corrected"), bool)


def pools(path: str) -> PoolValues:
    """What a table of log-probabilities gives."""
    return jv.sources.value_pool(jv.data.read_log_probs(path))


def verdicts() -> list[Verdict]:
    """What a check gives."""
    return jv.theorems.verify(ids=["mallows/phi-limit"], instances=10)


if __name__ == "__main__":
    main()
