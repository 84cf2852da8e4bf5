"""The graph that stages hand to one another: an ONNX model with its bytes and hash."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecnn.names import BATCH, INPUT

OPSET = 17  # the newest that TensorRT 8.5 reads; the ops of these networks are the same in later ones
IR_VERSION = 8


@dataclass(frozen=True)
class Graph:
    """One ONNX model, never changed in place. Its input ``image`` is ``(N, C, H, W)``, its output ``logits (N, K)``."""

    model: onnx.ModelProto

    @cached_property
    def content(self) -> bytes:
        """The same model gives the same bytes."""
        return bytes(self.model.SerializeToString(deterministic=True))

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        return list(self.model.graph.node)

    @cached_property
    def weights(self) -> dict[str, NDArray[np.generic]]:
        """Every initializer by name."""
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        """The node behind every tensor that a node makes."""
        return {output: node for node in self.model.graph.node for output in node.output}

    @cached_property
    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read each tensor."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where in the order of nodes each tensor is made; the image comes before all."""
        return {name: position for position, node in enumerate(self.nodes) for name in node.output} | {INPUT: -1}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one image, without the batch, by tensor."""
        inferred = onnx.shape_inference.infer_shapes(self.model).graph
        return {
            value.name: tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim[1:])
            for value in (*inferred.input, *inferred.value_info, *inferred.output)
        }

    @property
    def input_shape(self) -> tuple[int | None, int, int, int]:
        """``(N, C, H, W)``; N is None where the batch is dynamic."""
        n, c, h, w = (int(dim.dim_value) for dim in self.model.graph.input[0].type.tensor_type.shape.dim)
        return n or None, c, h, w

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return next(int(entry.version) for entry in self.model.opset_import if entry.domain in ("", "ai.onnx"))

    @property
    def num_classes(self) -> int:
        return int(self.model.graph.output[0].type.tensor_type.shape.dim[1].dim_value)

    def copy(self) -> onnx.ModelProto:
        """A model that may be changed."""
        other = onnx.ModelProto()
        other.CopyFrom(self.model)
        return other


def model_of(graph: onnx.GraphProto, producer: str = "") -> onnx.ModelProto:
    """A graph as a model of the opset and format that all of ours have."""
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(graph, producer_name=producer, ir_version=IR_VERSION, opset_imports=[opset])


def with_batch(graph: Graph, batch: int | None) -> Graph:
    """The same graph for another batch size; None makes it dynamic. No node of ours depends on it."""
    model = graph.copy()
    for value in (model.graph.input[0], model.graph.output[0]):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        if batch is None:
            dim.dim_param = BATCH
        else:
            dim.dim_value = batch
    return Graph(model)


def with_weights(graph: Graph, weights: Mapping[str, NDArray[np.generic]]) -> Graph:
    """The same graph with other values of these initializers."""
    model = graph.copy()
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return Graph(model)


def with_metadata(graph: Graph, metadata: dict[str, str]) -> Graph:
    """The same graph with these strings in its metadata, sorted by key."""
    model = graph.copy()
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    return Graph(model)
