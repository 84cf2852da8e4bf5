"""ONNX Runtime on CPUs, and the portable ONNX graph that it runs as well."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.names import INPUT, OUTPUT
from edgecnn.targets.base import Interface, Session, Target

if TYPE_CHECKING:
    import onnxruntime

    from edgecnn.graph.graph import Graph
    from edgecnn.quant.lower.qdq import Profile


def inference_session(model: bytes | str, optimize: bool = True) -> "onnxruntime.InferenceSession":
    """A CPU session that prints nothing.

    Args:
        optimize: False runs the graph node by node as it is written, which is what "the lowered graph" means.

    Raises:
        BuildError: ONNX Runtime refuses the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions are bound from C++ and share no public base
        raise BuildError(f"onnxruntime {onnxruntime.__version__} refuses the graph: {error}") from error


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
