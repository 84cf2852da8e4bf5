"""The whole road on one page: recipe → model → graph → quantizer table → lowered graph → artifact → evidence.

Read this file first. Each arrow is a function of the room it is named after; only ``artifact`` writes artifacts, only
``cli`` and ``console`` print for people.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgecnn.artifact import REJECTED, Artifact, load_artifact, mark, publish, reserve
from edgecnn.bench.machine import processors, versions
from edgecnn.bench.tables import CHOOSING_S, TELLING_S, table_timer
from edgecnn.data.ahead import decoded_ahead
from edgecnn.data.images import read_picture
from edgecnn.data.preprocess import preprocess
from edgecnn.data.sets import ImageSet, load_set, with_note
from edgecnn.data.split import FLOAT_CHECK, distinct, keep_apart, shares, spread
from edgecnn.errors import ParityError, StorageError, UsageError
from edgecnn.files import MANIFEST, write_whole
from edgecnn.manifest import describe
from edgecnn.names import BEST, SYNTHETIC
from edgecnn.progress import Progress
from edgecnn.recipe import Gate
from edgecnn.request import ExportRequest, Plan, plan, with_max_drop
from edgecnn.targets.base import Advice, Interface
from edgecnn.targets.builds import Builds
from edgecnn.verify.coverage import cover
from edgecnn.verify.device import OnDevice, read_result
from edgecnn.verify.golden import golden_pairs, read_golden
from edgecnn.verify.reopen import coverage_of, graph_stage, last_stage, open_session, reopen, saturation
from edgecnn.verify.stages import Stage, Verification, check, check_golden
from edgecnn.verify.standing import as_gated, settled, standing_of

if TYPE_CHECKING:
    from edgecnn.graph.graph import Graph
    from edgecnn.network import Network
    from edgecnn.quant.ladder import Climbed
    from edgecnn.quant.rungs import Rung
    from edgecnn.quant.table import QuantizerTable


@dataclass(frozen=True)
class Answer:
    """One class, and its probability, 0..1."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Exported:
    """A published artifact, its evidence, the rungs that INT8 climbed, and the seconds that it took.

    Args:
        elapsed_s: all of them, from the request to the published folder.
        stages_s: of each named stage; what is in none is imports and the judging of rungs.
        remark: what this machine made the target choose.
        advice: what the build itself says for or against its precision.
    """

    artifact: Artifact
    verification: Verification
    rungs: "tuple[Rung, ...]"
    elapsed_s: float
    stages_s: Mapping[str, float]
    remark: str = ""
    advice: Advice | None = None

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on."""
        manifest = self.artifact.manifest
        return {
            "artifact": str(self.artifact.folder),
            "manifest": str(self.artifact.folder / MANIFEST),
            "target": manifest["target"],
            "precision": manifest["precision"],
            "status": manifest["status"],
            "files": [str(path) for path in self.artifact.files.values()],
            "elapsed_s": round(self.elapsed_s, 3),
            "stages": [{"name": name, "elapsed_s": round(seconds, 3)} for name, seconds in self.stages_s.items()],
            "coverage": manifest["coverage"],
            "evidence": manifest["evidence"],
            "remark": self.remark,
            "advice": self.artifact.advice,
            "ladder": [rung.timed_json() for rung in self.rungs],
        }


@dataclass(frozen=True)
class Predictions:
    """The five likeliest classes of each image, and the status of the artifact that says so."""

    status: str
    answers: tuple[tuple[str, tuple[Answer, ...]], ...]

    def as_json(self) -> list[dict[str, Any]]:
        """``[{"image", "top5": [{"label", "index", "probability"}]}]``."""
        return [{"image": image, "top5": [asdict(answer) for answer in top]} for image, top in self.answers]


class GateError(ParityError):
    """The artifact was built and published, but marked rejected; ``exported`` has it with its evidence."""

    def __init__(self, message: str, exported: Exported) -> None:
        super().__init__(message)
        self.exported = exported


def export(request: ExportRequest, progress: Progress | None = None, network: "Network | None" = None) -> Exported:
    """From a model's name to a published artifact with its evidence.

    Args:
        network: that the request asks for, where it is loaded already, as several exports may share it.

    Raises:
        GateError: the artifact did not keep its bounds; it is published, and marked rejected.
        EdgecnnError: any other refusal; no artifact was written, and one that was there is untouched. A calibration
            cache, which is written as soon as the ladder is climbed, may be there, and downloads are kept.
    """
    started = time.monotonic()
    progress = progress or Progress()
    planned = plan(request)
    with reserve(planned.out, planned.force), ExitStack() as stack:
        # Imported here, because they bring torch and ONNX, which listing and verifying do without.
        from edgecnn.graph.fixed import dead_channels, in_words
        from edgecnn.graph.graph import with_batch
        from edgecnn.graph.macs import activation_sizes, facts, layer_macs
        from edgecnn.network import Network
        from edgecnn.quant.norms import check_contrast

        with progress.stage("load"):
            network = network or Network(planned)
        if not network.serves(planned):
            raise AssertionError("a manifest names the network that its artifact was made from")
        how, labels, interface = planned.data.preprocess, network.labels, network.interface(planned.batch)
        made = _made(planned, network, progress)
        with progress.stage("export to ONNX"):
            calibration, judging = stack.enter_context(_images(planned, labels, made))
            graph = network.graph  # first: pictures are being decoded beside it
            check_contrast(network.model, judging if calibration is None else calibration, how)
        builds = stack.enter_context(Builds(planned.target))
        climbed = None if calibration is None else _climbed(graph, calibration, planned, builds, interface, progress)
        quantized = None if climbed is None else _quantized(climbed.graph, climbed.table, planned)
        lowered = planned.target.finished(graph if quantized is None else quantized, planned.precision)
        with progress.stage(f"build for {planned.target.name}"):
            built, session = builds.open(with_batch(lowered, planned.batch), interface)
            executed = session.executed()
            advice = planned.target.advise(built, with_batch(graph, planned.batch)) if climbed is not None else None
        with progress.stage("check", len(judging)):
            stages = [*network.stages, graph_stage("lowered", lowered, interface, optimize=False)]
            if not session.absence:
                stages.append(Stage("compiled", session.run_all))
            verification = check(stages, judging, how, planned.precision, planned.gate, progress.advance)
            int8 = [] if climbed is None else [layer.node for layer in climbed.table.layers]
            if executed:
                verification = verification.with_coverage(
                    cover(executed, layer_macs(graph), activation_sizes(graph), int8, planned.target.every_layer_int8)
                )
            if session.absence:
                verification = verification.not_executed(session.absence)
            if request.max_drop_pp is not None and not judging.labelled:
                verification = verification.with_note("no labels: --max-drop was not judged, agreement and KL were")
            verification = verification.with_note(planned.note)
            if climbed is not None:
                verification = verification.with_note(in_words(dead_channels(graph)))
        with progress.stage("publish"):
            contents = {f"model{suffix}": content for suffix, content in built.items()}
            contents["reference.onnx"] = with_batch(graph, None).content
            if ".onnx" not in built:
                contents["lowered.onnx"] = with_batch(lowered, None).content
            contents["golden.npz"] = golden_pairs(judging, how, stages[0])
            manifest = describe(
                planned, interface, labels, network.sha256, facts(graph), calibration, climbed, verification, advice
            )
            contents |= planned.target.companions(_graphs(graph, quantized, planned), contents["golden.npz"], manifest)
            artifact = publish(planned.out, contents, manifest)
    rungs = () if climbed is None else climbed.rungs
    elapsed_s = time.monotonic() - started
    remark = planned.target.remark(planned.precision)
    exported = Exported(artifact, verification, rungs, elapsed_s, progress.elapsed_s, remark, advice)
    if artifact.manifest["status"] == REJECTED:
        reasons = "; ".join(verification.judgement.reasons)
        raise GateError(f"{planned.out} is marked rejected: {reasons}", exported)
    return exported


def verify(
    folder: Path,
    images: str | None = None,
    max_drop_pp: float | None = None,
    weights: str | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Checks an artifact again, here, and marks it with the verdict.

    The reference is the eager model where torch and the weights are here, else the FP32 graph kept with the artifact;
    without ``images`` it is the golden pairs.

    Args:
        images: a folder, CSV file or set.
        max_drop_pp: instead of the gate that the artifact was exported with.
        weights: the state dict that the artifact was exported from, where that was a file.

    Raises:
        IntegrityError: the artifact is not what its manifest says, or ``weights`` are not those that it was made from.
        ParityError: nothing was compared, or logits are not finite.
        UsageError: a largest drop that is no percentage or has no labels to judge it by, weights without images, or
            images that are neither a path nor a set.
        InputError: images, labels or weights that cannot be used.
        UnavailableError: a package that the artifact or its reference needs is not here.
        BuildError: the runtime refuses the artifact.
    """
    progress = progress or Progress()
    artifact = load_artifact(folder)
    precision = artifact.manifest["precision"]
    gate = with_max_drop(Gate(**artifact.manifest["gate"]), max_drop_pp)
    if weights is not None and images is None:
        raise UsageError("--weights names the reference for --images; the golden pairs are their own reference")
    judging = None if images is None else distinct(load_set(images, artifact.labels))
    if max_drop_pp is not None and (judging is None or not judging.labelled):
        what = "the golden pairs have none" if judging is None else f"{judging.name} has none"
        raise UsageError(f"--max-drop needs images with labels, and {what}; drop it, or name others with --images")
    with progress.stage("open"):
        session = open_session(artifact)
    if judging is None:
        with progress.stage("check"):
            pairs = read_golden(artifact)
            stage = last_stage(artifact, session)
            verification = check_golden(pairs.logits, stage, pairs.inputs, precision, gate, artifact.synthetic)
    else:
        with progress.stage("open the reference"):
            stages = reopen(artifact, session, weights)
        with progress.stage("check", len(judging)):
            verification = check(stages, judging, artifact.preprocess, precision, gate, progress.advance)
    coverage = coverage_of(artifact, session)
    if coverage is not None:
        verification = verification.with_coverage(coverage)
    if session.absence:
        verification = verification.not_executed(session.absence)
    if note := saturation(artifact):
        verification = verification.with_note(note)
    return _marked(artifact, verification, gate)


