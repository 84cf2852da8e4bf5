"""What only a GPU can tell: engines open, answer as the graph that they were built from, and can be timed."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.artifact import load_artifact
from edgecnn.bench.bench import BenchRequest, bench
from edgecnn.parity import compare
from edgecnn.pipeline import Exported, verify
from edgecnn.targets.bundle.cuda_driver import Gpu
from edgecnn.targets.tensorrt_bundle import FOLDER
from edgecnn.verify.golden import read_golden
from edgecnn.verify.reopen import open_session
from tests.conftest import Command

pytestmark = pytest.mark.usefixtures("engines_run")
PRECISIONS = ["fp32", "fp16", "int8"]


@pytest.fixture(params=PRECISIONS)
def exported(request: pytest.FixtureRequest, tiny_export: Callable[..., Exported]) -> Exported:
    return tiny_export("tensorrt", request.param)


def test_engines_answer_as_the_graph_they_were_built_from(exported: Exported) -> None:
    verification = exported.verification
    assert verification.executed, verification.note
    assert [row.name for row in verification.stages][-2:] == ["lowered", "compiled"]
    assert verification.stages[-1].against_previous.sqnr_db > 25


def test_verify_runs_the_engine_here(exported: Exported) -> None:
    verification = verify(exported.artifact.folder)
    assert verification.executed
    assert verification.stages[-1].name == "compiled"


def test_a_dynamic_batch_answers_like_a_fixed_one(tiny_export: Callable[..., Exported]) -> None:
    fixed, dynamic = (
        load_artifact(tiny_export("tensorrt", "fp16", batch=batch).artifact.folder) for batch in (1, None)
    )
    inputs = read_golden(fixed).inputs
    assert compare(open_session(fixed).run_all(inputs), open_session(dynamic).run_all(inputs)).sqnr_db > 40


def test_inspect_times_int8_beside_fp16(command: Command, tiny_export: Callable[..., Exported]) -> None:
    answer = command("inspect", tiny_export("tensorrt", "int8").artifact.folder, "--json")
    assert answer.code == 0, answer.err
    names = [row["name"] for row in json.loads(answer.out)["timing"]["latencies"]]
    assert {"int8", "fp16", "fp32"} <= set(names)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_bundle_builds_checks_and_times_itself(
    tiny_export: Callable[..., Exported], tmp_path: Path, precision: str
) -> None:
    archive = tiny_export("tensorrt", "int8").artifact.files["bundle.zip"]
    zipfile.ZipFile(archive).extractall(tmp_path)
    folder = tmp_path / FOLDER
    for line in (["build.py", "--precision", precision], ["run.py", "--seconds", "1"]):
        done = subprocess.run([sys.executable, *line], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    result = json.loads((folder / "result.json").read_text())
    assert result["engine"]["precision"] == precision
    assert result["parity"]["reasons"] == []
    assert result["latency"]["cuda_graph"]
    assert 0 < result["latency"]["gpu_ms"]["min"] <= result["latency"]["gpu_ms"]["p50"]
    assert sum(row["ms"] for row in result["layers"]) > 0
    assert any(row["nodes"] for row in result["layers"]), "the profiler's names are not the builder's"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bench_times_layers_by_module(tiny_export: Callable[..., Exported], precision: str) -> None:
    (row,) = bench(
        BenchRequest((tiny_export("tensorrt", precision).artifact.folder,), duration_s=0.5, layers=True)
    ).rows
    assert row.status == "ok"
    assert {"features.0.0", "classifier.3"} <= {layer.module for layer in row.layers}
    assert sum(layer.share for layer in row.layers) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("fp16_scales", [False, True])
def test_both_spellings_of_int8_run(tiny_export: Callable[..., Exported], fp16_scales: bool) -> None:
    verification = tiny_export("tensorrt", "int8", fp16_scales=fp16_scales).verification
    assert verification.executed, verification.note
    assert verification.coverage is not None
    assert verification.coverage.problem == ""


def test_an_engine_for_another_gpu_is_not_opened(gpu: Gpu, tiny_export: Callable[..., Exported]) -> None:
    other = "sm86" if gpu.architecture != "SM86" else "sm89"
    artifact = load_artifact(tiny_export("tensorrt", "fp16", flavour="tensorrt-rtx", gpu_arch=(other,)).artifact.folder)
    session = open_session(artifact)
    assert f"it is for {other.upper()}, here is {gpu.name}" in session.absence
    assert np.isfinite(read_golden(artifact).logits).all()


def test_a_row_has_its_share_of_what_the_gpu_reaches(tiny_export: Callable[..., Exported]) -> None:
    peaks = {}
    for precision in PRECISIONS:
        folder = tiny_export("tensorrt", precision).artifact.folder
        (row,) = bench(BenchRequest((folder,), duration_s=0.5)).rows
        assert row.roofline is not None
        assert 0 < row.roofline.share < 1
        peaks[row.roofline.precision] = row.roofline.peak_gops
    assert peaks["fp16"] > peaks["fp32"]
