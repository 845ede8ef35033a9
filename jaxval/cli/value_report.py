"""The output of `jaxval value`: plain numbers for JSON, tables for people, and a figure."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxval._errors import json_text
from jaxval.cli._tables import LONGEST, fixed, interval, new_table, places, print_tables, shortened, signed
from jaxval.cli.value_weights import told
from jaxval.cli.value_words import sentences

if TYPE_CHECKING:
    from jaxval.sources import SourceValues

__all__ = ["describe", "print_result", "write_result"]

SHOWN_COALITIONS = 20
SHOWN_REWARDS = 3


def describe(valued: "SourceValues", *, title: str) -> dict[str, Any]:
    """The result of `jaxval value` as plain numbers; None means that a number is not known.

    Args:
        valued: what `sources.value_sources` returned.
        title: the title of the data.

    Returns:
        A dictionary that `json.dumps` takes.

    Example:
        >>> import jax
        >>> from jaxval import data, sources
        >>> drawn = data.synthetic_preferences(jax.random.key(0), contexts=4, responses=3, sources={"a": 1.0, "b": 0.0})
        >>> result = describe(sources.value_sources(drawn, policy="tabular", beta=1.0), title="two")
        >>> [row["name"] for row in result["sources"]], [row["members"] for row in result["utilities"]]
        (['a', 'b'], [[], ['a'], ['b'], ['a', 'b']])
    """

    def by_reward(values: Any) -> dict[str, Any]:
        return dict(zip(valued.rewards, _plain(values), strict=True))

    rows = []
    for i, name in enumerate(valued.names):
        row = {
            "name": name,
            "pairs": _plain(float(valued.pairs[i])),
            "values": by_reward(valued.values[i]),
            "values_per_pair": by_reward(valued.values_per_pair[i]),
            "context_intervals": by_reward(valued.context_intervals[:, i].T),
            "seed_intervals": by_reward(valued.seed_intervals[:, i].T),
            "standard_errors": by_reward(valued.standard_errors[i]),
        }
        if valued.in_order is not None:
            row["values_in_order"] = by_reward(valued.in_order[i])
        row |= {f"values_by_{name}_retraining": by_reward(truth.values[i]) for name, truth in valued.truth.items()}
        rows.append(row)
    result = {
        "title": title,
        "rewards": list(valued.rewards),
        "sources": rows,
        "efficiency_gap": by_reward(valued.efficiency_gap),
        "held_out_prompts": valued.contexts,
        "seeds": len(valued.by_seed),
        "values_by_seed": [
            {name: by_reward(row) for name, row in zip(valued.names, one, strict=True)} for one in valued.by_seed
        ],
        "evaluations": valued.evaluations,
        "reference_certain": valued.reference_certain,
        "truth": {
            name: {
                "largest_gap": by_reward(truth.gap),
                "rank_correlation": by_reward(truth.rank_correlation),
                "seconds": truth.seconds,
            }
            for name, truth in valued.truth.items()
        },
        "seconds": valued.seconds,
    }
    if valued.fidelity is not None:
        result["fidelity"] = _judged(valued)
    if valued.totals:
        result["unions"] = [_unions(valued, level) for level in range(len(valued.totals))]
    if valued.utilities is not None:
        result["utilities"] = [
            {"members": _members(valued.names, index), **by_reward(valued.utilities[index])}
            | {f"{name}_retraining": by_reward(truth.utilities[index]) for name, truth in valued.truth.items()}
            for index in range(len(valued.utilities))
        ]
    return result


def _judged(valued: "SourceValues") -> dict[str, Any]:
    """The scores on retrained coalitions, by what is judged and by reward, and the coalitions."""
    judged: Any = valued.fidelity
    scores = {
        name: {
            reward: None if each is None else {"score": each.score, "interval": each.interval.tolist()}
            for reward, each in zip(valued.rewards, by_reward, strict=True)
        }
        for name, by_reward in judged.scores.items()
    }
    coalitions = [
        {"members": [name for name, inside in zip(valued.names, mask, strict=True) if inside]}
        | dict(zip(valued.rewards, row.tolist(), strict=True))
        for mask, row in zip(judged.coalitions, judged.utilities, strict=True)
    ]
    drops = {name: _drops(valued.rewards, each) for name, each in judged.drops.items()}
    return {"scores": scores, "drops": drops, "coalitions": coalitions, "seconds": judged.seconds}


def _drops(rewards: tuple[str, ...], drops: Any) -> list[dict[str, Any]]:
    """For each number of sources that are left out, the drop and the promised drop with their intervals, by reward."""

    def told(numbers: Any, ends: Any) -> dict[str, Any] | None:
        if numbers is None:
            return None
        each = zip(rewards, _plain(numbers), _plain(ends.T), strict=True)
        return {reward: {"drop": drop, "interval": interval} for reward, drop, interval in each}

    rows = []
    for point, count in enumerate(drops.left_out.tolist()):
        promised = None if drops.promised is None else (drops.promised[point], drops.promised_intervals[:, point])
        rows.append(
            {
                "left_out": count,
                "retrained": told(drops.drop[point], drops.intervals[:, point]),
                "promised": None if promised is None else told(*promised),
            }
        )
    return rows


def _unions(valued: "SourceValues", level: int) -> list[dict[str, Any]]:
    """The unions of one level, named by the first parts of their sources' names, with their values."""
    totals, rows = valued.totals[level], []
    for union, (value, low, high) in enumerate(zip(totals.values, *totals.context_intervals, strict=True)):
        members = [name for name, of in zip(valued.names, totals.unions, strict=True) if of == union]
        ends = [list(pair) for pair in zip(_plain(low), _plain(high), strict=True)]
        rows.append(
            {
                "name": "/".join(members[0].split("/")[: level + 1]),
                "sources": members,
                "values": dict(zip(valued.rewards, _plain(value), strict=True)),
                "context_intervals": dict(zip(valued.rewards, ends, strict=True)),
            }
        )
    return rows


