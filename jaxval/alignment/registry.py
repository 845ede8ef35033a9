"""What the losses of one pair share: how a link becomes a loss, the arguments of all losses, and the record of each.

A loss is written as its link ℓ, and a decorator turns the link into the function of log-probabilities that users call:

    margin_loss: ℓ(m),         m = r(y+)/|y+| - r(y-)/|y-|, lengths of 1 unless they are given
    reward_loss: ℓ(r+, r-),    r(y) = β ρ(y),     ρ(y) = log π(y|x) - log π0(y|x), or f' of the ratio π/π0

The record of a loss keeps its link, its options and its source; `losses` in `jaxval.alignment` lists the records by
name. To add a loss, write its link with a decorator in one of the files of losses, and its definition in the tests.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxval import _checks
from jaxval.alignment._pairs import PerPair, check_beta, check_lengths, check_one_shape
from jaxval.alignment.divergences import derivatives
from jaxval.types import BadArgument

__all__ = ["Loss", "PairLoss", "margin_loss", "record_of", "reward_loss"]

PAIR = ("chosen", "rejected", "reference_chosen", "reference_rejected")
LENGTHS = ("chosen_length", "rejected_length")

SHARED = """
Args:
    chosen: log π(y+|x), a scalar, or an array of any shape for many pairs at once.
    rejected: log π(y-|x), of the same shape, as all that follow.
    reference_chosen: log π0(y+|x).
    reference_rejected: log π0(y-|x).{lengths}
    beta: β > 0, one number or one for each pair.
    divergence: "reverse_kl", "forward_kl", "jensen_shannon", or a function from log u to f'(u) such as
        `functools.partial(alpha_divergence, alpha=0.5)`.

Returns:
    The loss of each pair, of the same shape.

Raises:
    ValueError: if a log-probability is not finite, shapes differ, or an option is out of range or unknown.
"""
LENGTHS_OF_MARGIN = """
    chosen_length: |y+| in tokens{default}.
    rejected_length: |y-| in tokens{default}."""


@runtime_checkable  # so that run-time type checks can test whether a function is a `PairLoss`
class PairLoss(Protocol):
    """A loss of one pair, `loss(chosen, rejected, reference_chosen, reference_rejected, *, beta, ...)`."""

    record: "Loss"

    def __call__(self, *pair: PerPair, **options: Any) -> Float[Array, "..."]:
        """The loss of each pair."""


class Loss(NamedTuple):
    """The record of a loss.

    Attributes:
        function: the loss, `function(chosen, rejected, reference_chosen, reference_rejected, *, beta, ...)`.
        link: ℓ, a function of the margin or of both rewards; its keywords are the options.
        of_margin: whether the link takes the margin; if not, it takes the rewards of both responses.
        options: the options that only this loss takes, with their defaults; `inspect.Parameter.empty` means that an
            option has no default.
        source: the paper and the equation.
        obstacle: why Newton's method does not find the optimum; empty if ℓ is smooth and convex in the margin.
    """

    function: Any
    link: Callable[..., Array]
    of_margin: bool
    options: Mapping[str, Any]
    source: str
    obstacle: str

    def at(self, *rewards: Array, beta: PerPair, **options: Any) -> Array:
        """The link's value at a margin or at two rewards; a link with a keyword `beta` gets β too."""
        rewards = tuple(jnp.asarray(_checks.real_array("rewards", reward)) for reward in rewards)
        rewards = tuple(one if jnp.issubdtype(one.dtype, jnp.floating) else one.astype(float) for one in rewards)
        if len(rewards) != (1 if self.of_margin else 2):
            expected = "one margin" if self.of_margin else "the rewards of both responses"
            raise BadArgument("rewards", expected=expected, got=f"{len(rewards)} arguments")
        if "beta" in inspect.signature(self.link).parameters:
            options["beta"] = beta
        return self.link(*rewards, **options)


def margin_loss(
    *, source: str, obstacle: str = "", per_token: bool = False
) -> Callable[[Callable[..., Array]], PairLoss]:
    """Turn a link into a loss of one pair, ℓ(m) with m = β[ρ(y+)/|y+| - ρ(y-)/|y-|].

    The functions of `training` take such a loss as they take those in `losses`.

    Args:
        source: the paper and the equation.
        obstacle: why ℓ is not smooth and convex, in words that can follow "which"; empty if ℓ is both.
        per_token: whether the lengths of both responses must be given; if not, lengths that are not given are 1.

    Returns:
        The decorator of the link. The keywords of the link become options of the loss, and a keyword `beta` gets β.

    Example:
        >>> @margin_loss(source="log cosh of the distance from a margin of 1")
        ... def log_cosh(margin):
        ...     return jax.numpy.log(jax.numpy.cosh(margin - 1))
        >>> import jax
        >>> round(float(log_cosh(-1.0, -2.0, -1.5, -1.5, beta=2.0)), 4)  # log cosh 1
        0.4338
    """
    _checks.check_text("source", source)
    _checks.check_text("obstacle", obstacle)
    length = inspect.Parameter.empty if per_token else 1
    return functools.partial(_pair_loss, source=source, obstacle=obstacle, lengths=dict.fromkeys(LENGTHS, length))


