"""Opens a candidate in its runtime, with the same number of threads for all."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.names import INPUT
from edgecnn.targets.openvino import SETTINGS

Run = Callable[[Float], Float]  # (1, 3, H, W) float32 to (1, classes)


def open_model(runtime: str, model: Any, threads: int) -> Run:
    """What answers one image.

    Args:
        model: an ``openvino.Model``, or the bytes of an ONNX graph.
    """
    return _openvino(model, threads) if runtime == "openvino" else _onnxruntime(model, threads)


def _openvino(model: Any, threads: int) -> Run:
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {**SETTINGS, "INFERENCE_NUM_THREADS": threads})
    request = compiled.create_infer_request()

    def run(image: Float) -> Float:
        return np.array(request.infer(image)[0], np.float32)  # by position: peers may rename tensors

    return run


def _onnxruntime(model: bytes, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Threads that wait actively after an inference would take the cores from the next candidate's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(image: Float) -> Float:
        return session.run(None, {INPUT: image})[0]  # type: ignore[no-any-return]  # onnxruntime ships no types

    return run
