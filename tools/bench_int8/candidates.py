"""Every way from the FP32 graph to INT8 that is compared; each gets the same graph and the same images.

Peers are used as their own documents say, with their defaults but for what is named here. They are imported where they
are used, so that one that is missing or broken costs its own row alone.
"""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.data.sets import ImageSet
from edgecnn.data.split import spread
from edgecnn.graph.fold import fold
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.to_onnx import to_onnx
from edgecnn.models.weights import load_model
from edgecnn.names import INPUT

# What `edgecnn export` runs between the FP32 graph and the runtime's files, without the gate at its end.
from edgecnn.pipeline import _climbed, _images, _quantized
from edgecnn.progress import Progress
from edgecnn.recipe import class_names
from edgecnn.request import ExportRequest, Plan, plan
from edgecnn.targets.base import Interface
from edgecnn.targets.builds import Builds
from edgecnn.targets.registry import find_target

if TYPE_CHECKING:
    from torch import nn

BATCH = 32
BIAS = 0.1  # of random networks, standard deviation; their channels' own is about 1
FP32, OURS, NNCF = "FP32", "edgecnn", "NNCF"


@dataclass(frozen=True)
class Ground:
    """What every candidate starts from.

    Args:
        graph: the folded FP32 network at batch 1.
    """

    model: str
    weights: str
    labels: list[str]
    graph: Graph
    calibration: ImageSet

    @property
    def side(self) -> int:
        return self.graph.input_shape[2]

    def planned(self, target: str) -> Plan:
        """The export of this network at this size."""
        return plan(ExportRequest(self.model, target, "int8", weights=self.weights, size=(self.side, self.side)))

    @cached_property
    def inputs(self) -> Float:
        """``(n, 3, H, W) float32``: the calibration images as the network reads them."""
        return np.concatenate(list(self.calibration.batches(self.planned("openvino").data.preprocess, BATCH)))


def prepare(model: str, weights: str, side: int | None, calibration_images: int | None) -> Ground:
    """The FP32 graph and the calibration images.

    Args:
        side: pixels; None is the recipe's own size.
    """
    size = None if side is None else (side, side)
    planned = plan(ExportRequest(model, "openvino", "int8", weights=weights, size=size))
    loaded = load_model(planned.spec, planned.source)
    if planned.source == "random":
        _with_biases(loaded.model)
    labels = class_names(planned.data, loaded.num_classes)
    with _images(planned, labels) as (calibration, _):
        pass  # what is not decoded by now is when it is asked for
    if calibration is None:
        raise AssertionError("INT8 always has calibration images")
    if calibration_images is not None:
        calibration = spread(calibration, calibration_images)
    how = planned.data.preprocess
    return Ground(model, weights, labels, to_onnx(fold(loaded.model), 3, how.height, how.width), calibration)


def _with_biases(model: "nn.Module") -> None:
    """Batch norms as after some training: a random network's biases are zero, and OpenVINO leaves those out."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, std=BIAS, generator=generator)


@dataclass(frozen=True)
class Candidate:
    """A way to INT8, or the FP32 network itself.

    Args:
        make: gives what the runtime opens: an ``openvino.Model``, or the bytes of an ONNX graph.
    """

    runtime: str
    quantizer: str
    make: Callable[[Ground], Any]


def _openvino(graph: Graph) -> Any:
    """Through the files that edgecnn publishes."""
    import openvino

    files = find_target("openvino").build(with_batch(graph, 1))
    return openvino.Core().read_model(files[".xml"], files[".bin"])


def _ours(ground: Ground, target: str) -> Graph:
    planned = ground.planned(target)
    interface = Interface(1, 3, ground.side, ground.side, len(ground.labels))
    with Builds(planned.target) as builds:
        climbed = _climbed(ground.graph, ground.calibration, planned, builds, interface, Progress())
    return _quantized(climbed.graph, climbed.table, planned)


def _converted(graph: Graph) -> Any:
    """An ``openvino.Model`` with its constants folded."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph.content)
        return openvino.convert_model(path)


def _read(graph: Graph) -> Any:
    """An ``openvino.Model`` as the ONNX reader leaves it.

    Here a bias is a Reshape of a constant, in which NNCF sees no bias: it corrects none, and puts a quantizer between
    a convolution and its bias, which is slow. It says neither. The row is there for whoever quantizes that way.
    """
    import openvino

    return openvino.Core().read_model(graph.content)


def _nncf(ground: Ground, model: Any, fast: bool = True) -> Any:
    """``nncf.quantize`` with the mixed preset: symmetric weights, asymmetric activations."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        model,
        nncf.Dataset([image[None] for image in ground.inputs]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(ground.inputs),
        fast_bias_correction=fast,
    )


class _Feed:
    """Calibration images one at a time, in the shape that ONNX Runtime asks for."""

    def __init__(self, images: Float) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Float] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT: image[None]}


def _quantize_static(ground: Ground) -> bytes:
    """ONNX Runtime's own quantizer: Q/DQ nodes, U8 activations from min-max, S8 weights per channel."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, quantized = (str(Path(folder) / f"{name}.onnx") for name in ("plain", "prepared", "quantized"))
        Path(plain).write_bytes(ground.graph.content)
        quant_pre_process(plain, prepared)
        quantize_static(
            prepared,
            quantized,
            _Feed(ground.inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return Path(quantized).read_bytes()


CANDIDATES = (
    Candidate("openvino", FP32, lambda ground: _openvino(ground.graph)),
    Candidate("openvino", OURS, lambda ground: _openvino(_ours(ground, "openvino"))),
    Candidate("openvino", NNCF, lambda ground: _nncf(ground, _converted(ground.graph))),
    Candidate("openvino", "NNCF, accurate", lambda ground: _nncf(ground, _converted(ground.graph), fast=False)),
    Candidate("openvino", "NNCF, read_model", lambda ground: _nncf(ground, _read(ground.graph))),
    Candidate("onnxruntime", FP32, lambda ground: ground.graph.content),
    Candidate("onnxruntime", OURS, lambda ground: _ours(ground, "onnxruntime").content),
    Candidate("onnxruntime", "quantize_static", _quantize_static),
)
