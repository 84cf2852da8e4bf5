"""Commands that take time, in both senses: how fast artifacts are here, and which one to ship."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecnn.cli.app import (
    Board,
    Json,
    Keep,
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
from edgecnn.errors import StorageError, UsageError
from edgecnn.names import DURATION_S, LATENCY

if TYPE_CHECKING:
    from edgecnn.bench.bench import BenchRequest
    from edgecnn.remote.ssh import Host

RunFile = Annotated[
    Path | None,
    typer.Option(help="File to keep the run in, for report and compare; an earlier run is replaced.", metavar="FILE"),
]
Threads = Annotated[int | None, typer.Option(help="Of each runtime; its own choice unless told.")]
Duration = Annotated[
    float, typer.Option(help="Counted calls per row, in seconds; 10,000 rounds end it in any case.", metavar="S")
]
Mode = Annotated[
    str, typer.Option(help="latency, one call at a time, or throughput, as many as the runtime likes.", metavar="M")
]
Layers = Annotated[bool, typer.Option("--layers", help="Where the time goes, by PyTorch module.")]


@app.command()
def bench(
    artifacts: Annotated[list[Path], typer.Argument(help="Folders that export wrote.", metavar="ARTIFACT...")],
    against: Annotated[
        list[str] | None,
        typer.Option(help="eager, compile or another artifact, which all are compared with; may be repeated."),
    ] = None,
    weights: StateDict = None,
    threads: Threads = None,
    batch: Annotated[int | None, typer.Option(help="Images per call, of artifacts with a dynamic batch.")] = None,
    duration: Duration = DURATION_S,
    mode: Mode = LATENCY,
    layers: Layers = False,
    result: Annotated[
        Path | None, typer.Option(help="What the artifact's bundle measured on its device, instead.", metavar="FILE")
    ] = None,
    out: RunFile = None,
    host: Board = None,
    remote_python: RemotePython = None,
    keep: Keep = False,
    as_json: Json = False,
) -> None:
    """Time artifacts here or on a board, in turns, on their golden pairs' images, with the machine in the record."""
    _check_out(out)
    board = find_host(host, remote_python, keep)
    check_weights(weights, board)
    import msgspec

    from edgecnn.bench.bench import BenchRequest
    from edgecnn.bench.bench import bench as run
    from edgecnn.bench.device import device_run
    from edgecnn.bench.record import encode
    from edgecnn.console.screen import warn, watching
    from edgecnn.console.timing import print_run, warnings
    from edgecnn.files import write_whole

    request = BenchRequest(tuple(artifacts), tuple(against or ()), threads, batch, duration, mode, layers, weights)
    with watching() as progress:
        if result is not None:
            found = device_run(_alone(request, board), result)
        elif board is None:
            found = run(request, progress)
        else:
            from edgecnn.remote.timing import bench_there

            found = bench_there(board, request, keep, progress)
    try:
        for text in warnings(found):
            warn(text)
        if as_json:
            print_json(msgspec.to_builtins(found))
        else:
            print_run(found)
    finally:  # what was measured is told where it cannot be written, and written where nobody reads on
        if out is not None:
            write_whole(out, encode(found))


@app.command()
def benchmark(
    model: Annotated[str, typer.Argument(help="A name that `edgecnn list` shows.")],
    weights: Weights = None,
    recipe: Recipe = None,
    size: Size = None,
    num_classes: NumClasses = None,
    calib: Annotated[
        str | None, typer.Option(help="Folder, CSV file path,label, or set to calibrate INT8 on.", metavar="DIR|SET")
    ] = None,
    effort: Annotated[
        str | None, typer.Option(help="How far INT8 climbs: fast, best, or balanced unless told.", metavar="E")
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(help="Such as onnx,openvino; all that are installed unless told.", metavar="T,T"),
    ] = None,
    threads: Threads = None,
    batch: Annotated[int, typer.Option(help="Images per call, which all are exported for.")] = 1,
    duration: Duration = DURATION_S,
    mode: Mode = LATENCY,
    layers: Layers = False,
    out: RunFile = None,
    keep: Annotated[
        Path | None, typer.Option(help="New folder to keep the artifacts in; none is kept unless told.", metavar="DIR")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build, check and time a model for every installed target in every precision, and say which one to ship here."""
    _check_out(out)
    dimensions = parse_size(size)
    import msgspec

    from edgecnn.bench.record import encode
    from edgecnn.benchmark import BenchmarkRequest
    from edgecnn.benchmark import benchmark as run
    from edgecnn.console.benchmark import print_benchmark
    from edgecnn.console.screen import watching
    from edgecnn.files import write_whole

    named = None if targets is None else tuple(name.strip() for name in targets.split(","))
    request = BenchmarkRequest(
        model,
        weights,
        dimensions,
        num_classes,
        calib,
        effort,
        named,
        keep,
        batch,
        threads,
        duration,
        mode,
        layers,
        recipe,
    )
    with watching() as progress:
        found = run(request, progress)
    try:
        if as_json:
            print_json(msgspec.to_builtins(found))
        else:
            print_benchmark(found)
    finally:
        if out is not None:
            write_whole(out, encode(found))


def _alone(request: "BenchRequest", board: "Host | None") -> Path:
    """The only artifact of a request that asks for nothing else.

    Raises:
        UsageError: it asks for more, which was measured as it was.
    """
    from edgecnn.bench.bench import BenchRequest

    if board is not None or request != BenchRequest(request.artifacts[:1], layers=request.layers):
        raise UsageError(
            "--result is of one artifact and as it was measured; drop everything but it, --layers and --out"
        )
    return request.artifacts[0]


def _check_out(path: Path | None) -> None:
    """Refuses a file that cannot be written, or that is somebody else's, before anything is timed.

    Raises:
        StorageError: there is no folder for it, or it holds anything but a run.
    """
    if path is None:
        return
    from edgecnn.files import check_place

    check_place(path, "--out")
    if not path.exists():
        return
    from edgecnn.bench.record import read_run
    from edgecnn.errors import InputError

    try:
        read_run(path)
    except InputError as error:
        raise StorageError(f"{path}: is there already and is no run; name another with --out") from error
