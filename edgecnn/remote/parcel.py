"""What is sent to a board: files under the names that they have there, each known by its sha256."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.artifact import Artifact
from edgecnn.errors import InputError, UsageError
from edgecnn.files import MANIFEST
from edgecnn.recipe import shipped

PACKAGE = Path(__file__).parents[1]
SOURCE = "source"  # folder of our own package there; with it no two versions ever meet


@dataclass(frozen=True)
class Item:
    """One file.

    Args:
        path: there, relative to the run's folder.
        unpack: it is a zip archive, and ``path`` the folder for what is in it.
    """

    path: str
    local: Path
    sha256: str
    size: int
    unpack: bool = False

    def as_json(self) -> dict[str, Any]:
        """As the agent wants it."""
        return {"path": self.path, "sha256": self.sha256, "unpack": self.unpack}


def item(path: str, local: Path, unpack: bool = False) -> Item:
    """A file as it is now.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with local.open("rb") as file:
            return Item(path, local, hashlib.file_digest(file, "sha256").hexdigest(), file.tell(), unpack)
    except OSError as error:
        raise InputError(f"{local}: cannot be read ({error.strerror})") from error


def source() -> list[Item]:
    """Our own package: its Python, and no weights."""
    return [item(f"{SOURCE}/{path.relative_to(PACKAGE.parent)}", path) for path in sorted(PACKAGE.rglob("*.py"))]


def artifact_items(artifact: Artifact, folder: str) -> list[Item]:
    """An artifact, whole."""
    return [item(f"{folder}/{path.name}", path) for path in (artifact.folder / MANIFEST, *artifact.files.values())]


def image_items(spec: str) -> tuple[list[Item], str]:
    """A folder of images or a shipped set, and what ``--images`` is there.

    Raises:
        UsageError: it is neither.
    """
    if Path(spec).is_dir():
        return _below(Path(spec), "images"), "images"
    folder = shipped("calibration") / spec
    if spec and Path(spec).name == spec and folder.is_dir():
        return _below(folder, f"{SOURCE}/calibration/{spec}"), spec
    raise UsageError(f"--images is {spec!r}; with --host it must be a folder of images or a shipped set")


def _below(folder: Path, there: str) -> list[Item]:
    """Every file but hidden ones, which no set reads; what does not belong there is refused there, by name."""
    for path in folder.iterdir():
        if path.is_dir() and not path.name.startswith(".") and not any(path.iterdir()):
            raise UsageError(f"{path}: is empty, and empty folders do not travel to a board; take it out of the images")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    relative = ((path.relative_to(folder), path) for path in paths)
    return [item(f"{there}/{name}", path) for name, path in relative if not any(p.startswith(".") for p in name.parts)]
