"""`jaxval value --log-probs`: what each source contributed, from a table of log-probabilities and rewards alone."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxval import __version__
from jaxval._errors import BadArgument, json_text
from jaxval.cli import value_weights
from jaxval.cli._folders import own_folder
from jaxval.cli._tables import fixed, interval, new_table, places, print_tables, signed
from jaxval.cli._words import naming_options

if TYPE_CHECKING:
    import numpy as np

    from jaxval.sources import PoolValues

__all__ = ["describe_pool"]

TABLE = """\
Nothing is trained: TABLE has log-probabilities of sampled responses from any engine, one response a row, as JSON lines,
Parquet, Arrow or a folder of save_to_disk. Columns: prompt; response; log_prob_reference; log_prob_NAME for each
source; reward_NAME for each reward; and drawn_from (reference, a NAME, or the NAME of a further proposal, which has a
column log_proposal_NAME and is no source), or log_proposal, as for draws at a temperature other than 1. Sums over the
tokens of a response and its end token, at temperature 1. Of the options above, those of coalitions and output apply.\
"""

OPTIONS = (
    "log_probs",
    "candidates",
    "unchecked",
    "semivalue",
    "permutations",
    "evaluations",
    "group",
    "seed",
    "out",
    "json",
    "weights",
    "over",
    "objective",
    "floor",
    "least_effective",
)
SHOWN_WEAK = 10
MOST_UTILITIES = 2**12  # coalitions in results.json; of more, those of fewest and of most members
MARK = " †"
WHAT_TO_DO = (
    "what helps: more samples; draws from the coalition of all sources, sampled token by token, as a further proposal; "
    "smaller steps, by fewer epochs or a larger beta; weights that average the sources instead of adding them"
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `jaxval value` that read a table of log-probabilities."""
    add = command.add_argument_group("values from log-probabilities alone", TABLE).add_argument
    add("--log-probs", nargs="+", type=Path, metavar="TABLE", help="one file, or several with the same columns")
    add(
        "--candidates",
        action="store_true",
        help="rows are candidates that were given, not drawn: policies are normalised over the rows of a prompt; TRL's "
        "chosen, rejected, ref_chosen_logps, ref_rejected_logps are read too",
    )
    add("--unchecked", action="store_true", help="warn of a table that cannot be right instead of refusing it")


def value_pool(arguments: argparse.Namespace, defaults: dict[str, Any], groups_of: Any) -> int:
    """Run `jaxval value --log-probs`.

    Args:
        arguments: the parsed words.
        defaults: the options' values if they are not given.
        groups_of: from the words of --group and the names of the sources to groups.
    """
    for name, value in vars(arguments).items():  # an option that has no effect is refused
        if name not in (*OPTIONS, "run", "command", "words") and value != defaults.get(name):
            option = "FILE" if name == "files" else "--" + name.replace("_", "-")
            raise BadArgument(
                option, expected="no such option beside --log-probs, which trains no policy", got=_plain_option(value)
            )
    with own_folder(arguments.out, resume=False), naming_options():
        import jax

        from jaxval import data, sources

        files = arguments.log_probs
        pool = data.read_log_probs(files if len(files) > 1 else files[0], candidates=arguments.candidates)
        valued = sources.value_pool(
            pool,
            semivalue=arguments.semivalue,
            groups=groups_of(arguments.group, pool.sources),
            permutations=arguments.permutations,
            evaluations=arguments.evaluations,
            key=jax.random.key(arguments.seed),
            refuse=not arguments.unchecked,
        )
        report(valued, pool.title, arguments, [name for name in OPTIONS if name not in ("out", "json", "weights")])
    return 0


def report(
    valued: "PoolValues", title: str, arguments: argparse.Namespace, options: Sequence[str], *, skipped: int = 0
) -> None:
    """Write and print the values from a pool, with the options that led to them and the number of pairs left out."""
    import jax

    result = {
        **describe_pool(valued, title=title),
        "options": {name: _plain_option(getattr(arguments, name)) for name in options},
        "versions": {"jaxval": __version__, "jax": jax.__version__},
    }
    weighed, failure = value_weights.weigh_and_write(arguments, valued, None, arguments.files)
    result |= weighed
    if skipped:
        result["skipped"] = skipped
    if arguments.out:
        _write(valued, result, arguments.out)
    if arguments.json:
        print(json_text(result))
    else:
        tables = [_table(result, reward) for reward in result["rewards"]]
        more, said = ([], []) if not weighed else value_weights.told(result["weights"])
        left = (
            [f"{skipped:,} pairs left out (--skip-unusable): an empty response, or two equal ones."] if skipped else []
        )
        print_tables([*tables, *_weakest(result), *more], [*_sentences(result), *left, *said])
    if failure is not None:
        raise failure


