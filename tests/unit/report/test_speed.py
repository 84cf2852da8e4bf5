import msgspec
import pytest

from edgecnn.report.speed import every, median_of, of_throughput, speed, timed_alone, timed_in_turns, unit
from tests.made_up import ALONE, SETTINGS, made_up_run, row, times_of

TIMES = times_of([1.6, 2.0, 2.5] * 8)


def test_latency_is_milliseconds() -> None:
    run = made_up_run()
    assert (of_throughput(run), unit(run), median_of(TIMES, run)) == (False, "ms", 2.0)
    assert every(TIMES, run) == TIMES.rounds_ms
    found = speed(TIMES, run)
    assert found.low <= found.median <= found.high


def test_throughput_is_images_of_whole_batches_per_second() -> None:
    run = made_up_run(settings=msgspec.structs.replace(SETTINGS, mode="throughput", batch=4))
    assert (of_throughput(run), unit(run)) == (True, "images/s")
    assert median_of(TIMES, run) == pytest.approx(2000)
    assert every(TIMES, run)[:3] == pytest.approx((2500, 2000, 1600))
    found, slow = speed(TIMES, run), speed(TIMES, made_up_run())
    assert found == pytest.approx((2000, 4000 / slow.high, 4000 / slow.low))


def test_who_was_timed_with_whom() -> None:
    engine = row("small-tensorrt-int8", 0.2, absences=ALONE)
    run = made_up_run(rows={engine.name: engine})
    assert timed_alone(run) == [engine]
    assert [found.name for found in timed_in_turns(run)] == [found.name for found in run.rows[:4]]
