"""How often 95 % intervals hold the truth if voters have many votes each: resampled by voter beside by comparison.

    python -m benchmarks.coverage_voters [--runs N] [--samples N] [--setting NAME ...] [--out FOLDER]

Every run draws voters of two groups, each with a ranking, and their votes on pairs of five alternatives. The truth is
that of the population from which the voters come. A bootstrap is consistent for entries of P, for win rates and for
the groups' shares of the votes; their mean coverage has to lie in [.93, .97], except with contexts beside voters,
where the intervals are meant to be wider. It is not for u, a minimum, nor for lotteries near ties: their coverage is
told, and that of `share_bound_intervals`, which has to be at least .95. Nothing but jaxval is needed.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.report import machine, save
from jaxval import social_choice
from jaxval.parallel import progress
from jaxval.preferences import empirical_matrix

ALTERNATIVES = 5
REWARDS = np.array([np.linspace(0.8, -0.8, ALTERNATIVES), np.linspace(-1, 1, ALTERNATIVES)])  # of the two groups
SECOND = 0.4  # the share of the second group
BLOCK = 20  # runs compiled together, after which the bar moves
WANTED = (0.93, 0.97)
KEPT = ("P", "win rate", "share of votes", "win rate in group 0", "win rate in group 1")
TOLD = ("u", "F*")
LOTTERY = "maximal lottery"  # takes ten times as long as all others, so that it has a tenth of the runs
UPPER = np.triu_indices(ALTERNATIVES, 1)


class Setting(NamedTuple):
    """Voters, votes of each on average, the share of votes at random, and contexts with rewards of their own.

    `lottery` asks for the maximal lottery and nothing else.
    """

    voters: int
    votes: int
    random: float = 0.0
    contexts: int = 1
    lottery: bool = False


SETTINGS = {
    "60 voters, 40 votes each": Setting(60, 40),
    "60 voters, half of 40 votes at random": Setting(60, 40, random=0.5),
    "25 voters, 100 votes each": Setting(25, 100),
    "60 voters, 40 votes, 12 contexts": Setting(60, 40, contexts=12),
    "60 voters, 40 votes each, maximal lotteries": Setting(60, 40, lottery=True),
}


def scores(rng: np.random.Generator, group: np.ndarray, contexts: int) -> np.ndarray:
    """(voters, contexts, alternatives): rewards of the group, the voter's taste, and what the context adds."""
    taste = rng.gumbel(size=(len(group), 1, ALTERNATIVES))
    added = 0.7 * rng.normal(size=(1, contexts, ALTERNATIVES)) * (contexts > 1)
    return REWARDS[group][:, None] + taste + added


