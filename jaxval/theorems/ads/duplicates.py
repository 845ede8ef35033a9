"""Copies of data: Lemma 3.1, equation (4), and what sections 3.2 and 6.1.2 say about replication.

Two sources, each with a few instances, and copies of both: bits 0 and 1 of a coalition are originals, bits 2 and 3
their copies. Three hypotheses with whole-number losses, so that minimisers tie often; v is the score of the
one that is chosen.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.theorems._old import Claim, Statement, largest
from jaxval.theorems.ads._games import COALITIONS, MASKS, data_shapley, subset_form

__all__ = ["CLAIMS"]

HYPOTHESES, SOURCES, NEIGHBOURS = 3, 2, 6
COUNTS = MASKS[:, :2].astype(int) + MASKS[:, 2:].astype(int)
ORIGINALS_FIRST = np.array([0, 0, 1, 1])
THRICE = np.array([[(code >> z & 1) + (code >> z + 2 & 1) + (code >> z + 4 & 1) for z in (0, 1)] for code in range(64)])


class Training(NamedTuple):
    """Losses of hypotheses on two sources, what hypotheses are worth, and utilities of what a coalition holds.

    Attributes:
        losses: (3, 2) sums of the losses over each source's instances, whole numbers.
        instances: (2,) how many instances each source has.
        scores: (3,) what each hypothesis is worth.
        untrained: v(∅), for which (4) is 0/0.
        choice: (16, 3) which minimiser is taken for each coalition: the one of the largest number.
        of_counts: (4, 4) a utility of how often each source is there, 0 to 3 times.
        labels: (6,) whether each neighbour, the nearest first, has the label of the test point.
        number: K, 1 to 8 neighbours.
    """

    losses: Float[Array, "hypotheses sources"]
    instances: Int[Array, "sources"]
    scores: Float[Array, "hypotheses"]
    untrained: Float[Array, ""]
    choice: Float[Array, "coalitions hypotheses"]
    of_counts: Float[Array, "4 4"]
    labels: Float[Array, "neighbours"]
    number: Int[Array, ""]


def trainings(key: Key[Array, ""]) -> Training:
    """Losses 0 to 2, with ties in about half of the instances; scores of any kind, or 0 and 1."""
    u = jax.random.uniform(key, (91,), minval=1e-9)
    scores = jnp.where(u[0] < 0.5, jnp.round(u[1:4]), u[1:4])
    return Training(
        jnp.floor(3 * u[4:10]).reshape(HYPOTHESES, SOURCES), 1 + (3 * u[10:12]).astype(int), scores,
        jnp.where(u[12] < 0.5, 0.0, u[13]), u[14:62].reshape(COALITIONS, HYPOTHESES), u[62:78].reshape(4, 4),
        jnp.round(u[78:84]), 1 + (8 * u[84]).astype(int),
    )  # fmt: skip


def total_losses(t: Training) -> Float[Array, "coalitions hypotheses"]:
    """Σ L over the instances of each coalition; (4) is this over their number, with the same minimisers."""
    return jnp.asarray(COUNTS, float) @ t.losses.T


def minimisers(t: Training) -> Array:
    total = total_losses(t)
    return total == jnp.min(total, axis=1, keepdims=True)


def trained(t: Training, choice: Array) -> Float[Array, "coalitions"]:
    """v(S), the score of the minimiser with the largest choice; of nothing, v(∅)."""
    chosen = jnp.argmax(jnp.where(minimisers(t), choice, -1.0), axis=1)
    return t.scores[chosen].at[0].set(t.untrained)


def arbitrary(t: Training) -> Array:
    """A_S is some minimiser, chosen anew for each coalition."""
    return trained(t, t.choice)


def by_rule(t: Training) -> Array:
    """A_S depends on the set of minimisers alone: the first of them in a fixed order."""
    return trained(t, jnp.broadcast_to(t.choice[:1], t.choice.shape))


def of_kinds(t: Training) -> Array:
    """V depends on the set of distinct instances."""
    return t.of_counts[jnp.minimum(COUNTS[:, 0], 1), jnp.minimum(COUNTS[:, 1], 1)]


def of_shares(t: Training) -> Array:
    """V depends on the empirical measure: (2, 2) is (1, 1), and (2, 0) is (1, 0)."""
    divisor = np.maximum(np.gcd(COUNTS[:, 0], COUNTS[:, 1]), 1)
    return t.of_counts[COUNTS[:, 0] // divisor, COUNTS[:, 1] // divisor]


def of_frequencies(t: Training) -> Array:
    """V depends on how often each instance is there, as nearest neighbours or a penalised risk do."""
    return t.of_counts[COUNTS[:, 0], COUNTS[:, 1]]


# Gaps


def halved(table: Array, *, each: bool = False) -> Array:
    """Lemma 3.1: equal values of a source and its copy, and the originals' total half of v(D_1) - v(∅)."""
    phi = data_shapley(table)
    total = table[3] - table[0]
    pairs = largest(phi[:2] - phi[2:])
    totals = jnp.stack([phi[0] + phi[1] - total / 2, phi[2] + phi[3] - total / 2, jnp.sum(phi) / 2 - total / 2])
    half = jnp.stack([table[1] - table[0] + table[3] - table[2], table[2] - table[0] + table[3] - table[1]]) / 4
    return largest(phi[:2] - half) if each else jnp.maximum(pairs, largest(totals))


