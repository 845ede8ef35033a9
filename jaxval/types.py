"""Names of array shapes, and the records that the modules of the package exchange.

Everything here is a plain pytree or a name for a shape, so that it passes through `jit`, `vmap` and `tree_map`
unchanged. Functions accept NumPy and JAX arrays and nested lists alike and return JAX arrays.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Num

from jaxval._errors import BadArgument
from jaxval._tables import estimate_columns, estimate_notes, estimate_rows, first_and_last, html_table, text_table

__all__ = [
    "UNSEEN",
    "BadArgument",
    "Ballots",
    "Coalitions",
    "Comparisons",
    "Estimate",
    "Grouped",
    "Groups",
    "LinearLogits",
    "Lottery",
    "Matrix",
    "Number",
    "Orders",
    "Params",
    "Parts",
    "Policy",
    "Profile",
    "Rule",
    "SeenGains",
    "SequenceModel",
    "Table",
    "Unions",
    "Utility",
    "Vector",
    "Weights",
    "Wins",
]


def __dir__() -> list[str]:
    return list(__all__)


Orders = Int[ArrayLike, "rankings alternatives"] | list[Any]
"""Rankings, best first: `orders[k, 0]` is the first choice of ranking k."""

Weights = Float[ArrayLike, "rankings"] | list[Any]
"""Shares of the population, one per ranking; they sum to one."""

Matrix = Float[ArrayLike, "alternatives alternatives"] | list[Any]
"""A preference function P: `P[i, j]` is the share preferring i to j; P + Pᵀ = 1, diagonal 1/2."""

Wins = Float[ArrayLike, "alternatives alternatives"] | list[Any]
"""Counts: `wins[i, j]` is how often i was preferred to j."""

UNSEEN = -2
"""In a matrix of votes (1 agrees, 0 passes, -1 disagrees): the voter never saw the statement."""

Vector = Float[ArrayLike, "alternatives"] | list[Any]
"""One number for each alternative: rewards, scores, or the probabilities of a lottery that is an argument."""

Number = Float[ArrayLike, ""] | float | int
"""A scalar."""

Lottery = Float[Array, "alternatives"]
"""Probabilities of the alternatives; they sum to one."""

Rule = Callable[..., Lottery]
"""A rule: from P (one positional argument) or from a profile (`orders, weights`) to a lottery."""

Utility = Callable[..., Any]
"""A utility: from the mask of one coalition, (players,) bool, to a scalar or to a vector of objectives."""

Coalitions = Bool[ArrayLike, "coalitions players"] | list[Any]
"""Masks of coalitions, one row for each: True for the members."""

Table = Num[ArrayLike, "coalitions *objectives"] | list[Any]
"""The utilities of all 2^n coalitions; bit i of a row's index is player i, so row 0 is the empty coalition."""

Groups = Int[ArrayLike, "players"] | list[Any] | tuple[int, ...]
"""The group of each player: 0, 1, ... in the order of precedence, none empty."""

Unions = Int[ArrayLike, "players"] | Int[ArrayLike, "levels players"] | list[Any] | tuple[Any, ...]
"""The union of each player, 0, 1, ..., or of each player at each level, coarsest first."""

Params = Any
"""The parameters of a policy or a model: a plain pytree of arrays."""


class Profile(NamedTuple):
    """Complete strict rankings and the share of the population that holds each (Kim et al., section 2.1).

    Attributes:
        orders: (rankings, alternatives) integers, best first.
        weights: (rankings,) shares that sum to one.
    """

    orders: Int[ArrayLike, "rankings alternatives"]
    weights: Float[ArrayLike, "rankings"]


class Ballots(NamedTuple):
    """Ballots as cast: ties and unranked alternatives allowed.

    Attributes:
        positions: (ballots, alternatives) integers: 0 is best, equal numbers are tied, -1 is unranked.
        weights: (ballots,) how many voters cast each ballot; any positive scale.
    """

    positions: Int[ArrayLike, "ballots alternatives"]
    weights: Float[ArrayLike, "ballots"]


class Comparisons(NamedTuple):
    """Pairwise comparisons, one row each; a tie is two rows of half weight, one each way.

    Attributes:
        context: (comparisons,) index of the prompt or question; 0 throughout if there is only one.
        winner: (comparisons,) index of the preferred alternative.
        loser: (comparisons,) index of the other.
        weight: (comparisons,) how many times the comparison was made; 0.5 for each row of a tie.
    """

    context: Int[ArrayLike, "comparisons"]
    winner: Int[ArrayLike, "comparisons"]
    loser: Int[ArrayLike, "comparisons"]
    weight: Float[ArrayLike, "comparisons"]


