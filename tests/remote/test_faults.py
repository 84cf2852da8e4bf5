"""Whatever goes wrong on the way to a board is one line and an exit code, and the board is as it was."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edgecnn.errors import BusyError, IntegrityError, UnavailableError
from edgecnn.progress import Progress
from edgecnn.remote.boards import verify_there
from edgecnn.remote.parcel import item
from edgecnn.remote.session import Job, run_there
from edgecnn.remote.ssh import COMMAND, Host
from edgecnn.verify.stages import Verification
from tests.conftest import Answer
from tests.faults.conftest import Refused, one_line
from tests.remote.board import Board, free_port, make_key
from tests.remote.test_verify import Counted

There = Callable[..., Answer]

# A way to a board that breaks after so many bytes, or goes on slowly: ssh's own ProxyCommand.
CUT = """
import socket, sys, threading
port, most = int(sys.argv[1]), int(sys.argv[2])
there = socket.create_connection(("127.0.0.1", port))
def down():
    while block := there.recv(65536):
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
threading.Thread(target=down, daemon=True).start()
while most > 0 and (block := sys.stdin.buffer.read1(min(most, 65536))):
    there.sendall(block)
    most -= len(block)
there.close()
"""
EDGECNN = (sys.executable, "-m", "edgecnn")


@pytest.fixture
def refused_there(refused: Refused, board: Board) -> Callable[..., str]:
    """A refusal of ``verify --host board``, after which nothing is left on the board."""

    def call(code: int, *arguments: str | Path) -> str:
        line = refused(code, "verify", *arguments, "--host", "board")
        assert board.left() == []
        return line

    return call


def cut(board: Board, after: int) -> str:
    """An ``ssh`` whose connection breaks after so many bytes."""
    (board.folder / "cut.py").write_text(CUT)
    proxy = f"ProxyCommand {sys.executable} {board.folder / 'cut.py'} {board.port} {after}"
    return f"ssh -F {board.configured('cut_config', proxy)}"


def running(marker: str) -> list[int]:
    """Processes whose command line holds a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def parent(pid: int) -> int:
    """Of a process."""
    return int(re.search(r"^PPid:\s*(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.M)[1])  # type: ignore[index]


def idle(board: Board) -> bool:
    """Whether no agent is using the board's cache."""
    descriptor = os.open(board.cache, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


class Asleep(NamedTuple):
    """A ``verify --host board`` whose step on the board sleeps."""

    client: subprocess.Popen[str]
    marker: str

    @property
    def steps(self) -> list[int]:
        """Of the board."""
        return [pid for pid in running(self.marker) if pid != self.client.pid]

    @property
    def agent(self) -> int:
        return parent(self.steps[0])

    @property
    def ssh(self) -> int:
        (child,) = (pid for pid in running("ssh_config") if parent(pid) == self.client.pid)
        return child


def wait_for(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


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


@pytest.mark.parametrize("damage", [False, True])
def test_a_broken_connection_is_gone_on_with(
    board: Board, ort_artifact: Path, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    host, whole = Host("board", str(board.python)), Counted()
    verify_there(host, ort_artifact, progress=whole)
    with monkeypatch.context() as patch:
        patch.setenv(COMMAND, cut(board, whole.count // 2))
        with pytest.raises(UnavailableError, match=r"^board: the connection broke .*the same command goes on with it$"):
            verify_there(host, ort_artifact)
    wait_for(lambda: idle(board))
    assert not list(board.cache.glob("run-*"))
    (part,) = board.cache.glob("*.part")
    size = part.stat().st_size
    arrived = sum(path.stat().st_size for path in board.cache.iterdir())
    assert size > 0
    if damage:
        part.write_bytes(bytes(size))
    rest = Counted()
    verification = verify_there(host, ort_artifact, progress=rest)
    assert isinstance(verification, Verification)
    assert verification.parity.n > 0
    assert rest.count == whole.count - arrived + (size if damage else 0)
    assert board.left() == []


SLEEPER = """
import sys
from edgecnn.cli.process import main
from edgecnn.remote import boards, session
session.SILENCE_S = 4
from edgecnn.remote.session import Job
step = ("-c", "import time; time.sleep(600)", sys.argv.pop())
boards.package_job = lambda artifacts, items, _: Job(tuple(items), (step,), (3, 8), (), "")
main()
"""


@pytest.fixture
def asleep(board: Board, artifact: Path) -> Iterator[Asleep]:
    """What sleeps, once it does."""
    marker = f"{board.folder.name}-{uuid.uuid4()}"
    line = [sys.executable, "-c", SLEEPER, "verify", str(artifact), "--host", "board", marker]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        found = Asleep(client, marker)
        try:
            wait_for(lambda: list(board.cache.glob("run-*")) and len(found.steps) == 1)
            yield found
        finally:
            client.kill()


def nothing_runs(board: Board, asleep: Asleep) -> bool:
    return not asleep.steps and not list(board.cache.glob("run-*")) and idle(board)


def test_an_interrupt_ends_what_runs_there(board: Board, asleep: Asleep) -> None:
    asleep.client.send_signal(signal.SIGINT)
    out, err = asleep.client.communicate(timeout=30)
    assert (asleep.client.returncode, out) == (130, "")
    assert one_line(err) == "edgecnn: interrupted; nothing was changed"
    assert asleep.steps == []
    assert board.left() == []


def test_a_killed_client_ends_what_runs_there(board: Board, asleep: Asleep) -> None:
    asleep.client.kill()
    wait_for(lambda: nothing_runs(board, asleep))
    assert list(board.cache.iterdir()), "what has arrived is kept for the next call"


def test_a_silent_connection_ends_what_runs_there(board: Board, asleep: Asleep) -> None:
    time.sleep(6)
    assert asleep.steps, "a client that waits is not silent"
    ssh = asleep.ssh
    os.kill(ssh, signal.SIGSTOP)  # as a board sees a network that is gone: nothing comes, and nothing ends
    wait_for(lambda: nothing_runs(board, asleep))
    assert list(board.cache.iterdir()), "what has arrived is kept for the next call"
    os.kill(ssh, signal.SIGCONT)
    out, err = asleep.client.communicate(timeout=30)
    assert (asleep.client.returncode, out) == (4, "")
    assert one_line(err).startswith("edgecnn: board: ")


def test_an_agent_that_is_stopped_cleans_up(board: Board, asleep: Asleep) -> None:
    os.kill(asleep.agent, signal.SIGTERM)
    out, err = asleep.client.communicate(timeout=30)
    assert (asleep.client.returncode, out) == (4, "")
    assert one_line(err).startswith("edgecnn: board: it was stopped there, exit code 143 (")
    assert nothing_runs(board, asleep)


def test_a_run_that_is_killed_there_says_so(board: Board, asleep: Asleep) -> None:
    os.kill(asleep.steps[0], signal.SIGKILL)
    out, err = asleep.client.communicate(timeout=30)
    assert (asleep.client.returncode, out) == (4, "")
    assert one_line(err) == "edgecnn: board: the run was killed there by signal 9; out of memory?"
    assert board.left() == []


def test_a_board_is_one_run_at_a_time(board: Board, asleep: Asleep) -> None:
    job = Job((), (("-c", "print(1)"),), (3, 8), (), "nothing")
    with pytest.raises(BusyError, match="board: another run is using this board"):
        run_there(Host("board"), job, False, Progress())
    assert asleep.steps, "the run that was first goes on"
    asleep.client.send_signal(signal.SIGINT)
    asleep.client.communicate(timeout=30)
    assert board.left() == []


def test_an_interrupted_upload_leaves_nothing(board: Board, ort_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with (tmp_path / "images" / "large.png").open("wb") as file:
        file.truncate(1 << 29)  # sparse here, and seconds of a fast connection
    line = [*EDGECNN, "verify", str(ort_artifact), "--images", str(tmp_path / "images"), "--host", "board"]
    line += ["--remote-python", str(board.python)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(board.cache.glob("*.part")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert one_line(err) == "edgecnn: interrupted; nothing was changed"
    assert board.left() == []
