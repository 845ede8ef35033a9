"""The conjoint task: products of three attributes, consumers who rate them, and sellers of better and worse ratings.

A product has one of four levels of each of three attributes. Its rating is the sum of the part-worths of its levels,
with noise. What a model has learned is measured by the part-worths that least squares finds in the model's own ratings.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

__all__ = [
    "DESIGN",
    "NOISY",
    "PROFILES",
    "Candidates",
    "Market",
    "draw_candidates",
    "draw_market",
    "estimation_errors",
    "identified",
    "ratings_of",
]

ATTRIBUTES = {
    "color": ("red", "blue", "green", "black"),
    "size": ("small", "medium", "large", "extra-large"),
    "material": ("cotton", "wool", "polyester", "leather"),
}
PROFILES = tuple(itertools.product(*ATTRIBUTES.values()))
"""The 64 products, each as its three levels in words."""
LEVELS = [level for levels in ATTRIBUTES.values() for level in levels]
DESIGN = np.array([[float(level in profile) for level in LEVELS] for profile in PROFILES])
"""(64, 12) which levels a product has. The columns of an attribute sum to 1, so that its rank is 10."""

LARGEST, DEVIATION = 95 / 3, 5.0  # of a part-worth, and of the noise of a rating
NOISY = (0.3, 0.6, 0.9)  # shares of noisy ratings of the candidates of a round


class Market(NamedTuple):
    """Part-worths (12,) of three kinds of consumers.

    Attributes:
        true: of the consumers whom the model should learn to predict.
        noisy: of those from whom the noisy ratings come.
        biased: of those whom the model has learned to predict at first.
    """

    true: np.ndarray
    noisy: np.ndarray
    biased: np.ndarray


class Candidates(NamedTuple):
    """What the sellers of a round offer.

    Attributes:
        products: (sellers, instances) numbers of products.
        ratings: (sellers, instances) whole numbers from 0 to 100.
    """

    products: np.ndarray
    ratings: np.ndarray


def draw_market(rng: np.random.Generator) -> Market:
    """Part-worths, uniform from 0 to 95/3."""
    return Market(*rng.uniform(0, LARGEST, (3, len(LEVELS))))


def ratings_of(rng: np.random.Generator, part_worths: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Ratings of products: the sum of three part-worths and N(0, 5), rounded and clipped to 0..100.

    Args:
        rng: the generator of the noise.
        part_worths: (..., 12) a vector for each product, or one for all.
        products: (...) numbers of products.

    Returns:
        (...) ratings.
    """
    sums = (DESIGN[products] * part_worths).sum(axis=-1)
    return np.clip(np.rint(sums + rng.normal(0, DEVIATION, sums.shape)), 0, 100).astype(int)


def draw_candidates(rng: np.random.Generator, market: Market, instances: int) -> Candidates:
    """Random products for each seller; other consumers rate as large a share of them as the seller's data are noisy."""
    shape = len(NOISY), instances
    products = rng.integers(0, len(PROFILES), shape)
    counts = np.rint(np.array(NOISY) * instances)
    noisy = np.arange(instances)[None, :] < counts[:, None]
    part_worths = np.where(noisy[..., None], market.noisy, market.true)
    return Candidates(products, ratings_of(rng, part_worths, products))


def identified(part_worths: np.ndarray) -> np.ndarray:
    """The part of part-worths (12,) that ratings of products tell: their projection on the row space of the design.

    A constant added to all levels of one attribute and taken from those of another changes no rating. Least squares of
    minimum norm returns this projection of the true part-worths if all ratings are perfect.
    """
    return np.linalg.pinv(DESIGN) @ (DESIGN @ part_worths)


def estimation_errors(ratings: np.ndarray, part_worths: np.ndarray) -> tuple[float, float]:
    """AvgErr, the mean of |û - u| over the twelve levels, with û from least squares of minimum norm on the ratings.

    Args:
        ratings: (products, draws) the ratings of a model; NaN where an answer was no rating.
        part_worths: (12,) the true part-worths u.

    Returns:
        AvgErr as the paper defines it, and AvgErr from the identified part of u.

    Raises:
        FloatingPointError: if no answer was a rating.
    """
    known = np.isfinite(ratings)
    if not known.any():
        raise FloatingPointError("no answer of the model was a rating; train it longer on the biased ratings")
    rows = np.broadcast_to(np.arange(len(ratings))[:, None], ratings.shape)[known]
    estimate = np.linalg.lstsq(DESIGN[rows], ratings[known], rcond=None)[0]
    return float(np.abs(estimate - part_worths).mean()), float(np.abs(estimate - identified(part_worths)).mean())
