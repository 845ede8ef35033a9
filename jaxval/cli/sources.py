"""`jaxval value`: what each source of preference pairs contributed."""

import argparse
import functools
import importlib
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxval import __version__

if TYPE_CHECKING:
    from jaxval.values import SourceValues

__all__ = ["add_command", "describe"]

FILES = """\
FILE is a JSON-lines file (.jsonl, .jsonl.gz) as TRL writes them: prompt, chosen, rejected, as strings or as chat
messages, and source; scores in pairs of columns such as score_chosen and score_rejected, also inside metadata. Several
files without a source are a source each. Without a file, a generated set of five sources: two useful ones, a copy of
one of them, noise and an adversary; every seed draws it anew."""
REWARDS = """\
rewards (--reward, may be repeated; each is an axis of the figure):
  score, score:NAME           the scores of the pairs as they are (the default where there are any)
  bradley-terry[:NAME]        fitted to the order of the scores, or of the pairs where there are none (else the default)
  TABLE.jsonl                 lines with prompt, response and numbers: every number is a reward
  module:function             a Python function of a prompt and a response to a number or several

Every source is trained on once; the policies of its coalitions are made by arithmetic. --truth trains every coalition.
Intervals are 95 %: over held-out prompts, which are redrawn, and over seeds, which draw prompts and trainings anew."""
DEMONSTRATION: dict[str, Any] = {
    "contexts": 40,
    "responses": 6,
    "sources": {  # qualities under helpful and harmless
        "experts": (1.0, 0.8),
        "crowd": (0.3, 0.7),
        "copy of crowd": "crowd",
        "noise": 0.0,
        "adversary": (-0.4, -1.0),
    },
}
SHOWN_COALITIONS = 32


def add_command(commands: Any) -> None:
    """`value`, among the commands of `jaxval`.

    Args:
        commands: what `add_subparsers` gave.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_command(parser.add_subparsers())
        >>> parser.parse_args(["value", "pairs.jsonl", "--seeds", "5"]).seeds
        5
    """
    command = commands.add_parser(
        "value",
        help="what each source of preference pairs contributed, from one training per source",
        description="What each source of preference pairs contributed, from one training per source.\n\n" + FILES,
        epilog=REWARDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="preference pairs; see above")
    add("--source", default="source", metavar="FIELD", help="that names a pair's source, such as metadata.provider")
    add("--skip-unusable", action="store_true", help="leave out pairs that say nothing: empty, or chosen = rejected")
    add("--reward", action="append", metavar="REWARD", help="see below")
    add("--policy", metavar="POLICY", help="log-linear (files), tabular, transformer, or the folder of a checkpoint")
    add("--arithmetic", choices=("response", "token", "parameter"), default="response", help="default: response")
    add("--beta", type=_above_zero, metavar="BETA", help="of DPO (default 0.1; 1 for the generated set)")
    add("--ridge", type=_from_zero, metavar="RHO", help="penalty on rewards, of tabular and log-linear policies")
    add("--held-out", default="0.25", metavar="SHARE|FILE", help="prompts to evaluate on (default 0.25)")
    add("--semivalue", choices=("shapley", "banzhaf", "leave-one-out", "beta-shapley"), default="shapley", metavar="V",
        help="shapley (default), banzhaf, leave-one-out, beta-shapley")  # fmt: skip
    add("--permutations", type=_count, metavar="N", help="sample coalitions; by itself beyond 12 sources")
    add("--evaluations", type=_count, metavar="N", help="regression on N coalitions: the fewest for a given error")
    add("--group", action="append", metavar="NAME,...",
        help="sources that come after the others, for asymmetric values too; may be repeated, in order")  # fmt: skip
    add("--seeds", type=_count, default=3, metavar="N", help="default 3")
    add("--seed", type=int, default=0, metavar="N", help="of the first (default 0)")
    add("--truth", action="store_true", help="retrain every coalition too, sequentially and on the union")
    add("--out", type=Path, metavar="FOLDER", help="write results.json and figures there")
    add("--resume", action="store_true", help="go on with what an earlier run left in --out")
    add("--json", action="store_true", help="print the result alone, as JSON, on standard output")
    command.set_defaults(run=_value)


