"""A GPU's peak: what the stack becomes, by the real builder, and what its times come to, by a stand-in for CUDA."""

from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest

from edgecnn.bench import gpu_peak as module
from edgecnn.bench.gpu_peak import BATCH, gpu_peak, stack_engine
from edgecnn.bench.peak import measure_peak
from edgecnn.bench.peak_graph import CHANNELS, MACS, SIDE, peak_graph
from edgecnn.errors import UnavailableError
from edgecnn.names import INPUT
from edgecnn.targets.base import BF16, FP16, FP32, INT8, UNTUNED
from edgecnn.targets.bundle.builder import Refused
from edgecnn.targets.bundle.cuda_driver import CudaError

MS = 0.5


class StandInCuda:
    """Events are half a millisecond apart, but the first pair, when kernels are not warm."""

    def __init__(self) -> None:
        self.pairs = 0

    def call(self, name: str, *arguments: Any) -> None: ...

    def make(self, name: str, *arguments: Any) -> str:
        return name

    def elapsed_ms(self, start: Any, stop: Any) -> float:
        self.pairs += 1
        return 10.0 if self.pairs == 1 else MS


class StandInRunner:
    stream = None
    opened: ClassVar[set["StandInRunner"]] = set()

    def __init__(self, *arguments: Any) -> None:
        self.opened.add(self)

    def close(self) -> None:
        self.opened.remove(self)

    def run(self, image: Any) -> None:
        assert image.shape == (BATCH, CHANNELS, SIDE, SIDE)

    def captured(self) -> str:
        return "graph"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.01)
    monkeypatch.setattr(module, "Cuda", StandInCuda)
    monkeypatch.setattr(module, "Runner", StandInRunner)
    monkeypatch.setattr(module, "stack_engine", lambda package, precision: (b"", frozenset({precision})))


@pytest.mark.parametrize("precision", [FP32, FP16, INT8])
def test_the_stack_runs_in_what_it_is_measured_for(precision: str) -> None:
    engine, ran = stack_engine("tensorrt_rtx", precision)
    assert engine
    assert ran == {precision}


def test_every_spelling_computes_the_same() -> None:
    """Else a peak would be of other work."""
    image = np.random.default_rng(0).normal(0, 1, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)

    def answer(*how: Any) -> Any:
        session = onnxruntime.InferenceSession(peak_graph(*how), providers=["CPUExecutionProvider"])
        return session.run(None, {INPUT: image})[0]

    want = answer(FP32)
    assert 0.2 < want.min() <= want.max() < 1, "what goes through does not keep its size"
    np.testing.assert_allclose(answer(FP16), want, rtol=1e-2)
    np.testing.assert_allclose(answer(INT8, 1, True), want, rtol=0.05)
    assert answer(INT8).min() > 0.2  # unsigned codes have nothing below zero for the image


@pytest.mark.usefixtures("gpu")
def test_a_peak_is_of_the_fastest_run_and_of_the_whole_batch() -> None:
    for found in (gpu_peak("tensorrt_rtx", FP16), measure_peak("tensorrt_rtx", INT8, UNTUNED)):
        assert found == pytest.approx(2 * BATCH * MACS / (MS / 1000) / 1e9)
    assert StandInRunner.opened == set()


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("stack_engine", Refused("no kernel")),
        ("stack_engine", UnavailableError("not installed")),
        ("Runner", CudaError("out of memory")),
        ("Runner", OSError("no driver")),
        ("Runner", RuntimeError("refused")),
    ],
)
def test_what_cannot_be_built_or_run_has_no_peak(monkeypatch: pytest.MonkeyPatch, step: str, error: Exception) -> None:
    def refuse(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(module, step, refuse)
    assert gpu_peak("tensorrt_rtx", FP16) is None


@pytest.mark.usefixtures("gpu")
def test_a_stack_that_fails_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: StandInRunner) -> str:
        raise CudaError("not permitted")

    monkeypatch.setattr(StandInRunner, "captured", fail)
    assert gpu_peak("tensorrt_rtx", FP16) is None
    assert StandInRunner.opened == set()


@pytest.mark.usefixtures("gpu")
def test_what_runs_in_another_precision_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_peak("tensorrt_rtx", BF16) is None
    monkeypatch.setattr(module, "stack_engine", lambda package, precision: (b"", frozenset({FP32, precision})))
    assert gpu_peak("tensorrt_rtx", INT8) is None
