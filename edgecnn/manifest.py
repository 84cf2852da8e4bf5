"""The manifest's text: what an artifact is, what it was made from and with, and what was found. No clock, no host."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from edgecnn.bench.machine import versions
from edgecnn.data.sets import ImageSet
from edgecnn.models.sources import is_file
from edgecnn.names import __version__
from edgecnn.request import EXPORT_PACKAGES, Plan
from edgecnn.targets.base import Advice, Interface
from edgecnn.verify.stages import Verification
from edgecnn.verify.standing import status

if TYPE_CHECKING:
    from edgecnn.quant.ladder import Climbed


def describe(
    plan: Plan,
    interface: Interface,
    labels: list[str],
    weights_sha256: str,
    graph: dict[str, Any],
    calibration: ImageSet | None,
    climbed: "Climbed | None",
    verification: Verification,
    advice: Advice | None,
) -> dict[str, Any]:
    """Everything of a manifest but its schema and its files.

    The same input gives the same text on the same kind of CPU. Another kind may change what was seen to run
    (``coverage``), what was measured (``evidence``, and the rungs in ``quantizer``) and, as weights are bounded where
    there is no VNNI, their codes and the rungs that were kept; another GPU what TensorRT is built for. ``best`` chooses
    layers by times, which no two runs share.

    Args:
        graph: hash, layers and activations of the FP32 graph.
        advice: what the build itself says for or against its precision.
    """
    evidence = verification.as_json()
    coverage = evidence.pop("coverage")
    evidence["images"]["name"] = Path(evidence["images"]["name"]).name  # where they lie is of this host
    own = is_file(plan.source)
    weights = {"source": "file" if own else plan.source, "sha256": weights_sha256}
    return {
        "edgecnn": __version__,
        "status": status(verification, plan.gated),
        "model": {"name": plan.spec.name, "num_classes": interface.classes},
        "weights": weights | ({"file": Path(plan.source).name} if own else {}),
        "graph": graph,
        "interface": asdict(interface),
        "preprocess": structs.asdict(plan.data.preprocess),
        "labels": labels,
        "target": plan.target.name,
        "precision": plan.precision,
        "calibration": None
        if calibration is None
        else {
            "set": Path(calibration.name).name,
            "n": len(calibration),
            "sha256": calibration.sha256,
            "note": calibration.note,
            "synthetic": calibration.synthetic,
        },
        "quantizer": None
        if climbed is None
        else {
            "effort": plan.effort,
            "ladder": [rung.as_json() for rung in climbed.rungs],
            "int8_layers": len(climbed.table.layers),
            "layers": [layer.node for layer in climbed.table.layers],
            "profile": plan.target.profile.name,
            "reduced_range": plan.target.profile.reduced_range,
        },
        "versions": versions(sorted({*EXPORT_PACKAGES, *plan.target.packages, "numpy", "pillow"})),
        "runtime": plan.target.settings,
        "gate": structs.asdict(plan.gate),
        "coverage": coverage,
        "advice": advice and advice.as_json(),
        "evidence": evidence,
    }
