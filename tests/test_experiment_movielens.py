"""The movies: rankings of ratings, misreports, measures and results against their definitions; the command itself."""

import functools
import itertools
import json
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments import comparison, movielens, movielens_policies
from experiments.episodes import (
    BASELINES,
    Measures,
    draw,
    maximal_lotteries,
    measure,
    policies,
    population,
    ppa_level,
    summary,
)
from experiments.evaluators import Completion, RankingRule, low_rank_completion, rank_evaluators
from experiments.misreports import FAMILIES, another_first, bury, common, gains
from experiments.movielens import main, parse, run
from experiments.results import locks, open_results, save_results, unfinished_folder
from jaxval.social_choice import maximal_lottery

pytestmark = pytest.mark.once

NAN = np.nan


# Ratings to rankings.


@pytest.mark.parametrize("text", ["14:mean:random", "3:last:low-rank", "1:predictions"])
def test_rules_are_written_as_they_are_read(text):
    assert str(RankingRule.parse(text)) == text


@pytest.mark.mistakes
@pytest.mark.parametrize(
    "text", ["14", "0:mean:mean", "14:mean", "14:mode:mean", "-1:predictions", "14:mean:last", "x:mean:mean"]
)
def test_rules_that_are_none_are_named(text):
    with pytest.raises(ValueError, match=r"expected K:UNRATED:TIES .* got"):
        RankingRule.parse(text)


@pytest.fixture(scope="session")
def ratings():
    """200 users, 6 movies, a third unrated; the first movie is the best."""
    generator = np.random.default_rng(1)
    table = generator.integers(1, 6, (200, 6)).astype(float)
    table[:, 0] = 5 - (table[:, 0] == 1)
    table[generator.random(table.shape) < 1 / 3] = NAN
    return table


@pytest.mark.parametrize("unrated", ["random", "mean", "low-rank", "last"])
@pytest.mark.parametrize("ties", ["random", "mean", "low-rank"])
def test_rankings_keep_the_order_of_the_ratings(ratings, unrated, ties):
    orders = rank_evaluators(ratings, RankingRule(3, unrated, ties))
    inside = ratings[(~np.isnan(ratings)).sum(axis=1) >= 3]
    assert orders.shape == inside.shape
    for order, row in zip(orders, inside, strict=True):
        assert sorted(order) == list(range(6))
        rated = row[order][~np.isnan(row[order])]
        assert all(np.diff(rated) <= 0)
        if unrated == "last":
            assert not np.isnan(row[order][: len(rated)]).any()


def test_movie_means_are_those_of_whoever_is_in():
    table = np.array([[5, 3, NAN, 3], [4, 3, 4, 3], [NAN, NAN, 1, NAN]])  # means of the first two: 4.5, 3, 4, 3
    assert rank_evaluators(table, RankingRule(3, "mean", "mean"))[:, :2].tolist() == [[0, 2], [0, 2]]
    assert rank_evaluators(table, RankingRule(1, "mean", "mean"))[2].tolist()[0] == 0  # 4.5 > 3 = 3 > 1


def test_every_way_to_insert_unrated_movies_is_equally_likely():
    table = np.tile([5.0, 1.0, NAN, NAN], (24_000, 1))
    orders, counts = np.unique(rank_evaluators(table, RankingRule(2, "random", "random")), axis=0, return_counts=True)
    assert len(orders) == 12  # of 24 rankings those with 0 before 1
    assert abs(counts - 2000).max() < 5 * np.sqrt(2000)


def test_equal_ratings_are_in_random_order():
    orders = rank_evaluators(np.ones((6000, 3)), RankingRule(3, "last", "random"))
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_predictions_rank_by_the_completion(ratings):
    inside = ratings[(~np.isnan(ratings)).sum(axis=1) >= 3]
    predicted = low_rank_completion(inside, Completion(2, 0.1, 5), seed=3)
    orders = rank_evaluators(ratings, RankingRule(3, "predictions"), completion=Completion(2, 0.1, 5), seed=3)
    assert (np.diff(np.take_along_axis(predicted, orders, axis=1), axis=1) <= 0).all()


def test_the_completion_finds_a_table_of_low_rank():
    generator = np.random.default_rng(0)
    table = 3 + generator.normal(size=(120, 2)) @ generator.normal(size=(2, 15))
    missing = generator.random(table.shape) < 0.2
    predicted = low_rank_completion(np.where(missing, NAN, table), Completion(4, 1e-4, 60))
    assert np.sqrt(np.mean((predicted - table)[missing] ** 2)) < 0.1
    assert np.std(table) > 1


