"""Vega-Lite specifications drawn to static SVG. Colours are variables of the page, and follow its theme.

Names of rows and layers are data of a specification, never part of an expression.
"""

import functools
import json
import re

from edgecnn.bench.record import Row
from edgecnn.report.charts.axes import Spec

WIDE, NARROW = 540, 270  # of the plot itself, pixels: for a column of a desktop, and for a phone
VEGA_LITE = "6.4"
PRECISIONS = ("int8", "bf16", "fp16", "fp32")
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


def alone(row: Row) -> str:
    """Why it has no ratio, behind a comma: hollow marks mean it, and words must say it as well."""
    return f", {row.absences['ratio']}" if row.alone else ""
