"""What a target builds, kept for a while: the ladder times networks, and the artifact is mostly one of them."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from edgecnn.targets.base import Target

if TYPE_CHECKING:
    from edgecnn.graph.graph import Graph

KEPT = 2  # a network twice: as it was, and with the last layers in float


class Builds:
    """``Target.build``, with the latest graphs' files remembered: the same graph gives the same files."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._files: OrderedDict[str, dict[str, bytes]] = OrderedDict()

    def build(self, graph: "Graph") -> dict[str, bytes]:
        """The files of an artifact by suffix.

        Raises:
            BuildError: as ``Target.build``.
        """
        key = graph.sha256
        files = self._files.get(key) or self._target.build(graph)
        self._files[key] = files
        self._files.move_to_end(key)
        while len(self._files) > KEPT:
            self._files.popitem(last=False)
        return files
