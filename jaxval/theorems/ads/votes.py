"""Identical sources in two rounds: Lemma 3.2, what follows it, and the example of votes in B.2.

A state is a margin of votes; v(S; A) is 1 where the margin after the votes of S is above 0.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._games import data_shapley
from jaxval.theorems.ads.rounds import Pipeline, mean_updates, pipelines

__all__ = ["CLAIMS"]


def vote_value(state: Array, z: Array, company: Array, *, sees_state: bool = True) -> Array:
    """Equation (6) of z beside one other source; v(S; A) = 1 where the votes are above 0."""
    margin = state if sees_state else jnp.zeros_like(state)

    def worth(total: Array) -> Array:
        return (margin + total > 0).astype(float)

    return 0.5 * (worth(z) - worth(0 * z)) + 0.5 * (worth(z + company) - worth(company))


def of_identical_votes(p: Pipeline, *, sees_state: bool, same_company: bool) -> Array:
    """How far apart the values of the same vote in rounds 1 and 3 are."""
    z, company, later = p.votes[0, 0], p.votes[0, 1], p.votes[0, 1] if same_company else p.votes[2, 1]
    state = p.margin + z + company + jnp.sum(p.votes[1])
    one = vote_value(p.margin, z, company, sees_state=sees_state)
    return jnp.abs(one - vote_value(state, z, later, sees_state=sees_state))


def equal_though_sensitive(p: Pipeline) -> Array:
    return (of_identical_votes(p, sees_state=True, same_company=False) == 0).astype(float)


def printed_numbers(p: Pipeline, *, as_sets: bool = False) -> Array:
    """B.2: T = 0, 1, 2, 3 and the two values 1 and 0, with any number of votes for +1 in round 2 in place of one."""
    more = 1 + jnp.abs(p.margin)
    counts = jnp.stack([jnp.zeros((), int), 1 + more])
    votes = jnp.minimum(counts, 1) if as_sets else counts
    t = jnp.stack([votes, votes + 1]).T.reshape(-1)
    worth = (t > 0).astype(float)
    wanted = jnp.stack([jnp.zeros((), int), jnp.ones((), int), 1 + more, 2 + more])
    found = jnp.concatenate([t - wanted, jnp.stack([worth[1] - worth[0] - 1, worth[3] - worth[2]])])
    return largest(found.astype(float))


def differ(p: Pipeline, *, sees_state: bool = True) -> Array:
    """1 where identical sources in rounds 1 and 3 have equal values; the utility is smooth, tanh of the state."""
    z, between = p.gifts[0, 0] + p.start / 8, p.gifts[1, 1] + p.target / 8
    one = jnp.tanh(p.start + z) - jnp.tanh(p.start)
    state = p.start + z + between if sees_state else p.start
    return (jnp.abs(one - (jnp.tanh(state + z) - jnp.tanh(state))) < 1e-12).astype(float)


def equal_as_players(p: Pipeline) -> Array:
    """Data Shapley of the four votes z, w, z, w' from the initial state: by how much identical ones differ."""
    labels = jnp.stack([p.votes[0, 0], p.votes[1, 1], p.votes[0, 0], p.votes[2, 1]])
    masks = np.array([[k >> z & 1 for z in range(4)] for k in range(16)])
    phi = data_shapley((p.margin + jnp.asarray(masks) @ labels > 0).astype(float))
    return jnp.abs(phi[0] - phi[2])


def against() -> Pipeline:
    """Votes -1, then +1, then -1 again, each alone, from nothing."""
    return mean_updates()._replace(votes=jnp.array([[-1, 0, 0], [1, 0, 0], [-1, 0, 0]]))


CLAIMS = (
    Claim(
        "ads/lemma-3.2",
        "Lemma 3.2",
        Statement(
            "If the utility depends on the state, identical sources in two rounds generally have different values; "
            "Data Shapley gives them equal ones.",
            lambda p: jnp.maximum(differ(p), equal_as_players(p)),
            "They have though it does not depend on the state.",
            lambda p: differ(p, sees_state=False),
        ),
        pipelines,
    ),
    Claim(
        "ads/example-B.2",
        "B.2 (constructive counterexample)",
        Statement(
            "Votes +1, then one or more of +1, then +1 again: T = 0, 1 in round 1 and 2, 3 (or more) in round 3; the "
            "values are 1 and 0. Y(A) counts equal labels as often as they come.",
            printed_numbers,
            "Y(A) ⊆ {-1, +1} is a set.",
            lambda p: printed_numbers(p, as_sets=True),
        ),
        pipelines,
    ),
    Claim(
        "ads/only-if-insensitive",
        "below Lemma 3.2",
        Statement(
            "Identical sources in two rounds have equal values only when the utility is state insensitive.",
            equal_though_sensitive,
            "They never have equal values.",
            lambda p: (of_identical_votes(p, sees_state=False, same_company=True) == 0).astype(float),
        ),
        pipelines,
        verdict="holds as corrected",
        why=(
            "Votes -1, +1, -1 in three rounds, in B.2's example, which sees the state: both votes -1 are worth 0. "
            "Nor is insensitivity enough: v = 1 where the votes of the round are above 0 gives +1 the value 1 alone, "
            "and 1/2 beside another +1."
        ),
        corrected=Statement(
            "Where the utility is state insensitive and both rounds hold the same company, identical sources have "
            "equal values.",
            lambda p: of_identical_votes(p, sees_state=False, same_company=True),
            "Whatever the company.",
            lambda p: of_identical_votes(p, sees_state=False, same_company=False),
        ),
        counterexample=against,
    ),
)
