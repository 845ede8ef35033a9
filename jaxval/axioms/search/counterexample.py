"""Counterexamples: a profile on which a rule violates an axiom, or a game on which a value violates one."""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

import numpy as np

from jaxval import _checks, _objects
from jaxval.types import BadArgument, Orders, Table, Weights

__all__ = ["Counterexample", "GameCounterexample", "format_game", "format_profile"]


class Counterexample(NamedTuple):
    """A profile on which a rule violates an axiom.

    For a counterexample `found`, `axiom(rule, found.orders, found.weights, **options)` returns the same gap and
    witness, and `print(found)` prints the profile and the witness.

    Attributes:
        axiom: the axiom's name.
        orders: (voters, alternatives) NumPy array, one row for each voter.
        weights: (voters,) the shares of the voters.
        gap: by how much the axiom is violated.
        witness: the axiom's witness, a NamedTuple of NumPy arrays.
    """

    axiom: str
    orders: np.ndarray
    weights: np.ndarray
    gap: float
    witness: Any

    def __str__(self) -> str:
        voters, alternatives = self.orders.shape
        lines = [
            f"{self.axiom} violated by {self.gap:.6g} with {alternatives} alternatives and {voters} "
            f"voter{'s' if voters > 1 else ''}:",
            format_profile(self.orders, self.weights, indent="  ", nobody=True),
        ]
        if not (self.weights > 0).all():
            lines[0] = lines[0][:-1] + ", some of weight 0:"
        return "\n".join([*lines, *_format_witness(self.witness, self.weights), *self._changes()])

    def _changes(self) -> list[str]:
        """What the witness changes: the ballots that differ from those before, and the probabilities."""
        fields = self.witness._asdict() if hasattr(self.witness, "_asdict") else {}
        weights = np.asarray(fields.get("weights", self.weights))
        if "changed_orders" in fields:
            before, after = np.asarray(fields["orders"]), np.asarray(fields["changed_orders"])
        else:
            before, after, weights = self.orders, np.asarray(fields.get("orders", self.orders)), self.weights
        lines = _changed_ballots(before, after, weights) if before.shape == after.shape else []
        lottery = fields.get("lottery")
        other = next((value for name, value in fields.items() if name.endswith("_lottery")), None)
        if lottery is not None and other is not None:
            gains = np.asarray(other, dtype=float) - np.asarray(lottery, dtype=float)
            changed = [f"{_letter(i)} {gain:+.6g}" for i, gain in enumerate(gains.tolist()) if abs(gain) > 1e-6]
            lines += [f"probabilities change: {', '.join(changed)}"] if changed else []
        return lines


class GameCounterexample(NamedTuple):
    """A game on which a value violates an axiom.

    For a counterexample `found`, `axiom(value, found.table, **options)` returns the same gap and witness. If
    `found.other` is not None, pass it after the table. If `found.groups` is not None, pass `groups=found.groups`.
    `print(found)` prints the game and the witness.

    Attributes:
        axiom: the axiom's name.
        table: (2^n,) NumPy array, the utilities of all coalitions.
        other: (2^n,) NumPy array, the second game of an axiom that compares two games; None for other axioms.
        groups: (n,) NumPy array, the group of each player; None if neither the axiom nor the value needs groups.
        gap: by how much the axiom is violated.
        witness: the axiom's witness, a NamedTuple of NumPy arrays.
    """

    axiom: str
    table: np.ndarray
    other: np.ndarray | None
    groups: np.ndarray | None
    gap: float
    witness: Any

    def __str__(self) -> str:
        players = len(self.table).bit_length() - 1
        lines = [f"{self.axiom} violated by {self.gap:.6g} with {players} player{'s' if players > 1 else ''}:"]
        if self.other is None:
            lines += [format_game(self.table, indent="  ")]
        else:
            lines += [
                f"table:\n{format_game(self.table, indent='  ')}",
                f"other:\n{format_game(self.other, indent='  ')}",
            ]
        if self.groups is not None:
            lines += [f"groups: {self.groups.tolist()}"]
        return "\n".join([*lines, *_format_witness(self.witness, np.ones(0))])


def format_game(table: Table, *, indent: str = "") -> str:
    """A game as text, one line for each utility: `1 for {0}, {0, 1}`.

    Args:
        table: (2^n,) utilities of all coalitions, bit i of the index being player i.
        indent: the text at the beginning of each line.

    Returns:
        The lines, the largest utility first. The most frequent utility comes last, without a list of its
        coalitions.

    Example:
        >>> print(format_game([0.0, 1.0, 0.0, 1.5]))
        1.5 for {0, 1}
        1 for {0}
        0 for all others
    """
    table = np.asarray(_checks.known_floats("table", table, ndim=1, expected="(2^n,) utilities"))
    _checks.check_text("indent", indent)
    if not len(table) or len(table) & (len(table) - 1):
        raise BadArgument("table", expected="(2^n,) utilities", got=f"shape {table.shape}")
    players = range(len(table).bit_length() - 1)
    coalitions: dict[float, list[str]] = {}
    for row, utility in enumerate((table + 0.0).tolist()):
        coalitions.setdefault(utility, []).append(f"{{{', '.join(str(i) for i in players if row >> i & 1)}}}")
    most = max(coalitions, key=lambda utility: (len(coalitions[utility]), utility == 0))
    lines = [
        f"{utility:.6g} for {', '.join(coalitions[utility])}"
        for utility in sorted(coalitions, reverse=True)
        if utility != most
    ]
    lines.append(f"{most:.6g} for all{' others' if lines else ''}")
    return "\n".join(
        textwrap.fill(line, 80, initial_indent=indent, subsequent_indent=indent + "    ") for line in lines
    )


