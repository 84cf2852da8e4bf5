"""How good a row's answers are, with an interval."""

import msgspec

from edgecnn.bench.record import Row, Run
from edgecnn.report.reading import Evidence, Images, manifest_of
from edgecnn.verify.statistics import share_interval

TOP1, AGREEMENT = "top-1", "agreement"


class Quality(msgspec.Struct, frozen=True):
    """How good a row's answers are.

    Args:
        measure: ``top-1`` where there are labels, else ``agreement`` with the reference.
        value: 0..1.
        ci95: of top-1 by the paired interval of its drop, of agreement by Wilson's; None for the reference itself.
        drop_pp: of top-1 against the reference, percentage points; ``drop_ci95_pp`` is its paired interval.
    """

    measure: str
    value: float
    ci95: tuple[float, float] | None
    n: int
    images: Images
    drop_pp: float | None = None
    drop_ci95_pp: tuple[float, float] | None = None


def quality(row: Row, run: Run) -> Quality | None:
    """Of an artifact by its own evidence; of eager PyTorch as the reference of the artifacts of its model."""
    manifest = manifest_of(row)
    if manifest is not None:
        return _of_artifact(manifest.evidence)
    if row.kind != "eager":
        return None  # nobody checked what torch.compile answers
    found = {}
    for other in run.rows:
        evidence = getattr(manifest_of(other), "evidence", None) if other.model == row.model else None
        if evidence and evidence.reference == "eager" and evidence.top1_reference is not None:
            found[evidence.images.sha256, evidence.top1_reference] = evidence
    if len(found) != 1:
        return None
    (evidence,) = found.values()
    return Quality(TOP1, evidence.top1_reference, None, evidence.n, evidence.images)


def _of_artifact(evidence: Evidence) -> Quality:
    if evidence.top1 is None or evidence.top1_reference is None or evidence.drop_ci95_pp is None:
        interval = share_interval(evidence.agreement, evidence.n)
        return Quality(AGREEMENT, evidence.agreement, interval, evidence.n, evidence.images)
    low, high = evidence.drop_ci95_pp
    interval = (evidence.top1_reference - high / 100, evidence.top1_reference - low / 100)
    return Quality(TOP1, evidence.top1, interval, evidence.n, evidence.images, evidence.drop_pp, evidence.drop_ci95_pp)
