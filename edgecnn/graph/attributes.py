"""What a node's attributes say of it."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """By name; those that a node leaves out have the defaults of its operator, and are not here."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def pads(layer: onnx.NodeProto) -> bool:
    """Whether a layer reads zeros beside its input, which must have a code where it is quantized."""
    return any(attributes(layer).get("pads", ()))


def is_depthwise(node: onnx.NodeProto, weight: NDArray[np.generic]) -> bool:
    """Whether each of a convolution's output channels reads one input channel of its own; a grey stem's share theirs.

    Args:
        weight: (out, in / groups, ...).
    """
    return int(attributes(node).get("group", 1)) > 1 and weight.shape[1] == 1
