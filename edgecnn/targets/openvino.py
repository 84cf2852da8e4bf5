"""OpenVINO on CPUs: an intermediate representation of two files, compiled when it is opened."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.errors import BuildError
from edgecnn.files import scratch
from edgecnn.names import INPUT, OUTPUT
from edgecnn.targets.base import (
    BF16,
    FP16,
    FP32,
    INT8,
    UNTUNED,
    ExecutedLayer,
    Flood,
    Interface,
    KernelTime,
    Session,
    Tuning,
)
from edgecnn.targets.cpu import CpuTarget

if TYPE_CHECKING:
    import openvino

    from edgecnn.graph.graph import Graph
    from edgecnn.quant.lower.qdq import Profile

COUNTED = re.compile(r"[A-Za-z0-9]+_\d+")  # Constant_113

# Stated, because on CPUs with AVX512-BF16 or AMX OpenVINO would otherwise compute in bf16 and nobody would know.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}

HINTS = {FP32: "f32", BF16: "bf16", FP16: "f16"}
PRECISIONS = {hint: name for name, hint in HINTS.items()} | {"u8": INT8, "i8": INT8}
# OpenVINO splits a layer from its bias and a dequantization from its layer, and names the parts after the whole.
PART = re.compile(r"/(WithoutBiases|Dequantization\w+)(/.*)?")


class OpenVinoSession(Session):
    """A compiled model on the CPU.

    Args:
        model: the bytes of an ONNX graph, or the path of an ``.xml``.
        weights: the path of the ``.bin`` that belongs to an ``.xml``.
        precision: that float layers are asked to compute in.
    """

    def __init__(
        self,
        model: bytes | Path,
        weights: Path | None,
        interface: Interface,
        precision: str = FP32,
        tuning: Tuning = UNTUNED,
    ) -> None:
        import openvino

        super().__init__(interface)
        core = openvino.Core()
        try:
            if isinstance(model, bytes):
                read = core.read_model(model)
            else:
                read = core.read_model(model=str(model), weights=str(weights))
            if interface.batch is not None and read.is_dynamic():
                read.reshape([interface.batch, interface.channels, interface.height, interface.width])
            hint = {"INFERENCE_PRECISION_HINT": HINTS[precision]}
            self.compiled = core.compile_model(read, "CPU", SETTINGS | hint | _tuned(tuning))
        except RuntimeError as error:
            raise BuildError(f"openvino {openvino.__version__} refuses the model: {_last_line(error)}") from error
        self._request = self.compiled.create_infer_request()

    def executed(self) -> tuple[ExecutedLayer, ...]:
        operations = self.compiled.get_runtime_model().get_ordered_ops()
        return tuple(_executed(operation) for operation in operations if not _is_prepared(operation))

    def _run(self, image: Float) -> Float:
        try:
            answer = self._request.infer({INPUT: image})
        except RuntimeError as error:
            raise _failed(error) from error
        return np.asarray(answer[0], np.float32)

    def flood(self, batches: Sequence[Float], seconds: float) -> Flood:
        import openvino

        queue = openvino.AsyncInferQueue(self.compiled)  # of as many requests as OpenVINO thinks best
        # A request is asked what it took when it is idle again: a callback in Python for each would take a fifth of the
        # throughput of a small network.
        requests_ms: list[float] = []
        used: set[int] = set()
        started, done = time.perf_counter(), 0
        try:
            while done == 0 or time.perf_counter() - started < seconds:
                idle = queue.get_idle_request_id()
                if idle in used:
                    requests_ms.append(queue[idle].latency)
                used.add(idle)
                queue.start_async({INPUT: batches[done % len(batches)]})
                done += 1
            queue.wait_all()
        except RuntimeError as error:
            raise _failed(error) from error
        took = time.perf_counter() - started
        return Flood(took, requests_ms + [queue[position].latency for position in used], len(used))

    def kernel_times(self, batches: Sequence[Float]) -> tuple[KernelTime, ...]:
        spent: dict[str, list[float]] = {}
        for batch in batches:
            self.run_again(batch)
            for row in self._request.get_profiling_info():
                spent.setdefault(row.node_name, []).append(1000 * row.real_time.total_seconds())
        operations = self.compiled.get_runtime_model().get_ordered_ops()
        names = [(operation.get_friendly_name(), operation) for operation in operations]
        return tuple(
            KernelTime.of_runs(_executed(operation), spent[name])
            for name, operation in names
            if any(spent.get(name, ()))
        )

    @property
    def threads(self) -> int | None:
        return int(self.compiled.get_property("INFERENCE_NUM_THREADS"))


class OpenVinoTarget(CpuTarget):
    """OpenVINO's intermediate representation."""

    name: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra: ClassVar[str] = "openvino"
    float_precisions: ClassVar[tuple[str, ...]] = (FP32, BF16, FP16)

    @property
    def settings(self) -> dict[str, str]:
        return SETTINGS

    @property
    def profile(self) -> "Profile":
        from edgecnn.quant.lower.profiles import OPENVINO

        return self._ranged(OPENVINO)

    def build(self, graph: "Graph") -> dict[str, bytes]:
        import openvino

        with scratch(2 * len(graph.content)) as folder:
            path = folder / "model.xml"
            try:
                model = openvino.Core().read_model(graph.content)
                _name_by_position(model)
                openvino.save_model(model, path, compress_to_fp16=False)
            except RuntimeError as error:
                raise BuildError(f"openvino {openvino.__version__} refuses the graph: {_last_line(error)}") from error
            return {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}

    def open(self, files: dict[str, Path], interface: Interface, tuning: Tuning = UNTUNED) -> Session:
        return OpenVinoSession(files[".xml"], files[".bin"], interface, tuning=tuning)

    def open_float(self, graph: bytes, interface: Interface, precision: str) -> Session:
        return OpenVinoSession(graph, None, interface, precision)


