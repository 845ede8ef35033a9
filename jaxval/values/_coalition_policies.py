"""The policies of many coalitions over held-out prompts, by each arithmetic and by retraining, kept in a folder."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval.checkpoints import load_state, save_state
from jaxval.coalitions import add_adapters, add_parameters, combine, combine_next_tokens
from jaxval.policies import Catalogue, normalise
from jaxval.types import Comparisons, Params, SequenceModel
from jaxval.values.learners import Learner

ARITHMETICS = ("response", "token", "parameter")
TOGETHER = 16  # coalitions between two writes to the folder
ROWS = 8  # sequences that go through all models at a time, at most
NUMBERS = 2**27  # of all models' next-token log-probabilities at a time: half a gigabyte

LogProbsOf = Callable[[np.ndarray, np.ndarray], np.ndarray]  # masks (M, n), places of contexts (B,) -> (M, B, R)


def kept(folder: Path | None, name: str, make: Callable[[], Any], like: Any) -> Any:
    """What `make` makes, or what it made before under this name; `like` has its structure."""
    if folder is None:
        return make()
    path = folder / f"{name}.npz"
    if path.exists():
        return load_state(path, like)
    folder.mkdir(parents=True, exist_ok=True)
    made = make()
    save_state(path, made)
    return made


def train_each(
    learner: Learner,
    reference: Params,
    sources: Sequence[Comparisons],
    key: Array,
    folder: Path | None,
    advance: Callable[[int], None],
) -> list[Params]:
    """One training for each source, from the reference; equal sources give equal parameters."""
    found = []
    for number, source in enumerate(sources):
        own = None if folder is None else folder / f"training-{number}"
        train = functools.partial(learner.train, reference, source, key, own)
        found.append(kept(folder, f"source-{number}", train, reference))
        advance(1)
    return found


def retrainer(
    learner: Learner, reference: Params, sources: Sequence[Comparisons], key: Array, *, sequential: bool
) -> Callable[[np.ndarray], Params]:
    """From a mask to the parameters after DPO on its sources, one after another or all at once.

    Sequential: a coalition goes on from the coalition without its last source, so that each is one training more.
    """
    known: dict[tuple[int, ...], Params] = {(): reference}

    def one_after_another(members: tuple[int, ...]) -> Params:
        if members not in known:
            known[members] = learner.train(one_after_another(members[:-1]), sources[members[-1]], key, None)
        return known[members]

    def all_at_once(members: tuple[int, ...]) -> Params:
        if not members:
            return reference
        fields = zip(*(sources[i] for i in members), strict=True)
        context, winner, loser, weight = (np.concatenate([np.asarray(part) for part in field]) for field in fields)
        return learner.train(reference, Comparisons(context, winner, loser, weight), key, None)

    train = one_after_another if sequential else all_at_once
    return lambda mask: train(tuple(np.flatnonzero(mask).tolist()))


def by_responses(learner: Learner, reference: Params, trained: Sequence[Params], ids: Any) -> LogProbsOf:
    """π_S ∝ exp(Σ s_ℓ + (1 - |S|) s_0) over the candidates, from n + 1 evaluations of the policies."""
    contexts, responses = ids
    own = np.asarray(over(learner, reference, contexts, responses))
    each = np.stack([over(learner, params, contexts, responses) for params in trained])
    return lambda masks, block: np.asarray(_combine_all(own[block], each[:, block], masks))


@jax.jit
def _combine_all(reference: Array, sources: Array, masks: Array) -> Array:
    return jax.lax.map(lambda mask: combine(reference, sources, mask.astype(reference.dtype)), masks)


def by_parameters(
    learner: Learner, reference: Params, trained: Sequence[Params], ids: Any, folder: Path | None
) -> LogProbsOf:
    """The policy at θ_0 + Σ (θ_ℓ - θ_0), or at the sum of the adapters' products."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trained)

    def of_mask(mask: np.ndarray) -> np.ndarray:
        together = add_adapters(stacked, mask) if learner.adapters else add_parameters(reference, stacked, mask)
        return over(learner, together, *ids)

    return one_by_one(of_mask, ids, folder, "parameter")


def by_retraining(
    learner: Learner,
    of_mask: Callable[[np.ndarray], Params],
    ids: Any,
    folder: Path | None,
    name: str,
    advance: Callable[[int], None],
) -> LogProbsOf:
    """The policy that retraining on the coalition gives."""

    def retrain(mask: np.ndarray) -> np.ndarray:
        advance(1)
        return over(learner, of_mask(mask), *ids)

    return one_by_one(retrain, ids, folder, name)


