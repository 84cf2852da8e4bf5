"""What the builtin weights are worth, eager and as INT8, on the 10,000 test images that nothing was tuned on."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from edgecnn.data.sets import FASHION_MNIST_TEST
from edgecnn.models.sources import BUILTIN
from edgecnn.pipeline import export, verify
from edgecnn.request import ExportRequest

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
