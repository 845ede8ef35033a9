"""Every command and experiment that resumes, at settings of some seconds with several parts."""

import itertools
import json
from pathlib import Path
from typing import NamedTuple

__all__ = ["CASES", "LEFT_OUT", "Case", "write_pairs"]

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"  # checkpoints of two layers, sixteen wide
FILE = "PAIRS"  # stands for a file of generated pairs


class Case(NamedTuple):
    """A command: its module and its options."""

    module: str
    words: tuple[str, ...]


def _experiment(name: str, words: str = "") -> Case:
    return Case(f"experiments.{name}", tuple(words.split()))


def _value(words: str) -> Case:
    return Case("jaxval.cli", ("value", "--resume", *words.split()))


CASES = {
    "value": _value("--seeds 4 --truth"),
    "value, transformer": _value(f"{FILE} --policy transformer --arithmetic token --seeds 2 --epochs 1"),
    "value, checkpoint": _value(f"{FILE} --policy {GOLDEN / 'tied'} --arithmetic parameter --seeds 2 --epochs 1"),
    "value, samples": _value(f"{FILE} --policy {GOLDEN / 'tied'} --samples 60 --new-tokens 32 --epochs 1"),
    "colors": _experiment("colors", "--draws 6 --seeds 2 --steps 20"),
    "data_market": _experiment("data_market", "--seeds 3 --images 10"),
    "decisions": _experiment("decisions", "--policy log-linear --pairs 60 --seeds 1"),
    "deliberation": _experiment("deliberation", "--quick"),
    "dpo_shapley": _experiment("dpo_shapley", "--quick --seeds 2"),
    "federated": _experiment("federated", "--quick"),
    "group_styles": _experiment("group_styles", "--quick"),
    "label_noise": _experiment("label_noise", "--set adult --seeds 5 --fits 50 --rows 60"),
    "mallows": _experiment("mallows", "--quick"),
    "movielens": _experiment("movielens", "--comparisons 500 --episodes 1"),
    "movielens, linear": _experiment("movielens", "--policy linear --episodes 4 --comparisons 2000"),
    "pool_coverage": _experiment("pool_coverage", "--pools 20"),
    "procurement": _experiment("procurement", "--policy linear --runs 6 --rounds 3"),
    "procurement, transformer": _experiment("procurement", "--runs 4 --rounds 1 --biased 20 --instances 10"),
    "sparse_votes": _experiment("sparse_votes", "--part planted --seeds 1"),
    "synthetic_data": _experiment("synthetic_data", "--quick"),
    "two_phase": _experiment("two_phase", "--replicates 2 --steps 40"),
    "ultrafeedback": _experiment(
        "ultrafeedback", "--seeds 4 --epochs 1 --width 8 --layers 1 --prompt-bytes 15 --response-bytes 16"
    ),
}
LEFT_OUT = {
    "experiments.smollm": "needs a published checkpoint and hours",
    "value --adapters": "at sizes of a minute all coalitions are evaluated in one chunk, so that there are no parts",
    "aggregate, verify, experiments.movielens_search, experiments.figures": "finish in one piece and keep nothing",
}


def write_pairs(path: Path) -> None:
    """Four sources of pairs: short and long responses to the same prompts, with scores."""
    prompts = [f"{one} {other}" for one, other in itertools.product(("the cat", "the dog", "the hen"), range(8))]
    rows = []
    for number, prompt in enumerate(prompts):
        for source, name in enumerate(("near", "far", "noise", "copy")):
            responses = [f"sat on the mat {number % 3}", "and the dog and the hen"]
            if source == 1 or (source == 2 and number % 2):
                responses.reverse()
            scores = [1.0 + len(text) % 5 for text in responses]
            row = {"prompt": prompt, "chosen": responses[0], "rejected": responses[1], "source": name}
            rows.append(row | {"score_chosen": scores[0], "score_rejected": scores[1]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
