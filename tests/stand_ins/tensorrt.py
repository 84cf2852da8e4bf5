"""A stand-in for NVIDIA's ``tensorrt``, which cannot be installed without its GPU: the shape of three versions' API.

``STAND_IN`` is 8.6, 10.3 or 11.4. It has the names that edgecnn's builder uses where that version has them, refuses
what that version refuses, and writes what it was asked as the engine's bytes. It proves which calls are made; it proves
nothing of TensorRT. Source: NVIDIA's API references and migration guides of these versions.
"""

import enum
import json
import os
from typing import Any

import onnx

VERSION = os.environ["STAND_IN"]
# Spellings that are refused: untyped-int8, typed-int8 with Casts and scaled-int8 with scales of half precision.
REFUSED = os.environ.get("STAND_IN_REFUSES", "").split()
IN_FLOAT = os.environ.get("STAND_IN_FLOAT", "").split()  # spellings that are built, but whose layers are float
OLD, CHOICE, NEW = VERSION == "8.6", VERSION == "10.3", VERSION == "11.4"
__version__ = {"8.6": "8.6.2", "10.3": "10.3.0", "11.4": "11.4.1"}[VERSION]


def _enum(name: str, *members: str) -> Any:
    return enum.IntEnum(name, {member: index for index, member in enumerate(members)})


class Severity(enum.Enum):
    ERROR, WARNING, VERBOSE = range(3)


class ILogger:
    def log(self, severity: Severity, text: str) -> None: ...


NetworkDefinitionCreationFlag = {
    "8.6": _enum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "EXPLICIT_PRECISION"),
    "10.3": _enum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", "STRONGLY_TYPED"),
    "11.4": _enum("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
}[VERSION]
BuilderFlag = _enum("BuilderFlag", *([] if NEW else ["FP16", "INT8"]), "TF32", "GPU_FALLBACK")
ProfilingVerbosity = _enum("ProfilingVerbosity", "LAYER_NAMES_ONLY", "DETAILED")
LayerInformationFormat = _enum("LayerInformationFormat", "ONELINE", "JSON")
DeviceType = _enum("DeviceType", "GPU", "DLA")
TensorIOMode = _enum("TensorIOMode", "NONE", "INPUT", "OUTPUT")


class _Tensor:
    def __init__(self, value: Any) -> None:
        self.name = value.name
        self.shape = tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)


class _Network:
    def __init__(self, flags: int) -> None:
        members = NetworkDefinitionCreationFlag.__members__
        self.typed = NEW or ("STRONGLY_TYPED" in members and bool(flags & 1 << members["STRONGLY_TYPED"]))
        self.explicit = not OLD or bool(flags & 1 << members["EXPLICIT_BATCH"])
        self.model: Any = None

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    @property
    def num_outputs(self) -> int:
        return len(self.model.graph.output)

    def get_input(self, index: int) -> _Tensor:
        return _Tensor(self.model.graph.input[index])


class _Error:
    def __init__(self, index: int, node: Any) -> None:
        self._index, self._node = index, node
        if not OLD:
            self.node_name = lambda: node.name
            self.node_operator = lambda: node.op_type

    def node(self) -> int:
        return self._index

    def desc(self) -> str:
        return f"no importer\nfor {self._node.op_type}"


class OnnxParser:
    def __init__(self, network: _Network, log: ILogger) -> None:
        self._network = network
        self._errors: list[_Error] = []

    def parse(self, content: bytes) -> bool:
        model = onnx.load_from_string(content)
        known = {
            "Conv",
            "Gemm",
            "Cast",
            "QuantizeLinear",
            "DequantizeLinear",
            "Relu",
            "Clip",
            "HardSwish",
            "Add",
            "Mul",
        }
        known |= {"HardSigmoid", "Sigmoid", "Sub", "GlobalAveragePool", "Flatten"}
        nodes = enumerate(model.graph.node)
        self._errors = [_Error(index, node) for index, node in nodes if node.op_type not in known]
        if not self._network.explicit or (OLD and model.opset_import[0].version > 17):
            return False
        self._network.model = model
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> _Error:
        return self._errors[index]


class _Cache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"+timed"


