"""Every core at work: parts of work on threads of their own, each with BLAS or a runtime on one core.

A library's own threads wait for one another after every product and every layer, and beside another busy process they
wait more than they compute: refinement of MobileNetV3-Large took 23 s instead of 7 where two exports shared two cores
and BLAS had two threads, and 8 with one (n=1 and n=2).
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")
U = TypeVar("U")

PARTS = 4  # that work is cut into, whatever the number of cores, so that sums are the same everywhere


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products are then the same bits whatever the number of cores, too."""
    from threadpoolctl import threadpool_limits  # which a device that only runs networks has not

    with threadpool_limits(1, "blas"):
        yield


def in_parts(function: Callable[[Sequence[S]], T], items: Sequence[S]) -> list[T]:
    """What a function makes of each part of the items, in their order, on as many threads as there are cores for."""
    return list(in_order(function, parts(items)))


def parts(items: Sequence[S]) -> list[Sequence[S]]:
    """Items in their order, in parts that are the same whatever the number of cores."""
    count = min(PARTS, len(items))
    bounds = [-(-len(items) * part // count) for part in range(count + 1)]  # a large part first: small ones fill up
    return [items[start:stop] for start, stop in pairwise(bounds)]


def in_order(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """What a function makes of each item, in their order, several at once.

    While they are at it, the caller works on results and then makes the items after.

    Args:
        function: uses no other function of this module: the threads are the same, and would wait for themselves.
    """
    count = at_once()
    threads, running = _threads(count), deque[Future[T]]()
    try:
        for item in items:
            running.append(threads.submit(function, item))
            if len(running) > count:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for left in running:
            left.cancel()
        wait(running)  # what they hold is the caller's


def beside(one: Callable[[], T], function: Callable[[S], U], items: Iterable[S]) -> tuple[T, list[U]]:
    """What is made by one piece of work, and what a function makes of each item meanwhile, in their order.

    Args:
        one: like the function, uses no other function of this module.
    """
    job = _threads(at_once()).submit(one)
    try:
        made = list(in_order(function, items))
        return job.result(), made
    finally:
        wait([job])


def available_cores() -> int:
    """That this process may run on, which on shared machines are fewer than there are."""
    return len(os.sched_getaffinity(0))


def at_once() -> int:
    """Threads that work is done on."""
    return min(PARTS, available_cores())


def threads_each() -> int:
    """Of a runtime that several threads use: together about as many as there are cores."""
    return max(1, round(available_cores() / PARTS))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Kept: to start threads takes as long as many a part of work."""
    return ThreadPoolExecutor(count)
