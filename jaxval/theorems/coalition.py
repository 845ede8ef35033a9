"""The statements of Tamine, Sakhi and Heymann (2026): valuing preference data by language model arithmetic.

One instance is three sources of comparisons among three responses to one prompt: prompts do not touch each other.
Rewards and policies are computed from the definitions written out here; Newton's method is held against them.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.coalitions import combine, expected_reward
from jaxval.policies import tabular
from jaxval.preferences import bradley_terry_solve
from jaxval.preferences.profiles import reachable
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.training import newton_optimum
from jaxval.types import Comparisons

__all__ = ["CLAIMS"]

SOURCES, RESPONSES = 3, 3
MASKS = np.array([[k >> i & 1 for i in range(SOURCES)] for k in range(2**SOURCES)], dtype=float)
PAIRS = np.array(list(itertools.permutations(range(RESPONSES), 2)))
POLICY = tabular(1, RESPONSES)


class Instance(NamedTuple):
    """Sources, a reference and what is asked of them.

    Attributes:
        wins: (sources, responses, responses) numbers of wins, strongly connected.
        sparse: (responses, responses) numbers of wins that need not be.
        reference: (responses,) log π0.
        other: (responses,) log-probabilities of some other policy.
        rewards: (responses,) r.
        beta: β.
        order: (sources,) in which they are trained on.
        table: (2^sources,) utilities of any game.
    """

    wins: Float[Array, "sources responses responses"]
    sparse: Float[Array, "responses responses"]
    reference: Float[Array, "responses"]
    other: Float[Array, "responses"]
    rewards: Float[Array, "responses"]
    beta: Float[Array, ""]
    order: Int[Array, "sources"]
    table: Float[Array, "coalitions"]


def generate(key: Key[Array, ""]) -> Instance:
    """Small counts with a cycle of wins through all responses; β from 0.05 to 10; a tenth of references lean hard."""
    keys = iter(jax.random.split(key, 9))
    apart = 1 - jnp.eye(RESPONSES)
    wins = jax.random.randint(next(keys), (SOURCES, RESPONSES, RESPONSES), 0, 4) * apart[None]
    cycle = jnp.roll(jnp.eye(RESPONSES), 1, axis=1)
    sparse = jax.random.randint(next(keys), (RESPONSES, RESPONSES), 0, 2) * apart
    lean = jnp.where(jax.random.uniform(next(keys)) < 0.1, 20.0, 1.0)
    reference = jax.nn.log_softmax(lean * jax.random.normal(next(keys), (RESPONSES,)))
    return Instance(
        jnp.maximum(wins, cycle[None]).astype(float),
        sparse.astype(float),
        reference,
        jax.nn.log_softmax(jax.random.normal(next(keys), (RESPONSES,))),
        jax.random.normal(next(keys), (RESPONSES,)),
        jnp.exp(jax.random.uniform(next(keys), minval=np.log(0.05), maxval=np.log(10.0))),
        jax.random.permutation(next(keys), SOURCES),
        jax.random.normal(next(keys), (2**SOURCES,)),
    )


# The definitions


def value(log_policy: Array, rewards: Array) -> Array:
    """Equation (1) for one prompt: Σ_y π(y) r(y)."""
    return jnp.sum(jnp.exp(log_policy) * rewards)


def likelihood(rewards: Array, wins: Array) -> Array:
    """The sum of equation (4): Σ wins[i, j] log σ(r_i - r_j)."""
    return jnp.sum(wins * jax.nn.log_sigmoid(rewards[:, None] - rewards[None, :]))


def learned(wins: Array) -> Array:
    """r̂ of equation (4), mean zero."""
    return bradley_terry_solve(wins)[0]


def tilted(reference: Array, rewards: Array, beta: Array) -> Array:
    """Equation (5): log π ∝ log π0 + r / β."""
    return jax.nn.log_softmax(reference + rewards / beta)


def regularised(log_policy: Array, reference: Array, rewards: Array, beta: Array) -> Array:
    """The objective before (5): E_π r - β KL(π, π0)."""
    return value(log_policy, rewards) - beta * jnp.sum(jnp.exp(log_policy) * (log_policy - reference))


def dpo_objective(log_policy: Array, reference: Array, wins: Array, beta: Array) -> Array:
    """The objective after (5): Σ wins[i, j] log σ(β [log π_i/π0_i - log π_j/π0_j])."""
    return likelihood(beta * (log_policy - reference), wins)


def trained(reference: Array, wins: Array, beta: Array) -> Array:
    """Argmax of `dpo_objective`, by Newton's method."""
    pairs = Comparisons(np.zeros(len(PAIRS), int), PAIRS[:, 0], PAIRS[:, 1], wins[PAIRS[:, 0], PAIRS[:, 1]])
    params, _ = newton_optimum(POLICY, reference[None], pairs, beta=beta)
    return jax.nn.log_softmax(params[0])


