"""What a claim is: one function that computes both sides of a statement, decorated with everything said about it.

A claim's function takes an instance of its setting and returns the sides of the statement: a pair (left, right) that
should be equal, an `AtMost(left, right)`, an array that should be at most 0 (a slack), or a dictionary of named parts.
Its keyword arguments, which default to what the paper prints, are what its nearest false neighbour and its correction
change.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["AtMost", "Claim", "Inconclusive", "Kind", "Outcome", "Setting", "largest", "parts", "registered"]

UNTOLD = "return both sides of what is compared"
Kind = Literal["", "root error", "follows", "slip", "convention", "reading", "conjecture"]
Outcome = Literal["holds", "fails as printed", "holds as corrected"]


class AtMost(NamedTuple):
    """The two sides of left ≤ right."""

    left: Any
    right: Any


class Inconclusive(Exception):  # noqa: N818, an outcome and no error
    """Raised by a claim that is not compiled if a search or a linear program gives no answer on an instance."""


class Setting(NamedTuple):
    """The instances that claims of one room share.

    Attributes:
        generate: from a random key to one instance, a pytree of arrays of fixed shapes, boundary cases among them.
        scope: the sizes and designs of the random instances, such as "M = 2 to 6; 5 rankings".
        exhaustive: makes instances, stacked along a leading axis, that are all checked beside the random ones.
        every: what `exhaustive` makes, such as "every profile of three voters, M = 3".
        tolerance: a gap above it violates a statement.
        most: the largest number of random instances.
        compiled: whether claims are compiled for a batch; otherwise they take one instance of NumPy arrays at a time.
        cases: from a name such as "M = 3" to the field of an instance that is one case, if the claims speak of one
            case each; None if they take the whole instance.
    """

    generate: Callable[[Key[Array, ""]], Any]
    scope: str
    exhaustive: Callable[[], Any] | None = None
    every: str = ""
    tolerance: float = 1e-9
    most: int = 1_000_000
    compiled: bool = True
    cases: Mapping[str, str] | None = None

    def claim(
        self,
        id: str,
        source: str,
        *,
        false: str = "",
        neighbour: dict[str, Any] | Callable[..., Any] | None = None,
        fails: Kind = "",
        root: str = "",
        quote: str = "",
        why: str = "",
        corrected: str = "",
        correction: dict[str, Any] | Callable[..., Any] | None = None,
        counterexample: Callable[[], Any] | None = None,
        covers: tuple[str, ...] = (),
        proof: str = "",
        **changes: Any,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the decorated function as a claim about these instances; its docstring is the statement.

        Args:
            id: of the claim.
            source: where the paper states it.
            false: the nearest false neighbour in words. A claim that fails may leave it out: the statement as printed
                is then the neighbour of its correction.
            neighbour: the keyword arguments that make the neighbour's sides, or a function of its own. If the setting
                has cases, `only` is the name of the one to which the neighbour is confined.
            fails: the kind of failure; empty if the statement holds, or follows from a root error.
            root: see `Claim`.
            quote: see `Claim`.
            why: see `Claim`.
            corrected: see `Claim`.
            correction: the keyword arguments that make the corrected sides, or a function of its own.
            counterexample: see `Claim`.
            covers: see `Claim`.
            proof: see `Claim`.
            **changes: fields of the setting that differ for this claim, such as `tolerance` or `most`.

        Returns:
            A decorator that leaves the function as it is.

        Raises:
            ValueError: if the id is taken, or what belongs to a claim that holds or fails is missing.

        Example:
            >>> import jax
            >>> numbers = Setting(jax.random.normal, "one real number")
            >>> @numbers.claim("ours/squares", "ours", false="x² ≥ 1 for every x.", neighbour={"least": 1.0})
            ... def squares(x, least=0.0):
            ...     "x² ≥ 0 for every x."
            ...     return AtMost(least, x**2)
            >>> _registry.pop("ours/squares").verdict  # taken out again, for it is an example
            'holds'
        """
        texts = {"id": id, "source": source, "false": false, "root": root, "quote": quote, "why": why}
        for name, text in {**texts, "corrected": corrected, "proof": proof}.items():
            _checks.check_text(name, text)
        _checks.check_choice("fails", fails, get_args(Kind))
        for name, change in {"neighbour": neighbour, "correction": correction}.items():
            if not (change is None or isinstance(change, dict) or callable(change)):
                raise BadArgument(name, expected="keyword arguments, or a function", got=f"{change!r:.80}")
        if counterexample is not None:
            _checks.check_function("counterexample", counterexample)
        _checks.check_names("covers", covers, "ids of statements")
        for name in changes:
            _checks.check_choice("changes", name, self._fields)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            sides = _of_cases(function, self.cases) if self.cases else function

            def version(change: dict[str, Any] | Callable[..., Any] | None) -> Callable[..., Any] | None:
                return functools.partial(sides, **change) if isinstance(change, dict) else change

            made = Claim(
                id,
                source,
                " ".join(inspect.cleandoc(function.__doc__ or "").split()),
                sides,
                self._replace(**changes),
                false,
                version(neighbour) or sides,
                "follows" if root else fails,
                root,
                quote,
                why,
                corrected,
                version(correction),
                _of_jax(counterexample) if counterexample and self.compiled else counterexample,
                covers,
                proof,
            )
            _registry[id] = _complete(made)
            return function

        return register


