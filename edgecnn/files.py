"""Files that commands are told to read or write: what may be read, and writing whole or not at all, nowhere amiss."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecnn.errors import BuildError, InputError, StorageError

MANIFEST = "manifest.json"


def write_whole(path: Path, content: bytes) -> None:
    """Replaces a file with ``content``, or leaves everything as it was.

    Raises:
        StorageError: the disk is full or read-only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error


@contextlib.contextmanager
def scratch(room: int) -> Iterator[Path]:
    """A temporary folder for what runtimes read or write as files alone; gone afterwards.

    Args:
        room: bytes that it may need.

    Raises:
        StorageError: a full disk, also where a runtime gave it another name.
    """
    with tempfile.TemporaryDirectory() as name:
        try:
            try:
                yield Path(name)
            except BuildError:  # of a file that cannot be written runtimes say that the graph is bad
                (Path(name) / "room").write_bytes(bytes(room))
                raise
        except OSError as error:
            raise StorageError(
                f"{tempfile.gettempdir()}: temporary files cannot be written there ({error.strerror}); make room,"
                " or name another folder with TMPDIR"
            ) from error


def check_regular(path: Path, expected: str) -> None:
    """Refuses what is no file in the place of one that is to be read: a pipe or a device may never end.

    Args:
        expected: what it should be, for the message.

    Raises:
        InputError: a folder, a pipe or a device is there.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is no file; {expected}")


def check_place(path: Path, option: str) -> None:
    """Refuses a place for a file before any work is done for it.

    Args:
        option: that names another place.

    Raises:
        StorageError: a folder or a device is there, or its folder is not there, cannot be written to, or is an
            artifact or lies in one.
    """
    folder = path.parent
    if path.exists() and not path.is_file():
        raise StorageError(f"{path}: is no file; name one with {option}")
    if not folder.is_dir():
        raise StorageError(f"{path}: there is no folder {folder} to write it to; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: {folder} cannot be written to; name another place with {option}")
    check_outside(path)


def check_outside(path: Path) -> None:
    """Refuses a place within an artifact, which a stranger's file would make one that nobody trusts.

    Raises:
        StorageError: a folder that it lies in is an artifact.
    """
    for folder in path.absolute().parents:
        if manifest_in(folder) is not None:
            raise StorageError(f"{path}: {folder} is an artifact, which holds its own files alone; name another place")


def manifest_in(folder: Path) -> dict[str, Any] | None:
    """The manifest that edgecnn wrote there, in any version; many tools call a file so."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return manifest if isinstance(manifest, dict) and {"edgecnn", "schema"} <= manifest.keys() else None
