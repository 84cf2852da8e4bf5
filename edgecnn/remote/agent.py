"""Runs on the board, from ``python3 -c``: takes files, runs a command on them, answers, leaves nothing. Python 3.8.

Both directions share one connection. The client sends frames, a length as ``>I`` and so many bytes: a request, then for
each file that is needed an order, its content in pieces and an empty frame, then ``run``. While the command runs, empty
frames come. ``BYE`` instead of a length ends everything, and so does a minute of silence. The agent answers in lines
that begin with ``MARK``, because a login shell may print its own: ``hello`` with what is here, then ``done`` or
``error``.

Files lie in a cache by their sha256. It is removed at every end but two: the client asked to keep it, or the
connection broke, and the next call goes on with what has arrived.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
import zipfile
from pathlib import Path
from typing import Any, Iterator

MARK = "edgecnn-agent "
BYE = 0xFFFFFFFF
RUN = {"run": True}  # in the place of an order
BLOCK = 1 << 20

silence_s = 60  # until the client says another number


class Lost(Exception):
    """The connection is gone."""


class Bye(Exception):
    """The client wants nothing more."""


class Refusal(Exception):
    """What cannot be done here: a kind that the client knows, and why."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def frame() -> bytes:
    """The next frame.

    Raises:
        Lost: there is none.
        Bye: the client wants nothing more.
    """
    (length,) = struct.unpack(">I", exactly(4))
    if length == BYE:
        raise Bye
    return exactly(length)


def exactly(count: int) -> bytes:
    """So many bytes of the client's; one who is silent too long is lost, whatever the network says."""
    signal.alarm(silence_s)
    content = sys.stdin.buffer.read(count)
    signal.alarm(0)
    if len(content) < count:
        raise Lost
    return content


def say(kind: str, **facts: Any) -> None:
    """One line to the client; a client that is gone does not hear it."""
    with contextlib.suppress(OSError):
        sys.stdout.write(MARK + json.dumps(dict(facts, kind=kind)) + "\n")
        sys.stdout.flush()


