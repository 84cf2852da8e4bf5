"""What an artifact stands as after its checks. A weaker check than one before it may find fault, but clears nothing."""

from dataclasses import replace
from pathlib import Path

import msgspec

from edgecnn.artifact import INCONCLUSIVE, NOT_GATED, REJECTED, VERIFIED, Artifact
from edgecnn.recipe import Gate
from edgecnn.verify.policy import Judgement, Verdict, by_guessing
from edgecnn.verify.stages import Verification

GRAVITY = (NOT_GATED, VERIFIED, INCONCLUSIVE, REJECTED)


class Check(msgspec.Struct, frozen=True):
    """A check, as far as an artifact's status rests on it.

    Args:
        status: that it alone would leave.
        images: name of the set.
        labelled: with labels that say something: the reference knows them better than by chance.
        max_drop_pp: of the gate that it was held to, percentage points.
        reasons: of its verdict.
    """

    status: str
    images: str
    n: int
    labelled: bool
    synthetic: bool
    max_drop_pp: float
    reasons: tuple[str, ...]

    @property
    def strength(self) -> tuple[bool, bool, int]:
        """Real images say more than synthetic ones, labels more than none, and many more than few."""
        return not self.synthetic, self.labelled, self.n

    def __str__(self) -> str:
        kind = "synthetic images" if self.synthetic else "labelled images" if self.labelled else "images without labels"
        return f"{self.n} {kind}"


class Standing(msgspec.Struct, frozen=True):
    """What the status of an artifact rests on.

    Args:
        strongest: the last of the checks that asked most.
        deciding: that one, or a later and weaker one that found fault.
    """

    strongest: Check
    deciding: Check

    def after(self, check: Check, max_drop_pp: float) -> "Standing":
        """With one check more.

        Args:
            max_drop_pp: of the artifact's own gate: what a looser one lets through clears nothing.
        """
        if check.strength >= self.strongest.strength and check.max_drop_pp <= max_drop_pp:
            return Standing(check, check)
        graver = GRAVITY.index(check.status) > GRAVITY.index(self.strongest.status)
        return Standing(self.strongest, check if graver else self.strongest)


def standing_of(artifact: Artifact) -> Standing:
    """As its manifest has it; one that nothing changed since its export stands on the export's own check."""
    manifest = artifact.manifest
    if "standing" in manifest:
        return msgspec.convert(manifest["standing"], Standing)
    evidence = manifest["evidence"]
    check = Check(
        status=manifest["status"],
        images=evidence["images"]["name"],
        n=evidence["n"],
        labelled=_labels_tell(evidence["top1_reference"], evidence["n"], artifact),
        synthetic=artifact.synthetic,
        max_drop_pp=manifest["gate"]["max_drop_pp"],
        reasons=tuple(evidence["reasons"]),
    )
    return Standing(check, check)


def status(verification: Verification, gated: bool) -> str:
    """What a check alone leaves. Without a gate, answers are measured only, but secretly float is rejected.

    Args:
        gated: False for random weights.
    """
    if not gated and not verification.secretly_float:
        return NOT_GATED
    if verification.judgement.rejected:
        return REJECTED
    return VERIFIED if verification.judgement.verdict is Verdict.PASS else INCONCLUSIVE


def as_gated(artifact: Artifact, verification: Verification) -> Verification:
    """The same, and rejected by nothing that is not judged: answers of random weights are not."""
    if status(verification, is_gated(artifact)) != NOT_GATED:
        return verification
    judgement = replace(verification.judgement, rejected=False)
    return replace(verification, judgement=judgement).with_note("random weights are measured, not gated")


def is_gated(artifact: Artifact) -> bool:
    """Whether its answers are judged."""
    return bool(artifact.manifest["weights"]["source"] != "random")


def _labels_tell(top1_reference: float | None, n: int, artifact: Artifact) -> bool:
    """Whether there are labels, and the reference knows them; None is without."""
    return top1_reference is not None and not by_guessing(top1_reference, n, artifact.interface.classes)


def settled(artifact: Artifact, verification: Verification, gate: Gate) -> tuple[Verification, Standing]:
    """A check as a user should hear of it, and what the artifact stands as after it."""
    found = verification.accuracy
    check = Check(
        status=status(verification, is_gated(artifact)),
        images=Path(verification.images["name"]).name,
        n=verification.parity.n,
        labelled=_labels_tell(None if found is None else found.top1_reference, verification.parity.n, artifact),
        synthetic=verification.images.get("synthetic", False),
        max_drop_pp=gate.max_drop_pp,
        reasons=verification.judgement.reasons,
    )
    own_pp = artifact.manifest["gate"]["max_drop_pp"]
    standing = standing_of(artifact).after(check, own_pp)
    before = standing.deciding
    if before is check or before.status == check.status:
        return verification, standing
    text = f"{before.status} by a check on {before}, which {check} do not undo"
    way_out = "verify with --images on as many"
    if check.max_drop_pp > own_pp:
        text = f"{text} with --max-drop {check.max_drop_pp:g}, where the artifact's own is {own_pp:g}"
        way_out = "export again with that --max-drop"
    if before.status == REJECTED:
        judgement = Judgement(Verdict.FAIL, (f"{text}; {way_out}", *check.reasons), rejected=True)
        return replace(verification, judgement=judgement), standing
    return verification.with_note(f"still {text}"), standing
