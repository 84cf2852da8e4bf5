"""ONNX Runtime as the plain executor of graphs: for calibration, for parity, and behind the target of that name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.names import BATCH, INPUT, OUTPUT
from edgecnn.threads import PARTS, in_order, threads_each

if TYPE_CHECKING:
    import onnxruntime

AT_ONCE = 4 * 224**2  # pixels: with more, activations leave the caches


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
    own_memory: bool = True,
) -> "onnxruntime.InferenceSession":
    """A CPU session that prints nothing.

    Args:
        model: a graph's bytes, or the name of its file.
        optimize: False runs the graph node by node as it is written, which is what "the lowered graph" means.
        int8_kernels: False computes Q/DQ graphs in float, whose sums are the same on every CPU.
        batch: what a graph's dynamic batch is fixed to, if anything.
        optimized: file to write the graph to that will be executed.
        threads: of each run; None is ONNX Runtime's own choice.
        profile: what the name of the file begins with that ``end_profiling`` writes.
        own_memory: False takes the process's arena, which is registered already.

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
    if not own_memory:
        options.add_session_config_entry("session.use_env_allocators", "1")
    if batch is not None:
        options.add_free_dimension_override_by_name(BATCH, batch)
    if optimized is not None:
        options.optimized_model_filepath = os.fsencode(optimized)
    if threads is not None:
        options.intra_op_num_threads = threads
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, os.fsencode(profile)
    if not int8_kernels:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(_taken(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions are bound from C++ and share no public base
        raise BuildError(f"onnxruntime {onnxruntime.__version__} refuses the graph: {error}") from error


def _taken(model: bytes | str) -> bytes | str:
    """ONNX Runtime takes names in UTF-8; of a file with another it gets the content, which it then holds in memory."""
    if isinstance(model, bytes):
        return model
    try:
        model.encode()
    except UnicodeEncodeError:
        return Path(model).read_bytes()
    return model


def shared_session(model: bytes, int8_kernels: bool = True) -> "onnxruntime.InferenceSession":
    """A session that several threads run at once, on some images each, and whose memory the next one has again.

    A chain of operators on a few images on one core keeps its activations in that core's cache, and waits for nobody.
    Activations of all such sessions are in one arena: fresh memory for each would take a fifth of an export's time.

    Args:
        int8_kernels: as of ``inference_session``.

    Raises:
        BuildError: as ``inference_session``.
    """
    _register_arena()
    return inference_session(model, int8_kernels=int8_kernels, threads=threads_each(), own_memory=False)


@cache
def _register_arena() -> None:
    without_telemetry()
    import onnxruntime

    kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory), None)


@contextmanager
def memory_given_back() -> Iterator[None]:
    """However it ends, what shared sessions left in their arena is given back; the arena would hold it for good."""
    try:
        yield
    finally:
        _release_memory()


def _release_memory() -> None:
    import onnxruntime
    from onnx import TensorProto, helper

    from edgecnn.graph.graph import model_of

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in (INPUT, OUTPUT)]
    graph = helper.make_graph([helper.make_node("Identity", [INPUT], [OUTPUT])], "nothing", values[:1], values[1:])
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")  # which only a run can ask for
    session = shared_session(model_of(graph).SerializeToString())
    session.run([OUTPUT], {INPUT: np.zeros(1, np.float32)}, options)


def logits(session: "onnxruntime.InferenceSession", images: Float) -> Float:
    """What a session of dynamic batch answers to any number of images: (n, classes) float32.

    Args:
        images: (n, C, H, W) float32, normalised, at least one.
    """

    def answer(part: Float) -> Float:
        return np.asarray(session.run([OUTPUT], {INPUT: part})[0])

    most = min(as_many(images, AT_ONCE), -(-len(images) // PARTS))
    return np.concatenate(list(in_order(answer, in_chunks(images, most))))


def in_chunks(images: Float, most: int) -> list[Float]:
    """Images, at most so many at a time, in chunks of much the same size."""
    return np.array_split(images, -(-len(images) // most))


def as_many(images: Float, pixels: int) -> int:
    """How many of such images have so many pixels; one at least."""
    return max(1, pixels // int(images[0, 0].size))