def reward_loss(*, source: str) -> Callable[[Callable[..., Array]], PairLoss]:
    """Turn a link of both implicit rewards into a loss of one pair, ℓ(r+, r-) with r = β ρ.

    Args:
        source: the paper and the equation.

    Returns:
        The decorator of the link. The keywords of the link become options of the loss, and a keyword `beta` gets β.

    Example:
        >>> @reward_loss(source="squares")
        ... def squares(plus, minus):
        ...     return (plus - 1) ** 2 + minus**2
        >>> float(squares(-1.0, -1.0, -1.5, -1.0, beta=1.0))
        0.25
    """
    _checks.check_text("source", source)
    obstacle = "depends on the rewards of both responses, so on their level, and not on the margin alone"
    return functools.partial(_pair_loss, source=source, obstacle=obstacle, lengths={})


def _pair_loss(link: Callable[..., Array], *, source: str, obstacle: str, lengths: Mapping[str, Any]) -> PairLoss:
    positional, keyword, empty = (
        getattr(inspect.Parameter, name) for name in ("POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY", "empty")
    )
    extra = [one for one in inspect.signature(link).parameters.values() if one.kind is keyword and one.name != "beta"]
    signature = inspect.Signature(
        [
            *(inspect.Parameter(name, positional) for name in PAIR),
            *(inspect.Parameter(name, positional, default=default) for name, default in lengths.items()),
            inspect.Parameter("beta", keyword),
            *(one.replace(annotation=empty) for one in extra),  # types would make the signature in `help` very long
            inspect.Parameter("divergence", keyword, default="reverse_kl"),
        ]
    )

    @functools.wraps(link)
    def loss(*args: Any, **options: Any) -> Array:
        given = signature.bind(*args, **options)  # refuses a missing or unknown argument by its name
        given.apply_defaults()
        named = given.arguments
        plus, minus = derivatives(**{name: named.pop(name) for name in (*PAIR, "divergence")})
        beta = check_beta(named.pop("beta"))
        check_one_shape(chosen=plus, beta=beta, **named)
        if not lengths:
            return record.at(beta * plus, beta * minus, beta=beta, **named)
        plus_length, minus_length = (check_lengths(name, named.pop(name)) for name in LENGTHS)
        return record.at(beta * (plus / plus_length - minus / minus_length), beta=beta, **named)

    options = {one.name: one.default for one in extra}
    record = Loss(loss, link, bool(lengths), options, source, obstacle)
    default = "" if empty in lengths.values() else ", or 1"
    shared = SHARED.format(lengths=LENGTHS_OF_MARGIN.format(default=default) if lengths else "")
    loss.__doc__ = f"{inspect.getdoc(link)}\n\nSource: {source}.\n{shared}"
    loss.__signature__ = signature  # type: ignore[attr-defined]
    del loss.__wrapped__  # readers of signatures, as Sphinx, would follow it to the link's
    loss.record = record  # type: ignore[attr-defined]
    return cast(PairLoss, loss)


def record_of(loss: Callable[..., Array]) -> Loss:
    """The record of a loss; options that `functools.partial` has set are set in its link.

    Args:
        loss: a loss in `losses`, one that `margin_loss` or `reward_loss` made, or `functools.partial` of one. Any other
            function gets a record with an obstacle.

    Returns:
        The `Loss`.

    Raises:
        ValueError: if the loss is not a function.

    Example:
        >>> from jaxval import alignment
        >>> record_of(functools.partial(alignment.dpo, label_smoothing=0.1)).options
        {'label_smoothing': 0.1}
    """
    if not callable(loss):
        raise BadArgument("loss", expected="a function of one pair, such as alignment.dpo", got=type(loss).__name__)
    if isinstance(loss, functools.partial):
        record, options = record_of(loss.func), dict(loss.keywords)
        if loss.args or options.keys() & {*PAIR, *LENGTHS}:
            record = record._replace(obstacle="is given lengths, so that log-ratios count unequally")
        if options.pop("divergence", "reverse_kl") != "reverse_kl":
            record = record._replace(obstacle="has another divergence, whose derivatives f' are not linear in log π")
        options = {name: value for name, value in options.items() if name in record.options}
        link = functools.partial(record.link, **options) if options else record.link
        return record._replace(function=loss, link=link, options={**record.options, **options})
    if isinstance(known := getattr(loss, "record", None), Loss):
        return known
    obstacle = "is a function of log-probabilities; make it of its link by alignment.margin_loss if it has one"
    return Loss(loss, loss, False, {}, "", obstacle)
