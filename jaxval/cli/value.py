"""`jaxval value`: what each source of preference pairs contributed."""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

from jaxval import __version__
from jaxval._errors import BadArgument, json_text
from jaxval.cli import value_adapters, value_pairs, value_pool, value_samples, value_weights
from jaxval.cli._arguments import groups_of, heads_of
from jaxval.cli._folders import check_written, own_folder
from jaxval.cli._words import naming_options
from jaxval.cli.value_report import describe, print_result, write_result

__all__ = ["describe"]


def add_command(commands: Any) -> None:
    """Add the command `jaxval value` and its options."""
    command = commands.add_parser(
        "value",
        usage="jaxval value [FILE ...] [options]\n       jaxval value FILE [...] --policy FOLDER --adapters A B [...] "
        "[options]\n       jaxval value FILE --policy FOLDER --samples M [options]\n       "
        "jaxval value --log-probs TABLE [options]",
        help="what each source of preference pairs contributed, from one training per source",
        description="What each source of preference pairs contributed, from one training per source.\n\n"
        + value_pairs.FILES,
        epilog=value_pairs.REWARDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    value_pairs.add_options(command)
    add = command.add_argument
    add(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write results.json, signature.png and what is finished there: a new or empty folder, unless --resume",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with a run of the same words that was stopped: what is finished in --out is not done again",
    )
    add("--json", action="store_true", help="print the result alone, as JSON, on standard output")
    add(
        "--statement",
        type=Path,
        metavar="JSON",
        help="write a statement of contributions there, which can be handed over",
    )
    add("--report", type=Path, metavar="HTML", help="write the statement as a page with tables and figures there")
    value_adapters.add_options(command)
    value_samples.add_options(command)
    value_pool.add_options(command)
    value_weights.add_options(command)
    command.set_defaults(run=functools.partial(_value, defaults=vars(command.parse_args([]))))


def _value(arguments: argparse.Namespace, defaults: dict[str, Any]) -> int:
    value_weights.check_options(arguments)
    if arguments.log_probs:
        return value_pool.value_pool(arguments, defaults, groups_of)
    if arguments.candidates or (arguments.unchecked and not arguments.samples):
        name = "--candidates" if arguments.candidates else "--unchecked"
        raise BadArgument(name, expected="--log-probs TABLE beside it", got="none")
    value_adapters.check_options(arguments, defaults)
    value_samples.check_options(arguments, defaults)
    check_written(arguments, statement=".json", report=".html")
    if arguments.fidelity_scores and not arguments.fidelity:
        raise BadArgument("--fidelity-scores", expected="--fidelity N beside it", got="none")
    policy = arguments.policy or ("log-linear" if arguments.files else "tabular")
    value_pairs.check_options(arguments, policy)
    with own_folder(arguments.out, resume=arguments.resume):
        import jax

        from jaxval.sources.learners import IN_FLOAT64

        before = jax.config.read("jax_enable_x64")
        jax.config.update("jax_enable_x64", policy in IN_FLOAT64)
        try:
            with naming_options():
                if arguments.samples:
                    how = {**value_pairs.training_of(arguments), "held_out": value_pairs.held_out_of(arguments)}
                    sampled, title, skipped = value_samples.value_samples(arguments, policy, **how)
                    options = [name for name in vars(arguments) if name not in NO_OPTIONS]
                    value_pool.report(sampled, title, arguments, options, skipped=skipped)
                    return 0
                values_of = value_adapters.value_adapters if arguments.adapters else value_pairs.value_pairs
                valued, title, groups, rewards, skipped = values_of(arguments, policy)
                files = [] if arguments.adapters else arguments.files
                weighed, failure = value_weights.weigh_and_write(arguments, valued, valued.pairs.tolist(), files)
            chosen = {name: _option(value) for name, value in vars(arguments).items() if name not in NO_OPTIONS}
            result = {
                **describe(valued, title=title),
                **weighed,
                "skipped": skipped,
                "reward_heads": heads_of(rewards),
                "options": chosen | _defaults(arguments, policy),
                "versions": {"jaxval": __version__, "jax": jax.__version__},
            }
            if arguments.out:
                if arguments.resume and _finished(arguments.out, result["options"]):
                    print(f"nothing was left to train: the run in {arguments.out} was complete", file=sys.stderr)
                write_result(valued, result, arguments.out)
            if arguments.statement or arguments.report:
                _write_statement(arguments, valued, result, groups)
            print_result(result, groups, as_json=arguments.json)
            if failure is not None:
                with naming_options():
                    raise failure
            return 0
        finally:  # a caller of main() from Python keeps the precision that was set before
            jax.config.update("jax_enable_x64", before)


def _finished(out: Path, options: dict[str, Any]) -> bool:
    """Whether the folder holds the result of a run with these options; --statement and --report may differ."""
    if not (out / "results.json").is_file():
        return False
    try:
        recorded = dict(json.loads((out / "results.json").read_text(encoding="utf-8"))["options"])
    except (ValueError, KeyError, TypeError):  # damaged; it is written anew
        return False
    asked = json.loads(json.dumps(options))  # with lists for tuples, as recorded
    return {**recorded, "statement": None, "report": None} == {**asked, "statement": None, "report": None}


def _defaults(arguments: argparse.Namespace, policy: str) -> dict[str, Any]:
    """What options that were not given stood for, so that a statement says what was trained."""
    if arguments.adapters:
        return {"policy": policy}
    training = value_pairs.training_of(arguments)
    held_out = arguments.held_out or (None if policy == "tabular" else 0.25)
    return {"policy": policy, "loss": arguments.loss or "dpo", "beta": training["beta"], "held_out": held_out}


def _write_statement(
    arguments: argparse.Namespace, valued: Any, result: dict[str, Any], groups: list[int] | None
) -> None:
    """Write the statement where --statement and --report say."""
    from jaxval.checkpoints.files import write_whole
    from jaxval.cli.value_statement import statement

    stated = statement(valued, result, groups=groups, command=arguments.words, inputs=_inputs(arguments))
    if arguments.statement:
        write_whole(arguments.statement, json_text(stated) + "\n")
        print(f"statement written to {arguments.statement}", file=sys.stderr)
    if arguments.report:
        from jaxval.cli.value_page import page

        write_whole(arguments.report, page(stated, command=arguments.words))
        print(f"report written to {arguments.report}", file=sys.stderr)


NO_OPTIONS = ("run", "command", "words", "out", "json", "resume", "log_probs", "candidates", "unchecked", "weights")


def _inputs(arguments: argparse.Namespace) -> list[Path]:
    """The files that were read: pairs, held-out pairs, scores of another tool, and tables of rewards or their pairs."""
    named = [arguments.held_out or "", *(text.removeprefix("head:") for text in arguments.reward or [])]
    more = [Path(text) for text in named if text and Path(text).is_file()]
    return [*arguments.files, *more, *([arguments.fidelity_scores] if arguments.fidelity_scores else [])]


def _option(value: Any) -> Any:
    if isinstance(value, list):
        return [_option(part) for part in value]
    return str(value) if isinstance(value, Path) else value
