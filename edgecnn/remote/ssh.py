"""The system's ``ssh``: how it is called, and what its complaints mean.

Host names, keys, ports and jump hosts are the user's own ``~/.ssh/config``. ``EDGECNN_SSH_COMMAND`` stands for another
client or more options, such as ``ssh -F board.conf``, as ``GIT_SSH_COMMAND`` does for git.
"""

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import IO

from edgecnn.errors import EdgecnnError, UnavailableError, UsageError

COMMAND = "EDGECNN_SSH_COMMAND"
# The first value of an option counts, so neither the user's file nor his command can undo these.
STRICT = (
    "BatchMode=yes",  # a key, or nothing: no prompt, so no password passes here
    "StrictHostKeyChecking=yes",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "ControlMaster=no",  # a master that stays in the background would hold our streams open
    "LogLevel=ERROR",
)
PATIENCE = ("ConnectTimeout=10", "ServerAliveInterval=10", "ServerAliveCountMax=3")  # seconds
FAILED = 255  # ssh's own exit code; any other is the remote command's
DESTINATION = re.compile(
    r"(ssh://)?([A-Za-z0-9_][\w.+-]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][\w.-]*)(:\d{1,5})?", re.ASCII
)
PYTHON = re.compile(r"[\w./~][\w./~+-]*", re.ASCII)

# What ssh says, and what to do about it.
REMEDIES = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is not the one in known_hosts: find out why first"),
    ("host key is known for", "its host key is not known: connect once with `{ssh}` and compare the fingerprint"),
    (
        "Host key verification failed",
        "its host key is not known: connect once with `{ssh}` and compare the fingerprint",
    ),
    (
        "Permission denied",
        "it accepts none of your keys, and edgecnn asks for no password: `ssh-copy-id` puts one there",
    ),
    ("Could not resolve hostname", "no such host: is the name right, or missing in ~/.ssh/config?"),
    ("timed out", "it does not answer: is it on, and on this network?"),
    ("No route to host", "it cannot be reached: is it on, and on this network?"),
    ("Network is unreachable", "it cannot be reached: is it on, and on this network?"),
    ("Connection refused", "no SSH server listens there: is the port right?"),
    ("Bad owner or permissions", "ssh does not accept its own configuration"),
)


@dataclass(frozen=True)
class Host:
    """A board: where ``ssh`` finds it, and its Python.

    Args:
        destination: as ``ssh`` takes it.
        python: a command or path there; ``~`` is its home.
    """

    destination: str
    python: str = "python3"

    def __post_init__(self) -> None:
        found = DESTINATION.fullmatch(self.destination)
        if found is None or (found[4] and not found[1]):
            raise UsageError(
                f"--host is {self.destination!r}, expected [USER@]HOST or ssh://[USER@]HOST[:PORT];"
                " everything else belongs into ~/.ssh/config"
            )
        if not PYTHON.fullmatch(self.python):
            raise UsageError(f"--remote-python is {self.python!r}, expected a path of letters, digits and ./~+-_")

    def command(self, code: str) -> list[str]:
        """The line that runs Python code there.

        Args:
            code: without single quotes, backslashes and exclamation marks: any login shell hands it on as it is.

        Raises:
            UsageError: ``EDGECNN_SSH_COMMAND`` is no command.
        """
        try:
            ssh, *more = shlex.split(os.environ.get(COMMAND) or "ssh")
        except ValueError as error:
            raise UsageError(f"{COMMAND} is no command line: {error}") from error
        strict = [word for option in STRICT for word in ("-o", option)]
        patience = [word for option in PATIENCE for word in ("-o", option)]
        return [ssh, *strict, *more, *patience, "-T", "--", self.destination, f"exec {self.python} -c '{code}'"]

    def start(self, code: str, err: IO[bytes]) -> subprocess.Popen[bytes]:
        """Runs Python code there.

        Args:
            err: takes what ``ssh`` and the other side complain of.

        Raises:
            UnavailableError: there is no ``ssh``.
        """
        line = self.command(code)
        try:
            # In a process group of its own: Ctrl-C shall reach us alone, who tell the board.
            return subprocess.Popen(  # noqa: S603 - no shell, and every word is checked
                line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, process_group=0
            )
        except OSError as error:
            raise UnavailableError(
                f"{line[0]}: {error.strerror}; --host needs OpenSSH's client: apt install openssh-client"
            ) from error

    def refusal(self, complaints: str) -> EdgecnnError:
        """What it means that ``ssh`` itself failed."""
        lines = [line for line in complaints.splitlines() if line.strip()]
        last = lines[-1] if lines else "no reason given"
        for said, remedy in REMEDIES:
            if said in complaints:
                advice = remedy.format(ssh=f"ssh {self.destination}")
                return UnavailableError(f"{self.destination}: {advice} (ssh: {last})")
        return UnavailableError(f"{self.destination}: ssh failed ({last})")