def test_the_completion_ends_at_its_least_squares():
    """After the movies' step no change of a movie's factors lowers the penalised squares: one more ridge, by hand."""
    generator = np.random.default_rng(2)
    table = np.where(generator.random((30, 5)) < 0.3, NAN, generator.integers(1, 6, (30, 5)).astype(float))
    table[:, 0] = 3.0
    rank, penalty = 2, 0.1
    many, more = (low_rank_completion(table, Completion(rank, penalty, sweeps)) for sweeps in (2000, 2001))
    np.testing.assert_allclose(many, more, atol=1e-4)


@pytest.mark.mistakes
def test_nobody_left_is_named(ratings):
    with pytest.raises(ValueError, match="somebody who rated at least 7 of the 6 movies; got 6 at most"):
        rank_evaluators(ratings, RankingRule(7, "last", "random"))


# Misreports, against ballots changed one by one.


@pytest.fixture(scope="session")
def electorate():
    """60 rankings of 4 alternatives; nobody puts the last one first."""
    orders = np.argsort(np.random.default_rng(0).gumbel(size=(60, 4)), axis=1)
    orders = np.array([order[[1, 0, 2, 3]] if order[0] == 3 else order for order in orders])
    return orders, population(orders)


def with_reports(orders, k, told):
    """P where the voters of group k report `told(order)`, counted by NumPy."""
    places = np.array([np.argsort(told(list(order)) if order[0] == k else order) for order in orders])
    matrix = (places[:, :, None] < places[:, None, :]).mean(axis=0)
    return np.where(np.eye(orders.shape[1]), 0.5, matrix)


def test_groups_make_up_the_population(electorate, close):
    orders, truth = electorate
    with_members = np.asarray(truth.shares) > 0
    assert with_members.tolist() == [True, True, True, False]
    close(jnp.einsum("k,kij->ij", truth.shares, truth.groups), truth.matrix)
    close(truth.matrix, with_reports(orders, 0, lambda order: order))
    close(truth.groups[3], truth.matrix)
    for k in range(3):
        close(jnp.delete(truth.groups[k, k], k), np.ones(3))


def test_reports_are_what_the_families_say(electorate, close):
    orders, truth = electorate
    k, share, own = 1, truth.shares[1], truth.groups[1]
    others = truth.matrix - share * own
    first = {tuple(order) for order in itertools.permutations(range(4)) if order[0] == k}
    second = {tuple(order) for order in itertools.permutations(range(4)) if k in order[:2]}
    for family, allowed in ((common, first), (another_first, second)):
        told = jax.jit(family)(k, others)
        rankings = {tuple(np.argsort(-np.asarray(report).sum(axis=1)).tolist()) for report in told}
        assert rankings <= allowed
        for report in told:
            order = np.argsort(-np.asarray(report).sum(axis=1)).tolist()
            close(others + share * report, with_reports(orders, k, lambda _, order=order: order))
    for rival, report in enumerate(jax.jit(bury)(k, own)):
        buried = lambda order, r=rival: order if r == k else [i for i in order if i != r] + [r]  # noqa: E731
        close(others + share * report, with_reports(orders, k, buried))


BETAS = (0.0, 1.0, 10.0)
POLICIES = len(BETAS) + len(BASELINES)


@pytest.fixture(scope="session")
def gained(electorate):
    """From P̂ to its lotteries and the gains of every group, compiled once."""
    shares, groups = electorate[1][1:]
    return jax.jit(lambda estimate: gains(partial(policies, betas=jnp.array(BETAS)), estimate, shares, groups))


def lotteries_by_hand(matrix):
    """All policies of one matrix by NumPy, but for the maximal lottery."""
    matrix = np.asarray(matrix, dtype=float)
    bounds = np.where(np.eye(4), 2, matrix).min(axis=1)
    family = [bounds * np.exp(beta * bounds) for beta in BETAS]
    largest = [score >= score.max() - 1e-5 for score in (bounds, matrix.sum(axis=1))]
    return [
        *(lottery / lottery.sum() for lottery in family + largest),
        np.asarray(maximal_lottery(jnp.asarray(matrix))),
    ]


