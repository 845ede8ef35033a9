"""The paper's figures for its movies beside the measured ones: distances, and which of the paper's orderings hold.

Source: Kim et al., section 5.1 and Figure 2.
"""

from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.misreports import FAMILIES

__all__ = [
    "GAINS",
    "LABELS",
    "PAPER",
    "beside",
    "distance",
    "figures",
    "gain_distance",
    "gain_figures",
    "orderings",
    "show",
]

PAPER = {
    "evaluators": 1297,
    "win_rate_rlhf": 0.7784,
    "win_rate_nlhf": 0.7712,
    "win_rate_beta_0": 0.5987,
    "win_rate_beta_max": 0.7784,
    "ppa_beta_0": 0.4869,
    "mean_bound": 0.1892,
}
LABELS = {
    "evaluators": "evaluators",
    "win_rate_rlhf": "win rate\nRLHF",
    "win_rate_nlhf": "win rate\nNLHF",
    "win_rate_beta_0": "win rate\nF^0",
    "win_rate_beta_max": "win rate\nF^10000",
    "ppa_beta_0": "PPA level\nF^0",
    "mean_bound": "mean u",
}
GAINS = {"RLHF": 0.0611, "NLHF": 0.0124, "F^1": 8.896e-4}
ZERO = 1e-9  # of a probability in float64


def figures(run: dict[str, Any]) -> dict[str, float]:
    """The figures of a run that the paper also reports, without the gains."""
    proportional = run["proportional"]
    return {
        "evaluators": run["evaluators"],
        "win_rate_rlhf": run["RLHF"]["win_rate"]["mean"],
        "win_rate_nlhf": run["NLHF"]["win_rate"]["mean"],
        "win_rate_beta_0": proportional["win_rate"]["mean"][0],
        "win_rate_beta_max": proportional["win_rate"]["mean"][-1],
        "ppa_beta_0": proportional["ppa_level"]["mean"][0],
        "mean_bound": run["mean_bound"]["mean"],
    }


def gain_figures(run: dict[str, Any], family: str) -> dict[str, float]:
    """The mean gains under a family of misreports, for the policies whose gains the paper reports."""
    proportional = run["proportional"]["gain"][family]["mean"]
    baselines = {name: run[name]["gain"][family]["mean"] for name in ("RLHF", "NLHF")}
    return {**baselines, "F^1": proportional[run["betas"].index(1.0)]}


def distance(measured: dict[str, float]) -> float:
    """The mean relative distance of the figures from the paper's, without the number of evaluators."""
    return float(np.mean([abs(measured[name] / PAPER[name] - 1) for name in PAPER if name != "evaluators"]))


def gain_distance(measured: dict[str, float]) -> float:
    """The mean relative distance of the gains from those of the paper."""
    return float(np.mean([abs(measured[name] / GAINS[name] - 1) for name in GAINS]))


def orderings(run: dict[str, Any]) -> list[dict[str, Any]]:
    """The paper's orderings, each with whether it holds for the means, and with its gap.

    The gap is the largest amount by which the ordering is violated. The ordering holds if the gap is at most 0.
    """
    betas, proportional = np.array(run["betas"]), run["proportional"]
    win_rate, level = (np.array(proportional[name]["mean"]) for name in ("win_rate", "ppa_level"))
    rlhf, nlhf = run["RLHF"], run["NLHF"]
    truth = run["population"]
    statements = [
        ("RLHF has PPA level 0", rlhf["ppa_level"]["mean"] - ZERO),
        ("NLHF has PPA level 0", nlhf["ppa_level"]["mean"] - ZERO),
        ("win rate of F^β rises with β", -np.diff(win_rate).min() - ZERO),
        ("PPA level of F^β falls with β", np.diff(level).max() - ZERO),
        ("PPA level of F^β falls to 0", level[-1] - ZERO),
        ("F^β ends at RLHF's win rate (to 0.001)", abs(win_rate[-1] - rlhf["win_rate"]["mean"]) - 1e-3),
        ("RLHF's and the minimax winner agree (share of episodes not)", 1 - run["winners_agree"]),
        ("RLHF's and the minimax winner agree on P itself", 1 - truth["winners_agree"]),
        ("win rate of RLHF is above NLHF's", nlhf["win_rate"]["mean"] - rlhf["win_rate"]["mean"] + ZERO),
        (
            "PPA level of F^0 is at least 1/Σu, on P (Lemma 4.7)",
            truth["certificate"]["mean"] - truth["proportional"]["ppa_level"]["mean"][0] - ZERO,
        ),
    ]
    for family in FAMILIES:
        gain = np.array(proportional["gain"][family]["mean"])
        lower, upper = nlhf["gain"][family]["mean"], rlhf["gain"][family]["mean"]
        statements += [
            (f"gain of NLHF is below RLHF's ({family})", lower - upper + ZERO),
            (f"gain of F^1 is below NLHF's ({family})", gain[betas == 1][0] - lower + ZERO),
            (
                f"gain of F^β is below both for all β <= 10 ({family})",
                gain[betas <= 10].max() - min(lower, upper) + ZERO,
            ),
        ]
    return [{"statement": text, "holds": bool(gap <= 0), "gap": float(gap)} for text, gap in statements]


