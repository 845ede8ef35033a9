"""The sources of `jaxval value FILE ...`: files of preference pairs, how they are trained on, and their values."""

import argparse
import functools
import sys
from pathlib import Path
from typing import Any

from jaxval._errors import BadArgument
from jaxval.cli import value_samples
from jaxval.cli._arguments import groups_of, imported, is_number, of_heads, rewards_of, unions_of
from jaxval.cli._words import above_zero, count, even_count, from_zero

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
TRAINING = ("ridge", "epochs", "batch_size", "learning_rate", "accumulation")


def add_options(command: Any) -> None:
    """Add the options of `jaxval value` that read pairs, train on them and value them."""
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


def check_options(arguments: argparse.Namespace, policy: str) -> None:
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


def value_pairs(arguments: argparse.Namespace, policy: str) -> tuple[Any, str, list[int] | None, Any, int]:
    """The values of the sources of pairs, with a title, the groups, the rewards and the number of pairs left out."""
    import jax

    from jaxval.parallel import progress

    key = jax.random.key(arguments.seed)
    drawn: Any
    with progress(sys.stderr.isatty(), 1, "the pairs") as advance:  # the first sign that something is done
        from jaxval import data, sources

        if arguments.files:
            drawn = data.read_preferences(
                arguments.files if len(arguments.files) > 1 else arguments.files[0],
                source=arguments.source,
                skip_unusable=arguments.skip_unusable,
            )
        else:
            drawn = functools.partial(data.synthetic_preferences, **DEMONSTRATION)
            example = drawn(key)
        advance(1)
    if arguments.files:
        names, title, skipped = drawn.sources, drawn.title, drawn.skipped
        groups = groups_of(arguments.group, names)
        rewards = rewards_of(arguments.reward, drawn, policy=policy, **of_heads(arguments))
    else:
        names, title, rewards, skipped = example.sources, example.title, "score", 0
        groups = groups_of(arguments.group, names) if arguments.group else example.groups.tolist()
    held_out = held_out_of(arguments)
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
        **training_of(arguments),
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


def training_of(arguments: argparse.Namespace) -> dict[str, Any]:
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


def held_out_of(arguments: argparse.Namespace) -> Any:
    """What --held-out says: a share of the prompts, or pairs that hold other prompts; None means the default."""
    from jaxval import data

    text = arguments.held_out
    if text is None:
        return None
    if not is_number(text):
        return data.read_preferences(Path(text), source=None, skip_unusable=arguments.skip_unusable)
    if not 0 < float(text) < 1:
        raise BadArgument("--held-out", expected="a share of the prompts in (0, 1), or a file", got=text)
    return float(text)