class LinearLogits(NamedTuple):
    """Logits that are linear in the parameters: log π(y|x) = b(x, y) + f(x, y)·θ - log Z(x).

    A `Policy` may have it as its field `linear`. Newton's method uses it in place of `log_probs`: a loss of preference
    pairs depends only on differences of log-probabilities, in which log Z(x) cancels. For your own logits, write

        LinearLogits(logits(zeros), jax.jacobian(logits)(zeros))

    where `logits(params)` has shape (contexts, responses) and all parameters in `zeros` are 0.
    `testing.check_policy` tests whether these logits agree with the policy's `log_probs`.

    Attributes:
        base: (contexts, responses) b, the logits at θ = 0, up to a constant in each context; -inf if a context has
            fewer responses.
        features: f, a pytree as the parameters are: an array (contexts, responses, *shape) for a parameter of that
            shape. None if each parameter is one logit: θ is (contexts, responses) and log π(·|x) = log softmax
            (b + θ)[x]. Contexts then share no parameter, and Newton's method solves each context separately.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxval import policies, training
        >>> prompts, answers = jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> def logits(params):  # bilinear: every pair of a prompt's and an answer's feature has a weight
        ...     return prompts @ params @ answers.T
        >>> def log_probs(params, contexts, responses):
        ...     taken = jnp.take_along_axis(logits(params)[jnp.asarray(contexts)], jnp.maximum(responses, 0), axis=1)
        ...     log_z = jax.nn.logsumexp(logits(params), axis=1)[jnp.asarray(contexts), None]
        ...     return jnp.where(jnp.asarray(responses) < 0, -jnp.inf, taken - log_z)
        >>> zeros = jnp.zeros((2, 2))
        >>> policy = Policy(lambda key: zeros, log_probs, LinearLogits(logits(zeros), jax.jacobian(logits)(zeros)))
        >>> pairs = Comparisons([0, 0], [0, 1], [1, 0], [3.0, 1.0])
        >>> params, _ = training.newton_optimum(policy, zeros, pairs, beta=1.0)
        >>> odds = log_probs(params, jnp.array([0]), jnp.array([[0, 1]]))[0]
        >>> round(float(jnp.exp(odds[0] - odds[1])), 4)  # three wins to one
        3.0
    """

    base: Float[Array, "contexts responses"]
    features: Any = None


class Policy(NamedTuple):
    """A policy over candidate responses: a function from ids to log-probabilities, and its initial parameters.

    Attributes:
        init: `init(key)` gives parameters, a plain pytree.
        log_probs: `log_probs(params, contexts (B,), responses (B, R))` gives log π(y|x), (B, R), and -inf for an id of
            -1. The probabilities of the candidates need not sum to one; `policies.normalise` conditions on them.
        linear: the policy's logits as a linear map of the parameters, which `training.newton_optimum` needs. None if
            the logits are not linear, or if Newton's method is not used.
    """

    init: Callable[[Any], Params]
    log_probs: Callable[[Params, Any, Any], Float[Array, "rows candidates"]]
    linear: LinearLogits | None = None


class Grouped(NamedTuple):
    """Prompts with responses to each, so that a prompt is read once for all its responses.

    Attributes:
        prompts: (B, P) ids of tokens, padded on the right.
        prompt_lengths: (B,) the number of tokens of each prompt, at least one; the rest is padding.
        responses: (B, R, T) ids of tokens, the end token included, padded on the right.
        lengths: (B, R) the number of tokens of each response; 0 if there is no such response.
    """

    prompts: Int[ArrayLike, "rows prompt_tokens"]
    prompt_lengths: Int[ArrayLike, "rows"]
    responses: Int[ArrayLike, "rows responses tokens"]
    lengths: Int[ArrayLike, "rows responses"]


class Parts(NamedTuple):
    """A model of layers in parts, for work that different parameters, tokens or epochs share.

    Attributes:
        layers: how many layers the model has.
        fixed: how many layers, the first ones, do not depend on the parameters.
        below: `below(params, grouped)` gives (B, P + R T, W) hidden states of the prompts' and then the responses'
            tokens, after the layers that do not depend on the parameters: none but the embedding for a plain model, all
            below the lowest adapter for a model of adapters, whose `params` may then be None.
        above: `above(params, grouped, states)` gives (B, R, T + 1, W) last hidden states, normalised: that of the end
            of the prompt, and those of the response's tokens.
        head: `head(params, states (..., W))` gives (..., V) logits of the next token.
        cache_axes: the axes of the cache for `jax.vmap` over parameters, None for what does not depend on them.
        adapt: `adapt(full, fixed, held)` gives the model whose parameters at `params` are `full(held, params)`, where
            the first `fixed` layers do not depend on `params`.
    """

    layers: int
    fixed: int
    below: Callable[[Params, Grouped], Array]
    above: Callable[[Params, Grouped, Any], Array]
    head: Callable[[Params, Any], Array]
    cache_axes: Any
    adapt: Callable[[Callable[[Any, Params], Params], int, Any], "SequenceModel"]


