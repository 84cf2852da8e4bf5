"""What a build made of a graph, kernel by kernel, as TensorRT says it itself. Python 3.8.

RTX's builder lists its kernels in its log, with no GPU; TensorRT's engine inspector gives the same as JSON. Neither
text is documented: what cannot be read leaves a layer without a kernel, which counts as not INT8.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple, Sequence

# Kernels that contract with a weight have one of these in their type, such as correlation, runtime_fusion,
# CaskConvolution or MatrixMultiply; all others compute element by element.
CONTRACTIONS = ("conv", "correlation", "fusion", "gemm", "matri")
REFORMAT, UNLISTED, UNKNOWN = "Reformat", "Unlisted", "unknown"
PRECISIONS = {"Int8": "int8", "Half": "fp16", "Float": "fp32", "BFloat16": "bf16"}
SIZES = {"Int8": 1, "UInt8": 1, "Bool": 1, "Half": 2, "BFloat16": 2, "Float": 4, "Int32": 4, "Int64": 8}

WORDS = (
    (("int8",), "Int8"),
    (("bfloat16", "bf16"), "BFloat16"),
    (("half", "fp16", "float16"), "Half"),
    (("float", "fp32"), "Float"),
)

LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], Constants: \[(?P<constants>.*?)\],"
    r" Outputs: \[(?P<outputs>.*?)\], TacticName: .*?, Metadata: ?(?P<metadata>.*)"
)
TENSOR = re.compile(r"Dimensions: \[(?P<dims>[-\d,]*)\].*?Datatype: (?P<type>\w+)")
NODE = re.compile(r"\[ONNX Layer: (.*?)\]")
NAMES = re.compile(r" \+ | \|\| ")


class Tensor(NamedTuple):
    """Dimensions, -1 where the batch is dynamic, and TensorRT's word for its type."""

    dims: tuple[int, ...]
    type: str

    @property
    def bytes(self) -> int:
        """Of one image where the batch is dynamic."""
        return math.prod(max(dim, 1) for dim in self.dims) * SIZES.get(self.type, 4)


class Kernel(NamedTuple):
    """One kernel.

    Attributes:
        kind: TensorRT's word for it, or ``Reformat`` where it computes no node of the graph.
        nodes: of the graph, that it stands for; a contraction's own bias and activation come after it.
        precision: that it contracts or computes in.
        bytes: of activations that it reads and writes.
        name: that TensorRT calls it, in its profiler as well.
    """

    kind: str
    nodes: tuple[str, ...]
    precision: str
    bytes: int
    name: str = ""


class _Listed(NamedTuple):
    name: str
    kind: str
    inputs: list[Tensor]
    constants: list[Tensor]
    outputs: list[Tensor]
    nodes: list[str]


def from_log(text: str, operators: dict[str, str]) -> tuple[Kernel, ...]:
    """Kernels from the message that begins with ``Layers:``.

    Args:
        operators: of the graph that was built, by node.
    """
    listed = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            inputs, constants, outputs = (
                [_tensor(found) for found in TENSOR.finditer(match[part])]
                for part in ("inputs", "constants", "outputs")
            )
            nodes = NODE.findall(match["metadata"])
            listed.append(_Listed(match["name"], match["kind"], inputs, constants, outputs, nodes))
    return _kernels(listed, operators)


def from_inspector(text: str, operators: dict[str, str]) -> tuple[Kernel, ...]:
    """Kernels from the JSON of an engine inspector; with less than detailed verbosity its layers are names alone."""
    listed = []
    for layer in json.loads(text)["Layers"]:
        if isinstance(layer, dict):
            inputs, outputs = ([_inspected(tensor) for tensor in layer.get(key, [])] for key in ("Inputs", "Outputs"))
            constants = [_inspected(tensor) for tensor in layer.get("Constants", [])]
            if not constants and _weight_type(layer):
                constants = [Tensor((1,), _weight_type(layer))]
            # Before 8.6 there is no metadata, but a fused kernel is called by the nodes that it stands for.
            nodes = NODE.findall(layer.get("Metadata", "")) or NAMES.split(layer.get("Name", ""))
            name, kind = layer.get("Name", ""), layer.get("LayerType", "")
            listed.append(_Listed(name, kind, inputs, constants, outputs, nodes))
    return _kernels(listed, operators)


def kernel_called(name: str, kernels: Sequence[Kernel]) -> Kernel:
    """The kernel that a profiler calls by this name.

    By name, as NVIDIA's engine explorer joins the two, else by a node that is part of the name. What cannot be found is
    a kernel of no node.
    """
    parts = set(NAMES.split(name))
    by_name = [kernel for kernel in kernels if kernel.name == name]
    by_node = [kernel for kernel in kernels if parts & set(kernel.nodes)]
    return (by_name + by_node + [Kernel(UNLISTED, (), UNKNOWN, 0, name)])[0]


def _kernels(listed: list[_Listed], operators: dict[str, str]) -> tuple[Kernel, ...]:
    """A layer belongs to the contraction that names it, else to the first kernel that does: small ones are sums."""
    home: dict[str, int] = {}
    for contracts in (True, False):
        for index, row in enumerate(listed):
            for node in row.nodes:
                if _contracts(row) == contracts and operators.get(node) in ("Conv", "Gemm"):
                    home.setdefault(node, index)
    kernels = []
    for index, row in enumerate(listed):
        nodes = [
            node
            for node in dict.fromkeys(row.nodes)
            if operators.get(node, "Cast") not in ("Cast", "Sub", "QuantizeLinear", "DequantizeLinear")
            and home.get(node, index) == index
        ]
        moved = sum(tensor.bytes for tensor in row.inputs + row.outputs)
        kernels.append(Kernel(row.kind if nodes else REFORMAT, tuple(nodes), _precision(row), moved, row.name))
    return tuple(kernels)


def _contracts(row: _Listed) -> bool:
    return any(word in row.kind.lower() for word in CONTRACTIONS)


def _precision(row: _Listed) -> str:
    """INT8 where codes meet codes; else what the floats beside them are."""
    read = [tensor.type for tensor in row.inputs]
    weights = [tensor.type for tensor in row.constants]
    if _contracts(row) and read[:1] == ["Int8"] and weights[:1] == ["Int8"]:
        return PRECISIONS["Int8"]
    floats = [kind for kind in read + weights if kind in ("Half", "BFloat16", "Float")]
    narrow = [kind for kind in floats if kind != "Float"]
    if _contracts(row):
        return PRECISIONS.get((read or floats or [""])[0], UNKNOWN)
    return PRECISIONS[(narrow or floats or ["Float"])[0]]


def _tensor(found: Any) -> Tensor:
    return Tensor(tuple(int(dim) for dim in found["dims"].split(",") if dim), found["type"])


def _inspected(tensor: dict[str, Any]) -> Tensor:
    """Versions before 11 put the type into a sentence on the format, such as ``Row major linear INT8 format``."""
    said = tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format/Datatype", "")
    return Tensor(tuple(tensor.get("Dimensions", ())), _type(str(said)))


def _weight_type(layer: dict[str, Any]) -> str:
    weights = layer.get("Weights")
    return _type(str(weights.get("Type", ""))) if isinstance(weights, dict) else ""


def _type(said: str) -> str:
    """RTX's word for a type in a sentence; the first that fits, ``bfloat16`` before ``float16``."""
    for words, kind in WORDS:
        if any(word in said.lower() for word in words):
            return kind
    return said