def sequential(instance: Instance, order: Array) -> Array:
    """Algorithm 1: the policy after each stage."""

    def stage(reference: Array, source: Array) -> tuple[Array, Array]:
        policy = trained(reference, instance.wins[source], instance.beta)
        return policy, policy

    return jax.lax.scan(stage, instance.reference, order)[1]


def closed(instance: Instance, members: Array) -> Array:
    """Equation (6): log π_S ∝ log π0 + Σ_{ℓ∈S} r̂_ℓ / β."""
    rewards = jax.vmap(learned)(instance.wins)
    return tilted(instance.reference, members @ rewards, instance.beta)


def separately(instance: Instance) -> Array:
    """One DPO for each source."""
    return jax.vmap(lambda wins: trained(instance.reference, wins, instance.beta))(instance.wins)


def arithmetic(instance: Instance, members: Array) -> Array:
    """The display after (6): log π_S ∝ Σ_{ℓ∈S} log π_ℓ + (1 - |S|) log π0."""
    return jax.nn.log_softmax(members @ separately(instance) + (1 - jnp.sum(members)) * instance.reference)


def shapley(table: Array) -> Array:
    """Equation (3), sum by sum."""
    masks = MASKS.astype(bool)
    factorial = [1, 1, 2, 6]
    phi = []
    for i in range(SOURCES):
        total = jnp.zeros(())
        for k, mask in enumerate(masks):
            if not mask[i]:
                size = int(mask.sum())
                weight = factorial[size] * factorial[SOURCES - size - 1] / factorial[SOURCES]
                total = total + weight * (table[k | 1 << i] - table[k])
        phi.append(total)
    return jnp.stack(phi)


# The claims' gaps


def mean_over_orders(table: Array) -> Array:
    """Each source's marginal, averaged over all orders of arrival."""
    total = jnp.zeros(SOURCES)
    orders = list(itertools.permutations(range(SOURCES)))
    for order in orders:
        inside = 0
        for i in order:
            total = total.at[i].add((table[inside | 1 << i] - table[inside]) / len(orders))
            inside |= 1 << i
    return total


def banzhaf_instead(instance: Instance) -> Array:
    return largest(values.banzhaf(instance.table) - mean_over_orders(instance.table))


def axioms_leave(rows: tuple[str, ...]) -> float:
    """How many linear values obey the axioms: the dimension of the solutions, plus how far Shapley is from obeying.

    A linear value is a matrix A (n, 2^n), φ = A v. Its entries are constrained on the basis of unanimity games.
    """
    size = 2**SOURCES
    unknown = SOURCES * size
    constraints, wanted = [], []

    def add(entries: dict[tuple[int, int], float], right: float) -> None:
        row = np.zeros(unknown)
        for (i, k), coefficient in entries.items():
            row[i * size + k] = coefficient
        constraints.append(row)
        wanted.append(right)

    for team in range(size):
        game = np.array([float(k & team == team) for k in range(size)])
        members = [i for i in range(SOURCES) if team >> i & 1]
        others = [i for i in range(SOURCES) if not team >> i & 1]
        if "efficiency" in rows:
            entries = {(i, k): game[k] for i in range(SOURCES) for k in range(size) if game[k]}
            add(entries, game[-1] - game[0])
        if "dummy" in rows:
            for i in others:
                add({(i, k): game[k] for k in range(size)}, 0.0)
        if "symmetry" in rows:
            for i, j in itertools.combinations(members, 2):
                add({(i, k): game[k] for k in range(size)} | {(j, k): -game[k] for k in range(size)}, 0.0)
            for i, j in itertools.combinations(others, 2):
                add({(i, k): game[k] for k in range(size)} | {(j, k): -game[k] for k in range(size)}, 0.0)
    matrix, right = np.array(constraints), np.array(wanted)
    solution = np.asarray(jax.vmap(shapley, out_axes=1)(jnp.eye(size)))
    gap = np.abs(matrix @ solution.reshape(-1) - right).max()
    return float(unknown - np.linalg.matrix_rank(matrix) + gap)


