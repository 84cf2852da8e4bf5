"""Whatever ends in the middle, the connection, the client or what runs on a board, the board is as it was."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from edgecnn.errors import BusyError, UnavailableError
from edgecnn.progress import Progress
from edgecnn.remote.boards import verify_there
from edgecnn.remote.session import Job, run_there
from edgecnn.remote.ssh import COMMAND, Host
from edgecnn.verify.stages import Verification
from tests.faults.conftest import one_line
from tests.remote.board import Board
from tests.remote.test_verify import Counted

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


@pytest.mark.parametrize("damage", [False, True])
def test_a_broken_connection_is_gone_on_with(
    board: Board, ort_artifact: Path, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    host, whole = Host("board", str(board.python)), Counted()
    verify_there(host, ort_artifact, progress=whole)
    with monkeypatch.context() as patch:
        # Up to 2 MiB, sshd's window, are lost with the connection: more than that into the last and largest file.
        patch.setenv(COMMAND, cut(board, whole.count * 3 // 4))
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
    assert one_line(err) == "edgecnn: interrupted; nothing is half-written"
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
    assert one_line(err) == "edgecnn: interrupted; nothing is half-written"
    assert board.left() == []
