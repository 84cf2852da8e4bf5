"""Charts as Vega-Lite specifications, drawn to static SVG. Colours are the page's variables, and follow its theme.

Names of rows and layers are data of a specification, never part of an expression.
"""

import functools
import json
import re
from collections.abc import Sequence

import numpy as np

from edgecnn.bench.modules import Line, Part, layer_table
from edgecnn.bench.record import Row, Run, Times
from edgecnn.bench.resample import Numbers
from edgecnn.report.axes import Scale, Spec, encoding, fitting
from edgecnn.report.columns import ms
from edgecnn.report.labels import Point, labels
from edgecnn.report.quality import quality
from edgecnn.report.speed import every, median_of, of_throughput, speed, unit

WIDE, NARROW = 540, 270  # of the plot itself, pixels: for a column of a desktop, and for a phone
HEIGHT = 300  # of the plot of points, pixels
VEGA_LITE = "6.4"
PRECISIONS = ("int8", "bf16", "fp16", "fp32")
LAYERS = 24  # bars that a reader can take in; the table below them has every kernel
BIN = 2  # pixels of a distribution's bar
FOOT = 0.92  # of a distribution's place, from its top: where its bars stand
PATH, DIGITS = re.compile(r' d="[^"]*"'), re.compile(r"(\.\d\d)\d+")
INK, QUIET, RULE = "var(--ink)", "var(--quiet)", "var(--rule)"
FILL: Spec = {"field": "fill", "type": "nominal", "scale": None}
CONFIG: Spec = {
    "font": "Arial, Helvetica, Liberation Sans, sans-serif",
    "background": None,
    "view": {"stroke": None},
    "mark": {"aria": False},  # but for those that say something
    "axis": {
        "aria": False,
        "labelColor": QUIET,
        "titleColor": QUIET,
        "gridColor": RULE,
        "domainColor": RULE,
        "tickColor": RULE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
    },
}


@functools.lru_cache(maxsize=256)
def _draw(text: str) -> str:
    import vl_convert

    svg = str(vl_convert.vegalite_to_svg(text, vl_version=VEGA_LITE))
    # A hundredth of a pixel is enough.
    return PATH.sub(lambda path: DIGITS.sub(r"\1", path[0]), svg)


def draw(spec: Spec, width: int, height: int) -> str:
    """SVG text. The same specification gives the same bytes."""
    whole = {"width": width, "height": height, "config": CONFIG, "padding": 2, **spec}
    return _draw(json.dumps(whole, sort_keys=True))


def colour(precision: str) -> str:
    """A variable of the page's style; names that are not known here share one."""
    return f"var(--{precision if precision in PRECISIONS else 'other'})"


def main_precision(row: Row) -> str:
    """That most of its work runs in, as far as its runtime says."""
    return max(row.executed, key=lambda name: row.executed[name]) if row.executed else row.precision


def drawn_precisions(run: Run) -> list[str]:
    """Whose colours the run's charts have, for their legend; ``other`` stands for those without one of their own."""
    drawn = {main_precision(row) for row in run.rows if row.times is not None}
    for row in run.rows:
        drawn |= {part.precisions[0] for line in layer_table([row], LAYERS).modules for part in line.parts if part}
    others = ["other"] if drawn.difference(PRECISIONS) else []
    return [precision for precision in PRECISIONS if precision in drawn] + others


