"""A pool of processes whose workers can be stopped.

A function of the host (one that trains a model, say) cannot be stopped from inside its process. `ProcessPool` runs
one call at a time in each worker. A call that takes too long is killed with its worker, and a new worker replaces it.
"""

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any, NamedTuple

from jaxval import _checks
from jaxval.types import BadArgument

__all__ = ["ProcessPool"]

THREADS = (  # variables that limit the threads of linear algebra; a library reads its own when it is loaded
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


LONGEST = 1e6  # seconds; pipes wait for no longer than 2^31 milliseconds
UNGUARDED = (
    " while it started: workers import the script, so its own work must stand under `if __name__ == '__main__':`"
)


class RemoteError(Exception):
    """The cause of an exception that was raised in a worker: the worker's traceback, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class ProcessPool(Executor):
    """Processes that take one call at a time. Each call can have a time limit.

    Workers are new processes, not forks, because a process with JAX's threads must not be forked. Functions must
    therefore be importable, and a script that uses a pool must put its own work under `if __name__ == "__main__":`.
    A worker that is given the same function again and again receives it only once. Workers end when the process that
    started them ends, however it ends. Workers cannot start processes by `multiprocessing` themselves.

    If each worker ran linear algebra on all processors, the workers would slow each other down, which can cost several
    times the work itself. So each worker is started with one thread for OpenMP, OpenBLAS, MKL and their like.
    JAX's own threads are not limited.

    Args:
        workers: how many; None means one for each processor.
        threads: threads of linear algebra in each worker; None leaves the environment variables as they are.

    Raises:
        ValueError: if there is not at least one worker, or not at least one thread.

    Example:
        >>> import math
        >>> with ProcessPool(1) as pool:
        ...     pool.submit_within(60.0, math.sqrt, 4.0).result()
        2.0
    """

    def __init__(self, workers: int | None = None, *, threads: int | None = 1) -> None:
        self.workers = _checks.check_size("workers", (os.cpu_count() or 1) if workers is None else workers)
        threads = None if threads is None else _checks.check_size("threads", threads)
        self._variables = {} if threads is None else dict.fromkeys(THREADS, str(threads))
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._last: Any = None
        self._workers: list[_Worker] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function in a worker, without a limit."""
        return self._submit(None, function, args, kwargs)

    def submit_within(
        self, seconds: float | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Call the function in a worker that is killed after `seconds`: the future then raises `TimeoutError`.

        Only the time of the call counts, not the time to wait for a worker or to load the function.
        """
        return self._submit(seconds, function, args, kwargs)

    def _submit(self, seconds: float | None, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        _checks.check_function("function", function)
        if seconds is not None:
            seconds = min(_checks.check_finite("seconds", seconds, "seconds, above 0", above=True), LONGEST)
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is shut down")
            if self._last is None or self._last[0] is not function:
                self._last = (function, _pickled(function))
            call = _Call(Future(), seconds, self._last[1], (args, kwargs))
            self._calls.put(call)
            if len(self._workers) < self.workers:
                self._workers.append(_Worker(self._calls, self._variables))
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. Finish the pending ones or, with `cancel_futures`, only those that run already."""
        _checks.check_flag("wait", wait)
        _checks.check_flag("cancel_futures", cancel_futures)
        with self._lock:
            first, self._closed = not self._closed, True
            if cancel_futures:
                with contextlib.suppress(queue.Empty):
                    while call := self._calls.get_nowait():
                        call.future.cancel()
                    self._calls.put(None)  # the stop signal of an earlier shutdown, put back for its worker
            if first:
                for _ in self._workers:
                    self._calls.put(None)
        if wait:
            for worker in self._workers:
                worker.join()

    def kill(self) -> None:
        """Take no more calls and end the workers at once, whatever they are doing."""
        self.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()
        self.shutdown(wait=True)

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.shutdown()
        else:  # after an error or an interruption, calls that may take an hour are not awaited
            self.kill()


class _Call(NamedTuple):
    future: Future[Any]
    seconds: float | None
    function: bytes
    arguments: tuple[Any, ...]


class _Worker(threading.Thread):
    """A thread that owns one process at a time."""

    def __init__(self, calls: "queue.SimpleQueue[_Call | None]", variables: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._calls = calls
        self._variables = variables
        self._process: Any = None
        self._pipe: Connection | None = None
        self._sent: bytes | None = None
        self._killed = False
        self.start()

    def run(self) -> None:
        while (call := self._calls.get()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            try:
                result = self._call(call)
            except BaseException as error:  # every error is passed to the caller
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
        self._stop()

    def kill(self) -> None:
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()

    def _call(self, call: _Call) -> Any:
        if self._killed:
            raise CancelledError
        if self._process is None or not self._process.is_alive():
            self._start()
        assert self._pipe is not None
        try:
            new = None if self._sent is call.function else call.function
            _send(self._pipe, (new, call.arguments))
            if new is not None:
                _receive(self._pipe)  # the function is loaded; its time starts
                self._sent = new
            if call.seconds is not None and not self._pipe.poll(call.seconds):
                self._stop(kill=True)
                raise TimeoutError(f"no result within {call.seconds:g} s")
            error, result = _receive(self._pipe)
        except (EOFError, ConnectionError) as lost:
            self._process.join()
            code = self._process.exitcode
            self._stop()
            if self._killed:
                raise CancelledError from lost
            early = "" if self._sent is call.function else UNGUARDED
            raise ChildProcessError(f"the worker ended with exit code {code}{early}") from lost
        if error is not None:
            raise result from RemoteError(error)
        return result

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _environment(self._variables):
            process.start()
        theirs.close()
        self._process, self._sent = process, None  # assigned once it runs, because `kill` may read it at any time
        if self._killed:
            self._process.kill()

    def _stop(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        assert self._pipe is not None
        self._pipe.close()  # a worker that has nothing to read ends
        self._process.join()
        self._process = self._pipe = self._sent = None


def _send(pipe: Connection, message: Any) -> None:
    pipe.send_bytes(pickle.dumps(message))  # ten times as fast as the pickler of `Connection.send`


def _receive(pipe: Connection) -> Any:
    return pickle.loads(pipe.recv_bytes())


def _serve(pipe: Connection) -> None:
    """The inside of a worker: functions and arguments in, results or errors out, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent decides whether to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function: Any = None
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            sent, (args, kwargs) = _receive(pipe)
            answer: tuple[str | None, Any]
            if sent is not None:
                try:
                    function = pickle.loads(sent)
                except Exception as failed:
                    function = _Failing(f"the worker cannot load the function: {type(failed).__name__}: {failed}")
                _send(pipe, None)
            try:
                answer = (None, function(*args, **kwargs))
            except Exception as failed:
                answer = (traceback.format_exc(), _portable(failed))
            try:
                _send(pipe, answer)
            except (pickle.PicklingError, TypeError, AttributeError) as failed:
                _send(pipe, (traceback.format_exc(), TypeError(f"the result cannot be sent back: {failed}")))


_starting = threading.Lock()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables for the processes that are started inside, one at a time.

    A worker has to inherit them: it imports NumPy, which reads these variables once, before it runs any line of ours.
    """
    with _starting:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


class _Failing(NamedTuple):
    reason: str

    def __call__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError(self.reason)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error itself if it can be pickled, else an error with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _pickled(function: Any) -> bytes:
    try:
        return pickle.dumps(function)
    except Exception as error:
        raise BadArgument(
            "function", expected="one that other processes can import, written at the top of a module", got=error
        ) from error