def by_tokens(
    learner: Learner, reference: Params, trained: Sequence[Params], ids: Any, folder: Path | None
) -> LogProbsOf:
    """Next-token distributions combined at every position, summed over each candidate, then conditioned on them."""
    assert learner.model is not None  # checked before training
    assert learner.catalogue is not None
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trained)
    contexts, responses = ids
    there = responses >= 0
    rows = np.asarray(learner.catalogue.first)[contexts][:, None] + np.maximum(responses, 0)
    model, catalogue = learner.model, learner.catalogue

    def of_masks(masks: np.ndarray) -> np.ndarray:
        sums = sum_tokens(model, catalogue, reference, stacked, masks, rows[there])
        found = np.full((len(masks), *responses.shape), -np.inf, sums.dtype)
        found[:, there] = sums
        return np.asarray(normalise(found))

    return in_groups(of_masks, ids, folder, "token")


def sum_tokens(
    model: SequenceModel, catalogue: Catalogue, reference: Params, stacked: Params, masks: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """(masks, rows) log π_S(y|x): every model reads a sequence once, for all coalitions."""

    @jax.jit
    def of_rows(masks: Array, tokens: Array, starts: Array, ends: Array) -> Array:
        own = jax.nn.log_softmax(model.logits(reference, tokens)[:, :-1])
        each = jax.lax.map(lambda params: jax.nn.log_softmax(model.logits(params, tokens)[:, :-1]), stacked)
        at = jnp.arange(1, tokens.shape[1])[None, :]
        inside = (starts[:, None] <= at) & (at < ends[:, None])

        def of_mask(mask: Array) -> Array:
            combined = combine_next_tokens(own, each, mask)
            chosen = jnp.take_along_axis(combined, tokens[:, 1:, None], axis=-1)[..., 0]
            return jnp.sum(jnp.where(inside, chosen, 0), axis=1)

        return jax.lax.map(of_mask, masks)

    fields = catalogue.sequences, catalogue.prompt_lengths, catalogue.lengths
    size = catalogue.sequences.shape[1] * model.vocabulary * (masks.shape[1] + 1)
    together = min(ROWS, max(1, NUMBERS // size))
    filled = rows[np.arange(-(-len(rows) // together) * together) % len(rows)].reshape(-1, together)
    parts = [np.asarray(of_rows(masks, *(field[part] for field in fields))) for part in filled]
    return np.concatenate(parts, axis=1)[:, : len(rows)]


def over(learner: Learner, params: Params, contexts: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Log-probabilities of the candidates, conditioned on them, a few thousand prompts at a time."""
    size = min(len(contexts), 4096)
    places = np.arange(-(-len(contexts) // size) * size) % len(contexts)  # filled up: one shape
    parts = [
        np.asarray(normalise(learner.policy.log_probs(params, contexts[part], responses[part])))
        for part in places.reshape(-1, size)
    ]
    return np.concatenate(parts)[: len(contexts)]


def one_by_one(of_mask: Callable[[np.ndarray], np.ndarray], ids: Any, folder: Path | None, name: str) -> LogProbsOf:
    return in_groups(lambda masks: np.stack([of_mask(mask) for mask in masks]), ids, folder, name, together=1)


def in_groups(
    of_masks: Callable[[np.ndarray], np.ndarray],
    ids: Any,
    folder: Path | None,
    name: str,
    *,
    together: int = TOGETHER,
) -> LogProbsOf:
    """Coalitions never evaluated twice: in memory for this run, in the folder for the next."""
    known: dict[bytes, np.ndarray] = {}
    shape = ids[1].shape

    def find(mask: np.ndarray) -> str:
        return f"{name}-{''.join('1' if member else '0' for member in mask)}"

    def of(masks: np.ndarray, block: np.ndarray) -> np.ndarray:
        masks = np.asarray(masks)
        new = [mask for mask in np.unique(masks, axis=0) if mask.tobytes() not in known]
        for mask in new:
            if folder is not None and (folder / f"{find(mask)}.npz").exists():
                known[mask.tobytes()] = load_state(folder / f"{find(mask)}.npz", np.zeros(shape, jnp.zeros(0).dtype))
        new = [mask for mask in new if mask.tobytes() not in known]
        for start in range(0, len(new), together):
            some = np.stack(new[start : start + together])
            for mask, found in zip(some, of_masks(some), strict=True):
                known[mask.tobytes()] = kept(folder, find(mask), functools.partial(np.asarray, found), found)
        return np.stack([known[mask.tobytes()][block] for mask in masks])

    return of
