"""`jaxval value`: what each source of preference pairs contributed."""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

from jaxval import __version__
from jaxval._errors import BadArgument, json_text
from jaxval.cli import value_adapters, value_samples, value_weights
from jaxval.cli._arguments import groups_of, heads_of, imported, is_number, of_heads, rewards_of, unions_of
from jaxval.cli._folders import check_written, own_folder
from jaxval.cli._words import above_zero, count, even_count, from_zero, naming_options
from jaxval.cli.value_pool import add_options, report, value_pool
from jaxval.cli.value_report import describe, print_result, write_result

__all__ = ["describe"]

FILES = """\
FILE is a JSON-lines file (.jsonl, .jsonl.gz) as TRL writes them: prompt, chosen, rejected, as strings or as chat
messages, and source; weight and p_chosen (a soft label) if there are any; scores in pairs of columns such as
score_chosen and score_rejected, also inside metadata. The layout of AlpacaEval is read too. Several files without a
source are a source each. Without a file, a generated set of five sources: two useful ones, a copy of one of them, noise
and an adversary; every seed draws it anew."""
REWARDS = """\
rewards (--reward, may be repeated; each is an axis of the figure):
  score, score:NAME           the scores of the pairs as they are (the default where there are any)
  bradley-terry[:NAME]        fitted to the order of the scores
  bradley-terry               without scores (the default there): fitted to the pairs of all sources together, so that
                              values say how far a source agrees with them all
  head:FILE                   a linear head on the hidden states of --policy FOLDER, fitted to the pairs of FILE; its
                              accuracy on a fifth of them, which are held out, is told
  FOLDER                      a reward model of the architecture LlamaForSequenceClassification
  TABLE.jsonl                 lines with prompt, response and numbers: every number is a reward
  module:function             a Python function of a prompt and a response to a number or several

policies (--policy):
  log-linear                  a weight for each feature of the text: the default, for files of distinct prompts
  tabular                     a reward for each response, for files whose sources judge the same prompts: evaluated on
                              all of them, nothing is held out and nothing is random
  transformer                 a small one over bytes, from a random start
  FOLDER or FILE.gguf         a checkpoint of Llama's shape: a folder with config.json, model.safetensors and
                              tokenizer.json, or a GGUF file; trained by low-rank adapters, which --out keeps as PEFT
                              does; chats go through its template; needs pip install 'jaxval[llama]'
  module:function             a Python function of the pairs to a jaxval.types.Policy

losses (--loss): the names of jaxval.alignment.losses, such as dpo (the default), ipo, hinge, mallows_theta; or
module:function. Newton's method trains log-linear and tabular policies to the optimum if the loss has a smooth convex
link of the margin, as dpo has or one of your own by jaxval.alignment.margin_loss; AdamW trains everything else, for
--epochs of minibatches.

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


def add_command(commands: Any) -> None:
    """Add the command `jaxval value` and its options."""
    command = commands.add_parser(
        "value",
        usage="jaxval value [FILE ...] [options]\n       jaxval value FILE [...] --policy FOLDER --adapters A B [...] "
        "[options]\n       jaxval value FILE --policy FOLDER --samples M [options]\n       "
        "jaxval value --log-probs TABLE [options]",
        help="what each source of preference pairs contributed, from one training per source",
        description="What each source of preference pairs contributed, from one training per source.\n\n" + FILES,
        epilog=REWARDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="preference pairs; see above")
    add(
        "--source",
        default="source",
        metavar="FIELD",
        help="the field that names a pair's source, such as metadata.provider",
    )
    add(
        "--skip-unusable",
        action="store_true",
        help="leave out pairs that say nothing: an empty response, or two equal ones",
    )
    add("--reward", action="append", metavar="REWARD", help="what responses are worth; explained below")
    add("--policy", metavar="POLICY", help="the model that is trained; explained below")
    add(
        "--arithmetic",
        choices=("response", "token", "parameter"),
        default="response",
        metavar="A",
        help="how the policies of coalitions are made: response (the default), token or parameter arithmetic",
    )
    add(
        "--reference",
        choices=("policy", "uniform"),
        default="policy",
        metavar="R",
        help="how likely the candidates are before training: as the untrained model says (policy, the default), or all "
        "equally (uniform). A transformer or a checkpoint may otherwise give nearly all probability to one",
    )
    add("--loss", metavar="LOSS", help="the loss of a pair; explained below (default dpo)")
    add(
        "--loss-option",
        action="append",
        nargs=2,
        metavar=("NAME", "NUMBER"),
        help="an option of the loss, such as dispersion 0.5; may be repeated",
    )
    add("--beta", type=above_zero, metavar="BETA", help="β of the loss (default 0.1; 1 for the generated set)")
    add("--ridge", type=from_zero, metavar="RHO", help="the ridge penalty on rewards in Newton's method")
    add(
        "--epochs", type=count, metavar="N", help="how many times AdamW sees every pair (default 2; 4 for a checkpoint)"
    )
    add(
        "--batch-size", type=count, metavar="N", help="number of pairs in a minibatch (default 16; 32 for a checkpoint)"
    )
    add(
        "--learning-rate",
        type=above_zero,
        metavar="RATE",
        help="the peak learning rate (default 1e-3; 2e-5 for a checkpoint)",
    )
    add(
        "--accumulation",
        type=count,
        metavar="N",
        help="how many minibatches make one step; their gradients are averaged (default 1)",
    )
    add(
        "--held-out",
        metavar="SHARE|FILE",
        help="the prompts to evaluate on: a share of them (default 0.25), or a file of others; not with tabular",
    )
    add(
        "--semivalue",
        choices=("shapley", "banzhaf", "leave-one-out", "beta-shapley"),
        default="shapley",
        metavar="V",
        help="the kind of value: shapley (the default), banzhaf, leave-one-out or beta-shapley",
    )
    add(
        "--permutations",
        type=even_count,
        metavar="N",
        help="sample coalitions from N permutations, an even number; standard errors need 20 or more (default: all "
        "coalitions up to 12 sources, 64 permutations beyond)",
    )
    add(
        "--evaluations",
        type=count,
        metavar="N",
        help="fit a regression to N coalitions, which needs the fewest for a given error",
    )
    add(
        "--group",
        action="append",
        metavar="NAME,...",
        help="sources that come after all others: asymmetric values are computed too; repeat for later groups",
    )
    add(
        "--hierarchy",
        action="store_true",
        help="sources are named provider/dataset, or deeper: values respect these unions (Owen), and every union's "
        "total is told",
    )
    add(
        "--seeds",
        type=count,
        metavar="N",
        help="how many times prompts and trainings are drawn anew (default 3, or 1 if nothing is random)",
    )
    add("--seed", type=int, default=0, metavar="N", help="the first random seed (default 0)")
    add("--truth", action="store_true", help="also retrain every coalition, sequentially and on the union, and compare")
    add(
        "--fidelity",
        type=count,
        metavar="N",
        help="retrain N coalitions of half of the sources on the union of their pairs, or all if there are at most N, "
        "and tell how well values rank them",
    )
    add(
        "--fidelity-scores",
        type=Path,
        metavar="CSV",
        help="judge the scores of another tool beside the values: a table with the column source and a column of "
        "numbers for each score",
    )
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
    add_options(command)
    value_weights.add_options(command)
    command.set_defaults(run=functools.partial(_value, defaults=vars(command.parse_args([]))))


def _value(arguments: argparse.Namespace, defaults: dict[str, Any]) -> int:
    value_weights.check_options(arguments)
    if arguments.log_probs:
        return value_pool(arguments, defaults, groups_of)
    if arguments.candidates or (arguments.unchecked and not arguments.samples):
        name = "--candidates" if arguments.candidates else "--unchecked"
        raise BadArgument(name, expected="--log-probs TABLE beside it", got="none")
    value_adapters.check_options(arguments, defaults)
    value_samples.check_options(arguments, defaults)
    check_written(arguments, statement=".json", report=".html")
    if arguments.fidelity_scores and not arguments.fidelity:
        raise BadArgument("--fidelity-scores", expected="--fidelity N beside it", got="none")
    policy = arguments.policy or ("log-linear" if arguments.files else "tabular")
    _check_generated(arguments, policy)
    with own_folder(arguments.out, resume=arguments.resume):
        import jax

        from jaxval.sources.learners import IN_FLOAT64

        before = jax.config.read("jax_enable_x64")
        jax.config.update("jax_enable_x64", policy in IN_FLOAT64)
        try:
            with naming_options():
                if arguments.samples:
                    how = {**_training(arguments), "held_out": _held_out(arguments.held_out, arguments.skip_unusable)}
                    sampled, title, skipped = value_samples.value_samples(arguments, policy, **how)
                    options = [name for name in vars(arguments) if name not in NO_OPTIONS]
                    report(sampled, title, arguments, options, skipped=skipped)
                    return 0
                values_of = value_adapters.value_adapters if arguments.adapters else _value_pairs
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
    """Whether the folder holds the result of a run with these options, whatever else they write."""
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
    training = _training(arguments)
    held_out = arguments.held_out or (None if policy == "tabular" else 0.25)
    return {"policy": policy, "loss": arguments.loss or "dpo", "beta": training["beta"], "held_out": held_out}


def _value_pairs(arguments: argparse.Namespace, policy: str) -> tuple[Any, str, list[int] | None, Any, int]:
    """The values of the sources of pairs, with a title, the groups, the rewards and the number of pairs left out."""
    import jax

    from jaxval import data, sources

    key = jax.random.key(arguments.seed)
    drawn: Any
    if arguments.files:
        drawn = data.read_preferences(
            arguments.files if len(arguments.files) > 1 else arguments.files[0],
            source=arguments.source,
            skip_unusable=arguments.skip_unusable,
        )
        names, title, skipped = drawn.sources, drawn.title, drawn.skipped
        groups = groups_of(arguments.group, names)
        rewards = rewards_of(arguments.reward, drawn, policy=policy, **of_heads(arguments))
    else:
        drawn = functools.partial(data.synthetic_preferences, **DEMONSTRATION)
        example = drawn(key)
        names, title, rewards, skipped = example.sources, example.title, "score", 0
        groups = groups_of(arguments.group, names) if arguments.group else example.groups.tolist()
    held_out = _held_out(arguments.held_out, arguments.skip_unusable)
    scores = arguments.fidelity_scores and data.read_source_scores(arguments.fidelity_scores, names)
    values = sources.value_sources(
        drawn,
        reward=rewards,
        policy=imported("--policy", policy)
        if ":" in policy and not Path(policy).exists()
        else value_samples.policy_of(arguments, policy),
        arithmetic=arguments.arithmetic,
        reference=arguments.reference,
        held_out=held_out,
        seeds=arguments.seeds,
        **_training(arguments),
        semivalue=arguments.semivalue,
        groups=groups,
        unions=unions_of(names) if arguments.hierarchy else None,
        permutations=arguments.permutations,
        evaluations=arguments.evaluations,
        truth=arguments.truth,
        fidelity=arguments.fidelity,
        fidelity_scores=scores,
        key=key,
        folder=arguments.out / "finished" if arguments.out else None,
        progress=sys.stderr.isatty(),
    )
    return values, title, groups, rewards, skipped + getattr(held_out, "skipped", 0)


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
TRAINING = ("ridge", "epochs", "batch_size", "learning_rate", "accumulation")


def _inputs(arguments: argparse.Namespace) -> list[Path]:
    """The files that were read: pairs, held-out pairs, scores of another tool, and tables of rewards or their pairs."""
    named = [arguments.held_out or "", *(text.removeprefix("head:") for text in arguments.reward or [])]
    more = [Path(text) for text in named if text and Path(text).is_file()]
    return [*arguments.files, *more, *([arguments.fidelity_scores] if arguments.fidelity_scores else [])]


def _option(value: Any) -> Any:
    if isinstance(value, list):
        return [_option(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _check_generated(arguments: argparse.Namespace, policy: str) -> None:
    """Raise if an option is given that does not apply to generated pairs, or a file is given twice."""
    for path in arguments.files:
        if arguments.files.count(path) > 1:
            raise BadArgument("FILE", expected="each file once", got=f"{path} twice")
    if not arguments.files and (arguments.source != "source" or arguments.skip_unusable):
        option = "--skip-unusable" if arguments.skip_unusable else "--source"
        raise BadArgument(option, expected="a FILE", got="none: the generated set has its own sources")
    if not arguments.files and policy != "tabular":
        raise BadArgument(
            "--policy", expected="tabular without a FILE, for generated pairs have no text", got=f"{policy!r}"
        )
    if not arguments.files and (arguments.reward or arguments.held_out):
        raise BadArgument(
            "--reward, --held-out",
            expected="a FILE",
            got="none: the generated set brings its own rewards and prompts",
        )


def _training(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the training, by the names of the fields of `sources.Training`."""
    loss = arguments.loss or "dpo"
    return {
        "loss": imported("--loss", loss) if ":" in loss else loss,
        "loss_options": {name: _loss_option(name, text) for name, text in arguments.loss_option or []},
        "beta": arguments.beta or (0.1 if arguments.files else 1.0),
        **{name: getattr(arguments, name) for name in TRAINING},
    }


def _loss_option(name: str, text: str) -> float:
    if not is_number(text):
        raise BadArgument("--loss-option", expected="a name and a number, such as dispersion 0.5", got=f"{name} {text}")
    return float(text)


def _held_out(text: str | None, skip_unusable: bool) -> Any:
    from jaxval import data

    if text is None:
        return None
    if not is_number(text):
        return data.read_preferences(Path(text), source=None, skip_unusable=skip_unusable)
    if not 0 < float(text) < 1:
        raise BadArgument("--held-out", expected="a share of the prompts in (0, 1), or a file", got=text)
    return float(text)
