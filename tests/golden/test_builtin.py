"""What the builtin weights are worth, eager and as INT8, on the 10,000 test images that nothing was tuned on."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from edgecnn.data.sets import FASHION_MNIST_TEST, load_set
from edgecnn.data.split import keep_apart
from edgecnn.graph.graph import with_batch
from edgecnn.models.sources import BUILTIN
from edgecnn.network import Network
from edgecnn.parity import compare
from edgecnn.pipeline import export, verify
from edgecnn.progress import Progress
from edgecnn.quant.ladder import climb
from edgecnn.quant.lower.qdq import lower
from edgecnn.request import ExportRequest, plan

MODELS = sorted(path.stem for path in BUILTIN.glob("*.safetensors"))


def test_weights_say_where_they_come_from() -> None:
    assert MODELS == ["efficientnet_b0", "mobilenetv3_large", "mobilenetv3_small"]
    for model in MODELS:
        with safe_open(BUILTIN / f"{model}.safetensors", "numpy") as file:
            record = {key: json.loads(value) for key, value in file.metadata().items()}
        assert record["model"] == model
        assert {"seed", "recipe", "top1", "n"} <= record.keys()


def test_int8_loses_at_most_half_a_point_on_ten_thousand_images(tmp_path: Path) -> None:
    export(ExportRequest("mobilenetv3_large", "openvino", "int8", out=tmp_path / "out"))
    found = verify(tmp_path / "out", FASHION_MNIST_TEST, max_drop_pp=0.5)
    assert found.reference == "eager"
    assert found.accuracy is not None
    assert found.accuracy.n == 10_000
    recorded = json.loads((BUILTIN / "mobilenetv3_large.json").read_text("utf-8"))["top1"]
    assert found.accuracy.top1_reference == pytest.approx(recorded, abs=0.0005)
    assert found.accuracy.drop_ci95_pp[1] <= 0.5
    assert found.parity.agreement >= 0.995  # 0.997 was measured


def test_one_table_answers_alike_in_both_runtimes(tmp_path: Path) -> None:
    """Lowered for each and run by its own INT8 kernels; on all 10,000 test images 0.991 was measured."""
    planned = {name: plan(ExportRequest("mobilenetv3_small", name, "int8")) for name in ("onnxruntime", "openvino")}
    first = planned["onnxruntime"]
    how, network = first.data.preprocess, Network(first)
    calibration, _ = keep_apart(load_set(str(first.calibration), network.labels))
    climbed = climb(network.graph, calibration, how, "fast", first.target.profile, Progress())
    images = np.concatenate(list(load_set("fashion-mnist-1000", network.labels).batches(how, 64)))
    answers = {}
    for name, one in planned.items():
        lowered = one.target.finished(lower(climbed.graph, climbed.table, one.target.profile), "int8")
        files = {}
        for suffix, content in one.target.build(with_batch(lowered, None)).items():
            files[suffix] = tmp_path / f"{name}{suffix}"
            files[suffix].write_bytes(content)
        answers[name] = one.target.open(files, network.interface(None)).run_all(images)
    found = compare(answers["onnxruntime"], answers["openvino"])
    assert 0.99 <= found.agreement < 1, "other kernels round otherwise, and these would be the same"
    assert found.sqnr_db > 25


# What it is of the others on all images is in the README, which `make test` has no time for.
@pytest.mark.parametrize("model", ["mobilenetv3_small", "efficientnet_b0"])
def test_int8_answers_as_eager_does(model: str, tmp_path: Path) -> None:
    found = export(ExportRequest(model, "openvino", "int8", out=tmp_path / "out", max_drop_pp=0.5)).verification
    recorded = json.loads((BUILTIN / f"{model}.json").read_text("utf-8"))["top1"]
    assert found.reference == "eager"
    assert found.accuracy is not None
    assert found.accuracy.n == 1000
    assert found.accuracy.top1_reference == pytest.approx(recorded, abs=0.02)
    assert not found.judgement.rejected
    assert found.parity.agreement >= 0.99  # 0.997 was measured on all
