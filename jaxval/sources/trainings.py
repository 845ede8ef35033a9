"""How a policy is trained on a source: one way for every policy and every loss.

Newton's method goes to the optimum where log-probabilities are linear in the parameters and the loss is a smooth convex
function of the margin; AdamW on minibatches serves elsewhere. The penalty ρ of Newton's method is stated in rewards,
r̂ = β log π/π_k:

Σ_i -log σ(r̂(x_i, y_i⁺) - r̂(x_i, y_i⁻)) + ρ/2 Σ_{x,y} (r̂(x, y) - mean_y r̂(x, y))²

over all responses of the catalogue. It is on the step from the stage's own reference π_k, so that rewards of sources
add up whatever their order. In the units of `training.newton_optimum`, ridge = ρ β².
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks, alignment, policies, training
from jaxval.data import PreferencePairs
from jaxval.sources.learners import Learner
from jaxval.sources.pairs import candidates
from jaxval.types import BadArgument, Comparisons, Params

__all__ = ["Trainer", "Training"]


class Training(NamedTuple):
    """How every source is trained on; None leaves an option to the policy.

    Attributes:
        loss: a name of `alignment.losses`, or a function of one pair of that form.
        loss_options: numbers that the loss takes besides β, such as {"dispersion": 0.5}. Lengths need not be given.
        beta: β of the loss, above 0.
        ridge: ρ of Newton's method (0.1 for tabular, 1 for log-linear policies).
        epochs: of AdamW: how often each pair is seen (2; for a checkpoint 4, as in the paper).
        batch_size: pairs in a minibatch (16; for a checkpoint 32).
        learning_rate: at its highest (1e-3; for a checkpoint 2e-5).
        accumulation: minibatches whose gradients are averaged for one update (1).
    """

    loss: str | Callable[..., Array] = "dpo"
    loss_options: Mapping[str, float] | None = None
    beta: float = 0.1
    ridge: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    accumulation: int | None = None


class Trainer(NamedTuple):
    """One training, ready to be called for any source and reference.

    Attributes:
        train: `train(reference, comparisons, key, folder)` gives parameters after training on the comparisons from
            this reference and against it; `folder` is None, or where checkpoints of the training may go.
        random: whether the result depends on the key.
    """

    train: Callable[[Params, Comparisons, Any, Path | None], Params]
    random: bool


DEFAULT = Training()
GRADIENT = {"epochs": 2, "batch_size": 16, "accumulation": 1}


def trainer(learner: Learner, pairs: PreferencePairs, options: Training = DEFAULT) -> Trainer:
    """One way of training for every policy: Newton's method where policy and loss allow it, AdamW elsewhere.

    The texts of the pairs give the lengths, in words, of responses without tokens.

    Raises:
        ValueError: if a loss is unknown or lacks an option, a number is out of range, or an option belongs to the
            other way of training; by `train`, if no finite optimum exists.
    """
    beta = float(_checks.check_number("beta", options.beta, low=1e-30, high=1e30, expected="a number above 0"))
    loss, lengths = _loss(learner, pairs, options)
    newton = learner.policy.linear is not None and not lengths and training.suits_newton(loss)
    for name in (*GRADIENT, "learning_rate") if newton else ("ridge",):
        if (value := getattr(options, name)) is not None:
            other = "'transformer' or another trained by gradients" if newton else "'log-linear' or another that "
            other += "" if newton else "Newton's method fits, with a loss that it takes"
            raise BadArgument(name, expected=f"the policy {other}", got=value)
    given = {name: value for name, value in options._asdict().items() if value is not None}
    chosen = {"ridge": 0.1, "learning_rate": 1e-3, **GRADIENT, **learner.defaults, **given}
    if newton:
        return Trainer(_newton(learner, loss, beta, chosen["ridge"]), random=False)
    sizes = {name: _checks.check_size(name, chosen[name]) for name in GRADIENT}
    return Trainer(_adamw(learner, loss, lengths, beta, chosen["learning_rate"], **sizes), random=True)


def _loss(
    learner: Learner, pairs: PreferencePairs, options: Training
) -> tuple[Callable[..., Array], dict[str, np.ndarray]]:
    """The loss with its numbers in it, and the lengths of responses that it takes, by name."""
    loss: Any = alignment.find_loss(options.loss) if isinstance(options.loss, str) else options.loss
    if not callable(loss):
        raise BadArgument("loss", expected="a name of alignment.losses, or a function of one pair", got=f"{loss!r}")
    numbers = dict(options.loss_options or {})
    takes = dict(list(inspect.signature(loss).parameters.items())[4:])  # after the four log-probabilities
    lengths_of = {"chosen_length", "rejected_length"}
    for name in numbers:
        _checks.check_choice(
            "loss_options", name, tuple(other for other in takes if other not in {"beta", *lengths_of})
        )
    needed = {name for name, one in takes.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    needed -= {"beta", *numbers}
    if missing := sorted(needed - lengths_of):
        raise BadArgument("loss_options", expected=f"{missing[0]}, a number that this loss takes", got="none")
    lengths = {name: _lengths(learner, pairs) for name in sorted(needed)}
    return (functools.partial(loss, **numbers) if numbers else loss), lengths


def _lengths(learner: Learner, pairs: PreferencePairs) -> np.ndarray:
    """(contexts, most responses) lengths: tokens where the policy has them, words elsewhere; 1 if there is none."""
    if learner.catalogue is not None:
        ids = candidates(pairs, np.arange(len(pairs.prompts)))
        return np.maximum(policies.response_lengths(learner.catalogue, np.arange(len(ids)), ids), 1)
    found = np.ones((len(pairs.prompts), max(map(len, pairs.responses))), int)
    for row, texts in zip(found, pairs.responses, strict=True):
        row[: len(texts)] = [max(1, len(text.split())) for text in texts]
    return found


def _newton(learner: Learner, loss: Callable[..., Array], beta: float, ridge: float) -> Callable[..., Params]:
    """To the optimum, with the penalty on rewards, or on weights."""
    _checks.check_number("ridge", ridge, low=0.0, high=1e30, expected="a number of at least 0")
    strength = ridge * beta**2
    on_rewards, on_weights = (
        (strength, 0.0) if learner.feature_scale is None else (0.0, strength * learner.feature_scale)
    )

    def train(reference: Params, comparisons: Comparisons, key: Key[Array, ""] | None, folder: Path | None) -> Params:
        del key, folder
        filled = _filled(_summed(comparisons))
        return training.newton_optimum(
            learner.policy, reference, filled, beta=beta, loss=loss, ridge=on_rewards, decay=on_weights
        )[0]

    return train


def _adamw(
    learner: Learner, loss: Callable[..., Array], lengths: dict[str, np.ndarray], beta: float, learning_rate: float, *,
    epochs: int, batch_size: int, accumulation: int,
) -> Callable[..., Params]:  # fmt: skip
    """A number of epochs of minibatches."""

    @functools.cache  # one optimiser, and so one compilation, for each number of steps
    def optimiser(steps: int) -> Any:
        return training.adamw(learning_rate, steps=steps, accumulation=accumulation)

    def train(reference: Params, comparisons: Comparisons, key: Key[Array, ""], folder: Path | None) -> Params:
        steps = epochs * math.ceil(int(np.count_nonzero(comparisons.weight)) / batch_size)
        filled = _filled(comparisons)
        context = np.asarray(filled.context)
        whose = {"chosen_length": np.asarray(filled.winner), "rejected_length": np.asarray(filled.loser)}
        return training.train_minibatches(
            learner.policy,
            reference,
            filled,
            beta=beta,
            optimiser=optimiser(steps),
            steps=steps,
            batch_size=batch_size,
            key=key,
            loss=loss,
            per_pair={name: table[context, whose[name]] for name, table in lengths.items()},
            checkpoints=folder,
        )[0]

    return train


def _summed(comparisons: Comparisons) -> Comparisons:
    """Equal comparisons as one row of their weights' sum, in an order of their own."""
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    rows, place = np.unique(np.stack([context, winner, loser], axis=1), axis=0, return_inverse=True)
    return Comparisons(rows[:, 0], rows[:, 1], rows[:, 2], np.bincount(place.reshape(-1), weight).astype(weight.dtype))


def _filled(comparisons: Comparisons) -> Comparisons:
    """Rows of weight 0 up to the next of 64, 128, 256, ...: few shapes, so few compilations."""
    rows = np.size(comparisons.weight)
    more = max(64, 2 ** math.ceil(math.log2(max(rows, 1)))) - rows
    context, winner, loser, weight = (
        jnp.asarray(np.pad(np.asarray(field), (0, more), constant_values=fill))
        for field, fill in zip(comparisons, (0, 0, 1, 0), strict=True)
    )
    return Comparisons(context, winner, loser, weight)
