"""Artifacts: a folder of content-addressed files and the manifest that describes them. The only writer of results.

Files are named by their hash and the manifest is replaced last, so a reader sees the old complete artifact or the new
one, whenever the writer is killed. The manifest is reproducible: no clock, no host, sorted keys.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.errors import BusyError, IntegrityError, StorageError
from edgecnn.recipe import Preprocess
from edgecnn.targets.base import Interface

MANIFEST = "manifest.json"
SCHEMA = 1
ADDRESSED = re.compile(r"(?P<stem>[a-z]+)-(?P<sha12>[0-9a-f]{12})(?P<suffix>\.[a-z]+)")

# What the last check of an artifact came to.
VERIFIED, REJECTED, INCONCLUSIVE, NOT_GATED = "verified", "rejected", "inconclusive", "not gated"


@dataclass(frozen=True)
class Artifact:
    """An artifact on disk whose files are the ones in its manifest.

    Args:
        files: path of each file by role, such as ``model.xml``, ``reference.onnx`` or ``golden.npz``.
    """

    folder: Path
    manifest: dict[str, Any]
    files: dict[str, Path]

    @property
    def interface(self) -> Interface:
        return Interface(**self.manifest["interface"])

    @property
    def preprocess(self) -> Preprocess:
        values = dict(self.manifest["preprocess"])
        return Preprocess(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})

    @property
    def labels(self) -> list[str]:
        return list(self.manifest["labels"])

    def model_files(self) -> dict[str, Path]:
        """The target's own files by suffix."""
        return {Path(role).suffix: path for role, path in self.files.items() if role.startswith("model.")}


def load_artifact(folder: Path) -> Artifact:
    """Opens an artifact, after checking every byte of it against its manifest.

    Raises:
        IntegrityError: no manifest, a foreign one, or a file that is missing, changed or not listed.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        what = "no such folder" if not folder.exists() else f"no {MANIFEST} in it, so nothing in it is trusted"
        raise IntegrityError(f"{folder}: {what}; give the folder that edgecnn export wrote") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: cannot be read ({error}); export again") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        found = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        raise IntegrityError(f"{path}: schema is {found!r}, expected {SCHEMA}; export again with this version")
    files = {}
    try:
        for entry in manifest["files"]:
            files[str(entry["role"])] = _checked(folder, entry)
        artifact = Artifact(folder, manifest, files)
        # Reading them all here makes a damaged manifest an integrity error, not a surprise later.
        _ = artifact.interface, artifact.preprocess, artifact.labels, manifest["target"], manifest["precision"]
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path}: {type(error).__name__} {error} in the manifest; export again") from error
    for found_path in folder.iterdir():
        name = found_path.name
        known = name == MANIFEST or name.startswith(".") or any(name == listed.name for listed in files.values())
        # A writer killed before its manifest leaves addressed files, which nothing reads.
        if not known and not ADDRESSED.fullmatch(name):
            raise IntegrityError(f"{found_path}: not listed in {MANIFEST}; move it out of the artifact")
    return artifact


def _checked(folder: Path, entry: dict[str, Any]) -> Path:
    name, want = str(entry["name"]), str(entry["sha256"])
    if Path(name).name != name or not ADDRESSED.fullmatch(name):
        raise IntegrityError(f"{folder / MANIFEST}: {name!r} is no file name of an artifact")
    path = folder / name
    try:
        got = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise IntegrityError(f"{path}: listed in {MANIFEST}, but {error.strerror}; export again") from error
    if got != want:
        raise IntegrityError(f"{path}: sha256 is {got}, {MANIFEST} has {want}; export again")
    return path


@contextlib.contextmanager
def reserve(folder: Path, force: bool) -> Iterator[None]:
    """Holds a folder to write an artifact to, before any work is done.

    What this made is removed again if the work fails.

    Args:
        force: an artifact that is there may be replaced; nothing else ever is.

    Raises:
        StorageError: occupied, read-only, or not a folder.
        BusyError: another process is writing there.
    """
    if folder.is_symlink():
        raise StorageError(f"{folder}: is a symbolic link; name the folder itself")
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder}: is a file; name a folder with --out")
    if folder.exists():
        _check_occupied(folder, force)
    made = _make(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"{folder}: another process is writing there; run again when it is done") from error
        _check_occupied(folder, force)  # it may have been filled while this process waited for nothing
        for orphan in folder.glob(".*.tmp"):  # of a writer that was killed; nobody else holds the lock
            orphan.unlink()
        try:
            (folder / ".probe.tmp").touch()
            (folder / ".probe.tmp").unlink()
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written to ({error.strerror}); name another with --out") from error
        yield
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # not empty: something is worth keeping
                path.rmdir()
        raise
    finally:
        os.close(descriptor)


def _check_occupied(folder: Path, force: bool) -> None:
    entries = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if (folder / MANIFEST).exists():
        if not force:
            raise StorageError(
                f"{folder}: an artifact is there already; --force replaces it, --out names another folder"
            )
    elif any(not ADDRESSED.fullmatch(name) for name in entries):
        raise StorageError(
            f"{folder}: holds files that are no artifact ({sorted(entries)[0]}); name another with --out"
        )


def _make(folder: Path) -> list[Path]:
    """Creates a folder and its parents; returns those that were not there."""
    made = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made ({error.strerror}); name another with --out") from error
    return made


def publish(folder: Path, contents: dict[str, bytes], manifest: dict[str, Any]) -> Artifact:
    """Writes files, then the manifest that lists them, then removes what an older manifest listed.

    Args:
        folder: held by ``reserve``.
        contents: bytes by role.
        manifest: everything but ``schema`` and ``files``.

    Raises:
        StorageError: the disk is full or read-only; an artifact that was there is untouched.
    """
    files, entries = {}, []
    for role, content in sorted(contents.items()):
        sha256 = hashlib.sha256(content).hexdigest()
        stem, suffix = role.split(".")
        path = folder / f"{stem}-{sha256[:12]}.{suffix}"
        write_whole(path, content)
        files[role] = path
        entries.append({"role": role, "name": path.name, "size_bytes": len(content), "sha256": sha256})
    complete = {"schema": SCHEMA, **manifest, "files": entries}
    _write_manifest(folder, complete)
    for path in folder.iterdir():
        if ADDRESSED.fullmatch(path.name) and path not in files.values():
            path.unlink()
    return Artifact(folder, complete, files)


def mark(artifact: Artifact, status: str) -> None:
    """Writes what a check came to into the manifest, if it is news.

    Raises:
        StorageError: the folder cannot be written to.
    """
    if artifact.manifest.get("status") != status:
        _write_manifest(artifact.folder, artifact.manifest | {"status": status})


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(folder / MANIFEST, (text + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Replaces a file with ``content``, or leaves everything as it was.

    Raises:
        StorageError: the disk is full or read-only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
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
