"""The utilities of coalitions over held-out prompts, by each arithmetic and by retraining, prompt by prompt.

Every way of making the policy of a coalition gives a utility whose objectives are prompts times rewards, which
`coalitions.evaluate` and `coalitions.evaluator` take. What trains or evaluates a whole model for a coalition is kept in
a store, so that no coalition is evaluated twice.
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
PROMPTS = 4096  # that a policy is asked about at a time
NUMBERS = 2**22  # of a table at a time
TOGETHER = 16  # coalitions between two writes of the arithmetic of tokens
ROWS = 8  # sequences that go through all models at a time, at most
LOGITS = 2**27  # of all models' next-token log-probabilities at a time: half a gigabyte

_by_prompt = functools.partial(coalitions.expected_reward, by_context=True)
Train = Callable[[Params, Comparisons, Any, Path | None], Params]
Tables = Iterator[np.ndarray]
"""Utilities (coalitions, prompts, rewards) of one block of prompts after another."""


class Setting(NamedTuple):
    """What policies of coalitions are made from, and evaluated on.

    Attributes:
        learner: the policy.
        reference: its parameters at π_0.
        contexts: (B,) ids of the held-out prompts.
        responses: (B, R) ids of their candidates, -1 for none.
        rewards: (B, R, K), 0 for no candidate.
        folder: where finished evaluations are kept; None keeps them in memory.
        shown: whether a bar goes to standard error.
        trained: the parameters after training on each source.
        start: None; or (B, R) log π_0, if π_S / π_0 takes the place of π_S, as from a uniform reference.
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


def from_reference(here: Setting, *, uniform: bool) -> tuple[Setting, np.ndarray]:
    """The setting with the policy of the empty coalition, and the rewards (B, K) that this policy expects.

    Rewards count from there on, which no value depends on: rounding is then relative to what coalitions add, and not to
    the level of the rewards.
    """
    own = candidate_log_probs(here, here.reference)
    if uniform:
        there = np.isfinite(own)
        if (np.where(there, own, -np.inf).max(axis=1) - np.where(there, own, np.inf).min(axis=1) < 1e-6).all():
            raise BadArgument("reference", expected="'policy' for a policy that starts uniform", got="'uniform'")
        here = here._replace(start=own)
        own = np.asarray(from_start(own, own))
    level = np.asarray(_by_prompt(own, here.rewards)).reshape(len(own), -1)
    return here._replace(own=own, rewards=here.rewards - level[:, None, :]), level


def candidate_log_probs(here: Setting, params: Params) -> np.ndarray:
    """(B, R) log-probabilities of the candidates, conditioned on them."""
    size = min(len(here.contexts), PROMPTS)

    def of_rows(rows: np.ndarray) -> Array:
        return normalise(here.learner.policy.log_probs(params, here.contexts[rows], here.responses[rows]))

    return np.asarray(from_start(each_chunk(of_rows, len(here.contexts), size), here.start))


def from_start(log_probs: Any, start: Any) -> Any:
    """Policies as they would be from a uniform reference, p ∝ π / π_0 over the candidates; None leaves them as is."""
    if start is None:
        return log_probs
    there = np.isfinite(start)
    return normalise(jnp.where(there, log_probs - np.where(there, start, 0), -jnp.inf))


def tables(name: str, here: Setting, masks: np.ndarray, *, train: Callable[..., Params] | None = None) -> Tables:
    """The utilities of coalitions by the arithmetic, or the retraining, of a name.

    Args:
        name: one of `ARITHMETICS` or `RETRAININGS`.
        here: the policies, prompts and rewards.
        masks: (coalitions, sources).
        train: for retraining: from a mask to parameters, as `retrainer` makes.
    """
    if name == "response":
        yield from _by_responses(here, masks)
        return
    if name == "token":
        utility, batch_size = _by_tokens(here), min(TOGETHER, 2 ** masks.shape[1])
    else:
        utility, batch_size = _on_host(here, train or _added(here)), 1
    with _store(here, name) as store:
        evaluate = coalitions.evaluator(
            utility, masks.shape[1], batch_size=batch_size, store=store, traced=name == "token", progress=here.shown
        )
        try:
            found = np.asarray(coalitions.evaluate(evaluate, masks))
        except ValueError as error:
            raise (error.__cause__ or error) from None  # the training's own words
    yield found.reshape(len(masks), len(here.contexts), -1)


