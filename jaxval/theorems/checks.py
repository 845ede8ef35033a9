"""How a claim is checked: on the instances of its setting, against its nearest false neighbour, beside its verdict.

Claims of one setting share their instances, and a counterexample of one is an instance of them all.
"""

from __future__ import annotations

import functools
import time
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval._tables import html_table, text_table
from jaxval.theorems._traces import name_fields, traced_once
from jaxval.theorems.records import Claim, Inconclusive, parts, registered
from jaxval.types import BadArgument

__all__ = ["Verdict", "check_claim", "scope"]

# Most of a check is compiling: let XLA optimise less. The options that this version of XLA lacks are left out.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_cpu_emitter_verification_level": 0,
}


BLOCK = 250  # the number of random instances that are drawn at a time


class Verdict(NamedTuple):
    """The result of checking a claim.

    Attributes:
        claim: the claim.
        outcome: "holds", "fails as printed", "holds as corrected", "inconclusive", or what is wrong with the check.
        sampled: the number of random instances.
        enumerated: the number of instances of the setting's finite cases.
        replayed: the number of counterexamples, those of the setting's other claims included.
        inconclusive: the number of instances on which a search or a linear program gave no answer.
        worst_gap: the largest gap of the statement as printed.
        part: the part of the statement that has this gap; empty if there is one part.
        worst: the instance that has this gap.
        counterexample_gap: the gap of the statement at the claim's counterexample; NaN without one.
        corrected_gap: the largest gap of the corrected version; NaN without one.
        refuted_gap: the largest gap of the nearest false neighbour, which must be above the tolerance.
        seconds: the time that the check took.
    """

    claim: Claim
    outcome: str
    sampled: int
    enumerated: int
    replayed: int
    inconclusive: int
    worst_gap: float
    part: str
    worst: Any
    counterexample_gap: float
    corrected_gap: float
    refuted_gap: float
    seconds: float

    @property
    def instances(self) -> int:
        """The number of all instances."""
        return self.sampled + self.enumerated + self.replayed

    @property
    def as_recorded(self) -> bool:
        """Whether the outcome is the one that the claim records."""
        return self.outcome == self.claim.verdict

    def __str__(self) -> str:
        """The table that `print` shows; `page` tells the counterexample and how to replay it, too."""
        return text_table(*self._table(), align="left")

    def _repr_html_(self) -> str:
        """The same table for a notebook."""
        return html_table(*self._table(), align="left")

    def _table(self) -> tuple[list[str], list[tuple[str, str]]]:
        from jaxval.theorems.pages import told

        return [self.claim.id, self.claim.source], list(told(self).items())


class Cases(NamedTuple):
    """Instances, stacked: the random ones first, then those of a finite case, then counterexamples.

    Attributes:
        instances: a pytree of arrays with a leading axis.
        sampled: the number of random ones.
        enumerated: the number of those of a finite case.
        rows: from the id of a claim to the row of its counterexample.
    """

    instances: Any
    sampled: int
    enumerated: int
    rows: dict[str, int]

    @property
    def size(self) -> int:
        """The number of instances."""
        return self.sampled + self.enumerated + len(self.rows)


def check_claim(claim: Claim, key: Key[Array, ""], *, instances: int = 10_000, batch_size: int = 2_500) -> Verdict:
    """Check a claim, its correction and its nearest false neighbour on the instances of its setting.

    Args:
        claim: the claim.
        key: a random key; the same key gives the same instances to all claims of a setting.
        instances: the number of random ones, at most `claim.setting.most`.
        batch_size: the number of instances that are computed at a time.

    Returns:
        The `Verdict`.

    Raises:
        ValueError: if JAX computes in float32.

    Example:
        >>> from jaxval import theorems
        >>> if jax.config.jax_enable_x64:
        ...     claim = theorems.claims(paper="mallows")[0]
        ...     assert check_claim(claim, jax.random.key(0), instances=100).as_recorded
    """
    require_float64()
    _checks.check_record("claim", claim, Claim)
    _checks.check_key(key)
    started = time.perf_counter()
    count = min(_checks.check_size("instances", instances), claim.setting.most)
    _checks.check_size("batch_size", batch_size)
    cases = make_cases(claim, key, count)
    versions = {"printed": claim.sides, "corrected": claim.correction}
    if claim.neighbour is not claim.sides:
        versions["false"] = claim.neighbour
    versions = {name: version for name, version in versions.items() if version}
    if claim.setting.compiled:
        # A claim of a user, or one whose sides were replaced, is other code than that of the registered claims.
        known = claim in registered() and claim.sides.__module__.startswith("jaxval.")
        table, unknown = _compiled_gaps(versions, cases, batch_size, name=claim.id if known else None), 0
    else:
        table, unknown = _plain_gaps(versions, cases)
    printed = np.max(list(table["printed"].values()), axis=0)
    worst = int(printed.argmax())
    part = max(table["printed"], key=lambda name: table["printed"][name][worst])
    largest_gaps = {name: max(float(gap.max()) for gap in those.values()) for name, those in table.items()}
    shown = float(printed[cases.rows[claim.id]]) if claim.counterexample else np.nan
    corrected, refuted = largest_gaps.get("corrected", np.nan), largest_gaps.get("false", largest_gaps["printed"])
    return Verdict(
        claim,
        _outcome(claim, largest_gaps["printed"], corrected, refuted, shown, unknown),
        cases.sampled,
        cases.enumerated,
        len(cases.rows),
        unknown,
        largest_gaps["printed"],
        part,
        _rows(cases.instances, worst),
        shown,
        corrected,
        refuted,
        time.perf_counter() - started,
    )


