"""Where the time of a run goes, by PyTorch module, whatever the runtime calls its kernels."""

from collections.abc import Sequence

from edgecnn.bench.candidates import Candidate
from edgecnn.bench.record import LayerTime
from edgecnn.data.preprocess import Float
from edgecnn.targets.base import KernelTime, Tuning
from edgecnn.verify.coverage import layers_of

RUNS = 50  # that a kernel's time is of


def layer_times(candidate: Candidate, tuning: Tuning, batches: Sequence[Float]) -> tuple[LayerTime, ...]:
    """A row per kernel, in the order that they run in, by the runtime's own profiler.

    In a session of its own, since profiling slows what it profiles. None where the runtime has no profiler here.
    """
    session = candidate.open(Tuning(tuning.threads, profiled=True))
    session.run(batches[0])
    return by_module(session.kernel_times([batches[turn % len(batches)] for turn in range(RUNS)]), candidate)


def by_module(kernels: Sequence[KernelTime], candidate: Candidate) -> tuple[LayerTime, ...]:
    """Kernels under the names of the modules that they stand for: of a layer and what it swallowed, the layer's."""
    macs = candidate.artifact.layer_macs
    whole = sum(row.ms for row in kernels) or 1.0
    found = []
    for row in kernels:
        names = layers_of(row.kernel, macs) or row.kernel.nodes
        module = names[0].partition("/")[0] if names else ""
        found.append(
            LayerTime(module, row.kernel.kind, row.kernel.precision, round(row.ms, 5), round(row.ms / whole, 5))
        )
    return tuple(found)
