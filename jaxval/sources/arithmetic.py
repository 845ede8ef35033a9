"""The utilities of coalitions over held-out prompts, by each arithmetic and by retraining, prompt by prompt.

Every way of making the policy of a coalition gives a utility whose objectives are prompts times rewards, which
`coalitions.evaluate_coalitions` and `coalitions.evaluator` take. If a coalition needs a training or an evaluation of a
whole model, its utilities are kept in a store, so that no coalition is evaluated twice.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import coalitions
from jaxval.checkpoints import Store, fingerprint, load_state, save_state
from jaxval.parallel.chunks import each_chunk, map_chunks
from jaxval.policies import Catalogue, normalise
from jaxval.sources.learners import Learner
from jaxval.sources.pairs import joined
from jaxval.sources.trainings import Train
from jaxval.types import BadArgument, Comparisons, Params, SequenceModel, Utility

ARITHMETICS = ("response", "token", "parameter")
RETRAININGS = ("sequential", "union")
PROMPTS = 4096  # prompts for which a policy is evaluated at a time
NUMBERS = 2**22  # entries of a table that are computed at a time
TOGETHER = 16  # coalitions that the arithmetic of tokens evaluates between two writes to the store
ROWS = 8  # the most sequences that go through all models at a time
LOGITS = 2**27  # next-token log-probabilities of all models held at a time: half a gigabyte

_by_prompt = functools.partial(coalitions.expected_reward, by_context=True)
OfMask = Callable[[np.ndarray], Params]
Tables = Iterator[np.ndarray]
"""Utilities (coalitions, prompts, rewards) of one block of prompts after another."""


class Setting(NamedTuple):
    """The policies of which coalitions are made, and the B prompts and K rewards on which they are evaluated."""

    learner: Learner
    reference: Params  # the parameters at π_0
    contexts: np.ndarray  # (B,) ids of the held-out prompts
    responses: np.ndarray  # (B, R) ids of the prompts' candidates; -1 means no candidate
    rewards: np.ndarray  # (B, R, K) rewards of the candidates; 0 if there is no candidate
    folder: Path | None  # where finished evaluations are kept; None keeps them in memory
    shown: bool  # whether a progress bar goes to standard error
    trained: Sequence[Params] = ()  # the parameters after training on each source
    start: Any = 0.0  # (B, R) log π_0 if π_S / π_0 takes the place of π_S, as from a uniform reference; else 0
    own: Any = None  # (B, R) the log-probabilities of the empty coalition
    each: Any = None  # (n, B, R) those of every source alone
    level: Any = None  # (B, K) the expected rewards of the empty coalition, from which `rewards` are measured


class Evaluated(NamedTuple):
    """The policies of one seed on the prompts on which they were evaluated, from which any weights can be.

    Attributes:
        prompts: (B,) ids of the prompts; two seeds have the same id only for the same prompt.
        reference: (B, R) log π_0 of the candidates; -inf if there is no candidate.
        sources: (n, B, R) log π_ℓ.
        rewards: (B, R, K) rewards of the candidates less `level`.
        level: (B, K) the expected rewards of the reference.
        write: `write(folder, weights)` writes one adapter of PEFT, the weighted sum of the sources' adapters; None if
            the sources are no adapters.
    """

    prompts: np.ndarray
    reference: np.ndarray
    sources: np.ndarray
    rewards: np.ndarray
    level: np.ndarray
    write: Callable[[Path, np.ndarray], None] | None


def from_reference(setting: Setting, *, uniform: bool) -> Setting:
    """The setting with the policy of the empty coalition, and with rewards measured from those of that policy."""
    own = candidate_log_probs(setting, setting.reference)
    if uniform:
        possible = np.isfinite(own)
        if (own.max(axis=1) - own.min(axis=1, where=possible, initial=np.inf) < 1e-6).all():
            raise BadArgument("reference", expected="'policy' for a policy that starts uniform", got="'uniform'")
        setting = setting._replace(start=np.where(possible, own, np.inf))  # what π_0 never gives stays impossible
        own = np.asarray(normalise(own - setting.start))
    # No value depends on the level of the rewards. With it subtracted, rounding is relative to what coalitions add.
    level = np.asarray(_by_prompt(own, setting.rewards)).reshape(len(own), -1)
    return setting._replace(own=own, level=level, rewards=setting.rewards - level[:, None, :])


def candidate_log_probs(setting: Setting, params: Params) -> np.ndarray:
    """(B, R) log-probabilities of the candidates, normalised over the candidates."""
    policy, contexts, responses = setting.learner.policy, setting.contexts, setting.responses

    def of_rows(rows: np.ndarray) -> Array:
        return policy.log_probs(params, contexts[rows], responses[rows])

    log_probs = each_chunk(of_rows, len(contexts), min(len(contexts), PROMPTS))
    return np.asarray(normalise(log_probs - setting.start))


def with_each(setting: Setting) -> Setting:
    """The setting with the log-probabilities of every source alone."""
    return setting._replace(each=np.stack([candidate_log_probs(setting, params) for params in setting.trained]))


def evaluated(setting: Setting) -> Evaluated:
    """What any weights of the sources are evaluated from."""
    write = None
    if setting.learner.adapters and setting.learner.write is not None:
        write = functools.partial(_write_merged, setting.learner.write, setting.trained)
    return Evaluated(setting.contexts, setting.own, setting.each, setting.rewards, setting.level, write)


def _write_merged(write: Any, trained: Sequence[Params], folder: Path, weights: np.ndarray) -> None:
    """Write Σ λ_ℓ ΔW_ℓ as one adapter, whose ranks are those of the sources of nonzero weight side by side."""
    used = np.flatnonzero(weights)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[trained[i] for i in used.tolist()])
    write(folder, coalitions.add_adapters(stacked, np.asarray(weights)[used]))


def tables(name: str, setting: Setting, masks: np.ndarray, retrained: OfMask) -> Tables:
    """The utilities of coalitions by a named arithmetic, or by retraining with parameters as `retrainer` gives them."""
    if name == "response":
        yield from _by_responses(setting, masks)
        return
    sources, traced = masks.shape[1], name == "token"
    params_of = _added(setting) if name == "parameter" else retrained

    def of_parameters(mask: np.ndarray) -> np.ndarray:
        return np.asarray(_by_prompt(candidate_log_probs(setting, params_of(mask)), setting.rewards))

    utility = _by_tokens(setting) if traced else of_parameters
    content = fingerprint(setting.contexts, setting.responses, setting.rewards, setting.start)
    path = None if setting.folder is None else setting.folder / f"{name}-{content[:12]}.store"
    with Store(path, fingerprint=content) as store:
        evaluate = coalitions.evaluator(
            utility, sources, batch_size=min(TOGETHER, 2**sources), store=store, traced=traced, progress=setting.shown
        )
        try:
            utilities = np.asarray(coalitions.evaluate_coalitions(evaluate, masks))
        except ValueError as error:
            raise (error.__cause__ or error) from None  # the error of the training, not the evaluator's around it
    yield utilities.reshape(len(masks), len(setting.contexts), -1)


def _by_responses(setting: Setting, masks: np.ndarray) -> Tables:
    """π_S ∝ exp(Σ s_ℓ + (1 - |S|) s_0) over the candidates, from n + 1 evaluations of the policies."""
    each, prompts = setting.each, len(setting.own)
    size = min(prompts, max(1, NUMBERS // (len(masks) * max(setting.rewards.shape[1:]))))
    for first in range(0, prompts, size):
        block = np.minimum(np.arange(first, first + size), prompts - 1)  # filled up, so that one shape is compiled
        table = np.asarray(_reward_table(setting.own[block], each[:, block], setting.rewards[block], masks))
        yield table.reshape(len(masks), size, -1)[:, : prompts - first]


@jax.jit  # at the top of the module, so that it is compiled once for all seeds and blocks of one shape
def _reward_table(reference: Array, sources: Array, rewards: Array, masks: Array) -> Array:
    return coalitions.evaluate_coalitions(
        coalitions.reward_utility(reference, sources, rewards, by_context=True), masks
    )


def _added(setting: Setting) -> OfMask:
    """A function from a mask to θ_0 + Σ (θ_ℓ - θ_0), or, for adapters, to the sum of their products."""
    if setting.learner.adapters:
        return functools.partial(coalitions.add_adapters, _stacked(setting))
    return functools.partial(coalitions.add_parameters, setting.reference, _stacked(setting))


def _stacked(setting: Setting) -> Params:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *setting.trained)


def _by_tokens(setting: Setting) -> Utility:
    """The utility of a mask by the arithmetic of tokens.

    Next-token distributions are combined at every position, their logarithms are summed over each candidate, and the
    sums are normalised over the candidates.
    """
    learner: Any = setting.learner
    stacked, present = _stacked(setting), setting.responses >= 0
    rows = (np.asarray(learner.catalogue.first)[setting.contexts][:, None] + setting.responses)[present]

    def utility(mask: Array) -> Array:
        sums = sum_tokens(learner.model, learner.catalogue, setting.reference, stacked, mask, rows)
        log_probs = jnp.full(present.shape, -jnp.inf, sums.dtype).at[np.nonzero(present)].set(sums)
        return _by_prompt(normalise(log_probs - setting.start), setting.rewards)

    return utility


def sum_tokens(
    model: SequenceModel, catalogue: Catalogue, reference: Params, stacked: Params, mask: Array, rows: np.ndarray
) -> Array:
    """(rows,) log π_S(y|x) of sequences; under `vmap` over masks, every model reads a sequence once for all masks."""

    @jax.custom_batching.sequential_vmap  # coalitions are combined one after another, in the memory of one
    def combined(mask: Array, base: Array, each: Array, tokens: Array, inside: Array) -> Array:
        logs = coalitions.combine_next_tokens(base, each, mask)
        chosen = jnp.take_along_axis(logs, tokens[:, 1:, None], axis=-1)[..., 0]
        return jnp.sum(jnp.where(inside, chosen, 0), axis=1)

    def of_rows(part: Array) -> Array:
        tokens, starts, ends = catalogue.sequences[part], catalogue.prompt_lengths[part], catalogue.lengths[part]
        base = jax.nn.log_softmax(model.logits(reference, tokens)[:, :-1])
        each = jax.lax.map(lambda params: jax.nn.log_softmax(model.logits(params, tokens)[:, :-1]), stacked)
        at = jnp.arange(1, tokens.shape[1])[None, :]
        return combined(mask, base, each, tokens, (starts[:, None] <= at) & (at < ends[:, None]))

    numbers = catalogue.sequences.shape[1] * model.vocabulary * (1 + len(jax.tree.leaves(stacked)[0]))
    together = min(ROWS, max(1, LOGITS // numbers))
    return map_chunks(lambda number: of_rows(jnp.asarray(rows)[number]), len(rows), together)


def train_once(train: Train, reference: Params, source: Comparisons, key: Array, path: Path | None) -> Params:
    """The parameters of one source, which are kept at the path, or loaded if they are there; None keeps nothing."""
    if path is None:
        return train(reference, source, key, None)
    kept = path.with_suffix(".npz")
    if not kept.exists():
        save_state(kept, train(reference, source, key, path))
    return load_state(kept, reference)


def retrainer(train: Train, reference: Params, sources: list[Comparisons], key: Array, *, sequential: bool) -> OfMask:
    """A function from a mask to the parameters after training on its sources, one after another or all at once.

    A sequential training continues from the coalition without the last source, so that each coalition takes one
    training.
    """
    known: dict[tuple[int, ...], Params] = {(): reference}

    def of_members(members: tuple[int, ...]) -> Params:
        if members in known:
            return known[members]
        if not sequential:
            return train(reference, joined([sources[i] for i in members]), key, None)
        known[members] = train(of_members(members[:-1]), sources[members[-1]], key, None)
        return known[members]

    return lambda mask: of_members(tuple(np.flatnonzero(mask).tolist()))
