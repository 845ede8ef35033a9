"""The search over profiles: all small profiles, random profiles of larger sizes; a violation is shrunk."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks, _objects
from jaxval.axioms._functions import gap_of, refused
from jaxval.axioms._profiles import rankings
from jaxval.axioms.kinds import name_of, unwrapped
from jaxval.axioms.manipulation import population_bounded_manipulability, strategyproofness
from jaxval.axioms.rules import as_profile_rule
from jaxval.axioms.search._shrink_profiles import shrunk
from jaxval.axioms.search.counterexample import Counterexample, format_profile
from jaxval.parallel import progress as progress_bar
from jaxval.preferences import sample_mallows
from jaxval.types import BadArgument, Rule

__all__ = ["SearchedSize", "count_profiles", "plan_profiles", "search_profiles"]

# With these axioms, profiles are searched one at a time: in a batch, each would wait for the slowest.
ONE_BY_ONE = (population_bounded_manipulability, strategyproofness)
TRIED = 8  # the number of violating profiles of a chunk that are replayed without rows of weight 0, the worst first
MOST = {"alternatives": 100, "voters": 1000}  # the numbers of profiles of more have millions of digits


class SearchedSize(NamedTuple):
    """One size of profile in a search.

    Attributes:
        alternatives: M.
        voters: the number of voters, all of equal weight.
        profiles: how many profiles of this size are searched.
        exhaustive: whether these are all profiles of this size.
    """

    alternatives: int
    voters: int
    profiles: int
    exhaustive: bool


def check_most(name: str, size: int) -> int:
    """Check a number of alternatives or of voters whose profiles can be counted."""
    size = _checks.check_size(name, size)
    if size > MOST[name]:
        raise BadArgument(name, expected=f"at most {MOST[name]}, for their profiles are counted", got=size)
    return size


def count_profiles(alternatives: int, voters: int, *, neutral: bool = False) -> int:
    """The number of profiles of voters of equal weight, (M! + n - 1 choose n).

    Args:
        alternatives: M.
        voters: n; profiles are multisets of n rankings.
        neutral: whether to count only profiles in which some voter has the ranking 0, 1, ..., M - 1.

    Returns:
        A whole number.

    Example:
        >>> count_profiles(3, 5), count_profiles(4, 5), count_profiles(4, 5, neutral=True)
        (252, 98280, 17550)
    """
    alternatives, voters = check_most("alternatives", alternatives), check_most("voters", voters)
    free = voters - neutral
    return math.comb(math.factorial(alternatives) + free - 1, free)


def plan_profiles(
    alternatives: Sequence[int], voters: Sequence[int], profiles: int, neutral: bool
) -> list[SearchedSize]:
    """The sizes that are searched, in order of their numbers of profiles."""
    plan = []
    for m, n in itertools.product(alternatives, voters):
        count = count_profiles(m, n, neutral=neutral)
        plan.append(SearchedSize(m, n, min(count, profiles), count <= profiles))
    return sorted(plan, key=lambda size: (count_profiles(size.alternatives, size.voters), size))


def search_profiles(
    rule: Rule,
    axiom: Callable[..., tuple[Array, Any]],
    options: dict[str, Any],
    *,
    plan: Sequence[SearchedSize],
    key: Array,
    tolerance: float | None,
    neutral: bool,
    shrink: bool,
    batch_size: int,
    progress: bool,
) -> Counterexample | None:
    """A minimal profile on which the rule violates the axiom, or None; see `find_counterexample`."""
    _check_lottery(rule, axiom, plan[0].alternatives)
    examine = Examiner(rule, axiom, options, tolerance, batch_size, [size.voters for size in plan])
    with_nobody = None  # a violation that needs ballots of weight 0: returned if the search meets no other
    with progress_bar(progress, sum(size.profiles for size in plan), f"{name_of(axiom)} of {name_of(rule)}") as advance:
        for number, size in enumerate(plan):
            if size.exhaustive:
                chunks = _all_profiles(size, neutral, examine.batch_size)
            else:
                chunks = _random_profiles(jax.random.fold_in(key, number), size, examine.batch_size)
            for orders in chunks:
                counterexample = _worst_of(examine, orders, shrink)
                if counterexample is not None and (counterexample.weights > 0).all():
                    return counterexample
                with_nobody = with_nobody or counterexample
                advance(len(orders))
    return with_nobody


def _check_lottery(rule: Rule, axiom: Callable[..., Any], alternatives: int) -> None:
    """Call the rule once on one voter, so that a value passed in its place is refused before the search.

    Inside the search values are traced, so that only shapes could be checked.
    """
    advice = f"{name_of(axiom)} is an axiom of rules: for a value take an axiom of values, such as axioms.efficiency"
    try:
        lottery = as_profile_rule(rule)(np.arange(alternatives)[None])
        if not np.isnan(lottery).any():  # a rule that did not converge is refused on the profile where that happens
            _objects.check_lottery(lottery, alternatives, name="rule")
    except (ValueError, TypeError, IndexError) as error:
        got = getattr(error, "got", None) or ""
        if got == "shape ()":
            advice = "a rule returns a probability for each alternative: for a winner i, jax.nn.one_hot(i, len(matrix))"
        elif got.startswith("a sum of"):
            advice = "a rule returns a probability for each alternative: divide scores by their sum"
        raise refused("rule", f"a rule, for {name_of(axiom)}", error, advice) from error


class Examiner:
    """The gaps of many profiles of voters of equal weight at once.

    Profiles are filled up with rows of weight 0, and chunks with copies of their first profile, so that only a few
    shapes are compiled.
    """

    def __init__(
        self,
        rule: Rule,
        axiom: Callable[..., tuple[Array, Any]],
        options: dict[str, Any],
        tolerance: float | None,
        batch_size: int,
        voters: Sequence[int],
    ):
        self.axiom = partial(axiom, rule, **options)
        self.name = name_of(axiom)
        self.tolerance = _checks.tolerance(jnp.result_type(float)) if tolerance is None else tolerance
        most = max(voters)
        self.rows = sorted({min(most, 8 * 4**step) for step in range(16)})

        def gap(profile: tuple[Array, Array]) -> Array:
            return gap_of(self.axiom(*profile))

        one_by_one = unwrapped(axiom) in ONE_BY_ONE
        self.batch_size = min(batch_size, 64) if one_by_one else batch_size
        self._gaps = jax.jit(partial(jax.lax.map, gap) if one_by_one else jax.vmap(gap))

    def pad(self, orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The profiles with further rows of weight 0, (profiles, rows, alternatives), and their weights."""
        num, voters, alternatives = orders.shape
        rows = next(rows for rows in self.rows if rows >= voters)
        nobody = np.broadcast_to(np.arange(alternatives, dtype=np.int32), (num, rows - voters, alternatives))
        weights = np.concatenate([np.full(voters, 1 / voters), np.zeros(rows - voters)])
        return np.concatenate([orders.astype(np.int32), nobody], axis=1), np.broadcast_to(weights, (num, rows))

    def gaps(self, orders: np.ndarray) -> np.ndarray:
        """(profiles,) gaps of (profiles, voters, alternatives); raises if a gap is NaN."""
        padded, weights = self.pad(orders)
        parts = []
        for start in range(0, len(padded), self.batch_size):
            chunk, shares = padded[start : start + self.batch_size], weights[start : start + self.batch_size]
            short = self.batch_size - len(chunk)
            full = np.concatenate([chunk, np.repeat(chunk[:1], short, axis=0)])
            full_shares = np.concatenate([shares, np.repeat(shares[:1], short, axis=0)]).astype(jnp.result_type(float))
            parts.append(np.asarray(self._gaps((full, full_shares)))[: len(chunk)])
        gaps = np.concatenate(parts)
        if np.isnan(gaps).any():
            profile = format_profile(orders[int(np.isnan(gaps).argmax())], indent="  ")
            raise BadArgument(
                "rule", expected="a finite lottery", got=f"NaN, so {self.name} says nothing of\n{profile}"
            )
        return gaps

    def violated(self, orders: np.ndarray) -> np.ndarray:
        """Which profiles violate the axiom."""
        return self.gaps(orders) > self.tolerance

    def replay(self, orders: np.ndarray, weights: np.ndarray) -> Counterexample | None:
        """The axiom called on one profile as a user calls it; None if it is not violated."""
        gap, witness = self.axiom(orders, weights)
        if not float(gap) > self.tolerance:
            return None
        return Counterexample(self.name, orders, weights, float(gap), jax.tree.map(np.asarray, witness))


