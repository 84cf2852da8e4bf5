"""Calibration data and scales that would quietly spoil an artifact: refused by name, before anything is built."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from safetensors.torch import save_file

from edgecnn.data.sets import load_set
from edgecnn.data.split import keep_apart
from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.quant.calibrate import observe_ranges
from edgecnn.quant.equalize import equalize
from edgecnn.quant.lower.profiles import ONNXRUNTIME, OPENVINO
from edgecnn.quant.lower.qdq import lower
from edgecnn.quant.observe import observe_values
from edgecnn.quant.placement import place
from edgecnn.quant.ranges import observe_histograms
from edgecnn.quant.table import QuantizerTable, make_table
from edgecnn.recipe import Preprocess
from tests.faults.conftest import EXPORT, Refused
from tests.unit.graph.test_fixed import PROJECTION, without_weights

Images = NDArray[np.float32]
TinyGraph = Callable[..., Graph]
TinyTable = Callable[..., QuantizerTable]

INT8 = (*EXPORT, "--target", "onnx", "--int8")
HOW = Preprocess(32, 32, 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def noise(count: int = 4) -> Images:
    return np.random.default_rng(20).normal(0, 1, (count, 3, 32, 32)).astype(np.float32)


def spoilt(value: float) -> Images:
    """Four images of noise, the third with one other value."""
    images = noise()
    images[2, 1, 5, 7] = value
    return images


BAD_TENSORS = {
    "NaN": (spoilt(np.nan), "tensor 'image' is not finite, image 2 holds 1 NaN and 0 infinite values of 3072"),
    "Inf": (spoilt(-np.inf), "tensor 'image' is not finite, image 2 holds 0 NaN and 1 infinite values of 3072"),
    "0..255": (
        np.linspace(0, 255, 4 * 3072, dtype=np.float32).reshape(4, 3, 32, 32),
        "image 1 reaches from 63.7552 to 127.49, mean 95.6",
    ),
}
OBSERVERS: dict[str, Callable[[Graph, Images], object]] = {
    "ranges": lambda graph, images: observe_ranges(graph, ["logits"], [images]),
    "histograms": lambda graph, images: observe_histograms(graph, place(graph), [images]),
    "values": lambda graph, images: list(observe_values(graph, ["logits"], [images])),
    "equalization": lambda graph, images: equalize(graph, [images]),
}


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("kind", BAD_TENSORS)
def test_F20_calib_values_that_no_preprocessing_makes_are_refused(
    tiny_graph: TinyGraph, observer: str, kind: str
) -> None:
    images, text = BAD_TENSORS[kind]
    with pytest.raises(InputError) as caught:
        OBSERVERS[observer](tiny_graph("mobilenetv2"), images)
    assert text in str(caught.value)


def test_F20_calib_values_are_counted_over_batches(tiny_graph: TinyGraph) -> None:
    with pytest.raises(InputError, match="image 6 holds 1 NaN"):
        observe_ranges(tiny_graph(), ["logits"], [noise(), spoilt(np.nan)])


def test_F20_a_network_that_overflows_is_named_by_module(tiny_graph: TinyGraph) -> None:
    model = tiny_graph().copy()
    for tensor in model.graph.initializer:
        if tensor.name == "features.0.0.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e38), tensor.name))
    graph = Graph(model)
    with pytest.raises(InputError, match=r"of module 'features\.0\.0', is not finite on image 0, .*overflows"):
        observe_histograms(graph, place(graph), [10 * noise()])


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (10, 200, 30)])
def test_F20_calib_images_of_one_colour_are_refused(
    refused: Refused, images: Path, tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    Image.new("RGB", (48, 40), colour).save(images / "3.jpg")
    line = refused(3, *INT8, "--calib", images, "--out", tmp_path / "out")
    assert f"{images / '3.jpg'}: shows one colour only" in line
    assert "take it out of the calibration set" in line
    assert not (tmp_path / "out").exists()


def test_F20_an_image_of_one_colour_may_be_judged(images: Path) -> None:
    Image.new("RGB", (48, 40)).save(images / "3.jpg")
    found = load_set(str(images), [])
    assert len(list(found.batches(HOW, 4))) == 3
    calibration, _ = keep_apart(found)
    with pytest.raises(InputError, match="shows one colour only"):
        list(calibration.batches(HOW, 4))


def test_a_tensor_that_these_images_never_excite_is_refused_by_module(tiny_graph: TinyGraph) -> None:
    """A bias so low that no image reaches above the ReLU: other images might."""
    model = tiny_graph("mobilenetv1").copy()
    for tensor in model.graph.initializer:
        if tensor.name == "features.3.0.0.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, -1e4, np.float32), tensor.name))
    graph = Graph(model)
    placement = place(graph)
    ranges = observe_ranges(graph, placement.roles, [noise()])
    with pytest.raises(InputError, match=r"of module 'features\.3\.0\.2', never varies .*--fp16"):
        make_table(graph, placement, ranges)


def test_a_tensor_that_is_zero_by_its_weights_has_a_scale(tiny_graph: TinyGraph) -> None:
    graph = without_weights(tiny_graph(), PROJECTION)
    for tensor in graph.model.graph.initializer:
        if tensor.name == f"{PROJECTION}.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    placement = place(graph)
    table = make_table(graph, placement, observe_ranges(graph, placement.roles, [noise()]))
    dead = table.activations[f"{PROJECTION}/Conv"]
    assert dead.zero_point == 0
    assert dead.scale == pytest.approx(1 / 255)
    lower(graph, table, ONNXRUNTIME)  # which checks every scale


@pytest.mark.parametrize("scale", [0.0, 1e-40, -0.1, np.nan, np.inf])
@pytest.mark.parametrize("of", ["activation", "weight"])
def test_F21_a_scale_that_kernels_cannot_use_never_leaves(
    tiny_graph: TinyGraph, tiny_table: TinyTable, scale: float, of: str
) -> None:
    table, layer = tiny_table(), tiny_table().layers[2]
    activations, weights = dict(table.activations), dict(table.weights)
    if of == "activation":
        activations[layer.input] = replace(activations[layer.input], scale=scale)
        name = layer.input
    else:
        scales = weights[layer.weight].scale.copy()
        scales[1] = scale
        weights[layer.weight] = replace(weights[layer.weight], scale=scales)
        name = layer.weight
    with pytest.raises(InputError, match=r"has the scale \S+, expected a finite one of 1.18e-38 or more") as caught:
        lower(tiny_graph(), replace(table, activations=activations, weights=weights), OPENVINO)
    assert f"tensor {name!r}" in str(caught.value)


@pytest.mark.parametrize("factor", [1 / 255, 255])
def test_F20_weights_that_expect_other_preprocessing_are_refused(
    refused: Refused, photos: Path, tmp_path: Path, factor: float
) -> None:
    """Such as those of a network trained on pixels of 0..255: finite everywhere, and its answers are worthless."""
    state = load_model(find_model("mobilenetv1"), "random", 10).model.state_dict()
    state["features.0.0.weight"] *= factor
    save_file(state, tmp_path / "w.safetensors")
    arguments = ("--size", "32", "--target", "onnx", "--int8", "--calib", photos, "--out", tmp_path / "out")
    line = refused(3, "export", "mobilenetv1", "--weights", tmp_path / "w.safetensors", *arguments)
    assert f"{photos}: these images vary " in line
    assert "was that on other preprocessing than (pixels / 255 - mean) / std, mean 0.485 0.456 0.406" in line
    assert not (tmp_path / "out").exists()
    # A float network is as worthless, and it agrees with its eager self all the same.
    floats = ("--size", "32", "--target", "onnx", "--fp32", "--out", tmp_path / "out")
    line = refused(3, "export", "mobilenetv1", "--weights", tmp_path / "w.safetensors", *floats)
    assert "photographs: these images vary " in line
    assert not (tmp_path / "out").exists()
