"""Many calls of a function of the host, on any executor: how each of them ended, as soon as it has."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from jaxval.types import BadArgument

__all__ = ["Outcome", "run_all"]

WINDOW = 256  # calls that an executor holds at a time
GATHER = 0.005  # seconds
PAUSE = 0.1  # seconds without a call that ends


class Outcome(NamedTuple):
    """How one call ended.

    Attributes:
        item: the argument of the call.
        value: the result; None if the call failed.
        error: why the call failed; None if it did not.
        cause: the exception that the function raised, with its traceback; None if the call did not fail.
    """

    item: Any
    value: Any
    error: str | None
    cause: BaseException | None = None


def run_all(
    function: Callable[[Any], Any], items: Iterable[Any], *, executor: Executor | None, timeout: float | None = None
) -> Iterator[Outcome | None]:
    """Call the function once for each item and tell how each call ended, as soon as it has.

    An executor gets a bounded number of calls at a time. If the iteration ends early, calls that have not begun are
    cancelled. A failure of the executor itself is raised, since it is the outcome of no call.

    Args:
        function: a function of one item.
        items: the arguments, one for each call. While the calls run, items can be added to a `deque`.
        executor: any executor of `concurrent.futures` or of a cluster; None calls in this process, one after another.
        timeout: seconds for each call. The executor must be able to stop a worker.

    Yields:
        `Outcome`s, in the order in which the calls end, and None whenever the next call may take
        long to end: a caller that saves many outcomes at once saves those gathered so far.

    Raises:
        ValueError: if there is a timeout and the executor cannot stop a worker.
        RuntimeError: if the executor breaks.

    Example:
        >>> [outcome.value for outcome in run_all(abs, [-1, 2], executor=None) if outcome is not None]
        [1, 2]
    """
    check_timeout(timeout, executor)
    waiting = items if isinstance(items, deque) else deque(items)
    return _called(function, waiting) if executor is None else _submitted(function, waiting, executor, timeout)


def check_timeout(timeout: float | None, executor: Executor | None) -> None:
    """A time limit can only be kept by an executor that can stop a worker."""
    if timeout is None:
        return
    if not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        raise BadArgument("timeout", expected="seconds above 0", got=f"{timeout!r}")
    if not hasattr(executor, "submit_within"):
        got = "no executor" if executor is None else type(executor).__name__
        raise BadArgument(
            "timeout",
            expected="an executor that can stop a worker",
            got=got,
            advice="pass executor=parallel.ProcessPool(), or leave the limit to the function itself",
        )


def _called(function: Callable[[Any], Any], waiting: deque[Any]) -> Iterator[Outcome | None]:
    while waiting:
        item = waiting.popleft()
        try:
            outcome = Outcome(item, function(item), None)
        except Exception as error:
            outcome = _failed(item, error)
        yield outcome
        yield None


def _submitted(
    function: Callable[[Any], Any], waiting: deque[Any], executor: Any, timeout: float | None
) -> Iterator[Outcome | None]:
    running: dict[Future[Any], Any] = {}
    finished: SimpleQueue[Future[Any]] = SimpleQueue()  # `wait` would look at the whole window for each call that ends
    try:
        while waiting or running:
            while waiting and len(running) < WINDOW:
                item = waiting.popleft()
                submit = executor.submit if timeout is None else executor.submit_within
                arguments = (function, item) if timeout is None else (timeout, function, item)
                future = submit(*arguments)
                running[future] = item
                future.add_done_callback(finished.put)
            try:
                done = [finished.get(timeout=PAUSE)]
            except Empty:
                yield None
                done = [finished.get()]
            if waiting:  # the executor has a whole window of calls, and this thread need not wake for each that ends
                time.sleep(GATHER)
            while not finished.empty():
                done.append(finished.get())
            for future in sorted(done, key=_has_failed):  # a caller that stops at a failure has the others by then
                yield _outcome(running.pop(future), future)
    except BrokenExecutor as error:
        raise RuntimeError(
            f"executor: the pool broke while {len(running)} calls were in it ({error}); what had finished is kept; "
            "parallel.ProcessPool tells which call ends its worker and goes on"
        ) from error
    finally:
        for future in running:
            future.cancel()


def _has_failed(future: Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def _outcome(item: Any, future: Future[Any]) -> Outcome:
    try:
        return Outcome(item, future.result(), None)
    except (BrokenExecutor, CancelledError):
        raise
    except Exception as error:
        return _failed(item, error)


def _failed(item: Any, error: Exception) -> Outcome:
    return Outcome(item, None, f"{type(error).__name__}: {error}", error)