def _worst_of(examine: Examiner, orders: np.ndarray, shrink: bool) -> Counterexample | None:
    """The profile of a chunk that violates the axiom most, shrunk if asked for."""
    gaps = examine.gaps(orders)
    worst = np.argsort(-gaps, kind="stable")[:TRIED]
    worst = worst[gaps[worst] > examine.tolerance]
    for index in worst:
        candidates = [shrunk(examine.violated, orders[index])] if shrink else []
        for candidate in (*candidates, orders[index]):
            counterexample = examine.replay(candidate, np.full(len(candidate), 1 / len(candidate)))
            if counterexample is not None:
                return counterexample
    # No profile violates the axiom without the rows of weight 0 that were added: these belong to the counterexample.
    for index in worst[:1]:
        padded, weights = examine.pad(orders[index][None])
        return examine.replay(padded[0], weights[0])
    return None


def _all_profiles(size: SearchedSize, neutral: bool, batch_size: int) -> Iterator[np.ndarray]:
    every = rankings(size.alternatives)
    multisets = itertools.combinations_with_replacement(range(len(every)), size.voters - neutral)
    while chunk := list(itertools.islice(multisets, batch_size)):
        indices = np.array(chunk, dtype=np.int32).reshape(len(chunk), -1)
        if neutral:
            indices = np.concatenate([np.zeros_like(indices, shape=(len(chunk), 1)), indices], axis=1)
        yield every[indices]


