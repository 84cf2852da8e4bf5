"""The exported graph: one spelling, names that say the module, the same bytes everywhere, the same answers."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgecnn.graph.fold import fold
from edgecnn.graph.graph import Graph, with_batch, with_metadata
from edgecnn.graph.session import inference_session
from edgecnn.graph.to_onnx import to_onnx
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model

FAMILIES = ["mobilenetv1", "mobilenetv2", "mobilenetv3_small", "efficientnet_b0", "efficientnet_lite0"]
TinyGraph = Callable[..., Graph]
HERE = """
import sys, torch
from edgecnn.graph.fold import fold
from edgecnn.graph.to_onnx import to_onnx
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
torch.set_num_threads(2)
model = load_model(find_model("mobilenetv3_small"), "random", 10).model
print(to_onnx(fold(model), 3, 32, 32).sha256)
"""


def noise(count: int, side: int = 32) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 1, (count, 3, side, side)).astype(np.float32)


def answer(graph: Graph, images: NDArray[np.float32]) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = inference_session(graph.content).run(["logits"], {"image": images})[0]
    return logits


@pytest.mark.parametrize("name", FAMILIES)
def test_the_graph_answers_as_the_network(tiny_graph: TinyGraph, name: str) -> None:
    model = load_model(find_model(name), "random", 10).model
    images = noise(3)
    with torch.inference_mode():
        want = model(torch.from_numpy(images)).numpy()
    got = answer(with_batch(tiny_graph(name), 3), images)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_dynamic_batch_answers_as_static_ones(tiny_graph: TinyGraph, name: str) -> None:
    graph, images = tiny_graph(name), noise(3)
    dynamic = answer(with_batch(graph, None), images)
    one_by_one = np.concatenate([answer(graph, images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(dynamic, one_by_one, rtol=0, atol=1e-5 * np.abs(dynamic).max())
    assert with_batch(graph, None).input_shape == (None, 3, 32, 32)
    assert with_batch(with_batch(graph, None), 1).content == graph.content


@pytest.mark.parametrize("name", FAMILIES)
def test_names_are_module_paths(tiny_graph: TinyGraph, name: str) -> None:
    folded = fold(load_model(find_model(name), "random", 10).model)
    graph = tiny_graph(name)
    modules = {path for path, _ in folded.named_modules()} | {"top"}
    for node in graph.nodes:
        path, _, operator = node.name.rpartition("/")
        assert path in modules
        assert operator.partition("_")[0] == node.op_type
        assert list(node.output) == (["logits"] if node.output[0] == "logits" else [node.name])
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    assert [node.name for node in graph.nodes if node.name.startswith("top/")] == ["top/Flatten"]


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_keep_their_names_and_values(tiny_graph: TinyGraph, name: str) -> None:
    state = fold(load_model(find_model(name), "random", 10).model).state_dict()
    weights = tiny_graph(name).weights
    assert set(state) <= set(weights)
    for key, tensor in state.items():
        np.testing.assert_array_equal(weights[key], tensor.numpy())


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("mobilenetv1", {"Conv": 27, "Relu": 27, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}),
        ("mobilenetv2", {"Conv": 52, "Clip": 35, "Add": 10, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}),
        (
            "mobilenetv3_small",
            {
                "Conv": 52,
                "HardSwish": 19,
                "Relu": 14,
                "GlobalAveragePool": 10,
                "HardSigmoid": 9,
                "Mul": 9,
                "Add": 6,
                "Gemm": 2,
                "Flatten": 1,
            },
        ),
        # 49 SiLUs and 16 squeeze-excitations of a sigmoid and a product each.
        (
            "efficientnet_b0",
            {"Conv": 81, "Sigmoid": 65, "Mul": 65, "GlobalAveragePool": 17, "Add": 9, "Gemm": 1, "Flatten": 1},
        ),
        ("efficientnet_lite0", {"Conv": 49, "Clip": 33, "Add": 9, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}),
    ],
)
def test_operators_are_the_ones_that_runtimes_fuse(tiny_graph: TinyGraph, name: str, operators: dict[str, int]) -> None:
    assert Counter(node.op_type for node in tiny_graph(name).nodes) == operators


def test_silu_is_a_sigmoid_times_its_own_input(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph("efficientnet_b0")
    silu = [
        (node, graph.consumers[node.output[0]])
        for node in graph.nodes
        if node.op_type == "Sigmoid" and "scale_activation" not in node.name
    ]
    assert len(silu) == 49
    for sigmoid, users in silu:
        assert [user.op_type for user in users] == ["Mul"]
        assert set(users[0].input) == {sigmoid.input[0], sigmoid.output[0]}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_graph_names_no_machine_and_no_exporter(tiny_graph: TinyGraph, name: str) -> None:
    graph = tiny_graph(name)
    model = graph.copy()
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert (model.ir_version, model.producer_name, model.producer_version) == (8, "edgecnn", "")
    assert not model.metadata_props
    assert not model.graph.metadata_props
    assert not model.graph.value_info
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.initializer):
        assert part.doc_string == ""
    assert not any(node.metadata_props for node in model.graph.node)
    del model.graph.initializer[:]  # the bytes of weights may spell anything
    text = model.SerializeToString()
    for word in (b"torch", b"site-packages", b".py", str(Path.home()).encode() + b"/", str(Path.cwd()).encode()):
        assert word not in text


def test_another_process_makes_the_same_bytes(tiny_graph: TinyGraph, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "LC_ALL": "C"}
    result = subprocess.run(
        [sys.executable, "-c", HERE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == tiny_graph().sha256
    assert result.stderr == ""


def test_exporting_twice_makes_the_same_bytes_and_prints_nothing(
    tiny_graph: TinyGraph, capfd: pytest.CaptureFixture[str]
) -> None:
    model = load_model(find_model("mobilenetv3_small"), "random", 10).model
    assert to_onnx(fold(model), 3, 32, 32).content == tiny_graph().content
    assert capfd.readouterr() == ("", "")


def test_other_channels_and_oblong_images() -> None:
    model = load_model(find_model("mobilenetv3_small"), "random", 4, in_channels=1).model
    graph = to_onnx(fold(model), 1, 32, 64)
    assert graph.input_shape == (1, 1, 32, 64)
    assert graph.num_classes == 4


def test_metadata_is_sorted_and_leaves_the_graph_alone(tiny_graph: TinyGraph) -> None:
    graph = tiny_graph()
    described = with_metadata(graph, {"b": "2", "a": "1"})
    assert [(entry.key, entry.value) for entry in described.model.metadata_props] == [("a", "1"), ("b", "2")]
    assert with_metadata(graph, {"a": "1", "b": "2"}).content == described.content
    assert not graph.model.metadata_props


def test_layers_of_equal_values_have_parameters_of_their_own() -> None:
    """Pruned layers often hold the same zeros, of which the exporter keeps one tensor."""
    model = load_model(find_model("mobilenetv1"), "random", 10).model
    for name in ("features.7.0.1", "features.8.0.1"):  # batch norms of two layers of one shape
        with torch.no_grad():
            model.get_parameter(f"{name}.weight").zero_()
            model.get_parameter(f"{name}.bias").fill_(0.25)
    graph = to_onnx(fold(model), 3, 32, 32)
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm"):
            module = node.name.rpartition("/")[0]
            assert list(node.input[1:]) == [f"{module}.weight", f"{module}.bias"]
            assert set(node.input[1:]) <= graph.weights.keys()
