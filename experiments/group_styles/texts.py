"""Prompts, responses of two groups that a rule tells apart exactly, and the paper's figures with what they imply."""

from __future__ import annotations

import itertools
import re
from typing import Any, NamedTuple

import numpy as np

from jaxval import alignment
from jaxval.types import Comparisons

__all__ = [
    "BETAS",
    "CATEGORIES",
    "PAPER",
    "SHARES",
    "Category",
    "implied",
    "measures",
    "optimum",
    "prompts",
    "recognise",
]

SHARES = np.array([0.8, 0.2])  # w
MATRIX = np.array([[0.5, 0.8], [0.2, 0.5]])  # P of the groups' responses
BETAS = (0.0, 1e-4, 1e-2, 1.0)
COEFFICIENT = 0.01  # Table 6; also β of DPO
PAPER = {  # Table 2: win rate against the pretrained model, PPA level; β = 0, 0.0001, 0.01, 1, and DPO
    "expertise": ((0.7613, 0.1428), (0.7610, 0.1418), (0.7634, 0.1392), (0.7636, 0.1273), (0.7697, 0.1321)),
    "style": ((0.8398, 0.5012), (0.8432, 0.4197), (0.8425, 0.3637), (0.8530, 0.3635), (0.8478, 0.3786)),
}
NAMES = (*(f"β = {beta:g}" for beta in BETAS), "DPO")
FORMS = [
    asked + end
    for asked in ("What is {}", "Tell me of {}", "Do you know {}", "A word on {}", "I mean {}")
    for end in ("?", ", please.", " in brief.", " for me.", ", quick!")
]
TOPICS = (
    *("rain", "salt", "gold", "the moon", "wind", "chess", "bread", "time", "glass", "music", "tea", "snow", "iron"),
    *("light", "sleep", "fire", "paper", "milk", "the sea", "bees", "ice", "math", "maps", "trees", "rust", "jazz"),
    *("clay", "cats", "money", "luck", "dust", "soap", "sand", "tides", "honey", "silk"),
)


class Category(NamedTuple):
    """What tells two groups of evaluators apart: how their responses to a topic read, and the reference's share.

    Attributes:
        groups: the names of the groups, the larger first.
        forms: for each group the forms of its responses.
        reference: the share of the first group among the reference's responses.
    """

    groups: tuple[str, str]
    forms: tuple[tuple[str, ...], tuple[str, ...]]
    reference: float


CATEGORIES = {
    "expertise": Category(
        ("elementary", "PhD"),
        (
            ("{} is easy.", "{} is like a toy.", "Look, {} is fun."),
            ("{} is a manifold.", "Formally, {} is a tensor.", "{} obeys a lemma."),
        ),
        0.1,  # what the paper's own figures imply
    ),
    "style": Category(
        ("friendly", "unfriendly"),
        (
            ("Haha, {}, my friend!", "Oh, I love {}!", "{}? Yay, a good one!"),
            ("{}? Go away.", "No. Not {} again.", "Who cares about {}."),
        ),
        0.5,
    ),
}


def prompts() -> list[tuple[str, str]]:
    """All prompts, each with its topic."""
    return [(form.format(topic), topic) for form, topic in itertools.product(FORMS, TOPICS)]


def responses(category: Category, topic: str) -> list[str]:
    """The responses of both groups to a topic, those of the first group first."""
    return [form.format(topic) for forms in category.forms for form in forms]


def recognise(category: Category, text: str) -> int | None:
    """The group of a text: 0 or 1 if the text has exactly a form of the group with one of the topics, else None."""
    topic = "|".join(map(re.escape, TOPICS))
    for group, forms in enumerate(category.forms):
        if any(re.fullmatch(re.escape(form).replace(r"\{\}", f"({topic})"), text) for form in forms):
            return group
    return None


def draw_pairs(rng: np.random.Generator, category: Category, contexts: int) -> Comparisons:
    """One comparison for each context: a random response of each group, and the winner by the group of an evaluator."""
    first = len(category.forms[0])
    ids = np.stack([rng.integers(first, size=contexts), first + rng.integers(len(category.forms[1]), size=contexts)])
    group = (rng.random(contexts) >= SHARES[0]).astype(int)
    rows = np.arange(contexts)
    return Comparisons(rows, ids[group, rows], ids[1 - group, rows], np.ones(contexts))


def measures(shares: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """The win rate against the reference, Σ π_i r_j P(i ≻ j), and the PPA level, from the shares of the groups."""
    return {"win rate": float(shares @ MATRIX @ reference), "PPA level": float((shares / SHARES).min())}


def optimum(category: Category, beta: float | None) -> dict[str, float]:
    """The measures of the exact optimum with the KL coefficient, for F^β of the true P; None is DPO.

    With r the reference's shares and c the coefficient, π ∝ (π_β r^c)^{1/(1+c)}; for DPO, π ∝ r exp(s/c) with the
    Bradley-Terry rewards s, which have σ(s_1 - s_2) = 0.8.
    """
    reference = np.array([category.reference, 1 - category.reference])
    if beta is None:
        logs = alignment.kl_policy(np.log(reference), np.log(SHARES), beta=COEFFICIENT)
    else:
        target = alignment.proportional_policy(SHARES, beta=beta)  # u = (0.8, 0.2), as there are two alternatives
        logs = alignment.kl_policy(np.log(reference), target - np.log(reference), beta=1 + COEFFICIENT)
    return measures(np.exp(np.asarray(logs)), reference)


def implied() -> list[dict[str, Any]]:
    """The reference's share of the first group that each pair of the paper's figures implies, if there is one.

    The PPA level α is reached at one of the groups, so that π_2 = 0.2 α or π_1 = 0.8 α. The win rate is then linear in
    the reference's share r_1: win = 0.8 π_1 + 0.5 π_2 - 0.3 r_1. It is at most 0.8.
    """
    rows = []
    for category, of in PAPER.items():
        for name, (win, level) in zip(NAMES, of, strict=True):
            firsts = (1 - SHARES[1] * level, SHARES[0] * level)
            found = [(0.8 * first + 0.5 * (1 - first) - win) / 0.3 for first in firsts]
            share = next((one for one in found if 0 <= one <= 1), None)
            rows.append({"category": category, "method": name, "win rate": win, "PPA level": level, "share": share})
    return rows
