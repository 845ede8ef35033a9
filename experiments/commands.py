"""The parsers of the commands that draw, extract and list: their help is the module's docstring."""

import argparse

__all__ = ["documented_parser"]


def documented_parser(module: str, text: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m MODULE` that shows the module's docstring as it is written.

    Args:
        module: its name, such as "experiments.figures".
        text: its docstring.

    Returns:
        The parser, to which options are added.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