def test_gains_reach_those_of_all_common_rankings(electorate, gained, x64):
    orders, truth = electorate
    lotteries, (common_, buried, free) = gained(truth.matrix)
    assert common_.shape == buried.shape == free.shape == (4, POLICIES)
    assert (jnp.stack([common_, buried, free]) >= 0).all()
    assert (free >= common_).all()
    slack = 1e-8 if x64 else 1e-4
    np.testing.assert_allclose(common_[3], 0, atol=slack)  # a group of nobody
    reports = [[k, *rest] for k in range(3) for rest in itertools.permutations([i for i in range(4) if i != k])]
    told = [with_reports(orders, report[0], lambda _, report=report: report) for report in reports]
    truthful, *chances = [lotteries_by_hand(matrix) for matrix in (truth.matrix, *told)]
    truthful = np.array(truthful)
    np.testing.assert_allclose(lotteries, truthful, atol=slack)
    for k, enumerated in enumerate(np.reshape(chances, (3, 6, POLICIES, 4)).max(axis=1)):
        best = np.maximum(enumerated[:, k] - truthful[:, k], 0)
        np.testing.assert_allclose(common_[k], best, atol=slack)
    assert np.asarray(common_).max(axis=0).min() > 0.01  # every rule can be manipulated here


# Measures.


def test_maximal_lotteries_solve_only_where_nobody_beats_all(x64):
    upper = np.triu(np.random.default_rng(3).uniform(0.2, 0.8, (60, 4, 4)), 1)
    matrices = jnp.asarray(upper + np.tril(1 - upper.transpose(0, 2, 1), -1) + np.eye(4) / 2)
    found = jax.jit(partial(maximal_lotteries, block=16))(matrices)
    certain = (found == 1).any(axis=1)
    assert 10 < certain.sum() < 50  # some have a Condorcet winner, others not
    for lottery, matrix in zip(found, matrices, strict=True):
        np.testing.assert_allclose(lottery, maximal_lottery(matrix), atol=1e-7 if x64 else 2e-3)


def test_measures_are_their_definitions(electorate, gained, close):
    _, truth = electorate
    estimate = draw(jax.random.key(0), truth.matrix, comparisons=500)
    measures = measure(estimate, truth, jnp.array(BETAS))
    matrix, shares = np.asarray(truth.matrix), np.asarray(truth.shares)
    for i, lottery in enumerate(lotteries_by_hand(estimate)):
        rate = sum(lottery[a] * matrix[a, b] / 4 for a in range(4) for b in range(4))
        close(measures.win_rate[i], rate, atol=1e-5)
        close(measures.ppa_level[i], min(lottery[k] / shares[k] for k in range(4) if shares[k] > 0), atol=1e-4)
    close(measures.gain, np.mean(gained(estimate)[1], axis=1), atol=1e-5)
    close(measures.bounds, [min(estimate[i, j] for j in range(4) if j != i) for i in range(4)])


def test_the_level_is_of_groups_with_members():
    assert float(ppa_level(jnp.array([0.5, 0.0, 0.5]), jnp.array([0.25, 0.0, 0.75]))) == pytest.approx(2 / 3)


def test_drawn_comparisons_estimate_the_matrix(electorate):
    _, truth = electorate
    estimate = draw(jax.random.key(1), truth.matrix, comparisons=60_000)  # 10,000 a pair
    np.testing.assert_allclose(estimate, truth.matrix, atol=5 * 0.5 / 100)


def measures_of(value):
    return Measures(
        np.full(4, value), np.full(4, value), np.full((3, 4), value), np.full(2, value), np.bool_(value > 1)
    )


def test_summary_is_mean_and_sample_deviation():
    found = summary([measures_of(value) for value in (1.0, 2.0, 6.0)])
    assert found["RLHF"]["win_rate"] == {"mean": 3.0, "std": pytest.approx(np.sqrt(7))}
    assert found["proportional"]["gain"]["bury"]["mean"] == [3.0]
    assert found["sum_of_bounds"]["mean"] == 6.0
    assert found["certificate"]["mean"] == pytest.approx((1 / 2 + 1 / 4 + 1 / 12) / 3)
    assert found["winners_agree"] == pytest.approx(2 / 3)
    alone = summary([measures_of(1.0)])
    assert alone["NLHF"]["ppa_level"] == {"mean": 1.0, "std": None}
    assert alone["proportional"]["win_rate"] == {"mean": [1.0], "std": [None]}
    with pytest.raises(FloatingPointError, match="not finite"):
        summary([measures_of(1.0), measures_of(NAN)])


