"""The records that readers return: those of `jaxval.types` with the names that belong to them."""

from collections.abc import Mapping, Sequence
from operator import length_hint
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxval._tables import first_and_last, html_table, text_table
from jaxval.types import Ballots, Comparisons

__all__ = ["Election", "NamedComparisons", "PreferencePairs", "SyntheticPreferences", "VoteMatrix", "Votes"]


_Table = tuple[list[str], list[list[str]], list[str]]  # columns, rows and notes


class Election(NamedTuple):
    """Ballots with the names of the alternatives.

    Attributes:
        ballots: `Ballots` of (ballots, alternatives) positions and (ballots,) numbers of voters.
        names: one name per alternative, all different.
        title: the subject of the election.
        voter: (ballots,) the index of each ballot's voter; None if the file does not name voters.
        voters: the voters' names.
        group: (ballots,) the index of the group of each ballot's voter, -1 if the voter is in none; None if the file
            does not tell groups.
        groups: the groups' names.
    """

    ballots: Ballots
    names: tuple[str, ...]
    title: str
    voter: Int[np.ndarray, "ballots"] | None = None
    voters: tuple[str, ...] = ()
    group: Int[np.ndarray, "ballots"] | None = None
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The table that `print` shows: how many ballots rank each alternative, and how many rank it first."""
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        """The same table for a notebook."""
        return html_table(*self._table())

    def _table(self) -> _Table:
        positions, weights = (np.asarray(field) for field in self.ballots)
        ranked, first = weights @ (positions >= 0), weights @ (positions == 0)
        rows = [[name, f"{a:.5g}", f"{b:.5g}"] for name, a, b in zip(self.names, ranked, first, strict=True)]
        note = f"{weights.sum():.10g} ballots"
        return ["alternative", "ranked by", "first for"], first_and_last(rows), [self.title, note + _people(self)]


class NamedComparisons(NamedTuple):
    """Pairwise comparisons with the names of the alternatives and of the contexts.

    Attributes:
        comparisons: `Comparisons`, all fields (comparisons,).
        names: one name per alternative, all different.
        contexts: one name per prompt or question; a single empty name if the file does not tell contexts apart.
        title: the subject of the comparisons.
        voter: (comparisons,) the index of the voter who made each comparison; None if the file does not name voters.
        voters: the voters' names.
        group: (comparisons,) the index of the voter's group, -1 if the voter is in none; None if the file does not
            tell groups. All comparisons of a voter have the same group.
        groups: the groups' names.
        winner_first: (comparisons,) whether the winner was shown first, on the left; of a tie, the first row is the
            one of the alternative on the left. None if the file does not tell sides.
    """

    comparisons: Comparisons
    names: tuple[str, ...]
    contexts: tuple[str, ...]
    title: str
    voter: Int[np.ndarray, "comparisons"] | None = None
    voters: tuple[str, ...] = ()
    group: Int[np.ndarray, "comparisons"] | None = None
    groups: tuple[str, ...] = ()
    winner_first: Bool[np.ndarray, "comparisons"] | None = None

    def __str__(self) -> str:
        """The table that `print` shows: how often each alternative won and lost."""
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        """The same table for a notebook."""
        return html_table(*self._table())

    def _table(self) -> _Table:
        won, lost = (
            np.bincount(np.asarray(who), np.asarray(self.comparisons.weight), len(self.names))
            for who in (self.comparisons.winner, self.comparisons.loser)
        )
        rows = [[name, f"{a:.5g}", f"{b:.5g}"] for name, a, b in zip(self.names, won, lost, strict=True)]
        note = f"{won.sum():.10g} comparisons" + (f", {len(self.contexts)} contexts" if len(self.contexts) > 1 else "")
        return ["alternative", "won", "lost"], first_and_last(rows), [self.title, note + _people(self)]


class VoteMatrix(NamedTuple):
    """What each voter said of each statement, as Polis exports it.

    `preferences.vote_wins(matrix.votes)` reads it as comparisons within each voter.

    Attributes:
        votes: (voters, statements) int8: 1 agrees, 0 passes, -1 disagrees, `types.UNSEEN` never saw the statement.
        names: one name per statement, all different.
        title: the subject of the conversation.
        voters: one name per voter, all different.
        group: (voters,) the index of each voter's group, -1 if the voter is in none; None if the file does not tell
            groups.
        groups: the groups' names.
    """

    votes: Int[np.ndarray, "voters statements"]
    names: tuple[str, ...]
    title: str
    voters: tuple[str, ...]
    group: Int[np.ndarray, "voters"] | None = None
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The table that `print` shows: how many voters agree, pass and disagree with each statement."""
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        """The same table for a notebook."""
        return html_table(*self._table())

    def _table(self) -> _Table:
        votes = np.asarray(self.votes)
        counts = zip(self.names, *((votes == vote).sum(axis=0) for vote in (1, 0, -1)), strict=True)
        rows = [[name, *map(str, numbers)] for name, *numbers in counts]
        return ["statement", "agree", "pass", "disagree"], first_and_last(rows), [self.title, _people(self)[2:]]


