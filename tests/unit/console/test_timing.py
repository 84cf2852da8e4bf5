"""A run for people: what is a reference, what was timed alone, and what a machine does not say."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from edgecnn.bench.record import Run
from edgecnn.console.benchmark import print_benchmark
from edgecnn.console.timing import print_run, warnings
from tests.made_up import ALONE, SETTINGS, made_up_run, row

ENGINE = "small-tensorrt-int8"


@pytest.mark.parametrize("print_table", [print_run, print_benchmark])
def test_only_the_reference_is_as_long_as_itself(
    print_table: Callable[[Run], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that was timed alone has no ratio either, and is none."""
    print_table(made_up_run(rows={ENGINE: row(ENGINE, 0.2, absences=ALONE)}))
    lines = capsys.readouterr().out.splitlines()
    eager, engine = (next(line.split() for line in lines if line.startswith(name)) for name in ("eager", ENGINE))
    assert "1" in eager
    assert "–" in engine
    assert "1" not in engine


def test_why_there_is_no_ratio_stands_below(capsys: pytest.CaptureFixture[str]) -> None:
    print_run(made_up_run(rows={ENGINE: row(ENGINE, 0.2, absences=ALONE)}))
    said = capsys.readouterr().out
    assert f"{ENGINE}: the ratio was not measured: timed alone, not in turns with the others" in said
    assert f"{ENGINE} is" not in said, "nothing to be faster than"


def test_a_machine_may_say_little(capsys: pytest.CaptureFixture[str]) -> None:
    print_run(made_up_run(machine_is={"gpu": {"name": "Orin"}}))
    assert "a CPU that does not say its name, ? cores; governor unknown; Orin\n" in capsys.readouterr().out


def test_threads_that_an_engine_does_not_have_are_named() -> None:
    engine = {ENGINE: row(ENGINE, 0.2, absences=ALONE)}
    said = f"--threads is for runtimes on a CPU, and does nothing to {ENGINE}"
    assert warnings(made_up_run(rows=engine)) == [said]
    assert warnings(made_up_run(rows=engine, settings=replace(SETTINGS, threads=None))) == []
    assert warnings(made_up_run()) == [], "an engine that failed has no times to doubt"
