"""How fast a row is: milliseconds per call, or images per second where a run was of throughput, turn by turn.

The times of a run of throughput are averages over all calls of a turn, of which many ran at once; what a single request
took under that load stands beside them (``Row.requests``).
"""

from collections.abc import Sequence
from typing import NamedTuple

from edgecnn.bench.record import Row, Run, Times
from edgecnn.bench.resample import median_interval
from edgecnn.names import THROUGHPUT


class Speed(NamedTuple):
    """The median with its 95 % interval, in the unit of the run."""

    median: float
    low: float
    high: float


def of_throughput(run: Run) -> bool:
    """Whether its times are of turns with many calls at once."""
    return run.settings.mode == THROUGHPUT


def unit(run: Run) -> str:
    """Of all that this module answers."""
    return "images/s" if of_throughput(run) else "ms"


def median_of(times: Times, run: Run) -> float:
    """Of the calls, ms; of the turns, images/s."""
    return _rates([times.p50_ms], run)[0] if of_throughput(run) else times.p50_ms


def speed(times: Times, run: Run) -> Speed:
    """The median as above, and its interval by blocks of neighbouring rounds."""
    bounds = median_interval(times.rounds_ms)
    low, high = sorted(_rates(bounds, run)) if of_throughput(run) else bounds
    return Speed(median_of(times, run), low, high)


def every(times: Times, run: Run) -> tuple[float, ...]:
    """Every counted call, ms; or every turn, images/s."""
    return _rates(times.rounds_ms, run) if of_throughput(run) else times.rounds_ms


def timed_in_turns(run: Run) -> list[Row]:
    """Rows that may be held against each other."""
    return [row for row in run.rows if row.times is not None and not row.alone]


def timed_alone(run: Run) -> list[Row]:
    """Rows that may be held against none."""
    return [row for row in run.rows if row.times is not None and row.alone]


def _rates(per_batch_ms: Sequence[float], run: Run) -> tuple[float, ...]:
    return tuple(1000 * run.settings.batch / value for value in per_batch_ms)