class _Config:
    def __init__(self) -> None:
        self.flags = {"TF32"}
        self.profiles: list[Any] = []
        self.cache: _Cache | None = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.default_device_type, self.DLA_core = DeviceType.GPU, -1

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile: Any) -> int:
        ok = all(
            small <= usual <= large for shapes in profile.values() for small, usual, large in zip(*shapes, strict=True)
        )
        self.profiles.append(dict(profile))
        return len(self.profiles) - 1 if ok else -1

    def create_timing_cache(self, content: bytes) -> _Cache:
        return _Cache(content)

    def set_timing_cache(self, cache: _Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache
        return True


class _Profile(dict[str, Any]):
    def set_shape(self, name: str, smallest: Any, usual: Any, largest: Any) -> None:
        self[name] = (smallest, usual, largest)


class Builder:
    num_DLA_cores = 0 if NEW else 2

    def __init__(self, log: ILogger) -> None:
        self._log = log

    def create_network(self, flags: int) -> _Network:
        return _Network(flags)

    def create_builder_config(self) -> _Config:
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        quantized = any(node.op_type == "QuantizeLinear" for node in network.model.graph.node)
        half = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in network.model.graph.initializer)
        scaled = any(
            tensor.name.endswith("/scale") and tensor.data_type == onnx.TensorProto.FLOAT16
            for tensor in network.model.graph.initializer
        )
        kind = "scaled" if scaled else "typed" if network.typed else "untyped"
        spelling = f"{kind}-{'int8' if quantized else 'float'}"
        problem = ""
        if network.typed and config.flags & {"FP16", "INT8"}:
            problem = "precision flags cannot be used with strongly typed networks"
        elif not network.typed and quantized and "INT8" not in config.flags:
            problem = "Q/DQ layers need the INT8 flag"
        elif not network.typed and half and "FP16" not in config.flags:
            problem = "fp16 precision has been set, but fp16 is not configured in the builder"
        elif (
            any(dim == -1 for tensor in network.model.graph.input for dim in _Tensor(tensor).shape)
            and not config.profiles
        ):
            problem = "dynamic input without profile"
        elif spelling in REFUSED:
            problem = "no implementation\nfor a node"
        if problem:
            self._log.log(Severity.ERROR, problem)
            return None
        asked = {
            "spelling": spelling,
            "half": half,
            "flags": sorted(config.flags),
            "profiles": config.profiles,
            "verbosity": config.profiling_verbosity.name,
            "dla": config.DLA_core if config.default_device_type == DeviceType.DLA else None,
            "cache": None if config.cache is None else config.cache.content.decode(),
            "layers": _layers(network.model.graph, spelling in IN_FLOAT),
            "classes": network.model.graph.output[0].type.tensor_type.shape.dim[1].dim_value,
            "image": list(_Tensor(network.model.graph.input[0]).shape),
        }
        return json.dumps(asked).encode()


def _layers(graph: Any, in_float: bool) -> list[dict[str, Any]]:
    """One kernel for each layer, in the words of that version's inspector."""
    makers = {node.output[0]: node for node in graph.node}
    found = []
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        source = makers.get(node.input[0])
        while source is not None and source.op_type == "Cast":
            source = makers.get(source.input[0])
        quantized = source is not None and source.op_type == "DequantizeLinear"
        kind = "Int8" if quantized and not in_float else "Half"
        said = (
            {"Datatype": kind}
            if NEW
            else {"Format/Datatype": f"Thirty-two wide channel vectorized row major {kind} format"}
        )
        tensor = {"Name": node.input[0], "Dimensions": [1, 16, 8, 8], **said}
        layer: dict[str, Any] = {"Name": f"{node.name} + activation", "Inputs": [tensor], "Outputs": [tensor]}
        if NEW:
            layer |= {"LayerType": "correlation", "Constants": [tensor]}
        else:
            layer |= {"LayerType": "CaskConvolution", "Weights": {"Type": kind, "Count": 1}}
        if not OLD:  # 8.6 has it as well, 8.5 does not; names must do there
            layer["Metadata"] = f"[ONNX Layer: {node.name}]\x1e[ONNX Layer: {node.name}_activation]"
        found.append(layer)
    return found


class Runtime:
    def __init__(self, log: ILogger) -> None:
        self._log = log

    def deserialize_cuda_engine(self, content: bytes) -> "_Engine":
        return _Engine(json.loads(content), self._log)


class _Engine:
    def __init__(self, asked: dict[str, Any], log: ILogger) -> None:
        self._asked, self.log = asked, log

    def create_engine_inspector(self) -> "_Engine":
        return self

    num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return ("image", "logits")[index]

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        image = self._asked["image"]
        return tuple(image) if name == "image" else (image[0], self._asked["classes"])

    @property
    def batches(self) -> range:
        """That it takes."""
        fixed, profiles = self._asked["image"][0], self._asked["profiles"]
        smallest, _, largest = profiles[0]["image"] if profiles else [[fixed]] * 3
        return range(smallest[0], largest[0] + 1)

    def create_execution_context(self) -> "_Context":
        return _Context(self, [layer["Name"] for layer in self._asked["layers"]])

    def get_engine_information(self, form: Any) -> str:
        assert form == LayerInformationFormat.JSON
        return json.dumps({"Layers": self._asked["layers"], "Bindings": ["image", "logits"]})


class IProfiler:
    """Refuses to report, as the real one does, where a subclass has not called it."""

    def __init__(self) -> None:
        self._made = True

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError


class _Context:
    """Answers what lies in the output's memory, and reports a layer's time as its place in the network."""

    profiler: IProfiler | None = None

    def __init__(self, engine: _Engine, layers: list[str]) -> None:
        self._engine, self._layers = engine, layers
        self._shape: tuple[int, ...] = ()

    def set_tensor_address(self, name: str, address: int) -> bool:
        return address != 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if shape[0] not in self._engine.batches:
            self._engine.log.log(Severity.ERROR, f"a batch of {shape[0]}\nis outside of the profile")
            return False
        self._shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._shape[0], *self._engine.get_tensor_shape(name)[1:])

    def execute_async_v3(self, stream: int) -> bool:
        if self.profiler is not None:
            assert self.profiler._made
            for place, name in enumerate(self._layers):
                self.profiler.report_layer_time(name, (place + 1) / 1000)
        return True
