"""Writers that are stopped, and writers that meet: an artifact is old or new, never half."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.artifact import REJECTED, load_artifact, mark, publish, reserve
from edgecnn.errors import BusyError, IntegrityError
from edgecnn.files import MANIFEST
from edgecnn.pipeline import Exported
from tests.conftest import Command
from tests.faults.conftest import EXPORT, Refused, contents, one_line

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
    whole = b"whole, but no manifest came to list it"
    (out / f"model-{hashlib.sha256(whole).hexdigest()[:12]}.onnx").write_bytes(whole)
    loaded = load_artifact(sources[0])
    with reserve(out, force=True):
        files = {role: path.read_bytes() for role, path in loaded.files.items()}
        publish(out, files, {k: v for k, v in loaded.manifest.items() if k not in ("schema", "files", "sha256")})
    assert set(contents(out)) == {MANIFEST, *(path.name for path in load_artifact(out).files.values())}


def test_F36_a_writer_removes_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / ".dir.tmp").mkdir()
    for name in (".mine.tmp", ".probe.tmp.1", ".model-0123456789ab.onnx.bak.tmp"):
        (tmp_path / name).write_bytes(b"mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    with reserve(tmp_path, force=True):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["photo-0123456789ab.png", "model-0123456789ab.onnx", "invoice-deadbeef0123.txt"])
def test_F36_files_that_are_called_like_ours_are_not_ours(refused: Refused, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    for force in ((), ("--force",)):
        line = refused(8, *ONNX, "--out", tmp_path, *force)
        assert f"holds files that are no artifact ({name})" in line
    assert contents(tmp_path) == {name: b"mine"}


def test_F36_a_link_to_nothing_is_named(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "link: is a symbolic link to nothing" in refused(8, *ONNX, "--out", tmp_path / "link" / "out")


def test_F36_all_places_are_looked_at_before_anything_is_built(
    refused: Refused, tmp_path: Path, artifact: Path
) -> None:
    shutil.copytree(artifact, tmp_path / "both" / "openvino")
    line = refused(8, *EXPORT, "--target", "onnx", "--target", "openvino", "--out", tmp_path / "both", "--json")
    assert "an artifact is there already" in line
    assert not (tmp_path / "both" / "onnx").exists()


def test_F38_a_reader_finds_the_old_artifact_or_the_new_one(
    artifact: Path, parts: tuple[dict[str, bytes], dict[str, object]]
) -> None:
    files, manifest = parts
    wrong: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        for turn in range(150):
            with reserve(artifact, force=True):
                publish(artifact, files | {"golden.npz": bytes([turn])}, manifest)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        try:
            load_artifact(artifact)
        except IntegrityError as error:
            wrong.append(error)
    writer.join()
    assert not wrong


# --- F37: Ctrl-C ---


@pytest.mark.parametrize(
    ("stage", "number"), [("load", signal.SIGINT), ("calibrate", signal.SIGINT), ("calibrate", signal.SIGTERM)]
)
def test_F37_an_interrupt_leaves_nothing(tmp_path: Path, stage: str, number: signal.Signals) -> None:
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
        exporting.send_signal(number)
        stdout, stderr = exporting.communicate(timeout=300)
    assert (exporting.returncode, stdout) == (128 + number, "")
    assert one_line(stderr) == "edgecnn: interrupted; nothing is half-written"
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
        time.sleep(0.3)  # among the imports of torch, which an interrupt may crash
        exporting.send_signal(signal.SIGINT)
        _, stderr = exporting.communicate(timeout=300)
    if exporting.returncode == 0:
        load_artifact(out)
        return
    assert (exporting.returncode, stderr) == (130, "edgecnn: interrupted; nothing is half-written\n")
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
            mark(old, {"status": REJECTED})
        publish(artifact, files | {"golden.npz": b"newer"}, manifest)
    with pytest.raises(BusyError, match="was replaced while it was checked; check it again"):
        mark(old, {"status": REJECTED})
    assert load_artifact(artifact).files["golden.npz"].read_bytes() == b"newer"
