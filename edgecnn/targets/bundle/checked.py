"""What lies in a bundle, checked against its manifest before anything reads it. Python 3.8.

Deserializing an engine runs native code, so no byte of one is opened before its hash, the TensorRT that built it and
the GPU that it was built for are those written down beside it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

SCHEMA = 1
MANIFEST, ENGINE = "manifest.json", "engine.json"
HERE = Path(__file__).resolve().parent
USAGE, UNAVAILABLE, REFUSED, FAILED, INTEGRITY = 2, 4, 5, 6, 7  # exit codes, edgecnn's own


class Stop(Exception):
    """The end of a script: an exit code, and one line that says what, got, expected and how to fix it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def read_manifest(folder: Path) -> dict[str, Any]:
    """The bundle's manifest, as it was written, and every file of which is the one that it lists.

    Raises:
        Stop: it is changed, or a file is missing or changed.
    """
    manifest = read_json(folder / MANIFEST)
    if manifest.get("schema") != SCHEMA:
        raise Stop(INTEGRITY, f"{folder / MANIFEST}: schema is {manifest.get('schema')!r}, expected {SCHEMA}")
    content = json.dumps({key: manifest[key] for key in manifest if key != "sha256"}, sort_keys=True)
    got, expected = hashlib.sha256(content.encode()).hexdigest(), manifest.get("sha256")
    if got != expected:
        raise Stop(
            INTEGRITY,
            f"{folder / MANIFEST}: sha256 of its content is {got}, expected {expected}; unpack the bundle again",
        )
    for entry in manifest["files"]:
        check_hash(folder / entry["name"], entry["sha256"])
    return manifest


def read_engine(folder: Path, module: str, version: str, architecture: str) -> tuple[dict[str, Any], bytes]:
    """What ``build.py`` wrote, and the engine's bytes, for this TensorRT and this GPU.

    Raises:
        Stop: it is not the engine that was built here, or not for this machine.
    """
    found = read_json(folder / ENGINE)
    content = check_hash(folder / found["file"], found["sha256"])
    here = {"module": module, "version": version, "architecture": architecture}
    for key, value in here.items():
        if found[key] != value:
            raise Stop(INTEGRITY, f"{folder / ENGINE}: {key} is {found[key]}, here it is {value}; run build.py here")
    return found, content


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        Stop: there is none.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        remedy = "run build.py first" if path.name == ENGINE else "unpack the bundle again"
        raise Stop(INTEGRITY, f"{path}: cannot be read ({error}); {remedy}") from error
    if not isinstance(found, dict):
        raise Stop(INTEGRITY, f"{path}: holds a {type(found).__name__}, expected an object")
    return found


def check_hash(path: Path, sha256: str) -> bytes:
    """The bytes of a file whose hash is known.

    Raises:
        Stop: it is missing or changed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Stop(INTEGRITY, f"{path}: listed, but {error.strerror}; unpack the bundle again") from error
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise Stop(INTEGRITY, f"{path}: sha256 is {got}, expected {sha256}; unpack the bundle again, or build again")
    return content


def run_script(main: Any) -> None:
    """Runs ``main()`` and turns a ``Stop`` into one line and its exit code."""
    try:
        main()
    except Stop as stop:
        print(f"{Path(sys.argv[0]).name}: {stop}", file=sys.stderr)
        sys.exit(stop.code)