def accuracy_against_speed(run: Run, width: int) -> tuple[str, str]:
    """The chart and what it says in words; both empty where no row has both.

    Horizontal bars are 95 % intervals of the median call or turn, vertical ones of the accuracy. Shares of different
    images, or of different things, do not stand on one axis: the commonest are drawn, and the words say which rows are
    not. Rows that were timed alone are hollow.
    """
    points = [point for number, row in enumerate(run.rows, 1) for point in _point(str(number), row, run)]
    if not points:
        return "", ""
    groups = [point["group"] for point in points]
    points = [point for point in points if point["group"] == max(groups, key=groups.count)]
    measure, drawn = points[0]["group"][0], {point["number"] for point in points}
    title = "images per second, median turn" if of_throughput(run) else "median latency, ms"
    across = fitting(min(point["low"] for point in points), max(point["high"] for point in points))
    up = _room(min(point["below"] for point in points), max(point["above"] for point in points))
    x: Spec = {"field": "speed", "type": "quantitative", "title": title, **encoding(across, width)}
    y: Spec = {
        "field": "percent",
        "type": "quantitative",
        "title": f"{measure}, %",
        "scale": {"domain": [up.low, up.high], "zero": False, "nice": False},
        "axis": {"tickCount": 6},
    }
    numbers = [Point(point["number"], across.share(point["speed"]), up.share(point["percent"])) for point in points]
    layers = [*_intervals(x, y), *_marks(x, y), *_numbers(x, y, _placed(numbers, across, up, width))]
    absent = [row.name for number, row in enumerate(run.rows, 1) if str(number) not in drawn]
    against = "throughput in the median turn" if of_throughput(run) else "median latency"
    words = f"{points[0]['axis']} against {against}. {'. '.join(point['says'] for point in points)}."
    words += f" Not drawn: {', '.join(absent)}." if absent else ""
    return draw({"data": {"values": points}, "layer": layers}, width, HEIGHT), words


def _point(number: str, row: Row, run: Run) -> list[Spec]:
    """None for a row without times or without accuracy."""
    found = quality(row, run)
    if row.times is None or found is None:
        return []
    fast = speed(row.times, run)
    below, above = (100 * bound for bound in found.ci95 or (found.value, found.value))
    says = (
        f"{row.name}: {100 * found.value:.2f} % [{below:.2f}, {above:.2f}],"
        f" {ms(fast.median)} {unit(run)} [{ms(fast.low)}, {ms(fast.high)}]{_alone(row)}"
    )
    point = {
        "number": number,
        "axis": f"{found.measure} on {found.n:,} images of {found.images.name}",
        "group": [found.measure, found.images.sha256],
        "speed": fast.median,
        "low": fast.low,
        "high": fast.high,
        "percent": 100 * found.value,
        "below": below,
        "above": above,
        "fill": colour(main_precision(row)),
        "alone": row.alone,
        "says": says,
    }
    return [point]


def _alone(row: Row) -> str:
    """Why it has no ratio, behind a comma: hollow marks mean it, and words must say it as well."""
    return f", {row.absences['ratio']}" if row.alone else ""


def _room(low: float, high: float) -> Scale:
    """An axis of percentages."""
    margin = 0.06 * (high - low) or 0.5
    return Scale(max(0.0, low - margin), min(100.0, high + margin))


