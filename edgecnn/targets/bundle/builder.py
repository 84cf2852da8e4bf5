"""Builds an engine from ONNX with whichever TensorRT is given: 8.5 to 11.x, or TensorRT for RTX. Python 3.8.

What differs between them: 8.x needs the explicit-batch flag and takes precisions from builder flags; from 10.0 on
networks can be strongly typed, which is the only kind that 11.x and RTX have: all precision is in the graph. Calls that
a version lacks are looked for by name and never guessed from a version number. Sources: NVIDIA's Python API references
of 8.6, 10.3 and 11.4, and the docstrings of tensorrt_rtx 1.7.1.
"""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

LAYERS = "Layers:"  # how RTX's builder begins the message that lists its kernels
SAID = ("ERROR", "INTERNAL_ERROR")
# What networks take that are not strongly typed, by precision: without, they refuse codes, or have no float16.
FLAGS = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
PORTABLE_FROM = "SM80"  # RTX builds for older GPUs by name alone


class Refused(Exception):
    """TensorRT takes the graph or the options for none of its own; the message is its own, with the node's name."""


class Options(NamedTuple):
    """How an engine is built.

    Attributes:
        flags: builder flags by name, such as FP16 and INT8, for networks that are not strongly typed.
        typed: whether the graph's own types decide, where this version can do that.
        batches: smallest, usual and largest batch of a graph with a dynamic one.
        architectures: such as SM86, that an RTX engine is for; none is a portable engine.
        timing_cache: bytes of an earlier build, or empty; None does without a cache.
        dla: the core of a deep-learning accelerator that layers run on where they can.
    """

    flags: tuple[str, ...] = ()
    typed: bool = True
    batches: tuple[int, int, int] | None = None
    architectures: tuple[str, ...] = ()
    timing_cache: bytes | None = None
    dla: int | None = None


class Built(NamedTuple):
    """An engine, the lines that list its kernels where the builder says them, and the timing cache."""

    engine: bytes
    layers: str
    timing_cache: bytes | None


def build_alone(module: str, content: bytes, options: Options) -> Built:
    """``build`` in a process of its own, which a builder that crashes takes down alone.

    And a failed build leaves something behind: with TensorRT-RTX 1.7.1, after one that failed for SM75 the next engine
    of the process is one for SM75 as well, whatever it was asked to be, without a word.

    Args:
        module: ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        Refused: as ``build``, or the process died.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MODEL).write_bytes(content)
        (folder / CACHE).write_bytes(options.timing_cache or b"")
        asked = options._replace(timing_cache=None)._asdict()
        (folder / ASKED).write_text(json.dumps(dict(asked, cached=options.timing_cache is not None)), "utf-8")
        line = [sys.executable, str(Path(__file__).resolve()), module, name]
        done = subprocess.run(line, capture_output=True, check=False)  # noqa: S603
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").split("\n")
            raise Refused(f"the builder died ({done.returncode}): " + " ".join("".join(said[-2:]).split()))
        answer = json.loads((folder / ANSWER).read_text("utf-8"))
        if answer["refused"]:
            raise Refused(answer["refused"])
        cache = (folder / CACHE).read_bytes() if answer["cached"] else None
        return Built((folder / ENGINE).read_bytes(), answer["layers"], cache)


MODEL, CACHE, ASKED, ANSWER, ENGINE = "model.onnx", "timing.cache", "asked.json", "answer.json", "model.engine"


def main(module: str, name: str) -> None:
    """The other process: reads what ``build_alone`` left in a folder, and leaves its answer there."""
    folder = Path(name)
    asked = json.loads((folder / ASKED).read_text("utf-8"))
    cache = (folder / CACHE).read_bytes() if asked.pop("cached") else None
    wanted: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in asked.items()}
    options = Options(**wanted)
    answer = {"refused": "", "layers": "", "cached": False}
    try:
        content = (folder / MODEL).read_bytes()
        built = build(importlib.import_module(module), content, options._replace(timing_cache=cache))
        (folder / ENGINE).write_bytes(built.engine)
        (folder / CACHE).write_bytes(built.timing_cache or b"")
        answer = {"refused": "", "layers": built.layers, "cached": built.timing_cache is not None}
    except Refused as error:
        answer["refused"] = str(error)
    (folder / ANSWER).write_text(json.dumps(answer), "utf-8")


def build(trt: Any, content: bytes, options: Options) -> Built:
    """An engine's bytes from an ONNX file's.

    Args:
        trt: the module ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        Refused: in TensorRT's own words; it returns None where it fails, and reads nonsense as an empty network.
    """
    log = logger(trt)
    before = len(log.messages)
    builder = trt.Builder(log)
    network = builder.create_network(_network_flags(trt, options.typed))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(content):
        raise Refused("; ".join(_said(parser.get_error(i)) for i in range(parser.num_errors)) or log.last_error(before))
    if network.num_outputs == 0:
        raise Refused("the network is empty")
    config = builder.create_builder_config()
    if hasattr(config, "profiling_verbosity"):
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # names and types of every kernel
    if "TF32" in trt.BuilderFlag.__members__:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, with ten bits where FP32 has twenty-three
    if not is_typed(trt, options.typed):
        for name in options.flags:
            config.set_flag(_flag(trt, name))
    if options.batches is not None:
        _add_profile(builder, network, config, options.batches)
    _set_architectures(trt, config, options.architectures)
    _set_dla(trt, builder, config, options.dla)
    cache = None
    if options.timing_cache is not None and hasattr(config, "create_timing_cache"):
        cache = config.create_timing_cache(options.timing_cache)
        config.set_timing_cache(cache, ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise Refused(log.last_error(before))
    layers = [text for _, text in log.messages[before:] if text.startswith(LAYERS)]
    return Built(bytes(engine), layers[-1] if layers else "", None if cache is None else bytes(cache.serialize()))


def inspected(trt: Any, engine: bytes) -> str | None:
    """What the inspector says of an engine that was built just now, as JSON; None where nothing can be asked."""
    opened = trt.Runtime(logger(trt)).deserialize_cuda_engine(engine)
    if opened is None or not hasattr(opened, "create_engine_inspector"):
        return None
    return str(opened.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def not_for(trt: Any, architectures: tuple[str, ...], gpu: Any) -> str:
    """Why engines do not run on a GPU, as ``for SM86, here is …``, or empty. Nothing is deserialized to know it.

    TensorRT-RTX 1.7.1 says of its portable engines, on an NVIDIA H100 of 9.0: "Supported compute capabilities: 8.0 8.6
    8.9 12.0 12.1 >12.0". Those are the ones that it can be asked to build for, without the oldest.

    Args:
        trt: the module that builds them.
        architectures: that they are for, such as ``SM86``; none is a portable engine of RTX.
        gpu: ``cuda_driver.Gpu``.
    """
    if gpu.architecture in architectures:
        return ""
    names = ", ".join(architectures)
    if not architectures:
        named = [name for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
        portable = sorted((name for name in named if _number(name) >= _number(PORTABLE_FROM)), key=_number)
        if gpu.architecture in portable or _number(gpu.architecture) > _number(portable[-1]):
            return ""
        names = f"{', '.join(portable)} and newer"
    return f"for {names}, here is {gpu.name} ({gpu.architecture})"


def is_typed(trt: Any, wanted: bool = True) -> bool:
    """Whether networks will be strongly typed: as it is wanted where that can be chosen, else as the version has it."""
    choice = "STRONGLY_TYPED" in trt.NetworkDefinitionCreationFlag.__members__
    return (choice and wanted) or "FP16" not in trt.BuilderFlag.__members__


@functools.lru_cache(maxsize=None)
def logger(trt: Any) -> Any:
    """The process's logger, which keeps every message, as ``messages: [(severity, text)]``, and prints none.

    One for all: TensorRT writes to the first that it was given, and leaves every later one empty.
    """

    class Log(trt.ILogger):  # type: ignore[misc]  # whose base is known when it runs
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[tuple[str, str]] = []

        def log(self, severity: Any, text: str) -> None:
            self.messages.append((severity.name, text))

        def last_error(self, since: int) -> str:
            """In TensorRT's own words, of the messages after so many."""
            said = [text for severity, text in self.messages[since:] if severity in SAID]
            return " ".join(said[-1].split()) if said else "no reason given"

    return Log()


