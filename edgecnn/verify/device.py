"""What a bundle's ``run.py`` found on a device, judged here by the same policy as everything else."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgecnn.artifact import Artifact
from edgecnn.errors import InputError, IntegrityError
from edgecnn.parity import Parity
from edgecnn.recipe import Gate
from edgecnn.targets.base import ExecutedLayer
from edgecnn.targets.registry import find_target
from edgecnn.verify.coverage import cover
from edgecnn.verify.policy import judge
from edgecnn.verify.stages import StageRow, Verification


class _Times(msgspec.Struct):
    p50: float
    p90: float
    p99: float
    mean: float
    min: float
    n: int


class _Power(msgspec.Struct):
    total_w: float
    joules_per_inference: float
    rails_w: dict[str, float]


class _Latency(msgspec.Struct):
    batch: int
    cuda_graph: bool
    gpu_ms: _Times
    host_ms: _Times
    power: _Power | None
    notes: list[str]


class _Kernel(msgspec.Struct):
    kind: str
    nodes: list[str]
    precision: str


class _Engine(msgspec.Struct):
    asked: str
    precision: str
    refused: list[str]
    module: str
    version: str
    gpu: str
    architecture: str
    kernels: list[_Kernel]


class _Bundle(msgspec.Struct):
    sha256: str


class _Result(msgspec.Struct):
    bundle: _Bundle
    engine: _Engine
    parity: Parity
    largest_logit: float
    latency: _Latency


@dataclass(frozen=True)
class OnDevice:
    """An engine as its device found it.

    Args:
        verification: against the golden pairs, by this machine's policy and the artifact's gate.
        text: where, what and how fast, for people.
        document: ``result.json``, whole.
    """

    verification: Verification
    text: str
    document: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on."""
        return self.verification.as_json() | {"device": self.document}


def read_result(artifact: Artifact, path: Path) -> OnDevice:
    """Judges a ``result.json``. It is another machine's word, and never marks the artifact.

    Raises:
        InputError: it is no result of a bundle.
        IntegrityError: it is of another bundle than this artifact's.
    """
    try:
        content = path.read_bytes()
        result = msgspec.json.decode(content, type=_Result)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: is no result.json of a bundle's run.py ({error})") from error
    want = _bundle_sha256(artifact)
    if result.bundle.sha256 != want:
        raise IntegrityError(f"{path}: is of bundle {result.bundle.sha256[:12]}, {artifact.folder} has {want[:12]}")
    engine = result.engine
    gate = Gate(**artifact.manifest["gate"])
    judgement = judge(engine.precision, result.parity, result.largest_logit, None, gate)
    where = f"golden pairs on {engine.gpu}"
    row = StageRow("device", result.parity, result.parity)
    verification = Verification("golden", {"name": where}, result.parity, None, judgement, (row,))
    kernels = [ExecutedLayer(tuple(kernel.nodes), kernel.kind, kernel.precision) for kernel in engine.kernels]
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
    return OnDevice(verification, _told(result), json.loads(content))


def _told(result: _Result) -> str:
    engine, latency = result.engine, result.latency
    graph = "a CUDA graph" if latency.cuda_graph else "no CUDA graph"
    text = (
        f"{engine.precision} on {engine.gpu} ({engine.architecture}), {engine.module} {engine.version}:"
        f" {latency.gpu_ms.p50:.3f} ms p50 and {latency.gpu_ms.p99:.3f} ms p99 on the GPU with {graph},"
        f" {latency.host_ms.p50:.3f} ms p50 by the host's clock, batch {latency.batch}, {latency.gpu_ms.n} runs"
    )
    if latency.power is None:
        return text
    return f"{text}; {latency.power.total_w:.1f} W, {1000 * latency.power.joules_per_inference:.2f} mJ per run"


def _bundle_sha256(artifact: Artifact) -> str:
    path = artifact.files.get("bundle.zip")
    if path is None:
        raise InputError(f"{artifact.folder}: has no bundle, so no result.json is of it")
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/manifest.json"))
        return str(json.loads(archive.read(name))["sha256"])
