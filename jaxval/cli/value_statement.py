"""The statement of contributions, which can be handed to a contributor, an auditor, or another program.

A statement is a JSON document of a stated schema (`statement.schema.json` in this folder): shares, payments that sum to
the utility gained, intervals, axioms with their gaps, what the conclusions depend on, hashes of the inputs, versions,
and the command that makes it again.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxval._errors import BadArgument

if TYPE_CHECKING:
    from jaxval.sources import SourceValues

__all__ = ["read_statement", "statement"]

SCHEMA = "jaxval/statement/2"
CHUNK = 2**20  # bytes of a file that are hashed at a time


def statement(
    valued: "SourceValues",
    result: dict[str, Any],
    *,
    groups: list[int] | None,
    command: Sequence[str],
    inputs: Sequence[Path],
) -> dict[str, Any]:
    """The statement of the values of sources.

    Args:
        valued: what `sources.value_sources` returned.
        result: what `describe` returned for it, with "options" and "versions" if they are known.
        groups: (sources,) the group of each source; None means no groups.
        command: the words of the command, without jaxval.
        inputs: the files that were read.

    Returns:
        A dictionary that `json.dumps` takes and that `statement.schema.json` describes.

    Example:
        >>> import jax
        >>> from jaxval import data, sources
        >>> from jaxval.cli.value_report import describe
        >>> drawn = data.synthetic_preferences(jax.random.key(0), contexts=4, responses=3, sources={"a": 1.0, "b": 0.0})
        >>> valued = sources.value_sources(drawn, policy="tabular", beta=1.0)
        >>> found = statement(valued, describe(valued, title="two"), groups=None, command=["value"], inputs=[])
        >>> found["schema"], [source["name"] for source in found["sources"]]
        ('jaxval/statement/2', ['a', 'b'])
    """
    return {
        "schema": SCHEMA,
        "title": result["title"],
        "rewards": [_reward(valued, result, k, groups) for k in range(len(valued.rewards))],
        "sources": [{"name": row["name"], "pairs": row["pairs"]} for row in result["sources"]],
        "prompts": valued.contexts,
        "seeds": len(valued.by_seed),
        "coalitions": {"evaluated": valued.evaluations, "of": 2 ** len(valued.names)},
        "reference_certain": valued.reference_certain,
        "unions": result.get("unions", []),
        "skipped": result.get("skipped", 0),
        "fidelity": _fidelity(result),
        "weights": result.get("weights"),
        "made": {
            "command": ["jaxval", *command],
            "options": result.get("options", {}),
            "versions": result.get("versions", {}),
            "inputs": [{"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)} for path in inputs],
        },
    }


def _reward(valued: "SourceValues", result: dict[str, Any], k: int, groups: list[int] | None) -> dict[str, Any]:
    """Everything under one reward."""
    name, rows = valued.rewards[k], result["sources"]
    values = [row["values"][name] for row in rows]
    gained = math.fsum(values)
    shares = [value / gained for value in values] if gained > 0 else [None] * len(values)
    table = None if valued.utilities is None else valued.utilities[:, k]
    semivalue = "owen" if valued.totals else result.get("options", {}).get("semivalue", "shapley")
    stated = {
        "name": name,
        "semivalue": semivalue,
        "utility": {
            "none": None if table is None else float(table[0]),
            "all": None if table is None else float(table[-1]),
            "gained": gained,
        },
        "contributions": [
            {
                "source": row["name"],
                "value": value,
                "share": share,
                "payment": value,
                "interval_over_prompts": row["context_intervals"][name],
                "interval_over_seeds": row["seed_intervals"][name],
                "sampling_error": row["standard_errors"][name],
            }
            for row, value, share in zip(rows, values, shares, strict=True)
        ],
        "efficiency_residual": result["efficiency_gap"][name],
        "axioms": [] if table is None else _axioms(valued, result, table, groups),
        "sensitivity": _sensitivity(valued, result, k, groups),
    }
    return stated


def _axioms(
    valued: "SourceValues", result: dict[str, Any], table: Any, groups: list[int] | None
) -> list[dict[str, Any]]:
    """The gaps of axioms of the value that is stated, on the utilities; with groups also of the values in order.

    The value is the semivalue, or Owen's value for sources in unions. Owen's value violates symmetry if sources of
    different unions add the same.
    """
    import functools

    from jaxval import axioms, values
    from jaxval.sources.repetition import SEMIVALUES

    of_table: Any = SEMIVALUES[result.get("options", {}).get("semivalue", "shapley")]
    if valued.totals:
        of_table = functools.partial(values.owen, unions=[level.unions.tolist() for level in valued.totals])
    checked: list[tuple[str, Any, Any]] = [
        ("efficiency", axioms.efficiency, of_table),
        ("symmetry", axioms.symmetry, of_table),
        ("nullity", axioms.nullity, of_table),
    ]
    if groups is not None:
        in_order = functools.partial(values.asymmetric_shapley, groups=groups)
        checked.append(
            ("group efficiency, in order", functools.partial(axioms.group_efficiency, groups=groups), in_order)
        )
    scale = max(float(abs(table - table[0]).max()), 1e-300)
    rows = []
    for name, axiom, value in checked:
        gap = float(axiom(value, table)[0]) / scale
        premise = gap != -math.inf
        rows.append({"axiom": name, "gap": gap if premise else None, "holds": not premise or gap <= 1e-5})
    return rows


def _fidelity(result: dict[str, Any]) -> dict[str, Any] | None:
    """How well values rank retrained coalitions and tell what the best sources are worth; None if it was not asked."""
    judged = result.get("fidelity")
    return judged and {
        "coalitions": len(judged["coalitions"]),
        "scores": judged["scores"],
        "drops": judged["drops"],
    }


def _sensitivity(valued: "SourceValues", result: dict[str, Any], k: int, groups: list[int] | None) -> dict[str, Any]:
    """The values under other choices, and which conclusions depend on them."""
    from jaxval import sources

    semivalue = result.get("options", {}).get("semivalue", "shapley")
    varied: list[Any] = []
    if valued.utilities is not None:
        varied += sources.table_variations(valued.utilities[:, k], groups=groups)
    varied += [
        sources.Variation("reward", name, valued.values[:, other])
        for other, name in enumerate(valued.rewards)
        if other != k
    ]
    varied += sources.step_variations(valued, k, semivalue=semivalue)
    copied = sources.duplicate_values(valued, k, semivalue=semivalue)
    copies = [] if copied is None else list(zip(valued.names, copied, strict=True))
    varied += [sources.Variation("copy", name, values) for name, values in copies]
    found = sources.compare_variations(valued.values[:, k], varied)
    return {
        "variations": [
            {"kind": each.kind, "name": each.name, "values": dict(zip(valued.names, each.values.tolist(), strict=True))}
            for each in varied
        ],
        "copies": [
            {"source": name, "value": float(valued.values[i, k]), "both_together": 2 * float(values[i])}
            for i, (name, values) in enumerate(copies)
        ],
        "signs_that_hold": {
            name: {1: "above 0", -1: "below 0", 0: None}[int(sign)]
            for name, sign in zip(valued.names, found.sign, strict=True)
        },
        "orders": [
            {
                "higher": valued.names[i],
                "lower": valued.names[j],
                "reversed_by": [{"kind": each.kind, "name": each.name} for each in where],
            }
            for (i, j), where in found.reversed.items()
        ],
    }


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_statement(path: str | Path) -> dict[str, Any]:
    """Read a statement that this version writes.

    Args:
        path: the file that `jaxval value --statement` wrote.

    Returns:
        The statement.

    Raises:
        ValueError: if the file is no JSON, no statement, or a statement of another schema.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "statement.json")
        ...     _ = path.write_text('{"schema": "jaxval/statement/0"}')
        ...     try:
        ...         read_statement(path)
        ...     except ValueError as error:
        ...         print(error.expected, "--", error.got)
        a statement of the schema jaxval/statement/2 -- jaxval/statement/0
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadArgument(str(path), expected="a statement in JSON", got=error) from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        got = "no schema" if schema is None else schema
        advice = "make it again by the command that stands in it"
        raise BadArgument(str(path), expected=f"a statement of the schema {SCHEMA}", got=got, advice=advice)
    return found
