"""What a bundle's ``run.py`` found on a device, judged here by the same policy as everything else."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from edgecnn.artifact import Artifact
from edgecnn.errors import InputError, IntegrityError
from edgecnn.files import check_regular
from edgecnn.parity import IDENTICAL_DB, Parity
from edgecnn.recipe import Gate
from edgecnn.targets.base import ExecutedLayer, KernelTime
from edgecnn.targets.registry import find_target
from edgecnn.verify.coverage import cover
from edgecnn.verify.golden import read_golden
from edgecnn.verify.policy import NONE_REAL, doubted, judge
from edgecnn.verify.stages import StageRow, Verification
from edgecnn.verify.standing import as_gated

Count = Annotated[int, msgspec.Meta(ge=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
UNLISTED = "the device does not list its kernels, so whether they run in INT8 is not known"


class Found(msgspec.Struct):
    """``Parity``, as far as a file can be held to it; a divergence of nothing may round to just below 0."""

    n: Count
    max_abs: NotNegative
    cosine: Annotated[float, msgspec.Meta(ge=-1.001, le=1.001)]
    sqnr_db: Annotated[float, msgspec.Meta(ge=-IDENTICAL_DB, le=IDENTICAL_DB)]
    agreement: Annotated[float, msgspec.Meta(ge=0, le=1)]
    kl: Annotated[float, msgspec.Meta(ge=-1e-6)]


class Times(msgspec.Struct):
    """Milliseconds per call."""

    p50: Positive
    p90: Positive
    p99: Positive
    mean: Positive
    min: Positive
    n: Count


class Power(msgspec.Struct):
    """While it ran."""

    total_w: NotNegative
    joules_per_image: NotNegative
    rails_w: dict[str, float]


class Latency(msgspec.Struct):
    """Of one batch.

    Args:
        calls_ms: every counted one on the GPU, in order.
    """

    batch: Count
    cuda_graph: bool
    gpu_ms: Times
    host_ms: Times
    power: Power | None
    notes: list[str]
    # ``run.py`` counts ten at least; whether times drift takes two.
    calls_ms: Annotated[list[Positive], msgspec.Meta(min_length=2)]


class Kernel(msgspec.Struct):
    """What TensorRT says that it made of some nodes of the graph."""

    kind: str
    nodes: list[str]
    precision: str


class Layer(Kernel):
    """A kernel's time by TensorRT's profiler, milliseconds."""

    ms: NotNegative


class Engine(msgspec.Struct):
    """What the device built."""

    asked: Literal["fp32", "fp16", "int8"]
    precision: Literal["fp32", "fp16", "int8"]
    refused: list[str]
    module: str
    version: str
    gpu: str
    architecture: str
    size_bytes: Count
    kernels: list[Kernel]


class Cpu(msgspec.Struct):
    """Its architecture, where it does not say its name."""

    model: str
    cores: int


class Gpu(msgspec.Struct):
    """The one that an engine was built for."""

    name: str
    architecture: str
    driver: str


class Machine(msgspec.Struct, omit_defaults=True):
    """Where it was measured."""

    cpu: Cpu
    gpu: Gpu
    kernel: str
    python: str
    board: str = ""


class Bundle(msgspec.Struct):
    """What it was built from."""

    sha256: str


class Result(msgspec.Struct):
    """``result.json``, as far as it is read here."""

    bundle: Bundle
    engine: Engine
    parity: Found
    latency: Latency
    layers: list[Layer]
    machine: Machine


@dataclass(frozen=True)
class OnDevice:
    """An engine as its device found it.

    Args:
        verification: against the golden pairs, by this machine's policy and the artifact's gate.
        text: where, what and how fast, for people.
        document: ``result.json``, whole; ``result`` is the part that is read.
    """

    verification: Verification
    text: str
    document: dict[str, Any]
    result: Result

    @property
    def kernels(self) -> list[ExecutedLayer]:
        """What runs there."""
        return [_executed(kernel) for kernel in self.result.engine.kernels]

    @property
    def layers(self) -> list[KernelTime]:
        """Where its time goes, in the order that it runs in."""
        return [KernelTime(_executed(layer), layer.ms) for layer in self.result.layers]

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on."""
        return self.verification.as_json() | {"device": self.document}


