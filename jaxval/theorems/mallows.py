"""The statements about MallowsPO (Chen et al., 2025): links, their limits, special cases and the dispersion index.

Only the paper's abstract was at hand; the formulas are collected from public code, surveys and derivations. Rankings
are enumerated: P(μ) ∝ φ^{d(μ, μ0)}, d Kendall's number of inversions or Spearman's sum of squared differences of ranks.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxval.alignment import dispersion_weight, dpo, entropy_index, mallows_phi, mallows_theta
from jaxval.theorems._old import Claim, Statement

__all__ = ["CLAIMS"]

ITEMS = (2, 3, 4, 5)
TOKENS, VOCABULARY = 4, 6


class Instance(NamedTuple):
    """A dispersion, one pair's log-probabilities, and next-token distributions of its responses.

    Attributes:
        dispersion: φ in (0, 1).
        gap: s > 0.
        beta: β.
        pair: log π(y⁺), log π(y⁻), log π0(y⁺), log π0(y⁻).
        tokens: (2, tokens, vocabulary) log-probabilities.
    """

    dispersion: Float[Array, ""]
    gap: Float[Array, ""]
    beta: Float[Array, ""]
    pair: Float[Array, "4"]
    tokens: Float[Array, "2 tokens vocabulary"]


def generate(key: Key[Array, ""]) -> Instance:
    """φ uniform, or near one of its ends; s up to 8, or small."""
    keys = jax.random.split(key, 7)
    spread = jax.random.uniform(keys[0], minval=0.02, maxval=0.98)
    near_one = 1 - 10.0 ** jax.random.uniform(keys[1], minval=-4.0, maxval=-1.0)
    small = 10.0 ** jax.random.uniform(keys[2], minval=-4.0, maxval=0.0)
    return Instance(
        jnp.where(jax.random.uniform(keys[3]) < 0.2, near_one, spread),
        jnp.where(jax.random.uniform(keys[4]) < 0.2, small, 8 * jax.random.uniform(keys[2])),
        jnp.exp(jax.random.normal(keys[5])),
        -5 * jax.random.uniform(keys[6], (4,)),
        jax.nn.log_softmax(3 * jax.random.normal(keys[1], (2, TOKENS, VOCABULARY))),
    )


def marginals(dispersion: Array, items: int, distance: str) -> Array:
    """(items - 1,): P(the better of two comes first) by the gap of their ranks, for the first pair of each gap."""
    rankings = np.array(
        list(itertools.permutations(range(items)))
    )  # rankings[k, i]: the rank of item i; centre 0, 1, ...
    if distance == "kendall":
        d = sum((rankings[:, i] > rankings[:, j]).astype(float) for i, j in itertools.combinations(range(items), 2))
    else:
        d = ((rankings - np.arange(items)) ** 2).sum(axis=1).astype(float)
    chances = jax.nn.softmax(jnp.asarray(d) * jnp.log(dispersion))
    return jnp.stack([jnp.sum(jnp.where(rankings[:, 0] < rankings[:, gap], chances, 0)) for gap in range(1, items)])


def phi_link(gap: Array, dispersion: Array) -> Array:
    """g(s) = (s+1)/(1-φ^{s+1}) - s/(1-φ^s) for s > 0; the link of `mallows_phi` keeps its digits near φ = 1."""
    return (gap + 1) / (1 - dispersion ** (gap + 1)) - gap / (1 - dispersion**gap)


def limit_link(u: Array) -> Array:
    """g(u) = (1 - e^{-u} - u e^{-u}) / (1 - e^{-u})², u > 0."""
    return (-jnp.expm1(-u) - u * jnp.exp(-u)) / jnp.expm1(-u) ** 2


def worst_marginal(instance: Instance, distance: str, link: str, items: tuple[int, ...] = ITEMS) -> Array:
    """How far the link is from the enumerated marginals."""
    gaps = []
    for n in items:
        s = jnp.arange(1, n, dtype=float)
        if link == "theta":
            g = jax.nn.sigmoid(-2 * jnp.log(instance.dispersion) * s)
        elif link == "phi":
            g = jnp.exp(-mallows_phi.record.link(s, dispersion=jnp.full(n - 1, instance.dispersion)))
        else:
            g = limit_link(-jnp.log(instance.dispersion) * s)
        gaps.append(jnp.max(jnp.abs(g - marginals(instance.dispersion, n, distance))))
    return jnp.max(jnp.stack(gaps))


def limit_error(instance: Instance, order: float) -> Array:
    """|g_φ(u / a) - g(u)| less `order` · a, where a = -log φ goes to 0 and u stays: at a = 0.1, 0.01, 0.001."""
    u = instance.gap + 0.05
    a = jnp.array([0.1, 0.01, 0.001])
    gaps = jnp.abs(phi_link(u / a, jnp.exp(-a)) - limit_link(u))
    return jnp.max(gaps - order * a)


def theta_is_dpo(instance: Instance, factor: float) -> Array:
    """How far the θ loss with a constant φ is from DPO with β' = factor · β log φ."""
    theta = mallows_theta(*instance.pair, beta=instance.beta, dispersion=instance.dispersion)
    return jnp.abs(theta - dpo(*instance.pair, beta=factor * instance.beta * jnp.log(instance.dispersion)))


