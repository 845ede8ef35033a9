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
from jaxval.types import BadArgument, Comparisons, Params, SequenceModel, Utility

ARITHMETICS = ("response", "token", "parameter")
RETRAININGS = ("sequential", "union")
PROMPTS = 4096  # prompts for which a policy is evaluated at a time
NUMBERS = 2**22  # entries of a table that are computed at a time
TOGETHER = 16  # coalitions that the arithmetic of tokens evaluates between two writes to the store
ROWS = 8  # the most sequences that go through all models at a time
LOGITS = 2**27  # next-token log-probabilities of all models held at a time: half a gigabyte

_by_prompt = functools.partial(coalitions.expected_reward, by_context=True)
Train = Callable[[Params, Comparisons, Any, Path | None], Params]
Tables = Iterator[np.ndarray]
"""Utilities (coalitions, prompts, rewards) of one block of prompts after another."""


class Setting(NamedTuple):
    """The policies of which coalitions are made, and the prompts and rewards on which they are evaluated.

    Attributes:
        learner: the policy.
        reference: the policy's parameters at π_0.
        contexts: (B,) ids of the held-out prompts.
        responses: (B, R) ids of the prompts' candidates; -1 means no candidate.
        rewards: (B, R, K) rewards of the candidates; 0 if there is no candidate.
        folder: the folder in which finished evaluations are kept; None keeps them in memory.
        shown: whether a progress bar goes to standard error.
        trained: the parameters after training on each source.
        start: (B, R) log π_0 if π_S / π_0 takes the place of π_S, as from a uniform reference; else None.
        own: (B, R) the log-probabilities of the empty coalition.
    """

    learner: Learner
    reference: Params
    contexts: np.ndarray
    responses: np.ndarray
    rewards: np.ndarray
    folder: Path | None
    shown: bool
    trained: Sequence[Params] = ()
    start: Any = None
    own: Any = None


def from_reference(setting: Setting, *, uniform: bool) -> tuple[Setting, np.ndarray]:
    """The setting with the policy of the empty coalition, and the expected rewards (B, K) of that policy.

    The rewards of the new setting are measured from this level.
    """
    # No value depends on the level of the rewards. With it subtracted, rounding is relative to what coalitions add.
    log_probs = candidate_log_probs(setting, setting.reference)
    if uniform:
        finite = np.isfinite(log_probs)
        highest = np.where(finite, log_probs, -np.inf).max(axis=1)
        if (highest - np.where(finite, log_probs, np.inf).min(axis=1) < 1e-6).all():
            raise BadArgument("reference", expected="'policy' for a policy that starts uniform", got="'uniform'")
        setting = setting._replace(start=log_probs)
        log_probs = np.asarray(from_start(log_probs, log_probs))
    level = np.asarray(_by_prompt(log_probs, setting.rewards)).reshape(len(log_probs), -1)
    return setting._replace(own=log_probs, rewards=setting.rewards - level[:, None, :]), level


def candidate_log_probs(setting: Setting, params: Params) -> np.ndarray:
    """(B, R) log-probabilities of the candidates, normalised over the candidates."""
    size = min(len(setting.contexts), PROMPTS)

    def of_rows(rows: np.ndarray) -> Array:
        return normalise(setting.learner.policy.log_probs(params, setting.contexts[rows], setting.responses[rows]))

    return np.asarray(from_start(each_chunk(of_rows, len(setting.contexts), size), setting.start))


def from_start(log_probs: Any, start: Any) -> Any:
    """The policy relative to the reference, p ∝ π / π_0 over the candidates; None as `start` returns π itself."""
    if start is None:
        return log_probs
    finite = np.isfinite(start)
    return normalise(jnp.where(finite, log_probs - np.where(finite, start, 0), -jnp.inf))


def tables(name: str, setting: Setting, masks: np.ndarray, *, train: Callable[..., Params] | None = None) -> Tables:
    """The utilities of coalitions by a named arithmetic or a named retraining.

    Args:
        name: one of `ARITHMETICS` or `RETRAININGS`.
        setting: the policies, prompts and rewards.
        masks: (coalitions, sources).
        train: for retraining, a function from a mask to parameters, as `retrainer` makes it.
    """
    if name == "response":
        yield from _by_responses(setting, masks)
        return
    if name == "token":
        utility, batch_size = _by_tokens(setting), min(TOGETHER, 2 ** masks.shape[1])
    else:
        utility, batch_size = _on_host(setting, train or _added(setting)), 1
    with _store(setting, name) as store:
        evaluate = coalitions.evaluator(
            utility, masks.shape[1], batch_size=batch_size, store=store, traced=name == "token", progress=setting.shown
        )
        try:
            utilities = np.asarray(coalitions.evaluate_coalitions(evaluate, masks))
        except ValueError as error:
            raise (error.__cause__ or error) from None  # the error of the training, not the evaluator's around it
    yield utilities.reshape(len(masks), len(setting.contexts), -1)


