"""Readers of real files, makers of synthetic data.

What is read are the records of `jaxval.types` with the names that belong to them: an `Election` (ballots, names,
title), `Matches` (comparisons, names, contexts, title), `Ratings` (users, items, stars, ids, names) or
`PreferencePairs` (prompts, responses, comparisons, sources, scores). Readers take a path. What is malformed or cut off
is a `ValueError` that names the file and the line; what is not there is a `FileNotFoundError`.

- `read_votes`: any of the files below, told apart by its ending and its columns.
- `read_preflib`: PrefLib's soc, soi, toc and toi.
- `read_rankings_csv`, `read_comparisons_csv`: comma-separated tables.
- `read_movielens`, `rating_table`, `rating_ballots`: MovieLens 1M as published; `download_movielens` gets it.
- `read_preferences`, `source_comparisons`: preference pairs as JSON lines, with the sources they came from.
- `read_scores`: what reward models said of their responses.
- `data_folder`: where real data are.
- `textbook_election`, `synthetic_mallows_mixture`, `synthetic_preferences`: data that need no file.
"""

from jaxval.data.download import download_movielens
from jaxval.data.folders import data_folder
from jaxval.data.movielens import Ratings, rating_ballots, rating_table, read_movielens
from jaxval.data.pairs import read_preferences, source_comparisons
from jaxval.data.preflib import read_preflib
from jaxval.data.records import Election, Matches, PreferencePairs, SyntheticPreferences
from jaxval.data.scores import read_scores
from jaxval.data.synthetic import synthetic_mallows_mixture, synthetic_preferences, textbook_election
from jaxval.data.tables import read_comparisons_csv, read_rankings_csv
from jaxval.data.votes import read_votes

__all__ = [
    "Election",
    "Matches",
    "PreferencePairs",
    "Ratings",
    "SyntheticPreferences",
    "data_folder",
    "download_movielens",
    "rating_ballots",
    "rating_table",
    "read_comparisons_csv",
    "read_movielens",
    "read_preferences",
    "read_preflib",
    "read_rankings_csv",
    "read_scores",
    "read_votes",
    "source_comparisons",
    "synthetic_mallows_mixture",
    "synthetic_preferences",
    "textbook_election",
]
