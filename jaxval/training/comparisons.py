"""The comparisons of sources: checks, one stacked record of all sources, and random keys that depend on the content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval.types import BadArgument, Comparisons

__all__ = ["source_key", "stack_sources"]


def stack_sources(sources: Sequence[Comparisons] | Comparisons) -> Comparisons:
    """All sources in one record, one row for each source; shorter sources are padded with comparisons of weight 0.

    Args:
        sources: one `Comparisons` for each source; a record that is already stacked is returned unchanged.

    Returns:
        `Comparisons` with fields (sources, comparisons of the longest source).

    Raises:
        ValueError: if there is no source, or a source has no comparison of positive weight.

    Example:
        >>> one = Comparisons(context=[0], winner=[0], loser=[1], weight=[1.0])
        >>> two = Comparisons(context=[0, 1], winner=[1, 0], loser=[0, 1], weight=[1.0, 2.0])
        >>> stack_sources([one, two]).weight.tolist()
        [[1.0, 0.0], [1.0, 2.0]]
    """
    if isinstance(sources, Comparisons):
        fields = [
            jnp.asarray(_checks.real_array(f"sources.{name}", field))
            for name, field in zip(Comparisons._fields, sources, strict=True)
        ]
        if fields[0].ndim != 2 or 0 in fields[0].shape or len({field.shape for field in fields}) > 1:
            raise BadArgument(
                "sources",
                expected="fields of one shape, (sources, comparisons)",
                got=[field.shape for field in fields],
                advice="if this is one source, pass [comparisons]",
            )
        if _checks.concrete(fields[3]):
            _check_weights(np.asarray(fields[3]))
        return Comparisons(*fields)
    if not len(_checks.check_list("sources", sources, "one types.Comparisons for each source")):
        raise BadArgument("sources", expected="at least one source", got="none")
    parts = [
        tuple(
            np.asarray(_checks.real_array(f"sources[{number}].{name}", getattr(source, name)))
            for name in _checks.check_record(f"sources[{number}]", source, Comparisons) and Comparisons._fields
        )
        for number, source in enumerate(sources)
    ]
    for number, part in enumerate(parts):
        if part[0].ndim != 1 or len({field.shape for field in part}) > 1:
            raise BadArgument(
                f"sources[{number}]", expected="four fields of one length", got=[field.shape for field in part]
            )
        if not len(part[0]) or not (part[3] > 0).any():
            raise BadArgument(f"sources[{number}]", expected="at least one comparison of positive weight", got="none")
    most = max(len(part[0]) for part in parts)
    columns = [
        np.stack([np.concatenate([field, np.full(most - len(field), fill, field.dtype)]) for field in fields])
        for fields, fill in zip(zip(*parts, strict=True), (0, 0, 1, 0), strict=True)
    ]
    context, winner, loser = (_checks.integers("sources", column, ndim=2, expected="ids") for column in columns[:3])
    return Comparisons(context, winner, loser, _checks.floating("sources", columns[3], ndim=2, expected="weights"))


def source_key(key: Key[Array, ""], comparisons: Comparisons) -> Key[Array, ""]:
    """A random key that depends on the content of a source, and not on its name or the order of its rows.

    With this key, training on equal sources gives equal policies. Rows of weight 0 are ignored.

    Args:
        key: a random key.
        comparisons: the comparisons of one source, with concrete values.

    Returns:
        A random key.

    Raises:
        ValueError: if the values of the comparisons are traced, as under `jit`.

    Example:
        >>> first = Comparisons(context=[0, 1], winner=[0, 1], loser=[1, 0], weight=[1.0, 1.0])
        >>> second = Comparisons(context=[1, 0], winner=[1, 0], loser=[0, 1], weight=[1.0, 1.0])
        >>> bool(source_key(jax.random.key(0), first) == source_key(jax.random.key(0), second))
        True
    """
    _checks.check_key(key)
    _checks.check_record("comparisons", comparisons, Comparisons)
    if not _checks.concrete(*comparisons):
        raise BadArgument("comparisons", expected="known values, from which the key is computed", got="a tracer")
    rows = np.stack([np.asarray(field, dtype=np.float64) for field in comparisons], axis=1)
    rows = rows[rows[:, 3] > 0]
    content = np.ascontiguousarray(rows[np.lexsort(rows.T[::-1])], dtype="<f8").tobytes()
    words = np.frombuffer(hashlib.sha256(content).digest(), dtype="<u4")
    return jax.random.fold_in(jax.random.fold_in(key, words[0]), words[1])


def check_comparisons(comparisons: Comparisons, *, contexts: int, responses: int) -> Comparisons:
    """The comparisons, checked.

    Ids must be in the catalogue, the chosen and the rejected response must differ, and weights must be at least 0, with
    one of them positive.
    """
    _checks.check_record("comparisons", comparisons, Comparisons)
    fields = [
        _checks.integers(f"comparisons.{name}", value, ndim=1, expected="(comparisons,) ids")
        for name, value in zip(("context", "winner", "loser"), comparisons, strict=False)
    ]
    weight = _checks.floating("comparisons.weight", comparisons.weight, ndim=1, expected="(comparisons,) weights")
    if len({field.shape for field in [*fields, weight]}) > 1:
        raise BadArgument("comparisons", expected="four fields of one length", got=[f.shape for f in [*fields, weight]])
    for name, ids, high in zip(("context", "winner", "loser"), fields, (contexts, responses, responses), strict=True):
        if _checks.concrete(ids) and ids.size:
            values = np.asarray(ids)
            if values.min() < 0 or values.max() >= high:
                row = int(((values < 0) | (values >= high)).argmax())
                raise BadArgument(
                    f"comparisons.{name}",
                    expected=f"ids in 0..{high - 1}, as in the catalogue",
                    got=f"{values[row]} in row {row}",
                )
    if _checks.concrete(weight, *fields):
        _check_weights(np.asarray(weight)[None])
        same = (np.asarray(fields[1]) == np.asarray(fields[2])) & (np.asarray(weight) > 0)
        if same.any():
            row = int(same.argmax())
            raise BadArgument(
                "comparisons",
                expected="the chosen and the rejected response to differ",
                got=f"response {int(fields[1][row])} twice in row {row}",
            )
    return Comparisons(fields[0], fields[1], fields[2], weight)


def _check_weights(weight: np.ndarray) -> None:
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise BadArgument("comparisons.weight", expected="finite numbers of at least 0", got=f"{weight.min():g}")
    empty = ~(weight > 0).any(axis=1)
    if empty.any():
        raise BadArgument(
            "comparisons",
            expected="at least one comparison of positive weight",
            got=f"none in source {int(empty.argmax())}",
        )
