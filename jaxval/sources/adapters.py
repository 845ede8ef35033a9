"""The value of sources whose policies are adapters trained elsewhere, and two checks that adapters are applied."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks, coalitions, policies
from jaxval.data import PreferencePairs
from jaxval.sources.learners import Learner, over_checkpoint
from jaxval.sources.pairs import candidates
from jaxval.sources.repetition import Problem, method_of, repeat
from jaxval.sources.rewards import Reward, resolve_rewards
from jaxval.sources.valuation import SourceValues, identity_of, run_folder, summary
from jaxval.types import BadArgument, Groups, Params

__all__ = ["value_adapters"]

CHECKED = 4  # prompts on which adapters are checked
CLOSE = 1e-4  # the largest difference of log-probabilities, relative to the largest of them
NOTHING = 1e-7  # an adapter whose relative difference is smaller has no effect


def value_adapters(
    pairs: PreferencePairs,
    adapters: Sequence[str | Path],
    *,
    policy: str | Path,
    reference_adapter: str | Path | None = None,
    stacked: bool = False,
    reward: Reward | Sequence[Reward] = "score",
    arithmetic: str = "response",
    reference: str = "policy",
    semivalue: str | Callable[[Any], Array] = "shapley",
    groups: Groups | None = None,
    permutations: int | None = None,
    evaluations: int | None = None,
    key: Key[Array, ""] | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
    any_base: bool = False,
) -> SourceValues:
    """The value of each LoRA adapter of one base, on the prompts and responses of some pairs; nothing is trained.

    `jaxval.sources` describes the arguments that are missing below.

    The reference π_0 is the base, and the policy π_ℓ of source ℓ the base with its adapter. With a reference adapter R,
    π_0 is base + R. An adapter that began as a copy of R, as TRL trains it, is taken in place of R: π_ℓ is base + A_ℓ,
    and its step from the reference is ΔW_ℓ - ΔW_R. If `stacked`, it was trained on top of R: π_ℓ is base + R + A_ℓ.

    Two checks come before any value. The arithmetic with one adapter at weight 1 must give the log-probabilities of the
    base with this adapter merged into it. And each adapter must change some log-probability: inference engines have
    been reported to load adapters and never apply them.

    Args:
        pairs: prompts and responses. The comparisons matter for the reward "bradley-terry" alone.
        adapters: folders of PEFT, one for each source, whose names are those of the folders.
        policy: the base, a folder of a Llama checkpoint or a GGUF file.
        reference_adapter: the folder of R, or None.
        stacked: whether adapters were trained on top of R, not from a copy of it.
        reward: as in `value_sources`.
        arithmetic: "response", "token" or "parameter".
        reference: "policy" or "uniform".
        any_base: whether an adapter may name another base than `policy`, for example because the base was renamed.

    Returns:
        `SourceValues` of one seed, whose `pairs` are NaN.

    Raises:
        ValueError: if an adapter cannot be read, does not fit the base or names another one, or if a check fails.

    Example:
        >>> from jaxval.sources.learners import EXAMPLE
        >>> try:
        ...     value_adapters(EXAMPLE, ["one", "two"], policy="no-such-folder")
        ... except ValueError as error:
        ...     print(error)
        policy: expected a folder with config.json; got no folder no-such-folder
    """
    key = jax.random.key(0) if key is None else _checks.check_key(key)
    method = method_of(semivalue, groups, permutations, evaluations, arithmetic, reference, truth=False)
    _checks.check_flag("any_base", any_base)
    if _checks.check_flag("stacked", stacked) and reference_adapter is None:
        raise BadArgument("stacked", expected="a reference adapter to be stacked on", got="none")
    names = names_of(adapters)
    try:
        model, params, tokeniser = policies.read_llama(policy)
    except BadArgument as error:
        raise error.renamed("policy" if error.name == "path" else error.name) from error
    read = [_read("adapters", path, params, policy, any_base) for path in adapters]
    first, start = None, params
    if reference_adapter is not None:
        first = _read("reference_adapter", reference_adapter, params, policy, any_base)
        start = policies.merge(params, first.params, alpha=first.alpha)
    trained, alpha = _steps(read, None if stacked else first)
    adapted = policies.low_rank(model, start, rank=int(alpha), alpha=alpha, targets=trained[0]["layers"])
    write = functools.partial(_write, alpha=alpha, base=str(policy), first=first)
    learner = over_checkpoint(pairs, adapted, tokeniser)._replace(write=write)
    rewards = resolve_rewards(reward, pairs, learner)
    none = jax.tree.map(jnp.zeros_like, trained[0])
    merged = (policies.merge(start if stacked else params, one.params, alpha=one.alpha) for one in read)
    _check(learner, pairs, names, trained, merged, over_checkpoint(pairs, model, tokeniser))
    problem = Problem(
        pairs._replace(sources=names),
        learner,
        train=_no_training,
        random=False,
        rewards=rewards,
        held_out=np.arange(len(pairs.prompts)),
        reference=none,
        trained=trained,
    )
    kept = None
    if folder is not None:
        kept = run_folder(Path(folder) / "seed-0", problem, (identity_of(policy), reference, trained, key))
    result = repeat(problem, method, key, kept, "adapters" if progress else "")
    return summary(problem, [result], method, distinct=False)


def names_of(adapters: Sequence[str | Path]) -> tuple[str, ...]:
    """The names of the folders; if two are equal, each is preceded by the name of the folder that contains it."""
    _checks.check_list("adapters", adapters, "two or more folders")
    paths = [Path(_checks.check_path(f"adapters[{number}]", path)) for number, path in enumerate(adapters)]
    if len(paths) < 2:
        expected = "at least 2 adapters, for a value is one among others"
        raise BadArgument("adapters", expected=expected, got=f"{len(paths)}")
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.resolve().parent.name}/{path.resolve().name}" for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadArgument("adapters", expected="folders of different names", got=f"{twice[0]!r} twice")
    return tuple(names)


def _read(name: str, path: str | Path, params: Params, policy: str | Path, any_base: bool) -> policies.Adapter:
    """The adapter of a folder, which must name the base unless `any_base`."""
    try:
        adapter = policies.read_adapter(path, params)
    except BadArgument as error:
        if error.name != "adapter":
            raise
        raise error.renamed(name) from error
    wanted, own = Path(policy), Path(adapter.base or "")
    known = {part.lower() for part in (*wanted.resolve().parts, wanted.stem, wanted.stem.partition(".")[0])}
    known |= {part.rpartition("--")[2] for part in known}  # a folder of the Hub's cache, such as models--org--name
    if adapter.base and own.name.lower() not in known and not any_base and own.resolve() != wanted.resolve():
        raise BadArgument(
            name,
            expected=f"an adapter of the base {policy}",
            got=f"{path}, whose base_model_name_or_path is {adapter.base!r}",
            advice="if that is the same model, pass {0}",
            mentions=["any_base"],
        )
    return adapter


def _steps(read: Sequence[policies.Adapter], first: policies.Adapter | None) -> tuple[list[Params], float]:
    """The steps of the adapters from the reference, ΔW_ℓ, or ΔW_ℓ - ΔW_R with ranks side by side; and their α."""
    everyone, alpha = policies.stack_adapters([*read, *([] if first is None else [first])])
    if first is None:
        return everyone, alpha
    *own, before = everyone

    def minus(one: Params) -> Params:
        pair = jax.tree.map(lambda *leaves: jnp.stack(leaves), one, before)
        return coalitions.add_adapters(pair, np.array([1.0, -1.0]))  # the rank is twice that of one, and α stays

    return [minus(one) for one in own], alpha


def _write(folder: Path, params: Params, *, alpha: float, base: str, first: policies.Adapter | None) -> None:
    """Write steps from the reference as one adapter of the base, of which the reference adapter is a part."""
    if first is not None:
        rank = float(jax.tree.leaves(params)[0].shape[-1])  # of A, which comes before B
        scaled = {"layers": {n: {**t, "B": alpha / rank * t["B"]} for n, t in params["layers"].items()}}
        both, alpha = policies.stack_adapters([policies.Adapter(scaled, rank, None, ()), first])
        params = coalitions.add_adapters(jax.tree.map(lambda *leaves: jnp.stack(leaves), *both), np.ones(2))
    policies.write_adapter(folder, params, alpha=alpha, base=base)


def _check(
    learner: Learner,
    pairs: PreferencePairs,
    names: Sequence[str],
    trained: Sequence[Params],
    merged: Any,
    plain: Learner,
) -> None:
    """Check that an adapter at weight 1 is equal to the adapter merged into its base, and that each has an effect."""
    for name, one in zip(names, trained, strict=True):
        if _is_nothing(one):
            raise _without_effect(name)
    contexts = np.arange(min(CHECKED, len(pairs.prompts)))
    ids = candidates(pairs, contexts)
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trained)

    def log_probs(policy: Any, params: Params) -> np.ndarray:
        return np.asarray(policy.log_probs(params, contexts, ids), np.float64)[ids >= 0]

    alone = [coalitions.add_adapters(together, np.arange(len(names)) == i) for i in range(len(names))]
    reference = log_probs(learner.policy, jax.tree.map(jnp.zeros_like, alone[0]))
    scale = max(1.0, float(np.abs(reference).max()))
    for name, one, whole in zip(names, alone, merged, strict=True):
        found, itself = log_probs(learner.policy, one), log_probs(plain.policy, whole)
        if not np.abs(found - itself).max() <= CLOSE * scale:
            got = f"{np.abs(found - itself).max():.2g} nats between {name!r} alone and {name!r} merged into its base"
            raise BadArgument(
                "adapters", expected="each adapter to give the same policy at weight 1 as merged into its base", got=got
            )
        if not np.abs(found - reference).max() > NOTHING * scale:
            raise _without_effect(name)


def _without_effect(name: str) -> BadArgument:
    got = f"{name!r}, with which every log-probability is that of the reference"
    advice = "it may be untrained (its B is zero), or a copy of the reference adapter"
    return BadArgument("adapters", expected="adapters with an effect", got=got, advice=advice)


def _is_nothing(adapter: Params) -> bool:
    """Whether all products A B are zero to rounding, relative to those of the parts that cancel."""
    for target in adapter["layers"].values():
        for a, b in zip(np.asarray(target["A"]), np.asarray(target["B"]), strict=True):
            if (np.abs(a @ b) > 1e-5 * (np.abs(a) @ np.abs(b)).max()).any():
                return False
    return True


def _no_training(*_: Any) -> Params:
    raise AssertionError("adapters that were trained elsewhere are not trained")
