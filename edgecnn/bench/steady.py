"""Whether times can be trusted: how they spread and drift, and what the machine did meanwhile."""

from collections.abc import Sequence

import numpy as np

from edgecnn.bench.machine import Snapshot, throttled
from edgecnn.bench.slowed import Slowed, in_words

SPREAD = 0.15  # of the middle half, against the median
DRIFT = 0.10  # between the medians of both halves of a run
OTHERS = 0.10  # of all processor time, spent by other processes or taken by other guests of the host
CLOCK = 0.05  # change of the mean clock
UNSTABLE = "; the run was unstable, so measure again when the machine is quiet"  # of a sentence that ranks rows


def unsteady_times(ms: Sequence[float], settled: bool, rounds: str = "calls") -> list[str]:
    """Why one candidate's times should not be trusted; empty if nothing speaks against them.

    Args:
        ms: of each counted round, in order.
        settled: whether they became level while warming up.
        rounds: what they are called.
    """
    low, median, high = (float(value) for value in np.percentile(ms, (25, 50, 75)))
    first, second = (float(np.median(half)) for half in np.array_split(np.array(ms), 2))
    reasons = [] if settled else ["never became level while warming up"]
    if high - low > SPREAD * median:
        reasons.append(f"spread: the middle half of the {rounds} is {(high - low) / median:.0%} of the median wide")
    if abs(second - first) > DRIFT * first:
        reasons.append(f"drift: the second half of the run took {second / first - 1:+.0%}")
    return reasons


def unsteady_machine(before: Snapshot, after: Snapshot) -> list[str]:
    """What the machine did between two looks that no candidate of this process is to blame for."""
    reasons = []
    whole = after.total_s - before.total_s
    if whole > 0:
        ours = after.process_s - before.process_s
        others = max(after.busy_s - before.busy_s - ours, 0.0) / whole
        stolen = (after.stolen_s - before.stolen_s) / whole
        if others > OTHERS:
            reasons.append(f"load: other processes used {others:.0%} of the processor time")
        if stolen > OTHERS:
            reasons.append(f"load: other guests of the host took {stolen:.0%} of the processor time")
    if before.clock_mhz and after.clock_mhz and abs(after.clock_mhz / before.clock_mhz - 1) > CLOCK:
        reasons.append(f"clock: went from {before.clock_mhz:.0f} to {after.clock_mhz:.0f} MHz")
    if times := throttled(before, after):
        reasons.append(f"heat: the processor was throttled {times} times")
    if why := _held_down(before.slowed, after.slowed):
        reasons.append(f"CPU: its clock was held down by {in_words(why)}")
    slowed = sorted({gpu["slowed_by"] for gpu in after.gpus if gpu.get("slowed_by", "nothing") != "nothing"})
    reasons += [f"GPU: its clocks were held down by {why}" for why in slowed]
    return reasons


def _held_down(before: Slowed, after: Slowed) -> frozenset[str]:
    """At either look, or between them for the first time since the machine was started."""
    since = (after.since_boot or frozenset()) - (before.since_boot or frozenset())
    return since.union(before.now or (), after.now or ())
