"""OpenVINO on CPUs: an intermediate representation of two files, compiled when it is opened."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.names import INPUT
from edgecnn.targets.base import Interface, Session, Target

if TYPE_CHECKING:
    import openvino

    from edgecnn.graph.graph import Graph
    from edgecnn.quant.lower.qdq import Profile

COUNTED = re.compile(r"[A-Za-z0-9]+_\d+")  # Constant_113

# Stated, because on CPUs with AVX512-BF16 or AMX OpenVINO would otherwise compute in bf16 and nobody would know.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class OpenVinoSession(Session):
    """A compiled model on the CPU.

    Args:
        model: the bytes of an ONNX graph, or the path of an ``.xml``.
        weights: the path of the ``.bin`` that belongs to an ``.xml``.
    """

    def __init__(self, model: bytes | Path, weights: Path | None, interface: Interface) -> None:
        import openvino

        super().__init__(interface)
        core = openvino.Core()
        try:
            if isinstance(model, bytes):
                read = core.read_model(model)
            else:
                read = core.read_model(model=str(model), weights=str(weights))
            self.compiled = core.compile_model(read, "CPU", SETTINGS)
        except RuntimeError as error:
            raise BuildError(f"openvino {openvino.__version__} refuses the model: {_last_line(error)}") from error
        self._request = self.compiled.create_infer_request()

    def _run(self, image: Float) -> Float:
        answer = self._request.infer({INPUT: image})
        return np.asarray(answer[0], np.float32)


class OpenVinoTarget(Target):
    """OpenVINO's intermediate representation."""

    name: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str] = "openvino"
    settings: ClassVar[dict[str, str]] = SETTINGS

    @property
    def profile(self) -> "Profile":
        from edgecnn.quant.lower.profiles import OPENVINO

        return OPENVINO

    def build(self, graph: "Graph") -> dict[str, bytes]:
        import openvino

        try:
            model = openvino.Core().read_model(graph.content)
            _name_by_position(model)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.xml"
                openvino.save_model(model, path, compress_to_fp16=False)
                return {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}
        except RuntimeError as error:
            raise BuildError(f"openvino {openvino.__version__} refuses the graph: {_last_line(error)}") from error

    def open(self, files: dict[str, Path], interface: Interface) -> Session:
        return OpenVinoSession(files[".xml"], files[".bin"], interface)


def _name_by_position(model: "openvino.Model") -> None:
    """OpenVINO numbers the nodes it adds by a counter of the process; the same graph shall give the same bytes."""
    for position, node in enumerate(model.get_ordered_ops()):
        if COUNTED.fullmatch(node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}.{position}")


def _last_line(error: RuntimeError) -> str:
    return ([line for line in str(error).splitlines() if line.strip()] or ["no reason given"])[-1]