def draw(rng: np.random.Generator, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Wins (voters, contexts, M, M) and (voters,) groups; numbers of votes vary from voter to voter."""
    group = (rng.random(setting.voters) < SECOND).astype(int)
    order = scores(rng, group, setting.contexts)
    number = 1 + rng.poisson(setting.votes * rng.gamma(2, 0.5, setting.voters))
    voter = np.repeat(np.arange(setting.voters), number)
    context = rng.integers(setting.contexts, size=len(voter))
    first = rng.integers(ALTERNATIVES, size=len(voter))
    second = (first + rng.integers(1, ALTERNATIVES, size=len(voter))) % ALTERNATIVES
    chance = rng.random(len(voter)) < setting.random
    preferred = order[voter, context, first] > order[voter, context, second]
    won = np.where(chance, rng.random(len(voter)) < 0.5, preferred)
    wins = np.zeros((setting.voters, setting.contexts, ALTERNATIVES, ALTERNATIVES))
    np.add.at(wins, (voter, context, np.where(won, first, second), np.where(won, second, first)), 1)
    return wins, group


def truth(setting: Setting) -> jax.Array:
    """The statistics of a large population."""
    rng, size = np.random.default_rng(1), 200_000
    matrices = []
    for group in (0, 1):
        order = scores(rng, np.full(size, group), 1)[:, 0]
        if setting.contexts > 1:
            order = order + 0.7 * rng.normal(size=order.shape)
        preferred = np.mean(order[:, :, None] > order[:, None, :], axis=0)
        matrix = (1 - setting.random) * preferred + setting.random / 2
        matrices.append(np.where(np.eye(ALTERNATIVES, dtype=bool), 0, matrix))
    return statistics(jnp.asarray(np.stack([(1 - SECOND) * matrices[0], SECOND * matrices[1]])), setting.lottery)


def statistics(wins: jax.Array, lottery: bool) -> jax.Array:
    """All statistics of the wins in both groups, (2, M, M), one after another; `slices` tells where each is."""
    matrix, groups = empirical_matrix(wins[0] + wins[1]), jax.vmap(empirical_matrix)(wins)
    if lottery:
        return social_choice.maximal_lottery(matrix)
    total = jnp.sum(wins, axis=(1, 2))
    kept = [matrix[UPPER], jnp.mean(matrix, axis=1), total[1:] / jnp.sum(total), *jnp.mean(groups, axis=2)]
    told = [rule(matrix) for rule in (social_choice.share_bounds, social_choice.proportional)]
    return jnp.concatenate([*kept, *told])


def slices(lottery: bool) -> dict[str, slice]:
    if lottery:
        return {LOTTERY: slice(None)}
    sizes = [len(UPPER[0]), ALTERNATIVES, 1, *[ALTERNATIVES] * 4]
    ends = np.cumsum(sizes)
    return {name: slice(end - size, end) for name, end, size in zip(KEPT + TOLD, ends, sizes, strict=True)}


def contributing(sizes: jax.Array, voters: int) -> jax.Array:
    """The number of voters on which each statistic depends: all, but for what happens within one group."""
    counts = {f"win rate in group {k}": size for k, size in enumerate(sizes)}
    parts = slices(lottery=False).items()
    return jnp.concatenate([jnp.full(at.stop - at.start, counts.get(name, voters)) for name, at in parts])


def one_run(key: jax.Array, wins: jax.Array, group: jax.Array, *, samples: int, lottery: bool) -> tuple[jax.Array, ...]:
    """The ends of all intervals: by voter, by comparison, of the pairs, and of u by voter and by comparison."""
    members = jnp.stack([1 - group, group]).astype(wins.dtype)
    voters, contexts = wins.shape[:2]

    def of_times(times: jax.Array, of_contexts: jax.Array | None = None) -> jax.Array:
        chosen = jnp.ones(contexts) if of_contexts is None else of_contexts
        return statistics(jnp.einsum("gv,vcij,c->gij", members * times[None], wins, chosen), lottery)

    clusters = [voters, contexts] if contexts > 1 else voters
    by_voter = social_choice.cluster_intervals(
        key,
        of_times,
        clusters,
        contributing=None if lottery else contributing(jnp.sum(members, axis=1), voters),
        samples=samples,
        batch_size=samples,
    )
    in_groups = jnp.einsum("gv,vcij->gij", members, wins)

    def resample(key: jax.Array) -> jax.Array:
        return statistics(jax.random.poisson(key, in_groups).astype(wins.dtype), lottery)  # comparisons, one by one

    drawn = jnp.sort(jax.vmap(resample)(jax.random.split(key, samples)), axis=0)
    ranks = [int(np.floor(0.025 * (samples - 1))), int(np.ceil(0.975 * (samples - 1)))]
    total = jnp.sum(in_groups, axis=0)
    pairs = jnp.sum(wins, axis=1)
    compared = pairs + pairs.swapaxes(1, 2)
    squares = jnp.sum(compared**2, axis=0)
    effective = jnp.where(squares > 0, jnp.sum(compared, axis=0) ** 2 / jnp.where(squares > 0, squares, 1), 0)
    score = social_choice.pair_intervals(total, effective=effective)
    bounds = [social_choice.share_bound_intervals(total, effective=one) for one in (effective, None)]
    ends = [by_voter[1:], (drawn[ranks[0]], drawn[ranks[1]]), (score.low[UPPER], score.high[UPPER])]
    return tuple(jnp.stack(pair) for pair in (*ends, *(one[1:] for one in bounds)))


def measure(setting: Setting, runs: int, samples: int, seed: int, advance: Any) -> dict[str, Any]:
    """Coverage (mean and least over entries) and mean width of every statistic and way."""
    known, started = np.asarray(truth(setting)), time.perf_counter()
    rng, blocks = np.random.default_rng(seed), []
    many = jax.jit(jax.vmap(partial(one_run, samples=samples, lottery=setting.lottery)))
    runs = runs // 10 if setting.lottery else runs
    for start in range(0, runs, BLOCK):
        wins, groups = (np.stack(part) for part in zip(*(draw(rng, setting) for _ in range(BLOCK)), strict=True))
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), start), BLOCK)
        blocks.append([np.asarray(ends) for ends in many(keys, jnp.asarray(wins), jnp.asarray(groups))])
        advance(BLOCK)
    by_voter, plain, score, bounds, plain_bounds = (np.concatenate(part) for part in zip(*blocks, strict=True))
    at = slices(setting.lottery)
    found = {
        name: {"by voter": covered(by_voter[:, :, part], known[part]), "plain": covered(plain[:, :, part], known[part])}
        for name, part in at.items()
    }
    if setting.lottery:
        return {"runs": len(by_voter), "seconds": time.perf_counter() - started, "statistics": found}
    found["P, score intervals"] = {"by voter": covered(score, known[at["P"]])}
    found["u, share_bound_intervals"] = {
        "by voter": covered(bounds, known[at["u"]]),
        "plain": covered(plain_bounds, known[at["u"]]),
    }
    return {"runs": len(by_voter), "seconds": time.perf_counter() - started, "statistics": found}


def covered(ends: np.ndarray, known: np.ndarray) -> dict[str, float]:
    low, high = ends[:, 0] - 1e-9, ends[:, 1] + 1e-9
    held = np.mean((low <= known) & (known <= high), axis=0)
    return {"mean": float(held.mean()), "least": float(held.min()), "width": float(np.mean(high - low))}


def misses(record: dict[str, Any]) -> list[str]:
    """The statistics whose intervals do not cover as they should."""
    found = record["statistics"]
    if LOTTERY in found:
        return []
    most = WANTED[1] if SETTINGS[record["setting"]].contexts == 1 else 1
    wrong = [name for name in KEPT if not WANTED[0] <= found[name]["by voter"]["mean"] <= most]
    return wrong + [name for name in ("u, share_bound_intervals",) if found[name]["by voter"]["mean"] < 0.95]


def show(records: list[dict[str, Any]], console: Console) -> None:
    for record in records:
        table = Table(title=f"{record['setting']}: {record['runs']} runs", title_justify="left")
        for name in ("95 % intervals of", "by voter", "least", "width", "by comparison", "least", "width"):
            table.add_column(name, justify="left" if name.endswith("of") else "right")
        for name, ways in record["statistics"].items():
            cells = [ways.get(way) for way in ("by voter", "plain")]
            words = [[f"{cell[k]:.3f}" for k in ("mean", "least", "width")] if cell else [""] * 3 for cell in cells]
            table.add_row(name, *words[0], *words[1])
        console.print(table)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage_voters", description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=2000, metavar="N", help="of each setting (default: 2000)")
    parser.add_argument("--samples", type=int, default=400, metavar="N", help="resamples of a run (default: 400)")
    parser.add_argument("--setting", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), help="(default: all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("results", "benchmarks", "coverage_voters"), metavar="FOLDER")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, and nothing else")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; the exit status is 1 if intervals do not cover as they should, else 0."""
    options = parse(arguments)
    jax.config.update("jax_enable_x64", True)
    results: dict[str, Any] = {"benchmark": "coverage_voters", "machine": machine(), "seed": options.seed}
    results |= {"samples": options.samples, "records": []}
    runs = [options.runs // 10 if SETTINGS[name].lottery else options.runs for name in options.setting]
    with progress(True, sum(runs), "runs") as advance:
        for name in options.setting:
            record = {"setting": name} | measure(SETTINGS[name], options.runs, options.samples, options.seed, advance)
            results["records"].append({**record, "misses": misses(record)})
            save(options.out, results)
    if options.json:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        show(results["records"], Console(width=max(Console().width, 100)))
    return int(any(record["misses"] for record in results["records"]))


if __name__ == "__main__":
    sys.exit(main())
