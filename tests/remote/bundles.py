"""What stands in for TensorRT on a board: a module of its name, or a bundle whose scripts measure nothing."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import load_artifact, publish
from edgecnn.targets.tensorrt_bundle import FOLDER
from tests.remote.board import ROOT, Board


@pytest.fixture
def artifact(bundle_artifact: Path) -> Any:
    """What ``result`` is of."""
    return load_artifact(bundle_artifact)


@pytest.fixture
def stand_in(board: Board) -> Iterator[None]:
    """A board whose ``tensorrt`` is the stand-in of the tests, which needs ONNX, of the board's own Python."""
    site = board.folder / "stand-in"
    if not site.exists():
        packages = ("onnx", "protobuf", "ml_dtypes", "typing_extensions")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(board.python), "install"]
        how = ["--quiet", "--no-deps", "--constraint", str(ROOT / "constraints.txt"), "--target", str(site)]
        subprocess.run([*pip, *how, *packages], check=True)
        shutil.copy(ROOT / "tests" / "stand_ins" / "tensorrt.py", site)
    (packed,) = (board.folder / "venv").glob("lib/python*/site-packages")
    (packed / "stand_in.pth").write_text(f"{site}\nimport os; os.environ['STAND_IN'] = '10.3'\n")
    yield
    (packed / "stand_in.pth").unlink()


def answering(source: Path, out: Path, result: dict[str, Any], code: int) -> Path:
    """An artifact whose bundle holds stand-ins: ``build.py`` builds nothing, ``run.py`` writes what it is told.

    Its own options become notes of the result.
    """
    artifact = load_artifact(source)
    run = (
        "import json, sys",
        f"result = json.loads({json.dumps(result)!r})",
        "result['latency']['notes'] += sys.argv[1:]",
        "open('result.json', 'w').write(json.dumps(result))",
        f"sys.exit({code})",
    )
    scripts = {"build.py": "print('built')\n", "run.py": "\n".join(run) + "\n"}
    archive = io.BytesIO()
    with zipfile.ZipFile(artifact.files["bundle.zip"]) as real, zipfile.ZipFile(archive, "w") as changed:
        for name in real.namelist():
            script = scripts.get(name.removeprefix(f"{FOLDER}/"))
            changed.writestr(name, real.read(name) if script is None else script)
    files = {role: path.read_bytes() for role, path in artifact.files.items()} | {"bundle.zip": archive.getvalue()}
    manifest = {key: value for key, value in artifact.manifest.items() if key not in ("schema", "files", "sha256")}
    out.mkdir()
    return publish(out, files, manifest).folder
