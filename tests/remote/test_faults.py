"""Whatever goes wrong on the way to a board is one line and an exit code, and the board is as it was."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.errors import IntegrityError
from edgecnn.progress import Progress
from edgecnn.remote.parcel import item
from edgecnn.remote.session import Job, run_there
from edgecnn.remote.ssh import COMMAND, Host
from tests.conftest import Answer
from tests.faults.conftest import Refused, one_line
from tests.remote.board import Board, free_port, make_key

There = Callable[..., Answer]


@pytest.fixture
def refused_there(refused: Refused, board: Board) -> Callable[..., str]:
    """A refusal of ``verify --host board``, after which nothing is left on the board."""

    def call(code: int, *arguments: str | Path) -> str:
        line = refused(code, "verify", *arguments, "--host", "board")
        assert board.left() == []
        return line

    return call


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=touch pwned", "user@-oProxyCommand=x", "a b", "board;id", "board:22", "", "ssh://", "ü"]
)
def test_a_host_is_a_name(refused: Refused, artifact: Path, host: str) -> None:
    assert "--host is " in refused(2, "verify", artifact, f"--host={host}")


@pytest.mark.parametrize("python", ["-c", "python3;id", "a b", "$(id)", "py'thon", ""])
def test_a_python_is_a_path(refused: Refused, artifact: Path, python: str) -> None:
    assert "--remote-python is " in refused(2, "verify", artifact, "--host", "board", f"--remote-python={python}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--keep",), "--remote-python and --keep are of --host"),
        (("--host", "board", "--weights", "w.safetensors"), "--weights needs PyTorch"),
        (("--host", "board", "--result", "result.json"), "--result is judged as it is"),
        (("--host", "board", "--images", "images.csv"), "must be a folder of images or a shipped set"),
    ],
)
def test_contradictions(refused: Refused, artifact: Path, options: tuple[str, ...], said: str) -> None:
    assert said in refused(2, "verify", artifact, *options)


def test_an_unknown_host_key_is_refused(
    board: Board, refused_there: Callable[..., str], artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = board.configured("unknown_config", "UserKnownHostsFile /dev/null", "StrictHostKeyChecking no")
    monkeypatch.setenv(COMMAND, f"ssh -F {config} -o StrictHostKeyChecking=no")
    line = refused_there(4, artifact)
    assert "board: its host key is not known: connect once with `ssh board` and compare the fingerprint" in line


def test_another_host_key_is_refused(
    board: Board, refused_there: Callable[..., str], artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{board.port} {make_key(tmp_path / 'other')}\n")
    config = board.configured("changed_config", f"UserKnownHostsFile {known}")
    monkeypatch.setenv(COMMAND, f"ssh -F {config}")
    assert "board: its host key is not the one in known_hosts" in refused_there(4, artifact)


def test_a_refused_key_asks_for_no_password(
    board: Board, refused_there: Callable[..., str], artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path / "stranger")
    config = board.configured("stranger_config", f"IdentityFile {tmp_path / 'stranger'}")
    config.write_text(config.read_text().replace(f"IdentityFile {board.folder / 'id'}\n", ""))
    monkeypatch.setenv(COMMAND, f"ssh -F {config}")
    assert "board: it accepts none of your keys, and edgecnn asks for no password" in refused_there(4, artifact)


def test_a_host_that_is_not_there(refused: Refused, artifact: Path) -> None:
    nobody = f"ssh://127.0.0.1:{free_port()}"
    assert f"{nobody}: no SSH server listens there" in refused(4, "verify", artifact, "--host", nobody)
    line = refused(4, "verify", artifact, "--host", "board.invalid")
    assert "board.invalid: no such host: is the name right" in line


def test_a_host_that_does_not_answer(refused: Refused, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMAND, "ssh -o ConnectTimeout=1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = f"ssh://127.0.0.1:{silent.getsockname()[1]}"
        assert f"{host}: it does not answer: is it on" in refused(4, "verify", artifact, "--host", host)


def test_no_ssh_here(refused: Refused, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMAND, "/nonexistent/ssh")
    assert "apt install openssh-client" in refused(4, "verify", artifact, "--host", "board")
    monkeypatch.setenv(COMMAND, "ssh '")
    assert "EDGECNN_SSH_COMMAND is no command line" in refused(2, "verify", artifact, "--host", "board")


def test_no_python_there(refused_there: Callable[..., str], artifact: Path) -> None:
    line = refused_there(4, artifact, "--remote-python", "/nonexistent/python3")
    assert "board: /nonexistent/python3 does not start (" in line
    assert "--remote-python" in line
    assert "board: /bin/false ended with 1 (" in refused_there(4, artifact, "--remote-python", "/bin/false")


@pytest.mark.parametrize(("version", "oldest"), [("2, 7, 18", "3.8"), ("3, 7, 3", "3.8"), ("3, 10, 12", "3.11")])
def test_an_old_python_there(
    board: Board, refused_there: Callable[..., str], artifact: Path, version: str, oldest: str
) -> None:
    """A stand-in: a Python that claims to be old."""
    dotted = version.replace(", ", ".")
    claim = f"import sys; sys.version_info = ({version}, 'final', 0); sys.version = '{dotted} (stand-in)'"
    old = board.folder / "old-python"
    old.write_text(f'#!/bin/sh\nexec {board.python} -c "{claim}; code = sys.argv.pop(); exec(code)" "$2"\n')
    old.chmod(0o755)
    line = refused_there(4, artifact, "--remote-python", str(old))
    assert f"board: {old} is Python {dotted}, this takes {oldest} or newer" in line


def test_a_missing_runtime_is_named_with_its_line(
    board: Board, refused_there: Callable[..., str], openvino_artifact: Path
) -> None:
    line = refused_there(4, openvino_artifact, "--remote-python", str(board.python))
    assert line == (
        f"edgecnn: board: {board.python} has no openvino; there: {board.python} -m pip install 'edgecnn[openvino]'"
    )


def test_a_full_disk_there(board: Board, refused_there: Callable[..., str], ort_artifact: Path) -> None:
    key = board.authorized_keys.read_text()
    board.authorized_keys.write_text(f'command="ulimit -f 512; eval \\"$SSH_ORIGINAL_COMMAND\\"" {key}')
    line = refused_there(8, ort_artifact, "--remote-python", str(board.python))
    assert line == "edgecnn: board: cannot write there: File too large"


def test_a_home_that_is_read_only(board: Board, there: There, ort_artifact: Path) -> None:
    (board.home / ".cache").touch()
    answer = there("verify", ort_artifact)
    assert (answer.code, answer.out) == (8, "")
    assert one_line(answer.err).startswith(f"edgecnn: board: cannot write there: {board.cache}: ")


def test_a_file_that_arrives_as_another_is_refused(board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"announced")
    announced = item("file", tmp_path / "file")
    (tmp_path / "file").write_bytes(b"something")
    job = Job((announced,), (("-c", "print(1)"),), (3, 8), (), "nothing")
    with pytest.raises(IntegrityError, match=f"announced was {announced.sha256}"):
        run_there(Host("board"), job, False, Progress())
    assert board.left() == []


def test_a_file_that_goes_away_is_refused(board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"announced")
    job = Job((item("file", tmp_path / "file"),), (("-c", "print(1)"),), (3, 8), (), "nothing")
    (tmp_path / "file").unlink()
    with pytest.raises(IntegrityError, match="file: went away while it was sent"):
        run_there(Host("board"), job, False, Progress())
    assert board.left() == []


def test_a_step_that_fails_ends_the_run(board: Board) -> None:
    steps = (("-c", "print(1)"), ("-c", "import sys; sys.exit('no')"), ("-c", "open('/tmp/never', 'x')"))
    done = run_there(Host("board"), Job((), steps, (3, 8), (), "nothing"), False, Progress())
    assert (done.code, done.stdout, done.stderr, done.collected) == (1, "", "no\n", None)
    assert board.left() == []


def test_a_file_is_brought_back(board: Board) -> None:
    step = ("-c", "import pathlib; pathlib.Path('answer').write_text('forty-two ä')")
    done = run_there(Host("board"), Job((), (step,), (3, 8), (), "nothing", collect="answer"), False, Progress())
    assert (done.code, done.collected) == (0, "forty-two ä")
    assert board.left() == []
