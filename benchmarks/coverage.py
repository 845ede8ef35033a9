"""How often 95 % intervals hold the value, and how wide they are, beside value ± 1.96 standard errors.

    python -m benchmarks.coverage [--runs N] [--permutations N ...] [--method NAME ...] [--game TEXT] [--out FOLDER]

Every run samples anew. Coverage is averaged over the players whose sampled value varies, and the worst of them is told.
A value counts as held within 1e-5 of the largest utility, for rounding. A game that is named "outside" lies outside
what the intervals promise, and no limit is checked there. Nothing but jaxval is needed.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.coverage_games import GAMES, Game
from benchmarks.report import machine, save
from jaxval import values
from jaxval.parallel import progress
from jaxval.types import Estimate

WANTED = 0.93
BLOCK = 100  # runs compiled together, after which the bar moves
ROUNDING = 1e-5
REGRESSED = ("voters, one", "quota 1/2, 10", "set cover, 12", "noisy, 12")

Runs = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def shapley(game: Game, permutations: int) -> Callable[[Any], Estimate]:
    """The sampler of the permutations asked for, in antithetic pairs."""
    return lambda key: values.sample_shapley(key, game.utility, len(game.values), permutations=permutations)


def plain(game: Game, permutations: int) -> Callable[[Any], Estimate]:
    """The same without antithetic pairs."""
    return lambda key: values.sample_shapley(
        key, game.utility, len(game.values), permutations=permutations, antithetic=False
    )


def until(game: Game, permutations: int) -> Callable[[Any], Estimate]:
    """The stopping rule, for a half-width of 5 % of the largest value; it may go on to ten times the permutations."""
    half_width = 0.05 * float(np.abs(game.values).max())
    most = 10 * permutations
    return lambda key: values.sample_until_solve(key, game.utility, len(game.values), half_width=half_width, most=most)[
        0
    ]


COMPILED = {"shapley": shapley, "plain": plain, "until": until}


def compiled_runs(sampler: Callable[[Any], Estimate], runs: int, seed: int) -> Runs:
    """Values, standard errors, intervals and nonzero gains of a block of runs at a time."""

    def one(key: Any) -> Any:
        estimate = sampler(key)
        return estimate.values, estimate.standard_errors, estimate.intervals, estimate.gains.nonzero

    many = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=10))
    keys = jax.random.split(jax.random.key(seed), runs)
    for start in range(0, runs, BLOCK):
        yield tuple(np.asarray(part) for part in many(keys[start : start + BLOCK]))


def regressed_runs(game: Game, evaluations: int, runs: int, seed: int) -> Runs:
    """The same of regressions, which are fitted on the host; nonzero gains are not counted there."""
    players = len(game.values)
    estimator = values.regression_estimator(players, evaluations=evaluations)
    evaluate = jax.jit(jax.vmap(game.utility))
    for key in jax.random.split(jax.random.key(seed), runs):
        state = estimator.init(key)
        coalitions = estimator.ask(state)
        found = estimator.estimate(estimator.tell(state, coalitions, evaluate(coalitions)))
        parts = (found.values, found.standard_errors, found.intervals, np.full(players, players))
        yield tuple(np.asarray(part)[None] for part in parts)


def measure(game: Game, runs: Runs, advance: Callable[[int], None]) -> dict[str, Any]:
    """Coverage and widths over all runs, of our intervals and of value ± 1.96 standard errors."""
    blocks = []
    started = time.perf_counter()
    for block in runs:
        blocks.append(block)
        advance(len(block[0]))
    found, errors, intervals, nonzero = (np.concatenate(parts).astype(float) for parts in zip(*blocks, strict=True))
    slack = ROUNDING * game.largest
    varies = np.any(errors > slack, axis=0)
    varies = varies if varies.any() else np.ones_like(varies)
    record: dict[str, Any] = {
        "players": len(game.values),
        "varying": int(varies.sum()),
        "runs": len(found),
        "few": float((nonzero[:, varies] < 10).mean()),
        "unknown": float(np.isnan(intervals).any(axis=1)[:, varies].mean()),
        "seconds": time.perf_counter() - started,
    }
    pairs = {"ours": np.moveaxis(intervals, 1, 0), "normal": np.stack([found - 1.96 * errors, found + 1.96 * errors])}
    for name, (low, high) in pairs.items():
        held = ((low - slack <= game.values) & (game.values <= high + slack)).mean(axis=0)[varies]
        record[name] = {
            "coverage": float(held.mean()),
            "worst": float(held.min()),
            "width": float(np.nanmean((high - low)[:, varies])),
        }
    return record


def show(records: list[dict[str, Any]], console: Console) -> None:
    """One row a game and budget."""
    table = Table(title="95 % intervals: ours beside value ± 1.96 standard errors", title_justify="left")
    for name in ("game, players", "method", "budget"):
        table.add_column(name)
    for name in ("varying", "few gains", "coverage", "worst", "width", "± 1.96: coverage", "worst", "width"):
        table.add_column(name, justify="right")
    for record in records:
        sides = [word for side in ("ours", "normal") for word in _words(record[side])]
        table.add_row(
            record["game"], record["method"], record["budget"], str(record["varying"]), f"{record['few']:.2f}", *sides
        )
    console.print(table)


def _words(side: dict[str, float]) -> list[str]:
    return [f"{side['coverage']:.3f}", f"{side['worst']:.3f}", f"{side['width']:.3g}"]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    methods = [*COMPILED, "regress"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="of each game (default: 1000)")
    parser.add_argument(
        "--regress-runs", type=int, default=100, metavar="N", help="of each regression, which takes longer"
    )
    parser.add_argument("--permutations", type=int, nargs="+", default=[200], metavar="N", help="(default: 200)")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[4, 8, 12, 20], metavar="N", help="a player")
    parser.add_argument(
        "--method",
        nargs="+",
        choices=methods,
        default=["shapley"],
        metavar="NAME",
        help=f"{', '.join(methods)} (default: shapley)",
    )
    parser.add_argument("--game", nargs="+", default=[""], metavar="TEXT", help="games whose names hold one of these")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("results", "benchmarks", "coverage"), metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, and nothing else")
    return parser.parse_args(arguments)


def cases(options: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Game, method and budget of every row: permutations, or evaluations a player."""
    chosen = [name for name in GAMES if any(text in name for text in options.game)]
    rows = [
        (name, m, count) for m in options.method if m != "regress" for count in options.permutations for name in chosen
    ]
    if "regress" in options.method:
        rows += [
            (name, "regress", count)
            for name in chosen
            if any(text in name for text in REGRESSED)
            for count in options.evaluations
        ]
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; the exit status is 1 where a game's sampled coverage is below .93, else 0."""
    options = parse(arguments)
    warnings.simplefilter("ignore", UserWarning)
    results: dict[str, Any] = {"benchmark": "coverage", "machine": machine(), "seed": options.seed, "records": []}
    rows = cases(options)
    total = sum(options.regress_runs if method == "regress" else options.runs for _, method, _ in rows)
    with progress(True, total, "runs") as advance:
        for name, method, budget in rows:
            game = GAMES[name]()
            if method == "regress":
                words = f"{budget} n evaluations"
                runs = regressed_runs(game, budget * len(game.values), options.regress_runs, options.seed)
            else:
                words = f"{budget} permutations"
                runs = compiled_runs(COMPILED[method](game, budget), options.runs, options.seed)
            record = {"game": name, "method": method, "budget": words, **measure(game, runs, advance)}
            results["records"].append(record)
            save(options.out, results)
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        show(results["records"], Console(width=max(Console().width, 140)))
    sampled = [r for r in results["records"] if r["method"] != "regress" and not r["game"].startswith("outside")]
    return int(any(record["ours"]["coverage"] < WANTED for record in sampled))


if __name__ == "__main__":
    sys.exit(main())
