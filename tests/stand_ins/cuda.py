"""A stand-in for the CUDA driver's library, whose device is the host's memory: tests have no GPU.

Streams have no order to keep, since everything is done when it is asked for; events are the host's clock.
"""

import ctypes
import time
from types import ModuleType
from typing import Any

import pytest

GRAPH_S = 0.0002  # that a launch takes
MAKES = ("cuMemAlloc_v2", "cuMemAllocHost_v2", "cuStreamCreate", "cuEventCreate", "cuGraphInstantiateWithFlags")
FREES = {
    "cuMemFree_v2": "cuMemAlloc_v2",
    "cuMemFreeHost": "cuMemAllocHost_v2",
    "cuStreamDestroy_v2": "cuStreamCreate",
    "cuEventDestroy_v2": "cuEventCreate",
    "cuGraphExecDestroy": "cuGraphInstantiateWithFlags",
    "cuGraphDestroy": "cuStreamEndCapture",
}


class Driver:
    """Shaped like ``libcuda``.

    Args:
        fails: results, other than success, by the calls that have them.

    Attributes:
        calls: names of all, in order.
        alive: what was made and not freed yet, by address: the call that made it.
    """

    def __init__(self, **fails: int) -> None:
        self.fails, self.calls, self.alive = fails, list[str](), dict[int, str]()
        self._memory: dict[int, Any] = {}
        self._events: dict[int, float] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)
        return lambda *arguments: self._call(name, *arguments)

    def _call(self, name: str, *arguments: Any) -> int:
        self.calls.append(name)
        if name in self.fails:
            return self.fails[name]
        if name in MAKES:
            arguments[0]._obj.value = self._made(name, arguments[1].value if name.startswith("cuMem") else 8)
        elif name in FREES:
            assert self.alive.pop(arguments[0].value) == FREES[name]
            del self._memory[arguments[0].value]
        elif name.startswith("cuMemcpy"):
            to, source, size, _ = arguments
            ctypes.memmove(to, source, size.value)
        else:
            getattr(self, f"_{name}", lambda *arguments: None)(*arguments)
        return 0

    def _made(self, name: str, size: int) -> int:
        memory = ctypes.create_string_buffer(size)
        address = ctypes.addressof(memory)
        self.alive[address], self._memory[address] = name, memory
        return address

    def _cuDeviceGetCount(self, count: Any) -> None:
        count._obj.value = 1

    def _cuStreamEndCapture(self, stream: Any, graph: Any) -> None:
        graph._obj.value = self._made("cuStreamEndCapture", 8)

    def _cuGraphLaunch(self, graph: Any, stream: Any) -> None:
        assert self.alive[graph.value] == "cuGraphInstantiateWithFlags"
        time.sleep(GRAPH_S)

    def _cuEventRecord(self, event: Any, stream: Any) -> None:
        self._events[event.value] = time.perf_counter()

    def _cuEventElapsedTime(self, found: Any, start: Any, stop: Any) -> None:
        found._obj.value = 1000 * (self._events[stop.value] - self._events[start.value])


def found_by(monkeypatch: pytest.MonkeyPatch, cuda_driver: ModuleType) -> Driver:
    """A driver that the module ``cuda_driver`` finds, of edgecnn's or of a bundle's."""
    driver = Driver()
    monkeypatch.setattr(cuda_driver, "_first_gpu", lambda: (driver, ctypes.c_int(), ctypes.c_void_p(1)))
    return driver
