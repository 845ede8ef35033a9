"""The statements of Tamine, Sakhi and Heymann (2026): valuing preference data by language model arithmetic.

One instance is four sources of comparisons among three responses to one prompt: prompts do not touch each other. All
16 coalitions are trained, and the games of the first two and three sources lie in the game of all four. Rewards and
policies are computed from the definitions written out here; the library's training and arithmetic are held against
them.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxval import values
from jaxval.coalitions import combine, expected_reward
from jaxval.policies import tabular
from jaxval.preferences import bradley_terry_solve
from jaxval.theorems._axioms import ordered_value, subset_weights, unique
from jaxval.theorems.records import AtMost, Setting
from jaxval.training import newton_optimum
from jaxval.types import Comparisons

SOURCES, RESPONSES = 4, 3
COALITIONS = 2**SOURCES
CODES = np.arange(COALITIONS)
MASKS = (CODES[:, None] >> np.arange(SOURCES) & 1).astype(float)
SIZES = MASKS.sum(axis=1).astype(int)
SINGLE = 2 ** np.arange(SOURCES)
REVERSED = (MASKS[:, ::-1] @ SINGLE).astype(int)
PAIRS = np.array(list(itertools.permutations(range(RESPONSES), 2)))
EACH = 100  # comparisons of two responses in a source that agrees with others
POLICY = tabular(1, RESPONSES)


class Instance(NamedTuple):
    """Sources, a reference, rewards, and the policies that DPO makes of them; bit i of a coalition is source i.

    Attributes:
        wins: (sources, responses, responses) numbers of wins; in each source wins lead from every response to all.
        sparse: (responses, responses) numbers of wins of which this need not be true.
        alike: (sources, responses, responses) numbers of wins in 100 comparisons of each pair, from one reward.
        reference: (responses,) log π0.
        other: (responses,) log-probabilities of some other policy.
        rewards: (responses,) r.
        beta: β; for the sources alike it is 1/2 if it is less.
        table: (coalitions,) utilities of any game.
        fits: (sources, responses) r̂ of equation (4), mean zero, by `preferences.bradley_terry_solve`.
        forward: (coalitions, responses) log π of Algorithm 1 on one source after the other.
        backward: (coalitions, responses) log π of Algorithm 1 on the sources in the opposite order, bit 0 for the last.
        unions: (coalitions, responses) log π of DPO on the union of the data sets.
        alike_unions: (coalitions, responses) the same for the sources alike.
    """

    wins: Float[Array, "sources responses responses"]
    sparse: Float[Array, "responses responses"]
    alike: Float[Array, "sources responses responses"]
    reference: Float[Array, "responses"]
    other: Float[Array, "responses"]
    rewards: Float[Array, "responses"]
    beta: Float[Array, ""]
    table: Float[Array, "coalitions"]
    fits: Float[Array, "sources responses"]
    forward: Float[Array, "coalitions responses"]
    backward: Float[Array, "coalitions responses"]
    unions: Float[Array, "coalitions responses"]
    alike_unions: Float[Array, "coalitions responses"]


def generate(key: Key[Array, ""]) -> Instance:
    """Small counts with a cycle of wins through all responses; β from 0.05 to 10; a tenth of references lean hard."""
    first, second = jax.random.split(key)
    normal = jax.random.normal(first, (4 * RESPONSES + COALITIONS,))
    shared, rewards, given, other = normal[: 4 * RESPONSES].reshape(4, RESPONSES)
    u = jax.random.uniform(second, (EACH + 2, SOURCES, RESPONSES, RESPONSES))
    apart = 1 - jnp.eye(RESPONSES)
    cycle = jnp.roll(jnp.eye(RESPONSES), 1, axis=1)
    wins = jnp.maximum(jnp.floor(4 * u[0]) * apart[None], cycle[None])
    sparse = jnp.floor(2 * u[1, 0]) * apart
    reference = jax.nn.log_softmax(jnp.where(u[1, 1, 0, 0] < 0.1, 20.0, 1.0) * given)
    beta = 0.05 * 200 ** u[1, 1, 1, 1]
    chances = jax.nn.sigmoid(shared[:, None] - shared[None, :])
    won = jnp.clip(jnp.sum(u[2:] < chances[None, None], axis=0), 1, EACH - 1).astype(float)
    alike = jnp.triu(won, 1) + jnp.tril(EACH - jnp.swapaxes(won, 1, 2), -1)
    fits = jax.vmap(lambda counts: bradley_terry_solve(counts)[0])(wins)
    policies = trained_coalitions(reference, wins, alike, beta)
    table = normal[-COALITIONS:]
    return Instance(wins, sparse, alike, reference, jax.nn.log_softmax(other), rewards, beta, table, fits, *policies)


def agreeing() -> Instance:
    """Four sources that all say 3 to 1 for response 0 over either other; one comparison, 0 preferred to 1."""
    wins = jnp.array([[[0.0, 3.0, 3.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]] * SOURCES)
    even = jax.nn.log_softmax(jnp.zeros(RESPONSES))
    three, one = jnp.log(jnp.array([3.0, 1.0, 1.0])), jnp.array([1.0, 0.0, 0.0])
    pooled, added = (jax.nn.log_softmax(times[:, None] * three[None]) for times in (np.minimum(SIZES, 1), SIZES))
    fits = jnp.broadcast_to(three - jnp.mean(three), (SOURCES, RESPONSES))
    sparse, table = jnp.zeros((RESPONSES, RESPONSES)).at[0, 1].set(1.0), jnp.zeros(COALITIONS)
    return Instance(wins, sparse, wins, even, even, one, jnp.ones(()), table, fits, added, added, pooled, pooled)


sources = Setting(
    generate,
    "1 prompt, 3 responses; all coalitions of 4 sources, 0 to 3 wins of each response over each in a source; "
    "β from 0.05 to 10 (from 1/2 for sources that agree); references that lean hard among them",
    tolerance=1e-7,
    most=300,
)


def value(policies: Array, rewards: Array) -> Array:
    """Equation (1) for one prompt: Σ_y π(y) r(y), of one policy or of several."""
    return jnp.exp(policies) @ rewards


def likelihood(rewards: Array, wins: Array) -> Array:
    """The sum of equation (4): Σ wins[i, j] log σ(r_i - r_j)."""
    return jnp.sum(wins * jax.nn.log_sigmoid(rewards[:, None] - rewards[None, :]))


def tilted(reference: Array, rewards: Array, beta: Array) -> Array:
    """Equation (5): log π ∝ log π0 + r / β."""
    return jax.nn.log_softmax(reference + rewards / beta)


def trained(reference: Array, wins: Array, beta: Array) -> Array:
    """DPO, the display after (5): argmax of Σ wins[i, j] log σ(β [log π_i/π0_i - log π_j/π0_j])."""
    pairs = Comparisons(np.zeros(len(PAIRS), int), PAIRS[:, 0], PAIRS[:, 1], wins[PAIRS[:, 0], PAIRS[:, 1]])
    params, _ = newton_optimum(POLICY, reference[None], pairs, beta=beta)
    return jax.nn.log_softmax(params[0])


def trained_coalitions(reference: Array, wins: Array, alike: Array, beta: Array) -> Array:
    """(4, coalitions, responses): Algorithm 1 in both orders, DPO on unions, and that of the sources alike.

    The coalitions come one after the other: Algorithm 1 trains the policy of a coalition without its last source.
    """
    in_sequence, unions = jnp.stack([wins, wins[::-1]]), jnp.tensordot(MASKS, jnp.stack([wins, alike]), ((1,), (1,)))
    betas = jnp.stack([beta, beta, beta, jnp.maximum(beta, 0.5)])

    def stage(policies: Array, code: Array) -> tuple[Array, None]:
        last = jnp.sum(code >= SINGLE[1:])
        references = jnp.concatenate([policies[:2, code - 2**last], policies[2:, 0]])
        data = jnp.concatenate([in_sequence[:, last], unions[code]])
        return policies.at[:, code].set(jax.vmap(trained)(references, data, betas)), None

    start = jnp.broadcast_to(reference, (4, COALITIONS, RESPONSES))
    return jax.lax.scan(stage, start, jnp.arange(1, COALITIONS))[0]


def closed(c: Instance) -> Array:
    """Equation (6): log π_S ∝ log π0 + Σ_{ℓ∈S} r̂_ℓ / β."""
    return tilted(c.reference[None], jnp.asarray(MASKS) @ c.fits, c.beta)


def combined(c: Instance) -> Array:
    """What `coalitions.combine` makes of the policies of one source each."""
    return jax.vmap(lambda members: combine(c.reference, c.unions[SINGLE], members))(jnp.asarray(MASKS))


def by_sources(sides: Callable[[int], Any]) -> dict[str, Any]:
    """The sides for the first two, the first three and all sources."""
    return {f"n = {n}": sides(n) for n in range(2, SOURCES + 1)}


def by_size(left: Array, right: Array, relation: Callable[[Array, Array], Any] = lambda *sides: sides) -> Any:
    """The sides for the coalitions of each size."""
    of_size = {f"|S| = {size}": np.flatnonzero(size == SIZES) for size in range(SOURCES + 1)}
    return {size: relation(left[codes], right[codes]) for size, codes in of_size.items()}


@sources.claim(
    "coalition/equation-1",
    "equation (1)",
    false="v(π) is the mean over prompts of the reward of the prompt's likeliest response",
    neighbour={"greedy": True},
)
def equation_1(c: Instance, greedy: bool = False) -> Any:
    """v(π) = E_x E_{y~π(·|x)} r(x, y), here over two prompts; `coalitions.expected_reward` computes it."""
    policies, rewards = jnp.stack([c.reference, c.other]), jnp.stack([c.rewards, c.rewards[::-1]])
    likeliest = jax.nn.one_hot(jnp.argmax(policies, axis=1), RESPONSES)
    chances = likeliest if greedy else jnp.exp(policies)
    return expected_reward(policies, rewards), jnp.sum(chances * rewards) / 2


@sources.claim(
    "coalition/equation-2",
    "equation (2), with (6)",
    fails="root error",
    quote="For any coalition S ⊆ N, let π_S denote the model obtained by applying a fixed alignment procedure (e.g., "
    "DPO) with fixed hyperparameters and a reference model, to the union of the corresponding datasets ⋃_{i∈S} D_i. "
    "The utility of a coalition S is then the value of its corresponding policy: u(S) = v(π_S).",
    why="Section 2 defines the utilities by training on the union of the data sets. Section 3 computes those of "
    "training on one data set after the other, a procedure that it says differs only slightly. On the union, evidence "
    "is pooled; in sequence, rewards are added: if two sources prefer a response 3 to 1, the union still says 3 to 1 "
    "and the sequence 9 to 1 (β = 1, an even reference). The paper asks in section 5 how sequential DPO relates to "
    "DPO; until that is answered, the values it computes are those of another game than that of (2) and (3), for "
    "coalitions of two or more.",
    corrected="If π_S is trained on the data sets of S one after the other, as in Algorithm 1, then u(S) = v(π_S) is "
    "the value of the policy (6) for every coalition S.",
    correction={"policies": "forward"},
    counterexample=agreeing,
)
def equation_2(c: Instance, policies: str = "unions") -> Any:
    """If π_S is trained on the union of the data sets of S, u(S) = v(π_S) is the value of the policy (6).

    That policy is π_S ∝ exp(Σ_{ℓ∈S} r̂_ℓ/β) π0, for every coalition S; u(∅) = v(π0).
    """
    return by_size(value(getattr(c, policies), c.rewards), value(closed(c), c.rewards))


@sources.claim(
    "coalition/union-policy",
    "ours; section 5 asks how sequential DPO relates to DPO",
    proof="if all r̂_ℓ are equal they are also the union's r̂, and KL(union, geometric mean) = 0",
    false="KL(union, geometric mean) is at most 0.001 + 2 % of KL(union, policy of (6)) for sources that differ, too",
    neighbour={"agree": False},
)
def union_policy(c: Instance, agree: bool = True) -> Any:
    """If sources agree, the policy trained on their union is near the geometric mean of their policies, not near (6).

    The geometric mean is Π_{ℓ∈S} π_ℓ^{1/|S|}, normalised. KL(union, geometric mean) is at most 0.001 + 2 % of KL(union,
    policy of (6)), if each source has 100 comparisons of every pair of responses drawn from one reward, and β ≥ 1/2.
    """
    policies = c.alike_unions if agree else c.unions
    steps = jnp.asarray(MASKS) @ (policies[SINGLE] - c.reference[None])

    def divergence(steps: Array) -> Array:
        return jnp.sum(jnp.exp(policies) * (policies - jax.nn.log_softmax(c.reference[None] + steps)), axis=1)

    return by_size(divergence(steps / np.maximum(SIZES, 1)[:, None]), 0.001 + 0.02 * divergence(steps), AtMost)


@sources.claim(
    "coalition/equation-3",
    "equation (3)",
    false="Σ_S 2^{1-n} [v(π_{S∪i}) - v(π_S)] is the mean marginal over all orders of the sources",
    neighbour={"banzhaf": True},
)
def equation_3(c: Instance, banzhaf: bool = False) -> Any:
    """φ_i = Σ_S |S|! (n-|S|-1)!/n! [v(π_{S∪i}) - v(π_S)] is i's mean marginal over all orders, `values.shapley`."""

    def sides(n: int) -> Any:
        table = c.table[: 2**n]
        printed = subset_weights(n, banzhaf=banzhaf) @ table
        mean_marginal = ordered_value((0,) * n) @ table
        return {"mean marginal": (printed, mean_marginal), "values.shapley": (printed, values.shapley(table))}

    return by_sources(sides)


