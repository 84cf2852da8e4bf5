"""INT8 on a CPU without VNNI, which is emulated: weights of the whole range saturate there, of the reduced one not.

The runtimes are the real ones; they look at the emulated CPU and choose its kernels.
"""

import itertools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import Artifact
from edgecnn.data.fashion_mnist import CLASSES
from edgecnn.data.sets import load_set
from edgecnn.graph.fold import fold
from edgecnn.graph.graph import Graph, model_of, with_batch
from edgecnn.graph.session import inference_session, logits
from edgecnn.graph.traced import trace
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.parity import compare
from edgecnn.pipeline import Exported
from edgecnn.quant.calibrate import Range, observe_ranges
from edgecnn.quant.lower.profiles import ONNXRUNTIME, OPENVINO
from edgecnn.quant.lower.qdq import Profile, lower
from edgecnn.quant.pixels import on_pixel_grid
from edgecnn.quant.placement import place
from edgecnn.quant.saturation import code_limits
from edgecnn.quant.table import make_table
from edgecnn.recipe import load_recipe
from edgecnn.targets.cpu import X86
from tests.conftest import Command

QEMU = "/usr/bin/qemu-x86_64"
WITHOUT_VNNI = "Haswell"
SCRIPTS = {
    "onnxruntime": """
import sys, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
np.save("logits.npy", session.run(["logits"], {"image": np.load("images.npy")})[0])
""",
    "openvino": """
import sys, numpy as np, openvino
settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
core = openvino.Core()
np.save("logits.npy", core.compile_model(core.read_model("model.onnx"), "CPU", settings)(np.load("images.npy"))[0])
""",
}
pytestmark = pytest.mark.skipif(platform.machine().lower() not in X86, reason="other CPUs do not saturate")
Float = NDArray[np.float32]


@pytest.fixture(scope="module")
def network() -> tuple[Graph, dict[str, Range], Float]:
    """Trained weights, whose products are as large as those of users, what is known of ranges, and images."""
    how = load_recipe("mobilenetv3_small").data("builtin").preprocess
    graph = trace(fold(load_model(find_model("mobilenetv3_small"), "builtin", None).model), 3, how.height, how.width)
    (images,) = load_set("fashion-mnist-512", CLASSES).take(lambda position: position % 32 == 0).batches(how, 16)
    return *on_pixel_grid(graph, how), images


@pytest.mark.parametrize("profile", [ONNXRUNTIME, OPENVINO], ids=lambda profile: profile.name)
def test_weights_of_a_reduced_range_are_exact_without_vnni_and_others_are_not(
    network: tuple[Graph, dict[str, Range], Float], tmp_path: Path, profile: Profile
) -> None:
    graph, exact, images = network
    placement = place(graph)
    ranges = observe_ranges(graph, placement.roles, [images]) | exact
    found = {}
    for asked in (profile, profile.reduced()):
        table = make_table(graph, placement, ranges, reduced_range=asked.reduced_range)
        content = with_batch(lower(graph, table, asked), None).content
        want = logits(inference_session(content, int8_kernels=False), images)
        found[asked.reduced_range] = compare(want, elsewhere(SCRIPTS[profile.name], content, images, tmp_path)).sqnr_db
    assert found[False] < 30
    assert found[True] > 40


@pytest.mark.parametrize("runtime", SCRIPTS)
@pytest.mark.parametrize(("channels", "groups", "kernel"), [(15, 1, 1), (16, 1, 3), (36, 36, 3)])
def test_kernels_add_the_products_of_neighbours(
    channels: int, groups: int, kernel: int, runtime: str, tmp_path: Path
) -> None:
    """Two weights alone, as large as can be, on the largest input: all pairs of columns, an output channel each."""
    columns = channels // groups * kernel**2
    pairs = list(itertools.combinations(range(min(columns, 2 * kernel**2 + 2)), 2))
    codes = np.zeros((len(pairs), channels // groups, kernel, kernel), np.int8)
    for row, pair in zip(codes.reshape(len(pairs), -1), pairs, strict=True):
        row[list(pair)] = 127
    node = helper.make_node("Conv", ["real", "weight", "bias"], ["sums"], group=groups)
    model = _quantized_layer(node, codes, channels, kernel)
    found = elsewhere(SCRIPTS[runtime], model, np.ones((1, channels, kernel, kernel), np.float32), tmp_path)
    saturated = {pair for pair, value in zip(pairs, found.ravel(), strict=True) if pair[0] != pair[1] and value < 1.9}
    expected = code_limits(node, codes.astype(np.float32), reduced=True).neighbours
    assert saturated == ({tuple(pair) for pair in expected.tolist()} & set(pairs) if expected is not None else set())


def _quantized_layer(node: onnx.NodeProto, codes: NDArray[np.int8], channels: int, kernel: int) -> bytes:
    """A convolution from codes to codes, in the spelling that both runtimes have INT8 kernels for."""
    constants = {
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "codes": codes,
        "weight_scale": np.full(len(codes), 1 / 127, np.float32),
        "weight_zero": np.zeros(len(codes), np.int8),
        "bias": np.zeros(len(codes), np.float32),
        "sum_scale": np.float32(4 / 255),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["image/codes"]),
        helper.make_node("DequantizeLinear", ["image/codes", "scale", "zero"], ["real"]),
        helper.make_node("DequantizeLinear", ["codes", "weight_scale", "weight_zero"], ["weight"], axis=0),
        node,
        helper.make_node("QuantizeLinear", ["sums", "sum_scale", "zero"], ["sums/codes"]),
        helper.make_node("DequantizeLinear", ["sums/codes", "sum_scale", "zero"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, kernel, kernel])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return bytes(model_of(graph).SerializeToString())


def elsewhere(script: str, model: bytes, images: Float, folder: Path) -> Float:
    """Logits of a model on the emulated CPU."""
    (folder / "model.onnx").write_bytes(model)
    np.save(folder / "images.npy", images)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [QEMU, "-cpu", WITHOUT_VNNI, os.path.realpath(sys.executable), "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: Float = np.load(folder / "logits.npy")
    return answers


@pytest.mark.parametrize(
    ("quantizer", "expected"),
    [
        (None, None),
        ({"reduced_range": True}, True),
        ({"reduced_range": False}, False),
        ({"weight_bits": 7}, True),
        ({"weight_bits": 8}, False),
        ({}, False),
    ],
)
def test_artifacts_say_which_range_they_have(quantizer: dict[str, object] | None, expected: bool | None) -> None:
    """Older ones in bits, or not at all."""
    assert Artifact(Path(), {"quantizer": quantizer}, {}).reduced_range is expected


def test_a_cpu_that_saturates_is_named(
    command: Command, tiny_export: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = tiny_export("onnxruntime", "int8", reduce_range=False)
    folder = shutil.copytree(exported.artifact.folder, tmp_path / "artifact")
    monkeypatch.setattr("edgecnn.verify.reopen.saturates", lambda: False)
    assert "VNNI" not in command("verify", folder).out
    monkeypatch.setattr("edgecnn.verify.reopen.saturates", lambda: True)
    assert "this CPU has no VNNI, and INT8 kernels saturate with these weights" in command("verify", folder).out
