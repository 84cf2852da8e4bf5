"""The app, and what several commands take and print."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecnn.errors import UsageError
from edgecnn.names import __version__

if TYPE_CHECKING:
    from edgecnn.remote.ssh import Host

app = typer.Typer(
    name="edgecnn",
    help="Efficient CNNs from PyTorch to devices: export, quantize, compile, prove that the answers are still right.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# How often one of PyTorch's OpenMP threads looks whether it may go on before it sleeps: libgomp's own 300,000 suit a
# machine that does nothing else. Two `verify` of 1,000 images at once on two cores took 24 to 39 s with them and 8 to
# 9 s with these (n=3 each), one alone 5.3 to 5.6 and 4.5 to 5.1 s.
SPINS = "10000"

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")]
Weights = Annotated[
    str | None, typer.Option(help="builtin, imagenet, random, or a .safetensors or .pth state dict.", metavar="W")
]
StateDict = Annotated[
    str | None,
    typer.Option("--weights", help="The state dict it was exported from, where that was a file.", metavar="FILE"),
]
Recipe = Annotated[
    Path | None,
    typer.Option(help="TOML that says what images your weights expect, their classes and bounds.", metavar="FILE"),
]
Size = Annotated[str | None, typer.Option(help="Input size in pixels.", metavar="N|HxW")]
NumClasses = Annotated[int | None, typer.Option(help="Classes, where the weights do not tell.")]
ArtifactFolder = Annotated[Path, typer.Argument(help="The folder that export wrote.", metavar="ARTIFACT")]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop", help="Largest loss of top-1 in percentage points; a larger one exits with 6.", metavar="PP"
    ),
]

Board = Annotated[
    str | None, typer.Option("--host", help="Do it there, over SSH with a key.", metavar="[USER@]HOST|ssh://…")
]
RemotePython = Annotated[str | None, typer.Option(help="Of --host; python3 unless told.", metavar="PATH")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave the upload on --host for the next call.")]


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Options before a command."""
    if context.invoked_subcommand != "bench":  # which times PyTorch as it is
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # before anything imports torch, which reads it once
    if version:
        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Height and width of ``--size``.

    Raises:
        UsageError: it is neither ``N`` nor ``HxW``.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    # The length as well: Python refuses to read endless numbers.
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() and len(side) < 10 for side in sides):
        raise UsageError(f"--size is {text[:40]!r}, expected N or HxW in pixels, such as 224 or 192x256")
    return int(sides[0]), int(sides[-1])


def find_host(destination: str | None, python: str | None, keep: bool) -> "Host | None":
    """The board of ``--host``.

    Raises:
        UsageError: it is none, or its options stand alone.
    """
    if destination is None:
        if python is not None or keep:
            raise UsageError("--remote-python and --keep are of --host; give that, or drop them")
        return None
    from edgecnn.remote.ssh import Host

    return Host(destination, "python3" if python is None else python)


def check_weights(weights: str | None, board: "Host | None") -> None:
    """Refuses a state dict for a board.

    Raises:
        UsageError: both are given.
    """
    if board is not None and weights is not None:
        raise UsageError("--weights needs PyTorch, which no board has to have; drop it, or --host")


def print_json(document: object) -> None:
    """One document on stdout."""
    # Escaped to ASCII, which every stdout takes, whatever a file is called.
    typer.echo(json.dumps(document, indent=1, allow_nan=False))
