"""``verify --host`` finds on a board what ``verify`` finds here, without torch or edgecnn there, and leaves nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.artifact import load_artifact, publish
from edgecnn.files import MANIFEST
from edgecnn.progress import Progress
from edgecnn.remote.boards import verify_there
from edgecnn.remote.ssh import Host
from tests.conftest import Answer, Command
from tests.faults.conftest import one_line
from tests.remote.board import Board

There = Callable[..., Answer]


class Counted(Progress):
    """Counts the bytes of an upload."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def advance(self, count: int = 1) -> None:
        self.count += count


def test_a_board_finds_what_this_machine_finds(
    board: Board, there: There, command: Command, ort_artifact: Path
) -> None:
    for package in ("torch", "edgecnn", "onnx"):
        assert "No module named" in board.ssh(f"{board.python} -c 'import {package}'").stderr
    answer, here = there("verify", ort_artifact, "--json"), command("verify", ort_artifact, "--json")
    assert (answer.code, answer.err) == (0, "")
    found, expected = json.loads(answer.out), json.loads(here.out)
    assert found.pop("host") == "board"
    assert found["images"] == {"name": "golden pairs on board"}
    assert found["coverage"]["int8_layers"] > 10
    assert found == expected | {"images": found["images"]}
    assert board.left() == []


def test_people_see_the_same_table(board: Board, there: There, command: Command, ort_artifact: Path) -> None:
    answer, here = there("verify", ort_artifact), command("verify", ort_artifact)
    assert answer.code == 0
    assert answer.out == here.out.replace("golden pairs", "golden pairs on board")


def test_images_go_along(board: Board, there: There, command: Command, ort_artifact: Path, photos: Path) -> None:
    for images, name in ((str(photos), "images"), ("photographs", "photographs")):
        answer = there("verify", ort_artifact, "--images", images, "--json")
        assert answer.code == 0, answer.err
        found = json.loads(answer.out)
        assert (found["reference"], found["images"]["name"]) == ("onnx", f"{name} on board")
        here = json.loads(command("verify", ort_artifact, "--images", images, "--json").out)
        assert (found["n"], found["images"]["sha256"]) == (here["n"], here["images"]["sha256"])
    assert board.left() == []


def test_an_image_that_cannot_be_read_is_named(
    board: Board, there: There, ort_artifact: Path, photos: Path, tmp_path: Path
) -> None:
    images = shutil.copytree(photos, tmp_path / "images")
    (images / "3.jpg").write_bytes(b"no picture")
    answer = there("verify", ort_artifact, "--images", images)
    assert (answer.code, answer.out) == (3, "")
    assert one_line(answer.err).startswith("edgecnn: board: images/3.jpg: ")
    assert board.left() == []


def test_a_rejection_there_is_one_here_and_marks_nothing(board: Board, there: There, ort_artifact: Path) -> None:
    artifact = load_artifact(ort_artifact)
    files = {role: path.read_bytes() for role, path in artifact.files.items()}
    with np.load(artifact.files["golden.npz"]) as golden:
        np.savez(ort_artifact / "golden.npz", inputs=golden["inputs"], logits=-golden["logits"])
    files["golden.npz"] = (ort_artifact / "golden.npz").read_bytes()
    (ort_artifact / "golden.npz").unlink()
    manifest = {key: value for key, value in artifact.manifest.items() if key not in ("schema", "files", "sha256")}
    manifest |= {"weights": {"source": "file", "sha256": "", "file": "w.safetensors"}, "status": "verified"}
    publish(ort_artifact, files, manifest)
    before = (ort_artifact / MANIFEST).read_bytes()
    answer = there("verify", ort_artifact, "--json")
    assert answer.code == 6
    assert json.loads(answer.out)["verdict"] == "fail"
    assert answer.err.startswith(f"edgecnn: {ort_artifact} is rejected on board: ")
    assert (ort_artifact / MANIFEST).read_bytes() == before
    assert board.left() == []


def test_what_is_kept_is_not_sent_again(board: Board, ort_artifact: Path) -> None:
    host, sent = Host("board", str(board.python)), []
    for keep in (True, True, False, False):
        progress = Counted()
        verify_there(host, ort_artifact, keep=keep, progress=progress)
        sent.append(progress.count)
        assert bool(board.left()) == keep
    assert sent == [sent[0], 0, 0, sent[0]]
    assert sent[0] > 1_000_000


def test_a_kept_file_that_was_damaged_is_sent_again(board: Board, ort_artifact: Path) -> None:
    host, progress = Host("board", str(board.python)), Counted()
    verify_there(host, ort_artifact, keep=True)
    assert not list(board.cache.glob("run-*"))
    largest = max(board.cache.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[1000] ^= 1
    largest.write_bytes(content)
    verify_there(host, ort_artifact, progress=progress)
    assert progress.count == len(content)


@pytest.mark.parametrize("name", ["-oProxyCommand=touch pwned", "$(touch pwned); 'touch' \"pwned\"", "Straße \udcff"])
def test_no_name_of_a_file_is_run(board: Board, there: There, ort_artifact: Path, name: str) -> None:
    answer = there("verify", ort_artifact.rename(ort_artifact.with_name(name)), "--json")
    assert (answer.code, answer.err) == (0, "")
    assert board.left() == []


def test_a_login_shell_may_talk(board: Board, there: There, ort_artifact: Path) -> None:
    key = board.authorized_keys.read_text()
    board.authorized_keys.write_text(
        f'command="echo welcome; echo; echo warning >&2; eval \\"$SSH_ORIGINAL_COMMAND\\"" {key}'
    )
    assert there("verify", ort_artifact).code == 0


def test_the_address_may_be_a_uri(
    board: Board, command: Command, ort_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = f"-i {board.folder / 'id'} -o UserKnownHostsFile={board.folder / 'known_hosts'}"
    monkeypatch.setenv("EDGECNN_SSH_COMMAND", f"ssh -F /dev/null {options}")
    host = f"ssh://{board.user}@127.0.0.1:{board.port}"
    assert command("verify", ort_artifact, "--host", host, "--remote-python", board.python).code == 0
