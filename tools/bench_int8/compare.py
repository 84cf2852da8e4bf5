"""One model from start to rows: build every candidate, hold it against FP32, time all of a runtime together."""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.data.sets import ImageSet
from edgecnn.parity import compare
from edgecnn.verify.statistics import accuracy
from tools.bench_int8.agreement import agreement_interval
from tools.bench_int8.candidates import BATCH, CANDIDATES, FP32, OURS, Candidate, Ground, prepare
from tools.bench_int8.cases import TIMED_SIDE, Case
from tools.bench_int8.images import PHOTOGRAPHS, VIEWS, judging_images
from tools.bench_int8.results import CaseResult, Row, Settings
from tools.bench_int8.runtimes import Run, open_model
from tools.bench_int8.timing import latencies, time_interleaved

REFERENCE = ("onnxruntime", FP32)  # the FP32 graph: the eager model's own answers to within 130 dB
WIDEST_ERROR = 200  # characters
# Images, of the same set, that calibrate a network built anew for its latency alone: codes decide no kernel.
TIMED_CALIBRATION = 64


@dataclass(frozen=True)
class Judging:
    """The images that judge, and the reference's logits ``(n, classes)`` for them.

    Args:
        together: neighbours that are views of one photograph.
    """

    images: ImageSet
    reference: Float
    together: int


def compare_case(case: Case, settings: Settings, say: Callable[[str], None]) -> CaseResult:
    """Every row of one model. A candidate that fails keeps its row, with its error.

    Raises:
        Exception: there is no FP32 graph or no reference to hold anything against.
    """
    own = prepare(case.model, case.weights, None, settings.calibration_images)
    timed = own
    if own.side != TIMED_SIDE:
        timed = prepare(case.model, case.weights, TIMED_SIDE, min(TIMED_CALIBRATION, len(own.calibration)))
    judging = None
    if case.judged_on is not None:
        images = judging_images(case.judged_on, own.labels, settings.judging_images)
        fp32 = next(c for c in CANDIDATES if (c.runtime, c.quantizer) == REFERENCE)
        say(f"{case.model}: FP32 reference over {len(images)} images")
        run = open_model(fp32.runtime, fp32.make(own), settings.threads)
        judging = Judging(images, _answers(run, own, images), VIEWS if case.judged_on == PHOTOGRAPHS else 1)
    rows, runs = [], {}
    for candidate in CANDIDATES:
        say(f"{case.model}: {candidate.quantizer} for {candidate.runtime}")
        row, runs[candidate] = _built(candidate, own, timed, judging, settings)
        rows.append(row)
    say(f"{case.model}: latency, {settings.rounds} rounds")
    complete = _timed(rows, runs, timed, settings)
    return CaseResult(
        case,
        calibrated=f"{len(own.calibration):,} images of {own.calibration.name}",
        judged="" if judging is None else f"{len(judging.images):,} images of {judging.images.name}",
        side=own.side,
        load=os.getloadavg()[0],
        rows=tuple(complete),
    )


def _answers(run: Run, ground: Ground, images: ImageSet) -> Float:
    """Logits ``(n, classes)``, one image at a time as on a device."""
    how = ground.planned("openvino").data.preprocess
    return np.concatenate([run(image[None]) for batch in images.batches(how, BATCH) for image in batch])


def _built(
    candidate: Candidate, own: Ground, timed: Ground, judging: Judging | None, settings: Settings
) -> tuple[Row, Run | None]:
    """A candidate's row without its latency, and what is to be timed."""
    row, run = Row(candidate.runtime, candidate.quantizer), None
    try:
        started = time.monotonic()
        run = _open(candidate, own, settings)
        row = replace(row, build_s=time.monotonic() - started)
        if judging is not None:
            is_reference = (candidate.runtime, candidate.quantizer) == REFERENCE
            logits = judging.reference if is_reference else _answers(run, own, judging.images)
            sure = agreement_interval(judging.reference, logits, judging.together)
            row = replace(row, parity=compare(judging.reference, logits), agreement_ci95=sure)
            if judging.images.labelled:
                row = replace(row, accuracy=accuracy(judging.reference, logits, judging.images.labels))
        if timed is not own:
            run = _open(candidate, timed, settings)
        run(timed.inputs[:1])
    except Exception as error:  # whatever a peer raises is its row's business, not the end of the comparison
        return replace(row, error=one_line(error)), None
    return row, run


def _open(candidate: Candidate, ground: Ground, settings: Settings) -> Run:
    with contextlib.redirect_stdout(sys.stderr):  # peers draw progress bars there
        return open_model(candidate.runtime, candidate.make(ground), settings.threads)


def _timed(rows: list[Row], runs: dict[Candidate, Run | None], timed: Ground, settings: Settings) -> list[Row]:
    """The rows with their latencies; one runtime after the other, each with all of its candidates."""
    image = timed.inputs[:1]
    found = {}
    for runtime in dict.fromkeys(candidate.runtime for candidate in runs):
        turns = {
            candidate.quantizer: functools.partial(run, image)
            for candidate, run in runs.items()
            if candidate.runtime == runtime and run is not None
        }
        times = time_interleaved(turns, settings.rounds, settings.inferences)
        for quantizer, latency in latencies(times, FP32, OURS).items():
            found[runtime, quantizer] = latency
    return [replace(row, latency=found.get((row.runtime, row.quantizer))) for row in rows]


def one_line(error: Exception) -> str:
    """An exception's type and the first line of what it says."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said}"[:WIDEST_ERROR].removesuffix(": ")
