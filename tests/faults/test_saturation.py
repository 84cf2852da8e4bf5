"""INT8 on a CPU without VNNI, which is emulated: eight-bit weights saturate there, seven-bit ones do not.

The runtimes are the real ones; they look at the emulated CPU and choose its kernels.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.data.sets import load_set
from edgecnn.graph.fold import fold
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.graph.session import inference_session, logits
from edgecnn.graph.to_onnx import to_onnx
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.parity import compare
from edgecnn.pipeline import Exported
from edgecnn.quant.calibrate import Range, observe_ranges
from edgecnn.quant.lower.profiles import ONNXRUNTIME, OPENVINO
from edgecnn.quant.lower.qdq import Profile, lower
from edgecnn.quant.pixels import on_pixel_grid
from edgecnn.quant.placement import place
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
Float = np.typing.NDArray[np.float32]


@pytest.fixture(scope="module")
def network() -> tuple[Graph, dict[str, Range], Float]:
    """Trained weights, whose products are as large as those of users, what is known of ranges, and images."""
    how = load_recipe("mobilenetv3_small").data("builtin").preprocess
    graph = to_onnx(fold(load_model(find_model("mobilenetv3_small"), "builtin", None).model), 3, how.height, how.width)
    (images,) = load_set("fashion-mnist-512", []).take(lambda position: position % 32 == 0).batches(how, 16)
    return *on_pixel_grid(graph, how), images


@pytest.mark.parametrize("profile", [ONNXRUNTIME, OPENVINO], ids=lambda profile: profile.name)
def test_weights_of_seven_bits_are_exact_without_vnni_and_of_eight_are_not(
    network: tuple[Graph, dict[str, Range], Float], tmp_path: Path, profile: Profile
) -> None:
    graph, exact, images = network
    placement = place(graph)
    ranges = observe_ranges(graph, placement.roles, [images]) | exact
    found = {}
    for asked in (profile, profile.reduced()):
        table = make_table(graph, placement, ranges, weight_max=asked.weight_max)
        content = with_batch(lower(graph, table, asked), None).content
        want = logits(inference_session(content, int8_kernels=False), images)
        found[asked.weight_bits] = compare(want, elsewhere(SCRIPTS[profile.name], content, images, tmp_path)).sqnr_db
    assert found[8] < 30
    assert found[7] > 40


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


def test_a_cpu_that_saturates_is_named(
    command: Command, tiny_export: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_export("onnxruntime", "int8").artifact.folder, tmp_path / "artifact")
    assert "VNNI" not in command("verify", folder).out
    monkeypatch.setattr("edgecnn.verify.reopen.saturates", lambda: True)
    assert "this CPU has no VNNI, and INT8 kernels saturate with weights of eight bits" in command("verify", folder).out