def _random_profiles(key: Array, size: SearchedSize, batch_size: int) -> Iterator[np.ndarray]:
    for number, start in enumerate(range(0, size.profiles, batch_size)):
        drawn = _draw(jax.random.fold_in(key, number), size.alternatives, size.voters, batch_size)
        yield drawn[: size.profiles - start]


def _draw(key: Array, alternatives: int, voters: int, num: int) -> np.ndarray:
    """(num, voters, alternatives) profiles: impartial culture, Mallows, near ties and near cycles in turn."""
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    every = np.broadcast_to(np.arange(alternatives), (num, voters, alternatives))
    profiles = random.permuted(every, axis=-1)
    kind = np.arange(num) % 4
    center = profiles[:, 0].copy()
    # One Mallows model is sampled for a whole chunk, around 0, 1, ..., M - 1. Each profile then renames the
    # alternatives by its `center`.
    drawn = sample_mallows(key, np.arange(alternatives), dispersion=random.random(), num=num * voters)
    mallows = np.asarray(drawn).reshape(profiles.shape)
    rotations = random.integers(min(alternatives, 4), size=(num, voters, 1))
    profiles[kind == 1] = np.take_along_axis(center[:, None], mallows, axis=-1)[kind == 1]
    ties, cycles = kind == 2, kind == 3
    profiles[ties, 1::2] = profiles[ties, : voters // 2 * 2 : 2, ::-1]
    profiles[cycles] = np.take_along_axis(center[:, None], (every + rotations) % alternatives, axis=-1)[cycles]
    # In near ties and near cycles, about one ballot in three has two neighbours exchanged.
    upper = random.integers(max(alternatives - 1, 1), size=(num, voters, 1))
    lower = np.minimum(upper + 1, alternatives - 1)
    exchanged = np.where(every == upper, lower, np.where(every == lower, upper, every))
    disturbed = (ties | cycles)[:, None, None] & (random.random((num, voters, 1)) < 1 / 3)
    return np.take_along_axis(profiles, np.where(disturbed, exchanged, every), axis=-1)