def describe_pool(valued: "PoolValues", *, title: str) -> dict[str, Any]:
    """The result of `jaxval value --log-probs` as plain numbers; None means that a number is not known.

    Args:
        valued: what `sources.value_pool` returned.
        title: the title of the pool.

    Returns:
        A dictionary that `json.dumps` takes.

    Example:
        >>> import numpy as np
        >>> from jaxval import sources
        >>> from jaxval.data import SamplePool
        >>> log_probs = np.log([[[0.5, 0.5]], [[0.75, 0.25]]])
        >>> scores, proposal, further = np.array([[[1.0], [0.0]]]), np.zeros((1, 2)), np.zeros((0, 1, 2))
        >>> names = ("2+2?",), ("school",), ("right",)
        >>> pool = SamplePool(*names, log_probs, scores, proposal, None, (), further, True, "sums")
        >>> describe_pool(sources.value_pool(pool), title="sums")["sources"][0]["unreliable"]
        False
    """
    import numpy as np

    from jaxval.sources.pool import FLOOR, SHARE

    def by_reward(numbers: Any) -> dict[str, Any]:
        rounded = np.asarray(numbers, dtype=np.float32)  # the computation's own precision, without invented digits
        return {name: _plain(number) for name, number in zip(valued.rewards, rounded, strict=True)}

    rows = [
        {
            "name": name,
            "values": by_reward(valued.values[i]),
            "intervals": by_reward(valued.intervals[:, i].T),
            "standard_errors": by_reward(valued.standard_errors[i]),
            "within_errors": by_reward(valued.within_errors[i]),
            "sampling_errors": by_reward(valued.sampling_errors[i]),
            "bias": by_reward(valued.bias[i]),
            "bias_errors": by_reward(valued.bias_errors[i]),
            "weak_share": float(valued.weak_shares[i]),
            "unreliable": bool(valued.unreliable[i]),
        }
        for i, name in enumerate(valued.names)
    ]
    sizes = valued.effective_sizes
    shown = _shown(valued.coalitions)
    weakest: Any = [] if sizes is None else np.argsort(sizes, kind="stable")[:SHOWN_WEAK]

    def members(row: Any) -> list[str]:
        return [valued.names[i] for i in np.flatnonzero(valued.coalitions[row])]

    def size(row: Any) -> float | None:
        return None if sizes is None else float(sizes[row])

    return {
        "title": title,
        "rewards": list(valued.rewards),
        "sources": rows,
        "prompts": valued.prompts,
        "draws": valued.draws,
        "candidates": sizes is None,
        "coalitions": len(valued.coalitions),
        "exact": valued.exact,
        "floor": FLOOR,
        "most_weak_share": SHARE,
        "weak_coalitions": 0 if sizes is None else int((sizes < FLOOR).sum()),
        "weakest": [{"members": members(row), "median_effective_size": size(row)} for row in weakest],
        "mean_ratios": {name: {"mean": m, "error": e} for name, (m, e) in valued.mean_ratios.items()},
        "faults": list(valued.faults),
        "utilities": [
            {
                "members": members(row),
                **by_reward(valued.utilities[row]),
                "standard_errors": by_reward(valued.utility_errors[0, row]),
                "within_errors": by_reward(valued.utility_errors[1, row]),
                "median_effective_size": size(row),
            }
            for row in shown
        ],
    }


