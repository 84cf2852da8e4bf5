"""What all tests share: one thread, small exports that are made once, and the command line in this process."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pytest
import torch
from PIL import Image
from threadpoolctl import threadpool_limits

from edgecnn.artifact import load_artifact, mark
from edgecnn.bench import peak
from edgecnn.cli import run
from edgecnn.garbage import search_seldom, spare_the_living
from edgecnn.graph.fold import fold
from edgecnn.graph.graph import Graph
from edgecnn.graph.traced import trace
from edgecnn.models.registry import find_model
from edgecnn.models.weights import load_model
from edgecnn.pipeline import Exported, export
from edgecnn.quant.calibrate import observe_ranges
from edgecnn.quant.placement import Role, needing_zero, place
from edgecnn.quant.table import QuantizerTable, make_table
from edgecnn.request import ExportRequest

LONGEST = ("test_readme.py", "test_tensorrt_every_model.py")
TINY = {"model": "mobilenetv3_small", "size": (32, 32), "num_classes": 10, "weights": "random"}


class Answer(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str


def as_gated(folder: Path, out: Path) -> Path:
    """A copy of an artifact of random weights that says it has others, so that a gate judges it."""
    shutil.copytree(folder, out)
    mark(load_artifact(out), {"status": "verified", "weights": {"source": "builtin", "sha256": "0" * 64}})
    return out


class Command(Protocol):
    def __call__(self, *arguments: str | Path) -> Answer: ...


CACHE = "XDG_CACHE_HOME"


def pytest_configure() -> None:
    """Each worker, and what it starts, keeps to a core of its own: runtimes that share cores wait for one another.

    All share a cache that was empty when they began and is gone afterwards, so that each network is traced once.
    Garbage is searched for as seldom as in the command's own process, and not among the modules that are imported now.
    """
    search_seldom()
    spare_the_living()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker) % len(cores)]})
    else:
        os.environ[CACHE] = tempfile.mkdtemp(prefix="edgecnn-tests-")


def pytest_unconfigure() -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: a worker gets whole files, and the other would wait for one that begins last."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """More threads only wait for one another on networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def short_peaks() -> Iterator[None]:
    """What a machine reaches at most takes a look of half a second, twice a run; how much it is no test asks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peak, "SECONDS", 0.02)
        yield


@pytest.fixture(scope="session")
def tiny_graph() -> Callable[..., Graph]:
    """``tiny_graph(model, side)``: the folded FP32 graph of a random model of ten classes, made once per session."""
    made: dict[tuple[str, int], Graph] = {}

    def get(model: str = "mobilenetv3_small", side: int = 32) -> Graph:
        if (model, side) not in made:
            loaded = load_model(find_model(model), "random", 10)
            made[model, side] = trace(fold(loaded.model), 3, side, side)
        return made[model, side]

    return get


@pytest.fixture(scope="session")
def tiny_table(tiny_graph: Callable[..., Graph]) -> Callable[..., QuantizerTable]:
    """``tiny_table(model, side, symmetric)``: the table of ``tiny_graph(model, side)``, from ranges over noise."""
    made: dict[tuple[str, int, bool], QuantizerTable] = {}

    def get(model: str = "mobilenetv3_small", side: int = 32, symmetric: bool = False) -> QuantizerTable:
        if (model, side, symmetric) not in made:
            graph = tiny_graph(model, side)
            noise = np.random.default_rng(0).normal(0, 1, (8, 3, side, side)).astype(np.float32)
            placement = place(graph)
            ranges = observe_ranges(graph, placement.roles, [noise])
            signed = needing_zero(graph, placement) if symmetric else frozenset()
            made[model, side, symmetric] = make_table(graph, placement, ranges, signed)
        return made[model, side, symmetric]

    return get


@pytest.fixture
def inputs_alone(tiny_table: Callable[..., QuantizerTable]) -> QuantizerTable:
    """``tiny_table()`` as a runtime has it that quantizes the inputs of layers, and nothing else."""
    table, wanted = tiny_table(), frozenset({Role.INPUT})
    kept = {name: one for name, one in table.activations.items() if one.roles & wanted}
    return replace(table, activations={name: replace(one, roles=wanted) for name, one in kept.items()})


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """``tiny_export(target, precision, **request)``: a published artifact of a random model, made once per session.

    Copy its folder before changing anything in it.
    """
    made: dict[str, Exported] = {}

    def get(target: str = "onnx", precision: str = "fp32", **request: object) -> Exported:
        wanted = {**TINY, "target": target, "precision": precision, **request}
        key = repr(sorted(wanted.items()))
        if key not in made:
            out: Path = tmp_path_factory.mktemp("artifact") / "out"
            made[key] = export(ExportRequest(**wanted, out=out))  # type: ignore[arg-type]  # checked by the dataclass
        return made[key]

    return get


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in this process."""

    def call(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture
def instead_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``instead_of_python(code)``: what new processes of ours run instead of what they are asked to; real processes."""

    def take(code: str) -> None:
        script = tmp_path / "python"
        script.write_text(f"#!{sys.executable}\n{code}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return take


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten small JPEGs; copy the folder before spoiling one."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for index in range(10):
        coarse = random.integers(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg")
    return folder


@pytest.fixture
def artifact(tiny_export: Callable[..., Exported], tmp_path: Path) -> Path:
    """A copy of an ONNX artifact."""
    return shutil.copytree(tiny_export("onnx", "fp32").artifact.folder, tmp_path / "artifact")
