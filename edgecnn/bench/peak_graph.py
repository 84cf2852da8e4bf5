"""The stack of convolutions that peaks are measured with, as ONNX bytes, written without the ``onnx`` package.

Messages and field numbers are those of onnx.proto3; what is not named here is left at its default.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from edgecnn.names import INPUT, OUTPUT

# 28x28 of 512 channels: 0.2 G multiply-accumulates a layer on 1.6 MB of activations, of which int8 needs a quarter.
# Eight layers reach up to a fifth more than four in int8, where quantizing the input weighs most: 1,226 and 997 G
# operations/s with AMX, 768 and 693 with VNNI alone (OpenVINO, two threads); more than eight no more beyond the noise.
STACK, SIDE, CHANNELS, CLASSES = 8, 28, 512, 2
IR_VERSION, OPSET = 8, 17
FLOAT, UINT8, INT8 = 1, 2, 3  # TensorProto.DataType
ATTRIBUTE_INT = 2


def peak_graph(int8: bool) -> bytes:
    """``image (1, 512, 28, 28)`` through 1x1 convolutions and ReLUs to ``logits (1, 2)``.

    Args:
        int8: with Q/DQ around each convolution's input and weight, and behind its ReLU, so that it runs in int8.
    """
    random = np.random.default_rng(0)
    nodes, tensors, now = [], [], INPUT
    for layer in range(STACK):
        name = f"stack.{layer}"
        weight = random.normal(0, 1, (CHANNELS, CHANNELS, 1, 1)).astype(np.float32) / CHANNELS**0.5
        bias = _tensor(f"{name}.bias", FLOAT, np.zeros(CHANNELS, np.float32))
        tensors += [bias]
        if int8:
            source, added, constants = _quantized(name, now, weight)
            nodes += added
            tensors += constants
            weight_name = f"{name}.weight.float"
        else:
            source, weight_name = now, f"{name}.weight"
            tensors.append(_tensor(weight_name, FLOAT, weight))
        nodes += [
            _node("Conv", f"{name}/Conv", (source, weight_name, f"{name}.bias"), f"{name}.sum"),
            _node("Relu", f"{name}/Relu", (f"{name}.sum",), f"{name}.out"),
        ]
        now = f"{name}.out"
    if int8:
        source, added, constants = _activation("stack.end", now)
        nodes += added
        tensors += constants
        now = source
    tensors.append(_tensor("head", FLOAT, np.full((CHANNELS, CLASSES), 1 / CHANNELS, np.float32)))
    nodes += [
        _node("GlobalAveragePool", "pool/GlobalAveragePool", (now,), "pooled"),
        _node("Flatten", "pool/Flatten", ("pooled",), "flat"),
        _node("MatMul", "head/MatMul", ("flat", "head"), OUTPUT),
    ]
    graph = b"".join(_message(1, node) for node in nodes) + _text(2, "peak")
    graph += b"".join(_message(5, tensor) for tensor in tensors)
    graph += _message(11, _value(INPUT, (1, CHANNELS, SIDE, SIDE))) + _message(12, _value(OUTPUT, (1, CLASSES)))
    return _number(1, IR_VERSION) + _message(7, graph) + _message(8, _number(2, OPSET))


def _quantized(name: str, source: str, weight: NDArray[np.float32]) -> tuple[str, list[bytes], list[bytes]]:
    """Names the dequantized input of a convolution, with the nodes and tensors that it and the weight need."""
    into, nodes, tensors = _activation(name, source)
    scales = np.abs(weight).max(axis=(1, 2, 3)) / 127
    codes = np.round(weight / scales[:, None, None, None]).astype(np.int8)
    tensors += [
        _tensor(f"{name}.weight", INT8, codes),
        _tensor(f"{name}.weight.scale", FLOAT, scales.astype(np.float32)),
        _tensor(f"{name}.weight.zero", INT8, np.zeros(CHANNELS, np.int8)),
    ]
    weight_inputs = (f"{name}.weight", f"{name}.weight.scale", f"{name}.weight.zero")
    nodes.append(
        _node("DequantizeLinear", f"{name}.weight/DequantizeLinear", weight_inputs, f"{name}.weight.float", axis=0)
    )
    return into, nodes, tensors


def _activation(name: str, source: str) -> tuple[str, list[bytes], list[bytes]]:
    parameters = (f"{name}.scale", f"{name}.zero")
    tensors = [
        _tensor(parameters[0], FLOAT, np.array(4 / 255, np.float32)),
        _tensor(parameters[1], UINT8, np.array(0, np.uint8)),
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


def _tensor(name: str, kind: int, values: NDArray[np.generic]) -> bytes:
    shape = b"".join(_number(1, size) for size in values.shape)
    return shape + _number(2, kind) + _text(8, name) + _message(9, values.tobytes())


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
