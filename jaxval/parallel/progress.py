"""A bar with the time left, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxval import _checks
from jaxval._errors import without_controls

__all__ = ["progress"]

DAY = 24 * 3600  # the pace is that of the last thousand steps; a step may well take longer than rich's half minute


@contextmanager
def progress(
    shown: bool | Callable[[int], None], total: int | None, title: str, *, unit: str | None = None
) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, or nothing.

    Args:
        shown: whether to show the bar; or a function `advance(count)` of a bar that the caller shows.
        total: how many steps there are; None if it is not known.
        title: the text beside the bar.
        unit: what is counted, such as "tokens", if the bar is to tell how many a second.

    Returns:
        A context that gives `advance(count)`.

    Example:
        >>> with progress(False, 3, "coalitions") as advance:
        ...     advance(3)
    """
    if callable(shown):
        yield shown
        return
    if not _checks.check_flag("progress", shown):
        yield lambda count: None
        return
    from rich import progress as rich
    from rich.console import Console

    columns = [rich.TextColumn("{task.description}", markup=False), rich.BarColumn(), rich.MofNCompleteColumn()]
    if unit is not None:
        columns += [rich.TextColumn("{task.fields[pace]}")]
    columns += [rich.TimeElapsedColumn(), rich.TextColumn("left"), rich.TimeRemainingColumn()]
    with rich.Progress(*columns, console=Console(stderr=True), speed_estimate_period=DAY) as bar:
        task = bar.add_task(without_controls(title), total=total, pace="")

        def advance(count: int) -> None:
            bar.update(task, advance=count)
            bar.update(task, pace=f"{bar.tasks[0].speed or 0:,.0f} {unit}/s" if unit else "")

        yield advance
