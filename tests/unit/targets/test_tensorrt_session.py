"""Which engines are opened on which machine; and the timing loop, against a stand-in for the CUDA driver."""

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorrt_rtx
from onnx import TensorProto

from edgecnn import pipeline
from edgecnn.bench.tables import CHOOSING_S
from edgecnn.data.sets import load_set
from edgecnn.errors import UnavailableError
from edgecnn.graph.graph import Graph
from edgecnn.progress import Progress
from edgecnn.quant.table import QuantizerTable
from edgecnn.request import ExportRequest, plan
from edgecnn.targets import tensorrt, tensorrt_flavours, tensorrt_session
from edgecnn.targets.base import Interface, Options, StaticCost
from edgecnn.targets.builds import Builds
from edgecnn.targets.bundle.cuda_driver import Gpu, find_gpu
from edgecnn.targets.tensorrt import TensorRtTarget, advice
from edgecnn.targets.tensorrt_bundle import SCRIPTS
from edgecnn.targets.tensorrt_flavours import choose
from edgecnn.targets.tensorrt_session import Description, TensorRtSession

ADA = Gpu("NVIDIA GeForce RTX 4070", "SM89", "13.0")
HOPPER = Gpu("NVIDIA H100 80GB HBM3", "SM90", "13.0")
TURING = Gpu("NVIDIA T4", "SM75", "13.0")
PORTABLE = "for SM80, SM86, SM89, SM120, SM121 and newer"
INTERFACE = Interface(1, 3, 32, 32, 10)
VERSION = str(tensorrt_rtx.__version__)


def described(version: str = VERSION, architectures: tuple[str, ...] = (), module: str = "tensorrt_rtx") -> Description:
    return Description(module, version, architectures, ())


def on(monkeypatch: pytest.MonkeyPatch, gpu: Gpu | None) -> None:
    """A machine with this GPU, or none."""
    found = (gpu, "" if gpu else "there is no NVIDIA driver (libcuda.so.1)")
    for module in (tensorrt, tensorrt_flavours, tensorrt_session):
        monkeypatch.setattr(module, "find_gpu", lambda: found)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in for TensorRT 10.3 is installed."""
    monkeypatch.setenv("STAND_IN", "10.3")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "stand_ins"))
    sys.modules.pop("tensorrt", None)
    yield
    sys.modules.pop("tensorrt", None)


@pytest.mark.parametrize(
    ("description", "gpu", "absence"),
    [
        (described(), None, "there is no NVIDIA driver (libcuda.so.1)"),
        (described("1.6.0"), ADA, f"it was built by tensorrt_rtx 1.6.0, here is {VERSION}"),
        (described(architectures=("SM86",)), ADA, "it is for SM86, here is NVIDIA GeForce RTX 4070 (SM89)"),
        (described(architectures=("SM86", "SM89")), ADA, ""),
        (described(), ADA, ""),
        (described(), HOPPER, f"it is {PORTABLE}, here is NVIDIA H100 80GB HBM3 (SM90)"),
        (described(), TURING, f"it is {PORTABLE}, here is NVIDIA T4 (SM75)"),
        (described(architectures=("SM75",)), TURING, ""),
        (described(), ADA._replace(architecture="SM130"), ""),  # newer than all that RTX names
        (described(architectures=("SM121",)), HOPPER, "it is for SM121, here is NVIDIA H100 80GB HBM3 (SM90)"),
    ],
)
def test_an_engine_is_for_its_own_version_and_gpu(
    monkeypatch: pytest.MonkeyPatch, description: Description, gpu: Gpu | None, absence: str
) -> None:
    """Said when a session is made, before a byte of the engine is deserialized."""
    on(monkeypatch, gpu)
    session = TensorRtSession(b"never opened", description, INTERFACE)
    assert session.absence == absence
    if absence:
        with pytest.raises(UnavailableError, match="this engine cannot run here: "):
            session.run(np.zeros((1, 3, 32, 32), np.float32))


def test_an_engine_of_a_package_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, ADA)
    session = TensorRtSession(b"", described(module="no_such_tensorrt"), INTERFACE)
    assert session.absence.startswith("no_such_tensorrt cannot be imported (")


def test_auto_takes_rtx_without_a_gpu_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, None)
    flavour, architectures = choose(Options())
    assert (flavour.name, flavour.version, architectures) == ("tensorrt-rtx", VERSION, ())
    assert flavour.why == "TensorRT itself needs its package and its GPU: there is no NVIDIA driver (libcuda.so.1)"


def test_auto_takes_tensorrt_with_its_package_and_its_gpu(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    on(monkeypatch, ADA)
    flavour, _ = choose(Options())
    assert (flavour.name, flavour.why) == (
        "tensorrt-rtx",
        "TensorRT itself needs its package and its GPU: its package is not installed",
    )
    request.getfixturevalue("stand_in")
    flavour, _ = choose(Options())
    assert (flavour.name, flavour.version, flavour.architecture) == ("tensorrt", "10.3.0", "SM89")
    assert flavour.why == "its package and NVIDIA GeForce RTX 4070 are here"
    assert choose(Options("tensorrt-rtx", ("sm86",)))[1] == ("SM86",)


def test_a_folder_of_that_name_is_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As ``--out .`` for several targets makes one."""
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    on(monkeypatch, ADA)
    assert choose(Options())[0].name == "tensorrt-rtx"


