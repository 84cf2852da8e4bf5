"""``build.py`` against stand-ins for three TensorRTs, and for real up to the point where a GPU is needed."""

import hashlib
import importlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgecnn.pipeline import Exported
from tests.unit.targets.bundle.conftest import RTX, VERSIONS, built

SPELLINGS = {
    "8.6": ("untyped-int8", "model.int8.onnx", ["FP16", "INT8"]),
    "10.3": ("scaled-int8", "model.int8.fp16-scales.onnx", []),
    "11.4": ("scaled-int8", "model.int8.fp16-scales.onnx", []),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_gets_the_spelling_that_it_takes(
    load: Callable[..., ModuleType], bundle: Path, version: str
) -> None:
    found, asked = built(load, bundle, version)
    spelling, file, flags = SPELLINGS[version]
    assert (asked["spelling"], found["graph"]["file"], asked["flags"]) == (spelling, file, flags)
    assert (found["precision"], found["asked"], found["refused"]) == ("int8", "int8", [])
    assert asked["verbosity"] == "DETAILED"
    assert found["sha256"] == hashlib.sha256((bundle / "model.engine").read_bytes()).hexdigest()
    assert (found["module"], found["architecture"]) == ("tensorrt", "SM87")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_runs_in_int8_is_read_from_the_inspector(
    load: Callable[..., ModuleType], bundle: Path, version: str
) -> None:
    found, _ = built(load, bundle, version)
    planned = json.loads((bundle / "manifest.json").read_text())["int8_layers"]
    int8 = [node for kernel in found["kernels"] if kernel["precision"] == "int8" for node in kernel["nodes"]]
    assert int8 == planned
    assert {kernel["precision"] for kernel in found["kernels"]} == {"int8", "fp16"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_precisions_are_types_or_flags(
    load: Callable[..., ModuleType], bundle: Path, version: str, precision: str
) -> None:
    _, asked = built(load, bundle, version, precision=precision)
    untyped = version == "8.6"
    assert asked["spelling"] == ("untyped-float" if untyped else "typed-float")
    assert asked["flags"] == (["FP16"] if untyped and precision == "fp16" else [])
    assert asked["half"] == (precision == "fp16" and not untyped)


def test_other_spellings_are_tried_before_another_precision(load: Callable[..., ModuleType], bundle: Path) -> None:
    found, asked = built(load, bundle, "10.3", "scaled-int8")
    assert (found["precision"], asked["spelling"], asked["flags"]) == ("int8", "typed-int8", [])
    assert found["refused"] == ["int8 from model.int8.fp16-scales.onnx: no implementation for a node"]
    found, asked = built(load, bundle, "10.3", "scaled-int8 typed-int8")
    assert (found["precision"], asked["spelling"], asked["flags"]) == ("int8", "untyped-int8", ["FP16", "INT8"])
    assert found["refused"][1] == "int8 from model.int8.typed.onnx: no implementation for a node"


@pytest.mark.parametrize(
    ("scales", "refuses", "spelling"),
    [
        ("fp16", "", "scaled-int8"),
        ("fp32", "", "typed-int8"),
        ("fp32", "typed-int8", "untyped-int8"),
        ("fp16", "scaled-int8", "typed-float"),
    ],
)
def test_a_user_may_say_which_scales(
    load: Callable[..., ModuleType], bundle: Path, scales: str, refuses: str, spelling: str
) -> None:
    found, asked = built(load, bundle, "10.3", refuses, scales=scales)
    assert asked["spelling"] == spelling
    assert found["precision"] == ("fp16" if spelling == "typed-float" else "int8")


def test_scales_of_half_precision_are_not_for_eight(load: Callable[..., ModuleType], bundle: Path) -> None:
    with pytest.raises(
        Exception, match=r"no graph that tensorrt 8\.6\.2 takes as int8 with fp16 scales; it has "
    ) as caught:
        built(load, bundle, "8.6", scales="fp16")
    assert getattr(caught.value, "code", None) == 5


def test_rtx_gets_casts_first(load: Callable[..., ModuleType], bundle: Path) -> None:
    """Which it was measured with."""
    script, manifest = load("build"), json.loads((bundle / "manifest.json").read_text())
    tried = [
        attempt.file for attempt in script.attempts(importlib.import_module("tensorrt_rtx"), manifest, "int8", None)
    ]
    assert tried == ["model.int8.typed.onnx", "model.int8.fp16-scales.onnx", "model.fp16.onnx"]


def test_a_spelling_whose_layers_are_float_is_no_int8(
    load: Callable[..., ModuleType], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(json.loads((bundle / "manifest.json").read_text())["int8_layers"])
    monkeypatch.setenv("STAND_IN_FLOAT", "scaled-int8 typed-int8")
    found, asked = built(load, bundle, "10.3")
    assert (found["precision"], asked["spelling"]) == ("int8", "untyped-int8")
    assert found["refused"] == [
        f"int8 from model.int8.{kind}.onnx: 0 of {count} quantized layers run in int8"
        for kind in ("fp16-scales", "typed")
    ]
    monkeypatch.setenv("STAND_IN_FLOAT", "scaled-int8 typed-int8 untyped-int8")
    found, asked = built(load, bundle, "10.3")
    assert (found["precision"], asked["spelling"], len(found["refused"])) == ("fp16", "typed-float", 3)


@pytest.mark.parametrize("version", VERSIONS)
def test_int8_falls_back_to_fp16_loudly(
    load: Callable[..., ModuleType], bundle: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    found, asked = built(load, bundle, version, "scaled-int8 typed-int8 untyped-int8")
    assert (found["asked"], found["precision"]) == ("int8", "fp16")
    assert asked["half"] or asked["flags"] == ["FP16"]
    assert len(found["refused"]) == {"8.6": 1, "10.3": 3, "11.4": 2}[version]
    assert "refused: int8 from model.int8" in capsys.readouterr().err


def test_when_everything_is_refused_nothing_is_left(load: Callable[..., ModuleType], bundle: Path) -> None:
    refuses = "scaled-int8 typed-int8 untyped-int8 typed-float untyped-float"
    script = load("build", "10.3", refuses)
    with pytest.raises(Exception, match=r"tensorrt 10\.3\.0 built none of 5: fp16 from model\.fp32\.onnx: ") as caught:
        built(load, bundle, "10.3", refuses)
    assert getattr(caught.value, "code", None) == 5
    assert script is not None
    assert not (bundle / "engine.json").exists()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_timing_cache_comes_back_for_the_same_machine(
    load: Callable[..., ModuleType], bundle: Path, version: str
) -> None:
    _, first = built(load, bundle, version)
    _, second = built(load, bundle, version)
    assert (first["cache"], second["cache"]) == ("", "+timed")
    (cache,) = bundle.glob("timing-*.cache")
    assert cache.read_bytes() == b"+timed+timed"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_accelerator_is_used_where_there_is_one(load: Callable[..., ModuleType], bundle: Path, version: str) -> None:
    if version == "11.4":
        with pytest.raises(Exception, match="DLA core 1 was asked for, this TensorRT sees 0"):
            built(load, bundle, version, dla=1)
        return
    _, asked = built(load, bundle, version, dla=1)
    assert asked["dla"] == 1
    assert "GPU_FALLBACK" in asked["flags"]


def test_a_dynamic_batch_gets_a_profile(tiny_export: Callable[..., Exported], load: Any, bundle: Path) -> None:
    archive = tiny_export("tensorrt", "fp16", flavour="bundle", batch=None).artifact.files["bundle.zip"]
    shutil.rmtree(bundle)
    zipfile.ZipFile(archive).extractall(bundle.parent)
    _, asked = built(load, bundle, "10.3", precision="fp16")
    assert asked["profiles"] == [{"image": [[1, 3, 32, 32], [8, 3, 32, 32], [64, 3, 32, 32]]}]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_parsers_error_says_what_that_version_knows(
    load: Callable[..., ModuleType], bundle: Path, version: str
) -> None:
    import onnx

    model = onnx.load(bundle / "model.fp32.onnx")
    model.graph.node[2].op_type = "NoSuchOperator"
    builder = load("builder", version)
    where = (
        "node 2 \\(operator not named\\)"
        if version == "8.6"
        else f"node {model.graph.node[2].name} \\(NoSuchOperator\\)"
    )
    with pytest.raises(builder.Refused, match=f"^{where}: no importer for NoSuchOperator$"):
        builder.build(importlib.import_module("tensorrt"), model.SerializeToString(), builder.Options())


def test_the_builder_builds_without_torch(device: Callable[..., Any], bundle: Path, tmp_path: Path) -> None:
    """As far as a machine without a GPU can go: the engine itself, by TensorRT for RTX."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(bundle / "model.int8.typed.onnx", work / "model.onnx")
    (work / "timing.cache").touch()
    (work / "asked.json").write_text('{"cached": false}')
    done = device("builder.py", "tensorrt_rtx", str(work), packages=RTX)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert json.loads((work / "answer.json").read_text())["layers"].startswith("Layers:")
    assert (work / "model.engine").stat().st_size > 1_000_000


def test_nothing_is_built_that_cannot_run_here(load: Callable[..., ModuleType]) -> None:
    build, rtx = load("build"), importlib.import_module("tensorrt_rtx")
    gpu = importlib.import_module("cuda_driver").Gpu
    with pytest.raises(
        build.Stop, match=r"are for SM80, .* and newer, here is NVIDIA H100 \(SM90\); it needs"
    ) as caught:
        build.check_gpu(rtx, gpu("NVIDIA H100", "SM90", "13.0"))
    assert caught.value.code == 4
    build.check_gpu(rtx, gpu("NVIDIA L4", "SM89", "13.0"))
    build.check_gpu(importlib.import_module("tensorrt"), gpu("Orin", "SM87", "12.6"))
