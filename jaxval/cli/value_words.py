"""What `jaxval value` says in sentences: what was done, what values mean where, and what checks found."""

import math
from typing import Any

from jaxval.cli._tables import LONGEST, interval, places, shortened, signed

__all__ = ["sentences"]

FITTED = "bradley-terry"


def sentences(result: dict[str, Any], groups: list[int] | None) -> list[str]:
    """The sentences below the tables, each only if it applies to the result.

    Args:
        result: what `value_report.describe` returned.
        groups: (sources,) the group of each source; None means no groups.

    Returns:
        The sentences, in the order in which they are printed.

    Example:
        >>> import jax
        >>> from jaxval import data, sources
        >>> from jaxval.cli.value_report import describe
        >>> drawn = data.synthetic_preferences(jax.random.key(0), contexts=4, responses=3, sources={"a": 1.0, "b": 0.0})
        >>> valued = sources.value_sources(drawn, policy="tabular", beta=1.0)
        >>> sentences(describe(valued, title="two"), None)[0]
        '2 sources, all 4 coalitions from one training a source and seed (2), 4 prompts evaluated on, seeds: 1.'
    """
    lines = [
        *_what_was_done(result),
        *map(_head, result.get("reward_heads", ())),
        *_per_pair(result),
        *_efficiency(result),
    ]
    if "unions" in result:
        lines.append(
            "Values respect the unions of the sources (Owen's value): the total of a union of the first level is its "
            "Shapley value among the unions, however many sources it is divided into."
        )
    if result["reference_certain"] > 0.5:
        lines.append(
            f"Warning: at {result['reference_certain']:.0%} of the prompts the reference gives one candidate 99 % or "
            "more. No source moves it much there, and these values say little. A transformer does so if candidates are "
            "long or of different lengths; --reference uniform takes them as equally likely at the start."
        )
    if FITTED in result["rewards"]:
        lines.append(
            f"The reward {FITTED} is fitted to the pairs of all sources together, for there are no scores: a value "
            "says how far a source agrees with them all, not how good it is. Scores or a --reward of your own say that."
        )
    if groups is not None and "values_in_order" in result["sources"][0]:
        lines += _in_order(result, groups)
    if "fidelity" in result:
        lines += _fidelity(result)
    for name, truth in result["truth"].items():
        gaps = ", ".join(f"{gap:.2g}" for gap in truth["largest_gap"].values())
        ranks = ", ".join("–" if rank is None else f"{rank:.2f}" for rank in truth["rank_correlation"].values())
        trainings = 2 ** len(result["sources"]) - 1
        lines.append(
            f"Retrained ({name}): {trainings} trainings a seed took {truth['seconds']:.1f} s in all; "
            f"{_trainings(result)} and the arithmetic {sum(result['seconds'].values()):.1f} s, compiling included. "
            f"Largest difference of a value {gaps}; rank correlation of the values {ranks}{_each_reward(result)}."
        )
    return lines