def on_device(folder: Path, result: Path) -> OnDevice:
    """What a bundle's ``run.py`` found on its device, judged here. The artifact is not marked by it.

    Raises:
        InputError: the file is no result.
        IntegrityError: it is of another bundle, or the artifact is not what its manifest says.
    """
    return read_result(load_artifact(folder), result)


def predict(folder: Path, paths: list[Path]) -> Predictions:
    """The five likeliest classes of each picture, in the given order.

    Raises:
        IntegrityError: the artifact is not what its manifest says.
        InputError: a picture that cannot be read.
        UnavailableError: the runtime is not installed, or the artifact cannot run on this machine.
        BuildError: the runtime refuses the artifact.
        ParityError: an answer that is not finite.
    """
    artifact = load_artifact(folder)
    inputs = np.stack([preprocess(read_picture(path), artifact.preprocess, str(path)) for path in paths])
    logits = open_session(artifact).run_all(inputs)
    if not np.isfinite(logits).all():
        raise ParityError(f"{folder}: answers with values that are not finite; `edgecnn verify` shows where")
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    answers = []
    for path, row in zip(paths, odds / odds.sum(axis=1, keepdims=True), strict=True):
        best = np.argsort(-row, kind="stable")[:5]
        answers.append((str(path), tuple(Answer(artifact.labels[i], int(i), round(float(row[i]), 6)) for i in best)))
    return Predictions(artifact.manifest["status"], tuple(answers))


