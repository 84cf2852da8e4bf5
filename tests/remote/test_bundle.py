"""A TensorRT artifact's bundle on a board: as far as its scripts go without a GPU, and with stand-ins beyond that."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import load_artifact, publish
from edgecnn.targets.tensorrt_bundle import FOLDER
from edgecnn.verify.device import _bundle_sha256
from tests.conftest import Answer
from tests.faults.conftest import one_line
from tests.remote.board import ROOT, Board
from tests.unit.verify.test_device import result as result

There = Callable[..., Answer]


@pytest.fixture
def artifact(bundle_artifact: Path) -> Any:
    """What ``result`` is of."""
    return load_artifact(bundle_artifact)


@pytest.fixture
def stand_in(board: Board) -> Iterator[None]:
    """A board whose ``tensorrt`` is the stand-in of the tests, which needs ONNX."""
    site = board.folder / "stand-in"
    packages = ("onnx", "protobuf", "ml_dtypes", "typing_extensions")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, "--target", str(site), *packages], check=True)
    shutil.copy(ROOT / "tests" / "stand_ins" / "tensorrt.py", site)
    (packed,) = (board.folder / "venv").glob("lib/python*/site-packages")
    (packed / "stand_in.pth").write_text(f"{site}\nimport os; os.environ['STAND_IN'] = '10.3'\n")
    yield
    (packed / "stand_in.pth").unlink()


def test_without_tensorrt_the_board_says_so(board: Board, there: There, bundle_artifact: Path) -> None:
    answer = there("verify", bundle_artifact)
    assert (answer.code, answer.out) == (4, "")
    assert one_line(answer.err).startswith("edgecnn: board: build.py: tensorrt is not installed; ")
    assert board.left() == []


@pytest.mark.usefixtures("stand_in")
def test_without_a_gpu_the_board_says_so(board: Board, there: There, bundle_artifact: Path) -> None:
    answer = there("verify", bundle_artifact)
    assert (answer.code, answer.out) == (4, "")
    assert one_line(answer.err).startswith("edgecnn: board: build.py: an engine is built on its own GPU: ")
    assert board.left() == []


def test_a_bundle_takes_no_images(there: There, bundle_artifact: Path) -> None:
    answer = there("verify", bundle_artifact, "--images", "photographs")
    assert (answer.code, answer.out) == (2, "")
    assert "a bundle brings its own images and gate" in one_line(answer.err)


def answering(source: Path, out: Path, result: dict[str, Any], code: int) -> Path:
    """An artifact whose bundle holds stand-ins: ``build.py`` builds nothing, ``run.py`` writes what it is told."""
    artifact = load_artifact(source)
    scripts = {
        "build.py": "print('built')\n",
        "run.py": f"import sys\nopen('result.json', 'w').write({json.dumps(result)!r})\nsys.exit({code})\n",
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(artifact.files["bundle.zip"]) as real, zipfile.ZipFile(archive, "w") as changed:
        for name in real.namelist():
            script = scripts.get(name.removeprefix(f"{FOLDER}/"))
            changed.writestr(name, real.read(name) if script is None else script)
    files = {role: path.read_bytes() for role, path in artifact.files.items()} | {"bundle.zip": archive.getvalue()}
    manifest = {key: value for key, value in artifact.manifest.items() if key not in ("schema", "files", "sha256")}
    out.mkdir()
    return publish(out, files, manifest).folder


def test_what_a_board_measured_is_judged_here(
    board: Board, there: There, bundle_artifact: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    assert result["bundle"]["sha256"] == _bundle_sha256(load_artifact(bundle_artifact))
    folder = answering(bundle_artifact, tmp_path / "good", result, 0)
    answer = there("verify", folder, "--json")
    assert (answer.code, answer.err) == (0, "")
    document = json.loads(answer.out)
    assert (document["verdict"], document["host"], document["device"]) == ("pass", "board", result)
    assert "0.500 ms p50" in there("verify", folder).out
    assert board.left() == []


def test_a_board_that_rejects_its_engine_is_heard(
    board: Board, there: There, bundle_artifact: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    result["parity"] |= {"kl": 3.0, "reasons": ["KL divergence"]}
    folder = answering(bundle_artifact, tmp_path / "bad", result, 6)
    answer = there("verify", folder)
    assert answer.code == 6
    assert one_line(answer.err).startswith(f"edgecnn: {folder} is rejected on board: KL divergence 3.0000")
    assert board.left() == []
