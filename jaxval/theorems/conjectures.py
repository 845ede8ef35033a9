"""Beyond the papers: questions that they leave open or that reading them raises, with evidence for or against.

A conjecture that fails keeps its counterexample and a narrower version, like a claim. Unlike a claim nobody stated it.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.coalitions import combine, combine_next_tokens
from jaxval.preferences import preference_matrix
from jaxval.social_choice import box_distance, feasible_shares, share_bounds
from jaxval.theorems._old import Claim, Statement, largest

__all__ = ["CLAIMS"]


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


def above_feasible(rankings: np.ndarray, weights: np.ndarray, scale: float = 1.0) -> float:
    """How far scale · u_i is from the largest share of first choices that i has in a profile with this P."""
    matrix = np.asarray(preference_matrix(rankings, weights))
    return float(np.abs(scale * np.asarray(share_bounds(matrix)) - feasible_shares(matrix).largest).max())


def box_gap(rankings: np.ndarray, weights: np.ndarray) -> float:
    """The largest total-variation distance from a point of {w : w_i ≤ u_i} to a feasible one."""
    return float(box_distance(np.asarray(preference_matrix(rankings, weights))).distance)


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


def slack(c: Group, scale: float = 1.0) -> Array:
    """A multiple of u_k/(u_k+1-w_k) less the largest π'(y_k) over the group's reports.

    A report of several rankings is a mixture: u'_k does not change where all rank k first, and Σ u' is concave in it.
    """
    u = jax.vmap(lambda report: bounds_of(reported_matrix(c, report)))(jnp.asarray(REPORTS))
    return scale * u[0, 0] / (u[0, 0] + 1 - c.share) - jnp.max(u[:, 0] / jnp.sum(u, axis=1))


def slack_where(c: Group, same: Array) -> Array:
    return jnp.where(same, jnp.abs(slack(c)), 0.0)


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


def token_gap(c: Models, coalition: tuple[float, float]) -> Array:
    """Largest difference of log π between combining whole responses and combining next tokens."""
    members = jnp.asarray(coalition)
    whole = (c.first[:, :, None] + c.second).reshape(3, 9)
    by_response = combine(whole[0], whole[1:], members)
    first = combine_next_tokens(c.first[0], c.first[1:], members)
    second = combine_next_tokens(c.second[0], c.second[1:], members)
    return largest(by_response - (first[:, None] + second).reshape(9))


def memoryless(c: Models, which: slice) -> Models:
    """The models `which` with a second token that does not depend on the first."""
    return c._replace(second=c.second.at[which].set(jnp.broadcast_to(c.second[which, :1], c.second[which].shape)))


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


def farther_by_union(c: Pair) -> Array:
    """How much farther from the reference DPO on the union is than sequential DPO, in β log-odds."""
    return jnp.abs(log_odds(jnp.sum(c.wins, axis=0))) - jnp.abs(jnp.sum(log_odds(c.wins)))


def where_sources_agree(c: Pair, gap: Array) -> Array:
    return jnp.where(jnp.all(c.wins[:, 0] >= c.wins[:, 1]) | jnp.all(c.wins[:, 0] <= c.wins[:, 1]), gap, -jnp.inf)


def more_than_half(c: Pair) -> Array:
    """How much farther than half as far the union goes."""
    return jnp.abs(log_odds(jnp.sum(c.wins, axis=0))) - 0.5 * jnp.abs(jnp.sum(log_odds(c.wins)))


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


def order_gap(c: Pair, momentum: float) -> Array:
    first, second = stopped_short(c, (0, 1), momentum), stopped_short(c, (1, 0), momentum)
    return jnp.abs(first - second) / (1 + jnp.abs(first - c.log_odds) + jnp.abs(second - c.log_odds))


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


def halving_gap(c: Game) -> Array:
    """How far the originals' total in the doubled game is from half of their total before."""
    doubled = binomial_values(c.table[DOUBLED], c.chance, 6)[:3]
    return jnp.abs(jnp.sum(doubled) - 0.5 * jnp.sum(binomial_values(c.table, c.chance, 3)))