def describe(found: "SourceValues", *, title: str) -> dict[str, Any]:
    """Everything that `jaxval value` says, as plain numbers; None where a number is not known.

    Args:
        found: what `values.value_sources` returned.
        title: what was valued.

    Returns:
        A dictionary that `json.dumps` takes.

    Example:
        >>> import jax
        >>> from jaxval import data, values
        >>> drawn = data.synthetic_preferences(jax.random.key(0), contexts=4, responses=3, sources={"a": 1.0, "b": 0.0})
        >>> result = describe(values.value_sources(drawn, policy="tabular", beta=1.0), title="two")
        >>> [row["name"] for row in result["sources"]], [row["members"] for row in result["utilities"]]
        (['a', 'b'], [[], ['a'], ['b'], ['a', 'b']])
    """

    def by_reward(values: Any) -> dict[str, Any]:
        return dict(zip(found.rewards, _plain(values), strict=True))

    rows = []
    for i, name in enumerate(found.names):
        row = {
            "name": name,
            "pairs": float(found.pairs[i]),
            "values": by_reward(found.values[i]),
            "context_intervals": by_reward(found.context_intervals[:, i].T),
            "seed_intervals": by_reward(found.seed_intervals[:, i].T),
            "standard_errors": by_reward(found.standard_errors[i]),
        }
        if found.in_order is not None:
            row["values_in_order"] = by_reward(found.in_order[i])
        row |= {f"values_by_{name}_retraining": by_reward(truth.values[i]) for name, truth in found.truth.items()}
        rows.append(row)
    result = {
        "title": title,
        "rewards": list(found.rewards),
        "sources": rows,
        "efficiency_gap": by_reward(found.efficiency_gap),
        "held_out_prompts": found.contexts,
        "seeds": len(found.by_seed),
        "values_by_seed": _plain(found.by_seed),
        "evaluations": found.evaluations,
        "decided": found.decided,
        "truth": {
            name: {
                "largest_gap": by_reward(truth.gap),
                "rank_correlation": by_reward(truth.rank_correlation),
                "seconds": truth.seconds,
            }
            for name, truth in found.truth.items()
        },
        "seconds": found.seconds,
    }
    if found.utilities is not None:
        result["utilities"] = [
            {"members": _members(found.names, index), **by_reward(found.utilities[index])}
            | {f"{name}_retraining": by_reward(truth.utilities[index]) for name, truth in found.truth.items()}
            for index in range(len(found.utilities))
        ]
    return result


def _members(names: tuple[str, ...], index: int) -> list[str]:
    return [name for i, name in enumerate(names) if index >> i & 1]


def _plain(values: Any) -> Any:
    """Nested lists; None in place of NaN."""
    if isinstance(values, list):
        return [_plain(value) for value in values]
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    return _plain(values.tolist())


def _above_zero(text: str) -> float:
    return _number(text, lambda number: 0 < number < math.inf, "a number above 0")


def _from_zero(text: str) -> float:
    return _number(text, lambda number: 0 <= number < math.inf, "a number of at least 0")