def require_float64() -> None:
    """Raise a ValueError if JAX computes in float32."""
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        advice = "set JAX_ENABLE_X64=1"
        raise BadArgument("theorems are checked in float64", expected="jax_enable_x64", got="float32", advice=advice)


def scope(verdict: Verdict) -> str:
    """What a verdict is about: sizes, designs and numbers of instances, and how they were found.

    Args:
        verdict: of a claim.

    Returns:
        One line.

    Example:
        >>> from jaxval import theorems
        >>> if jax.config.jax_enable_x64:
        ...     verdict, = theorems.verify(ids=["mallows/phi-limit"], instances=10)
        ...     assert "10 sampled" in scope(verdict)
    """
    setting = _checks.check_record("verdict", verdict, Verdict).claim.setting
    words = [f"{setting.scope}; {verdict.sampled:,} sampled"]
    if verdict.enumerated:
        words.append(f"exhausted: {setting.every} ({verdict.enumerated:,})")
    if verdict.replayed:
        words.append(f"{verdict.replayed} counterexample{'s' if verdict.replayed > 1 else ''} replayed")
    if verdict.inconclusive:
        words.append(f"{verdict.inconclusive:,} without an answer")
    if verdict.claim.proof:
        words.append(f"proved: {verdict.claim.proof}")
    return "; ".join(words)


def _outcome(claim: Claim, printed: float, corrected: float, refuted: float, shown: float, unknown: int) -> str:
    tolerance = claim.setting.tolerance
    if claim.counterexample and -np.inf < shown <= tolerance:
        return "idle: its counterexample obeys the statement"
    if printed > tolerance and (claim.correction is None or corrected > tolerance):
        return "fails as printed"
    if unknown:
        return "inconclusive"
    if not refuted > tolerance:
        return "blind: its nearest false neighbour was not refuted"
    return "holds" if printed <= tolerance else "holds as corrected"


def make_cases(claim: Claim, key: Key[Array, ""], count: int) -> Cases:
    """The instances of a claim: random ones, those of a finite case, and all counterexamples of the setting.

    Args:
        claim: the claim.
        key: a random key.
        count: the number of random instances.

    Returns:
        The `Cases`.
    """
    made_for = claim.setting.generate
    shown = {other.id: other.counterexample for other in registered() if other.setting.generate is made_for}
    shown |= {claim.id: claim.counterexample}
    replayed = tuple((name, make) for name, make in shown.items() if make)
    data = tuple(np.asarray(jax.random.key_data(key)).tolist())
    return _cases(made_for, claim.setting.exhaustive, replayed, data, count)


@functools.lru_cache(maxsize=8)
def _cases(
    generate: Callable[[Array], Any],
    exhaustive: Callable[[], Any] | None,
    replayed: tuple[tuple[str, Callable[[], Any]], ...],
    data: tuple[int, ...],
    count: int,
) -> Cases:
    """Made once for all claims of a setting that are checked in this process."""
    sampled = _random_instances(generate, data, count)
    enumerated = [exhaustive()] if exhaustive else []
    shown = {name: jax.tree.map(lambda leaf: np.asarray(leaf)[None], make()) for name, make in replayed}
    shapes = jax.tree.map(lambda leaf: leaf.shape[1:], sampled)
    shown = {name: one for name, one in shown.items() if jax.tree.map(lambda leaf: leaf.shape[1:], one) == shapes}
    merged = jax.tree.map(
        lambda *leaves: np.concatenate([np.asarray(x).astype(leaves[0].dtype) for x in leaves]),
        *(sampled, *enumerated, *shown.values()),
    )
    first = count + sum(_count(part) for part in enumerated)
    return Cases(merged, count, first - count, {name: first + row for row, name in enumerate(shown)})


