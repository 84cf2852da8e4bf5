"""Places that cannot be written to, or hold something already: an artifact stays as it was."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecnn.artifact import REJECTED, load_artifact, mark, publish, reserve
from edgecnn.errors import StorageError
from edgecnn.files import MANIFEST
from edgecnn.verify.reopen import open_session
from tests.conftest import Command
from tests.faults.conftest import EXPORT, Refused, contents, one_line, powerless

ONNX = (*EXPORT, "--target", "onnx")
EDGECNN = (sys.executable, "-m", "edgecnn")


@pytest.fixture
def parts(artifact: Path) -> tuple[dict[str, bytes], dict[str, object]]:
    """What ``publish`` takes: the artifact's files and manifest."""
    loaded = load_artifact(artifact)
    files = {role: path.read_bytes() for role, path in loaded.files.items()}
    return files, {k: v for k, v in loaded.manifest.items() if k not in ("schema", "files", "sha256")}


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limits what this process may write to a file, like a full disk: ``write`` fails half way.

    Only around what is tested: pytest's own report may go to a file as well.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- F36: disk full ---


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_F36_a_full_disk_leaves_the_old_artifact(
    artifact: Path,
    parts: tuple[dict[str, bytes], dict[str, object]],
    size: int,
) -> None:
    before = contents(artifact)
    files, manifest = parts
    new = {role: content + b"." for role, content in files.items()}
    refusal = pytest.raises(StorageError, match=r"cannot be written \(File too large\); nothing was changed")
    with refusal, largest_file(size), reserve(artifact, force=True):
        publish(artifact, new, manifest)
    assert contents(artifact) == before