def _network_flags(trt: Any, typed: bool) -> int:
    flags = trt.NetworkDefinitionCreationFlag.__members__
    name = "STRONGLY_TYPED" if "STRONGLY_TYPED" in flags and is_typed(trt, typed) else "EXPLICIT_BATCH"
    return 1 << int(flags[name]) if name in flags else 0


def _flag(trt: Any, name: str) -> Any:
    if name not in trt.BuilderFlag.__members__:
        raise Refused("this TensorRT has no builder flag " + name)
    return trt.BuilderFlag.__members__[name]


def _add_profile(builder: Any, network: Any, config: Any, batches: tuple[int, int, int]) -> None:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = tuple(tensor.shape)[1:]
        smallest, usual, largest = ((batch, *rest) for batch in batches)
        profile.set_shape(tensor.name, smallest, usual, largest)
    if config.add_optimization_profile(profile) < 0:
        raise Refused(f"batches {batches[0]} to {batches[-1]} are no profile of this network")


def _number(architecture: str) -> int:
    return int(architecture[len("SM") :])


def _set_architectures(trt: Any, config: Any, names: tuple[str, ...]) -> None:
    if not names:
        return
    if not hasattr(config, "num_compute_capabilities"):
        raise Refused("this TensorRT builds for the GPU that it runs on, not for " + ", ".join(names))
    known = trt.ComputeCapability.__members__
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        if name not in known:
            raise Refused(f"{name} is not one of {', '.join(known)}")
        config.set_compute_capability(known[name], index)


def _set_dla(trt: Any, builder: Any, config: Any, core: int | None) -> None:
    if core is None:
        return
    cores = getattr(builder, "num_DLA_cores", 0)
    if core >= cores:
        raise Refused(f"DLA core {core} was asked for, this TensorRT sees {cores}")
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(_flag(trt, "GPU_FALLBACK"))


def _said(error: Any) -> str:
    """A parser's error; versions before 10 have no names of nodes."""
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    return f"node {name or error.node()} ({operator or 'operator not named'}): " + " ".join(error.desc().split())


if __name__ == "__main__":
    main(*sys.argv[1:])
