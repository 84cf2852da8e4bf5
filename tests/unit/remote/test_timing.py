"""``bench --host`` with engines: what is asked of a board, and what its answers become. The board is a stand-in."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edgecnn.artifact import load_artifact
from edgecnn.bench.bench import BenchRequest
from edgecnn.bench.device import ALONE
from edgecnn.bench.record import Run, encode
from edgecnn.errors import UnavailableError, UsageError
from edgecnn.pipeline import Exported
from edgecnn.remote import timing
from edgecnn.remote.session import Done, Job
from edgecnn.remote.ssh import Host
from edgecnn.remote.timing import bench_there
from edgecnn.verify.device import _bundle_sha256
from tests.conftest import as_gated
from tests.made_up import made_up_run
from tests.unit.verify.test_device import result as result

Export = Callable[..., Exported]
HOST = Host("board")
NO_GPU = Done(4, "", "build.py: an engine is built on its own GPU: there is no NVIDIA driver (libcuda.so.1)\n")


@pytest.fixture
def artifact(tiny_export: Export, tmp_path: Path) -> Any:
    """What ``result`` is of."""
    return load_artifact(as_gated(tiny_export("tensorrt", "int8", flavour="bundle").artifact.folder, tmp_path / "out"))


@pytest.fixture
def engine(artifact: Any) -> Path:
    folder: Path = artifact.folder
    return folder


@pytest.fixture
def other(tiny_export: Export) -> Path:
    """An artifact that a board times in turns."""
    return tiny_export("onnx", "fp32").artifact.folder


@dataclass
class Board:
    """What it was asked, and what it answers, in order."""

    answers: list[Done] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def steps(self) -> list[str]:
        """Of every job, the last."""
        return [" ".join(job.steps[-1]) for job in self.jobs]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    there = Board()

    def run_there(host: Host, job: Job, keep: bool, progress: object) -> Done:
        there.jobs.append(job)
        return there.answers[len(there.jobs) - 1]

    monkeypatch.setattr(timing, "run_there", run_there)
    return there


def timed(run: Run) -> Done:
    return Done(0, encode(run).decode(), "")


def measured(result: dict[str, Any], code: int = 0) -> Done:
    return Done(code, "", "", json.dumps(result))


def test_engines_are_further_rows_that_were_timed_alone(
    board: Board, engine: Path, other: Path, result: dict[str, Any]
) -> None:
    there = made_up_run(rows={"small-tensorrt-int8": None})
    board.answers = [timed(there), measured(result)]
    run = bench_there(HOST, BenchRequest((engine, other), threads=1, duration_s=2.0))
    assert run.rows[:-1] == there.rows
    row = run.rows[-1]
    assert (row.name, row.status, row.runtime, row.precision) == ("out", "ok", "tensorrt 10.3.0", "int8")
    assert row.times is not None
    assert row.times.n == 400
    assert (row.ratio, row.absences, row.layers) == (None, {"ratio": ALONE}, ())
    assert run.reference is not None
    assert run.reference.name == "eager"
    ours, bundles = board.steps()
    assert ours == "-m edgecnn bench artifacts/0/out --mode latency --duration 2.0 --batch 1 --threads 1 --json"
    assert bundles == "run.py --seconds 2.0"


def test_the_gpu_is_told_where_the_board_does_not_know_it(
    board: Board, engine: Path, other: Path, result: dict[str, Any]
) -> None:
    facts: dict[str, Any] = {"cpu": {"model": "Cortex", "cores": 6}}
    for known in (facts, facts | {"gpus": [{"name": "Orin NX"}]}):
        board.jobs.clear()
        board.answers = [timed(made_up_run(machine_is=known)), measured(result)]
        machine = bench_there(HOST, BenchRequest((other, engine))).machine
        assert machine == (known if "gpus" in known else known | {"gpu": result["machine"]["gpu"]})


def test_engines_alone_need_no_edgecnn_there(board: Board, engine: Path, result: dict[str, Any]) -> None:
    board.answers = [measured(result)]
    run = bench_there(HOST, BenchRequest((engine,), duration_s=0.5, layers=True))
    (job,) = board.jobs
    assert (job.python, job.modules, job.source) == ((3, 8), ("numpy",), "")
    assert job.steps == (("build.py",), ("run.py", "--seconds", "0.5"))
    assert run.machine == result["machine"]
    assert (run.settings.mode, run.settings.threads, run.settings.batch) == ("latency", None, 1)
    (row,) = run.rows
    assert (row.absences, len(row.layers)) == ({}, len(result["layers"]))
    assert run.reference is row


def test_two_engines_are_both_timed_alone(board: Board, engine: Path, result: dict[str, Any]) -> None:
    board.answers = [measured(result), measured(result)]
    run = bench_there(HOST, BenchRequest((engine, engine)))
    assert [(row.name, row.absences) for row in run.rows] == [("out", {"ratio": ALONE}), ("out-2", {"ratio": ALONE})]
    assert run.reference is None


def test_names_go_on_from_the_boards_own(board: Board, engine: Path, other: Path, result: dict[str, Any]) -> None:
    first, second = (replace(row, name=name) for row, name in zip(made_up_run().rows, ("out", "out-2"), strict=False))
    board.answers = [timed(replace(made_up_run(), rows=(first, second))), measured(result)]
    run = bench_there(HOST, BenchRequest((other, other, engine)))
    assert [row.name for row in run.rows] == ["out", "out-2", "out-3"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (NO_GPU, "build.py: an engine is built on its own GPU: there is no NVIDIA driver (libcuda.so.1)"),
        (
            Done(5, "", "refused: x\nbuild.py: tensorrt 10.3.0 built none of 5: x\n"),
            "build.py: tensorrt 10.3.0 built none",
        ),
        (Done(-9, "", ""), "the run was killed there by signal 9; out of memory?"),
        (Done(0, "", "", "{}"), "result.json: is no result.json of a bundle's run.py (Object missing required field"),
    ],
    ids=["no GPU", "refused", "killed", "no result"],
)
def test_an_engine_that_fails_there_is_a_row_that_says_so(
    board: Board, engine: Path, other: Path, result: dict[str, Any], answer: Done, status: str
) -> None:
    board.answers = [timed(made_up_run()), answer, measured(result)]
    run = bench_there(HOST, BenchRequest((other, engine, engine)))
    failed, there = run.rows[-2:]
    assert failed.status.startswith(status)
    assert (failed.name, failed.kind, failed.target, failed.times, failed.absences) == (
        "out",
        "artifact",
        "tensorrt",
        None,
        {},
    )
    assert (there.name, there.status) == ("out-2", "ok")


def test_a_result_without_rounds_is_a_reason(board: Board, engine: Path, other: Path, result: dict[str, Any]) -> None:
    """As bundles of old wrote it."""
    del result["latency"]["calls_ms"]
    board.answers = [timed(made_up_run()), measured(result)]
    status = bench_there(HOST, BenchRequest((other, engine))).rows[-1].status
    assert status.startswith(
        "result.json: is no result.json of a bundle's run.py (Object missing required field `calls_ms`"
    )


def test_an_engine_that_is_rejected_there_is_timed_and_called_so(
    board: Board, engine: Path, result: dict[str, Any]
) -> None:
    result["parity"]["kl"] = 3.0
    board.answers = [measured(result, code=6)]
    (row,) = bench_there(HOST, BenchRequest((engine,))).rows
    assert row.times is not None
    assert row.manifest is not None
    assert row.manifest["status"] == "rejected"


def test_what_cannot_run_beside_engines_is_rows_that_say_so(
    board: Board, engine: Path, other: Path, result: dict[str, Any]
) -> None:
    board.answers = [
        Done(4, "", "edgecnn: nothing of it can run here: target onnx needs onnxruntime\n"),
        measured(result),
    ]
    run = bench_there(HOST, BenchRequest((other, engine)))
    assert [(row.name, row.target, row.status) for row in run.rows] == [
        ("out", "onnx", "nothing of it can run here: target onnx needs onnxruntime"),
        ("out-2", "tensorrt", "ok"),
    ]
    assert run.machine == result["machine"]


def test_what_the_board_refuses_otherwise_ends_it(board: Board, engine: Path, other: Path) -> None:
    board.answers = [Done(2, "", "edgecnn: --batch is 4\n")]
    with pytest.raises(UsageError, match=r"^board: --batch is 4$"):
        bench_there(HOST, BenchRequest((other, engine)))
    assert len(board.jobs) == 1, "no engine is built for nothing"


def test_where_nothing_runs_it_is_refused(board: Board, engine: Path, other: Path) -> None:
    board.answers = [NO_GPU, NO_GPU]
    with pytest.raises(
        UnavailableError, match=r"^board: nothing of it can run there: build\.py: an engine is built .*"
    ) as caught:
        bench_there(HOST, BenchRequest((engine, engine)))
    assert str(caught.value).count("its own GPU") == 1
    board.jobs.clear()
    board.answers = [Done(4, "", "edgecnn: nothing of it can run here: x\n"), NO_GPU]
    with pytest.raises(UnavailableError, match=r"can run there: nothing of it can run here: x; build\.py: an engine"):
        bench_there(HOST, BenchRequest((other, engine)))


@pytest.mark.parametrize("batch", [None, 8])
def test_a_batch_is_handed_to_all(board: Board, tiny_export: Export, result: dict[str, Any], batch: int | None) -> None:
    engine, other = (
        tiny_export(target, precision, batch=None, **more).artifact.folder
        for target, precision, more in (("tensorrt", "int8", {"flavour": "bundle"}), ("onnx", "fp32", {}))
    )
    result["bundle"]["sha256"] = _bundle_sha256(load_artifact(engine))
    board.answers = [timed(made_up_run()), measured(result)]
    bench_there(HOST, BenchRequest((other, engine), batch=batch))
    ours, bundles = board.steps()
    assert f"--batch {batch or 1} " in ours
    assert bundles == f"run.py --seconds 3.0 --batch {batch or 1}"
    with pytest.raises(UsageError, match="--batch is 65, but out-2 takes 1 to 64; time it apart"):
        bench_there(HOST, BenchRequest((other, engine), batch=65))


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"mode": "throughput"}, r"--mode throughput is not for .*, whose bundle times one call after another"),
        ({"mode": "throughputt"}, "unknown mode 'throughputt'"),
        ({"duration_s": 0.0}, "--duration is 0, expected seconds"),
        ({"threads": 1}, "--threads is for runtimes on a CPU, and every artifact here is an engine's; drop it"),
        ({"against": ("eager",)}, r"--against needs artifacts that are timed in turns, and .* is timed alone; drop it"),
        ({"batch": 4}, "--batch is 4, but out was exported for a batch of 1"),
    ],
    ids=["mode", "typo", "duration", "threads", "against", "batch"],
)
def test_what_an_engine_cannot_follow_is_refused_before_anything_is_sent(
    board: Board, engine: Path, request_: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        bench_there(HOST, BenchRequest((engine,), **request_))
    assert board.jobs == []


def test_nothing_is_held_against_an_engine(board: Board, engine: Path, other: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--against .* is for TensorRT, whose engine is timed alone there, so nothing"
    ):
        bench_there(HOST, BenchRequest((other,), against=(str(engine),)))
    assert board.jobs == []


def test_a_run_with_engines_survives_its_file(board: Board, engine: Path, other: Path, result: dict[str, Any]) -> None:
    board.answers = [timed(made_up_run()), measured(result)]
    run = bench_there(HOST, BenchRequest((other, engine)))
    assert msgspec.json.decode(encode(run), type=Run) == run
