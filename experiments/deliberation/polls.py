"""Real votes in one form: the wins within every group, as a function of how often each voter is counted."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxval.data import NamedComparisons, VoteMatrix, data_folder, read_texts, read_votes
from jaxval.preferences import count_wins, vote_wins
from jaxval.social_choice import OrderEffect, effective_counts, order_effect
from jaxval.types import UNSEEN, Comparisons

__all__ = ["POLLS", "Poll", "consensus"]

LEAST, LEAST_IN_GROUP = 30, 10  # votes for a statement to be compared, in all and in each group
CONVERSATIONS = ("15-per-hour-seattle", "football-concussions", "bowling-green")
QUESTIONS = 4


class Poll(NamedTuple):
    """One question, conversation or leaderboard.

    Attributes:
        kind: what the groups are.
        names: one name or text for each alternative.
        groups: the groups' names.
        clusters: the numbers of voters and, if all voters answer several prompts, of prompts.
        wins: a function of the times of the clusters to (groups + 1, M, M) wins, the last of voters in no group.
        members: a function of the times of the clusters to (groups,) the groups' sizes: voters, or votes.
        effective: (M, M) how many independent comparisons each pair is worth; None means all.
        order: the effect of the order on the screen, a function of the times of the clusters; None if not known.
        votes: (voters, M) votes on statements of the voters, and (voters,) their groups; None for comparisons.
        left_out: how many alternatives have too few votes.
    """

    kind: str
    names: tuple[str, ...]
    groups: tuple[str, ...]
    clusters: tuple[int, ...]
    wins: Callable[..., jax.Array]
    members: Callable[..., jax.Array]
    effective: jax.Array | None
    order: Callable[..., OrderEffect] | None
    votes: tuple[np.ndarray, np.ndarray] | None
    left_out: int


def consensus(votes: np.ndarray, group: np.ndarray, groups: int, times: Any = None) -> jax.Array:
    """Polis' group-informed consensus, Π_g (agreed_g + 1) / (seen_g + 2), for each statement.

    Source: Small et al. (2021), "Polis: scaling deliberation by mapping high dimensional opinion spaces".
    """
    times = jnp.ones(len(votes)) if times is None else times
    parts = []
    for g in range(groups):
        weight = times * (group == g)
        parts.append((weight @ (votes == 1).astype(float) + 1) / (weight @ (votes != UNSEEN).astype(float) + 2))
    return jnp.prod(jnp.stack(parts), axis=0)


def conversation(name: str, root: str | None) -> Poll:
    """A Polis conversation: statements that enough participants of both opinion groups have seen."""
    folder = data_folder("votes/polis", path=root) / name
    matrix = read_votes(folder / "participants-votes.csv")
    assert isinstance(matrix, VoteMatrix)
    assert matrix.group is not None
    texts, groups = read_texts(folder / "comments.csv", matrix.names), len(matrix.groups)
    seen = matrix.votes != UNSEEN
    in_groups = np.stack([seen[matrix.group == g].sum(axis=0) for g in range(groups)])
    kept = (seen.sum(axis=0) >= LEAST) & (in_groups.min(axis=0) >= LEAST_IN_GROUP)
    votes, group = matrix.votes[:, kept], matrix.group
    names = tuple(text or name for text, name, chosen in zip(texts, matrix.names, kept, strict=True) if chosen)
    parts = [np.flatnonzero(group == g) for g in (*range(groups), -1)]

    def wins(times: jax.Array) -> jax.Array:
        nobody = jnp.zeros((votes.shape[1], votes.shape[1]))
        return jnp.stack([vote_wins(votes[rows], weights=times[rows]) if len(rows) else nobody for rows in parts])

    def members(times: jax.Array) -> jax.Array:
        return jnp.stack([jnp.sum(times[rows]) for rows in parts[:-1]])

    labels = tuple(f"opinion group {name}" for name in matrix.groups)
    clusters = (len(votes),)
    return Poll(
        "opinion groups", names, labels, clusters, wins, members, None, None, (votes, group), int((~kept).sum())
    )


def compared(record: NamedComparisons, group: np.ndarray, groups: tuple[str, ...], kind: str, *, prompts: bool) -> Poll:
    """A poll of comparisons, all with one set of alternatives."""
    comparisons, voter = record.comparisons, np.asarray(record.voter)
    assert record.winner_first is not None
    size, prompt, first = len(record.names), np.asarray(comparisons.context), np.asarray(record.winner_first)
    weight = np.asarray(comparisons.weight)

    def weighed(times: jax.Array, of_prompts: jax.Array | None = None) -> jax.Array:
        each = weight * times[voter]
        return each if of_prompts is None else each * of_prompts[prompt]

    def wins(*times: jax.Array) -> jax.Array:
        in_groups = comparisons._replace(context=group, weight=weighed(*times))
        total = count_wins(in_groups, alternatives=size, contexts=len(groups))
        return jnp.concatenate([total, jnp.zeros((1, size, size))])

    def members(*times: jax.Array) -> jax.Array:
        if kind == "prompts":
            return jnp.zeros(len(groups)).at[group].add(weighed(*times))
        _, rows = np.unique(voter, return_index=True)
        return jnp.zeros(len(groups)).at[group[rows]].add(times[0][voter[rows]])

    def order(*times: jax.Array) -> OrderEffect:
        return order_effect(comparisons._replace(weight=weighed(*times)), first, alternatives=size)

    clusters = (len(record.voters), len(record.contexts)) if prompts else (len(record.voters),)
    effective = effective_counts(comparisons, voter, alternatives=size)
    return Poll(kind, record.names, groups, clusters, wins, members, effective, order, None, 0)


def campus(question: int, root: str | None) -> Poll:
    """One question of the deliberation on campus protests, between parties."""
    record = read_votes(data_folder("votes/campus-protests", path=root) / "comparisons.csv")
    assert isinstance(record, NamedComparisons)
    assert record.group is not None
    assert record.winner_first is not None
    rows = np.flatnonzero(np.asarray(record.comparisons.context) == question)
    context, winner, loser, weight = (np.asarray(field)[rows] for field in record.comparisons)
    there, index = np.unique(np.concatenate([winner, loser]), return_inverse=True)
    voters, voter = np.unique(np.asarray(record.voter)[rows], return_inverse=True)
    half = len(rows)
    asked = record._replace(
        comparisons=Comparisons(0 * context, index[:half], index[half:], weight),
        names=tuple(record.names[i] for i in there),
        contexts=("",),
        voter=voter,
        voters=tuple(record.voters[i] for i in voters),
        winner_first=record.winner_first[rows],
    )
    return compared(asked, record.group[rows], record.groups, "parties", prompts=False)


def leaderboard(root: str | None) -> Poll:
    """Language models compared by workers on 13 prompts; a prompt stands for a group."""
    folder = data_folder("votes/llmfao", path=root)
    record = read_votes(folder / "crowd-comparisons.csv")
    assert isinstance(record, NamedComparisons)
    lines = (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    slugs = {str(prompt["id"]): prompt["slug"] for prompt in map(json.loads, lines)}
    groups = tuple(slugs.get(name, name) for name in record.contexts)
    return compared(record, np.asarray(record.comparisons.context), groups, "prompts", prompts=True)


def _polls() -> dict[str, Callable[[str | None], Poll]]:
    questions = {
        f"campus-protests, question {i + 1}": lambda root, i=i: campus(i, root)  # type: ignore[misc]
        for i in range(QUESTIONS)
    }
    conversations = {name: lambda root, name=name: conversation(name, root) for name in CONVERSATIONS}  # type: ignore[misc]
    return {**conversations, **questions, "llmfao": leaderboard}


POLLS = _polls()
"""By name, functions of the folder of data sets (or None) to the `Poll`."""