@sources.claim(
    "coalition/shapley-unique",
    "section 2.2",
    most=1,
    compiled=False,
    proof="unanimity games are a basis, and on each of them efficiency, symmetry and dummy leave one value",
    false="the Shapley value is the only value that satisfies efficiency, symmetry and linearity",
    neighbour={"axioms": ("efficiency", "interchange")},
)
def shapley_unique(_: Instance, axioms: tuple[str, ...] = ("efficiency", "interchange", "nullity")) -> Any:
    """The Shapley value is the only value that satisfies efficiency, symmetry, dummy and linearity."""
    return by_sources(lambda n: unique(axioms, subset_weights(n), (0,) * n))


def has_maximum(c: Instance) -> Any:
    """At r̂ of a source whose wins lead everywhere: the gradient, and the curvature in the differences of rewards."""
    curvature = -jax.hessian(likelihood)(c.fits[0], c.wins[0])[1:, 1:]
    return {
        "stationary": (jax.grad(likelihood)(c.fits[0], c.wins[0]), 0.0),
        "unique up to a constant": AtMost(1e-6, jnp.linalg.det(curvature)),
    }


@sources.claim(
    "coalition/equation-4",
    "equation (4)",
    fails="convention",
    quote="This reward is modeled with Bradley-Terry and learned with maximum likelihood estimation by solving r̂_ℓ ∈ "
    "argmax_r {Σ_{i∈D_ℓ} log σ(r(x_i, y_i⁺) - r(x_i, y_i⁻))}.",
    why="The argmax is taken to exist. With one comparison, 0 preferred to 1, the likelihood rises for ever as r_0 - "
    "r_1 grows; so it does whenever some responses never lose to the others and beat one of them.",
    corrected="If wins lead from every response to every other one, the likelihood of (4) has a maximum, which is "
    "unique up to a constant (Ford, 1957).",
    correction=has_maximum,
    counterexample=agreeing,
)
def equation_4(c: Instance) -> Any:
    """The Bradley-Terry likelihood of every data set has a maximum: no responses beat the others without a loss."""
    inside = np.array([[code >> i & 1 for i in range(RESPONSES)] for code in range(1, 2**RESPONSES - 1)], dtype=float)
    won, lost = (jnp.einsum("si,ij,sj->s", inside, wins, 1 - inside) for wins in (c.sparse, c.sparse.T))
    return ((won > 0) & (lost == 0)).astype(float)


