"""One task for many numbers: here, in processes of this machine, or on a cluster.

Nothing depends on who does it: a task brings the seeds of its numbers, and one BLAS thread does the sums everywhere.
"""

import contextlib
import multiprocessing
import pickle
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from poolwise.errors import ArgumentError

# Chunks that a cluster gets, at least, so that none of its workers waits long for another; and numbers of a chunk.
CHUNKS, MOST = 64, 10

Task = Callable[[int], Any]


class Client(Protocol):
    """What runs functions elsewhere: a dask.distributed Client, an executor of concurrent.futures."""

    def submit(self, function: Callable, /, *arguments: Any) -> Any:
        """Begin to run a function; what is returned has a method ``result``."""


def check_workers(workers: int | None, client: Client | None) -> None:
    """Refuse a number of processes, or a client, that there cannot be.

    Raises
    ------
    ArgumentError
    """
    whole = isinstance(workers, int | np.integer) and not isinstance(workers, bool)
    if workers is not None and (not whole or workers < 1):
        raise ArgumentError(f"workers must be a whole number of at least 1; got {workers!r}")
    if client is None:
        return
    if not callable(getattr(client, "submit", None)):
        raise ArgumentError(
            "client must have a method submit(function, ...), as a dask.distributed.Client has; got "
            f"{type(client).__name__}"
        )
    if workers not in (None, 1):
        raise ArgumentError(f"give workers= for processes of this machine, or client=, not both; got workers={workers}")


def in_order(task: Task, count: int, workers: int = 1, client: Client | None = None) -> Generator[Any]:
    """Results of task(0), ..., task(count - 1) in their order; what waits is dropped when the caller is interrupted.

    Warnings of a task are given here, wherever it ran.

    Parameters
    ----------
    task : callable
        What it holds is pickled, and sent to each process once.
    count, workers : int
        With one worker everything runs here.
    client : Client, optional
        Runs it in place of processes of this machine. A process of it does one number at a time.
    """
    check_workers(workers, client)
    if client is not None:
        content = pickle.dumps(task)
        # A cluster keeps one copy a worker.
        scatter = getattr(client, "scatter", None)
        sent = content if scatter is None else scatter(content)
        size = max(1, min(MOST, count // CHUNKS))
        yield from _awaited(client.submit(_of_content, sent, numbers) for numbers in _chunks(count, size))
    elif workers == 1:
        for number in range(count):
            with _one_thread():
                found = task(number)
            yield found
    else:
        # The sampler's threads do not survive a fork.
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_receive, initargs=(task,))
        size = max(1, min(MOST, count // (4 * workers)))
        try:
            yield from _awaited(pool.submit(_of_received, numbers) for numbers in _chunks(count, size))
        finally:
            pool.shutdown(cancel_futures=True)


def _chunks(count: int, size: int) -> Iterator[list[int]]:
    return (list(range(first, min(first + size, count))) for first in range(0, count, size))


def _awaited(futures: Iterable[Any]) -> Iterator[Any]:
    """Results of chunks, one by one, and their warnings."""
    waiting = list(futures)[::-1]
    try:
        while waiting:
            found, told = waiting.pop().result()
            for category, text in told:
                warnings.warn(text, category, stacklevel=4)
            yield from found
    finally:
        for future in waiting:
            with contextlib.suppress(Exception):
                future.cancel()


def _of_content(content: bytes, numbers: list[int]) -> tuple[list, list]:
    return _run(_unpacked(content), numbers)


@lru_cache(maxsize=1)
def _unpacked(content: bytes) -> Task:
    return pickle.loads(content)


def _receive(task: Task) -> None:
    global _received
    _received = task


def _of_received(numbers: list[int]) -> tuple[list, list]:
    return _run(_received, numbers)


def _run(task: Task, numbers: list[int]) -> tuple[list, list]:
    """Results of some numbers, and the warnings there were."""
    # Threads of one worker would share its cores and its filters of warnings.
    with _alone, _one_thread(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [task(number) for number in numbers]
    return found, [(each.category, str(each.message)) for each in caught]


def _one_thread() -> contextlib.AbstractContextManager:
    """BLAS held at one thread."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


_received: Task
_alone = threading.Lock()
