"""Runs as they are read: files that are whole, and the parts of a row's manifest that say what it is and is worth."""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgecnn.bench.record import Row, Run, read_run
from edgecnn.errors import InputError

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Images(msgspec.Struct, frozen=True):
    """What was answered."""

    name: str
    sha256: str = ""


class Stage(msgspec.Struct, frozen=True):
    """One arrow of the road from PyTorch to the runtime, held against the reference."""

    name: str
    n: int
    agreement: Share
    sqnr_db: float
    cosine: float
    max_abs: float


class Evidence(msgspec.Struct, frozen=True):
    """The check of an export.

    Args:
        top1, top1_reference: 0..1; None without labels.
        executed: whether the artifact itself answered, and not the lowered graph that it was built from.
    """

    n: Annotated[int, msgspec.Meta(ge=1)]
    agreement: Share
    verdict: str
    reference: str
    images: Images
    sqnr_db: float | None = None
    top1: Share | None = None
    top1_reference: Share | None = None
    drop_pp: float | None = None
    drop_ci95_pp: tuple[float, float] | None = None
    reasons: tuple[str, ...] = ()
    note: str = ""
    executed: bool = True
    stages: tuple[Stage, ...] = ()


class Check(msgspec.Struct, frozen=True):
    """A check after the export."""

    reasons: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True):
    """What the status rests on, where that is not the export's own evidence."""

    deciding: Check


class Rung(msgspec.Struct, frozen=True):
    """One means against lost accuracy, on images held out of calibration."""

    name: str
    n: int
    agreement: Share
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
    macs_share: Share
    precision: str


class Coverage(msgspec.Struct, frozen=True):
    """What the runtime was seen to execute; ``int8_macs_share`` is 0..1."""

    int8_macs_share: Share
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
    standing: Standing | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Of its status."""
        return self.evidence.reasons if self.standing is None else self.standing.deciding.reasons


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


def open_run(path: Path) -> Run:
    """A run from a file, with everything that reports and comparisons take for granted checked.

    Raises:
        InputError: it is no run, or contradicts itself.
    """
    run = read_run(path)
    names = [row.name for row in run.rows]
    if not names:
        raise InputError(f"{path}: has no rows; measure again")
    for row in run.rows:
        if names.count(row.name) > 1:
            raise InputError(f"{path}: has two rows {row.name!r}; names are unique in a run")
        if row.times is not None and not row.times.rounds_ms:
            raise InputError(f"{path}: row {row.name!r} has no rounds; measure again")
        manifest_of(row)
    return run


def flat(facts: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested facts as ``name.of.fact: text``, in their order; what is null or empty is left out."""
    found: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            found |= flat({str(place): item for place, item in enumerate(value)}, f"{prefix}{name}.")
        elif value not in (None, "", []):
            words = value if isinstance(value, list) else [value]
            found[f"{prefix}{name}"] = ", ".join({"True": "yes", "False": "no"}.get(str(w), str(w)) for w in words)
    return found
