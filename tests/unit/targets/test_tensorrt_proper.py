"""TensorRT itself in this process, by stand-ins for three versions and for a GPU: export, and times of layers."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn.bench.bench import BenchRequest, bench
from edgecnn.bench.record import Energy
from edgecnn.bench.tables import table_timer
from edgecnn.errors import BuildError, UsageError
from edgecnn.graph.graph import Graph
from edgecnn.pipeline import Exported, export
from edgecnn.quant.table import QuantizerTable
from edgecnn.request import ExportRequest
from edgecnn.targets import tensorrt, tensorrt_flavours, tensorrt_session
from edgecnn.targets.base import Interface, Options, Session, Tuning
from edgecnn.targets.builds import Builds
from edgecnn.targets.bundle import cuda_driver
from edgecnn.targets.bundle.cuda_driver import Gpu
from edgecnn.targets.tensorrt import TensorRtTarget
from edgecnn.verify.golden import read_golden
from edgecnn.verify.reopen import open_session
from tests.stand_ins.cuda import Driver, found_by

STAND_INS = Path(__file__).parents[2] / "stand_ins"
ORIN = Gpu("Stand-in", "SM87", "12.6")
REQUEST = ExportRequest(
    "mobilenetv3_small", "tensorrt", "int8", "random", num_classes=10, size=(32, 32), effort="fast", flavour="tensorrt"
)


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return found_by(monkeypatch, cuda_driver)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Exported]]:
    """``built("10.3", precision="fp16")``: an artifact of that stand-in, which goes on being here."""

    def get(version: str, **changes: object) -> Exported:
        monkeypatch.setenv("STAND_IN", version)
        monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
        monkeypatch.syspath_prepend(str(STAND_INS))
        sys.modules.pop("tensorrt", None)
        importlib.invalidate_caches()
        for module in (tensorrt, tensorrt_flavours, tensorrt_session):
            monkeypatch.setattr(module, "find_gpu", lambda: (ORIN, ""))
        return export(replace(REQUEST, out=tmp_path / "out", **changes))  # type: ignore[arg-type]  # by the dataclass

    yield get
    sys.modules.pop("tensorrt", None)


@pytest.mark.parametrize("version", ["8.6", "10.3", "11.4"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_version_builds_every_precision(built: Callable[..., Exported], version: str, precision: str) -> None:
    exported = built(version, precision=precision, effort="fast" if precision == "int8" else None)
    assert exported.artifact.manifest["runtime"]["flavour"] == "tensorrt"
    found = {layer.precision for layer in open_session(exported.artifact).executed() if layer.nodes}
    assert found == ({"int8", "fp16"} if precision == "int8" else {"fp16"})  # the stand-in has no other word for floats
    assert exported.verification.executed


def test_eight_has_no_scales_of_half_precision(built: Callable[..., Exported]) -> None:
    assert built("8.6").artifact.manifest["runtime"]["int8_scales"] == "fp32"
    with pytest.raises(
        UsageError, match=r"--fp16-scales needs TensorRT 10 or newer, here is tensorrt 8\.6\.2; drop it"
    ):
        built("8.6", fp16_scales=True)


def test_bench_shows_where_the_time_goes_by_module(built: Callable[..., Exported], driver: Driver) -> None:
    artifact = built("10.3").artifact
    run = bench(BenchRequest((artifact.folder,), duration_s=0.1, layers=True))
    assert driver.alive == {}, "left on the GPU"
    (row,) = run.rows
    assert (row.status, row.runtime) == ("ok", "tensorrt 10.3.0")
    session = open_session(artifact, Tuning(profiled=True))
    layers = [layer for layer in session.executed() if layer.nodes]
    assert [time.module for time in row.layers] == [layer.nodes[0].partition("/")[0] for layer in layers]
    assert [time.precision for time in row.layers] == [layer.precision for layer in layers]
    assert [time.ms for time in row.layers] == pytest.approx([(place + 1) / 1000 for place in range(len(layers))])
    assert sum(time.share for time in row.layers) == pytest.approx(1, abs=1e-3)


def test_an_engine_that_fails_is_a_refusal_that_costs_its_row_alone(
    built: Callable[..., Exported],
    tiny_export: Callable[..., Exported],
    driver: Driver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other, engine = tiny_export("onnx", "fp32").artifact.folder, built("10.3").artifact
    image = read_golden(engine).inputs[:1]
    driver.fails["cuMemcpyHtoDAsync_v2"] = 700
    for ask in (Session.run, Session.run_again, lambda session, batch: session.kernel_times([batch])):
        with pytest.raises(BuildError, match=r"^tensorrt 10\.3\.0 fails to run the engine: cuMemcpyHtoD.* \(700\)$"):
            ask(open_session(engine), image)
    driver.fails.clear()
    monkeypatch.setattr(sys.modules["tensorrt"]._Context, "execute_async_v3", lambda self, stream: False)
    failed, timed = bench(BenchRequest((engine.folder, other), duration_s=0.1)).rows
    assert failed.status == "tensorrt 10.3.0 fails to run the engine: no reason given"
    assert timed.times is not None


def test_each_row_s_energy_is_of_what_computes_it(
    built: Callable[..., Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch beside an engine runs on the CPU, whose joules the GPU's meter does not know."""
    asked: list[bool] = []

    def measure(work: object, on_gpu: bool) -> Energy:
        asked.append(on_gpu)
        return Energy(None, "", "not asked here")

    monkeypatch.setattr("edgecnn.bench.bench.measure_energy", measure)
    run = bench(BenchRequest((built("10.3").artifact.folder,), against=("eager",), duration_s=0.1))
    assert [row.kind for row in run.rows] == ["eager", "artifact"]
    assert asked == [False, True]


def test_a_session_that_is_dropped_leaves_nothing_on_the_gpu(built: Callable[..., Exported], driver: Driver) -> None:
    artifact = built("10.3").artifact
    session = open_session(artifact)
    session.run(read_golden(artifact).inputs[:1])
    assert len(driver.alive) == 5  # two buffers there, two here, and a stream
    del session
    assert driver.alive == {}


def test_networks_that_were_timed_leave_nothing_on_the_gpu(
    built: Callable[..., Exported],
    driver: Driver,
    tiny_graph: Callable[..., Graph],
    tiny_table: Callable[..., QuantizerTable],
) -> None:
    """More of them than builds are kept."""
    built("10.3")
    target = TensorRtTarget().configured(Options("tensorrt"))
    graph, image = tiny_graph(), np.zeros((1, 3, 32, 32), np.float32)
    finished = [graph, target.finished(graph, "fp16"), tiny_graph("mobilenetv2")]
    driver.calls.clear()
    with Builds(target) as builds:
        timer = table_timer(builds, Interface(1, 3, 32, 32, 10), image, lambda graph, table: finished.pop(), 0.01)
        assert len(timer(graph, [tiny_table()] * 3)) == 2
    assert driver.calls.count("cuStreamCreate") == 3
    assert driver.alive == {}
