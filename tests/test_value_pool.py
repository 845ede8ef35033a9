"""`jaxval value --log-probs`: tables, JSON and figure, marks of unreliable values, and options that do not fit."""

import json
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from experiments.pool_coverage import draw_model, draw_pool
from jaxval import data, sources
from jaxval.cli import main

pytestmark = pytest.mark.once
NAMES = ("reference", "books", "web", "news")


def pool_file(path, *, step=0.5, prompts=12, samples=32, kind="right", labelled=True):
    rng = np.random.default_rng(0)
    pool = draw_pool(rng, draw_model(rng, prompts, step=step), samples, kind=kind)
    mixture = np.log(np.exp(pool.log_probs).mean(axis=0))
    with open(path, "w") as stream:
        for x, j in np.ndindex(prompts, samples):
            row = {"prompt": f"p{x}", "response": f"y{pool.responses[x, j]}"}
            row |= {f"log_prob_{name}": score for name, score in zip(NAMES, pool.log_probs[:, x, j], strict=True)}
            origin = {"drawn_from": NAMES[pool.labels[x, j]]} if labelled else {"log_proposal": mixture[x, j]}
            row |= {"reward_help": float(pool.responses[x, j] % 7), "reward_harm": float(pool.responses[x, j] % 3)}
            stream.write(json.dumps(row | origin) + "\n")
    return path


def test_values_as_json_and_in_a_folder(tmp_path, capsys):
    path = pool_file(tmp_path / "pool.jsonl")
    assert main(["value", "--log-probs", str(path), "--out", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "out" / "results.json").read_text())
    assert (tmp_path / "out" / "signature.png").stat().st_size > 1000
    found = sources.value_pool(data.read_log_probs(path))
    for i, row in enumerate(result["sources"]):
        assert row["name"] == NAMES[i + 1]
        assert list(row["values"].values()) == pytest.approx(found.values[i], rel=1e-6)
        assert list(row["within_errors"].values()) == pytest.approx(found.within_errors[i], rel=1e-6)
        assert not row["unreliable"]
    assert result["draws"] == 12 * 32
    assert len(result["utilities"]) == 8
    assert result["utilities"][5]["members"] == ["books", "news"]
    assert set(result["mean_ratios"]) == set(NAMES)
    assert result["options"]["log_probs"] == [str(path)]


def test_weights_of_a_pool_keep_its_effective_size(tmp_path, capsys):
    path = pool_file(tmp_path / "pool.jsonl")
    words = ["value", "--log-probs", str(path), "--over", "simplex", "--weights", str(tmp_path / "weights")]
    assert main([*words, "--objective", "help", "1", "--least-effective", "12", "--json"]) == 0
    weighed = json.loads(capsys.readouterr().out)["weights"]
    assert weighed == json.loads((tmp_path / "weights" / "weights.json").read_text())
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["weights.json"]  # a table has no pairs
    assert sum(row["weight"] for row in weighed["sources"]) == pytest.approx(1, abs=1e-5)
    assert weighed["effective_size"] >= 12 * (1 - 1e-5)
    assert weighed["sources"][0]["sampling_share"] is None
    assert main([*words[:-1], str(tmp_path / "more"), "--least-effective", "31.9"]) == 2
    shown = capsys.readouterr()
    assert "--least-effective: expected an effective size that some weights reach, not 31.9; got" in shown.err
    assert "books" in shown.out  # the values are told all the same


