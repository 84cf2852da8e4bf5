"""What all of the bundle's scripts promise: an old Python, no other package, and nothing read before its hash."""

import ast
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgecnn.pipeline import Exported
from edgecnn.targets.tensorrt_bundle import SCRIPTS
from tests.unit.targets.bundle.conftest import RTX

PYTHON = sorted(path.name for path in SCRIPTS.glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("name", PYTHON)
def test_scripts_are_python_3_8(name: str) -> None:
    """By grammar, and without what later versions added to the types and functions used here."""
    tree = ast.parse((SCRIPTS / name).read_text("utf-8"), feature_version=(3, 8))
    annotations = [
        part
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
    ]
    allowed = {id(inner) for annotation in annotations for inner in ast.walk(annotation)}
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            assert id(node) in allowed, f"{name}:{node.lineno}: dict or type unions came with 3.9 and 3.10"
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("removeprefix", "removesuffix"), f"{name}:{node.lineno}: came with 3.9"
        if isinstance(node, ast.keyword):
            assert node.arg != "strict", f"{name}: came with 3.10"
        assert not isinstance(node, ast.Match)


@pytest.mark.parametrize("name", PYTHON)
def test_scripts_import_the_standard_library_numpy_and_one_another_alone(name: str) -> None:
    known = {Path(other).stem for other in PYTHON} | {"numpy"} | sys.stdlib_module_names
    for node in ast.walk(ast.parse((SCRIPTS / name).read_text("utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert {found.partition(".")[0] for found in names} <= known


@pytest.mark.parametrize("script", ["build.py", "run.py"])
def test_without_tensorrt_a_script_says_so(device: Callable[..., Any], script: str) -> None:
    done = device(script)
    assert (done.returncode, done.stdout) == (4, "")
    assert (
        done.stderr
        == f"{script}: tensorrt is not installed; on a Jetson it comes with JetPack, for RTX as tensorrt_rtx\n"
    )


@pytest.mark.parametrize("script", ["build.py", "run.py"])
def test_without_a_gpu_a_script_says_so(device: Callable[..., Any], script: str) -> None:
    done = device(script, packages=RTX)
    if "no NVIDIA driver" not in done.stderr:
        pytest.skip("there is a driver here")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == f"{script}: an engine is built on its own GPU: there is no NVIDIA driver (libcuda.so.1)\n"


@pytest.mark.parametrize("script", ["build.py", "run.py"])
def test_help_needs_nothing(device: Callable[..., Any], script: str) -> None:
    done = device(script, "--help")
    assert done.returncode == 0, done.stderr
    assert "Python 3.8" in done.stdout


@pytest.mark.parametrize("script", ["build.py", "run.py"])
@pytest.mark.parametrize("name", ["model.int8.onnx", "golden.npz", "engine.py", "README.md"])
def test_a_changed_file_is_refused_before_anything_is_read(
    device: Callable[..., Any], bundle: Path, script: str, name: str
) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[10] ^= 1  # of a script: in its first sentence
    (bundle / name).write_bytes(content)
    done = device(script, packages=RTX)
    assert done.returncode == 7
    assert f"{bundle / name}: sha256 is " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["build.py", "run.py"])
@pytest.mark.parametrize("change", ["gate", "sha256"])
def test_a_changed_manifest_is_refused(device: Callable[..., Any], bundle: Path, script: str, change: str) -> None:
    """Its gate decides what passes; a manifest without its own hash is no better than one with another's."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    if change == "gate":
        manifest["gate"]["max_kl"] = 100.0
    else:
        del manifest["sha256"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = device(script, packages=RTX)
    assert done.returncode == 7
    assert f"{bundle / 'manifest.json'}: sha256 of its content is " in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_file_or_manifest_is_refused(device: Callable[..., Any], bundle: Path) -> None:
    (bundle / "model.fp16.onnx").unlink()
    done = device("build.py")
    assert (done.returncode, "model.fp16.onnx: listed, but No such file" in done.stderr) == (7, True)
    (bundle / "manifest.json").write_text("[]")
    done = device("build.py")
    assert (done.returncode, "holds a list, expected an object" in done.stderr) == (7, True)


def engine_json(folder: Path, **changes: str) -> None:
    content = b"engine"
    (folder / "model.engine").write_bytes(content)
    known = {"module": "tensorrt", "version": "10.3.0", "architecture": "SM87", "file": "model.engine"}
    known |= {"sha256": hashlib.sha256(content).hexdigest()} | changes
    (folder / "engine.json").write_text(json.dumps(known))


def test_an_engine_is_opened_by_the_tensorrt_and_the_gpu_that_built_it_alone(
    load: Callable[..., ModuleType], bundle: Path
) -> None:
    checked = load("checked")
    here = ("tensorrt", "10.3.0", "SM87")
    with pytest.raises(checked.Stop, match=r"run build\.py first"):
        checked.read_engine(bundle, *here)
    engine_json(bundle)
    assert checked.read_engine(bundle, *here)[1] == b"engine"
    for change, text in (
        ({"module": "tensorrt_rtx"}, "module is tensorrt_rtx, here it is tensorrt; run build.py here"),
        ({"version": "10.4.0"}, r"version is 10\.4\.0, here it is 10\.3\.0"),
        ({"architecture": "SM110"}, "architecture is SM110, here it is SM87"),
        ({"sha256": "0" * 64}, "sha256 is .*, expected 000"),
    ):
        engine_json(bundle, **change)
        with pytest.raises(checked.Stop, match=text) as caught:
            checked.read_engine(bundle, *here)
        assert caught.value.code == 7


def test_the_archive_repeats_its_bytes_and_lists_every_file(exported: Exported, bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    listed = {entry["name"] for entry in manifest["files"]}
    assert listed | {"manifest.json"} == {path.name for path in bundle.iterdir()}
    own = manifest.pop("sha256")
    assert own == hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    golden = exported.artifact.files["golden.npz"].read_bytes()
    assert (bundle / "golden.npz").read_bytes() == golden
    assert {info.date_time for info in zipfile.ZipFile(exported.artifact.files["bundle.zip"]).infolist()} == {
        (1980, 1, 1, 0, 0, 0)
    }
