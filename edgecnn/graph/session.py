"""ONNX Runtime as the plain executor of graphs: for calibration, for parity, and behind the target of that name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.names import BATCH, INPUT, OUTPUT

if TYPE_CHECKING:
    import onnxruntime

AT_ONCE = 8  # images


def without_telemetry() -> None:
    """To be called before ONNX Runtime is imported, from when on recent versions report their use to their makers."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # nobody asked for it


def inference_session(
    model: bytes | str,
    optimize: bool = True,
    int8_kernels: bool = True,
    batch: int | None = None,
    optimized: Path | None = None,
    threads: int | None = None,
    profile: Path | None = None,
) -> "onnxruntime.InferenceSession":
    """A CPU session that prints nothing.

    Args:
        optimize: False runs the graph node by node as it is written, which is what "the lowered graph" means.
        int8_kernels: False computes Q/DQ graphs in float, whose sums are the same on every CPU.
        batch: what a graph's dynamic batch is fixed to, if anything.
        optimized: file to write the graph to that will be executed.
        threads: of each run; None is ONNX Runtime's own choice.
        profile: what the name of the file begins with that ``end_profiling`` writes.

    Raises:
        BuildError: ONNX Runtime refuses the model.
    """
    without_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    # Threads that go on spinning after a run would slow whatever else runs in this process, other sessions above all.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if batch is not None:
        options.add_free_dimension_override_by_name(BATCH, batch)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if threads is not None:
        options.intra_op_num_threads = threads
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    if not int8_kernels:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions are bound from C++ and share no public base
        raise BuildError(f"onnxruntime {onnxruntime.__version__} refuses the graph: {error}") from error


def logits(
    session: "onnxruntime.InferenceSession", images: Float, feeds: Mapping[str, NDArray[Any]] | None = None
) -> Float:
    """What a session of dynamic batch answers to any number of images: (n, classes) float32.

    Args:
        images: (n, C, H, W) float32, normalised, at least one.
        feeds: of the session's other inputs.
    """
    parts = in_chunks(images, AT_ONCE)
    return np.concatenate([session.run([OUTPUT], {INPUT: part, **(feeds or {})})[0] for part in parts])


def in_chunks(images: Float, most: int) -> list[Float]:
    """Images, at most so many at a time, in chunks of much the same size."""
    return np.array_split(images, -(-len(images) // most))
