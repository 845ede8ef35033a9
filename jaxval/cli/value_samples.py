"""The options of `jaxval value --samples`: what each source contributed, on responses that the policies write."""

import argparse
import functools
import sys
from typing import Any

from jaxval._errors import BadArgument
from jaxval.cli._arguments import groups_of, of_heads, rewards_of
from jaxval.cli._words import above_zero, count

SAMPLES = """\
A published model (--policy FOLDER or FILE.gguf) is trained on each source. Responses to held-out prompts are then drawn
from the model, from the policy of each source and from all sources together, and scored by all of them: the utilities
of all coalitions come from this one pool, as with --log-probs. Rewards must take new texts: bradley-terry, or
module:function. One seed; --unchecked applies.\
"""
UNUSED = ("arithmetic", "reference", "seeds", "truth", "ridge", "hierarchy", "statement", "report")
RETRAINED = ("fidelity", "fidelity_scores")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `jaxval value` that draw samples."""
    add = command.add_argument_group("values from responses that the policies write", SAMPLES).add_argument
    add("--samples", type=count, metavar="M", help="at least how many responses to each held-out prompt")
    add("--new-tokens", type=count, metavar="T", help="the most tokens of a response (default 64)")
    add("--temperature", type=above_zero, metavar="TAU", help="the temperature of the draws (default 1)")
    add(
        "--layers",
        type=count,
        metavar="L",
        help="adapters in the last L layers alone: what is below is computed once for all sources, coalitions and "
        "epochs (default: all layers; for any published model)",
    )


def check_options(arguments: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Raise if options do not go together with --samples, or need it."""
    if arguments.layers and (not arguments.policy or arguments.adapters):
        raise BadArgument("--layers", expected="--policy with a published model that is trained", got="none")
    for name in () if arguments.samples else ("new_tokens", "temperature"):
        if getattr(arguments, name):
            raise BadArgument("--" + name.replace("_", "-"), expected="--samples beside it", got="none")
    if not arguments.samples:
        return
    if not arguments.files or not arguments.policy:
        raise BadArgument("--samples", expected="FILE and --policy with a published model", got="none")
    for name in (*UNUSED, *RETRAINED, "adapters"):
        if getattr(arguments, name) != defaults[name]:
            option = "--" + name.replace("_", "-")
            raise BadArgument(option, expected="no such option beside --samples", got=getattr(arguments, name))


def policy_of(arguments: argparse.Namespace, policy: Any) -> Any:
    """The policy, with adapters in the last layers alone if --layers asks for that."""
    from jaxval.sources.learners import checkpoint_learner, is_checkpoint

    if arguments.layers is None:
        return policy
    if not is_checkpoint(policy):
        raise BadArgument("--layers", expected="--policy with the folder of a checkpoint, or a GGUF file", got=policy)
    return functools.partial(checkpoint_learner, folder=str(policy), layers=arguments.layers)


def value_samples(arguments: argparse.Namespace, policy: str, **how: Any) -> tuple[Any, str, int]:
    """The values of the sources of the files by samples, a title, and the number of pairs left out."""
    import jax

    from jaxval import data, sources

    pairs = data.read_preferences(
        arguments.files if len(arguments.files) > 1 else arguments.files[0],
        source=arguments.source,
        skip_unusable=arguments.skip_unusable,
    )
    values = sources.value_samples(
        pairs,
        policy=policy_of(arguments, policy),
        samples=arguments.samples,
        new_tokens=arguments.new_tokens or 64,
        temperature=arguments.temperature or 1.0,
        reward=rewards_of(arguments.reward or ["bradley-terry"], pairs, policy=policy, **of_heads(arguments)),
        semivalue=arguments.semivalue,
        groups=groups_of(arguments.group, pairs.sources),
        permutations=arguments.permutations,
        evaluations=arguments.evaluations,
        key=jax.random.key(arguments.seed),
        folder=arguments.out / "finished" if arguments.out else None,
        progress=sys.stderr.isatty(),
        refuse=not arguments.unchecked,
        **how,
    )
    return values, pairs.title, pairs.skipped + getattr(how["held_out"], "skipped", 0)