def likelihood_has_no_maximum(instance: Instance) -> Array:
    """1 where some comparison is never answered by a chain of wins back: then the likelihood has no maximum (Ford)."""
    back = reachable(instance.sparse > 0).T
    return jnp.any((instance.sparse > 0) & ~back).astype(float)


def stationary(instance: Instance) -> Array:
    """The gradient of the likelihood at r̂."""
    return largest(jax.grad(likelihood)(learned(instance.wins[0]), instance.wins[0]))


def stationary_sparse(instance: Instance) -> Array:
    """The same where only some wins are there."""
    return largest(jax.grad(likelihood)(learned(instance.sparse), instance.sparse))


def better_than_tilted(instance: Instance) -> Array:
    """By how much another policy beats (5), and how far (5) is from stationary in its logits."""
    optimum = tilted(instance.reference, instance.rewards, instance.beta)

    def objective(logits: Array) -> Array:
        return regularised(jax.nn.log_softmax(logits), instance.reference, instance.rewards, instance.beta)

    return jnp.maximum(objective(instance.other) - objective(optimum), largest(jax.grad(objective)(optimum)))


def better_than_half(instance: Instance) -> Array:
    half = tilted(instance.reference, instance.rewards / 2, instance.beta)
    return regularised(
        tilted(instance.reference, instance.rewards, instance.beta),
        instance.reference, instance.rewards, instance.beta,
    ) - regularised(half, instance.reference, instance.rewards, instance.beta)  # fmt: skip


def plugged_in(instance: Instance) -> Array:
    policy = tilted(instance.reference, instance.rewards, instance.beta)
    found = dpo_objective(policy, instance.reference, instance.wins[0], instance.beta)
    return jnp.abs(found - likelihood(instance.rewards, instance.wins[0])) / (1 + jnp.abs(found))


def plugged_in_without_beta(instance: Instance) -> Array:
    policy = tilted(instance.reference, instance.rewards, instance.beta)
    found = dpo_objective(policy, instance.reference, instance.wins[0], jnp.ones(()))
    return jnp.abs(found - likelihood(instance.rewards, instance.wins[0])) / (1 + jnp.abs(found))


def same_optimum(instance: Instance, *, scale: float = 1.0) -> Array:
    direct = trained(instance.reference, instance.wins[0], instance.beta)
    return largest(direct - tilted(instance.reference, learned(instance.wins[0]), scale * instance.beta))


def union(instance: Instance) -> Array:
    """DPO on the union of all comparisons."""
    return trained(instance.reference, jnp.sum(instance.wins, axis=0), instance.beta)


def retrained_values(instance: Instance, retrain: str) -> Array:
    """Equation (3) with the utility of every coalition's own training."""

    def of(members: Array) -> Array:
        if retrain == "union":
            policy = trained(instance.reference, jnp.einsum("s,sij->ij", members, instance.wins), instance.beta)
        else:
            wins = members[:, None, None] * instance.wins
            policy, _ = jax.lax.scan(lambda p, w: (trained(p, w, instance.beta), None), instance.reference, wins)
        return value(policy, instance.rewards)

    return shapley(jax.vmap(of)(jnp.asarray(MASKS)))


def arithmetic_values(instance: Instance) -> Array:
    """Equation (7)."""
    policies = separately(instance)

    def of(members: Array) -> Array:
        policy = combine(instance.reference, policies, members)
        return expected_reward(policy[None], instance.rewards[None])

    return shapley(jax.vmap(of)(jnp.asarray(MASKS)))


def product(instance: Instance, left: Array, right: Array, both: Array) -> Array:
    """How far π_{S∪T} is from π_S π_T / π0, normalised: * of Figure 1 on policies that start from the same π0."""
    together = closed(instance, left) + closed(instance, right) - instance.reference
    return largest(jax.nn.log_softmax(together) - closed(instance, both))


def overlapping(instance: Instance) -> Array:
    first, second = jnp.array([1.0, 1.0, 0.0]), jnp.array([0.0, 1.0, 1.0])
    return product(instance, first, second, jnp.maximum(first, second))


def disjoint(instance: Instance) -> Array:
    first, second = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 1.0])
    return product(instance, first, second, first + second)


ALL = np.ones(SOURCES)


