"""The rules of the house: imports go leftwards, files stay short, and the data folders hold no code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "edgecnn"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 400

# A room may import the ones before it, also inside functions and for type checkers.
ORDER = (
    "errors", "files", "names", "garbage", "interrupts", "progress", "threads", "recipe", "data", "parity", "models",
    "graph",
    "quant", "targets", "artifact", "verify", "bench", "inspection", "request", "network", "manifest", "train",
    "overview", "pipeline", "analysis", "export_process", "benchmark", "report", "remote",
    "__init__", "console",
    "cli",
    "__main__",
)  # fmt: skip


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, without the package's name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
        else:
            continue
        for name in names:
            package, _, inside = name.partition(".")
            if package == "edgecnn" and inside:
                yield inside


def rightwards() -> set[tuple[str, str]]:
    found = set()
    for path in FILES:
        here = module(path)
        for there in imports(path):
            rooms = [name.partition(".")[0] for name in (there, here)]
            if rooms[0] != rooms[1] and ORDER.index(rooms[0]) > ORDER.index(rooms[1]):
                found.add((here, there))
    return found


def test_every_room_has_its_place() -> None:
    rooms = {module(path).partition(".")[0] for path in FILES}
    assert rooms <= set(ORDER)


def test_imports_go_leftwards() -> None:
    assert rightwards() == set()


@pytest.mark.parametrize("path", FILES, ids=module)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("folder", ["export", "calibration"])
def test_data_folders_hold_data_alone(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert files
    assert {path.suffix for path in files} <= {".toml", ".txt", ".md", ".csv", ".png", ".jpg", ".json"}