def _members(names: tuple[str, ...], index: int) -> list[str]:
    return [name for i, name in enumerate(names) if index >> i & 1]


def _plain(values: Any) -> Any:
    """The values as nested lists, with None in place of NaN."""
    if isinstance(values, list):
        return [_plain(value) for value in values]
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    return _plain(values.tolist())


def write_result(valued: "SourceValues", result: dict[str, Any], out: Path) -> None:
    """Write results.json, never only a part of it, and signature.png if matplotlib is installed.

    Args:
        valued: what `sources.value_sources` returned.
        result: what `describe` returned for it.
        out: a folder that exists.

    Example:
        >>> import jax, json, tempfile
        >>> from jaxval import data, sources
        >>> drawn = data.synthetic_preferences(jax.random.key(0), contexts=4, responses=3, sources={"a": 1.0, "b": 0.0})
        >>> valued = sources.value_sources(drawn, policy="tabular", beta=1.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_result(valued, describe(valued, title="two"), Path(folder))
        ...     json.loads(Path(folder, "results.json").read_text())["title"]
        'two'
    """
    from jaxval.checkpoints.files import whole_file, write_whole

    text = json_text(result)
    write_whole(out / "results.json", text + "\n")
    print(f"results written to {out / 'results.json'}", file=sys.stderr)
    try:
        from jaxval import plots

        axes = list(range(min(2, len(valued.rewards))))
        figure = plots.plot_signature(
            valued.names,
            valued.values[:, axes],
            [valued.rewards[k] for k in axes],
            intervals=(valued.context_intervals[0][:, axes], valued.context_intervals[1][:, axes]),
            bars="95 % interval over prompts",
            title=result["title"],
        )
        with whole_file(out / "signature.png") as draft:
            figure.savefig(draft, format="png", dpi=300)
        print(f"figure written to {out / 'signature.png'}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"no figure: {error}", file=sys.stderr)


def print_result(result: dict[str, Any], groups: list[int] | None = None, *, as_json: bool = False) -> None:
    """Print the result on standard output, as tables and sentences, or as JSON alone.

    Args:
        result: what `describe` returned.
        groups: (sources,) the group of each source, as `sources.value_sources` took them; None means no groups.
        as_json: whether to print JSON alone.

    Example:
        >>> print_result({"title": "two"}, as_json=True)
        {
         "title": "two"
        }
    """
    if as_json:
        print(json_text(result))
        return
    tables = [_table(result, reward) for reward in result["rewards"]]
    tables += [_union_table(result, reward) for reward in result["rewards"]] if "unions" in result else []
    tables += [_utilities(result)] if "utilities" in result else []
    tables += [_fidelity_table(result, reward) for reward in result["rewards"]] if "fidelity" in result else []
    more, said = told(result["weights"]) if "weights" in result else ([], [])
    print_tables([*tables, *more], [*sentences(result, groups), *said])


def _table(result: dict[str, Any], reward: str) -> Any:
    table = new_table(shortened(f"{result['title']}: {reward}", 76))
    table.add_column("source", overflow="fold", min_width=12)
    rows = sorted(result["sources"], key=lambda row: -row["values"][reward])
    digits = places([row["values"][reward] for row in rows])
    columns = {} if rows[0]["pairs"] is None else {"pairs": [f"{row['pairs']:,.0f}" for row in rows]}
    columns["value"] = [signed(row["values"][reward], digits) for row in rows]
    columns["95 % over prompts"] = [interval(row["context_intervals"][reward], digits) for row in rows]
    if result["seeds"] > 1:
        columns["95 % over seeds"] = [interval(row["seed_intervals"][reward], digits) for row in rows]
    if "utilities" not in result:
        columns["standard error"] = [fixed(row["standard_errors"][reward], digits) for row in rows]
    if "values_in_order" in rows[0]:
        columns["in order"] = [signed(row["values_in_order"][reward], digits) for row in rows]
    for name in result["truth"]:
        columns[name] = [signed(row[f"values_by_{name}_retraining"][reward], digits) for row in rows]
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for row, *cells in zip(rows, *columns.values(), strict=True):
        table.add_row(shortened(row["name"], LONGEST), *cells)
    return table


def _union_table(result: dict[str, Any], reward: str) -> Any:
    """A table of the totals of the unions; the unions of a finer level stand below the union that contains them."""
    table = new_table(f"totals of unions: {reward}")
    table.add_column("union", overflow="fold", min_width=12)
    for head in ("sources", "value", "95 % over prompts"):
        table.add_column(head, justify="right", no_wrap=True)
    digits = places([row["values"][reward] for row in result["sources"]])

    def add(level: int, inside: str) -> None:
        rows = [row for row in result["unions"][level] if row["name"].startswith(inside)]
        for row in sorted(rows, key=lambda row: -row["values"][reward]):
            name = "  " * level + shortened(row["name"].removeprefix(inside), LONGEST)
            ends = interval(row["context_intervals"][reward], digits)
            table.add_row(name, str(len(row["sources"])), signed(row["values"][reward], digits), ends)
            if level + 1 < len(result["unions"]):
                add(level + 1, row["name"] + "/")

    add(0, "")
    return table


def _utilities(result: dict[str, Any]) -> Any:
    rewards = result["rewards"][:SHOWN_REWARDS]
    rows = sorted(result["utilities"], key=lambda row: -row[rewards[0]])
    more = len(result["rewards"]) - len(rewards)
    table = new_table("utilities of coalitions" + (f" ({more} more rewards: --json)" if more else ""))
    table.add_column("coalition", overflow="fold", min_width=20, max_width=max(20, 76 - 19 * len(rewards)))
    for reward in rewards:
        table.add_column(shortened(reward, 18 if len(rewards) > 1 else 40), justify="right", no_wrap=True)
    half = SHOWN_COALITIONS // 2
    digits = [places([row[reward] - rows[0][reward] for row in rows]) for reward in rewards]
    shown = rows if len(rows) <= SHOWN_COALITIONS else [*rows[:half], None, *rows[-half:]]
    for row in shown:
        if row is None:
            left_out = f"... {len(rows) - len(shown) + 1:,} more: --json"
            table.add_row(left_out, *([""] * len(rewards)))
        else:
            members = [shortened(name, LONGEST) for name in row["members"]]
            table.add_row(" + ".join(members) or "none", *map(fixed, map(row.get, rewards), digits))
    return table


def _fidelity_table(result: dict[str, Any], reward: str) -> Any:
    """How well scores rank retrained coalitions, and what retraining loses without the sources of the best scores."""
    judged, sources = result["fidelity"], len(result["sources"])
    table = new_table(shortened(f"fidelity of values, and of cheaper scores, to retraining: {reward}", 76))
    table.add_column("score of a source", overflow="fold", min_width=12)
    counts = sorted({1, sources - sources // 2})
    for head in ("rank", "95 %", *(f"without best {count}" for count in counts)):
        table.add_column(head, justify="right", no_wrap=True)
    lost = {
        name: {row["left_out"]: row["retrained"][reward]["drop"] for row in rows}
        for name, rows in judged["drops"].items()
    }
    digits = places([drop for drops in lost.values() for drop in drops.values()])
    for name, scores in judged["scores"].items():
        each = scores[reward]
        rank = ["–", "–"] if each is None else [f"{each['score']:+.2f}", "{:+.2f} to {:+.2f}".format(*each["interval"])]
        drops = [lost[name].get(count) for count in counts]
        table.add_row(shortened(name, LONGEST), *rank, *(fixed(drop and -drop, digits, "+") for drop in drops))
    return table
