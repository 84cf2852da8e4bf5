"""What a row's manifest says of its answers, as far as reports and comparisons read it."""

from typing import Any

import msgspec

from edgecnn.bench.record import Row, Run
from edgecnn.errors import InputError
from edgecnn.verify.statistics import share_interval


class Images(msgspec.Struct, frozen=True):
    """What was answered."""

    name: str
    sha256: str = ""


class Stage(msgspec.Struct, frozen=True):
    """One arrow of the road from PyTorch to the runtime, held against the reference."""

    name: str
    n: int
    agreement: float
    sqnr_db: float
    cosine: float
    max_abs: float


class Evidence(msgspec.Struct, frozen=True):
    """The last check of an artifact. ``top1`` and ``top1_reference`` are 0..1, and None without labels."""

    n: int
    agreement: float
    verdict: str
    reference: str
    images: Images
    sqnr_db: float | None = None
    top1: float | None = None
    top1_reference: float | None = None
    drop_pp: float | None = None
    drop_ci95_pp: tuple[float, float] | None = None
    reasons: tuple[str, ...] = ()
    note: str = ""
    stages: tuple[Stage, ...] = ()


class Rung(msgspec.Struct, frozen=True):
    """One means against lost accuracy, on images held out of calibration."""

    name: str
    n: int
    agreement: float
    sqnr_db: float
    kl: float
    kept: bool
    float_layers: tuple[str, ...] = ()


class Quantizer(msgspec.Struct, frozen=True):
    """How INT8 was reached."""

    effort: str
    ladder: tuple[Rung, ...] = ()


class FloatLayer(msgspec.Struct, frozen=True):
    """A layer that does not run in INT8; ``macs_share`` is 0..1."""

    name: str
    macs_share: float
    precision: str


class Coverage(msgspec.Struct, frozen=True):
    """What the runtime was seen to execute; ``int8_macs_share`` is 0..1."""

    int8_macs_share: float
    int8_layers: int
    planned_layers: int
    planned_int8_layers: int
    float_layers: tuple[FloatLayer, ...] = ()
    reformats: dict[str, int] = {}


class File(msgspec.Struct, frozen=True):
    """One file of an artifact."""

    role: str
    sha256: str


class Weights(msgspec.Struct, frozen=True):
    """Where they came from."""

    source: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The parts of an artifact's manifest that are read here; the others are left alone."""

    status: str
    evidence: Evidence
    weights: Weights
    files: tuple[File, ...]
    quantizer: Quantizer | None = None
    coverage: Coverage | None = None


def manifest_of(row: Row) -> Manifest | None:
    """A row's manifest, None for PyTorch itself.

    Raises:
        InputError: it is not what an export writes.
    """
    if row.manifest is None:
        return None
    try:
        return msgspec.convert(row.manifest, Manifest)
    except msgspec.ValidationError as error:
        raise InputError(f"row {row.name!r}: {error} in its manifest; measure again with this version") from error


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


def flat(facts: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested facts as ``name.of.fact: text``, in their order; what is null or empty is left out."""
    found: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif value not in (None, "", []):
            words = value if isinstance(value, list) else [value]
            found[f"{prefix}{name}"] = ", ".join({"True": "yes", "False": "no"}.get(str(w), str(w)) for w in words)
    return found
