"""Features of text: hashed n-grams of the response, its length, and what it shares with the prompt."""

import re
import zlib
from collections.abc import Sequence

import numpy as np

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["text_features"]

DENSE = 3  # length, share of distinct words, share of words that the prompt has too
_WORD = re.compile(r"\w+|[^\w\s]")


def text_features(
    prompts: Sequence[str], responses: Sequence[Sequence[str]], *, buckets: int = 256, longest_ngram: int = 2
) -> np.ndarray:
    """Numbers f(x, y) of texts, the same on every machine: hashed n-grams and lengths.

    Words are lower-cased; each n-gram of words, n = 1..longest_ngram, adds ±1 to the bucket that its CRC-32 names, and
    the buckets are scaled to unit length. Three more features follow: log(1 + words), the share of distinct words, and
    the share of words that the prompt has too. A response that a prompt does not have is a row of zeros.

    Source: the hashing trick of Weinberger et al. (2009).

    Args:
        prompts: the prompts.
        responses: for each prompt its candidate responses; the numbers of candidates may differ.
        buckets: how many buckets the n-grams share.
        longest_ngram: the longest n-gram, 1 or more.

    Returns:
        (contexts, most responses, buckets + 3) float32 NumPy array.

    Raises:
        ValueError: if there is no prompt, a prompt has no response, or a response is empty.

    Example:
        >>> text_features(["Say hello"], [["Hello!", "Go away, go away"]], buckets=4).shape
        (1, 2, 7)
    """
    _checks.check_names("prompts", prompts, "the texts of the prompts")
    for row in _checks.check_list("responses", responses, "a list of responses, which are texts, for each prompt"):
        _checks.check_names("responses", row, "a list of responses, which are texts, for each prompt")
    if not len(prompts) or len(prompts) != len(responses):
        raise BadArgument("responses", expected=f"a list for each of {len(prompts)} prompts", got=len(responses))
    buckets = _checks.check_size("buckets", buckets)
    longest_ngram = _checks.check_size("longest_ngram", longest_ngram)
    most = max(map(len, responses))
    _checks.check_memory("buckets", len(prompts), most, buckets + DENSE)
    features = np.zeros((len(prompts), most, buckets + DENSE), np.float32)
    codes: dict[str, int] = {}
    for x, (prompt, candidates) in enumerate(zip(prompts, responses, strict=True)):
        if isinstance(candidates, str) or not len(candidates):
            raise BadArgument(
                "responses",
                expected="a list of responses, at least one, for each prompt",
                got=f"{candidates!r} for prompt {x}",
            )
        asked = set(_WORD.findall(prompt.lower()))
        for y, response in enumerate(candidates):
            words = _WORD.findall(response.lower())
            if not words:
                raise BadArgument("responses", expected="text", got=f"{response!r} for prompt {x}, response {y}")
            features[x, y, :buckets] = _hashed(words, codes, buckets, longest_ngram)
            distinct = set(words)
            shared = sum(word in asked for word in words)
            features[x, y, buckets:] = np.log1p(len(words)), len(distinct) / len(words), shared / len(words)
    return features


def _hashed(words: list[str], codes: dict[str, int], buckets: int, longest: int) -> np.ndarray:
    for word in words:
        if word not in codes:
            codes[word] = zlib.crc32(word.encode())
    word_codes = np.array([codes[word] for word in words], np.uint64)
    counts = np.zeros(buckets)
    grams = np.zeros(len(words) + 1, np.uint64)
    for length in range(1, min(longest, len(words)) + 1):
        ends = word_codes[length - 1 :]
        grams = _mix(grams[: len(ends)] * np.uint64(0x9E3779B1) + ends)
        signs = np.where(grams >> np.uint64(31) & np.uint64(1), -1.0, 1.0)
        counts += np.bincount((grams % np.uint64(buckets)).astype(int), signs, buckets)
    return counts / max(float(np.linalg.norm(counts)), 1.0)


def _mix(codes: np.ndarray) -> np.ndarray:
    """32 bits in which every bit of the code has a part (the finaliser of MurmurHash3)."""
    mask = np.uint64(0xFFFFFFFF)
    codes = codes & mask
    codes = (codes ^ (codes >> np.uint64(16))) * np.uint64(0x85EBCA6B) & mask
    codes = (codes ^ (codes >> np.uint64(13))) * np.uint64(0xC2B2AE35) & mask
    return codes ^ (codes >> np.uint64(16))
