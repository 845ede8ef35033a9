"""The search over games: first all small games of zeros and ones, then random games; a violation is shrunk."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxval import _checks
from jaxval.axioms._functions import gap_of, refused
from jaxval.axioms._games import dependent_rows, exchanged_rows, null_rows
from jaxval.axioms.kinds import GamesOf, name_of
from jaxval.axioms.search._shrink_games import consecutive, shrunk_games
from jaxval.axioms.search.counterexample import GameCounterexample, format_game
from jaxval.axioms.values import as_value, takes_groups
from jaxval.parallel import progress as progress_bar
from jaxval.types import BadArgument

__all__ = ["search_games"]

LARGEST = 4  # most random utilities are whole numbers or halves in [-LARGEST, LARGEST]
GROUPINGS = 16  # the random games of a size have at least so many groupings, if the axiom or the value takes groups
TRIED = 8  # the number of violating games of a chunk that are replayed, the worst first


class Chunk(NamedTuple):
    """Games of the same players and groups: (chunk, 1 or 2, 2^n) tables and (n,) groups."""

    tables: np.ndarray
    groups: np.ndarray


def search_games(
    value: Callable[..., Any],
    axiom: Callable[..., tuple[Array, Any]],
    takes: GamesOf,
    options: dict[str, Any],
    *,
    players: Sequence[int],
    key: Array,
    games: int,
    tolerance: float | None,
    shrink: bool,
    batch_size: int,
    progress: bool,
) -> GameCounterexample | None:
    """A minimal game on which the value violates the axiom, or None; see `find_counterexample`."""
    _check_value(value, axiom, min(players))
    examine = GameExaminer(value, axiom, takes, options, tolerance, batch_size)
    full = {n: _count_binary(n, takes.games, examine.grouped) for n in players}
    total = sum(games + (int(full[n]) if full[n] <= games else 0) for n in players)
    with progress_bar(progress, total, f"{name_of(axiom)} of {name_of(value)}") as advance:
        for n in sorted(players):
            chunks = _drawn_games(jax.random.fold_in(key, n), n, games, takes.games, examine)
            if full[n] <= games:
                chunks = itertools.chain(_binary_games(n, takes.games, examine), chunks)
            for chunk in chunks:
                counterexample = _worst_of(examine, chunk, shrink)
                if counterexample is not None:
                    return counterexample
                advance(len(chunk.tables))
    return None


def _check_value(value: Callable[..., Any], axiom: Callable[..., Any], players: int) -> None:
    """Call the value once on the smallest game, so that a rule passed in its place is refused before the search."""
    try:
        as_value(value)(jnp.arange(2.0**players), np.zeros(players, dtype=np.int32))
    except (ValueError, TypeError, IndexError) as error:
        advice = f"{name_of(axiom)} is an axiom of values: for a rule take an axiom of rules, such as axioms.pareto"
        raise refused("value", f"a value, for {name_of(axiom)}", error, advice) from error


class GameExaminer:
    """The gaps of many games at once; a short chunk is filled up, so that only a few shapes are compiled."""

    def __init__(
        self,
        value: Callable[..., Any],
        axiom: Callable[..., tuple[Array, Any]],
        takes: GamesOf,
        options: dict[str, Any],
        tolerance: float | None,
        batch_size: int,
    ):
        self.axiom = partial(axiom, value, **options)
        self.value = as_value(value)
        self.name = name_of(axiom)
        self.grouped = takes.needs_groups or (takes.groups and takes_groups(value))
        self.tolerance = _checks.tolerance(jnp.result_type(float)) if tolerance is None else tolerance
        self.batch_size = batch_size
        self._alike = jax.jit(jax.vmap(lambda tables: gap_of(self.axiom(*tables))))

    def gaps(self, tables: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """(chunk,) gaps; NaN is refused."""
        parts = []
        for start in range(0, len(tables), self.batch_size):
            chunk = tables[start : start + self.batch_size]
            full = jnp.asarray(np.concatenate([chunk, np.repeat(chunk[:1], self.batch_size - len(chunk), axis=0)]))
            # Groups are not traced, so that `jit` would compile once for each grouping. Games with groups are therefore
            # evaluated by `vmap` alone.
            gaps = jax.vmap(lambda one: gap_of(self.call(one, groups)))(full) if self.grouped else self._alike(full)
            parts.append(np.asarray(gaps)[: len(chunk)])
        gaps = np.concatenate(parts)
        if np.isnan(gaps).any():
            game = format_game(tables[int(np.isnan(gaps).argmax())][0], indent="  ")
            raise BadArgument("value", expected="finite numbers", got=f"NaN, so {self.name} says nothing of\n{game}")
        return gaps

    def call(self, tables: Any, groups: np.ndarray) -> tuple[Array, Any]:
        """Call the axiom as a user would, with groups if it takes them."""
        return self.axiom(*tables, groups=groups) if self.grouped else self.axiom(*tables)

    def violated(self, tables: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Which games violate the axiom; none do if the value refuses games of so few players.

        A value with fixed weights, one for each player, is an example.
        """
        try:
            self.value(jnp.asarray(tables[0, 0]), groups)
        except (ValueError, TypeError, IndexError):
            return np.zeros(len(tables), dtype=bool)
        return self.gaps(tables, groups) > self.tolerance

    def replay(self, tables: np.ndarray, groups: np.ndarray) -> GameCounterexample | None:
        """The axiom called on one game; None if it is not violated."""
        gap, witness = self.call(tables, groups)
        if not float(gap) > self.tolerance:
            return None
        other = tables[1] if len(tables) > 1 else None
        known = groups if self.grouped else None
        return GameCounterexample(self.name, tables[0], other, known, float(gap), jax.tree.map(np.asarray, witness))