@sources.claim(
    "coalition/equation-5",
    "equation (5)",
    proof="E_π r̂ - β KL(π, π0) = β log Σ_y π0(y) exp(r̂(y)/β) - β KL(π, π*)",
    false="π(y|x) ∝ exp(r̂(x, y)/2β) π0(y|x) maximises E_π r̂ - β KL(π, π0)",
    neighbour={"scale": 2.0},
)
def equation_5(c: Instance, scale: float = 1.0) -> Any:
    """π*(y|x) ∝ exp(r̂(x, y)/β) π0(y|x) maximises E_π r̂ - β KL(π, π0)."""

    def objective(logits: Array) -> Array:
        policy = jax.nn.log_softmax(logits)
        return value(policy, c.rewards) - c.beta * value(policy, policy - c.reference)

    optimum = tilted(c.reference, c.rewards, scale * c.beta)
    return {
        "stationary": (jax.grad(objective)(optimum), 0.0),
        "no other policy is better": AtMost(objective(c.other), objective(optimum)),
    }


@sources.claim(
    "coalition/dpo-objective",
    "section 2.3, the display after (5)",
    proof="log π* - log π0 = r/β - log Z, and log Z cancels in differences",
    false="with (5) in the likelihood of (4), r_i - r_j is log π_i/π0_i - log π_j/π0_j",
    neighbour={"factor": 1.0},
)
def dpo_objective(c: Instance, factor: float | None = None) -> Any:
    """With (5) in the likelihood of (4), r_i - r_j is β [log π_i/π0_i - log π_j/π0_j], for every reward r."""
    steps = tilted(c.reference, c.rewards, c.beta) - c.reference
    return likelihood((c.beta if factor is None else factor) * steps, c.wins[0]), likelihood(c.rewards, c.wins[0])


