"""What `benchmark` refuses before it builds anything."""

from pathlib import Path

import pytest

from tests.faults.conftest import Refused

SMALL = ("benchmark", "mobilenetv1", "--weights", "random", "--size", "32", "--num-classes", "10")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("benchmark", "mobilnetv3"), "unknown model 'mobilnetv3': did you mean mobilenetv3"),
        (("benchmark", "mobilenetv1"), "mobilenetv1 has no weights of its own: pass --weights"),
        ((*SMALL, "--targets", "openvin"), "unknown target 'openvin': did you mean openvino"),
        ((*SMALL, "--targets", "onnx,onnx"), "--targets onnx,onnx names one target twice"),
        ((*SMALL, "--targets", ""), "unknown target ''"),
        ((*SMALL, "--duration", "0"), "--duration is 0, expected seconds"),
        ((*SMALL, "--threads", "0"), "--threads is 0, expected 1 to 1024"),
        ((*SMALL, "--batch", "0"), "--batch is 0, expected 1 to 1024"),
        ((*SMALL, "--mode", "throughput2"), "unknown mode 'throughput2': did you mean throughput"),
        ((*SMALL, "--effort", "fats"), "unknown effort 'fats': did you mean fast"),
        ((*SMALL, "--size", "8"), "--size is 8x8, expected sides of 32 to 4096"),
    ],
)
def test_bad_usage_is_refused(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert text in refused(2, *arguments, "--keep", "kept", "--out", "run.json")
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_read_end_it(refused: Refused, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"no weights")
    line = refused(
        3, "benchmark", "mobilenetv1", "--weights", weights, "--targets", "onnx", "--keep", tmp_path / "kept"
    )
    assert "weights.safetensors" in line
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (3, "3 images, at least 8 are needed to calibrate"),
        (10, "0.jpg: not a readable JPEG or PNG image"),
        (0, "none: no such folder or CSV file"),
    ],
)
def test_images_that_no_row_can_be_calibrated_on_are_refused_before_the_others_are_built(
    refused: Refused, photos: Path, tmp_path: Path, files: int, text: str
) -> None:
    calib = tmp_path / ("none" if not files else "calib")
    for index in range(files):
        calib.mkdir(exist_ok=True)
        (calib / f"{index}.jpg").write_bytes(
            (photos / f"{index}.jpg").read_bytes()[: 100 + index if files == 10 else None]
        )
    line = refused(3, *SMALL, "--targets", "onnx", "--calib", calib, "--keep", tmp_path / "kept", "--duration", "0.1")
    assert text in line
    assert not (tmp_path / "kept").exists()
