"""Images per second of several candidates, each flooded with work for a while, in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecnn.bench.latency import Race

TURNS = 20  # counted ones of each candidate, so that a ratio has an interval
SHORTEST_S = 0.05  # of a turn: opening the queues must not be what is timed

# Answers batches for so many seconds; returns how many, and how long it took.
Flood = Callable[[float], tuple[int, float]]


@dataclass(frozen=True)
class Flooded:
    """What turns came to.

    Args:
        race: milliseconds per batch of every turn.
        batches_per_s: of each candidate, over all of its turns.
    """

    race: Race
    batches_per_s: dict[str, float]


def flood_in_turns(
    floods: Sequence[tuple[str, Flood]], duration_s: float, on_turn: Callable[[], object] = lambda: None
) -> Flooded:
    """Floods candidates in turns; the first turn of each warms it up and is not counted.

    Args:
        duration_s: of each candidate, all of its counted turns together.
        on_turn: called when each candidate had one more counted turn.
    """
    seconds = max(duration_s / TURNS, SHORTEST_S)
    turns: dict[str, list[tuple[int, float]]] = {name: [] for name, _ in floods}
    for turn in range(TURNS + 1):
        for name, flood in floods:
            found = flood(seconds)
            if turn:
                turns[name].append(found)
        if turn:
            on_turn()
    race = Race({name: tuple(1000 * took / count for count, took in rows) for name, rows in turns.items()})
    speed = {name: sum(count for count, _ in rows) / sum(took for _, took in rows) for name, rows in turns.items()}
    return Flooded(race, speed)
