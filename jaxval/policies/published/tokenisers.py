"""A `Tokeniser` from a tokeniser of the package `tokenizers`, or from the fields of a GGUF file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxval.policies.published._files import extra
from jaxval.policies.text import Messages, Tokeniser
from jaxval.types import BadArgument

# How texts are split before merging, by the name in `tokenizer.ggml.pre`: whether each digit is a piece, and a pattern.
GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {
    "gpt-2": (False, GPT_2),
    "default": (False, GPT_2),
    "smollm": (True, GPT_2),
    "llama-bpe": (False, LLAMA_3),
    "llama3": (False, LLAMA_3),
}
CONTROL, OF_USER = 3, 4  # token types


def tokeniser_of(
    tokenizer: Any, *, begin: Any, end: Any, pad: Any, chat: Callable[[Messages], str] | None
) -> Tokeniser:
    """A `Tokeniser` with the functions of a `tokenizers.Tokenizer` and the given special ids."""
    return Tokeniser(
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        lambda ids: tokenizer.decode([int(i) for i in ids], skip_special_tokens=True),
        tokenizer.get_vocab_size(with_added_tokens=True),
        begin,
        end,
        pad if isinstance(pad, int) and pad >= 0 else 0,
        chat,
    )


def byte_level_tokenizer(fields: Mapping[str, Any], path: Path) -> Any:
    """The `tokenizers.Tokenizer` that the fields of a GGUF file describe: merges of bytes."""
    package = extra("tokenizers")
    kind, split = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2":
        advice = "read a folder with tokenizer.json instead"
        raise BadArgument(
            path, expected="a tokeniser of the model gpt2, merges of bytes", got=f"{kind!r}", advice=advice
        )
    if split not in SPLITS:
        raise BadArgument(path, expected=f"tokenizer.ggml.pre among {', '.join(SPLITS)}", got=f"{split!r}")
    words, types = fields.get("tokenizer.ggml.tokens"), fields.get("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in fields.get("tokenizer.ggml.merges") or []]
    if not words or not types or len(words) != len(types) or not merges:
        raise BadArgument(path, expected="tokens, one type for each, and merges", got="a tokeniser without them")
    try:
        model = package.models.BPE(
            {word: i for i, word in enumerate(words)}, merges, ignore_merges=split == "llama-bpe"
        )
    except Exception as error:  # the package raises a plain Exception if a merge joins what is no token
        raise BadArgument(path, expected="merges of tokens", got=f"{error}") from error
    tokenizer = package.Tokenizer(model)
    digits, pattern = SPLITS[split]
    steps = [package.pre_tokenizers.Digits(individual_digits=True)] if digits else []
    steps.append(package.pre_tokenizers.Split(package.Regex(pattern), behavior="isolated"))
    steps.append(package.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = package.pre_tokenizers.Sequence(steps)
    tokenizer.decoder = package.decoders.ByteLevel()
    for special, wanted in ((True, CONTROL), (False, OF_USER)):
        added = [word for word, one in zip(words, types, strict=True) if one == wanted]
        tokenizer.add_tokens([package.AddedToken(word, special=special, normalized=False) for word in added])
    return tokenizer