def jump(instance: Instance, end: str) -> Array:
    """g(0+) against its formula, from s = 1e-7."""
    a = -jnp.log(instance.dispersion)
    found = jnp.exp(-mallows_phi.record.link(jnp.asarray(1e-7), dispersion=instance.dispersion))
    wanted = 1 / (1 - instance.dispersion) - 1 / a if end == "formula" else 0.5
    return jnp.abs(found - wanted)


def index(instance: Instance) -> Array:
    """Ĥ of the pair, written out."""
    entropies = -jnp.sum(jnp.exp(instance.tokens) * instance.tokens, axis=-1)
    return jnp.sum(entropies) / (2 * TOKENS * np.log(VOCABULARY))


def index_gap(instance: Instance, scale: float) -> Array:
    """The weight -c log Ĥ against ours, and how far Ĥ is outside [0, 1]."""
    entropies = -jnp.sum(jnp.exp(instance.tokens) * instance.tokens, axis=-1)
    ones = jnp.ones(TOKENS)
    found = entropy_index(entropies[0], ones, entropies[1], ones, vocabulary=VOCABULARY)
    weight = jnp.abs(dispersion_weight(found) + scale * jnp.log(index(instance)))
    return jnp.maximum(weight, jnp.maximum(index(instance) - 1, -index(instance)))


def at_three_quarters() -> Instance:
    """φ = 3/4."""
    tokens = jnp.full((2, TOKENS, VOCABULARY), -jnp.log(VOCABULARY))
    return Instance(jnp.asarray(0.75), jnp.ones(()), jnp.ones(()), -jnp.arange(4.0), tokens)


class Experiment(NamedTuple):
    """Many data sets of the same prompts, whose voters share a reward that is linear in features.

    Attributes:
        differences: (prompts, pairs, features) of features, response 0 minus response 1.
        reward: (features,) the true weights.
        sharpness: (prompts,) -2 log φ(x): half of the prompts have eight times that of the others.
        labels: (data sets, prompts, pairs) 1 where response 0 won, -1 where it lost.
    """

    differences: Float[Array, "prompts pairs features"]
    reward: Float[Array, "features"]
    sharpness: Float[Array, "prompts"]
    labels: Float[Array, "datasets prompts pairs"]


def generate_experiment(key: Key[Array, ""]) -> Experiment:
    """16 prompts of 16 pairs, two features, 200 data sets; -2 log φ from 0.1 to 3.2."""
    keys = jax.random.split(key, 4)
    differences = jax.random.normal(keys[0], (16, 16, 2))
    reward = jax.random.normal(keys[1], (2,))
    reward = 2 * reward / jnp.linalg.norm(reward)
    low = jnp.exp(jax.random.uniform(keys[2], minval=np.log(0.1), maxval=np.log(0.4)))
    sharpness = jnp.where(jnp.arange(16) < 8, low, 8 * low)
    chances = jax.nn.sigmoid(sharpness[:, None] * (differences @ reward))
    labels = jnp.sign(chances[None] - jax.random.uniform(keys[3], (200, 16, 16)))
    return Experiment(differences, reward, sharpness, labels)


def mean_misdirection(c: Experiment, sharpness: Array) -> Array:
    """1 - cos of the angle between the true weights and those learned with -log σ(w(x) s), mean over data sets."""

    def learn(signed: Array) -> Array:
        def step(weights: Array, _: None) -> tuple[Array, None]:
            losing = jax.nn.sigmoid(-signed @ weights)
            information = (signed * (losing * (1 - losing))[:, None]).T @ signed + 1e-9 * jnp.eye(2)
            move = jnp.linalg.solve(information, losing @ signed)
            return weights + move / jnp.maximum(1, jnp.linalg.norm(move)), None

        return jax.lax.scan(step, jnp.zeros(2), None, length=12)[0]

    def miss(labels: Array) -> Array:
        weights = learn((labels[..., None] * (sharpness[:, None, None] * c.differences)).reshape(-1, 2))
        return 1 - weights @ c.reward / (jnp.linalg.norm(weights) * jnp.linalg.norm(c.reward))

    return jnp.mean(jax.vmap(miss)(c.labels))


