"""The few calls of the CUDA driver that running an engine takes, by ctypes: every machine with a GPU has its library.

Python 3.8. Source: NVIDIA's CUDA Driver API reference; its header maps plain names to the ones with ``_v2``.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

LIBRARY = "libcuda.so.1"
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_…
RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED
FREED_BY = {
    "cuMemAlloc_v2": "cuMemFree_v2",
    "cuMemAllocHost_v2": "cuMemFreeHost",
    "cuStreamCreate": "cuStreamDestroy_v2",
    "cuEventCreate": "cuEventDestroy_v2",
    "cuGraphInstantiateWithFlags": "cuGraphExecDestroy",
}


class CudaError(Exception):
    """A call that the driver refused."""


class Gpu(NamedTuple):
    """The first GPU, such as ``NVIDIA GeForce RTX 4070`` of architecture ``SM89``, and the driver's CUDA version."""

    name: str
    architecture: str
    driver: str


def find_gpu() -> tuple[Gpu | None, str]:
    """The first GPU, or None and why."""
    try:
        return Cuda().gpu, ""
    except OSError:
        return None, f"there is no NVIDIA driver ({LIBRARY})"
    except CudaError as error:
        return None, str(error)


@functools.lru_cache(maxsize=None)
def _first_gpu() -> tuple[Any, ctypes.c_int, ctypes.c_void_p]:
    """The driver, its first GPU, and the primary context, retained once: TensorRT uses it as long as the process runs.

    Raises:
        OSError, CudaError: as ``Cuda``.
    """
    driver = ctypes.CDLL(LIBRARY)
    _call(driver, "cuInit", 0)
    count = ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    if count.value == 0:
        raise CudaError("there is an NVIDIA driver, but no GPU")
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    _call(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    return driver, device, context


def _call(driver: Any, name: str, *arguments: Any) -> None:
    result = getattr(driver, name)(*arguments)
    if result != 0:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(result, ctypes.byref(text))
        raise CudaError(f"{name}: {(text.value or b'unknown error').decode()} ({result})")


class Cuda:
    """The driver, with the first GPU's primary context as the current one, and what is made with it until ``close``.

    Raises:
        OSError: there is no driver.
        CudaError: there is no GPU, or it cannot be used.
    """

    def __init__(self) -> None:
        self._driver, self._device, self._context = _first_gpu()
        self._made: list[tuple[str, ctypes.c_void_p]] = []
        self.call("cuCtxSetCurrent", self._context)

    def wait(self) -> None:
        """For everything on the GPU, from whichever thread, and whatever became of it."""
        self._driver.cuCtxSetCurrent(self._context)
        self._driver.cuCtxSynchronize()

    def close(self) -> None:
        """Frees what was made, the latest first, once nothing runs any more. May be called again.

        Results are not looked at: a GPU that is lost said so before, and has nothing to give back.
        """
        self.wait()
        while self._made:
            name, made = self._made.pop()
            getattr(self._driver, FREED_BY[name])(made)

    def call(self, name: str, *arguments: Any) -> None:
        """Calls the driver.

        Raises:
            CudaError: with its words.
        """
        _call(self._driver, name, *arguments)

    def make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """What a call makes, one of ``FREED_BY``: a stream, an event, an address of device memory."""
        made = ctypes.c_void_p()
        self.call(name, ctypes.byref(made), *arguments)
        self._made.append((name, made))
        return made

    @property
    def gpu(self) -> Gpu:
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, len(name), self._device)
        parts = []
        for attribute in (MAJOR, MINOR):
            value = ctypes.c_int()
            self.call("cuDeviceGetAttribute", ctypes.byref(value), attribute, self._device)
            parts.append(value.value)
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return Gpu(name.value.decode(), "SM{}{}".format(*parts), driver)

    def allocate(self, size: int) -> ctypes.c_void_p:
        """Device memory of so many bytes."""
        return self.make("cuMemAlloc_v2", ctypes.c_size_t(size))

    def allocate_host(self, size: int) -> ctypes.c_void_p:
        """Page-locked memory of so many bytes, which copies need that shall not stall."""
        return self.make("cuMemAllocHost_v2", ctypes.c_size_t(size))

    def upload(self, device: ctypes.c_void_p, host: ctypes.c_void_p, size: int, stream: ctypes.c_void_p) -> None:
        """From page-locked memory to the device, in a stream's order."""
        self.call("cuMemcpyHtoDAsync_v2", device, host, ctypes.c_size_t(size), stream)

    def download(self, host: ctypes.c_void_p, device: ctypes.c_void_p, size: int, stream: ctypes.c_void_p) -> None:
        """From the device to page-locked memory, in a stream's order."""
        self.call("cuMemcpyDtoHAsync_v2", host, device, ctypes.c_size_t(size), stream)

    def synchronize(self, stream: ctypes.c_void_p) -> None:
        """Waits for everything that was put into a stream."""
        self.call("cuStreamSynchronize", stream)

    def capture(self, stream: ctypes.c_void_p, work: Any) -> ctypes.c_void_p:
        """What ``work()`` puts into a stream, as one graph that ``cuGraphLaunch`` starts at once."""
        graph = ctypes.c_void_p()
        self.call("cuStreamBeginCapture_v2", stream, RELAXED)
        try:
            try:
                work()
            finally:
                self.call("cuStreamEndCapture", stream, ctypes.byref(graph))
            return self.make("cuGraphInstantiateWithFlags", graph, ctypes.c_ulonglong(0))
        finally:
            if graph:
                self.call("cuGraphDestroy", graph)  # what was made of it stays

    def elapsed_ms(self, start: ctypes.c_void_p, stop: ctypes.c_void_p) -> float:
        """Between two recorded events, by the GPU's clock."""
        self.call("cuEventSynchronize", stop)
        found = ctypes.c_float()
        self.call("cuEventElapsedTime", ctypes.byref(found), start, stop)
        return found.value