def _number(text: str, allowed: Callable[[float], bool], expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not allowed(number):
        raise argparse.ArgumentTypeError(f"expected {expected}; got {text}")
    return number


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; got {text!r}")
    return int(text)


def _value(arguments: argparse.Namespace) -> int:
    policy = arguments.policy or ("log-linear" if arguments.files else "tabular")
    if not arguments.files and policy != "tabular":
        raise ValueError(f"--policy: expected tabular without a FILE, for generated pairs have no text; got {policy!r}")
    if not arguments.files and (arguments.reward or arguments.held_out != "0.25"):
        raise ValueError("--reward, --held-out: expected a FILE; the generated set brings its own rewards and prompts")
    _check_out(arguments)
    import jax

    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", policy in ("tabular", "log-linear"))  # Newton's optimum; not for transformers
    try:
        return _value_in_precision(arguments, policy)
    finally:  # whoever calls main() from Python keeps their precision
        jax.config.update("jax_enable_x64", before)


def _value_in_precision(arguments: argparse.Namespace, policy: str) -> int:
    import jax

    from jaxval import data, values

    key = jax.random.key(arguments.seed)
    drawn: Any
    if arguments.files:
        drawn = data.read_preferences(
            arguments.files if len(arguments.files) > 1 else arguments.files[0],
            source=arguments.source, skip_unusable=arguments.skip_unusable,
        )  # fmt: skip
        names, title = drawn.sources, drawn.title
        groups = _groups(arguments.group, names)
        rewards = _rewards(arguments.reward, drawn)
    else:
        drawn = functools.partial(data.synthetic_preferences, **DEMONSTRATION)
        example = drawn(key)
        names, title, rewards = example.sources, example.title, "score"
        groups = _groups(arguments.group, names) if arguments.group else example.groups.tolist()
    found = values.value_sources(
        drawn,
        reward=rewards,
        policy=policy,
        arithmetic=arguments.arithmetic,
        beta=arguments.beta or (0.1 if arguments.files else 1.0),
        ridge=arguments.ridge,
        held_out=_held_out(arguments.held_out, arguments.skip_unusable),
        seeds=arguments.seeds,
        semivalue=arguments.semivalue,
        groups=groups,
        permutations=arguments.permutations,
        evaluations=arguments.evaluations,
        truth=arguments.truth,
        key=key,
        folder=arguments.out / "finished" if arguments.out else None,
        progress=sys.stderr.isatty(),
    )
    result = {
        **describe(found, title=title),
        "options": {name: _option(value) for name, value in vars(arguments).items() if name not in NO_OPTIONS},
        "versions": {"jaxval": __version__, "jax": jax.__version__},
    }
    if arguments.out:
        _write(found, result, arguments.out)
    if arguments.json:
        print(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(result, groups)
    return 0


NO_OPTIONS = ("run", "command", "out", "json", "resume")


def _option(value: Any) -> Any:
    if isinstance(value, list):
        return [_option(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _check_out(arguments: argparse.Namespace) -> None:
    out = arguments.out
    if out is None:
        if arguments.resume:
            raise ValueError("--resume: expected --out, the folder of the run to go on with; got none")
        return
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: expected a folder, or a path where none is yet; got the file {out}")
    if not arguments.resume and out.exists() and any(out.iterdir()):
        raise ValueError(f"--out: expected a new or empty folder; got {out} with files in it; --resume goes on with it")
    out.mkdir(parents=True, exist_ok=True)


def _groups(named: list[str] | None, names: tuple[str, ...]) -> list[int] | None:
    """Group 0 are the sources that are not named; each --group comes after the one before."""
    if not named:
        return None
    groups = dict.fromkeys(names, 0)
    for number, text in enumerate(named, 1):
        for name in text.split(","):
            if name.strip() not in groups:
                raise ValueError(f"--group: expected sources among {', '.join(map(repr, names))}; got {name.strip()!r}")
            if groups[name.strip()]:
                raise ValueError(f"--group: expected each source once; got {name.strip()!r} twice")
            groups[name.strip()] = number
    first = 0 if 0 in groups.values() else 1
    return [group - first for group in groups.values()]


def _held_out(text: str, skip_unusable: bool) -> Any:
    from jaxval import data

    try:
        share = float(text)
    except ValueError:
        return data.read_preferences(Path(text), source=None, skip_unusable=skip_unusable)
    if not 0 < share < 1:
        raise ValueError(f"--held-out: expected a share of the prompts in (0, 1), or a file; got {text}")
    return share


def _rewards(asked: list[str] | None, pairs: Any) -> Any:
    if not asked:
        return "score" if pairs.scores else "bradley-terry"
    return [_reward(text, pairs) for text in asked]


def _reward(text: str, pairs: Any) -> Any:
    from jaxval import data

    if text.partition(":")[0] in ("score", "bradley-terry"):
        return text
    if text.endswith((".jsonl", ".jsonl.gz")):
        return data.read_scores(text, pairs)
    module, _, name = text.partition(":")
    if not name:
        raise ValueError(
            f"--reward: expected score, bradley-terry, a table that ends in .jsonl, or module:function; got {text!r}"
        )
    sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--reward: expected a function that can be imported; got {text!r}: {error}") from error
    finally:
        sys.path.remove(os.getcwd())
    return function


def _write(found: "SourceValues", result: dict[str, Any], out: Path) -> None:
    draft = out / f".results.json.{os.getpid()}"
    draft.write_text(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(out / "results.json")
    print(f"results written to {out / 'results.json'}", file=sys.stderr)
    try:
        from jaxval import plots

        axes = list(range(min(2, len(found.rewards))))
        figure = plots.plot_signature(
            found.names,
            found.values[:, axes],
            [found.rewards[k] for k in axes],
            intervals=(found.context_intervals[0][:, axes], found.context_intervals[1][:, axes]),
            title=result["title"],
        )
        figure.savefig(out / "signature.png", dpi=300)
        print(f"figure written to {out / 'signature.png'}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"no figure: {error}", file=sys.stderr)


def _print(result: dict[str, Any], groups: list[int] | None) -> None:
    from rich.console import Console

    console = Console(soft_wrap=not sys.stdout.isatty())
    for reward in result["rewards"]:
        console.print(_table(result, reward), markup=False)
    if "utilities" in result:
        console.print(_utilities(result), markup=False)
    for line in _sentences(result, groups):
        console.print(line, markup=False, highlight=False)


def _table(result: dict[str, Any], reward: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=f"{result['title']}: {reward}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("source", overflow="fold", min_width=12)
    rows = sorted(result["sources"], key=lambda row: -row["values"][reward])
    truths = [key for key in rows[0] if key.endswith("_retraining")]
    ordered, sampled = "values_in_order" in rows[0], any(row["standard_errors"][reward] for row in rows)
    heads = ["pairs", "value", "95 % over prompts", "95 % over seeds"]
    heads += ["standard error"] * sampled + ["in order"] * ordered
    heads += [key.removeprefix("values_by_").replace("_retraining", "") for key in truths]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{row['pairs']:,.0f}", _signed(row["values"][reward])]
        cells += [_interval(row[name][reward]) for name in ("context_intervals", "seed_intervals")]
        cells += [f"{row['standard_errors'][reward]:.4f}"] * sampled
        cells += [_signed(row["values_in_order"][reward])] if ordered else []
        table.add_row(row["name"], *cells, *(_signed(row[key][reward]) for key in truths))
    return table


def _utilities(result: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    rewards = result["rewards"]
    rows = sorted(result["utilities"], key=lambda row: -row[rewards[0]])
    table = Table(title="utilities of coalitions", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("coalition", overflow="fold", min_width=20)
    for reward in rewards:
        table.add_column(reward, justify="right", no_wrap=True)
    half = SHOWN_COALITIONS // 2
    shown = rows if len(rows) <= SHOWN_COALITIONS else [*rows[:half], None, *rows[-half:]]
    for row in shown:
        if row is None:
            table.add_row("...", *([""] * len(rewards)))
        else:
            table.add_row(" + ".join(row["members"]) or "none", *(f"{row[reward]:.4f}" for reward in rewards))
    return table


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def _interval(ends: list[float | None]) -> str:
    return "–" if None in ends else f"{_signed(ends[0])} to {_signed(ends[1])}"


def _sentences(result: dict[str, Any], groups: list[int] | None) -> list[str]:
    lines = [
        f"{len(result['sources'])} sources, {result['evaluations']:,} coalitions from {len(result['sources'])} "
        f"trainings a seed, {result['held_out_prompts']:,} prompts evaluated on, seeds: {result['seeds']}."
    ]
    gaps = [gap for gap in result["efficiency_gap"].values() if gap is not None]
    if gaps:
        lines.append(
            f"Efficiency: the values sum to u(all) - u(none), up to {max(gaps):.1e} of the largest utility's distance "
            "from u(none)."
        )
    if result["decided"] > 0.5:
        lines.append(
            f"Warning: at {result['decided']:.0%} of the prompts the reference gives one candidate 99 % or more. No "
            "source moves it much there, and these values say little. An untrained transformer does so where lengths "
            "differ: try log-linear, or a trained checkpoint."
        )
    if groups is not None:
        names = [[row["name"] for row, group in zip(result["sources"], groups, strict=True) if group == g]
                 for g in range(max(groups) + 1)]  # fmt: skip
        lines.append(f"In order: {'; then '.join(', '.join(group) for group in names)}.")
        lines.append(
            "What comes later gets only what it adds to what came before. A copy of a source adds more than nothing "
            "where rewards add up: the same evidence twice makes the policy surer, as if each pair had been seen twice."
        )
    for name, truth in result["truth"].items():
        gap = max(truth["largest_gap"].values())
        ranks = ", ".join("–" if r is None else f"{r:.2f}" for r in truth["rank_correlation"].values())
        lines.append(
            f"Retrained ({name}): largest difference of a value {gap:.2g}, rank correlation {ranks}, "
            f"{truth['seconds']:.1f} s against {sum(result['seconds'].values()):.1f} s."
        )
    return lines
