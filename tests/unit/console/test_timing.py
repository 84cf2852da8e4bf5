"""A run for people: what is a reference, what was timed alone, and what a machine does not say."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from edgecnn.bench.record import Energy, LayerTime, Run
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


@pytest.mark.parametrize(
    ("source", "measures"),
    [
        ("RAPL", "RAPL, all of the CPU's packages"),
        ("NVML", "NVML, all of the GPUs' boards"),
        ("Jetson rails", "Jetson rails, all of the board's"),
        ("a meter of later", "a meter of later"),
    ],
)
def test_joules_are_of_what_their_source_measures(
    capsys: pytest.CaptureFixture[str], source: str, measures: str
) -> None:
    print_run(made_up_run(rows={ENGINE: row(ENGINE, 0.2, energy=Energy(0.0123, source, ""))}))
    assert f"{ENGINE}: 12.3 mJ an image ({measures})\n" in capsys.readouterr().out


def test_a_machine_may_say_little(capsys: pytest.CaptureFixture[str]) -> None:
    print_run(made_up_run(machine_is={"gpu": {"name": "Orin"}}))
    assert "a CPU that does not say its name, ? cores; governor unknown; Orin\n" in capsys.readouterr().out


def test_threads_that_an_engine_does_not_have_are_named() -> None:
    engine = {ENGINE: row(ENGINE, 0.2, absences=ALONE)}
    said = f"--threads is for runtimes on a CPU, and does nothing to {ENGINE}"
    assert warnings(made_up_run(rows=engine)) == [said]
    assert warnings(made_up_run(rows=engine, settings=replace(SETTINGS, threads=None))) == []
    assert warnings(made_up_run()) == [], "an engine that failed has no times to doubt"


@pytest.mark.parametrize("print_table", [print_run, print_benchmark])
def test_layers_of_several_rows_are_one_table(
    print_table: Callable[[Run], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """At most twenty modules, and what the others come to: 30 of each row, which sum to its median."""
    run = made_up_run()
    print_table(run)
    lines = capsys.readouterr().out.splitlines()
    heads = next(place for place, line in enumerate(lines) if line.startswith("module"))
    assert lines[heads - 1].split() == ["small-openvino-int8", "small-onnxruntime-int8", "small-onnx-fp32"]
    assert lines[heads].split()[1:] == ["ms", "share"] * 3
    assert lines[heads + 1].startswith("features.0.0 ")
    table = [line.split()[-6:] for line in lines[heads + 1 : heads + 22]]
    assert lines[heads + 21].startswith("(10 other modules) ")
    for column, times in enumerate(made.times for made in run.rows[1:4]):
        assert times is not None
        assert sum(float(line[2 * column]) for line in table) == pytest.approx(times.p50_ms, abs=2e-3)
        assert sum(float(line[2 * column + 1].rstrip("%")) for line in table) == pytest.approx(100, abs=1.1)
    assert lines[heads + 22].endswith("ms are scaled to sum to the row's p50")


def test_of_one_row_the_kernels_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = ("Conv", "HardSigmoid", "Mul", "Add")
    layers = (*(LayerTime("0.0", kind, "int8", 0.2, 0.2) for kind in kinds), LayerTime("", "Reorder", "fp32", 0.2, 0.2))
    made = {name: row(name, 1.0, layers=()) for name in ("small-onnxruntime-int8", "small-onnx-fp32")}
    print_run(made_up_run(rows=made | {"small-openvino-int8": row("small-openvino-int8", 1.0, layers=layers)}))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    heads = lines.index(["module", "kernels", "precision", "ms", "share"])
    assert lines[heads + 1][:-2] == ["0.0", "Conv,", "HardSigmoid,", "Mul,", "...", "int8"]
    assert lines[heads + 2][:-2] == ["(reformats,", "casts", "and", "input)", "Reorder", "fp32"]
    assert [line[-1] for line in lines[heads + 1 : heads + 3]] == ["80.0%", "20.0%"]
