"""What a bundle's ``run.py`` measured on its device, as a run on record like any other."""

from pathlib import Path
from typing import Any

import msgspec

from edgecnn.artifact import REJECTED, Artifact, load_artifact
from edgecnn.bench.candidates import ARTIFACT, Candidate
from edgecnn.bench.latency import Race, without_p99
from edgecnn.bench.layers import by_module
from edgecnn.bench.record import IMAGES, RAILS, SCHEMA, Energy, Row, Run, Settings, now
from edgecnn.bench.steady import unsteady_times
from edgecnn.names import LATENCY, __version__
from edgecnn.targets.registry import find_target
from edgecnn.verify.coverage import layer_precisions, shares
from edgecnn.verify.device import OnDevice, read_result

NO_ENERGY = Energy(None, "", "not measurable: the device has no power rails, or none could be sampled")
ALONE = "timed alone, by the GPU's own events, not in turns with the others"


def device_run(folder: Path, result: Path) -> Run:
    """A run of one row, of the GPU's times, judged by this machine's policy.

    Raises:
        InputError: the file is no result.
        IntegrityError: it is of another bundle, or the artifact is not what its manifest says.
    """
    artifact = load_artifact(folder)
    found = read_result(artifact, result)
    measured = found.result.latency
    seconds = round(sum(measured.calls_ms) / 1000, 3)
    return Run(
        SCHEMA,
        "bench",
        __version__,
        now(),
        machine_facts(found),
        Settings(LATENCY, None, measured.batch, seconds, IMAGES),
        (device_row(artifact, found, artifact.name),),
    )


def machine_facts(found: OnDevice) -> dict[str, Any]:
    """Of the device, as far as a bundle knows them."""
    return dict(msgspec.to_builtins(found.result.machine))


def device_row(artifact: Artifact, found: OnDevice, name: str) -> Row:
    """What a device measured, of an artifact's engine.

    Args:
        name: unique in the run.
    """
    engine, latency = found.result.engine, found.result.latency
    macs = artifact.layer_macs
    times = Race({name: tuple(latency.calls_ms)}).times(name)
    return Row(
        name=name,
        kind=ARTIFACT,
        model=artifact.manifest["model"]["name"],
        target=find_target(artifact.manifest["target"]).name,
        precision=engine.precision,
        status="ok",
        runtime=f"{engine.module} {engine.version}",
        executed=shares(layer_precisions(found.kernels, macs), macs) if found.kernels else {},
        times=times,
        images_per_s=round(1000 * latency.batch / times.p50_ms, 3),
        size_bytes=engine.size_bytes,
        energy=NO_ENERGY if latency.power is None else Energy(latency.power.joules_per_image, RAILS, ""),
        layers=by_module(found.layers, Candidate(name, ARTIFACT, artifact)),
        absences=without_p99(times),
        unstable=(*unsteady_times(latency.calls_ms, True), *latency.notes),
        manifest=_manifest(artifact, found),
    )


def _manifest(artifact: Artifact, found: OnDevice) -> dict[str, Any]:
    """The artifact's, with the evidence of its device in the place of this machine's."""
    evidence = found.verification.as_json()
    coverage = evidence.pop("coverage")
    kept = {key: value for key, value in artifact.manifest.items() if key != "labels"}
    if found.verification.judgement.rejected:
        kept["status"] = REJECTED
        kept.pop("standing", None)  # it rests on this check, whose reasons are in the evidence
    return kept | {
        "precision": found.result.engine.precision,
        "coverage": coverage,
        "evidence": evidence,
    }
