"""Which row to ship: what passed its gate, then speed beyond noise, then closeness to the eager model."""

import importlib.util
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from edgecnn.bench.record import Row, Times
from edgecnn.benchmark import BenchmarkRequest, benchmark, verdict
from edgecnn.errors import StorageError, UnavailableError
from edgecnn.progress import Progress


def evidence(sqnr_db: float, status: str = "verified") -> dict[str, object]:
    return {"status": status, "evidence": {"sqnr_db": sqnr_db}}


def spread(ms: float, by: float) -> Times:
    """Rounds whose median is exact, evenly spread around it."""
    levels = [NormalDist(ms, ms * by).inv_cdf((place + 0.5) / 401) for place in range(401)]
    rounds = tuple(np.random.default_rng(0).permutation(levels).tolist())
    return Times(len(rounds), ms, ms, ms, ms, ms, rounds)


def row(name: str, ms: float | None, sqnr_db: float, status: str = "verified", unstable: tuple[str, ...] = ()) -> Row:
    manifest = evidence(sqnr_db, status)
    if ms is None:
        return Row(name, "artifact", "m", "t", "p", "cannot run here", manifest=manifest)
    seed = sum(name.encode())
    rounds = tuple(ms * np.random.default_rng(seed).gamma(400, 1 / 400, 400))
    times = Times(400, ms, ms, ms, ms, ms, rounds)
    return Row(name, "artifact", "m", "t", "p", "ok", times=times, manifest=manifest, unstable=unstable)


def test_the_fastest_is_shipped() -> None:
    found = verdict([row("fp32", 2.0, 120.0), row("int8", 1.0, 30.0), row("slow", 4.0, 120.0)])
    assert found.startswith("ship int8 here: 0.50 of the time of fp32, 95 % [0.4")
    assert "unstable" not in found


def test_of_equals_the_more_accurate_is_shipped() -> None:
    found = verdict([row("fp32", 1.001, 120.0), row("int8", 1.0, 30.0)])
    assert found == (
        "ship fp32 here: nothing that passed is faster; no difference beyond noise from int8, which is less like the"
        " eager model"
    )


def test_an_equal_that_is_as_close_is_not_called_worse() -> None:
    found = verdict([row("onnx-fp32", 1.0, 120.0), row("ort-fp32", 1.001, 120.0), row("int8", 1.0, 30.0)])
    assert found.startswith("ship onnx-fp32 here")
    assert found.endswith(
        "no difference beyond noise from int8, which is less like the eager model"
        "; no difference beyond noise from ort-fp32, which is as close to it"
    )


def test_it_is_held_against_one_that_is_slower_beyond_noise() -> None:
    """Here x differs from the fastest, but not from the one that is shipped."""
    steady, restless, slower = (
        Row(name, "artifact", "m", "t", "p", "ok", times=spread(ms, by), manifest=evidence(sqnr_db))
        for name, ms, by, sqnr_db in (("a", 1.0, 0.02, 30.0), ("b", 1.008, 0.06, 60.0), ("x", 1.014, 0.03, 50.0))
    )
    assert verdict([steady, restless, slower]).startswith("ship b here: nothing that passed is faster")


def test_several_equals_are_all_named() -> None:
    found = verdict([row("fp32", 1.001, 120.0), row("fp16", 1.0, 60.0), row("int8", 1.0, 30.0)])
    assert found.endswith("no difference beyond noise from fp16 and int8, which are less like the eager model")


def test_what_was_rejected_is_never_shipped() -> None:
    found = verdict([row("fp32", 2.0, 120.0), row("int8", 1.0, 3.0, "rejected")])
    assert found == "ship fp32 here: nothing else ran and passed"
    assert verdict([row("int8", 1.0, 3.0, "rejected")]) == "ship none of these here: none that ran passed its gate"


def test_what_did_not_run_is_not_shipped() -> None:
    assert verdict([row("engine", None, 120.0), row("int8", 1.0, 30.0)]).startswith("ship int8 here")
    assert verdict([row("engine", None, 120.0)]).startswith("ship none of these here")


def test_verified_comes_before_inconclusive() -> None:
    assert verdict([row("fp32", 2.0, 120.0), row("int8", 1.0, 30.0, "inconclusive")]).startswith("ship fp32 here")
    found = verdict([row("fp32", 2.0, 120.0, "not gated"), row("int8", 1.0, 30.0, "not gated")])
    assert found.startswith("ship int8 here")
    assert found.endswith("its gate said not gated, none was verified")


def test_an_unstable_run_is_said_to_be_one() -> None:
    found = verdict([row("int8", 1.0, 30.0, unstable=("load",))])
    assert found.endswith("the run was unstable, so measure again when the machine is quiet")


@pytest.mark.parametrize("occupied", ["a file", "a full folder"])
def test_a_folder_that_is_occupied_is_not_touched(tmp_path: Path, occupied: str) -> None:
    keep = tmp_path / "keep"
    if occupied == "a file":
        keep.write_text("mine")
    else:
        keep.mkdir()
        (keep / "mine").write_text("mine")
    with pytest.raises(StorageError, match="is there already and not an empty folder; name another with --keep"):
        benchmark(BenchmarkRequest("mobilenetv1", weights="random", keep=keep))
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_where_nothing_can_be_built_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bar of exports that has nothing to count; what is missing is hidden from Python, which has it."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))
    progress = Progress()
    with pytest.raises(UnavailableError, match="target openvino needs openvino: pip install"):
        benchmark(BenchmarkRequest("mobilenetv1", weights="random", targets=("openvino",)), progress)
    assert not progress.elapsed_s
