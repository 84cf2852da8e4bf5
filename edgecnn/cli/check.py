"""Commands that look at an artifact or a model and say what is true of it."""

from pathlib import Path
from typing import Annotated

import typer

from edgecnn.cli.app import (
    ArtifactFolder,
    Board,
    Json,
    Keep,
    MaxDrop,
    NumClasses,
    Recipe,
    RemotePython,
    Size,
    StateDict,
    Weights,
    app,
    check_weights,
    find_host,
    parse_size,
    print_json,
)
from edgecnn.errors import UsageError


@app.command()
def verify(
    artifact: ArtifactFolder,
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder, CSV file path,label, or set; the artifact's own golden pairs unless told.", metavar="DIR|CSV"
        ),
    ] = None,
    max_drop: MaxDrop = None,
    weights: StateDict = None,
    result: Annotated[
        Path | None, typer.Option(help="What the bundle's run.py found on its device, instead.", metavar="FILE")
    ] = None,
    host: Board = None,
    remote_python: RemotePython = None,
    keep: Keep = False,
    as_json: Json = False,
) -> None:
    """Check an artifact here and now, or on a board, stage by stage; exits with 6 when it fails."""
    board = find_host(host, remote_python, keep)
    if result is not None and (images, max_drop, weights, board) != (None, None, None, None):
        raise UsageError("--result is judged as it is; drop --images, --max-drop, --weights and --host")
    check_weights(weights, board)
    from edgecnn.console.evidence import print_verification
    from edgecnn.console.screen import out as screen
    from edgecnn.console.screen import shown, watching
    from edgecnn.errors import ParityError
    from edgecnn.pipeline import on_device
    from edgecnn.pipeline import verify as run
    from edgecnn.remote.boards import verify_there
    from edgecnn.verify.device import OnDevice
    from edgecnn.verify.stages import Verification

    found: Verification | OnDevice
    with watching() as progress:
        if result is not None:
            found = on_device(artifact, result)
        elif board is not None:
            found = verify_there(board, artifact, images, max_drop, keep, progress)
        else:
            found = run(artifact, images, max_drop, weights, progress)
    verification = found.verification if isinstance(found, OnDevice) else found
    where = {} if board is None else {"host": board.destination}
    if as_json:
        print_json(found.as_json() | where)
    else:
        print_verification(verification)
        if isinstance(found, OnDevice):
            screen.print(shown(found.text))
    if verification.judgement.rejected:
        there = f" on {board.destination}" if board else ""
        raise ParityError(f"{artifact} is rejected{there}: {'; '.join(verification.judgement.reasons)}")


@app.command()
def inspect(
    artifact: ArtifactFolder,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Only say what is executed; time nothing.")] = False,
    as_json: Json = False,
) -> None:
    """What the runtime really executes here, and whether INT8 is worth it here."""
    from edgecnn.console.layers import print_inspection
    from edgecnn.console.screen import watching
    from edgecnn.inspection import inspect as run

    with watching() as progress:
        inspection = run(artifact, not no_timing, progress)
    if as_json:
        print_json(inspection.as_json())
    else:
        print_inspection(inspection)


@app.command()
def analyze(
    model: Annotated[str, typer.Argument(help="A name that `edgecnn list` shows.")],
    weights: Weights = None,
    recipe: Recipe = None,
    calib: Annotated[
        str | None, typer.Option(help="Folder, CSV file path,label, or set to try layers on.", metavar="DIR|SET")
    ] = None,
    size: Size = None,
    num_classes: NumClasses = None,
    as_json: Json = False,
) -> None:
    """Layers by what INT8 would cost at each alone, by their PyTorch names."""
    dimensions = parse_size(size)
    from edgecnn.analysis import analyze as run
    from edgecnn.console.layers import print_analysis
    from edgecnn.console.screen import watching
    from edgecnn.request import ExportRequest

    request = ExportRequest(
        model, "onnx", "int8", weights, calib, size=dimensions, num_classes=num_classes, recipe=recipe
    )
    with watching() as progress:
        analysis = run(request, progress)
    if as_json:
        print_json(analysis.as_json())
    else:
        print_analysis(analysis)


@app.command()
def predict(
    artifact: ArtifactFolder,
    images: Annotated[list[Path], typer.Argument(help="JPEG or PNG files.", metavar="IMAGE...")],
    as_json: Json = False,
) -> None:
    """The five likeliest classes of each picture."""
    from edgecnn.console.evidence import print_predictions
    from edgecnn.console.screen import warn
    from edgecnn.pipeline import predict as run

    predictions = run(artifact, images)
    if predictions.status == "rejected":
        warn(f"{artifact} was rejected by its last check; `edgecnn verify` says why")
    if as_json:
        print_json(predictions.as_json())
    else:
        print_predictions(predictions)
