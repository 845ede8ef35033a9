"""Readers of real files, makers of synthetic data.

Readers take a path and return the records of `jaxval.types` with the names that belong to them: an `Election` (ballots,
names, title), `NamedComparisons` (comparisons, names, contexts, title), `VoteMatrix` (votes on statements, names,
title), `Ratings` (users, items, stars, ids, names) or `PreferencePairs` (prompts, responses, comparisons, sources,
scores). The first three keep who voted, and in which group. A file that is malformed or cut off raises a `ValueError`
that names the file and the line. A missing file raises a `FileNotFoundError`.

- `read_votes`: any file of votes. The ending and the columns tell which of the next readers it needs.
- `read_preflib`: PrefLib's soc, soi, toc and toi.
- `read_rankings_csv`, `read_comparisons_csv`: comma-separated tables.
- `read_vote_matrix`, `vote_batches`: votes on statements, as Polis exports them; `read_texts`: what the statements say.
- `read_annotations`: pairs of responses that several annotators judged, as PandaLM publishes them.
- `read_movielens`, `rating_table`, `rating_ballots`: MovieLens 1M as published; `download_movielens` downloads it.
- `read_preferences`, `source_comparisons`: preference pairs as JSON lines, with the sources they came from;
  `write_weighted` writes them again with weights of their sources.
- `read_log_probs`: tables of log-probabilities, a `SamplePool` of sampled responses or of candidates.
- `read_scores`: reward models' scores of the responses; `read_source_scores`: numbers of another tool for each source.
- `read_idx`: arrays of images and labels as MNIST is published.
- `data_folder`: the folder in which a set of real data is.
- `textbook_election`, `synthetic_mallows_mixture`, `synthetic_preferences`: data that need no file.
"""

from jaxval.data.annotations import read_annotations
from jaxval.data.download import download_movielens
from jaxval.data.folders import data_folder
from jaxval.data.images import read_idx
from jaxval.data.log_probs import SamplePool, read_log_probs
from jaxval.data.matrices import read_texts, read_vote_matrix, vote_batches
from jaxval.data.movielens import Ratings, rating_ballots, rating_table, read_movielens
from jaxval.data.pairs import read_preferences, source_comparisons, write_weighted
from jaxval.data.preflib import read_preflib
from jaxval.data.records import Election, NamedComparisons, PreferencePairs, SyntheticPreferences, VoteMatrix
from jaxval.data.scores import read_scores, read_source_scores
from jaxval.data.synthetic import synthetic_mallows_mixture, synthetic_preferences, textbook_election
from jaxval.data.tables import read_comparisons_csv, read_rankings_csv
from jaxval.data.votes import read_votes

__all__ = [
    "Election",
    "NamedComparisons",
    "PreferencePairs",
    "Ratings",
    "SamplePool",
    "SyntheticPreferences",
    "VoteMatrix",
    "data_folder",
    "download_movielens",
    "rating_ballots",
    "rating_table",
    "read_annotations",
    "read_comparisons_csv",
    "read_idx",
    "read_log_probs",
    "read_movielens",
    "read_preferences",
    "read_preflib",
    "read_rankings_csv",
    "read_scores",
    "read_source_scores",
    "read_texts",
    "read_vote_matrix",
    "read_votes",
    "source_comparisons",
    "synthetic_mallows_mixture",
    "synthetic_preferences",
    "textbook_election",
    "vote_batches",
    "write_weighted",
]
