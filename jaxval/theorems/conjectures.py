"""Conjectures of our own: questions that the papers leave open or that reading them raises, with evidence.

A conjecture that fails keeps its counterexample and a narrower version, as a claim does. No paper states any of them.
"""

import functools
import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.coalitions import combine, combine_next_tokens
from jaxval.preferences import preference_matrix
from jaxval.social_choice import box_distance, feasible_shares, share_bounds
from jaxval.theorems.records import AtMost, Setting

__all__: list[str] = []


# What P tells about first choices


class Voters(NamedTuple):
    """Two to four voters, over three to six alternatives.

    Attributes:
        three: (voters, 3) rankings, best first.
        four: (voters, 4) rankings.
        five: (voters, 5) rankings.
        six: (voters, 6) rankings.
        weights: (voters,) their shares.
    """

    three: Int[Array, "voters 3"]
    four: Int[Array, "voters 4"]
    five: Int[Array, "voters 5"]
    six: Int[Array, "voters 6"]
    weights: Float[Array, "voters"]


def generate_voters(key: Key[Array, ""]) -> Voters:
    """Rankings at random; shares in sixths, some of them 0."""
    keys = jax.random.split(key, 5)

    def rankings(key: Array, alternatives: int) -> Array:
        return jax.vmap(lambda k: jax.random.permutation(k, alternatives))(jax.random.split(key, 4))

    counts = jnp.bincount(jax.random.randint(keys[4], (6,), 0, 4), length=4)
    return Voters(rankings(keys[0], 3), rankings(keys[1], 4), rankings(keys[2], 5), rankings(keys[3], 6), counts / 6)


def two_voters() -> Voters:
    """Half of the voters each: 0123 and 2130; of five alternatives 10324 and 20413, of six 243051 and 534120."""
    return Voters(
        three=jnp.asarray([[0, 1, 2], [2, 1, 0]] * 2),
        four=jnp.asarray([[0, 1, 2, 3], [2, 1, 3, 0]] * 2),
        five=jnp.asarray([[1, 0, 3, 2, 4], [2, 0, 4, 1, 3]] * 2),
        six=jnp.asarray([[2, 4, 3, 0, 5, 1], [5, 3, 4, 1, 2, 0]] * 2),
        weights=jnp.asarray([0.5, 0.5, 0, 0]),
    )


voters = Setting(generate_voters, "M = 3 to 6; up to 4 voters", tolerance=1e-7, most=8, compiled=False)


def matrix_of(rankings: Any, weights: Any) -> np.ndarray:
    """P of the voters."""
    return np.asarray(preference_matrix(rankings, weights))