def risk(t: Training, counts: np.ndarray) -> Array:
    """(4) of each hypothesis, each source being there as often as told."""
    return t.losses @ counts / jnp.sum(t.instances * counts)


def same_risk(t: Training, *, one: bool = False, empty: bool = False) -> Array:
    """(4) on S and on S with a copy of everything, or of the first source: risks, and sets of minimisers."""
    gaps = []
    for source_one, source_two in ((1, 0), (0, 1), (1, 1), (0, 0))[: 4 if empty else 3]:
        once = np.array([source_one, source_two])
        again = once * (np.array([2, 1]) if one else 2)
        gaps.append(risk(t, once) - risk(t, again))
        sets = [total == jnp.min(total) for total in (t.losses @ once, t.losses @ again)]
        gaps.append((sets[0] != sets[1]).astype(float))
    return largest(jnp.concatenate(gaps))


def shares_of_contributors(t: Training, *, fixed: bool = False) -> Array:
    """Data Shapley with no, one and two copies of both sources: the originals' shares of v(D_1) - v(∅)."""
    measure = np.maximum(np.gcd(THRICE[:, 0], THRICE[:, 1]), 1)
    table = t.of_counts[THRICE[:, 0] // measure, THRICE[:, 1] // measure]
    total = table[3] - table[0]
    kept = [jnp.sum(values.shapley(table[: 4**k])[:2]) for k in (1, 2, 3)]
    wanted = [total, total / 2, total / 2 if fixed else total / 3]
    return largest(jnp.stack(kept) - jnp.stack(wanted))


def paid_for_copies(table: Array, *, each: bool = True) -> Array:
    """What the asymmetric value gives the copies, originals first: each of them, or both together."""
    phi = subset_form(table, jnp.asarray(ORIGINALS_FIRST))[2:]
    return largest(phi) if each else jnp.abs(jnp.sum(phi))


def originals_change(table: Array, *, symmetric: bool = False) -> Array:
    """How far what the originals get is from what they get without the copies."""
    phi = data_shapley(table) if symmetric else subset_form(table, jnp.asarray(ORIGINALS_FIRST))
    alone = jnp.stack([table[1] - table[0] + table[3] - table[2], table[2] - table[0] + table[3] - table[1]]) / 2
    return largest(phi[:2] - alone)


def replicates(table: Array, *, symmetric: bool = False) -> Array:
    """What the owner of the second source gains by an exact copy of it, which comes after the originals."""
    without = jnp.stack([table[1] - table[0] + table[3] - table[2], table[2] - table[0] + table[3] - table[1]]) / 2
    three = table[np.array([code & 3 | (code & 4) << 1 for code in range(8)])]  # sources 0, 1 and the copy of 1
    copied = values.shapley(three) if symmetric else values.asymmetric_shapley(three, np.array([0, 0, 1]))
    return copied[1] + copied[2] - without[1]


def nearest(labels: Array, number: Array) -> Array:
    """Equation (12): the share of the min(K, |S|) nearest that have the label."""
    inside = jnp.arange(len(labels)) < number
    return jnp.sum(jnp.where(inside, labels, 0.0)) / jnp.minimum(number, len(labels))


def broker(t: Training) -> Array:
    """v(D^dup) - v(D_1) of K nearest neighbours, what the asymmetric value gives the owner of the copies."""
    return nearest(jnp.repeat(t.labels, 2), t.number) - nearest(t.labels, t.number)


def half_as_many(t: Training, *, odd: bool = False) -> Array:
    """v(D^dup) with K even against K/2 neighbours of D_1."""
    number = t.number if odd else t.number + t.number % 2
    return jnp.abs(nearest(jnp.repeat(t.labels, 2), number) - nearest(t.labels, (number + 1) // 2))


def one_vote() -> Training:
    """All hypotheses always tie; D_1 takes the one of score 0, both with their copies that of score 1."""
    blank = Training(
        jnp.zeros((HYPOTHESES, SOURCES)), jnp.ones(SOURCES, int), jnp.array([0.0, 1.0, 0.0]), jnp.zeros(()),
        jnp.zeros((COALITIONS, HYPOTHESES)).at[:, 0].set(0.5), jnp.zeros((4, 4)), jnp.zeros(NEIGHBOURS), jnp.asarray(1),
    )  # fmt: skip
    return blank._replace(choice=blank.choice.at[15, 1].set(1.0))


def reweighted() -> Training:
    """Losses 0, 3 and 4, 0 of hypotheses of scores 0 and 1: D_1 takes the first, one more of source 1 not."""
    losses = jnp.array([[0.0, 3.0], [4.0, 0.0], [9.0, 9.0]])
    return one_vote()._replace(losses=losses, choice=jnp.zeros((COALITIONS, HYPOTHESES)))


def larger_is_better() -> Training:
    """V is a quarter of how often the sources are there, in all."""
    counts = jnp.arange(4.0)
    return one_vote()._replace(of_counts=(counts[:, None] + counts[None, :]) / 4)


def wrong_one_nearest() -> Training:
    """Three neighbours of K = 3: the nearest is wrong, the others right; its copy takes a place of theirs."""
    return one_vote()._replace(labels=jnp.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]), number=jnp.asarray(3))


Utility = Callable[[Training], Array]
READINGS: tuple[Utility, Utility] = (of_kinds, of_shares)

CLAIMS = (
    Claim(
        "ads/lemma-3.1",
        "Lemma 3.1 and B.1",
        Statement(
            "A_S minimises (4), v(S) is the utility of A_S: a source and its exact copy have equal values, and "
            "originals and copies each get half of v(D_1) - v(∅).",
            lambda t: halved(arbitrary(t)),
            "Each original gets half of its own value on D_1.",
            lambda t: halved(arbitrary(t), each=True),
        ),
        trainings,
        verdict="holds as corrected",
        why=(
            "A_S ∈ argmin does not say which. Where two hypotheses of scores 0 and 1 fit everything and D_1 takes "
            "the first, D_1 with its copies the second, the originals get 1/2 and half of v(D_1) - v(∅) is 0. The "
            "set of minimisers is the same, as B.1 says, the minimiser need not be."
        ),
        corrected=Statement(
            "Where the minimiser that is taken depends on the set of minimisers alone (as where there is just one), "
            "it holds.",
            lambda t: halved(by_rule(t)),
            "Then each original gets half of its own value on D_1.",
            lambda t: halved(by_rule(t), each=True),
        ),
        counterexample=one_vote,
    ),
    Claim(
        "ads/equation-4",
        "equation (4), Example 1 (continued), B.1",
        Statement(
            "For any finite collection S, the mean loss (4) is a number; duplicating every source leaves that of "
            "each hypothesis, and the set of minimisers, unchanged.",
            lambda t: same_risk(t, empty=True),
            "So does duplicating one source.",
            lambda t: same_risk(t, one=True),
        ),
        trainings,
        verdict="holds as corrected",
        why="Of S = ∅ it is 0/0: what v(∅) is, on which Lemma 3.1 depends, has to be said apart.",
        corrected=Statement(
            "So it is for any S with an instance at least.",
            same_risk,
            "For such S duplicating one source leaves the set of minimisers unchanged, and the risks.",
            lambda t: same_risk(t, one=True),
        ),
        counterexample=one_vote,
    ),
    Claim(
        "ads/duplicates-readings",
        "Example 1 (continued), read for any function of the instances",
        Statement(
            "Whenever v(S) is a function of the instances of S with their frequencies, the originals get half of "
            "v(D_1) - v(∅).",
            lambda t: halved(of_frequencies(t)),
            "Each original gets half of its own value on D_1.",
            lambda t: halved(of_frequencies(t), each=True),
        ),
        trainings,
        verdict="holds as corrected",
        why=(
            "v = a quarter of the number of instances: two originals and two copies get 1/4 each, 1/2 to the "
            "originals, and half of v(D_1) - v(∅) is 1/4. It is half of v(D^dup) - v(∅), which is another number "
            "wherever a larger training set is another one: with nearest neighbours, or a penalty beside the risk."
        ),
        corrected=Statement(
            "Whenever it is one of the set of distinct instances, or of the empirical measure, they do.",
            lambda t: jnp.maximum(*(halved(reading(t)) for reading in READINGS)),
            "Of the empirical measure, and each original gets half of its own value on D_1.",
            lambda t: halved(of_shares(t), each=True),
        ),
        counterexample=larger_is_better,
    ),
    Claim(
        "ads/copies-share",
        "section 6.1.2 (replication), Data Shapley",
        Statement(
            "Data Shapley moves value to the broker with each copy: originals keep 1, 1/2, 1/3 of v(D_1) - v(∅) "
            "beside no, one and two copies (v a function of the empirical measure).",
            shares_of_contributors,
            "The second copy takes nothing more.",
            lambda t: shares_of_contributors(t, fixed=True),
        ),
        trainings,
    ),
    Claim(
        "ads/originals-unchanged",
        "section 6.1.2 (replication and augmentation), the asymmetric value",
        Statement(
            "Originals before copies: contributors keep just what they get without copies, whatever v.",
            lambda t: originals_change(of_frequencies(t)),
            "So they do with Data Shapley.",
            lambda t: originals_change(of_frequencies(t), symmetric=True),
        ),
        trainings,
    ),
    Claim(
        "ads/duplicates-gain",
        "sections 6.1.2 and 7 (redundant replication yields little to no payment)",
        Statement(
            "Originals before copies, v by (4) with a fixed choice among minimisers: no exact copy is paid.",
            lambda t: paid_for_copies(by_rule(t)),
            "With Data Shapley none is paid.",
            lambda t: largest(data_shapley(by_rule(t))[2:]),
        ),
        trainings,
        verdict="holds as corrected",
        why=(
            "Copies weight the data. Two sources with losses 0, 3 and 4, 0 of hypotheses of scores 0 and 1: D_1 "
            "takes the first, D_1 with a copy of the second source the second, so that this copy is paid 1/2 and the "
            "other one -1/2; an owner who copies the second source alone is paid 1."
        ),
        corrected=Statement(
            "The copies of all sources are paid nothing together; each is paid nothing where v is a function of the "
            "set of distinct instances.",
            lambda t: jnp.maximum(paid_for_copies(by_rule(t), each=False), paid_for_copies(of_kinds(t))),
            "Each is paid nothing where v is a function of the empirical measure.",
            lambda t: paid_for_copies(of_shares(t)),
        ),
        counterexample=reweighted,
    ),
    Claim(
        "ads/robust-to-replication",
        "sections 1 and 7 (the asymmetric value is replication-aware), read as robustness to replication",
        Statement(
            "Robustness to replication: a source and its exact copies, which come after the originals, together get "
            "no more than the source without them (v by (4) with a fixed choice among minimisers).",
            lambda t: replicates(by_rule(t)),
            "The same of Data Shapley.",
            lambda t: replicates(by_rule(t), symmetric=True),
        ),
        trainings,
        verdict="holds as corrected",
        why=(
            "In the example of ads/duplicates-gain the owner of the second source gets 0 without a copy, and 1 with "
            "one: the copy gives the source twice the weight, and the better hypothesis wins."
        ),
        corrected=Statement(
            "They get the same where v is a function of the set of distinct instances.",
            lambda t: jnp.abs(replicates(of_kinds(t))),
            "With Data Shapley, too, they get no more.",
            lambda t: replicates(of_kinds(t), symmetric=True),
        ),
        counterexample=reweighted,
    ),
    Claim(
        "ads/duplicates-neighbours",
        "section 6.1.2 (replication), nearest neighbours",
        Statement(
            "For a nearest-neighbour classifier the change that duplicates bring, v(D^dup) - v(D_1), is positive, or "
            "none.",
            lambda t: -broker(t),
            "It is negative, or none.",
            broker,
        ),
        trainings,
        verdict="holds as corrected",
        why=(
            "K = 3, the nearest neighbour wrong and the next two right: 2/3 of the neighbours are right, and 1/3 "
            "once each stands there twice. The owner of the copies is paid -1/3."
        ),
        corrected=Statement(
            "For even K a copy of everything makes of K neighbours K/2; what that changes may have either sign.",
            half_as_many,
            "For odd K it makes of them (K + 1)/2.",
            lambda t: half_as_many(t, odd=True),
        ),
        counterexample=wrong_one_nearest,
    ),
)
