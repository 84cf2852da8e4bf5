"""Places that cannot be written to, and writers that are stopped: an artifact is old or new, never half."""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgecnn.artifact import MANIFEST, REJECTED, load_artifact, mark, publish, reserve
from edgecnn.errors import BusyError, StorageError
from edgecnn.pipeline import Exported
from tests.conftest import Command
from tests.faults.conftest import EXPORT, Refused, contents, one_line, powerless

V3_INT8 = (
    *("export", "mobilenetv3_small", "--weights", "random", "--size", "64", "--num-classes", "10"),
    *("--target", "openvino", "--int8", "--json"),
)

# The command line, which says on stdout what stage it begins.
ANNOUNCED = """
from edgecnn import cli, progress
silent = progress.Progress.stage
def stage(self, name, total=None):
    print(name, flush=True)
    return silent(self, name, total)
progress.Progress.stage = stage
cli.main()
"""

ONNX = (*EXPORT, "--target", "onnx")
EDGECNN = (sys.executable, "-m", "edgecnn")

# Publishes two artifacts in turns into one folder, for as long as it lives.
WRITER = """
import sys, json
from pathlib import Path
from edgecnn.artifact import load_artifact, publish, reserve
out, *sources = map(Path, sys.argv[1:])
ready = []
for source in sources:
    artifact = load_artifact(source)
    files = {role: path.read_bytes() for role, path in artifact.files.items()}
    ready.append((files, {k: v for k, v in artifact.manifest.items() if k not in ("schema", "files", "sha256")}))
print("ready", flush=True)
while True:
    for files, manifest in ready:
        with reserve(out, force=True):
            publish(out, files, manifest)
"""


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


# --- F35: kill -9 ---


def test_F35_a_killed_writer_leaves_a_whole_artifact(
    tiny_export: Callable[..., Exported], command: Command, tmp_path: Path
) -> None:
    sources = [tiny_export("onnx", precision).artifact.folder for precision in ("fp32", "fp16")]
    out = tmp_path / "out"
    delay = random.Random(35)  # noqa: S311 - no secret
    seen = set()
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, out, *sources], stdout=subprocess.PIPE)
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(delay.uniform(0, 0.3))
            writer.kill()
        if (out / MANIFEST).exists():
            artifact = load_artifact(out)
            seen.add(artifact.manifest["precision"])
            assert {role: path.read_bytes() for role, path in artifact.files.items()} == {
                role: path.read_bytes()
                for role, path in load_artifact(sources[artifact.manifest["precision"] == "fp16"]).files.items()
            }
    assert seen
    assert command("verify", out).code == 0
    (out / ".model-0123456789ab.onnx.1.tmp").write_bytes(b"half")
    (out / "model-0123456789ab.onnx").write_bytes(b"whole, but no manifest came to list it")
    loaded = load_artifact(sources[0])
    with reserve(out, force=True):
        files = {role: path.read_bytes() for role, path in loaded.files.items()}
        publish(out, files, {k: v for k, v in loaded.manifest.items() if k not in ("schema", "files", "sha256")})
    assert set(contents(out)) == {MANIFEST, *(path.name for path in load_artifact(out).files.values())}


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


def test_F36_a_verdict_that_cannot_be_written_changes_nothing(artifact: Path) -> None:
    before = contents(artifact)
    loaded = load_artifact(artifact)
    with pytest.raises(StorageError, match="nothing was changed"), largest_file(100):
        mark(loaded, REJECTED)
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


# --- F37: Ctrl-C ---


