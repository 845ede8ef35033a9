"""What a claim is, and how it is checked: on instances, against its nearest false neighbour, beside its verdict.

A gap is how far an instance is from what the claim says, at most 0 or the tolerance where it holds. A claim that fails
as printed keeps an instance that shows it and a corrected version, which is checked on the same instances.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks

__all__ = ["Claim", "Statement", "Verdict", "check_claim", "largest"]

Outcome = Literal["holds", "fails as printed", "holds as corrected"]


class Statement(NamedTuple):
    """A statement that can be checked.

    Attributes:
        words: what it says, in words and mathematics.
        gap: from one instance to a number: at most the tolerance where the statement holds.
        false_words: its nearest false neighbour: a hypothesis dropped, a bound tightened, a sign changed.
        false_gap: the neighbour's gap, which must exceed the tolerance on some of the same instances.
    """

    words: str
    gap: Callable[[Any], Any]
    false_words: str
    false_gap: Callable[[Any], Any]


class Claim(NamedTuple):
    """A statement of a paper.

    Attributes:
        id: such as "coalition/equation-6".
        source: where it stands.
        printed: the statement on its whole stated range.
        generate: from a random key to one instance, a pytree of arrays of one shape; boundary cases among them.
        verdict: what was found: "holds", or "fails as printed", or "holds as corrected".
        why: where it fails, why, in a sentence or two.
        corrected: where it fails, the version that holds.
        counterexample: where it fails, a function that makes an instance that can be replayed by hand.
        tolerance: of the gaps.
        most: how many random instances at most, where one is costly.
        covers: ids of other numbered statements that the gap computes.
        exhaustive: makes instances, stacked along a leading axis, that are all checked beside the random ones.
        compiled: whether the gaps are JAX functions; else they take one instance of NumPy arrays at a time.
    """

    id: str
    source: str
    printed: Statement
    generate: Callable[[Key[Array, ""]], Any]
    verdict: Outcome = "holds"
    why: str = ""
    corrected: Statement | None = None
    counterexample: Callable[[], Any] | None = None
    tolerance: float = 1e-9
    most: int = 1_000_000
    covers: tuple[str, ...] = ()
    exhaustive: Callable[[], Any] | None = None
    compiled: bool = True


class Verdict(NamedTuple):
    """What a check of a claim found.

    Attributes:
        claim: the claim.
        outcome: "holds", "fails as printed", "holds as corrected", or what is wrong with the check.
        instances: how many were looked at: random ones, all of a finite case, and the counterexample.
        worst_gap: the largest gap of the statement as printed.
        corrected_gap: of the corrected version; NaN where there is none.
        refuted_gap: of the nearest false statement, which must be above the tolerance.
        witness: the counterexample where the claim keeps one, else the instance of the largest gap.
        seconds: how long it took.
    """

    claim: Claim
    outcome: str
    instances: int
    worst_gap: float
    corrected_gap: float
    refuted_gap: float
    witness: Any
    seconds: float

    @property
    def as_recorded(self) -> bool:
        """Whether it is what the ledger says."""
        return self.outcome == self.claim.verdict


def largest(difference: Array) -> Array:
    """The largest absolute entry; infinite where one is no number, which a compiled maximum passes over on CPU.

    Args:
        difference: any array.

    Returns:
        A number.

    Example:
        >>> float(largest(jnp.array([0.5, -2.0])))
        2.0
    """
    return jnp.where(jnp.all(jnp.isfinite(difference)), jnp.max(jnp.abs(difference)), jnp.inf)


def check_claim(claim: Claim, key: Key[Array, ""], *, instances: int = 10_000, batch_size: int = 2_500) -> Verdict:
    """Check a claim and its nearest false neighbour on random instances, and on its own examples where it has some.

    Args:
        claim: the claim.
        key: a random key; the same key gives the same instances.
        instances: how many random ones, at most `claim.most`.
        batch_size: how many at a time.

    Returns:
        The `Verdict`.

    Raises:
        ValueError: where JAX computes in float32.

    Example:
        >>> from jaxval import theorems
        >>> if jax.config.jax_enable_x64:
        ...     claim = theorems.claims(paper="mallows")[0]
        ...     assert check_claim(claim, jax.random.key(0), instances=100).as_recorded
    """
    require_float64()
    started = time.perf_counter()
    count = min(_checks.check_size("instances", instances), claim.most)
    batch_size = min(batch_size, count)
    statements = [claim.printed, *([claim.corrected] if claim.corrected else [])]
    gaps = [gap for statement in statements for gap in (statement.gap, statement.false_gap)]
    cases = _cases(claim, key, count, batch_size)
    found = _compiled_gaps(gaps, cases, batch_size) if claim.compiled else _plain_gaps(gaps, cases)
    found = np.where(np.isnan(found), np.inf, found)
    largest_gaps, worst = found.max(axis=0), int(found[:, 0].argmax())
    if claim.counterexample is not None:
        worst = len(found) - 1
    printed, refuted = float(largest_gaps[0]), float(largest_gaps[1::2].min())
    corrected = float(largest_gaps[2]) if claim.corrected else np.nan
    shown = float(found[-1, 0]) if claim.counterexample is not None else np.inf
    outcome = _outcome(claim, printed, corrected, refuted, shown)
    witness = _rows(cases, worst)
    return Verdict(claim, outcome, len(found), printed, corrected, refuted, witness, time.perf_counter() - started)


def require_float64() -> None:
    """Raise a ValueError where JAX computes in float32."""
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ValueError("theorems are checked in float64: expected jax_enable_x64; got float32; set JAX_ENABLE_X64=1")


def _outcome(claim: Claim, printed: float, corrected: float, refuted: float, shown: float) -> str:
    if not refuted > claim.tolerance:
        return "blind: its nearest false statement was not refuted"
    if not shown > claim.tolerance:
        return "idle: its counterexample obeys the statement"
    if printed <= claim.tolerance:
        return "holds"
    if claim.corrected is not None and corrected <= claim.tolerance:
        return "holds as corrected"
    return "fails as printed"


@functools.cache
def _generator(generate: Callable[[Key[Array, ""]], Any]) -> Callable[[Array], Any]:
    """Compiled once, for all claims that share it."""
    return jax.jit(jax.vmap(generate))


def _cases(claim: Claim, key: Key[Array, ""], count: int, batch_size: int) -> Any:
    """All instances, stacked: the random ones, those of a finite case, the counterexample last."""
    keys = jax.random.split(key, -(-count // batch_size) * batch_size)
    generate = _generator(claim.generate)
    parts = [jax.tree.map(np.asarray, generate(part)) for part in keys.reshape(-1, batch_size)]
    cases = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
    more = [claim.exhaustive()] if claim.exhaustive else []
    if claim.counterexample:
        more.append(jax.tree.map(lambda leaf: np.asarray(leaf)[None], claim.counterexample()))
    for others in more:
        cases = jax.tree.map(
            lambda leaf, other: np.concatenate([leaf, np.asarray(other).astype(leaf.dtype)]), cases, others
        )
    return cases


def _compiled_gaps(gaps: Sequence[Callable[[Any], Any]], cases: Any, batch_size: int) -> np.ndarray:
    """(cases, gaps), in batches of one shape, the last one filled up with cases that come again."""
    of_batch = jax.jit(jax.vmap(lambda case: jnp.stack([jnp.asarray(gap(case), float) for gap in gaps])))
    count = len(jax.tree.leaves(cases)[0])
    rows = np.arange(-(-count // batch_size) * batch_size) % count
    return np.concatenate([np.asarray(of_batch(_rows(cases, part))) for part in rows.reshape(-1, batch_size)])[:count]


def _plain_gaps(gaps: Sequence[Callable[[Any], Any]], cases: Any) -> np.ndarray:
    """(cases, gaps), one by one."""
    count = len(jax.tree.leaves(cases)[0])
    return np.array([[float(gap(case)) for gap in gaps] for case in (_rows(cases, row) for row in range(count))])


def _rows(cases: Any, rows: int | np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], cases)
