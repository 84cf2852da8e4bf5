"""Refusals of the command line, and images and artifacts that a test may spoil."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from edgecnn.pipeline import Exported
from tests.conftest import Command

NOBODY = 65534

# A small export; add --target, and --out where it may succeed.
EXPORT = ("export", "mobilenetv1", "--weights", "random", "--size", "32", "--num-classes", "10")


class Refused(Protocol):
    def __call__(self, code: int, *arguments: str | Path) -> str: ...


@pytest.fixture
def refused(command: Command) -> Refused:
    """Runs a command line that must end with a code and one line on stderr, and returns that line."""

    def call(code: int, *arguments: str | Path) -> str:
        answer = command(*arguments)
        assert (answer.code, answer.out) == (code, ""), answer
        return one_line(answer.err)

    return call


def one_line(err: str) -> str:
    """The only line of a refusal."""
    assert err.startswith("edgecnn: "), err
    assert err.endswith("\n"), err
    assert err.count("\n") == 1, err
    return err.strip()


@pytest.fixture
def images(photos: Path, tmp_path: Path) -> Path:
    """A copy of the photographs."""
    return shutil.copytree(photos, tmp_path / "images")


@pytest.fixture
def openvino_artifact(tiny_export: Callable[..., Exported], tmp_path: Path) -> Path:
    """A copy of an OpenVINO artifact."""
    return shutil.copytree(tiny_export("openvino", "fp32").artifact.folder, tmp_path / "openvino-artifact")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path in a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def powerless() -> Iterator[None]:
    """Root ignores permissions, so the test steps down for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that any user may reach."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path(parent.anchor):
            parent.chmod(parent.stat().st_mode | 0o011)
    return tmp_path
