"""A board on this machine: a real ``sshd`` on loopback with its own keys, its own user, and a Python without torch."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SSHD = "/usr/sbin/sshd"
NEWEST_FIRST = (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3")


@dataclass(frozen=True)
class Board:
    """Where it is, and how ``ssh`` gets there.

    Args:
        config: for ``ssh -F``; calls it ``board``.
        python: there, with edgecnn's dependencies and ONNX Runtime.
    """

    folder: Path
    home: Path
    user: str
    port: int
    config: Path
    python: Path

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "edgecnn" / "remote"

    @property
    def authorized_keys(self) -> Path:
        return self.home / ".ssh" / "authorized_keys"

    def left(self) -> list[str]:
        """Everything in the board's home but its keys."""
        paths = (path.relative_to(self.home) for path in self.home.rglob("*"))
        return sorted(str(path) for path in paths if path.parts[0] != ".ssh")

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command there."""
        return subprocess.run(["ssh", "-F", self.config, "board", command], capture_output=True, text=True, check=False)

    def configured(self, name: str, *lines: str) -> Path:
        """Another configuration, in which these lines come first."""
        path = self.folder / name
        path.write_text("\n".join(("Host *", *lines, self.config.read_text())))
        return path


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def make_key(path: Path) -> str:
    """The public half of a new key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@contextmanager
def running_board() -> Iterator[Board]:
    """A board for as long as it is needed."""
    folder = Path(tempfile.mkdtemp(prefix="edgecnn-board-"))  # not pytest's, which no other user may enter
    folder.chmod(0o755)
    home, port = folder / "home", free_port()
    # A name of its own: a run of the tests beside this one has another.
    user = folder.name if os.geteuid() == 0 else getpass.getuser()
    try:
        _make_home(home, user, make_key(folder / "id"))
        server = _start(folder, home, user, port)
        try:
            board = Board(folder, home, user, port, _client(folder, user, port), folder / "venv" / "bin" / "python")
            _wait(board)
            _make_python(board)
            yield board
        finally:
            server.terminate()
            server.wait()
    finally:
        if os.geteuid() == 0:
            subprocess.run(["userdel", "--force", user], check=False, capture_output=True)
        shutil.rmtree(folder)


def _make_home(home: Path, user: str, key: str) -> None:
    home.mkdir()
    if os.geteuid() == 0:
        # `*` is no password; the `!` that useradd would put there locks the account for keys as well.
        options = ["--system", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", "-p", "*"]
        subprocess.run(["useradd", *options, user], check=True)
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "authorized_keys").write_text(f"{key}\n")
    for path in (home, home / ".ssh", home / ".ssh" / "authorized_keys"):
        shutil.chown(path, user)


def _start(folder: Path, home: Path, user: str, port: int) -> subprocess.Popen[bytes]:
    public = make_key(folder / "host")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    settings = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {home / '.ssh' / 'authorized_keys'}",
        f"PidFile {folder / 'pid'}",
        f"AllowUsers {user}",
        "UsePAM no",
        "PasswordAuthentication yes",  # a client that asked for one would wait for ever
        # Ours where the user is the one who runs the tests, whose own cache is nobody's business.
        f"SetEnv XDG_CACHE_HOME={home / '.cache'}",
    ]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # what its service would make
    else:
        settings.append("StrictModes no")  # a home that is not the user's, in a folder that anybody may write to
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")
    with (folder / "sshd.log").open("wb") as log:
        return subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)


def _client(folder: Path, user: str, port: int) -> Path:
    config = folder / "ssh_config"
    lines = [
        "Host board",
        "HostName 127.0.0.1",
        f"Port {port}",
        f"User {user}",
        f"IdentityFile {folder / 'id'}",
        "IdentitiesOnly yes",
        f"UserKnownHostsFile {folder / 'known_hosts'}",
        "GlobalKnownHostsFile /dev/null",
    ]
    config.write_text("\n".join(lines) + "\n")
    return config


def _wait(board: Board) -> None:
    ends = time.monotonic() + 20
    while (done := board.ssh("true")).returncode:
        assert time.monotonic() < ends, f"{done.stderr}\n{(board.folder / 'sshd.log').read_text()}"
        time.sleep(0.1)


def _make_python(board: Board) -> None:
    """A virtual environment with what `pip install 'edgecnn[onnxruntime]'` brings, but for edgecnn."""
    new_enough = "import sys; sys.exit(sys.version_info < (3, 11))"
    bases = [path for path in NEWEST_FIRST if board.ssh(f"{path} -c '{new_enough}'").returncode == 0]
    assert bases, f"{board.user} may run no Python 3.11 or newer of {NEWEST_FIRST}; install Debian's python3"
    subprocess.run([bases[0], "-m", "venv", "--without-pip", board.folder / "venv"], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = [*project["dependencies"], *project["optional-dependencies"]["onnxruntime"]]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(board.python)]
    subprocess.run([*pip, "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), *packages], check=True)