class SequenceModel(NamedTuple):
    """A causal model of token sequences.

    Attributes:
        init: `init(key)` gives parameters, a plain pytree.
        logits: `logits(params, tokens (B, T))` gives (B, T, V): row t scores what follows tokens 0..t, and does not
            depend on the tokens after t, so that padding on the right changes nothing.
        vocabulary: V, the number of tokens that the model knows.
        length: the most tokens that a sequence may have.
        start: `start(params, tokens (B, T), lengths (B,), room, copies)` reads prompts padded on the right and gives
            `(logits (B * copies, V), cache)` at their ends, with room for `room` more tokens of `copies` responses to
            each prompt. None if the model has no cache.
        advance: `advance(params, cache, tokens (B * copies,))` gives `(logits (B * copies, V), cache)` after one more
            token of each response. None if the model has no cache.
        parts: the model in parts; None if it has none.
        held: `held()` gives arrays beside the parameters, such as those under adapters; None if there are none.
        bind: `bind(held())` gives the same model on these arrays. A compiled function that takes them as an argument
            and binds them holds no copy of them.
    """

    init: Callable[[Any], Params]
    logits: Callable[[Params, Any], Float[Array, "rows tokens vocabulary"]]
    vocabulary: int
    length: int
    start: Callable[..., Any] | None = None
    advance: Callable[..., Any] | None = None
    parts: Parts | None = None
    held: Callable[[], Any] | None = None
    bind: "Callable[[Any], SequenceModel] | None" = None


class SeenGains(NamedTuple):
    """What is known of the sampled gains whose means are the values. Intervals need it if few gains are not zero.

    Attributes:
        nonzero: (players, *objectives) in how many independent draws the player's gain was not zero.
        range: (2, *objectives) the least and the greatest gain that the intervals allow for.
        stated: whether `range` comes from the caller's `spread`, and not from the utilities seen.
    """

    nonzero: Any  # no shapes here, as below
    range: Any
    stated: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """Values of players, their standard errors and intervals, and how many coalitions were evaluated.

    A pytree whose leaves are the arrays; the names are part of its structure. `print` shows a table,
    `values.save_estimate` saves it, and `plots.plot_values` draws it.

    Attributes:
        values: (players, *objectives) values.
        standard_errors: the same shape; 0 if exact, NaN if there were too few draws.
        evaluations: how many distinct coalitions were evaluated, the empty and the full one included.
        intervals: (2, players, *objectives) low and high ends of 95 % intervals. Both ends equal the value if it
            is exact, and are NaN if there were too few draws. None means that no intervals were computed.
        names: one name for each player, or None.
        gains: what is known of the sampled gains if the values are means over permutations; otherwise None.

    Example:
        >>> estimate = Estimate(np.array([0.25, 0.5]), np.array([0.01, 0.02]), 4).with_names(["news", "books"])
        >>> jax.tree.map(lambda leaf: 2 * leaf, estimate).names
        ('news', 'books')
    """

    values: Any  # no shapes here: a pytree is rebuilt with batches, tracers and placeholders in its place
    standard_errors: Any
    evaluations: Any
    intervals: Any = None
    names: tuple[str, ...] | None = dataclasses.field(default=None, metadata={"static": True})
    gains: SeenGains | None = None

    def with_names(self, names: Sequence[str]) -> "Estimate":
        """The same estimate with a name for each player; a `BadArgument` if the numbers of names and players differ."""
        try:
            names = tuple(names if not isinstance(names, str) else None)  # type: ignore[arg-type]
        except TypeError:
            raise BadArgument("names", expected=f"one for each of {len(self)} players", got=f"{names!r:.80}") from None
        if len(names) != len(self):
            raise BadArgument("names", expected=f"one for each of {len(self)} players", got=len(names))
        if not all(isinstance(name, str) for name in names):
            raise BadArgument("names", expected="strings", got=repr(next(n for n in names if not isinstance(n, str))))
        return dataclasses.replace(self, names=names)

    def __len__(self) -> int:
        return np.shape(self.values)[0]

    def __str__(self) -> str:
        """The table that `print` shows; for an estimate without known numbers, such as one inside `jit`, its fields."""
        return text_table(*self._table()) if self._is_known() else repr(self)

    def _repr_html_(self) -> str | None:
        """The same table for a notebook; None for an estimate without known numbers."""
        return html_table(*self._table()) if self._is_known() else None

    def _is_known(self) -> bool:
        numbers = (jax.Array, np.ndarray, np.generic, int, float)
        leaves = jax.tree.leaves(self)
        known = all(isinstance(leaf, numbers) and not isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        return known and np.ndim(self.values) > 0

    def _table(self) -> tuple[list[str], list[list[str]], list[str]]:
        return estimate_columns(self), first_and_last(estimate_rows(self)), estimate_notes(self)
