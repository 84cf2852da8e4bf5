"""``run.py`` by stand-ins for TensorRT and for CUDA: what it checks, what it times, and what it writes."""

import importlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgecnn.bench.device import device_run
from edgecnn.pipeline import Exported
from tests.stand_ins.cuda import found_by
from tests.unit.targets.bundle.conftest import VERSIONS, built


@pytest.fixture
def run_all(
    load: Callable[..., ModuleType], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """All of ``run.py``, by stand-ins for TensorRT, which answers zeros as random weights nearly do, and for CUDA."""

    def call(version: str, *arguments: str) -> dict[str, Any]:
        run, gpu = load("run", version), importlib.import_module("cuda_driver").Gpu("Stand-in", "SM87", "12.6")
        driver = found_by(monkeypatch, importlib.import_module("cuda_driver"))
        for name, value in (("gpu_here", lambda: gpu), ("HERE", bundle)):
            monkeypatch.setattr(run, name, value)
        monkeypatch.setattr(sys, "argv", ["run.py", "--seconds", "0.01", *arguments])
        run.main()
        assert "cuGraphLaunch" in driver.calls
        assert driver.alive == {}, "left on the GPU"
        result: dict[str, Any] = json.loads((bundle / "result.json").read_text())
        return result

    return call


@pytest.mark.parametrize("version", VERSIONS)
def test_run_writes_where_the_time_goes(
    load: Callable[..., ModuleType],
    run_all: Callable[..., dict[str, Any]],
    exported: Exported,
    bundle: Path,
    version: str,
) -> None:
    found, _ = built(load, bundle, version)
    result = run_all(version)
    assert result["latency"]["cuda_graph"]
    layers = result["layers"]
    kernels = found["kernels"]
    assert [row["name"] for row in layers] == [kernel["name"] for kernel in kernels]
    assert [row["nodes"] for row in layers] == [list(kernel["nodes"]) for kernel in kernels]
    assert [row["precision"] for row in layers] == [kernel["precision"] for kernel in kernels]
    assert [row["ms"] for row in layers] == pytest.approx([(place + 1) / 1000 for place in range(len(layers))])
    (row,) = device_run(exported.artifact.folder, bundle / "result.json").rows
    assert row.times is not None
    assert row.times.n == result["latency"]["gpu_ms"]["n"] >= 10
    assert [layer.ms for layer in row.layers] == [round(layer["ms"], 5) for layer in layers]


def test_a_dynamic_batch_is_timed_as_asked(
    tiny_export: Callable[..., Exported],
    load: Callable[..., ModuleType],
    run_all: Callable[..., dict[str, Any]],
    bundle: Path,
) -> None:
    archive = tiny_export("tensorrt", "int8", flavour="bundle", batch=None).artifact.files["bundle.zip"]
    shutil.rmtree(bundle)
    zipfile.ZipFile(archive).extractall(bundle.parent)
    built(load, bundle, "10.3")
    for arguments, batch in (((), 1), (("--batch", "8"), 8)):
        result = run_all("10.3", *arguments)
        assert (result["latency"]["batch"], result["parity"]["n"]) == (batch, 12), "every pair, though 12 is no eights"


@pytest.mark.parametrize(
    ("fixed", "asked", "batch"), [(1, None, 1), (4, None, 4), (4, 4, 4), (None, None, 1), (None, 8, 8), (None, 64, 64)]
)
def test_a_batch_is_the_bundles_own_or_as_asked_where_it_is_dynamic(
    load: Callable[..., ModuleType], fixed: int | None, asked: int | None, batch: int
) -> None:
    assert load("run").batch_size({"interface": {"batch": fixed}, "batches": [1, 8, 64]}, asked) == batch


@pytest.mark.parametrize(
    ("fixed", "asked", "expected"), [(4, 1, "4"), (None, 0, "1 to 64"), (None, 65, "1 to 64"), (None, -1, "1 to 64")]
)
def test_a_batch_that_it_is_not_for_is_refused(
    load: Callable[..., ModuleType], fixed: int | None, asked: int, expected: str
) -> None:
    run = load("run")
    with pytest.raises(run.Stop, match=f"^--batch is {asked}, this bundle takes {expected}$") as caught:
        run.batch_size({"interface": {"batch": fixed}, "batches": [1, 8, 64]}, asked)
    assert caught.value.code == 2


def test_times_of_layers_are_of_the_middle_half_and_leave_the_first_run_out(load: Callable[..., ModuleType]) -> None:
    times, trt = load("layer_times"), load("tensorrt")

    class Runner:
        runs = 0
        profiler: Any = None

        def profile(self, profiler: Any) -> None:
            self.profiler = profiler

        def run(self, image: int) -> None:
            self.runs += 1
            if self.profiler is not None:
                for name, ms in (("a", image), ("b", 1), ("a", image)):  # a layer may be told of in parts
                    self.profiler.report_layer_time(name, ms)

    runner = Runner()
    found = times.layer_times(trt, runner, [1, 2, 3, 1000])
    assert runner.runs == 5
    assert found == {"a": [2, 4, 6, 2000], "b": [1, 1, 1, 1]}
    assert list(found) == ["a", "b"]
    assert times.middle_mean(found["a"]) == 5


def test_a_layer_is_found_by_its_name_or_by_a_node_in_it(load: Callable[..., ModuleType]) -> None:
    layers = load("layers")
    known = (
        layers.Kernel("CaskConvolution", ("a/Conv", "a/Relu"), "int8", 8, "a/Conv + a/Relu"),
        layers.Kernel("Reformat", (), "fp16", 8, "Reformatting CopyNode"),
        layers.Kernel("PointWise", ("b/Relu",), "fp16", 8, "PWN(b/Relu)"),
    )
    for name, found in (("a/Conv + a/Relu", 0), ("Reformatting CopyNode", 1), ("b/Relu || c/Conv", 2)):
        assert layers.kernel_called(name, known) is known[found]
    assert layers.kernel_called("unheard of", known) == ("Unlisted", (), "unknown", 0, "unheard of")


def test_parity_holds_engines_to_edgecnns_own_bounds(load: Callable[..., ModuleType]) -> None:
    from edgecnn.parity import compare
    from edgecnn.verify.policy import FLOAT_TOLERANCES

    run = load("run")
    assert run.TOLERANCES == FLOAT_TOLERANCES
    random = np.random.default_rng(0)
    want = random.normal(0, 1, (16, 10)).astype(np.float32)
    near, far = want + np.float32(1e-3), random.normal(0, 1, (16, 10)).astype(np.float32)
    gate = {"max_kl": 0.1, "min_agreement": 0.95, "max_drop_pp": 1.0}
    assert run.parity(want, near, "fp16", gate)["reasons"] == []
    assert "fp32 allows" in run.parity(want, near, "fp32", gate)["reasons"][0]
    assert "KL divergence" in run.parity(want, far, "int8", gate)["reasons"][0]
    with pytest.raises(run.Stop, match="they are not finite") as caught:
        run.parity(want, want * np.float32(np.nan), "int8", gate)
    assert caught.value.code == 6
    theirs, ours = run.parity(want, far, "int8", gate), compare(want, far)
    for key in ("n", "max_abs", "cosine", "sqnr_db", "agreement", "kl"):
        assert theirs[key] == pytest.approx(getattr(ours, key), rel=1e-9)


def test_an_engine_that_is_refused_is_refused_in_tensorrts_words(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all its errors the last, and none of an earlier engine's."""
    builder, engine, trt = load("builder"), load("engine"), load("tensorrt")
    log = builder.logger(trt)
    log.log(trt.Severity.ERROR, "of an earlier engine")
    found_by(monkeypatch, importlib.import_module("cuda_driver"))
    cuda = importlib.import_module("cuda_driver").Cuda()
    monkeypatch.setattr(trt.Runtime, "deserialize_cuda_engine", lambda self, content: None)
    with pytest.raises(RuntimeError, match=r"^no reason given$"):
        engine.Runner(trt, cuda, log, b"", 1)

    def refuse(self: Any, content: bytes) -> None:
        log.log(trt.Severity.ERROR, "cannot run\non this GPU")
        log.log(trt.Severity.WARNING, "and more")

    monkeypatch.setattr(trt.Runtime, "deserialize_cuda_engine", refuse)
    with pytest.raises(RuntimeError, match=r"^cannot run on this GPU$"):
        engine.Runner(trt, cuda, log, b"", 1)


def test_a_batch_that_an_engine_or_its_buffers_do_not_take_is_refused(
    tiny_export: Callable[..., Exported],
    load: Callable[..., ModuleType],
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it went past the end of the buffer, and TensorRT ran whatever it had run before."""
    archive = tiny_export("tensorrt", "int8", flavour="bundle", batch=None).artifact.files["bundle.zip"]
    shutil.rmtree(bundle)
    zipfile.ZipFile(archive).extractall(bundle.parent)
    built(load, bundle, "10.3")
    engine, trt = load("engine"), load("tensorrt")
    content, log = (bundle / "model.engine").read_bytes(), importlib.import_module("builder").logger(trt)
    found_by(monkeypatch, importlib.import_module("cuda_driver"))

    def runner(batch: int) -> Any:
        return engine.Runner(trt, importlib.import_module("cuda_driver").Cuda(), log, content, batch)

    images = np.zeros((65, 3, 32, 32), np.float32)
    assert runner(8).run(images[:8]).shape == (8, 10)
    with pytest.raises(RuntimeError, match=r"^image is \(9, .*, its buffer holds 8 of them; run fewer at once$"):
        runner(8).run(images[:9])
    with pytest.raises(RuntimeError, match=r"^image cannot be \(65, .*: a batch of 65 is outside of the profile$"):
        runner(65).run(images)
