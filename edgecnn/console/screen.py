"""The two streams: results go to stdout; bars and warnings to stderr, bars on a terminal only."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from edgecnn.errors import printable
from edgecnn.progress import Progress

# Tables have the width that they need, whatever the window's: a line that a terminal wraps is whole, a column cut to a
# dot says nothing.
out = Console(highlight=False, soft_wrap=True, width=1000)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class BarProgress(Progress):
    """A bar per stage."""

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars = bars
        self._task: Any = None

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        self._task = self._bars.add_task(name, total=total)
        with super().stage(name, total):
            yield
        self._bars.update(self._task, total=total or 1, completed=total or 1)

    def advance(self, count: int = 1) -> None:
        self._bars.advance(self._task, count)


@contextmanager
def watching() -> Iterator[Progress]:
    """A progress that draws bars where a person is looking, else a silent one."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=err) as bars:
        yield BarProgress(bars)


def warn(text: str) -> None:
    """One line on stderr."""
    err.print(f"[yellow]warning:[/] {shown(text)}")


def table_of(*columns: str) -> Table:
    """A plain table; a column named with a bar at its end is right-aligned."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.rstrip("|"), justify="right" if column.endswith("|") else "left", no_wrap=True)
    return table


def shown(text: str) -> str:
    """Somebody else's text, which is no markup."""
    return escape(printable(text))
