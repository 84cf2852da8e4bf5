"""What the stages tell whoever is watching: a name, how much there is to do, and how much of it is done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Silent; keeps each stage's duration. The command line's own draws bars."""

    def __init__(self) -> None:
        self.elapsed_s: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        """Times a stage. ``total`` counts the ``advance`` calls to come, None where it is not known."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.elapsed_s[name] = self.elapsed_s.get(name, 0.0) + time.monotonic() - started

    def advance(self, count: int = 1) -> None:
        """So much more of the running stage is done."""
