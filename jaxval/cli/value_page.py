"""The page of `jaxval value --report`, from a statement of contributions."""

from typing import Any

from jaxval.cli._pages import inline_svg, render
from jaxval.cli._tables import fixed, interval, places, shortened, signed
from jaxval.cli.value_weights import goal_of, rows_of, weight_sentences

__all__ = ["dependence", "page"]

MOST_DRAWN = 40
SEMIVALUES = {
    "shapley": "Shapley values",
    "banzhaf": "Banzhaf values",
    "leave-one-out": "leave-one-out values",
    "beta-shapley": "Beta Shapley values (α = 4, β = 1)",
    "owen": "Owen's values, which respect the unions of the hierarchy",
}
DEPENDS = {  # on what, by the kind of a variation
    "semivalue": "the semivalue",
    "order": "the order of groups",
    "reward": "the reward",
    "beta": "β",
    "copy": "whether pairs are handed in twice",
}
TRIED = {
    "semivalue": "semivalue",
    "order": "order of groups",
    "reward": "reward",
    "beta": "β",
    "copy": "copy of a source",
}
LONGEST = 60  # characters of a source's name in tables that repeat it
MOST_VARIED = 12  # with more sources, values under other choices do not fit into a table


def page(statement: dict[str, Any], *, command: list[str]) -> str:
    """The report as one page of HTML.

    Args:
        statement: what `statement` returned.
        command: the words of the command, without jaxval.

    Example:
        >>> import jax
        >>> from jaxval import data, sources
        >>> from jaxval.cli.value_report import describe
        >>> from jaxval.cli.value_statement import statement
        >>> drawn = data.synthetic_preferences(jax.random.key(0), contexts=4, responses=3, sources={"a": 1.0, "b": 0.0})
        >>> valued = sources.value_sources(drawn, policy="tabular", beta=1.0)
        >>> made = statement(valued, describe(valued, title="two"), groups=None, command=["value"], inputs=[])
        >>> text = page(made, command=["value"])
        >>> text.startswith("<!DOCTYPE html>"), "<script" in text
        (True, False)
    """
    values = [row["value"] for reward in statement["rewards"] for row in reward["contributions"]]
    digits = places(values)
    coalitions = statement["coalitions"]
    some = "all" if coalitions["evaluated"] == coalitions["of"] else f"{coalitions['evaluated']:,} of"
    summary = [
        f"{len(statement['sources'])} sources, {some} {coalitions['of']:,} coalitions, evaluated on "
        f"{statement['prompts']:,} prompts; seeds: {statement['seeds']}."
    ]
    options = statement["made"]["options"]
    words = {"policy": "policy", "loss": "loss", "beta": "β", "held_out": "held out"}
    trained = [f"{word} {options[name]}" for name, word in words.items() if options.get(name)]
    if trained:
        summary.append(f"Trained with {', '.join(trained)}.")
    if statement["skipped"]:
        summary.append(
            f"{statement['skipped']:,} pairs that say nothing were left out: an empty response, or two equal ones."
        )
    if statement["seeds"] == 1:
        summary.append("One seed: how far values depend on what is random is not seen.")
    if statement["reference_certain"] > 0.5:
        summary.append(
            f"Warning: at {statement['reference_certain']:.0%} of the prompts the reference gives one candidate 99 % "
            "or more. No source moves it much there, and these values say little."
        )
    return render(
        "value.html",
        title=statement["title"],
        summary=summary,
        rewards=[_reward(statement, reward, number) for number, reward in enumerate(statement["rewards"], 1)],
        weights=_weights(statement["weights"]),
        prompts=statement["prompts"],
        seeds=statement["seeds"],
        origin=statement["made"],
        command=command,
        filters={
            "signed": lambda value: signed(value, digits),
            "plain": lambda value: fixed(value, digits),
            "ends": lambda ends: interval(ends, digits),
            "short": lambda name: shortened(name, LONGEST),
        },
    )


def dependence(reward: dict[str, Any], *, most: int = 3) -> list[str]:
    """Sentences on what the conclusions under one reward depend on.

    Args:
        reward: an entry of `rewards` of a statement.
        most: the largest number of reversed pairs that are told in full.

    Example:
        >>> pair = {"higher": "a", "lower": "b", "reversed_by": [{"kind": "semivalue", "name": "banzhaf"}]}
        >>> signs, tried = {"a": "above 0", "b": None}, [{"kind": "semivalue"}]
        >>> dependence({"sensitivity": {"variations": tried, "signs_that_hold": signs, "orders": [pair]}})[0]
        'The order of a above b depends on the semivalue (banzhaf).'
    """
    found = reward["sensitivity"]
    if not found["variations"]:
        return []
    lines = []
    reversed_pairs = [pair for pair in found["orders"] if pair["reversed_by"]]
    for pair in reversed_pairs[:most]:
        by: dict[str, list[str]] = {}
        for each in pair["reversed_by"]:
            by.setdefault(each["kind"], []).append(each["name"])
        reasons = " and on ".join(f"{DEPENDS[kind]} ({_few(names, most)})" for kind, names in by.items())
        higher, lower = (shortened(pair[side], LONGEST) for side in ("higher", "lower"))
        lines.append(f"The order of {higher} above {lower} depends on {reasons}.")
    if len(reversed_pairs) > most:
        lines.append(f"So do the orders of {len(reversed_pairs) - most} more neighbours.")
    if not reversed_pairs:
        *first, last = [TRIED[kind] for kind in dict.fromkeys(each["kind"] for each in found["variations"])]
        kinds = f"{', '.join(first)} and {last}" if first else last
        lines.append(f"The order of the sources is the same under every {kinds} that was tried.")
    loose = [name for name, sign in found["signs_that_hold"].items() if sign is None]
    if loose:
        lines.append(f"The sign of the value of {_few(loose, most)} depends on such choices.")
    return lines + _copies(found.get("copies", []))


