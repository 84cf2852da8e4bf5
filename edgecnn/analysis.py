"""Where INT8 would hurt a model, before anything is exported: its layers by what each alone costs."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.data.sets import load_set
from edgecnn.data.split import keep_apart, spread
from edgecnn.errors import UsageError
from edgecnn.names import SYNTHETIC
from edgecnn.parity import six_digits
from edgecnn.progress import Progress
from edgecnn.recipe import class_names
from edgecnn.request import ExportRequest, plan

if TYPE_CHECKING:
    from edgecnn.quant.sensitivity import Sensitivity

PIXELS = 16 * 224**2  # of the images that layers are tried on, together
MOST_IMAGES = 64


@dataclass(frozen=True)
class Analysis:
    """Layers by sensitivity, the costliest first, and the number of images that said so.

    Args:
        reduced_range: weights were rounded for kernels that add products in pairs.
        remark: why, where the user should know.
    """

    model: str
    weights: str
    images: str
    n: int
    reduced_range: bool
    remark: str
    layers: "tuple[Sensitivity, ...]"

    def as_json(self) -> dict[str, Any]:
        """The keys that scripts rely on."""
        total = sum(layer.kl for layer in self.layers) or 1.0
        rows = [asdict(layer) | {"kl": layer.kl, "share": layer.kl / total} for layer in self.layers]
        head = {"model": self.model, "weights": self.weights, "images": self.images, "n": self.n}
        return head | {"reduced_range": self.reduced_range, "layers": six_digits(rows)}


def analyze(request: ExportRequest, progress: Progress | None = None) -> Analysis:
    """Quantizes one place of a model at a time, with min-max ranges of the calibration images, and tries it on some.

    Args:
        request: of an INT8 export; of its target only the range of weights matters here, and its output does not.

    Raises:
        EdgecnnError: unknown names, contradicting flags, missing packages, or images that cannot be read.
    """
    progress = progress or Progress()
    planned = plan(request)
    from edgecnn.graph.fold import fold
    from edgecnn.graph.session import memory_given_back
    from edgecnn.graph.traced import trace
    from edgecnn.models.weights import load_model
    from edgecnn.quant.alone import Alone
    from edgecnn.quant.calibrate import BATCH, observe_ranges
    from edgecnn.quant.pixels import on_pixel_grid
    from edgecnn.quant.placement import Role, place
    from edgecnn.quant.sensitivity import layer_sensitivities, tensor_sensitivities
    from edgecnn.quant.table import make_table

    how = planned.data.preprocess
    named = planned.calibration or planned.data.calibration
    if named == SYNTHETIC:
        raise UsageError(f"--calib {SYNTHETIC} is for export; layers are tried on real images: give a folder or a set")
    with progress.stage("load"):
        loaded = load_model(planned.spec, planned.source, planned.num_classes)
    calibration, _ = keep_apart(load_set(named, class_names(planned.data, loaded.num_classes)))
    count = min(MOST_IMAGES, max(1, PIXELS // (how.height * how.width)))
    images = np.concatenate(list(spread(calibration, count).batches(how, BATCH)))
    with progress.stage("export to ONNX"):
        graph, exact = on_pixel_grid(trace(fold(loaded.model), 3, how.height, how.width), how)
    placement = place(graph).of({Role.INPUT})
    with memory_given_back():
        with progress.stage("calibrate", len(calibration)):
            ranges = observe_ranges(graph, placement.roles, calibration.batches(how, BATCH, progress.advance)) | exact
        reduced = planned.target.profile.reduced_range
        table = make_table(graph, placement, ranges, reduced_range=reduced)
        with progress.stage("quantize one layer at a time", len(table.layers)):
            inputs = tensor_sensitivities(Alone(graph, placement, {Role.INPUT}, images), ranges)
            layers = layer_sensitivities(graph, table, inputs, images, progress.advance)
    remark = planned.target.remark(planned.precision)
    return Analysis(planned.spec.name, planned.source, named, len(images), reduced, remark, tuple(layers))
