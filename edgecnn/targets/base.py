"""The contract of a runtime: a target builds files from a lowered graph, a session answers from them.

Adding one is five steps; CONTRIBUTING.md lists them.
"""

import abc
import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.errors import InputError, UnavailableError, UsageError
from edgecnn.names import INPUT
from edgecnn.recipe import LARGEST_INPUT
from edgecnn.targets.bundle.layer_times import middle_mean

if TYPE_CHECKING:
    from edgecnn.graph.graph import Graph
    from edgecnn.quant.lower.qdq import Profile

# Number formats that kernels compute in, by the names that all runtimes share here.
INT8, FP32, BF16, FP16 = "int8", "fp32", "bf16", "fp16"


@dataclass(frozen=True)
class ExecutedLayer:
    """One kernel of a compiled model.

    Args:
        nodes: of the graph that it stands for, such as ``features.0.0/Conv`` and ``features.0.2/HardSwish``, as far as
            the runtime says; the last layer may be called ``logits``, its output. Empty where the runtime added
            the kernel.
        kind: the runtime's own word, such as ``Convolution``, ``QLinearConv`` or ``Reorder``.
        precision: that it computes in.
    """

    nodes: tuple[str, ...]
    kind: str
    precision: str


@dataclass(frozen=True)
class Interface:
    """What goes in and out: ``image (batch, channels, height, width) float32`` to ``logits (batch, classes)``.

    Args:
        batch: None where it is dynamic.
    """

    batch: int | None
    channels: int
    height: int
    width: int
    classes: int


@dataclass(frozen=True)
class Options:
    """What a user may say about a runtime that comes in several kinds.

    Args:
        flavour: of the runtime; None is the target's own choice.
        gpu_arch: GPU architectures to build for, such as ``sm86``; none is every one that the runtime knows.
        reduce_range: INT8 weights are for x86 CPUs without VNNI; None is what this machine's CPU needs.
        fp16_scales: INT8's scales are half precision where its float layers are; None is the runtime's own choice.
    """

    flavour: str | None = None
    gpu_arch: tuple[str, ...] = ()
    reduce_range: bool | None = None
    fp16_scales: bool | None = None

    @property
    def foreign(self) -> str:
        """The first flag that is for TensorRT alone, or empty."""
        given = {
            "--flavour": self.flavour is not None,
            "--gpu-arch": bool(self.gpu_arch),
            "--fp16-scales": self.fp16_scales is not None,
        }
        return next((flag for flag, is_given in given.items() if is_given), "")


@dataclass(frozen=True)
class StaticCost:
    """What a build costs by its own account: kernels, and the bytes of activations that they read and write."""

    precision: str
    kernels: int
    moved_bytes: int


@dataclass(frozen=True)
class Advice:
    """What a build alone, which nobody has timed, says for or against its precision; the artifact's own cost first."""

    costs: tuple[StaticCost, ...]
    text: str

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on."""
        return {"costs": [asdict(cost) for cost in self.costs], "text": self.text}


@dataclass(frozen=True)
class Tuning:
    """How a session runs.

    Args:
        threads: of the runtime; None is its own choice.
        many: tuned for many requests at once (``Session.flood``) instead of for one at a time.
        profiled: keeps the time of every kernel (``Session.kernel_times``), which slows it.
    """

    threads: int | None = None
    many: bool = False
    profiled: bool = False


UNTUNED = Tuning()


@dataclass(frozen=True)
class KernelTime:
    """Time of one kernel in a run, by the runtime's own profiler."""

    kernel: ExecutedLayer
    ms: float

    @classmethod
    def of_runs(cls, kernel: ExecutedLayer, runs_ms: Sequence[float]) -> "KernelTime":
        """The mean of the middle half of its runs."""
        return cls(kernel, middle_mean(runs_ms))


class Flood(NamedTuple):
    """What came of many requests, as many at once as a session was tuned for.

    Args:
        seconds: until the last was answered.
        requests_ms: from the begin of each to its answer, in no order.
        at_once: requests that were under way together, at most.
    """

    seconds: float
    requests_ms: list[float]
    at_once: int = 1

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return len(self.requests_ms) / self.seconds


