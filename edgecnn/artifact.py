"""Artifacts: a folder of content-addressed files and the manifest that describes them. Their only writer.

Files are named by their hash and the manifest is replaced last, so a reader sees the old complete artifact or the new
one, whenever the writer is killed. The manifest is reproducible: no clock, no host, sorted keys. It carries the hash of
its own content, so that no byte of it or of the files that it lists can change unnoticed. Nothing else is ever opened.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgecnn.errors import BusyError, InputError, IntegrityError, StorageError
from edgecnn.files import MANIFEST, check_outside, manifest_in, write_whole
from edgecnn.recipe import Preprocess
from edgecnn.targets.base import Interface

SCHEMA = 1
ADDRESSED = re.compile(r"(?P<stem>model|reference|lowered|golden|bundle)-(?P<sha12>[0-9a-f]{12})(?P<suffix>\.[a-z]+)")
ORPHAN = re.compile(rf"\.(?:{re.escape(MANIFEST)}|{ADDRESSED.pattern})\.\d+\.tmp")

# What the last check of an artifact came to.
VERIFIED, REJECTED, INCONCLUSIVE, NOT_GATED = "verified", "rejected", "inconclusive", "not gated"


class _Layer(msgspec.Struct):
    name: str
    macs: int


class _Activation(msgspec.Struct):
    name: str
    values: int


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
        return msgspec.convert(self.manifest["interface"], Interface)

    @property
    def name(self) -> str:
        """Its folder's, which rows of a run are called by."""
        return self.folder.resolve().name

    @property
    def preprocess(self) -> Preprocess:
        return msgspec.convert(self.manifest["preprocess"], Preprocess)

    @property
    def labels(self) -> list[str]:
        return msgspec.convert(self.manifest["labels"], list[str])

    @property
    def layer_macs(self) -> dict[str, int]:
        """Multiply-accumulates of one image, by convolution and linear layer, in the graph's order."""
        return {row.name: row.macs for row in msgspec.convert(self.manifest["graph"]["layers"], list[_Layer])}

    @property
    def activations(self) -> dict[str, int]:
        """Values of one image that each activation makes, by node."""
        rows = msgspec.convert(self.manifest["graph"]["activations"], list[_Activation])
        return {row.name: row.values for row in rows}

    @property
    def int8_layers(self) -> list[str]:
        """Nodes that the quantizer made INT8 layers."""
        quantizer = self.manifest["quantizer"]
        return [] if quantizer is None else msgspec.convert(quantizer["layers"], list[str])

    @property
    def reduced_range(self) -> bool | None:
        """Whether INT8 weights are for kernels that add products in pairs; None where there are none.

        Older exports had seven bits for that, or do not say, and have eight.
        """
        quantizer = self.manifest["quantizer"]
        if quantizer is None:
            return None
        return msgspec.convert(quantizer.get("reduced_range", quantizer.get("weight_bits") == 7), bool)

    @property
    def synthetic(self) -> bool:
        """Whether its evidence and its golden pairs come from synthetic images."""
        return msgspec.convert(self.manifest["evidence"]["images"].get("synthetic", False), bool)

    @property
    def advice(self) -> dict[str, Any] | None:
        """What the build said for or against its precision, if anything; older exports never did."""
        return msgspec.convert(self.manifest.get("advice"), dict[str, Any] | None)

    def sha256_of(self, role: str) -> str:
        """Of one of its files."""
        return next(str(entry["sha256"]) for entry in self.manifest["files"] if entry["role"] == role)

    def model_files(self) -> dict[str, Path]:
        """The target's own files by suffix."""
        return {Path(role).suffix: path for role, path in self.files.items() if role.startswith("model.")}


def load_artifact(folder: Path) -> Artifact:
    """Opens an artifact, after checking every byte of its files against its manifest.

    Other files in the folder are refused, but for hidden ones and those with a name such as a killed writer leaves.

    Raises:
        IntegrityError: no manifest, a foreign one, a file that is missing or changed, or one that is refused.
    """
    manifest = _read_manifest(folder)
    while True:
        try:
            return _checked_whole(folder, manifest)
        except IntegrityError:
            newer = _read_manifest(folder)
            if newer == manifest:
                raise
            manifest = newer  # it was replaced while it was read


