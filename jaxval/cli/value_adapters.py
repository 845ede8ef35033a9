"""The options of `jaxval value --adapters`: what each adapter of PEFT contributed, without any training."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxval._errors import BadArgument
from jaxval.cli._arguments import groups_of, of_heads, rewards_of

ADAPTERS = """\
Nothing is trained: each source is a folder of PEFT (adapter_config.json, adapter_model.safetensors) of the base that
--policy names, and is evaluated on the prompts and responses of FILE. Adapters whose changes do not add, such as DoRA,
are refused. Options of training do not apply.\
"""
UNUSED = (
    "source",
    "loss",
    "loss_option",
    "beta",
    "ridge",
    "epochs",
    "batch_size",
    "learning_rate",
    "accumulation",
    "held_out",
    "hierarchy",
    "seeds",
    "truth",
    "fidelity",
    "fidelity_scores",
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `jaxval value` that read adapters."""
    add = command.add_argument_group("values of adapters that are trained already", ADAPTERS).add_argument
    add("--adapters", nargs="+", type=Path, metavar="FOLDER", help="the adapter of each source, two or more")
    add(
        "--reference-adapter",
        type=Path,
        metavar="FOLDER",
        help="the adapter R of the reference, base + R, of which each adapter began as a copy, as TRL trains",
    )
    add("--stacked", action="store_true", help="adapters were trained on top of R: policies are base + R + adapter")
    add("--any-base", action="store_true", help="take adapters that name another base than --policy")


def check_options(arguments: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Raise if options do not go together with --adapters, or need it."""
    for name in () if arguments.adapters else ("reference_adapter", "stacked", "any_base"):
        if getattr(arguments, name):
            raise BadArgument("--" + name.replace("_", "-"), expected="--adapters beside it", got="none")
    if not arguments.adapters:
        return
    if not arguments.files:
        raise BadArgument(
            "FILE",
            expected="prompts and responses, beside --adapters",
            got="none",
            advice="it stands before --adapters, which takes every word up to the next option for a folder",
        )
    if not arguments.policy:
        raise BadArgument("--policy", expected="the base of the adapters, a folder or a GGUF file", got="none")
    for name in UNUSED:
        if getattr(arguments, name) != defaults[name]:
            option = "--" + name.replace("_", "-")
            raise BadArgument(option, expected="no such option beside --adapters, which train nothing", got="one")


def value_adapters(arguments: argparse.Namespace, policy: str) -> tuple[Any, str, list[int] | None, Any, int]:
    """The values of adapters on the prompts of the files, and what else `value_pairs.value_pairs` returns."""
    import jax

    from jaxval import data, sources
    from jaxval.sources.adapters import names_of

    pairs = data.read_preferences(arguments.files, source=None, skip_unusable=arguments.skip_unusable)
    groups = groups_of(arguments.group, names_of(arguments.adapters))
    rewards = rewards_of(arguments.reward, pairs, policy=policy, **of_heads(arguments))
    values = sources.value_adapters(
        pairs,
        arguments.adapters,
        policy=policy,
        reference_adapter=arguments.reference_adapter,
        stacked=arguments.stacked,
        any_base=arguments.any_base,
        reward=rewards,
        arithmetic=arguments.arithmetic,
        reference=arguments.reference,
        semivalue=arguments.semivalue,
        groups=groups,
        permutations=arguments.permutations,
        evaluations=arguments.evaluations,
        key=jax.random.key(arguments.seed),
        folder=arguments.out / "finished" if arguments.out else None,
        progress=sys.stderr.isatty(),
    )
    return values, pairs.title, groups, rewards, pairs.skipped