def _shown(coalitions: "np.ndarray") -> "np.ndarray":
    """The rows of the coalitions that results.json lists."""
    import numpy as np

    if len(coalitions) <= MOST_UTILITIES:
        return np.arange(len(coalitions))
    order = np.argsort(coalitions.sum(axis=1), kind="stable")
    return np.concatenate([order[: MOST_UTILITIES // 2], order[-MOST_UTILITIES // 2 :]])


def _plain(number: Any) -> Any:
    """A number of float32 in as few digits as tell it; None if it is not finite."""
    if number.ndim:
        return [_plain(part) for part in number]
    shortest = float(str(number))
    return shortest if math.isfinite(shortest) else None


def _plain_option(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain_option(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _write(valued: "PoolValues", result: dict[str, Any], out: Path) -> None:
    from jaxval.checkpoints.files import whole_file, write_whole

    write_whole(out / "results.json", json_text(result) + "\n")
    print(f"results written to {out / 'results.json'}", file=sys.stderr)
    try:
        from jaxval import plots

        axes = list(range(min(2, len(valued.rewards))))
        marked = valued.unreliable.any()
        names = [name + MARK * bool(mark) for name, mark in zip(valued.names, valued.unreliable, strict=True)]
        figure = plots.plot_signature(
            names,
            valued.values[:, axes],
            [valued.rewards[k] for k in axes],
            intervals=(valued.intervals[0][:, axes], valued.intervals[1][:, axes]),
            bars="95 % interval over prompts" + (f";{MARK} unreliable" if marked else ""),
            title=result["title"],
        )
        with whole_file(out / "signature.png") as draft:
            figure.savefig(draft, format="png", dpi=300)
        print(f"figure written to {out / 'signature.png'}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"no figure: {error}", file=sys.stderr)


def _table(result: dict[str, Any], reward: str) -> Any:
    table = new_table(f"{result['title']}: {reward}")
    table.add_column("source", overflow="fold", min_width=12)
    rows = sorted(result["sources"], key=lambda row: -row["values"][reward])
    digits = places([row["values"][reward] for row in rows])
    columns = {
        "value": [signed(row["values"][reward], digits) for row in rows],
        "95 % over prompts": [interval(row["intervals"][reward], digits) for row in rows],
    }
    if not result["candidates"]:
        columns["error of the draws"] = [fixed(row["within_errors"][reward], digits) for row in rows]
        columns["on weak"] = [f"{row['weak_share']:.0%}" for row in rows]
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for row, *cells in zip(rows, *columns.values(), strict=True):
        table.add_row(row["name"] + MARK * row["unreliable"], *cells)
    return table


def _weakest(result: dict[str, Any]) -> list[Any]:
    """The table of the coalitions with the smallest effective sizes, if any of them is weak."""
    if not result["weak_coalitions"]:
        return []
    table = new_table("coalitions with the smallest effective sizes")
    table.add_column("coalition", overflow="fold", min_width=20)
    table.add_column("median over prompts", justify="right", no_wrap=True)
    for row in result["weakest"]:
        if row["median_effective_size"] < result["floor"]:
            table.add_row(_named(row["members"], len(result["sources"])), f"{row['median_effective_size']:.1f}")
    return [table]


def _named(members: list[str], sources: int) -> str:
    if len(members) == sources and sources > 4:
        return f"all {sources}"
    return " + ".join(members) or "none"


def _sentences(result: dict[str, Any]) -> list[str]:
    """The sentences below the tables, each only if it applies to the result."""
    sources, coalitions = len(result["sources"]), result["coalitions"]
    some = (
        f"all {coalitions:,}"
        if result["exact"]
        else f"{coalitions:,} of {2**sources if sources <= 20 else f'2^{sources}'}"
    )
    drawn = "candidates" if result["candidates"] else "samples"
    lines = [
        f"{sources} sources, {some} coalitions from one pool: {result['prompts']:,} prompts, {result['draws']:,} "
        f"{drawn}."
    ]
    if result["prompts"] == 1:
        lines.append("One prompt: how far values depend on the prompts is not seen.")
    if not result["candidates"]:
        lines += _of_draws(result)
    lines += [f"Warning: {fault}." for fault in result["faults"]]
    return lines


def _of_draws(result: dict[str, Any]) -> list[str]:
    ratios = result["mean_ratios"]
    furthest = max(ratios, key=lambda name: abs(ratios[name]["mean"] - 1))
    lines = [
        f"Check: the mean of π/q over the draws is 1 for a right pool; furthest from it is {furthest} with "
        f"{ratios[furthest]['mean']:.3f} ± {ratios[furthest]['error']:.3f}."
    ]
    biased = [
        f"{row['name']} ({reward})"
        for row in result["sources"]
        for reward in result["rewards"]
        if abs(row["bias"][reward]) > max(row["within_errors"][reward], 2 * (row["bias_errors"][reward] or 0))
    ]
    if biased:
        lines.append(
            f"Halves of the pool differ from the whole by more than the error of the draws for "
            f"{', '.join(biased[:6])}: values are biased by about that much, and more samples of each prompt lessen it."
        )
    if result["weak_coalitions"]:
        lines.append(
            f"{result['weak_coalitions']:,} of {result['coalitions']:,} coalitions are weak: their median effective "
            f"sample size is below {result['floor']:g}, and intervals are too narrow there."
        )
    marked = [row["name"] for row in result["sources"] if row["unreliable"]]
    if marked:
        named = ", ".join(marked[:12]) + (f" and {len(marked) - 12} more" if len(marked) > 12 else "")
        lines.append(
            f"Unreliable (†): more than {result['most_weak_share']:.0%} of the weight of the values of {named} is on "
            f"weak coalitions; {WHAT_TO_DO}."
        )
    return lines