def _checked_whole(folder: Path, manifest: dict[str, Any]) -> Artifact:
    path, files = folder / MANIFEST, {}
    try:
        for entry in manifest["files"]:
            files[str(entry["role"])] = _checked(folder, entry)
        artifact = Artifact(folder, manifest, files)
        # Reading them all here makes a damaged manifest an integrity error, not a surprise later.
        _ = artifact.interface, artifact.preprocess, artifact.labels, manifest["target"], manifest["precision"]
        _ = artifact.layer_macs, artifact.activations, artifact.int8_layers, artifact.synthetic
    except (KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError, InputError) as error:
        raise IntegrityError(f"{path}: {type(error).__name__} {error} in the manifest; export again") from error
    for found_path in folder.iterdir():
        name = found_path.name
        known = name == MANIFEST or name.startswith(".") or any(name == listed.name for listed in files.values())
        # A writer killed before its manifest leaves addressed files, which nothing reads.
        if not known and not ADDRESSED.fullmatch(name):
            raise IntegrityError(f"{found_path}: not listed in {MANIFEST}; move it out of the artifact")
    return artifact


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        inside = "is a file" if folder.is_file() else f"no {MANIFEST} in it, so nothing in it is trusted"
        what = inside if folder.exists() else "no such folder"
        raise IntegrityError(f"{folder}: {what}; give the folder that edgecnn export wrote") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: cannot be read ({error}); export again") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        found = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        raise IntegrityError(f"{path}: schema is {found!r}, expected {SCHEMA}; export again with this version")
    if manifest.get("sha256") != _own_sha256(manifest):
        raise IntegrityError(f"{path}: was changed after edgecnn wrote it, its own sha256 differs; export again")
    return manifest


def _own_sha256(manifest: dict[str, Any]) -> str:
    """Over everything in a manifest but this hash."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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


def check_free(folder: Path, force: bool) -> None:
    """Refuses a folder that an artifact cannot be written to, as far as a look at it tells.

    Raises:
        StorageError: occupied, inside an artifact, or not a folder.
    """
    if folder.is_symlink():
        raise StorageError(f"{folder}: is a symbolic link; name the folder itself")
    check_outside(folder)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # or no longer there: others remove what they made
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise StorageError(f"{folder}: is a file; name a folder with --out")
        _check_occupied(folder, force)


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
    check_free(folder, force)
    made = _make(folder)
    with _lock(folder):
        try:
            _check_occupied(folder, force)  # it may have been filled before the lock was held
            for path in folder.iterdir():
                if ORPHAN.fullmatch(path.name):  # of a writer that was killed; nobody else holds the lock
                    path.unlink()
            try:
                (folder / ".probe.tmp").touch()
                (folder / ".probe.tmp").unlink()
            except OSError as error:
                raise StorageError(
                    f"{folder}: cannot be written to ({error.strerror}); name another with --out"
                ) from error
            yield
        except BaseException:
            for path in reversed(made):
                with contextlib.suppress(OSError):  # not empty: something is worth keeping
                    path.rmdir()
            raise


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds a folder against other writers, until this process ends at the latest.

    Raises:
        BusyError: another process holds it, or removed it meanwhile.
        StorageError: it cannot be locked.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError as error:
        raise BusyError(_busy(folder)) from error
    except OSError as error:
        raise StorageError(f"{folder}: cannot be opened ({error.strerror}); name another with --out") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking it may have been removed, and made again.
            held = os.path.samestat(os.fstat(descriptor), folder.stat())
        except (BlockingIOError, FileNotFoundError) as error:
            raise BusyError(_busy(folder)) from error
        except OSError as error:
            raise StorageError(f"{folder}: cannot be locked ({error.strerror}); name another with --out") from error
        if not held:
            raise BusyError(_busy(folder))
        yield
    finally:
        os.close(descriptor)


def _busy(folder: Path) -> str:
    return f"{folder}: another process is writing there; run again when it is done"


def _check_occupied(folder: Path, force: bool) -> None:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    listed = _listed(folder)  # afterwards: whoever writes there now lists what was seen of it
    unknown = [path for path in entries if path.name not in listed and os.path.lexists(path)]
    strangers = [path.name for path in unknown if not _is_orphan(path)]
    if strangers:
        raise StorageError(f"{folder}: holds files that are no artifact ({strangers[0]}); name another with --out")
    if listed and not force:
        raise StorageError(f"{folder}: an artifact is there already; --force replaces it, --out names another folder")


def _listed(folder: Path) -> set[str]:
    """Names of the files of the artifact that is there, if one is."""
    manifest = manifest_in(folder)
    if manifest is None:
        return set()
    entries = manifest.get("files")  # of a damaged one they may be anything
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {MANIFEST, *map(str, names)}


def _is_orphan(path: Path) -> bool:
    """Whether a writer that was killed before its manifest left this: then its name is its content's hash."""
    found = ADDRESSED.fullmatch(path.name)
    if found is None or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest().startswith(found["sha12"])


