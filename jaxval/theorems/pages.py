"""A claim's page: the statement as printed, what was computed, the counterexample, and how to replay it."""

from __future__ import annotations

import textwrap
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from jaxval import _checks
from jaxval.theorems.checks import Verdict, scope
from jaxval.theorems.records import AtMost, Claim, parts
from jaxval.types import BadArgument

__all__ = ["exhibit", "literal", "page", "replay", "told"]

WIDTH = 100
LARGEST_DENOMINATOR = 1_000
ROUNDING = 1e-12  # a number this near to a fraction is printed as the fraction


def page(verdict: Verdict) -> str:
    """What a mathematician wants to know about a claim, as text.

    Args:
        verdict: of the claim.

    Returns:
        Lines of at most 100 characters, but for Python literals and code.

    Example:
        >>> from jaxval import theorems
        >>> if jax.config.jax_enable_x64:
        ...     verdict, = theorems.verify(ids=["mallows/phi-limit"], instances=10)
        ...     assert page(verdict).startswith("mallows/phi-limit")
    """
    claim = _checks.check_record("verdict", verdict, Verdict).claim
    lines = [f"{claim.id}: {claim.source}", ""]
    for name, words in told(verdict).items():
        lines += _paragraph(name, words)
    if verdict.worst_gap > claim.setting.tolerance:
        instance, sides = exhibit(claim, None if claim.counterexample else verdict.worst)
        lines += ["", "Counterexample" if claim.counterexample else "The instance of the largest gap", ""]
        lines += textwrap.indent(instance, "  ").splitlines()
        lines += ["", "Both sides there", "", *(f"  {line}" for line in sides)]
    lines += ["", "To replay it in Python", "", *(f"  {line}" for line in replay(claim))]
    return "\n".join(lines)


def told(verdict: Verdict) -> dict[str, str]:
    """What there is to say about a claim and its verdict, by heading; headings without words are left out.

    Args:
        verdict: of the claim.

    Returns:
        From headings such as "Statement" to words.

    Example:
        >>> from jaxval import theorems
        >>> if jax.config.jax_enable_x64:
        ...     verdict, = theorems.verify(ids=["mallows/phi-limit"], instances=10)
        ...     assert told(verdict)["Verdict"] == "holds"
    """
    claim = _checks.check_record("verdict", verdict, Verdict).claim
    recorded = "" if verdict.as_recorded else f" (recorded: {claim.verdict})"
    headings = {
        "As printed": f'"{claim.quote}"' if claim.quote else "",
        "Statement": claim.words,
        "Verdict": verdict.outcome + _kind(claim) + recorded,
        "Why": claim.why,
        "Corrected": claim.corrected,
        "False neighbour": claim.false or ("the statement as printed" if claim.correction else ""),
        "Scope": scope(verdict),
        "Gaps": _gaps(verdict, claim.setting.tolerance),
        "Covers": ", ".join(claim.covers),
    }
    return {name: words for name, words in headings.items() if words}


def exhibit(claim: Claim, instance: Any = None) -> tuple[str, list[str]]:
    """An instance that breaks a statement, as text, and both sides of every part that it breaks.

    Args:
        claim: a claim that fails as printed.
        instance: an instance of its setting; None means the claim's counterexample.

    Returns:
        The instance as a Python expression without the fields that do not matter, and a line for each part.

    Raises:
        ValueError: if no instance is given and the claim has no counterexample.

    Example:
        >>> from jaxval import theorems
        >>> if jax.config.jax_enable_x64:
        ...     claim, = theorems.claims(ids=["ads/beta-integral"])
        ...     instance, sides = exhibit(claim)
        ...     assert "should equal" in sides[0]
    """
    _checks.check_record("claim", claim, Claim)
    if instance is None:
        if claim.counterexample is None:
            raise BadArgument("instance", expected=f"an instance, as {claim.id} has no counterexample", got="none")
        instance = claim.counterexample()
    return literal(_what_matters(claim, instance)), _sides(claim, instance, claim.setting.tolerance)


def literal(tree: Any) -> str:
    """A Python expression of an instance: fractions instead of decimals, without the rankings that nobody holds.

    Args:
        tree: records, dictionaries, tuples and arrays of numbers.

    Returns:
        The expression.

    Example:
        >>> literal({"share": np.array([1 / 3, 0.5]), "orders": np.array([[0, 1]])})
        'dict(share=[1/3, 1/2], orders=[[0, 1]])'
    """
    if hasattr(tree, "_asdict"):
        fields = _without_weightless(tree._asdict())
        inside = [f"{name}={literal(value)}" for name, value in fields.items() if value is not None]
        flat = f"{type(tree).__name__}({', '.join(inside)})"
        return (
            flat if len(flat) <= WIDTH and "(" not in flat[len(type(tree).__name__) + 1 :] else _stacked(tree, inside)
        )
    if isinstance(tree, dict):
        return f"dict({', '.join(f'{name}={literal(value)}' for name, value in tree.items())})"
    if isinstance(tree, (tuple, list)):
        return f"({', '.join(map(literal, tree))}{',' if len(tree) == 1 else ''})"
    array = np.asarray(tree)
    return f"[{', '.join(map(literal, array))}]" if array.ndim else _number(array.item())


