"""Accuracy against speed: a point per row, with both intervals."""

from collections.abc import Sequence

from edgecnn.bench.record import Row, Run
from edgecnn.report.charts.axes import Scale, Spec, encoding, fitting
from edgecnn.report.charts.drawing import FILL, INK, alone, colour, draw, main_precision
from edgecnn.report.charts.labels import Point, labels
from edgecnn.report.columns import ms
from edgecnn.report.quality import quality
from edgecnn.report.speed import of_throughput, speed, unit

HEIGHT = 300  # of the plot, pixels


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
        f" {ms(fast.median)} {unit(run)} [{ms(fast.low)}, {ms(fast.high)}]{alone(row)}"
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
        {"transform": [{"filter": {"field": "alone", "equal": hollow}}], "mark": mark, "encoding": encoded}
        for hollow, mark in ((False, disc), (True, diamond))
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
