"""Names that are not known and flags that contradict each other: refused before any work, nothing substituted."""

from pathlib import Path

import pytest

from tests.faults.conftest import EXPORT, Refused

V3 = ("export", "mobilenetv3_small", "--weights", "random")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("export", "mobilnetv3", "--target", "onnx"), "unknown model 'mobilnetv3': did you mean mobilenetv3"),
        (("export", "../../x", "--target", "onnx"), "unknown model '../../x': "),
        (("export", "", "--target", "onnx"), "unknown model ''"),
        (("export", "x" * 300, "--target", "onnx"), "unknown model 'xxx"),
        ((*V3, "--target", "openvin"), "unknown target 'openvin': did you mean openvino"),
        ((*V3, "--target", "tensorr"), "unknown target 'tensorr': "),
        ((*V3, "--target", "onnx", "--target", "openvin"), "unknown target 'openvin': did you mean openvino"),
        ((*V3, "--target", "onnx", "--target", "onnx"), "names one target twice"),
        ((*V3, "--target", "onnx", "--precision", "int9"), "unknown precision 'int9': did you mean int8"),
        ((*V3, "--target", "onnx", "--int8", "--fp16"), "fp16 and int8 contradict each other; give one precision"),
        ((*V3, "--target", "onnx", "--fp32", "--precision", "int8"), "fp32 and int8 contradict each other"),
        ((*V3, "--target", "onnx", "--batch", "2", "--dynamic-batch"), "--batch and --dynamic-batch contradict"),
        ((*V3, "--target", "onnx", "--batch", "0"), "--batch is 0, expected 1 to 1024"),
        ((*V3, "--target", "onnx", "--batch", "-1"), "--batch is -1, expected 1 to 1024"),
        ((*V3, "--target", "onnx", "--batch", "two"), "Invalid value for '--batch': Input should be a valid integer"),
        ((*V3, "--target", "onnx", "--num-classes", "0"), "--num-classes is 0, expected 1 to 1,000,000"),
        ((*V3, "--target", "onnx", "--fp16", "--calib", "photographs"), "--calib is for --int8 alone"),
        ((*V3, "--target", "onnx", "--calib", "photographs"), "--calib is for --int8 alone, fp32 needs no calibration"),
        ((*V3, "--target", "onnx", "--effort", "fast"), "--effort is for --int8 alone, fp32 has no ladder to climb"),
        ((*V3, "--target", "tensorrt", "--fp16", "--fp16-scales"), "--fp16-scales is for --int8 alone, fp16 has no"),
        ((*V3, "--target", "onnx", "--int8", "--no-fp16-scales"), "--fp16-scales is for --target tensorrt alone, onnx"),
        ((*V3, "--target", "onnx", "--int8", "--effort", "fats"), "unknown effort 'fats': did you mean fast"),
        ((*V3, "--target", "onnx", "--size", "31"), "--size is 31x31, expected sides of 32 to 4096"),
        ((*V3, "--target", "onnx", "--size", "64x30000"), "--size is 64x30000, expected sides of 32 to 4096"),
        ((*V3, "--target", "onnx", "--num-classes", "1000000000"), "--num-classes is 1000000000, expected 1 to"),
        ((*V3, "--target", "onnx", "--weights", ""), "unknown weights ''"),
        ((*V3, "--target", "onnx", "--size", "0x64"), "--size is 0x64, expected sides of 32 to 4096"),
        ((*V3, "--target", "onnx", "--size", "64x"), "--size is '64x', expected N or HxW in pixels"),
        ((*V3, "--target", "onnx", "--size", "64x64x3"), "--size is '64x64x3', expected N or HxW in pixels"),
        ((*V3, "--target", "onnx", "--size", "-64"), "--size is '-64', expected N or HxW in pixels"),
        ((*V3, "--target", "onnx", "--size", "٦٤"), "expected N or HxW in pixels"),
        ((*V3, "--target", "onnx", "--max-drop", "-1"), "--max-drop is -1.0, expected percentage points"),
        ((*V3, "--target", "onnx", "--max-drop", "nan"), "--max-drop is nan, expected percentage points"),
        ((*V3,), "Missing option '--target'"),
        ((*V3, "--target", "onnx", "--flavour", "bundle"), "--flavour is for --target tensorrt alone, onnx has none"),
        (
            (*V3, "--target", "openvino", "--gpu-arch", "sm86"),
            "--gpu-arch is for --target tensorrt alone, openvino has",
        ),
        ((*V3, "--target", "tensorrt", "--flavour", "rtx"), "unknown flavour 'rtx': "),
        (
            (*V3, "--target", "tensorrt", "--gpu-arch", "sm87"),
            "--gpu-arch 'sm87' is no RTX architecture, known: sm75, ",
        ),
        ((*V3, "--target", "tensorrt", "--gpu-arch", "sm86,"), "--gpu-arch '' is no RTX architecture"),
        (
            (*V3, "--target", "tensorrt", "--flavour", "bundle", "--gpu-arch", "sm86"),
            "--gpu-arch is for --flavour tens",
        ),
        (("export", "--target", "onnx"), "Missing argument 'model'"),
        ((*V3, "--target", "onnx", "--fourty"), "No such option: --fourty"),
        (("exprot",), "No such command 'exprot'"),
        (("predict", "somewhere"), "Missing argument 'IMAGE...'"),
    ],
)
def test_F49_bad_usage_is_refused(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert text in refused(2, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "weights", "text"),
    [
        ("mobilenetv2", "imagnet", "unknown weights 'imagnet': did you mean imagenet?"),
        ("mobilenetv2", "radnom", "unknown weights 'radnom': did you mean random?"),
        ("mobilenetv1", "imagenet", "mobilenetv1 has no imagenet weights; it has random"),
        ("mobilenetv1", "builtin", "mobilenetv1 has no builtin weights; it has random"),
        ("mobilenetv2", "weights.bin", "unknown weights 'weights.bin'"),
    ],
)
def test_F49_unknown_weights_are_refused(refused: Refused, tmp_path: Path, model: str, weights: str, text: str) -> None:
    out = tmp_path / "deep" / "out"
    assert text in refused(2, "export", model, "--target", "onnx", "--weights", weights, "--out", out)
    assert not out.parent.exists()


