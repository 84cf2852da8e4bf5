"""What is made on a GPU is given back, whichever way its use ends; by a stand-in for the driver's library."""

import ctypes
import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgecnn.targets.bundle import cuda_driver
from edgecnn.targets.bundle.cuda_driver import Cuda, CudaError, find_gpu
from tests.stand_ins.cuda import Driver, found_by
from tests.unit.targets.bundle.conftest import built

IMAGES = np.zeros((1, 3, 32, 32), np.float32)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return found_by(monkeypatch, cuda_driver)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """The driver as it is opened by the name of its library."""
    driver = Driver()
    cuda_driver._first_gpu.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    yield driver
    cuda_driver._first_gpu.cache_clear()


def test_the_context_is_retained_once(library: Driver) -> None:
    """Whoever retains it and never releases it would otherwise hold it ever more often."""
    for _ in range(3):
        gpu, why = find_gpu()
        assert (gpu is not None, why) == (True, "")
    Cuda()
    assert library.calls.count("cuDevicePrimaryCtxRetain") == 1
    assert library.calls.count("cuCtxSetCurrent") == 4, "it is each thread's own"


def test_a_gpu_that_fails_may_be_there_the_next_time(library: Driver) -> None:
    library.fails["cuDevicePrimaryCtxRetain"] = 2
    assert find_gpu() == (None, "cuDevicePrimaryCtxRetain: unknown error (2)")
    library.fails.clear()
    assert find_gpu()[0] is not None


def test_all_that_was_made_is_freed_the_latest_first(driver: Driver) -> None:
    cuda = Cuda()
    stream, event = cuda.make("cuStreamCreate", 0), cuda.make("cuEventCreate", 0)
    cuda.allocate(8)
    cuda.allocate_host(8)
    cuda.call("cuEventRecord", event, stream)
    cuda.capture(stream, lambda: None)
    assert len(driver.alive) == 5, "of a capture the graph that can be launched is left alone"
    cuda.close()
    assert driver.alive == {}
    freed = ["cuGraphExecDestroy", "cuMemFreeHost", "cuMemFree_v2", "cuEventDestroy_v2", "cuStreamDestroy_v2"]
    assert [name for name in driver.calls if "Free" in name or "Destroy" in name] == ["cuGraphDestroy", *freed]
    cuda.close()


def test_a_gpu_that_is_lost_does_not_keep_anything_from_closing(driver: Driver) -> None:
    cuda = Cuda()
    cuda.allocate(8)
    driver.fails |= dict.fromkeys(("cuCtxSetCurrent", "cuCtxSynchronize", "cuMemFree_v2"), 700)
    cuda.close()
    assert driver.calls[-1] == "cuMemFree_v2"


def test_a_capture_that_fails_leaves_no_graph(driver: Driver) -> None:
    cuda = Cuda()
    stream = cuda.make("cuStreamCreate", 0)

    def refuse() -> None:
        raise RuntimeError("an engine that refuses")

    with pytest.raises(RuntimeError, match="refuses"):
        cuda.capture(stream, refuse)
    driver.fails["cuGraphInstantiateWithFlags"] = 1
    with pytest.raises(CudaError, match=r"^cuGraphInstantiateWithFlags: unknown error \(1\)$"):
        cuda.capture(stream, lambda: None)
    assert list(driver.alive.values()) == ["cuStreamCreate"]


@pytest.fixture
def opened(
    load: Callable[..., ModuleType], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, Driver]]:
    """A bundle's engine, and the driver that it runs on."""

    def get(**fails: int) -> tuple[Any, Driver]:
        built(load, bundle, "10.3")
        engine, trt = load("engine"), load("tensorrt")
        there = found_by(monkeypatch, importlib.import_module("cuda_driver"))
        there.fails |= fails
        log = importlib.import_module("builder").logger(trt)
        cuda = importlib.import_module("cuda_driver").Cuda()
        return lambda: engine.Runner(trt, cuda, log, (bundle / "model.engine").read_bytes(), 1), there

    return get


def test_an_engine_gives_its_own_back_when_it_is_closed(opened: Callable[..., tuple[Any, Driver]]) -> None:
    make, driver = opened()
    runner = make()
    runner.run(IMAGES)
    runner.captured()
    assert Counter(driver.alive.values()) == {
        "cuStreamCreate": 1, "cuMemAlloc_v2": 2, "cuMemAllocHost_v2": 2, "cuGraphInstantiateWithFlags": 1
    }  # fmt: skip
    runner.close()
    assert driver.alive == {}
    assert runner.engine is None
    runner.close()


@pytest.mark.parametrize("call", ["cuMemAlloc_v2", "cuMemAllocHost_v2"])
def test_an_engine_that_there_is_no_memory_for_leaves_nothing(
    opened: Callable[..., tuple[Any, Driver]], call: str
) -> None:
    make, driver = opened(**{call: 2})
    with pytest.raises(Exception, match=rf"^{call}: unknown error \(2\)$"):
        make()
    assert "cuStreamCreate" in driver.calls
    assert driver.alive == {}