class Session(abc.ABC):
    """An opened artifact. Subclasses implement ``_run`` and ``executed``; ``run`` is the same on every runtime.

    Args:
        absence: why it cannot answer on this machine, or empty. Such a session still says what was built.
    """

    def __init__(self, interface: Interface, absence: str = "") -> None:
        self.interface = interface
        self.absence = absence

    def run(self, image: Float) -> Float:
        """Logits of one batch.

        Args:
            image: (batch, channels, height, width) float32, normalised, finite.

        Returns:
            (batch, classes) float32, the caller's own.

        Raises:
            InputError: another dtype or shape, NaN or infinite values, or pixels that were never normalised. Runtimes
                disagree on these (OpenVINO takes float64 and launders NaN), so none of them gets to see them.
            BuildError: the runtime fails, in its own words.
        """
        want = self.interface
        batch = "N" if want.batch is None else str(want.batch)
        expected = f"({batch}, {want.channels}, {want.height}, {want.width}) float32"
        if image.dtype != np.float32 or image.ndim != 4:
            raise InputError(f"{INPUT} is {image.shape} {image.dtype}, expected {expected}")
        if image.shape[1:] != (want.channels, want.height, want.width) or want.batch not in (None, len(image)):
            raise InputError(f"{INPUT} is {image.shape} {image.dtype}, expected {expected}")
        low, high = float(image.min(initial=0.0)), float(image.max(initial=0.0))  # NaN if any value is
        if not np.isfinite((low, high)).all():
            raise InputError(f"{INPUT} holds NaN or infinite values, expected finite ones; is the picture normalised?")
        largest = max(-low, high)
        if largest > LARGEST_INPUT:
            raise InputError(
                f"{INPUT} reaches {largest:g}, expected normalised values within ±{LARGEST_INPUT:g}:"
                " (pixels / 255 - mean) / std of the artifact's preprocessing"
            )
        return np.array(self._run(np.ascontiguousarray(image)), np.float32)

    def run_again(self, image: Float) -> Float:
        """What ``run`` answers, of a batch that it took before: unchecked, so that timing has the runtime alone."""
        return self._run(image)

    def flood(self, batches: Sequence[Float], seconds: float) -> Flood:
        """Answers batches, over and over, as fast as it can; several at once where the session was tuned for that.

        Args:
            batches: that ``run`` has taken before.
            seconds: after which no further batch is begun.
        """
        requests_ms: list[float] = []
        started = now = time.perf_counter()
        while not requests_ms or now - started < seconds:
            before = now
            self.run_again(batches[len(requests_ms) % len(batches)])
            now = time.perf_counter()
            requests_ms.append(1000 * (now - before))
        return Flood(now - started, requests_ms)

    def kernel_times(self, batches: Sequence[Float]) -> tuple[KernelTime, ...]:
        """Where the time of a run goes, kernel by kernel as executed, over so many runs.

        None at all means that the runtime has no profiler here, or that the session was not opened to be profiled.
        """
        return ()

    @property
    def threads(self) -> int | None:
        """That the runtime says it uses; None where it does not say."""
        return None

    def run_all(self, images: Float) -> Float:
        """Logits of any number of images, batch by batch; the last batch is filled up with its first image."""
        size = self.interface.batch or min(len(images), 16)
        answers = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            filled = np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])
            answers.append(self.run(filled)[: len(part)])
        return np.concatenate(answers)

    @abc.abstractmethod
    def executed(self) -> tuple[ExecutedLayer, ...]:
        """What the runtime made of the graph, read from the compiled model: every kernel of a run, in some order.

        It depends on the runtime's version and on the CPU's instructions. Call it while the opened files are there.
        None at all means that nothing was compiled yet.
        """

    @abc.abstractmethod
    def _run(self, image: Float) -> Float: ...


