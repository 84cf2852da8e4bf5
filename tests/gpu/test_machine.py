"""What NVIDIA's tools say of a real GPU, in a run's record."""

import ctypes
import time

import pytest

from edgecnn.bench.energy import measure_energy
from edgecnn.bench.gpu import gpu_watts, gpus
from edgecnn.bench.machine import facts, one_line, snapshot
from edgecnn.targets.bundle.cuda_driver import Cuda, Gpu

COPY = 1 << 28  # bytes
CHANGING = {"clock_mhz", "memory_clock_mhz", "temperature_c", "slowed_by"}


def test_the_record_has_the_gpu(gpu: Gpu) -> None:
    before = snapshot()
    machine = facts(before, snapshot())
    first = machine["gpus"][0]
    assert first["name"] == gpu.name
    assert set(first) >= {"driver", "power_limit_w", "memory_mib"}
    for name in CHANGING:
        assert set(first[name]) == {"before", "after"}
    assert gpu.name in one_line(machine)
    assert [row["name"] for row in gpus()].count(gpu.name) >= 1


def test_what_keeps_a_gpu_busy_costs_energy(gpu: Gpu) -> None:
    """Copies within the device; a wall's meter would say more, NVML's says this."""
    watts = gpu_watts()
    if watts is None:
        pytest.skip(f"{gpu.name} says no power draw")
    cuda = Cuda()
    stream, source, target = cuda.make("cuStreamCreate", 0), cuda.allocate(COPY), cuda.allocate(COPY)

    def copies() -> int:
        done, started = 0, time.monotonic()
        while time.monotonic() - started < 2:
            for _ in range(100):
                cuda.call("cuMemcpyDtoDAsync_v2", target, source, ctypes.c_size_t(COPY), stream)
            cuda.synchronize(stream)
            done += 100
        return done

    found = measure_energy(copies, on_gpu=True)
    assert (found.source, found.absence) == ("NVML", "")
    assert found.joules_per_image is not None
    assert 0 < found.joules_per_image < 10
