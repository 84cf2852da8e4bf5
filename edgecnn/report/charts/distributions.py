"""Every counted call or turn of every row, on one axis."""

from collections.abc import Sequence

import numpy as np

from edgecnn.bench.record import Row, Run, Times
from edgecnn.bench.resample import Numbers
from edgecnn.report.charts.axes import Scale, Spec, encoding
from edgecnn.report.charts.drawing import FILL, INK, alone, colour, draw, main_precision
from edgecnn.report.columns import ms
from edgecnn.report.speed import every, median_of, of_throughput, unit

BIN = 2  # pixels of a bar
FOOT = 0.92  # of a row's place, from its top: where its bars stand


def distributions(run: Run, width: int) -> tuple[str, str]:
    """Every counted call or turn of every row on one logarithmic axis: the tail is where it was; the same in words."""
    rows = [(number, row, row.times) for number, row in enumerate(run.rows, 1) if row.times and row.times.rounds_ms]
    if not rows:
        return "", ""
    lowest = min(min(every(times, run)) for _, _, times in rows)
    highest = max(max(every(times, run)) for _, _, times in rows)
    edges = np.geomspace(lowest * 0.98, highest * 1.02, width // BIN + 1)
    bars, marks, names = [], [], []
    for place, (number, row, times) in enumerate(rows):
        bars += _histogram(every(times, run), edges, place + FOOT, colour(main_precision(row)), row.alone)
        top, foot = place + FOOT - 0.55, place + FOOT + 0.05
        marks += [{"value": value, "top": top, "foot": foot} for _, value in _middles(times, run)]
        names.append({"name": f"{number}  {row.name}{', timed alone' if row.alone else ''}", "at": place + 0.2})
    x: Spec = {
        "type": "quantitative",
        "title": "images per second, each turn" if of_throughput(run) else "milliseconds per call",
        **encoding(Scale(float(edges[0]), float(edges[-1]), logarithmic=True), width),
    }
    y: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [len(rows), 0], "nice": False}}
    spec: Spec = {
        "layer": [
            {
                "data": {"values": bars},
                "mark": "rect",
                "encoding": {
                    "x": {**x, "field": "from"},
                    "x2": {"field": "to"},
                    "y": {**y, "field": "top"},
                    "y2": {"field": "foot"},
                    "color": FILL,
                },
            },
            {
                "data": {"values": marks},
                "mark": {"type": "rule", "color": INK, "strokeWidth": 1.2},
                "encoding": {"x": {**x, "field": "value"}, "y": {**y, "field": "top"}, "y2": {"field": "foot"}},
            },
            {
                "data": {"values": names},
                "mark": {"type": "text", "align": "left", "baseline": "middle", "fontSize": 12, "limit": width},
                "encoding": {
                    "x": {"value": 0},
                    "y": {**y, "field": "at"},
                    "text": {"field": "name"},
                    "color": {"value": INK},
                },
            },
        ]
    }
    what = "Throughput of every counted turn" if of_throughput(run) else "Latency of every counted call"
    words = "; ".join(_spread(row, times, run) for _, row, times in rows)
    return draw(spec, width, 46 * len(rows)), f"{what}. {words}."


def _histogram(values: Sequence[float], edges: Numbers, foot: float, fill: str, hollow: bool) -> list[Spec]:
    """Bars of the values between edges; of a hollow one there is only the upper end."""
    counts, _ = np.histogram(values, edges)
    bars = []
    for index in np.flatnonzero(counts):
        # The square root keeps a single slow call visible beside a thousand fast ones.
        top = min(foot - 0.5 * float(np.sqrt(counts[index] / counts.max())), foot - 0.05)
        bar = {"from": edges[index], "to": edges[index + 1], "top": top, "foot": top + 0.05 if hollow else foot}
        bars.append({**bar, "fill": fill})
    return bars


def _middles(times: Times, run: Run) -> list[tuple[str, float]]:
    """What is marked of a row; twenty turns have no tail."""
    if of_throughput(run):
        return [("median", median_of(times, run))]
    tail = [("p50", times.p50_ms), ("p90", times.p90_ms), ("p99", times.p99_ms)]
    return [(name, value) for name, value in tail if value is not None]


def _spread(row: Row, times: Times, run: Run) -> str:
    said = ", ".join(f"{name} {ms(value)}" for name, value in _middles(times, run))
    slowest, turns = (min, "turns") if of_throughput(run) else (max, "calls")
    return f"{row.name}: {said}, slowest {ms(slowest(every(times, run)))} {unit(run)} of {times.n} {turns}{alone(row)}"