def bounds_and_shares(c: Voters, alternatives: str, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scale · u, and the largest share of first choices of each alternative over all profiles with this P."""
    matrix = matrix_of(getattr(c, alternatives), c.weights)
    return scale * np.asarray(share_bounds(matrix)), feasible_shares(matrix).largest


@voters.claim(
    "conjectures/largest-share",
    "ours, on Kim et al., Theorem 4.4: is the bound attained?",
    fails="conjecture",
    why="With five alternatives, half of the voters 10324 and half 20413, u_0 = 1/2. For all, 0 ≻ 3, 0 ≻ 4, 1 ≻ 3 and "
    "2 ≻ 4. So 4 ≻ 1 implies 0 ≻ 1, and as half hold each it is the same half; likewise 3 ≻ 2 and 0 ≻ 2. Whoever has 0 "
    "first then has 4 ≻ 1 ≻ 3 ≻ 2 ≻ 4, a cycle: nobody can.",
    corrected="For up to four alternatives, u_i is exactly the largest share of first choices of i.",
    correction={"sizes": ("three", "four")},
    counterexample=two_voters,
)
def largest_share(c: Voters, sizes: tuple[str, ...] = ("three", "four", "five")) -> dict[str, Any]:
    """u_i is exactly the largest share of first choices that i has in a profile with this P."""
    return {f"{size} alternatives": bounds_and_shares(c, size) for size in sizes}


@voters.claim(
    "conjectures/box-is-feasible",
    "ours, on Kim et al., Theorem 4.4: how large is the gap between W(P) and the box, jointly, and from which M?",
    fails="conjecture",
    why="With four alternatives and half of the voters 0123, half 2130, every u_i that is not 0 can be attained alone, "
    "but a point of the box is 1/2 in total variation from the nearest feasible one. With six, half 243051 and half "
    "534120, 2 is first in one half and 5 in the other in every profile with this P; the box has 3 and 4 with 1/2 "
    "each, at distance 1.",
    corrected="For three alternatives every w in the box is feasible; for four, w is within 1/2 in total variation.",
    correction={"distances": {"three": 0.0, "four": 0.5}},
    false="For four alternatives every w in the box is within 0.475 in total variation of a feasible one.",
    neighbour={"distances": {"four": 0.475}},
    counterexample=two_voters,
)
def box_is_feasible(c: Voters, distances: Mapping[str, float] = MappingProxyType({"four": 0.0, "six": 0.0})) -> Any:
    """Every w in the box {w ∈ Δ : w_i ≤ u_i} is feasible: it is at distance 0 from the feasible ones."""
    matrices = {size: matrix_of(getattr(c, size), c.weights) for size in distances}
    return {
        f"{size} alternatives": AtMost(box_distance(matrices[size]).distance, distances[size]) for size in distances
    }


# How much of its bound a group gains


class Group(NamedTuple):
    """One group and five other voters over four alternatives; the group's favourite is 0, which nobody else's is.

    Attributes:
        orders: (voters, 4) rankings of the others, best first.
        weights: (voters,) shares of the others.
        share: the group's, w_k.
    """

    orders: Int[Array, "voters 4"]
    weights: Float[Array, "voters"]
    share: Float[Array, ""]


REPORTS = np.array([(0, *rest) for rest in itertools.permutations((1, 2, 3))])


def generate_group(key: Key[Array, ""]) -> Group:
    """w_k from 0 to 1; a fifth of the profiles has others who agree."""
    keys = jax.random.split(key, 5)

    def ranking(key: Array) -> Array:
        first, place = jax.random.permutation(key, jnp.arange(1, 4)), jax.random.randint(key, (), 1, 4)
        return jnp.insert(first, place, 0)

    orders = jax.vmap(ranking)(jax.random.split(keys[0], 5))
    agree = jax.random.uniform(keys[1]) < 0.2
    share = jax.random.uniform(keys[2])
    weights = (1 - share) * jax.random.dirichlet(keys[3], jnp.ones(5))
    return Group(jnp.where(agree, jnp.broadcast_to(orders[0], (5, 4)), orders), weights, share)


def four_opponents() -> Group:
    """Half of the voters want 0; a quarter each rank 1203 and 2103."""
    orders = jnp.asarray([[1, 2, 0, 3], [2, 1, 0, 3], [1, 2, 0, 3], [1, 2, 0, 3], [1, 2, 0, 3]])
    return Group(orders, jnp.asarray([0.25, 0.25, 0, 0, 0]), jnp.asarray(0.5))


def reported_matrix(c: Group, report: Array) -> Array:
    """P where the whole group reports one ranking."""
    weights = jnp.concatenate([c.weights, c.share[None]])
    positions = jnp.argsort(jnp.concatenate([c.orders, report[None]]), axis=1)
    above = positions[:, :, None] < positions[:, None, :]
    return jnp.einsum("v,vij->ij", weights, above.astype(float))


def bounds_of(matrix: Array) -> Array:
    """u_i = min_{j≠i} P(i ≻ j)."""
    return jnp.min(jnp.where(jnp.eye(4, dtype=bool), 1.0, matrix), axis=1)


groups = Setting(generate_group, "M = 4; one group and 5 other voters")


@groups.claim(
    "conjectures/manipulation-bound-attained",
    "ours, on Kim et al., Theorem 4.11: how does the bound compare with the true largest gain?",
    fails="conjecture",
    why="Half want 0, a quarter each rank 1203 and 2103: the bound is 1/2, and the others' u' add up to at least 3/4 "
    "whatever the group reports, so that it gets 2/5 at most.",
    corrected="If all other voters share a first choice, some report of the group gives it u_k/(u_k + 1 - w_k): the "
    "one that ranks that choice second.",
    correction={"shared": 0},
    false="If all other voters share a last choice, some report of the group gives it u_k/(u_k + 1 - w_k).",
    neighbour={"shared": 3},
    counterexample=four_opponents,
)
def manipulation_bound_attained(c: Group, shared: int | None = None) -> tuple[Array, Array]:
    """Some report of the group gives it u_k/(u_k + 1 - w_k).

    A report of several rankings is a mixture and gains no more: u'_k does not change if all of them rank k first, and
    Σ u' is concave in the report.
    """
    u = jax.vmap(lambda report: bounds_of(reported_matrix(c, report)))(jnp.asarray(REPORTS))
    bound, most = u[0, 0] / (u[0, 0] + 1 - c.share), jnp.max(u[:, 0] / jnp.sum(u, axis=1))
    counts = True if shared is None else jnp.all(c.orders[:, shared] == c.orders[0, shared])
    return jnp.where(counts, most, bound), bound


# Coalition policies


class Models(NamedTuple):
    """A reference and two sources, autoregressive over two tokens of a vocabulary of three.

    Attributes:
        first: (models, 3) log-probabilities of the first token, the reference's first.
        second: (models, 3, 3) of the second token, given the first.
    """

    first: Float[Array, "models 3"]
    second: Float[Array, "models 3 3"]


def generate_models(key: Key[Array, ""]) -> Models:
    keys = jax.random.split(key, 3)
    strength = jnp.exp(jax.random.uniform(keys[0], minval=-3.0, maxval=1.0))
    return Models(
        jax.nn.log_softmax(strength * jax.random.normal(keys[1], (3, 3))),
        jax.nn.log_softmax(strength * jax.random.normal(keys[2], (3, 3, 3))),
    )


def token_models() -> Models:
    """Only after token 0 do the sources prefer a second token: 3 to 1 over the two others together, both of them."""
    even, strong = jnp.log(jnp.ones(3) / 3), jnp.log(jnp.array([0.75, 0.125, 0.125]))
    source = jnp.stack([strong, even, even])
    return Models(jnp.stack([even] * 3), jnp.stack([jnp.stack([even] * 3), source, source]))


def memoryless(c: Models, which: slice) -> Models:
    """The models `which` with a second token that does not depend on the first."""
    return c._replace(second=c.second.at[which].set(jnp.broadcast_to(c.second[which, :1], c.second[which].shape)))


def by_response_and_by_token(c: Models, coalition: tuple[float, float]) -> tuple[Array, Array]:
    """Log π of the nine responses, from combining whole responses and from combining next tokens."""
    members = jnp.asarray(coalition)
    whole = (c.first[:, :, None] + c.second).reshape(3, 9)
    first = combine_next_tokens(c.first[0], c.first[1:], members)
    second = combine_next_tokens(c.second[0], c.second[1:], members)
    return combine(whole[0], whole[1:], members), (first[:, None] + second).reshape(9)


def easy_coalitions(c: Models, forgetful: slice = slice(0, 3), *, small: bool = True) -> dict[str, Any]:
    """Coalitions of one source or none, and of two if the models `forgetful` have no memory."""
    one_or_none = {"none": by_response_and_by_token(c, (0.0, 0.0)), "one": by_response_and_by_token(c, (1.0, 0.0))}
    both = {"two, without memory": by_response_and_by_token(memoryless(c, forgetful), (1.0, 1.0))}
    return both | one_or_none if small else both


models = Setting(generate_models, "2 sources; 2 tokens of a vocabulary of 3")


@models.claim(
    "conjectures/token-level",
    "ours, on Tamine et al., section 3: is combining next tokens the coalition's policy of responses?",
    fails="conjecture",
    why="Whole responses are normalised once, next tokens at every position: what two sources agree on after token 0 "
    "makes token 0 itself likelier for the first, not for the second.",
    corrected="Combining the next-token distributions of one source or none gives the policy of combining whole "
    "responses. So does combining several sources if no model's next token depends on the tokens before it.",
    correction=easy_coalitions,
    false="It is enough for this that the reference's next token does not depend on the tokens before it.",
    neighbour=functools.partial(easy_coalitions, forgetful=slice(0, 1), small=False),
    counterexample=token_models,
)
def token_level(c: Models) -> tuple[Array, Array]:
    """Combining the sources' next-token distributions gives the policy of combining whole responses."""
    return by_response_and_by_token(c, (1.0, 1.0))


class Pair(NamedTuple):
    """Two sources of comparisons of two responses.

    Attributes:
        wins: (sources, 2) how often each response won, at least once.
        log_odds: of the reference, log π0(0)/π0(1).
        beta: β.
        rate: of gradient descent.
    """

    wins: Float[Array, "sources 2"]
    log_odds: Float[Array, ""]
    beta: Float[Array, ""]
    rate: Float[Array, ""]


def generate_pair(key: Key[Array, ""]) -> Pair:
    keys = jax.random.split(key, 5)
    wins = jax.random.randint(keys[0], (2, 2), 1, 20)
    agree = jax.random.uniform(keys[4]) < 0.5
    wins = jnp.where(agree, jnp.sort(wins, axis=1), wins).astype(float)
    beta = jnp.exp(jax.random.uniform(keys[1], minval=np.log(0.05), maxval=np.log(10.0)))
    return Pair(wins, jax.random.normal(keys[2]), beta, jnp.exp(jax.random.normal(keys[3]) - 3))


def opposed() -> Pair:
    """One source's 1 to 3 and another's 30 to 10, from even odds, β = 1."""
    return Pair(jnp.array([[1.0, 3.0], [30.0, 10.0]]), jnp.zeros(()), jnp.ones(()), jnp.asarray(0.1))


def log_odds(wins: Array) -> Array:
    """r̂_0 - r̂_1 of the Bradley-Terry fit."""
    return jnp.log(wins[..., 0] / wins[..., 1])


pairs = Setting(generate_pair, "2 sources; 2 responses; 1 to 19 wins")


@pairs.claim(
    "conjectures/union-is-milder",
    "ours, on Tamine et al., section 3: how do sequential DPO and DPO on the union differ?",
    fails="conjecture",
    why="One source's 1 to 3 and another's 30 to 10 cancel in the sum of rewards, log 1/3 + log 3 = 0; the union, 31 "
    "to 13, follows the larger source. Sequential DPO hears a source as loudly whatever its size.",
    corrected="If two sources agree which of two responses is better, the union's log-odds are no larger.",
    correction={"agreeing": True},
    false="If two sources agree which of two responses is better, the union's log-odds are at most half as large.",
    neighbour={"agreeing": True, "factor": 0.5},
    counterexample=opposed,
)
def union_is_milder(c: Pair, agreeing: bool = False, factor: float = 1.0) -> AtMost:
    """DPO on the union ends no farther from the reference than sequential DPO: its log-odds are no larger."""
    union, sequential = jnp.abs(log_odds(jnp.sum(c.wins, axis=0))), jnp.abs(jnp.sum(log_odds(c.wins)))
    better, worse = jnp.all(c.wins[:, 0] >= c.wins[:, 1]), jnp.all(c.wins[:, 0] <= c.wins[:, 1])
    return AtMost(jnp.where(better | worse | (not agreeing), union, -jnp.inf), factor * sequential)


def stopped_short(c: Pair, order: tuple[int, int], momentum: float, steps: int = 5) -> Array:
    """log-odds after a few steps of gradient descent on each source in turn; the momentum is carried over."""
    odds, velocity = c.log_odds, jnp.zeros(())
    for source in order:
        reference = odds
        for _ in range(steps):
            share = jax.nn.sigmoid(c.beta * (odds - reference))
            slope = c.beta * (c.wins[source, 0] * (1 - share) - c.wins[source, 1] * share)
            velocity = momentum * velocity + c.rate * slope
            odds = odds + velocity
    return odds


@pairs.claim(
    "conjectures/order-short-of-convergence",
    "ours, on Tamine et al., section 3: does commutativity hold short of convergence?",
    false="Five steps with momentum that is carried from one source to the next give the same policy in either order.",
    neighbour={"momentum": 0.9},
    proof="the loss of a stage depends on the move from its own reference alone, so each source adds its own move",
)
def order_short_of_convergence(c: Pair, momentum: float = 0.0) -> tuple[Array, Array]:
    """If log π is linear in the parameters, five steps of plain gradient descent on each source commute."""
    first, second = stopped_short(c, (0, 1), momentum), stopped_short(c, (1, 0), momentum)
    scale = 1 + jnp.abs(first - c.log_odds) + jnp.abs(second - c.log_odds)
    return first / scale, second / scale


# What duplication does to semivalues


class Game(NamedTuple):
    """A game of three sources, and the chance of each other player to be there.

    Attributes:
        table: (8,) utilities.
        chance: p of the semivalue E[v(S ∪ i) - v(S)], each other player in S with probability p.
    """

    table: Float[Array, "8"]
    chance: Float[Array, ""]


def generate_game(key: Key[Array, ""]) -> Game:
    keys = jax.random.split(key, 2)
    return Game(jax.random.normal(keys[0], (8,)).at[0].set(0.0), jax.random.uniform(keys[1]))


def both_needed() -> Game:
    """v(S) = 1 where sources 0 and 1 are both in S; p = 1/2, the Banzhaf value."""
    return Game(jnp.array([0, 0, 0, 1, 0, 0, 0, 1.0]), jnp.asarray(0.5))


DOUBLED = np.array([(mask | mask >> 3) & 7 for mask in range(64)])  # the sources that are there, or their copies


def binomial_values(table: Array, chance: Array, players: int) -> Array:
    """(players,) the semivalue of one p: p^|S| (1-p)^(n-1-|S|) for each S without the player."""
    sizes = jnp.arange(players)
    return values.semivalue(table, weights=chance**sizes * (1 - chance) ** (players - 1 - sizes))


def totals(c: Game, chance: Array) -> tuple[Array, Array]:
    """The originals' total in the doubled game, and the sources' total before, under the semivalue of one p."""
    doubled = binomial_values(c.table[DOUBLED], c.chance, 6)[:3]
    return jnp.sum(doubled), jnp.sum(binomial_values(c.table, chance, 3))


def halving_law(c: Game, once: bool = False) -> dict[str, Any]:
    """What holds: an original keeps half its Shapley value, and 1 - p times its semivalue of chance 1 - (1 - p)²."""
    p = c.chance
    left = binomial_values(c.table[DOUBLED], p, 6)[:3]
    before = binomial_values(c.table, p if once else 1 - (1 - p) ** 2, 3)
    shapley = values.shapley(c.table[DOUBLED])[:3], 0.5 * values.shapley(c.table)
    return {"each original": (left, (1 - p) * before), "Shapley": shapley}


doubled = Setting(generate_game, "3 sources and their copies")


@doubled.claim(
    "conjectures/halving",
    "ours, on Zheng et al., Lemma 3.1: which semivalues keep it?",
    fails="conjecture",
    why="Where two sources are both needed, Banzhaf values are 1/2 + 1/2 before and 3/8 + 3/8 after: the partner or "
    "its copy is there with probability 3/4. The density g of a semivalue over p has to satisfy g(1 - √(1-p)) = g(p), "
    "which among continuous ones the uniform density of Shapley alone does.",
    corrected="Shapley values halve. If each other player is there with probability p, an original keeps (1 - p) times "
    "the value that it had with probability 1 - (1-p)².",
    correction=halving_law,
    false="If each other player is there with probability p, an original keeps (1 - p) times its value.",
    neighbour=functools.partial(halving_law, once=True),
    counterexample=both_needed,
)
def halving(c: Game) -> tuple[Array, Array]:
    """Under every semivalue an exact duplicate of every source halves the originals' total."""
    after, before = totals(c, c.chance)
    return after, before / 2
