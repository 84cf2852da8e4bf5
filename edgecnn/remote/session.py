"""One conversation with a board: what it has, what it lacks, the upload, the run, the answer."""

import contextlib
import hashlib
import json
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from edgecnn.errors import BusyError, EdgecnnError, IntegrityError, StorageError, UnavailableError, printable
from edgecnn.progress import Progress
from edgecnn.remote.agent import BYE, MARK, RUN
from edgecnn.remote.parcel import Item
from edgecnn.remote.ssh import FAILED, Host

T = TypeVar("T")

AGENT = Path(__file__).with_name("agent.py")
OLDEST = (3, 8)  # Python that the agent is written for
PIECE = 1 << 16  # bytes of a frame: an interrupt waits for one at most
LONGEST = 1 << 28  # bytes of an answer
SILENCE_S = 60  # after which a board takes its client for lost; no network says so by itself
PARTING_S = 10.0  # that a board has to clean up
# Reads the agent's length and its source; whatever Python this is, it says so.
BOOTSTRAP = (
    'import sys;sys.version_info<({oldest})and sys.exit("edgecnn-python "+sys.version.split()[0]);sys.path.pop(0);'
    'exec(compile(sys.stdin.buffer.read({length}),"edgecnn-agent","exec"))'
)
NO_PYTHON = (126, 127)  # a shell's exit codes for a command that it cannot start
KINDS: dict[str, type[EdgecnnError]] = {"busy": BusyError, "integrity": IntegrityError, "storage": StorageError}


@dataclass(frozen=True)
class Job:
    """What to do on a board.

    Args:
        items: files that it takes.
        steps: arguments of the board's Python, one run after another until one fails.
        python: oldest version that will do.
        modules: that must be importable there.
        install: what ``pip install`` there takes where one is not.
        cwd: folder of the run that the steps start in.
        source: folder of the run to import from, or empty.
        collect: a file in ``cwd`` to bring back, or empty.
    """

    items: tuple[Item, ...]
    steps: tuple[tuple[str, ...], ...]
    python: tuple[int, int]
    modules: tuple[str, ...]
    install: str
    cwd: str = "."
    source: str = ""
    collect: str = ""


class Done(msgspec.Struct):
    """How the last step that ran went.

    Args:
        code: its exit code.
        collected: the file that was asked for, None where there is none.
    """

    code: int
    stdout: str
    stderr: str
    collected: str | None = None


class _Refused(msgspec.Struct):
    kind: str
    what: str = ""
    text: str = ""


class _Found(msgspec.Struct):
    size: int | None
    sha256: str


class _Hello(msgspec.Struct):
    python: tuple[int, int, int]
    missing: list[str]
    have: dict[str, _Found]


def run_there(host: Host, job: Job, keep: bool, progress: Progress) -> Done:
    """Sends what the board lacks, runs the steps there, and brings back what they said.

    Args:
        keep: leave the files on the board for the next call.

    Raises:
        UnavailableError: the board, its Python or a package is not there; the connection broke.
        IntegrityError: a file arrived damaged.
        StorageError: the board's disk is full, or another run is using it.
    """
    with _connected(host) as talk:
        with progress.stage(f"reach {host.destination}"):
            files = [entry.as_json() for entry in job.items]
            settings = {"steps": job.steps, "cwd": job.cwd, "source": job.source, "collect": job.collect}
            talk.send({"files": files, "modules": job.modules, "keep": keep, "silence_s": SILENCE_S, **settings})
            hello = talk.hear("hello", _Hello)
            _check(host, job, hello)
        orders = _orders(job, hello)
        sender = threading.Thread(target=talk.upload, args=(orders, progress.advance), daemon=True)
        with progress.stage("upload", sum(entry.size - offset for entry, offset in orders)):
            sender.start()
            sender.join()
            talk.check_sent()
        with progress.stage(f"run on {host.destination}"), talk.staying():
            return talk.hear("done", Done)


def _check(host: Host, job: Job, hello: _Hello) -> None:
    if hello.python < job.python:
        found = ".".join(str(number) for number in hello.python)
        raise _too_old(host, found, job.python)
    if hello.missing:
        raise UnavailableError(
            f"{host.destination}: {host.python} has no {', '.join(hello.missing)};"
            f" there: {host.python} -m pip install {job.install}"
        )


def _too_old(host: Host, found: str, oldest: tuple[int, int]) -> UnavailableError:
    wanted = ".".join(str(number) for number in oldest)
    return UnavailableError(
        f"{host.destination}: {host.python} is Python {found}, this takes {wanted} or newer; name another one by"
        " --remote-python"
    )


def _orders(job: Job, hello: _Hello) -> list[tuple[Item, int]]:
    """Files that the board lacks, and how much of each it has: only a beginning that is ours is gone on with."""
    orders = []
    for entry in {entry.sha256: entry for entry in job.items}.values():
        found = hello.have.get(entry.sha256)
        if found is None:
            orders.append((entry, 0))
        elif found.size is not None:
            ours = _sha256_of_first(found.size, entry.local) == found.sha256
            orders.append((entry, found.size if ours else 0))
    return orders


