"""An engine's buffers, stream, graph and events on a real GPU, whether or not a TensorRT is for it.

TensorRT is a stand-in, which copies its input; CUDA is not.
"""

import ctypes
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgecnn.targets.tensorrt_bundle import SCRIPTS

pytestmark = pytest.mark.usefixtures("gpu")
IMAGE, CLASSES = (4, 3, 64, 64), 10


class Trt:
    """What ``engine.Runner`` asks of a TensorRT."""

    class TensorIOMode:
        INPUT, OUTPUT = range(2)

    class ILogger:
        """The builder makes a logger of it."""

    def __init__(self, cuda: Any) -> None:
        self.cuda = cuda
        self.batch = IMAGE[0]
        self.addresses: dict[str, int] = {}
        self.num_io_tensors = 2

    def Runtime(self, logger: Any) -> "Trt":
        return self

    def deserialize_cuda_engine(self, content: bytes) -> "Trt":
        return self

    def create_execution_context(self) -> "Trt":
        return self

    def get_tensor_name(self, index: int) -> str:
        return ("image", "logits")[index]

    def get_tensor_mode(self, name: str) -> int:
        return ("image", "logits").index(name)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.batch, *IMAGE[1:]) if name == "image" else (self.batch, CLASSES)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.batch = shape[0]
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """Logits are the first numbers of the input, moved by the GPU in the stream's order."""
        to, source = (ctypes.c_void_p(self.addresses[name]) for name in ("logits", "image"))
        size = ctypes.c_size_t(4 * self.batch * CLASSES)
        self.cuda.call("cuMemcpyDtoDAsync_v2", to, source, size, ctypes.c_void_p(stream))
        return True


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``load(name)``: a script of the bundle, as it is imported on a device."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for path in SCRIPTS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def cuda(load: Any) -> Any:
    return load("cuda_driver").Cuda()


@pytest.fixture
def runner(load: Any, cuda: Any) -> Any:
    trt = Trt(cuda)
    return load("engine").Runner(trt, cuda, load("builder").logger(trt), b"an engine", IMAGE[0])


def images(seed: int, n: int = IMAGE[0]) -> Any:
    return np.random.default_rng(seed).normal(0, 1, (n, *IMAGE[1:])).astype(np.float32)


def answer(image: Any) -> Any:
    return image.reshape(-1)[: len(image) * CLASSES].reshape(len(image), CLASSES)


def test_each_image_gets_its_own_answer(runner: Any) -> None:
    for seed, n in ((0, 4), (1, 4), (2, 1), (3, 3), (4, 4)):
        np.testing.assert_array_equal(runner.run(images(seed, n)), answer(images(seed, n)))


def test_a_graph_answers_for_what_was_uploaded_last(runner: Any, cuda: Any) -> None:
    runner.run(images(0))
    graph = runner.captured()
    for seed in (1, 2):
        runner.upload(images(seed))
        cuda.call("cuGraphLaunch", graph, runner.stream)
        np.testing.assert_array_equal(runner.download(), answer(images(seed)))


def test_times_are_of_the_graph_by_the_gpu_and_by_the_host(load: Any, runner: Any, cuda: Any) -> None:
    run: ModuleType = load("run")
    found = run.benchmark(cuda, runner, images(0), 0.3, [])
    assert found["cuda_graph"], found["notes"]
    assert found["gpu_ms"]["n"] == found["host_ms"]["n"] == len(found["calls_ms"]) >= 100
    assert 0 < found["gpu_ms"]["min"] <= found["gpu_ms"]["p50"] <= found["host_ms"]["p50"] < 1
    assert Path(str(run.__file__)).parent == SCRIPTS
