"""The statements about MallowsPO (Chen et al., 2025): links, their limits, special cases and the dispersion index.

Only the paper's abstract was at hand; the formulas are collected from public code, surveys and derivations. Rankings
are enumerated: P(μ) ∝ φ^{d(μ, μ0)}, d Kendall's number of inversions or Spearman's sum of squared differences of ranks.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval.alignment import dispersion_weight, entropy_index
from jaxval.alignment.mallows import mallows_phi, mallows_theta
from jaxval.alignment.margin_losses import dpo
from jaxval.theorems.records import AtMost, Setting

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
    first, second = jax.random.split(key)
    u, normal = jax.random.uniform(first, (9,)), jax.random.normal(second, (1 + 2 * TOKENS * VOCABULARY,))
    return Instance(
        jnp.where(u[0] < 0.2, 1 - 10 ** (-1 - 3 * u[1]), 0.02 + 0.96 * u[2]),
        jnp.where(u[3] < 0.2, 10 ** (-4 * u[4]), 8 * u[4]),
        jnp.exp(normal[0]),
        -5 * u[5:],
        jax.nn.log_softmax(3 * normal[1:].reshape(2, TOKENS, VOCABULARY)),
    )


pairs = Setting(generate, "φ from 0.02 to 0.9999, gaps from 0.0001 to 8; 2 to 5 ranked items; 4 tokens of 6")


def by_items(sides: Callable[[np.ndarray, np.ndarray], Any]) -> dict[str, Any]:
    """The sides for 2 to 5 items, from the items' ranks in each ranking and all pairs i < j; the centre is 0, 1, ..."""
    sizes = {f"{n} items": n for n in range(2, 6)}
    return {
        name: sides(np.array(list(itertools.permutations(range(n)))), np.stack(np.triu_indices(n, 1)))
        for name, n in sizes.items()
    }


def phi_link(gap: Array, dispersion: Array) -> Array:
    """g(s) = (s+1)/(1-φ^{s+1}) - s/(1-φ^s) for s > 0; the link of `mallows_phi` keeps its digits near φ = 1."""
    return (gap + 1) / (1 - dispersion ** (gap + 1)) - gap / (1 - dispersion**gap)


def library_link(gap: Array, dispersion: Array) -> Array:
    """The same by `alignment.mallows_phi`."""
    return jnp.exp(-mallows_phi.record.link(gap, dispersion=jnp.broadcast_to(dispersion, gap.shape)))


def limit_link(gap: Array, dispersion: Array) -> Array:
    """g(u) = (1 - e^{-u} - u e^{-u}) / (1 - e^{-u})², u = -log φ · s > 0."""
    u = -jnp.log(dispersion) * gap
    return (-jnp.expm1(-u) - u * jnp.exp(-u)) / jnp.expm1(-u) ** 2


@pairs.claim(
    "mallows/theta-link",
    "Mallows-θ: d is Spearman's",
    covers=("mallows/variant-theta",),
    proof="Σ (μ(i) - μ0(i))² is a constant less 2 Σ μ(i) μ0(i), and so is the sum of the gaps over the pairs in order",
    false="if each pair is put in order with probability σ(-log φ · s), rankings have probability P(μ) ∝ φ^{d(μ, μ0)}",
    neighbour={"factor": -1.0},
)
def theta_link(c: Instance, factor: float = -2.0) -> Any:
    """The link σ(-2 log φ · s) is the paired comparison of Spearman's model, in its Mallows-Bradley-Terry form.

    If each pair of items is put in order with probability σ(-2 log φ · s), s the gap of their ranks in μ0, and the
    outcomes happen to be a ranking μ, it has probability P(μ) ∝ φ^{d(μ, μ0)}.
    """

    def sides(ranks: np.ndarray, pair: np.ndarray) -> Any:
        forward = np.where(ranks[:, pair[0]] < ranks[:, pair[1]], 1.0, -1.0) * (pair[1] - pair[0])[None]
        distance = ((ranks - np.arange(ranks.shape[1])) ** 2).sum(axis=1)
        drawn = jnp.sum(jax.nn.log_sigmoid(factor * jnp.log(c.dispersion) * forward), axis=1)
        return jax.nn.softmax(drawn), jax.nn.softmax(jnp.log(c.dispersion) * distance)

    return by_items(sides)


