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

import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks, alignment, policies, training
from jaxval.data import PreferencePairs
from jaxval.sources.learners import Learner
from jaxval.sources.pairs import candidates
from jaxval.types import BadArgument, Comparisons, Params

__all__ = ["Train", "Training"]


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


Train = Callable[[Params, Comparisons, Any, Path | None], Params]
"""`train(reference, comparisons, key, folder)` trains on the comparisons, from this reference and against it, and
returns the parameters. `folder` may hold checkpoints of the training; None keeps none."""
LENGTHS = ("chosen_length", "rejected_length")
GRADIENT = {"epochs": 2, "batch_size": 16, "accumulation": 1}
MANY, FEW = 50, 4  # steps between two checkpoints; those of a published model take seconds each
_adamw = functools.cache(training.adamw)  # the same optimiser for the same numbers, so that it is compiled once


def trainer(
    learner: Learner, pairs: PreferencePairs, options: Training, *, progress: bool = False
) -> tuple[Train, bool]:
    """The training of a policy, and whether it is random: Newton's method if policy and loss allow it, else AdamW.

    For a policy without tokens, lengths of responses are counted in words of the texts of the pairs. With `progress`,
    every training by AdamW shows a bar.

    Raises:
        ValueError: if a loss is unknown or lacks an option, if a number is out of range, or if an option belongs to the
            other method. The function `train` raises if no finite optimum exists.
    """
    _checks.check_number("beta", options.beta, low=1e-30, high=1e30, expected="a number above 0")
    loss, lengths = _loss(learner, pairs, options)
    newton = learner.policy.linear is not None and not lengths and training.suits_newton(loss)
    given = {name: value for name, value in options._asdict().items() if value is not None}
    other = "'log-linear' or another that Newton's method fits, with a loss that it takes"
    if newton:
        other = "'transformer' or another trained by gradients"
    for name in (*GRADIENT, "learning_rate") if newton else ("ridge",):
        if name in given:
            raise BadArgument(name, expected=f"the policy {other}", got=given[name])
    options = Training(**{"ridge": 0.1, "learning_rate": 1e-3, **GRADIENT, **learner.defaults, **given})
    if newton:
        _checks.check_number("ridge", options.ridge, low=0, high=1e30, expected="a number of at least 0")
        return functools.partial(_by_newton, learner, loss, options), False
    for name in GRADIENT:
        _checks.check_size(name, getattr(options, name))
    return functools.partial(_by_adamw, learner, loss, lengths, options, progress), True


def _loss(learner: Learner, pairs: PreferencePairs, options: Training) -> tuple[Any, dict[str, np.ndarray]]:
    """The loss with its options set, and the lengths of responses that it takes, by name."""
    loss: Any = alignment.find_loss(options.loss) if isinstance(options.loss, str) else options.loss
    if not callable(loss):
        raise BadArgument("loss", expected="a name of alignment.losses, or a function of one pair", got=f"{loss!r}")
    numbers = dict(options.loss_options or {})
    takes = dict(list(inspect.signature(loss).parameters.items())[4:])  # after the four log-probabilities
    for name in numbers:
        _checks.check_choice("loss_options", name, tuple(other for other in takes if other not in ("beta", *LENGTHS)))
    needed = {name for name, one in takes.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    if missing := sorted(needed - {"beta", *LENGTHS, *numbers}):
        raise BadArgument("loss_options", expected=f"{missing[0]}, a number that this loss takes", got="none")
    lengths = {name: _lengths(learner, pairs) for name in LENGTHS if name in needed}
    return (functools.partial(loss, **numbers) if numbers else loss), lengths


def _lengths(learner: Learner, pairs: PreferencePairs) -> np.ndarray:
    """(contexts, most responses) lengths of responses, in tokens if the policy has tokens, else in words."""
    ids = candidates(pairs, np.arange(len(pairs.prompts)))
    if learner.catalogue is not None:
        return np.maximum(policies.response_lengths(learner.catalogue, np.arange(len(ids)), ids), 1)
    lengths = np.ones(ids.shape, int)
    lengths[ids >= 0] = [max(1, len(text.split())) for texts in pairs.responses for text in texts]
    return lengths


def _by_newton(
    learner: Learner, loss: Any, options: Any, reference: Params, comparisons: Comparisons, key: Any, folder: Any
) -> Params:
    """The optimum, with the penalty on rewards or, for features, on weights."""
    del key, folder
    # Equal comparisons are one row whose weight is the sum of theirs, and rows are sorted.
    context, winner, loser, weight = (np.asarray(field) for field in comparisons)
    rows, index = np.unique(np.stack([context, winner, loser], axis=1), axis=0, return_inverse=True)
    summed = Comparisons(rows[:, 0], rows[:, 1], rows[:, 2], np.bincount(index.reshape(-1), weight))
    ridge, scale = options.ridge * options.beta**2, learner.feature_scale
    penalty = {"ridge": ridge} if scale is None else {"decay": ridge * scale}
    return training.newton_optimum(learner.policy, reference, _filled(summed), beta=options.beta, loss=loss, **penalty)[
        0
    ]


def _by_adamw(
    learner: Learner,
    loss: Any,
    lengths: dict[str, np.ndarray],
    options: Any,
    progress: bool,
    reference: Params,
    comparisons: Comparisons,
    key: Key[Array, ""],
    folder: Path | None,
) -> Params:
    """The parameters after a number of epochs of minibatches."""
    steps = options.epochs * math.ceil(int(np.count_nonzero(comparisons.weight)) / options.batch_size)
    filled: Any = _filled(comparisons)
    responses = dict(zip(LENGTHS, filled[1:3], strict=True))
    pair_options = {name: table[filled.context, responses[name]] for name, table in lengths.items()}
    return training.train_minibatches(
        learner.policy,
        reference,
        filled,
        beta=options.beta,
        steps=steps,
        batch_size=options.batch_size,
        key=key,
        optimiser=_adamw(float(options.learning_rate), steps=steps, accumulation=options.accumulation),
        loss=loss,
        pair_options=pair_options,
        checkpoints=folder,
        every=FEW if learner.adapters else MANY,
        progress=progress,
    )[0]


def _filled(comparisons: Comparisons) -> Comparisons:
    """The comparisons, filled up with rows of weight 0 to 64, 128, 256, ... rows, so that few shapes are compiled."""
    rows = np.size(comparisons.weight)
    more = max(64, 2 ** math.ceil(math.log2(rows))) - rows
    absent = zip(comparisons, (0, 0, 1, 0), strict=True)
    return Comparisons(*(np.pad(field, (0, more), constant_values=fill) for field, fill in absent))
