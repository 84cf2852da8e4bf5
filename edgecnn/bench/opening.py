"""What opening costs: the time to load and to answer first, and the memory, in a process that has done nothing before.

In the process that times everything, the second artifact of a runtime would find the runtime's own caches warm and its
memory already taken.
"""

import importlib
import json
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from edgecnn.artifact import load_artifact
from edgecnn.bench.candidates import ARTIFACT, Candidate
from edgecnn.errors import BuildError, EdgecnnError, ending, printable
from edgecnn.graph.session import without_telemetry
from edgecnn.targets.base import Tuning

LIMIT_S = 600.0


@dataclass(frozen=True)
class Opening:
    """Milliseconds, and bytes of resident memory that opening and the first answer added; Python's imports excluded."""

    load_ms: float
    first_ms: float
    memory_bytes: int


def measure_opening(candidate: Candidate, tuning: Tuning, batch: int) -> Opening | str:
    """Opens a candidate in a new process and has it answer once, or says why that process did not.

    Raises:
        BuildError: the process crashed, as the one that asks would, were it to open the candidate.
    """
    wanted = {
        "folder": str(candidate.artifact.folder),
        "kind": candidate.kind,
        "tuning": asdict(tuning),
        "batch": batch,
        "weights": candidate.weights,
    }
    line = [sys.executable, "-m", "edgecnn.bench.opening", json.dumps(wanted)]
    try:
        done = subprocess.run(  # noqa: S603  # this very program
            line, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"its own process took longer than {LIMIT_S:g} s"
    except OSError as error:
        return f"its own process did not start ({error.strerror})"
    if done.returncode < 0:
        raise BuildError(f"its own process {ending(done.returncode)}")
    if done.returncode:
        complaint = _last(done.stderr)
        return f"its own process {ending(done.returncode)}{f': {complaint}' if complaint else ' and said nothing'}"
    try:
        return Opening(**json.loads(_last(done.stdout)))
    except (ValueError, TypeError):
        return f"its own process answered what is no opening: {_last(done.stdout) or 'nothing'}"


def _last(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return printable(lines[-1]) if lines else ""


def opened(candidate: Candidate, tuning: Tuning, batch: int) -> Opening:
    """Opens a candidate here and now, with its runtime imported and its files checked before the clock starts."""
    without_telemetry()
    importlib.import_module(candidate.package)
    if candidate.kind != ARTIFACT:
        importlib.import_module("edgecnn.models.weights")
    image = candidate.batches(batch)[0]
    memory, started = _resident(), time.perf_counter()
    session = candidate.open(tuning)
    loaded = time.perf_counter()
    session.run(image)
    answered = time.perf_counter()
    return Opening(
        round(1000 * (loaded - started), 3), round(1000 * (answered - loaded), 3), max(_resident() - memory, 0)
    )


def _resident() -> int:
    """Bytes, as the kernel counts them in ``/proc/self/status``."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"), re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def _main() -> None:
    wanted = json.loads(sys.argv[1])
    try:
        candidate = Candidate("", wanted["kind"], load_artifact(Path(wanted["folder"])), wanted["weights"])
        found = opened(candidate, Tuning(**wanted["tuning"]), wanted["batch"])
    except EdgecnnError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    _main()