@pairs.claim(
    "mallows/phi-link",
    "Mallows-φ: d is Kendall's",
    covers=("mallows/variant-phi",),
    false="P(the better of two items comes first) is that of the limit φ → 1, g(u) with u = -log φ · s, for every φ",
    neighbour={"link": limit_link},
)
def phi_comparison(c: Instance, link: Callable[[Array, Array], Array] = library_link) -> Any:
    """In Kendall's model P(the better of two items comes first) = (s+1)/(1-φ^{s+1}) - s/(1-φ^s) at gap s of the ranks.

    It does not depend on the number of items, and `alignment.mallows_phi` has this link.
    """

    def sides(ranks: np.ndarray, pair: np.ndarray) -> Any:
        ordered = (ranks[:, pair[0]] < ranks[:, pair[1]]).astype(float)
        chances = jax.nn.softmax(jnp.log(c.dispersion) * (1 - ordered).sum(axis=1))
        return chances @ ordered, link(jnp.asarray(pair[1] - pair[0], float), c.dispersion)

    return by_items(sides)


@pairs.claim(
    "mallows/phi-limit",
    "Mallows-φ, φ → 1 with u = -log φ · s fixed",
    covers=("mallows/variant-phi-continuous-limit",),
    false="the φ link differs from its limit at u = -log φ · s by at most a hundredth of -log φ",
    neighbour={"order": 0.01},
)
def phi_limit(c: Instance, order: float = 1.0) -> Any:
    """As φ → 1 the φ link tends to g(u) = (1 - e^{-u} - u e^{-u}) / (1 - e^{-u})²; the error is at most -log φ."""
    a = jnp.array([0.1, 0.01, 0.001])
    gap = (c.gap + 0.05) / a
    return AtMost(jnp.abs(phi_link(gap, jnp.exp(-a)) - limit_link(gap, jnp.exp(-a))), order * a)


@pairs.claim(
    "mallows/phi-jump",
    "Mallows-φ at s = 0",
    tolerance=1e-6,
    false="the φ link is continuous at s = 0, g(0+) = 1/2",
    neighbour={"continuous": True},
)
def phi_jump(c: Instance, continuous: bool = False) -> Any:
    """The φ link jumps at s = 0, to g(0+) = 1/(1-φ) - 1/a with a = -log φ."""
    after = 1 / (1 - c.dispersion) + 1 / jnp.log(c.dispersion)
    return library_link(jnp.asarray(1e-7), c.dispersion), 0.5 if continuous else after


@pairs.claim(
    "mallows/dpo-special-case",
    "abstract: existing DPO models are special cases of the dispersion index",
    false="with the θ link and a constant φ, MallowsPO is DPO with β' = -1.9 β log φ",
    neighbour={"factor": -1.9},
)
def dpo_special_case(c: Instance, factor: float = -2.0) -> Any:
    """With the θ link and a constant φ, MallowsPO is DPO with β' = -2β log φ; φ = e^{-1/2} is DPO itself."""
    theta = mallows_theta(*c.pair, beta=c.beta, dispersion=c.dispersion)
    return theta, dpo(*c.pair, beta=factor * c.beta * jnp.log(c.dispersion))


@pairs.claim(
    "mallows/dispersion-index",
    "dispersion index from the reference's next-token entropies",
    false="the weight of a pair is -0.3 log Ĥ",
    neighbour={"scale": 0.3},
)
def dispersion_index(c: Instance, scale: float = 0.29) -> Any:
    """Ĥ = 1/2 Σ_y Σ_t H_t / (T log V) lies in [0, 1], and the weight of a pair is -c log Ĥ with c = 0.29."""
    entropies, ones = -jnp.sum(jnp.exp(c.tokens) * c.tokens, axis=-1), jnp.ones(TOKENS)
    index = jnp.sum(entropies) / (2 * TOKENS * np.log(VOCABULARY))
    computed = entropy_index(entropies[0], ones, entropies[1], ones, vocabulary=VOCABULARY)
    return {"weight": (dispersion_weight(computed), -scale * jnp.log(index)), "range": AtMost(abs(index - 0.5), 0.5)}