def test_F49_a_model_without_default_weights_never_gets_random_ones(refused: Refused, tmp_path: Path) -> None:
    line = refused(2, "export", "mobilenetv1", "--target", "onnx", "--out", tmp_path / "out")
    assert "mobilenetv1 has no weights of its own: pass --weights with a .safetensors or .pth state dict" in line


@pytest.mark.parametrize("calib", ["photografs", "none"])
def test_F25_an_unknown_calibration_set_is_refused(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calib: str
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refused(2, *EXPORT, "--target", "onnx", "--int8", "--calib", calib, "--out", "out")
    assert f"unknown image folder, CSV file or set {calib!r}: " in line
    assert not list(tmp_path.iterdir())


def test_F25_images_from_the_network_alone_are_known_where_they_are_taken(refused: Refused, tmp_path: Path) -> None:
    line = refused(2, *EXPORT, "--target", "onnx", "--int8", "--calib", "synthetik", "--out", tmp_path / "out")
    assert "did you mean synthetic?" in line
    assert "--calib synthetic is for export; " in refused(2, "analyze", "mobilenetv3_small", "--calib", "synthetic")


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999999"])
def test_F49_a_seed_that_is_none_leaves_no_folder(refused: Refused, tmp_path: Path, seed: str) -> None:
    line = refused(2, "train", "mobilenetv3_small", "--seed", seed, "--out", tmp_path / "out")
    assert f"--seed is {seed}, expected 0 to 9223372036854775807" in line
    assert not (tmp_path / "out").exists()


def test_F49_an_endless_number_is_no_size(refused: Refused, tmp_path: Path) -> None:
    line = refused(2, *EXPORT[:4], "--target", "onnx", "--size", "9" * 5000, "--out", tmp_path / "out")
    assert len(line) < 200
    assert "expected N or HxW in pixels" in line


def test_F49_an_unknown_set_of_images_is_refused(refused: Refused, artifact: Path) -> None:
    line = refused(2, "verify", artifact, "--images", "fashion-mnist-tset")
    assert "did you mean fashion-mnist-test" in line
    line = refused(2, "verify", artifact, "--images", "")  # an unset variable of a script, not this folder
    assert "unknown image folder, CSV file or set ''" in line