def _tuned(tuning: Tuning) -> dict[str, str]:
    """A user's wishes in OpenVINO's words."""
    threads = {} if tuning.threads is None else {"INFERENCE_NUM_THREADS": str(tuning.threads)}
    hint = {"PERFORMANCE_HINT": "THROUGHPUT"} if tuning.many else {}
    return threads | hint | ({"PERF_COUNT": "YES"} if tuning.profiled else {})


def _is_prepared(operation: Any) -> bool:
    """Whether it is an input, an output, or a constant and its reshapes, which are done before the first run."""
    sources = [value.get_node() for value in operation.input_values()]
    kind = _info(operation, "layerType")
    return kind in ("Input", "Output", "Const") or (
        kind == "Reshape" and all(_info(source, "layerType") == "Const" for source in sources)
    )


def _executed(operation: Any) -> ExecutedLayer:
    precision = _info(operation, "runtimePrecision")
    originals = [PART.sub("", name) for name in _info(operation, "originalLayersNames").split(",")]
    # Nodes are called module.path/Op; what OpenVINO made on the way has a number of this process instead.
    nodes = dict.fromkeys(name for name in originals if "/" in name or name == OUTPUT)
    return ExecutedLayer(tuple(nodes), _info(operation, "layerType"), PRECISIONS.get(precision, precision))


def _info(operation: Any, key: str) -> str:
    info = operation.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""


def _name_by_position(model: "openvino.Model") -> None:
    """OpenVINO numbers the nodes it adds by a counter of the process; the same graph shall give the same bytes."""
    for position, node in enumerate(model.get_ordered_ops()):
        if COUNTED.fullmatch(node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}.{position}")


def _failed(error: RuntimeError) -> BuildError:
    import openvino

    return BuildError(f"openvino {openvino.__version__} fails to run the model: {_last_line(error)}")


def _last_line(error: RuntimeError) -> str:
    return ([line for line in str(error).splitlines() if line.strip()] or ["no reason given"])[-1]