def one_comparison() -> Instance:
    """0 was preferred to 1 once; elsewhere three sources that agree."""
    even = jax.nn.log_softmax(jnp.zeros(RESPONSES))
    return Instance(
        wins=jnp.array([[[0.0, 3.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]] * SOURCES),
        sparse=jnp.zeros((RESPONSES, RESPONSES)).at[0, 1].set(1.0),
        reference=even, other=even, rewards=jnp.array([1.0, 0.0, 0.0]), beta=jnp.ones(()),
        order=jnp.arange(SOURCES), table=jnp.zeros(2**SOURCES),
    )  # fmt: skip


AXIOMS = ("efficiency", "symmetry", "dummy")

CLAIMS = (
    Claim(
        "coalition/equation-1",
        "equation (1)",
        Statement(
            "v(π) = E_x E_{y~π} r(x, y) is the mean of the values of its parts where π is a mixture.",
            lambda c: jnp.abs(
                value(jnp.log(0.5 * jnp.exp(c.reference) + 0.5 * jnp.exp(c.other)), c.rewards)
                - 0.5 * (value(c.reference, c.rewards) + value(c.other, c.rewards))
            ),
            "The same of the normalised geometric mean.",
            lambda c: jnp.abs(
                value(jax.nn.log_softmax(0.5 * c.reference + 0.5 * c.other), c.rewards)
                - 0.5 * (value(c.reference, c.rewards) + value(c.other, c.rewards))
            ),
        ),
        generate,
    ),
    Claim(
        "coalition/equation-2",
        "equation (2)",
        Statement(
            "u(S) = v(π_S); with S empty nothing is trained, and u(∅) = v(π0).",
            lambda c: jnp.abs(value(arithmetic(c, jnp.zeros(SOURCES)), c.rewards) - value(c.reference, c.rewards)),
            "u(∅) = 0.",
            lambda c: jnp.abs(value(arithmetic(c, jnp.zeros(SOURCES)), c.rewards)),
        ),
        generate,
    ),
    Claim(
        "coalition/equation-3",
        "equation (3)",
        Statement(
            "φ_i = Σ_S |S|! (n-|S|-1)!/n! [v(π_{S∪i}) - v(π_S)] is the mean marginal over all orders.",
            lambda c: largest(shapley(c.table) - mean_over_orders(c.table)),
            "The same of the Banzhaf value.",
            banzhaf_instead,
        ),
        generate,
    ),
    Claim(
        "coalition/shapley-unique",
        "section 2.2",
        Statement(
            "The Shapley value is the unique value that satisfies efficiency, symmetry, dummy and linearity.",
            lambda _: axioms_leave(AXIOMS),
            "Without dummy it is still the only one.",
            lambda _: axioms_leave(("efficiency", "symmetry")),
        ),
        generate,
        most=1,
        compiled=False,
    ),
    Claim(
        "coalition/equation-4",
        "equation (4)",
        Statement(
            "The Bradley-Terry likelihood of a data set has a maximum, r̂ ∈ argmax_r Σ log σ(r(x, y⁺) - r(x, y⁻)).",
            likelihood_has_no_maximum,
            "Its maximum is where the rewards are all equal.",
            lambda c: largest(jax.grad(likelihood)(jnp.zeros(RESPONSES), c.wins[0])),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "With one comparison, 0 preferred to 1, the likelihood rises for ever as r_0 - r_1 grows: argmax is empty. "
            "So it is wherever no chain of wins leads back from a loser to its winner (Ford, 1957)."
        ),
        corrected=Statement(
            "Where wins lead from every response to every other, it has a maximum, unique up to a constant.",
            stationary,
            "Whatever the wins, it has one.",
            stationary_sparse,
        ),
        counterexample=one_comparison,
        tolerance=1e-8,
    ),
    Claim(
        "coalition/equation-5",
        "equation (5)",
        Statement(
            "π*(y|x) ∝ exp(r̂(x, y)/β) π0(y|x) maximises E_π r̂ - β KL(π, π0).",
            better_than_tilted,
            "π ∝ exp(r̂/2β) π0 does.",
            better_than_half,
        ),
        generate,
    ),
    Claim(
        "coalition/dpo-objective",
        "section 2.3, the display after (5)",
        Statement(
            "Plugging (5) into the likelihood of (4) gives DPO's objective in π, the same number for every reward.",
            plugged_in,
            "The same with 1 in place of β.",
            plugged_in_without_beta,
        ),
        generate,
    ),
    Claim(
        "coalition/dpo-same-optimum",
        "section 2.3",
        Statement(
            "DPO targets the optimal policy of KL-regularised reward maximisation, π*_ℓ of (5) with r̂_ℓ of (4).",
            same_optimum,
            "The same with β larger by 5 %.",
            lambda c: same_optimum(c, scale=1.05),
        ),
        generate,
        tolerance=1e-7,
    ),
    Claim(
        "coalition/algorithm-1",
        "Algorithm 1 and equation (6)",
        Statement(
            "At convergence sequential DPO gives π_S(y|x) ∝ exp(Σ_{ℓ∈S} r̂_ℓ(x, y)/β) π0(y|x).",
            lambda c: largest(sequential(c, c.order)[-1] - closed(c, jnp.asarray(ALL))),
            "DPO on the union of the data sets does.",
            lambda c: largest(union(c) - closed(c, jnp.asarray(ALL))),
        ),
        generate,
        tolerance=1e-7,
        covers=("coalition/equation-6",),
    ),
    Claim(
        "coalition/order",
        "section 3, below Algorithm 1",
        Statement(
            "Algorithm 1 converges to the same policy whatever the order of the data sets.",
            lambda c: largest(sequential(c, c.order)[-1] - sequential(c, c.order[::-1])[-1]),
            "So does its first stage.",
            lambda c: largest(sequential(c, c.order)[0] - sequential(c, c.order[::-1])[0]),
        ),
        generate,
        tolerance=1e-7,
    ),
    Claim(
        "coalition/one-source",
        "section 3, below equation (6)",
        Statement(
            "Sequential DPO recovers classical DPO when |S| = 1.",
            lambda c: largest(sequential(c, c.order[:1])[-1] - trained(c.reference, c.wins[c.order[0]], c.beta)),
            "It recovers classical DPO on the union when |S| = 2.",
            lambda c: largest(
                sequential(c, c.order[:2])[-1] - trained(c.reference, c.wins[c.order[0]] + c.wins[c.order[1]], c.beta)
            ),
        ),
        generate,
        tolerance=1e-7,
    ),
    Claim(
        "coalition/arithmetic",
        "section 3, the display after equation (6)",
        Statement(
            "π_S(y|x) ∝ exp(Σ_{ℓ∈S} s_ℓ(x, y) + (1 - |S|) s_0(x, y)), from separately aligned models alone.",
            lambda c: largest(arithmetic(c, jnp.asarray(ALL)) - closed(c, jnp.asarray(ALL))),
            "π_S ∝ exp(Σ_{ℓ∈S} s_ℓ), without the reference.",
            lambda c: largest(jax.nn.log_softmax(jnp.sum(separately(c), axis=0)) - closed(c, jnp.asarray(ALL))),
        ),
        generate,
        tolerance=1e-7,
    ),
    Claim(
        "coalition/figure-1",
        "Figure 1",
        Statement(
            "Sequential DPO preserves structure: π of the union of two collections is the product of their policies.",
            overlapping,
            "It is their mean in log space.",
            lambda c: largest(
                jax.nn.log_softmax(0.5 * (closed(c, jnp.array([1.0, 0, 0])) + closed(c, jnp.array([0, 1.0, 1.0]))))
                - closed(c, jnp.asarray(ALL))
            ),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "∪ is idempotent and + is not: for a collection and itself, D ∪ D = D, but the rewards are added twice. "
            "It is a homomorphism from multisets, or for collections that share no data set; the product is taken "
            "relative to π0, which is its unit."
        ),
        corrected=Statement(
            "For collections that share no data set, π_{S∪T} ∝ π_S π_T / π0.",
            disjoint,
            "For collections that share one, too.",
            overlapping,
        ),
        counterexample=one_comparison,
        tolerance=1e-7,
    ),
    Claim(
        "coalition/equation-7",
        "equation (7)",
        Statement(
            "φ̂, with the policies of arithmetic from n trainings, equals φ from sequential training of all coalitions.",
            lambda c: largest(arithmetic_values(c) - retrained_values(c, "sequential")),
            "It equals φ from training on the unions.",
            lambda c: largest(arithmetic_values(c) - retrained_values(c, "union")),
        ),
        generate,
        tolerance=1e-7,
        most=2_500,
    ),
)
