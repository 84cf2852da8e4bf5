"""A run survives its file, and nothing else is taken for one."""

from pathlib import Path

import msgspec
import pytest

from edgecnn.bench.record import SCHEMA, Ratio, Row, Run, Settings, Times, encode, read_run
from edgecnn.errors import InputError

SETTINGS = Settings("latency", 2, 1, 5.0, "golden pairs")
TIMES = Times(3, 1.0, 1.5, None, 1.2, 0.9, (0.9, 1.0, 1.7))
RUN = Run(
    SCHEMA,
    "bench",
    "0.1.0",
    "2026-01-02T03:04:05Z",
    {"cpu": {"model": "some CPU", "flags": ["avx512_vnni"]}},
    SETTINGS,
    (
        Row("a", "artifact", "mobilenetv2", "onnx", "fp32", "ok", times=TIMES, manifest={"status": "verified"}),
        Row("b", "eager", "mobilenetv2", "torch", "fp32", "ok", times=TIMES, ratio=Ratio("a", 1.0, (0.9, 1.1))),
    ),
)


def test_a_run_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(encode(RUN))
    assert read_run(path) == RUN


def test_a_name_that_is_no_unicode_loses_no_run(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    row = msgspec.structs.replace(RUN.rows[0], name="c\udcff", manifest={"set": "c\udcff"})
    path.write_bytes(encode(msgspec.structs.replace(RUN, rows=(row,))))
    found = read_run(path).rows[0]
    assert (found.name, found.manifest) == ("c?", {"set": "c?"})


def test_an_older_run_is_read(tmp_path: Path) -> None:
    """One from before rows said why a figure is not there."""
    path = tmp_path / "run.json"
    document = msgspec.json.decode(encode(RUN))
    for row in document["rows"]:
        del row["absences"]
    path.write_bytes(msgspec.json.encode(document))
    assert read_run(path) == RUN


def test_one_reason_is_said_once() -> None:
    row = Row("a", "artifact", "m", "onnx", "fp32", "ok", absences={"load_ms": "x", "memory_bytes": "x", "ratio": "y"})
    assert row.unmeasured == ("load time and memory were not measured: x", "the ratio was not measured: y")
    assert RUN.rows[0].unmeasured == ()


def test_the_reference_is_the_first_row_that_was_timed_in_turns() -> None:
    alone = msgspec.structs.replace(RUN.rows[0], absences={"ratio": "timed alone"})
    failed = msgspec.structs.replace(RUN.rows[0], times=None, status="out of memory")
    first, second = RUN.rows
    for rows, reference in (((first, second), first), ((failed, alone, second), second), ((failed, alone), None)):
        assert msgspec.structs.replace(RUN, rows=rows).reference is reference


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b"\xff", encode(RUN).replace(b'"rows"', b'"columns"'), encode(RUN)[:-20]],
    ids=["empty", "no keys", "a list", "no text", "another key", "cut off"],
)
def test_nothing_else_is_taken_for_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"run.json: is no run that `edgecnn bench --out` wrote"):
        read_run(path)


def test_another_schema_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(encode(msgspec.structs.replace(RUN, schema=SCHEMA + 1)))
    with pytest.raises(InputError, match=f"has schema {SCHEMA + 1}, this edgecnn reads {SCHEMA}"):
        read_run(path)