def _fidelity(result: dict[str, Any]) -> list[str]:
    """What the columns of the tables of fidelity say, and the losses that the values promise."""
    judged, sources = result["fidelity"], len(result["sources"])
    lines = [
        f"Fidelity: rank is the mean rank correlation of sums of scores with the utilities of "
        f"{len(judged['coalitions'])} coalitions retrained on the union of their pairs, within each size; the last "
        "columns are what the utility changes by if training leaves out the sources of the best scores."
    ]
    for reward in result["rewards"]:
        rows = {row["left_out"]: row for row in judged["drops"]["values"]}
        told = [
            f"by {_change(rows[count]['retrained'][reward])} without the best {'one' if count == 1 else count}, where "
            f"the values promise {_change(rows[count]['promised'][reward])}"
            for count in sorted({1, sources - sources // 2})
        ]
        lines.append(f"Leaving out the sources of the best values changes {reward}: {'; '.join(told)}.")
    return lines


def _change(row: dict[str, Any]) -> str:
    """What a drop changes, with its interval."""
    low, high = row["interval"]
    digits = places([row["drop"], *(end or 0.0 for end in row["interval"])])
    ends = [None if end is None else -end for end in (high, low)]
    return f"{signed(-row['drop'], digits)} (95 % {interval(ends, digits)})"


def _what_was_done(result: dict[str, Any]) -> list[str]:
    sources, coalitions = len(result["sources"]), 2 ** len(result["sources"])
    some = "all" if "utilities" in result else f"{result['evaluations']:,} of"
    lines = [
        f"{sources} sources, {some} {coalitions:,} coalitions from {_trainings(result)}, "
        f"{result['held_out_prompts']:,} prompts evaluated on, seeds: {result['seeds']}."
    ]
    options = result.get("options", {})
    if "utilities" in result and (options.get("permutations") or options.get("evaluations")):
        lines.append("The sample would have met every coalition: values are exact, and there are no standard errors.")
    if result.get("skipped"):
        pairs = "1 pair" if result["skipped"] == 1 else f"{result['skipped']:,} pairs"
        lines.append(f"{pairs} left out (--skip-unusable): an empty response, or two equal ones.")
    if any(error is None for row in result["sources"] for error in row["standard_errors"].values()):
        lines.append("Fewer than 20 permutations tell no standard error: pairs of them are often equal by chance.")
    if result["sources"][0]["pairs"] is None:
        lines.append(
            "Checked: each adapter alone gives the log-probabilities of its own policy, and each has an effect."
        )
    elif result["seeds"] == 1:
        lines.append("One seed: how far values depend on what is random is not seen.")
    return lines


def _head(head: dict[str, Any]) -> str:
    share, error = head["accuracy"], head["accuracy_error"]
    return (
        f"Reward {head['name']}: a linear head fitted to {head['fitted_pairs']:,.0f} pairs. Of "
        f"{head['held_out_pairs']:,.0f} held-out pairs it prefers the chosen response of {share:.1%} ± {error:.1%}; a "
        "coin prefers 50 %."
    )


def _per_pair(result: dict[str, Any]) -> list[str]:
    """Values per 1,000 pairs, if sources differ in size: a large source is worth more for its size alone."""
    rows = result["sources"]
    if len({row["pairs"] for row in rows}) == 1:
        return []
    lines = []
    for reward in result["rewards"]:
        ordered = sorted(rows, key=lambda row: -row["values_per_pair"][reward])
        shown = ordered if len(rows) <= 12 else [*ordered[:6], *ordered[-6:]]
        parts = [f"{shortened(row['name'], LONGEST)} {1000 * row['values_per_pair'][reward]:+.3g}" for row in shown]
        which = "" if shown is ordered else f" (the highest and the lowest 6 of {len(rows)})"
        lines.append(f"Values per 1,000 pairs under {reward}{which}: {', '.join(parts)}.")
    return lines


def _efficiency(result: dict[str, Any]) -> list[str]:
    gaps = [gap for gap in result["efficiency_gap"].values() if gap is not None]
    if not gaps:
        return []
    return [
        f"Efficiency: the values sum to u(all) - u(none), up to {max(gaps):.1e} of the largest utility's distance from "
        "u(none)."
    ]


def _in_order(result: dict[str, Any], groups: list[int]) -> list[str]:
    rows = result["sources"]
    names = [
        [row["name"] for row, group in zip(rows, groups, strict=True) if group == g] for g in range(max(groups) + 1)
    ]
    lines = [
        f"In order: {'; then '.join(', '.join(group) for group in names)}. What comes later gets only what it adds to "
        "what came before."
    ]
    later = [rows[i]["name"] for i in range(len(rows)) if any(_is_copy(result, groups, i, j) for j in range(len(rows)))]
    if later:
        lines.append(
            f"{', '.join(later)}: the same as a source before, and still worth something where rewards add up: the "
            "same evidence twice makes the policy surer, as if each pair had been seen twice."
        )
    return lines


def _is_copy(result: dict[str, Any], groups: list[int], i: int, j: int) -> bool:
    """Whether source i comes after j and has as many pairs and the same values in every seed, to rounding."""
    one, other = (result["sources"][k] for k in (i, j))
    if groups[i] <= groups[j] or one["pairs"] != other["pairs"]:
        return False
    return all(
        math.isclose(seed[one["name"]][reward], seed[other["name"]][reward], rel_tol=1e-5)
        for seed in result["values_by_seed"]
        for reward in result["rewards"]
    )


def _trainings(result: dict[str, Any]) -> str:
    if result["sources"][0]["pairs"] is None:
        return "one adapter a source"
    return f"one training a source and seed ({len(result['sources']) * result['seeds']})"


def _each_reward(result: dict[str, Any]) -> str:
    return f" ({', '.join(result['rewards'])})" if len(result["rewards"]) > 1 else ""
