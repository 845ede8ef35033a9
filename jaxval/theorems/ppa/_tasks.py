"""Tabular problems for the two-phase algorithm of Kim et al., Appendices T and U, and its definitions written out.

Two contexts; two, three and four responses. Tables are indexed [x, y] and [x, y, z], selectors too: μ(z | x, y).
A response against itself has P(y ≻ y) = 1/2, as in (48). Expectations are sums over all contexts, queries and labels.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import rel_entr
from jaxtyping import Array, Float, Int, Key

from jaxval.theorems.records import Setting

CONTEXTS, VOTERS = 2, 5


class Task(NamedTuple):
    """A tabular problem.

    Attributes:
        P: (contexts, responses, responses) P(y ≻ z | x) of a profile for each context.
        prompts: (contexts,) ρ.
        queries: (contexts, responses) π_d, everywhere positive.
        selector: (contexts, responses, responses) any μ.
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


class Tasks(NamedTuple):
    """A problem of each size."""

    two: Task
    three: Task
    four: Task


def generate(key: Key[Array, ""]) -> Tasks:
    """Profiles of a few voters, so that unanimity and ties are common; β is 0 in a fifth; a third of counts is 0."""
    numbers = jax.random.uniform(key, (3, 200))  # one draw compiles fast
    return Tasks(*(_draw(numbers[size - 2], size) for size in (2, 3, 4)))


tasks = Setting(
    generate,
    "2 contexts; 2, 3 and 4 responses; profiles of up to 5 ballots a context",
    cases={"2 responses": "two", "3 responses": "three", "4 responses": "four"},
)


def _draw(numbers: Array, size: int) -> Task:
    table = (CONTEXTS, size, size)
    shapes = [(CONTEXTS, VOTERS, size), (CONTEXTS, VOTERS), (3, *table), (3, CONTEXTS, size), (size,), (3,)]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    ballots, voters, three, rows, names, (context, beta, coefficient) = (
        part.reshape(shape) for part, shape in zip(jnp.split(numbers, ends)[:-1], shapes, strict=True)
    )
    weights = jnp.floor(2.5 * voters).at[:, 0].add(1)
    positions = jnp.argsort(ballots, axis=2)
    above = (positions[:, :, :, None] < positions[:, :, None, :]).astype(float)
    P = jnp.einsum("xv,xvyz->xyz", weights / jnp.sum(weights, axis=1, keepdims=True), above)
    policies = normalised(0.02 + rows**3)
    selectors = normalised(0.001 + three[:2] ** 4)
    return Task(
        diagonal(P, 0.5),
        jnp.stack([0.1 + 0.8 * context, 0.9 - 0.8 * context]),
        policies[0],
        selectors[0],
        policies[1],
        policies[2],
        selectors[1],
        diagonal(jnp.floor(3 * three[2]), 0.0),
        jnp.argsort(names)[:2],
        jnp.where(beta < 0.2, 0.0, 10 * beta**2),
        10.0 ** (4 * coefficient - 2),
    )


def task(
    ballots: Sequence[str],
    weights: Sequence[float],
    *,
    wins: Sequence[str] = (),
    selector: Sequence[Sequence[float]] | None = None,
    beta: float = 0.0,
) -> Task:
    """A problem by hand, the same in both contexts: uniform queries; comparisons such as "ab"; y^w is a, y^l is b."""
    size, index = len(ballots[0]), "abcd".index
    P, counts, uniform = np.eye(size) / 2, np.zeros((size, size)), np.full((size, size), 1 / size)
    for ballot, weight in zip(ballots, weights, strict=True):
        for y, z in itertools.combinations(map(index, ballot), 2):
            P[y, z] += weight
    for won in wins:
        counts[index(won[0]), index(won[1])] += 1

    def both(table: Any) -> Any:
        return np.stack([np.asarray(table)] * CONTEXTS)

    numbers: Any = (np.arange(2), np.asarray(beta), np.asarray(1.0))
    return Task(
        both(P),
        both(1 / CONTEXTS),
        both(uniform[0]),
        both(uniform if selector is None else selector),
        both(np.append(0.5, np.full(size - 1, 0.5 / (size - 1)))),
        both(uniform[0]),
        both(uniform),
        both(counts),
        *numbers,
    )


def by_hand(ballots: Sequence[str], weights: Sequence[float], **fields: Any) -> Tasks:
    """A problem of three responses, see `task`, beside voters who agree on two and on four."""
    return Tasks(task(["ab"], [1.0]), task(ballots, weights, **fields), task(["abcd"], [1.0]))


# The definitions


def diagonal(table: Array, value: float) -> Array:
    """The table with the value where y = z."""
    return jnp.where(jnp.eye(table.shape[-1], dtype=bool)[None], value, table)


def normalised(scores: Array) -> Array:
    """Scores divided by their sum over the last axis."""
    return scores / jnp.sum(scores, axis=-1, keepdims=True)


def softmax_policy(u: Array, beta: Array | float) -> Array:
    """π(y|x) ∝ u(y|x) exp(β u(y|x))."""
    return normalised(u * jnp.exp(beta * u))


def selected(P: Array, selector: Array) -> Array:
    """Σ_z P(y ≻ z | x) μ(z | x, y), as in (55)."""
    return jnp.sum(P * selector, axis=2)


def objective(c: Task, selector: Array) -> Array:
    """(58): E_{x, y, z} [P(y ≻ z) μ(z|x,y)/π_d(z) + P(z ≻ y) μ(y|x,z)/π_d(y)], y and z independent."""
    one = c.P * selector / c.queries[:, None, :]
    both = one + jnp.swapaxes(one, 1, 2)
    return jnp.einsum("x,xy,xz,xyz->", c.prompts, c.queries, c.queries, both)


def divergence(c: Task, policy: Array, score: Array) -> Array:
    """E_x Σ_y π log(π/score), the Kullback-Leibler divergence if the score is a policy."""
    return jnp.einsum("x,xy->", c.prompts, rel_entr(policy, score))