# The paper's figures and orderings.


def as_in_the_paper():
    """A run that has the paper's figures; what it does not report is made up."""

    def policy(win_rate, level, gain):
        return {
            "win_rate": {"mean": win_rate},
            "ppa_level": {"mean": level},
            "gain": {family: {"mean": gain} for family in FAMILIES},
        }

    run = {
        "evaluators": 1297,
        "betas": [0.0, 1.0, 10.0, 1e4],
        "proportional": policy([0.5987, 0.62, 0.7, 0.7784], [0.4869, 0.4, 0.1, 0.0], [8e-4, 8.896e-4, 0.01, 0.02]),
        "RLHF": policy(0.7784, 0.0, 0.0611),
        "NLHF": policy(0.7712, 0.0, 0.0124),
        "mean_bound": {"mean": 0.1892},
        "winners_agree": 1.0,
    }
    run["population"] = {
        "winners_agree": 1.0,
        "certificate": {"mean": 0.26},
        "proportional": {"ppa_level": {"mean": [0.48, 0.4, 0.1, 0.0]}},
    }
    return run


def test_the_papers_own_figures_are_at_distance_zero_and_in_its_orders():
    run = as_in_the_paper()
    assert comparison.distance(comparison.figures(run)) == 0
    assert all(comparison.gain_distance(comparison.gain_figures(run, family)) == 0 for family in FAMILIES)
    assert all(row["holds"] for row in comparison.orderings(run))


@pytest.mark.parametrize(
    ("change", "statement", "gap"),
    [
        (("RLHF", "ppa_level", {"mean": 0.1}), "RLHF has PPA level 0", 0.1),
        (("proportional", "win_rate", {"mean": [0.6, 0.7, 0.68, 0.7784]}), "win rate of F^β rises with β", 0.02),
        (("proportional", "ppa_level", {"mean": [0.4, 0.5, 0.1, 0.0]}), "PPA level of F^β falls with β", 0.1),
        (("NLHF", "win_rate", {"mean": 0.8}), "win rate of RLHF is above NLHF's", 0.0216),
        (("NLHF", "gain", "bury", {"mean": 0.005}), "gain of F^β is below both for all β <= 10 (bury)", 0.005),
        (({"winners_agree": 0.9},), "RLHF's and the minimax winner agree (share of episodes not)", 0.1),
    ],
)
def test_an_ordering_that_fails_says_by_how_much(change, statement, gap):
    run = as_in_the_paper()
    *path, new = change
    functools.reduce(dict.__getitem__, path, run).update(new)
    failed = {row["statement"]: row["gap"] for row in comparison.orderings(run) if not row["holds"]}
    assert failed[statement] == pytest.approx(gap, abs=1e-8)


# Results on disk.


def test_results_are_taken_up_again_and_those_of_others_set_aside(tmp_path):
    results, found = opened(tmp_path, seed=0)
    assert found == ""
    results["runs"]["a"] = 1.5
    save_results(tmp_path, results)
    again, found = opened(tmp_path, seed=0)
    assert again == results
    assert "1 finished run" in found
    other, found = opened(tmp_path, seed=1)
    assert other["runs"] == {}
    assert "results-1.json" in found
    folders = [unfinished_folder(tmp_path, one) for one in (results, again, other)]
    assert folders[0] == folders[1] != folders[2]
    aside = json.loads((tmp_path / "results-1.json").read_text(encoding="utf-8"))
    assert aside == {**results, "sha256": aside["sha256"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "results-1.json"]


def opened(folder, **configuration):
    with locks:
        return open_results(folder, "movies", configuration)


@pytest.mark.mistakes
def test_a_changed_byte_of_results_is_named_or_harmless(tmp_path):
    results, _ = opened(tmp_path, seed=0)
    results["runs"] = {"a": {"rate": 0.125, "names": ["é", "b"]}, "b": {"rate": -3e-7}}
    content, refused = save_results(tmp_path, results).read_bytes(), 0
    for at in range(len(content)):
        (tmp_path / "results.json").write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        try:
            found = opened(tmp_path, seed=0)[0]
            assert {name: found.get(name) for name in results} == results
        except ValueError as error:
            assert str(tmp_path / "results.json") in str(error)  # noqa: PT017
            refused += 1
    assert refused > len(content) / 2
    del results["runs"]["b"]
    (tmp_path / "results.json").write_text(json.dumps(results))  # results of earlier versions have no digest
    assert opened(tmp_path, seed=0)[0] == results


@pytest.mark.mistakes
def test_a_second_run_in_the_folder_of_one_that_is_running_is_refused(tmp_path):
    with locks:
        open_results(tmp_path, "movies", {})
        with pytest.raises(
            ValueError, match=r"--out: expected a folder that no other run writes to; got .*process \d+"
        ):
            open_results(tmp_path, "movies", {})
    opened(tmp_path)


@pytest.mark.mistakes
@pytest.mark.parametrize("content", ["", "{", "[]", '{"experiment": "colours", "runs": {}}'])
def test_files_that_are_no_results_of_the_experiment_are_left_alone(tmp_path, content):
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="choose another --out"):
        opened(tmp_path)
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == content


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rules", "21:mean:mean"], "at most 20 rated movies, all there are; got 21"),
        (["--alternatives", "1"], "--alternatives: expected at least 2; got 1"),
        (["--synthetic", "--out", __file__], "--out: expected a folder"),
    ],
)
def test_what_cannot_run_is_said_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(parse(arguments), Console(stderr=True))