def _people(votes: Election | NamedComparisons | VoteMatrix) -> str:
    """How many voters there are, and the names of the groups, as far as they are known."""
    voters = f", {len(votes.voters)} voters" if votes.voters else ""
    return voters + (f", groups: {', '.join(votes.groups)}" if votes.groups else "")


Votes = Election | NamedComparisons | VoteMatrix
"""What `read_votes` returns."""


class PreferencePairs(NamedTuple):
    """Preference pairs from several sources, with one catalogue of prompts and responses for all of them.

    Attributes:
        prompts: the different prompts, in order of appearance. The index of a prompt is its id, a context.
        responses: the different responses to each prompt, in order of appearance. The index of a response is its id.
        comparisons: `Comparisons`, all fields (pairs,), in the file's order: prompts' and responses' ids, and
            weights, 1 if the file has none. A pair with a soft label is two comparisons, one each way.
        source: (pairs,) the index of each pair's source.
        sources: the sources' names, in order of appearance.
        scores: by the name of a reward, (contexts, most responses) floats. NaN means that there is no such
            response, or that it has no score.
        title: a name for the pairs, such as the file's name.
        skipped: how many pairs were left out because they had no information.
        chats: the messages of each prompt that was read from chat messages, by its text; each message is
            `{"role": ..., "content": ...}`.
    """

    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]
    comparisons: Comparisons
    source: Int[Array, "pairs"]
    sources: tuple[str, ...]
    scores: dict[str, np.ndarray]
    title: str
    skipped: int = 0
    chats: Mapping[str, Sequence[Mapping[str, str]]] = MappingProxyType({})

    def __repr__(self) -> str:  # all texts of a file would fill screens
        pairs, sources, prompts, scores = map(length_hint, (self.source, self.sources, self.prompts, self.scores))
        counts = f"{pairs} pairs, {sources} sources, {prompts} prompts, {scores} scores"
        return f"<PreferencePairs {self.title!r:.80}: {counts}>"


class SyntheticPreferences(NamedTuple):
    """Sources of known quality over a tabular catalogue, with the rewards that they judge by.

    Attributes:
        contexts: (contexts,) ids of the prompts.
        responses: (contexts, responses) ids of the candidates.
        comparisons: one `Comparisons` for each source, all fields (contexts x responses x (responses - 1),): every
            ordered pair of candidates; the weight is how often the first won.
        sources: the sources' names.
        rewards: (contexts, responses, objectives) the true rewards.
        objectives: the rewards' names.
        qualities: (sources, objectives): 1 judges by the reward, 0 tosses a coin, -1 judges by its opposite.
        kinds: of each source: "duplicate", or by its qualities "noise" (all 0), "useful" (their sum above 0) or
            "adversary".
        groups: (sources,) integers: 0 for originals, 1 for duplicates, 2 for duplicates of duplicates, and so on.
        title: a description of what was drawn.
    """

    contexts: Int[Array, "contexts"]
    responses: Int[Array, "contexts responses"]
    comparisons: tuple[Comparisons, ...]
    sources: tuple[str, ...]
    rewards: Float[Array, "contexts responses objectives"]
    objectives: tuple[str, ...]
    qualities: Float[Array, "sources objectives"]
    kinds: tuple[str, ...]
    groups: Int[Array, "sources"]
    title: str
