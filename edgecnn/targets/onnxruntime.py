"""ONNX Runtime on CPUs, and the portable ONNX graph that it runs as well."""

import contextlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.files import scratch
from edgecnn.graph.session import inference_session
from edgecnn.names import INPUT, OUTPUT
from edgecnn.targets.base import UNTUNED, ExecutedLayer, Flood, Interface, KernelTime, Session, Tuning
from edgecnn.targets.cpu import CpuTarget
from edgecnn.targets.onnx_file import read_nodes
from edgecnn.targets.ort_executed import executed_layers, timed_kernels
from edgecnn.threads import available_cores

if TYPE_CHECKING:
    import onnxruntime

    from edgecnn.graph.graph import Graph
    from edgecnn.quant.lower.qdq import Profile


class OnnxRuntimeSession(Session):
    """A session over ONNX bytes or an ONNX file."""

    def __init__(
        self, model: bytes | str, interface: Interface, optimize: bool = True, tuning: Tuning = UNTUNED
    ) -> None:
        super().__init__(interface)
        self._model, self._optimize, self._tuning = model, optimize, tuning
        self._callers = tuning.threads or available_cores() if tuning.many else 1
        # Many callers share the cores; a pool for each of them would only make them wait for one another.
        self._session = inference_session(
            model, optimize, batch=interface.batch, threads=1 if tuning.many else tuning.threads
        )

    def executed(self) -> tuple[ExecutedLayer, ...]:
        written = self._model if isinstance(self._model, bytes) else Path(self._model).read_bytes()
        with scratch(2 * len(written)) as folder:
            path = folder / "optimized.onnx"
            inference_session(self._model, self._optimize, batch=self.interface.batch, optimized=path)
            return executed_layers(read_nodes(written), read_nodes(path.read_bytes()))

    def flood(self, batches: Sequence[Float], seconds: float) -> Flood:
        started = time.perf_counter()
        with ThreadPoolExecutor(self._callers) as pool:
            parts = [pool.submit(super(OnnxRuntimeSession, self).flood, batches, seconds) for _ in range(self._callers)]
            requests_ms = [ms for part in parts for ms in part.result().requests_ms]
        return Flood(time.perf_counter() - started, requests_ms, self._callers)

    def kernel_times(self, batches: Sequence[Float]) -> tuple[KernelTime, ...]:
        written = self._model if isinstance(self._model, bytes) else Path(self._model).read_bytes()
        with scratch(2 * len(written)) as folder:
            path = folder / "optimized.onnx"
            session = inference_session(
                self._model,
                self._optimize,
                batch=self.interface.batch,
                optimized=path,
                threads=self._tuning.threads,
                profile=folder / "profile",
            )
            for batch in batches:
                _answer(session, batch)
            with contextlib.suppress(UnicodeDecodeError):  # of its file's name, which it gives back as UTF-8
                session.end_profiling()
            (events,) = (json.loads(path.read_bytes()) for path in folder.glob("profile*"))
            nodes = read_nodes(path.read_bytes())
            return timed_kernels(executed_layers(read_nodes(written), nodes), events)

    @property
    def threads(self) -> int | None:
        pool: int = self._session.get_session_options().intra_op_num_threads
        return self._callers * pool or None

    def _run(self, image: Float) -> Float:
        return _answer(self._session, image)


class OnnxRuntimeTarget(CpuTarget):
    """ONNX with the Q/DQ nodes that ONNX Runtime's INT8 kernels need."""

    name: ClassVar[str] = "onnxruntime"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    extra: ClassVar[str] = "onnxruntime"

    @property
    def profile(self) -> "Profile":
        from edgecnn.quant.lower.profiles import ONNXRUNTIME

        return self._ranged(ONNXRUNTIME)

    def build(self, graph: "Graph") -> dict[str, bytes]:
        inference_session(graph.content)
        return {".onnx": graph.content}

    def open(self, files: dict[str, Path], interface: Interface, tuning: Tuning = UNTUNED) -> Session:
        return OnnxRuntimeSession(str(files[".onnx"]), interface, tuning=tuning)

    def open_float(self, graph: bytes, interface: Interface, precision: str) -> Session:
        return OnnxRuntimeSession(graph, interface)


class OnnxTarget(OnnxRuntimeTarget):
    """The portable ONNX graph, checked in ONNX Runtime."""

    name: ClassVar[str] = "onnx"
    # The fewest nodes, for runtimes that fuse on their own; this one reaches its INT8 kernels for some layers only.
    every_layer_int8: ClassVar[bool] = False

    @property
    def profile(self) -> "Profile":
        from edgecnn.quant.lower.profiles import PORTABLE

        return self._ranged(PORTABLE)


def _answer(session: "onnxruntime.InferenceSession", image: Float) -> Float:
    try:
        (logits,) = session.run([OUTPUT], {INPUT: image})
    except Exception as error:  # its exceptions are bound from C++ and share no public base
        import onnxruntime

        why = " ".join(str(error).split())
        raise BuildError(f"onnxruntime {onnxruntime.__version__} fails to run the model: {why}") from error
    return logits  # type: ignore[no-any-return]  # onnxruntime ships no types
