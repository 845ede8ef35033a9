"""How a policy is trained on a source: one way for every policy and every loss.

If log-probabilities are linear in the parameters and the loss is a smooth convex function of the margin, Newton's
method finds the optimum. In all other cases, AdamW on minibatches is used. The penalty ρ of Newton's method is stated
in rewards, r̂ = β log π/π_k:

Σ_i -log σ(r̂(x_i, y_i⁺) - r̂(x_i, y_i⁻)) + ρ/2 Σ_{x,y} (r̂(x, y) - mean_y r̂(x, y))²

over all responses of the catalogue. The penalty is on the step from the reference π_k of the stage, so that the rewards
of sources add up in any order. In the units of `training.newton_optimum`, ridge = ρ β².
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
    """The options of the training on every source; None means the policy's default.

    Attributes:
        loss: a name in `alignment.losses`, or a function of one pair with the same arguments.
        loss_options: numbers that the loss takes besides β, such as {"dispersion": 0.5}. Lengths need not be given.
        beta: β of the loss, above 0.
        ridge: ρ of Newton's method; the default is 0.1 for tabular and 1 for log-linear policies.
        epochs: how many times AdamW goes through all pairs; the default is 2, and 4 for a checkpoint, as in the paper.
        batch_size: the number of pairs in a minibatch; the default is 16, and 32 for a checkpoint.
        learning_rate: the largest learning rate of AdamW; the default is 1e-3, and 2e-5 for a checkpoint.
        accumulation: the number of minibatches whose gradients are averaged for one update; the default is 1.
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
    """The training of one policy with one loss, to be called for any source and reference.

    Attributes:
        train: `train(reference, comparisons, key, folder)` trains on the comparisons, from this reference and against
            it, and returns the parameters. `folder` may hold checkpoints of the training; None keeps none.
        random: whether the result depends on the key.
    """

    train: Callable[[Params, Comparisons, Any, Path | None], Params]
    random: bool


DEFAULT = Training()
GRADIENT = {"epochs": 2, "batch_size": 16, "accumulation": 1}


def trainer(learner: Learner, pairs: PreferencePairs, options: Training = DEFAULT) -> Trainer:
    """The training for a policy: Newton's method if the policy and the loss allow it, else AdamW.

    For a policy without tokens, lengths of responses are counted in words of the texts of the pairs.

    Raises:
        ValueError: if a loss is unknown or lacks an option, if a number is out of range, or if an option belongs to the
            other method. The function `train` raises if no finite optimum exists.
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
    """The loss with its options set, and the lengths of responses that it takes, by name."""
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
    """(contexts, most responses) lengths of responses, in tokens if the policy has tokens, else in words."""
    if learner.catalogue is not None:
        ids = candidates(pairs, np.arange(len(pairs.prompts)))
        return np.maximum(policies.response_lengths(learner.catalogue, np.arange(len(ids)), ids), 1)
    lengths = np.ones((len(pairs.prompts), max(map(len, pairs.responses))), int)
    for row, texts in zip(lengths, pairs.responses, strict=True):
        row[: len(texts)] = [max(1, len(text.split())) for text in texts]
    return lengths


def _newton(learner: Learner, loss: Callable[..., Array], beta: float, ridge: float) -> Callable[..., Params]:
    """Training to the optimum by Newton's method, with the penalty on rewards or, for features, on weights."""
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
    """Training by AdamW for a number of epochs of minibatches."""

    @functools.cache  # the same optimiser for the same number of steps, so that it is compiled once
    def optimiser(steps: int) -> Any:
        return training.adamw(learning_rate, steps=steps, accumulation=accumulation)

    def train(reference: Params, comparisons: Comparisons, key: Key[Array, ""], folder: Path | None) -> Params:
        steps = epochs * math.ceil(int(np.count_nonzero(comparisons.weight)) / batch_size)
        filled = _filled(comparisons)
        context = np.asarray(filled.context)
        responses = {"chosen_length": np.asarray(filled.winner), "rejected_length": np.asarray(filled.loser)}
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
            pair_options={name: table[context, responses[name]] for name, table in lengths.items()},
            checkpoints=folder,
        )[0]

    return train


def _summed(comparisons: Comparisons) -> Comparisons:
    """The comparisons in sorted order, with equal comparisons as one row whose weight is the sum of theirs."""
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    rows, index = np.unique(np.stack([context, winner, loser], axis=1), axis=0, return_inverse=True)
    return Comparisons(rows[:, 0], rows[:, 1], rows[:, 2], np.bincount(index.reshape(-1), weight).astype(weight.dtype))


def _filled(comparisons: Comparisons) -> Comparisons:
    """The comparisons, filled up with rows of weight 0 to 64, 128, 256, ... rows, so that few shapes are compiled."""
    rows = np.size(comparisons.weight)
    more = max(64, 2 ** math.ceil(math.log2(max(rows, 1)))) - rows
    context, winner, loser, weight = (
        jnp.asarray(np.pad(np.asarray(field), (0, more), constant_values=fill))
        for field, fill in zip(comparisons, (0, 0, 1, 0), strict=True)
    )
    return Comparisons(context, winner, loser, weight)
