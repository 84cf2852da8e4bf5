"""The bundle's scripts against stand-ins for three TensorRTs, and for real up to the point where a GPU is needed."""

import ast
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgecnn.bench.device import device_run
from edgecnn.pipeline import Exported
from edgecnn.targets.tensorrt_bundle import FOLDER, SCRIPTS
from tests.stand_ins.cuda import Cuda

STAND_INS = Path(__file__).parents[2] / "stand_ins"
VERSIONS = ["8.6", "10.3", "11.4"]
PYTHON = sorted(path.name for path in SCRIPTS.glob("*.py") if path.name != "__init__.py")
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


RTX = ("tensorrt_rtx",)


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


@pytest.mark.parametrize("version", VERSIONS)
def test_run_writes_where_the_time_goes(
    load: Callable[..., ModuleType], exported: Exported, bundle: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of ``run.py``, by stand-ins for TensorRT, which answers zeros as random weights nearly do, and for CUDA."""
    found, _ = built(load, bundle, version)
    run, gpu = load("run", version), importlib.import_module("cuda_driver").Gpu("Stand-in", "SM87", "12.6")
    cuda = Cuda()
    for name, value in (("gpu_here", lambda: gpu), ("Cuda", lambda: cuda), ("HERE", bundle)):
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(sys, "argv", ["run.py", "--seconds", "0.01"])
    run.main()
    result = json.loads((bundle / "result.json").read_text())
    assert result["latency"]["cuda_graph"]
    layers = result["layers"]
    kernels = found["kernels"]
    assert [row["name"] for row in layers] == [kernel["name"] for kernel in kernels]
    assert [row["nodes"] for row in layers] == [list(kernel["nodes"]) for kernel in kernels]
    assert [row["precision"] for row in layers] == [kernel["precision"] for kernel in kernels]
    assert [row["ms"] for row in layers] == pytest.approx([(place + 1) / 1000 for place in range(len(layers))])
    (row,) = device_run(exported.artifact.folder, bundle / "result.json").rows
    assert row.times is not None
    assert row.times.n == result["latency"]["gpu_ms"]["n"] >= 10
    assert [layer.ms for layer in row.layers] == [round(layer["ms"], 5) for layer in layers]


def test_times_of_layers_are_of_the_middle_half_and_leave_the_first_run_out(load: Callable[..., ModuleType]) -> None:
    times, trt = load("layer_times"), load("tensorrt")

    class Runner:
        runs = 0
        profiler: Any = None

        def profile(self, profiler: Any) -> None:
            self.profiler = profiler

        def run(self, image: int) -> None:
            self.runs += 1
            if self.profiler is not None:
                for name, ms in (("a", image), ("b", 1), ("a", image)):  # a layer may be told of in parts
                    self.profiler.report_layer_time(name, ms)

    runner = Runner()
    found = times.layer_times(trt, runner, [1, 2, 3, 1000])
    assert runner.runs == 5
    assert found == {"a": [2, 4, 6, 2000], "b": [1, 1, 1, 1]}
    assert list(found) == ["a", "b"]
    assert times.middle_mean(found["a"]) == 5


def test_a_layer_is_found_by_its_name_or_by_a_node_in_it(load: Callable[..., ModuleType]) -> None:
    layers = load("layers")
    known = (
        layers.Kernel("CaskConvolution", ("a/Conv", "a/Relu"), "int8", 8, "a/Conv + a/Relu"),
        layers.Kernel("Reformat", (), "fp16", 8, "Reformatting CopyNode"),
        layers.Kernel("PointWise", ("b/Relu",), "fp16", 8, "PWN(b/Relu)"),
    )
    for name, found in (("a/Conv + a/Relu", 0), ("Reformatting CopyNode", 1), ("b/Relu || c/Conv", 2)):
        assert layers.kernel_called(name, known) is known[found]
    assert layers.kernel_called("unheard of", known) == ("Unlisted", (), "unknown", 0, "unheard of")


def test_parity_holds_engines_to_edgecnns_own_bounds(load: Callable[..., ModuleType]) -> None:
    from edgecnn.parity import compare
    from edgecnn.verify.policy import FLOAT_TOLERANCES

    run = load("run")
    assert run.TOLERANCES == FLOAT_TOLERANCES
    random = np.random.default_rng(0)
    want = random.normal(0, 1, (16, 10)).astype(np.float32)
    near, far = want + np.float32(1e-3), random.normal(0, 1, (16, 10)).astype(np.float32)
    gate = {"max_kl": 0.1, "min_agreement": 0.95, "max_drop_pp": 1.0}
    assert run.parity(want, near, "fp16", gate)["reasons"] == []
    assert "fp32 allows" in run.parity(want, near, "fp32", gate)["reasons"][0]
    assert "KL divergence" in run.parity(want, far, "int8", gate)["reasons"][0]
    with pytest.raises(run.Stop, match="they are not finite") as caught:
        run.parity(want, want * np.float32(np.nan), "int8", gate)
    assert caught.value.code == 6
    theirs, ours = run.parity(want, far, "int8", gate), compare(want, far)
    for key in ("n", "max_abs", "cosine", "sqnr_db", "agreement", "kl"):
        assert theirs[key] == pytest.approx(getattr(ours, key), rel=1e-9)