@pytest.mark.mistakes
@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--penalty", "0"], ["--penalty", "nan"], ["--rules", "mean"]])
def test_options_out_of_range_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    assert f"argument {arguments[0]}: expected" in capsys.readouterr().err


# The command.


def command(capsys, *arguments, status=0):
    """What the command prints on standard output and standard error."""
    assert main([str(argument) for argument in arguments]) == status
    return capsys.readouterr()


SMALL = ("--alternatives", 5, "--comparisons", 500)


def test_on_synthetic_voters(capsys, tmp_path):
    said = command(capsys, "--synthetic", *SMALL, "--voters", 40, "--episodes", 2, "--out", tmp_path).out
    assert "Mean gain by manipulation" in said
    assert "paper's)" not in said  # no distances from the paper for made-up voters
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["configuration"]["source"] == "Mallows mixture"
    assert set(results["versions"]) == {"jaxval", "jax", "numpy", "python"}
    run = results["runs"]["synthetic"]
    assert run["evaluators"] == 40
    assert sum(run["shares"]) == pytest.approx(1)
    for name in BASELINES:
        assert 0 < run[name]["win_rate"]["mean"] < 1
    assert len(run["proportional"]["win_rate"]["std"]) == len(run["betas"])
    assert (tmp_path / "tradeoff-synthetic.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """MovieLens's format: 7 movies and 60 users who rate most of them."""
    folder = tmp_path_factory.mktemp("sets") / "ml-1m"
    folder.mkdir()
    generator = np.random.default_rng(4)
    movies = "".join(f"{movie}::Movie {movie} (1999)::Drama\n" for movie in range(1, 8))
    lines = [
        f"{user}::{movie}::{generator.integers(1, 6)}::0\n"
        for user in range(1, 61)
        for movie in range(1, 8)
        if generator.random() < 0.9 - 0.05 * movie
    ]
    (folder / "movies.dat").write_text(movies, encoding="latin-1")
    (folder / "ratings.dat").write_text("".join(lines), encoding="latin-1")
    return folder.parent


def test_an_interrupted_run_goes_on_where_it_was(capsys, folder, tmp_path, monkeypatch):
    rules = ("3:mean:random", "3:predictions")
    arguments = ["--data", folder, *SMALL, "--episodes", 3, "--rank", 1, "--out", tmp_path, "--rules", *rules]
    episode, begun = movielens.episode, []

    def interrupt_the_second_rule(*arguments, **options):
        begun.append(1)
        if len(begun) == 5:  # the second of its three episodes
            signal.raise_signal(signal.SIGINT)
        return episode(*arguments, **options)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patched:
        patched.setattr(movielens, "episode", interrupt_the_second_rule)
        said = command(capsys, *arguments, status=130).err
    signal.signal(signal.SIGINT, handler)
    assert "interrupted" in said
    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(kept["runs"]) == [rules[0]]
    said = command(capsys, *arguments, "--json")
    assert "1 finished run" in said.err
    results = json.loads(said.out)  # and nothing else
    assert list(results["runs"]) == list(rules)
    assert results["runs"][rules[0]] == kept["runs"][rules[0]]
    assert results["runs"][rules[0]]["distance"] > 0
    assert {path.name for path in tmp_path.iterdir()} == {
        ".lock",
        "results.json",
        "tradeoff-3-mean-random.png",
        "tradeoff-3-predictions.png",
    }


@pytest.mark.mistakes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "no data set 'ml-1m'"),
        (["--synthetic", "--episodes", "0"], "expected a whole number of at least 1"),
    ],
)
def test_what_cannot_run_is_said_without_a_traceback(capsys, tmp_path, arguments, message):
    try:
        status = main([*arguments, "--out", str(tmp_path / "out")])
    except SystemExit as stopped:  # argparse's own way
        status = stopped.code
    assert status == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
    if "--data" in arguments:
        assert "grouplens.org" in said
        assert "--synthetic" in said


