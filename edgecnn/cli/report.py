"""Commands that read runs: a page or a table of them, and a gate between two."""

from pathlib import Path
from typing import Annotated

import typer

from edgecnn.cli.app import Json, app, print_json
from edgecnn.errors import ParityError, StorageError, UsageError
from edgecnn.files import check_place

PAGE = Path("report.html")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Files that bench or benchmark wrote; of two, the older first.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; report.html, or stdout with --markdown.", metavar="FILE"),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="A table for a pull request, and no page.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Draw runs as one page that needs no network, or as a table for a pull request."""
    from edgecnn.report.reading import open_run

    path = out or (None if markdown else PAGE)
    if path is not None:
        _check_place(path, runs, force)
    documents = [(run.name, open_run(run)) for run in runs]
    if markdown:
        from edgecnn.report.markdown import markdown as draw
    else:
        from edgecnn.overview import require

        require("report")
        from edgecnn.report.page import render as draw
    text = draw(documents)
    if path is None:
        typer.echo(text, nl=False)
        return
    from edgecnn.console.screen import out as screen
    from edgecnn.console.screen import shown
    from edgecnn.files import write_whole

    # A file name need not be Unicode; a page must be.
    write_whole(path, text.encode(errors="replace"))
    screen.print(
        f"{shown(str(path))}  {len(runs)} run{'s' if len(runs) > 1 else ''}, {path.stat().st_size / 1e6:.2f} MB"
    )


@app.command()
def compare(
    old: Annotated[Path, typer.Argument(help="The run to hold against.", metavar="OLD")],
    new: Annotated[Path, typer.Argument(help="The run to judge.", metavar="NEW")],
    max_slowdown: Annotated[
        float, typer.Option("--max-slowdown", help="Largest slow-down of a row in percent.", metavar="PERCENT")
    ] = 5.0,
    max_drop: Annotated[
        float, typer.Option("--max-drop", help="Largest loss of top-1 or agreement in percentage points.", metavar="PP")
    ] = 0.2,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Rows of OLD may be gone.")] = False,
    as_json: Json = False,
) -> None:
    """Judge a run by an older one; exits with 6 when a row is slower or worse than its gates allow."""
    from edgecnn.console.comparison import print_comparison
    from edgecnn.report.difference import difference
    from edgecnn.report.gate import Gates, judge
    from edgecnn.report.reading import open_run

    gates = Gates(max_slowdown, max_drop, allow_missing)
    comparison = judge(difference(open_run(old), open_run(new)), gates)
    if as_json:
        print_json(comparison.as_json())
    else:
        print_comparison(comparison)
    if comparison.rejected:
        reasons = "; ".join(f"{row.change.name}: {', '.join(row.reasons)}" for row in comparison.rejected)
        raise ParityError(f"{new} is rejected: {reasons}")


def _check_place(path: Path, runs: list[Path], force: bool) -> None:
    if any(path.exists() and run.exists() and path.samefile(run) for run in runs):
        raise UsageError(f"--out {path} is one of the runs; name another file")
    check_place(path, "--out")
    if path.exists() and not force:
        raise StorageError(f"{path}: is there already; --force replaces it, --out names another file")
