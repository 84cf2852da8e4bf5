"""The nodes of an ONNX file, read without the ``onnx`` package, which devices do not have.

ONNX is a protobuf message (onnx.proto3): a model holds its graph in field 7, a graph its nodes in field 1, a node its
inputs, outputs, name and operator in fields 1 to 4. Everything else, weights above all, is skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MODEL_GRAPH, GRAPH_NODE = 7, 1
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OPERATOR = 1, 2, 3, 4
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types


@dataclass(frozen=True)
class OnnxNode:
    """A node: the tensors it reads and makes, its name, which may be empty, and its operator."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    operator: str


def read_nodes(content: bytes) -> list[OnnxNode]:
    """Every node of an ONNX model in the file's order.

    Args:
        content: of a file that a runtime has read already; anything else raises ``IndexError`` or ``ValueError``.
    """
    found = []
    for number, graph in _fields(memoryview(content)):
        if number == MODEL_GRAPH:
            found += [_node(node) for number, node in _fields(graph) if number == GRAPH_NODE]
    return found


def _node(message: memoryview) -> OnnxNode:
    parts: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_NAME: [""], NODE_OPERATOR: [""]}
    for number, value in _fields(message):
        if number in parts:
            parts[number].append(str(value, "utf-8"))
    return OnnxNode(tuple(parts[NODE_INPUT]), tuple(parts[NODE_OUTPUT]), parts[NODE_NAME][-1], parts[NODE_OPERATOR][-1])


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field that has a length; numbers are skipped."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == BYTES:
            size, position = _varint(message, position)
            yield number, message[position : position + size]
            position += size
        elif kind == VARINT:
            _, position = _varint(message, position)
        elif kind in (FIXED64, FIXED32):
            position += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {position} of an ONNX file")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
