"""A GPU that no TensorRT here is for, such as an H100 with TensorRT for RTX: everything says so, and nothing fails."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.pipeline import Exported, verify
from edgecnn.targets.bundle.builder import logger
from edgecnn.targets.bundle.cuda_driver import Cuda, Gpu
from edgecnn.targets.bundle.engine import Runner
from edgecnn.targets.tensorrt_bundle import FOLDER
from edgecnn.targets.tensorrt_flavours import load
from tests.conftest import TINY, Command

PORTABLE = "SM80, SM86, SM89, SM120, SM121 and newer"
pytestmark = pytest.mark.usefixtures("no_engine_runs")


@pytest.fixture(params=["fp32", "fp16", "int8"])
def exported(request: pytest.FixtureRequest, tiny_export: Callable[..., Exported]) -> Exported:
    return tiny_export("tensorrt", request.param)


def test_an_export_is_built_and_not_executed(exported: Exported, gpu: Gpu) -> None:
    for verification in (exported.verification, verify(exported.artifact.folder)):
        assert not verification.executed
        assert f"not executed here (it is for {PORTABLE}, here is {gpu.name}" in verification.note
        assert verification.stages[-1].name == "lowered"


def test_what_would_run_it_says_why_it_does_not(exported: Exported, gpu: Gpu, command: Command) -> None:
    folder = exported.artifact.folder
    timed = command("bench", folder, "--duration", "0.2", "--json")
    assert timed.code == 4
    assert f"here is {gpu.name} ({gpu.architecture})" in timed.err
    seen = command("inspect", folder, "--json")
    assert seen.code == 0, seen.err
    assert gpu.name in json.loads(seen.out)["not_timed"]


def test_best_effort_is_refused_before_anything_is_done(tmp_path: Path, gpu: Gpu, command: Command) -> None:
    model, size = str(TINY["model"]), "32"
    line = ("export", model, "--target", "tensorrt", "--weights", "random", "--size", size, "--num-classes", "10")
    answer = command(*line, "--int8", "--effort", "best", "--out", tmp_path / "out")
    assert answer.code == 4
    assert (
        f"tensorrt cannot run here: its engines are for SM80, SM86, SM89, SM120, SM121 and newer, here is {gpu.name}"
        in (answer.err)
    )


def test_the_bundle_builds_nothing_that_would_not_run(exported: Exported, gpu: Gpu, tmp_path: Path) -> None:
    zipfile.ZipFile(exported.artifact.files["bundle.zip"]).extractall(tmp_path)
    line = [sys.executable, "build.py"]
    done = subprocess.run(line, cwd=tmp_path / FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert f" are for {PORTABLE}, here is {gpu.name} ({gpu.architecture}); it needs TensorRT itself" in done.stderr


def test_an_engine_that_is_opened_all_the_same_is_refused_in_tensorrts_words(exported: Exported, gpu: Gpu) -> None:
    """Should ``not_for`` ever be wrong of a GPU, this is what a user sees."""
    trt, engine = load("tensorrt_rtx"), exported.artifact.model_files()[".engine"].read_bytes()
    version = f"{gpu.architecture.removeprefix('SM')[:-1]}.{gpu.architecture[-1]}"
    with pytest.raises(RuntimeError, match=f"cannot run on this GPU, which has compute capability {version}"):
        Runner(trt, Cuda(), logger(trt), engine, 1)
