"""What a user says about threads and requests really reaches each runtime."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.bench.candidates import Candidate
from edgecnn.bench.layers import layer_times
from edgecnn.bench.torch_session import TorchSession
from edgecnn.pipeline import Exported
from edgecnn.targets.base import UNTUNED, ExecutedLayer, KernelTime, Tuning
from edgecnn.verify.golden import read_golden

RUNTIMES = ("openvino", "onnxruntime")


# A runtime takes no more threads than it has cores, and a worker of these tests has one.
ON_EVERY_CORE = """
import os, sys
from pathlib import Path
os.sched_setaffinity(0, range(os.cpu_count()))
from edgecnn.artifact import load_artifact
from edgecnn.bench.candidates import Candidate
from edgecnn.targets.base import Tuning
candidate = Candidate("", "artifact", load_artifact(Path(sys.argv[1])))
print(*(candidate.open(Tuning(int(sys.argv[2]), many=many)).threads for many in (False, True)))
"""


def started() -> int:
    """Threads of this process."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_reach_the_runtime(tiny_export: Callable[..., Exported], target: str, threads: int) -> None:
    folder = tiny_export(target, "int8").artifact.folder
    done = subprocess.run(
        [sys.executable, "-c", ON_EVERY_CORE, folder, str(threads)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(threads)] * 2


def test_onnx_runtime_starts_as_many(tiny_export: Callable[..., Exported]) -> None:
    candidate = Candidate("", "artifact", tiny_export("onnxruntime", "int8").artifact)
    before = started()
    session = candidate.open(Tuning(3))
    assert started() - before == 2  # and the caller
    assert session.threads == 3


def test_threads_reach_torch(tiny_export: Callable[..., Exported]) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        session = Candidate("", "eager", tiny_export("onnx", "fp32").artifact).open(Tuning(before + 1))
        assert isinstance(session, TorchSession)
        assert session.threads == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("tuning", [UNTUNED, Tuning(2, many=True)])
def test_a_flood_is_counted(tiny_export: Callable[..., Exported], target: str, tuning: Tuning) -> None:
    candidate = Candidate("", "artifact", tiny_export(target, "int8").artifact)
    session = candidate.open(tuning)
    batches = candidate.batches(1)
    for batch in batches:
        session.run(batch)
    flood = session.flood(batches, 0.1)
    assert len(flood.requests_ms) > 1
    assert flood.seconds >= 0.1
    # No request took longer than all, and together they took as long as so many at once can.
    assert 0 < min(flood.requests_ms) <= max(flood.requests_ms) <= 1000 * flood.seconds
    assert 0.3 < sum(flood.requests_ms) / (1000 * flood.seconds) <= flood.at_once
    assert flood.at_once in ({1} if tuning is UNTUNED else {1, 2})  # a fast runtime may have answered before the next
    assert len(session.flood(batches, 0).requests_ms) >= 1


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_profiler_s_kernels_are_modules(tiny_export: Callable[..., Exported], target: str, precision: str) -> None:
    artifact = tiny_export(target, precision).artifact
    candidate = Candidate("", "artifact", artifact)
    layers = layer_times(candidate, UNTUNED, candidate.batches(1))
    modules = {name.partition("/")[0] for name in artifact.layer_macs}
    assert modules <= {layer.module for layer in layers}  # every convolution and linear layer has its time
    assert sum(layer.share for layer in layers) == pytest.approx(1, abs=0.01)
    assert all(layer.ms >= 0 for layer in layers)
    first = next(layer for layer in layers if layer.module == "features.0.0")
    assert first.precision == precision


def test_a_network_has_no_kernels_to_tell_of(tiny_export: Callable[..., Exported]) -> None:
    candidate = Candidate("", "eager", tiny_export("onnx", "fp32").artifact)
    assert layer_times(candidate, UNTUNED, candidate.batches(1)) == ()


def test_one_interruption_is_not_a_kernel_s_time() -> None:
    kernel = ExecutedLayer(("a/Conv",), "Convolution", "int8")
    assert KernelTime.of_runs(kernel, [0.001] * 6 + [0.002] * 6 + [40.0]).ms == pytest.approx(0.0016, abs=2e-4)
    assert KernelTime.of_runs(kernel, [0.5]).ms == 0.5


def test_unchecked_answers_are_the_checked_ones(tiny_export: Callable[..., Exported]) -> None:
    artifact = tiny_export("openvino", "int8").artifact
    session = Candidate("", "artifact", artifact).open()
    image = read_golden(artifact).inputs[:1]
    np.testing.assert_array_equal(session.run(image), session.run_again(image))
