"""Tabular problems for the two-phase algorithm of Kim et al., Appendices T and U, and its definitions written out.

Two contexts, three responses. Tables are indexed [x, y] and [x, y, z]; selectors μ[x, y, z] = μ(z | x, y). A response
against itself has P(y ≻ y) = 1/2, as in (48). Expectations are sums over all contexts, queries and labels.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

__all__ = [
    "CONTEXTS",
    "RESPONSES",
    "SELF",
    "TWO",
    "Task",
    "divergence",
    "elsewhere",
    "expected_loss",
    "generate",
    "objective",
    "point_mass",
    "selected",
    "smallest",
    "softmax_policy",
    "task",
]

CONTEXTS, RESPONSES = 2, 3
SELF = np.eye(RESPONSES, dtype=bool)
RANKINGS = np.array(list(itertools.permutations(range(RESPONSES))))
ABOVE = (lambda r: r[:, :, None] < r[:, None, :])(np.argsort(RANKINGS, axis=1))


class Task(NamedTuple):
    """A tabular problem.

    Attributes:
        P: (contexts, responses, responses) P(y ≻ z | x) of a profile for each context.
        prompts: (contexts,) ρ.
        queries: (contexts, responses) π_d, everywhere positive.
        selector: (contexts, responses, responses) any μ, everywhere positive.
        policy: (contexts, responses) any π.
        reference: (contexts, responses) π_ref.
        reference_selector: (contexts, responses, responses) π_ref(z | x, y).
        counts: (contexts, responses, responses) N(x, y, z): how often y was preferred to z.
        pair: (2,) y^w and y^l of one comparison.
        beta: β.
        coefficient: β_μ and β_π.
    """

    P: Float[Array, "contexts responses responses"]
    prompts: Float[Array, "contexts"]
    queries: Float[Array, "contexts responses"]
    selector: Float[Array, "contexts responses responses"]
    policy: Float[Array, "contexts responses"]
    reference: Float[Array, "contexts responses"]
    reference_selector: Float[Array, "contexts responses responses"]
    counts: Float[Array, "contexts responses responses"]
    pair: Int[Array, "2"]
    beta: Float[Array, ""]
    coefficient: Float[Array, ""]


def generate(key: Key[Array, ""]) -> Task:
    """Profiles of a few voters, so that unanimity and ties are common; β is 0 in a fifth; a third of counts is 0."""
    table = (CONTEXTS, RESPONSES, RESPONSES)
    numbers = jax.random.uniform(key, (90,))
    profile, three, rows = numbers[:12].reshape(CONTEXTS, -1), numbers[12:66].reshape(3, *table), numbers[66:84]
    context, beta, coefficient, *names = numbers[84:]
    voters = jnp.floor(3 * profile) + (np.arange(len(RANKINGS)) == 0)[None]
    P = jnp.einsum("xr,ryz->xyz", voters / jnp.sum(voters, axis=1, keepdims=True), ABOVE.astype(float))
    weights = 0.02 + rows.reshape(3, CONTEXTS, RESPONSES) ** 3
    policies = weights / jnp.sum(weights, axis=2, keepdims=True)
    selectors = 0.001 + three[:2] ** 4
    selectors = selectors / jnp.sum(selectors, axis=3, keepdims=True)
    return Task(
        P + jnp.asarray(SELF)[None] / 2,
        jnp.stack([0.1 + 0.8 * context, 0.9 - 0.8 * context]),
        policies[0],
        selectors[0],
        policies[1],
        policies[2],
        selectors[1],
        jnp.floor(3 * three[2]) * ~jnp.asarray(SELF)[None],
        jnp.argsort(jnp.stack(names))[:2],
        jnp.where(beta < 0.2, 0.0, 10 * beta**2),
        10.0 ** (4 * coefficient - 2),
    )


def task(
    ballots: Sequence[str],
    weights: Sequence[float],
    *,
    wins: Sequence[str] = (),
    selector: Sequence[Sequence[float]] = ((1 / 3, 1 / 3, 1 / 3),) * 3,
    pair: str = "ab",
    beta: float = 0.0,
) -> Task:
    """A problem by hand, the same in both contexts: uniform queries; comparisons such as "ab" or "ab" again."""
    orders = [["abc".index(letter) for letter in ballot] for ballot in ballots]
    r = np.argsort(np.array(orders), axis=1)
    P = np.einsum("r,ryz->yz", np.asarray(weights, float), (r[:, :, None] < r[:, None, :]).astype(float)) + SELF / 2
    counts = np.zeros((RESPONSES, RESPONSES))
    for won in wins:
        counts["abc".index(won[0]), "abc".index(won[1])] += 1
    uniform, both = np.full((CONTEXTS, RESPONSES), 1 / RESPONSES), (CONTEXTS, 1, 1)
    any_policy, any_selector = np.tile([0.5, 0.25, 0.25], (CONTEXTS, 1)), np.full((CONTEXTS, 3, 3), 1 / RESPONSES)
    fields: tuple[Any, ...] = (
        np.tile(P, both), np.full(CONTEXTS, 1 / CONTEXTS), uniform, np.tile(np.array(selector, float), both),
        any_policy, uniform, any_selector, np.tile(counts, both), np.array(["abc".index(letter) for letter in pair]),
        np.asarray(beta), np.asarray(1.0),
    )  # fmt: skip
    return Task(*fields)


TWO = task(["abc", "bac"], [0.75, 0.25])

# The definitions


def smallest(P: Array, *, itself: bool = False) -> Array:
    """u(y|x) = min_z P(y ≻ z | x), over z ≠ y, or over all of Y as (49) is printed."""
    return jnp.min(P if itself else jnp.where(jnp.asarray(SELF)[None], 1, P), axis=2)


def softmax_policy(u: Array, beta: Array | float) -> Array:
    """π(y|x) ∝ u(y|x) exp(β u(y|x))."""
    scores = u * jnp.exp(beta * u)
    return scores / jnp.sum(scores, axis=1, keepdims=True)


def selected(P: Array, selector: Array) -> Array:
    """Σ_z P(y ≻ z | x) μ(z | x, y), as in (55)."""
    return jnp.sum(P * selector, axis=2)


def point_mass(cost: Array, *, itself: bool = False) -> Array:
    """The selector that puts all its mass on the smallest cost[x, y, z], on z ≠ y or on all of Y."""
    cost = cost if itself else jnp.where(jnp.asarray(SELF)[None], jnp.inf, cost)
    return (jnp.argmin(cost, axis=2)[:, :, None] == jnp.arange(RESPONSES)[None, None, :]).astype(float)


def elsewhere(selector: Array) -> Array:
    """The selector on z ≠ y."""
    kept = jnp.where(jnp.asarray(SELF)[None], 0, selector)
    return kept / jnp.sum(kept, axis=2, keepdims=True)


def objective(c: Task, selector: Array) -> Array:
    """(58): E_{x, y, z} [P(y ≻ z) μ(z|x,y)/π_d(z) + P(z ≻ y) μ(y|x,z)/π_d(y)], y and z independent."""
    one = c.P * selector / c.queries[:, None, :]
    both = one + jnp.swapaxes(one, 1, 2)
    return jnp.einsum("x,xy,xz,xyz->", c.prompts, c.queries, c.queries, both)


def expected_loss(c: Task, selector: Array, *, by_winner: bool = False) -> Array:
    """The expectation of (59): a query (y, z) is labelled y ≻ z with probability P; loss μ(y^l|x,y^w)/π_d(y^l|x)."""
    total = jnp.zeros(())
    for x, y, z in itertools.product(range(CONTEXTS), range(RESPONSES), range(RESPONSES)):
        query = c.prompts[x] * c.queries[x, y] * c.queries[x, z]
        for winner, loser, chance in ((y, z, c.P[x, y, z]), (z, y, 1 - c.P[x, y, z])):
            under = c.queries[x, winner if by_winner else loser]
            total = total + query * chance * selector[x, winner, loser] / under
    return total


def divergence(c: Task, policy: Array, score: Array) -> Array:
    """E_x Σ_y π log(π/score), KL where the score is a policy."""
    return jnp.einsum("x,xy->", c.prompts, policy * jnp.log(policy / score))