def test_F36_a_full_disk_during_export_leaves_the_old_artifact(
    refused: Refused,
    openvino_artifact: Path,
    tmp_path: Path,
) -> None:
    before = contents(openvino_artifact)
    target = ("--target", "openvino")
    weights_size = load_artifact(openvino_artifact).files["model.bin"].stat().st_size
    arguments = ("export", "mobilenetv3_small", "--weights", "random", "--size", "33", "--num-classes", "10", *target)
    # Room for what the runtime builds, but not for the graphs, which are a little larger.
    with largest_file(weights_size + 1000):
        line = refused(8, *arguments, "--out", openvino_artifact, "--force")
    assert "cannot be written (File too large); nothing was changed" in line
    assert contents(openvino_artifact) == before
    out = tmp_path / "deep" / "out"
    with largest_file(50_000):
        line = refused(8, *ONNX, "--out", out)
    assert "File too large" in line
    assert not out.parent.exists()


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_F36_a_full_folder_for_temporary_files_is_named(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with largest_file(50_000):
        line = refused(8, *EXPORT, "--target", target, "--out", tmp_path / "out")
    assert f"{tmp_path}: temporary files cannot be written there (File too large); make room, or" in line
    assert not list(tmp_path.iterdir())


def test_F36_a_runtime_that_has_no_room_for_what_it_will_run(artifact: Path) -> None:
    session = open_session(load_artifact(artifact))
    with pytest.raises(StorageError, match="temporary files cannot be written there"), largest_file(50_000):
        session.executed()


def test_F36_a_verdict_that_cannot_be_written_changes_nothing(artifact: Path) -> None:
    before = contents(artifact)
    loaded = load_artifact(artifact)
    with pytest.raises(StorageError, match="nothing was changed"), largest_file(100):
        mark(loaded, {"status": REJECTED})
    assert contents(artifact) == before


def test_F36_a_full_stdout_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*EDGECNN, "list", "--json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 8
    assert "No space left on device" in one_line(done.stderr)


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*EDGECNN, "list", "--json"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


# --- F39: outputs that are there already ---


def test_F39_an_artifact_is_not_replaced_unasked(refused: Refused, artifact: Path) -> None:
    before = contents(artifact)
    assert "an artifact is there already; --force replaces it" in refused(8, *ONNX, "--out", artifact)
    assert contents(artifact) == before


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("name", ["thesis.tex", MANIFEST])
def test_F39_files_that_are_no_artifact_are_never_replaced(
    refused: Refused, tmp_path: Path, name: str, force: list[str]
) -> None:
    (tmp_path / name).write_text(json.dumps({"name": "somebody's own"}))
    before = contents(tmp_path)
    line = refused(8, *ONNX, "--out", tmp_path, *force)
    assert f"{tmp_path}: holds files that are no artifact ({name}); name another with --out" in line
    assert contents(tmp_path) == before


def test_F39_nothing_is_written_into_an_artifact(refused: Refused, artifact: Path) -> None:
    before = contents(artifact)
    within = (*ONNX, "--force", "--out", artifact / "deep" / "onnx")
    for arguments in (within, ("train", "mobilenetv3", "--out", artifact)):
        line = refused(8, *arguments)
        assert f"{artifact} is an artifact, which holds its own files alone; name another place" in line
    assert contents(artifact) == before


def test_F39_a_folder_with_an_artifacts_name_for_a_file_is_a_stranger(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "model-0123456789ab.onnx").mkdir()
    assert "holds files that are no artifact (model-0123456789ab.onnx)" in refused(8, *ONNX, "--out", tmp_path)


def test_F39_a_file_beside_an_artifact_is_never_lost(refused: Refused, artifact: Path) -> None:
    (artifact / "notes.txt").write_text("mine")
    assert "holds files that are no artifact (notes.txt)" in refused(8, *ONNX, "--out", artifact, "--force")
    assert (artifact / "notes.txt").read_text() == "mine"


def test_F39_a_file_is_no_folder(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("mine")
    assert f"{file}: is a file; name a folder with --out" in refused(8, *ONNX, "--out", file, "--force")
    assert "cannot be made (Not a directory)" in refused(8, *ONNX, "--out", file / "deeper")
    assert file.read_text() == "mine"


def test_F39_a_link_is_not_followed(refused: Refused, artifact: Path, tmp_path: Path) -> None:
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(artifact)
    dangling.symlink_to(tmp_path / "none")
    for path in (link, dangling):
        assert f"{path}: is a symbolic link; name the folder itself" in refused(8, *ONNX, "--out", path, "--force")
    assert not (tmp_path / "none").exists()


def test_F39_a_place_where_nothing_can_be_made(refused: Refused) -> None:
    line = refused(8, *ONNX, "--out", "/sys/edgecnn-test")  # read-only for root as well
    assert "/sys/edgecnn-test: cannot be made (" in line
    assert "name another with --out" in line


def test_F39_a_read_only_folder(open_folder: Path) -> None:
    folder = open_folder / "read-only"
    folder.mkdir()
    folder.chmod(0o555)
    refusal = pytest.raises(StorageError, match=r"cannot be written to \(Permission denied\); name another")
    with powerless(), refusal, reserve(folder, force=False):
        pass
    refusal = pytest.raises(StorageError, match=r"cannot be made \(Permission denied\); name another")
    with powerless(), refusal, reserve(folder / "deep" / "out", force=False):
        pass
    assert not list(folder.iterdir())


def test_F39_a_read_only_artifact_is_still_verified(command: Command, artifact: Path) -> None:
    assert command("verify", artifact).code == 0  # the verdict is no news, so nothing is written
    before = (artifact / MANIFEST).stat().st_mtime_ns
    assert command("verify", artifact).code == 0
    assert (artifact / MANIFEST).stat().st_mtime_ns == before


# --- F41: hostile names ---


@pytest.mark.parametrize(
    "name",
    ["with space", "ünïcödé-图", "[bold]x[/red]", "[no", "-dash", "a\nb", "quote'\"", "%s{}", "x" * 255, "\udce9"],
)
def test_F41_any_name_of_a_folder_will_do(
    command: Command, artifact: Path, photos: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    folder = artifact.rename(tmp_path / name)
    picture = tmp_path / f"{name[:200]}\udcff.jpg"  # on Linux a name is bytes, not text
    shutil.copy(photos / "0.jpg", picture)
    assert command("verify", folder).code == 0
    answer = command("predict", folder, picture)
    assert (answer.code, answer.err) == (0, "")
    answer = command("predict", folder, picture, "--json")
    assert json.loads(answer.out)[0]["image"] == str(picture)
    with reserve(folder, force=True):
        loaded = load_artifact(folder)
        files = {role: path.read_bytes() for role, path in loaded.files.items()}
        manifest = {k: v for k, v in loaded.manifest.items() if k not in ("schema", "files", "sha256")}
        publish(folder, files, manifest | {"calibration": {"set": name}})
    assert load_artifact(folder).manifest["calibration"] == {"set": name}


def test_F41_any_name_will_do_where_the_locale_is_ascii(artifact: Path, tmp_path: Path) -> None:
    folder = artifact.rename(tmp_path / "café")
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([*EDGECNN, "verify", folder], env=ascii_only, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_F41_any_name_of_the_folder_for_temporary_files_will_do(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "\udce9"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    session = open_session(load_artifact(artifact))
    assert session.executed()
    assert session.kernel_times([np.zeros((1, 3, 32, 32), np.float32)])
    assert not list(folder.iterdir())


def test_F41_refusals_show_no_terminal_controls(refused: Refused, tmp_path: Path) -> None:
    line = refused(7, "verify", tmp_path / "\x1b[31mred\x07\n\r\u202enone")
    assert line.isprintable()
    assert "\x1b" not in line


def test_F41_a_name_that_is_too_long_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "File name too long" in refused(8, *ONNX, "--out", tmp_path / ("x" * 300))


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "file_mode", "folder_mode"), [(0o027, 0o640, 0o750), (0o022, 0o644, 0o755)])
def test_F40_modes_follow_the_umask(
    parts: tuple[dict[str, bytes], dict[str, object]], tmp_path: Path, mask: int, file_mode: int, folder_mode: int
) -> None:
    out = tmp_path / "out"
    with umask(mask), reserve(out, force=False):
        publish(out, *parts)
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {file_mode}
    assert out.stat().st_mode & 0o777 == folder_mode
