"""Copies of data: Lemma 3.1, equation (4), and what sections 1 and 6.1.2 say about replication.

Two or three sources, each with a few instances, and copies of all of them: the first bits of a coalition are the
originals, the next ones their copies. Three hypotheses with whole-number losses, so that minimisers tie often; v is
the score of the one that is chosen.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxval import values
from jaxval.theorems.records import AtMost, Setting

HYPOTHESES, SOURCES, NEIGHBOURS = 3, 3, 6


class Training(NamedTuple):
    """Losses of hypotheses on three sources, what hypotheses are worth, and utilities of what a coalition holds.

    Attributes:
        losses: (3, 3) sums of the losses over each source's instances, whole numbers.
        instances: (3,) the number of instances of each source.
        scores: (3,) what each hypothesis is worth.
        untrained: v(∅), for which (4) is 0/0.
        choice: (64, 3) numbers of the hypotheses for each coalition. Of several minimisers, the one with the largest
            number is taken.
        of_counts: (4, 4, 4) a utility of how often each source is present, 0 to 3 times.
        labels: (6,) whether each neighbour, the nearest first, has the label of the test point.
        number: K, 1 to 8 neighbours.
    """

    losses: Float[Array, "hypotheses sources"]
    instances: Int[Array, "sources"]
    scores: Float[Array, "hypotheses"]
    untrained: Float[Array, ""]
    choice: Float[Array, "coalitions hypotheses"]
    of_counts: Float[Array, "4 4 4"]
    labels: Float[Array, "neighbours"]
    number: Int[Array, ""]


def trainings(key: Key[Array, ""]) -> Training:
    """Losses 0 to 2, with ties in about half of the instances; scores of any kind, or 0 and 1."""
    u = jax.random.uniform(key, (281,), minval=1e-9)
    return Training(
        jnp.floor(3 * u[:9]).reshape(HYPOTHESES, SOURCES),
        1 + (3 * u[9:12]).astype(int),
        jnp.where(u[12] < 0.5, jnp.round(u[13:16]), u[13:16]),
        jnp.where(u[16] < 0.5, 0.0, u[17]),
        u[18:210].reshape(64, HYPOTHESES),
        u[210:274].reshape(4, 4, 4),
        jnp.round(u[274:280]),
        1 + (8 * u[280]).astype(int),
    )


def one_vote() -> Training:
    """All hypotheses always tie; two sources take the one of score 0, and with their copies that of score 1."""
    losses, instances, scores = jnp.zeros((HYPOTHESES, SOURCES)), jnp.ones(SOURCES, int), jnp.array([0.0, 1.0, 0.0])
    choice = jnp.zeros((64, HYPOTHESES)).at[:, 0].set(0.5).at[15, 1].set(1.0)
    labels, of_counts, zero = jnp.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]), jnp.zeros((4, 4, 4)), jnp.zeros(())
    return Training(losses, instances, scores, zero, choice, of_counts, labels, jnp.asarray(3))


copied = Setting(
    trainings,
    "n = 2 and 3 sources and a copy of each (n = 1 and 2 and two copies), 3 hypotheses, losses 0 to 2, with ties; 1 to "
    "6 neighbours, K = 1 to 8",
)
Utility = Callable[[Training, np.ndarray], Array]


def holdings(n: int, copies: int = 1) -> np.ndarray:
    """(2^{n (copies + 1)}, n): how often each source is present in each coalition of originals and copies."""
    players = n * (copies + 1)
    present = np.arange(2**players)[:, None] >> np.arange(players) & 1
    return present.reshape(-1, copies + 1, n).sum(axis=1)


def fixed_choice(t: Training, counts: np.ndarray) -> Array:
    """v(S) = the score of A_S ∈ argmin of (4), and v(∅): the minimiser that comes first in a fixed order."""
    return any_choice(t._replace(choice=jnp.broadcast_to(t.choice[:1], t.choice.shape)), counts)


def any_choice(t: Training, counts: np.ndarray) -> Array:
    """The same with a minimiser that is chosen anew for each coalition."""
    total = counts @ t.losses[:, : counts.shape[1]].T  # (4) is this over the number of instances
    smallest = total == jnp.min(total, axis=1, keepdims=True)
    chosen = jnp.argmax(jnp.where(smallest, t.choice[: len(counts)], -1.0), axis=1)
    return t.scores[chosen].at[0].set(t.untrained)


def of_frequencies(t: Training, counts: np.ndarray) -> Array:
    """V depends on how often each instance is present, as for nearest neighbours or a penalised risk."""
    return t.of_counts[tuple(np.pad(counts, ((0, 0), (0, SOURCES - counts.shape[1]))).T)]


def of_kinds(t: Training, counts: np.ndarray) -> Array:
    """V depends on the set of distinct instances."""
    return of_frequencies(t, np.minimum(counts, 1))


def of_shares(t: Training, counts: np.ndarray) -> Array:
    """V depends on the empirical measure: twice everything is everything once."""
    return of_frequencies(t, counts // np.maximum(np.gcd.reduce(counts, axis=1, keepdims=True), 1))


def by_sources(sides: Callable[[int], Any], numbers: tuple[int, ...] = (2, 3)) -> dict[str, Any]:
    """The sides for each number of sources."""
    return {f"n = {n}": sides(n) for n in numbers}


def originals_first(table: Array, n: int) -> Array:
    """The asymmetric value with the n originals before all copies."""
    copies = len(table).bit_length() - 1 - n
    return values.asymmetric_shapley(table, np.repeat([0, 1], [n, copies]))


@copied.claim(
    "ads/lemma-3.1",
    "Lemma 3.1 and B.1",
    fails="convention",
    quote="Consequently, the utility of the ERM minimizers are identical, i.e., v(D^dup) = v(D_1).",
    why="A_S ∈ argmin does not say which minimiser is taken. If two hypotheses of scores 0 and 1 fit everything, and "
    "D_1 takes the first and D_1 with its copies the second, the originals get 1/2, and half of v(D_1) - v(∅) is 0. "
    "The set of minimisers is the same, as B.1 says; the minimiser need not be.",
    corrected="If the minimiser that is taken depends on the set of minimisers alone, as it does if there is just one, "
    "a source and its exact copy have equal values, and originals and copies each get half of v(D_1) - v(∅).",
    correction={"utility": fixed_choice},
    counterexample=one_vote,
)
def lemma_3_1(t: Training, utility: Utility = any_choice) -> Any:
    """A source and its exact copy have equal values, and originals and copies each get half of v(D_1) - v(∅).

    A_S minimises (4), and v(S) is the utility of A_S.
    """

    def sides(n: int) -> Any:
        table = utility(t, holdings(n))
        phi, half = values.shapley(table), (table[2**n - 1] - table[0]) / 2
        return {
            "source and copy": (phi[:n], phi[n:]),
            "originals": (jnp.sum(phi[:n]), half),
            "copies": (jnp.sum(phi[n:]), half),
            "half of all": (jnp.sum(phi) / 2, half),
        }

    return by_sources(sides)


@copied.claim(
    "ads/equation-4",
    "equation (4), Example 1 (continued), B.1",
    fails="convention",
    quote="For any finite collection of data sources S, define empirical risk minimization over data instances by "
    "R_A(Ins(S)) := 1/|Ins(S)| Σ_{(x,y)∈Ins(S)} L(A(x), y), A_S ∈ argmin_{A∈H} R_A(Ins(S)).",
    why="For S = ∅ the mean loss (4) is 0/0. What v(∅) is, on which Lemma 3.1 depends, has to be said apart.",
    corrected="For any collection S with at least one instance, the mean loss (4) is a number, and duplicating every "
    "source changes neither the loss of a hypothesis nor the set of minimisers.",
    correction={"smallest": 1},
    counterexample=one_vote,
)
def equation_4(t: Training, smallest: int = 0) -> Any:
    """For any finite S, duplicating every source changes neither the mean loss (4) nor the set of minimisers."""
    once = holdings(SOURCES, copies=0)[smallest:]

    def risk(counts: np.ndarray) -> Array:
        return counts @ t.losses.T / (counts @ t.instances)[:, None]

    def minimisers(total: Array) -> Array:
        return (total == jnp.min(total, axis=1, keepdims=True)).astype(float)

    return {
        "mean loss": (risk(once), risk(2 * once)),
        "minimisers": (minimisers(jnp.asarray(once) @ t.losses.T), minimisers(jnp.asarray(2 * once) @ t.losses.T)),
    }


@copied.claim(
    "ads/half-to-the-broker",
    "section 3.2, below Lemma 3.1",
    proof="symmetry of a source and its copy, and efficiency",
    false="if v is any function of how often each instance is present, a broker who copies every source gets half of "
    "v(D_1) - v(∅) under Data Shapley",
    neighbour={"of_originals": True},
)
def half_to_the_broker(t: Training, of_originals: bool = False) -> Any:
    """A broker who merely duplicates the original corpus captures one half of the total value under Data Shapley.

    That is half of v(D^dup) - v(∅), for every v that is a function of how often each instance is present.
    """

    def sides(n: int) -> Any:
        table = of_frequencies(t, holdings(n))
        return jnp.sum(values.shapley(table)[n:]), (table[2**n - 1 if of_originals else -1] - table[0]) / 2

    return by_sources(sides)


@copied.claim(
    "ads/copies-share",
    "section 6.1.2 (replication), Data Shapley",
    false="a second copy of everything takes nothing more from the originals",
    neighbour={"most": 2},
)
def copies_share(t: Training, most: int = 3) -> Any:
    """Data Shapley moves value to the broker with each copy: the originals keep 1, 1/2, 1/3 of v(D_1) - v(∅).

    That is beside no, one and two copies of everything, for every v that is a function of the empirical measure.
    """

    def sides(n: int) -> Any:
        tables = [of_shares(t, holdings(n, copies)) for copies in range(3)]
        kept = [jnp.sum(values.shapley(table)[:n]) for table in tables]
        total = tables[0][-1] - tables[0][0]
        return jnp.stack(kept), jnp.stack([total / min(held, most) for held in (1, 2, 3)])

    return by_sources(sides, (1, 2))


@copied.claim(
    "ads/originals-unchanged",
    "section 6.1.2 (replication and augmentation), the asymmetric value",
    proof="the marginals of a source in the first group never see a later one",
    false="under Data Shapley the contributors keep what they get without the copies",
    neighbour={"value": lambda table, n: values.shapley(table)},
)
def originals_unchanged(t: Training, value: Callable[[Array, int], Array] = originals_first) -> Any:
    """With originals before copies, each contributor keeps exactly what it gets without the copies, whatever v is."""

    def sides(n: int) -> Any:
        table = of_frequencies(t, holdings(n))
        return value(table, n)[:n], values.shapley(table[: 2**n])

    return by_sources(sides)


@copied.claim(
    "ads/duplicates-gain",
    "section 6.1.2 (redundant replication yields little to no payment)",
    proof="group efficiency, and v(D^dup) = v(D_1) by B.1",
    false="with originals before copies, every single copy is paid nothing; copies weight the data, so that of two "
    "copies one may be paid 1/2 and the other one -1/2",
    neighbour={"together": False},
)
def duplicates_gain(t: Training, together: bool = True) -> Any:
    """With originals before copies, the copies of all sources together are paid nothing.

    v is by (4), with a minimiser that depends on the set of minimisers alone.
    """

    def sides(n: int) -> Any:
        paid = originals_first(fixed_choice(t, holdings(n)), n)[n:]
        return (jnp.sum(paid) if together else paid), 0.0

    return by_sources(sides)


@copied.claim(
    "ads/robust-to-replication",
    "section 1 (robustness to replication, of Agarwal et al.), the asymmetric value",
    proof="the copy adds nothing to a coalition that holds the original",
    false="a source and its exact copy, which comes after the originals, together get what the source gets without the "
    "copy, if v is by (4) with a fixed choice among minimisers",
    neighbour={"utility": fixed_choice},
)
def robust_to_replication(t: Training, utility: Utility = of_kinds) -> Any:
    """A source and its exact copy, which comes after the originals, together get what it gets without the copy.

    That is for v a function of the set of distinct instances; the last of the sources is copied.
    """

    def sides(n: int) -> Any:
        codes = np.arange(2 ** (n + 1))
        table = utility(t, holdings(n))[(codes & 2**n - 1) | (codes >> n) << 2 * n - 1]
        return jnp.sum(originals_first(table, n)[n - 1 :]), values.shapley(table[: 2**n])[-1]

    return by_sources(sides)


def nearest(labels: Array, number: Array) -> Array:
    """Equation (12): the share of the min(K, |S|) nearest that have the label."""
    inside = jnp.arange(len(labels)) < number
    return jnp.sum(jnp.where(inside, labels, 0.0)) / jnp.minimum(number, len(labels))


@copied.claim(
    "ads/duplicates-neighbours",
    "section 6.1.2 (replication), nearest neighbours",
    fails="reading",
    quote="Under ADS, contributors retain the full value of their original data, and the broker is credited only with "
    "the incremental change from adding duplicates, which is small but positive for a KNN classifier.",
    why="The sentence is true of the data of the experiment, not of nearest neighbours in general. For K = 3, the "
    "nearest neighbour wrong and the next two right, 2/3 of the neighbours are right; with each of them twice, 1/3 "
    "are, and the broker is credited with -1/3.",
    corrected="For even K, a copy of every instance makes K/2 neighbours of K; what that changes may have either sign.",
    correction={"halved": True},
    counterexample=one_vote,
)
def duplicates_neighbours(t: Training, halved: bool = False) -> Any:
    """For a nearest-neighbour classifier the change that duplicates bring, v(D^dup) - v(D_1), is positive, or none."""
    number = t.number + t.number % 2 if halved else t.number

    def sides(n: int) -> Any:
        copied = nearest(jnp.repeat(t.labels[:n], 2), number)
        return (copied, nearest(t.labels[:n], number // 2)) if halved else AtMost(nearest(t.labels[:n], number), copied)

    return by_sources(sides, tuple(range(1, NEIGHBOURS + 1)))
