"""What was found: rungs, stages, verdicts, answers."""

from typing import TYPE_CHECKING, Any

from edgecnn.console.screen import out, shown, table_of
from edgecnn.pipeline import Exported, Predictions
from edgecnn.verify.coverage import Coverage
from edgecnn.verify.policy import Verdict
from edgecnn.verify.stages import Verification

if TYPE_CHECKING:
    from edgecnn.quant.rungs import Rung, Slowdown

COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


def print_exported(exported: Exported) -> None:
    """The evidence, and where the artifact is."""
    manifest = exported.artifact.manifest
    if exported.rungs:
        print_rungs(exported.rungs)
    note = (manifest["calibration"] or {}).get("note", "")
    if note and note != exported.verification.note:
        out.print(f"calibration: {shown(note)}")
    print_verification(exported.verification)
    if exported.remark:
        out.print(shown(exported.remark))
    if exported.advice is not None:
        out.print(shown(exported.advice.text))
    size = _size(manifest, "model.") or _size(manifest, "bundle.")
    verification = exported.verification
    state = manifest["status"] if verification.executed else f"{manifest['status']}, {verification.not_here}"
    folder = shown(str(exported.artifact.folder))
    out.print(
        f"{folder}  {manifest['model']['name']} {manifest['precision']} for {manifest['target']},"
        f" {size / 1e6:.1f} MB, {state}, in {exported.elapsed_s:.1f} s"
    )


def _size(manifest: dict[str, Any], role: str) -> int:
    """Bytes of the files whose role begins so."""
    return sum(entry["size_bytes"] for entry in manifest["files"] if entry["role"].startswith(role))


def print_rungs(rungs: "tuple[Rung, ...]") -> None:
    """What each rung of the ladder gained on the images held out of calibration."""
    labelled = rungs[0].top1 is not None
    columns = ["rung", "n|", "agreement|", *(["top-1|"] if labelled else []), "SQNR dB|", "KL|", "ranges", "float|"]
    table = table_of(*columns, "takes", "seconds|", "")
    refined = False  # any rung so far
    for rung in rungs:
        refined |= rung.refined
        table.add_row(
            rung.name,
            str(rung.n),
            f"{rung.agreement:.4f}",
            *([f"{rung.top1:.4f}"] if labelled else []),
            f"{rung.sqnr_db:.1f}",
            f"{rung.kl:.2g}",
            ", ".join(f"{count} {method}" for method, count in rung.ranges.items()),
            str(len(rung.float_layers)),
            "" if rung.slowdown is None else _takes(rung.slowdown),
            f"{rung.elapsed_s:.1f}",
            "" if rung.kept else "not kept, not refined" if refined and not rung.refined else "not kept",
        )
    out.print(table)


def _takes(slowdown: "Slowdown") -> str:
    low, high = slowdown.ratio_ci95
    return shown(f"{slowdown.ratio:.2f}x [{low:.2f}, {high:.2f}]")


def print_verification(verification: Verification) -> None:
    """A row per stage, accuracy where there are labels, the verdict."""
    table = table_of("stage", "n|", "agreement|", "SQNR dB|", "cosine|", "max abs|", "SQNR to previous|")
    for row in verification.stages:
        parity = row.against_reference
        table.add_row(
            row.name,
            str(parity.n),
            f"{parity.agreement:.4f}",
            f"{parity.sqnr_db:.1f}",
            f"{parity.cosine:.6f}",
            f"{parity.max_abs:.2g}",
            f"{row.against_previous.sqnr_db:.1f}",
        )
    out.print(table)
    found = verification.accuracy
    if found is not None:
        low, high = found.drop_ci95_pp
        out.print(
            f"top-1 {found.top1:.4f} against {found.top1_reference:.4f} on {found.n} labelled images: drop"
            f" {found.drop_pp:+.2f} pp, 95 % [{low:+.2f}, {high:+.2f}], McNemar p {found.mcnemar_p:.2g};"
            f" top-5 {found.top5:.4f} against {found.top5_reference:.4f}"
        )
    if verification.coverage is not None and verification.coverage.planned:
        out.print(share(verification.coverage))
    if verification.note:
        out.print(f"note: {shown(verification.note)}")
    verdict = verification.judgement.verdict
    colour = "red" if verification.judgement.rejected else COLOURS[verdict]
    reasons = f": {'; '.join(verification.judgement.reasons)}" if verification.judgement.reasons else ""
    out.print(
        f"[{colour}]{verdict.value}[/] against {verification.reference}"
        f" on {verification.parity.n} images of {shown(verification.images['name'])}{shown(reasons)}"
    )


def print_predictions(predictions: Predictions) -> None:
    """A row per picture."""
    table = table_of("image", "1", "2", "3", "4", "5")
    for answer in predictions.as_json():
        best = [shown(f"{row['label']} {row['probability']:.3f}") for row in answer["top5"]]
        table.add_row(shown(answer["image"]), *best)
    out.print(table)


def share(coverage: Coverage) -> str:
    """How much of the work runs in int8 kernels."""
    layers = coverage.int8_layers + len(coverage.float_layers)
    work = f"{coverage.int8_macs_share:.2%} of {coverage.macs / 1e6:,.1f} M MACs run in int8 kernels"
    quantized = f", {coverage.planned_int8} of {coverage.planned} quantized ones" if coverage.planned else ""
    return f"{work}: {coverage.int8_layers} of {layers} layers{quantized}"