@sources.claim(
    "coalition/dpo-same-optimum",
    "section 2.3",
    false="DPO on D_ℓ gives exp(r̂_ℓ/1.05β) π0, with a β that is larger by 5 %",
    neighbour={"scale": 1.05},
)
def dpo_same_optimum(c: Instance, scale: float = 1.0) -> Any:
    """DPO on D_ℓ gives the optimal policy of KL-regularised reward maximisation: π*_ℓ of (5) with r̂_ℓ of (4)."""
    return c.unions[SINGLE], tilted(c.reference[None], c.fits, scale * c.beta)


@sources.claim(
    "coalition/algorithm-1",
    "Algorithm 1 and equation (6)",
    covers=("coalition/equation-6",),
    proof="by dpo-same-optimum each stage adds r̂_ℓ/β to the logarithm of the policy",
    false="at convergence DPO on the union of the data sets of S gives π_S(y|x) ∝ exp(Σ_{ℓ∈S} r̂_ℓ(x, y)/β) π0(y|x)",
    neighbour={"policies": "unions"},
)
def algorithm_1(c: Instance, policies: str = "forward") -> Any:
    """At convergence sequential DPO gives π_S(y|x) ∝ exp(Σ_{ℓ∈S} r̂_ℓ(x, y)/β) π0(y|x) for every coalition S."""
    return by_size(getattr(c, policies), closed(c))


