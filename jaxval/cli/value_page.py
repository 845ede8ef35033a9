"""The page of `jaxval value --report`, from a statement of contributions."""

from typing import Any

from jaxval.cli._pages import inline_svg, render
from jaxval.cli._tables import fixed, interval, places, shortened, signed

__all__ = ["dependence", "page"]

MOST_DRAWN = 40
SEMIVALUES = {
    "shapley": "Shapley values",
    "banzhaf": "Banzhaf values",
    "leave-one-out": "leave-one-out values",
    "beta-shapley": "Beta Shapley values (α = 4, β = 1)",
    "owen": "Owen's values, which respect the unions of the hierarchy",
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
    trained = [f"{name} {options[name]}" for name in ("policy", "loss", "beta", "held_out") if options.get(name)]
    if trained:
        summary.append(f"Trained with {', '.join(trained).replace('_', ' ')}.")
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
        reasons = " and on ".join(f"the {kind} ({', '.join(names)})" for kind, names in by.items())
        higher, lower = (shortened(pair[side], LONGEST) for side in ("higher", "lower"))
        lines.append(f"The order of {higher} above {lower} depends on {reasons}.")
    if len(reversed_pairs) > most:
        lines.append(f"So do the orders of {len(reversed_pairs) - most} more neighbours.")
    if not reversed_pairs:
        kinds = dict.fromkeys(each["kind"] for each in found["variations"])
        lines.append(f"The order of the sources is the same under every {' and '.join(kinds)} that was tried.")
    loose = [name for name, sign in found["signs_that_hold"].items() if sign is None]
    if loose:
        shown = ", ".join(shortened(name, LONGEST) for name in loose[:most]) + (
            f" and {len(loose) - most} more" if len(loose) > most else ""
        )
        lines.append(f"The sign of the value of {shown} depends on such choices.")
    return lines


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
        "fidelity": {name: each[reward["name"]] for name, each in (statement["fidelity"] or {}).items()},
        "variations": [
            {**each, "values": [each["values"][row["source"]] for row in rows]}
            for each in reward["sensitivity"]["variations"]
        ]
        if len(rows) <= MOST_VARIED
        else [],
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
