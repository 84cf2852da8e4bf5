"""What this machine reaches at most: a stack of large pointwise convolutions, in a row's own runtime and precision.

A roofline's flat part (Williams, Waterman and Patterson 2009): enough arithmetic per byte that memory does not matter.
The network is written as ONNX by hand, which both runtimes read and no package is needed for on a device; torch has its
own layers.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.bench.gpu_peak import GPU_PACKAGES, gpu_peak
from edgecnn.bench.peak_graph import CHANNELS, CLASSES, DEVIATION, MACS, SIDE, STACK, peak_graph
from edgecnn.bench.record import Roofline
from edgecnn.errors import EdgecnnError
from edgecnn.targets.base import BF16, FP16, FP32, INT8, Interface, Session, Tuning

if TYPE_CHECKING:
    from torch import nn

WARM_UP, SECONDS = 3, 0.5
# What can be asked for, by runtime; what it then computes in, it has to say.
PEAKS = {"onnxruntime": (FP32, INT8), "openvino": (FP32, BF16, FP16, INT8), "torch": (FP32,)}


def measure_peak(package: str, precision: str, tuning: Tuning) -> float | None:
    """Giga-operations per second, two for each multiply-accumulate, of the fastest run; None where it cannot be known.

    Args:
        package: the runtime's module.
        precision: that the stack really must run in, by the runtime's own word.
    """
    if package in GPU_PACKAGES:
        return gpu_peak(package, precision)
    if precision not in PEAKS.get(package, ()):
        return None
    try:
        session = _opened(package, precision, tuning)
    except EdgecnnError:
        return None
    layers = [kernel for kernel in session.executed() if any(name.endswith("/Conv") for name in kernel.nodes)]
    if {kernel.precision for kernel in layers} != {precision}:
        return None
    image = np.random.default_rng(0).normal(0, 1, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    for _ in range(WARM_UP):
        session.run_again(image)
    fastest, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        before = time.perf_counter()
        session.run_again(image)
        fastest = min(fastest, time.perf_counter() - before)
    return 2 * MACS / fastest / 1e9


def roofline(executed: Mapping[str, float], macs: int, seconds: float, peaks: Mapping[str, float]) -> Roofline | None:
    """A row's arithmetic beside the peak of the precision that most of it runs in; None where that is not known.

    Args:
        executed: shares of the multiply-accumulates by precision.
        macs: multiply-accumulates in ``seconds``.
        peaks: giga-operations per second by precision.
    """
    most = max(executed, key=lambda name: executed[name], default="")
    if most not in peaks:
        return None
    gops = 2 * macs / seconds / 1e9
    return Roofline(most, round(gops, 2), round(peaks[most], 2), round(gops / peaks[most], 4))


def _opened(package: str, precision: str, tuning: Tuning) -> Session:
    interface = Interface(1, CHANNELS, SIDE, SIDE, CLASSES)
    if package == "torch":
        from edgecnn.bench.torch_session import TorchSession

        return TorchSession(_torch_stack(), interface, False, tuning)
    graph = peak_graph(INT8 if precision == INT8 else FP32)
    if package == "openvino":
        from edgecnn.targets.openvino import OpenVinoSession

        return OpenVinoSession(graph, None, interface, FP32 if precision == INT8 else precision, tuning)
    from edgecnn.targets.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(graph, interface, tuning=tuning)


def _torch_stack() -> "nn.Module":
    """What ``peak_graph`` is, of torch's layers; weights keep the size of what goes through, and biases are zero.

    With torch's own initial values biases would outweigh what rounding does, and no rounding would show.
    """
    import torch
    from torch import nn

    stack = [layer for _ in range(STACK) for layer in (nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU())]
    network = nn.Sequential(*stack, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, CLASSES))
    random = torch.Generator().manual_seed(0)
    for tensor in network.parameters():
        nn.init.normal_(tensor, 0, DEVIATION, random) if tensor.ndim > 1 else nn.init.zeros_(tensor)
    return network
