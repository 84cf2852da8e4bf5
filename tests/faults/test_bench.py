"""What `bench` refuses: in one line, before anything is timed, and with nothing half-written."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.bench.bench import BenchRequest, bench
from edgecnn.errors import BuildError, StorageError
from edgecnn.pipeline import Exported
from tests.conftest import Command
from tests.faults.conftest import Refused


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--duration", "0"), "--duration is 0, expected seconds, above 0 and up to 3600"),
        (("--duration", "-1"), "--duration is -1, expected seconds"),
        (("--duration", "nan"), "--duration is nan, expected seconds"),
        (("--duration", "inf"), "--duration is inf, expected seconds"),
        (("--threads", "0"), "--threads is 0, expected 1 to 1024"),
        (("--batch", "0"), "--batch is 0, expected 1 to 1024"),
        (("--batch", "4"), "--batch is 4, but artifact was exported for a batch of 1; export it with --batch 4"),
        (("--mode", "throughputt"), "unknown mode 'throughputt': did you mean throughput?"),
        (("--against", "eagr"), "unknown --against 'eagr': did you mean eager?"),
        (("--against", "eager", "--against", "eager"), "--against eager --against eager names one reference twice"),
    ],
)
def test_bad_usage_is_refused(
    refused: Refused, artifact: Path, tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    out = tmp_path / "run.json"
    assert text in refused(2, "bench", artifact, *arguments, "--out", out)
    assert not out.exists()


def test_no_artifact_at_all_is_refused(refused: Refused) -> None:
    assert "Missing argument 'ARTIFACT...'" in refused(2, "bench")


def test_artifacts_of_different_batches_are_not_compared(
    refused: Refused, artifact: Path, tiny_export: Callable[..., Exported]
) -> None:
    other = tiny_export("onnx", "fp32", batch=2).artifact.folder
    line = refused(2, "bench", artifact, other)
    assert "artifacts were exported for different batches (artifact for 1, out for 2); time them apart" in line


def test_what_is_no_artifact_is_refused(refused: Refused, artifact: Path, tmp_path: Path) -> None:
    assert "nowhere: no such folder" in refused(7, "bench", artifact, tmp_path / "nowhere")
    assert "no manifest.json in it" in refused(7, "bench", tmp_path)
    assert "no manifest.json in it" in refused(7, "bench", artifact, "--against", tmp_path)


def test_a_changed_artifact_is_refused(refused: Refused, artifact: Path) -> None:
    next(artifact.glob("model-*")).write_bytes(b"changed")
    assert "sha256 is" in refused(7, "bench", artifact)


def test_nothing_to_time_is_refused(refused: Refused, tiny_export: Callable[..., Exported]) -> None:
    engine = tiny_export("tensorrt", "fp32", flavour="bundle").artifact.folder
    line = refused(4, "bench", engine)
    assert "nothing of it can run here: the device builds its engine, from the bundle" in line


def test_torch_that_is_not_there_is_named(refused: Refused, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else sys.__spec__)
    line = refused(4, "bench", artifact, "--against", "compile")
    assert "--against eager and compile need torch: pip install 'edgecnn[export]'" in line


@pytest.mark.parametrize("content", [b"", b"mine", b"{}"])
def test_somebody_else_s_file_is_not_replaced(refused: Refused, artifact: Path, tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "notes.json"
    out.write_bytes(content)
    assert "notes.json: is there already and is no run; name another with --out" in refused(
        8, "bench", artifact, "--out", out
    )
    assert out.read_bytes() == content


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(
    refused: Refused, artifact: Path, tmp_path: Path
) -> None:
    line = refused(8, "bench", artifact, "--duration", "3000", "--out", tmp_path / "nowhere" / "run.json")
    assert "there is no folder" in line
    assert "is no file" in refused(8, "bench", artifact, "--duration", "3000", "--out", tmp_path)
    assert "is no file" in refused(8, "bench", artifact, "--duration", "3000", "--out", "/dev/full")
    line = refused(8, "bench", artifact, "--duration", "3000", "--out", artifact / "run.json")
    assert f"{artifact} is an artifact, which holds its own files alone" in line


def test_what_may_never_end_is_no_run(refused: Refused, artifact: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        assert "is no file; " in refused(3, "compare", path, path)
        assert "is no file; " in refused(3, "report", path)
        assert "is no file; " in refused(3, "verify", artifact, "--result", path)


def test_a_run_that_cannot_be_written_is_told_all_the_same(
    command: Command, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise StorageError(f"{path}: cannot be written (No space left on device); nothing was changed")

    monkeypatch.setattr("edgecnn.files.write_whole", full)
    answer = command("bench", artifact, "--duration", "0.1", "--out", tmp_path / "run.json", "--json")
    assert answer.code == 8
    assert json.loads(answer.out)["rows"][0]["times"]["n"] > 0


def test_a_profiler_that_fails_costs_its_layers_only(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise BuildError("the profiler does not know this kernel")

    monkeypatch.setattr("edgecnn.bench.bench.layer_times", refuses)
    (row,) = bench(BenchRequest((artifact,), duration_s=0.1, layers=True)).rows
    assert row.status == "ok"
    assert row.times is not None
    assert row.unmeasured == ("time by layer was not measured: the profiler does not know this kernel",)