def test_a_machine_without_a_driver_is_told_so() -> None:
    gpu, why = find_gpu()
    assert (gpu is None) == bool(why)


def test_tensorrt_itself_gets_scales_of_half_precision_unless_told(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    on(monkeypatch, ADA)
    target = TensorRtTarget()
    assert target.configured(Options("tensorrt-rtx")).settings["int8_scales"] == "fp32"
    assert target.configured(Options("tensorrt-rtx", fp16_scales=True)).settings["int8_scales"] == "fp16"
    request.getfixturevalue("stand_in")
    assert target.configured(Options()).settings["int8_scales"] == "fp16"
    assert target.configured(Options(fp16_scales=False)).settings["int8_scales"] == "fp32"


def test_a_gpu_that_rtx_does_not_know_builds_like_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an H100 the export once ended with the engine that it could not open, which without a GPU it never tried."""
    on(monkeypatch, HOPPER)
    configured = TensorRtTarget().configured
    assert configured(Options()).absence == f"its engines are {PORTABLE}, here is NVIDIA H100 80GB HBM3 (SM90)"
    assert configured(Options(gpu_arch=("sm86",))).absence.startswith("its engines are for SM86, here is ")
    request = ExportRequest("mobilenetv3_small", "tensorrt", "int8", "random", effort="best")
    with pytest.raises(UnavailableError, match="tensorrt cannot run here: its engines are for SM80, "):
        plan(request)
    on(monkeypatch, ADA)
    assert configured(Options()).absence == ""


def test_tensorrt_itself_is_for_its_own_gpu(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    on(monkeypatch, HOPPER)
    request.getfixturevalue("stand_in")
    assert TensorRtTarget().configured(Options()).absence == ""


def test_what_is_timed_for_the_ladder_is_what_is_built(
    monkeypatch: pytest.MonkeyPatch, tiny_graph: Callable[..., Graph], tiny_table: Callable[..., QuantizerTable]
) -> None:
    """Float layers in half precision; timed in float32 they would never seem to cost too much."""
    on(monkeypatch, ADA)
    request = ExportRequest("mobilenetv3_small", "tensorrt", "int8", "random", effort="best", flavour="tensorrt-rtx")
    planned = plan(request)
    calibration = load_set("fashion-mnist-512", [str(index) for index in range(10)])
    finished: list[Any] = []
    monkeypatch.setattr(pipeline, "table_timer", lambda *arguments: finished.append(arguments[3:]))
    monkeypatch.setattr("edgecnn.quant.ladder.climb", lambda *arguments: None)
    graph = tiny_graph()
    pipeline._climbed(graph, calibration, planned, Builds(planned.target), INTERFACE, Progress())
    ((finish, budget_s),) = finished
    assert budget_s == CHOOSING_S
    timed = finish(graph, tiny_table(symmetric=True))
    floats = [tensor for tensor in timed.model.graph.initializer if tensor.name == "classifier.3.weight"]
    assert [tensor.data_type for tensor in floats] == [TensorProto.FLOAT16]


@pytest.mark.parametrize(
    ("int8", "fp16", "conclusion"),
    [
        ((120, 5_000_000), (80, 2_000_000), "tensorrt-rtx will hardly gain by INT8 on this network; prefer --fp16"),
        ((70, 1_000_000), (80, 2_000_000), "INT8 has less to do; measure both on your GPU"),
        ((90, 1_000_000), (80, 2_000_000), "neither is clearly less; measure both on your GPU"),
    ],
)
def test_advice_follows_from_what_was_counted(int8: tuple[int, int], fp16: tuple[int, int], conclusion: str) -> None:
    found = advice(StaticCost("int8", *int8), StaticCost("fp16", *fp16), "tensorrt-rtx")
    assert conclusion in found.text


class StandInCuda:
    """Shaped like the bundle's driver: a launch takes half a millisecond, and events count time."""

    def __init__(self, graphs: bool) -> None:
        self.graphs, self.launches, self.events = graphs, 0, 0

    def call(self, name: str, *arguments: Any) -> None:
        if name == "cuGraphLaunch":
            self.launches += 1
            time.sleep(0.0005)
        elif name == "cuEventRecord":
            self.events += 1

    def make(self, name: str, *arguments: Any) -> str:
        return name

    def synchronize(self, stream: Any) -> None: ...

    def elapsed_ms(self, start: Any, stop: Any) -> float:
        return 0.5


class StandInRunner:
    """Shaped like the bundle's engine."""

    stream = None

    def __init__(self, cuda: StandInCuda) -> None:
        self._cuda, self.executed = cuda, 0

    def run(self, image: Any) -> Any:
        return image[:, 0, 0, :10]

    def execute(self) -> None:
        self.executed += 1
        time.sleep(0.0005)

    def captured(self) -> str:
        if not self._cuda.graphs:
            raise importlib.import_module("cuda_driver").CudaError("not permitted")
        return "graph"


class FiveWatts:
    """Shaped like a rail."""

    name = "VDD_IN"

    def watts(self) -> float:
        return 5.0


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """``run.py``, as it is imported on a device."""
    names = [path.stem for path in SCRIPTS.glob("*.py")]
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module("run")
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("graphs", [True, False])
def test_times_are_of_a_cuda_graph_or_say_that_they_are_not(run: ModuleType, graphs: bool) -> None:
    cuda = StandInCuda(graphs)
    runner = StandInRunner(cuda)
    found = run.benchmark(cuda, runner, np.zeros((1, 3, 32, 32), np.float32), 0.05, [])
    assert found["cuda_graph"] is graphs
    assert (cuda.launches > 0, runner.executed > 0) == (graphs, not graphs)
    assert found["gpu_ms"]["p50"] == found["gpu_ms"]["max"] == 0.5
    assert found["host_ms"]["n"] == found["gpu_ms"]["n"] >= 10
    assert cuda.events == 2 * found["gpu_ms"]["n"]
    assert found["host_ms"]["min"] >= 0.5
    assert found["power"] is None
    assert [note for note in found["notes"] if "no CUDA graph" in note] == (
        [] if graphs else ["no CUDA graph: not permitted"]
    )


@pytest.mark.parametrize("batch", [1, 4])
def test_energy_is_the_mean_power_over_the_whole_loop_by_image(run: ModuleType, batch: int) -> None:
    cuda = StandInCuda(True)
    found = run.benchmark(cuda, StandInRunner(cuda), np.zeros((batch, 3, 32, 32), np.float32), 0.1, [FiveWatts()])
    power, times = found["power"], found["host_ms"]
    assert (power["rails_w"], power["total_w"]) == ({"VDD_IN": 5.0}, 5.0)
    # A call's own time, and what the loop takes besides.
    assert 1.0 <= power["joules_per_image"] / (5.0 * times["mean"] / 1000 / batch) < 2.0


def test_the_last_batch_is_filled_up(run: ModuleType) -> None:
    images = np.random.default_rng(0).normal(0, 1, (5, 3, 32, 32)).astype(np.float32)
    shapes = []

    class Recording(StandInRunner):
        def run(self, image: Any) -> Any:
            shapes.append(image.shape)
            return super().run(image)

    found = run.answers(Recording(StandInCuda(True)), images, 2)
    assert shapes == [(2, 3, 32, 32)] * 3
    np.testing.assert_array_equal(found, images[:, 0, 0, :10])
    assert Path(str(run.__file__)).parent == SCRIPTS
