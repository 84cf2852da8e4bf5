"""The stack of convolutions that peaks are measured with, as ONNX bytes, written without the ``onnx`` package.

Messages and field numbers are those of onnx.proto3; what is not named here is left at its default.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from edgecnn.names import INPUT, OUTPUT
from edgecnn.targets.base import FP16, INT8

# 28x28 of 512 channels: 0.2 G multiply-accumulates a layer on 1.6 MB of activations, of which int8 needs a quarter.
# Eight layers reach up to a fifth more than four in int8, where quantizing the input weighs most: 1,226 and 997 G
# operations/s with AMX, 768 and 693 with VNNI alone (OpenVINO, two threads); more than eight no more beyond the noise.
STACK, SIDE, CHANNELS, CLASSES = 8, 28, 512, 2
MACS = STACK * SIDE * SIDE * CHANNELS * CHANNELS  # of an image; what comes after the stack is no work to speak of
DEVIATION = (2 / CHANNELS) ** 0.5  # of weights, so that what goes through keeps its size (He et al. 2015)
IR_VERSION, OPSET = 8, 17
FLOAT, UNSIGNED, SIGNED, HALF = 1, 2, 3, 10  # TensorProto.DataType
CONVOLUTIONS = tuple(f"stack.{layer}/Conv" for layer in range(STACK))
KINDS = {"float32": FLOAT, "uint8": UNSIGNED, "int8": SIGNED, "float16": HALF}
LARGEST = 4.0  # that a code stands for, in deviations of what is quantized
ATTRIBUTE_INT = 2


def peak_graph(precision: str, batch: int = 1, signed: bool = False) -> bytes:
    """``image (batch, 512, 28, 28)`` through 1x1 convolutions and ReLUs to ``logits (batch, 2)``, both float32.

    Args:
        precision: INT8 has Q/DQ around each convolution's input and weight, and behind its ReLU, so that it runs in
            int8; FP16 has halves between a Cast on either side, for runtimes that take their types from the graph.
        signed: whether INT8's activations have signed codes, for TensorRT, which knows no others.
    """
    random = np.random.default_rng(0)
    kind = np.float16 if precision == FP16 else np.float32
    nodes, tensors, now = [], [], INPUT
    if precision == FP16:
        nodes.append(_node("Cast", "stack/Cast", (INPUT,), "stack.in", to=HALF))
        now = "stack.in"
    for layer, convolution in enumerate(CONVOLUTIONS):
        name = f"stack.{layer}"
        weight = DEVIATION * random.normal(0, 1, (CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
        tensors.append(_tensor(f"{name}.bias", np.zeros(CHANNELS, kind)))
        source, weight_name = now, f"{name}.weight"
        if precision == INT8:
            source, added, constants = _activation(name, now, signed)
            nodes += added
            tensors += constants
            weight_name, added, constants = _weight(name, weight)
            nodes += added
            tensors += constants
        else:
            tensors.append(_tensor(weight_name, weight.astype(kind)))
        nodes += [
            _node("Conv", convolution, (source, weight_name, f"{name}.bias"), f"{name}.sum"),
            _node("Relu", f"{name}/Relu", (f"{name}.sum",), f"{name}.out"),
        ]
        now = f"{name}.out"
    if precision == INT8:
        now, added, constants = _activation("stack.end", now, signed)
        nodes += added
        tensors += constants
    if precision == FP16:
        nodes.append(_node("Cast", "stack.end/Cast", (now,), "stack.end", to=FLOAT))
        now = "stack.end"
    tensors.append(_tensor("head", np.full((CHANNELS, CLASSES), 1 / CHANNELS, np.float32)))
    nodes += [
        _node("GlobalAveragePool", "pool/GlobalAveragePool", (now,), "pooled"),
        _node("Flatten", "pool/Flatten", ("pooled",), "flat"),
        _node("MatMul", "head/MatMul", ("flat", "head"), OUTPUT),
    ]
    graph = b"".join(_message(1, node) for node in nodes) + _text(2, "peak")
    graph += b"".join(_message(5, tensor) for tensor in tensors)
    graph += _message(11, _value(INPUT, (batch, CHANNELS, SIDE, SIDE)))
    graph += _message(12, _value(OUTPUT, (batch, CLASSES)))
    return _number(1, IR_VERSION) + _message(7, graph) + _message(8, _number(2, OPSET))


def _weight(name: str, weight: NDArray[np.float32]) -> tuple[str, list[bytes], list[bytes]]:
    """Names the dequantized weight of a convolution, with the nodes and tensors that it needs."""
    scales = np.abs(weight).max(axis=(1, 2, 3)) / 127
    codes = np.round(weight / scales[:, None, None, None]).astype(np.int8)
    inputs = (f"{name}.weight", f"{name}.weight.scale", f"{name}.weight.zero")
    tensors = [
        _tensor(inputs[0], codes),
        _tensor(inputs[1], scales.astype(np.float32)),
        _tensor(inputs[2], np.zeros(CHANNELS, np.int8)),
    ]
    output = f"{name}.weight.float"
    return output, [_node("DequantizeLinear", f"{name}.weight/DequantizeLinear", inputs, output, axis=0)], tensors


def _activation(name: str, source: str, signed: bool) -> tuple[str, list[bytes], list[bytes]]:
    """Names a quantized tensor, with the nodes and tensors that it needs."""
    parameters = (f"{name}.scale", f"{name}.zero")
    tensors = [
        _tensor(parameters[0], np.array(LARGEST / (127 if signed else 255), np.float32)),
        _tensor(parameters[1], np.array(0, np.int8 if signed else np.uint8)),
    ]
    nodes = [
        _node("QuantizeLinear", f"{name}/QuantizeLinear", (source, *parameters), f"{name}.codes"),
        _node("DequantizeLinear", f"{name}/DequantizeLinear", (f"{name}.codes", *parameters), f"{name}.in"),
    ]
    return f"{name}.in", nodes, tensors


def _node(operator: str, name: str, inputs: tuple[str, ...], output: str, **attributes: int) -> bytes:
    written = b"".join(_text(1, text) for text in inputs) + _text(2, output) + _text(3, name) + _text(4, operator)
    for key, value in attributes.items():
        written += _message(5, _text(1, key) + _number(3, value) + _number(20, ATTRIBUTE_INT))
    return written


def _tensor(name: str, values: NDArray[np.generic]) -> bytes:
    shape = b"".join(_number(1, size) for size in values.shape)
    return shape + _number(2, KINDS[values.dtype.name]) + _text(8, name) + _message(9, values.tobytes())


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_message(1, _number(1, size)) for size in shape)
    return _text(1, name) + _message(2, _message(1, _number(1, FLOAT) + _message(2, sizes)))


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first."""
    written = []
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return struct.pack(f"{len(written) + 1}B", *written, value)