def test_unreliable_values_are_marked(tmp_path, capsys):
    path = pool_file(tmp_path / "pool.jsonl", step=2.0, samples=16)
    assert main(["value", "--log-probs", str(path), "--out", str(tmp_path / "out")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in NAMES[1:]:
        assert f"{name} †" in shown
    assert "coalitions with the smallest effective sizes" in shown
    assert "coalitions are weak: their median effective sample size is below 10" in shown
    assert "what helps: more samples; draws from the coalition of all sources" in shown
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all(row["unreliable"] and row["weak_share"] > 0.1 for row in result["sources"])
    assert result["weakest"][0]["median_effective_size"] < 10
    assert len(result["weakest"]) == 8


def test_a_wrong_pool_is_refused_or_warned_of(tmp_path, capsys):
    path = pool_file(tmp_path / "pool.jsonl", kind="scored shorter", labelled=False)
    assert main(["value", "--log-probs", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxval value: --log-probs: expected log-probabilities π that fit the draws")
    assert "for books" in error
    assert main(["value", "--log-probs", str(path), "--unchecked"]) == 0
    assert "Warning: the mean of π/q over the draws is" in " ".join(capsys.readouterr().out.split())


def test_groups_permutations_and_candidates(tmp_path, capsys):
    path = pool_file(tmp_path / "pool.jsonl")
    words = ["value", "--log-probs", str(path), "--json"]
    assert main([*words, "--group", "news", "--permutations", "4"]) == 0
    result = json.loads(capsys.readouterr().out)
    found = sources.value_pool(data.read_log_probs(path), groups=[0, 0, 1])
    values = [list(row["values"].values()) for row in result["sources"]]
    np.testing.assert_allclose(values, found.values, atol=1e-5)  # the permutations of two meet every coalition
    distinct = {(row["prompt"], row["response"]): row for row in map(json.loads, path.read_text().splitlines())}
    lines = [{name: value for name, value in row.items() if name != "drawn_from"} for row in distinct.values()]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    assert main([*words, "--candidates"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["candidates"]
    assert result["utilities"][0]["median_effective_size"] is None
    assert main(["value", "--log-probs", str(path), "--candidates"]) == 0
    assert f"12 prompts, {len(lines)} candidates." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--log-probs", "pool.jsonl", "--policy", "tabular"], "--policy: expected no such option beside --log-probs"),
        (["pairs.jsonl", "--log-probs", "pool.jsonl"], "FILE: expected no such option beside --log-probs"),
        (["--candidates"], "--candidates: expected --log-probs TABLE beside it"),
        (["--log-probs", "none.jsonl"], "none.jsonl: there is no such file"),
        (["--log-probs", "pool.jsonl", "--group", "nobody"], "--group: expected sources among 'books', 'web', 'news'"),
        (
            ["--log-probs", "pool.jsonl", "--semivalue", "banzhaf", "--permutations", "4"],
            "--semivalue: expected shapley",
        ),
    ],
)
def test_options_that_do_not_fit(tmp_path, capsys, monkeypatch, words, message):
    pool_file(tmp_path / "pool.jsonl", prompts=2, samples=8)
    monkeypatch.chdir(tmp_path)
    assert main(["value", *words]) == 2
    assert message in capsys.readouterr().err


class FakePolicy:
    """An engine in vLLM's shape: five tokens, the last one the end token, and other probabilities for each adapter."""

    def __init__(self, *_, **__):
        self.rng = np.random.default_rng(0)
        self.logits = np.random.default_rng(1).normal(size=(3, 5))

    def get_tokenizer(self):
        return types.SimpleNamespace(apply_chat_template=lambda messages, **_: [7] * len(messages[0]["content"]))

    def generate(self, prompts, params, lora_request):
        logits = self.logits[0 if lora_request is None else lora_request.number]
        log_probs = logits - np.log(np.exp(logits).sum())
        return [self.output(prompt["prompt_token_ids"], params, log_probs) for prompt in prompts]

    def output(self, ids, params, log_probs):
        if params.n is None:  # the prompt's own tokens are scored, the first of them not
            scores = [{token: types.SimpleNamespace(logprob=log_probs[token % 5])} for token in ids]
            return types.SimpleNamespace(prompt_logprobs=[None, *scores[1:]])
        draws = self.rng.choice(5, size=(params.n, 3), p=np.exp(log_probs)).tolist()
        return types.SimpleNamespace(outputs=[types.SimpleNamespace(token_ids=ids, text=str(ids)) for ids in draws])


def test_the_script_for_vllm_makes_a_table(tmp_path, monkeypatch, capsys):
    def parameters(n=None, **_):
        return types.SimpleNamespace(n=n)

    def request(name, number, path):
        return types.SimpleNamespace(number=number)

    modules = {
        "vllm": types.SimpleNamespace(LLM=FakePolicy, SamplingParams=parameters),
        "vllm.lora": types.SimpleNamespace(),
        "vllm.lora.request": types.SimpleNamespace(LoRARequest=request),
        "my_rewards": types.SimpleNamespace(REWARDS={"length": lambda prompt, response: len(set(response))}),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    script = Path(__file__).parent.parent / "docs" / "pool_vllm.py"
    (tmp_path / "prompts.txt").write_text("2+2?\nHaiku\nName a bird\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pool_vllm.py", "base", "prompts.txt", "books=a", "web=b"])
    runpy.run_path(str(script))
    assert main(["value", "--log-probs", "pool.jsonl"]) == 0
    assert "2 sources, all 4 coalitions from one pool: 3 prompts, 144 samples." in capsys.readouterr().out


def test_the_scripts_are_python():
    for script in (Path(__file__).parent.parent / "docs").glob("*.py"):
        compile(script.read_text(), script.name, "exec")
