"""The GPU of this machine, and whether a TensorRT is for it; a test that needs what is not here is skipped aloud."""

import pytest

from edgecnn.errors import UnavailableError
from edgecnn.targets.bundle.cuda_driver import Gpu, find_gpu
from edgecnn.targets.tensorrt import TensorRtTarget


@pytest.fixture
def gpu() -> Gpu:
    """The GPU; skips without one."""
    found, why = find_gpu()
    if found is None:
        pytest.skip(f"needs an NVIDIA GPU: {why}")
    return found


@pytest.fixture
def absence(gpu: Gpu) -> str:
    """Why no engine that is built here runs on the GPU, or empty; skips where none can be built."""
    try:
        return TensorRtTarget().absence
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def engines_run(absence: str) -> None:
    """Skips where they do not."""
    if absence:
        pytest.skip(f"needs a GPU that an installed TensorRT is for: {absence}")


@pytest.fixture
def no_engine_runs(absence: str, gpu: Gpu) -> None:
    """Skips where they do."""
    if not absence:
        pytest.skip(f"needs a GPU that no installed TensorRT is for, here is {gpu.name}")
