"""TensorRT: engines for NVIDIA GPUs, built without one where TensorRT for RTX can, and bundles that devices build.

Without a GPU an engine cannot be opened, let alone run. What its builder made of each layer is written down beside it,
so that INT8 coverage is known everywhere; that nothing was executed is said wherever an answer is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgecnn.errors import BuildError, UsageError
from edgecnn.targets.base import (
    FP16,
    FP32,
    INT8,
    UNTUNED,
    Advice,
    Interface,
    Options,
    Session,
    StaticCost,
    Target,
    Tuning,
)
from edgecnn.targets.bundle import builder
from edgecnn.targets.bundle.cuda_driver import find_gpu
from edgecnn.targets.tensorrt_bundle import write_bundle
from edgecnn.targets.tensorrt_flavours import BUNDLE, PROPER, RTX, Flavour, choose, load
from edgecnn.targets.tensorrt_session import BATCHES, NOT_BUILT, Description, NothingBuilt, TensorRtSession

if TYPE_CHECKING:
    from edgecnn.graph.graph import Graph
    from edgecnn.quant.lower.qdq import Profile


@dataclass(frozen=True)
class TensorRtTarget(Target):
    """TensorRT, TensorRT for RTX, or neither: the bundle that every artifact carries.

    Args:
        flavour: which of them builds here; None is not decided yet, and nothing can be built.
        architectures: that an RTX engine is for; none is portable.
        scales: whether INT8's scales are half precision, if a user says it.
    """

    flavour: Flavour | None = None
    architectures: tuple[str, ...] = ()
    scales: bool | None = None

    name: ClassVar[str] = "tensorrt"
    packages: ClassVar[tuple[str, ...]] = ()  # opening needs none: without a GPU there is nothing to open
    extra: ClassVar[str] = "tensorrt-rtx"
    half_arithmetic: ClassVar[bool] = True
    float_precisions: ClassVar[tuple[str, ...]] = (FP32, FP16)
    largest_batch: ClassVar[int | None] = BATCHES[-1]

    @property
    def settings(self) -> dict[str, str]:
        chosen = self._chosen
        architectures = {"gpu_arch": ", ".join(self.architectures).lower()} if self.architectures else {}
        scales = {"int8_scales": FP16 if self.fp16_scales else FP32}
        return {"flavour": chosen.name, "version": chosen.version, "tf32": "off"} | scales | architectures

    @property
    def fp16_scales(self) -> bool:
        """Casts where they were seen to work; TensorRT itself gets what NVIDIA's own quantizer writes for it."""
        return self._typed and (self._chosen.name == PROPER if self.scales is None else self.scales)

    def remark(self, precision: str) -> str:
        return f"flavour {self._chosen.name}: {self._chosen.why}"

    @property
    def absence(self) -> str:
        if self._chosen.name == BUNDLE:
            return NOT_BUILT
        gpu, why = find_gpu()
        if gpu is None:
            return why
        unfit = builder.not_for(load(self._chosen.module), self._engine_architectures, gpu)
        return f"its engines are {unfit}" if unfit else ""

    @property
    def profile(self) -> "Profile":
        from edgecnn.quant.lower.profiles import TENSORRT

        return TENSORRT

    def configured(self, options: Options) -> Target:
        if options.reduce_range is not None:
            raise UsageError("--reduce-range is for x86 CPUs alone, GPUs add products in 32 bits; drop it")
        flavour, architectures = choose(options)
        found = replace(self, flavour=flavour, architectures=architectures, scales=options.fp16_scales)
        if options.fp16_scales and not found._typed:
            raise UsageError(
                f"--fp16-scales needs TensorRT 10 or newer, here is {flavour.name} {flavour.version}; drop it"
            )
        return found

    def finished(self, graph: "Graph", precision: str) -> "Graph":
        from edgecnn.graph.fp16 import fp16_arithmetic
        from edgecnn.quant.lower.half import with_fp16_scales

        if precision == FP32 or (precision == INT8 and not self._typed):
            return graph  # builder flags say the rest
        return with_fp16_scales(graph) if precision == INT8 and self.fp16_scales else fp16_arithmetic(graph)

    def build(self, graph: "Graph") -> dict[str, bytes]:
        from edgecnn.graph.lint import lint_tensorrt

        lint_tensorrt(graph, profile=True)
        if self._chosen.name == BUNDLE:
            return {}
        engine, description = self._built(graph)
        return {".engine": engine, ".json": description.as_bytes()}

    def open(self, files: dict[str, Path], interface: Interface, tuning: Tuning = UNTUNED) -> Session:
        if not files:
            return NothingBuilt(interface)
        return TensorRtSession(files[".engine"].read_bytes(), Description.read(files[".json"].read_bytes()), interface)

    def runtime(self, files: Mapping[str, Path]) -> str:
        return Description.read(files[".json"].read_bytes()).module

    def open_float(self, graph: bytes, interface: Interface, precision: str) -> Session:
        from edgecnn.graph.check import read_graph
        from edgecnn.graph.fp16 import fp16_arithmetic
        from edgecnn.graph.graph import with_batch

        wanted = with_batch(read_graph(graph, "the FP32 graph"), interface.batch)
        built = self._built(fp16_arithmetic(wanted) if precision == FP16 else wanted)
        return TensorRtSession(*built, interface)

    def advise(self, built: dict[str, bytes], reference: "Graph") -> Advice | None:
        from edgecnn.graph.fp16 import fp16_arithmetic

        if ".json" not in built:
            return None
        int8 = Description.read(built[".json"]).cost("int8")
        fp16 = self._built(fp16_arithmetic(reference))[1].cost("fp16")
        return advice(int8, fp16, self._chosen.name)

    def companions(self, graphs: Mapping[str, "Graph"], golden: bytes, facts: Mapping[str, Any]) -> dict[str, bytes]:
        return {"bundle.zip": write_bundle(graphs, golden, facts)}

    @property
    def _chosen(self) -> Flavour:
        return self.flavour or choose(Options())[0]

    @property
    def _engine_architectures(self) -> tuple[str, ...]:
        """As asked of RTX, none for a portable engine; TensorRT itself builds for the GPU that it runs on."""
        return self.architectures if self._chosen.name == RTX else (self._chosen.architecture,)

    @property
    def _typed(self) -> bool:
        """Whether the graph's own types decide, as everywhere but in TensorRT 8."""
        return self._chosen.name != PROPER or builder.is_typed(load(self._chosen.module))

    def _built(self, graph: "Graph") -> tuple[bytes, Description]:
        chosen = self._chosen
        trt = load(chosen.module)
        dynamic = graph.input_shape[0] is None
        options = builder.Options(_flags(graph), True, BATCHES if dynamic else None, self.architectures)
        operators = {node.name: node.op_type for node in graph.nodes}
        try:
            built = builder.build_alone(chosen.module, graph.content, options)
            kernels = chosen.kernels(trt, built, operators)
        except builder.Refused as error:
            raise BuildError(f"{chosen.name} {trt.__version__} refuses the graph: {error}") from error
        return built.engine, Description(chosen.module, trt.__version__, self._engine_architectures, kernels)


def _flags(graph: "Graph") -> tuple[str, ...]:
    """For networks that are not strongly typed."""
    from onnx import TensorProto

    if any(node.op_type == "QuantizeLinear" for node in graph.nodes):
        return builder.FLAGS[INT8]
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.model.graph.initializer)
    return builder.FLAGS[FP16 if half else FP32]


def advice(int8: StaticCost, fp16: StaticCost, flavour: str) -> Advice:
    """What the kernels of two builds say, which were not run: no speed, only what each has to do."""
    kernels, moved = int8.kernels / fp16.kernels, int8.moved_bytes / fp16.moved_bytes
    costs = (int8, fp16)
    counted = " against ".join(f"{cost.kernels} kernels that move {cost.moved_bytes / 1e6:.2f} MB" for cost in costs)
    if kernels >= 1 and moved >= 1:
        conclusion = f"{flavour} will hardly gain by INT8 on this network; prefer --fp16, or measure both on your GPU"
    elif kernels < 1 and moved < 1:
        conclusion = "INT8 has less to do; measure both on your GPU"
    else:
        conclusion = "neither is clearly less; measure both on your GPU"
    return Advice(costs, f"INT8 against FP16, {counted}: {conclusion}")
