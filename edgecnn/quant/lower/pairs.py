"""The two nodes between floats and codes."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgecnn.quant.table import ActivationQuantizer


def activation_pair(name: str, quantizer: ActivationQuantizer, tensors: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """The Q/DQ pair behind a tensor, whose output is ``name/DequantizeLinear``; its constants join ``tensors``."""
    scale, zero_point, codes = f"{name}/scale", f"{name}/zero_point", f"{name}/QuantizeLinear"
    tensors.append(numpy_helper.from_array(np.array(quantizer.scale, np.float32), scale))
    tensors.append(numpy_helper.from_array(np.array(quantizer.zero_point, quantizer.dtype), zero_point))
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero_point], [codes], codes),
        dequantize(name, codes, scale, zero_point),
    ]


def dequantize(name: str, *inputs: str, axis: int | None = None) -> onnx.NodeProto:
    """From codes, scale and perhaps zero-point to ``name/DequantizeLinear``.

    Args:
        axis: of the scale, where it is a vector.
    """
    output = f"{name}/DequantizeLinear"
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    return helper.make_node("DequantizeLinear", list(inputs), [output], output, **attributes)
