import msgspec
import pytest

from edgecnn.bench.record import Energy, Requests, Row, Run
from edgecnn.report.columns import (
    COLUMNS,
    DASH,
    MORE,
    Cell,
    cells,
    is_failure,
    main_table,
    more_cells,
    more_table,
    ms,
    status_word,
)
from edgecnn.report.notes import of_run
from tests.made_up import ALONE, SETTINGS, made_up_run, manifest, row, times


def named(of: Row, run: Run) -> dict[str, Cell]:
    return dict(zip([column.key for column in COLUMNS], cells(of, run), strict=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (0.9, "0.900"), (9.8765, "9.877"), (98.765, "98.77"), (987.65, "987.6"), (9876.5, "9,876")],
)
def test_four_digits(value: float, text: str) -> None:
    assert ms(value) == text


def test_a_row_cell_by_cell() -> None:
    run = made_up_run()
    timed = run.rows[1].times
    assert timed is not None
    found = named(run.rows[1], run)
    assert found["p50"].value == timed.p50_ms
    assert found["status"].text == "verified"
    assert found["accuracy"] == Cell("94.30", 0.943, "n=1,000")
    assert found["drop"] == Cell("-0.10", -0.1, "-0.40 to +0.20")
    assert found["ratio"].detail == "0.105–0.107"
    assert found["runs"].text == "int8 98 %, fp32 2 %"
    assert found["size"] == Cell("2.500", 2_500_000, "")
    assert found["energy"] == Cell("not measurable", None)


def test_what_is_not_known_is_a_dash_and_never_a_zero() -> None:
    run = made_up_run()
    found = named(run.rows[-1], run)
    assert found.pop("status") == Cell("failed", "failed")
    assert {cell[:2] for cell in found.values()} == {(DASH, None)}
    assert set(more_cells(run.rows[-1])) == {Cell(DASH, None)}


def test_too_few_calls_have_no_p99() -> None:
    run = made_up_run(rows={"eager": row("eager", 10.0, times=times(10.0, n=50))})
    assert named(run.rows[0], run)["p99"] == Cell("few n", None)


def test_the_first_row_is_what_the_others_are_held_against() -> None:
    run = made_up_run()
    assert named(run.rows[0], run)["ratio"][:2] == ("1", 1.0)


def test_the_reference_is_the_first_row_that_was_timed() -> None:
    failed = Row("eager", "eager", "small", "torch", "fp32", "out of memory")
    run = made_up_run(rows={"eager": failed, "small-openvino-int8": row("small-openvino-int8", 1.1)})
    assert named(run.rows[0], run)["ratio"][:2] == (DASH, None)
    assert named(run.rows[1], run)["ratio"][:2] == ("1", 1.0)


def test_a_row_that_was_timed_alone_is_no_reference() -> None:
    engine = row("small-tensorrt-int8", 0.2, absences=ALONE)
    run = made_up_run(rows={"small-tensorrt-int8": engine}, verdict="")
    assert named(run.rows[-1], run)["ratio"][:2] == (DASH, None)
    only = made_up_run(rows=dict.fromkeys([made.name for made in run.rows]) | {"small-tensorrt-int8": engine})
    assert only.reference is None
    assert named(only.rows[0], only)["ratio"][:2] == (DASH, None)


def test_measured_energy_names_its_source() -> None:
    run = made_up_run(rows={"eager": row("eager", 10.0, energy=Energy(0.0123, "RAPL", ""))})
    assert named(run.rows[0], run)["energy"] == Cell("12.30", 0.0123, "RAPL")


NO_DRIVER = "there is no NVIDIA driver (libcuda.so.1)"


