"""ONNX Runtime on CPUs, and the portable ONNX graph that it runs as well."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgecnn.data.preprocess import Float
from edgecnn.graph.session import inference_session
from edgecnn.names import INPUT, OUTPUT
from edgecnn.targets.base import Interface, Session, Target

if TYPE_CHECKING:
    from edgecnn.graph.graph import Graph
    from edgecnn.quant.lower.qdq import Profile


class OnnxRuntimeSession(Session):
    """A session over ONNX bytes or an ONNX file."""

    def __init__(self, model: bytes | str, interface: Interface, optimize: bool = True) -> None:
        super().__init__(interface)
        self._session = inference_session(model, optimize)

    def _run(self, image: Float) -> Float:
        (logits,) = self._session.run([OUTPUT], {INPUT: image})
        return logits  # type: ignore[no-any-return]  # onnxruntime ships no types


class OnnxRuntimeTarget(Target):
    """ONNX with the Q/DQ nodes that ONNX Runtime's INT8 kernels need."""

    name: ClassVar[str] = "onnxruntime"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    extra: ClassVar[str] = "onnxruntime"

    @property
    def profile(self) -> "Profile":
        from edgecnn.quant.lower.profiles import ONNXRUNTIME

        return ONNXRUNTIME

    def build(self, graph: "Graph") -> dict[str, bytes]:
        inference_session(graph.content)
        return {".onnx": graph.content}

    def open(self, files: dict[str, Path], interface: Interface) -> Session:
        return OnnxRuntimeSession(str(files[".onnx"]), interface)


class OnnxTarget(OnnxRuntimeTarget):
    """The portable ONNX graph, checked in ONNX Runtime."""

    name: ClassVar[str] = "onnx"

    @property
    def profile(self) -> "Profile":
        from edgecnn.quant.lower.profiles import PORTABLE

        return PORTABLE
