"""What a claim is, and how it is checked: on instances, against its nearest false neighbour, beside its verdict.

A gap is how far an instance is from what the claim says, at most 0 or the tolerance where it holds. A claim that fails
as printed keeps an instance that shows it and a corrected version, which is checked on the same instances.
"""

import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxval import _checks
from jaxval.parallel import progress as progress_bar

__all__ = ["Claim", "Statement", "Verdict", "check_claim"]

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
    gap: Callable[[Any], Array]
    false_words: str
    false_gap: Callable[[Any], Array]


class Claim(NamedTuple):
    """A numbered statement of a paper.

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


class Verdict(NamedTuple):
    """What a check of a claim found.

    Attributes:
        claim: the claim.
        outcome: "holds", "fails as printed", "holds as corrected", or what is wrong with the check.
        instances: how many were looked at.
        worst_gap: the largest gap of the statement as printed.
        corrected_gap: of the corrected version; NaN where there is none.
        refuted_gap: of the nearest false statement, which must be above the tolerance.
        witness: the instance of the largest gap.
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


def check_claim(claim: Claim, key: Key[Array, ""], *, instances: int = 10_000, batch_size: int = 2_500) -> Verdict:
    """Check a claim and its nearest false neighbour on random instances, and on its counterexample where it has one.

    Args:
        claim: the claim.
        key: a random key; the same key gives the same instances.
        instances: how many, at most `claim.most`.
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
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise ValueError("theorems are checked in float64: expected jax_enable_x64; got float32; set JAX_ENABLE_X64=1")
    started = time.perf_counter()
    count = min(_checks.check_size("instances", instances), claim.most)
    keys = jax.random.split(key, count)
    statements = [claim.printed, *([claim.corrected] if claim.corrected else [])]
    gaps = [gap for statement in statements for gap in (statement.gap, statement.false_gap)]
    largest, worst = _largest_gaps(gaps, claim, keys, batch_size)
    witness = jax.jit(claim.generate)(keys[worst])
    if claim.counterexample is not None:
        example = claim.counterexample()
        shown = np.array([float(jax.jit(statement.gap)(example)) for statement in statements])
        if shown[0] > claim.tolerance:
            witness = example
        largest[::2] = np.maximum(largest[::2], shown)
    printed, refuted = float(largest[0]), float(largest[1::2].min())
    corrected = float(largest[2]) if claim.corrected else np.nan
    outcome = _outcome(claim, printed, corrected, refuted)
    return Verdict(claim, outcome, count, printed, corrected, refuted, witness, time.perf_counter() - started)


def _outcome(claim: Claim, printed: float, corrected: float, refuted: float) -> str:
    if not refuted > claim.tolerance:
        return "blind: its nearest false statement was not refuted"
    if printed <= claim.tolerance:
        return "holds"
    if claim.corrected is not None and corrected <= claim.tolerance:
        return "holds as corrected"
    return "fails as printed"


def _largest_gaps(
    gaps: Sequence[Callable[[Any], Array]], claim: Claim, keys: Array, batch_size: int
) -> tuple[np.ndarray, int]:
    """The largest of each gap over all instances, and the instance of the first's; NaN counts as infinite."""

    @jax.jit
    @jax.vmap
    def of_keys(key: Array) -> Float[Array, "gaps"]:
        instance = claim.generate(key)
        return jnp.stack([gap(instance) for gap in gaps])

    size = min(batch_size, len(keys))
    rows = np.arange(-(-len(keys) // size) * size) % len(keys)
    found = np.concatenate([np.asarray(of_keys(keys[part])) for part in rows.reshape(-1, size)])[: len(keys)]
    found = np.where(np.isnan(found), np.inf, found)
    return found.max(axis=0), int(found[:, 0].argmax())


def check_all(
    claims: Sequence[Claim], *, instances: int = 10_000, seed: int = 0, progress: bool = False
) -> list[Verdict]:
    """The verdicts of several claims, each with a key of its own name: `theorems.verify` chooses them."""
    found = []
    with progress_bar(progress, len(claims), "claims") as advance:
        for claim in claims:
            key = jax.random.fold_in(jax.random.key(seed), _number(claim.id))
            found.append(check_claim(claim, key, instances=instances))
            advance(1)
    return found


def _number(name: str) -> int:
    return zlib.crc32(name.encode()) % 2**31