def _intervals(x: Spec, y: Spec) -> list[Spec]:
    """A bar across, with ends so that each can be told from its neighbours', and one upwards."""
    bar = {"type": "rule", "strokeWidth": 2, "opacity": 0.7}
    end = {"type": "tick", "orient": "vertical", "size": 8, "thickness": 2, "opacity": 0.7}
    return [
        {"mark": bar, "encoding": {"x": x, "y": {**y, "field": "below"}, "y2": {"field": "above"}, "color": FILL}},
        {"mark": bar, "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, "color": FILL}},
        *({"mark": end, "encoding": {"x": {**x, "field": field}, "y": y, "color": FILL}} for field in ("low", "high")),
    ]


def _marks(x: Spec, y: Spec) -> list[Spec]:
    """Discs, and hollow diamonds for rows that were timed alone."""
    both = {"type": "point", "opacity": 1, "aria": True}
    disc: Spec = {**both, "filled": True, "size": 70}
    diamond: Spec = {**both, "filled": False, "shape": "diamond", "size": 90, "strokeWidth": 2, "fill": "var(--back)"}
    encoded = {"x": x, "y": y, "color": FILL, "description": {"field": "says"}}
    return [
        {"transform": [{"filter": {"field": "alone", "equal": alone}}], "mark": mark, "encoding": encoded}
        for alone, mark in ((False, disc), (True, diamond))
    ]


def _placed(shares: Sequence[Point], across: Scale, up: Scale, width: int) -> list[Spec]:
    """Labels of points, both by their shares of the plot, where they do not overlap: in the units of the axes."""
    pixels = [Point(point.text, width * point.x, HEIGHT * (1 - point.y)) for point in shares]
    return [
        {"number": label.text, "speed": across.value(label.x / width), "percent": up.value(1 - label.y / HEIGHT)}
        for label in labels(pixels, width, HEIGHT)
    ]


def _numbers(x: Spec, y: Spec, placed: list[Spec]) -> list[Spec]:
    """Each twice: a rim in the page's colour keeps the bars behind it out of the digits."""
    text = {"type": "text", "align": "left", "baseline": "middle", "fontSize": 13, "fontWeight": "bold"}
    encoded = {"x": x, "y": y, "text": {"field": "number"}, "color": {"value": INK}}
    return [
        {"data": {"values": placed}, "mark": {**text, **rim}, "encoding": encoded}
        for rim in ({"stroke": "var(--back)", "strokeWidth": 3}, {})
    ]


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
    return f"{row.name}: {said}, slowest {ms(slowest(every(times, run)))} {unit(run)} of {times.n} {turns}{_alone(row)}"


def layer_bars(row: Row) -> tuple[str, str]:
    """The costliest modules of a row, in milliseconds that sum with the others to its p50; and the same in words.

    What is no single module has words and no bar: the sum of all others would set the scale, and squash the rest.
    """
    table = layer_table([row], LAYERS)
    if not table.rows or row.times is None:
        return "", ""
    bars = [
        {
            "place": place,
            "name": line.name,
            "ms": part.ms,
            "text": ms(part.ms),
            "fill": colour(part.precisions[0]),
            "says": f"{line.name} {', '.join(part.kinds)} {', '.join(part.precisions)}: {_time(part)}",
        }
        for place, line in enumerate(table.modules)
        for part in line.parts
        if part is not None
    ]
    y: Spec = {"field": "place", "type": "ordinal", "axis": None}
    x: Spec = {"field": "ms", "type": "quantitative", "axis": None, "scale": {"nice": False}}
    spec: Spec = {
        # Fonts differ: what is a little wider than it was measured is not cut off.
        "padding": {"left": 22, "right": 12, "top": 2, "bottom": 2},
        "data": {"values": bars},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}, "aria": True},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": FILL,
                    "description": {"field": "says"},
                },
            },
            {
                "mark": {"type": "text", "align": "right", "baseline": "middle", "fontSize": 12, "limit": 140},
                "encoding": {"x": {"value": -6}, "y": y, "text": {"field": "name"}, "color": {"value": INK}},
            },
            {
                "mark": {"type": "text", "align": "left", "baseline": "middle", "fontSize": 12, "dx": 4},
                "encoding": {"x": x, "y": y, "text": {"field": "text"}, "color": {"value": QUIET}},
            },
        ],
    }
    said = [str(bar["says"]) for bar in bars[:8]] + [sum_of(line) for line in table.sums]
    words = f"Milliseconds by module, of {ms(row.times.p50_ms)} ms. {'; '.join(said)}."
    return draw(spec, 130, 20 * len(bars)) if bars else "", words


def sum_of(line: Line) -> str:
    """What is no bar, of a table of one row: ``5 other modules: 0.200 ms, 12.0 %``."""
    return "; ".join(f"{line.name.strip('()')}: {_time(part)}" for part in line.parts if part is not None)


def _time(part: Part) -> str:
    return f"{ms(part.ms)} ms, {100 * part.share:.1f} %"