def _made(planned: Plan, network: "Network", progress: Progress) -> ImageSet | None:
    """Images from the network alone, where those are asked for."""
    if planned.calibration != SYNTHETIC:
        return None
    with progress.stage("make images", network.synthetic_count):
        return network.synthetic_images(progress.advance)


@contextmanager
def _images(
    planned: Plan, labels: list[str], made: ImageSet | None = None
) -> Iterator[tuple[ImageSet | None, ImageSet]]:
    """What calibrates, if anything, and what judges: the labelled evaluation set, else images kept apart.

    Args:
        made: synthetic images, instead of those that the plan names.
    """
    evaluation, how = planned.data.evaluation, planned.data.preprocess
    if planned.calibration is None:
        judging = distinct(load_set(evaluation or planned.data.calibration, labels))
        yield None, judging if evaluation else spread(judging, FLOAT_CHECK)
        return
    with decoded_ahead(load_set(planned.calibration, labels, [SYNTHETIC]) if made is None else made, how) as given:
        calibration, kept_apart = keep_apart(given)
        if evaluation is None:
            yield calibration, kept_apart
            return
        labelled = distinct(load_set(evaluation, labels))
        if shared := shares(calibration, labelled):  # which would flatter the artifact
            yield calibration, with_note(kept_apart, f"judged on images that were kept apart, since {shared}")
            return
        kept_apart.check(how)  # nothing else reads them, and none of the user's images is skipped
        yield calibration, labelled


