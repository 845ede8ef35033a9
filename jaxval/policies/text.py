"""Text to tokens and back: a byte tokeniser, and catalogues of texts as ids."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["Messages", "Tokeniser", "byte_tokeniser", "encode_catalogue", "encode_prompt", "text_windows"]

Messages = Sequence[Mapping[str, str]]
"""A chat: one `{"role": ..., "content": ...}` after the other."""


class Tokeniser(NamedTuple):
    """Functions from text to ids of tokens and back, and the special ids.

    Attributes:
        encode: `encode(text)` gives a list of ids, to which no special id is added.
        decode: `decode(ids)` gives the text; special ids (begin, end, padding) are left out.
        vocabulary: the number of ids.
        begin: the id in front of a prompt, or None.
        end: the id behind a response, or None.
        pad: the id that fills up rows. Any id will do, because padding on the right changes nothing.
        chat: `chat(messages)` gives the text of a chat up to the place where the answer begins, by the chat template
            of the checkpoint. None if the checkpoint has no template.
    """

    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    vocabulary: int
    begin: int | None
    end: int | None
    pad: int
    chat: Callable[[Messages], str] | None = None


def byte_tokeniser() -> Tokeniser:
    """A tokeniser whose ids 0 to 255 are the bytes of UTF-8; 256 is the id of begin, 257 of end and 258 of padding.

    Returns:
        A tokeniser of 259 ids. Bytes that are no UTF-8 decode to the replacement character.

    Example:
        >>> tokeniser = byte_tokeniser()
        >>> tokeniser.encode("né")
        [110, 195, 169]
        >>> tokeniser.decode([256, 110, 195, 169, 257])
        'né'
    """

    def decode(ids: Sequence[int]) -> str:
        return bytes(int(i) for i in ids if 0 <= int(i) < 256).decode("utf-8", errors="replace")

    return Tokeniser(lambda text: list(text.encode("utf-8")), decode, 259, 256, 257, 258)


def encode_prompt(tokeniser: Tokeniser, prompt: str | Messages) -> list[int]:
    """The ids of a prompt: begin and the ids of a text, or the ids of a chat by the checkpoint's template.

    The template writes the special tokens of a chat itself, so that no begin is put in front.

    Args:
        tokeniser: of the model.
        prompt: a text, which is taken as it is, or chat messages.

    Returns:
        Ids.

    Raises:
        ValueError: if the prompt is neither, or is a chat and the tokeniser has no template.

    Example:
        >>> encode_prompt(byte_tokeniser(), "hi")
        [256, 104, 105]
        >>> of_user = byte_tokeniser()._replace(chat=lambda messages: messages[-1]["content"] + "?")
        >>> encode_prompt(of_user, [{"role": "user", "content": "hi"}])
        [104, 105, 63]
    """
    _checks.check_record("tokeniser", tokeniser, Tokeniser)
    if isinstance(prompt, str):
        return ([] if tokeniser.begin is None else [tokeniser.begin]) + tokeniser.encode(prompt)
    if not isinstance(prompt, list | tuple) or not all(isinstance(message, Mapping) for message in prompt):
        raise BadArgument("prompts", expected="texts, or lists of chat messages", got=f"{prompt!r}")
    if tokeniser.chat is None:
        advice = "join the messages to one text"
        raise BadArgument(
            "prompts", expected="texts, for there is no chat template", got="chat messages", advice=advice
        )
    return tokeniser.encode(tokeniser.chat(prompt))


def encode_catalogue(
    prompts: Sequence[str | Messages],
    responses: Sequence[Sequence[str]],
    *,
    length: int,
    tokeniser: Tokeniser | None = None,
    truncate: tuple[int, int] | None = None,
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """The ids of prompts and of their candidate responses, as `over_catalogue` takes them.

    A prompt becomes begin + its ids, a response its ids + end; a prompt of chat messages becomes the ids of the chat
    template, as by `encode_prompt`. Prompt and response together must fit into `length`.
    With `truncate=(P, R)`, a prompt of more than P tokens is cut at its start, after begin, because its end is nearest
    to the response. A response of more than R tokens is cut at its end, and loses its end token.

    Args:
        prompts: (contexts,) texts, or lists of chat messages.
        responses: for each prompt its candidates.
        length: the largest number of tokens of a prompt and a response together, such as the model's `length`.
        tokeniser: None means `byte_tokeniser()`.
        truncate: how many tokens of a prompt and of a response are kept, special tokens included; None keeps all.

    Returns:
        `(prompts, responses)`, lists of ids and lists of lists of ids.

    Raises:
        ValueError: if a prompt or a response is of another kind, a response is empty, there is not one list of
            candidates for each prompt, or a prompt and a response are longer than `length` (the message says how to cut
            them).

    Example:
        >>> encode_catalogue(["hi"], [["a", "bc"]], length=8)
        ([[256, 104, 105]], [[[97, 257], [98, 99, 257]]])
        >>> encode_catalogue(["hi"], [["a", "bc"]], length=4, truncate=(2, 2))
        ([[256, 105]], [[[97, 257], [98, 99]]])
    """
    tokeniser = byte_tokeniser() if tokeniser is None else _checks.check_record("tokeniser", tokeniser, Tokeniser)
    length = _checks.check_size("length", length)
    check_candidates(prompts, responses)
    for text in (response for row in responses for response in row):
        if not isinstance(text, str):
            raise BadArgument("responses", expected="texts", got=f"{text!r}")
    behind = [] if tokeniser.end is None else [tokeniser.end]
    encoded = [encode_prompt(tokeniser, prompt) for prompt in prompts]
    candidates = [[tokeniser.encode(response) + behind for response in row] for row in responses]
    if truncate is not None:
        if not isinstance(truncate, tuple) or len(truncate) != 2:
            raise BadArgument("truncate", expected="(prompt tokens, response tokens), or None", got=f"{truncate!r}")
        kept_prompt, kept_response = (_checks.check_size("truncate", kept) for kept in truncate)
        encoded = [_cut(ids, kept_prompt, tokeniser.begin) for ids in encoded]
        candidates = [[response[:kept_response] for response in row] for row in candidates]
    for context, (prompt, row) in enumerate(zip(encoded, candidates, strict=True)):
        longest = max(map(len, row))
        if len(prompt) + longest > length:
            raise BadArgument(
                "prompts",
                expected=f"a prompt and a response of at most length={length} tokens together",
                got=f"{len(prompt)} + {longest} in context {context}",
                advice=(
                    "to cut the starts of prompts and the ends of responses, pass truncate=(prompt tokens, "
                    f"response tokens), such as ({length // 2}, {length // 2})"
                ),
            )
    return encoded, candidates


def _cut(prompt: list[int], kept: int, begin: int | None) -> list[int]:
    """The last ids of a prompt, after begin if the prompt has it in front."""
    if len(prompt) <= kept:
        return prompt
    before = [begin] if begin is not None and prompt[0] == begin else []
    return before + prompt[len(prompt) - kept + len(before) :]


def check_candidates(prompts: Sequence[Any], responses: Sequence[Any]) -> None:
    """Check that there is one list of candidates for each prompt, and that no list and no candidate is empty."""
    for name, lists in (("prompts", prompts), ("responses", responses)):
        _checks.check_list(name, lists, "one for each prompt")
        for one in lists:
            _checks.check_sized(name, one)
    if len(prompts) == 0 or len(prompts) != len(responses):
        raise BadArgument(
            "responses",
            expected=f"one list of candidates for each of {len(prompts)} prompts, and at least one prompt",
            got=f"{len(responses)} lists",
        )
    for context, row in enumerate(responses):
        if isinstance(row, str) or len(row) == 0:
            raise BadArgument(
                "responses", expected=f"a list of at least one candidate for context {context}", got=f"{row!r}"
            )
        for i, response in enumerate(row):
            _checks.check_sized("responses", response)
            if len(response) == 0:
                raise BadArgument(
                    "responses", expected="no empty response", got=f"an empty response {i} of context {context}"
                )


def text_windows(
    text: str, *, length: int, tokeniser: Tokeniser | None = None
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """A text cut into windows, as the prompts and responses of a catalogue, for supervised fine-tuning on it.

    A window is a prompt of the begin token, or of the window's first token if the tokeniser has none, and one response.
    The windows follow each other without overlap. A rest that is too short for a response is left out.

    Args:
        text: the text.
        length: the number of tokens of a window, at least 2, such as the model's `length`.
        tokeniser: None means `byte_tokeniser()`.

    Returns:
        `(prompts, responses)` for `over_catalogue`; context i is window i, and its only response is 0.

    Raises:
        ValueError: if the text is empty, or `length` is below 2.

    Example:
        >>> text_windows("abcde", length=3)
        ([[256], [256], [256]], [[[97, 98]], [[99, 100]], [[101]]])
    """
    tokeniser = byte_tokeniser() if tokeniser is None else _checks.check_record("tokeniser", tokeniser, Tokeniser)
    if _checks.check_size("length", length) < 2:
        raise BadArgument("length", expected="at least 2 tokens, a prompt and a response", got=length)
    if not isinstance(text, str) or not text:
        raise BadArgument("text", expected="a text that is not empty", got=f"{text!r}")
    ids = tokeniser.encode(text)
    begin = [] if tokeniser.begin is None else [tokeniser.begin]
    step = length - len(begin)
    windows = [begin + ids[start : start + step] for start in range(0, len(ids), step)]
    windows = [window for window in windows if len(window) > 1]
    return [window[:1] for window in windows], [[window[1:]] for window in windows]
