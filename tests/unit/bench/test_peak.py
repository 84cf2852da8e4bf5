"""The roof over a row: a graph that runtimes really run in the precision that it is measured for."""

import copy
import platform

import onnx
import pytest
import torch

from edgecnn.bench.machine import facts, snapshot
from edgecnn.bench.peak import measure_peak, roofline
from edgecnn.bench.peak_graph import MACS, peak_graph
from edgecnn.bench.torch_session import TorchSession
from edgecnn.data.preprocess import Float
from edgecnn.graph.graph import Graph
from edgecnn.graph.macs import layer_macs
from edgecnn.targets.base import BF16, FP16, FP32, INT8, UNTUNED, Tuning


@pytest.mark.parametrize(("precision", "signed"), [(FP32, False), (FP16, False), (INT8, False), (INT8, True)])
@pytest.mark.parametrize("batch", [1, 4])
def test_the_graph_is_onnx(precision: str, signed: bool, batch: int) -> None:
    model = onnx.load_from_string(peak_graph(precision, batch, signed))
    onnx.checker.check_model(model, full_check=True)
    if precision == FP32:
        assert sum(layer_macs(Graph(model)).values()) == MACS


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", [FP32, INT8])
def test_a_peak_is_of_the_precision_that_really_runs(package: str, precision: str) -> None:
    found = measure_peak(package, precision, Tuning(1))
    assert found is not None
    assert found > 0.1


def test_torch_runs_the_same_stack() -> None:
    found = measure_peak("torch", FP32, Tuning(1))
    assert found is not None
    assert found > 0.1


def test_a_stack_that_torch_rounds_is_no_peak_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether oneDNN rounds float32 depends on the CPU as well as on its settings; here something surely does."""

    def rounded(self: TorchSession, image: Float) -> Float:
        with torch.inference_mode():
            logits: Float = copy.deepcopy(self._network).bfloat16().float()(torch.from_numpy(image)).numpy()
        return logits

    monkeypatch.setattr(TorchSession, "_run", rounded)
    assert measure_peak("torch", FP32, Tuning(1)) is None


def test_bf16_has_a_peak_where_the_cpu_has_bf16() -> None:
    isa = set(facts(snapshot(), snapshot())["cpu"].get("isa", ()))
    found = measure_peak("openvino", BF16, Tuning(1))
    if isa & {"avx512_bf16", "amx_bf16"}:
        assert found is not None
        assert found > 0.1
    elif platform.machine() == "x86_64" and "avx512f" not in isa:
        assert found is None


@pytest.mark.parametrize(("package", "precision"), [("torch", BF16), ("onnxruntime", BF16), ("tensorrt", INT8)])
def test_what_cannot_be_measured_has_no_peak(package: str, precision: str) -> None:
    assert measure_peak(package, precision, UNTUNED) is None


def test_a_row_is_held_against_the_precision_that_most_of_it_runs_in() -> None:
    found = roofline({"int8": 0.9, "fp32": 0.1}, 5_000_000, 0.001, {"int8": 100.0, "fp32": 20.0})
    assert found is not None
    assert (found.precision, found.gops, found.peak_gops, found.share) == ("int8", 10.0, 100.0, 0.1)
    assert roofline({"bf16": 1.0}, 1, 1.0, {"int8": 100.0}) is None
    assert roofline({}, 1, 1.0, {"int8": 100.0}) is None
