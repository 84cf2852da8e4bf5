"""A network with its weights, and what follows from it alone: the same for every target and every precision."""

import json
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import structs

from edgecnn.data.sets import ImageSet
from edgecnn.graph.fold import fold
from edgecnn.graph.graph import Graph, with_metadata
from edgecnn.graph.traced import trace
from edgecnn.models.registry import ModelSpec
from edgecnn.models.weights import load_model
from edgecnn.quant.synthetic import image_count, synthesise
from edgecnn.recipe import Data, class_names
from edgecnn.request import Plan
from edgecnn.targets.base import Interface
from edgecnn.verify.reopen import graph_stage, torch_stage
from edgecnn.verify.stages import Stage, remembering

if TYPE_CHECKING:
    from torch import nn


class Network:
    """A network as a plan asks for it, loaded; all else is made when it is first asked for, once, and never changed.

    Raises:
        EdgecnnError: as ``load_model`` and ``class_names``.
    """

    def __init__(self, planned: Plan) -> None:
        loaded = load_model(planned.spec, planned.source, planned.num_classes)
        self.model, self.sha256 = loaded.model, loaded.sha256
        self.labels = class_names(planned.data, loaded.num_classes)
        self._asked, self._how = _asked(planned), planned.data.preprocess
        self._synthetic: ImageSet | None = None

    def serves(self, planned: Plan) -> bool:
        """Whether a plan is of this network: the same model, weights, classes and preprocessing."""
        return self._asked == _asked(planned)

    def interface(self, batch: int | None) -> Interface:
        """What goes in and out, at a batch; None is dynamic."""
        return Interface(batch, 3, self._how.height, self._how.width, len(self.labels))

    @cached_property
    def folded(self) -> "nn.Module":
        """Without batch norms."""
        return fold(self.model)

    @cached_property
    def graph(self) -> Graph:
        """FP32 at batch 1, with what a runtime needs to know of its input and output.

        Raises:
            InputError: the network has operators outside the allow-list.
        """
        metadata = {
            "edgecnn.model": self._asked[0].name,
            "edgecnn.preprocess": json.dumps(structs.asdict(self._how), sort_keys=True),
            "edgecnn.labels": json.dumps(self.labels, ensure_ascii=False),
        }
        return with_metadata(trace(self.folded, 3, self._how.height, self._how.width), metadata)

    @cached_property
    def stages(self) -> tuple[Stage, Stage, Stage]:
        """Eager, folded and ONNX; what they have answered, they remember."""
        return (
            remembering(torch_stage("eager", self.model)),
            remembering(torch_stage("folded", self.folded)),
            remembering(graph_stage("onnx", self.graph, self.interface(None), optimize=True)),
        )

    @property
    def synthetic_count(self) -> int:
        """How many images ``synthetic_images`` makes."""
        return image_count(self._how)

    def synthetic_images(self, on_images: Callable[[int], None]) -> ImageSet:
        """Images to calibrate on, made from the batch norms.

        Args:
            on_images: called with the number of images of each batch when it is made.

        Raises:
            InputError: there are no batch norms.
        """
        if self._synthetic is None:
            self._synthetic = synthesise(self.model, self._how, self.synthetic_count, on_images=on_images)
        return self._synthetic


def _asked(planned: Plan) -> tuple[ModelSpec, str, int | None, Data]:
    """The part of a plan that decides its network."""
    return planned.spec, planned.source, planned.num_classes, planned.data
