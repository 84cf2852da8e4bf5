"""ONNX Runtime as the plain executor of graphs: for calibration, for parity, and behind the target of that name."""

from typing import TYPE_CHECKING

from edgecnn.errors import BuildError

if TYPE_CHECKING:
    import onnxruntime


def inference_session(
    model: bytes | str, optimize: bool = True, int8_kernels: bool = True
) -> "onnxruntime.InferenceSession":
    """A CPU session that prints nothing.

    Args:
        optimize: False runs the graph node by node as it is written, which is what "the lowered graph" means.
        int8_kernels: False computes Q/DQ graphs in float, whose sums are the same on every CPU.

    Raises:
        BuildError: ONNX Runtime refuses the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    if not int8_kernels:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions are bound from C++ and share no public base
        raise BuildError(f"onnxruntime {onnxruntime.__version__} refuses the graph: {error}") from error