def test_on_movielens(capsys, tmp_path, data_path):
    words = ["--data", data_path("ml-1m").parent, "--episodes", 2, "--rules", "14:predictions", "--json"]
    results = json.loads(command(capsys, *words, "--out", tmp_path).out)
    assert "American Beauty (1999)" in results["names"]
    run = results["runs"]["14:predictions"]
    assert run["evaluators"] == 1323
    holds = {row["statement"]: row["holds"] for row in run["orderings"]}
    assert holds["RLHF has PPA level 0"]
    assert holds["NLHF has PPA level 0"]
    assert holds["PPA level of F^0 is at least 1/Σu, on P (Lemma 4.7)"]
    assert (
        run["figures"]["win_rate_beta_0"]
        < run["figures"]["win_rate_beta_max"]
        <= run["figures"]["win_rate_rlhf"] + 0.01
    )
    assert run["distance"] < 0.1  # every figure is near the paper's under this rule


# Policies over genres.


@pytest.fixture(scope="session")
def with_users(folder, tmp_path_factory):
    """The same ratings with genres and users of every group."""
    copy = tmp_path_factory.mktemp("users") / "ml-1m"
    copy.mkdir()
    genres = ("Drama", "Comedy", "Drama|War", "Action", "Comedy|Action", "War", "Drama|Action")
    movies = [f"{k + 1}::Movie {k + 1} (19{80 + 2 * k})::{words}\n" for k, words in enumerate(genres)]
    ages = (1, 18, 25, 35, 45, 50)
    users = [f"{user}::{'FM'[user % 2]}::{ages[user // 2 % 6]}::1::12345\n" for user in range(1, 61)]
    (copy / "movies.dat").write_text("".join(movies), encoding="latin-1")
    (copy / "users.dat").write_text("".join(users), encoding="latin-1")
    (copy / "ratings.dat").write_text((folder / "ml-1m" / "ratings.dat").read_text(encoding="latin-1"))
    return copy.parent


GENRES = ("--policy", "linear", *SMALL, "--episodes", 1, "--rules", "1:mean:random")


def test_a_policy_over_genres_resumes_and_draws(capsys, with_users, tmp_path):
    arguments = ["--data", with_users, *GENRES, "--comparisons", 3000, "--out", tmp_path]
    said = command(capsys, *arguments).out
    assert "features" in said
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert sum(results["configuration"]["sizes"]) == 60
    run = results["runs"]["0"]
    assert np.shape(run["exact"]["win rate"]) == (3, 6)
    # Five movies of four groups of genres and decades: the policy cannot do better than the rule knows P.
    assert np.array(run["features"]["win rate"]).mean() < 1
    assert command(capsys, *arguments).out == said
    assert (tmp_path / "movielens-linear.png").read_bytes().startswith(b"\x89PNG")


def test_a_transformer_over_genres_starts_at_the_uniform_policy():
    learner = movielens_policies.make_learner("transformer", [("Drama", "1980s"), ("War", "Drama", "1990s")], 0)
    log_probs = learner.policy.log_probs(learner.start, [0, 5], [[0, 1], [0, 1]])
    np.testing.assert_allclose(log_probs, -np.log(9) * np.array([[2, 3]] * 2), rtol=1e-5)  # nine words


@pytest.mark.mistakes
def test_policies_need_users_and_genres(capsys, folder, tmp_path):
    assert main(["--synthetic", *map(str, GENRES), "--out", str(tmp_path)]) == 2
    assert "--policy: expected MovieLens" in capsys.readouterr().err
    assert main(["--data", str(folder), *map(str, GENRES), "--out", str(tmp_path)]) == 2
    assert "users.dat" in capsys.readouterr().err
