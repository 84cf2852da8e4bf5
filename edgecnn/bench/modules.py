"""Where the time of several rows goes, as one table by PyTorch module, for the console and the report.

Profilers slow what they profile, each runtime by another factor, and leave out what is between kernels: one runtime's
kernels came to twice its median, another's to a third of it. Shares can be compared, and milliseconds only when scaled
to the median that the row has without a profiler.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.bench.record import LayerTime, Row
from edgecnn.names import INPUT
from edgecnn.verify.coverage import REFORMATS

MOST_MODULES = 20  # that a reader can take in
NO_MODULE = ("", INPUT)  # what a runtime added, and what prepares the image
REFORMATTING = "(reformats, casts and input)"


@dataclass(frozen=True)
class Part:
    """What one line takes of one row's time.

    Args:
        ms: scaled, so that all lines together are the row's p50.
        share: of the time of all kernels of the row, 0..1.
        kinds, precisions: of its kernels, in the order that they run in.
    """

    ms: float
    share: float
    kinds: tuple[str, ...]
    precisions: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A module, or the sum of several.

    Args:
        parts: one per row; None where the runtime has no kernel of its own for it.
    """

    name: str
    parts: tuple[Part | None, ...]

    @property
    def largest(self) -> float:
        """Of its shares in the rows, 0..1."""
        return max(part.share for part in self.parts if part is not None)


@dataclass(frozen=True)
class LayerTable:
    """Lines by module, and a column per row.

    Args:
        rows: that have layers.
        modules: the largest share in any row first.
        sums: what is not a line of its own: the other modules, and what belongs to no module. May be empty.
    """

    rows: tuple[Row, ...]
    modules: tuple[Line, ...]
    sums: tuple[Line, ...]


def layer_table(rows: Sequence[Row], most: int = MOST_MODULES) -> LayerTable:
    """Every kernel of every row is in exactly one line.

    Args:
        rows: of a run; those without layers are left out.
        most: modules with a line of their own.
    """
    timed = tuple(row for row in rows if row.layers and row.times is not None)
    names = dict.fromkeys(_line_of(layer) for row in timed for layer in row.layers)
    lines = [_line(name, [name], timed) for name in names if name != REFORMATTING]
    lines.sort(key=lambda line: -line.largest)
    rest = [line.name for line in lines[most:]]
    sums = []
    if rest:
        sums.append(_line(f"({len(rest)} other module{'' if len(rest) == 1 else 's'})", rest, timed))
    if REFORMATTING in names:
        sums.append(_line(REFORMATTING, [REFORMATTING], timed))
    return LayerTable(timed, tuple(lines[:most]), tuple(sums))


def _line_of(layer: LayerTime) -> str:
    """The name of the line that a kernel counts to."""
    return REFORMATTING if layer.module in NO_MODULE or layer.kind in REFORMATS else layer.module


def _line(name: str, members: Sequence[str], rows: Sequence[Row]) -> Line:
    among = set(members)
    return Line(name, tuple(_part([layer for layer in row.layers if _line_of(layer) in among], row) for row in rows))


def _part(layers: Sequence[LayerTime], row: Row) -> Part | None:
    if not layers or row.times is None:
        return None
    whole = sum(layer.ms for layer in row.layers) or 1.0
    share = sum(layer.ms for layer in layers) / whole
    return Part(
        row.times.p50_ms * share,
        share,
        tuple(dict.fromkeys(layer.kind for layer in layers)),
        tuple(dict.fromkeys(layer.precision for layer in layers)),
    )
