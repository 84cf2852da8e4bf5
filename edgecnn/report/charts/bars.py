"""Where the time of one row goes: a bar per module."""

from edgecnn.bench.modules import Line, Part, layer_table
from edgecnn.bench.record import Row
from edgecnn.report.charts.axes import Spec
from edgecnn.report.charts.drawing import FILL, INK, QUIET, colour, draw
from edgecnn.report.columns import ms

LAYERS = 24  # bars that a reader can take in; the table below them has every kernel


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
