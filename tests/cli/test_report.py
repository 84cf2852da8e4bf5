"""`report` and `compare`: what they write, what they refuse, and how they end."""

import importlib.util
import json
from pathlib import Path

import pytest

from edgecnn.bench.record import Run, encode
from tests.conftest import Command
from tests.made_up import MACHINE, made_up_run, manifest, row

INT8 = "small-openvino-int8"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return save(made_up_run(), tmp_path / "old.json")


def save(run: Run, path: Path) -> Path:
    path.write_bytes(encode(run))
    return path


def test_a_page_is_written_here(command: Command, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = command("report", "old.json")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("report.html  1 run, 0.")
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_nothing_is_overwritten_unasked(command: Command, old: Path, tmp_path: Path) -> None:
    out = tmp_path / "notes.html"
    out.write_text("mine")
    answer = command("report", old, "-o", out)
    assert (answer.code, answer.out) == (8, "")
    assert "--force replaces it" in answer.err
    assert out.read_text() == "mine"
    assert command("report", old, "-o", out, "--force").code == 0
    assert out.read_text("utf-8").startswith("<!doctype html>")


def test_a_run_is_never_overwritten(command: Command, old: Path) -> None:
    before = old.read_bytes()
    answer = command("report", old, "-o", old, "--force")
    assert answer.code == 2
    assert old.read_bytes() == before


@pytest.mark.parametrize("out", [".", "nowhere/report.html"])
def test_a_place_that_is_none_is_refused(command: Command, old: Path, out: str, tmp_path: Path) -> None:
    assert command("report", old, "-o", tmp_path / out, "--force").code == 8


def test_markdown_goes_to_stdout_or_a_file(command: Command, old: Path, tmp_path: Path) -> None:
    answer = command("report", old, "--markdown")
    assert answer.code == 0
    assert answer.out.startswith(f"**ship {INT8}**\n")
    out = tmp_path / "table.md"
    assert command("report", old, "--markdown", "--out", out).code == 0
    assert out.read_text("utf-8") == answer.out


def test_a_missing_extra_is_named_with_its_remedy(
    command: Command, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vl_convert" else find(name))
    answer = command("report", old, "-o", tmp_path / "report.html")
    assert answer.code == 4
    assert "vl-convert-python: pip install 'edgecnn[report]'" in answer.err
    assert not (tmp_path / "report.html").exists()
    assert command("report", old, "--markdown").code == 0  # which needs nothing


def test_what_is_no_run_is_refused(command: Command, old: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    for arguments in (
        ("report", tmp_path / "bad.json", "-o", tmp_path / "x.html"),
        ("compare", old, tmp_path / "bad.json"),
    ):
        answer = command(*arguments)
        assert (answer.code, answer.out) == (3, "")
        assert "bad.json: is no run" in answer.err


def test_a_file_that_is_not_there_is_said_in_one_line(command: Command, old: Path, tmp_path: Path) -> None:
    for arguments in (("report", tmp_path / "nw.json"), ("compare", old, tmp_path / "nw.json")):
        answer = command(*arguments)
        assert (answer.code, answer.out) == (3, "")
        assert "nw.json: no such file; expected a run that `edgecnn bench --out`" in answer.err
        assert answer.err.count("\n") == 1
        assert "Errno" not in answer.err


@pytest.mark.parametrize(
    ("new", "code", "verdict", "says"),
    [
        (made_up_run(seed=1, machine=1.3), 0, "pass", ""),
        (made_up_run({INT8: 1.1}, seed=1, machine=1.3), 6, "fail", f"{INT8}: slow-down +"),
        (made_up_run(rows={INT8: None}), 6, "fail", f"{INT8}: the row is gone"),
        (made_up_run(rows={INT8: row(INT8, 1.1, manifest=manifest(0.933, "b"))}), 6, "fail", "drop +1.00 pp"),
        (made_up_run(rows={INT8: row(INT8, 1.1, manifest=manifest(0.942, "b"))}), 0, "inconclusive", ""),
        (
            made_up_run(rows={INT8: row(INT8, 1.1, manifest=manifest(0.940, "b"))}),
            6,
            "inconclusive",
            "inconclusive: drop",
        ),
    ],
    ids=["same", "slower", "gone", "worse", "perhaps", "too much, perhaps"],
)
def test_compare_ends_by_its_gates(
    command: Command, old: Path, tmp_path: Path, new: Run, code: int, verdict: str, says: str
) -> None:
    path = save(new, tmp_path / "new.json")
    answer = command("compare", old, path)
    assert answer.code == code
    assert f"{verdict} by the gates" in answer.out
    assert answer.err == "" if not code else says in answer.err
    assert answer.err.count("\n") == (1 if code else 0)
    document = command("compare", old, path, "--json")
    assert document.code == code
    found = json.loads(document.out)
    assert found["verdict"] == verdict
    assert bool(found["rejected"]) == bool(code)
    assert found["anchor"] == "eager"


def test_the_gates_are_the_users(command: Command, old: Path, tmp_path: Path) -> None:
    slower = save(made_up_run({INT8: 1.1}, seed=1), tmp_path / "slower.json")
    assert command("compare", old, slower, "--max-slowdown", "15").code == 0
    worse = save(made_up_run(rows={INT8: row(INT8, 1.1, manifest=manifest(0.933, "b"))}), tmp_path / "worse.json")
    assert command("compare", old, worse, "--max-drop", "2").code == 0
    gone = save(made_up_run(rows={INT8: None}), tmp_path / "gone.json")
    assert command("compare", old, gone, "--allow-missing").code == 0
    assert command("compare", old, slower, "--max-slowdown", "nan").code == 2


def test_runs_of_two_machines_are_refused(command: Command, old: Path, tmp_path: Path) -> None:
    other = made_up_run(machine_is={**MACHINE, "cpu": {**MACHINE["cpu"], "model": "Other"}})
    answer = command("compare", old, save(other, tmp_path / "new.json"))
    assert (answer.code, answer.out) == (3, "")
    assert "machine's cpu.model is Made-up CPU and Other" in answer.err


def test_rows_that_are_new_are_said(command: Command, old: Path, tmp_path: Path) -> None:
    new = made_up_run(rows={"small-openvino-fp32": row("small-openvino-fp32", 3.0)})
    answer = command("compare", old, save(new, tmp_path / "new.json"))
    assert answer.code == 0
    line = next(line for line in answer.out.splitlines() if line.startswith("small-openvino-fp32"))
    assert line.split()[-1] == "added"
