"""A process that fails to open a candidate says why; its reason stands where the figures would."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.artifact import load_artifact
from edgecnn.bench import opening
from edgecnn.bench.candidates import ARTIFACT, Candidate
from edgecnn.bench.opening import Opening, measure_opening
from edgecnn.errors import BuildError
from edgecnn.pipeline import Exported
from edgecnn.targets.base import UNTUNED


@pytest.fixture
def candidate(tiny_export: Callable[..., Exported], tmp_path: Path) -> Candidate:
    folder = shutil.copytree(tiny_export("onnxruntime", "fp32").artifact.folder, tmp_path / "small")
    return Candidate("small", ARTIFACT, load_artifact(folder))


def test_opening_costs_time_and_memory(candidate: Candidate) -> None:
    found = measure_opening(candidate, UNTUNED, 1)
    assert isinstance(found, Opening)
    assert min(dataclasses.astuple(found)) > 0


def test_a_refusal_is_the_reason(candidate: Candidate) -> None:
    next(candidate.artifact.folder.glob("model-*")).write_bytes(b"changed meanwhile")
    found = measure_opening(candidate, UNTUNED, 1)
    assert isinstance(found, str)
    assert found.startswith("its own process ended with 7: ")
    assert "sha256 is" in found


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no room\\n')", "its own process ended with 1: RuntimeError: no room"),
        ("import sys; sys.exit(3)", "its own process ended with 3 and said nothing"),
        ("print('hello')", "its own process answered what is no opening: hello"),
        ("", "its own process answered what is no opening: nothing"),
        ("import time; time.sleep(60)", "its own process took longer than 1 s"),
    ],
)
def test_any_end_of_the_process_is_a_reason(
    candidate: Candidate,
    instead_of_python: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    reason: str,
) -> None:
    instead_of_python(code)
    monkeypatch.setattr(opening, "LIMIT_S", 1 if "sleep" in code else 60)
    assert measure_opening(candidate, UNTUNED, 1) == reason


@pytest.mark.parametrize(("number", "words"), [(11, "11 (Segmentation fault)"), (9, "9 (Killed); out of memory?")])
def test_a_crash_is_a_refusal(
    candidate: Candidate, instead_of_python: Callable[[str], None], number: int, words: str
) -> None:
    instead_of_python(f"import os; os.kill(os.getpid(), {number})")
    with pytest.raises(BuildError, match=f"^{re.escape(f'its own process was killed by signal {words}')}$"):
        measure_opening(candidate, UNTUNED, 1)


def test_a_process_that_does_not_start_is_a_reason(candidate: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert measure_opening(candidate, UNTUNED, 1) == "its own process did not start (No such file or directory)"


def test_the_process_is_this_program(candidate: Candidate, tmp_path: Path) -> None:
    """Started as it is, without what another module of ours may have put into the environment before."""
    wanted = {"folder": str(candidate.artifact.folder), "kind": ARTIFACT, "batch": 1, "weights": None}
    wanted |= {"tuning": dataclasses.asdict(UNTUNED)}
    line = [sys.executable, "-m", "edgecnn.bench.opening", json.dumps(wanted)]
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(line, capture_output=True, check=True, env=environment | {"HOME": str(home)})
    assert json.loads(done.stdout).keys() == {field.name for field in dataclasses.fields(Opening)}
    assert not list(home.iterdir()), "ONNX Runtime's telemetry leaves a file"
