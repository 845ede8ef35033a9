"""Shapley values from few evaluations: error against evaluations, and processor time, against shapiq.

    python -m benchmarks.values_regressed [--quick] [--python PATH] [--environment NAME=PATH ...] [--out FOLDER]

Two games of 16 players, ten of each: a sum of 50 unanimity games, and a saturating learning curve with independent
noise. Every side has 200, 1,000 and 5,000 distinct coalitions. Told are the median over the games of the root mean
square error of the values, the share of 95 % intervals that hold the value, and the time of an estimate without its
evaluations. Sides run in turn, on one core each; shapiq 1.8 wants Python 3.12.
"""

import argparse
import sys
from functools import partial
from math import comb
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.command import Cases, run_benchmark
from benchmarks.environments import OURS
from benchmarks.harness import Agreement, Answers, Bench, Pair, Side
from benchmarks.peers import SHAPIQ

PEERS = (SHAPIQ,)
OUR_METHODS = ("adjusted", "least_squares")
PEER_METHODS = ("RegressionMSR", "LeverageSHAP", "OddSHAP", "SVARM", "KernelSHAP")

BUDGETS = (200, 1000, 5000)
BEST = {"soum": (0.135, 0.0318, 0.0054), "saturating": (0.0028, 0.0007, 0.0003)}  # of shapiq 1.8, by budget


def soum(players: int, seed: int, carriers: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """A sum of unanimity games v(S) = Σ_j c_j [T_j ⊆ S], φ_i = Σ_{j: i∈T_j} c_j / |T_j|: its table and values."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, players + 1, size=carriers)
    masks = np.zeros((carriers, players), dtype=bool)
    for mask, size in zip(masks, sizes, strict=True):
        mask[rng.choice(players, size=size, replace=False)] = True
    weights = rng.normal(size=carriers)
    index = np.arange(1 << players)
    codes = masks @ (1 << np.arange(players))
    table = sum(weight * ((index & code) == code) for weight, code in zip(weights, codes, strict=True))
    return table, weights / sizes @ masks


def saturating(players: int, seed: int, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """v(S) = 1 - exp(-2 Σ_{i∈S} w_i / Σ|w|) + noise(S), an eighth of the players harmful: its table and values."""
    rng = np.random.default_rng(10_000 + seed)
    weights = rng.lognormal(sigma=1.0, size=players)
    weights[: players // 8] *= -0.5
    members = np.arange(1 << players)[:, None] >> np.arange(players) & 1
    table = 1 - np.exp(-2 * (members @ weights) / np.abs(weights).sum()) + noise * rng.normal(size=1 << players)
    table[0] = 0.0
    return table, shapley(table)


def shapley(table: np.ndarray) -> np.ndarray:
    """φ_i = Σ_S (v(S ∪ i) - v(S)) / (n C(n - 1, |S|))."""
    players = int(np.log2(len(table)))
    index = np.arange(len(table))
    sizes = sum(index >> player & 1 for player in range(players))
    shares = np.array([1 / (players * comb(players - 1, size)) for size in range(players)] + [0.0])
    return np.array(
        [
            np.sum((shares[sizes] * (table[index | 1 << player] - table))[index >> player & 1 == 0])
            for player in range(players)
        ]
    )


GAMES = {"soum": soum, "saturating": saturating}


def compare(game: str, bench: Bench, options: argparse.Namespace) -> None:
    """All sides on the same games, budget by budget."""
    players, number, budgets = (8, 2, (60,)) if options.quick else (16, 10, BUDGETS)
    drawn = [GAMES[game](players, options.seed + seed) for seed in range(number)]
    inputs = {"tables": np.array([table for table, _ in drawn]), "known": np.array([known for _, known in drawn])}
    for place, budget in enumerate(budgets):
        sides = [
            Side(
                name,
                OURS,
                "values_regressed_jaxval",
                "estimates",
                {"evaluations": budget, "method": name},
                number,
                True,
            )
            for name in OUR_METHODS
        ] + [
            Side(name, SHAPIQ, "values_regressed_shapiq", "estimates", {"evaluations": budget, "method": name}, number)
            for name in PEER_METHODS
        ]
        accuracy: dict[str, Any] = {}

        def judge(inputs: Answers, ours: Answers, theirs: Answers, found: dict[str, Any] = accuracy) -> Agreement:
            errors = [np.sqrt(np.mean((side["values"] - inputs["known"]) ** 2, axis=1)) for side in (ours, theirs)]
            found[f"pair {len(found)}"] = [float(np.median(error)) for error in errors]
            found["covered"] = float(
                np.mean(np.abs(ours["values"] - inputs["known"]) <= 1.96 * ours["standard_errors"] + 1e-12)
            )
            return Agreement(
                max(np.median(error) / np.std(inputs["known"]) for error in errors),
                2,
                "standard deviations of the values",
            )

        pairs = [Pair(OUR_METHODS[0], name) for name in PEER_METHODS]
        record = bench.race(
            f"{game}, few evaluations",
            {"players": players, "evaluations": budget},
            inputs,
            sides,
            pairs=[*pairs, Pair(OUR_METHODS[1], PEER_METHODS[0])],
            compare=judge,
        )
        told = [pair for pair in record["pairs"] if "gap" in pair]
        medians: dict[str, float] = {}
        for pair, both in zip(told, [found for name, found in accuracy.items() if name != "covered"], strict=True):
            medians |= {pair["ours"]: both[0], pair["theirs"]: both[1]}
        record["median_errors"] = medians
        if not options.quick and OUR_METHODS[0] in medians:
            best, ours = BEST[game][place], medians[OUR_METHODS[0]]
            record["targets"].append(
                {"what": "median error", "wanted": f"at most {best:g}", "got": ours, "met": bool(ours <= best)}
            )


def show_errors(records: list[dict[str, Any]], console: Console) -> None:
    """The errors of all sides, and the processor time of one estimate."""
    grid = Table("game", "evaluations", "side", "median error", "to ours", "CPU seconds an estimate", title="errors")
    for record in records:
        medians = record.get("median_errors", {})
        for side in record["sides"]:
            if side["side"] in medians:
                error = medians[side["side"]]
                seconds = side.get("cpu_median", float("nan")) / side["items"]
                ratio = error / medians.get(OUR_METHODS[0], float("nan"))
                grid.add_row(
                    record["case"],
                    str(record["sizes"]["evaluations"]),
                    side["side"],
                    f"{error:.3g}",
                    f"{ratio:.2f}",
                    f"{seconds:.3f}",
                )
    console.print(grid)


CASES: Cases = {game: lambda bench, options, game=game: compare(game, bench, options) for game in GAMES}

main = partial(run_benchmark, "values_regressed", __doc__, CASES, PEERS, also_show=show_errors, cores=1, repeats=1)

if __name__ == "__main__":
    sys.exit(main())