@pytest.mark.parametrize(
    ("last_check", "executed", "status", "word", "failure"),
    [
        ("verified", True, "ok", "verified", False),
        ("verified", False, NO_DRIVER, "verified, not run", False),
        ("verified", True, NO_DRIVER, "verified, not timed", False),
        ("not gated", True, "ok", "not gated", False),
        ("rejected", True, "ok", "rejected", True),
        ("rejected", False, NO_DRIVER, "rejected, not run", True),
        (None, True, "ok", "ok", False),
        (None, True, "not built: no memory", "failed", True),
    ],
)
def test_a_status_is_one_word_for_everybody(
    last_check: str | None, executed: bool, status: str, word: str, failure: bool
) -> None:
    known = None
    if last_check is not None:
        known = manifest(status=last_check)
        known["evidence"]["executed"] = executed
    made = row("small-tensorrt-int8", 1.0, status=status, manifest=known)
    assert status_word(made) == word
    assert is_failure(word) == failure


def test_p50_and_ratio_stand_first() -> None:
    keys = [column.key for column in main_table(made_up_run()).columns]
    assert keys[:3] == ["p50", "ratio", "status"]


def test_throughput_has_a_rate_and_no_latencies() -> None:
    run = made_up_run(settings=msgspec.structs.replace(SETTINGS, mode="throughput"))
    table = main_table(run)
    assert [column.key for column in table.columns][:3] == ["rate", "ratio", "status"]
    assert table.rows[0][0] == Cell("95.70", run.rows[0].images_per_s)
    keys = {column.key for column in (*table.columns, *more_table(run).columns)}
    assert keys.isdisjoint({"p50", "p90", "p99", "mean", "min", "max"})
    assert not any("p99" in words for note in of_run(run) for words in note.words)


def test_requests_under_load_have_their_columns() -> None:
    requests = Requests(n=40, p50_ms=1.5, p90_ms=2.5, p99_ms=None, mean_ms=1.75, max_ms=12.0, at_once=4)
    flooded = row("eager", 10.0, requests=requests)
    run = made_up_run(rows={"eager": flooded}, settings=msgspec.structs.replace(SETTINGS, mode="throughput"))
    table = main_table(run)
    keys = [column.key for column in table.columns]
    assert "request50" in keys
    assert "request99" not in keys  # no row has one
    assert table.rows[0][keys.index("request50")] == Cell("1.500", 1.5)
    found = dict(zip([column.key for column in MORE], more_cells(flooded), strict=True))
    assert [found[key].text for key in ("at_once", "request90", "request_max")] == ["4", "2.500", "12.00"]
    many = msgspec.structs.replace(flooded, requests=msgspec.structs.replace(requests, n=400, p99_ms=9.0))
    assert "request99" in [column.key for column in main_table(made_up_run(rows={"eager": many})).columns]


def test_a_column_without_a_value_is_left_out() -> None:
    """Energy that no row could measure is one note, and not a word in every row."""
    run = made_up_run()
    table = main_table(run)
    assert "energy" not in [column.key for column in table.columns]
    assert {len(found) for found in table.rows} == {len(table.columns)}
    measured = made_up_run(rows={"eager": row("eager", 10.0, energy=Energy(0.0123, "RAPL", ""))})
    assert main_table(measured).columns[-1].key == "energy"
    nothing = made_up_run(rows={made.name: None for made in run.rows[:-1]})
    assert [column.key for column in main_table(nothing).columns] == ["status"]
    assert more_table(nothing).columns == ()


def test_the_other_figures_are_a_table_too() -> None:
    run = made_up_run()
    timed = run.rows[1].times
    assert timed is not None
    found = dict(zip([column.key for column in MORE], more_cells(run.rows[1]), strict=True))
    assert found["n"] == Cell("150", 150)
    assert found["mean"].value == timed.mean_ms
    assert (found["min"].value, found["max"].value) == (timed.min_ms, max(timed.rounds_ms))
    assert (found["load"].value, found["first"].value) == (400.0, 3.0)
    assert found["memory"] == Cell("35.00", 35_000_000)
    assert found["peak"] == Cell("41.7", 50 / 120, "int8")