@pytest.mark.parametrize("stage", ["load", "calibrate"])
def test_F37_ctrl_c_leaves_nothing(tmp_path: Path, stage: str) -> None:
    out, temporary = tmp_path / "deep" / "out", tmp_path / "tmp"
    temporary.mkdir()
    exporting = subprocess.Popen(
        [sys.executable, "-c", ANNOUNCED, *V3_INT8, "--out", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # PyTorch makes this folder when it is imported, whoever imports it. ONNX Runtime's telemetry would leave a file
        # too, but not where it sees a CI.
        env={name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS")}
        | {"TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "torch")},
    )
    with exporting:
        assert exporting.stdout is not None
        assert f"{stage}\n" in iter(exporting.stdout.readline, "")
        exporting.send_signal(signal.SIGINT)
        stdout, stderr = exporting.communicate(timeout=300)
    assert (exporting.returncode, stdout) == (130, "")
    assert one_line(stderr) == "edgecnn: interrupted; nothing was changed"
    assert not out.parent.exists()
    assert not list(temporary.iterdir())
    with pytest.raises(ProcessLookupError):
        os.killpg(exporting.pid, 0)


def test_F37_ctrl_c_between_imports_is_no_traceback(tmp_path: Path) -> None:
    out = tmp_path / "out"
    exporting = subprocess.Popen([*EDGECNN, *V3_INT8, "--out", out], stderr=subprocess.PIPE, text=True)
    with exporting:
        while not out.exists() and exporting.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)  # among the imports of torch, which may swallow an interrupt
        exporting.send_signal(signal.SIGINT)
        _, stderr = exporting.communicate(timeout=300)
    if exporting.returncode == 0:
        load_artifact(out)
        return
    assert (exporting.returncode, stderr) == (130, "edgecnn: interrupted; nothing was changed\n")
    assert not out.exists()


# --- F38: writers at the same time ---


def test_F38_concurrent_exports_give_one_artifact(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    writers = [
        subprocess.Popen([*EDGECNN, *ONNX, "--out", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    codes = []
    for writer in writers:
        _, stderr = writer.communicate(timeout=300)
        codes.append(writer.returncode)
        if writer.returncode:
            assert "another process is writing there" in one_line(stderr) or "is there already" in one_line(stderr)
    assert sorted(codes)[0] == 0
    assert set(codes[1:]) <= {0, 8, 75}
    assert codes.count(0) == 1
    assert command("verify", out).code == 0
    assert not list(out.glob(".*"))


def test_F38_a_held_folder_is_busy_and_stays(refused: Refused, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with reserve(out, force=False):
        assert "another process is writing there; run again when it is done" in refused(75, *ONNX, "--out", out)
        assert out.is_dir()


def test_F38_many_threads_one_at_a_time(parts: tuple[dict[str, bytes], dict[str, object]], tmp_path: Path) -> None:
    """Writers that fail remove what they made, and never what another one holds."""
    out = tmp_path / "deep" / "out"
    files, manifest = parts
    small = {role: content[:100] for role, content in files.items()}
    wrong: list[BaseException] = []

    def write(index: int) -> None:
        for turn in range(20):
            try:
                with reserve(out, force=True):
                    if (index + turn) % 3 == 0:
                        raise ZeroDivisionError
                    publish(out, small | {"golden.npz": bytes([index, turn])}, manifest)
                    load_artifact(out)
            except (BusyError, ZeroDivisionError):
                continue
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    load_artifact(out)


def test_F38_folders_that_come_and_go_are_busy_at_worst(tmp_path: Path) -> None:
    """Every step of a writer may find that another one has just removed the folder it had made."""
    wrong: list[BaseException] = []

    def fail_again_and_again() -> None:
        for turn in range(600):
            try:
                with reserve(tmp_path / str(turn // 60) / "deep" / "out", force=True):
                    raise ZeroDivisionError
            except (BusyError, ZeroDivisionError):
                continue
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=fail_again_and_again) for _ in range(6)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads meet at every line
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
    assert not wrong


def test_F38_a_verdict_never_overwrites_a_newer_artifact(
    artifact: Path, parts: tuple[dict[str, bytes], dict[str, object]]
) -> None:
    old = load_artifact(artifact)
    files, manifest = parts
    with reserve(artifact, force=True):
        with pytest.raises(BusyError, match="another process is writing there"):
            mark(old, REJECTED)
        publish(artifact, files | {"golden.npz": b"newer"}, manifest)
    with pytest.raises(BusyError, match="was replaced while it was checked; check it again"):
        mark(old, REJECTED)
    assert load_artifact(artifact).files["golden.npz"].read_bytes() == b"newer"


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
    ["with space", "ünïcödé-图", "[bold]x[/red]", "[no", "-dash", "a\nb", "quote'\"", "%s{}", "x" * 255],
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
