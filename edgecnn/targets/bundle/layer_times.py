"""Where the time of a run goes, layer by layer, by TensorRT's own profiler. Python 3.8.

Its times come from events around each layer, which slow a run and which a CUDA graph hides: they say where the time
goes, and not how much of it there is. Source: ``IProfiler`` in NVIDIA's Python API references.
"""

from __future__ import annotations

from typing import Any, Sequence

RUNS = 50  # that a layer's time is of


def layer_times(trt: Any, runner: Any, images: Sequence[Any]) -> dict[str, list[float]]:
    """Milliseconds by layer, of one run for each image, in the order that layers ran in.

    Args:
        runner: ``engine.Runner``, which is profiled from here on.
        images: batches that it takes; at least two.
    """

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # whose base is known when it runs
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.spent: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.spent[layer_name] = self.spent.get(layer_name, 0.0) + ms

    profiler = Profiler()
    runner.run(images[0])  # not counted: what the first run prepares is no layer's
    runner.profile(profiler)
    found: dict[str, list[float]] = {}
    for image in images:
        profiler.spent = {}
        runner.run(image)
        for name, ms in profiler.spent.items():
            found.setdefault(name, []).append(ms)
    return found


def middle_mean(runs_ms: Sequence[float]) -> float:
    """The mean of the middle half of some runs, in their unit.

    In a mean of all, one interruption may be half of the network; in a median nothing is finer than the whole
    microseconds that profilers count.
    """
    quarter = len(runs_ms) // 4
    middle = sorted(runs_ms)[quarter : len(runs_ms) - quarter]
    return sum(middle) / len(middle)
