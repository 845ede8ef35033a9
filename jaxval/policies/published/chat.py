"""Chat templates: programs in Jinja that write a chat as the text on which a checkpoint was trained.

Whoever published the checkpoint wrote the template. So the template runs in Jinja's sandbox, and sees no other objects
than texts and a few functions.
"""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from jaxval import _checks
from jaxval.policies.published._files import extra
from jaxval.policies.text import Messages
from jaxval.types import BadArgument

__all__ = ["chat_template"]

MOST_STEPS = (
    10**6
)  # lines of the compiled program that writing one chat may run; published templates take some hundreds
MOST_CHARACTERS = 2**24  # of a text that a template repeats


def chat_template(template: str, *, name: Any = "template", **special: str) -> Callable[[Messages], str]:
    """A function from chat messages to the text up to the place where the answer begins.

    The template sees the roles and contents of the messages, and `add_generation_prompt` is true. There is no
    `strftime_now`, so that a prompt does not depend on the day. If a content holds the text of a special token, the
    text counts as that token, as in `transformers`.

    A template that runs through a million lines for one chat is stopped, and so are powers, and products that make long
    texts. Jinja bounds nothing else: filters can still use much memory. Read templates of people whom you do not trust
    in a process whose memory is limited.

    Args:
        template: the program.
        name: the file or the argument that errors name.
        **special: texts that the template may write, such as `bos_token` and `eos_token`.

    Returns:
        The function. It raises `BadArgument` if the template refuses the messages, fails, does not end, or uses
        something that the sandbox forbids.

    Raises:
        ValueError: if the program is not valid Jinja.
        ModuleNotFoundError: if the extra `llama` is not installed.

    Example:
        >>> template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}<bot>"
        >>> write = chat_template(template, eos_token=";")
        >>> write([{"role": "user", "content": "2+2?"}])
        '<user>2+2?;<bot>'
    """
    _checks.check_text("template", template)
    jinja2, environment = extra("jinja2"), _sandbox()
    try:
        program = environment.from_string(template)
    except jinja2.TemplateSyntaxError as error:
        got = f"a fault in line {error.lineno} ({error.message})"
        raise BadArgument(name, expected="a chat template in Jinja", got=got) from error
    except Exception as error:  # Python does not compile what is nested too deeply
        got = f"one that cannot be compiled ({type(error).__name__})"
        raise BadArgument(name, expected="a chat template in Jinja", got=got) from error

    def write(messages: Messages) -> str:
        plain = [_plain(message) for message in _checks.check_list("messages", messages, "a list of chat messages")]
        try:
            with _stopped():
                return program.render(messages=plain, add_generation_prompt=True, **special)
        except jinja2.sandbox.SecurityError as error:
            expected = "a chat template that stays in its sandbox"
            raise BadArgument(name, expected=expected, got=f"{error}") from error
        except Exception as error:  # whatever a program of others does
            expected = f"a chat template that takes these messages, {[message['role'] for message in plain]}"
            raise BadArgument(name, expected=expected, got=f"{type(error).__name__}: {error}") from error

    return write


@contextlib.contextmanager
def _stopped() -> Iterator[None]:
    """Within it, a template is stopped after `MOST_STEPS` lines."""
    steps, before = 0, sys.gettrace()

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != "<template>":  # of Jinja's functions
            return None
        steps += 1
        if steps > MOST_STEPS:
            raise extra("jinja2.sandbox").SecurityError(f"more than {MOST_STEPS} steps")
        return count

    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)


def _plain(message: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(message, Mapping):
        raise BadArgument("messages", expected="a list of chat messages, dictionaries", got=f"{message!r:.80}")
    if not {"role", "content"} <= set(message) or not all(type(message[part]) is str for part in ("role", "content")):
        raise BadArgument("messages", expected="texts role and content in every chat message", got=f"{message!r}")
    return {"role": message["role"], "content": message["content"]}


def _sandbox() -> Any:
    """Jinja's sandbox with the settings that templates expect, and with no more objects than they need."""
    jinja2 = extra("jinja2")
    sandbox = extra("jinja2.sandbox")

    class Namespace(jinja2.utils.Namespace):
        """Variables of a template, none of which is one of Python's own attributes."""

        def __init__(self, *parts: Any, **values: Any) -> None:
            super().__init__()
            for name, value in dict(*parts, **values).items():
                self[name] = value

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise sandbox.SecurityError(f"the variable {name!r} of a namespace")
            super().__setitem__(name, value)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    class Sandbox(sandbox.ImmutableSandboxedEnvironment):
        """Jinja's sandbox in which small expressions make no enormous numbers or texts."""

        intercepted_binops = frozenset(["*", "**", "%"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" or (operator == "%" and isinstance(left, str) and re.search(r"\d{5}|\*", left)):
                raise sandbox.SecurityError(f"the operator {operator}")
            sizes = [len(part) if isinstance(part, str | list | tuple) else int(part) for part in (left, right)]
            if operator == "*" and not all(abs(size) <= MOST_CHARACTERS for size in (*sizes, sizes[0] * sizes[1])):
                raise sandbox.SecurityError("a product that is too long")
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals = {
        "range": environment.globals["range"],  # the sandbox's own, which is short
        "namespace": Namespace,
        "raise_exception": refuse,
    }
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, **{"ensure_ascii": False} | how)
    return environment