def _climbed(
    graph: "Graph", calibration: ImageSet, planned: Plan, builds: Builds, interface: Interface, progress: Progress
) -> "Climbed":
    from edgecnn.graph.graph import with_metadata
    from edgecnn.quant.cache import ANY, cache_key, pack, unpack
    from edgecnn.quant.ladder import climb

    how, profile, cache = planned.data.preprocess, planned.target.profile, planned.calib_cache
    max_drop_pp = planned.gate.max_drop_pp
    key: dict[str, str] = {}
    if cache is not None:
        device = _device(planned) if planned.effort == BEST else ANY
        key = cache_key(graph, calibration, how, planned.effort, profile.name, max_drop_pp, device)
    if cache is not None and cache.exists():
        climbed = unpack(cache.read_bytes(), key, cache)
        described = {entry.key: entry.value for entry in graph.model.metadata_props}
        return replace(climbed, graph=with_metadata(climbed.graph, described))
    timer = None
    if not planned.target.absence:
        (image,) = calibration.take(lambda position: position == 0).batches(how, 1)

        def finish(found: "Graph", table: "QuantizerTable") -> "Graph":
            return planned.target.finished(_quantized(found, table, planned), planned.precision)

        budget_s = CHOOSING_S if planned.effort == BEST else TELLING_S
        timer = table_timer(builds, interface, image, finish, budget_s)
    climbed = climb(graph, calibration, how, planned.effort, profile, progress, timer, max_drop_pp)
    if cache is not None:
        write_whole(cache, pack(climbed, key))
    return climbed


def _device(planned: Plan) -> str:
    """All that times of layers depend on, but for the moment."""
    known = {"batch": planned.batch or 1} | versions(planned.target.packages) | dict(planned.target.settings)
    return ", ".join([*(f"{name} {value}" for name, value in known.items()), processors()])


def _quantized(graph: "Graph", table: "QuantizerTable", planned: Plan) -> "Graph":
    """As the target's runtime takes it."""
    from edgecnn.quant.lower.qdq import lower
    from edgecnn.quant.lower.raised import raise_linear_tensors
    from edgecnn.quant.lower.shift import absorb_zero_points

    profile = planned.target.profile
    lowered = lower(graph, table, profile)
    if profile.symmetric:
        return absorb_zero_points(lowered)
    return raise_linear_tensors(lowered) if profile.raised else lowered


def _graphs(graph: "Graph", quantized: "Graph | None", planned: Plan) -> dict[str, "Graph"]:
    """What a device may build from, by precision, with float32 wherever nothing is quantized."""
    from edgecnn.graph.graph import with_batch

    graphs = {"fp32": graph} | ({} if quantized is None else {"int8": quantized})
    return {precision: with_batch(found, planned.batch) for precision, found in graphs.items()}


def _marked(artifact: Artifact, verification: Verification, gate: Gate) -> Verification:
    """Writes the verdict into the manifest; where that cannot be, the result says so and stands all the same."""
    verification, standing = settled(artifact, as_gated(artifact, verification), gate)
    before, now = standing_of(artifact), standing.deciding.status
    if artifact.manifest["status"] == now and standing.strongest.strength == before.strongest.strength:
        return verification  # no news
    try:
        mark(artifact, {"status": now, "standing": msgspec.to_builtins(standing)})
    except StorageError as error:
        return verification.with_note(f"the verdict could not be kept in the artifact: {error}")
    return verification