def _make(folder: Path) -> list[Path]:
    """Creates a folder and its parents; returns those that were not there."""
    made = []
    try:
        for path in (*reversed(folder.parents), folder):
            if path.is_symlink() and not path.exists():
                raise StorageError(f"{path}: is a symbolic link to nothing; name another folder with --out")
            if not path.exists():
                with contextlib.suppress(FileExistsError):  # another process was faster
                    path.mkdir()
                    made.append(path)
    except FileNotFoundError as error:
        raise BusyError(_busy(folder)) from error  # its parent was there a moment ago
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
    files, entries, older = {}, [], _listed(folder)
    new: list[Path] = []
    try:
        for role, content in sorted(contents.items()):
            sha256 = hashlib.sha256(content).hexdigest()
            stem, suffix = role.split(".")
            path = folder / f"{stem}-{sha256[:12]}.{suffix}"
            if not path.exists():
                new.append(path)
            write_whole(path, content)
            files[role] = path
            entries.append({"role": role, "name": path.name, "size_bytes": len(content), "sha256": sha256})
        complete = _write_manifest(folder, {"schema": SCHEMA, **manifest, "files": entries})
    except BaseException:
        if not _lists(folder, new):
            for path in new:
                path.unlink(missing_ok=True)
        raise
    for path in folder.iterdir():
        if path not in (folder / MANIFEST, *files.values()) and (path.name in older or _is_orphan(path)):
            path.unlink()
    return Artifact(folder, complete, files)


def _lists(folder: Path, files: list[Path]) -> bool:
    """Whether the manifest names these: an interrupt may come when it is already replaced."""
    try:
        manifest = (folder / MANIFEST).read_text("utf-8")
    except OSError:
        return False
    return all(path.name in manifest for path in files)


def mark(artifact: Artifact, news: dict[str, Any]) -> None:
    """Writes what a check came to into the manifest.

    Args:
        news: ``status``, and the checks that it rests on as ``standing``.

    Raises:
        BusyError: the artifact is being replaced, or was.
        StorageError: the folder cannot be written to.
    """
    with _lock(artifact.folder):
        now = _read_manifest(artifact.folder)
        if now["files"] != artifact.manifest["files"]:
            raise BusyError(f"{artifact.folder}: was replaced while it was checked; check it again")
        _write_manifest(artifact.folder, now | news)


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns the manifest as it was written, with its own hash."""
    complete = manifest | {"sha256": _own_sha256(manifest)}
    text = json.dumps(complete, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    # A file name need not be Unicode; its odd bytes become JSON's own escapes.
    write_whole(folder / MANIFEST, (text + "\n").encode(errors="backslashreplace"))
    return complete
