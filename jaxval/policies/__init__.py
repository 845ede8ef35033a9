"""Policies: log-probabilities of candidate responses, from a table, from features, from a transformer.

A `Policy` maps ids of prompts (B,) and of candidate responses (B, R) to its own log π(y|x), (B, R); `normalise`
conditions on the candidates. All policies are used in the same way, however they were made. A `SequenceModel` gives
next-token logits: `transformer` makes one, `read_llama` reads a published one, `low_rank` adapts one, `sample` draws
from one, and `over_catalogue` makes it a policy. Formats of others are in `published`.
"""

from jaxval.policies.adapters import init_adapters, low_rank, merge
from jaxval.policies.candidates import normalise, sample_responses
from jaxval.policies.catalogue import Catalogue, catalogue, over_catalogue, response_lengths, selector_prompts
from jaxval.policies.log_linear import log_linear
from jaxval.policies.published import (
    Adapter,
    chat_template,
    read_adapter,
    read_gguf,
    read_llama,
    read_reward,
    stack_adapters,
    write_adapter,
)
from jaxval.policies.sampling import Samples, pad_sequences, sample
from jaxval.policies.scoring import (
    group_responses,
    map_tokens,
    response_entropies,
    response_states,
    score_responses,
    trunk_states,
)
from jaxval.policies.sequences import next_token_entropies, response_log_probs
from jaxval.policies.tabular import tabular
from jaxval.policies.text import Tokeniser, byte_tokeniser, encode_catalogue, encode_prompt, text_windows
from jaxval.policies.text_features import text_features
from jaxval.policies.transformer import RopeScaling, transformer

__all__ = [
    "Adapter",
    "Catalogue",
    "RopeScaling",
    "Samples",
    "Tokeniser",
    "byte_tokeniser",
    "catalogue",
    "chat_template",
    "encode_catalogue",
    "encode_prompt",
    "group_responses",
    "init_adapters",
    "log_linear",
    "low_rank",
    "map_tokens",
    "merge",
    "next_token_entropies",
    "normalise",
    "over_catalogue",
    "pad_sequences",
    "read_adapter",
    "read_gguf",
    "read_llama",
    "read_reward",
    "response_entropies",
    "response_lengths",
    "response_log_probs",
    "response_states",
    "sample",
    "sample_responses",
    "score_responses",
    "selector_prompts",
    "stack_adapters",
    "tabular",
    "text_features",
    "text_windows",
    "transformer",
    "trunk_states",
    "write_adapter",
]