def show(runs: dict[str, Any], console: Console, *, paper: bool) -> None:
    """Print three tables, of the reported figures, the gains and the orderings, with the paper's numbers if asked."""
    _show_figures(runs, console, paper=paper)
    _show_gains(runs, console, paper=paper)
    table = Table(
        "the paper's orderings; if not, by how much", *(name.replace(":", ":\n") for name in runs), box=box.SIMPLE_HEAD
    )
    for rows in zip(*(run["orderings"] for run in runs.values()), strict=True):
        table.add_row(rows[0]["statement"], *("yes" if row["holds"] else _missed(row["gap"]) for row in rows))
    console.print(table)
    for name, run in runs.items():
        groups, members = len(run["shares"]), run["groups_with_members"]
        found = f"{run['distinct_rankings']} distinct rankings, {members} of {groups} groups with members"
        found += f" (mean gains of those alone: x{groups / members:.2f})" if members < groups else ""
        console.print(f"{name}: {run['rule']}; {found}", highlight=False, markup=False, soft_wrap=True)
    if paper:
        nearest = min(runs, key=lambda name: runs[name]["distance"])
        far = f"{runs[nearest]['distance']:.3f}"
        text = (
            f"Nearest to the paper's win rates, PPA level and mean u: {nearest}, at a mean relative distance of {far}."
        )
        console.print(text, highlight=False, soft_wrap=True)


def beside(value: float, reported: float | None) -> str:
    """A figure, and below it in brackets its difference from the paper's figure."""
    form, sign = ("d", "+d") if isinstance(value, int) else (".4f", "+.4f")
    return f"{value:{form}}" + (f"\n({value - reported:{sign}})" if reported is not None else "")


def _show_figures(runs: dict[str, Any], console: Console, *, paper: bool) -> None:
    last, title = (
        (["distance"], "Reported figures (and minus the paper's)")
        if paper
        else ([], "The figures that the paper reports")
    )
    table = Table("", *LABELS.values(), *last, title=title, box=box.SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    if paper:
        table.add_row("paper", *(f"{value:g}" for value in PAPER.values()), "", end_section=True)
    for name, run in runs.items():
        cells = [beside(run["figures"][key], PAPER[key] if paper else None) for key in LABELS]
        table.add_row(name, *cells, *([f"{run['distance']:.3f}"] if paper else []))
    console.print(table)


def _show_gains(runs: dict[str, Any], console: Console, *, paper: bool) -> None:
    last, title = (
        (["distance"], "Mean gain by manipulation (and over the paper's)")
        if paper
        else ([], "Mean gain by manipulation")
    )
    table = Table("", "misreports", *GAINS, *last, title=title, box=box.SIMPLE_HEAD)
    if paper:
        table.add_row("paper", "", *(f"{value:g}" for value in GAINS.values()), "", end_section=True)
    for name, run in runs.items():
        for family in FAMILIES:
            gain = run["gain_figures"][family]
            cells = [f"{gain[key]:.6f}" + (f" (x{gain[key] / GAINS[key]:.2f})" if paper else "") for key in GAINS]
            far = [f"{run['gain_distance'][family]:.3f}"] if paper else []
            table.add_row(
                name if family == FAMILIES[0] else "", family, *cells, *far, end_section=family == FAMILIES[-1]
            )
    console.print(table)


def _missed(gap: float) -> str:
    return "no, equal" if gap <= ZERO else f"no, {gap:.2g}"
