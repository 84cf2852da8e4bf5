"""The process around the app: every refusal is one line and its exit code, and an interrupt is an end like others."""

import errno
import io
import os
import sys
from pathlib import Path
from typing import Any

import typer

from edgecnn.cli.app import app
from edgecnn.errors import INTERRUPTED, BuildError, EdgecnnError, StorageError, printable
from edgecnn.garbage import search_seldom, spare_the_living
from edgecnn.interrupts import exit_code, interrupted, raise_interrupts

INTERRUPTION = "interrupted; nothing is half-written"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def main() -> None:
    """The ``edgecnn`` command: runs the app, and turns every refusal into one line and its exit code."""
    raise_interrupts()
    search_seldom()
    _open_streams()
    code = run(sys.argv[1:])
    spare_the_living()
    if code == INTERRUPTED:
        # An interrupt that was handled in a call from C++ would still make Python end as if by a signal, or again stop
        # half way through its own end.
        sys.stdout.flush()
        os._exit(exit_code())
    sys.exit(code)


def _open_streams() -> None:
    """A stream that was closed is read by nobody, and what stdout's encoding lacks is a question mark there."""
    nobody = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    sys.stdout, sys.stderr = sys.stdout or nobody, sys.stderr or nobody
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


# typer keeps a click of its own; its public names lead to the base class of every complaint about arguments.
_ArgumentError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def run(arguments: list[str]) -> int:
    """The exit code of a command line."""
    try:
        result = app(arguments, prog_name="edgecnn", standalone_mode=False)
        sys.stdout.flush()
    except EdgecnnError as error:
        return _refuse(str(error), error.exit_code)
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _refuse(INTERRUPTION, INTERRUPTED)
    except _ArgumentError as error:
        return _refuse(error.format_message(), error.exit_code)
    except BrokenPipeError:  # whoever read stdout has gone, as `head` does; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1  # what typer exits with where it is the first to notice
    except OSError as error:  # any file or temporary folder that no room expected to fail
        where = f"{error.filename}: " if error.filename else ""
        hint = "; is the disk full or read-only?" if error.errno in FULL else ""
        return _refuse(f"{where}{error.strerror or error}{hint}", StorageError.exit_code)
    except MemoryError:
        return _refuse("there is not enough memory; a smaller --size or --batch needs less", BuildError.exit_code)
    except Exception:
        if not interrupted():
            raise
        result = INTERRUPTED
    if result == INTERRUPTED:
        return _refuse(INTERRUPTION, INTERRUPTED)
    return result if isinstance(result, int) else 0


def _refuse(message: str, code: int) -> int:
    if interrupted():
        message, code = INTERRUPTION, INTERRUPTED
    print(f"edgecnn: {printable(message)}", file=sys.stderr)
    return code
