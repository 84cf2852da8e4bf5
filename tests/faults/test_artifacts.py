"""Artifacts that are not what was written: refused before any runtime opens a byte of them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgecnn.artifact import load_artifact, publish
from edgecnn.data.sets import ImageSet
from edgecnn.errors import EdgecnnError, IntegrityError, ParityError
from edgecnn.files import MANIFEST
from edgecnn.graph.graph import Graph, with_batch
from edgecnn.pipeline import Exported
from edgecnn.recipe import Gate
from edgecnn.targets.base import FP32, ExecutedLayer
from edgecnn.targets.openvino import OpenVinoSession
from edgecnn.targets.registry import TARGETS
from edgecnn.verify.stages import Stage, check
from tests.conftest import Command
from tests.faults.conftest import Refused, contents, one_line

# Images of 0..255 would reach the network.
PIXELS = {"height": 32, "width": 32, "crop": 1, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1 / 255] * 3}
ROLES = ["golden.npz", "lowered.onnx", "model.bin", "model.xml", "reference.onnx"]


def flip(path: Path, position: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def rewrite(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Changes a manifest the way an attacker would: its own hash is right again."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    del manifest["sha256"]
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(manifest))


def test_an_artifact_from_before_builds_gave_advice_is_inspected(command: Command, artifact: Path) -> None:
    rewrite(artifact, lambda manifest: manifest.pop("advice"))
    assert json.loads(command("inspect", artifact, "--no-timing", "--json").out)["advice"] is None
    assert command("inspect", artifact, "--no-timing").code == 0


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("word", ["verify", "predict"])
def test_F11_one_flipped_bit_in_any_file_is_found(
    refused: Refused, openvino_artifact: Path, photos: Path, role: str, word: str
) -> None:
    path = load_artifact(openvino_artifact).files[role]
    flip(path, path.stat().st_size // 2)
    arguments = [photos / "0.jpg"] if word == "predict" else []
    line = refused(7, word, openvino_artifact, *arguments)
    assert f"{path}: sha256 is " in line
    assert "export again" in line


@pytest.mark.parametrize("role", ["bundle.zip", "model.engine", "model.json"])
def test_F11_a_changed_engine_is_found_before_anything_deserializes_it(
    refused: Refused, tiny_export: Callable[..., Exported], photos: Path, tmp_path: Path, role: str
) -> None:
    folder = shutil.copytree(tiny_export("tensorrt", "fp16").artifact.folder, tmp_path / "artifact")
    path = load_artifact(folder).files[role]
    flip(path, path.stat().st_size // 2)
    for arguments in (("verify", folder), ("predict", folder, photos / "0.jpg"), ("inspect", folder)):
        assert f"{path}: sha256 is " in refused(7, *arguments)


def test_F11_one_flipped_bit_in_the_manifest_is_found_or_means_the_same(artifact: Path) -> None:
    path = artifact / MANIFEST
    good, manifest = path.read_bytes(), load_artifact(artifact).manifest
    random = np.random.default_rng(11)
    refusals = 0
    for position in random.integers(0, len(good), 300):
        spoilt = bytearray(good)
        spoilt[position] ^= 1 << int(random.integers(8))
        path.write_bytes(spoilt)
        try:
            assert load_artifact(artifact).manifest == manifest  # such as 1e-05 spelled 1E-05
        except IntegrityError as error:
            assert str(path) in str(error) or "is no file name" in str(error)  # noqa: PT017 - others fail the test
            refusals += 1
    assert refusals > 290


def test_F11_a_truncated_file_is_found(refused: Refused, artifact: Path) -> None:
    path = load_artifact(artifact).files["model.onnx"]
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{path}: sha256 is " in refused(7, "verify", artifact)


def test_F12_a_model_without_manifest_is_not_opened(refused: Refused, artifact: Path, photos: Path) -> None:
    (artifact / MANIFEST).unlink()
    line = refused(7, "predict", artifact, photos / "0.jpg")
    assert f"{artifact}: no manifest.json in it, so nothing in it is trusted" in line


def test_F12_a_file_or_a_missing_folder_is_no_artifact(refused: Refused, artifact: Path, tmp_path: Path) -> None:
    assert "no such folder" in refused(7, "verify", tmp_path / "none")
    for path in (artifact / "manifest.json", load_artifact(artifact).files["model.onnx"]):
        assert f"{path}: is a file; give the folder that edgecnn export wrote" in refused(7, "verify", path)
    assert "no such folder" in refused(7, "verify", artifact / "manifest.json" / "deeper")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "schema is 'list', expected 1"),
        ("null", "schema is 'NoneType', expected 1"),
        ('{"name": "a web application"}', "schema is None, expected 1"),
        ('{"schema": 99}', "schema is 99, expected 1; export again with this version"),
        ('{"schema": 1}', "its own sha256 differs"),
        (f'{{"schema": {"9" * 5000}}}', "cannot be read"),
    ],
)
def test_F13_a_foreign_manifest_is_refused(refused: Refused, artifact: Path, text: str, message: str) -> None:
    (artifact / MANIFEST).write_text(text)
    assert message in refused(7, "verify", artifact)


@pytest.mark.parametrize("role", ROLES)
def test_F14_a_missing_file_is_refused(refused: Refused, openvino_artifact: Path, role: str) -> None:
    path = load_artifact(openvino_artifact).files[role]
    path.unlink()
    line = refused(7, "verify", openvino_artifact)
    assert f"{path}: listed in manifest.json, but No such file or directory; export again" in line


@pytest.mark.parametrize("name", ["notes.txt", "model.onnx", "model-0123456789ab.onnx.bak"])
def test_F15_a_file_that_is_not_listed_is_refused(refused: Refused, artifact: Path, name: str) -> None:
    (artifact / name).write_bytes(b"")
    assert f"{artifact / name}: not listed in manifest.json" in refused(7, "verify", artifact)


def test_F15_a_folder_that_is_not_listed_is_refused(refused: Refused, artifact: Path) -> None:
    (artifact / "more").mkdir()
    assert "more: not listed in manifest.json" in refused(7, "verify", artifact)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "..", "", ".hidden", "model-0123456789ab.onnx\n", "model.onnx", "é" * 300]
)
def test_F15_a_path_that_leaves_the_artifact_is_refused(refused: Refused, artifact: Path, name: str) -> None:
    def change(manifest: dict[str, object]) -> None:
        manifest["files"][0]["name"] = name  # type: ignore[index]  # JSON

    rewrite(artifact, change)
    assert "is no file name of an artifact" in refused(7, "verify", artifact)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("files", None),
        ("files", [1]),
        ("files", [{"role": "model.onnx"}]),
        ("interface", {"batch": "many"}),
        ("interface", []),
        ("preprocess", {"height": 32}),
        ("preprocess", PIXELS),
        ("labels", 3),
        ("labels", [1, 2]),
        ("graph", {"layers": [{"name": "a/Conv", "macs": "many"}], "activations": []}),
        ("quantizer", {"layers": "all"}),
    ],
)
def test_F15_a_manifest_of_other_types_is_refused(refused: Refused, artifact: Path, key: str, value: object) -> None:
    rewrite(artifact, lambda manifest: manifest.update({key: value}))
    assert "in the manifest; export again" in refused(7, "verify", artifact)


@pytest.mark.parametrize(
    "key", ["files", "interface", "preprocess", "labels", "target", "precision", "graph", "quantizer"]
)
def test_F15_a_manifest_that_lacks_a_key_is_refused(refused: Refused, artifact: Path, key: str) -> None:
    rewrite(artifact, lambda manifest: manifest.pop(key))
    assert f"KeyError '{key}' in the manifest; export again" in refused(7, "verify", artifact)


def test_F15_files_of_a_killed_writer_are_never_read(command: Command, artifact: Path) -> None:
    (artifact / "model-0123456789ab.onnx").write_bytes(b"half a model")
    (artifact / ".manifest.json.1234.tmp").write_bytes(b"{")
    assert command("verify", artifact).code == 0


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_F28_logits_that_are_not_finite_fail(
    refused: Refused, tiny_export: Callable[..., Exported], photos: Path, tmp_path: Path, target: str
) -> None:
    artifact = tiny_export(target, "fp32").artifact
    model = onnx.load(artifact.files["reference.onnx"])
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.startswith("classifier.3.bias"))
    value = numpy_helper.to_array(bias).copy()
    value[4] = np.nan
    bias.CopyFrom(numpy_helper.from_array(value, bias.name))
    files = {role: path.read_bytes() for role, path in artifact.files.items()}
    built = TARGETS[target].build(with_batch(Graph(model), 1))
    files |= {f"model{suffix}": content for suffix, content in built.items()}
    spoilt = tmp_path / "spoilt"
    spoilt.mkdir()
    publish(spoilt, files, {k: v for k, v in artifact.manifest.items() if k not in ("schema", "files", "sha256")})
    assert "candidate logits of image 0 are not finite" in refused(6, "verify", spoilt)
    assert "candidate logits of image 0 are not finite" in refused(6, "verify", spoilt, "--images", photos, "--json")


def test_F30_a_comparison_of_nothing_is_a_failure(refused: Refused, artifact: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no JPEG or PNG images" in refused(3, "verify", artifact, "--images", empty)
    how, stage = load_artifact(artifact).preprocess, Stage("one", lambda images: images)
    with pytest.raises(ParityError, match="nothing was compared: 0 images, 2 stages"):
        check([stage, stage], ImageSet("none", ()), how, "fp32", Gate())


def test_F30_an_artifact_without_golden_pairs_fails(refused: Refused, artifact: Path) -> None:
    rewrite(artifact, lambda manifest: _without(manifest, "golden.npz"))
    assert "has no golden pairs; export again" in refused(7, "verify", artifact)


def test_F10_random_damage_anywhere_is_refused(artifact: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(10)
    good = contents(artifact)
    for count in range(40):
        copy = shutil.copytree(artifact, tmp_path / f"copy-{count}")
        name = sorted(good)[int(random.integers(len(good)))]
        content = good[name]
        cut, end = sorted(random.integers(0, len(content), 2))
        (copy / name).write_bytes(content[:cut] + content[end:])
        if (copy / name).read_bytes() != content:
            with pytest.raises(EdgecnnError):
                load_artifact(copy)
        shutil.rmtree(copy)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weights", ["random", "file"])
def test_an_int8_artifact_without_its_quantizers_fails(
    command: Command, tiny_export: Callable[..., Exported], tmp_path: Path, target: str, weights: str
) -> None:
    """Its answers are better than INT8's, and it is what nobody asked for: float under the name of INT8."""
    artifact = tiny_export(target, "int8").artifact
    reference = Graph(onnx.load(artifact.files["reference.onnx"]))
    files = {role: path.read_bytes() for role, path in artifact.files.items()}
    files |= {f"model{suffix}": content for suffix, content in TARGETS[target].build(with_batch(reference, 1)).items()}
    manifest = {k: v for k, v in artifact.manifest.items() if k not in ("schema", "files", "sha256")}
    manifest["weights"] = {**manifest["weights"], "source": weights}
    stripped = tmp_path / "stripped"
    stripped.mkdir()
    publish(stripped, files, manifest)
    planned = len(artifact.int8_layers)
    answer = command("verify", stripped, "--json")
    assert answer.code == 6
    reason = f"0 of {planned} quantized layers run in int8; not: features.0.0/Conv (fp32), "
    assert one_line(answer.err).startswith(f"edgecnn: {stripped} is rejected: {reason}")
    document = json.loads(answer.out)
    assert document["verdict"] == "fail"
    assert len(document["coverage"]["secretly_float"]) == planned
    assert load_artifact(stripped).manifest["status"] == "rejected"