def halving_law(c: Game, factor: str) -> Array:
    """Shapley halves; the p-semivalue of the doubled game is (1 - p) times the (1 - (1-p)²)-semivalue of the game."""
    p = c.chance
    doubled = binomial_values(c.table[DOUBLED], p, 6)[:3]
    once = binomial_values(c.table, 1 - (1 - p) ** 2 if factor == "law" else p, 3)
    shapley = values.shapley(c.table[DOUBLED])[:3] - 0.5 * values.shapley(c.table)
    return jnp.maximum(largest(doubled - (1 - p) * once), largest(shapley))


CLAIMS = (
    Claim(
        "conjectures/largest-share",
        "Kim et al., Theorem 4.4: is the bound attained?",
        Statement(
            "u_i is exactly the largest share of first choices that i has in a profile with this P.",
            lambda c: max(above_feasible(c.four, c.weights), above_feasible(c.five, c.weights)),
            "The largest share is 0.95 u_i.",
            lambda c: above_feasible(c.four, c.weights, 0.95),
        ),
        generate_voters,
        verdict="holds as corrected",
        why=(
            "With five alternatives, half of the voters 10324 and half 20413, u_0 = 1/2. For all, 0 ≻ 3, 0 ≻ 4, 1 ≻ 3 "
            "and 2 ≻ 4. So 4 ≻ 1 implies 0 ≻ 1, and as half hold each it is the same half; likewise 3 ≻ 2 and 0 ≻ 2. "
            "Whoever has 0 first then has 4 ≻ 1 ≻ 3 ≻ 2 ≻ 4, a cycle: nobody can."
        ),
        corrected=Statement(
            "So it is for four alternatives.",
            lambda c: above_feasible(c.four, c.weights),
            "So it is for five.",
            lambda c: above_feasible(c.five, c.weights),
        ),
        counterexample=two_voters,
        tolerance=1e-7,
        most=16,
        compiled=False,
    ),
    Claim(
        "conjectures/box-is-feasible",
        "Kim et al., Theorem 4.4: how large is the gap between W(P) and the box, jointly, and from which M?",
        Statement(
            "Every w in the box {w ∈ Δ : w_i ≤ u_i} is feasible.",
            lambda c: max(box_gap(c.four, c.weights), box_gap(c.six, c.weights)),
            "Every share w_i alone is at most 0.95 u_i.",
            lambda c: above_feasible(c.four, c.weights, 0.95),
        ),
        generate_voters,
        verdict="holds as corrected",
        why=(
            "With four alternatives and half of the voters 0123, half 2130, every u_i that is not 0 can be attained "
            "alone, but a point of the box is 1/2 in total variation from the nearest feasible one. With six, half "
            "243051 and half 534120, 2 is first in one half and 5 in the other in every profile with this P; the box "
            "has 3 and 4 with 1/2 each, at distance 1."
        ),
        corrected=Statement(
            "For three alternatives it is; for four the box is at most 1/2 in total variation from W(P).",
            lambda c: max(box_gap(c.three, c.weights), box_gap(c.four, c.weights) - 0.5),
            "For four it is at most 0.475.",
            lambda c: box_gap(c.four, c.weights) - 0.475,
        ),
        counterexample=two_voters,
        tolerance=1e-7,
        most=16,
        compiled=False,
    ),
    Claim(
        "conjectures/manipulation-bound-attained",
        "Kim et al., Theorem 4.11: how does the bound compare with the true largest gain?",
        Statement(
            "Some report of the group gives it u_k/(u_k + 1 - w_k).",
            slack,
            "Some report gives it 1 % more than that.",
            lambda c: slack(c, 1.01),
        ),
        generate_group,
        verdict="holds as corrected",
        why=(
            "Half want 0, a quarter each rank 1203 and 2103: the bound is 1/2, and the others' u' add up to at least "
            "3/4 whatever the group reports, so that it gets 2/5 at most."
        ),
        corrected=Statement(
            "So it does where all the other voters share a first choice: the group ranks that one second.",
            lambda c: slack_where(c, jnp.all(c.orders[:, 0] == c.orders[0, 0])),
            "So it does where they share a last choice.",
            lambda c: slack_where(c, jnp.all(c.orders[:, 3] == c.orders[0, 3])),
        ),
        counterexample=four_opponents,
    ),
    Claim(
        "conjectures/token-level",
        "Tamine et al., section 3: language model arithmetic combines next tokens; are they the coalition's policy?",
        Statement(
            "Combining the sources' next-token distributions gives the policy of combining whole responses.",
            lambda c: token_gap(c, (1.0, 1.0)),
            "Combining two sources gives the policy of the first alone.",
            lambda c: largest(combine_next_tokens(c.first[0], c.first[1:], jnp.ones(2)) - c.first[1]),
        ),
        generate_models,
        verdict="holds as corrected",
        why=(
            "Whole responses are normalised once, next tokens at every position: what two sources agree on after "
            "token 0 makes token 0 itself likelier for the first, not for the second."
        ),
        corrected=Statement(
            "So it does for one source or none, and where no model's next token depends on the tokens before it.",
            lambda c: jnp.stack(
                [token_gap(c, (0.0, 0.0)), token_gap(c, (1.0, 0.0)), token_gap(memoryless(c, slice(0, 3)), (1.0, 1.0))]
            ).max(),
            "So it does where the reference's next token does not.",
            lambda c: token_gap(memoryless(c, slice(0, 1)), (1.0, 1.0)),
        ),
        counterexample=token_models,
    ),
    Claim(
        "conjectures/union-is-milder",
        "Tamine et al., section 3: how do sequential DPO and DPO on the union differ?",
        Statement(
            "DPO on the union ends no farther from the reference than sequential DPO: no larger log-odds.",
            farther_by_union,
            "It ends at most half as far.",
            more_than_half,
        ),
        generate_pair,
        verdict="holds as corrected",
        why=(
            "One source's 1 to 3 and another's 30 to 10 cancel in the sum of rewards, log 1/3 + log 3 = 0; the union, "
            "31 to 13, follows the larger source. Sequential DPO hears a source as loudly whatever its size."
        ),
        corrected=Statement(
            "So it is for two responses and sources that agree which is better.",
            lambda c: where_sources_agree(c, farther_by_union(c)),
            "Then the union ends at most half as far.",
            lambda c: where_sources_agree(c, more_than_half(c)),
        ),
        counterexample=opposed,
    ),
    Claim(
        "conjectures/order-short-of-convergence",
        "Tamine et al., section 3: does commutativity hold short of convergence?",
        Statement(
            "With log π linear in the parameters and plain gradient descent, five steps on each source give the same "
            "policy in either order: a stage's loss depends on the move from its own reference alone.",
            lambda c: order_gap(c, 0.0),
            "So they do with momentum that is carried from one source to the next.",
            lambda c: order_gap(c, 0.9),
        ),
        generate_pair,
    ),
    Claim(
        "conjectures/halving",
        "Zheng et al., Lemma 3.1: which semivalues keep it?",
        Statement(
            "Under every semivalue an exact duplicate of every source halves the originals' total.",
            halving_gap,
            "Under every semivalue the originals' total stays as it was.",
            lambda c: jnp.abs(
                jnp.sum(binomial_values(c.table[DOUBLED], c.chance, 6)[:3])
                - jnp.sum(binomial_values(c.table, c.chance, 3))
            ),
        ),
        generate_game,
        verdict="holds as corrected",
        why=(
            "Where two sources are both needed, Banzhaf values are 1/2 + 1/2 before and 3/8 + 3/8 after: the partner "
            "or its copy is there with probability 3/4. The density g of a semivalue over p has to satisfy "
            "g(1 - √(1-p)) = g(p), which among continuous ones the uniform density of Shapley alone does."
        ),
        corrected=Statement(
            "Shapley's halves; where each other player is there with probability p, the originals get (1 - p) times "
            "what they had with 1 - (1-p)².",
            lambda c: halving_law(c, "law"),
            "They get (1 - p) times what they had with p.",
            lambda c: halving_law(c, "same"),
        ),
        counterexample=both_needed,
    ),
)