def sha256_of(path: Path) -> str:
    """Of a file, block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


class Cache:
    """Files by their sha256, whole or in part, and the folder of the run that uses them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keep = False

    @contextlib.contextmanager
    def mine(self) -> Iterator[None]:
        """Alone in the cache, and on the board: two runs at once would measure each other. Cleans up at its end.

        Raises:
            Refusal: another run is here.
        """
        with self._locked():
            try:
                self.remove_runs()
                yield
            except Bye:
                self.keep = False
                raise
            except (Lost, SystemExit):
                self.keep = True
                raise
            finally:
                # The lock is let go after this, so that the next run finds all of it or none.
                self.remove_runs()
                if not self.keep:
                    self.remove()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        while True:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(str(self.folder), os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise Refusal("busy", "another run is using this board, or one broke off a minute ago") from None
            try:
                # The run before may have removed the folder between the two calls.
                if self.folder.exists() and os.fstat(descriptor).st_ino == self.folder.stat().st_ino:
                    yield
                    return
            finally:
                os.close(descriptor)

    def path(self, sha256: str) -> Path:
        """Of a file."""
        return self.folder / sha256

    def part(self, sha256: str) -> Path:
        """Of a file that has not wholly arrived."""
        return self.folder / (sha256 + ".part")

    def have(self, files: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """What is here of these files: whole, or how much and its hash. A damaged whole one is dropped."""
        found = {}
        for sha256 in sorted({entry["sha256"] for entry in files}):
            whole, part = self.path(sha256), self.part(sha256)
            if whole.exists() and sha256_of(whole) != sha256:
                whole.unlink()
            if whole.exists():
                found[sha256] = {"size": None, "sha256": sha256}
            elif part.exists():
                found[sha256] = {"size": part.stat().st_size, "sha256": sha256_of(part)}
        return found

    def receive(self, order: dict[str, Any]) -> None:
        """One file, or the rest of it.

        Raises:
            Refusal: it is not the one that was announced.
        """
        part = self.part(order["sha256"])
        with part.open("r+b" if order["offset"] else "wb") as file:
            file.seek(order["offset"])
            file.truncate()
            for content in iter(frame, b""):
                file.write(content)
        got = sha256_of(part)
        if got != order["sha256"]:
            part.unlink()
            raise Refusal("integrity", f"a file arrived with sha256 {got}, announced was {order['sha256']}")
        part.rename(self.path(order["sha256"]))

    def lay_out(self, files: list[dict[str, Any]], folder: Path) -> None:
        """Every file under its own name."""
        for entry in files:
            path = folder / entry["path"]
            if entry["unpack"]:
                with zipfile.ZipFile(str(self.path(entry["sha256"]))) as archive:
                    archive.extractall(str(path))
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(str(self.path(entry["sha256"])), str(path))
            except OSError:  # a file system without links
                shutil.copyfile(str(self.path(entry["sha256"])), str(path))

    def remove_runs(self) -> None:
        """Folders of runs, also of one that was killed."""
        for path in self.folder.glob("run-*"):
            shutil.rmtree(str(path), ignore_errors=True)

    def remove(self) -> None:
        """Everything, and the folders above it that are empty then."""
        shutil.rmtree(str(self.folder), ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()
            self.folder.parent.parent.rmdir()


def run(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Runs the steps, one after another until one fails, unless the client goes away.

    Raises:
        Lost, Bye: the client went away; nothing runs any more.
    """
    ended: list[Exception] = []
    child: list[subprocess.Popen[bytes]] = []
    lock = threading.Lock()

    def watch() -> None:
        try:
            while True:
                frame()  # an empty one now and then, for as long as the client waits
        except (Lost, Bye) as end:
            with lock:
                ended.append(end)
                if child:
                    kill(child[-1])

    threading.Thread(target=watch, daemon=True).start()
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(folder))
    if request["source"]:
        environment["PYTHONPATH"] = str(folder / request["source"])
    answer: dict[str, Any] = {"code": 0, "stdout": "", "stderr": ""}
    for step in request["steps"]:
        with (folder / "stdout").open("w+b") as out, (folder / "stderr").open("w+b") as err:
            with lock:
                if ended:
                    raise ended[0]
                child.append(
                    subprocess.Popen(  # noqa: S603 - the client's steps are what this is for
                        [sys.executable, *step],
                        cwd=str(folder / request["cwd"]),
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=err,
                        start_new_session=True,
                    )
                )
            try:
                answer["code"] = child[-1].wait()
            finally:
                kill(child[-1])
            if ended:
                raise ended[0]
            for name, file in (("stdout", out), ("stderr", err)):
                file.seek(0)
                answer[name] = file.read().decode("utf-8", "replace")
        if answer["code"]:
            break
    collected = folder / request["cwd"] / request["collect"] if request["collect"] else None
    if collected is not None and collected.exists():
        answer["collected"] = collected.read_text("utf-8")
    return answer


def kill(child: subprocess.Popen[bytes]) -> None:
    """A step, and whatever it started."""
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)


def converse(cache: Cache) -> dict[str, Any]:
    """From the request to the answer."""
    request = json.loads(frame().decode())
    cache.keep = request["keep"]
    global silence_s
    silence_s = request["silence_s"]
    missing = [name for name in request["modules"] if importlib.util.find_spec(name) is None]
    here = cache.have(request["files"])
    say("hello", python=list(sys.version_info[:3]), missing=missing, have=here)
    for order in iter(lambda: json.loads(frame().decode()), RUN):
        cache.receive(order)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=str(cache.folder)))
    cache.lay_out(request["files"], folder)
    return run(request, folder)


def serve(cache: Cache) -> None:
    """One conversation; the client hears of its end when everything is cleaned up."""
    try:
        with cache.mine():
            answer = converse(cache)
    except Refusal as refusal:
        say("error", what=refusal.kind, text=str(refusal))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say("error", what="storage", text=f"cannot write there: {where}{error.strerror or error}")
    except (Bye, Lost):
        pass  # nobody listens
    else:
        say("done", **answer)


def main() -> None:
    """What ``python3 -c`` calls."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    code = 0
    try:
        serve(Cache(Path(home) / "edgecnn" / "remote"))
    except SystemExit as end:
        code = int(end.code or 0)
    except Exception:
        traceback.print_exc()
        code = 1
    os._exit(code)  # the watching thread still reads, and Python would wait for it


if __name__ == "__main__":
    main()