def _by_responses(here: Setting, masks: np.ndarray) -> Tables:
    """π_S ∝ exp(Σ s_ℓ + (1 - |S|) s_0) over the candidates, from n + 1 evaluations of the policies."""
    each = np.stack([candidate_log_probs(here, params) for params in here.trained])
    prompts = len(here.own)
    size = min(prompts, max(1, NUMBERS // (len(masks) * max(here.rewards.shape[1:]))))
    for first in range(0, prompts, size):
        block = np.arange(first, first + size)
        block = np.where(block < prompts, block, 0)  # the last block is filled up: one shape
        table = np.asarray(_reward_table(here.own[block], each[:, block], here.rewards[block], masks))
        yield table.reshape(len(masks), size, -1)[:, : prompts - first]


@jax.jit  # at the top of the module: compiled once for all seeds and blocks of a shape
def _reward_table(reference: Array, sources: Array, rewards: Array, masks: Array) -> Array:
    utility = coalitions.reward_utility(reference, sources, rewards, by_context=True)
    return coalitions.evaluate(utility, masks)


def _on_host(here: Setting, params_of: Callable[[np.ndarray], Params]) -> Utility:
    """The utility of a mask by the parameters of its coalition."""
    return lambda mask: np.asarray(_by_prompt(candidate_log_probs(here, params_of(mask)), here.rewards))


def _added(here: Setting) -> Callable[[np.ndarray], Params]:
    """From a mask to θ_0 + Σ (θ_ℓ - θ_0), or to the sum of the adapters' products."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *here.trained)
    if here.learner.adapters:
        return lambda mask: coalitions.add_adapters(stacked, mask)
    return lambda mask: coalitions.add_parameters(here.reference, stacked, mask)


def _by_tokens(here: Setting) -> Utility:
    """Next-token distributions combined at every position, summed over each candidate, then conditioned on them."""
    model, catalogue = here.learner.model, here.learner.catalogue
    assert model is not None  # checked before training
    assert catalogue is not None
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *here.trained)
    there = here.responses >= 0
    rows = (np.asarray(catalogue.first)[here.contexts][:, None] + here.responses)[there]

    def utility(mask: Array) -> Array:
        sums = sum_tokens(model, catalogue, here.reference, stacked, mask, rows)
        found = jnp.full(there.shape, -jnp.inf, sums.dtype).at[np.nonzero(there)].set(sums)
        return _by_prompt(from_start(normalise(found), here.start), here.rewards)

    return utility


def sum_tokens(
    model: SequenceModel, catalogue: Catalogue, reference: Params, stacked: Params, mask: Array, rows: np.ndarray
) -> Array:
    """(rows,) log π_S(y|x) of sequences; under `vmap` over masks every model reads a sequence once for all of them."""

    @jax.custom_batching.sequential_vmap  # coalitions one after another: memory is that of one
    def combined(mask: Array, own: Array, each: Array, tokens: Array, inside: Array) -> Array:
        logs = coalitions.combine_next_tokens(own, each, mask)
        chosen = jnp.take_along_axis(logs, tokens[:, 1:, None], axis=-1)[..., 0]
        return jnp.sum(jnp.where(inside, chosen, 0), axis=1)

    def of_rows(part: Array) -> Array:
        tokens, starts, ends = catalogue.sequences[part], catalogue.prompt_lengths[part], catalogue.lengths[part]
        own = jax.nn.log_softmax(model.logits(reference, tokens)[:, :-1])
        each = jax.lax.map(lambda params: jax.nn.log_softmax(model.logits(params, tokens)[:, :-1]), stacked)
        at = jnp.arange(1, tokens.shape[1])[None, :]
        return combined(mask, own, each, tokens, (starts[:, None] <= at) & (at < ends[:, None]))

    models = 1 + len(jax.tree.leaves(stacked)[0])
    together = min(ROWS, max(1, LOGITS // (catalogue.sequences.shape[1] * model.vocabulary * models)))
    return map_chunks(lambda number: of_rows(jnp.asarray(rows)[number]), len(rows), together)


def _store(here: Setting, name: str) -> Store:
    """Where the utilities of a way of making policies are kept; other prompts or rewards have another store."""
    if here.folder is None:
        return Store()
    content = fingerprint(here.contexts, here.responses, here.rewards, here.start)
    store = Store(here.folder / f"{name}-{content[:12]}.store", fingerprint=content)
    store.forget_failures()
    return store


def train_each(
    train: Train, reference: Params, sources: Sequence[Comparisons], key: Array, folder: Path | None,
    advance: Callable[[int], None],
) -> list[Params]:  # fmt: skip
    """One training for each source, from the reference, kept once it is done; equal sources give equal parameters."""
    found = []
    for number, source in enumerate(sources):
        path = None if folder is None else folder / f"source-{number}.npz"
        if path is not None and path.exists():
            found.append(load_state(path, reference))
        else:
            found.append(train(reference, source, key, None if folder is None else folder / f"training-{number}"))
            if path is not None:
                save_state(path, found[-1])
        advance(1)
    return found


def retrainer(
    train: Train, reference: Params, sources: Sequence[Comparisons], key: Array, *, sequential: bool
) -> Callable[[np.ndarray], Params]:
    """From a mask to the parameters after training on its sources, one after another or all at once.

    Sequential: a coalition goes on from the coalition without its last source, so that each is one training more.
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
