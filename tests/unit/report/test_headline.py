from typing import Any

import msgspec
import pytest

from edgecnn.bench.record import Row, Run
from edgecnn.bench.steady import UNSTABLE
from edgecnn.report.columns import ms
from edgecnn.report.headline import headline
from edgecnn.report.markdown import markdown
from edgecnn.report.page import render
from tests.made_up import ALONE, SETTINGS, made_up_run, row, times, times_of

THROUGHPUT = msgspec.structs.replace(SETTINGS, mode="throughput", batch=4)


def run_of(*rows: Row, **changes: Any) -> Run:
    return msgspec.structs.replace(made_up_run(verdict=""), rows=rows, **changes)


def median(of: Row) -> str:
    assert of.times is not None
    return ms(of.times.p50_ms)


INT8 = row("small-openvino-int8", 1.1, seed=1)
LIKE_IT = row("small-onnxruntime-int8", 1.105, seed=2)
SLOWER = row("small-onnx-fp32", 9.7, seed=3)


def test_the_runs_own_verdict_comes_first() -> None:
    assert headline(made_up_run()) == "ship small-openvino-int8"


def test_the_fastest_is_named_where_it_differs_beyond_noise() -> None:
    words = f"small-openvino-int8 is the fastest of 2: {median(INT8)} ms at the median."
    assert headline(run_of(SLOWER, INT8)) == words


def test_nobody_is_the_fastest_of_equals() -> None:
    first, second = sorted((INT8, LIKE_IT), key=lambda found: found.times.p50_ms)  # type: ignore[union-attr]
    words = (
        f"No difference beyond noise between {first.name} ({median(first)} ms) and {second.name} ({median(second)} ms)"
    )
    assert headline(run_of(INT8, LIKE_IT)) == f"{words} at the median."
    assert headline(run_of(SLOWER, INT8, LIKE_IT)) == f"{words} at the median, the fastest of 3."


def test_the_page_and_a_pull_request_say_the_same() -> None:
    run = run_of(INT8, LIKE_IT)
    assert headline(run) in render([("run.json", run)])
    assert "No difference beyond noise" in markdown([("run.json", run)])


def test_an_unstable_run_says_so_where_it_matters() -> None:
    busy: dict[str, Any] = {"unstable": ("load: other processes used 65% of the processor time",)}
    shaky = row("small-openvino-int8", 1.1, seed=1, **busy)
    assert headline(run_of(SLOWER, shaky)).endswith(f"{UNSTABLE}.")
    assert "unstable" in headline(run_of(INT8, row("small-onnxruntime-int8", 1.105, seed=2, **busy)))
    assert "unstable" not in headline(run_of(INT8, row("small-onnx-fp32", 9.7, **busy)))


def test_who_was_timed_alone_is_not_ranked() -> None:
    engine = row("small-tensorrt-int8", 0.2, absences=ALONE)
    words = headline(run_of(SLOWER, INT8, engine))
    assert words.startswith("small-openvino-int8 is the fastest of 2: ")
    assert words.endswith(f"; timed alone and not ranked: small-tensorrt-int8 ({median(engine)} ms).")
    assert headline(run_of(engine)) == f"Timed alone and not ranked: small-tensorrt-int8 ({median(engine)} ms)."


def test_one_row_is_not_the_fastest_of_anything() -> None:
    assert headline(run_of(INT8)) == f"small-openvino-int8 ({median(INT8)} ms) at the median."


def test_throughput_is_images_per_second() -> None:
    """At a batch of four, turns of 2 ms per call are 2,000 images a second."""
    turns = times_of([1.9, 2.0, 2.1] * 6)
    fast, slow = (
        row(name, 1.0, times=msgspec.structs.replace(turns, rounds_ms=tuple(factor * ms for ms in turns.rounds_ms)))
        for name, factor in (("small-openvino-int8", 1.0), ("small-onnx-fp32", 3.0))
    )
    words = headline(run_of(fast, slow, settings=THROUGHPUT))
    assert words == "small-openvino-int8 has the highest throughput of 2: 2,000 images/s in the median turn."
    assert headline(run_of(fast, settings=THROUGHPUT)) == "small-openvino-int8 (2,000 images/s) in the median turn."


@pytest.mark.parametrize("n", [20, 3000])
def test_the_same_rounds_give_the_same_words(n: int) -> None:
    run = run_of(*(row(name, 1.0, times=times(1.0, n, seed)) for seed, name in enumerate(["eager", "a-b-int8"])))
    assert headline(run) == headline(run)


def test_nothing_timed() -> None:
    assert headline(run_of(made_up_run().rows[-1])) == "Nothing could be timed."
