"""The last word on scales: whatever made a table, no quantizer leaves with one that kernels cannot divide by."""

import numpy as np

from edgecnn.errors import InputError
from edgecnn.graph.graph import Graph
from edgecnn.quant.observe import in_module

TINY = np.finfo(np.float32).tiny  # below it floats are denormal, and many kernels take them for zero


def check_scales(lowered: Graph) -> None:
    """Every scale of every QuantizeLinear and DequantizeLinear is finite, positive and not denormal.

    Raises:
        InputError: the first that is not, by its tensor.
    """
    for node in lowered.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = lowered.weights[node.input[1]]
            good = np.isfinite(scale) & (scale >= TINY)
            if not good.all():
                tensor = node.input[1].removesuffix("/scale")
                raise InputError(
                    f"calibration: {in_module(tensor)} has the scale {scale[~good].flat[0]:g}, expected a finite one of"
                    f" {TINY:.3g} or more; its values are too small or too large for INT8, keep floats with --fp16"
                )