class Bandits(NamedTuple):
    """Data sets on prompts of two dispersions, whose voters share a reward that is linear in two features.

    Attributes:
        low: -2 log φ of every other prompt; eight times as much for the others.
        seed: of the features and the labels.
    """

    low: Float[Array, ""]
    seed: Int[Array, ""]


def generate_bandits(key: Key[Array, ""]) -> Bandits:
    """-2 log φ from 0.1 to 0.4, and eight times as much."""
    first, second = jax.random.split(key)
    return Bandits(0.1 * 4 ** jax.random.uniform(first), jax.random.randint(second, (), 0, 2**31 - 1))


bandits = Setting(
    generate_bandits,
    "2 features, a reward of length 2; -2 log φ from 0.1 to 0.4 and eight times as much; 4 x 4, 8 x 8 and 16 x 16 "
    "prompts x pairs, 400, 200 and 100 data sets of each",
    tolerance=0.0,
    most=10,
    compiled=False,
)


def misdirection(signed: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """(data sets,): 1 - cos of the angle between the reward and w that minimises Σ -log σ(w · x), x a row's features.

    Args:
        signed: (data sets, pairs, 2) the weighted features of the winner less those of the loser.
        reward: (2,).
    """
    x, y = np.moveaxis(signed, 2, 0)
    w = np.zeros((2, len(signed), 1))
    for _ in range(12):
        losing = 1 / (1 + np.exp(w[0] * x + w[1] * y))
        bend = losing * (1 - losing)
        a, b, d = ((bend * product).sum(axis=1) for product in (x * x, x * y, y * y))
        p, q = (losing * x).sum(axis=1), (losing * y).sum(axis=1)
        step = np.stack([d * p - b * q, a * q - b * p]) / (a * d - b * b + 1e-12)
        w = w + (step / np.maximum(1, np.linalg.norm(step, axis=0)))[:, :, None]
    direction = w[:, :, 0] / np.linalg.norm(w[:, :, 0], axis=0)
    return 1 - reward @ direction / np.linalg.norm(reward)


@bandits.claim(
    "mallows/dispersion-beats-dpo",
    "ours, after the abstract: how to use this dispersion index to enhance the performance of DPO",
    false="with the weights of the two kinds of prompts exchanged, the mean error is smaller than that of DPO, too",
    neighbour={"exchanged": True},
)
def dispersion_beats_dpo(c: Bandits, exchanged: bool = False) -> Any:
    """Weighting pairs by -2 log φ(x) learns a shared reward with a smaller mean error of its direction than DPO.

    The mean is over data sets, each with prompts and pairs of its own. Half of the prompts have eight times the
    -log φ of the others. On one data set of four prompts with four pairs each, DPO can be better.
    """
    random = np.random.default_rng(int(c.seed))
    angle = random.uniform(0, 2 * np.pi)
    reward = 2 * np.array([np.cos(angle), np.sin(angle)])
    found = {}
    for size, data_sets in ((4, 400), (8, 200), (16, 100)):
        features = random.normal(size=(data_sets, size, size, 2))
        sharpness = float(c.low) * np.where(np.arange(size) % 2, 8, 1)[None, :, None]
        chances = 1 / (1 + np.exp(-sharpness * (features @ reward)))
        signed = np.where(random.uniform(size=chances.shape) < chances, 1, -1)[..., None] * features
        weights = sharpness[:, :: -1 if exchanged else 1, :, None]
        weighted, plain = (
            misdirection(rows.reshape(data_sets, -1, 2), reward).mean() for rows in (weights * signed, signed)
        )
        found[f"{size} x {size}"] = AtMost(weighted, plain)
    return found
