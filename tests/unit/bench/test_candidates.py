"""What a run is made of: names, networks, batches, and references that come first."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgecnn.bench.candidates import Candidate, agreed_batch, candidates, unique
from edgecnn.bench.torch_session import TorchSession
from edgecnn.errors import UnavailableError, UsageError
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.pipeline import Exported, export
from edgecnn.request import ExportRequest
from edgecnn.verify.coverage import shares
from edgecnn.verify.golden import read_golden

Export = Callable[..., Exported]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a-2", "a-3"]),
        (["a", "a", "a-2"], ["a", "a-3", "a-2"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
    ],
)
def test_names_are_unique(names: list[str], found: list[str]) -> None:
    assert unique(names) == found


def test_references_come_first_and_a_network_comes_once(tiny_export: Export) -> None:
    folders = [tiny_export(target, "fp32").artifact.folder for target in ("onnx", "openvino")]
    larger = tiny_export("onnx", "fp32", size=(48, 48)).artifact.folder
    found = candidates([*folders, larger], ["eager", str(larger)])
    assert [(row.name, row.kind) for row in found] == [
        ("eager", "eager"), ("eager-2", "eager"), ("out", "artifact"), ("out-2", "artifact"), ("out-3", "artifact"),
        ("out-4", "artifact"),
    ]  # fmt: skip
    assert [row.artifact.interface.height for row in found] == [32, 48, 48, 32, 32, 48]


@pytest.mark.parametrize("size", [1, 2, 3, 16, 40])
def test_every_image_is_used_alike(tiny_export: Export, size: int) -> None:
    artifact = tiny_export("onnx", "fp32").artifact
    images = read_golden(artifact).inputs
    batches = Candidate("", "artifact", artifact).batches(size)
    assert {batch.shape for batch in batches} == {(size, *images.shape[1:])}
    used = Counter(image.tobytes() for batch in batches for image in batch)
    assert set(used) == {image.tobytes() for image in images}
    assert max(used.values()) - min(used.values()) <= (1 if size > len(images) else 0)


def test_large_batches_do_not_fill_the_memory(tiny_export: Export) -> None:
    batches = Candidate("", "artifact", tiny_export("onnx", "fp32").artifact).batches(1023)
    assert sum(len(batch) for batch in batches) == 1023


def test_the_batch_is_what_artifacts_were_exported_for(tiny_export: Export) -> None:
    dynamic, one, two = (
        Candidate(str(batch), "artifact", tiny_export("onnx", "fp32", batch=batch).artifact) for batch in (None, 1, 2)
    )
    assert agreed_batch([dynamic], None) == 1
    assert agreed_batch([dynamic], 5) == 5
    assert agreed_batch([dynamic, two], None) == 2
    assert agreed_batch([two], 2) == 2
    with pytest.raises(UsageError, match="--batch is 3, but 2 was exported for a batch of 2"):
        agreed_batch([dynamic, two], 3)
    with pytest.raises(UsageError, match=r"different batches \(1 for 1, 2 for 2\); time them apart"):
        agreed_batch([one, two], None)


def test_a_dynamic_batch_has_its_target_s_bounds(tiny_export: Export) -> None:
    """An engine's buffers end where its profile does."""
    onnx, engine, fixed = (
        Candidate(target, "artifact", tiny_export(target, "fp32", batch=batch, **more).artifact)
        for target, batch, more in (
            ("onnx", None, {}),
            ("tensorrt", None, {"flavour": "bundle"}),
            ("openvino", 65, {}),
        )
    )
    assert agreed_batch([onnx, engine], 64) == 64
    assert agreed_batch([onnx], 65) == 65
    assert agreed_batch([replace(engine, kind="eager")], 65) == 65
    with pytest.raises(UsageError, match=r"^the artifacts' batch is 65, but tensorrt takes 1 to 64; time it apart"):
        agreed_batch([fixed, engine], None)
    with pytest.raises(UsageError, match=r"^--batch is 65, but tensorrt takes 1 to 64"):
        agreed_batch([onnx, engine], 65)


def test_the_network_answers_as_its_golden_pairs_do(tiny_export: Export) -> None:
    artifact = tiny_export("onnx", "fp32").artifact
    golden = read_golden(artifact)
    logits = Candidate("", "eager", artifact).open().run(golden.inputs)
    np.testing.assert_allclose(logits, golden.logits, rtol=1e-3, atol=1e-4)


def test_weights_that_an_artifact_does_not_carry_are_not_guessed(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(load_model(find_model("mobilenetv1"), "random", 10).model.state_dict(), file)
    exported = export(
        ExportRequest("mobilenetv1", "onnx", "fp32", str(file), size=(32, 32), num_classes=10, out=tmp_path / "out")
    )
    with pytest.raises(UnavailableError, match="made from a file of weights, which it does not carry"):
        Candidate("", "eager", exported.artifact).open()


def test_a_network_that_answers_like_float32_computes_in_it(
    tiny_export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = Candidate("", "eager", tiny_export("onnx", "fp32").artifact)
    session = candidate.open()
    assert candidate.executed(session) == {"fp32": 1.0}
    run = TorchSession._run
    monkeypatch.setattr(
        TorchSession, "_run", lambda self, image: run(self, torch.from_numpy(image).bfloat16().float().numpy())
    )
    assert candidate.executed(session) == {}


def test_shares_are_of_the_arithmetic() -> None:
    assert shares({"a": "int8", "b": "fp32", "c": "int8"}, {"a": 60, "b": 30, "c": 10}) == {"int8": 0.7, "fp32": 0.3}
