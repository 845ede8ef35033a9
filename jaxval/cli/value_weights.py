"""The options of `jaxval value --weights`: the best weights of sources, shown beside others and written for use."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxval._errors import BadArgument, json_text
from jaxval.cli._arguments import is_number
from jaxval.cli._folders import check_empty
from jaxval.cli._tables import LONGEST, fixed, interval, new_table, places, shortened, signed
from jaxval.cli._words import above_zero

WEIGHTS = """\
A weight says how much of a source to take: 0 leaves it out, 1 takes it as it was trained. The best weights have the
largest reward on the evaluated prompts; no policy is trained again. Their gain over equal weights, over the best
coalition and over weights in proportion to values is told on prompts that they were not fitted on.\
"""
NEEDED = ("over", "objective", "floor", "least_effective")
NAMES = {
    "best": "the best weights",
    "equal": "all sources alike",
    "coalition": "the best coalition",
    "values": "in proportion to values",
}
NOTHING = 1e-6  # smaller weights, relative to the largest, are written as 0
FOLDS = 5
SHOWN_REWARDS = 2


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `jaxval value` that find weights."""
    add = command.add_argument_group("the best weights of sources", WEIGHTS).add_argument
    add(
        "--weights",
        type=Path,
        metavar="FOLDER",
        help="find the best weights and write them there: weights.json (with the shares of a mixture), pairs.jsonl "
        "(the pairs with the column weight), and adapter/ (one merged adapter) if the sources are adapters",
    )
    add(
        "--over",
        metavar="MOST",
        help="the largest weight of a source (default 1); or simplex: weights that sum to 1; or subsets: 0 or 1",
    )
    add(
        "--objective",
        action="append",
        nargs=2,
        metavar=("REWARD", "SHARE"),
        help="the share of a reward in what is maximised; may be repeated (default: the mean of all rewards)",
    )
    add(
        "--floor",
        action="append",
        nargs=2,
        metavar=("REWARD", "UTILITY"),
        help="the least utility under a reward, such as another than the one that is maximised; may be repeated",
    )
    add(
        "--least-effective",
        type=above_zero,
        metavar="N",
        help="the least effective sample size, for a pool of draws (default 10)",
    )


def check_options(arguments: argparse.Namespace) -> None:
    """Raise if options do not go together with --weights, or need it."""
    for name in () if arguments.weights else NEEDED:
        if getattr(arguments, name) is not None:
            raise BadArgument("--" + name.replace("_", "-"), expected="--weights FOLDER beside it", got="none")
    if arguments.weights is None:
        return
    check_empty("--weights", arguments.weights)
    if arguments.arithmetic != "response":
        expected = "response beside --weights, which combines the probabilities of responses"
        raise BadArgument("--arithmetic", expected=expected, got=arguments.arithmetic)
    if arguments.least_effective and not (arguments.samples or (arguments.log_probs and not arguments.candidates)):
        raise BadArgument("--least-effective", expected="a pool of draws: --samples or --log-probs", got="none")
    _over(arguments.over)
    for option in ("objective", "floor"):
        _numbers(option, getattr(arguments, option))


def _over(text: str | None) -> dict[str, Any]:
    """The words of --over as arguments of `sources.weigh_sources`."""
    if text in ("simplex", "subsets"):
        return {"over": text}
    if text is not None and not (is_number(text) and 0 < float(text) < math.inf):
        raise BadArgument("--over", expected="a number above 0, simplex or subsets", got=text)
    return {"over": "box", "most": float(text or 1)}


def _numbers(option: str, words: Sequence[Sequence[str]] | None) -> dict[str, float] | None:
    """Pairs of a reward and a number, each reward once."""
    if words is None:
        return None
    for name, text in words:
        if not (is_number(text) and math.isfinite(float(text))):
            raise BadArgument(f"--{option}", expected="a reward and a number, such as helpful 1", got=f"{name} {text}")
        if [one for one, _ in words].count(name) > 1:
            raise BadArgument(f"--{option}", expected="each reward once", got=f"{name} twice")
    return {name: float(text) for name, text in words}