def format_profile(orders: Orders, weights: Weights | None = None, *, indent: str = "", nobody: bool = False) -> str:
    """A profile as text, one line for each ranking and its share: `2 x a > b > c`.

    If all shares are whole multiples of the smallest, they are written as numbers of voters, and else as decimals.

    Args:
        orders: (rankings, alternatives) rankings, best first.
        weights: (rankings,) shares; None means equal shares.
        indent: the text at the beginning of each line.
        nobody: whether rankings whose rows all have weight 0 are shown, as `0 x`.

    Returns:
        The lines, in the order in which the rankings first occur.

    Example:
        >>> print(format_profile([[0, 1, 2], [0, 1, 2], [2, 1, 0]]))
        2 x a > b > c
        1 x c > b > a
    """
    orders = np.asarray(_objects.check_orders(orders))
    _checks.check_text("indent", indent)
    _checks.check_flag("nobody", nobody)
    given = np.full(len(orders), 1 / len(orders)) if weights is None else weights
    weights = _checks.host_numbers("weights", given, "(rankings,) shares")
    if weights.shape != orders.shape[:1]:
        raise BadArgument("weights", expected=f"one share for each of {len(orders)} rankings", got=weights.shape)
    shares: dict[tuple[int, ...], float] = {}
    for ranking, weight in zip(orders.tolist(), weights.tolist(), strict=True):
        if weight > 0 or nobody:
            shares[tuple(ranking)] = shares.get(tuple(ranking), 0) + weight
    smallest = min((weight for weight in weights.tolist() if weight > 0), default=1.0)
    counts = np.array(list(shares.values())) / smallest
    whole = np.allclose(counts, counts.round(), atol=1e-3) and counts.sum() < 1e6
    amounts = [f"{round(count)}" for count in counts] if whole else [f"{share:.6g}" for share in shares.values()]
    width = max(map(len, amounts), default=0)
    rows = zip(amounts, shares, strict=True)
    return "\n".join(f"{indent}{amount:>{width}} x {_ranking(ranking)}" for amount, ranking in rows)


def _changed_ballots(before: np.ndarray, after: np.ndarray, weights: np.ndarray) -> list[str]:
    """A line for each ballot that changed: `ballot 0 changes: a > b > c becomes b > a > c`."""
    rows = np.flatnonzero((before != after).any(axis=1) & (weights > 0)).tolist()
    return [
        f"ballot {row} changes: {_ranking(before[row].tolist())} becomes {_ranking(after[row].tolist())}"
        for row in rows
    ]


def _format_witness(witness: Any, weights: np.ndarray) -> list[str]:
    """One entry for each field of a witness, without fields that would be empty."""
    fields = witness._asdict() if hasattr(witness, "_asdict") else {"witness": witness}
    words = witness.words() if hasattr(witness, "words") else {}
    lines = [
        f"{field}: {words[field]}" if field in words else _format_field(field, np.asarray(value), fields, weights)
        for field, value in fields.items()
    ]
    return [line for line in lines if line]


def _format_field(field: str, value: np.ndarray, fields: dict[str, Any], weights: np.ndarray) -> str:
    name = field.replace("_", " ")
    if field.endswith("weights"):
        return ""  # shown with the rankings
    if field.endswith("orders"):
        changed_weights = fields.get(field.replace("orders", "weights"))
        shares = weights if changed_weights is None else np.asarray(changed_weights)
        return f"{name}:\n{format_profile(value, shares, indent='  ')}"
    if field in ("alternative", "winner", "better", "worse"):
        return f"{name}: {_letter(int(value))}"
    if field == "ranking":
        return f"{name}: {_ranking(value.tolist())}" if value.min() >= 0 else ""
    if value.dtype.kind == "f":
        return f"{name}: {np.array2string(value, precision=6, suppress_small=True)}"
    return f"{name}: {value.tolist()}"


def _ranking(ranking: tuple[int, ...] | list[int]) -> str:
    return " > ".join(map(_letter, ranking))


def _letter(alternative: int) -> str:
    if alternative < 0:
        return "none"
    return chr(ord("a") + alternative) if alternative < 26 else f"y{alternative}"
