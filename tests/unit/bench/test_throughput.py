"""Load in turns: what is counted, and what each request of it took."""

import pytest

from edgecnn.bench.latency import FEWEST_FOR_P99
from edgecnn.bench.throughput import TURNS, flood_in_turns
from edgecnn.targets.base import Flood


def test_every_counted_turn_and_request_counts() -> None:
    turns = iter(range(TURNS + 1))

    def flood(seconds: float) -> Flood:
        slow = next(turns) == 0  # the first turn warms up
        return Flood(2.0, [900.0] * 4 if slow else [1.0] * 90 + [3.0] * 9 + [10.0], 3)

    found = flood_in_turns([("a", flood)], duration_s=1.0)
    load = found.loads["a"]
    assert found.race.rounds_ms["a"] == (20.0,) * TURNS
    assert load.batches_per_s == pytest.approx(50)
    requests = load.requests
    assert (requests.n, requests.p50_ms, requests.max_ms, requests.at_once) == (100 * TURNS, 1.0, 10.0, 3)
    assert requests.p90_ms == pytest.approx(1.2)  # between neighbours
    assert requests.p99_ms == pytest.approx(3.07)
    assert requests.mean_ms == pytest.approx(1.27)


def test_few_requests_have_no_p99() -> None:
    few = flood_in_turns([("a", lambda seconds: Flood(1.0, [1.0]))], duration_s=1.0).loads["a"].requests
    assert few.n == TURNS < FEWEST_FOR_P99
    assert few.p99_ms is None