def weigh(arguments: argparse.Namespace, valued: Any, pairs: Sequence[float] | None) -> dict[str, Any]:
    """The best weights of valued sources as plain numbers; None means that a number is not known.

    Args:
        arguments: the parsed words.
        valued: what `sources.value_sources`, `value_adapters`, `value_pool` or `value_samples` returned.
        pairs: (sources,) the number of pairs of each source, if they have pairs.
    """
    import numpy as np

    from jaxval import sources

    over = _over(arguments.over)
    objective, floors = (_numbers(option, getattr(arguments, option)) for option in ("objective", "floor"))
    least = arguments.least_effective or 10.0
    prompts = valued.prompts if arguments.samples or arguments.log_probs else valued.contexts
    folds = max(2, min(FOLDS, prompts))
    found = sources.weigh_sources(
        valued, **over, objective=objective, floors=floors, least_effective=least, folds=folds
    )
    weights = np.where(found.weights > NOTHING * found.weights.max(), found.weights, 0.0)
    counts = np.full(len(weights), np.nan) if pairs is None else np.asarray(pairs)
    known = bool(weights.any()) and bool(np.isfinite(counts).all())
    shares = sources.sampling_shares(weights, counts).tolist() if known else [None] * len(weights)
    rewards = list(valued.rewards)
    return {
        **over,
        "objective": objective or dict.fromkeys(rewards, 1 / len(rewards)),
        "floors": floors or {},
        "least_effective": None if found.effective_size is None else least,
        "effective_size": found.effective_size,
        "folds": len(found.by_fold),
        "sources": [
            {
                "source": name,
                "weight": float(weights[i]),
                "without_a_fold": [float(found.by_fold[:, i].min()), float(found.by_fold[:, i].max())],
                "sampling_share": shares[i],
                "others": {other: float(each[i]) for other, each in found.others.items()},
            }
            for i, name in enumerate(valued.names)
        ],
        "held_out": {name: dict(zip(rewards, each.tolist(), strict=True)) for name, each in found.held_out.items()},
        "gains": {
            name: {"gain": float(gain), "interval": [float(low), float(high)]}
            for name, (gain, low, high) in found.gains.items()
        },
    }


def weigh_and_write(
    arguments: argparse.Namespace, valued: Any, pairs: Sequence[float] | None, files: Any
) -> tuple[dict[str, Any], BadArgument | None]:
    """What `--weights` adds to a result, and an error if no weights meet the constraints; the values stay valid.

    Args:
        arguments: the parsed words.
        valued: the values.
        pairs: as in `weigh`.
        files: the files of pairs whose sources are weighted; none for adapters and tables.
    """
    from jaxval import data, sources
    from jaxval.checkpoints.files import write_whole
    from jaxval.sources.mixtures import has_adapters

    folder = arguments.weights
    if folder is None:
        return {}, None
    try:
        weighed = weigh(arguments, valued, pairs)
    except BadArgument as error:
        return {}, error
    folder.mkdir(parents=True, exist_ok=True)
    weights = {row["source"]: row["weight"] for row in weighed["sources"]}
    if any(weights.values()):
        if files:
            how = {"source": arguments.source, "skip_unusable": arguments.skip_unusable}
            data.write_weighted(files, folder / "pairs.jsonl", weights, **how)
        if has_adapters(valued):
            sources.write_mixture(valued, folder / "adapter", list(weights.values()))
    write_whole(folder / "weights.json", json_text(weighed) + "\n")
    print(f"weights written to {folder}", file=sys.stderr)
    return {"weights": weighed}, None


def rows_of(weighed: dict[str, Any]) -> list[tuple[str, dict[str, float], dict[str, Any] | None]]:
    """For the best weights and each of the others: what they are called, their utilities, and the best ones' gain."""
    return [(NAMES[name], of_reward, weighed["gains"].get(name)) for name, of_reward in weighed["held_out"].items()]


