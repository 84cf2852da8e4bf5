"""One HTML page that needs nothing but itself. Jinja escapes every text; the browser is told to run nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edgecnn.bench.modules import layer_table
from edgecnn.bench.record import Row, Run
from edgecnn.errors import InputError
from edgecnn.names import __version__
from edgecnn.report.charts.bars import LAYERS, layer_bars, sum_of
from edgecnn.report.charts.distributions import distributions
from edgecnn.report.charts.drawing import NARROW, WIDE
from edgecnn.report.charts.legend import drawn_precisions
from edgecnn.report.charts.points import accuracy_against_speed
from edgecnn.report.columns import is_failure, main_table, more_table, ms, status_word
from edgecnn.report.difference import Difference, difference, time_word
from edgecnn.report.headline import headline
from edgecnn.report.machine import described
from edgecnn.report.notes import losses, of_run, remarks
from edgecnn.report.reading import manifest_of
from edgecnn.report.speed import of_throughput, timed_alone

TEMPLATE = Path(__file__).parent / "template"
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'"


def render(runs: Sequence[tuple[str, Run]]) -> str:
    """The page of one or more runs, each with the name of its file. The same runs give the same bytes.

    Of two runs the first is the older: the page begins with the other, and says what changed.

    Raises:
        InputError: a row's manifest is not what an export writes.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ms": ms,
        "described": described,
        "breakable": _breakable,
        "status_word": status_word,
        "time_word": time_word,
    }
    environment.tests["failure"] = is_failure
    style, script = ((TEMPLATE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    changed, not_comparable = _changes(runs)
    parts = [_run(index, name, run) for index, (name, run) in enumerate(runs)]
    return environment.get_template("page.html.j2").render(
        policy=f"{NOTHING}; style-src {_hash(style)}; script-src {_hash(script)}",
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        version=__version__,
        runs=list(reversed(parts)) if len(parts) == 2 else parts,
        changed=changed,
        losses=losses(changed) if changed else [],
        remarks=remarks(changed) if changed else [],
        not_comparable=not_comparable,
    )


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def _hash(text: str) -> str:
    """A source that the policy allows: this very text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _changes(runs: Sequence[tuple[str, Run]]) -> tuple[Difference | None, str]:
    if len(runs) != 2:
        return None, ""
    try:
        return difference(runs[0][1], runs[1][1]), ""
    except InputError as obstacle:
        return None, str(obstacle)


def _run(index: int, name: str, run: Run) -> dict[str, Any]:
    scatter, spread = (
        {"wide": _svg(wide), "narrow": _svg(chart(run, NARROW)[0]), "words": words}
        for chart in (accuracy_against_speed, distributions)
        for wide, words in [chart(run, WIDE)]
    )
    return {
        "id": f"run{index}",
        "file": name,
        "run": run,
        "headline": headline(run),
        "scatter": scatter,
        "spread": spread,
        "legend": drawn_precisions(run),
        "throughput": of_throughput(run),
        "alone": bool(timed_alone(run)),
        "main": main_table(run),
        "more": more_table(run),
        "notes": of_run(run),
        "rows": [_row(f"run{index}-row{number}", row) for number, row in enumerate(run.rows, 1)],
        "layers": layer_table(run.rows),
        "json": _json(run),
    }


def _row(identity: str, row: Row) -> dict[str, Any]:
    bars, words = layer_bars(row)
    return {
        "id": identity,
        "row": row,
        "manifest": manifest_of(row),
        "bars": _svg(bars),
        "words": words,
        "rest": [sum_of(line) for line in layer_table([row], LAYERS).sums],
        "layers": sorted(row.layers, key=lambda layer: -layer.ms),
    }


def _svg(text: str) -> Markup:
    return Markup(text)  # noqa: S704 - Vega escapes the data that it draws, and a test shows it hostile names


def _json(run: Run) -> Markup:
    """The run's document for a data block: nothing in it can end the block or open a comment."""
    text = msgspec.json.encode(run).decode()
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 - no sign is left that HTML knows
