"""Models that write the responses: a small transformer over bytes, or SmolLM2 with low-rank adapters.

Every method starts from one reference, which was fine-tuned to write responses of both groups in given shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.commands import precision
from experiments.group_styles.texts import COEFFICIENT, Category, draw_pairs, recognise, responses
from jaxval import policies, training
from jaxval.types import Comparisons, Params, Policy, SequenceModel

__all__ = ["POLICIES", "RATE", "Size", "Task", "Writer", "make_task", "make_writer"]

POLICIES = ("transformer", "smollm")
LENGTH = 80
RATE = 1e-4  # the learning rate of a method: at 1e-3 the losses, which see candidates alone, unlearn how to write
BUCKETS, DECAY = 64, 1.0  # of the model of preferences


class Size(NamedTuple):
    """How much is trained and drawn.

    Attributes:
        reference_steps: the minibatches of the reference.
        steps: the minibatches of a method.
        batch_size: the prompts in a minibatch of a method; the reference has four times as many.
        draws: the responses that are written to each held-out prompt.
    """

    reference_steps: int
    steps: int
    batch_size: int
    draws: int


class Writer(NamedTuple):
    """A sequence model with its tokeniser, how its prompts are written, and the learning rates of both trainings."""

    model: SequenceModel
    tokeniser: policies.Tokeniser
    chats: bool
    reference_optimiser: optax.GradientTransformation
    optimiser: optax.GradientTransformation


class Task(NamedTuple):
    """A category's prompts and comparisons, with the policy over all responses of the prompts.

    Attributes:
        writer: the model.
        category: the groups and their forms.
        policy: contexts are the prompts, responses the forms of both groups.
        asked: the ids of the prompts.
        features: (prompts, responses, features) n-grams of the responses, for the model of preferences.
        train: the contexts that have a comparison; the others are held out.
        pairs: one comparison for each of them.
        size: how much is trained and drawn.
    """

    writer: Writer
    category: Category
    policy: Policy
    asked: list[list[int]]
    features: np.ndarray
    train: np.ndarray
    pairs: Comparisons
    size: Size

    def drawn(self, held_out: int, seed: int) -> Task:
        """The task with a comparison for each prompt that is not held out; policy and programs stay the same."""
        rng = np.random.default_rng(seed)
        train = np.sort(rng.permutation(len(self.asked))[held_out:])
        pairs = draw_pairs(rng, self.category, len(train))
        return self._replace(train=train, pairs=pairs._replace(context=train))

    def reference(self, seed: int, folder: Path) -> Params:
        """The parameters after fine-tuning on responses of both groups, in the shares of the reference."""
        first, second = (len(forms) for forms in self.category.forms)
        share = self.category.reference
        weights = np.r_[np.full(first, share / first), np.full(second, (1 - share) / second)]
        contexts = np.arange(len(self.asked))
        rows: dict[str, Any] = {
            "contexts": np.repeat(contexts, len(weights)),
            "responses": np.tile(np.arange(len(weights)), len(contexts)),
            "weights": np.tile(weights, len(contexts)),
        }
        key, steps = jax.random.key(seed), self.size.reference_steps
        with precision(False):
            start = self.writer.model.init(key)
            how = {"optimiser": self.writer.reference_optimiser, "steps": steps, "batch_size": 4 * self.size.batch_size}
            params, _ = training.fine_tune(self.policy, start, **rows, **how, key=key, checkpoints=folder / "reference")
        return params

    def dpo(self, reference: Params, seed: int) -> Params:
        """The parameters after DPO on the comparisons."""
        key = jax.random.key(seed)
        how = {"optimiser": self.writer.optimiser, "steps": self.size.steps, "batch_size": self.size.batch_size}
        with precision(False):
            return training.train_minibatches(self.policy, reference, self.pairs, beta=COEFFICIENT, key=key, **how)[0]

    def modelled(self) -> Comparisons:
        """The pairs of every prompt in both orders, weighted by a model of P that all prompts share.

        The model is Bradley-Terry with rewards linear in n-grams of the responses: P̂(y ≻ z|x) = σ(θ·(f(y) - f(z))).
        """
        linear = policies.log_linear(self.features)
        params, _ = training.newton_optimum(linear, linear.init(None), self.pairs, beta=1.0, decay=DECAY)
        log_probs = np.asarray(training.pair_log_probs(linear, params, self.pairs))
        chance = 1 / (1 + np.exp(log_probs[:, 1] - log_probs[:, 0]))
        x, winner, loser, _ = self.pairs
        columns = (x, x), (winner, loser), (loser, winner), (chance, 1 - chance)
        return Comparisons(*(np.concatenate(column) for column in columns))

    def proportional(self, reference: Params, seed: int, pairs: Comparisons, beta: float) -> Params:
        """The parameters after the two-phase algorithm; phase 1 is exact, as each response has one opponent."""
        how = {"optimiser": self.writer.optimiser, "steps": self.size.steps, "batch_size": self.size.batch_size}
        with precision(False):
            params, _ = training.proportional(
                self.policy,
                reference,
                pairs,
                beta=beta,
                policy_coefficient=COEFFICIENT,
                key=jax.random.key(seed),
                **how,
            )
        return params

    def shares(self, params: Params, seed: int) -> dict[str, Any]:
        """The shares of the groups on held-out prompts: among written responses, and of the candidates' probability.

        Returns:
            "written" and "candidates", each (2,) shares of the groups, and "no group", the share of written responses
            that are of no group.
        """
        held_out = np.setdiff1d(np.arange(len(self.asked)), self.train)
        tokeniser, first = self.writer.tokeniser, len(self.category.forms[0])
        forms = first + len(self.category.forms[1])
        longest = LENGTH - max(map(len, self.asked)) if not self.writer.chats else LENGTH // 3
        with precision(False):
            drawn = policies.sample(
                jax.random.key(seed),
                self.writer.model,
                params,
                policies.pad_sequences([self.asked[x] for x in held_out]),
                num_tokens=longest,
                responses=self.size.draws,
                end=tokeniser.end,
            )
            ids = np.tile(np.arange(forms), (len(held_out), 1))
            chances = np.exp(np.asarray(policies.normalise(self.policy.log_probs(params, held_out, ids)), dtype=float))
        rows = zip(np.asarray(drawn.tokens).tolist(), np.asarray(drawn.lengths).tolist(), strict=True)
        groups = [recognise(self.category, tokeniser.decode(row[:length]).strip()) for row, length in rows]
        counts = np.array([groups.count(0), groups.count(1)])
        of_first = float(chances[:, :first].sum(axis=1).mean())
        return {
            "written": (counts / max(1, counts.sum())).tolist(),
            "candidates": [of_first, 1 - of_first],
            "no group": 1 - float(counts.sum()) / len(groups),
        }


def make_writer(name: str, size: Size, model: str | None, layers: int, width: int) -> Writer:
    """The writer of a name: transformer, or smollm with adapters in its last layers from the file of a model."""
    optimisers = training.adamw(3e-3, steps=size.reference_steps), training.adamw(RATE, steps=size.steps)
    with precision(False):
        if name == "transformer":
            tokeniser = policies.byte_tokeniser()
            small = policies.transformer(vocabulary=tokeniser.vocabulary, length=LENGTH, width=width, layers=2, heads=4)
            return Writer(small, tokeniser, False, *optimisers)
        from experiments.smollm.setting import find_model  # it loads the rooms of sources, which others do not need

        base, params, tokeniser = policies.read_llama(find_model(model))
        return Writer(policies.low_rank(base, params, rank=8, alpha=16.0, layers=layers), tokeniser, True, *optimisers)


def make_task(writer: Writer, category: Category, texts: Sequence[tuple[str, str]], size: Size) -> Task:
    """The policy over all responses to the prompts, without comparisons.

    Args:
        writer: the model.
        category: the groups and their forms.
        texts: (prompts,) each with its topic.
        size: how much is trained and drawn.
    """
    tokeniser = writer.tokeniser
    shown: list[Any] = [[{"role": "user", "content": text}] if writer.chats else text for text, _ in texts]
    asked = [policies.encode_prompt(tokeniser, prompt) for prompt in shown]
    written = [responses(category, topic) for _, topic in texts]
    answers = [[[*tokeniser.encode(one), tokeniser.end] for one in row] for row in written]
    features = policies.text_features([text for text, _ in texts], written, buckets=BUCKETS)
    with precision(False):
        policy = policies.over_catalogue(writer.model, asked, answers, batch_size=64)
    return Task(
        writer, category, policy, asked, features, np.zeros(0, int), Comparisons(*(np.zeros(0, int),) * 4), size
    )
