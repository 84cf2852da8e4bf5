"""The board, made once, and clean before every test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgecnn.pipeline import Exported
from edgecnn.remote.ssh import COMMAND
from tests.conftest import Answer, Command, as_gated
from tests.faults.conftest import openvino_artifact as openvino_artifact
from tests.faults.conftest import refused as refused
from tests.remote.board import Board, running_board


@pytest.fixture(scope="session")
def only_board() -> Iterator[Board]:
    with running_board() as board:
        yield board


@pytest.fixture
def board(only_board: Board, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """The board, which ``--host board`` reaches."""
    monkeypatch.setenv(COMMAND, f"ssh -F {only_board.config}")
    keys = only_board.authorized_keys.read_text()
    yield only_board
    only_board.authorized_keys.write_text(keys)
    for path in only_board.home.iterdir():
        if path.name != ".ssh":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def there(board: Board, command: Command) -> Callable[..., Answer]:
    """``there("verify", ARTIFACT)``: a command line with the board and its Python."""

    def call(*arguments: str | Path) -> Answer:
        return command(*arguments, "--host", "board", "--remote-python", board.python)

    return call


@pytest.fixture
def ort_artifact(tiny_export: Callable[..., Exported], tmp_path: Path) -> Path:
    """A copy of an INT8 artifact for the runtime that the board has."""
    return shutil.copytree(tiny_export("onnxruntime", "int8").artifact.folder, tmp_path / "small")


@pytest.fixture
def bundle_artifact(tiny_export: Callable[..., Exported], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact for TensorRT, which boards build themselves."""
    made = tiny_export("tensorrt", "int8", flavour="bundle").artifact.folder
    return as_gated(made, tmp_path_factory.mktemp("bundle") / "out")