CLAIMS = (
    Claim(
        "mallows/theta-link",
        "Mallows-θ: d is Spearman's",
        Statement(
            "P(the better comes first) = σ(-2 log φ · s), s the gap of the ranks, in the enumerated Spearman model.",
            lambda c: worst_marginal(c, "spearman", "theta"),
            "It is σ(-log φ · s).",
            lambda c: jnp.max(jnp.abs(jax.nn.sigmoid(-jnp.log(c.dispersion)) - marginals(c.dispersion, 2, "spearman"))),
        ),
        generate,
        verdict="holds as corrected",
        why=(
            "With three items the third can stand between, above or below: at φ = 3/4 the first two are in order with "
            "probability 0.674, the link says 0.640. It is the pairwise form of Mallows-Bradley-Terry, another model."
        ),
        corrected=Statement(
            "So it is for two items.",
            lambda c: worst_marginal(c, "spearman", "theta", (2,)),
            "So it is for three.",
            lambda c: worst_marginal(c, "spearman", "theta", (3,)),
        ),
        counterexample=at_three_quarters,
        covers=("mallows/variant-theta",),
    ),
    Claim(
        "mallows/phi-link",
        "Mallows-φ: d is Kendall's",
        Statement(
            "P(the better comes first) = (s+1)/(1-φ^{s+1}) - s/(1-φ^s) at gap s, whatever the number of items.",
            lambda c: worst_marginal(c, "kendall", "phi"),
            "It is the continuous limit's number.",
            lambda c: worst_marginal(c, "kendall", "limit"),
        ),
        generate,
        covers=("mallows/variant-phi",),
    ),
    Claim(
        "mallows/phi-limit",
        "Mallows-φ, φ → 1 with u = -log φ · s fixed",
        Statement(
            "The link tends to g(u) = (1 - e^{-u} - u e^{-u}) / (1 - e^{-u})²; the error is at most -log φ.",
            lambda c: limit_error(c, 1.0),
            "The error is at most a hundredth of -log φ.",
            lambda c: limit_error(c, 0.01),
        ),
        generate,
        covers=("mallows/variant-phi-continuous-limit",),
    ),
    Claim(
        "mallows/phi-jump",
        "Mallows-φ at s = 0",
        Statement(
            "The link jumps at 0, to g(0+) = 1/(1-φ) - 1/a with a = -log φ.",
            lambda c: jump(c, "formula"),
            "It is continuous, g(0+) = 1/2.",
            lambda c: jump(c, "half"),
        ),
        generate,
        tolerance=1e-6,
    ),
    Claim(
        "mallows/dpo-special-case",
        "abstract: existing DPO is a special case of the dispersion index",
        Statement(
            "With the θ link and a constant φ, MallowsPO is DPO with β' = -2β log φ; φ = e^{-1/2} is DPO itself.",
            lambda c: theta_is_dpo(c, -2.0),
            "It is DPO with β' = -1.9β log φ.",
            lambda c: theta_is_dpo(c, -1.9),
        ),
        generate,
    ),
    Claim(
        "mallows/dispersion-index",
        "dispersion index from the reference's next-token entropies",
        Statement(
            "Ĥ = 1/2 Σ_y Σ_t H_t / (T log V) lies in [0, 1], and the weight is -c log Ĥ with c = 0.29.",
            lambda c: index_gap(c, 0.29),
            "The weight is -0.3 log Ĥ.",
            lambda c: index_gap(c, 0.3),
        ),
        generate,
    ),
    Claim(
        "mallows/dispersion-beats-dpo",
        "abstract: how to use the dispersion index to enhance DPO",
        Statement(
            "Where prompts differ in dispersion by a factor of 8 in -log φ and share a reward, weighting pairs by "
            "-2 log φ(x) has a smaller mean error of its direction than DPO, on equal data.",
            lambda c: mean_misdirection(c, c.sharpness) - mean_misdirection(c, jnp.ones(16)),
            "So has weighting with the prompts' dispersions exchanged.",
            lambda c: mean_misdirection(c, c.sharpness[::-1]) - mean_misdirection(c, jnp.ones(16)),
        ),
        generate_experiment,
        tolerance=0.0,
        most=40,
    ),
)
