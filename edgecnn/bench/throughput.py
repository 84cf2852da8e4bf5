"""Images per second of several candidates, each flooded with work for a while, in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgecnn.bench.latency import Race, distribution
from edgecnn.bench.record import Requests
from edgecnn.targets.base import Flood

TURNS = 20  # counted ones of each candidate, so that a ratio has an interval
SHORTEST_S = 0.05  # of a turn: opening the queues must not be what is timed


@dataclass(frozen=True)
class Load:
    """What came of a candidate's load over all of its turns."""

    batches_per_s: float
    requests: Requests


@dataclass(frozen=True)
class Flooded:
    """What turns came to.

    Args:
        race: milliseconds per batch of every turn.
        loads: by candidate.
    """

    race: Race
    loads: dict[str, Load]


def flood_in_turns(
    floods: Sequence[tuple[str, Callable[[float], Flood]]],
    duration_s: float,
    on_turn: Callable[[], object] = lambda: None,
) -> Flooded:
    """Floods candidates in turns; the first turn of each warms it up and is not counted.

    Args:
        floods: each answers batches for so many seconds.
        duration_s: of each candidate, all of its counted turns together.
        on_turn: called when each candidate had one more counted turn.
    """
    seconds = max(duration_s / TURNS, SHORTEST_S)
    turns: dict[str, list[Flood]] = {name: [] for name, _ in floods}
    for turn in range(TURNS + 1):
        for name, flood in floods:
            found = flood(seconds)
            if turn:
                turns[name].append(found)
        if turn:
            on_turn()
    race = Race({name: tuple(1000 / flood.per_s for flood in rows) for name, rows in turns.items()})
    return Flooded(race, {name: _load(rows) for name, rows in turns.items()})


def _load(turns: Sequence[Flood]) -> Load:
    ms = np.concatenate([flood.requests_ms for flood in turns])
    return Load(
        batches_per_s=len(ms) / sum(flood.seconds for flood in turns),
        requests=Requests(*distribution(ms), round(float(ms.max()), 4), max(flood.at_once for flood in turns)),
    )