@sources.claim(
    "coalition/order",
    "section 3, below Algorithm 1",
    false="after each number of stages Algorithm 1 has the same policy in one order of the data sets and in the other",
    neighbour={"codes": 2 * SINGLE - 1, "opposite": 2 * SINGLE - 1},
)
def order(c: Instance, codes: np.ndarray = CODES, opposite: np.ndarray = REVERSED) -> Any:
    """Algorithm 1 converges to the same policy in one order of the data sets of S and in the opposite one."""
    return c.forward[codes], c.backward[opposite]


@sources.claim(
    "coalition/arithmetic",
    "section 3, the display after equation (6)",
    false="the policy (6) is π_S(y|x) ∝ exp(Σ_{ℓ∈S} s_ℓ(x, y)), without the reference",
    neighbour={"make": lambda c: jax.nn.log_softmax(jnp.asarray(MASKS) @ c.unions[SINGLE])},
)
def arithmetic(c: Instance, make: Callable[[Instance], Array] = combined) -> Any:
    """The policy (6) is π_S(y|x) ∝ exp(Σ_{ℓ∈S} s_ℓ(x, y) + (1 - |S|) s_0(x, y)), from separately aligned models.

    This is what `coalitions.combine` computes.
    """
    return by_size(make(c), closed(c))


