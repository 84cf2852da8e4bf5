"""Everything that edgecnn refuses, as one tree. Each class owns the exit code of the command line.

    EdgecnnError            1   never raised itself
    ├── UsageError          2   contradictory flags, unknown names
    ├── InputError          3   weights, images, graphs or recipes that are not what they should be
    ├── UnavailableError    4   a package, device or network that is missing; carries the exact remedy
    ├── BuildError          5   the runtime refused the graph, or failed to run it
    ├── ParityError         6   outputs outside the policy, or nothing was compared
    ├── IntegrityError      7   a file is not the one its manifest or pin describes
    └── StorageError        8   read-only, occupied or full disk
        └── BusyError      75   another process is writing there; try again

130 is Ctrl-C, 143 SIGTERM. A message is one line: what, got, expected, how to fix it. A traceback is a bug in edgecnn.
"""

import difflib
import signal
from collections.abc import Iterable


class EdgecnnError(Exception):
    """Base of every refusal; catch this one to catch them all."""

    exit_code = 1


class UsageError(EdgecnnError):
    """Flags that contradict each other, or a name that is not known."""

    exit_code = 2


class InputError(EdgecnnError):
    """Weights, images, graphs or recipes that are not what they should be."""

    exit_code = 3


class UnavailableError(EdgecnnError):
    """A package, device or network that is missing; the message carries the exact remedy."""

    exit_code = 4


class BuildError(EdgecnnError):
    """The runtime refused the graph, or failed to run it."""

    exit_code = 5


class ParityError(EdgecnnError):
    """Outputs outside the policy, not finite, or nothing was compared."""

    exit_code = 6


class IntegrityError(EdgecnnError):
    """A file is not the one that its manifest or pin describes."""

    exit_code = 7


class StorageError(EdgecnnError):
    """The place to write to is read-only, occupied or full."""

    exit_code = 8


class BusyError(StorageError):
    """Another process is writing there; nothing is wrong, try again."""

    exit_code = 75


INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def refusal_of(code: int) -> type[EdgecnnError] | None:
    """The class that owns an exit code, if one does."""
    kinds = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, EdgecnnError)]
    return {kind.exit_code: kind for kind in kinds}.get(code)


def ending(code: int) -> str:
    """How another process of ours ended, in words, from what ``Popen.returncode`` says."""
    if code >= 0:
        return f"ended with {code}"
    # The kernel kills where memory ends; a crash has a signal of its own.
    hint = "; out of memory?" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code} ({signal.strsignal(-code)}){hint}"


def printable(text: str) -> str:
    """Text for a terminal: one line, without controls. A file may have any name, even one that is no Unicode."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))


def unknown_name(kind: str, got: str, known: Iterable[str]) -> UsageError:
    """The refusal of a name, with the nearest known ones; nothing is ever substituted."""
    names = sorted(known)
    near = difflib.get_close_matches(got, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return UsageError(f"unknown {kind} {got!r}: {hint}")
