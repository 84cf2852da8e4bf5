"""A bundle as on a device, and its scripts beside stand-ins for three TensorRTs."""

import importlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgecnn.pipeline import Exported
from edgecnn.targets.tensorrt_bundle import FOLDER

STAND_INS = Path(__file__).parents[3] / "stand_ins"
VERSIONS = ["8.6", "10.3", "11.4"]
RTX = ("tensorrt_rtx",)
MODULES = (
    "build", "builder", "checked", "cuda_driver", "engine", "layer_times", "layers", "rails", "run", "tensorrt"
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(tiny_export: Callable[..., Exported]) -> Exported:
    return tiny_export("tensorrt", "int8", flavour="bundle")


@pytest.fixture
def bundle(exported: Exported, tmp_path: Path) -> Path:
    """A bundle, unpacked as on a device."""
    zipfile.ZipFile(exported.artifact.files["bundle.zip"]).extractall(tmp_path)
    return tmp_path / FOLDER


@pytest.fixture
def load(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], ModuleType]]:
    """``load("build", "10.3", "typed-int8")``: a script beside a stand-in for a TensorRT that refuses a spelling."""

    def get(name: str, version: str = "10.3", refuses: str = "") -> ModuleType:
        monkeypatch.setenv("STAND_IN", version)
        monkeypatch.setenv("STAND_IN_REFUSES", refuses)
        monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
        for module in MODULES:
            sys.modules.pop(module, None)
        monkeypatch.syspath_prepend(str(STAND_INS))
        monkeypatch.syspath_prepend(str(bundle))
        return importlib.import_module(name)

    yield get
    for module in MODULES:
        sys.modules.pop(module, None)


def built(load: Callable[..., ModuleType], folder: Path, version: str, refuses: str = "", **how: Any) -> Any:
    """What ``build.py`` wrote down, and what the stand-in was asked."""
    script = load("build", version, refuses)
    manifest = load("checked", version, refuses).read_manifest(folder)
    script = load("build", version, refuses)
    gpu = importlib.import_module("cuda_driver").Gpu("Stand-in", "SM87", "12.6")
    trt = importlib.import_module("tensorrt")
    found = script.build(folder, trt, gpu, manifest, how.get("precision", "int8"), how.get("dla"), how.get("scales"))
    assert json.loads((folder / "engine.json").read_text()) == json.loads(json.dumps(found))
    return found, json.loads((folder / "model.engine").read_text())


@pytest.fixture
def device(tmp_path: Path, bundle: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script where NumPy and the named packages are all that is installed."""

    def call(script: str, *arguments: str, packages: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        site = tmp_path / "site"
        site.mkdir(exist_ok=True)
        for name in ("numpy", *packages):
            package = importlib.util.find_spec(name)
            assert package is not None
            assert package.submodule_search_locations is not None
            for found in Path(package.submodule_search_locations[0]).parent.glob(f"{name}*"):
                if not (site / found.name).exists():
                    (site / found.name).symlink_to(found)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site)}
        line = [sys.executable, "-S", str(bundle / script), *arguments]
        return subprocess.run(line, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)

    return call