def test_an_export_that_comes_out_in_float_is_rejected(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that quietly keeps one layer in float, which its answers would never show."""
    executed = OpenVinoSession.executed

    def one_in_float(session: OpenVinoSession) -> tuple[ExecutedLayer, ...]:
        return tuple(
            replace(kernel, precision=FP32) if "features.1.block.2.0/Conv" in kernel.nodes else kernel
            for kernel in executed(session)
        )

    monkeypatch.setattr(OpenVinoSession, "executed", one_in_float)
    out = tmp_path / "out"
    arguments = ("--weights", "random", "--size", "32", "--num-classes", "10", "--target", "openvino", "--int8")
    every_layer = ("--effort", "fast")  # what a further rung keeps in float depends on this CPU
    answer = command("export", "mobilenetv3_small", *arguments, *every_layer, "--out", out, "--json")
    assert answer.code == 6
    reason = "53 of 54 quantized layers run in int8; not: features.1.block.2.0/Conv (fp32)"
    assert f"{out} is marked rejected: {reason}" in one_line(answer.err)
    assert json.loads(answer.out)["status"] == load_artifact(out).manifest["status"] == "rejected"
    monkeypatch.undo()
    assert command("verify", out).code == 0  # where the runtime keeps its promise, so does the artifact
    assert load_artifact(out).manifest["status"] == "not gated"


def _without(manifest: dict[str, object], role: str) -> None:
    files = manifest["files"]
    assert isinstance(files, list)
    manifest["files"] = [entry for entry in files if entry["role"] != role]