def _random_instances(generate: Callable[[Array], Any], data: tuple[int, ...], count: int) -> Any:
    """The first `count` instances of a stream that is drawn in blocks of one shape."""
    blocks, draw = _stream(generate, data), _generator(generate)
    for number in range(len(blocks), -(-count // BLOCK)):
        blocks.append(jax.tree.map(np.asarray, draw(np.array(data, np.uint32), np.uint32(number))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *blocks[: -(-count // BLOCK)])


@functools.lru_cache(maxsize=4)
def _stream(generate: Callable[[Array], Any], data: tuple[int, ...]) -> list[Any]:
    """The blocks that have been drawn: claims of one setting may ask for different numbers of instances."""
    return []


@functools.cache
def _generator(generate: Callable[[Array], Any]) -> Callable[[np.ndarray, np.uint32], Any]:
    """From the data of a key and the number of a block to its instances; compiled once for all that share it."""

    def block(data: Array, number: Array) -> Any:
        key = jax.random.fold_in(jax.random.wrap_key_data(data), number)
        return jax.vmap(generate)(jax.random.split(key, BLOCK))

    if not generate.__module__.startswith("jaxval."):
        return _quick(block)
    name = f"{generate.__module__}.{generate.__qualname__}"
    name_fields(typing.get_type_hints(generate)["return"])
    return _quick(traced_once(block, name, np.zeros(2, np.uint32), np.uint32(0)))


def _compiled_gaps(
    versions: dict[str, Any], cases: Cases, batch_size: int, *, name: str | None
) -> dict[str, dict[str, Any]]:
    """From each version and part to the gaps (cases,), in batches of one shape; the last is filled up with repeats.

    `name` is that of a claim of jaxval, whose program may be kept; None means another claim.
    """

    def gaps(instance: Any) -> dict[str, dict[str, Array]]:
        return {
            name: {part: gap.astype(float) for part, (_, gap) in parts(version(instance)).items()}
            for name, version in versions.items()
        }

    number = -(-cases.size // batch_size)
    rows = np.arange(number * -(-cases.size // number)).reshape(number, -1) % cases.size
    leaves, structure = jax.tree.flatten(cases.instances)

    def of_leaves(*leaves: Array) -> dict[str, dict[str, Array]]:
        return jax.vmap(gaps)(jax.tree.unflatten(structure, leaves))

    first = _rows(leaves, rows[0])
    of_batch = _quick(of_leaves if name is None else traced_once(of_leaves, name, *first))
    batches = [jax.tree.map(np.asarray, of_batch(*_rows(leaves, part))) for part in rows]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: cases.size], *batches)


def _plain_gaps(versions: dict[str, Any], cases: Cases) -> tuple[dict[str, dict[str, Any]], int]:
    """The same one by one; the number of instances without an answer beside it."""
    table = {name: {"": np.full(cases.size, -np.inf)} for name in versions}
    unknown = set()
    for row in range(cases.size):
        for name, version in versions.items():
            try:
                found = parts(version(_rows(cases.instances, row)))
            except Inconclusive:
                unknown.add(row)
                continue
            for part, (_, gap) in found.items():
                table[name].setdefault(part, np.full(cases.size, -np.inf))[row] = float(gap)
    return table, len(unknown)


def _quick(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled with little optimisation."""
    return jax.jit(function, compiler_options=_options())


@functools.cache
def _options() -> dict[str, Any]:
    """The options of `QUICK` that this version of XLA has."""
    known = {}
    for name, value in QUICK.items():
        try:
            jax.jit(lambda x: x, compiler_options={name: value})(0.0)
        except Exception:  # XLA raises an error of its own for an option that it lacks
            continue
        known[name] = value
    return known


def _count(cases: Any) -> int:
    return len(jax.tree.leaves(cases)[0])


def _rows(cases: Any, rows: int | np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], cases)