def _number(value: float | int) -> str:
    """A whole number, a fraction with a small denominator, or a decimal number."""
    if isinstance(value, (bool, int)) or not np.isfinite(value):
        return str(value)
    near = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
    return str(near) if abs(float(near) - value) <= ROUNDING * max(1, abs(value)) else repr(value)


def _stacked(record: Any, fields: list[str]) -> str:
    inside = textwrap.indent(",\n".join(fields), "    ")
    return f"{type(record).__name__}(\n{inside},\n)"


def _without_weightless(fields: dict[str, Any]) -> dict[str, Any]:
    """A profile's rankings that somebody holds; other records as they are."""
    if not {"orders", "weights"} <= set(fields) or fields["weights"] is None or np.ndim(fields["weights"]) != 1:
        return fields
    held = np.asarray(fields["weights"]) > 0
    return fields | {name: np.asarray(fields[name])[held] for name in ("orders", "weights") if fields[name] is not None}


def _what_matters(claim: Claim, instance: Any) -> Any:
    """The instance with None for the fields on which no violated part depends, as far as can be told."""
    violated = [name for name, (_, gap) in parts(claim.sides(instance)).items() if float(gap) > claim.setting.tolerance]
    cases = {field: name for name, field in (claim.setting.cases or {}).items()}
    idle = [field for field, name in cases.items() if not any(f"{part}:".startswith(f"{name}:") for part in violated)]
    if not claim.setting.compiled or not hasattr(instance, "_asdict"):
        return instance._replace(**dict.fromkeys(idle)) if idle else instance
    leaves, structure = jax.tree.flatten(instance)

    def gaps(*those: Any) -> list[Any]:
        told = parts(claim.sides(jax.tree.unflatten(structure, those)))
        return [told[name][1] for name in violated]

    traced = jax.make_jaxpr(gaps)(*leaves).jaxpr
    needed = {id(one) for one in traced.outvars}
    for equation in reversed(traced.eqns):
        if any(id(one) in needed for one in equation.outvars):
            needed |= {id(one) for one in equation.invars}
    return _marked(instance, jax.tree.unflatten(structure, [id(one) in needed for one in traced.invars]))


def _marked(tree: Any, marks: Any) -> Any:
    """The tree with None for what is not marked, record by record."""
    if not any(jax.tree.leaves(marks)):
        return None
    if not hasattr(tree, "_asdict"):
        return tree
    return tree._replace(**{name: _marked(value, getattr(marks, name)) for name, value in tree._asdict().items()})


def _sides(claim: Claim, instance: Any, tolerance: float) -> list[str]:
    """Every part of the statement that the instance violates: both sides, or the slack."""
    lines = []
    for name, (sides, gap) in parts(claim.sides(instance)).items():
        if float(gap) > tolerance:
            head = f"{name}: " if name else ""
            if isinstance(sides, tuple):
                relation = "should be at most" if isinstance(sides, AtMost) else "should equal"
                left, right = (literal(np.asarray(side)) for side in sides)
                lines.append(f"{head}{left} {relation} {right}; off by {_number(float(gap))}")
            else:
                lines.append(f"{head}{literal(np.asarray(sides))} should be at most 0; off by {_number(float(gap))}")
    return lines


def replay(claim: Claim) -> list[str]:
    """The lines of Python that compute both sides of a claim at its counterexample, or at a random instance.

    Args:
        claim: the claim.

    Returns:
        Lines.

    Example:
        >>> from jaxval import theorems
        >>> "claim.sides(instance)" in replay(theorems.claims()[0])[-1]
        True
    """
    _checks.check_record("claim", claim, Claim)
    shown = "claim.counterexample()" if claim.counterexample else "claim.setting.generate(jax.random.key(0))"
    return [
        "import jax",
        'jax.config.update("jax_enable_x64", True)',
        "from jaxval import theorems",
        f"(claim,) = theorems.claims(ids=[{claim.id!r}])",
        f"instance = {shown}",
        "theorems.parts(claim.sides(instance))  # from each part to (its sides, its gap)",
    ]


def _kind(claim: Claim) -> str:
    if not claim.kind:
        return ""
    return f"; it follows from {claim.root}" if claim.kind == "follows" else f"; {claim.kind}"


def _gaps(verdict: Verdict, tolerance: float) -> str:
    told = [f"{verdict.worst_gap:.1e} at worst" + (f" (part {verdict.part})" if verdict.part else "")]
    if np.isfinite(verdict.counterexample_gap):
        told.append(f"{verdict.counterexample_gap:.1e} at the counterexample")
    if np.isfinite(verdict.corrected_gap):
        told.append(f"{verdict.corrected_gap:.1e} corrected")
    told.append(f"{verdict.refuted_gap:.1e} of the false neighbour; tolerance {tolerance:.0e}")
    return ", ".join(told)


def _paragraph(name: str, words: str) -> list[str]:
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=f"  {name:16}",
        subsequent_indent=" " * 18,
        break_long_words=False,
        break_on_hyphens=False,
    )
