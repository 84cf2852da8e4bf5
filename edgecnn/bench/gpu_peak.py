"""What a GPU reaches at most in TensorRT: the same stack of convolutions, by the GPU's own clock.

By the host's clock it would be the bus that is measured: an image of the stack takes longer to copy than to compute. So
the images are on the GPU already, and a CUDA graph of the whole stack is timed between two events, as a bundle's
``run.py`` times an engine.
"""

import functools
import time
from contextlib import closing

import numpy as np

from edgecnn.bench.peak_graph import CHANNELS, CONVOLUTIONS, MACS, SIDE, peak_graph
from edgecnn.errors import EdgecnnError
from edgecnn.targets.bundle import builder
from edgecnn.targets.bundle.cuda_driver import Cuda, CudaError
from edgecnn.targets.bundle.engine import Runner
from edgecnn.targets.tensorrt_flavours import MODULES, PROPER, RTX, Flavour, load

GPU_PACKAGES = {MODULES[name]: Flavour(name, "its peak is asked for") for name in (PROPER, RTX)}
BATCH = 32  # 0.1 T operations a run: a third of a millisecond on a GPU of 300 T operations/s
FEWEST, SECONDS = 20, 0.5


def gpu_peak(module: str, precision: str) -> float | None:
    """Giga-operations per second of the fastest run; None where it cannot be known.

    Args:
        module: ``tensorrt`` or ``tensorrt_rtx``.
        precision: that the stack really must run in, by TensorRT's own word.
    """
    if precision not in builder.FLAGS:
        return None
    try:
        engine, ran = stack_engine(module, precision)
        if ran != {precision}:
            return None
        trt, cuda = load(module), Cuda()
        with closing(Runner(trt, cuda, builder.logger(trt), engine, BATCH)) as runner:
            fastest_ms = _fastest_ms(cuda, runner)
    except (EdgecnnError, builder.Refused, CudaError, OSError, RuntimeError):
        return None
    return 2 * BATCH * MACS / (fastest_ms / 1e3) / 1e9


@functools.lru_cache
def stack_engine(module: str, precision: str) -> tuple[bytes, frozenset[str]]:
    """An engine of the stack, and what its convolutions run in; built once, though a peak is looked for twice.

    Raises:
        builder.Refused: TensorRT does not build it.
        BuildError: TensorRT does not open it, where that takes an opened engine to know.
        UnavailableError: TensorRT cannot be imported.
    """
    content = peak_graph(precision, BATCH, signed=True)
    built = builder.build_alone(module, content, builder.Options(builder.FLAGS[precision]))
    kernels = GPU_PACKAGES[module].kernels(load(module), built, dict.fromkeys(CONVOLUTIONS, "Conv"))
    return built.engine, frozenset(kernel.precision for kernel in kernels if set(kernel.nodes) & set(CONVOLUTIONS))


def _fastest_ms(cuda: Cuda, runner: Runner) -> float:
    image = np.random.default_rng(0).normal(0, 1, (BATCH, CHANNELS, SIDE, SIDE)).astype(np.float32)
    runner.run(image)  # kernels are made at the first run
    graph = runner.captured()
    start, stop = cuda.make("cuEventCreate", 0), cuda.make("cuEventCreate", 0)
    times_ms: list[float] = []
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends or len(times_ms) < FEWEST:
        cuda.call("cuEventRecord", start, runner.stream)
        cuda.call("cuGraphLaunch", graph, runner.stream)
        cuda.call("cuEventRecord", stop, runner.stream)
        times_ms.append(cuda.elapsed_ms(start, stop))
    return min(times_ms)