class Target(abc.ABC):
    """A runtime that artifacts are made for."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # modules that must be importable to build and to run
    extra: ClassVar[str]  # of ``pip install 'edgecnn[extra]'``

    every_layer_int8: ClassVar[bool] = True  # whether an INT8 graph promises a kernel for each quantized layer
    half_arithmetic: ClassVar[bool] = (
        False  # whether FP16 is computed in, by INT8's float layers too, or only stored in
    )
    float_precisions: ClassVar[tuple[str, ...]] = (FP32,)  # that ``open_float`` can be asked for
    largest_batch: ClassVar[int | None] = None  # of a dynamic one; None has no bound

    @property
    def settings(self) -> dict[str, str]:
        """Runtime settings that decide the numbers."""
        return {}

    def remark(self, precision: str) -> str:
        """What this machine made the target choose for an export, for people; nothing for most."""
        return ""

    @property
    def absence(self) -> str:
        """Why nothing that is built runs on this machine, or empty."""
        return ""

    @property
    @abc.abstractmethod
    def profile(self) -> "Profile":
        """How this runtime wants INT8 spelled."""

    def configured(self, options: Options) -> "Target":
        """The target as a user wants it, able to build here.

        Raises:
            UsageError: the options are not this target's.
            UnavailableError: a package is missing, with the exact remedy.
        """
        if options.foreign:
            raise UsageError(f"{options.foreign} is for --target tensorrt alone, {self.name} has none; drop it")
        self.require()
        return self

    def finished(self, graph: "Graph", precision: str) -> "Graph":
        """A graph, quantized or not, whose floats are in the precision that this runtime stores or computes them in."""
        from edgecnn.graph.fp16 import fp16_weights

        return fp16_weights(graph) if precision == FP16 else graph

    @abc.abstractmethod
    def build(self, graph: "Graph") -> dict[str, bytes]:
        """Files by suffix (``.xml``) from a lowered graph; the same graph gives the same bytes.

        Raises:
            BuildError: the runtime refuses the graph.
        """

    @abc.abstractmethod
    def open(self, files: dict[str, Path], interface: Interface, tuning: Tuning = UNTUNED) -> Session:
        """A session from files by suffix, already verified against their manifest.

        Raises:
            BuildError: the runtime refuses the files.
        """

    def open_built(
        self, built: Mapping[str, bytes], folder: Path, interface: Interface, tuning: Tuning = UNTUNED
    ) -> Session:
        """A session from files that are not published yet, the way a device will have it: from disk.

        Args:
            folder: an empty one; the session's ``executed`` needs what will be in it.
        """
        files = {suffix: folder / f"model{suffix}" for suffix in built}
        for suffix, path in files.items():
            path.write_bytes(built[suffix])
        return self.open(files, interface, tuning)

    def advise(self, built: dict[str, bytes], reference: "Graph") -> Advice | None:
        """What an INT8 build says against itself, where a runtime tells that without being run.

        Args:
            reference: the FP32 graph, of the batch that was built.
        """
        return None

    def companions(self, graphs: Mapping[str, "Graph"], golden: bytes, facts: Mapping[str, Any]) -> dict[str, bytes]:
        """Files by role that travel with an artifact so that a device can build it itself; none for most.

        Args:
            graphs: by precision, of the batch that was asked for: ``fp32``, and ``int8`` where there is a lowered one.
            golden: an ``.npz`` of inputs and the eager model's logits.
            facts: the manifest's entries on the model, its data and its gate.
        """
        return {}

    def runtime(self, files: Mapping[str, Path]) -> str:
        """The module that runs files by suffix, as it is imported."""
        return self.packages[0]

    @abc.abstractmethod
    def open_float(self, graph: bytes, interface: Interface, precision: str) -> Session:
        """A session that computes an FP32 graph in a float precision, as fast as this runtime can.

        ``executed`` says what the machine made of that wish.

        Args:
            graph: ONNX bytes with a dynamic batch.
            precision: one of ``float_precisions``.

        Raises:
            BuildError: the runtime refuses.
        """

    def require(self) -> None:
        """Refuses, with the exact remedy, where a package is missing; nothing is ever installed."""
        missing = self.missing()
        if missing:
            raise UnavailableError(
                f"target {self.name} needs {', '.join(missing)}: pip install 'edgecnn[{self.extra}]'"
            )

    def missing(self) -> list[str]:
        """Packages that cannot be imported."""
        return [package for package in self.packages if importlib.util.find_spec(package) is None]
