"""What the colours of a run's charts stand for."""

from edgecnn.bench.modules import layer_table
from edgecnn.bench.record import Run
from edgecnn.report.charts.bars import LAYERS
from edgecnn.report.charts.drawing import PRECISIONS, main_precision


def drawn_precisions(run: Run) -> list[str]:
    """Whose colours the run's charts have, for their legend; ``other`` stands for those without one of their own."""
    drawn = {main_precision(row) for row in run.rows if row.times is not None}
    for row in run.rows:
        drawn |= {part.precisions[0] for line in layer_table([row], LAYERS).modules for part in line.parts if part}
    others = ["other"] if drawn.difference(PRECISIONS) else []
    return [precision for precision in PRECISIONS if precision in drawn] + others
