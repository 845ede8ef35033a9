"""Elections that need no file: a textbook's, and populations drawn at random."""

from functools import partial

import jax
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval.data._arrays import floats, indices
from jaxval.data.records import Election
from jaxval.preferences import sample_impartial_culture, sample_mallows, sample_mixture
from jaxval.types import Ballots, Number, Profile

__all__ = ["synthetic_mallows_mixture", "textbook_election"]


def textbook_election() -> Election:
    """Malkevitch's election of 55 voters, in which plurality, runoff, elimination, Borda and Condorcet all differ.

    Five candidates, six rankings:

        18: A D E C B    12: B E D C A    10: C B E D A    9: D C E B A    4: E B D C A    2: E C D B A

    A has the most first choices (18 of 55), though everybody else puts A last; B wins the runoff between the two with
    the most; C wins by elimination; D wins by Borda's count (136 points to E's 134), so the best Bradley-Terry reward
    is D's; E beats everyone in pairs, so the maximal lottery is E alone. The proportional lottery goes by the share
    bounds u = (18, 16, 12, 27, 28)/55 instead and leaves no candidate, hence no group of voters, with nothing.

    Returns:
        `Election` of six ballots; the initials of the names are the letters above.

    Example:
        >>> election = textbook_election()
        >>> election.names, election.ballots.weights.tolist()
        (('Ada', 'Ben', 'Cleo', 'Dan', 'Eve'), [18.0, 12.0, 10.0, 9.0, 4.0, 2.0])

    Source: Malkevitch (1990), "Mathematical theory of elections", Annals of the New York Academy of Sciences 607,
    89-97; the names are ours.
    """
    positions = indices(
        [
            [0, 4, 3, 1, 2],  # A D E C B
            [4, 0, 3, 2, 1],  # B E D C A
            [4, 1, 0, 3, 2],  # C B E D A
            [4, 3, 1, 0, 2],  # D C E B A
            [4, 1, 3, 2, 0],  # E B D C A
            [4, 3, 1, 2, 0],  # E C D B A
        ]
    )
    ballots = Ballots(positions, floats([18, 12, 10, 9, 4, 2]))
    return Election(ballots, ("Ada", "Ben", "Cleo", "Dan", "Eve"), "Malkevitch's five rules, five winners")


def synthetic_mallows_mixture(
    key: Key[Array, ""], *, alternatives: int, voters: int, groups: int, dispersion: Number
) -> tuple[Profile, tuple[str, ...]]:
    """A population of groups, each of them a Mallows model around its own center.

    The centers are uniform over rankings, a voter belongs to each group with probability 1/groups, and the groups share
    the dispersion φ: a voter of group g has the ranking r with probability ∝ φ^d(r, center_g), d the Kendall tau
    distance.

    Args:
        key: a random key.
        alternatives: M.
        voters: how many rankings.
        groups: how many centers.
        dispersion: φ in [0, 1]: 0 repeats the centers, 1 is uniform over rankings.

    Returns:
        `Profile` of (voters, alternatives) rankings with weights 1/voters, and names "alternative 1" to
        "alternative M".

    Raises:
        ValueError: where a size is below 1 or the dispersion lies outside [0, 1].

    Example:
        >>> profile, names = synthetic_mallows_mixture(
        ...     jax.random.key(0), alternatives=3, voters=4, groups=2, dispersion=0.5
        ... )
        >>> profile.orders.shape, profile.weights.tolist(), names[0]
        ((4, 3), [0.25, 0.25, 0.25, 0.25], 'alternative 1')

    Source: Mallows (1957), "Non-null ranking models"; Murphy and Martin (2003), "Mixtures of distance-based models for
    ranking data".
    """
    _checks.check_size("voters", voters)
    place, draw = jax.random.split(key)
    centers = sample_impartial_culture(place, alternatives=alternatives, num=_checks.check_size("groups", groups))
    samplers = [partial(sample_mallows, center=center, dispersion=dispersion) for center in centers]
    orders = sample_mixture(draw, samplers, [1 / groups] * groups, num=voters)
    names = tuple(f"alternative {i}" for i in range(1, alternatives + 1))
    return Profile(orders, floats([1 / voters] * voters)), names
