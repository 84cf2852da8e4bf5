"""The commands of docs/device.md, as they stand there, on a board of our own."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgecnn.bench.record import read_run
from tests.conftest import Command
from tests.remote.board import Board
from tests.remote.bundles import answering
from tests.remote.bundles import artifact as artifact
from tests.remote.bundles import stand_in as stand_in
from tests.unit.verify.test_device import result as result

PAGE = (Path(__file__).parents[2] / "docs" / "device.md").read_text("utf-8")
COMMANDS = re.findall(r"^edgecnn (.+)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_does_what_it_says(
    line: str,
    board: Board,
    command: Command,
    ort_artifact: Path,
    bundle_artifact: Path,
    result: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The board has ONNX Runtime and no other, so what is called OpenVINO's is for that."""
    monkeypatch.chdir(tmp_path)
    words = re.sub(r"\S+@\S+", "board", line).split()
    artifacts = [word for word in words if word.endswith("-int8")]
    for name in artifacts:
        if "tensorrt" in name:
            answering(bundle_artifact, tmp_path / name, result, 0)
        else:
            shutil.copytree(ort_artifact, tmp_path / name)
    short = ["--duration", "0.2"] if words[0] == "bench" else []
    answer = command(*words, "--remote-python", board.python, *short)
    assert answer.code == 0, answer.err
    if "--out" in words:
        run = read_run(tmp_path / words[words.index("--out") + 1])
        assert {row.name: row.status for row in run.rows} == dict.fromkeys(artifacts, "ok")
    assert board.left() == []


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) == 3
