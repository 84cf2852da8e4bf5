"""Exports of one network in a process of their own, so that a runtime which crashes costs one of them and no more.

Whatever was loaded to export is gone with the process, before anything is timed in another.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from edgecnn import errors
from edgecnn.data.sets import load_set
from edgecnn.data.split import keep_apart
from edgecnn.errors import INTERRUPTED, BuildError, EdgecnnError, ending
from edgecnn.garbage import search_seldom, spare_the_living
from edgecnn.interrupts import interrupted, raise_interrupts
from edgecnn.names import SYNTHETIC
from edgecnn.pipeline import GateError, export
from edgecnn.request import ExportRequest, Plan, plan

GRACE_S = 20.0  # for an interrupted export to clear up after itself


def export_apart(wanted: Mapping[str, ExportRequest]) -> Iterator[tuple[str, EdgecnnError | None]]:
    """Exports in their order, and says of each by its name why there is none, as soon as that is known.

    Args:
        wanted: all of one model, weights and size.

    Raises:
        EdgecnnError: the network cannot be loaded, or nothing be calibrated on the images; none of them is built.
    """
    rest = dict(wanted)
    while rest:
        with _process(rest) as process:
            for line in process.stdout or ():
                answer = json.loads(line)
                error = answer["kind"] and getattr(errors, answer["kind"])(answer["error"])
                if answer["name"] is None:
                    raise error
                del rest[answer["name"]]
                yield answer["name"], error
            code = process.wait()
        if rest:
            name = next(iter(rest))
            del rest[name]
            yield name, BuildError(f"its own process {ending(code)}")


def exported(wanted: Mapping[str, ExportRequest]) -> Iterator[tuple[str, EdgecnnError | None]]:
    """The same, here: the network is loaded and traced once."""
    from edgecnn.network import Network  # brings torch and ONNX, which a plan has seen to be there

    plans = [plan(request) for request in wanted.values()]
    network = Network(plans[0])
    _check_calibration(plans, network.labels)
    for name, request in wanted.items():
        found: EdgecnnError | None = None
        try:
            export(request, network=network)
        except GateError:
            pass  # it is there, marked rejected, and its times are worth knowing
        except EdgecnnError as error:
            found = error
        except MemoryError:  # the next one may need less
            found = BuildError("there is not enough memory")
        yield name, found


def _check_calibration(plans: Iterable[Plan], labels: list[str]) -> None:
    """Refuses images that every INT8 export would refuse, before the first of the others is built."""
    for planned in plans:
        if planned.calibration not in (None, SYNTHETIC):
            for images in keep_apart(load_set(planned.calibration, labels, [SYNTHETIC])):
                images.check(planned.data.preprocess)
            return  # they share it


@contextmanager
def _process(wanted: Mapping[str, ExportRequest]) -> Iterator[subprocess.Popen[bytes]]:
    """One that exports; on leaving early it is interrupted, and has time to leave nothing half-written."""
    line = [sys.executable, "-m", "edgecnn.export_process"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603  # this program
        try:
            assert process.stdin is not None  # noqa: S101 - it was asked for
            process.stdin.write(pickle.dumps(dict(wanted)))
            process.stdin.close()
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def _main() -> None:
    raise_interrupts(once=True)  # a terminal interrupts both processes, and the other one this one again
    search_seldom()
    # Libraries that print shall not speak where answers are read.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

        def answer(name: str | None, error: EdgecnnError | None) -> None:
            kind = None if error is None else type(error).__name__
            print(json.dumps({"name": name, "kind": kind, "error": str(error)}), file=answers, flush=True)

        try:
            for name, error in exported(pickle.loads(sys.stdin.buffer.read())):  # noqa: S301 - from this very program
                answer(name, error)
        except EdgecnnError as error:
            answer(None, error)
        except (KeyboardInterrupt, Exception):
            if not interrupted():
                raise
            sys.exit(INTERRUPTED)
    spare_the_living()


if __name__ == "__main__":
    _main()
