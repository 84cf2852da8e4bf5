"""The stages that a model passes through, run side by side on the same images.

eager → folded → ONNX → lowered → compiled. Each is held against the reference, and against the stage before it, so that
a loss shows where it happened.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from edgecnn.data.preprocess import Float
from edgecnn.data.sets import ImageSet
from edgecnn.errors import ParityError
from edgecnn.parity import Parity, compare, six_digits
from edgecnn.recipe import Gate, Preprocess
from edgecnn.verify.coverage import Coverage
from edgecnn.verify.policy import NONE_REAL, Judgement, Verdict, doubted, judge
from edgecnn.verify.statistics import Accuracy, accuracy

BATCH = 32
STAGE_IMAGES = 16  # that the stages between reference and artifact run on; those two run on all


@dataclass(frozen=True)
class Stage:
    """A name and what answers ``(n, C, H, W) float32`` with logits ``(n, K)``, for any n."""

    name: str
    run: Callable[[Float], Float]


def remembering(stage: Stage) -> Stage:
    """The same stage, but a batch that it has answered before it answers from memory, with the very logits.

    A batch is known by its shape and bytes, whichever image set it is of. Only logits are kept, not images.
    """
    answers: dict[tuple[tuple[int, ...], bytes], Float] = {}

    def run(images: Float) -> Float:
        key = images.shape, hashlib.sha256(images.tobytes()).digest()
        if key not in answers:
            answers[key] = stage.run(images)
            answers[key].flags.writeable = False  # they are handed out again
        return answers[key]

    return replace(stage, run=run)


@dataclass(frozen=True)
class StageRow:
    """One stage against the reference and against the stage before it."""

    name: str
    against_reference: Parity
    against_previous: Parity


@dataclass(frozen=True)
class Verification:
    """Everything that a check found.

    Args:
        reference: ``eager``, ``onnx`` or ``golden``: what the artifact was compared with.
        images: name and hash of the image set, and whether it is synthetic, where it is.
        accuracy: None without labels.
        coverage: what the runtime executes, None where that was not looked at.
        executed: whether the artifact itself answered, and not the lowered graph that it was built from.
    """

    reference: str
    images: dict[str, Any]
    parity: Parity
    accuracy: Accuracy | None
    judgement: Judgement
    stages: tuple[StageRow, ...]
    note: str = ""
    coverage: Coverage | None = None
    executed: bool = True

    @property
    def secretly_float(self) -> bool:
        """Whether layers that should run in INT8 do not."""
        return self.coverage is not None and self.coverage.problem != ""

    def with_coverage(self, coverage: Coverage) -> "Verification":
        """The same, and what is executed; an artifact that is secretly float fails whatever it answers."""
        if not coverage.problem:
            return replace(self.with_note(coverage.remark), coverage=coverage)
        judgement = Judgement(Verdict.FAIL, (coverage.problem, *self.judgement.reasons), rejected=True)
        return replace(self, coverage=coverage, judgement=judgement)

    @property
    def not_here(self) -> str:
        """What to call an artifact that was not executed; one without kernels was not even built."""
        return "not built here" if self.coverage is None else "built, not executed here"

    def with_note(self, note: str) -> "Verification":
        """The same, and a sentence more for people."""
        return replace(self, note="; ".join(text for text in (self.note, note) if text))

    def not_executed(self, absence: str) -> "Verification":
        """The same, said to be the lowered graph's; ``absence`` is why the artifact itself could not answer here."""
        note = f"{self.not_here} ({absence}): this is the lowered graph's parity, in ONNX Runtime"
        return replace(self.with_note(note), executed=False)

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on; the label keys are null without labels. Numbers carry six digits."""
        found = self.accuracy
        document = {
            "n": self.parity.n,
            "agreement": self.parity.agreement,
            "sqnr_db": self.parity.sqnr_db,
            "cosine": self.parity.cosine,
            "max_abs": self.parity.max_abs,
            "kl": self.parity.kl,
            "top1": found and found.top1,
            "top1_reference": found and found.top1_reference,
            "top5": found and found.top5,
            "top5_reference": found and found.top5_reference,
            "drop_pp": found and found.drop_pp,
            "drop_ci95_pp": found and list(found.drop_ci95_pp),
            "mcnemar_p": found and found.mcnemar_p,
            "verdict": self.judgement.verdict.value,
            "reasons": list(self.judgement.reasons),
            "reference": self.reference,
            "images": self.images,
            "executed": self.executed,
            "note": self.note,
            "coverage": self.coverage and self.coverage.as_json(),
            "stages": [
                {"name": row.name, **asdict(row.against_reference), "previous": asdict(row.against_previous)}
                for row in self.stages
            ],
        }
        return six_digits(document)  # type: ignore[no-any-return]  # a dict in, a dict out


def check(
    stages: Sequence[Stage],
    images: ImageSet,
    how: Preprocess,
    precision: str,
    gate: Gate,
    on_images: Callable[[int], None] = lambda count: None,
) -> Verification:
    """Runs the first stage as the reference and the last as the artifact over all images, the others over a few.

    Args:
        on_images: called with the number of images of each batch done.

    Raises:
        ParityError: nothing to compare, or logits that are not finite.
    """
    if len(stages) < 2 or not len(images):
        raise ParityError(f"nothing was compared: {len(images)} images, {len(stages)} stages")
    answers: dict[str, list[Float]] = {stage.name: [] for stage in stages}
    done = 0
    for batch in images.batches(how, BATCH, on_images):
        for stage in stages:
            if stage in (stages[0], stages[-1]):
                answers[stage.name].append(stage.run(batch))
            elif done < STAGE_IMAGES:
                answers[stage.name].append(stage.run(batch[: STAGE_IMAGES - done]))
        done += len(batch)
    logits = {name: np.concatenate(parts) for name, parts in answers.items()}
    named: dict[str, Any] = {"name": images.name, "sha256": images.sha256}
    if images.synthetic:
        named["synthetic"] = True
    reference = stages[0].name
    labels = images.labels if images.labelled else None
    return _conclude(logits, reference, labels, named, precision, gate, images.note)


def check_golden(
    golden: Float, stage: Stage, inputs: Float, precision: str, gate: Gate, synthetic: bool = False
) -> Verification:
    """Checks one stage alone, the artifact unless it cannot run, against the eager logits that travel with it.

    Args:
        synthetic: whether the inputs are synthetic images.
    """
    logits = {"golden": golden, stage.name: stage.run(inputs)}
    named = {"name": "golden pairs"} | ({"synthetic": True} if synthetic else {})
    return _conclude(logits, "golden", None, named, precision, gate, "")


def _conclude(
    logits: dict[str, Float],
    reference: str,
    labels: np.typing.NDArray[np.int64] | None,
    images: dict[str, Any],
    precision: str,
    gate: Gate,
    note: str,
) -> Verification:
    names = list(logits)
    want, got = logits[reference], logits[names[-1]]
    parity = compare(want, got)
    found = None if labels is None else accuracy(want, got, labels)
    rows = []
    for previous, name in zip([reference, *names[:-1]], names, strict=True):
        count = min(len(logits[previous]), len(logits[name]))
        value = logits[name]
        rows.append(
            StageRow(name, compare(want[: len(value)], value), compare(logits[previous][:count], value[:count]))
        )
    judgement = judge(precision, parity, float(np.abs(want).max()), found, gate, want.shape[1])
    if images.get("synthetic"):
        judgement = doubted(judgement, NONE_REAL)
    return Verification(reference, images, parity, found, judgement, tuple(rows), note)