def _few(names: list[str], most: int) -> str:
    """The first of some names, and how many more there are."""
    shown = ", ".join(shortened(name, LONGEST) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _copies(copies: list[dict[str, Any]]) -> list[str]:
    """A sentence on the source that gains most by handing in its pairs twice."""
    if not copies:
        return []
    best = max(copies, key=lambda row: row["both_together"] - row["value"])
    scale = max(abs(row["value"]) for row in copies)
    if best["both_together"] - best["value"] <= 1e-3 * scale:
        return ["No source would get more by handing in its pairs twice, as two sources."]
    digits = places([best["value"], best["both_together"]])
    together, alone = signed(best["both_together"], digits), signed(best["value"], digits)
    return [
        f"By handing in its pairs twice, as two sources, {shortened(best['source'], LONGEST)} would gain most: "
        f"{together} in all instead of {alone}."
    ]


def _reward(statement: dict[str, Any], reward: dict[str, Any], number: int) -> dict[str, Any]:
    """What the template shows under one reward, the largest values first."""
    pairs = {source["name"]: source["pairs"] for source in statement["sources"]}
    signs = reward["sensitivity"]["signs_that_hold"]
    rows = [
        {**row, "pairs": pairs[row["source"]], "sign": signs[row["source"]]}
        for row in sorted(reward["contributions"], key=lambda row: -row["value"])
    ]
    best, worst = rows[0], rows[-1]
    lines = [
        f"The values are {SEMIVALUES[reward['semivalue']]}. "
        f"{shortened(best['source'], LONGEST)} contributed most ({best['value']:+.4g}), "
        f"{shortened(worst['source'], LONGEST)} least ({worst['value']:+.4g})."
    ]
    ends = [row["interval_over_prompts"] for row in rows]
    unsure = sum(1 for low, high in ends if None not in (low, high) and low <= 0 <= high)
    if unsure:
        whose = "of every source" if unsure == len(rows) else f"of {unsure} of {len(rows)} sources"
        lines.append(f"The interval over prompts {whose} contains 0: other prompts may turn the sign of such a value.")
    return {
        "name": reward["name"],
        "lines": [*lines, *dependence(reward)],
        "rows": rows,
        "sampled": any(row["sampling_error"] != 0 for row in rows),
        "utility": reward["utility"],
        "figure": _figure(reward["name"], rows[:MOST_DRAWN], number),
        "unions": [
            {
                "name": union["name"],
                "sources": len(union["sources"]),
                "value": union["values"][reward["name"]],
                "interval": union["context_intervals"][reward["name"]],
            }
            for level in statement["unions"]
            for union in sorted(level, key=lambda union: -union["values"][reward["name"]])
        ],
        "axioms": reward["axioms"],
        "fidelity": _fidelity(statement["fidelity"], reward["name"], len(rows)),
        "beta": any(each["kind"] == "beta" for each in reward["sensitivity"]["variations"]),
        "variations": [
            {**each, "values": [each["values"][row["source"]] for row in rows]}
            for each in reward["sensitivity"]["variations"]
        ]
        if len(rows) <= MOST_VARIED
        else [],
    }


def _fidelity(judged: dict[str, Any] | None, reward: str, sources: int) -> dict[str, Any] | None:
    """The scores under one reward, and the drops without the best source and without half of the sources."""
    if judged is None:
        return None
    return {
        "coalitions": judged["coalitions"],
        "scores": {name: each[reward] for name, each in judged["scores"].items()},
        "drops": [
            {"name": name, **{part: row[part] and row[part][reward] for part in ("retrained", "promised")}}
            | {"left_out": row["left_out"]}
            for name, rows in judged["drops"].items()
            for row in rows
            if row["left_out"] in (1, sources - sources // 2)
        ],
    }


def _weights(weighed: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the template shows of the best weights, the largest first."""
    if weighed is None:
        return None
    return {
        "goal": goal_of(weighed),
        "lines": weight_sentences(weighed),
        "rows": sorted(weighed["sources"], key=lambda row: -row["weight"]),
        "rewards": list(weighed["held_out"]["best"]),
        "compared": rows_of(weighed),
    }


def _figure(name: str, rows: list[dict[str, Any]], number: int) -> Any:
    """The values with their intervals over prompts."""
    import numpy as np

    from jaxval import plots
    from jaxval.types import Estimate

    ends = np.array([row["interval_over_prompts"] for row in rows], float).T  # None becomes NaN
    values = Estimate(np.array([row["value"] for row in rows]), np.zeros(len(rows)), np.asarray(0), ends)
    figure = plots.plot_values(values.with_names([row["source"] for row in rows]))
    return inline_svg(
        figure, says=f"Bars of the values under {name}; the table above has them.", name=f"values-{number}"
    )
