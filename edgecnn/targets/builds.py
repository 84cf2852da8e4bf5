"""What a target builds and opens, kept for a while: the ladder times networks, and the artifact is one of them."""

import threading
from collections import OrderedDict
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from edgecnn.files import scratch
from edgecnn.targets.base import Interface, Session, Target

if TYPE_CHECKING:
    from edgecnn.graph.graph import Graph

KEPT = 2  # a network twice: as it was, and with the last layers in float


class Built(NamedTuple):
    """An artifact's files by suffix, and a session on them, opened from disk as on a device."""

    files: dict[str, bytes]
    session: Session


class Builds:
    """Builds and opens graphs; the latest are remembered, because the same graph gives the same files.

    A context: its end removes the files that sessions were opened from.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._kept: OrderedDict[tuple[str, Interface], tuple[Built, ExitStack]] = OrderedDict()
        self._lock = threading.Lock()  # several threads build at once

    def open(self, graph: "Graph", interface: Interface) -> Built:
        """A graph as an artifact has it.

        Raises:
            BuildError: as ``Target.build`` and ``Target.open``.
            StorageError: there is no room for temporary files.
        """
        key = (graph.sha256, interface)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        files = self._target.build(graph)
        with ExitStack() as stack:
            folder = stack.enter_context(scratch(sum(map(len, files.values()))))
            built = Built(files, self._target.open_built(files, folder, interface))
            ours = stack.pop_all()
        with self._lock:
            self._forget(key)  # by another thread
            self._kept[key] = built, ours
            while len(self._kept) > KEPT:
                self._forget(next(iter(self._kept)))
        return built

    def _forget(self, key: tuple[str, Interface]) -> None:
        if key in self._kept:
            self._kept.pop(key)[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._kept):
            self._forget(key)
