import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgecnn.bench.record import Run, encode
from edgecnn.errors import InputError
from edgecnn.pipeline import Exported
from edgecnn.report.reading import flat, manifest_of, open_run
from tests.made_up import made_up_run, manifest, row, times


def save(run: Run, folder: Path) -> Path:
    path = folder / "run.json"
    path.write_bytes(encode(run))
    return path


def test_a_whole_run_is_read(tmp_path: Path) -> None:
    run = made_up_run()
    assert open_run(save(run, tmp_path)) == run


def test_a_real_manifest_is_understood(tiny_export: Callable[..., Exported]) -> None:
    """The made-up ones of these tests are only worth something if real ones read the same."""
    real = tiny_export("openvino", "int8").artifact.manifest
    found = manifest_of(msgspec.structs.replace(row("small-openvino-int8", 1.0), manifest=real))
    assert found is not None
    assert [stage.name for stage in found.evidence.stages] == ["eager", "folded", "onnx", "lowered", "compiled"]
    assert found.quantizer is not None
    assert found.quantizer.ladder[0].name == "min-max"
    assert found.coverage is not None
    assert found.coverage.int8_layers == real["coverage"]["int8_layers"] > 0
    assert {file.role for file in found.files} >= {"model.xml", "model.bin"}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"eager": msgspec.structs.replace(row("eager", 1.0), name="small-onnx-fp32")}, "two rows 'small-onnx-fp32'"),
        ({"eager": row("eager", 1.0, times=msgspec.structs.replace(times(1.0), rounds_ms=()))}, "has no rounds"),
        ({"eager": row("eager", 1.0, times=msgspec.structs.replace(times(1.0), rounds_ms=(0,)))}, r">= 1e-09 .*rounds"),
        ({"eager": row("eager", 1.0, manifest={"status": "verified"})}, "'eager': Object missing required field"),
        ({"eager": row("eager", 1.0, manifest=manifest(n=0))}, "'eager': Expected `int` >= 1"),
        ({"eager": row("eager", 1.0, times=msgspec.structs.replace(times(1.0), p50_ms=0.0))}, r">= 1e-09 .*p50_ms"),
        ({"eager": row("eager", 1.0, manifest=manifest(top1=1.5))}, r"'eager': Expected `float` <= 1.0"),
        (dict.fromkeys([made.name for made in made_up_run().rows]), "has no rows"),
    ],
    ids=["twice", "no rounds", "no time", "half a manifest", "no images", "no median", "no share", "no rows"],
)
def test_a_run_that_contradicts_itself_is_refused(rows: dict[str, object], says: str, tmp_path: Path) -> None:
    run = made_up_run(rows=rows)  # type: ignore[arg-type]  # rows of several kinds
    with pytest.raises(InputError, match=says):
        open_run(save(run, tmp_path))


def test_no_run_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(InputError, match=r"run.json: no such file; expected a run"):
        open_run(path)
    path.write_text(json.dumps({"schema": 1}))
    with pytest.raises(InputError, match="is no run"):
        open_run(path)


def test_facts_of_several_are_counted() -> None:
    assert flat({"gpus": [{"name": "T4"}, {"name": "H200", "clock": None}]}) == {
        "gpus.0.name": "T4",
        "gpus.1.name": "H200",
    }


def test_facts_are_flat() -> None:
    facts = {"cpu": {"model": "X", "isa": ["a", "b"], "empty": []}, "on": True, "off": False, "none": None, "zero": 0}
    assert flat(facts) == {"cpu.model": "X", "cpu.isa": "a, b", "on": "yes", "off": "no", "zero": "0"}
