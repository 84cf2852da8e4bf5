"""The run in one sentence, which crowns nobody whom noise may have put first."""

from collections.abc import Sequence

from edgecnn.bench.latency import Race
from edgecnn.bench.record import Row, Run
from edgecnn.bench.steady import UNSTABLE
from edgecnn.report.columns import ms
from edgecnn.report.speed import median_of, of_throughput, timed_alone, timed_in_turns, unit


def headline(run: Run) -> str:
    """The run's own verdict, else which row is the fastest beyond noise, or which cannot be told apart."""
    if run.verdict:
        return run.verdict
    rows, alone = timed_in_turns(run), timed_alone(run)
    if rows:
        left_out = f"; timed alone and not ranked: {_figures(alone, run)}" if alone else ""
        return f"{_ranking(rows, run)}{left_out}."
    return f"Timed alone and not ranked: {_figures(alone, run)}." if alone else "Nothing could be timed."


def _ranking(rows: Sequence[Row], run: Run) -> str:
    fastest, *equals = _leaders(rows)
    unstable = UNSTABLE if any(row.unstable for row in (fastest, *equals)) else ""
    middle = "in the median turn" if of_throughput(run) else "at the median"
    if len(rows) == 1:
        return f"{_figures(rows, run)} {middle}{unstable}"
    best = "has the highest throughput" if of_throughput(run) else "is the fastest"
    if not equals:
        return f"{fastest.name} {best} of {len(rows)}: {_figure(fastest, run)} {middle}{unstable}"
    # Each was held against the fastest, and not against each other.
    others = " or ".join(_figures([row], run) for row in equals)
    among = f", the fastest of {len(rows)}" if len(equals) + 1 < len(rows) else ""
    return f"No difference beyond noise between {_figures([fastest], run)} and {others} {middle}{among}{unstable}"


def _leaders(rows: Sequence[Row]) -> list[Row]:
    """The fastest, and behind it those that do not differ from it beyond noise."""
    race = Race({row.name: row.times.rounds_ms for row in rows if row.times is not None})
    named = {row.name: row for row in rows}
    return [named[name] for name in race.leaders(list(named))]


def _figures(rows: Sequence[Row], run: Run) -> str:
    return ", ".join(f"{row.name} ({_figure(row, run)})" for row in rows)


def _figure(row: Row, run: Run) -> str:
    return "" if row.times is None else f"{ms(median_of(row.times, run))} {unit(run)}"
