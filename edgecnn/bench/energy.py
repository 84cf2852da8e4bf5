"""Joules of one image, where the machine counts them: Intel's and AMD's RAPL, a Jetson's rails, a GPU's own meter.

Counters are of a whole package or board, what it draws at rest included, so each row runs alone while they are read.
Sources: the kernel's documentation of ``/sys/class/powercap``; NVIDIA's of ``nvidia-smi``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from edgecnn.bench.gpu import gpu_watts
from edgecnn.bench.machine import ROOT
from edgecnn.bench.record import NVML, RAILS, RAPL, Energy
from edgecnn.targets.bundle.rails import Meter, Rail, find_rails

SECONDS = 2.0  # of each row alone: thousands of updates of RAPL, forty samples of rails

Work = Callable[[], int]  # answers for a while; returns how many images


class GpuRail(NamedTuple):
    """What NVIDIA's GPUs say they draw, in the shape of a rail."""

    name: str

    def watts(self) -> float:
        """Now, of all of them.

        Raises:
            OSError: they do not say at the moment.
        """
        watts = gpu_watts()
        if watts is None:
            raise OSError("nvidia-smi says no power draw")
        return watts


class RaplCounter(NamedTuple):
    """A package's counter of microjoules, which starts again at its range."""

    file: Path
    range_uj: int

    def read(self) -> int:
        """Now.

        Raises:
            OSError: it is not for everybody to read.
        """
        return int(self.file.read_text())

    def since(self, before: int) -> int:
        """Microjoules since then; a counter has not come round twice."""
        return (self.read() - before) % (self.range_uj + 1)


def measure_energy(work: Work, on_gpu: bool, root: Path = ROOT) -> Energy:
    """Of one image, or why it cannot be known.

    Args:
        work: runs while the counters are watched.
        on_gpu: whether the GPU does it, so that the GPU's own meter is the one to read.
    """
    rails = find_rails(root / "sys")
    if rails:
        return _by_rails(rails, RAILS, work)
    if on_gpu:
        if gpu_watts() is None:
            return Energy(None, "", "not measurable: nvidia-smi says no power draw")
        return _by_rails([GpuRail("GPU")], NVML, work)
    counters = rapl_counters(root)
    if not counters:
        return Energy(None, "", "not measurable: there are no RAPL counters (/sys/class/powercap) and no power rails")
    try:
        before = [counter.read() for counter in counters]
    except OSError as error:
        return Energy(None, "", f"not measurable: RAPL counters cannot be read ({error.strerror})")
    images = work()
    joules = sum(counter.since(start) for counter, start in zip(counters, before, strict=True)) / 1e6
    return Energy(round(joules / images, 9), RAPL, "")


def rapl_counters(root: Path) -> list[RaplCounter]:
    """One for each package; what a package is made of is counted in it already."""
    found = []
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        if zone.name.count(":") == 1:
            try:
                name, limit = (zone / "name").read_text(), int((zone / "max_energy_range_uj").read_text())
            except OSError:
                continue
            if name.startswith("package"):
                found.append(RaplCounter(zone / "energy_uj", limit))
    return found


def _by_rails(rails: Sequence[Rail | GpuRail], source: str, work: Work) -> Energy:
    with Meter(list(rails)) as meter:  # type: ignore[arg-type]  # all that it asks of a rail is a name and watts
        images = work()
    if not meter.joules:
        return Energy(None, "", f"not measurable: {source} could not be sampled in {meter.seconds:.1f} s")
    return Energy(round(meter.joules / images, 9), source, "")
