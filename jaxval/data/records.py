"""What the readers return: the records of `jaxval.types` with the names that belong to them."""

from typing import NamedTuple

from jaxval.types import Ballots, Comparisons

__all__ = ["Election", "Matches"]


class Election(NamedTuple):
    """Ballots with the names of the alternatives.

    Attributes:
        ballots: `Ballots` of (ballots, alternatives) positions and (ballots,) numbers of voters.
        names: one name per alternative, all different.
        title: what the election was about.
    """

    ballots: Ballots
    names: tuple[str, ...]
    title: str


class Matches(NamedTuple):
    """Pairwise comparisons with the names of the alternatives and of the contexts.

    Attributes:
        comparisons: `Comparisons`, all fields (comparisons,).
        names: one name per alternative, all different.
        contexts: one name per prompt or question; a single empty one where the file tells none apart.
        title: what was compared.
    """

    comparisons: Comparisons
    names: tuple[str, ...]
    contexts: tuple[str, ...]
    title: str