@sources.claim(
    "coalition/figure-1",
    "Figure 1",
    fails="convention",
    quote="We can equip the collections of datasets, the set of reward models, and the set of policies with binary "
    "operators to give them a group (or semi-group) structure. After doing so, we observe that some training methods, "
    "such as sequential DPO, preserve this structure and therefore induce morphisms between those semi-groups.",
    why="∪ is idempotent and + is not: D ∪ D = D, but the reward of D is added twice. The union has to be that of "
    "multisets, or of collections that share no data set; the product is taken relative to π0, which is its unit.",
    corrected="For collections S and T that share no data set, π_{S∪T} ∝ π_S π_T / π0.",
    correction={"overlap": False},
    counterexample=agreeing,
)
def figure_1(c: Instance, overlap: bool = True) -> Any:
    """Sequential DPO takes unions to products: π_{S∪T} ∝ π_S π_T / π0 for all collections S and T of data sets."""
    first, second = (codes.reshape(-1) for codes in np.meshgrid(CODES, CODES))
    chosen = (first & second == 0) | overlap
    first, second = first[chosen], second[chosen]
    product = jax.nn.log_softmax(c.forward[first] + c.forward[second] - c.reference[None])
    return c.forward[first | second], product


@sources.claim(
    "coalition/equation-7",
    "equation (7), with (2) and (3)",
    root="coalition/equation-2",
    quote="starting from one base model and a collection of models, each fine-tuned on a single dataset, one can "
    "construct at inference time composite models that approximately capture the effect of training on unions of "
    "datasets",
    why="The arithmetic gives the policies of training in sequence, and (2) and (3) define φ by training on unions. "
    "Four sources that all say 3 to 1 (β = 1, an even reference of three responses, reward 1 for the first): φ = (3/5 "
    "- 1/3)/4 each, and φ̂ = (81/83 - 1/3)/4, more than twice as much.",
    corrected="φ̂ of (7), from n trainings, is φ of (3) if every coalition is trained on its data sets one after the "
    "other.",
    correction={"policies": "forward"},
    counterexample=agreeing,
)
def equation_7(c: Instance, policies: str = "unions") -> Any:
    """φ̂ of (7), by arithmetic from n trainings, is φ of (3), by a training on the union of every coalition's data."""
    approximate, exact = value(combined(c), c.rewards), value(getattr(c, policies), c.rewards)
    return by_sources(lambda n: (subset_weights(n) @ approximate[: 2**n], subset_weights(n) @ exact[: 2**n]))
