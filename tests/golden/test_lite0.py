"""EfficientNet-Lite0 with its ImageNet weights as INT8, on photographs that calibration never saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
import sklearn
from PIL import Image

from edgecnn.artifact import load_artifact
from edgecnn.data.sets import load_set
from edgecnn.data.split import keep_apart
from edgecnn.graph.check import read_graph
from edgecnn.graph.graph import with_batch
from edgecnn.parity import compare
from edgecnn.pipeline import export, predict, verify
from edgecnn.progress import Progress
from edgecnn.quant.ladder import climb
from edgecnn.quant.lower.profiles import OPENVINO
from edgecnn.quant.lower.qdq import lower
from edgecnn.request import ExportRequest
from edgecnn.targets.cpu import saturates
from edgecnn.targets.onnxruntime import OnnxRuntimeSession
from edgecnn.verify.stages import Verification
from tests.rescaling import rescaled

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"
UNSEEN = (SKLEARN / "china.jpg", SKLEARN / "flower.jpg", SKIMAGE / "motorcycle_left.png")
CROPS = 50  # of each


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of half a picture or more."""
    folder = tmp_path_factory.mktemp("unseen")
    random = np.random.default_rng(0)
    for source in UNSEEN:
        picture = Image.open(source).convert("RGB")
        for index in range(CROPS):
            share = random.uniform(0.7, 1.0)
            width, height = round(picture.width * share), round(picture.height * share)
            left = int(random.integers(0, picture.width - width + 1))
            top = int(random.integers(0, picture.height - height + 1))
            crop = picture.crop((left, top, left + width, top + height))
            crop.save(folder / f"{source.stem}-{index:02d}.png", compress_level=1)
    return folder


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lite0") / "out"
    export(ExportRequest("efficientnet_lite0", "openvino", "int8", weights="imagenet", out=out))
    return out


@pytest.fixture(scope="module")
def verified(artifact: Path, unseen: Path) -> Verification:
    return verify(artifact, str(unseen))


def test_int8_answers_as_eager_does(verified: Verification) -> None:
    found = verified
    assert found.reference == "eager"
    assert found.parity.n == CROPS * len(UNSEEN)
    # On 400 such crops 0.955 to 0.975 and 28 dB were measured; min-max ranges alone give 21.
    assert found.parity.agreement >= 0.94
    assert found.parity.sqnr_db >= 25


def test_a_cat_is_a_cat_and_an_espresso_an_espresso(artifact: Path) -> None:
    cat, cup = predict(artifact, [SKIMAGE / "chelsea.png", SKIMAGE / "coffee.png"]).as_json()
    assert cat["top5"][0]["index"] in range(281, 286)
    assert cup["top5"][0]["label"] == "espresso"


def test_rescaled_channels_cost_int8_next_to_nothing(artifact: Path, unseen: Path, verified: Verification) -> None:
    """Without equalization no answer is left: the rung before it, on held-out crops, says so."""
    graph = read_graph(load_artifact(artifact).files["reference.onnx"].read_bytes(), "reference")
    how, (calibration, _) = load_artifact(artifact).preprocess, keep_apart(load_set("photographs", []))
    profile = OPENVINO.reduced() if saturates() else OPENVINO
    climbed = climb(rescaled(graph, 0), calibration, how, "balanced", profile, Progress())
    rungs = {rung.name: rung for rung in climbed.rungs}
    assert rungs["rounding and bias"].agreement < 0.2
    assert rungs["equalization"].kept
    images = np.concatenate(list(load_set(str(unseen), []).batches(how, 16)))
    want, got = (
        OnnxRuntimeSession(content, replace(load_artifact(artifact).interface, batch=None)).run_all(images)
        for content in (
            with_batch(graph, None).content,
            with_batch(lower(climbed.graph, climbed.table, profile), None).content,
        )
    )
    found, plain = compare(want, got), verified.parity
    assert found.sqnr_db > plain.sqnr_db - 2.5  # a float layer, which a rung may or may not keep, is worth 1 dB
    assert found.agreement > plain.agreement - 0.03  # of 150 crops, many of them near a tie