def read_result(artifact: Artifact, path: Path) -> OnDevice:
    """Judges a ``result.json`` that lies here.

    Raises:
        InputError: it cannot be read.
        EdgecnnError: as ``judge_result``.
    """
    check_regular(path, "expected a result.json of a bundle's run.py")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: is no result.json of a bundle's run.py ({error})") from error
    return judge_result(artifact, content, str(path))


def judge_result(artifact: Artifact, content: bytes, name: str) -> OnDevice:
    """Judges a ``result.json``. It is another machine's word, and never marks the artifact.

    Args:
        content: of the file.
        name: to call it by where it is refused.

    Raises:
        InputError: it is no result of a bundle, or one of other images or another batch than this artifact's.
        IntegrityError: it is of another bundle than this artifact's.
    """
    try:
        result = msgspec.json.decode(content, type=Result)
    except msgspec.MsgspecError as error:
        raise InputError(f"{name}: is no result.json of a bundle's run.py ({error})") from error
    document = json.loads(content)
    try:
        json.dumps(document, allow_nan=False)
    except ValueError as error:
        raise InputError(
            f"{name}: is no result.json of a bundle's run.py, it holds a number that is not finite"
        ) from error
    want = _bundle_sha256(artifact)
    if result.bundle.sha256 != want:
        raise IntegrityError(f"{name}: is of bundle {result.bundle.sha256[:12]}, {artifact.folder} has {want[:12]}")
    golden, batch = read_golden(artifact).logits, artifact.interface.batch
    if result.parity.n != len(golden):
        raise InputError(f"{name}: is of {result.parity.n} images, {artifact.folder} has {len(golden)} golden pairs")
    if batch not in (None, result.latency.batch):
        raise InputError(f"{name}: is of batch {result.latency.batch}, {artifact.folder} was exported for {batch}")
    engine, parity = result.engine, Parity(**msgspec.structs.asdict(result.parity))
    gate, classes = Gate(**artifact.manifest["gate"]), artifact.interface.classes
    judgement = judge(engine.precision, parity, float(np.abs(golden).max()), None, gate, classes)
    images: dict[str, Any] = {"name": f"golden pairs on {engine.gpu}", "sha256": artifact.sha256_of("golden.npz")}
    if artifact.synthetic:
        images["synthetic"], judgement = True, doubted(judgement, NONE_REAL)
    kernels = [_executed(kernel) for kernel in engine.kernels]
    if not kernels and engine.precision == "int8":
        judgement = doubted(judgement, UNLISTED)
    row = StageRow("device", parity, parity)
    verification = Verification("golden", images, parity, None, judgement, (row,))
    if kernels:
        planned = artifact.int8_layers if engine.precision == "int8" else []
        every = find_target(artifact.manifest["target"]).every_layer_int8
        verification = verification.with_coverage(
            cover(kernels, artifact.layer_macs, artifact.activations, planned, every)
        )
    if engine.precision != engine.asked:
        refused = "; ".join(engine.refused)
        verification = verification.with_note(
            f"{engine.asked} could not be built, this is {engine.precision}: {refused}"
        )
    for note in result.latency.notes:
        verification = verification.with_note(note)
    return OnDevice(as_gated(artifact, verification), _told(result), document, result)


def _executed(kernel: Kernel) -> ExecutedLayer:
    return ExecutedLayer(tuple(kernel.nodes), kernel.kind, kernel.precision)


def _told(result: Result) -> str:
    engine, latency = result.engine, result.latency
    graph = "a CUDA graph" if latency.cuda_graph else "no CUDA graph"
    text = (
        f"{engine.precision} on {engine.gpu} ({engine.architecture}), {engine.module} {engine.version}:"
        f" {latency.gpu_ms.p50:.3f} ms p50 and {latency.gpu_ms.p99:.3f} ms p99 on the GPU with {graph},"
        f" {latency.host_ms.p50:.3f} ms p50 by the host's clock, batch {latency.batch}, {latency.gpu_ms.n} runs"
    )
    if latency.power is None:
        return text
    return f"{text}; {latency.power.total_w:.1f} W, {1000 * latency.power.joules_per_image:.2f} mJ an image"


def _bundle_sha256(artifact: Artifact) -> str:
    path = artifact.files.get("bundle.zip")
    if path is None:
        raise InputError(f"{artifact.folder}: has no bundle, so no result.json is of it")
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/manifest.json"))
        return str(json.loads(archive.read(name))["sha256"])
