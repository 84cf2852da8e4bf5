"""Machines that lack something, and machines that differ: the exact remedy, and the same bytes."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import pytest

import edgecnn
from edgecnn.artifact import load_artifact
from edgecnn.pipeline import Exported
from edgecnn.recipe import shipped
from tests.conftest import Answer, Command
from tests.faults.conftest import EXPORT, Refused, contents, one_line

RUNTIMES = {"openvino": ["openvino"], "onnxruntime": ["onnxruntime"], "nothing": []}

Machine = Callable[..., Answer]


def _install(folder: Path, distributions: Iterable[str]) -> None:
    """Links the installed base dependencies, and these, with all that they need, into a folder."""
    pyproject = (Path(edgecnn.__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    (base,) = re.findall(r"^dependencies = \[(.*)\]$", pyproject, re.MULTILINE)
    wanted, done = [*re.findall(r'"([\w-]+)', base), *distributions], set[str]()
    while wanted:
        name = wanted.pop()
        if name in done:
            continue
        done.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform
        required = [line for line in found.requires or [] if "extra ==" not in line]
        wanted += [re.split(r"[^\w.-]", line)[0] for line in required]
        for top in {Path(str(file)).parts[0] for file in found.files or ()} - {".."}:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))  # type: ignore[arg-type]  # a path on disk
    (folder / "edgecnn").symlink_to(Path(edgecnn.__file__).parent)
    for data in ("export", "calibration"):
        (folder / data).symlink_to(shipped(data))


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Machine]:
    """``machine("openvino")(...)``: the command line where the base install and one runtime are all there is."""
    made: dict[str, Path] = {}

    def get(runtime: str) -> Machine:
        if runtime not in made:
            made[runtime] = tmp_path_factory.mktemp(runtime)
            _install(made[runtime], RUNTIMES[runtime])

        def call(*arguments: str | Path) -> Answer:
            done = subprocess.run(
                [sys.executable, "-S", "-m", "edgecnn", *arguments],
                capture_output=True,
                text=True,
                env=os.environ | {"PYTHONPATH": str(made[runtime])},
                cwd=made[runtime],
                check=False,
            )
            return Answer(done.returncode, done.stdout, done.stderr)

        return call

    return get


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_F45_an_export_names_the_line_that_installs_what_it_needs(
    machine: Callable[[str], Machine], runtime: str, tmp_path: Path
) -> None:
    arguments = ("export", "mobilenetv3_small", "--weights", "random", "--target", "onnx", "--out", tmp_path / "out")
    answer = machine(runtime)(*arguments)
    assert (answer.code, answer.out) == (4, "")
    line = one_line(answer.err)
    assert line.startswith("edgecnn: export needs torch, onnx, onnxscript, ")
    assert line.endswith(": pip install 'edgecnn[export]'")
    assert not (tmp_path / "out").exists()


def test_F45_training_names_the_line_that_installs_what_it_needs(
    machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    answer = machine("nothing")("train", "mobilenetv3_small", "--out", tmp_path / "out")
    assert (answer.code, answer.out) == (4, "")
    assert one_line(answer.err).endswith(": pip install 'edgecnn[train]'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("runtime", "target", "extra"),
    [
        ("nothing", "onnx", "onnxruntime"),
        ("nothing", "openvino", "openvino"),
        ("openvino", "onnxruntime", "onnxruntime"),
        ("onnxruntime", "openvino", "openvino"),
    ],
)
def test_F45_a_missing_runtime_is_named(
    machine: Callable[[str], Machine],
    tiny_export: Callable[..., Exported],
    photos: Path,
    runtime: str,
    target: str,
    extra: str,
) -> None:
    folder = tiny_export(target, "fp32").artifact.folder
    for arguments in (("verify", folder), ("predict", folder, photos / "0.jpg")):
        answer = machine(runtime)(*arguments)
        assert (answer.code, answer.out) == (4, "")
        assert one_line(answer.err) == f"edgecnn: target {target} needs {extra}: pip install 'edgecnn[{extra}]'"


def test_F45_an_engine_without_its_gpu_is_checked_by_its_graph_and_says_so(
    machine: Callable[[str], Machine], tiny_export: Callable[..., Exported], photos: Path
) -> None:
    folder = tiny_export("tensorrt", "int8").artifact.folder
    answer = machine("onnxruntime")("verify", folder, "--json")
    assert (answer.code, answer.err) == (0, "")
    document = json.loads(answer.out)
    assert (document["executed"], document["stages"][-1]["name"]) == (False, "lowered")
    assert document["note"].startswith("built, not executed here (")
    assert document["coverage"]["planned_int8_layers"] == document["coverage"]["planned_layers"] > 0
    answer = machine("onnxruntime")("predict", folder, photos / "0.jpg")
    assert (answer.code, answer.out) == (4, "")
    assert one_line(answer.err).startswith("edgecnn: this engine cannot run here: ")
    assert "`edgecnn verify` checks the graph that it was built from" in answer.err


def test_F45_an_engine_without_gpu_or_onnxruntime_names_what_would_check_it(
    machine: Callable[[str], Machine], tiny_export: Callable[..., Exported]
) -> None:
    for options in ({}, {"flavour": "bundle"}):
        folder = tiny_export("tensorrt", "int8", **options).artifact.folder
        answer = machine("nothing")("verify", folder)
        assert (answer.code, answer.out) == (4, "")
        line = one_line(answer.err)
        assert line.startswith(f"edgecnn: {folder} cannot run here (")
        assert line.endswith(": pip install 'edgecnn[onnxruntime]'")


def test_F45_tensorrt_without_its_extra_names_the_line_and_the_bundle(
    refused: Refused, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = importlib.util.find_spec
    absent = ("tensorrt", "tensorrt_rtx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else installed(name))
    line = refused(4, *EXPORT, "--target", "tensorrt", "--int8", "--out", tmp_path / "out")
    assert line.startswith(
        "edgecnn: target tensorrt needs tensorrt_rtx: pip install 'edgecnn[tensorrt-rtx]'; or --flavour"
    )
    line = refused(4, *EXPORT, "--target", "tensorrt", "--flavour", "tensorrt", "--out", tmp_path / "out")
    assert "--flavour tensorrt builds with its package on its GPU: " in line
    assert not (tmp_path / "out").exists()
    answer = command(*EXPORT, "--target", "tensorrt", "--flavour", "bundle", "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    assert "flavour bundle: the device builds the engine" in answer.out
    assert "not gated, not built here" in answer.out


@pytest.mark.parametrize(("runtime", "target"), [("openvino", "openvino"), ("onnxruntime", "onnx")])
def test_F45_a_device_without_torch_verifies_and_predicts(
    machine: Callable[[str], Machine],
    tiny_export: Callable[..., Exported],
    photos: Path,
    runtime: str,
    target: str,
) -> None:
    folder = tiny_export(target, "fp32").artifact.folder
    device = machine(runtime)
    for reference, images in (("golden", []), ("onnx", ["--images", photos])):
        answer = device("verify", folder, *images, "--json")
        assert (answer.code, answer.err) == (0, "")
        document = json.loads(answer.out)
        assert (document["reference"], document["verdict"]) == (reference, "pass")
        assert document["stages"][-1]["name"] == "compiled"
    answer = device("inspect", folder, "--json")
    assert (answer.code, answer.err) == (0, "")
    assert json.loads(answer.out)["timing"]["latencies"][0]["name"] == "fp32"
    answer = device("predict", folder, photos / "0.jpg", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert len(json.loads(answer.out)[0]["top5"]) == 5


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_F45_the_doctor_works_everywhere(machine: Callable[[str], Machine], runtime: str) -> None:
    answer = machine(runtime)("doctor", "--json")
    assert (answer.code, answer.err) == (0, "")
    extras = {row["extra"]: row for row in json.loads(answer.out)["extras"]}
    assert "torch" in extras["export"]["missing"]
    assert extras["export"]["install"] == "pip install 'edgecnn[export]'"
    for name in ("openvino", "onnxruntime"):
        assert (extras[name]["install"] is None) == (name == runtime)
        assert list(extras[name]["installed"]) == ([name] if name == runtime else [])
    answer = machine(runtime)("doctor")
    assert "pip install 'edgecnn[export]'" in answer.out
    assert (answer.code, answer.err) == (0, "")


def test_F45_listing_needs_nothing(machine: Callable[[str], Machine]) -> None:
    answer = machine("nothing")("list", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert len(json.loads(answer.out)) >= 17


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt"])
def test_F42_the_same_export_elsewhere_gives_the_same_bytes(
    tiny_export: Callable[..., Exported], tmp_path: Path, target: str
) -> None:
    here = tiny_export(target, "int8").artifact
    arguments = ("--weights", "random", "--size", "32", "--num-classes", "10", "--target", target, "--int8", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", "export", "mobilenetv3_small", *arguments, "--out", "there"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONHASHSEED": "42", "TZ": "Pacific/Apia", "LANG": "tr_TR", "LC_ALL": "C", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        umask=0o027,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    there = load_artifact(tmp_path / "there")
    assert json.loads(done.stdout)["artifact"] == "there"
    assert there.manifest == json.loads(json.dumps(here.manifest))
    assert contents(there.folder) == contents(here.folder)
    assert {path.stat().st_mode & 0o777 for path in there.folder.iterdir()} == {0o640}  # F40


def test_layers_are_not_timed_for_a_device_that_is_elsewhere(refused: Refused, tmp_path: Path) -> None:
    arguments = ("--target", "tensorrt", "--flavour", "bundle", "--int8", "--effort", "best")
    line = refused(4, "export", "mobilenetv3_small", *arguments, "--out", tmp_path / "out")
    assert "--effort best times layers on the device, and tensorrt cannot run here: the device builds its" in line
    assert "use --effort balanced" in line


def test_memory_that_runs_out_is_one_line(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def filled(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("edgecnn.cli.process.app", filled)
    assert "not enough memory; a smaller --size or --batch needs less" in refused(5, "list")