def _sha256_of_first(count: int, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while count > 0 and (block := file.read(min(count, 1 << 20))):
            digest.update(block)
            count -= len(block)
    return digest.hexdigest()


class _Talk:
    """Frames to the agent, lines from it. ``upload`` runs in a thread, so that no interrupt tears a frame."""

    def __init__(self, host: Host, process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        assert process.stdin is not None  # noqa: S101 - they are pipes, by ``start``
        assert process.stdout is not None  # noqa: S101
        self._host, self._process, self._complaints = host, process, complaints
        self._to, self._from = process.stdin, process.stdout
        self._stop = threading.Event()
        self._idle = threading.Lock()  # held while frames are written
        self._agreed = False
        self._unread: OSError | None = None

    def send(self, document: dict[str, Any]) -> None:
        """One frame; that nobody reads it is found out by ``hear``."""
        self._frame(json.dumps(document).encode())

    def _frame(self, content: bytes) -> None:
        self.write(struct.pack(">I", len(content)) + content)

    def write(self, content: bytes) -> None:
        """So many bytes, or none where nobody reads any more."""
        with contextlib.suppress(OSError):
            self._to.write(content)
            self._to.flush()

    def upload(self, orders: list[tuple[Item, int]], advance: Callable[[int], None]) -> None:
        """Files, and the word to run; stops between two frames when it is told to."""
        with self._idle:
            try:
                for entry, offset in orders:
                    self.send({"sha256": entry.sha256, "offset": offset})
                    with entry.local.open("rb") as file:
                        file.seek(offset)
                        while piece := file.read(PIECE):
                            if self._stop.is_set() or self._process.poll() is not None:
                                return
                            self._frame(piece)
                            advance(len(piece))
                    self._frame(b"")
                self.send(RUN)
            except OSError as error:
                self._unread = error

    @contextlib.contextmanager
    def staying(self) -> Iterator[None]:
        """Tells the board now and then that somebody still waits."""
        heard = threading.Event()

        def beat() -> None:
            while not heard.wait(SILENCE_S / 4):
                with self._idle:
                    self._frame(b"")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            heard.set()

    def check_sent(self) -> None:
        """Whether everything could be read here.

        Raises:
            IntegrityError: a file went away while it was sent.
        """
        if self._unread is not None:
            raise IntegrityError(f"{self._unread.filename}: went away while it was sent ({self._unread.strerror})")

    def hear(self, kind: str, of: type[T]) -> T:
        """The agent's next line, which is of this kind.

        Raises:
            EdgecnnError: it is a refusal, or there is none because the connection or the agent is gone.
        """
        mark = MARK.encode()
        while line := self._from.readline(LONGEST):
            if not line.startswith(mark):
                continue  # a login shell's own
            self._agreed = True
            try:
                error = msgspec.json.decode(line[len(mark) :], type=_Refused)
                if error.kind != "error":
                    return msgspec.json.decode(line[len(mark) :], type=of)
            except msgspec.MsgspecError as strange:
                raise UnavailableError(
                    f"{self._host.destination}: expected {kind}, its answer is {strange}"
                ) from strange
            raise KINDS.get(error.what, UnavailableError)(f"{self._host.destination}: {printable(error.text)}")
        raise self._gone()

    def _gone(self) -> EdgecnnError:
        code = self._process.wait()
        self._complaints.seek(0)
        complaints = self._complaints.read().decode("utf-8", "replace")
        lines = [line for line in complaints.splitlines() if line.strip()]
        host, last = self._host, printable(lines[-1]) if lines else "no reason given"
        if self._agreed and (code < 0 or code > 128):  # ssh's own 255, or a signal, here or there
            how = "the connection broke" if code < 0 or code == FAILED else f"it was stopped there, exit code {code}"
            return UnavailableError(
                f"{host.destination}: {how} ({last}); what has arrived is kept there, the same command goes on with it"
            )
        if code == FAILED:
            return host.refusal(complaints)
        if last.startswith("edgecnn-python "):
            return _too_old(host, last.split()[1], OLDEST)
        if code in NO_PYTHON:
            return UnavailableError(
                f"{host.destination}: {host.python} does not start ({last}); install it there, or name another one by"
                " --remote-python"
            )
        return UnavailableError(f"{host.destination}: {host.python} ended with {code} ({last})")

    def part(self) -> None:
        """Ends the conversation, and waits until the board has cleaned up."""
        self._stop.set()
        try:
            if self._idle.acquire(timeout=PARTING_S):
                with contextlib.suppress(OSError):
                    self._to.write(struct.pack(">I", BYE))
                    self._to.close()
                self._process.wait(PARTING_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(OSError):
                self._to.close()
            self._from.close()


@contextlib.contextmanager
def _connected(host: Host) -> Iterator[_Talk]:
    agent = AGENT.read_bytes()
    oldest = ",".join(str(number) for number in OLDEST)
    with tempfile.TemporaryFile() as complaints:
        process = host.start(BOOTSTRAP.format(oldest=oldest, length=len(agent)), complaints)
        talk = _Talk(host, process, complaints)
        try:
            talk.write(agent)
            yield talk
        finally:
            talk.part()
