"""Whatever number stands in a run's file, it is refused or drawn."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgecnn.bench.record import Energy, Requests, Run, encode
from edgecnn.errors import EdgecnnError
from edgecnn.report.difference import difference
from edgecnn.report.gate import Gates, judge
from edgecnn.report.markdown import markdown
from edgecnn.report.page import render
from edgecnn.report.reading import open_run
from tests.made_up import layers, made_up_run, row, times

WHOLE = row(
    "small-openvino-int8",
    1.1,
    times=times(1.1, n=20),
    requests=Requests(20, 1.0, 1.5, 2.0, 1.2, 3.0, 4),
    energy=Energy(0.1, "RAPL", ""),
    layers=layers(1.1, count=2),
)
OTHERS = {"eager": row("eager", 10.4, times=times(10.4, n=20)), "small-onnxruntime-int8": None, "small-onnx-fp32": None}
RUN = made_up_run(rows={"small-openvino-int8": WHOLE, **OTHERS})


def numbers(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where they are; of the calls' times, the first two will do."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value if len(value) < 20 else value[:2])
        for name, item in items:
            yield from numbers(item, (*place, name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place


def drawn(run: Run) -> None:
    markdown([("run.json", run)])
    render([("run.json", run)])
    for old, new in ((RUN, run), (run, RUN)):
        judge(difference(old, new), Gates(5, 0.2, True)).as_json()


@pytest.mark.parametrize("number", [0, -1, 1e-320, 1e308])
def test_any_number_in_a_run_is_refused_or_drawn(number: float, tmp_path: Path) -> None:
    document = msgspec.json.decode(encode(RUN))
    places = list(numbers(document))
    assert len(places) > 80
    path = tmp_path / "run.json"
    for place in places:
        spoilt = copy.deepcopy(document)
        inner = spoilt
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = number
        path.write_bytes(msgspec.json.encode(spoilt))
        try:
            drawn(open_run(path))
        except EdgecnnError:
            pass
        except Exception as error:
            pytest.fail(f"{number} at {place}: {error!r}")
