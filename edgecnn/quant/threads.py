"""Every core at work: parts of NumPy's work in threads of their own, with BLAS in one, and a runtime beside NumPy.

BLAS's own threads speed up little of what quantization multiplies, and beside another busy process they wait for one
another more than they compute: refinement of MobileNetV3-Large took 23 s instead of 7 where two exports shared two
cores, and takes 8 with these threads (n=1 and n=2).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
S = TypeVar("S")

PARTS = 4  # that work is cut into, whatever the number of cores, so that sums are the same everywhere


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products are then the same bits whatever the number of cores, too."""
    with threadpool_limits(1, "blas"):
        yield


def in_parts(function: Callable[[Sequence[S]], T], items: Sequence[S]) -> list[T]:
    """What a function makes of each part of the items, in their order, on as many threads as there are cores for."""
    count = min(PARTS, len(items))
    bounds = [-(-len(items) * part // count) for part in range(count + 1)]  # a large part first: small ones fill up
    with ThreadPoolExecutor(min(count, len(os.sched_getaffinity(0)))) as threads:
        return list(threads.map(function, [items[start:stop] for start, stop in pairwise(bounds)]))


def one_behind(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """What a function makes of each item, in their order, on a thread of its own.

    While it is at one, the caller works on the result before and then makes the item after.
    """
    with ThreadPoolExecutor(1) as other:
        running: list[Future[T]] = []
        for item in items:
            running.append(other.submit(function, item))
            if len(running) > 1:
                yield running.pop(0).result()
        for last in running:
            yield last.result()
