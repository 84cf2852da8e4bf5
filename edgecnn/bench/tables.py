"""What networks that differ in their INT8 layers take on the device, built and opened as artifacts are."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from edgecnn.bench.latency import Run, race
from edgecnn.data.preprocess import Float
from edgecnn.targets.base import Interface, Session
from edgecnn.targets.builds import Builds

if TYPE_CHECKING:
    from edgecnn.graph.graph import Graph
    from edgecnn.quant.rungs import Slowdown, Timer
    from edgecnn.quant.table import QuantizerTable

    Finish = Callable[[Graph, QuantizerTable], Graph]

# Of counted rounds, for each network: where layers are chosen by their times, and where a row merely tells them.
CHOOSING_S, TELLING_S = 1.0, 0.1
BUILT_AT_ONCE = 2  # runtimes build on one core, and hold a network twice meanwhile


def table_timer(
    builds: Builds, interface: Interface, image: Float, finish: "Finish", budget_s: float = CHOOSING_S
) -> "Timer":
    """A timer for the ladder.

    Args:
        builds: of the device's target.
        image: (1, C, H, W) float32, normalised; every image of a batch.
        finish: gives the graph that is built, from the FP32 graph and a table.
        budget_s: of counted rounds, for each network.
    """
    batch = interface.batch or 1
    fixed, images = replace(interface, batch=batch), image.repeat(batch, axis=0)

    def timer(graph: "Graph", tables: "Sequence[QuantizerTable]") -> "list[Slowdown]":
        from edgecnn.graph.graph import with_batch
        from edgecnn.quant.rungs import Slowdown

        def opened(table: "QuantizerTable") -> Session:
            return builds.open(with_batch(finish(graph, table), batch), fixed).session

        with ThreadPoolExecutor(BUILT_AT_ONCE) as threads:
            runs: list[tuple[str, Run]] = []
            for position, session in enumerate(threads.map(opened, tables)):
                session.run(images)  # checks them; what is timed afterwards is the runtime alone
                runs.append((str(position), partial(session.run_again, images)))
            timed = race(runs, budget_s=budget_s * len(runs))
        found = [timed.gain("0", name) for name, _ in runs[1:]]
        return [Slowdown(gain.ratio, gain.ratio_ci95) for gain in found]

    return timer
