"""A network's graph, whose structure is traced once and kept: torch's exporter takes most of a float export's time.

The structure follows from the modules, the shapes and the code at work; the values of the weights are read from the
modules again. What is kept has none, and lies in the user's cache. It is trusted as far as any other graph: the
allow-list is asked, and every export checks the graph that it used against the eager network.
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import onnx
from onnx import TensorProto
from torch import nn

from edgecnn.data.download import cache_folder
from edgecnn.errors import StorageError
from edgecnn.files import write_whole
from edgecnn.graph.check import check_graph
from edgecnn.graph.graph import Graph, with_weights
from edgecnn.graph.to_onnx import to_onnx
from edgecnn.names import __version__
from edgecnn.recipe import PACKAGE

# What makes a graph of a network, besides the network: our code as it is, and these packages.
CODE = ("models/*.py", "graph/fold.py", "graph/to_onnx.py", "graph/traced.py")
PACKAGES = ("torch", "onnx", "onnxscript")
DIGEST = 64  # bytes of a file's own hash, in front of its content


def trace(model: nn.Module, in_channels: int, height: int, width: int) -> Graph:
    """As ``to_onnx``, byte for byte, and in a moment where a network of this structure was traced before.

    Args:
        model: in evaluation mode, folded; takes ``(1, in_channels, height, width) float32``.

    Raises:
        InputError: the network has operators outside the allow-list.
    """
    path = cache_folder() / "graphs" / f"{_key(model, (in_channels, height, width))}.onnx"
    kept = _read(path, model)
    if kept is not None:
        return kept
    graph = to_onnx(model, in_channels, height, width)
    structure = _emptied(graph, model)
    if _filled(structure, model).content == graph.content:
        _keep(path, structure)
    return graph


def _key(model: nn.Module, shape: tuple[int, int, int]) -> str:
    code = [path.read_bytes() for pattern in CODE for path in sorted(PACKAGE.glob(pattern))]
    known = {
        "edgecnn": __version__,
        "code": hashlib.sha256(b"".join(code)).hexdigest(),
        "packages": [version(package) for package in PACKAGES],
        "modules": repr(model),
        "tensors": [[name, str(tensor.dtype), *tensor.shape] for name, tensor in model.state_dict().items()],
        "input": shape,
    }
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _emptied(graph: Graph, model: nn.Module) -> Graph:
    """Without the values of the model's own tensors."""
    structure = graph.copy()
    owned = model.state_dict().keys()
    for tensor in structure.graph.initializer:
        if tensor.name in owned:
            tensor.CopyFrom(TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims))
    return Graph(structure)


def _filled(structure: Graph, model: nn.Module) -> Graph:
    return with_weights(structure, {name: value.contiguous().numpy() for name, value in model.state_dict().items()})


def _read(path: Path, model: nn.Module) -> Graph | None:
    """The graph, from what is kept there; None where nothing is, or nothing whole."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).hexdigest().encode() != content[:DIGEST]:
            return None
        graph = _filled(Graph(onnx.load_from_string(content[DIGEST:])), model)
        check_graph(graph, str(path))
    except Exception:  # no such file, a foreign graph, or what protobuf's parser raises, which has no public type
        return None
    return graph


def _keep(path: Path, structure: Graph) -> None:
    """A cache that cannot be written costs the next export its time, and nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(structure.content).hexdigest().encode() + structure.content)
    except (OSError, StorageError):
        return