def told(weighed: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """The tables and the sentences on the best weights."""
    return [_of_sources(weighed), _utilities(weighed)], weight_sentences(weighed)


def _of_sources(weighed: dict[str, Any]) -> Any:
    """The weights of the sources."""
    rows = sorted(weighed["sources"], key=lambda row: -row["weight"])
    table = new_table(f"best weights, maximising {shortened(goal_of(weighed), 52)}")
    table.add_column("source", overflow="fold", min_width=12)
    columns = {
        "weight": [fixed(row["weight"], 3) for row in rows],
        "without a fold": ["{:.3f} to {:.3f}".format(*row["without_a_fold"]) for row in rows],
    }
    if rows[0]["sampling_share"] is not None:
        columns["share"] = [f"{row['sampling_share']:.1%}" for row in rows]
    for name, head in (("coalition", "coalition"), ("values", "by values")):
        if name in rows[0]["others"]:
            columns[head] = [f"{row['others'][name]:.3g}" for row in rows]
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for row, *cells in zip(rows, *columns.values(), strict=True):
        table.add_row(shortened(row["source"], LONGEST), *cells)
    return table


def _utilities(weighed: dict[str, Any]) -> Any:
    """The utilities on prompts that weights were not fitted on."""
    rewards = list(weighed["held_out"]["best"])
    if len(rewards) > SHOWN_REWARDS:  # what is maximised stands for them
        rewards = []
    table = new_table("utilities of weights on prompts that they were not fitted on")
    table.add_column("weights", overflow="fold", min_width=12)
    for reward in rewards:
        table.add_column(shortened(reward, 40 if len(rewards) == 1 else 9), justify="right", no_wrap=True)
    table.add_column("gain of the best", justify="right", no_wrap=True)
    table.add_column("95 % over prompts", justify="right", no_wrap=True)
    digits = places([number for gain in weighed["gains"].values() for number in (gain["gain"], *gain["interval"])])
    for name, of_reward, gain in rows_of(weighed):
        cells = ["", ""] if gain is None else [signed(gain["gain"], digits), interval(gain["interval"], digits)]
        table.add_row(name, *(fixed(of_reward[reward], digits) for reward in rewards), *cells)
    return table


def weight_sentences(weighed: dict[str, Any]) -> list[str]:
    """What the best weights gain, and how they are to be used."""
    rows, gain = weighed["sources"], weighed["gains"]["equal"]
    low, high = gain["interval"]
    digits = places([gain["gain"], low, high])
    judged = "more" if low > 0 else "less" if high < 0 else "which may be no gain"
    lines = [
        f"The best weights gain {signed(gain['gain'], digits)} of {goal_of(weighed)} over all sources alike (95 % "
        f"{interval([low, high], digits)}, {judged}), on {weighed['folds']} folds of prompts, each left out of the fit "
        "of the weights that it judges."
    ]
    if not any(row["weight"] for row in rows):
        return [*lines, "Every best weight is 0: the reference is better than any mixture of these sources."]
    if weighed["effective_size"] is not None:
        lines.append(
            f"Effective sample size at the best weights: {weighed['effective_size']:.1f}, kept at "
            f"{weighed['least_effective']:g} or more."
        )
    if rows[0]["sampling_share"] is not None:
        lines.append("Share: of the pairs of a mixture. Coalition: the weights of the best coalition.")
    lines.append(
        "Weights multiply the steps of the trained policies from the reference. As weights of pairs or shares of a "
        "mixture they are a proposal for a new training, and only that training tells its gain."
    )
    return lines


def goal_of(weighed: dict[str, Any]) -> str:
    """What was maximised, in words."""
    shares = {name: share for name, share in weighed["objective"].items() if share}
    even = set(weighed["objective"].values()) == {1 / len(weighed["objective"])}
    if even and len(shares) > 1:
        few = len(shares) <= SHOWN_REWARDS
        goal = f"the mean of {', '.join(shares) if few else f'{len(shares)} rewards'}"
    else:
        goal = " + ".join(name if share == 1 else f"{share:g} {name}" for name, share in shares.items())
    floors = [f"{name} at least {floor:g}" for name, floor in weighed["floors"].items()]
    return goal + (f" with {', '.join(floors)}" if floors else "")
