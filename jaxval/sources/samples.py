"""The value of each source from responses that its policy writes: one training per source, then one pool of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxval import _checks
from jaxval.data import PreferencePairs
from jaxval.sources.arithmetic import train_once
from jaxval.sources.drawing import check_draws, draw_pool, pool_of_draws
from jaxval.sources.learners import Learner, learner_of
from jaxval.sources.pairs import as_pairs, to_train_on, with_held_out
from jaxval.sources.pool import PoolValues, value_pool
from jaxval.sources.repetition import Problem, folder_names
from jaxval.sources.rewards import Reward, Rewards, resolve_rewards
from jaxval.sources.trainings import Training, trainer
from jaxval.sources.valuation import HELD_OUT, identity_of, run_folder
from jaxval.types import BadArgument, Groups

__all__ = ["value_samples"]


def value_samples(
    pairs: PreferencePairs,
    *,
    policy: str | Path | Callable[[PreferencePairs], Learner],
    samples: int,
    new_tokens: int,
    reward: Reward | Sequence[Reward] = "bradley-terry",
    temperature: float = 1.0,
    held_out: float | PreferencePairs | None = None,
    semivalue: str | Callable[[Any], Array] = "shapley",
    groups: Groups | None = None,
    permutations: int | None = None,
    evaluations: int | None = None,
    key: Key[Array, ""] | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
    refuse: bool = True,
    **training: Any,
) -> PoolValues:
    """The value of each source of preference pairs on responses sampled from its policy, from one training per source.

    1. π_ℓ is trained on source ℓ alone, from and against the reference π_0, as in `value_sources`.
    2. Responses to held-out prompts are drawn from π_0, each π_ℓ, and the grand coalition token by token.
    3. Every policy scores every response; u(S) = E_x E_{y~π_S} r(x, y) of all coalitions comes from this one pool.

    `jaxval.sources` describes the arguments that are missing below.

    Source: Tamine et al., equations (1) to (6); `draw_pool` and `value_pool`.

    Args:
        pairs: the pairs of all sources.
        policy: the folder of a Llama checkpoint, a GGUF file, or a function of the pairs to a `Learner` with a
            tokeniser, such as `partial(checkpoint_learner, folder=..., layers=6)`.
        samples: the least number of responses that are drawn to each held-out prompt; see `draw_pool`.
        new_tokens: the largest number of tokens of a response.
        reward: a reward that takes texts which are in no pair: "bradley-terry", a `RewardModel`, a function of a prompt
            and a response, or a list of such rewards.
        temperature: the temperature at which responses are drawn; their log-probabilities are at temperature 1.
        held_out: the share of prompts that no source trains on, or pairs that contain these prompts; None means 0.25.
        refuse: whether a pool that fails the checks is refused.
        **training: the fields of `Training`.

    Returns:
        `PoolValues`.

    Raises:
        ValueError: if the policy has no tokeniser, a reward does not take new texts, or an argument is wrong as in
            `value_sources`, `draw_pool` and `value_pool`.

    Example:
        >>> from jaxval.sources.learners import EXAMPLE
        >>> try:
        ...     value_samples(EXAMPLE._replace(sources=("one", "two")), policy="tabular", samples=4, new_tokens=2)
        ... except ValueError as error:
        ...     print(error)
        policy: expected a model that writes text, such as the folder of a checkpoint; got tabular
    """
    key = jax.random.key(0) if key is None else _checks.check_key(key)
    pairs, contexts = as_pairs(pairs), None
    if isinstance(held_out, PreferencePairs):
        pairs, contexts = with_held_out(pairs, held_out)
    for one in reward if isinstance(reward, list | tuple) else [reward]:
        if not callable(one) and not (isinstance(one, str) and one.partition(":")[0] != "score"):
            got = f"{one!r}" if isinstance(one, str) else "a table"
            raise BadArgument("reward", expected="a reward of new texts: bradley-terry, or a function", got=got)
    learner = learner_of(policy, pairs)
    if learner.tokeniser is None or learner.model is None or learner.catalogue is None:
        raise BadArgument("policy", expected="a model that writes text, such as the folder of a checkpoint", got=policy)
    split, start, of_training, of_draws, of_values = jax.random.split(key, 5)
    if contexts is None:
        share = HELD_OUT if held_out is None else held_out
        expected = "a share of the prompts in (0, 1), or pairs"
        share = float(_checks.check_number("held_out", share, low=1e-9, high=1 - 1e-9, expected=expected))
        count = max(1, round(share * len(pairs.prompts)))
        contexts = np.sort(np.asarray(jax.random.permutation(split, len(pairs.prompts)))[:count])
    prompts = prompts_of(learner, contexts)
    check_draws(learner.model, prompts, samples, new_tokens, temperature)  # before the trainings
    options = Training(**training)
    train, random = trainer(learner, pairs, options, progress=progress)
    reference = learner.policy.init(start)
    if folder is not None:
        problem = Problem(pairs, learner, train, random, Rewards((), np.zeros_like), contexts)
        how = identity_of(policy), options, key, samples, new_tokens, float(temperature)
        folder = run_folder(Path(folder), problem, how)
    trained = [
        train_once(train, reference, source, of_training, folder and Path(folder) / f"source-{number}")
        for number, source in enumerate(to_train_on(pairs, contexts))
    ]
    if folder is not None and learner.write is not None:
        for name, params in zip(folder_names(pairs.sources), trained, strict=True):
            learner.write(Path(folder) / "adapters" / name, params)
    draws = draw_pool(
        of_draws,
        learner.model,
        reference,
        trained,
        prompts,
        samples=samples,
        new_tokens=new_tokens,
        end=learner.tokeniser.end,
        temperature=temperature,
        names=pairs.sources,
        folder=folder and Path(folder) / "pool",
        progress=progress,
    )
    texts = [
        [learner.tokeniser.decode(ids[:length]) for ids, length in zip(row, lengths, strict=True)]
        for row, lengths in zip(draws.tokens.tolist(), draws.lengths.tolist(), strict=True)
    ]
    names, scores = score_texts(reward, pairs, learner, contexts, texts)
    asked = [pairs.prompts[context] for context in contexts]
    pool = pool_of_draws(draws, scores, prompts=asked, sources=pairs.sources, rewards=names, title=pairs.title)
    return value_pool(
        pool,
        semivalue=semivalue,
        groups=groups,
        permutations=permutations,
        evaluations=evaluations,
        key=of_values,
        refuse=refuse,
    )


def prompts_of(learner: Learner, contexts: np.ndarray) -> list[list[int]]:
    """The ids of the prompts as they stand in the learner's catalogue, on which it was trained."""
    arrays: Any = learner.catalogue
    first = np.asarray(arrays.first)[contexts]
    rows, lengths = np.asarray(arrays.sequences)[first], np.asarray(arrays.prompt_lengths)[first]
    return [row[:length].tolist() for row, length in zip(rows, lengths, strict=True)]


def score_texts(
    reward: Any, pairs: PreferencePairs, learner: Learner, contexts: np.ndarray, texts: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the rewards, and (contexts, samples, rewards) the rewards of texts that are in no pair."""
    # A response may be the end token alone, and no catalogue has an empty text.
    own = {x: [text or " " for text in row] for x, row in zip(contexts.tolist(), texts, strict=True)}
    responses = tuple((*row, *own.get(context, ())) for context, row in enumerate(pairs.responses))
    more = pairs._replace(responses=responses, scores={})
    rewards = resolve_rewards(reward, more, learner)
    table = rewards.of(contexts)
    first = np.array([len(pairs.responses[context]) for context in contexts])
    at = first[:, None, None] + np.arange(len(texts[0]))[None, :, None]
    return rewards.names, np.take_along_axis(table, at, axis=1)
