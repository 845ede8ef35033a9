"""Values of contributors round by round, at the realised state: sequential training, federated learning, procurement.

In round t the contributors D_t update the state A_{t-1}, and the new state is evaluated. A subset S of the round is
worth v(S; A_{t-1}) = evaluate(update(A_{t-1}, S)); the realised next state is update(A_{t-1}, D_t). Counterfactual
coalitions are evaluated within one round only, and earlier rounds stay as they happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxval import _checks
from jaxval.types import BadArgument
from jaxval.values.semivalues import shapley

__all__ = ["SequentialValues", "sequential_leave_one_out", "sequential_shapley"]

Rounds = Iterable[Sequence[int] | np.ndarray | Array]
MOST_AT_ONCE = 20  # contributors of a round, all of whose subsets are evaluated


class SequentialValues(NamedTuple):
    """The value of each contributor in each round, and the realised states.

    Attributes:
        values: (rounds, players, *objectives) values; 0 in rounds in which a contributor is not active.
        active: (rounds, players) whether a contributor was active in a round.
        totals: (players, *objectives) the sums over the rounds (Remark 3.1).
        utilities: (rounds, *objectives) v(D_t; A_{t-1}), the utility of the realised state after each round.
        state: the realised state after the last round.
        tables: for each round the (2^|D_t|, *objectives) utilities v(S; A_{t-1}) of all subsets of its contributors, in
            the order in which `rounds` names them. Other values of a round, such as `leave_one_out(tables[t])`, need no
            second training. `sequential_leave_one_out`, which tries few subsets, leaves it empty.
    """

    values: Float[Array, "rounds players *objectives"]
    active: Bool[Array, "rounds players"]
    totals: Float[Array, "players *objectives"]
    utilities: Float[Array, "rounds *objectives"]
    state: Any
    tables: tuple[Float[Array, "coalitions *objectives"], ...] = ()


def sequential_shapley(
    update: Callable[[Any, Array], Any],
    evaluate: Callable[[Any], Any],
    state: Any,
    rounds: Rounds,
    *,
    players: int | None = None,
    prepare: Callable[[Any, Array], Any] | None = None,
    batch_size: int | None = None,
) -> SequentialValues:
    """The Shapley value of each contributor within each round, at the realised state of that round.

    φ(z) = 1/|D_t| Σ_{S ⊆ D_t - z} C(|D_t| - 1, |S|)^{-1} [v(S ∪ {z}; A_{t-1}) - v(S; A_{t-1})] for z in D_t, from all
    2^|D_t| subsets of the round. A round's values sum to v(D_t; A_{t-1}) - v(∅; A_{t-1}).

    Source: Zheng et al., Definition 3.2, equations (6) and (10), Remark 3.1; the Federated Shapley value of Wang et al.

    Args:
        update: a pure function from a state and the mask (players,) of those who take part to the next state.
        evaluate: a function from a state to its utility, a scalar or a vector of objectives.
        state: the state before the first round.
        rounds: for each round its contributors, as numbers 0, 1, ...; at most 20 of them.
        players: the number of contributors; None means one more than the largest number in `rounds`.
        prepare: a function that computes what all subsets of a round share, such as the contributors' local models. If
            it is given, prepare(state, mask of the round) is called once a round, and `update` receives its result in
            place of the state.
        batch_size: the number of subsets that are updated together in code compiled by JAX. None means that `update`
            and `evaluate` are called for one subset after another; they may then be any Python functions.

    Returns:
        `SequentialValues`.

    Raises:
        ValueError: if a round is empty or too large, names a contributor twice or a number that is no contributor, or
            if a utility is not finite or changes its shape.

    Example:
        The state is a sum, and its utility is what exceeds 2: the first round makes the second worth more.

        >>> gifts = jnp.array([1.0, 2.0, 1.0])
        >>> def update(state, coalition): return state + jnp.where(coalition, gifts, 0).sum()
        >>> def evaluate(state): return jnp.maximum(state - 2, 0)
        >>> result = sequential_shapley(update, evaluate, 0.0, [[0, 1], [1, 2]])
        >>> result.values.tolist(), result.totals.tolist()
        ([[0.5, 0.5, 0.0], [0.0, 2.0, 1.0]], [0.5, 2.5, 1.0])
        >>> result.tables[0].tolist()  # of nobody, of contributor 0, of 1, of both
        [0.0, 0.0, 0.0, 1.0]
    """
    return _over_rounds(_subsets, shapley, update, evaluate, state, rounds, players, prepare, batch_size)


def sequential_leave_one_out(
    update: Callable[[Any, Array], Any],
    evaluate: Callable[[Any], Any],
    state: Any,
    rounds: Rounds,
    *,
    players: int | None = None,
    prepare: Callable[[Any, Array], Any] | None = None,
    batch_size: int | None = None,
) -> SequentialValues:
    """The utility that a round loses without one contributor, φ(z) = v(D_t; A_{t-1}) - v(D_t - z; A_{t-1}).

    Source: Zheng et al., Appendix C.2; the federated leave-one-out of Wang et al.

    The arguments, the result and the errors are those of `sequential_shapley`.

    Example:
        >>> gifts = jnp.array([1.0, 2.0, 1.0])
        >>> def update(state, coalition): return state + jnp.where(coalition, gifts, 0).sum()
        >>> def evaluate(state): return jnp.maximum(state - 2, 0)
        >>> sequential_leave_one_out(update, evaluate, 0.0, [[0, 1], [1, 2]]).values.tolist()
        [[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]]
    """
    return _over_rounds(_all_but_one, _losses, update, evaluate, state, rounds, players, prepare, batch_size)


def _over_rounds(
    coalitions_of: Callable[[int], np.ndarray],
    values_of: Callable[[Array], Array],
    update: Callable[[Any, Array], Any],
    evaluate: Callable[[Any], Any],
    state: Any,
    rounds: Rounds,
    players: int | None,
    prepare: Callable[[Any, Array], Any] | None,
    batch_size: int | None,
) -> SequentialValues:
    """In each round: prepare, evaluate the coalitions (the last one is the whole round), value them, and move on."""
    members_of, players = _check_rounds(rounds, players)
    if batch_size is not None:
        _checks.check_size("batch_size", batch_size)
    values: list[Array] = []
    _checks.check_function("update", update, "a function of a state and a mask")
    _checks.check_function("evaluate", evaluate, "a function of a state")
    if prepare is not None:
        _checks.check_function("prepare", prepare, "a function of a state and a mask")
    active: list[Array] = []
    realised: list[Array] = []
    tables: list[Array] = []
    for number, members in enumerate(members_of):
        local = coalitions_of(len(members))
        coalitions = np.zeros((len(local), players), dtype=bool)
        coalitions[:, members] = local
        whole = jnp.asarray(coalitions[-1])
        context = state if prepare is None else prepare(state, whole)
        state = update(context, whole)
        if batch_size is None:
            tried = [evaluate(update(context, jnp.asarray(coalition))) for coalition in coalitions[:-1]]
            utilities = _stack([*tried, evaluate(state)])
        else:
            utilities = _evaluate_traced(context, jnp.asarray(coalitions), update, evaluate, batch_size)
        utilities = _check_utilities(utilities, number, coalitions, realised)
        row = jnp.zeros((players, *utilities.shape[1:]), utilities.dtype)
        values.append(row.at[np.array(members)].set(values_of(utilities)))
        active.append(whole)
        realised.append(utilities[-1])
        tables.append(utilities)
    stacked = jnp.stack(values)
    kept = tuple(tables) if coalitions_of is _subsets else ()
    return SequentialValues(stacked, jnp.stack(active), jnp.sum(stacked, axis=0), jnp.stack(realised), state, kept)


@partial(jax.jit, static_argnames=("update", "evaluate", "batch_size"))
def _evaluate_traced(
    context: Any,
    coalitions: Array,
    update: Callable[[Any, Array], Any],
    evaluate: Callable[[Any], Any],
    batch_size: int,
) -> Array:
    """v(S; A) of each coalition; rounds of the same size share one compilation."""
    return jax.lax.map(
        lambda one: _checks.numbers("evaluate", evaluate(update(context, one))), coalitions, batch_size=batch_size
    )


def _subsets(members: int) -> np.ndarray:
    """All subsets of a round, in the order of a table."""
    if members > MOST_AT_ONCE:
        raise BadArgument(
            "rounds",
            expected=f"at most {MOST_AT_ONCE} contributors in a round, for all its subsets are tried",
            got=members,
            advice="call sequential_leave_one_out",
        )
    return np.arange(2**members)[:, None] >> np.arange(members) & 1 == 1


def _all_but_one(members: int) -> np.ndarray:
    """The round without each of its members in turn, and last the whole round."""
    return np.concatenate([~np.eye(members, dtype=bool), np.ones((1, members), dtype=bool)])


def _losses(utilities: Array) -> Array:
    """v(D) - v(D - z) for each member z."""
    return utilities[-1:] - utilities[:-1]


def _stack(utilities: list[Any]) -> Array:
    """Utilities stacked into one array; their shapes must agree."""
    utilities = [_checks.numbers("evaluate", utility, "a scalar or a vector of objectives") for utility in utilities]
    shapes = {utility.shape for utility in utilities}
    if len(shapes) > 1:
        raise BadArgument(
            "evaluate", expected="utilities of one shape", got=f"shapes {', '.join(map(str, sorted(shapes)))}"
        )
    return jnp.stack(utilities)


def _check_utilities(utilities: Array, number: int, coalitions: np.ndarray, earlier: list[Array]) -> Array:
    """Check that utilities are finite scalars or vectors of the same shape in all rounds."""
    if utilities.ndim > 2 or 0 in utilities.shape:
        raise BadArgument("evaluate", expected="a scalar or a vector of objectives", got=f"shape {utilities.shape[1:]}")
    if earlier and earlier[0].shape != utilities.shape[1:]:
        raise BadArgument("evaluate", expected=f"shape {earlier[0].shape} as in round 0", got=utilities.shape[1:])
    if _checks.concrete(utilities) and not np.isfinite(utilities).all():
        wrong = int(np.argwhere(~np.isfinite(np.asarray(utilities)))[0, 0])
        raise BadArgument(
            "evaluate",
            expected="finite utilities",
            got=(
                f"{np.asarray(utilities[wrong])} in round {number} for coalition "
                f"{np.flatnonzero(coalitions[wrong]).tolist()}"
            ),
        )
    return utilities


def _check_rounds(rounds: Rounds, players: int | None) -> tuple[list[list[int]], int]:
    """Check the rounds: at least one, each a list of one or more different contributors 0, 1, ..."""
    members_of = []
    for number, members in enumerate(_checks.check_list("rounds", rounds, "a list of contributors for each round")):
        array = np.asarray(_checks.integers(f"rounds[{number}]", members, ndim=1, expected="contributors 0, 1, ..."))
        if array.size == 0 or array.min() < 0 or len(np.unique(array)) < len(array):
            raise BadArgument(
                "rounds",
                expected="at least one contributor 0, 1, ... in each round, and none twice",
                got=f"{array.tolist()} in round {number}",
            )
        members_of.append(array.tolist())
    if not members_of:
        raise BadArgument("rounds", expected="at least one round", got="none")
    largest = max(map(max, members_of))
    players = largest + 1 if players is None else _checks.check_size("players", players)
    if largest >= players:
        raise BadArgument(
            "rounds", expected=f"contributors in [0, {players})", got=largest, advice=f"set players={largest + 1}"
        )
    _checks.check_memory("players", len(members_of), players)
    return members_of, players