def _of_cases(sides: Callable[..., Any], cases: Mapping[str, str]) -> Callable[..., dict[str, Any]]:
    """The sides of every case of an instance as named parts; to compute `only` one saves compiling the others."""

    def of_all(instance: Any, only: str = "", **changes: Any) -> dict[str, Any]:
        chosen = {only: cases[only]} if only else cases
        return {name: sides(getattr(instance, field), **changes) for name, field in chosen.items()}

    of_all.__module__ = sides.__module__
    return of_all


class Claim(NamedTuple):
    """A statement of a paper that can be checked.

    Attributes:
        id: such as "ppa/equation-12".
        source: where the paper states it.
        words: what it says, in words and mathematics.
        sides: the function of an instance that returns the statement's sides.
        setting: the instances.
        false: the nearest false neighbour of the version that holds, in words that can be read alone; empty if that is
            the statement as printed.
        neighbour: the sides of that neighbour.
        kind: empty if the statement holds; otherwise why it fails: a "root error"; "follows" from the root error
            `root`; a "slip" of the pen that changes nothing computed; a "convention" (0/0, ∅, diagonals, ties, ranges);
            a "reading" of prose; or a "conjecture" of nobody's theorem.
        root: the id of the claim with the root error that this one follows from.
        quote: the sentence as the paper prints it, if the statement fails.
        why: why the statement fails, in words that can be read alone.
        corrected: the version that holds, in words.
        correction: the sides of that version.
        counterexample: makes an instance that breaks the statement and can be replayed by hand.
        covers: ids of other numbered statements that the sides compute.
        proof: a sketch, if the statement is proved beyond the instances.
    """

    id: str
    source: str
    words: str
    sides: Callable[..., Any]
    setting: Setting
    false: str
    neighbour: Callable[..., Any]
    kind: Kind
    root: str
    quote: str
    why: str
    corrected: str
    correction: Callable[..., Any] | None
    counterexample: Callable[[], Any] | None
    covers: tuple[str, ...]
    proof: str

    @property
    def verdict(self) -> Outcome:
        """The recorded verdict."""
        if not self.kind:
            return "holds"
        return "holds as corrected" if self.correction else "fails as printed"


_registry: dict[str, Claim] = {}


def _of_jax(make: Callable[[], Any]) -> Callable[[], Any]:
    """The same instance with JAX's arrays, which compiled claims take."""
    return lambda: jax.tree.map(jnp.asarray, make())


def _complete(made: Claim) -> Claim:
    """The claim itself, if it has all that its kind needs."""
    stands_alone = not made.kind and bool(made.false) and made.neighbour is not made.sides
    quoted = bool(made.quote) or made.kind == "conjecture"
    explained = bool(made.kind and quoted and made.why and made.counterexample)
    wrong = {
        "a new id": made.id in _registry,
        "a docstring": not made.words,
        "a false neighbour, in words and as a change": bool(made.false) != (made.neighbour is not made.sides),
        "a false neighbour, or a quote, a reason and a counterexample": not (stands_alone or explained),
        "a correction in words and as a change": bool(made.corrected) != (made.correction is not None),
    }
    for expected, missing in wrong.items():
        if missing:
            raise ValueError(f"claim {made.id}: expected {expected}")
    return made


def registered() -> tuple[Claim, ...]:
    """All claims of the rooms that are loaded, in the order in which they stand.

    Returns:
        The claims.

    Example:
        >>> from jaxval import theorems
        >>> len(registered()) == len(theorems.claims())
        True
    """
    return tuple(_registry.values())


def parts(sides: Any, name: str = "") -> dict[str, tuple[Any, Array]]:
    """The gap of each part of a statement.

    Args:
        sides: what a claim's function returns.
        name: the name of the whole statement.

    Returns:
        A dictionary from each part's name to its sides and its gap. A part holds if its gap is at most 0, or at most
        the tolerance. The gap is infinite if a side is no number.

    Example:
        >>> {name: float(gap) for name, (_, gap) in parts({"(1)": (1.0, 1.5), "(2)": AtMost(1.0, 3.0)}).items()}
        {'(1)': 0.5, '(2)': -2.0}
    """
    _checks.check_text("name", name)
    if isinstance(sides, dict):
        named = [parts(part, f"{name}: {key}" if name else str(key)) for key, part in sides.items()]
        return {key: found for part in named for key, found in part.items()}
    if isinstance(sides, tuple) and not isinstance(sides, AtMost):
        if len(sides) != 2:
            raise BadArgument("sides", expected="two sides, or a dictionary of parts", got=f"{len(sides)} sides")
        left, right = (jnp.asarray(_checks.real_array("sides", side)) for side in sides)
        return {name: (sides, largest(left - right))}
    if not isinstance(sides, AtMost) and (isinstance(sides, bool) or getattr(sides, "dtype", None) == jnp.bool_):
        expected = "a pair (left, right), AtMost(left, right), or slacks that are at most 0"
        raise BadArgument("sides", expected=expected, got="truth values, which tell no gap", advice=UNTOLD)
    slack = jnp.subtract(*sides) if isinstance(sides, AtMost) else _checks.numbers("sides", sides)
    return {name: (sides, jnp.where(jnp.any(jnp.isnan(slack)), jnp.inf, jnp.max(slack)))}


def largest(difference: Array) -> Array:
    """The largest absolute entry; infinite if an entry is no number, which a compiled maximum passes over on CPU.

    Args:
        difference: any array.

    Returns:
        A number.

    Example:
        >>> float(largest(jnp.array([0.5, -2.0])))
        2.0
    """
    difference = jnp.asarray(_checks.real_array("difference", difference))
    return jnp.where(jnp.all(jnp.isfinite(difference)), jnp.max(jnp.abs(difference)), jnp.inf)
