"""One method of one object for many numbers, in processes of their own."""

import multiprocessing
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def in_order(task: Callable[[int], Any], count: int, workers: int) -> Generator[Any]:
    """Results of task(0), ..., task(count - 1) in their order; what waits is dropped when the caller is interrupted.

    Parameters
    ----------
    task : callable
        What it holds is sent to each process once.
    count, workers : int
        With one worker everything runs here.
    """
    if workers == 1:
        yield from map(task, range(count))
        return
    # The sampler's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_receive, initargs=(task,))
    try:
        yield from pool.map(_one, range(count), chunksize=max(1, min(10, count // (4 * workers))))
    finally:
        pool.shutdown(cancel_futures=True)


def _receive(task: Callable[[int], Any]) -> None:
    global _task
    _task = task


def _one(number: int) -> Any:
    return _task(number)


_task: Callable[[int], Any]
