import pytest

from edgecnn.bench.record import Energy, Row, Run
from edgecnn.report.columns import COLUMNS, DASH, Cell, cells, ms
from tests.made_up import ALONE, made_up_run, manifest, row, times


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
    assert found.pop("status") == Cell("failed", "failed", "no NVIDIA driver (libcuda.so.1)")
    assert {cell[:2] for cell in found.values()} == {(DASH, None)}


def test_too_few_calls_have_no_p99() -> None:
    run = made_up_run(rows={"eager": row("eager", 10.0, times=times(10.0, n=50))})
    assert named(run.rows[0], run)["p99"] == Cell(DASH, None)


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


def test_a_rejection_says_why() -> None:
    rejected = manifest(status="rejected")
    rejected["evidence"]["reasons"] = ["drop +3.00 pp"]
    run = made_up_run(rows={"small-openvino-int8": row("small-openvino-int8", 1.1, manifest=rejected)})
    assert named(run.rows[1], run)["status"] == Cell("rejected", "rejected", "drop +3.00 pp")