def _worst_of(examine: GameExaminer, chunk: Chunk, shrink: bool) -> GameCounterexample | None:
    """The game of a chunk that violates the axiom most, shrunk if asked for."""
    gaps = examine.gaps(*chunk)
    worst = np.argsort(-gaps, kind="stable")[:TRIED]
    for index in worst[gaps[worst] > examine.tolerance]:
        game = chunk.tables[index], chunk.groups
        for tables, groups in ([shrunk_games(examine.violated, *game)] if shrink else []) + [game]:
            counterexample = examine.replay(tables, groups)
            if counterexample is not None:
                return counterexample
    return None


def _groupings(players: int) -> np.ndarray:
    """All ways to divide players into ordered groups, (groupings, players); the first is a single group."""
    every = np.array(list(itertools.product(range(players), repeat=players)), dtype=np.int32)
    return every[[len(set(groups)) == max(groups) + 1 for groups in every.tolist()]]


def _count_binary(players: int, games: int, grouped: bool) -> int | float:
    """The number of games of zeros and ones over all groupings; infinity if they are too many to list."""
    cells = games * 2**players
    return np.inf if cells > 16 else 2**cells * (len(_groupings(players)) if grouped else 1)


def _binary_games(players: int, games: int, examine: GameExaminer) -> Iterator[Chunk]:
    cells = games * 2**players
    for groups in _groupings(players) if examine.grouped else np.zeros((1, players), dtype=np.int32):
        for start in range(0, 2**cells, examine.batch_size):
            number = np.arange(start, min(start + examine.batch_size, 2**cells))
            bits = number[:, None] >> np.arange(cells) & 1
            yield Chunk(_floats(bits).reshape(len(bits), games, -1), groups)


def _drawn_games(key: Array, players: int, num: int, games: int, examine: GameExaminer) -> Iterator[Chunk]:
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    size = min(examine.batch_size, -(-num // GROUPINGS)) if examine.grouped else examine.batch_size
    first = [np.zeros(players, dtype=int), np.arange(players), np.arange(players)[::-1]]
    for number, start in enumerate(range(0, num, size)):
        groups = first[number] if number < len(first) else random.integers(players, size=players)
        tables = _draw(random, players, min(size, num - start))[:, None]
        if games == 2:
            others = _draw(random, players, len(tables))
            # `alike` is the player whose marginals are the same in both games; a negative number stands for no player.
            alike = random.integers(-players, players, size=len(tables))
            for player in range(players):
                changed = others[:, null_rows(players, player)] + tables[:, 0]
                others = np.where((alike == player)[:, None], changed, others)
            tables = np.concatenate([tables, others[:, None]], axis=1)
        yield Chunk(_floats(tables), consecutive(groups))


def _draw(random: np.random.Generator, players: int, num: int) -> np.ndarray:
    """(num, 2^n) games of four kinds in turn; three of four have a null player, or symmetric or dependent players."""
    members = np.arange(2**players)[:, None] >> np.arange(players) & 1
    whole = random.integers(-LARGEST, LARGEST + 1, size=(num, 2**players))
    monotone = np.abs(whole) * (members.sum(axis=1) > 0)
    for player in range(players):
        monotone = np.maximum(monotone, monotone[:, null_rows(players, player)])
    additive = random.integers(-1, 3, size=(num, players)) @ members.T
    disturbed = np.where(random.random(whole.shape) < 1 / 8, whole, additive)
    kind = (np.arange(num) % 4)[:, None]
    tables = np.select([kind == 0, kind == 1, kind == 2], [whole, whole > 0, monotone], disturbed).astype(float)
    changes = _changes(players)
    change = np.array([len(of_kind) for of_kind in changes])
    which = random.integers(len(changes), size=num)
    member = random.integers(change[which])
    for number, of_kind in enumerate(changes):
        for index, (left, right) in enumerate(of_kind):
            rows = (which == number) & (member == index)
            tables[rows] = (tables[rows][:, left] + tables[rows][:, right]) / 2
    return tables


def _changes(players: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """The changes of a game: none, a null player, symmetric players, dependent players.

    A change is a pair of row indices: the changed game is the mean of the game read by the first and by the second.
    """
    same = np.arange(2**players)
    pairs = list(itertools.combinations(range(players), 2))
    null = [(null_rows(players, player),) * 2 for player in range(players)]
    symmetric = [(same, exchanged_rows(players, *pair)) for pair in pairs]
    dependent = [(dependent_rows(players, *pair),) * 2 for pair in pairs]
    return [of_kind for of_kind in ([(same, same)], null, symmetric, dependent) if of_kind]


def _floats(tables: np.ndarray) -> np.ndarray:
    return np.asarray(tables, dtype=jnp.result_type(float))
