"""A stand-in for the bundle's ``cuda_driver.Cuda``, whose device is the host's memory: tests have no GPU.

Streams have no order to keep, since everything is done when it is asked for; events are the host's clock.
"""

import ctypes
import time
from collections.abc import Callable
from typing import Any

GRAPH_S = 0.0002  # that a launch takes


class Cuda:
    """Shaped like the driver's calls; ``launches`` counts those of graphs."""

    def __init__(self) -> None:
        self._memory: list[Any] = []
        self._events: dict[int, float] = {}
        self.launches = 0

    def call(self, name: str, *arguments: Any) -> None:
        if name == "cuGraphLaunch":
            self.launches += 1
            time.sleep(GRAPH_S)
        elif name == "cuEventRecord":
            self._events[arguments[0].value] = time.perf_counter()

    def make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        return self.allocate(8)

    def allocate(self, size: int) -> ctypes.c_void_p:
        self._memory.append(ctypes.create_string_buffer(size))
        return ctypes.c_void_p(ctypes.addressof(self._memory[-1]))

    allocate_host = allocate

    def upload(self, to: ctypes.c_void_p, source: ctypes.c_void_p, size: int, stream: ctypes.c_void_p) -> None:
        ctypes.memmove(to, source, size)

    download = upload

    def synchronize(self, stream: ctypes.c_void_p) -> None: ...

    def capture(self, stream: ctypes.c_void_p, work: Callable[[], None]) -> ctypes.c_void_p:
        work()
        return self.allocate(8)

    def elapsed_ms(self, start: ctypes.c_void_p, stop: ctypes.c_void_p) -> float:
        return 1000 * (self._events[stop.value or 0] - self._events[start.value or 0])
