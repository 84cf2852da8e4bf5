"""Files in which a kernel says what a machine is and does; one need not have them, nor let everybody read them."""

import re
from pathlib import Path


def text(root: Path, path: str) -> str:
    """A file's text, or nothing."""
    try:
        return (root / path).read_text("utf-8", "replace")
    except OSError:
        return ""


def words(root: Path, pattern: str) -> set[str]:
    """What is in the files that match."""
    return {found.strip() for path in root.glob(pattern) if (found := text(root, str(path.relative_to(root))))}


def numbers(root: Path, pattern: str) -> list[float]:
    """Of the files that match, those that hold a whole number."""
    texts = [text(root, str(path.relative_to(root))).strip() for path in root.glob(pattern)]
    return [float(found) for found in texts if re.fullmatch(r"-?\d+", found)]
