"""The calls of the real driver, on a real GPU; the stand-in that other tests have proves no answer of CUDA's."""

import ctypes

import numpy as np
import pytest

from edgecnn.targets.bundle.cuda_driver import Cuda, CudaError

pytestmark = pytest.mark.usefixtures("gpu")
BYTES = 1 << 20


@pytest.fixture
def cuda() -> Cuda:
    return Cuda()


@pytest.fixture
def stream(cuda: Cuda) -> ctypes.c_void_p:
    return cuda.make("cuStreamCreate", 0)


def test_what_was_uploaded_comes_back(cuda: Cuda, stream: ctypes.c_void_p) -> None:
    sent = np.random.default_rng(0).integers(0, 256, BYTES, np.uint8)
    there, back, device = cuda.allocate_host(BYTES), cuda.allocate_host(BYTES), cuda.allocate(BYTES)
    ctypes.memmove(there, sent.ctypes.data, BYTES)
    cuda.upload(device, there, BYTES, stream)
    cuda.download(back, device, BYTES, stream)
    cuda.synchronize(stream)
    assert ctypes.string_at(back.value or 0, BYTES) == sent.tobytes()


def test_a_graph_does_again_what_was_captured(cuda: Cuda, stream: ctypes.c_void_p) -> None:
    source, device, back = cuda.allocate_host(BYTES), cuda.allocate(BYTES), cuda.allocate_host(BYTES)

    def work() -> None:
        cuda.upload(device, source, BYTES, stream)
        cuda.download(back, device, BYTES, stream)

    ctypes.memset(back, 0, BYTES)
    graph = cuda.capture(stream, work)
    assert ctypes.string_at(back.value or 0, BYTES) == bytes(BYTES), "capturing ran it"
    for value in (7, 8):
        ctypes.memset(source, value, BYTES)
        cuda.call("cuGraphLaunch", graph, stream)
        cuda.synchronize(stream)
        assert ctypes.string_at(back.value or 0, BYTES) == bytes([value]) * BYTES


def test_a_capture_that_fails_leaves_a_stream_that_works(cuda: Cuda, stream: ctypes.c_void_p) -> None:
    def work() -> None:
        raise RuntimeError("an engine that refuses")

    with pytest.raises(RuntimeError, match="refuses"):
        cuda.capture(stream, work)
    device, host = cuda.allocate(BYTES), cuda.allocate_host(BYTES)
    cuda.upload(device, host, BYTES, stream)
    cuda.synchronize(stream)


def test_more_work_takes_more_of_the_gpus_time(cuda: Cuda, stream: ctypes.c_void_p) -> None:
    size = 64 * BYTES
    device, host = cuda.allocate(size), cuda.allocate_host(size)
    start, stop = cuda.make("cuEventCreate", 0), cuda.make("cuEventCreate", 0)

    def took(copies: int) -> float:
        cuda.call("cuEventRecord", start, stream)
        for _ in range(copies):
            cuda.upload(device, host, size, stream)
        cuda.call("cuEventRecord", stop, stream)
        return cuda.elapsed_ms(start, stop)

    took(1)
    once, tenfold = took(1), took(10)
    assert 0 < 5 * once < tenfold < 20 * once


def test_the_driver_says_why_in_its_own_words(cuda: Cuda) -> None:
    with pytest.raises(CudaError, match=r"cuMemAlloc_v2: .*memory.* \(2\)"):
        cuda.allocate(1 << 50)


def free_bytes(cuda: Cuda) -> int:
    free, whole = ctypes.c_size_t(), ctypes.c_size_t()
    cuda.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(whole))
    return free.value


def test_what_was_allocated_is_free_again_once_it_is_closed(cuda: Cuda, stream: ctypes.c_void_p) -> None:
    size, before = 1024 * BYTES, free_bytes(cuda)
    device, host = cuda.allocate(size), cuda.allocate_host(BYTES)
    cuda.upload(device, host, BYTES, stream)
    assert free_bytes(cuda) <= before - size
    cuda.close()
    assert free_bytes(cuda) > before - size / 2
    cuda.close()