def _by_responses(setting: Setting, masks: np.ndarray) -> Tables:
    """π_S ∝ exp(Σ s_ℓ + (1 - |S|) s_0) over the candidates, from n + 1 evaluations of the policies."""
    each = np.stack([candidate_log_probs(setting, params) for params in setting.trained])
    prompts = len(setting.own)
    size = min(prompts, max(1, NUMBERS // (len(masks) * max(setting.rewards.shape[1:]))))
    for first in range(0, prompts, size):
        block = np.arange(first, first + size)
        block = np.where(block < prompts, block, 0)  # fill up the last block, so that one shape is compiled
        table = np.asarray(_reward_table(setting.own[block], each[:, block], setting.rewards[block], masks))
        yield table.reshape(len(masks), size, -1)[:, : prompts - first]


@jax.jit  # at the top of the module, so that it is compiled once for all seeds and blocks of one shape
def _reward_table(reference: Array, sources: Array, rewards: Array, masks: Array) -> Array:
    utility = coalitions.reward_utility(reference, sources, rewards, by_context=True)
    return coalitions.evaluate_coalitions(utility, masks)


def _on_host(setting: Setting, params_of: Callable[[np.ndarray], Params]) -> Utility:
    """The utility of a mask, from the parameters of its coalition."""
    return lambda mask: np.asarray(_by_prompt(candidate_log_probs(setting, params_of(mask)), setting.rewards))


def _added(setting: Setting) -> Callable[[np.ndarray], Params]:
    """A function from a mask to θ_0 + Σ (θ_ℓ - θ_0), or, for adapters, to the sum of their products."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *setting.trained)
    if setting.learner.adapters:
        return lambda mask: coalitions.add_adapters(stacked, mask)
    return lambda mask: coalitions.add_parameters(setting.reference, stacked, mask)


def _by_tokens(setting: Setting) -> Utility:
    """The utility of a mask by the arithmetic of tokens.

    Next-token distributions are combined at every position, their logarithms are summed over each candidate, and the
    sums are normalised over the candidates.
    """
    model, catalogue = setting.learner.model, setting.learner.catalogue
    assert model is not None  # checked before training
    assert catalogue is not None
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *setting.trained)
    present = setting.responses >= 0
    rows = (np.asarray(catalogue.first)[setting.contexts][:, None] + setting.responses)[present]

    def utility(mask: Array) -> Array:
        sums = sum_tokens(model, catalogue, setting.reference, stacked, mask, rows)
        log_probs = jnp.full(present.shape, -jnp.inf, sums.dtype).at[np.nonzero(present)].set(sums)
        return _by_prompt(from_start(normalise(log_probs), setting.start), setting.rewards)

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

    models = 1 + len(jax.tree.leaves(stacked)[0])
    together = min(ROWS, max(1, LOGITS // (catalogue.sequences.shape[1] * model.vocabulary * models)))
    return map_chunks(lambda number: of_rows(jnp.asarray(rows)[number]), len(rows), together)


def _store(setting: Setting, name: str) -> Store:
    """The store of the utilities by one arithmetic or retraining; other prompts or rewards have another store."""
    if setting.folder is None:
        return Store()
    content = fingerprint(setting.contexts, setting.responses, setting.rewards, setting.start)
    store = Store(setting.folder / f"{name}-{content[:12]}.store", fingerprint=content)
    store.forget_failures()
    return store


def train_each(
    train: Train, reference: Params, sources: Sequence[Comparisons], key: Array, folder: Path | None,
    advance: Callable[[int], None],
) -> list[Params]:  # fmt: skip
    """Train once on each source, from the reference; equal sources give equal parameters.

    Finished trainings are kept in the folder, and are loaded from it if they are already there.
    """
    trained = []
    for number, source in enumerate(sources):
        path = None if folder is None else folder / f"source-{number}.npz"
        if path is not None and path.exists():
            trained.append(load_state(path, reference))
        else:
            trained.append(train(reference, source, key, None if folder is None else folder / f"training-{number}"))
            if path is not None:
                save_state(path, trained[-1])
        advance(1)
    return trained


def retrainer(
    train: Train, reference: Params, sources: Sequence[Comparisons], key: Array, *, sequential: bool
) -> Callable[[np.ndarray], Params]:
    """A function from a mask to the parameters after training on its sources, one after another or all at once.

    A sequential training continues from the coalition without the last source, so that each coalition takes one
    training.
    """
    known: dict[tuple[int, ...], Params] = {(): reference}

    def one_after_another(members: tuple[int, ...]) -> Params:
        if members not in known:
            known[members] = train(one_after_another(members[:-1]), sources[members[-1]], key, None)
        return known[members]

    def all_at_once(members: tuple[int, ...]) -> Params:
        if not members:
            return reference
        fields = zip(*(sources[i] for i in members), strict=True)
        return train(
            reference, Comparisons(*(np.concatenate(list(map(np.asarray, part))) for part in fields)), key, None
        )

    of_members = one_after_another if sequential else all_at_once
    return lambda mask: of_members(tuple(np.flatnonzero(mask).tolist()))
